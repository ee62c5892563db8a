// How failures are found, in virtual time: how soon, by how many, and nobody healthy accused.
#include "unit/gossip/world.h"

static struct world world;

static enum gossip_state sees(uint32_t a, uint32_t b)
{
    return gossip_state_of(world.peers[a].gossip, &world.peers[b].key.id);
}

static bool runs(uint32_t a)
{
    return world.peers[a].gossip && !world.peers[a].paused;
}

static uint32_t seen_by(uint32_t b, enum gossip_state state)
{
    uint32_t count = 0;
    for (uint32_t a = 0; a < world.count; a++) count += a != b && runs(a) && sees(a, b) == state;
    return count;
}

static uint32_t running(void)
{
    uint32_t count = 0;
    for (uint32_t a = 0; a < world.count; a++) count += runs(a);
    return count;
}

static uint64_t until_seen(uint32_t b, enum gossip_state state, uint64_t limit_ms)
{
    const uint64_t from = world.now_ms;
    while (world_step(&world, from + limit_ms))
        if (seen_by(b, state) == running() - runs(b)) return world.now_ms - from;
    return UINT64_MAX;
}

static bool agree(void)
{
    for (uint32_t b = 0; b < world.count; b++)
        if (runs(b) && seen_by(b, GOSSIP_ALIVE) != running() - 1) return false;
    return true;
}

// Nobody but the victim (or any, as `except` >= count) was ever accused: nobody had to refute.
static void none_refuted(uint32_t except)
{
    for (uint32_t i = 0; i < world.count; i++) {
        if (i == except || !world.peers[i].gossip) continue;
        struct gossip_counts counts;
        gossip_counts_get(world.peers[i].gossip, &counts);
        assert_int_equal(counts.refutations, 0);
    }
}

static void open_mesh(uint32_t count, uint64_t seed)
{
    world_open(&world, count, seed);
    world.options.members_max = 256;
    world_join_all(&world);
    world_run(&world, 15000);
    assert_true(agree());
}

static void kill_times(uint32_t count, bool silent, uint64_t limit_ms)
{
    uint64_t worst = 0;
    for (uint64_t seed = 0; seed < (count > 64 ? 2 : 6); seed++) {
        open_mesh(count, 400 + seed);
        world.kills_are_silent = silent;
        const uint32_t victim = (uint32_t)rng_below(&world.rng, count);
        world_kill(&world, victim);
        const uint64_t took = until_seen(victim, GOSSIP_DEAD, 20000);
        if (took > worst) worst = took;
        world_run(&world, 10000);
        assert_true(agree());
        none_refuted(victim);
        world_close(&world);
    }
    print_message("%u peers, %s: seen dead by all within %llu ms\n", count, silent ? "silent" : "closed",
                  (unsigned long long)worst);
    assert_true(worst < limit_ms);
}

static void a_closed_link_is_a_death_in_2_s(void **state)
{
    (void)state;
    kill_times(3, false, 2000);
    kill_times(32, false, 2000);
    kill_times(128, false, 2000);
}

static void silence_is_a_death_in_five_seconds(void **state)
{
    (void)state;
    kill_times(3, true, 4600);
    kill_times(32, true, 4600);
    kill_times(128, true, 4600);
}

static void who_was_stopped_accuses_nobody(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        open_mesh(32, 500 + seed);
        world.drop_percent = seed < 2 ? 0 : 2;
        world.peers[7].paused = true;
        assert_true(until_seen(7, GOSSIP_DEAD, 20000) < 6000);
        world_run(&world, 15000);
        const uint64_t before = world.accusations;
        world.peers[7].paused = false;
        assert_true(until_seen(7, GOSSIP_ALIVE, 20000) < 5000);
        world_run(&world, 20000);
        assert_true(agree());
        assert_int_equal(world.accusations, before);
        none_refuted(7);
        world_close(&world);
    }
}

// Everyone in turn, for times around every limit that the monitor has.
static void stops_of_any_length_cost_others_nothing(void **state)
{
    (void)state;
    open_mesh(8, 510);
    for (uint32_t i = 0; i < 64; i++) {
        world.peers[i % 8].paused = true;
        world_run(&world, 100 + 130 * i);
        world.peers[i % 8].paused = false;
        world_run(&world, 8000);
        for (uint32_t k = 0; k < 8; k++) {  // who was not stopped was not accused
            struct gossip_counts counts;
            gossip_counts_get(world.peers[k].gossip, &counts);
            assert_true(counts.refutations <= i / 8 + (i % 8 >= k));
        }
        assert_true(agree());
    }
    world_close(&world);
}

static void loss_and_one_way_cuts_accuse_nobody(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        open_mesh(32, 520 + seed);
        world.drop_percent = 2;
        for (uint32_t i = 0; i < 12; i++) {
            struct core_id ids[8];
            const uint32_t a = (uint32_t)rng_below(&world.rng, 32), n = gossip_neighbors(world.peers[a].gossip, ids, 8);
            const uint32_t b = n ? world_number(&world, &ids[rng_below(&world.rng, n)]) : (a + 1) % 32;
            world.cut[a][b] = true;
            world_run(&world, 20000);
            if (i % 3 == 2) memset(world.cut, 0, sizeof world.cut);
        }
        world_run(&world, 20000);
        assert_int_equal(world.accusations, 0);
        none_refuted(UINT32_MAX);
        assert_true(agree());
        world_close(&world);
    }
}

// A peer whose links to others say nothing, but to whom two still listen, is no dead peer.
static void two_that_hear_it_keep_a_peer_alive(void **state)
{
    (void)state;
    open_mesh(16, 530);
    struct core_id ids[8];
    uint32_t victim = 0, n;
    while ((n = gossip_neighbors(world.peers[victim].gossip, ids, 8)) < 4) victim++;
    for (uint32_t i = 0; i + 2 < n; i++) world.cut[victim][world_number(&world, &ids[i])] = true;
    for (uint32_t t = 0; t < 60; t++) {
        world_run(&world, 500);
        assert_int_equal(seen_by(victim, GOSSIP_DEAD), 0);
    }
    assert_true(agree());
    world_close(&world);
}

static void most_die_at_once(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        open_mesh(40, 540 + seed);
        world.kills_are_silent = seed == 2;
        for (uint32_t i = 0; i < 32; i++) world_kill(&world, i);
        uint64_t took = 0;
        for (uint32_t dead = 0; dead < 32 && took < 60000; took += 250) {
            world_run(&world, 250);
            dead = 0;
            for (uint32_t b = 0; b < 32; b++) dead += seen_by(b, GOSSIP_DEAD) == 8;
        }
        print_message("32 of 40 die: the 8 others all know after %llu ms\n", (unsigned long long)took);
        assert_true(took < 40000);
        world_run(&world, 10000);
        assert_true(agree());
        none_refuted(UINT32_MAX);
        world_close(&world);
    }
}

// Virtual time until the first `few` and the others all call each other dead; a peer is stopped for 750 ms in every
// 5 s, as on a machine that has too much to do.
// The many see all of the few dead; and each of the few nearly all of the many: with nobody beside it to confirm what
// it finds, it may take long over the last.
static bool is_apart(uint32_t few)
{
    for (uint32_t a = 0; a < few; a++) {
        uint32_t seen = 0;
        for (uint32_t b = few; b < world.count; b++) {
            if (sees(b, a) != GOSSIP_DEAD) return false;
            seen += sees(a, b) == GOSSIP_DEAD;
        }
        if (10 * seen < 9 * (world.count - few)) return false;
    }
    return true;
}

static uint64_t fall_apart(uint32_t few, uint64_t limit_ms)
{
    const uint64_t from = world.now_ms;
    uint64_t goes_ms[WORLD_PEERS] = {0};
    for (uint32_t i = 0; i < world.count; i++) world.peers[i].part = i >= few;
    for (bool apart = false; !apart && world.now_ms - from < limit_ms;) {
        world_run(&world, 250);
        for (uint32_t i = 0; i < world.count; i++) {
            if (world.peers[i].paused)
                world.peers[i].paused = world.now_ms < goes_ms[i];
            else if (rng_below(&world.rng, 1000) < 50)
                world.peers[i].paused = true, goes_ms[i] = world.now_ms + 750;
        }
        apart = is_apart(few);
    }
    for (uint32_t i = 0; i < world.count; i++) world.peers[i].paused = false;
    return world.now_ms - from;
}

// Both sides, also a few and one alone, come to call the other unreachable; and it heals without a storm.
static void a_mesh_that_falls_apart_is_judged_together(void **state)
{
    (void)state;
    const struct {
        uint32_t count, few;
        uint64_t limit_ms;
    } cases[] = {{64, 32, 30000}, {100, 4, 40000}, {32, 1, 40000}};
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_mesh(cases[i].count, 560 + i);
        const uint64_t took = fall_apart(cases[i].few, 120000);
        for (uint32_t a = 0; a < world.count; a++) world.peers[a].part = 0;
        const uint64_t sent = world.sent, from = world.now_ms;
        while (!agree() && world.now_ms - from < 30000) world_run(&world, 250);
        print_message("%u of %u cut off: dead to each other after %llu ms, healed in %llu, %llu messages a peer\n",
                      cases[i].few, cases[i].count, (unsigned long long)took, (unsigned long long)(world.now_ms - from),
                      (unsigned long long)(world.sent - sent) / cases[i].count);
        assert_true(took < cases[i].limit_ms);
        assert_true(agree());
        assert_true(world.sent - sent < 1000 * (uint64_t)world.count);
        world_close(&world);
    }
}

// Cut off, it accuses everyone; what it said comes out of a queue when it is long dead, and makes nobody a suspect.
static void what_the_dead_said_comes_too_late(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2; seed++) {
        open_mesh(16, 570 + seed);
        world.kills_are_silent = true;
        world.peers[3].part = 1;
        world.peers[3].held_until_ms = world.now_ms + 20000;
        assert_true(until_seen(3, GOSSIP_DEAD, 20000) < 6000);
        world_run(&world, 10000);
        assert_true(world.accusations > 6);
        world_kill(&world, 3);
        const uint64_t until = world.now_ms + 15000;
        while (world_step(&world, until))
            for (uint32_t b = 0; b < world.count; b++)
                if (b != 3) assert_int_equal(seen_by(b, GOSSIP_SUSPECT), 0);
        assert_true(agree());
        world_close(&world);
    }
}

// Its neighbours die with it: who comes first in rendezvous order finds it.
static void whose_watchers_died_is_found(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        open_mesh(24, 550 + seed);
        struct core_id ids[8];
        const uint32_t victim = 5, n = gossip_neighbors(world.peers[victim].gossip, ids, 8);
        uint32_t left = 24 - 1 - n;
        world.kills_are_silent = seed % 2;
        world_kill(&world, victim);
        for (uint32_t i = 0; i < n; i++) world_kill(&world, world_number(&world, &ids[i]));
        uint64_t took = 0;
        while (seen_by(victim, GOSSIP_DEAD) < left && took < 60000) {
            world_run(&world, 250);
            took += 250;
        }
        print_message("a peer and its %u neighbours die: known after %llu ms\n", n, (unsigned long long)took);
        assert_true(took < 30000);
        none_refuted(UINT32_MAX);
        world_close(&world);
    }
}

// With a disk from long ago, or none: it is told at once, and outlives its former self.
static void an_old_disk_is_outlived_at_once(void **state)
{
    (void)state;
    open_mesh(16, 560);
    for (uint64_t turn = 0; turn < 4; turn++) {
        const uint64_t life = gossip_incarnation(world.peers[4].gossip);
        world_kill(&world, 4);
        world_run(&world, turn % 2 ? 50 : 10000);  // before and after its death is known
        world_start(&world, 4, 1);
        world_dial(&world, 4, 9);
        assert_true(until_seen(4, GOSSIP_ALIVE, 20000) < 4000);
        world_run(&world, 4000);
        assert_true(agree());
        assert_true(gossip_incarnation(world.peers[4].gossip) > life);
    }
    world_close(&world);
}

// Neighbours come and go; records don't follow each time.
static void records_are_renewed_seldom(void **state)
{
    (void)state;
    open_mesh(64, 570);
    world_run(&world, 90000);
    uint64_t most = 0, all = 0;
    for (uint32_t i = 0; i < 64; i++) {
        struct gossip_member m;
        assert_true(gossip_member_find(world.peers[0].gossip, &world.peers[i].key.id, &m));
        if (m.seq > most) most = m.seq;
        all += m.seq;
    }
    print_message("64 peers join: %llu records each after 105 s, at most %llu\n", (unsigned long long)(all / 64),
                  (unsigned long long)most);
    assert_true(most <= 8 && all <= 64 * 5);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_link_is_a_death_in_2_s),
        cmocka_unit_test(silence_is_a_death_in_five_seconds),
        cmocka_unit_test(who_was_stopped_accuses_nobody),
        cmocka_unit_test(stops_of_any_length_cost_others_nothing),
        cmocka_unit_test(loss_and_one_way_cuts_accuse_nobody),
        cmocka_unit_test(two_that_hear_it_keep_a_peer_alive),
        cmocka_unit_test(most_die_at_once),
        cmocka_unit_test(a_mesh_that_falls_apart_is_judged_together),
        cmocka_unit_test(what_the_dead_said_comes_too_late),
        cmocka_unit_test(whose_watchers_died_is_found),
        cmocka_unit_test(an_old_disk_is_outlived_at_once),
        cmocka_unit_test(records_are_renewed_seldom),
    };
    if (sign_start() != CORE_ERR_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
