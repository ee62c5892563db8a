#include "tools/client.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "node/machine.h"

enum { STOPPED_MS = 1000 };  // a stopped daemon is not waited for longer

// A signal handler has no argument to reach anything else by.
static volatile sig_atomic_t interrupted;

static void note_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

void client_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = note_interrupt};  // no SA_RESTART: a wait shall end
    sigemptyset(&action.sa_mask);
    check(sigaction(SIGINT, &action, NULL) == 0 && sigaction(SIGTERM, &action, NULL) == 0);
}

bool client_interrupted(void)
{
    return interrupted != 0;
}

const char *field_text(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : otherwise;
}

double field_number(const json_t *object, const char *key, double otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

bool field_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

void client_describe_wait(char *out, size_t size, const json_t *wait)
{
    const char *peer = field_text(wait, "peer", ""), *remedy = field_text(wait, "remedy", "");
    snprintf(out, size, "%s%s%s%s%s", peer, peer[0] ? ": " : "", field_text(wait, "cause", "no cause is known"),
             remedy[0] ? "; " : "", remedy);
}

int client_no_daemon(struct call *call)
{
    char key[HOME_PATH_SIZE + 8], mycel[CALL_WORDS_SIZE];
    snprintf(key, sizeof key, "%s/key", call->home);
    if (access(key, F_OK) != 0 && errno == EACCES)
        output_error(&call->out, "NO_DAEMON", "the home %s cannot be read: %s; 'ls -ld' says whose it is", call->home,
                     strerror(EACCES));
    else if (access(key, F_OK) != 0 && machine_home() && machine_runtime(machine_home()))
        output_error(&call->out, "NO_DAEMON",
                     "no peer lives in %s; 'sudo mycel' speaks of this machine's own, 'mycel init NAME' starts a mesh, "
                     "'mycel join TOKEN' joins one",
                     call->home);
    else if (access(key, F_OK) != 0)
        output_error(&call->out, "NO_DAEMON",
                     "no peer lives in %s; 'mycel init NAME' starts a mesh, 'mycel join TOKEN' joins one, "
                     "'mycel lab up 4' tries one here",
                     call->home);
    else if (home_holder(call->home) > 0)
        output_error(&call->out, "NO_DAEMON",
                     "process %d holds %s, but does not answer; wait a second, or stop it by 'kill %d'",
                     home_holder(call->home), call->home, home_holder(call->home));
    else
        output_error(&call->out, "NO_DAEMON", "no daemon runs in %s; '%s up --detach' starts it", call->home,
                     call_mycel(call, mycel));
    return core_error_exit(CORE_ERR_NO_DAEMON);
}

// By a signal or a debugger: it answers nobody, however long one waits.
static bool stopped(const char *home)
{
    int pid = home_holder(home);
    char state = pid > 0 ? home_process_state(pid) : '?';
    return state == 'T' || state == 't';
}

static int gone(struct client *c, enum core_err err, int patience_ms)
{
    struct call *call = c->call;
    int pid = home_holder(call->home);
    char mycel[CALL_WORDS_SIZE];
    if (err == CORE_ERR_INTERRUPTED) return core_error_exit(err);
    if (err == CORE_ERR_TIMED_OUT && stopped(call->home))
        output_error(&call->out, "TIMED_OUT", "the daemon of %s (process %d) is stopped; 'kill -CONT %d' wakes it",
                     call->home, pid, pid);
    else if (err == CORE_ERR_TIMED_OUT)
        output_error(&call->out, "TIMED_OUT",
                     "the daemon of %s (process %d) said nothing for %d s; 'mycel doctor' may know why, or see %s/log",
                     call->home, pid, patience_ms / 1000, call->home);
    else
        output_error(&call->out, core_error_name(err),
                     "the daemon of %s ended while it was asked; %s/log says why, '%s up --detach' starts it again",
                     call->home, call->home, call_mycel(call, mycel));
    return core_error_exit(err);
}

int client_open(struct client *c, struct call *call)
{
    *c = (struct client){.call = call, .control = {.fd = -1}};
    signal(SIGPIPE, SIG_IGN);
    enum core_err err = control_connect(&c->control, call->home);
    if (!err) return 0;
    if (err == CORE_ERR_NO_DAEMON) return client_no_daemon(call);
    if (err == CORE_ERR_TIMED_OUT) return gone(c, err, 1000);
    output_error(&call->out, core_error_name(err), "cannot reach the daemon of %s: %s", call->home,
                 core_error_text(err));
    return core_error_exit(err);
}

void client_close(struct client *c)
{
    control_close(&c->control);
}

static char *request_text(const char *verb, json_t *fields)
{
    json_t *request = json_pack("{s:s}", "verb", verb);
    check(request);
    if (fields) check(json_object_update(request, fields) == 0);
    json_decref(fields);
    char *text = json_dumps(request, JSON_COMPACT | JSON_PRESERVE_ORDER);
    check(text);
    json_decref(request);
    return text;
}

int client_send(struct client *c, const char *verb, json_t *fields)
{
    char *text = request_text(verb, fields);
    enum core_err err = control_request(&c->control, text);
    free(text);
    if (!err) return 0;
    output_error(&c->call->out, core_error_name(err), "cannot ask the daemon of %s: %s; does it still run?",
                 c->call->home, core_error_text(err));
    return core_error_exit(err);
}

// Waits in slices, so that an interrupt between two calls isn't missed.
static enum core_err next_line(struct client *c, int patience_ms, const char **line)
{
    const char *home = c->call->home;
    for (int waited = 0;;) {
        if (client_interrupted()) return CORE_ERR_INTERRUPTED;
        int slice = patience_ms < 0 || patience_ms - waited > 500 ? 500 : patience_ms - waited;
        enum core_err err = control_next_line(&c->control, slice, line);
        if (err == CORE_ERR_INTERRUPTED && !client_interrupted()) continue;
        if (err != CORE_ERR_TIMED_OUT) return err;
        waited += slice;
        if (patience_ms < 0) continue;
        if (waited >= patience_ms || (waited >= STOPPED_MS && stopped(home))) return CORE_ERR_TIMED_OUT;
    }
}

// The same wait but for its numbers, such as how long it has lasted?
static bool same_wait(const char *a, const char *b)
{
    for (;;) {
        a += strspn(a, "0123456789");
        b += strspn(b, "0123456789");
        if (*a != *b) return false;
        if (*a == '\0') return true;
        a++;
        b++;
    }
}

static void print_wait(struct client *c, const json_t *wait)
{
    char text[sizeof c->waiting];
    client_describe_wait(text, sizeof text, wait);
    output_safe(text);
    if (same_wait(text, c->waiting)) return;
    memcpy(c->waiting, text, sizeof text);
    fflush(stdout);
    if (!c->call->out.quiet) output_wrapped(stderr, 12, "waiting for ", text);
}

int client_next(struct client *c, int patience_ms, json_t **answer, bool *last, int *status)
{
    *answer = NULL;
    *last = false;
    *status = 0;
    for (;;) {
        const char *line;
        enum core_err err = next_line(c, patience_ms, &line);
        if (err) return gone(c, err, patience_ms);
        json_t *object = json_loads(line, 0, NULL);
        if (!json_is_object(object)) {
            json_decref(object);
            output_error(&c->call->out, "MALFORMED",
                         "the daemon's answer isn't JSON; is another version running there?");
            return core_error_exit(CORE_ERR_FAILED);
        }
        const json_t *wait = json_object_get(object, "waiting"), *exit_field = json_object_get(object, "exit");
        if (json_is_object(wait) && !exit_field && !json_object_get(object, "id")) {
            if (c->call->out.json)
                output_json(json_incref(object));
            else
                print_wait(c, wait);
            json_decref(object);
            continue;
        }
        c->waiting[0] = '\0';
        if (exit_field) {
            *last = true;
            *status = (int)json_integer_value(exit_field);
            json_object_del(object, "exit");
        }
        const char *name = field_text(object, "error", NULL);
        if (!name) {
            *answer = object;
            return 0;
        }
        const char *remedy = field_text(object, "remedy", "");
        output_error(&c->call->out, name, "%s%s%s", field_text(object, "message", name), remedy[0] ? "; " : "", remedy);
        json_decref(object);
        return *status ? *status : 1;
    }
}

void client_make_safe(json_t *answer)
{
    size_t i;
    const char *key;
    json_t *item;
    if (json_is_string(answer)) {
        char *text = strdup(json_string_value(answer));
        check(text);
        output_safe(text);
        check(json_string_set(answer, text) == 0);
        free(text);
    }
    json_array_foreach(answer, i, item) client_make_safe(item);
    json_object_foreach(answer, key, item) client_make_safe(item);
}

int client_ask(struct call *call, const char *verb, json_t *fields, int patience_ms, json_t **answer)
{
    const int status = client_ask_verbatim(call, verb, fields, patience_ms, answer);
    if (*answer && !call->out.json) client_make_safe(*answer);
    return status;
}

int client_ask_verbatim(struct call *call, const char *verb, json_t *fields, int patience_ms, json_t **answer)
{
    *answer = NULL;
    struct client c;
    int status = client_open(&c, call);
    if (status) {
        json_decref(fields);
        return status;
    }
    bool last = false;
    int final = 0;
    status = client_send(&c, verb, fields);
    while (status == 0 && !last) {
        json_decref(*answer);
        status = client_next(&c, patience_ms, answer, &last, &final);
    }
    client_close(&c);
    return status ? status : final;
}

json_t *client_ask_quietly(const char *home, const char *verb, json_t *fields, int patience_ms)
{
    char *text = request_text(verb, fields);
    struct control_client control = {.fd = -1};
    json_t *answer = NULL;
    signal(SIGPIPE, SIG_IGN);
    if (control_connect(&control, home) == CORE_ERR_OK) {
        const char *line = NULL;
        if (control_request(&control, text) == CORE_ERR_OK &&
            control_next_line(&control, patience_ms, &line) == CORE_ERR_OK)
            answer = json_loads(line, 0, NULL);
        control_close(&control);
    }
    free(text);
    if (!json_is_object(answer) || json_object_get(answer, "error")) {
        json_decref(answer);
        return NULL;
    }
    json_object_del(answer, "exit");
    client_make_safe(answer);
    return answer;
}
