// What goes wrong in mesh mode, and when: the scenario's own faults, or some drawn from the world's stream.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "tools/sim/mesh_world.h"

enum {
    AFTER_US = 8000000,  // what a fault leaves behind may show for so long after it
    FIRST_US = 1000000,
    STOP_US = 15000000,
    TRIES = 8,
};

// What MESH_RESTORE ends.
enum { END_CUT, END_PAIRS, END_CLOCK, END_SLOW, END_STALE, END_LEAVE };

static bool on(const struct mesh_world *w, uint32_t fault)
{
    return w->options.scenario == SCENARIO_RANDOM && (w->options.faults & fault);
}

static void count(struct mesh_world *w, uint32_t fault, uint32_t index)
{
    for (uint32_t i = 0; i < MESH_FAULT_COUNT; i++) {
        if (fault != 1u << i) continue;
        w->report->faults[i]++;
        if (index == MESH_NOBODY)
            mesh_say(w, "fault %s", mesh_fault_names[i]);
        else
            mesh_say(w, "fault %s of peer %u", mesh_fault_names[i], index);
    }
}

static void upset(struct mesh_world *w, uint32_t index, uint64_t for_us)
{
    struct mesh_node *n = &w->nodes[index];
    const uint64_t until = w->now_us + for_us + AFTER_US;
    if (until > n->upset_us) n->upset_us = until;
}

static void restore_in(struct mesh_world *w, uint32_t what, uint32_t node, uint64_t in_us)
{
    mesh_push(w, (struct mesh_event){.kind = MESH_RESTORE, .node = node, .life = w->nodes[node].life, .number = what},
              in_us);
}

// ---- cuts ----

static void cut(struct mesh_world *w, bool both, uint64_t for_us)
{
    w->cut[0][1] = true;
    w->cut[1][0] = both;
    w->any_cut = true;
    for (uint32_t i = 0; i < w->options.nodes; i++) upset(w, i, for_us);
    restore_in(w, END_CUT, 0, for_us);
}

static void split(struct mesh_world *w, bool both, uint64_t for_us)
{
    // Exactly half of them, drawn.
    uint32_t left = w->options.nodes / 2;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        const bool here = mesh_chance(w, w->options.nodes - i) < left;
        w->nodes[i].group = here;
        left -= here;
    }
    cut(w, both, for_us);
}

static void cut_site(struct mesh_world *w, uint64_t for_us)
{
    const uint32_t site = mesh_chance(w, w->options.sites);
    for (uint32_t i = 0; i < w->options.nodes; i++) w->nodes[i].group = w->nodes[i].site == site;
    cut(w, true, for_us);
}

static void cut_pairs(struct mesh_world *w, uint64_t for_us)
{
    const uint32_t pairs = 1 + w->options.nodes / 8;
    w->pairs = realloc(w->pairs, pairs * sizeof *w->pairs);
    check(w->pairs);
    w->pair_count = 0;
    for (uint32_t i = 0; i < pairs; i++) {
        // Where there is a link: elsewhere nobody would notice.
        const uint32_t from = mesh_chance(w, w->options.nodes);
        const struct mesh_node *n = &w->nodes[from];
        if (!n->side_count) continue;
        const uint32_t to = n->sides[mesh_chance(w, n->side_count)].other;
        w->pairs[w->pair_count++] = (struct mesh_pair){from, to, mesh_chance(w, 2)};
        upset(w, from, for_us);
        upset(w, to, for_us);
    }
    restore_in(w, END_PAIRS, 0, for_us);
}

// ---- peers ----

static uint32_t pick(struct mesh_world *w)
{
    uint32_t down = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++) down += !w->nodes[i].up;
    const uint32_t index = mesh_chance(w, w->options.nodes);
    const struct mesh_node *n = &w->nodes[index];
    if (!mesh_running(w, n) || n->hostile || n->left || 2 * down >= w->options.nodes) return MESH_NOBODY;
    return index;
}

static void forget(struct mesh_node *n)
{
    free(n->saved.bytes);
    n->saved.bytes = NULL;
    n->saved.size = 0;
}

// The process goes and comes back. kept: from what it had saved a moment ago; else from an older state or none.
static void crash(struct mesh_world *w, uint32_t index, uint32_t kind)
{
    struct mesh_node *n = &w->nodes[index];
    const uint64_t down_us = 50000 + (uint64_t)mesh_chance(w, 15000000);
    if (kind != MESH_STALE) mesh_node_save(w, index);
    upset(w, index, down_us);
    mesh_node_stop(w, index, kind != MESH_SILENT);
    if (kind == MESH_MOVE) n->moves++;
    if (kind == MESH_STALE) n->incarnation = 0;  // not known: the mesh tells it
    mesh_push(w, (struct mesh_event){.kind = MESH_BOOT, .node = index}, down_us);
}

static void die(struct mesh_world *w, uint32_t index, bool told)
{
    mesh_node_stop(w, index, told);
    w->nodes[index].gone = true;
}

static void turn_clock(struct mesh_world *w, uint32_t index)
{
    struct mesh_node *n = &w->nodes[index];
    n->clock_ms = mesh_clock(w, n);
    n->clock_us = w->now_us;
    const uint64_t for_us = 3000000 + (uint64_t)mesh_chance(w, 10000000);
    upset(w, index, for_us);
    n->tick_us = 0;
    if (mesh_chance(w, 2)) {
        n->clock_ms += 1000 + mesh_chance(w, 600000);
        n->turned_us = w->now_us;
    } else {
        n->clock_rate = mesh_chance(w, 2) ? 500000 + mesh_chance(w, 450000) : 1050000 + mesh_chance(w, 2000000);
        restore_in(w, END_CLOCK, index, for_us);
    }
    n->tick_us = w->now_us + 1;
    mesh_push(w, (struct mesh_event){.kind = MESH_TICK, .node = index, .life = n->life}, 1);
}

static void clock_right(struct mesh_world *w, uint32_t index)
{
    struct mesh_node *n = &w->nodes[index];
    n->clock_ms = mesh_clock(w, n);
    n->clock_us = w->now_us;
    n->clock_rate = 1000000;
}

static void mass(struct mesh_world *w)
{
    const uint32_t nodes = w->options.nodes;
    uint32_t left = nodes * 8 / 10;
    for (uint32_t i = 0; i < nodes; i++) {
        const bool dies = mesh_chance(w, nodes - i) < left;
        left -= dies;
        if (dies && w->nodes[i].up) die(w, i, true);
    }
    for (uint32_t i = 0; i < nodes; i++) upset(w, i, 0);
}

static void one_peer(struct mesh_world *w, uint32_t kind)
{
    const uint32_t index = pick(w);
    if (index == MESH_NOBODY) return;
    struct mesh_node *n = &w->nodes[index];
    count(w, kind, index);
    switch (kind) {
    case MESH_CRASH:
    case MESH_SILENT:
    case MESH_MOVE: crash(w, index, kind); break;
    case MESH_STALE:
        if (mesh_chance(w, 3))
            mesh_node_save(w, index);
        else
            forget(n);
        restore_in(w, END_STALE, index, 1000000 + (uint64_t)mesh_chance(w, 5000000));
        break;
    case MESH_PAUSE:
        n->paused_us = w->now_us + 500000 + (uint64_t)mesh_chance(w, 15000000);
        upset(w, index, n->paused_us - w->now_us);
        break;
    case MESH_CLOCK: turn_clock(w, index); break;
    case MESH_SLOW: {
        const uint64_t for_us = 3000000 + (uint64_t)mesh_chance(w, 10000000);
        n->slow = true;
        upset(w, index, for_us);
        restore_in(w, END_SLOW, index, for_us);
        break;
    }
    case MESH_LEAVE:
        gossip_leave(n->gossip, mesh_clock(w, n), &w->out);
        n->left = true;
        mesh_node_finish(w, index);
        restore_in(w, END_LEAVE, index, 500000);
        break;
    default: check(false);
    }
}

// ---- when ----

void mesh_faults_begin(struct mesh_world *w)
{
    w->drop = on(w, MESH_DROP) ? 1 + mesh_chance(w, 80) : 0;
    w->delay = on(w, MESH_DELAY) ? 1 + mesh_chance(w, 40) : 0;
    w->reorder = on(w, MESH_REORDER) ? 1 + mesh_chance(w, 300) : 0;
    w->duplicate = on(w, MESH_DUPLICATE) ? 1 + mesh_chance(w, 80) : 0;
    if (w->options.scenario == SCENARIO_BROADCAST || w->rounds.on) return;
    mesh_push(w, (struct mesh_event){.kind = MESH_FAULT}, FIRST_US);
}

static void scenario(struct mesh_world *w)
{
    const uint32_t hundredth = w->options.nodes < 200 ? 1 : w->options.nodes / 100;
    switch (w->options.scenario) {
    case SCENARIO_KILL:
    case SCENARIO_BLACK_HOLE:
        for (uint32_t i = 0; i < hundredth; i++) {
            const uint32_t index = pick(w);
            if (index == MESH_NOBODY) continue;
            count(w, w->options.scenario == SCENARIO_KILL ? MESH_CRASH : MESH_SILENT, index);
            die(w, index, w->options.scenario == SCENARIO_KILL);
        }
        break;
    case SCENARIO_STOP: {
        const uint32_t index = pick(w);
        if (index == MESH_NOBODY) break;
        w->nodes[index].paused_us = w->now_us + STOP_US;
        upset(w, index, STOP_US);
        count(w, MESH_PAUSE, index);
        measure_died(w, index);  // to the others, until it goes on
        break;
    }
    case SCENARIO_SPLIT:
        split(w, true, MESH_FOREVER / 4);
        count(w, MESH_SPLIT, MESH_NOBODY);
        break;
    case SCENARIO_SITE_CUT:
        cut_site(w, MESH_FOREVER / 4);
        count(w, MESH_SITE, MESH_NOBODY);
        break;
    case SCENARIO_MASS_DEATH:
        mass(w);
        count(w, MESH_MASS, MESH_NOBODY);
        break;
    case SCENARIO_RANDOM:
    case SCENARIO_BROADCAST:
    case SCENARIO_ONE_ORIGIN:
    case SCENARIO_ANY_ORIGIN:
    case SCENARIO_COUNT: break;
    }
}

void mesh_faults_next(struct mesh_world *w)
{
    if (w->calm) return;
    if (w->options.scenario != SCENARIO_RANDOM) {
        scenario(w);
        return;
    }
    for (uint32_t tries = 0; tries < TRIES; tries++) {
        const uint32_t kind = 1u << (4 + mesh_chance(w, MESH_FAULT_COUNT - 4));
        if (!(w->options.faults & kind)) continue;
        const bool is_cut = kind & (MESH_SPLIT | MESH_ONEWAY | MESH_SITE);
        if ((is_cut && w->any_cut) || (kind == MESH_PAIR && w->pair_count)) continue;
        const uint64_t for_us = 500000 + (uint64_t)mesh_chance(w, 20000000);
        switch (kind) {
        case MESH_SPLIT: split(w, true, for_us); break;
        case MESH_ONEWAY: split(w, false, for_us); break;
        case MESH_SITE: cut_site(w, for_us); break;
        case MESH_PAIR: cut_pairs(w, for_us); break;
        case MESH_MASS: mass(w); break;
        default: one_peer(w, kind); break;
        }
        if (is_cut || kind == MESH_PAIR || kind == MESH_MASS) count(w, kind, MESH_NOBODY);
        break;
    }
    mesh_push(w, (struct mesh_event){.kind = MESH_FAULT}, 200000 + (uint64_t)mesh_chance(w, 4000000));
}

static void uncut(struct mesh_world *w)
{
    if (w->any_cut) mesh_say(w, "the cut is over");
    memset(w->cut, 0, sizeof w->cut);
    w->any_cut = false;
}

void mesh_faults_restore(struct mesh_world *w, const struct mesh_event *e)
{
    struct mesh_node *n = &w->nodes[e->node];
    const bool lives = n->up && n->life == e->life;
    switch (e->number) {
    case END_CUT:
        if (!w->calm) uncut(w);
        break;
    case END_PAIRS: w->pair_count = 0; break;
    case END_CLOCK: clock_right(w, e->node); break;
    case END_SLOW: n->slow = false; break;
    case END_STALE:
        if (lives && !w->calm) crash(w, e->node, MESH_STALE);
        break;
    case END_LEAVE:
        if (lives) die(w, e->node, true);
        break;
    default: check(false);
    }
}

void mesh_faults_end(struct mesh_world *w)
{
    w->drop = w->delay = w->reorder = w->duplicate = 0;
    if (w->options.broken != MESH_BREAK_HEAL) uncut(w);
    w->pair_count = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        struct mesh_node *n = &w->nodes[i];
        n->slow = false;
        if (n->clock_rate != 1000000) clock_right(w, i);
        if (!n->up && !n->gone)
            mesh_push(w, (struct mesh_event){.kind = MESH_BOOT, .node = i}, 1000 + mesh_chance(w, 100000));
    }
}
