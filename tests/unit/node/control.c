// The control socket's two halves against each other, and workers: requests, streams, answers, urgent work first.
#include "node/control/control_server.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zmq.h>

#include "tsan_start.h"

#include "node/compute/worker.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mycel-test-control-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    return setenv("XDG_RUNTIME_DIR", folder, 1);
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

// ---- a daemon of three verbs ----

struct daemon {
    struct control_server server;
    pthread_t thread;
    _Atomic bool stop;
    size_t received[2];
    uint32_t sum;
};

static bool take(struct session *s, uint32_t part, const void *data, size_t size)
{
    struct daemon *d = s->state;
    d->received[part] += size;
    for (size_t i = 0; i < size; i++) d->sum += ((const uint8_t *)data)[i];
    if (size == 0 && part == 1)
        session_end(s, 0,
                    json_pack("{s:I, s:I, s:I}", "first", (json_int_t)d->received[0], "second",
                              (json_int_t)d->received[1], "sum", (json_int_t)d->sum));
    return true;
}

static void handle(void *context, struct session *s, const char *verb)
{
    if (strcmp(verb, "count") == 0) {
        for (int i = 0; i < 3; i++) session_send(s, json_pack("{s:i}", "i", i));
        session_end(s, 7, json_pack("{s:s}", "name", session_text(s, "name")));
    } else if (strcmp(verb, "store") == 0) {
        s->state = context;
        s->hooks.stream = take;
        session_expect_stream(s, 2);
    } else {
        session_fail(s, CORE_ERR_NOT_FOUND, "try another", "no verb %s", verb);
    }
}

static void *serve(void *argument)
{
    struct daemon *d = argument;
    while (!atomic_load(&d->stop)) {
        zmq_pollitem_t items[CONTROL_SESSIONS_MAX + 1];
        size_t count = control_server_pollitems(&d->server, items, CONTROL_SESSIONS_MAX + 1);
        zmq_poll(items, (int)count, 20);
        control_server_process(&d->server, 0);
    }
    return NULL;
}

static struct daemon *start(void)
{
    struct daemon *d = calloc(1, sizeof *d);
    assert_int_equal(control_server_open(&d->server, "/some/home", handle, d), CORE_ERR_OK);
    assert_int_equal(pthread_create(&d->thread, NULL, serve, d), 0);
    return d;
}

static void stop(struct daemon *d)
{
    atomic_store(&d->stop, true);
    pthread_join(d->thread, NULL);
    control_server_close(&d->server);
    free(d);
}

static void answers_come_as_lines(void **state)
{
    (void)state;
    struct daemon *d = start();
    struct control_client c;
    const char *line;
    assert_int_equal(control_connect(&c, "/some/home"), CORE_ERR_OK);
    assert_int_equal(control_request(&c, "{\"verb\":\"count\",\"name\":\"x\"}"), CORE_ERR_OK);
    static const char *const expected[] = {"{\"schema\":1,\"i\":0}", "{\"schema\":1,\"i\":1}", "{\"schema\":1,\"i\":2}",
                                           "{\"schema\":1,\"name\":\"x\",\"exit\":7}"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(control_next_line(&c, -1, &line), CORE_ERR_OK);
        assert_string_equal(line, expected[i]);
    }
    assert_int_equal(control_next_line(&c, -1, &line), CORE_ERR_NO_DAEMON);
    control_close(&c);
    stop(d);
}

static void failures_say_what_and_what_to_do(void **state)
{
    (void)state;
    struct daemon *d = start();
    struct control_client c;
    const char *line;
    assert_int_equal(control_connect(&c, "/some/home"), CORE_ERR_OK);
    assert_int_equal(control_request(&c, "{\"verb\":\"dance\"}"), CORE_ERR_OK);
    assert_int_equal(control_next_line(&c, -1, &line), CORE_ERR_OK);
    assert_string_equal(
        line,
        "{\"schema\":1,\"error\":\"NOT_FOUND\",\"message\":\"no verb dance\",\"remedy\":\"try another\",\"exit\":1}");
    control_close(&c);
    assert_int_equal(control_connect(&c, "/some/home"), CORE_ERR_OK);
    assert_int_equal(control_request(&c, "rubbish"), CORE_ERR_OK);
    assert_int_equal(control_next_line(&c, -1, &line), CORE_ERR_OK);
    assert_non_null(strstr(line, "\"exit\":2"));
    control_close(&c);
    stop(d);
}

// Three mebibytes in two parts, the second one byte: every byte arrives, wherever the reads cut the stream.
static void streams_arrive_whole(void **state)
{
    (void)state;
    struct daemon *d = start();
    struct control_client c;
    const char *line;
    size_t size = (3 << 20) + 5;
    uint8_t *bytes = malloc(size);
    uint32_t sum = 200;
    for (size_t i = 0; i < size; i++) sum += bytes[i] = (uint8_t)(i * 7);
    assert_int_equal(control_connect(&c, "/some/home"), CORE_ERR_OK);
    assert_int_equal(control_request(&c, "{\"verb\":\"store\"}"), CORE_ERR_OK);
    assert_int_equal(control_stream(&c, bytes, size), CORE_ERR_OK);
    assert_int_equal(control_stream(&c, NULL, 0), CORE_ERR_OK);
    bytes[0] = 200;
    assert_int_equal(control_stream(&c, bytes, 1), CORE_ERR_OK);
    assert_int_equal(control_stream(&c, NULL, 0), CORE_ERR_OK);
    assert_int_equal(control_next_line(&c, -1, &line), CORE_ERR_OK);
    char expected[128];
    snprintf(expected, sizeof expected, "{\"schema\":1,\"first\":%zu,\"second\":1,\"sum\":%u,\"exit\":0}", size, sum);
    assert_string_equal(line, expected);
    control_close(&c);
    free(bytes);
    stop(d);
}

static void without_a_daemon_it_says_so(void **state)
{
    (void)state;
    struct control_client c;
    assert_int_equal(control_connect(&c, "/no/daemon/here"), CORE_ERR_NO_DAEMON);
}

// ---- workers ----

struct note {
    struct job job;
    sem_t *gate;  // waited for in `run`, or NULL
    int number;
};

static int order[8];
static _Atomic int order_count;
static int done_count, interrupted;

static void run_note(struct job *job, struct worker *w)
{
    (void)w;
    struct note *note = (struct note *)job;
    if (note->gate) sem_wait(note->gate);
    order[atomic_fetch_add(&order_count, 1)] = note->number;
}

static void note_done(struct job *job, void *context)
{
    (void)context;
    done_count++;
    interrupted += job->err == CORE_ERR_INTERRUPTED;
}

static void urgent_work_goes_first(void **state)
{
    (void)state;
    struct inbox inbox;
    struct worker w;
    sem_t gate;
    sem_init(&gate, 0, 0);
    assert_int_equal(inbox_open(&inbox, NULL), CORE_ERR_OK);
    assert_int_equal(worker_start(&w, "test", &inbox, NULL, NULL, NULL), CORE_ERR_OK);
    struct note notes[4] = {{.gate = &gate, .number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
    enum job_priority priorities[4] = {JOB_NORMAL, JOB_LOW, JOB_NORMAL, JOB_URGENT};
    for (int i = 0; i < 4; i++) {
        notes[i].job = (struct job){.name = "note", .priority = priorities[i], .run = run_note, .done = note_done};
        worker_submit(&w, &notes[i].job);
        // The first must be running before the rest are ordered.
        while (i == 0) {
            pthread_mutex_lock(&w.mutex);
            bool running = w.current != NULL;
            pthread_mutex_unlock(&w.mutex);
            if (running) break;
        }
    }
    assert_true(worker_pressed(&w, JOB_LOW));
    sem_post(&gate);
    while (done_count < 4) {
        zmq_pollitem_t item = {.fd = inbox.fd, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, -1);
        inbox_take(&inbox);
    }
    static const int expected[] = {1, 4, 3, 2};
    assert_memory_equal(order, expected, sizeof expected);
    assert_int_equal(worker_load(&w), 0);
    worker_stop(&w);
    struct note late = {.number = 9};
    late.job = (struct job){.name = "late", .run = run_note, .done = note_done};
    worker_submit(&w, &late.job);
    inbox_take(&inbox);
    assert_int_equal(done_count, 5);
    assert_int_equal(interrupted, 1);
    inbox_close(&inbox);
    sem_destroy(&gate);
}

// A client that says nothing must not keep its place: there are only so many.
static void a_mute_client_is_let_go(void **state)
{
    (void)state;
    struct control_server server;
    struct control_client client;
    const char *line;
    assert_int_equal(control_server_open(&server, "/somewhere", handle, NULL), CORE_ERR_OK);
    assert_int_equal(control_connect(&client, "/somewhere"), CORE_ERR_OK);
    control_server_process(&server, 1000);
    assert_true(control_server_serving(&server));
    control_server_process(&server, 10999);
    assert_true(control_server_serving(&server));
    control_server_process(&server, 11000);
    assert_false(control_server_serving(&server));
    assert_int_equal(control_next_line(&client, 1000, &line), CORE_ERR_NO_DAEMON);
    control_close(&client);
    control_server_close(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_come_as_lines, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(failures_say_what_and_what_to_do, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(streams_arrive_whole, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(without_a_daemon_it_says_so, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_mute_client_is_let_go, make_folder, remove_folder),
        cmocka_unit_test(urgent_work_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
