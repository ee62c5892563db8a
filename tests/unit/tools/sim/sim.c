// The simulator itself: invariants hold under faults, a seed replays to the same trace, and each checker finds what it
// is there for when that is broken on purpose.
#include "tools/sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/sign.h"

static void holds(const struct sim_options *options)
{
    struct sim_report report;
    if (!sim_run(options, &report)) print_error("seed %llu: %s\n", (unsigned long long)options->seed, report.what);
    assert_false(report.failed);
    assert_true(report.rounds == options->rounds || report.forks);
}

static void invariants_hold_under_all_faults(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++)
        holds(&(struct sim_options){.nodes = 7, .rounds = 12, .seed = seed, .faults = FAULT_ALL});
}

static void two_levels_hold_under_all_faults(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++)
        holds(&(struct sim_options){.nodes = 12, .hosts = 3, .rounds = 8, .seed = seed, .faults = FAULT_ALL});
}

static void small_runs_hold(void **state)
{
    (void)state;
    for (uint32_t nodes = 1; nodes <= 4; nodes++)
        for (uint64_t seed = 1; seed <= 3; seed++)
            holds(&(struct sim_options){.nodes = nodes, .rounds = 8, .seed = seed, .faults = FAULT_ALL});
}

// Every trainer of a round has announced what it can never make again, and nobody has its bytes: they begin anew.
static void rounds_that_lost_every_trainer_go_on(void **state)
{
    (void)state;
    static const uint64_t seeds[] = {43, 65, 133, 195, 196};
    for (uint32_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++)
        holds(&(struct sim_options){
            .nodes = 3, .rounds = 6, .seed = seeds[i], .faults = FAULT_RESTART | FAULT_LOSS | FAULT_PARTITION});
}

// Without faults a round is training and some message delays: no timer is waited for. Training takes at most 360 ms
// here, a timer at least 200 more.
static void rounds_wait_for_no_timer(void **state)
{
    (void)state;
    struct sim_report report;
    assert_true(sim_run(&(struct sim_options){.nodes = 7, .rounds = 20, .seed = 2}, &report));
    assert_in_range(report.round_ms_median, 150, 450);
    assert_int_equal(report.attempts, 0);
    assert_int_equal(report.unfit, 0);
}

static void a_seed_replays(void **state)
{
    (void)state;
    const struct sim_options options = {.nodes = 5, .rounds = 8, .seed = 9, .faults = FAULT_ALL};
    struct sim_report first, again, other;
    assert_true(sim_run(&options, &first));
    assert_true(sim_run(&options, &again));
    assert_memory_equal(&first.trace, &again.trace, sizeof first.trace);
    struct sim_options next = options;
    next.seed++;
    assert_true(sim_run(&next, &other));
    assert_memory_not_equal(&first.trace, &other.trace, sizeof first.trace);
}

// Some seed within `seeds` must find it, and every finding must name it.
static void is_caught(enum sim_break broken, uint32_t faults, uint64_t seeds, const char *checker)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct sim_report report;
        const struct sim_options options = {.nodes = 5, .rounds = 10, .seed = seed, .faults = faults, .broken = broken};
        if (sim_run(&options, &report)) continue;
        if (!strstr(report.what, checker)) print_error("expected %s, got: %s\n", checker, report.what);
        assert_non_null(strstr(report.what, checker));
        return;
    }
    fail_msg("%s: not caught in %llu seeds", checker, (unsigned long long)seeds);
}

static void double_counting_is_caught(void **state)
{
    (void)state;
    is_caught(BREAK_SUM, 0, 1, "exactly once:");
}

static void other_parameters_are_caught(void **state)
{
    (void)state;
    is_caught(BREAK_APPLY, 0, 1, "agreement:");
}

static void votes_without_persist_are_caught(void **state)
{
    (void)state;
    is_caught(BREAK_PERSIST, 0, 1, "votes:");
}

static void votes_forgotten_in_a_restart_are_caught(void **state)
{
    (void)state;
    is_caught(BREAK_FORGET, FAULT_RESTART | FAULT_DROP | FAULT_PARTITION, 40, "voted twice");
}

static void votes_that_nobody_recalls_are_caught(void **state)
{
    (void)state;
    is_caught(BREAK_RECALL, FAULT_RESTART | FAULT_STALE | FAULT_DELAY | FAULT_PARTITION, 120, "voted twice");
}

// The same for a new disk under the old key.
static void votes_before_a_new_disk_are_caught(void **state)
{
    (void)state;
    is_caught(BREAK_RECALL, FAULT_RESTART | FAULT_EMPTY | FAULT_DELAY | FAULT_PARTITION, 200, "voted twice");
}

static void other_updates_after_a_restart_are_caught(void **state)
{
    (void)state;
    is_caught(BREAK_TRAINING, FAULT_RESTART, 20, "restart:");
}

// Without its record a trainer that lost the state of its inner optimizer announces a second update for the round.
static void commits_without_persist_are_caught(void **state)
{
    (void)state;
    is_caught(BREAK_COMMIT, FAULT_RESTART | FAULT_LOSS, 40, "restart:");
}

// Nothing that a stranger sends is believed: forged votes and commits, garbage shards, others' messages once more.
static void a_hostile_stranger_changes_nothing(void **state)
{
    (void)state;
    uint64_t refused = 0;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct sim_report report;
        const struct sim_options options = {.nodes = 6, .rounds = 5, .seed = seed, .hostile = true};
        if (!sim_run(&options, &report)) print_error("seed %llu: %s\n", (unsigned long long)seed, report.what);
        assert_false(report.failed);
        refused += report.refused;
    }
    assert_true(refused > 0);
}

// A member that lies to each something else: the honest ones agree all the same, go on, and most often find it out.
static void a_hostile_member_is_borne(void **state)
{
    (void)state;
    struct sim_report report, sum = {0};
    for (uint64_t seed = 1; seed <= 8; seed++) {
        const struct sim_options options = {.nodes = 4 + (uint32_t)seed % 4,
                                            .rounds = 4,
                                            .seed = seed,
                                            .faults = FAULT_HOSTILE | (seed % 2 ? FAULT_DROP | FAULT_RESTART : 0),
                                            .byzantine = seed % 8 >= 4};
        if (!sim_run(&options, &report)) print_error("seed %llu: %s\n", (unsigned long long)seed, report.what);
        assert_false(report.failed);
        sum.lies += report.lies;
        sum.convicted += report.convicted;
        sum.disputes += report.disputes;
    }
    assert_true(sum.lies > 0 && sum.convicted > 0 && sum.disputes > 0);
}

// Of three and five trusting members one that lies can split the run: then every honest one has seen it and stopped.
static void a_split_run_is_seen_by_all(void **state)
{
    (void)state;
    uint64_t forks = 0;
    for (uint64_t seed = 1; seed <= 20 && forks < 2; seed++) {
        struct sim_report report;
        const struct sim_options options = {
            .nodes = 5, .rounds = 6, .seed = seed, .faults = FAULT_HOSTILE, .lies = LIE_VOTES | LIE_PROPOSALS};
        if (!sim_run(&options, &report)) print_error("seed %llu: %s\n", (unsigned long long)seed, report.what);
        assert_false(report.failed);
        forks += report.forks;
    }
    assert_true(forks > 0);
}

static void varied_seeds_hold(void **state)
{
    (void)state;
    for (uint64_t seed = 5000; seed < 5020; seed++) {
        struct sim_options options = {0};
        sim_vary(&options, seed);
        holds(&options);
    }
}

static void a_stalled_run_is_caught(void **state)
{
    (void)state;
    is_caught(BREAK_PROGRESS, FAULT_CRASH, 1, "progress:");
}

static void a_changed_record_is_caught(void **state)
{
    (void)state;
    is_caught(BREAK_RECORD, FAULT_RESTART, 5, "record:");
}

static void shards_on_one_peer_are_caught(void **state)
{
    (void)state;
    is_caught(BREAK_ACK, 0, 1, "acknowledged:");
}

static int start(void **state)
{
    (void)state;
    return sign_start() != CORE_ERR_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(invariants_hold_under_all_faults),
        cmocka_unit_test(two_levels_hold_under_all_faults),
        cmocka_unit_test(small_runs_hold),
        cmocka_unit_test(rounds_that_lost_every_trainer_go_on),
        cmocka_unit_test(rounds_wait_for_no_timer),
        cmocka_unit_test(a_seed_replays),
        cmocka_unit_test(double_counting_is_caught),
        cmocka_unit_test(other_parameters_are_caught),
        cmocka_unit_test(votes_without_persist_are_caught),
        cmocka_unit_test(votes_forgotten_in_a_restart_are_caught),
        cmocka_unit_test(votes_that_nobody_recalls_are_caught),
        cmocka_unit_test(votes_before_a_new_disk_are_caught),
        cmocka_unit_test(other_updates_after_a_restart_are_caught),
        cmocka_unit_test(commits_without_persist_are_caught),
        cmocka_unit_test(a_hostile_stranger_changes_nothing),
        cmocka_unit_test(a_hostile_member_is_borne),
        cmocka_unit_test(a_split_run_is_seen_by_all),
        cmocka_unit_test(varied_seeds_hold),
        cmocka_unit_test(a_stalled_run_is_caught),
        cmocka_unit_test(a_changed_record_is_caught),
        cmocka_unit_test(shards_on_one_peer_are_caught),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
