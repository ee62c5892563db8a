// What goes wrong, and when: drawn from the world's stream until faults_end.
#include "tools/sim/watch.h"

#include <string.h>

enum { FAULTS_TRIES = 8, FAULTS_SPARED_US = 2000000 };

static bool on(const struct world *w, enum sim_fault fault)
{
    return w->options.faults & fault;
}

void faults_begin(struct world *w)
{
    w->drop = on(w, FAULT_DROP) ? world_chance(w, 80) : 0;
    w->delay = on(w, FAULT_DELAY) ? world_chance(w, 40) : 0;
    w->reorder = on(w, FAULT_REORDER) ? world_chance(w, 300) : 0;
    w->duplicate = on(w, FAULT_DUPLICATE) ? world_chance(w, 80) : 0;
    world_push(w, (struct world_event){.kind = WORLD_FAULT}, 2000000);
}

static uint32_t nodes_down(const struct world *w)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++) count += !w->nodes[i].up;
    return count;
}

// Two sides; messages are lost between them both ways, or from one side to the other only.
static void split(struct world *w)
{
    bool side[WORLD_NODES];
    const uint32_t nodes = w->options.nodes, way = world_chance(w, 4);
    for (uint32_t i = 0; i < nodes; i++) side[i] = world_chance(w, 2);
    if (world_chance(w, 3) == 0) {  // one peer alone
        memset(side, 0, sizeof side);
        side[world_chance(w, nodes)] = true;
    }
    for (uint32_t i = 0; i < nodes; i++)
        for (uint32_t k = 0; k < nodes; k++)
            w->blocked[i][k] = side[i] != side[k] && (way > 1 || side[i] == (way == 1));
    w->report->faults[4]++;
    world_push(w, (struct world_event){.kind = WORLD_HEAL}, 1000000 + (uint64_t)world_chance(w, 12000000));
}

static void crash(struct world *w, bool back_at_once)
{
    struct node *n = &w->nodes[world_chance(w, w->options.nodes)];
    if (!n->up || n->crash_in || nodes_down(w) >= (w->options.nodes + 1) / 2) return;
    n->crash_in = 1 + world_chance(w, 60);  // some effects from now, wherever that is
    n->down_ms = back_at_once ? 20 + world_chance(w, 800) : 2000 + world_chance(w, 15000);
    w->report->faults[back_at_once ? 6 : 5]++;
}

static void fill_disk(struct world *w)
{
    struct node *n = &w->nodes[world_chance(w, w->options.nodes)];
    if (n->disk.full) return;
    n->disk.full = true;
    w->report->faults[7]++;
    world_push(w, (struct world_event){.kind = WORLD_SPACE, .node = n->index},
               300000 + (uint64_t)world_chance(w, 6000000));
}

static void stop_one(struct world *w)
{
    struct node *n = &w->nodes[world_chance(w, w->options.nodes)];
    if (!n->up || n->paused_us > w->now_us) return;
    n->paused_us = w->now_us + 200000 + (uint64_t)world_chance(w, 12000000);
    w->report->faults[8]++;
}

static void turn_clock(struct world *w)
{
    struct node *n = &w->nodes[world_chance(w, w->options.nodes)];
    if (!n->up) return;
    n->ahead_ms += 500 + world_chance(w, 300000);
    w->report->faults[9]++;
    n->tick_us = w->now_us + 1;
    world_push(w, (struct world_event){.kind = WORLD_TICK, .node = n->index, .life = n->life}, 1);
}

void faults_at_crash(struct node *n)
{
    struct world *w = n->world;
    if (w->calm) return;
    if (on(w, FAULT_LOSS) && world_chance(w, 3) == 0) {
        w->report->faults[10]++;
        for (uint32_t i = 0; i < n->disk.param_count; i++) n->disk.params[i].inner = false;
    }
    n->stale = on(w, FAULT_STALE) && world_chance(w, 3) == 0;
    n->empty = on(w, FAULT_EMPTY) && world_chance(w, 3) == 0;
}

// The others that will answer when `n` asks what it has signed; 0 where one of them may not.
static uint64_t who_can_tell(const struct node *n)
{
    const struct world *w = n->world;
    uint64_t who = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        const struct node *other = &w->nodes[i];
        if (i == n->index || other->hostile) continue;
        if (!other->up || other->crash_in || other->paused_us > w->now_us || other->disk.full) return 0;
        if (w->blocked[i][n->index] || w->blocked[n->index][i]) return 0;
        who |= UINT64_C(1) << i;
    }
    return who;
}

// Whether the journal's last record may be gone: the others hold its votes. A commit may not, where the inner state
// that made it may be gone too.
static bool may_forget(const struct node *n, const struct record *r, uint64_t who)
{
    if (r->kind == RUN_PERSIST_COMMIT) return !on(n->world, FAULT_LOSS);
    return r->kind != RUN_PERSIST_VOTE || watch_told(n->world->watch, n, r->payload, who);
}

// A new disk, under the same key. Its commit of the round can't be made again, so that must not have been sent.
static bool empty_disk(struct node *n, uint64_t who)
{
    struct world *w = n->world;
    if (!watch_height(w->watch) || watch_committed(w->watch, n)) return false;
    for (uint32_t i = 0; i < n->disk.record_count; i++)
        if (n->disk.records[i].kind == RUN_PERSIST_VOTE && !may_forget(n, &n->disk.records[i], who)) return false;
    disk_wipe(&n->disk);
    w->report->faults[12]++;
    w->spared_us = w->now_us + FAULTS_SPARED_US;
    return true;
}

// An older copy of its disk was put back while the others are up, and they are left alone until they have told it.
void faults_at_boot(struct node *n)
{
    struct world *w = n->world;
    const uint64_t who = (n->stale || n->empty) && !w->calm ? who_can_tell(n) : 0;
    const bool empty = n->empty;
    n->stale = n->empty = false;
    if (!who || (empty && empty_disk(n, who))) return;
    uint32_t count = 0;
    for (uint32_t most = world_chance(w, 12); count < most && count + 1 < n->disk.record_count; count++)
        if (!may_forget(n, &n->disk.records[n->disk.record_count - 1 - count], who)) break;
    if (!count) return;
    disk_forget(&n->disk, count);
    w->report->faults[11]++;
    w->spared_us = w->now_us + FAULTS_SPARED_US;
}

void faults_next(struct world *w)
{
    if (w->calm) return;
    if (w->now_us < w->spared_us) {
        world_push(w, (struct world_event){.kind = WORLD_FAULT}, w->spared_us - w->now_us);
        return;
    }
    bool split_now = false;
    for (uint32_t i = 0; i < w->options.nodes; i++)
        for (uint32_t k = 0; k < w->options.nodes; k++) split_now |= w->blocked[i][k];
    static const enum sim_fault kinds[] = {FAULT_PARTITION, FAULT_CRASH, FAULT_RESTART,
                                           FAULT_DISK,      FAULT_PAUSE, FAULT_CLOCK};
    for (uint32_t tries = 0; tries < FAULTS_TRIES; tries++) {
        const enum sim_fault kind = kinds[world_chance(w, 6)];
        if (!on(w, kind) || (kind == FAULT_PARTITION && split_now)) continue;
        if (kind == FAULT_PARTITION)
            split(w);
        else if (kind == FAULT_DISK)
            fill_disk(w);
        else if (kind == FAULT_PAUSE)
            stop_one(w);
        else if (kind == FAULT_CLOCK)
            turn_clock(w);
        else
            crash(w, kind == FAULT_RESTART);
        break;
    }
    world_push(w, (struct world_event){.kind = WORLD_FAULT}, 200000 + (uint64_t)world_chance(w, 3000000));
}

void faults_heal(struct world *w)
{
    memset(w->blocked, 0, sizeof w->blocked);
}

void faults_end(struct world *w)
{
    w->calm = true;
    w->calm_us = w->now_us;
    w->drop = w->delay = w->reorder = w->duplicate = 0;
    faults_heal(w);
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        if (w->nodes[i].down_ms != WORLD_FOR_EVER) w->nodes[i].crash_in = 0;
        if (w->nodes[i].disk.full) node_space(&w->nodes[i]);
    }
    hostile_end(w);
    if (w->options.broken == BREAK_PROGRESS)
        for (uint32_t i = 0; i < w->options.nodes; i++)
            for (uint32_t k = 0; k < w->options.nodes; k++) w->blocked[i][k] = i != k && i >= w->options.nodes / 2;
}

// One peer dies for ever, and some restart with it: what only they held is lost.
static void kill_one(struct world *w)
{
    w->nodes[w->victim].crash_in = 1 + world_chance(w, 40);
    w->nodes[w->victim].down_ms = WORLD_FOR_EVER;
    for (uint32_t i = 0; i < w->options.nodes / 2; i++) {
        struct node *n = &w->nodes[world_chance(w, w->options.nodes)];
        if (!n->up || n->crash_in) continue;
        n->crash_in = 1 + world_chance(w, 40);
        n->down_ms = 20 + world_chance(w, 300);
    }
    w->report->faults[5]++;
}

// 0 pause, 1 resume, 2 a peer leaves the run, 3 one dies.
void faults_command(struct world *w, uint32_t which)
{
    if (which == 3) {
        kill_one(w);
        return;
    }
    struct node *n = &w->nodes[which == 2 ? w->leaver : world_chance(w, w->options.nodes)];
    struct run_status status;
    if (!n->up || !peer_run_find(n->peer, &w->run, &status) || peer_persist_halted(n->peer)) {
        world_push(w, (struct world_event){.kind = WORLD_COMMAND, .number = which}, 700000);
        return;
    }
    if (which == 2) {
        peer_leave(n->peer, node_ms(n), &w->out);
        w->report->leaves++;
    } else {
        enum core_err err = peer_run_command(n->peer, &w->run, which ? RUN_RESUME : RUN_PAUSE, node_ms(n), &w->out);
        if (!err) w->report->commands++;
    }
    node_finish(n);
    if (which == 0)
        world_push(w, (struct world_event){.kind = WORLD_COMMAND, .number = 1},
                   1000000 + (uint64_t)world_chance(w, 4000000));
}
