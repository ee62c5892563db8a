// The aggregation plan: its shape on known meshes, and what must hold on random ones.
#include "gossip/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/philox.h"
#include "gossip/sum.h"

enum { MEMBERS_MAX = 1001 };

static struct tree_plan plan;
static struct tree_member members[MEMBERS_MAX];
static const struct core_hash run = {{1, 2, 3}};

static struct tree_member member_of(uint32_t slot, uint32_t host)
{
    struct tree_member m = {.slot = slot, .weight = 1, .reachable = true};
    m.host.bytes[0] = (uint8_t)host;
    m.host.bytes[1] = (uint8_t)(host >> 8);
    return m;
}

static void make(uint32_t count, uint64_t round)
{
    assert_int_equal(tree_plan_make(&plan, members, count, 0, &run, round, 0), CORE_ERR_OK);
}

static void four_peers_on_one_host_are_one_level(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) members[i] = member_of(i, 0);
    uint32_t changed = 0, last[4] = {0};
    for (uint64_t round = 0; round < 200; round++) {
        make(4, round);
        assert_int_equal(plan.levels, 1);
        assert_int_equal(plan.shards, 4);
        uint32_t owned[4] = {0};
        for (uint32_t s = 0; s < 4; s++) {
            const uint32_t owner = tree_plan_owner(&plan, 0, 0, s);
            owned[owner]++;
            changed += owner != last[s];
            last[s] = owner;
        }
        for (uint32_t i = 0; i < 4; i++) assert_int_equal(owned[i], 1);
    }
    assert_true(changed > 400);  // of 800, three in four expected: no shard has a home
}

static void sixty_four_peers_on_eight_hosts_are_two_levels(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 64; i++) members[i] = member_of(i, i % 8);
    make(64, 5);
    assert_int_equal(plan.levels, 2);
    assert_int_equal(plan.group_count[0], 8);
    assert_int_equal(plan.group_count[1], 1);
    for (uint32_t g = 0; g < 8; g++) {
        assert_int_equal(tree_plan_slot_count(&plan, 0, g), 8);
        const uint32_t host = tree_plan_slot_at(&plan, 0, g, 0) % 8;
        uint32_t owned[64] = {0};
        for (uint32_t i = 0; i < 8; i++) assert_int_equal(tree_plan_slot_at(&plan, 0, g, i) % 8, host);
        for (uint32_t s = 0; s < plan.shards; s++) owned[tree_plan_owner(&plan, 0, g, s)]++;
        for (uint32_t i = 0; i < 64; i++) assert_int_equal(owned[i], i % 8 == host ? plan.shards / 8 : 0);
    }
    uint32_t first;
    assert_int_equal(tree_plan_children(&plan, 1, 0, &first), 8);
    assert_int_equal(first, 0);
    uint32_t owned[64] = {0};
    for (uint32_t s = 0; s < plan.shards; s++) owned[tree_plan_owner(&plan, 1, 0, s)]++;
    for (uint32_t i = 0; i < 64; i++) assert_true(owned[i] <= 1);
}

static void peers_alone_on_their_hosts_share_a_group(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) members[i] = member_of(i, i);
    make(4, 1);
    assert_int_equal(plan.levels, 1);
    assert_int_equal(plan.shards, 4);
    for (uint32_t i = 0; i < 40; i++) members[i] = member_of(i, i);
    make(40, 1);
    assert_int_equal(plan.levels, 2);
    assert_int_equal(plan.group_count[0], 4);
    for (uint32_t g = 0; g < 4; g++) assert_int_equal(tree_plan_slot_count(&plan, 0, g), 10);
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) members[i] = member_of(i, i);
    make(MEMBERS_MAX, 1);
    assert_int_equal(plan.levels, 3);
}

// The naive twin of the candidates' order: every able member ranked by how often it survives when others are taken
// away. Replacement must follow it: with its owner gone, the plan of the rest keeps the other shards' candidates'
// order.
static void replacements_keep_their_order(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 12; i++) members[i] = member_of(i, i % 2);
    make(12, 3);
    uint32_t before[TREE_CANDIDATE_MAX], after[TREE_CANDIDATE_MAX];
    const uint32_t count = tree_plan_candidates(&plan, 1, 0, 0, before);
    assert_int_equal(count, 12);
    const uint32_t gone = before[0];
    for (uint32_t i = 0; i < 12; i++) members[i].reachable = i != gone;
    make(12, 3);
    const uint32_t left = tree_plan_candidates(&plan, 1, 0, 0, after);
    assert_int_equal(left, 11);
    // Apart from the owner, who is picked under a bound, the order is that of before without the one that is gone.
    uint32_t a = 1, b = 1;
    while (a < left && b < count) {
        if (before[b] == gone || before[b] == after[0])
            b++;
        else if (after[a] == before[0])
            a++;
        else
            assert_int_equal(after[a++], before[b++]);
    }
}

// A mesh of up to `most` members on hosts at sites with places near their site's.
static uint32_t random_members(struct rng *rng, uint32_t most)
{
    static const uint32_t site_counts[] = {1, 1, 2, 3, 7, 30};
    const uint32_t count = 1 + (uint32_t)rng_below(rng, most), sites = site_counts[rng_below(rng, 6)];
    const uint32_t hosts = 1 + (uint32_t)rng_below(rng, rng_below(rng, 2) ? count : 1 + count / 8);
    const bool weighted = rng_below(rng, 2), placed = rng_below(rng, 4) > 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t host = (uint32_t)rng_below(rng, hosts);
        members[i] = member_of(3 * i + 1, host);
        members[i].site = host % sites;
        members[i].weight = weighted ? (uint32_t)rng_below(rng, 5) : 1;
        members[i].reachable = rng_below(rng, 5) > 0;
        for (uint32_t axis = 0; placed && axis < TREE_AXES; axis++)
            members[i].at[axis] = (int32_t)(host % sites * (7 + axis) % 11 * 20000 + rng_below(rng, 5000)) - 90000;
    }
    return count;
}

static struct tree_member *by_slot(uint32_t slot)
{
    return &members[(slot - 1) / 3];
}

static int by_number(const void *a, const void *b)
{
    return (int)(*(const uint32_t *)a - *(const uint32_t *)b);
}

// What the header says of weights: unknown ones count as the median of the known, none above four times that.
static void effective_weights(uint32_t count, uint32_t *weights)
{
    static uint32_t known[MEMBERS_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        if (members[i].weight) known[n++] = members[i].weight;
    qsort(known, n, sizeof *known, by_number);
    const uint32_t median = n ? known[n / 2] : 1;
    for (uint32_t i = 0; i < count; i++) {
        weights[i] = members[i].weight ? members[i].weight : median;
        if (weights[i] > 4 * median) weights[i] = 4 * median;
    }
}

static void groups_nest(uint32_t count)
{
    assert_int_equal(plan.group_count[plan.levels - 1], 1);
    for (uint32_t level = 0; level < plan.levels; level++) {
        uint32_t held = 0, kids = 0;
        for (uint32_t g = 0; g < plan.group_count[level]; g++) {
            const uint32_t size = tree_plan_slot_count(&plan, level, g);
            held += size;
            if (level == 0) assert_in_range(size, 1, TREE_GROUP_MAX);
            for (uint32_t i = 0; i < size; i++)
                assert_int_equal(tree_plan_group_of(&plan, level, tree_plan_slot_at(&plan, level, g, i)), g);
            if (level == 0) continue;
            uint32_t first;
            const uint32_t n = tree_plan_children(&plan, level, g, &first);
            assert_in_range(n, 1, TREE_GROUP_MAX);
            assert_int_equal(first, kids);
            kids += n;
            for (uint32_t k = 0; k < n; k++) assert_int_equal(tree_plan_parent(&plan, level - 1, first + k), g);
        }
        assert_int_equal(held, count);  // each member below one group of every level: its contribution counts once
        if (level) assert_int_equal(kids, plan.group_count[level - 1]);
    }
}

// A group never holds a part of one host and a part of another, nor parts of two sites.
static void hosts_and_sites_stay_whole(void)
{
    for (uint32_t level = 0; level < plan.levels; level++) {
        for (uint32_t g = 0; g < plan.group_count[level]; g++) {
            const uint32_t size = tree_plan_slot_count(&plan, level, g);
            bool one_host = true, one_site = true;
            const struct tree_member *a = by_slot(tree_plan_slot_at(&plan, level, g, 0));
            for (uint32_t i = 1; i < size; i++) {
                const struct tree_member *m = by_slot(tree_plan_slot_at(&plan, level, g, i));
                one_host &= hash_equal(&m->host, &a->host);
                one_site &= m->site == a->site;
            }
            for (uint32_t i = 0; i < plan.count && !one_host; i++) {
                const uint32_t slot = plan.members[i].slot;
                const bool inside = tree_plan_group_of(&plan, level, slot) == g;
                for (uint32_t k = 0; k < size; k++) {
                    const struct tree_member *m = by_slot(tree_plan_slot_at(&plan, level, g, k));
                    if (hash_equal(&m->host, &plan.members[i].host)) assert_true(inside);
                    if (!one_site && m->site == plan.members[i].site) assert_true(inside);
                }
            }
        }
    }
}

static void candidates_are_sound(uint32_t count)
{
    bool any = false;
    for (uint32_t i = 0; i < count; i++) any |= members[i].reachable;
    for (uint32_t level = 0; level < plan.levels; level++) {
        for (uint32_t g = 0; g < plan.group_count[level]; g++) {
            const uint32_t size = tree_plan_slot_count(&plan, level, g);
            bool able = false;
            for (uint32_t i = 0; i < size; i++) able |= by_slot(tree_plan_slot_at(&plan, level, g, i))->reachable;
            for (uint32_t s = 0; s < plan.shards; s++) {
                uint32_t slots[TREE_CANDIDATE_MAX];
                const uint32_t n = tree_plan_candidates(&plan, level, g, s, slots);
                assert_int_equal(slots[0], tree_plan_owner(&plan, level, g, s));
                for (uint32_t i = 0; i < n; i++) {
                    if (any) assert_true(by_slot(slots[i])->reachable);
                    for (uint32_t k = 0; k < i; k++) assert_int_not_equal(slots[i], slots[k]);
                }
                if (able) assert_int_equal(tree_plan_group_of(&plan, level, slots[0]), g);
                uint32_t first;
                if (!level || tree_plan_children(&plan, level, g, &first) != 1) continue;
                uint32_t childs[TREE_CANDIDATE_MAX];  // a group without company is its only child
                assert_int_equal(tree_plan_candidates(&plan, level - 1, first, s, childs), n);
                assert_memory_equal(childs, slots, n * sizeof *slots);
            }
        }
    }
}

// Inputs that each member sums, in shards, over all levels, against its share by weight of all of them.
static void loads_are_bounded(uint32_t count)
{
    static uint32_t weights[MEMBERS_MAX];
    static uint64_t load[MEMBERS_MAX];
    effective_weights(count, weights);
    memset(load, 0, sizeof load);
    for (uint32_t level = 0; level < plan.levels; level++) {
        for (uint32_t g = 0; g < plan.group_count[level]; g++) {
            const uint32_t size = tree_plan_slot_count(&plan, level, g);
            uint32_t first, owned[TREE_SHARD_MAX] = {0}, owner_slots[TREE_SHARD_MAX];
            const uint32_t inputs = level ? tree_plan_children(&plan, level, g, &first) : size;
            uint64_t able = 0;
            for (uint32_t i = 0; i < size; i++) {
                const uint32_t slot = tree_plan_slot_at(&plan, level, g, i);
                if (by_slot(slot)->reachable) able += weights[(slot - 1) / 3];
            }
            for (uint32_t s = 0; s < plan.shards; s++) {
                owner_slots[s] = tree_plan_owner(&plan, level, g, s);
                if (level == 0 || inputs > 1) load[(owner_slots[s] - 1) / 3] += inputs;
                owned[s] = 1;
                for (uint32_t k = 0; k < s; k++)
                    if (owner_slots[k] == owner_slots[s]) owned[s] = ++owned[k];
            }
            // Within a host or a block everyone owns its share by weight, rounded up or down.
            for (uint32_t s = 0; level == 0 && able && s < plan.shards; s++)
                assert_true((owned[s] - 1) * able < (uint64_t)weights[(owner_slots[s] - 1) / 3] * plan.shards);
        }
    }
    // With everyone reachable and of one class nobody carries twice the mean.
    uint64_t sum = 0, most = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!members[i].reachable || weights[i] != 1) return;
        sum += load[i];
        if (load[i] > most) most = load[i];
    }
    if (count > 20) assert_true(20 * most * count <= 37 * sum);
}

static void random_plans_are_sound(void **state)
{
    (void)state;
    struct rng rng = rng_from(42, 0);
    for (int turn = 0; turn < 260; turn++) {
        const uint32_t count = random_members(&rng, turn % 20 ? 130 : MEMBERS_MAX - 1);
        for (uint32_t i = 0; i < count && turn % 3 == 0; i++) members[i].reachable = true;
        make(count, (uint64_t)turn);
        groups_nest(count);
        if (count <= 130) hosts_and_sites_stay_whole();
        if (count <= 130) candidates_are_sound(count);
        loads_are_bounded(count);
    }
}

static void the_order_of_members_does_not_matter(void **state)
{
    (void)state;
    struct rng rng = rng_from(43, 0);
    static struct tree_plan other;
    assert_int_equal(tree_plan_open(&other, MEMBERS_MAX), CORE_ERR_OK);
    for (int turn = 0; turn < 60; turn++) {
        const uint32_t count = random_members(&rng, 300);
        make(count, 8);
        for (uint32_t i = count; i > 1; i--) {
            const uint32_t k = (uint32_t)rng_below(&rng, i);
            const struct tree_member swap = members[k];
            members[k] = members[i - 1];
            members[i - 1] = swap;
        }
        assert_int_equal(tree_plan_make(&other, members, count, 0, &run, 8, 0), CORE_ERR_OK);
        assert_int_equal(other.levels, plan.levels);
        assert_memory_equal(other.order, plan.order, count * sizeof *plan.order);
        for (uint32_t level = 0; level < plan.levels; level++) {
            assert_int_equal(other.group_count[level], plan.group_count[level]);
            for (uint32_t g = 0; g < plan.group_count[level]; g++)
                for (uint32_t s = 0; s < plan.shards; s++)
                    assert_int_equal(tree_plan_owner(&other, level, g, s), tree_plan_owner(&plan, level, g, s));
        }
    }
    tree_plan_close(&other);
}

// How many of the members' lowest groups are others than before, by who is in them with a member.
static uint32_t moved(const struct tree_plan *before, const struct tree_plan *after, uint32_t count)
{
    uint32_t changed = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t slot = 3 * i + 1, a = tree_plan_group_of(before, 0, slot),
                       b = tree_plan_group_of(after, 0, slot);
        uint32_t common = 0;
        const uint32_t size = tree_plan_slot_count(before, 0, a);
        for (uint32_t k = 0; k < size; k++)
            common += tree_plan_group_of(after, 0, tree_plan_slot_at(before, 0, a, k)) == b;
        changed += 2 * common < size;
    }
    return changed;
}

// One more member: in most meshes almost everyone stays with most of its company.
static void one_more_member_moves_few(void **state)
{
    (void)state;
    struct rng rng = rng_from(44, 0);
    static struct tree_plan other;
    assert_int_equal(tree_plan_open(&other, MEMBERS_MAX), CORE_ERR_OK);
    uint32_t all = 0, changed = 0;
    for (int turn = 0; turn < 100; turn++) {
        const uint32_t count = random_members(&rng, 300);
        make(count, 8);
        members[count] = member_of(3 * count + 1, (uint32_t)rng_below(&rng, 2) ? 0 : 5000);
        memcpy(members[count].at, members[0].at, sizeof members[0].at);
        assert_int_equal(tree_plan_make(&other, members, count + 1, 0, &run, 8, 0), CORE_ERR_OK);
        all += count;
        changed += moved(&plan, &other, count);
    }
    tree_plan_close(&other);
    assert_true(changed * 10 < all);
}

// Three clouds of peers, alone on their hosts: nobody shares a group with another cloud's.
static void near_hosts_share_a_group(void **state)
{
    (void)state;
    struct rng rng = rng_from(45, 0);
    for (uint32_t i = 0; i < 48; i++) {
        members[i] = member_of(i, i);
        members[i].at[0] = (int32_t)(i % 4 / 2 * 80000 + rng_below(&rng, 3000));
        members[i].at[1] = (int32_t)(i % 2 * 40000 + rng_below(&rng, 3000));
    }
    make(48, 1);
    assert_int_equal(plan.levels, 2);
    assert_int_equal(plan.group_count[0], 4);
    for (uint32_t i = 0; i < 48; i++)
        for (uint32_t k = 0; k < 48; k++)
            assert_int_equal(tree_plan_group_of(&plan, 0, i) == tree_plan_group_of(&plan, 0, k), i % 4 == k % 4);
}

// Two sites of four hosts of two: hosts, sites, everyone. The site's sums leave it once.
static void sites_are_a_level(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 16; i++) {
        members[i] = member_of(i, i / 2);
        members[i].site = 1 + i / 8;
    }
    make(16, 1);
    assert_int_equal(plan.levels, 3);
    assert_int_equal(plan.group_count[0], 8);
    assert_int_equal(plan.group_count[1], 2);
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(tree_plan_group_of(&plan, 1, i) == tree_plan_group_of(&plan, 1, 0), i < 8);
    // A peer alone at a third site stands on the level of sites by itself.
    members[16] = member_of(16, 99);
    members[16].site = 9;
    make(17, 1);
    assert_int_equal(plan.levels, 3);
    assert_int_equal(plan.group_count[1], 3);
    assert_int_equal(tree_plan_slot_count(&plan, 1, tree_plan_group_of(&plan, 1, 16)), 1);
}

// Over many rounds the owner of the one shard that a group of two has left over follows the weights: 3 to 1.
static void weights_draw_shards(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 16; i++) members[i] = member_of(i, 0);
    members[0].weight = 4;
    uint32_t heavy = 0, light = 0;
    for (uint64_t round = 0; round < 500; round++) {
        make(16, round);
        for (uint32_t s = 0; s < plan.shards; s++) {
            heavy += tree_plan_owner(&plan, 0, 0, s) == 0;
            light += tree_plan_owner(&plan, 0, 0, s) == 1;
        }
    }
    // 16 * 4 / 19 = 3.4 shards a round against 0.84.
    assert_in_range(heavy, 1500, 2000);
    assert_in_range(light, 340, 480);
}

static void large_vectors_are_cut_finer(void **state)
{
    (void)state;
    static const uint32_t expected[18] = {0, 16, 16, 15, 16, 15, 12, 14, 16, 9, 10, 11, 12, 13, 14, 15, 16, 16};
    for (uint32_t count = 1; count <= 17; count++) {
        for (uint32_t i = 0; i < count; i++) members[i] = member_of(i, i);
        assert_int_equal(tree_plan_make(&plan, members, count, (uint64_t)1 << 30, &run, 1, 0), CORE_ERR_OK);
        assert_int_equal(plan.shards, expected[count]);
        assert_int_equal(tree_plan_make(&plan, members, count, 800000, &run, 1, 0), CORE_ERR_OK);
        assert_int_equal(plan.shards, count == 1 ? 3 : count < 16 ? count : 16);
    }
}

static void bad_members_are_refused(void **state)
{
    (void)state;
    assert_int_equal(tree_plan_make(&plan, members, 0, 0, &run, 1, 0), CORE_ERR_MALFORMED);
    assert_false(tree_plan_has(&plan, 0, 0, 0));
    members[0] = member_of(7, 0);
    members[1] = member_of(7, 1);
    assert_int_equal(tree_plan_make(&plan, members, 2, 0, &run, 1, 0), CORE_ERR_MALFORMED);
    assert_false(tree_plan_has_slot(&plan, 7));
    struct tree_plan small;
    assert_int_equal(tree_plan_open(&small, 1), CORE_ERR_OK);
    members[1] = member_of(8, 1);
    assert_int_equal(tree_plan_make(&small, members, 2, 0, &run, 1, 0), CORE_ERR_LIMIT);
    tree_plan_close(&small);
}

static void shard_ranges_tile_the_vector(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 63, 64, 65, 1000, 821248, 4096 * 16};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (uint32_t shards = 1; shards <= TREE_SHARD_MAX; shards++) {
            uint64_t at = 0;
            for (uint32_t s = 0; s < shards; s++) {
                uint64_t first;
                const uint64_t n = tree_shard_range(sizes[i], shards, s, &first);
                assert_true(first == at);
                assert_true(n == 0 || first % TREE_SHARD_ALIGN == 0);
                assert_true(n <= sizes[i] / shards + 2 * TREE_SHARD_ALIGN);
                at += n;
            }
            assert_true(at == sizes[i]);
        }
}

// The sum along the plan is the flat sum, bit for bit, and fits the width that the plan bounds.
static void a_plan_sums_exactly(void **state)
{
    (void)state;
    enum { ELEMENTS = 1500, COUNT = 23 };
    static uint8_t data[COUNT][ELEMENTS], level_sums[2][COUNT][ELEMENTS * 2], flat[ELEMENTS * 2];
    struct rng rng = rng_from(9, 9);
    for (uint32_t i = 0; i < COUNT; i++) {
        members[i] = member_of(i, i % 5);
        for (size_t e = 0; e < ELEMENTS; e++) data[i][e] = (uint8_t)rng_u32(&rng);
    }
    make(COUNT, 1);
    assert_int_equal(plan.levels, 2);
    struct sum_input in[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) in[i] = (struct sum_input){data[i], 8, 1 + i % 3};
    assert_int_equal(sum_reduce(flat, 16, in, COUNT, ELEMENTS), CORE_ERR_OK);
    for (uint32_t s = 0; s < plan.shards; s++) {
        uint64_t first;
        const uint64_t n = tree_shard_range(ELEMENTS, plan.shards, s, &first);
        for (uint32_t g = 0; g < plan.group_count[0]; g++) {
            uint32_t count = tree_plan_slot_count(&plan, 0, g);
            for (uint32_t i = 0; i < count; i++) {
                const uint32_t slot = tree_plan_slot_at(&plan, 0, g, i);
                in[i] = (struct sum_input){data[slot] + first, 8, 1 + slot % 3};
            }
            assert_int_equal(sum_reduce(level_sums[0][g] + 2 * first, 16, in, count, n), CORE_ERR_OK);
        }
        uint32_t child;
        const uint32_t kids = tree_plan_children(&plan, 1, 0, &child);
        for (uint32_t k = 0; k < kids; k++) in[k] = (struct sum_input){level_sums[0][child + k] + 2 * first, 16, 1};
        assert_int_equal(sum_reduce(level_sums[1][0] + 2 * first, 16, in, kids, n), CORE_ERR_OK);
    }
    assert_memory_equal(level_sums[1][0], flat, sizeof flat);
}

static int open_plan(void **state)
{
    (void)state;
    return tree_plan_open(&plan, MEMBERS_MAX) != CORE_ERR_OK;
}

static int close_plan(void **state)
{
    (void)state;
    tree_plan_close(&plan);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_peers_on_one_host_are_one_level),
        cmocka_unit_test(sixty_four_peers_on_eight_hosts_are_two_levels),
        cmocka_unit_test(peers_alone_on_their_hosts_share_a_group),
        cmocka_unit_test(replacements_keep_their_order),
        cmocka_unit_test(random_plans_are_sound),
        cmocka_unit_test(the_order_of_members_does_not_matter),
        cmocka_unit_test(one_more_member_moves_few),
        cmocka_unit_test(near_hosts_share_a_group),
        cmocka_unit_test(sites_are_a_level),
        cmocka_unit_test(weights_draw_shards),
        cmocka_unit_test(large_vectors_are_cut_finer),
        cmocka_unit_test(bad_members_are_refused),
        cmocka_unit_test(shard_ranges_tile_the_vector),
        cmocka_unit_test(a_plan_sums_exactly),
    };
    return cmocka_run_group_tests(tests, open_plan, close_plan);
}
