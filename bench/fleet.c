#include "bench/fleet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/fleet_lines.h"
#include "core/bytes.h"
#include "core/check.h"
#include "core/sign.h"

enum { PORT = 6173, READY_MS = 60000, READ_SIZE = 65536, LINE_MAX_SIZE = 4096 };

uint64_t fleet_wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

// ---- starting and ending ----

// In the child: the process becomes user NETNS_USER + index and then the program, which is opened before, since that
// user may not see the folder it lies in.
static void become(const struct fleet *f, uint32_t index, int program, char *const argv[], int in, int out)
{
    uid_t user = NETNS_USER + index;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(in, 0);
    dup2(out, 1);
    signal(SIGPIPE, SIG_DFL);
    if (f->ns.fd >= 0 && (setresgid(user, user, user) || setresuid(user, user, user))) _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // a change of user forgets it
    extern char **environ;
    syscall(SYS_execveat, program, "", argv, environ, AT_EMPTY_PATH);
    _exit(127);
}

static bool start(struct fleet *f, uint32_t index, int program, const char *seed)
{
    char number[16], count[16], host[NETNS_ADDRESS_MAX], address[32];
    snprintf(number, sizeof number, "%u", index);
    snprintf(count, sizeof count, "%u", f->count);
    netns_address(index, host);
    snprintf(address, sizeof address, "%s:%d", host, PORT);
    char *argv[FLEET_ARGV_MAX + 5];
    int argc = 0;
    while (argc < FLEET_ARGV_MAX && f->program.argv[argc]) {
        argv[argc] = (char *)(uintptr_t)f->program.argv[argc];
        argc++;
    }
    argv[argc++] = number;
    argv[argc++] = count;
    argv[argc++] = (char *)(uintptr_t)seed;
    argv[argc++] = address;
    argv[argc] = NULL;

    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC)) return false;
    if (pipe2(out, O_CLOEXEC)) {
        close(in[0]);
        close(in[1]);
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) become(f, index, program, argv, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    struct fleet_node *node = &f->nodes[index];
    *node = (struct fleet_node){.pid = pid, .alive = pid > 0, .in = in[1], .out = out[0]};
    fcntl(node->out, F_SETFL, O_NONBLOCK);
    return pid > 0;
}

static bool all_ready(struct fleet *f, void *context)
{
    (void)context;
    for (uint32_t i = 0; i < f->count; i++)
        if (!f->nodes[i].ready) return f->errors > 0;
    return true;
}

static bool start_all(struct fleet *f, char *why, size_t why_size)
{
    char seed[17];
    uint8_t bytes[8];
    random_bytes(bytes, sizeof bytes);
    hex_encode(seed, bytes, sizeof bytes);
    int program = open(f->program.argv[0], O_PATH | O_CLOEXEC);
    if (program < 0) {
        snprintf(why, why_size, "%s: %s", f->program.argv[0], strerror(errno));
        return false;
    }
    netns_enter(&f->ns);
    bool ok = true;
    for (uint32_t i = 0; i < f->count && ok; i++) ok = start(f, i, program, seed);
    netns_leave(&f->ns);
    close(program);
    if (ok) ok = fleet_until(f, all_ready, NULL, READY_MS) && f->errors == 0;
    if (!ok) snprintf(why, why_size, "%s does not start: %s", f->program.name, f->errors ? f->error : strerror(errno));
    return ok;
}

bool fleet_open(struct fleet *f, const struct fleet_program *program, uint32_t count, char *why, size_t why_size)
{
    *f = (struct fleet){.program = *program, .count = count};
    *why = '\0';
    size_t pairs = (size_t)count * count;
    f->nodes = calloc(count, sizeof *f->nodes);
    f->sees = calloc(pairs, sizeof *f->sees);
    f->changed_us = calloc(pairs, sizeof *f->changed_us);
    f->doubts = calloc(pairs, sizeof *f->doubts);
    f->losses = calloc(pairs, sizeof *f->losses);
    check(f->nodes && f->sees && f->changed_us && f->doubts && f->losses);
    for (uint32_t i = 0; i < count; i++) f->nodes[i].in = f->nodes[i].out = -1;
    signal(SIGPIPE, SIG_IGN);
    (void)netns_open(&f->ns, count, why, why_size);
    if (start_all(f, why, why_size)) return true;
    fleet_close(f);
    return false;
}

void fleet_kill(struct fleet *f, uint32_t index)
{
    struct fleet_node *node = &f->nodes[index];
    if (node->pid > 0) {
        kill(node->pid, SIGKILL);
        waitpid(node->pid, NULL, 0);
    }
    if (node->in >= 0) close(node->in);
    if (node->out >= 0) close(node->out);
    free(node->text);
    *node = (struct fleet_node){.in = -1, .out = -1};
}

void fleet_close(struct fleet *f)
{
    for (uint32_t i = 0; i < f->count; i++)  // all at once: what they say of each other's deaths is of no use
        if (f->nodes[i].pid > 0) kill(f->nodes[i].pid, SIGKILL);
    for (uint32_t i = 0; i < f->count; i++) fleet_kill(f, i);
    netns_close(&f->ns);
    free(f->nodes);
    free(f->sees);
    free(f->changed_us);
    free(f->doubts);
    free(f->losses);
    free(f->deliveries);
    *f = (struct fleet){.ns = {.fd = -1, .before = -1}};
}

// ---- talking ----

void fleet_tell(struct fleet *f, uint32_t index, const char *format, ...)
{
    char line[LINE_MAX_SIZE];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    check(size >= 0 && (size_t)size < sizeof line - 1);
    line[size++] = '\n';
    if (f->nodes[index].alive && write(f->nodes[index].in, line, (size_t)size) != size) f->errors++;
}

// A process that ended by itself: how.
static void take_end(struct fleet *f, uint32_t index)
{
    struct fleet_node *node = &f->nodes[index];
    int status = 0;
    close(node->out);
    node->out = -1;
    node->alive = false;
    if (node->pid > 0) waitpid(node->pid, &status, 0);
    node->pid = 0;
    f->errors++;
    if (*f->error) return;
    if (WIFSIGNALED(status))
        snprintf(f->error, sizeof f->error, "process %u was ended by %s", index, strsignal(WTERMSIG(status)));
    else
        snprintf(f->error, sizeof f->error, "process %u ended with status %d", index, WEXITSTATUS(status));
}

static void read_node(struct fleet *f, uint32_t index)
{
    struct fleet_node *node = &f->nodes[index];
    for (;;) {
        if (node->text_capacity - node->text_size < READ_SIZE) {
            node->text_capacity = 2 * (node->text_size + READ_SIZE);
            node->text = realloc(node->text, node->text_capacity);
            check(node->text);
        }
        ssize_t got = read(node->out, node->text + node->text_size, READ_SIZE - 1);
        if (got <= 0) {
            if (got == 0) take_end(f, index);
            break;
        }
        node->text_size += (size_t)got;
        if (got < READ_SIZE - 1) break;
    }
    size_t from = 0;
    char *end;
    while ((end = memchr(node->text + from, '\n', node->text_size - from))) {
        *end = '\0';
        fleet_line(f, index, node->text + from);
        from = (size_t)(end - node->text) + 1;
    }
    node->text_size -= from;
    memmove(node->text, node->text + from, node->text_size);
}

void fleet_read(struct fleet *const *fleets, size_t count, int wait_ms)
{
    uint32_t total = 0, at = 0;
    for (size_t k = 0; k < count; k++) total += fleets[k]->count;
    struct pollfd *fds = calloc(total, sizeof *fds);
    check(fds);
    for (size_t k = 0; k < count; k++)
        for (uint32_t i = 0; i < fleets[k]->count; i++)
            fds[at++] = (struct pollfd){.fd = fleets[k]->nodes[i].out, .events = POLLIN};
    if (poll(fds, total, wait_ms) > 0) {
        at = 0;
        for (size_t k = 0; k < count; k++)
            for (uint32_t i = 0; i < fleets[k]->count; i++)
                if (fds[at++].revents && fleets[k]->nodes[i].out >= 0) read_node(fleets[k], i);
    }
    free(fds);
}

bool fleet_until(struct fleet *f, bool (*done)(struct fleet *f, void *context), void *context, double limit_ms)
{
    double end = now_ms() + limit_ms;
    for (;;) {
        if (done(f, context)) return true;
        double left = end - now_ms();
        if (left <= 0) return false;
        fleet_read((struct fleet *const[]){f}, 1, (int)left + 1);
    }
}

static bool never(struct fleet *f, void *context)
{
    (void)f;
    (void)context;
    return false;
}

void fleet_wait(struct fleet *f, double ms)
{
    (void)fleet_until(f, never, NULL, ms);
}

// ---- joining ----

// `degree` others by chance, none twice.
static void tell_some(struct fleet *f, uint32_t index)
{
    char line[LINE_MAX_SIZE - 64];
    size_t used = 0;
    bool named[NETNS_NODES_MAX] = {false};
    named[index] = true;
    uint32_t degree = f->program.degree < f->count - 1 ? f->program.degree : f->count - 1;
    for (uint32_t k = 0; k < degree && used < sizeof line;) {
        uint64_t random;
        random_bytes(&random, sizeof random);
        uint32_t other = (uint32_t)(random % f->count);
        if (named[other]) continue;
        named[other] = true;
        used += (size_t)snprintf(line + used, sizeof line - used, " %s", f->nodes[other].address);
        k++;
    }
    fleet_tell(f, index, "JOIN%s", line);
}

static bool all_full(struct fleet *f, void *context)
{
    (void)context;
    return fleet_full(f) == f->count;
}

uint32_t fleet_join(struct fleet *f, double limit_ms, double *took_ms)
{
    uint64_t from = fleet_wall_us(), last = from;
    for (uint32_t i = 0; i < f->count; i++) {
        if (f->program.degree)
            tell_some(f, i);
        else if (i > 0)
            fleet_tell(f, i, "JOIN %s", f->nodes[0].address);
    }
    (void)fleet_until(f, all_full, NULL, limit_ms);
    for (uint32_t i = 0; i < f->count; i++)
        if (f->nodes[i].full_us > last) last = f->nodes[i].full_us;
    *took_ms = (double)(last - from) * 1e-3;
    return fleet_full(f);
}
