// Mesh mode itself: what must hold holds in every scenario, a seed replays to the same trace, the reports are right,
// and each checker finds what it is there for when that is broken on purpose.
#include "tools/sim/mesh.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/sign.h"
#include "tools/sim/queue.h"

static struct mesh_report holds(const struct mesh_options *options)
{
    struct mesh_report report;
    if (!mesh_run(options, &report)) print_error("seed %llu: %s\n", (unsigned long long)options->seed, report.what);
    assert_false(report.failed);
    return report;
}

static void the_earliest_event_comes_first(void **state)
{
    (void)state;
    struct queue q = {0};
    struct queue_key key;
    for (uint32_t i = 0; i < 1000; i++) queue_push(&q, i * 7919 % 101, i);
    uint64_t last_us = 0, last_order = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(queue_pop(&q, &key));
        assert_int_equal(key.at_us, key.place * 7919ull % 101);
        assert_true(key.at_us > last_us || (key.at_us == last_us && (i == 0 || key.order > last_order)));
        last_us = key.at_us;
        last_order = key.order;
    }
    assert_false(queue_pop(&q, &key));
    queue_close(&q);
}

static void a_quiet_mesh_misses_nothing_and_accuses_nobody(void **state)
{
    (void)state;
    const struct mesh_report r =
        holds(&(struct mesh_options){.nodes = 32, .seed = 1, .scenario = SCENARIO_BROADCAST, .casts = 5});
    assert_in_range(r.casts, 90, 110);
    assert_int_equal(r.missed, 0);
    assert_int_equal(r.suspicions, 0);
    assert_int_equal(r.deaths, 0);
    assert_int_equal(r.pieces, 1);
    assert_in_range(r.degree_max, 1, 5);
    assert_true(r.redundancy >= 0 && r.redundancy < 0.3);
    assert_true(r.last_hop >= 2 && r.delivery_ms_p50 > 0);
    assert_true(r.idle_bytes > 10 && r.idle_messages > 0.1);
}

static void a_storm_forms_a_mesh(void **state)
{
    (void)state;
    const struct mesh_report r = holds(
        &(struct mesh_options){.nodes = 64, .seed = 2, .scenario = SCENARIO_BROADCAST, .seconds = 2, .storm = true});
    assert_in_range(r.formed_ms, 1, 5000);
}

// A killed peer's links close, a black hole's and a stopped one's don't: all see it in time, and nobody healthy is
// given up, also while one is stopped for 15 s. In virtual time, over many seeds.
static void the_dead_are_seen_in_time_and_nobody_else(void **state)
{
    (void)state;
    static const struct {
        enum mesh_scenario scenario;
        uint32_t nodes, seeds;
        double limit_ms;
    } cases[] = {
        {SCENARIO_KILL, 32, 20, 3000},       {SCENARIO_KILL, 128, 3, 3000}, {SCENARIO_BLACK_HOLE, 32, 20, 5000},
        {SCENARIO_BLACK_HOLE, 128, 3, 5000}, {SCENARIO_STOP, 32, 20, 5000}, {SCENARIO_STOP, 128, 3, 5000},
    };
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double slowest_ms = 0;
        for (uint64_t seed = 0; seed < cases[i].seeds; seed++) {
            const struct mesh_report r =
                holds(&(struct mesh_options){.nodes = cases[i].nodes, .seed = seed, .scenario = cases[i].scenario});
            assert_int_equal(r.detected, 1);
            assert_int_equal(r.deaths_false, 0);
            assert_true(r.deaths >= cases[i].nodes - 1);
            if (r.detect_ms_max > slowest_ms) slowest_ms = r.detect_ms_max;
        }
        print_message("%s, %u peers: slowest of %u seeds %.0f ms\n", mesh_scenario_names[cases[i].scenario],
                      cases[i].nodes, cases[i].seeds, slowest_ms);
        assert_true(slowest_ms > 0 && slowest_ms < cases[i].limit_ms);
    }
}

// As iroh-gossip's simulation measures it: nothing left out, not even the flood that makes the tree.
static void rounds_are_everywhere_and_hardly_doubled(void **state)
{
    (void)state;
    const enum mesh_scenario scenarios[] = {SCENARIO_ONE_ORIGIN, SCENARIO_ANY_ORIGIN};
    for (uint32_t i = 0; i < 2; i++) {
        const struct mesh_report r = holds(&(struct mesh_options){.nodes = 300, .seed = 1, .scenario = scenarios[i]});
        assert_int_equal(r.casts, 30);
        assert_int_equal(r.missed, 0);
        assert_true(r.redundancy > 0 && r.redundancy < 0.13);
    }
}

static void cuts_heal(void **state)
{
    (void)state;
    const enum mesh_scenario scenarios[] = {SCENARIO_SPLIT, SCENARIO_SITE_CUT, SCENARIO_MASS_DEATH};
    for (uint32_t i = 0; i < 3; i++) {
        const struct mesh_report r =
            holds(&(struct mesh_options){.nodes = 32, .seed = 4, .sites = 4, .scenario = scenarios[i], .casts = 2});
        assert_int_equal(r.missed, 0);
        assert_int_equal(r.pieces, 1);
    }
}

static void varied_seeds_hold(void **state)
{
    (void)state;
    for (uint64_t seed = 5000; seed < 5030; seed++) {
        struct mesh_options options;
        mesh_vary(&options, seed);
        holds(&options);
    }
}

static void a_seed_replays(void **state)
{
    (void)state;
    struct mesh_options options = {
        .nodes = 20, .seed = 9, .faults = MESH_ALL, .hostile = 2, .attacks = ATTACK_ALL, .casts = 2, .seconds = 8};
    const struct mesh_report first = holds(&options), again = holds(&options);
    assert_memory_equal(&first.trace, &again.trace, sizeof first.trace);
    assert_int_equal(first.messages, again.messages);
    options.seed++;
    const struct mesh_report other = holds(&options);
    assert_memory_not_equal(&first.trace, &other.trace, sizeof first.trace);
}

static void is_caught(enum mesh_break broken, struct mesh_options options, const char *checker)
{
    struct mesh_report report;
    options.broken = broken;
    assert_false(mesh_run(&options, &report));
    if (!strstr(report.what, checker)) print_error("expected %s, got: %s\n", checker, report.what);
    assert_non_null(strstr(report.what, checker));
}

static void a_missed_broadcast_is_caught(void **state)
{
    (void)state;
    is_caught(MESH_BREAK_DEAF,
              (struct mesh_options){.nodes = 8, .seed = 1, .scenario = SCENARIO_BROADCAST, .casts = 1, .seconds = 5},
              "misses");
}

static void a_forged_record_is_caught(void **state)
{
    (void)state;
    is_caught(MESH_BREAK_FORGE,
              (struct mesh_options){.nodes = 12, .seed = 1, .hostile = 1, .attacks = ATTACK_FORGE, .seconds = 10},
              "forged:");
}

static void a_split_that_does_not_heal_is_caught(void **state)
{
    (void)state;
    is_caught(MESH_BREAK_HEAL, (struct mesh_options){.nodes = 10, .seed = 1, .scenario = SCENARIO_SPLIT, .seconds = 10},
              "liveness:");
}

static int start(void **state)
{
    (void)state;
    return sign_start() != CORE_ERR_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_earliest_event_comes_first),
        cmocka_unit_test(a_quiet_mesh_misses_nothing_and_accuses_nobody),
        cmocka_unit_test(a_storm_forms_a_mesh),
        cmocka_unit_test(the_dead_are_seen_in_time_and_nobody_else),
        cmocka_unit_test(rounds_are_everywhere_and_hardly_doubled),
        cmocka_unit_test(cuts_heal),
        cmocka_unit_test(varied_seeds_hold),
        cmocka_unit_test(a_seed_replays),
        cmocka_unit_test(a_missed_broadcast_is_caught),
        cmocka_unit_test(a_forged_record_is_caught),
        cmocka_unit_test(a_split_that_does_not_heal_is_caught),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
