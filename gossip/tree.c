#include "gossip/tree.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/check.h"
#include "core/philox.h"
#include "gossip/tree_parts.h"

enum core_err tree_plan_open(struct tree_plan *plan, uint32_t members_max)
{
    *plan = (struct tree_plan){.members_max = members_max};
    if (members_max > TREE_MEMBERS_MAX) return CORE_ERR_LIMIT;
    const size_t n = members_max ? members_max : 1, groups = TREE_GROUPS(n);
    plan->members = calloc(n, sizeof *plan->members);
    plan->order = calloc(n, sizeof *plan->order);
    plan->group_of = calloc(n, sizeof *plan->group_of);
    plan->scratch = calloc(n, sizeof *plan->scratch);
    plan->list = calloc(n, sizeof *plan->list);
    plan->burden = calloc(n, sizeof *plan->burden);
    plan->groups = calloc(groups, sizeof *plan->groups);
    plan->owners = calloc(groups * TREE_SHARD_MAX, sizeof *plan->owners);
    plan->rank = calloc(n * TREE_SHARD_MAX, sizeof *plan->rank);
    plan->domains = calloc(n, sizeof *plan->domains);
    plan->units = calloc(n, sizeof *plan->units);
    plan->sites = calloc(n, sizeof *plan->sites);
    const bool ok = plan->members && plan->order && plan->group_of && plan->scratch && plan->list && plan->burden &&
                    plan->groups && plan->owners && plan->rank && plan->domains && plan->units && plan->sites;
    if (ok) return CORE_ERR_OK;
    tree_plan_close(plan);
    return CORE_ERR_NO_MEMORY;
}

void tree_plan_close(struct tree_plan *plan)
{
    free(plan->members);
    free(plan->order);
    free(plan->group_of);
    free(plan->scratch);
    free(plan->list);
    free(plan->burden);
    free(plan->groups);
    free(plan->owners);
    free(plan->rank);
    free(plan->domains);
    free(plan->units);
    free(plan->sites);
    *plan = (struct tree_plan){0};
}

// ---- rendezvous scores ----

// -log2(u / 2^32) in units of 2^-16 for u in [1, 2^32), in integers so that every machine ranks alike: the exponent by
// counting zeros, sixteen bits of the mantissa's logarithm by repeated squaring.
static uint64_t negative_log2(uint32_t u)
{
    const uint32_t exponent = 31 - (uint32_t)__builtin_clz(u);
    uint64_t mantissa = (uint64_t)u << (31 - exponent);  // in [2^31, 2^32): 1.31 fixed point
    uint64_t fraction = 0;
    for (int bit = 15; bit >= 0; bit--) {
        mantissa = mantissa * mantissa >> 31;
        if (mantissa >> 32) {
            mantissa >>= 1;
            fraction |= (uint64_t)1 << bit;
        }
    }
    return ((uint64_t)32 << 16) - (((uint64_t)exponent << 16) + fraction);
}

// Lower is better. An exponential variate with rate `weight`: the lowest of a set belongs to a member with a
// probability in proportion to its weight, and members keep their order when others come or go.
static uint64_t score(const struct tree_plan *plan, uint32_t level, uint32_t group, uint32_t shard, uint32_t member)
{
    const struct tree_member *m = &plan->members[member];
    const uint64_t where = (uint64_t)level << 56 | (uint64_t)group << 16 | shard;
    const struct philox_block block = philox(plan->key, where, m->slot);
    const uint64_t log = negative_log2(block.word[0] | 1);  // at most 2^21
    // The second word settles what the logarithm's sixteen bits leave equal.
    return (log << 42 | (uint64_t)block.word[1] << 10) / m->weight;
}

static bool may_own(const struct tree_plan *plan, uint32_t member)
{
    return plan->all_reachable || plan->members[member].reachable;
}

// ---- owners ----

struct pair {
    uint64_t score;
    uint32_t shard;
    uint32_t member;
};

static bool pair_before(const struct pair *a, const struct pair *b)
{
    if (a->score != b->score) return a->score < b->score;
    if (a->shard != b->shard) return a->shard < b->shard;
    return a->member < b->member;
}

// Fills `list` with those of order[first, first + count) that may own; returns how many.
static uint32_t list_able(struct tree_plan *plan, uint32_t first, uint32_t count)
{
    uint32_t able = 0;
    for (uint32_t i = first; i < first + count; i++)
        if (may_own(plan, plan->order[i])) plan->list[able++] = plan->order[i];
    return able;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

// Above the hosts most members own nothing: keeps those of `list` that carry least so far, for their weight, as many
// as there are shards or more where several carry the same. Returns how many.
static uint32_t list_light(struct tree_plan *plan, uint32_t count)
{
    if (count <= plan->shards) return count;
    for (uint32_t i = 0; i < count; i++) plan->rank[i] = plan->burden[plan->list[i]];
    qsort(plan->rank, count, sizeof *plan->rank, by_value);
    const uint64_t most = plan->rank[plan->shards - 1];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (plan->burden[plan->list[i]] <= most) plan->list[kept++] = plan->list[i];
    return kept;
}

static const uint32_t *owners_of(const struct tree_plan *plan, uint32_t level, uint32_t group)
{
    return &plan->owners[(size_t)(plan->group_first[level] + group) * TREE_SHARD_MAX];
}

// Gives every shard of a group to its best member that has room, best pairs first. Room is the member's share by
// weight, rounded down; what rounding leaves over is taken by the members whose pairs come first, one each, so that
// nobody owns more than its share rounded up.
static void own_shards(struct tree_plan *plan, uint32_t level, uint32_t group)
{
    const struct tree_group *g = &plan->groups[plan->group_first[level] + group];
    uint32_t *owners = &plan->owners[(size_t)(plan->group_first[level] + group) * TREE_SHARD_MAX];
    if (level > 0 && g->count == 1) {  // the same sum as the child's
        memcpy(owners, owners_of(plan, level - 1, g->first), TREE_SHARD_MAX * sizeof *owners);
        return;
    }
    uint32_t count = list_able(plan, g->member_first, g->member_count);
    if (count == 0) count = list_able(plan, 0, plan->count);  // nobody here can be dialled: others sum for them
    if (level > 0) count = list_light(plan, count);
    const uint32_t *list = plan->list;
    const uint32_t shards = plan->shards;
    uint64_t weights = 0;
    for (uint32_t i = 0; i < count; i++) weights += plan->members[list[i]].weight;
    uint32_t spare = shards;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t share = (uint64_t)plan->members[list[i]].weight * shards;
        plan->scratch[list[i]] = (uint32_t)(share / weights) * 2 + (share % weights > 0);
        spare -= (uint32_t)(share / weights);
        for (uint32_t s = 0; s < shards; s++)
            plan->rank[(size_t)i * TREE_SHARD_MAX + s] = score(plan, level, group, s, list[i]);
    }
    bool owned[TREE_SHARD_MAX] = {false};
    for (uint32_t given = 0; given < shards; given++) {
        struct pair best = {0};
        bool found = false;
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t room = plan->scratch[list[i]];  // two for each whole shard, one for a part of one
            if (room == 0 || (room == 1 && spare == 0)) continue;
            for (uint32_t s = 0; s < shards; s++) {
                if (owned[s]) continue;
                struct pair pair = {plan->rank[(size_t)i * TREE_SHARD_MAX + s], s, list[i]};
                if (!found || pair_before(&pair, &best)) best = pair;
                found = true;
            }
        }
        check(found);
        owned[best.shard] = true;
        if (plan->scratch[best.member] == 1) {
            plan->scratch[best.member] = 0;
            spare--;
        } else {
            plan->scratch[best.member] -= 2;
        }
        owners[best.shard] = best.member;
        plan->burden[best.member] += g->count * TREE_BURDEN / plan->members[best.member].weight;
    }
}

// Bandwidth classes as the plan counts them: unknown ones as the median, none above TREE_WEIGHT_SPREAD times it.
static void bound_weights(struct tree_plan *plan)
{
    uint32_t known = 0;
    for (uint32_t i = 0; i < plan->count; i++)
        if (plan->members[i].weight) plan->rank[known++] = plan->members[i].weight;
    qsort(plan->rank, known, sizeof *plan->rank, by_value);
    const uint64_t median = known ? plan->rank[known / 2] : 1;
    uint64_t most = median * TREE_WEIGHT_SPREAD;
    if (most > TREE_WEIGHT_MAX) most = TREE_WEIGHT_MAX;
    for (uint32_t i = 0; i < plan->count; i++) {
        struct tree_member *m = &plan->members[i];
        if (m->weight == 0) m->weight = (uint32_t)median;
        if (m->weight > most) m->weight = (uint32_t)most;
    }
}

static int by_slot(const void *a, const void *b)
{
    const struct tree_member *x = a, *y = b;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static uint64_t key_of(const struct core_hash *run, uint64_t round, uint64_t attempt)
{
    uint8_t raw[64];
    struct writer w = writer_over(raw, sizeof raw);
    write_bytes(&w, "tree v2", 7);
    write_bytes(&w, run->bytes, sizeof run->bytes);
    write_u64(&w, round);
    write_u64(&w, attempt);
    check(!w.overflowed);
    const struct core_hash hash = hash_bytes(raw, w.size);
    struct reader r = reader_over(hash.bytes, sizeof hash.bytes);
    return read_u64(&r);
}

static uint32_t shards_for(uint32_t able, uint64_t elements)
{
    if (able >= TREE_SHARD_MAX) return TREE_SHARD_MAX;
    uint32_t shards = able;
    while (shards + able <= TREE_SHARD_MAX && elements / (shards + able) >= TREE_SHARD_LEAST) shards += able;
    return shards;
}

enum core_err tree_plan_make(struct tree_plan *plan, const struct tree_member *members, uint32_t count,
                             uint64_t elements, const struct core_hash *run, uint64_t round, uint64_t attempt)
{
    plan->levels = 0;
    if (count == 0) return CORE_ERR_MALFORMED;
    if (count > plan->members_max) return CORE_ERR_LIMIT;
    memcpy(plan->members, members, count * sizeof *members);
    qsort(plan->members, count, sizeof *plan->members, by_slot);
    uint32_t reachable = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct tree_member *m = &plan->members[i];
        if (i > 0 && m->slot == m[-1].slot) return CORE_ERR_MALFORMED;
        reachable += m->reachable;
    }
    plan->count = count;
    plan->key = key_of(run, round, attempt);
    plan->all_reachable = reachable == 0;
    const uint32_t able = reachable ? reachable : count;
    plan->shards = shards_for(able, elements);
    memset(plan->group_count, 0, sizeof plan->group_count);
    memset(plan->burden, 0, count * sizeof *plan->burden);
    bound_weights(plan);
    tree_group_members(plan);
    for (uint32_t level = 0; level < plan->levels; level++)
        for (uint32_t g = 0; g < plan->group_count[level]; g++) own_shards(plan, level, g);
    return CORE_ERR_OK;
}

// ---- reading a plan ----

bool tree_plan_has(const struct tree_plan *plan, uint64_t level, uint64_t group, uint64_t shard)
{
    return level < plan->levels && group < plan->group_count[level] && shard < plan->shards;
}

static const struct tree_group *group_at(const struct tree_plan *plan, uint32_t level, uint32_t group)
{
    check(tree_plan_has(plan, level, group, 0));
    return &plan->groups[plan->group_first[level] + group];
}

static bool find_slot(const struct tree_plan *plan, uint32_t slot, uint32_t *member)
{
    uint32_t low = 0, high = plan->levels ? plan->count : 0;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (plan->members[middle].slot < slot)
            low = middle + 1;
        else
            high = middle;
    }
    *member = low;
    return plan->levels && low < plan->count && plan->members[low].slot == slot;
}

bool tree_plan_has_slot(const struct tree_plan *plan, uint32_t slot)
{
    uint32_t member;
    return find_slot(plan, slot, &member);
}

uint32_t tree_plan_owner(const struct tree_plan *plan, uint32_t level, uint32_t group, uint32_t shard)
{
    check(tree_plan_has(plan, level, group, shard));
    const size_t place = plan->group_first[level] + group;
    return plan->members[plan->owners[place * TREE_SHARD_MAX + shard]].slot;
}

// Keeps the best TREE_CANDIDATE_MAX of what it is offered, ascending, from `fixed` on.
struct best {
    struct pair pairs[TREE_CANDIDATE_MAX];
    uint32_t count;
    uint32_t fixed;  // places that are given away already
};

static void offer(struct best *b, const struct pair *pair)
{
    uint32_t at = b->count;
    if (at == TREE_CANDIDATE_MAX) {
        if (b->fixed == at || pair_before(&b->pairs[at - 1], pair)) return;
        at--;
    } else {
        b->count++;
    }
    for (; at > b->fixed && pair_before(pair, &b->pairs[at - 1]); at--) b->pairs[at] = b->pairs[at - 1];
    b->pairs[at] = *pair;
}

uint32_t tree_plan_candidates(const struct tree_plan *plan, uint32_t level, uint32_t group, uint32_t shard,
                              uint32_t slots[TREE_CANDIDATE_MAX])
{
    check(tree_plan_has(plan, level, group, shard));
    const struct tree_group *g = group_at(plan, level, group);
    for (; level > 0 && g->count == 1; g = group_at(plan, level, group)) {  // the same sum as its only child's
        group = g->first;
        level--;
    }
    const uint32_t owner = owners_of(plan, level, group)[shard];
    struct best best = {.pairs = {{0, shard, owner}}, .count = 1, .fixed = 1};
    // The group's own in rendezvous order, then everyone else, likewise.
    for (int outside = 0; outside < 2; outside++) {
        for (uint32_t i = 0; i < plan->count; i++) {
            const uint32_t member = plan->order[i];
            const bool inside = i >= g->member_first && i < g->member_first + g->member_count;
            if (inside == (outside == 1) || member == owner || !may_own(plan, member)) continue;
            offer(&best, &(struct pair){score(plan, level, group, shard, member), shard, member});
        }
        best.fixed = best.count;
    }
    for (uint32_t i = 0; i < best.count; i++) slots[i] = plan->members[best.pairs[i].member].slot;
    return best.count;
}

uint32_t tree_plan_group_of(const struct tree_plan *plan, uint32_t level, uint32_t slot)
{
    uint32_t member;
    check(level < plan->levels && find_slot(plan, slot, &member));
    uint32_t group = plan->group_of[member];
    for (uint32_t l = 0; l < level; l++) group = group_at(plan, l, group)->parent;
    return group;
}

uint32_t tree_plan_parent(const struct tree_plan *plan, uint32_t level, uint32_t group)
{
    check(level + 1 < plan->levels);
    return group_at(plan, level, group)->parent;
}

uint32_t tree_plan_children(const struct tree_plan *plan, uint32_t level, uint32_t group, uint32_t *first)
{
    check(level > 0);
    const struct tree_group *g = group_at(plan, level, group);
    *first = g->first;
    return g->count;
}

uint32_t tree_plan_slot_count(const struct tree_plan *plan, uint32_t level, uint32_t group)
{
    return group_at(plan, level, group)->member_count;
}

uint32_t tree_plan_slot_at(const struct tree_plan *plan, uint32_t level, uint32_t group, uint32_t index)
{
    const struct tree_group *g = group_at(plan, level, group);
    check(index < g->member_count);
    return plan->members[plan->order[g->member_first + index]].slot;
}

uint64_t tree_shard_range(uint64_t elements, uint32_t shards, uint32_t shard, uint64_t *first)
{
    check(shards > 0 && shards <= TREE_SHARD_MAX && shard < shards && elements < (uint64_t)1 << 56);
    const uint64_t blocks = (elements + TREE_SHARD_ALIGN - 1) / TREE_SHARD_ALIGN;
    const uint64_t from = blocks * shard / shards * TREE_SHARD_ALIGN;
    uint64_t to = blocks * (shard + 1) / shards * TREE_SHARD_ALIGN;
    if (to > elements) to = elements;
    *first = from < elements ? from : elements;
    return to > *first ? to - *first : 0;
}
