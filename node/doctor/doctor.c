#include "node/doctor/doctor.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/sign.h"
#include "node/compute/hw.h"
#include "node/control/control.h"
#include "node/doctor/doctor_home.h"
#include "node/loop.h"
#include "node/settings.h"

enum { QUESTION_MS = 1000, MESH_MS = 2000, DRIVERS_MS = 4000 };

// ---- the daemon ----

// One question; NULL without an answer. `*found`: somebody took the connection.
static json_t *ask(const char *home, const char *verb, int patience_ms, bool *found)
{
    char text[64];
    struct control_client control = {.fd = -1};
    const char *line = NULL;
    json_t *answer = NULL;
    snprintf(text, sizeof text, "{\"verb\":\"%s\"}", verb);
    enum core_err err = control_connect(&control, home);
    *found = err == CORE_ERR_OK || err == CORE_ERR_TIMED_OUT;
    if (!err && !control_request(&control, text) && !control_next_line(&control, patience_ms, &line))
        answer = json_loads(line, 0, NULL);
    if (!err) control_close(&control);
    if (json_is_object(answer) && !json_object_get(answer, "error")) return answer;
    json_decref(answer);
    return NULL;
}

// ---- GPUs without a daemon ----

// A driver may hang, or end the process that opens it: another one does.
static void look_at_devices(const char *home, int out)
{
    struct node_failure why;
    json_t *hw;
    enum core_err err = node_hw(home, false, &hw, &why);
    char *text = err ? NULL : json_dumps(hw, JSON_COMPACT);
    for (size_t at = 0; text && text[at];) {
        ssize_t n = write(out, text + at, strlen(text + at));
        if (n <= 0) break;
        at += (size_t)n;
    }
    _exit(0);
}

static char *read_all(int fd, uint64_t end_ms, bool *late)
{
    size_t used = 0, capacity = 64 << 10;
    char *text = malloc(capacity);
    *late = false;
    for (ssize_t n = 1; text && n > 0;) {
        uint64_t now_ms = node_clock_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now_ms >= end_ms || poll(&p, 1, (int)(end_ms - now_ms)) <= 0) {
            *late = true;
            break;
        }
        n = read(fd, text + used, capacity - 1 - used);
        if (n > 0) used += (size_t)n;
        if (used == capacity - 1) break;
    }
    if (text) text[used] = 0;
    return text;
}

// What `mycel hw` tells; NULL where nobody could. `*late`: a driver did not come back.
static json_t *devices_apart(const char *home, bool *late)
{
    int ends[2];
    *late = false;
    if (pipe(ends)) return NULL;
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        look_at_devices(home, ends[1]);
    }
    close(ends[1]);
    char *text = child > 0 ? read_all(ends[0], node_clock_ms() + DRIVERS_MS, late) : NULL;
    close(ends[0]);
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    json_t *hw = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return hw;
}

static void devices(struct checks *c, const char *home, json_t *hw)
{
    bool late = false;
    json_t *own = hw ? json_incref(hw) : devices_apart(home, &late);
    const char *looked = json_string_value(json_object_get(json_object_get(own, "peer"), "gpus"));
    bool all = !looked || strcmp(looked, "looked") == 0;
    const json_t *pci = all ? json_object_get(json_object_get(own, "machine"), "pci") : NULL;
    checks_devices(c, json_object_get(own, "devices"), pci, late ? DRIVERS_MS / 1000 : 0);
    json_decref(own);
}

// ---- all of it ----

static void put_lines(json_t *list, const struct checks *c, const json_t *told, enum check check)
{
    size_t i;
    json_t *line;
    for (uint32_t k = 0; k < c->count; k++)
        if (c->lines[k].check == check) json_array_append_new(list, checks_line_json(&c->lines[k]));
    json_array_foreach((json_t *)told, i, line)
    {
        const char *name = json_string_value(json_object_get(line, "check"));
        if (name && strcmp(name, check_name(check)) == 0) json_array_append(list, line);
    }
}

static bool any_fails(const json_t *list)
{
    size_t i;
    json_t *line;
    json_array_foreach((json_t *)list, i, line)
    {
        const char *state = json_string_value(json_object_get(line, "state"));
        if (state && strcmp(state, "fail") == 0) return true;
    }
    return false;
}

// A daemon in a container has a loopback of its own.
static bool same_network(int pid)
{
    char path[64], own[64] = "", its[64] = "";
    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    bool known = readlink("/proc/self/ns/net", own, sizeof own - 1) > 0 && readlink(path, its, sizeof its - 1) > 0;
    return !known || strcmp(own, its) == 0;
}

static void port(struct checks *c, const char *home, const char *conf, const json_t *told, int pid)
{
    struct home h = {.lock = -1};
    struct settings settings;
    snprintf(h.path, sizeof h.path, "%s", home);
    const char *listen = json_string_value(json_object_get(told, "listen"));
    if (pid && !same_network(pid))
        checks_skip(c, CHECK_PORT, "the daemon is in another network namespace; look there");
    else if (listen)
        doctor_port(c, listen, (uint16_t)json_integer_value(json_object_get(told, "port")), true);
    else if (pid == 0 && settings_read(&h, &settings) == CORE_ERR_OK)
        doctor_port(c, conf ? conf : settings.listen, 0, false);
}

void doctor_markdown(FILE *file)
{
    checks_markdown(file);
}

json_t *doctor_examine(const char *home, const struct doctor_conf *conf)
{
    struct checks *c = calloc(1, sizeof *c);
    char socket[CONTROL_PATH_SIZE] = "";
    struct checks_daemon_facts daemon = {.home = home, .socket = socket, .pid = home_holder(home)};
    json_t *hw = NULL, *told = NULL, *list = json_array();
    if (!c || sign_start()) {
        free(c);
        json_decref(list);
        return NULL;
    }
    bool there = doctor_home(c, home), found;
    if (daemon.pid) hw = ask(home, "hw", QUESTION_MS, &daemon.found);
    if (hw) told = ask(home, "doctor", MESH_MS, &found);
    daemon.answers = hw != NULL;
    daemon.process_state = home_process_state(daemon.pid);
    if (control_path(socket, home)) socket[0] = 0;
    if (there) checks_daemon(c, &daemon);
    if (there) port(c, home, conf->listen, told, daemon.pid);
    if (conf->wrong) checks_add(c, TROUBLE_CONF_WRONG, NULL, "why", conf->wrong, NULL);
    doctor_disk(c, home);
    const json_t *usable = json_object_get(json_object_get(hw, "machine"), "cpus_usable");
    doctor_limits(c, daemon.pid, (uint32_t)json_integer_value(usable));
    devices(c, home, hw);
    for (int check = 0; check < CHECK_COUNT; check++)
        put_lines(list, c, json_object_get(told, "checks"), (enum check)check);
    json_t *o = json_pack("{s:b, s:b, s:o}", "healthy", !any_fails(list), "daemon", daemon.answers, "checks", list);
    json_decref(hw);
    json_decref(told);
    free(c);
    return o;
}
