#include "bench/aggregate_fleet.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/sign.h"

enum { LINE_SIZE = 512, PATIENCE_MS = 120000 };

static void child(const struct aggregate_options *o, uint32_t index, const char *seed, int in, int out)
{
    char number[16], count[16], shape[64], address[64], path[96];
    const uint32_t host = index % o->machines + 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(in, 0);
    dup2(out, 1);
    snprintf(number, sizeof number, "%u", index);
    snprintf(count, sizeof count, "%u", o->count);
    snprintf(shape, sizeof shape, "%u:%llu:%u:%d", o->machines, (unsigned long long)o->elements, o->bits, o->copies);
    snprintf(address, sizeof address, "127.0.0.1:0");
    if (o->tag) {
        snprintf(path, sizeof path, "/run/netns/mycel-%s-%u", o->tag, host);
        const int ns = open(path, O_RDONLY | O_CLOEXEC);
        if (ns < 0 || setns(ns, CLONE_NEWNET)) _exit(126);
        snprintf(address, sizeof address, "10.77.0.%u:0", host);
    }
    char *argv[] = {(char *)(uintptr_t) "mycel",
                    (char *)(uintptr_t) "bench",
                    (char *)(uintptr_t) "aggregate-node",
                    number,
                    count,
                    (char *)(uintptr_t)seed,
                    address,
                    shape,
                    NULL};
    execv("/proc/self/exe", argv);
    _exit(127);
}

static bool start(struct aggregate_fleet *f, const struct aggregate_options *o, uint32_t index, const char *seed)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC)) return false;
    if (pipe2(out, O_CLOEXEC)) {
        close(in[0]);
        close(in[1]);
        return false;
    }
    const pid_t pid = fork();
    if (pid == 0) child(o, index, seed, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    f->nodes[index].in = fdopen(in[1], "w");
    f->nodes[index].out = fdopen(out[0], "r");
    if (f->nodes[index].out) setvbuf(f->nodes[index].out, NULL, _IONBF, 0);  // poll sees what is there
    f->nodes[index].pid = pid;
    f->nodes[index].dead = pid < 0;
    return pid > 0 && f->nodes[index].in && f->nodes[index].out;
}

// The next line of a peer into `line`; what it says of errors is kept. False: it ended, or says nothing for long.
static bool hear(struct aggregate_fleet *f, uint32_t index, char line[LINE_SIZE])
{
    FILE *out = f->nodes[index].out;
    for (;;) {
        struct pollfd p = {.fd = fileno(out), .events = POLLIN};
        if (poll(&p, 1, PATIENCE_MS) <= 0 || !fgets(line, LINE_SIZE, out)) {
            if (!*f->why) snprintf(f->why, sizeof f->why, "peer %u ended, or said nothing for long", index);
            return false;
        }
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "ERR ", 4) != 0) return true;
        if (!*f->why) snprintf(f->why, sizeof f->why, "peer %u: %.200s", index, line + 4);
    }
}

static bool expect(struct aggregate_fleet *f, const char *word)
{
    char line[LINE_SIZE];
    for (uint32_t i = 0; i < f->count; i++)
        if (!f->nodes[i].dead && (!hear(f, i, line) || strcmp(line, word) != 0)) return false;
    return true;
}

static void tell(struct aggregate_fleet *f, const char *text)
{
    for (uint32_t i = 0; i < f->count; i++) {
        if (f->nodes[i].dead) continue;
        fputs(text, f->nodes[i].in);
        fflush(f->nodes[i].in);
    }
}

bool aggregate_fleet_open(struct aggregate_fleet *f, const struct aggregate_options *options)
{
    *f = (struct aggregate_fleet){.count = options->count};
    signal(SIGPIPE, SIG_IGN);
    char seed[24], line[LINE_SIZE], peers[AGGREGATE_FLEET_MAX * 80] = "PEERS";
    uint64_t random;
    random_bytes(&random, sizeof random);
    snprintf(seed, sizeof seed, "%016llx", (unsigned long long)random);
    for (uint32_t i = 0; i < f->count; i++)
        if (!start(f, options, i, seed)) return false;
    for (uint32_t i = 0; i < f->count; i++) {
        if (!hear(f, i, line) || strncmp(line, "READY ", 6) != 0) return false;
        snprintf(peers + strlen(peers), sizeof peers - strlen(peers), " %.60s", line + 6);
    }
    snprintf(peers + strlen(peers), sizeof peers - strlen(peers), "\n");
    tell(f, peers);
    return expect(f, "LINKED");
}

void aggregate_fleet_close(struct aggregate_fleet *f)
{
    for (uint32_t i = 0; i < f->count; i++) {
        if (f->nodes[i].pid <= 0) continue;
        kill(f->nodes[i].pid, SIGKILL);
        waitpid(f->nodes[i].pid, NULL, 0);
        if (f->nodes[i].in) fclose(f->nodes[i].in);
        if (f->nodes[i].out) fclose(f->nodes[i].out);
    }
    f->count = 0;
}

static uint64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

bool aggregate_fleet_round(struct aggregate_fleet *f, uint64_t round, uint32_t kill_index, struct aggregate_took *took)
{
    char line[LINE_SIZE];
    const bool kills = kill_index < f->count;
    uint64_t from = UINT64_MAX, until = 0;
    snprintf(line, sizeof line, "ROUND %llu %d\n", (unsigned long long)round, kills);
    tell(f, line);
    if (kills) {
        if (!expect(f, "HELD")) return false;
        from = clock_us();
        kill(f->nodes[kill_index].pid, SIGKILL);
        f->nodes[kill_index].dead = true;
        tell(f, "GO\n");
    }
    *took = (struct aggregate_took){0};
    for (uint32_t i = 0; i < f->count; i++) {
        if (f->nodes[i].dead) continue;
        unsigned long long n, start_us, end_us, sent, cpu_us;
        if (!hear(f, i, line) ||
            sscanf(line, "DONE %llu %llu %llu %llu %llu", &n, &start_us, &end_us, &sent, &cpu_us) != 5)
            return false;
        if (!kills && start_us < from) from = start_us;
        if (end_us > until) until = end_us;
        took->cpu_ms += (double)cpu_us / 1e3;
        if (sent > took->sent_most) took->sent_most = sent;
    }
    took->ms = (double)(until - from) / 1e3;
    return !*f->why;
}

bool aggregate_fleet_right(struct aggregate_fleet *f)
{
    char line[LINE_SIZE], first[40] = "";
    bool right = true;
    tell(f, "WHAT\n");
    for (uint32_t i = 0; i < f->count; i++) {
        char hash[40];
        unsigned wrong;
        if (f->nodes[i].dead) continue;
        if (!hear(f, i, line) || sscanf(line, "IS %39s %u", hash, &wrong) != 2) return false;
        right &= wrong == 0 && (!*first || strcmp(first, hash) == 0);
        snprintf(first, sizeof first, "%s", hash);
    }
    if (!right) snprintf(f->why, sizeof f->why, "the mean is wrong");
    return right;
}
