// The choice of a lane, losses and returns; and a thousand pieces of work of three classes on four lanes in virtual
// time, of which one is ten times slower than it says and one is lost in the middle and comes back.
#include <math.h>

#include "machines.h"
#include "sched/fair.h"
#include "sched/lanes.h"

static struct sched_lanes lanes_with(uint32_t gpus, double gpu_rate, double cpu_rate)
{
    struct sched_placement p = {.lanes_count = gpus + 1};
    struct sched_lanes l;
    for (uint32_t i = 0; i < gpus; i++) p.lanes[i] = (struct sched_lane){.gpu = true, .rate = gpu_rate};
    p.lanes[gpus] = (struct sched_lane){.rate = cpu_rate};
    sched_lanes_open(&l, &p);
    return l;
}

static struct sched_work work_of(double gflop)
{
    return (struct sched_work){.gflop = gflop, .at = SCHED_NO_LANE, .not_on = SCHED_NO_LANE};
}

static void where_it_ends_first(void **state)
{
    (void)state;
    struct sched_lanes l = lanes_with(2, 100, 10);
    struct sched_work w = work_of(50);
    assert_int_equal(sched_lanes_choose(&l, &w), 0);
    sched_lanes_begin(&l, 0, 50);
    assert_int_equal(sched_lanes_choose(&l, &w), 1);
    sched_lanes_begin(&l, 1, 1000);
    assert_int_equal(sched_lanes_choose(&l, &w), 0);  // 1 s beside 10.5 s and 5 s
    sched_lanes_begin(&l, 0, 950);
    assert_int_equal(sched_lanes_choose(&l, &w), 2);
    w.not_on = 2;
    assert_int_equal(sched_lanes_choose(&l, &w), 0);
    sched_lanes_cancel(&l, 1, 1000);
    assert_int_equal(sched_lanes_choose(&l, &w), 1);
}

static void data_draws_work(void **state)
{
    (void)state;
    struct sched_lanes l = lanes_with(2, 100, 90);
    struct sched_work w = work_of(50);
    w.gbytes = 40;
    w.at = 1;
    assert_int_equal(sched_lanes_choose(&l, &w), 1);
    sched_lanes_begin(&l, 1, 100);
    assert_int_equal(sched_lanes_choose(&l, &w), 1);  // to wait 1 s is better than to move 40 GB
    sched_lanes_begin(&l, 1, 1000);
    assert_int_equal(sched_lanes_choose(&l, &w), 2);  // the CPU: one way over the bus, not two
    w.at = 2;
    assert_int_equal(sched_lanes_choose(&l, &w), 2);
    w.gbytes = 0.1;
    assert_int_equal(sched_lanes_choose(&l, &w), 0);
}

static void what_is_not_known_gets_tried(void **state)
{
    (void)state;
    struct sched_lanes l = lanes_with(1, 0, 10);
    struct sched_work w = work_of(10);
    assert_int_equal(sched_lanes_choose(&l, &w), 0);
    sched_lanes_begin(&l, 0, 10);
    sched_lanes_end(&l, 0, 10, 10);  // 1 GFLOP/s: slower than the CPU
    assert_int_equal(sched_lanes_choose(&l, &w), 1);
    assert_true(l.lanes[0].queued == 0);
    sched_lanes_end(&l, 0, 1.8, 1);
    assert_true(fabs(l.lanes[0].rate - 1.2) < 1e-12);
    sched_lanes_end(&l, 0, 0, 0);  // teaches nothing
    assert_true(fabs(l.lanes[0].rate - 1.2) < 1e-12);
    sched_lanes_end(&l, 0, 9, 1);  // the old is no guide here
    assert_true(fabs(l.lanes[0].rate - 9) < 1e-12);
    struct sched_lanes unknown = lanes_with(2, 0, 0);
    assert_int_equal(sched_lanes_choose(&unknown, &w), 0);
}

static void who_is_idle_helps(void **state)
{
    (void)state;
    struct sched_lanes l = lanes_with(2, 100, 10);
    struct sched_work w = work_of(50);
    sched_lanes_begin(&l, 0, 50);
    assert_false(sched_lanes_better(&l, 0, 1, &w));  // it is the only one: 0.5 s here as there
    sched_lanes_begin(&l, 0, 50);
    assert_true(sched_lanes_better(&l, 0, 1, &w));
    assert_false(sched_lanes_better(&l, 0, 2, &w));
    assert_false(sched_lanes_better(&l, 0, 0, &w));
    w.gbytes = 40;
    w.at = 0;
    assert_false(sched_lanes_better(&l, 0, 1, &w));
    w.gbytes = 0;
    w.not_on = 1;
    assert_false(sched_lanes_better(&l, 0, 1, &w));
    w.not_on = SCHED_NO_LANE;
    sched_lanes_failed(&l, 1, 0);
    assert_false(sched_lanes_better(&l, 0, 1, &w));
}

static void losses_and_returns(void **state)
{
    (void)state;
    struct sched_lanes l = lanes_with(1, 100, 10);
    struct sched_work w = work_of(1);
    uint64_t now = 5000, wait = 60000;
    sched_lanes_begin(&l, 0, 7);
    sched_lanes_failed(&l, 0, now);
    assert_true(l.lanes[0].queued == 0);
    assert_int_equal(sched_lanes_choose(&l, &w), 1);
    for (int i = 0; i < 9; i++) {  // 60 s, 120 s ... an hour, and not more
        assert_int_equal(sched_lanes_probe_due(&l, now + wait - 1), SCHED_NO_LANE);
        now += wait;
        assert_int_equal(sched_lanes_probe_due(&l, now), 0);
        assert_int_equal(sched_lanes_probe_due(&l, now), SCHED_NO_LANE);  // once
        assert_int_equal(sched_lanes_choose(&l, &w), 1);                  // not while it is tried
        sched_lanes_failed(&l, 0, now);
        wait = wait * 2 < 3600000 ? wait * 2 : 3600000;
    }
    now += wait;
    assert_int_equal(sched_lanes_probe_due(&l, now), 0);
    sched_lanes_returned(&l, 0, now);
    assert_int_equal(sched_lanes_choose(&l, &w), 0);
    sched_lanes_failed(&l, 0, now + 1000);  // soon again: the long wait
    assert_int_equal(sched_lanes_probe_due(&l, now + 1000 + 3600000 - 1), SCHED_NO_LANE);
    now += 1000 + 3600000;
    assert_int_equal(sched_lanes_probe_due(&l, now), 0);
    sched_lanes_returned(&l, 0, now);
    sched_lanes_failed(&l, 0, now + 3600000);  // after a good hour: the short one
    assert_int_equal(sched_lanes_probe_due(&l, now + 3600000 + 60000), 0);
    sched_lanes_failed(&l, 0, now + 3600000 + 60000);
    sched_lanes_failed(&l, 1, now);
    assert_int_equal(sched_lanes_choose(&l, &w), SCHED_NO_LANE);
}

// ---- a thousand steps ----

enum { LANES = 4, STEPS = 1000, LOST = 1, SLOW = 2 };

static const double truth[LANES] = {100, 100, 10, 5};  // the third says 100
static const double size_of[SCHED_CLASSES] = {20, 100, 60};

struct step {
    double gflop;
    enum sched_class kind;
    int done;
};

struct world {
    struct sched_lanes lanes;
    struct sched_fair fair[LANES];
    struct step steps[STEPS];
    int queue[LANES][STEPS], queued[LANES];
    int running[LANES];  // a step, -1: none
    double until[LANES], used[LANES][SCHED_CLASSES], now;
    double since[LANES][SCHED_CLASSES][SCHED_CLASSES];  // by how much a class was ahead of another when both were ready
    bool both[LANES][SCHED_CLASSES][SCHED_CLASSES];
    int compared;
    int submitted, outstanding[SCHED_CLASSES], ended;
};

static void hand_in(struct world *w, int step, uint32_t not_on)
{
    struct sched_work work = work_of(w->steps[step].gflop);
    work.not_on = not_on;
    uint32_t lane = sched_lanes_choose(&w->lanes, &work);
    assert_true(lane < LANES);
    sched_lanes_begin(&w->lanes, lane, work.gflop);
    w->queue[lane][w->queued[lane]++] = step;
    sched_fair_ready(&w->fair[lane], w->steps[step].kind, true);
}

static int take(struct world *w, uint32_t lane, enum sched_class kind)
{
    int found = -1, others = 0;
    for (int i = 0; i < w->queued[lane]; i++) {
        if (w->steps[w->queue[lane][i]].kind != kind) continue;
        if (found < 0)
            found = i;
        else
            others++;
    }
    assert_true(found >= 0);
    int step = w->queue[lane][found];
    memmove(&w->queue[lane][found], &w->queue[lane][found + 1], (size_t)(w->queued[lane] - found) * sizeof(int));
    w->queued[lane]--;
    if (!others) sched_fair_ready(&w->fair[lane], kind, false);
    return step;
}

// A lane with nothing to do takes a piece that waits elsewhere, if that ends sooner so.
static void help(struct world *w, uint32_t lane)
{
    for (uint32_t from = 0; from < LANES; from++) {
        if (!w->queued[from]) continue;
        int step = w->queue[from][w->queued[from] - 1];
        struct sched_work work = work_of(w->steps[step].gflop);
        if (!sched_lanes_better(&w->lanes, from, lane, &work)) continue;
        step = take(w, from, w->steps[step].kind);
        sched_lanes_cancel(&w->lanes, from, work.gflop);
        sched_lanes_begin(&w->lanes, lane, work.gflop);
        w->queue[lane][w->queued[lane]++] = step;
        sched_fair_ready(&w->fair[lane], w->steps[step].kind, true);
        return;
    }
}

static void start(struct world *w, uint32_t lane)
{
    if (w->running[lane] >= 0) return;
    if (!w->queued[lane]) help(w, lane);
    enum sched_class kind = sched_fair_next(&w->fair[lane]);
    if (kind == SCHED_CLASSES) return;
    w->running[lane] = take(w, lane, kind);
    w->until[lane] = w->now + w->steps[w->running[lane]].gflop / truth[lane];
}

// As long as two classes both have work waiting on a lane, neither gains on the other by more than their longest
// pieces.
static void check_fairness(struct world *w, uint32_t lane)
{
    const struct sched_fair *f = &w->fair[lane];
    for (unsigned a = 0; a < SCHED_CLASSES; a++)
        for (unsigned b = 0; b < a; b++) {
            double ahead = w->used[lane][a] / f->weight[a] - w->used[lane][b] / f->weight[b];
            double bound = size_of[a] / truth[lane] / f->weight[a] + size_of[b] / truth[lane] / f->weight[b];
            bool both = f->ready[a] && f->ready[b];
            if (both && w->both[lane][a][b]) {
                assert_true(fabs(ahead - w->since[lane][a][b]) <= 2 * bound + 1e-9);
                w->compared++;
            } else {
                w->since[lane][a][b] = ahead;
            }
            w->both[lane][a][b] = both;
        }
}

static void finish(struct world *w, uint32_t lane)
{
    struct step *s = &w->steps[w->running[lane]];
    double seconds = s->gflop / truth[lane];
    sched_lanes_end(&w->lanes, lane, s->gflop, seconds);
    sched_fair_used(&w->fair[lane], s->kind, seconds);
    w->used[lane][s->kind] += seconds;
    w->running[lane] = -1;
    w->outstanding[s->kind]--;
    w->ended++;
    s->done++;
    check_fairness(w, lane);
}

// What it ran and what waited there is handed in anew.
static void lose(struct world *w, uint32_t lane)
{
    int steps[STEPS], count = 0;
    if (w->running[lane] >= 0) steps[count++] = w->running[lane];
    w->running[lane] = -1;
    while (w->queued[lane]) steps[count++] = take(w, lane, w->steps[w->queue[lane][0]].kind);
    sched_lanes_failed(&w->lanes, lane, (uint64_t)(w->now * 1000));
    for (int i = 0; i < count; i++) hand_in(w, steps[i], lane);
}

// Keeps some of each class waiting, as much as makes every lane busy.
static void refill(struct world *w)
{
    static const int kept[SCHED_CLASSES] = {40, 12, 12};
    for (unsigned k = 0; k < SCHED_CLASSES; k++) {
        while (w->outstanding[k] < kept[k] && w->submitted < STEPS) {
            w->steps[w->submitted] = (struct step){.gflop = size_of[k], .kind = (enum sched_class)k};
            hand_in(w, w->submitted++, SCHED_NO_LANE);
            w->outstanding[k]++;
        }
    }
}

static void a_thousand_steps(void **state)
{
    (void)state;
    static struct world w;
    double lost_s = 0, gflop = 0, back_s = 0;
    bool lost = false;
    w.lanes = lanes_with(LANES - 1, 100, 5);
    for (uint32_t i = 0; i < LANES; i++) {
        sched_fair_open(&w.fair[i]);
        w.running[i] = -1;
    }
    while (w.ended < STEPS) {
        refill(&w);
        for (uint32_t i = 0; i < LANES; i++) start(&w, i);
        uint32_t first = LANES;
        for (uint32_t i = 0; i < LANES; i++)
            if (w.running[i] >= 0 && (first == LANES || w.until[i] < w.until[first])) first = i;
        assert_true(first < LANES);
        w.now = w.until[first];
        if (!lost && w.ended >= STEPS / 4) {
            lost = true;
            lost_s = w.now;
            lose(&w, LOST);
            if (first == LOST) continue;
        }
        finish(&w, first);
        if (sched_lanes_probe_due(&w.lanes, (uint64_t)(w.now * 1000)) == LOST) {
            sched_lanes_returned(&w.lanes, LOST, (uint64_t)(w.now * 1000));
            back_s = w.now;
        }
    }
    for (int i = 0; i < STEPS; i++) {
        assert_int_equal(w.steps[i].done, 1);
        gflop += w.steps[i].gflop;
    }
    assert_true(lost);
    assert_true(fabs(w.lanes.lanes[SLOW].rate - 10) < 1);  // learned
    // If every lane were busy all the time that it is there; the end, when the last pieces run alone, adds to it.
    double absent = (back_s > 0 ? back_s : w.now) - lost_s;
    double ideal = (gflop + absent * truth[LOST]) / (truth[0] + truth[1] + truth[2] + truth[3]);
    print_message("    1,000 steps in %.1f s, %.1f s if nobody ever waited; lane 1 away for %.1f s\n", w.now, ideal,
                  absent);
    assert_true(w.now < ideal * 1.1);
    assert_true(back_s > 0);
    assert_true(w.compared > STEPS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_it_ends_first),          cmocka_unit_test(data_draws_work),
        cmocka_unit_test(what_is_not_known_gets_tried), cmocka_unit_test(who_is_idle_helps),
        cmocka_unit_test(losses_and_returns),           cmocka_unit_test(a_thousand_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
