// Joining: from the command to all at once, to the moment when the last process sees all.
#include <stdio.h>

#include "bench/mesh_parts.h"

enum { SETTLE_MS = 500, LIMIT_MS = 15000 };

static bool join_once(struct mesh_bench *m, const struct fleet_program *program, uint32_t nodes, struct series *s,
                      uint32_t *incomplete)
{
    struct fleet f;
    char why[256];
    if (!fleet_open(&f, program, nodes, why, sizeof why)) {
        bench_say(m->b, "%s", why);
        m->status = 1;
        return false;
    }
    fleet_wait(&f, SETTLE_MS);
    mesh_talk(m, &f, "before joining");
    double took_ms;
    uint32_t full = fleet_join(&f, LIMIT_MS, &took_ms);
    if (full == nodes) {
        series_add(s, took_ms * 1e-3);
    } else {
        (*incomplete)++;
        bench_say(m->b, "%s: %u of %u saw all %u within %d s", program->name, full, nodes, nodes, LIMIT_MS / 1000);
    }
    mesh_talk(m, &f, "joined");
    if (f.errors) bench_say(m->b, "%s: %llu errors; %s", program->name, (unsigned long long)f.errors, f.error);
    fleet_close(&f);
    return true;
}

static void join_all(struct mesh_bench *m, uint32_t nodes, uint32_t runs, uint32_t most_of_theirs)
{
    struct series ours = {0}, theirs = {0};
    uint32_t our_incomplete = 0, their_incomplete = 0, their_runs = 0;
    for (uint32_t r = 0; r < runs; r++) {
        if (!join_once(m, &m->ours, nodes, &ours, &our_incomplete)) return;
        if (!m->has_memberlist || r >= most_of_theirs) continue;
        if (join_once(m, &m->memberlist, nodes, &theirs, &their_incomplete)) their_runs++;
    }
    if (our_incomplete)
        series_note(&ours, "%u of %u runs incomplete after %d s", our_incomplete, runs, LIMIT_MS / 1000);
    if (their_incomplete)
        series_note(&theirs, "%u of %u runs incomplete after %d s", their_incomplete, their_runs, LIMIT_MS / 1000);
    char name[96];
    snprintf(name, sizeof name, "join: all see all, %u peers", nodes);
    mesh_report(m, name, "s", &ours, m->has_memberlist ? &m->memberlist : NULL, &theirs);
}

void mesh_join(struct mesh_bench *m)
{
    if (bench_nodes(m->b)) {
        join_all(m, mesh_nodes(m, 32), mesh_runs(m, 5), mesh_runs(m, 3));
        return;
    }
    join_all(m, 32, mesh_runs(m, 5), 3);
    join_all(m, 64, mesh_runs(m, 5), 2);
    join_all(m, 128, mesh_runs(m, 3), 2);
}
