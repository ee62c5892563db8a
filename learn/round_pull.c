// What a sum lacks is asked for: from its maker, then from whoever else may hold it, one after the other.
#include <string.h>

#include "core/check.h"
#include "learn/round_parts.h"

struct slots {
    uint8_t slot[RUN_MEMBERS_MAX];
    uint32_t count;
    uint64_t set;
};

static void ask_slot(const struct round *r, const struct turn *t, struct slots *list, uint32_t slot)
{
    if (slot == t->self || slot >= RUN_MEMBERS_MAX || list->set & SLOT(slot) || round_slot_gone(r, t, slot)) return;
    list->set |= SLOT(slot);
    list->slot[list->count++] = (uint8_t)slot;
}

static void ask_candidates(const struct round *r, const struct turn *t, struct slots *list, const struct item *item)
{
    for (uint32_t i = 0; i < item->candidates; i++) ask_slot(r, t, list, item->candidate[i]);
}

static void ask_members(const struct round *r, const struct turn *t, struct slots *list)
{
    for (uint32_t i = 0; i < t->manifest.member_count; i++) ask_slot(r, t, list, t->manifest.members[i].slot);
}

static void pull(struct round *r, const struct turn *t, struct retry *retry, const struct slots *list,
                 const struct blob_key *key, uint64_t bytes, uint64_t now_ms, struct outbox *out)
{
    if (!retry->since_ms) retry->since_ms = now_ms;
    if (now_ms >= retry->next_ms) {
        if (list->count) {
            const struct run_member *m = turn_member(t, list->slot[retry->tries % list->count]);
            round_send_pull(r, key, &m->id, out);
        }
        // A full circle before it slows down: the next one may have it at once.
        const uint32_t circles = list->count ? retry->tries / list->count : retry->tries;
        retry->tries++;
        retry->next_ms = now_ms + round_backoff(r, circles, bytes);
    }
    round_wake(r, retry->next_ms);
}

// Nobody who could answer has it: everyone else said so or is gone for a while, or there was no answer for long.
static bool contribution_lost(const struct round *r, const struct turn *t, uint32_t slot, uint32_t shard,
                              uint64_t now_ms)
{
    const struct known *k = &t->known[slot];
    if (k->pull[shard].since_ms && now_ms > k->pull[shard].since_ms + ROUND_LOST_MS) return true;
    bool said = true;
    for (uint32_t i = 0; i < t->manifest.member_count; i++) {
        const struct run_member *m = &t->manifest.members[i];
        if (m->slot == t->self || k->negative[shard] & SLOT(m->slot)) continue;
        if (!round_gone(r, &m->id)) return false;
        said = false;
    }
    return said || now_ms > k->pull[shard].since_ms + ROUND_GONE_MS;
}

void round_pull_contribution(struct round *r, struct turn *t, uint32_t slot, uint32_t shard, uint64_t now_ms,
                             struct outbox *out)
{
    if (slot == t->self && !t->unfit) return;  // trained again before it is summed
    struct slots list = {.count = 0};
    ask_slot(r, t, &list, slot);
    const uint32_t group = tree_plan_group_of(&t->plan, 0, slot);
    ask_candidates(r, t, &list, turn_item(t, 0, group, shard));
    ask_members(r, t, &list);
    const struct blob_key key = turn_contribution_key(r, t, slot, shard);
    pull(r, t, &t->known[slot].pull[shard], &list, &key, turn_shard_bytes(r, t, shard, 8), now_ms, out);
    if (contribution_lost(r, t, slot, shard, now_ms)) t->lost |= SLOT(slot);
}

void round_pull_sum(struct round *r, struct turn *t, uint32_t level, uint32_t group, uint32_t shard, uint64_t now_ms,
                    struct outbox *out)
{
    struct item *item = turn_item(t, level, group, shard);
    struct slots list = {.count = 0};
    if (level == turn_top_level(t))  // the result comes down through this peer's own groups
        for (uint32_t l = 0; l < level; l++)
            ask_slot(r, t, &list, turn_acting(r, t, turn_item(t, l, tree_plan_group_of(&t->plan, l, t->self), shard)));
    ask_candidates(r, t, &list, item);
    if (level == turn_top_level(t)) ask_members(r, t, &list);
    const struct blob_key key = turn_item_key(r, t, level, group, shard);
    pull(r, t, &item->pull, &list, &key, turn_shard_bytes(r, t, shard, item->bits), now_ms, out);
}
