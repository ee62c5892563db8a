// The verbs' talk with a daemon, against one that says what a test tells it to.
#include "tools/client.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tsan_start.h"

#include "tools/look/follow.h"
#include "tools/spawn.h"

struct stage {
    char folder[64];
    struct call call;
    pid_t daemon;
};

static int set_up(void **state)
{
    struct stage *stage = calloc(1, sizeof *stage);
    assert_non_null(stage);
    snprintf(stage->folder, sizeof stage->folder, "/tmp/mycel-unit-XXXXXX");
    assert_non_null(mkdtemp(stage->folder));
    setenv("XDG_RUNTIME_DIR", stage->folder, 1);
    snprintf(stage->call.home, sizeof stage->call.home, "%s/home", stage->folder);
    stage->call.out.quiet = true;
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    struct stage *stage = *state;
    char path[CONTROL_PATH_SIZE];
    if (stage->daemon > 0) kill(stage->daemon, SIGKILL), waitpid(stage->daemon, NULL, 0);
    if (control_path(path, stage->call.home) == CORE_ERR_OK) unlink(path);
    rmdir(stage->folder);
    free(stage);
    return 0;
}

// A process that answers one request line with `lines`, then closes, or, `hold`, stays silent.
static void play(struct stage *stage, const char *lines, bool hold)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[CONTROL_PATH_SIZE], request[4096];
    assert_int_equal(control_path(path, stage->call.home), CORE_ERR_OK);
    memcpy(address.sun_path, path, sizeof path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 4) == 0);
    stage->daemon = fork();
    if (stage->daemon == 0) {
        int peer = accept(fd, NULL, NULL);
        ssize_t n = read(peer, request, sizeof request);
        if (n > 0 && write(peer, lines, strlen(lines)) < 0) _exit(1);
        while (hold) pause();
        shutdown(peer, SHUT_WR);
        while (read(peer, request, sizeof request) > 0) continue;
        _exit(0);
    }
    close(fd);
}

static void answer_and_status_come_back(void **state)
{
    struct stage *stage = *state;
    play(stage,
         "{\"schema\":1,\"waiting\":{\"peer\":\"p2\",\"cause\":\"asleep\",\"remedy\":\"wake it\"}}\n"
         "{\"schema\":1,\"exit\":1,\"healthy\":false}\n",
         false);
    json_t *answer;
    assert_int_equal(client_ask(&stage->call, "status", NULL, 30000, &answer), 1);
    assert_non_null(json_object_get(answer, "healthy"));
    assert_null(json_object_get(answer, "exit"));
    json_decref(answer);
}

static void failure_is_the_daemons_status(void **state)
{
    struct stage *stage = *state;
    play(stage, "{\"schema\":1,\"exit\":4,\"error\":\"REFUSED\",\"message\":\"no\",\"remedy\":\"ask\"}\n", false);
    json_t *answer;
    assert_int_equal(client_ask(&stage->call, "runs", json_pack("{s:i}", "a", 1), 30000, &answer), 4);
    assert_null(answer);
}

static void nobody_there_is_three(void **state)
{
    struct stage *stage = *state;
    json_t *answer;
    assert_int_equal(client_ask(&stage->call, "status", json_object(), 30000, &answer), 3);
    assert_null(answer);
}

static void closed_silent_or_garbled(void **state)
{
    struct stage *stage = *state;
    json_t *answer;
    play(stage, "{\"schema\":1,\"plan\":{}}\n", false);  // no last answer
    assert_int_equal(client_ask(&stage->call, "status", NULL, 30000, &answer), 3);
    tear_down(state);
    set_up(state);
    stage = *state;
    play(stage, "hello\n", false);
    assert_int_equal(client_ask(&stage->call, "status", NULL, 30000, &answer), 1);
    tear_down(state);
    set_up(state);
    stage = *state;
    play(stage, "", true);
    assert_int_equal(client_ask(&stage->call, "status", NULL, 50, &answer), 5);
    assert_null(answer);
}

static void following_ends_with_the_run(void **state)
{
    struct stage *stage = *state;
    play(stage,
         "{\"schema\":1,\"plan\":{\"run\":\"3f9a\",\"rounds\":2}}\n"
         "{\"schema\":1,\"run\":\"3f9a\",\"round\":1,\"loss\":2.5,\"val_loss\":null}\n"
         "{\"schema\":1,\"exit\":0,\"run\":\"3f9a\",\"state\":\"done\",\"round\":2}\n",
         false);
    struct client c;
    char run[65];
    fflush(stdout);
    assert_int_equal(client_open(&c, &stage->call), 0);
    assert_int_equal(client_send(&c, "attach", NULL), 0);
    assert_int_equal(follow_run(&c, false, run), 0);
    assert_string_equal(run, "3f9a");
    client_close(&c);
}

static void spawned_programs_say_why(void **state)
{
    (void)state;
    struct spawn s;
    char said[16];
    char *echo[] = {"sh", "-c", "cat; echo bad >&2; exit 5", NULL};
    assert_int_equal(spawn_start(&s, "/bin/sh", echo, "input "), CORE_ERR_OK);
    assert_int_equal(spawn_wait(&s, said, sizeof said), 5);
    assert_string_equal(said, "input bad");
    char *killed[] = {"sh", "-c", "echo 0123456789abcdefghij; kill -9 $$", NULL};
    assert_int_equal(spawn_start(&s, "/bin/sh", killed, ""), CORE_ERR_OK);
    assert_int_equal(spawn_wait(&s, said, sizeof said), 128 + SIGKILL);
    assert_string_equal(said, "6789abcdefghij");  // the last of it
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answer_and_status_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failure_is_the_daemons_status, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_there_is_three, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closed_silent_or_garbled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(following_ends_with_the_run, set_up, tear_down),
        cmocka_unit_test(spawned_programs_say_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
