// The overlay at size, in virtual time: join storms, mass failures, splits, nearness, attacks on the view.
#include "unit/gossip/world.h"

static struct world world;

static bool sees_all(uint32_t a)
{
    const struct gossip *g = world.peers[a].gossip;
    uint32_t alive = 0, running = 0;
    for (uint32_t b = 0; b < world.count; b++) running += world.peers[b].gossip != NULL;
    for (uint32_t i = 0; i < gossip_member_count(g); i++) {
        struct gossip_member m;
        gossip_member_at(g, i, &m);
        const uint32_t b = world_number(&world, &m.id);
        alive += m.state == GOSSIP_ALIVE && world.peers[b].gossip != NULL;
    }
    return alive == running;
}

// How many of the running peers see all running peers alive.
static uint32_t complete(void)
{
    uint32_t count = 0;
    for (uint32_t a = 0; a < world.count; a++) count += world.peers[a].gossip && sees_all(a);
    return count;
}

static uint32_t running(void)
{
    uint32_t count = 0;
    for (uint32_t a = 0; a < world.count; a++) count += world.peers[a].gossip != NULL;
    return count;
}

// Milliseconds, in steps of `step_ms`, until everyone sees everyone; UINT64_MAX after `limit_ms`.
static uint64_t until_complete(uint64_t step_ms, uint64_t limit_ms)
{
    const uint64_t from = world.now_ms;
    while (world.now_ms - from < limit_ms) {
        world_run(&world, step_ms);
        if (complete() == running()) return world.now_ms - from;
    }
    return UINT64_MAX;
}

// Peers that can be reached from the first that runs, over links that both ends hold for neighbours.
static uint32_t connected(void)
{
    static bool near[WORLD_PEERS][WORLD_PEERS];
    memset(near, 0, sizeof near);
    uint32_t first = UINT32_MAX;
    for (uint32_t a = world.count; a-- > 0;) {
        if (!world.peers[a].gossip) continue;
        first = a;
        struct core_id ids[WORLD_PEERS];
        const uint32_t n = gossip_neighbors(world.peers[a].gossip, ids, WORLD_PEERS);
        for (uint32_t i = 0; i < n; i++) near[a][world_number(&world, &ids[i])] = true;
    }
    bool seen[WORLD_PEERS] = {false};
    uint32_t queue[WORLD_PEERS], head = 0, tail = 0;
    seen[first] = true;
    queue[tail++] = first;
    while (head < tail) {
        const uint32_t a = queue[head++];
        for (uint32_t b = 0; b < world.count; b++) {
            if (seen[b] || !near[a][b] || !near[b][a] || !world.peers[b].gossip) continue;
            seen[b] = true;
            queue[tail++] = b;
        }
    }
    return tail;
}

static void open_at(uint32_t count, uint64_t seed, uint32_t delay_ms)
{
    world_open(&world, count, seed);
    world.delay_min_ms = world.delay_max_ms = delay_ms;
}

// Everyone dials the first peer at one moment.
static void storm(uint32_t count, uint64_t limit_ms)
{
    uint64_t worst = 0;
    for (uint64_t seed = 0; seed < 3; seed++) {
        open_at(count, 400 + seed, 1);
        for (uint32_t i = 0; i < count; i++) world_start(&world, i, 1);
        for (uint32_t i = 1; i < count; i++) world_dial(&world, i, 0);
        const uint64_t took = until_complete(10, 20000);
        const uint64_t sent = world.sent, bytes = world.bytes, of_contact = world.peers[0].bytes;
        print_message("%u at once: all see all after %llu ms; %llu messages, %llu bytes, %llu of the contact\n", count,
                      (unsigned long long)took, (unsigned long long)sent, (unsigned long long)bytes,
                      (unsigned long long)of_contact);
        if (took > worst) worst = took;
        world_run(&world, 10000);
        assert_int_equal(complete(), count);
        assert_int_equal(connected(), count);
        uint32_t links = 0;
        for (uint32_t b = 0; b < count; b++) links += world.linked[0][b];
        print_message("   contact keeps %u links\n", links);
        assert_true(links <= 12);
        assert_int_equal(world.accusations, 0);
        world_close(&world);
    }
    assert_true(worst < limit_ms);
}

static void a_storm_of_joiners_sees_itself_at_once(void **state)
{
    (void)state;
    storm(64, 1000);
    storm(128, 2000);
}

// `percent` of 200 peers die in one moment, without a word from most.
static void survivors(uint32_t percent, bool silent, uint64_t seed)
{
    open_at(200, seed, 5);
    world_join_all(&world);
    assert_true(until_complete(100, 20000) != UINT64_MAX);
    world_run(&world, 20000);
    world.kills_are_silent = silent;
    uint32_t dead = 0;
    while (dead < 200 * percent / 100) {
        const uint32_t i = (uint32_t)rng_below(&world.rng, 200);
        if (!world.peers[i].gossip) continue;
        world_kill(&world, i);
        dead++;
    }
    const uint64_t from = world.now_ms;
    uint64_t took = UINT64_MAX;
    for (uint32_t i = 0; i < 600; i++) {
        world_run(&world, 100);
        if (connected() != running())
            took = UINT64_MAX;
        else if (took == UINT64_MAX)
            took = world.now_ms - from;
    }
    uint32_t degree = 0;
    for (uint32_t a = 0; a < 200; a++)
        if (world.peers[a].gossip) degree += gossip_neighbors(world.peers[a].gossip, NULL, 0);
    print_message(
        "%u %% of 200 die%s: the rest is connected for good after %llu ms; %u.%u neighbours each, %u complete\n",
        percent, silent ? " silently" : "", (unsigned long long)took, degree / running(), degree * 10 / running() % 10,
        complete());
    assert_int_equal(connected(), running());
    world_close(&world);
}

static void most_may_die_and_the_rest_holds_together(void **state)
{
    (void)state;
    survivors(80, false, 500);
    survivors(80, true, 501);
    survivors(90, false, 502);
}

static void part(uint32_t first)
{
    for (uint32_t i = 0; i < world.count; i++) world.peers[i].part = i >= first;
}

static void a_mesh_cut_in_halves_heals_in_10_s(void **state)
{
    (void)state;
    uint64_t worst = 0;
    for (uint64_t seed = 600; seed < 603; seed++) {
        open_at(32, seed, 5);
        world.options.retry_max_ms = 0;
        world_join_all(&world);
        world_run(&world, 10000);
        part(16);
        world_run(&world, 60000);
        for (uint32_t a = 0; a < 16; a++)
            for (uint32_t b = 16; b < 32; b++)
                assert_int_equal(gossip_state_of(world.peers[a].gossip, &world.peers[b].key.id), GOSSIP_DEAD);
        uint32_t dialed = 0;
        for (uint32_t i = 0; i < 32; i++) world.peers[i].dialed = 0;
        world_run(&world, 10000);
        for (uint32_t i = 0; i < 32; i++) dialed += world.peers[i].dialed;
        part(32);
        const uint64_t took = until_complete(20, 30000);
        print_message("heals after %llu ms; %u dials in 10 s of split\n", (unsigned long long)took, dialed);
        if (took > worst) worst = took;
        world_run(&world, 10000);
        assert_int_equal(complete(), 32);
        assert_int_equal(connected(), 32);
        world_close(&world);
    }
    assert_true(worst <= 10000);
}

// Two sites of 32, 40 ms apart: one way 20 ms between them, none inside.
static uint32_t two_sites(uint32_t a, uint32_t b)
{
    return (a < 32) == (b < 32) ? 0 : 20;
}

// Of 100 links between neighbours, how many cross from one site to the other.
static uint32_t crossing(void)
{
    uint32_t all = 0, across = 0;
    for (uint32_t a = 0; a < world.count; a++) {
        struct core_id ids[WORLD_PEERS];
        const uint32_t n = gossip_neighbors(world.peers[a].gossip, ids, WORLD_PEERS);
        for (uint32_t i = 0; i < n; i++, all++) across += two_sites(a, world_number(&world, &ids[i])) > 0;
    }
    return 100 * across / all;
}

static void neighbours_become_near_and_the_mesh_stays_whole(void **state)
{
    (void)state;
    open_at(64, 700, 2);
    world.distance_ms = two_sites;
    world_join_all(&world);
    world_run(&world, 30000);
    const uint32_t before = crossing();
    for (uint32_t i = 0; i < 30; i++) {
        world_run(&world, 10000);
        assert_int_equal(connected(), 64);
    }
    uint64_t exchanges = 0;
    for (uint32_t i = 0; i < 64; i++) {
        struct gossip_counts counts;
        gossip_counts_get(world.peers[i].gossip, &counts);
        exchanges += counts.exchanges;
        assert_in_range(gossip_neighbors(world.peers[i].gossip, NULL, 0), 3, 5);
    }
    const uint32_t after = crossing();
    print_message("%u %% of links cross, after 5 minutes %u %%; %llu exchanges\n", before, after,
                  (unsigned long long)exchanges);
    assert_in_range(before, 20, 65);
    assert_true(after < before);
    // Nothing moves for ever.
    world_run(&world, 600000);
    uint64_t later = 0;
    for (uint32_t i = 0; i < 64; i++) {
        struct gossip_counts counts;
        gossip_counts_get(world.peers[i].gossip, &counts);
        later += counts.exchanges;
    }
    print_message("%llu more in 10 minutes; %u %% cross\n", (unsigned long long)(later - exchanges), crossing());
    assert_true(later - exchanges < 128);
    assert_in_range(crossing(), 8, before * 3 / 4);
    assert_int_equal(connected(), 64);
    world_close(&world);
}

// gossip.h says what each is for, and how many.
static void an_idle_peer_sends_what_is_written_down(void **state)
{
    (void)state;
    open_at(32, 710, 1);
    world_join_all(&world);
    world_run(&world, 300000);
    const uint64_t from = world.sent;
    uint64_t before[256];
    memcpy(before, world.sent_of, sizeof before);
    world_run(&world, 600000);
    const uint64_t minutes = 10 * 32;
    for (uint32_t type = 0; type < 256; type++)
        if (world.sent_of[type] > before[type])
            print_message("%s %.2f\n", message_info(type)->name,
                          (double)(world.sent_of[type] - before[type]) / (double)minutes);
    print_message("messages a minute and peer: %llu\n", (unsigned long long)((world.sent - from) / minutes));
    assert_true(world.sent - from <= 165 * minutes);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_storm_of_joiners_sees_itself_at_once),
        cmocka_unit_test(a_mesh_cut_in_halves_heals_in_10_s),
        cmocka_unit_test(neighbours_become_near_and_the_mesh_stays_whole),
        cmocka_unit_test(an_idle_peer_sends_what_is_written_down),
        cmocka_unit_test(most_may_die_and_the_rest_holds_together),
    };
    if (sign_start() != CORE_ERR_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
