// The ring of rounds: it wraps, stays within its bounds, counts whom was waited for, and time that goes back does no
// harm. Times are microseconds; phases alternate, so that each step is a span of its own.
#include "node/look/trace_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tsan_start.h"

static struct core_id peer(uint8_t number)
{
    return (struct core_id){{number}};
}

static void one_span(const struct trace_round *r, uint32_t i, enum atlas_phase phase, int64_t begin_us, int64_t end_us)
{
    assert_non_null(r);
    assert_true(i < r->count);
    assert_int_equal(r->spans[i].phase, phase);
    assert_int_equal(r->spans[i].begin_us, begin_us);
    assert_int_equal(r->spans[i].end_us, end_us);
}

static void spans_join(void **state)
{
    (void)state;
    struct trace_log *log = calloc(1, sizeof *log);
    assert_null(trace_log_find(log, 0));
    assert_true(trace_log_at(log, 0, PHASE_TRAINING, 100));
    assert_false(trace_log_at(log, 0, PHASE_TRAINING, 150));
    assert_true(trace_log_at(log, 0, PHASE_WAITING, 200));
    assert_true(trace_log_at(log, 1, PHASE_WAITING, 300));  // the same, of the next round
    const struct trace_round *r = trace_log_find(log, 0);
    one_span(r, 0, PHASE_TRAINING, 100, 200);
    one_span(r, 1, PHASE_WAITING, 200, 300);
    assert_int_equal(r->count, 2);
    trace_log_end(log, 350);
    trace_log_end(log, 400);  // over already
    one_span(trace_log_find(log, 1), 0, PHASE_WAITING, 300, 350);
    assert_true(trace_log_at(log, 1, PHASE_WAITING, 500));  // it goes on after all
    one_span(trace_log_find(log, 1), 1, PHASE_WAITING, 500, 500);
    free(log);
}

static void the_ring_keeps_the_last_rounds(void **state)
{
    (void)state;
    struct trace_log *log = calloc(1, sizeof *log);
    for (uint64_t round = 0; round < 3 * TRACE_ROUNDS + 1; round++) {
        trace_log_at(log, round, PHASE_TRAINING, 1000 * round);
        trace_log_at(log, round, PHASE_SUMMING, 1000 * round + 400);
        for (uint64_t back = 0; back < 3 * TRACE_ROUNDS; back++) {
            const struct trace_round *r = back > round ? NULL : trace_log_find(log, round - back);
            if (back > round || back >= TRACE_ROUNDS) {
                assert_null(r);
                continue;
            }
            const int64_t begin_us = 1000 * (int64_t)(round - back);
            assert_int_equal(r->count, 2);
            one_span(r, 0, PHASE_TRAINING, begin_us, begin_us + 400);
            one_span(r, 1, PHASE_SUMMING, begin_us + 400, back ? begin_us + 1000 : begin_us + 400);
        }
    }
    assert_null(trace_log_find(log, UINT64_MAX));
    free(log);
}

// A peer that lost its way and goes through a round again: the last time counts, the others are still there.
static void a_round_again(void **state)
{
    (void)state;
    struct trace_log *log = calloc(1, sizeof *log);
    trace_log_at(log, 5, PHASE_TRAINING, 100);
    trace_log_at(log, 6, PHASE_TRAINING, 200);
    trace_log_at(log, 5, PHASE_FETCHING, 300);
    trace_log_at(log, UINT64_MAX, PHASE_TRAINING, 400);
    one_span(trace_log_find(log, 5), 0, PHASE_FETCHING, 300, 400);
    one_span(trace_log_find(log, 6), 0, PHASE_TRAINING, 200, 300);
    one_span(trace_log_find(log, UINT64_MAX), 0, PHASE_TRAINING, 400, 400);
    free(log);
}

static void a_round_without_end_is_bounded(void **state)
{
    (void)state;
    struct trace_log *log = calloc(1, sizeof *log);
    for (uint64_t i = 0; i < 100000; i++)
        assert_int_equal(trace_log_at(log, 0, i % 2 ? PHASE_WAITING : PHASE_TRAINING, 10 * i), i < ATLAS_SPANS_MAX);
    const struct trace_round *r = trace_log_find(log, 0);
    assert_int_equal(r->count, ATLAS_SPANS_MAX);
    one_span(r, ATLAS_SPANS_MAX - 2, PHASE_TRAINING, 10 * (ATLAS_SPANS_MAX - 2), 10 * (ATLAS_SPANS_MAX - 1));
    one_span(r, ATLAS_SPANS_MAX - 1, PHASE_WAITING, 10 * (ATLAS_SPANS_MAX - 1), 999990);
    trace_log_end(log, 999995);
    trace_log_at(log, 0, PHASE_SUMMING, 999998);  // it goes on after all
    assert_int_equal(r->count, ATLAS_SPANS_MAX);
    trace_log_at(log, 1, PHASE_TRAINING, 1000000);
    one_span(trace_log_find(log, 0), ATLAS_SPANS_MAX - 1, PHASE_WAITING, 10 * (ATLAS_SPANS_MAX - 1), 1000000);
    one_span(trace_log_find(log, 1), 0, PHASE_TRAINING, 1000000, 1000000);
    free(log);
}

// 100 to 400 for the first, 300 to 700 for the second, then 800 to 1000 for the first again: 500 against 400.
static void the_longest_waited_for_is_named(void **state)
{
    (void)state;
    struct trace_log *log = calloc(1, sizeof *log);
    const struct core_id both[] = {peer(1), peer(2)};
    trace_log_at(log, 0, PHASE_WAITING, 100);
    trace_log_waits(log, both, 1);
    trace_log_at(log, 0, PHASE_WAITING, 300);
    trace_log_waits(log, both, 2);
    trace_log_at(log, 0, PHASE_WAITING, 400);
    trace_log_waits(log, both + 1, 1);
    trace_log_at(log, 0, PHASE_WAITING, 700);
    const struct atlas_span *s = trace_log_find(log, 0)->spans;
    assert_true(id_equal(&s->waited_for, &both[1]));
    assert_int_equal(s->waited_us, 400);
    trace_log_waits(log, NULL, 0);
    trace_log_at(log, 0, PHASE_WAITING, 800);
    trace_log_waits(log, both, 1);
    trace_log_at(log, 0, PHASE_SUMMING, 1000);
    s = trace_log_find(log, 0)->spans;
    assert_true(id_equal(&s[0].waited_for, &both[0]));
    assert_int_equal(s[0].waited_us, 500);
    trace_log_at(log, 0, PHASE_SUMMING, 1200);  // the next span waits for nobody yet
    assert_int_equal(trace_log_find(log, 0)->spans[1].waited_us, 0);
    free(log);
}

// More names than a run has members: the first ones are counted, nothing is written beyond.
static void too_many_waits_are_left_out(void **state)
{
    (void)state;
    struct trace_log *log = calloc(1, sizeof *log);
    struct core_id many[2 * TRACE_WAITS_MAX];
    for (uint32_t i = 0; i < 2 * TRACE_WAITS_MAX; i++) many[i] = peer((uint8_t)(i + 1));
    trace_log_at(log, 0, PHASE_WAITING, 0);
    trace_log_waits(log, many + TRACE_WAITS_MAX, TRACE_WAITS_MAX);
    trace_log_waits(log, many, 2 * TRACE_WAITS_MAX);
    assert_int_equal(log->wait_count, TRACE_WAITS_MAX);
    trace_log_at(log, 0, PHASE_WAITING, 50);
    const struct atlas_span *s = trace_log_find(log, 0)->spans;
    assert_true(id_equal(&s->waited_for, &many[TRACE_WAITS_MAX]));
    assert_int_equal(s->waited_us, 50);
    free(log);
}

// A clock that goes back, stands, or leaps: spans stay in order, and nobody is waited for longer than a span lasts.
static void hostile_times(void **state)
{
    (void)state;
    static const uint64_t times[] = {500, 100, 0, 700, 700, 1, UINT64_C(1) << 62, 600, (UINT64_C(1) << 62) + 5, 3};
    struct trace_log *log = calloc(1, sizeof *log);
    const struct core_id other = peer(9);
    for (uint32_t i = 0; i < sizeof times / sizeof *times; i++) {
        trace_log_at(log, i / 4, i % 2 ? PHASE_WAITING : PHASE_TRAINING, times[i]);
        trace_log_waits(log, &other, 1);
    }
    trace_log_end(log, 2);
    int64_t before_us = 0;
    for (uint64_t round = 0; round < 3; round++) {
        const struct trace_round *r = trace_log_find(log, round);
        assert_non_null(r);
        for (uint32_t i = 0; i < r->count; i++) {
            const struct atlas_span *s = &r->spans[i];
            assert_true(s->begin_us >= before_us && s->end_us >= s->begin_us);
            assert_true(s->waited_us <= (uint64_t)(s->end_us - s->begin_us));
            before_us = s->end_us;
        }
    }
    assert_int_equal(before_us, (INT64_C(1) << 62) + 5);
    free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_join),
        cmocka_unit_test(the_ring_keeps_the_last_rounds),
        cmocka_unit_test(a_round_again),
        cmocka_unit_test(a_round_without_end_is_bounded),
        cmocka_unit_test(the_longest_waited_for_is_named),
        cmocka_unit_test(too_many_waits_are_left_out),
        cmocka_unit_test(hostile_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
