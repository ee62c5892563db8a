// Who sends sums to whom in a run's round: its aggregation plan (gossip/tree.h) by the peers of a snapshot.
#include <stdlib.h>
#include <string.h>

#include "gossip/tree.h"
#include "learn/peer.h"
#include "node/daemon.h"
#include "node/look/map.h"

struct flows {
    const struct gossip *gossip;
    const struct run_status *status;
    const struct tree_plan *plan;
    struct atlas_snapshot *s;
    uint32_t run, capacity;
    bool failed;
};

static const struct core_id *id_of(const struct flows *f, uint32_t slot)
{
    for (uint32_t i = 0; i < f->status->head->member_count; i++)
        if (f->status->head->members[i].slot == slot) return &f->status->head->members[i].id;
    return NULL;
}

static bool gone(const struct flows *f, uint32_t slot)
{
    const struct core_id *id = id_of(f, slot);
    struct gossip_member m;
    return !id || !gossip_member_find(f->gossip, id, &m) || m.state == GOSSIP_DEAD || m.state == GOSSIP_LEFT;
}

// The first candidate that is there, as in the round.
static uint32_t acting(const struct flows *f, uint32_t level, uint32_t group, uint32_t shard)
{
    uint32_t slots[TREE_CANDIDATE_MAX];
    const uint32_t count = tree_plan_candidates(f->plan, level, group, shard, slots);
    for (uint32_t i = 0; i < count; i++)
        if (!gone(f, slots[i])) return slots[i];
    return slots[0];
}

// The snapshot's place of a slot's peer; UINT32_MAX where it has none.
static uint32_t place_of(const struct flows *f, uint32_t slot)
{
    const struct core_id *id = id_of(f, slot);
    for (uint32_t i = 0; id && i < f->s->peer_count; i++)
        if (id_equal(&f->s->peers[i].id, id)) return i;
    return UINT32_MAX;
}

static void add(struct flows *f, uint32_t from, uint32_t to, uint32_t level)
{
    struct atlas_snapshot *s = f->s;
    const struct atlas_flow flow = {place_of(f, from), place_of(f, to), level, f->run};
    if (from == to || gone(f, from) || flow.from == UINT32_MAX || flow.to == UINT32_MAX) return;
    if (s->flow_count == f->capacity) {
        const uint32_t capacity = 2 * f->capacity + 64;
        struct atlas_flow *larger = realloc(s->flows, capacity * sizeof *larger);
        f->failed |= !larger;
        if (!larger) return;
        s->flows = larger;
        f->capacity = capacity;
    }
    s->flows[s->flow_count++] = flow;
}

static void add_group(struct flows *f, uint32_t level, uint32_t group)
{
    const struct tree_plan *p = f->plan;
    uint32_t first = 0;
    const uint32_t count = level ? tree_plan_children(p, level, group, &first) : tree_plan_slot_count(p, level, group);
    for (uint32_t shard = 0; shard < p->shards; shard++) {
        const uint32_t to = acting(f, level, group, shard);
        for (uint32_t i = 0; i < count; i++)
            add(f, level ? acting(f, level - 1, first + i, shard) : tree_plan_slot_at(p, level, group, i), to, level);
    }
}

bool map_run_goes_on(const struct run_status *status)
{
    const struct manifest *head = status->head;
    return status->plan && head && head->state != RUN_DONE && head->state != RUN_CANCELLED;
}

static int newest_first(const void *a, const void *b)
{
    const struct run_status *x = a, *y = b;
    if (x->spec->created_ms != y->spec->created_ms) return x->spec->created_ms < y->spec->created_ms ? 1 : -1;
    return hash_compare(&x->run, &y->run);
}

void map_runs_going_on(const struct node *n, struct map_runs *runs)
{
    struct run_status list[RUNS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < peer_run_count(n->peer) && count < RUNS_MAX; i++) {
        peer_run_at(n->peer, i, &list[count]);
        count += map_run_goes_on(&list[count]);
    }
    qsort(list, count, sizeof *list, newest_first);
    runs->count = count < MAP_RUNS_MAX ? count : MAP_RUNS_MAX;
    for (uint32_t i = 0; i < runs->count; i++) runs->run[i] = list[i].run;
}

enum core_err map_flows(const struct node *n, const struct map_runs *runs, struct atlas_snapshot *s)
{
    struct flows f = {.gossip = peer_gossip(n->peer), .s = s, .capacity = s->flow_count};
    for (; f.run < runs->count && !f.failed; f.run++) {
        struct run_status status;
        if (!peer_run_find(n->peer, &runs->run[f.run], &status) || !status.plan || !status.head) continue;
        f.status = &status;
        f.plan = status.plan;
        for (uint32_t level = 0; level < f.plan->levels; level++)
            for (uint32_t group = 0; group < f.plan->group_count[level]; group++) add_group(&f, level, group);
    }
    return f.failed ? CORE_ERR_NO_MEMORY : CORE_ERR_OK;
}
