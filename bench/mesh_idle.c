// What a peer costs when nothing happens: bytes on the wire, processor, memory. Ours, the real daemon and the peer at
// the same time, each in a network of its own.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/mesh_parts.h"
#include "bench/usage.h"

enum { SETTLE_MS = 40000, IDLE_SECONDS = 60 };  // a peer is young for 5 s and mixes its view for some more

// The daemons of `mycel lab up N`.
struct lab {
    struct netns ns;
    char home[64];
    pid_t pids[NETNS_NODES_MAX];
    uint32_t count;
};

struct sample {
    uint64_t bytes, packets, cpu_ns, wakeups, rss_bytes;
    bool wire;
};

struct idler {
    const char *name;
    const struct netns *ns;
    pid_t pids[NETNS_NODES_MAX];
    uint32_t count;
    struct sample before, after;
};

// Runs our own program inside, waits for it, and gives its stdout (to be freed), or NULL.
static char *run_self(const struct netns *ns, char *const argv[])
{
    int ends[2];
    if (pipe(ends)) return NULL;
    netns_enter(ns);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    netns_leave(ns);
    close(ends[1]);
    size_t size = 0, capacity = 1 << 16;
    char *text = malloc(capacity);
    for (ssize_t got = 1; text && got > 0; size += (size_t)got) {
        if (capacity - size < 4096) {
            char *larger = realloc(text, capacity *= 2);
            if (!larger) break;
            text = larger;
        }
        got = read(ends[0], text + size, capacity - size - 1);
        if (got < 0) got = 0;
    }
    close(ends[0]);
    int status = 1;
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0 || !text) {
        free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

static bool read_pids(struct lab *lab, const char *text)
{
    json_t *all = json_loads(text, 0, NULL), *peer;
    size_t index;
    json_array_foreach(json_object_get(all, "lab"), index, peer)
    {
        pid_t pid = (pid_t)json_integer_value(json_object_get(peer, "pid"));
        if (pid > 0 && lab->count < NETNS_NODES_MAX) lab->pids[lab->count++] = pid;
    }
    json_decref(all);
    return lab->count > 0;
}

static bool lab_open(struct mesh_bench *m, struct lab *lab, uint32_t nodes)
{
    char count[16], why[256] = "";
    *lab = (struct lab){.home = "/tmp/mycel-bench-XXXXXX"};
    if (!mkdtemp(lab->home)) return false;
    if (!netns_open(&lab->ns, 1, why, sizeof why)) bench_say(m->b, "%s", why);
    snprintf(count, sizeof count, "%u", nodes);
    char *const up[] = {"mycel", "lab", "up", count, "--home", lab->home, "-q", "--json", NULL};
    char *const status[] = {"mycel", "lab", "status", "--home", lab->home, "--json", NULL};
    char *text = run_self(&lab->ns, up);
    free(text);
    text = run_self(&lab->ns, status);
    bool ok = text && read_pids(lab, text) && lab->count == nodes;
    free(text);
    if (!ok) bench_say(m->b, "`mycel lab up %u` did not start all its peers", nodes);
    return ok;
}

static void lab_close(struct lab *lab)
{
    char *const down[] = {"mycel", "lab", "down", "--home", lab->home, "-q", NULL};
    char *text = run_self(&lab->ns, down);
    free(text);
    netns_close(&lab->ns);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", lab->home, (char *)NULL);
        _exit(127);
    }
    if (pid > 0) waitpid(pid, NULL, 0);
}

static struct sample look(const struct idler *p)
{
    struct sample s = {0};
    s.wire = netns_counters(p->ns, &s.bytes, &s.packets);
    for (uint32_t i = 0; i < p->count; i++) {
        struct usage u;
        if (!usage_of(p->pids[i], &u)) continue;
        s.cpu_ns += u.cpu_ns;
        s.wakeups += u.wakeups;
        s.rss_bytes += u.rss_bytes;
    }
    return s;
}

struct idle_figures {
    struct series bytes, cpu, memory;
};

static struct idle_figures figures_of(const struct idler *p, double seconds)
{
    struct idle_figures f = {0};
    double peers = p->count;
    if (p->before.wire)
        series_add(&f.bytes, (double)(p->after.bytes - p->before.bytes) / seconds / peers);
    else
        series_note(&f.bytes, "needs a private network");
    if (p->before.wire)
        series_note(&f.bytes, "%.3g packets/s", (double)(p->after.packets - p->before.packets) / seconds / peers);
    series_add(&f.cpu, 100 * (double)(p->after.cpu_ns - p->before.cpu_ns) * 1e-9 / seconds / peers);
    series_note(&f.cpu, "%.3g wakeups/s", (double)(p->after.wakeups - p->before.wakeups) / seconds / peers);
    series_add(&f.memory, (double)p->after.rss_bytes / peers / (1 << 20));
    return f;
}

static void report_idle(struct mesh_bench *m, const struct idler *ours, const struct idler *theirs, double seconds)
{
    const struct fleet_program *peer = theirs ? &m->memberlist : NULL;
    struct idle_figures f = figures_of(ours, seconds), t = {0};
    if (theirs) t = figures_of(theirs, seconds);
    char name[96];
    snprintf(name, sizeof name, "idle: %s, on the wire, a peer of %u", ours->name, ours->count);
    mesh_report(m, name, "B/s", &f.bytes, peer, &t.bytes);
    snprintf(name, sizeof name, "idle: %s, processor, a peer of %u", ours->name, ours->count);
    mesh_report(m, name, "%", &f.cpu, peer, &t.cpu);
    snprintf(name, sizeof name, "idle: %s, resident memory, a peer of %u", ours->name, ours->count);
    mesh_report(m, name, "MiB", &f.memory, peer, &t.memory);
}

static void idle_fleet(struct idler *p, const char *name, const struct fleet *f)
{
    *p = (struct idler){.name = name, .ns = &f->ns, .count = f->count};
    for (uint32_t i = 0; i < f->count; i++) p->pids[i] = f->nodes[i].pid;
}

void mesh_idle(struct mesh_bench *m)
{
    static struct idler idlers[3];
    static struct lab lab;
    struct fleet ours, theirs;
    uint32_t nodes = mesh_nodes(m, 32);
    double seconds = bench_seconds(m->b) >= 1 ? bench_seconds(m->b) : IDLE_SECONDS;
    struct fleet *fleets[2] = {&ours, &theirs};
    size_t open = 0;
    if (!mesh_start(m, &ours, &m->ours, nodes)) return;
    idle_fleet(&idlers[0], "gossip and links", fleets[open++]);
    bool has_peer = m->has_memberlist && mesh_start(m, &theirs, &m->memberlist, nodes);
    if (has_peer) idle_fleet(&idlers[1], "memberlist", fleets[open++]);
    bool has_lab = lab_open(m, &lab, nodes);
    if (has_lab) {
        idlers[2] = (struct idler){.name = "mycel up", .ns = &lab.ns, .count = lab.count};
        memcpy(idlers[2].pids, lab.pids, sizeof lab.pids);
    }
    for (double end = bench_now() + SETTLE_MS * 1e-3; bench_now() < end;) fleet_read(fleets, open, 100);
    mesh_talk(m, &ours, "before idling");
    for (size_t i = 0; i < 3; i++)
        if (idlers[i].count) idlers[i].before = look(&idlers[i]);
    double from = bench_now();
    while (bench_now() < from + seconds) fleet_read(fleets, open, 100);
    double took = bench_now() - from;
    for (size_t i = 0; i < 3; i++)
        if (idlers[i].count) idlers[i].after = look(&idlers[i]);
    mesh_talk(m, &ours, "after idling");
    report_idle(m, &idlers[0], has_peer ? &idlers[1] : NULL, took);
    if (has_lab) report_idle(m, &idlers[2], has_peer ? &idlers[1] : NULL, took);
    for (size_t k = 0; k < open; k++) fleet_close(fleets[k]);
    lab_close(&lab);
}
