// A process killed, one that falls silent, one stopped for a while, and a network cut in half: how long until everyone
// knows, and who is accused wrongly.
#include <signal.h>
#include <stdio.h>

#include "bench/mesh_parts.h"

enum {
    BETWEEN_MS = 2000,
    SEEN_LIMIT_MS = 45000,
    STOP_MS = 15000,
    BACK_LIMIT_MS = 30000,
    SPLIT_MS = 60000,
    HEAL_LIMIT_MS = 20000,
    HEAL_GOAL_MS = 10000,
};

struct lost {
    uint32_t index;
};

static bool seen_dead(struct fleet *f, void *context)
{
    struct lost *lost = context;
    uint64_t last_us;
    return fleet_still_see(f, lost->index, &last_us) == 0;
}

// From `from_us` until nobody sees `victim`; adds seconds to `s`, or notes that it took longer.
static void await_loss(struct fleet *f, uint32_t victim, uint64_t from_us, struct series *s)
{
    struct lost lost = {victim};
    uint64_t last_us;
    (void)fleet_until(f, seen_dead, &lost, SEEN_LIMIT_MS);
    uint32_t still = fleet_still_see(f, victim, &last_us);
    if (still == 0)
        series_add(s, (double)(last_us - from_us) * 1e-6);
    else
        series_note(s, "still seen by %u after %d s", still, SEEN_LIMIT_MS / 1000);
}

static void note_false(struct series *s, uint32_t losses, uint32_t doubts)
{
    if (losses) series_note(s, "%u wrong verdicts", losses);
    if (doubts) series_note(s, "%u wrong suspicions", doubts);
    if (!losses && !doubts) series_note(s, "nobody else accused");
}

// ---- kill -9 ----

static void kill_some(struct mesh_bench *m, const struct fleet_program *program, uint32_t nodes, uint32_t runs,
                      struct series *s)
{
    struct fleet f;
    if (!mesh_start(m, &f, program, nodes)) return;
    mesh_settle(&f);
    fleet_clear(&f);
    for (uint32_t r = 0; r < runs; r++) {
        uint32_t victim = mesh_random_living(&f);
        uint64_t from_us = fleet_wall_us();
        fleet_kill(&f, victim);
        await_loss(&f, victim, from_us, s);
        fleet_wait(&f, BETWEEN_MS);
    }
    note_false(s, fleet_false_losses(&f, UINT32_MAX), fleet_false_doubts(&f, UINT32_MAX));
    fleet_close(&f);
}

static void kill_beside(struct mesh_bench *m, uint32_t nodes, uint32_t runs, uint32_t their_runs)
{
    struct series ours = {0}, theirs = {0};
    kill_some(m, &m->ours, nodes, runs, &ours);
    if (m->has_memberlist) kill_some(m, &m->memberlist, nodes, their_runs, &theirs);
    char name[96];
    snprintf(name, sizeof name, "kill: kill -9 seen by all, %u peers", nodes);
    mesh_report(m, name, "s", &ours, m->has_memberlist ? &m->memberlist : NULL, &theirs);
}

void mesh_kill(struct mesh_bench *m)
{
    uint32_t runs = mesh_runs(m, 5);
    if (bench_nodes(m->b)) {
        kill_beside(m, mesh_nodes(m, 32), runs, 2);
        return;
    }
    kill_beside(m, 32, runs, 2);
    kill_beside(m, 128, runs < 3 ? runs : 3, 1);
}

// ---- silence ----

static void silence_some(struct fleet *f, uint32_t runs, struct series *s)
{
    fleet_clear(f);
    if (f->ns.fd < 0) {
        series_note(s, "needs a private network");
        return;
    }
    uint32_t losses = 0, doubts = 0;
    for (uint32_t r = 0; r < runs; r++) {
        uint32_t victim = mesh_random_living(f);
        uint64_t from_us = fleet_wall_us();
        if (!netns_cut_one(&f->ns, victim)) {
            series_note(s, "nft cannot drop packets here");
            break;
        }
        await_loss(f, victim, from_us, s);
        // What it thinks of the others is its own affair; so are its accusations, which the kernel still sends for it
        // once the hole is gone: they are not counted.
        fleet_kill(f, victim);
        losses += fleet_false_losses(f, UINT32_MAX);
        doubts += fleet_false_doubts(f, UINT32_MAX);
        (void)netns_heal(&f->ns);
        fleet_wait(f, BETWEEN_MS);
        fleet_clear(f);
    }
    note_false(s, losses, doubts);
}

static bool whole(struct fleet *f, void *context)
{
    (void)context;
    return fleet_all_see_all(f);
}

// `found`: until everyone knows of the stopped one; `back`: from its going on until all see all.
static void stop_one(struct fleet *f, struct series *found, struct series *back)
{
    fleet_clear(f);
    uint32_t victim = mesh_random_living(f);
    uint64_t from_us = fleet_wall_us();
    kill(f->nodes[victim].pid, SIGSTOP);
    fleet_wait(f, STOP_MS);
    uint64_t last_us;
    uint32_t still = fleet_still_see(f, victim, &last_us);
    if (still == 0)
        series_add(found, (double)(last_us - from_us) * 1e-6);
    else
        series_note(found, "still seen by %u after %d s", still, STOP_MS / 1000);
    uint64_t goes_us = fleet_wall_us();
    kill(f->nodes[victim].pid, SIGCONT);
    fleet_wait(f, BETWEEN_MS);  // it may accuse others when it wakes
    if (fleet_until(f, whole, NULL, BACK_LIMIT_MS)) {
        uint64_t latest_us = goes_us;
        for (size_t i = 0; i < (size_t)f->count * f->count; i++)
            if (f->changed_us[i] > latest_us) latest_us = f->changed_us[i];
        series_add(back, (double)(latest_us - goes_us) * 1e-6);
    } else {
        series_note(back, "%u pairs not back after %d s", fleet_unseen(f), BACK_LIMIT_MS / 1000);
    }
    note_false(found, fleet_false_losses(f, victim), fleet_false_doubts(f, victim));
}

struct silent {
    struct series hole, found, back;
};

static void silent_some(struct mesh_bench *m, const struct fleet_program *program, uint32_t nodes, uint32_t runs,
                        struct silent *out)
{
    struct fleet f;
    if (!mesh_start(m, &f, program, nodes)) return;
    mesh_settle(&f);
    stop_one(&f, &out->found, &out->back);
    silence_some(&f, runs, &out->hole);
    fleet_close(&f);
}

void mesh_silent(struct mesh_bench *m)
{
    uint32_t nodes = mesh_nodes(m, 32);
    const struct fleet_program *peer = m->has_memberlist ? &m->memberlist : NULL;
    struct silent ours = {0}, theirs = {0};
    silent_some(m, &m->ours, nodes, mesh_runs(m, 3), &ours);
    if (peer) silent_some(m, peer, nodes, 1, &theirs);
    char name[96];
    snprintf(name, sizeof name, "silent: black-holed peer seen by all, %u peers", nodes);
    mesh_report(m, name, "s", &ours.hole, peer, &theirs.hole);
    snprintf(name, sizeof name, "silent: peer stopped for 15 s seen by all, %u peers", nodes);
    mesh_report(m, name, "s", &ours.found, peer, &theirs.found);
    snprintf(name, sizeof name, "silent: and all see all after it goes on, %u peers", nodes);
    mesh_report(m, name, "s", &ours.back, peer, &theirs.back);
}

// ---- split ----

struct half {
    struct fleet fleet;
    struct series healed;    // seconds from the heal to all pairs
    uint32_t apart, within;  // pairs lost by the end of the cut; of them, back in time
    bool began;
};

static void split_begin(struct mesh_bench *m, struct half *h, const struct fleet_program *program, uint32_t nodes)
{
    if (!mesh_start(m, &h->fleet, program, nodes)) return;
    mesh_settle(&h->fleet);
    h->began = netns_cut_half(&h->fleet.ns, nodes / 2);
    if (h->began) return;
    series_note(&h->healed, h->fleet.ns.fd < 0 ? "needs a private network" : "nft cannot drop packets here");
    fleet_close(&h->fleet);
}

// Pairs of the two sides that don't see each other.
static uint32_t across_unseen(const struct fleet *f)
{
    uint32_t unseen = 0, half = f->count / 2;
    for (uint32_t i = 0; i < f->count; i++)
        for (uint32_t j = 0; j < f->count; j++)
            if ((i < half) != (j < half) && !f->sees[i * f->count + j]) unseen++;
    return unseen;
}

static void split_end(struct half *h, uint64_t heal_us)
{
    struct fleet *f = &h->fleet;
    if (fleet_all_see_all(f)) {
        uint64_t last_us = heal_us;
        for (size_t i = 0; i < (size_t)f->count * f->count; i++)
            if (f->changed_us[i] > last_us) last_us = f->changed_us[i];
        series_add(&h->healed, (double)(last_us - heal_us) * 1e-6);
    } else {
        series_note(&h->healed, "%u of %u pairs after %d s", h->apart - across_unseen(f), h->apart,
                    HEAL_LIMIT_MS / 1000);
    }
    series_note(&h->healed, "%u of %u lost pairs back within %d s", h->within, h->apart, HEAL_GOAL_MS / 1000);
    fleet_close(f);
}

static void split_watch(struct half *const halves[], size_t count, double ms)
{
    struct fleet *fleets[2];
    size_t open = 0;
    for (size_t k = 0; k < count; k++)
        if (halves[k]->began) fleets[open++] = &halves[k]->fleet;
    double end = bench_now() + ms * 1e-3;
    for (double left; (left = end - bench_now()) > 0;) {
        bool all = true;
        for (size_t k = 0; k < open; k++) all = all && fleet_all_see_all(fleets[k]);
        if (all) return;
        fleet_read(fleets, open, (int)(left * 1e3) + 1);
    }
}

// Ours and the peer's at the same time, each in its own network: most of it is waiting.
void mesh_split(struct mesh_bench *m)
{
    uint32_t nodes = mesh_nodes(m, 32);
    double split_ms = bench_seconds(m->b) >= 1 ? 1e3 * bench_seconds(m->b) : SPLIT_MS;
    static struct half ours, theirs;
    struct half *const halves[] = {&ours, &theirs};
    ours = theirs = (struct half){0};
    split_begin(m, &ours, &m->ours, nodes);
    if (m->has_memberlist) split_begin(m, &theirs, &m->memberlist, nodes);
    // Not split_watch: at first everybody still sees everybody.
    for (double end = bench_now() + split_ms * 1e-3; bench_now() < end;) {
        struct fleet *fleets[2];
        size_t open = 0;
        for (size_t k = 0; k < 2; k++)
            if (halves[k]->began) fleets[open++] = &halves[k]->fleet;
        if (open == 0) break;
        fleet_read(fleets, open, 100);
    }
    for (size_t k = 0; k < 2; k++)
        if (halves[k]->began) halves[k]->apart = across_unseen(&halves[k]->fleet);
    uint64_t heal_us = fleet_wall_us();
    for (size_t k = 0; k < 2; k++)
        if (halves[k]->began) (void)netns_heal(&halves[k]->fleet.ns);
    split_watch(halves, 2, HEAL_GOAL_MS);
    for (size_t k = 0; k < 2; k++)
        if (halves[k]->began) halves[k]->within = halves[k]->apart - across_unseen(&halves[k]->fleet);
    split_watch(halves, 2, HEAL_LIMIT_MS - HEAL_GOAL_MS);
    for (size_t k = 0; k < 2; k++)
        if (halves[k]->began) split_end(halves[k], heal_us);
    char name[96];
    snprintf(name, sizeof name, "split: all pairs back after %.0f s in halves, %u peers", split_ms * 1e-3, nodes);
    mesh_report(m, name, "s", &ours.healed, m->has_memberlist ? &m->memberlist : NULL, &theirs.healed);
}
