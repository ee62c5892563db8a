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

enum { MEMBERS_MAX = 300 };

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
    assert_int_equal(tree_plan_make(&plan, members, count, &run, round, 0), CORE_ERR_OK);
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
    assert_int_equal(plan.group_count[0], 3);
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

static uint32_t random_members(struct rng *rng, uint32_t hosts)
{
    const uint32_t count = 1 + (uint32_t)rng_below(rng, 120);
    for (uint32_t i = 0; i < count; i++) {
        members[i] = member_of(3 * i + 1, (uint32_t)rng_below(rng, hosts));
        members[i].weight = 1 + (uint32_t)rng_below(rng, 4);
        members[i].reachable = rng_below(rng, 5) > 0;
    }
    return count;
}

static const struct tree_member *by_slot(uint32_t slot)
{
    return &members[(slot - 1) / 3];
}

static void random_plans_are_sound(void **state)
{
    (void)state;
    struct rng rng = rng_from(42, 0);
    for (int turn = 0; turn < 200; turn++) {
        const uint32_t count = random_members(&rng, 1 + (uint32_t)rng_below(&rng, 40));
        make(count, (uint64_t)turn);
        bool any = false;
        for (uint32_t i = 0; i < count; i++) any |= members[i].reachable;
        assert_int_equal(plan.group_count[plan.levels - 1], 1);
        for (uint32_t level = 0; level < plan.levels; level++) {
            uint32_t held = 0;
            for (uint32_t g = 0; g < plan.group_count[level]; g++) {
                const uint32_t size = tree_plan_slot_count(&plan, level, g);
                held += size;
                if (level == 0) assert_in_range(size, 1, TREE_GROUP_MAX);
                for (uint32_t i = 0; i < size; i++)
                    assert_int_equal(tree_plan_group_of(&plan, level, tree_plan_slot_at(&plan, level, g, i)), g);
                uint32_t first, kids = level ? tree_plan_children(&plan, level, g, &first) : 0;
                for (uint32_t k = 0; k < kids; k++) assert_int_equal(tree_plan_parent(&plan, level - 1, first + k), g);
                uint64_t weights = 0, owned[MEMBERS_MAX] = {0};
                bool able = false;
                for (uint32_t i = 0; i < size; i++) {
                    const struct tree_member *m = by_slot(tree_plan_slot_at(&plan, level, g, i));
                    able |= m->reachable;
                    if (m->reachable || !any) weights += m->weight;
                }
                for (uint32_t s = 0; s < plan.shards; s++) {
                    uint32_t slots[TREE_CANDIDATE_MAX];
                    const uint32_t n = tree_plan_candidates(&plan, level, g, s, slots);
                    assert_int_equal(slots[0], tree_plan_owner(&plan, level, g, s));
                    for (uint32_t i = 0; i < n; i++) {
                        if (any) assert_true(by_slot(slots[i])->reachable);
                        for (uint32_t k = 0; k < i; k++) assert_int_not_equal(slots[i], slots[k]);
                    }
                    if (able) assert_int_equal(tree_plan_group_of(&plan, level, slots[0]), g);
                    owned[(slots[0] - 1) / 3]++;
                }
                // Everyone owns its share by weight, rounded up or down.
                for (uint32_t i = 0; able && i < count; i++) {
                    const bool owns = members[i].reachable && tree_plan_group_of(&plan, level, members[i].slot) == g;
                    const uint64_t share = owns ? (uint64_t)members[i].weight * plan.shards : 0;
                    assert_true(owned[i] * weights < share + weights);
                    assert_true(owned[i] * weights + weights > share);
                }
            }
            assert_int_equal(held, count);
        }
    }
}

static void the_order_of_members_does_not_matter(void **state)
{
    (void)state;
    struct rng rng = rng_from(43, 0);
    const uint32_t count = random_members(&rng, 9);
    make(count, 8);
    uint32_t owners[TREE_SHARD_MAX];
    for (uint32_t s = 0; s < plan.shards; s++) owners[s] = tree_plan_owner(&plan, plan.levels - 1, 0, s);
    struct tree_member turned[MEMBERS_MAX];
    for (uint32_t i = 0; i < count; i++) turned[i] = members[count - 1 - i];
    memcpy(members, turned, count * sizeof *turned);
    make(count, 8);
    for (uint32_t s = 0; s < plan.shards; s++)
        assert_int_equal(tree_plan_owner(&plan, plan.levels - 1, 0, s), owners[s]);
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

static void bad_members_are_refused(void **state)
{
    (void)state;
    assert_int_equal(tree_plan_make(&plan, members, 0, &run, 1, 0), CORE_ERR_MALFORMED);
    assert_false(tree_plan_has(&plan, 0, 0, 0));
    members[0] = member_of(7, 0);
    members[1] = member_of(7, 1);
    assert_int_equal(tree_plan_make(&plan, members, 2, &run, 1, 0), CORE_ERR_MALFORMED);
    assert_false(tree_plan_has_slot(&plan, 7));
    struct tree_plan small;
    assert_int_equal(tree_plan_open(&small, 1), CORE_ERR_OK);
    members[1] = member_of(8, 1);
    assert_int_equal(tree_plan_make(&small, members, 2, &run, 1, 0), CORE_ERR_LIMIT);
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
        cmocka_unit_test(weights_draw_shards),
        cmocka_unit_test(bad_members_are_refused),
        cmocka_unit_test(shard_ranges_tile_the_vector),
        cmocka_unit_test(a_plan_sums_exactly),
    };
    return cmocka_run_group_tests(tests, open_plan, close_plan);
}
