// Parameters that differ. Contributions are proved by the hashes in their trainers' commits; sums are not: whoever sums
// falsely makes the peers that it sends to compute other parameters, and their manifests find no quorum. When two
// proposers' manifests of a round have other parameters than this peer's own (or one's, and everybody has had a turn),
// it takes no more sums from anyone: it fetches every contribution of the cut and sums by itself, and so does everyone
// in the same position. If that gives it other parameters, it was lied to, and it stays careful for the rest of the
// run.
#include <string.h>

#include "learn/round_parts.h"

// While a proposal is judged.
void turn_mismatch(struct round *r, struct turn *t)
{
    const struct consensus_status status = consensus_status(r->consensus);
    if (status.proposer < RUN_MEMBERS_MAX) t->mismatches |= SLOT(status.proposer);
}

static bool due(const struct round *r, const struct turn *t)
{
    if (t->alone || t->apply != STEP_DONE || !t->mismatches) return false;
    if (__builtin_popcountll(t->mismatches) < 2 && consensus_status(r->consensus).round < r->head.member_count)
        return false;
    const uint32_t groups = t->plan.group_first[t->plan.levels - 1] + 1;
    for (uint32_t i = 0; i < groups * TREE_SHARD_MAX; i++)
        if (t->items[i].state == ITEM_BUSY) return false;  // what it sums now may be false
    return true;
}

// What came from others, and what was made of it, is made again.
static void sum_alone(struct turn *t)
{
    t->alone = true;
    for (uint32_t level = 0; level < t->plan.levels; level++)
        for (uint32_t group = 0; group < t->plan.group_count[level]; group++)
            for (uint32_t shard = 0; shard < t->shards; shard++) {
                struct item *item = turn_item(t, level, group, shard);
                if (level > 0 || !item->computed) item->state = ITEM_NONE;
            }
}

void round_sums_false(struct round *r, struct turn *t)
{
    if (t->alone) return;
    r->disputes++;
    r->careful = true;
    sum_alone(t);
    event_emit(&r->options.events, "round.sums_false", EV_HASH("run", &r->run), EV_U64("round", t->round));
}

void round_dispute(struct round *r, struct turn *t)
{
    if (!due(r, t)) return;
    r->disputes++;
    t->disputed = true;
    t->mismatches = 0;
    t->disputed_params = t->params;
    t->apply = STEP_NONE;
    t->rechecked = false;
    r->offered = (struct core_hash){0};
    sum_alone(t);
    event_emit(&r->options.events, "round.disputed", EV_HASH("run", &r->run), EV_U64("round", t->round),
               EV_HASH("params", &t->params));
}

// Its own sums have given parameters.
void round_dispute_over(struct round *r, struct turn *t)
{
    if (!t->disputed || hash_equal(&t->params, &t->disputed_params)) return;
    r->careful = true;
    event_emit(&r->options.events, "round.sums_false", EV_HASH("run", &r->run), EV_U64("round", t->round),
               EV_HASH("from_others", &t->disputed_params), EV_HASH("own", &t->params));
}
