// Broadcasts at size, in virtual time: redundancy, sustained rates, large payloads, losses, hostile announcements.
#include "gossip/gossip_parts.h"
#include "unit/gossip/world.h"

static struct world world;
static uint8_t payload[GOSSIP_PAYLOAD_MAX + 1];

static void cast(uint32_t i, uint8_t number, size_t size)
{
    payload[0] = number;
    const enum core_err err =
        gossip_cast(world.peers[i].gossip, TOPIC_RUN, (struct slice){payload, size}, world.now_ms, &world.out);
    check(err == CORE_ERR_OK);
    world_perform(&world, i);
}

static uint64_t got_by(uint32_t i)
{
    uint64_t sum = 0;
    for (uint32_t k = 0; k < WORLD_CASTS; k++) sum += world.peers[i].got[k];
    return sum;
}

static struct gossip_counts counts(void)
{
    struct gossip_counts sum = {0}, c;
    for (uint32_t i = 0; i < world.count; i++) {
        if (!world.peers[i].gossip) continue;
        gossip_counts_get(world.peers[i].gossip, &c);
        sum.casts_sent += c.casts_sent;
        sum.casts_received += c.casts_received;
        sum.casts_duplicate += c.casts_duplicate;
        sum.casts_delivered += c.casts_delivered;
        sum.grafts += c.grafts;
        sum.repaired += c.repaired;
        sum.refused += c.refused;
    }
    return sum;
}

static void start(uint32_t count, uint64_t seed)
{
    world_open(&world, count, seed);
    world.delay_min_ms = 1;
    world.delay_max_ms = 5;
    world_join_all(&world);
    world_run(&world, 10000);
}

// Duplicates for each delivery, in hundredths, of `casts` broadcasts by random peers `every_ms`; all must arrive.
static uint64_t redundancy(uint32_t casts, uint32_t every_ms, size_t size)
{
    uint64_t before[WORLD_PEERS], own[WORLD_PEERS] = {0};
    for (uint32_t i = 0; i < world.count; i++) before[i] = got_by(i);
    const struct gossip_counts from = counts();
    for (uint32_t k = 0; k < casts; k++) {
        const uint32_t i = (uint32_t)rng_below(&world.rng, world.count);
        own[i]++;
        payload[1] = (uint8_t)k;
        payload[2] = (uint8_t)(k >> 8);
        cast(i, (uint8_t)k, size);
        world_run(&world, every_ms);
    }
    world_run(&world, 8000);
    uint64_t missed = 0;
    for (uint32_t i = 0; i < world.count; i++) missed += casts - own[i] - (got_by(i) - before[i]);
    const struct gossip_counts to = counts();
    const uint64_t duplicate = to.casts_duplicate - from.casts_duplicate;
    const uint64_t delivered = to.casts_delivered - from.casts_delivered;
    print_message(
        "%u peers, %u casts of %zu bytes: %llu delivered, %llu duplicates, %llu grafts, %llu repaired, %llu missed\n",
        world.count, casts, size, (unsigned long long)delivered, (unsigned long long)duplicate,
        (unsigned long long)(to.grafts - from.grafts), (unsigned long long)(to.repaired - from.repaired),
        (unsigned long long)missed);
    assert_int_equal(missed, 0);
    return 100 * duplicate / delivered;
}

static void a_settled_tree_sends_hardly_anything_twice(void **state)
{
    (void)state;
    start(32, 31);
    redundancy(100, 100, 1024);
    assert_true(redundancy(300, 100, 1024) <= 10);
    world_close(&world);
    start(200, 32);
    redundancy(100, 100, 1024);
    assert_true(redundancy(300, 100, 1024) <= 7);
    world_close(&world);
}

static void a_thousand_a_second_all_arrive(void **state)
{
    (void)state;
    start(32, 33);
    redundancy(1000, 1, 1024);
    redundancy(1000, 1, 1024);
    redundancy(1000, 1, 1024);
    assert_true(redundancy(5000, 1, 1024) <= 30);
    world_close(&world);
}

static void large_payloads_are_pulled_once(void **state)
{
    (void)state;
    start(32, 34);
    redundancy(5, 1000, 1 << 20);
    redundancy(2, 3000, GOSSIP_PAYLOAD_MAX);
    assert_int_equal(world.sent_of[MESSAGE_CAST_BULK], 7 * 31);
    world_close(&world);
}

static bool keeps(uint32_t i, const uint64_t key)
{
    return cast_store_find(&world.peers[i].gossip->broadcast.store, key) != NULL;
}

// What nobody else may have yet is not forgotten because a clock jumped; it is once its time has really passed.
static void a_clock_that_jumps_ages_nothing(void **state)
{
    (void)state;
    start(8, 35);
    struct gossip *g = world.peers[3].gossip;
    cast(3, 1, 100);
    const uint64_t key = cast_key(cast_store_at(&g->broadcast.store, g->broadcast.store.next - 1)->id.bytes);
    world_run(&world, 58);
    assert_true(keeps(0, key) && keeps(3, key));
    gossip_tick(g, world.now_ms + 10 * CAST_KEEP_MS, &world.out);
    assert_true(keeps(3, key));
    outbox_reset(&world.out);
    world_run(&world, CAST_KEEP_MS + 30000);
    assert_false(keeps(0, key));
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_settled_tree_sends_hardly_anything_twice),
        cmocka_unit_test(a_thousand_a_second_all_arrive),
        cmocka_unit_test(large_payloads_are_pulled_once),
        cmocka_unit_test(a_clock_that_jumps_ages_nothing),
    };
    if (sign_start() != CORE_ERR_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
