// Whole meshes in virtual time: joining, failure detection, splits, broadcasts.
#include "unit/gossip/world.h"

static struct world world;

static enum gossip_state world_sees(const struct world *w, uint32_t a, uint32_t b)
{
    return gossip_state_of(w->peers[a].gossip, &w->peers[b].key.id);
}

// How many running peers see b in that state.
static uint32_t world_seen_by(const struct world *w, uint32_t b, enum gossip_state state)
{
    uint32_t count = 0;
    for (uint32_t a = 0; a < w->count; a++)
        count += a != b && w->peers[a].gossip && !w->peers[a].paused && world_sees(w, a, b) == state;
    return count;
}

static uint32_t world_running(const struct world *w)
{
    uint32_t count = 0;
    for (uint32_t a = 0; a < w->count; a++) count += w->peers[a].gossip != NULL && !w->peers[a].paused;
    return count;
}

// True if every running peer sees every running peer alive.
static bool world_agrees(const struct world *w)
{
    for (uint32_t b = 0; b < w->count; b++)
        if (w->peers[b].gossip && !w->peers[b].paused && world_seen_by(w, b, GOSSIP_ALIVE) != world_running(w) - 1)
            return false;
    return true;
}

// Runs until all others see b in `state`; the milliseconds it took, or UINT64_MAX after `limit_ms`.
static uint64_t world_until_seen(struct world *w, uint32_t b, enum gossip_state state, uint64_t limit_ms)
{
    const uint64_t from = w->now_ms, until = from + limit_ms;
    while (world_step(w, until)) {
        const uint32_t others = world_running(w) - (w->peers[b].gossip && !w->peers[b].paused);
        if (world_seen_by(w, b, state) == others) return w->now_ms - from;
    }
    return UINT64_MAX;
}

static uint64_t world_until_agreed(struct world *w, uint64_t limit_ms)
{
    const uint64_t from = w->now_ms, until = from + limit_ms;
    uint32_t turn = 0;
    while (world_step(w, until))
        if (turn++ % 16 == 0 && world_agrees(w)) return w->now_ms - from;
    return UINT64_MAX;
}

// Peers that b's broadcasts can reach over neighbours, b itself among them.
static uint32_t world_connected(const struct world *w, uint32_t b)
{
    bool seen[WORLD_PEERS] = {false};
    uint32_t queue[WORLD_PEERS], head = 0, tail = 0;
    seen[b] = true;
    queue[tail++] = b;
    while (head < tail) {
        struct core_id ids[WORLD_PEERS];
        const uint32_t n = gossip_neighbors(w->peers[queue[head++]].gossip, ids, WORLD_PEERS);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t to = world_number(w, &ids[i]);
            if (seen[to] || !w->peers[to].gossip) continue;
            seen[to] = true;
            queue[tail++] = to;
        }
    }
    return tail;
}

static void join_storm_ends_in_agreement(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        world_open(&world, 32, seed);
        world_join_all(&world);
        assert_true(world_until_agreed(&world, 20000) < 10000);
        world_run(&world, 20000);
        assert_true(world_agrees(&world));
        assert_int_equal(world.accusations, 0);
        for (uint32_t i = 0; i < 32; i++) {
            assert_int_equal(world_connected(&world, i), 32);
            assert_in_range(gossip_neighbors(world.peers[i].gossip, NULL, 0), 1, 5);
        }
        world_close(&world);
    }
}

static void a_small_mesh_is_complete(void **state)
{
    (void)state;
    for (uint32_t count = 2; count <= 6; count++) {
        world_open(&world, count, count);
        world.peers[count - 1].dialable = false;
        world_join_all(&world);
        world_run(&world, 8000);
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(gossip_neighbors(world.peers[i].gossip, NULL, 0), count - 1);
        assert_int_equal(world.accusations, 0);
        world_close(&world);
    }
}

static void kill_times(uint32_t count, bool silent, uint64_t limit_ms)
{
    uint64_t worst = 0;
    for (uint64_t seed = 0; seed < 4; seed++) {
        world_open(&world, count, 100 + seed);
        world_join_all(&world);
        world_run(&world, 15000);
        world.kills_are_silent = silent;
        const uint32_t victim = (uint32_t)rng_below(&world.rng, count);
        world_kill(&world, victim);
        const uint64_t took = world_until_seen(&world, victim, GOSSIP_DEAD, 20000);
        if (took > worst) worst = took;
        world_run(&world, 10000);
        assert_true(world_agrees(&world));
        for (uint32_t i = 0; i < count; i++)
            if (i != victim) assert_true(gossip_incarnation(world.peers[i].gossip) == 1);  // nobody had to refute
        world_close(&world);
    }
    print_message("%u peers, %s: seen dead by all within %llu ms\n", count, silent ? "silent" : "closed",
                  (unsigned long long)worst);
    assert_true(worst < limit_ms);
}

static void a_killed_peer_is_seen_dead_in_3_s(void **state)
{
    (void)state;
    kill_times(2, false, 3000);
    kill_times(4, false, 3000);
    kill_times(8, false, 3000);
    kill_times(32, false, 3000);
}

static void a_silent_peer_is_seen_dead_in_5_s(void **state)
{
    (void)state;
    kill_times(2, true, 5000);
    kill_times(4, true, 5000);
    kill_times(8, true, 5000);
    kill_times(32, true, 5000);
}

static void a_stopped_peer_comes_back_and_accuses_nobody(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        const uint32_t count = seed % 2 ? 16 : 4;
        world_open(&world, count, 200 + seed);
        world_join_all(&world);
        world_run(&world, 15000);
        const uint32_t victim = (uint32_t)rng_below(&world.rng, count);
        world.peers[victim].paused = true;
        assert_true(world_until_seen(&world, victim, GOSSIP_DEAD, 20000) < 5000);
        world_run(&world, 10000);
        world.peers[victim].paused = false;
        assert_true(world_until_agreed(&world, 20000) < 5000);
        world_run(&world, 10000);
        assert_true(world_agrees(&world));
        struct gossip_counts counts;
        gossip_counts_get(world.peers[victim].gossip, &counts);
        assert_int_equal(counts.accusations, 0);
        for (uint32_t i = 0; i < count; i++)
            if (i != victim) assert_true(gossip_incarnation(world.peers[i].gossip) == 1);
        world_close(&world);
    }
}

// Woken up, but with a network that takes a second and a half to bring anything: everyone has a fresh interval.
static void who_wakes_up_deaf_accuses_nobody(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        const uint32_t count = seed % 2 ? 8 : 2;
        world_open(&world, count, 250 + seed);
        world_join_all(&world);
        world_run(&world, 15000);
        world.peers[0].paused = true;
        world_run(&world, 10000);
        world.peers[0].paused = false;
        world.peers[0].deaf_until_ms = world.now_ms + 1500;
        world_run(&world, 10000);
        struct gossip_counts counts;
        gossip_counts_get(world.peers[0].gossip, &counts);
        assert_int_equal(counts.accusations, 0);
        assert_true(world_agrees(&world));
        world_close(&world);
    }
}

// Pauses shorter than the silence that is allowed, one peer after the other.
static void short_pauses_cost_nobody(void **state)
{
    (void)state;
    world_open(&world, 4, 9);
    world_join_all(&world);
    world_run(&world, 5000);
    for (uint32_t i = 0; i < 40; i++) {
        world.peers[i % 4].paused = true;
        world_run(&world, 1400);
        world.peers[i % 4].paused = false;
        world_run(&world, 600);
    }
    assert_int_equal(world.accusations, 0);
    world_close(&world);
}

// Five of a hundred messages lost, with delays, for ten minutes in all: once in a while all of several questions and
// answers are lost, and somebody is accused and refutes. Nobody is given up for good.
static void a_lossy_network_hardly_accuses_anybody(void **state)
{
    (void)state;
    uint32_t accusations = 0;
    for (uint64_t seed = 5; seed < 11; seed++) {
        world_open(&world, 16, seed);
        world.delay_max_ms = 150;
        world_join_all(&world);
        world_run(&world, 10000);
        world.drop_percent = 5;
        world_run(&world, 100000);
        accusations += world.accusations;
        world.drop_percent = 0;
        world_run(&world, 5000);
        assert_true(world_agrees(&world));
        world_close(&world);
    }
    print_message("16 peers, 5 %% lost: %u accusations in 10 minutes\n", accusations);
    assert_true(accusations <= 4);
}

static void one_broken_link_accuses_nobody(void **state)
{
    (void)state;
    world_open(&world, 12, 6);
    world_join_all(&world);
    world_run(&world, 10000);
    for (uint32_t turn = 0; turn < 30; turn++) {
        struct core_id ids[8];
        const uint32_t a = (uint32_t)rng_below(&world.rng, 12);
        if (gossip_neighbors(world.peers[a].gossip, ids, 8) == 0) continue;
        world_unlink(&world, a, world_number(&world, &ids[0]), true);
        world_run(&world, 1000);
    }
    world_run(&world, 5000);
    assert_int_equal(world.accusations, 0);
    for (uint32_t i = 0; i < 12; i++) assert_int_equal(world_connected(&world, i), 12);
    world_close(&world);
}

static void part(uint32_t first)
{
    for (uint32_t i = 0; i < world.count; i++) world.peers[i].part = i >= first;
}

static void a_split_heals(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        const uint32_t count = seed == 0 ? 5 : 16, first = seed == 2 ? 3 : count / 2;
        world_open(&world, count, 300 + seed);
        world_join_all(&world);
        world_run(&world, 15000);
        part(first);
        world_run(&world, 120000);
        for (uint32_t a = 0; a < count; a++)
            for (uint32_t b = 0; b < count; b++)
                if (a != b)
                    assert_int_equal(world_sees(&world, a, b), (a < first) == (b < first) ? GOSSIP_ALIVE : GOSSIP_DEAD);
        part(0);
        // Tries of the dead are at most retry_max apart (20 s here, a quarter more by chance).
        assert_true(world_until_agreed(&world, 60000) < 30000);
        world_run(&world, 30000);
        for (uint32_t i = 0; i < count; i++) assert_int_equal(world_connected(&world, i), count);
        world_cast(&world, 0, 7);
        world_run(&world, 5000);
        for (uint32_t i = 1; i < count; i++) assert_int_equal(world.peers[i].got[7], 1);
        world_close(&world);
    }
}

static void leave(uint32_t i)
{
    gossip_leave(world.peers[i].gossip, world.now_ms, &world.out);
    world_perform(&world, i);
    world_run(&world, 1000);
    world_kill(&world, i);
}

// Two of a small side gave up all the others, and left: nobody is there to take it back, or to be asked.
static void a_split_heals_whose_accusers_left(void **state)
{
    (void)state;
    const uint32_t count = 12, first = 4;
    world_open(&world, count, 304);
    world_join_all(&world);
    world_run(&world, 15000);
    part(first);
    world_run(&world, 120000);
    for (uint32_t b = first; b < count; b++) assert_int_equal(world_sees(&world, 0, b), GOSSIP_DEAD);
    for (uint32_t i = 1; i < first; i++) leave(i);
    part(0);
    assert_true(world_until_agreed(&world, 60000) < 30000);
    for (uint32_t b = first; b < count; b++) assert_int_equal(world_sees(&world, 0, b), GOSSIP_ALIVE);
    world_close(&world);
}

static void a_restarted_peer_outlives_its_death(void **state)
{
    (void)state;
    world_open(&world, 6, 11);
    world_join_all(&world);
    world_run(&world, 8000);
    world_kill(&world, 3);
    assert_true(world_until_seen(&world, 3, GOSSIP_DEAD, 10000) < 3000);
    world_start(&world, 3, 1);  // with an empty disk: its old incarnation again
    world_dial(&world, 3, 5);
    assert_true(world_until_agreed(&world, 10000) < 2000);
    assert_true(gossip_incarnation(world.peers[3].gossip) >= 2);
    // Everyone restarts at once, with what they saved.
    static uint8_t saved[6][8][GOSSIP_ENTRY_MAX];
    size_t sizes[6][8];
    for (uint32_t i = 0; i < 6; i++)
        for (uint32_t k = 0; k < 6; k++) sizes[i][k] = gossip_entry_save(world.peers[i].gossip, k, saved[i][k]);
    for (uint32_t i = 0; i < 6; i++) world_kill(&world, i);
    world_run(&world, 1000);
    for (uint32_t i = 0; i < 6; i++) {
        world_start(&world, i, 1);
        for (uint32_t k = 0; k < 6; k++) {
            const struct slice entry = {saved[i][k], sizes[i][k]};
            assert_int_equal(gossip_entry_load(world.peers[i].gossip, entry, world.now_ms), CORE_ERR_OK);
        }
        assert_true(gossip_incarnation(world.peers[i].gossip) >= 2);
    }
    world_run(&world, 5000);  // nobody is told whom to dial: the tables know
    assert_true(world_agrees(&world));
    for (uint32_t i = 0; i < 6; i++) assert_int_equal(gossip_neighbors(world.peers[i].gossip, NULL, 0), 5);
    world_close(&world);
}

static void who_leaves_is_not_dead(void **state)
{
    (void)state;
    world_open(&world, 8, 12);
    world_join_all(&world);
    world_run(&world, 8000);
    gossip_leave(world.peers[2].gossip, world.now_ms, &world.out);
    world_perform(&world, 2);
    assert_true(world_until_seen(&world, 2, GOSSIP_LEFT, 5000) < 1000);
    world_kill(&world, 2);
    world_run(&world, 20000);
    assert_int_equal(world_seen_by(&world, 2, GOSSIP_LEFT), 7);
    assert_int_equal(world.accusations, 0);
    assert_true(world_agrees(&world));
    world_close(&world);
}

static void broadcasts_reach_everyone_once(void **state)
{
    (void)state;
    world_open(&world, 32, 13);
    world_join_all(&world);
    world_run(&world, 15000);
    for (uint32_t i = 0; i < 20; i++) {  // the tree settles
        world_cast(&world, i, (uint8_t)(100 + i));
        world_run(&world, 300);
    }
    world_run(&world, 5000);
    struct gossip_counts before = {0}, after = {0}, c;
    for (uint32_t i = 0; i < 32; i++) {
        gossip_counts_get(world.peers[i].gossip, &c);
        before.casts_received += c.casts_received;
        before.casts_duplicate += c.casts_duplicate;
    }
    for (uint32_t i = 0; i < 60; i++) {
        world_cast(&world, (7 * i) % 32, (uint8_t)i);
        world_run(&world, 200);
    }
    world_run(&world, 5000);
    for (uint32_t i = 0; i < 32; i++) {
        gossip_counts_get(world.peers[i].gossip, &c);
        after.casts_received += c.casts_received;
        after.casts_duplicate += c.casts_duplicate;
        for (uint32_t k = 0; k < 60; k++) assert_int_equal(world.peers[i].got[k], (7 * k) % 32 != i);
    }
    const uint64_t received = after.casts_received - before.casts_received;
    const uint64_t duplicate = after.casts_duplicate - before.casts_duplicate;
    print_message("of %llu broadcasts received %llu were duplicates\n", (unsigned long long)received,
                  (unsigned long long)duplicate);
    assert_true(duplicate * 4 < received);
    world_close(&world);
}

static void broadcasts_survive_loss(void **state)
{
    (void)state;
    world_open(&world, 16, 14);
    world_join_all(&world);
    world_run(&world, 10000);
    world.drop_percent = 20;
    for (uint32_t i = 0; i < 40; i++) {
        world_cast(&world, i % 16, (uint8_t)i);
        world_run(&world, 250);
    }
    world_run(&world, 10000);
    for (uint32_t i = 0; i < 16; i++)
        for (uint32_t k = 0; k < 40; k++) assert_int_equal(world.peers[i].got[k], k % 16 != i);
    world_close(&world);
}

static void a_payload_can_be_sent_again(void **state)
{
    (void)state;
    world_open(&world, 4, 15);
    world_join_all(&world);
    world_run(&world, 5000);
    world_cast(&world, 1, 9);
    world_run(&world, 1000);
    world_cast(&world, 1, 9);
    world_run(&world, 1000);
    assert_int_equal(world.peers[0].got[9], 2);
    world_kill(&world, 1);
    world_run(&world, 5000);
    world_start(&world, 1, 2);
    world_dial(&world, 1, 0);
    world_run(&world, 3000);
    world_cast(&world, 1, 9);
    world_run(&world, 1000);
    for (uint32_t i = 0; i < 4; i++)
        if (i != 1) assert_int_equal(world.peers[i].got[9], 3);
    world_close(&world);
}

static void who_cannot_be_dialled_never_is(void **state)
{
    (void)state;
    world_open(&world, 12, 16);
    for (uint32_t i = 8; i < 12; i++) world.peers[i].dialable = false;  // world_dial checks
    world_join_all(&world);
    world_run(&world, 60000);
    assert_true(world_agrees(&world));
    assert_int_equal(world.accusations, 0);
    for (uint32_t i = 0; i < 12; i++) assert_int_equal(world_connected(&world, i), 12);
    world_close(&world);
}

static void one_seed_is_one_history(void **state)
{
    (void)state;
    struct core_hash history[3];
    for (uint32_t turn = 0; turn < 3; turn++) {
        world_open(&world, 10, turn == 2 ? 18 : 17);
        world_join_all(&world);
        world_run(&world, 5000);
        world_kill(&world, 4);
        world_run(&world, 10000);
        history[turn] = world.history;
        world_close(&world);
    }
    assert_true(hash_equal(&history[0], &history[1]));
    assert_false(hash_equal(&history[0], &history[2]));
}

static void an_idle_mesh_is_quiet(void **state)
{
    (void)state;
    uint64_t rate[2];
    for (uint32_t turn = 0; turn < 2; turn++) {
        const uint32_t count = turn ? 48 : 12;
        world_open(&world, count, 19);
        world_join_all(&world);
        world_run(&world, 60000);
        const uint64_t before = world.sent;
        world_run(&world, 30000);
        rate[turn] = (world.sent - before) / 30 / count;
        world_close(&world);
    }
    print_message("idle: %llu and %llu messages a peer and second at 12 and 48 peers\n", (unsigned long long)rate[0],
                  (unsigned long long)rate[1]);
    // Two pings and two pongs for each of five neighbours, and little else; the same at any size.
    assert_true(rate[0] <= 25 && rate[1] <= 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(join_storm_ends_in_agreement),
        cmocka_unit_test(a_small_mesh_is_complete),
        cmocka_unit_test(a_killed_peer_is_seen_dead_in_3_s),
        cmocka_unit_test(a_silent_peer_is_seen_dead_in_5_s),
        cmocka_unit_test(a_stopped_peer_comes_back_and_accuses_nobody),
        cmocka_unit_test(who_wakes_up_deaf_accuses_nobody),
        cmocka_unit_test(short_pauses_cost_nobody),
        cmocka_unit_test(a_lossy_network_hardly_accuses_anybody),
        cmocka_unit_test(one_broken_link_accuses_nobody),
        cmocka_unit_test(a_split_heals),
        cmocka_unit_test(a_split_heals_whose_accusers_left),
        cmocka_unit_test(a_restarted_peer_outlives_its_death),
        cmocka_unit_test(who_leaves_is_not_dead),
        cmocka_unit_test(broadcasts_reach_everyone_once),
        cmocka_unit_test(broadcasts_survive_loss),
        cmocka_unit_test(a_payload_can_be_sent_again),
        cmocka_unit_test(who_cannot_be_dialled_never_is),
        cmocka_unit_test(one_seed_is_one_history),
        cmocka_unit_test(an_idle_mesh_is_quiet),
    };
    if (sign_start() != CORE_ERR_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
