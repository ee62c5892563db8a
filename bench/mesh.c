#include "bench/mesh.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/mesh_parts.h"
#include "bench/peers.h"
#include "bench/usage.h"
#include "core/error.h"
#include "core/sign.h"

enum { JOIN_LIMIT_MS = 20000, GOSSIPSUB_DEGREE = 8, SETTLE_MS = 8000, SETTLE_MS_A_PEER = 250 };

// ---- figures ----

void series_add(struct series *s, double value)
{
    if (s->count < SERIES_MAX) s->values[s->count++] = value;
}

void series_note(struct series *s, const char *format, ...)
{
    size_t used = strlen(s->note);
    if (used && used + 2 < sizeof s->note) used += (size_t)snprintf(s->note + used, sizeof s->note - used, ", ");
    if (used >= sizeof s->note) return;
    va_list args;
    va_start(args, format);
    vsnprintf(s->note + used, sizeof s->note - used, format, args);
    va_end(args);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sorted(const struct series *s, double out[SERIES_MAX])
{
    memcpy(out, s->values, sizeof s->values);
    qsort(out, s->count, sizeof *out, ascending);
}

double series_median(const struct series *s)
{
    double values[SERIES_MAX];
    if (s->count == 0) return NAN;
    sorted(s, values);
    return s->count % 2 ? values[s->count / 2] : (values[s->count / 2 - 1] + values[s->count / 2]) / 2;
}

static void report(struct mesh_bench *m, const char *name, const char *unit, const struct series *ours,
                   const struct fleet_program *peer, const struct series *theirs, bool less)
{
    struct bench_row row = {.unit = unit, .less_is_better = less};
    snprintf(row.name, sizeof row.name, "%s", name);
    if (ours->count) {
        double values[SERIES_MAX];
        sorted(ours, values);
        row.value = series_median(ours);
        row.runs = ours->count;
        row.lowest = values[0];
        row.highest = values[ours->count - 1];
        row.spread = row.value > 0 ? (values[ours->count * 3 / 4] - values[ours->count / 4]) / row.value : 0;
    } else {
        row.value = -1;  // never; the note says why
    }
    if (*ours->note) row.note = ours->note;
    if (peer) {
        row.beside = peer->name;
        row.beside_value = theirs->count ? series_median(theirs) : 0;
        if (*theirs->note) row.peer_note = theirs->note;
    }
    bench_report(m->b, &row);
}

void mesh_report(struct mesh_bench *m, const char *name, const char *unit, const struct series *ours,
                 const struct fleet_program *peer, const struct series *theirs)
{
    report(m, name, unit, ours, peer, theirs, true);
}

void mesh_report_more(struct mesh_bench *m, const char *name, const char *unit, const struct series *ours,
                      const struct fleet_program *peer, const struct series *theirs)
{
    report(m, name, unit, ours, peer, theirs, false);
}

// ---- what the parts need ----

uint32_t mesh_nodes(const struct mesh_bench *m, uint32_t otherwise)
{
    uint32_t nodes = bench_nodes(m->b) ? bench_nodes(m->b) : otherwise;
    return nodes < 2 ? 2 : nodes > NETNS_NODES_MAX ? NETNS_NODES_MAX : nodes;
}

uint32_t mesh_runs(const struct mesh_bench *m, uint32_t otherwise)
{
    uint32_t runs = bench_runs(m->b) ? bench_runs(m->b) : otherwise;
    return runs > SERIES_MAX ? SERIES_MAX : runs;
}

void mesh_settle(struct fleet *f)
{
    uint32_t ms = f->count * SETTLE_MS_A_PEER;
    fleet_wait(f, ms < SETTLE_MS ? ms : SETTLE_MS);
}

uint32_t mesh_random(uint32_t below)
{
    uint64_t value;
    random_bytes(&value, sizeof value);
    return (uint32_t)(value % below);
}

uint32_t mesh_random_living(const struct fleet *f)
{
    uint32_t index;
    do index = mesh_random(f->count);
    while (!f->nodes[index].alive);
    return index;
}

void mesh_talk(struct mesh_bench *m, struct fleet *f, const char *when)
{
    char text[1024];
    if (!getenv("MYCEL_BENCH_VERBOSE") || f->program.argv[0] != m->ours.argv[0]) return;
    double cpu_s = 0;
    struct usage u;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->nodes[i].alive && usage_of(f->nodes[i].pid, &u)) cpu_s += (double)u.cpu_ns * 1e-9;
    fleet_talk(f, text, sizeof text);
    fprintf(stderr, "%s: %.3g s of processor;%s\n", when, cpu_s, text);
}

bool mesh_start(struct mesh_bench *m, struct fleet *f, const struct fleet_program *program, uint32_t nodes)
{
    char why[256];
    double took_ms;
    if (!fleet_open(f, program, nodes, why, sizeof why)) {
        bench_say(m->b, "%s", why);
        m->status = core_error_exit(CORE_ERR_FAILED);
        return false;
    }
    uint32_t full = fleet_join(f, JOIN_LIMIT_MS, &took_ms);
    // A straggler is counted where joining is measured; the other parts need a whole mesh.
    for (int again = 0; full < nodes && again < 3; again++) {
        bench_say(m->b, "%s: %u of %u see all; starting anew", program->name, full, nodes);
        fleet_close(f);
        if (!fleet_open(f, program, nodes, why, sizeof why)) return false;
        full = fleet_join(f, JOIN_LIMIT_MS, &took_ms);
    }
    return true;
}

static bool build(struct mesh_bench *m, struct fleet_program *program, char path[PEERS_PATH_MAX])
{
    char why[512];
    bench_say(m->b, "building %s", program->name);
    if (peers_build_go(program->name, path, why, sizeof why)) {
        program->argv[0] = path;
        return true;
    }
    fprintf(stderr, "bench mesh: %s\n", why);  // also with -q: a comparison is missing
    return false;
}

int bench_mesh(struct bench *b)
{
    static char self[PEERS_PATH_MAX], memberlist[PEERS_PATH_MAX], gossipsub[PEERS_PATH_MAX];
    struct mesh_bench m = {.b = b,
                           .ours = {.name = "mycel", .argv = {self, "bench", "mesh-node"}},
                           .memberlist = {.name = "memberlist"},
                           .gossipsub = {.name = "gossipsub", .degree = GOSSIPSUB_DEGREE}};
    if (readlink("/proc/self/exe", self, sizeof self - 1) <= 0) return core_error_exit(CORE_ERR_IO);
    if (bench_with_peers(b)) {
        bool casts = bench_wants(b, "cast") || bench_wants(b, "large") || bench_wants(b, "load");
        m.has_memberlist = build(&m, &m.memberlist, memberlist);
        m.has_gossipsub = casts && build(&m, &m.gossipsub, gossipsub);
        bench_say(b, "zyre is left out: Debian 12 has no package of it");
    }
    struct netns ns;
    char why[256];
    if (netns_open(&ns, 1, why, sizeof why))
        netns_close(&ns);
    else
        fprintf(stderr, "bench mesh: %s; what needs one is left out\n", why);
    static const struct {
        const char *name;
        void (*run)(struct mesh_bench *m);
    } parts[] = {{"join", mesh_join}, {"kill", mesh_kill}, {"silent", mesh_silent}, {"split", mesh_split},
                 {"cast", mesh_cast}, {"load", mesh_load}, {"large", mesh_large},   {"idle", mesh_idle}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (bench_wants(b, parts[i].name)) parts[i].run(&m);
    return m.status;
}
