// From the cut to the parameters: reduce-scatter up the plan's levels, all-gather down, the outer step.
//
// The sum (level, group, shard) is computed by its acting owner: the first of the plan's candidates that isn't gone.
// Who disagrees about that computes the same bits. A sum goes up to the acting owner of the parent group; the result
// goes down to the acting owners of the child groups, and by them on to the members. What doesn't come is pulled, from
// the next candidate each time; a candidate that is asked for a sum makes it its duty.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "learn/round_parts.h"

struct item *turn_item(const struct turn *t, uint32_t level, uint32_t group, uint32_t shard)
{
    return &t->items[(size_t)(t->plan.group_first[level] + group) * TREE_SHARD_MAX + shard];
}

uint64_t turn_shard_elements(const struct round *r, const struct turn *t, uint32_t shard)
{
    uint64_t first;
    return tree_shard_range(r->spec.elements, t->shards, shard, &first);
}

uint64_t turn_shard_bytes(const struct round *r, const struct turn *t, uint32_t shard, uint32_t bits)
{
    return sum_bytes(bits, turn_shard_elements(r, t, shard));
}

uint32_t turn_top_level(const struct turn *t)
{
    return t->plan.levels - 1;
}

// ---- the plan ----

enum core_err turn_plan(struct round *r, struct turn *t, uint32_t attempt)
{
    struct tree_member members[RUN_MEMBERS_MAX];
    for (uint32_t i = 0; i < t->manifest.member_count; i++) {
        const struct run_member *m = &t->manifest.members[i];
        members[i] = (struct tree_member){.slot = m->slot,
                                          .host = m->host,
                                          .site = m->site,
                                          .at = {m->at[0], m->at[1], m->at[2]},
                                          .weight = m->weight,
                                          .reachable = m->dialable};
    }
    enum core_err err =
        tree_plan_make(&t->plan, members, t->manifest.member_count, r->spec.elements, &r->run, t->round, attempt);
    if (err) return err;
    t->plan_made = true;
    t->shards = t->plan.shards;
    for (uint32_t level = 0; level < t->plan.levels; level++) {
        for (uint32_t group = 0; group < t->plan.group_count[level]; group++) {
            for (uint32_t shard = 0; shard < t->shards; shard++) {
                struct item *item = turn_item(t, level, group, shard);
                *item = (struct item){0};
                uint32_t slots[TREE_CANDIDATE_MAX];
                item->candidates = (uint8_t)tree_plan_candidates(&t->plan, level, group, shard, slots);
                for (uint32_t i = 0; i < item->candidates; i++) item->candidate[i] = (uint8_t)slots[i];
            }
        }
    }
    return CORE_ERR_OK;
}

uint32_t turn_acting(const struct round *r, const struct turn *t, const struct item *item)
{
    for (uint32_t i = 0; i < item->candidates; i++)
        if (!round_slot_gone(r, t, item->candidate[i])) return item->candidate[i];
    return UINT32_MAX;
}

bool item_candidate(const struct item *item, uint32_t slot)
{
    for (uint32_t i = 0; i < item->candidates; i++)
        if (item->candidate[i] == slot) return true;
    return false;
}

static void set_weights(struct turn *t)
{
    uint64_t raw[RUN_MEMBERS_MAX];
    uint32_t slots[RUN_MEMBERS_MAX], weights[RUN_MEMBERS_MAX], count = 0;
    for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++) {
        if (!(t->cut_slots & SLOT(slot))) continue;
        raw[count] = t->known[slot].commit.weight;
        slots[count++] = slot;
    }
    sum_weights(weights, raw, count);
    memset(t->weights, 0, sizeof t->weights);
    t->weight = 0;
    for (uint32_t i = 0; i < count; i++) {
        t->weights[slots[i]] = weights[i];
        t->weight += weights[i];
    }
}

static uint64_t set_below(const struct turn *t, uint32_t level, uint32_t group)
{
    uint64_t set = 0;
    const uint32_t count = tree_plan_slot_count(&t->plan, level, group);
    for (uint32_t i = 0; i < count; i++) set |= SLOT(tree_plan_slot_at(&t->plan, level, group, i));
    return set & t->cut_slots;
}

static uint64_t weight_of(const struct turn *t, uint64_t set)
{
    uint64_t weight = 0;
    for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++)
        if (set & SLOT(slot)) weight += t->weights[slot];
    return weight;
}

// A cut was decided: what each sum holds is now known.
void turn_cut(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out)
{
    if (t->attempt > 0) {
        enum core_err err = turn_plan(r, t, t->attempt);
        check(!err);
    }
    set_weights(t);
    t->cut_ms = now_ms;
    t->apply = STEP_NONE;
    t->rechecked = false;
    t->doubted = t->lost = t->lost_told = t->mismatches = 0;
    t->alone = r->careful;
    t->disputed = false;
    for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++) {
        memset(t->known[slot].pull, 0, sizeof t->known[slot].pull);
        memset(t->known[slot].negative, 0, sizeof t->known[slot].negative);
    }
    const uint64_t first_pull = now_ms + round_backoff(r, 0, sum_bytes(sum_bits(t->weight), r->spec.elements));
    for (uint32_t level = 0; level < t->plan.levels; level++) {
        for (uint32_t group = 0; group < t->plan.group_count[level]; group++) {
            const uint64_t set = set_below(t, level, group);
            const uint32_t bits = sum_bits(weight_of(t, set));
            for (uint32_t shard = 0; shard < t->shards; shard++) {
                struct item *item = turn_item(t, level, group, shard);
                item->set = set;
                item->bits = bits;
                item->pull = (struct retry){.next_ms = first_pull, .since_ms = now_ms};
            }
        }
    }
    if (r->mute || t->attempt > 0 || t->alone) return;
    for (uint32_t level = 0; level < t->plan.levels; level++) {
        for (uint32_t group = 0; group < t->plan.group_count[level]; group++) {
            for (uint32_t shard = 0; shard < t->shards; shard++) {
                const struct item *item = turn_item(t, level, group, shard);
                if (item->early_set && item->early_set == item->set && item->early_bits == item->bits)
                    turn_item_here(r, t, level, group, shard, false, now_ms, out);
            }
        }
    }
}

// ---- sums that are here go on ----

struct blob_key turn_item_key(const struct round *r, const struct turn *t, uint32_t level, uint32_t group,
                              uint32_t shard)
{
    return (struct blob_key){.run = r->run,
                             .round = t->round,
                             .attempt = t->attempt,
                             .kind = ROUND_PARTIAL,
                             .level = level,
                             .group = group,
                             .shard = shard};
}

static void send_to(struct round *r, struct turn *t, const struct blob_key *key, uint64_t slots, struct outbox *out)
{
    for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++) {
        const struct run_member *m = slots & SLOT(slot) && slot != t->self ? turn_member(t, slot) : NULL;
        if (m && !round_gone(r, &m->id)) round_send_data(r, t, key, &m->id, out);
    }
}

// Those through whom the result's shard came down to a group: they have it.
static uint64_t above(const struct round *r, const struct turn *t, uint32_t level, uint32_t group, uint32_t shard)
{
    uint64_t slots = 0;
    while (level < turn_top_level(t)) {
        group = tree_plan_parent(&t->plan, level++, group);
        const uint32_t slot = turn_acting(r, t, turn_item(t, level, group, shard));
        if (slot != UINT32_MAX) slots |= SLOT(slot);
    }
    return slots;
}

// Whom the result's shard goes to from here: below every group for which this peer acts.
static uint64_t below(const struct round *r, const struct turn *t, uint32_t shard)
{
    uint64_t targets = 0;
    for (uint32_t level = 0; level < t->plan.levels; level++) {
        for (uint32_t group = 0; group < t->plan.group_count[level]; group++) {
            if (turn_acting(r, t, turn_item(t, level, group, shard)) != t->self) continue;
            uint32_t first = 0;
            uint64_t lower = 0;
            const uint32_t count = level ? tree_plan_children(&t->plan, level, group, &first)
                                         : tree_plan_slot_count(&t->plan, level, group);
            for (uint32_t i = 0; i < count; i++) {
                const uint32_t slot = level ? turn_acting(r, t, turn_item(t, level - 1, first + i, shard))
                                            : tree_plan_slot_at(&t->plan, level, group, i);
                if (slot != UINT32_MAX) lower |= SLOT(slot);
            }
            targets |= lower & ~above(r, t, level, group, shard);
        }
    }
    return targets;
}

void turn_item_here(struct round *r, struct turn *t, uint32_t level, uint32_t group, uint32_t shard, bool computed,
                    uint64_t now_ms, struct outbox *out)
{
    (void)now_ms;
    struct item *item = turn_item(t, level, group, shard);
    if (item->state == ITEM_HERE) return;
    item->state = ITEM_HERE;
    item->computed = computed;
    uint64_t targets = item->waiters;
    item->waiters = 0;
    if (level == turn_top_level(t)) {
        targets |= below(r, t, shard);
    } else if (computed) {
        const uint32_t parent = tree_plan_parent(&t->plan, level, group);
        const uint32_t slot = turn_acting(r, t, turn_item(t, level + 1, parent, shard));
        if (slot != UINT32_MAX) targets |= SLOT(slot);
    }
    const struct blob_key key = turn_item_key(r, t, level, group, shard);
    send_to(r, t, &key, targets, out);
}

// ---- computing ----

static bool inputs_here(struct round *r, struct turn *t, uint32_t level, uint32_t group, uint32_t shard,
                        uint64_t now_ms, struct outbox *out)
{
    bool all = true;
    const struct item *item = turn_item(t, level, group, shard);
    if (level == 0) {
        for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++) {
            if (!(item->set & SLOT(slot)) || t->known[slot].holds & 1u << shard) continue;
            all = false;
            round_pull_contribution(r, t, slot, shard, now_ms, out);
        }
        return all;
    }
    uint32_t first;
    const uint32_t count = tree_plan_children(&t->plan, level, group, &first);
    for (uint32_t child = first; child < first + count; child++) {
        const struct item *input = turn_item(t, level - 1, child, shard);
        if (!input->set || input->state == ITEM_HERE) continue;
        all = false;
        if (input->state == ITEM_NONE && !t->alone && turn_acting(r, t, input) != t->self && !input->duty)
            round_pull_sum(r, t, level - 1, child, shard, now_ms, out);
    }
    return all;
}

static void ask_reduce(struct round *r, struct turn *t, uint32_t level, uint32_t group, uint32_t shard,
                       struct outbox *out)
{
    struct item *item = turn_item(t, level, group, shard);
    struct work_reduce work = {
        .key = turn_item_key(r, t, level, group, shard),
        .elements = turn_shard_elements(r, t, shard),
        .bits = item->bits,
    };
    if (level == 0) {
        for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++) {
            if (!(item->set & SLOT(slot))) continue;
            work.inputs[work.count++] = (struct work_input){
                .key = turn_contribution_key(r, t, slot, shard),
                .bits = 8,
                .weight = t->weights[slot],
            };
        }
    } else {
        uint32_t first;
        const uint32_t count = tree_plan_children(&t->plan, level, group, &first);
        for (uint32_t child = first; child < first + count; child++) {
            const struct item *input = turn_item(t, level - 1, child, shard);
            if (!input->set) continue;
            work.inputs[work.count++] = (struct work_input){
                .key = turn_item_key(r, t, level - 1, child, shard), .bits = input->bits, .weight = 1};
        }
    }
    item->state = ITEM_BUSY;
    outbox_work(out, WORK_REDUCE, &work, sizeof work);
}

static void compute(struct round *r, struct turn *t, uint32_t level, uint32_t group, uint32_t shard, uint64_t now_ms,
                    struct outbox *out)
{
    struct item *item = turn_item(t, level, group, shard);
    if (!item->set || item->state != ITEM_NONE || turn_shard_elements(r, t, shard) == 0) return;
    if (!item->duty && !t->alone && turn_acting(r, t, item) != t->self) return;
    if (inputs_here(r, t, level, group, shard, now_ms, out)) ask_reduce(r, t, level, group, shard, out);
}

void round_reduced(struct round *r, const struct work_result *result, uint64_t now_ms, struct outbox *out)
{
    const struct blob_key *key = &result->reduce.key;
    struct turn *t = round_turn(r, key->round);
    if (!t || !t->cut_valid || key->attempt != t->attempt || key->kind != ROUND_PARTIAL ||
        !tree_plan_has(&t->plan, key->level, key->group, key->shard))
        return;
    struct item *item = turn_item(t, key->level, key->group, key->shard);
    if (item->state != ITEM_BUSY) return;
    if (!result->err) {
        turn_item_here(r, t, key->level, key->group, key->shard, true, now_ms, out);
        return;
    }
    if (result->err == CORE_ERR_TOO_LARGE && key->level > 0) {
        item->state = ITEM_NONE;
        round_sums_false(r, t);
        return;
    }
    item->state = ITEM_NONE;  // an input is not where it was thought to be: ask for all of them again
    for (uint32_t slot = 0; key->level == 0 && slot < RUN_MEMBERS_MAX; slot++)
        if (item->set & SLOT(slot)) t->known[slot].holds &= (uint16_t) ~(1u << key->shard);
    if (item->set & (t->self < RUN_MEMBERS_MAX ? SLOT(t->self) : 0)) t->train = STEP_NONE;
    t->train_retry_ms = now_ms + ROUND_RETRY_MS;
    for (uint32_t child = 0; key->level > 0 && child < t->plan.group_count[key->level - 1]; child++)
        if (tree_plan_parent(&t->plan, key->level - 1, child) == key->group)
            turn_item(t, key->level - 1, child, key->shard)->state = ITEM_NONE;
}

bool turn_results_here(const struct round *r, const struct turn *t)
{
    for (uint32_t shard = 0; shard < t->shards; shard++)
        if (turn_shard_elements(r, t, shard) && turn_item(t, turn_top_level(t), 0, shard)->state != ITEM_HERE)
            return false;
    return true;
}

void round_sum(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out)
{
    if (!t->cut_valid || t->self == UINT32_MAX) return;
    if (t == r->turn) t->params_here = r->params_here;
    for (uint32_t level = 0; level < t->plan.levels; level++)
        for (uint32_t group = 0; group < t->plan.group_count[level]; group++)
            for (uint32_t shard = 0; shard < t->shards; shard++) compute(r, t, level, group, shard, now_ms, out);
    for (uint32_t shard = 0; shard < t->shards; shard++) {
        const struct item *item = turn_item(t, turn_top_level(t), 0, shard);
        const bool others = turn_acting(r, t, item) != t->self || t->lost;  // or can't be summed here any more
        if (item->state == ITEM_NONE && !t->alone && others && turn_shard_elements(r, t, shard))
            round_pull_sum(r, t, turn_top_level(t), 0, shard, now_ms, out);
    }
    round_finish(r, t, now_ms, out);
}
