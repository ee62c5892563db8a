// Fair sharing of one lane: the bound that sched/fair.h states, over 1,000 pieces of work, with classes that come and
// go.
#include "sched/fair.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const double weight[SCHED_CLASSES] = {4, 4, 1};
static const double longest[SCHED_CLASSES] = {0.3, 1, 5};

static uint64_t seed = 11;

static double piece(enum sched_class c)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return longest[c] * (double)(1 + (seed >> 33) % 1000) / 1000;
}

// Of all that are always ready, nobody is further ahead than the bound.
static void within_bound(const double *used, unsigned classes)
{
    for (unsigned a = 0; a < SCHED_CLASSES; a++)
        for (unsigned b = 0; b < a; b++) {
            if (!(classes >> a & 1) || !(classes >> b & 1)) continue;
            double ahead = fabs(used[a] / weight[a] - used[b] / weight[b]);
            assert_true(ahead <= longest[a] / weight[a] + longest[b] / weight[b] + 1e-9);
        }
}

static enum sched_class run_one(struct sched_fair *f, double *used)
{
    enum sched_class c = sched_fair_next(f);
    if (c == SCHED_CLASSES) return c;
    double seconds = piece(c);
    sched_fair_used(f, c, seconds);
    used[c] += seconds;
    return c;
}

static void a_thousand_pieces(void **state)
{
    (void)state;
    struct sched_fair f;
    double used[SCHED_CLASSES] = {0}, all = 0;
    sched_fair_open(&f);
    assert_int_equal(sched_fair_next(&f), SCHED_CLASSES);
    for (unsigned c = 0; c < SCHED_CLASSES; c++) sched_fair_ready(&f, (enum sched_class)c, true);
    for (int i = 0; i < 1000; i++) {
        run_one(&f, used);
        within_bound(used, 7);
    }
    for (unsigned c = 0; c < SCHED_CLASSES; c++) all += used[c];
    for (unsigned c = 0; c < SCHED_CLASSES; c++) assert_true(fabs(used[c] / all - weight[c] / 9) < 0.02);
}

// Who had nothing to do has no claim on the time that passed, and who computed alone owes none of it.
static void idling_earns_nothing(void **state)
{
    (void)state;
    struct sched_fair f;
    double used[SCHED_CLASSES] = {0};
    sched_fair_open(&f);
    for (int round = 0; round < 10; round++) {
        sched_fair_ready(&f, SCHED_CLASS_TRAINING, true);
        for (int i = 0; i < 50; i++) assert_int_equal(run_one(&f, used), SCHED_CLASS_TRAINING);
        sched_fair_ready(&f, SCHED_CLASS_AGGREGATION, true);
        for (unsigned c = 0; c < SCHED_CLASSES; c++) used[c] = 0;
        for (int i = 0; i < 50; i++) {
            run_one(&f, used);
            within_bound(used, 1 << SCHED_CLASS_TRAINING | 1 << SCHED_CLASS_AGGREGATION);
        }
        sched_fair_ready(&f, SCHED_CLASS_AGGREGATION, false);
    }
}

// A class whose queue is empty while its piece runs, as training's always is, keeps its place.
static void one_piece_at_a_time(void **state)
{
    (void)state;
    struct sched_fair f;
    double used[SCHED_CLASSES] = {0};
    sched_fair_open(&f);
    for (int i = 0; i < 1000; i++) {
        sched_fair_ready(&f, SCHED_CLASS_TRAINING, true);
        sched_fair_ready(&f, SCHED_CLASS_OTHER, true);
        enum sched_class c = sched_fair_next(&f);
        double seconds = piece(c);
        sched_fair_ready(&f, c, false);
        sched_fair_used(&f, c, seconds);
        used[c] += seconds;
        within_bound(used, 1 << SCHED_CLASS_TRAINING | 1 << SCHED_CLASS_OTHER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_pieces),
        cmocka_unit_test(idling_earns_nothing),
        cmocka_unit_test(one_piece_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
