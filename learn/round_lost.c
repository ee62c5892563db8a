// A contribution of the cut is gone with all its holders. Whoever misses it says so in its heads and proposes a cut
// without it; nobody takes its word for that: the others look for the contribution themselves, and agree once they find
// nobody who has it either (or find it, and then it is there for everyone). So a member that lies about it costs one
// transfer, not the round.
#include "core/check.h"
#include "learn/round_parts.h"

void turn_doubt(struct turn *t, uint64_t slots)
{
    t->doubted |= slots & t->cut_slots;
}

static void look_for(struct round *r, struct turn *t, uint32_t slot, uint64_t now_ms, struct outbox *out)
{
    bool all = true;
    for (uint32_t shard = 0; shard < t->shards; shard++) {
        if (t->known[slot].holds & 1u << shard || turn_shard_elements(r, t, shard) == 0) continue;
        all = false;
        round_pull_contribution(r, t, slot, shard, now_ms, out);
    }
    if (all) t->doubted &= ~SLOT(slot);
}

static void tell(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out)
{
    t->lost_told = t->lost;
    event_emit(&r->options.events, "round.lost", EV_HASH("run", &r->run), EV_U64("round", t->round),
               EV_U64("slots", t->lost));
    for (uint32_t i = 0; i < r->head.member_count; i++) round_send_head(r, &r->head.members[i].id, out);
    const size_t mark = out->count;
    consensus_recheck(r->consensus, now_ms, out);
    round_settle(r, mark, now_ms, out);
}

void round_lost(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out)
{
    const uint64_t height = r->height;
    for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++)
        if (t->doubted & SLOT(slot)) look_for(r, t, slot, now_ms, out);
    if (t->lost & ~t->lost_told) tell(r, t, now_ms, out);
    if (t->lost) t->alone = false;  // it cannot sum that by itself; somebody may have the result
    // What is left of the cut; nothing at all: the round collects again.
    if (r->height == height && t->lost) round_offer_cut(r, t->cut_slots & ~t->lost, t->attempt + 1, now_ms, out);
}
