// Figures from samples that were taken in turns: medians, quartiles, and ratios pair by pair.
#include "tsan_start.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/bench.h"

// The machine is slower in the last two turns: each pair saw the same machine.
static void ratios_are_those_of_the_pairs(void **state)
{
    (void)state;
    double ours[] = {1, 1, 1, 2, 2}, theirs[] = {1, 2, 2, 4, 6};
    double *samples[] = {ours, theirs};
    struct bench_time times[2];
    bench_summary(samples, 2, 5, times);
    assert_float_equal(times[0].median, 1, 0);
    assert_float_equal(times[0].spread, 1, 0);  // quartiles 1 and 2
    assert_float_equal(times[0].ratio, 1, 0);
    assert_float_equal(times[0].ratio_spread, 0, 0);
    assert_float_equal(times[1].median, 2, 0);
    assert_float_equal(times[1].spread, 1, 0);  // quartiles 2 and 4
    assert_float_equal(times[1].ratio, 2, 0);   // of 1, 2, 2, 2, 3
    assert_float_equal(times[1].ratio_spread, 0, 0);
}

// What a turn's samples are called is theirs over ours in that very turn, not of sorted samples.
static void pairs_are_formed_before_sorting(void **state)
{
    (void)state;
    double ours[] = {3, 1, 2}, theirs[] = {6, 4, 2};
    double *samples[] = {ours, theirs};
    struct bench_time times[2];
    bench_summary(samples, 2, 3, times);
    assert_float_equal(times[1].ratio, 2, 0);  // of 2, 4, 1
    assert_float_equal(times[1].ratio_spread, 1.5, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ratios_are_those_of_the_pairs),
        cmocka_unit_test(pairs_are_formed_before_sorting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
