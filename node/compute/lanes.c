// Queues, threads and losses of lanes; what devices there are is lanes_devices.c's.
#include "node/compute/lanes.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "node/daemon.h"

enum { ASIDE_NICE = 10, BUSY_TICK_US = 1000000 };

// ---- the lane's thread ----

static void aside_begin(struct worker *w)
{
    (void)w;
    // Linux gives each thread its own niceness. Refused: it only competes more.
    if (setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), ASIDE_NICE)) return;
}

static void lane_run(struct job *job, struct worker *w)
{
    struct lane *l = w->state;
    struct lane_job *j = (struct lane_job *)job;
    uint64_t began = node_clock_us();
    compute_begin(&l->compute);
    j->run(j, &l->compute);
    j->device_failed = l->compute.failed;
    // Whatever it holds is of no more use; closed, the driver forgets the broken state.
    if (j->device_failed) compute_shut(&l->compute);
    j->took_us = node_clock_us() - began;
}

// ---- queues ----

static void push(struct lane *l, struct lane_job *j)
{
    struct lane_job **last = &l->last[j->kind];
    j->job.next = NULL;
    if (*last)
        (*last)->job.next = &j->job;
    else
        l->first[j->kind] = j;
    *last = j;
    sched_fair_ready(&l->fair, j->kind, true);
}

static struct lane_job *pop(struct lane *l, enum sched_class kind)
{
    struct lane_job *j = l->first[kind];
    if (!j) return NULL;
    l->first[kind] = (struct lane_job *)j->job.next;
    if (!l->first[kind]) {
        l->last[kind] = NULL;
        sched_fair_ready(&l->fair, kind, false);
    }
    return j;
}

static void lane_done(struct job *job, void *context);

enum core_err lane_start(struct node *n, struct lane *l)
{
    if (l->worker.started) return CORE_ERR_OK;
    bool aside = l == &n->lanes.aside;
    return worker_start(&l->worker, l->name, &n->inbox, aside ? aside_begin : NULL, NULL, l);
}

static struct sched_work work_of(const struct lane_job *j)
{
    return (struct sched_work){.gflop = j->gflop,
                               .gbytes = j->near ? (double)j->memory_bytes * 1e-9 : 0,
                               .at = j->near ? j->near->number : SCHED_NO_LANE,
                               .not_on = j->not_on};
}

static bool fits(const struct node *n, uint32_t number, const struct lane_job *j)
{
    const struct sched_lane *place = &n->lanes.placement.lanes[number];
    return !place->gpu || place->memory_bytes >= j->memory_bytes;
}

// Rates are learned, so what waits on another lane may end earlier on this one, which has nothing to do.
static struct lane_job *take_over(struct node *n, struct lane *to)
{
    for (uint32_t i = 0; i < n->lanes.count; i++) {
        struct lane *from = &n->lanes.lane[i];
        if (from == to || from->number == SCHED_NO_LANE) continue;
        for (int kind = 0; kind < SCHED_CLASSES; kind++) {
            struct lane_job *j = from->first[kind];
            if (!j || !j->undo || j->stay || j->aside || !fits(n, to->number, j)) continue;
            struct sched_work work = work_of(j);
            if (!sched_lanes_better(&n->lanes.load, from->number, to->number, &work)) continue;
            sched_lanes_cancel(&n->lanes.load, from->number, j->gflop);
            sched_lanes_begin(&n->lanes.load, to->number, j->gflop);
            j->lane = to;
            return pop(from, (enum sched_class)kind);
        }
    }
    return NULL;
}

static void dispatch(struct node *n, struct lane *l)
{
    if (l->current || n->lanes.closing) return;
    enum sched_class kind = sched_fair_next(&l->fair);
    struct lane_job *j = kind < SCHED_CLASSES ? pop(l, kind) : l->number == SCHED_NO_LANE ? NULL : take_over(n, l);
    if (!j) return;
    if (lane_start(n, l)) {
        j->job.err = CORE_ERR_NO_MEMORY;
        j->job.run = NULL;
    }
    l->current = j;
    l->current_since_us = node_clock_us();
    if (j->job.run)
        worker_submit(&l->worker, &j->job);
    else
        inbox_post(&n->inbox, &j->job);
}

void lane_submit_to(struct node *n, struct lane *l, struct lane_job *j)
{
    j->lane = l;
    j->device_failed = false;
    j->took_us = 0;
    j->job.err = CORE_ERR_OK;
    j->job.run = lane_run;
    j->job.done = lane_done;
    j->job.priority = JOB_NORMAL;
    if (n->lanes.closing) {
        j->job.err = CORE_ERR_INTERRUPTED;
        j->finished(&j->job, n);
        return;
    }
    if (l->number != SCHED_NO_LANE) sched_lanes_begin(&n->lanes.load, l->number, j->gflop);
    push(l, j);
    dispatch(n, l);
}

static struct lane *lane_numbered(struct node *n, uint32_t number)
{
    for (uint32_t i = 0; i < n->lanes.count; i++)
        if (n->lanes.lane[i].number == number) return &n->lanes.lane[i];
    return &n->lanes.lane[LANE_CPU];
}

static struct lane *choose(struct node *n, const struct lane_job *j)
{
    struct lanes *lanes = &n->lanes;
    if (j->stay && j->lane && (j->lane == &lanes->aside || lane_state(n, j->lane) == LANE_UP)) return j->lane;
    // A device that the work doesn't fit into is as good as lost to it; what doesn't fit into the CPU's memory says so
    // itself.
    struct sched_lanes fit = lanes->load;
    for (uint32_t i = 0; i < fit.count; i++)
        if (!fits(n, i, j)) fit.lanes[i].state = SCHED_LANE_LOST;
    struct sched_work work = work_of(j);
    uint32_t number = sched_lanes_choose(&fit, &work);
    struct lane *l = number == SCHED_NO_LANE ? &lanes->lane[LANE_CPU] : lane_numbered(n, number);
    return l == &lanes->lane[LANE_CPU] && j->aside ? &lanes->aside : l;
}

void lanes_submit(struct node *n, struct lane_job *j)
{
    j->not_on = SCHED_NO_LANE;
    lane_submit_to(n, choose(n, j), j);
}

// ---- losses ----

static void move(struct node *n, struct lane_job *j, uint32_t not_on)
{
    event_emit(&n->events, "device.moved", EV_TEXT("work", j->job.name), EV_TEXT("from", j->lane->name));
    j->not_on = not_on;
    lane_submit_to(n, choose(n, j), j);
}

void lane_evacuate(struct node *n, struct lane *l)
{
    for (int kind = 0; kind < SCHED_CLASSES; kind++) {
        struct lane_job *j, *all = NULL, **end = &all;
        while ((j = pop(l, (enum sched_class)kind))) {
            j->job.next = NULL;
            *end = j;
            end = (struct lane_job **)&j->job.next;
        }
        while ((j = all)) {
            all = (struct lane_job *)j->job.next;
            if (j->undo) {
                move(n, j, l->number);
                continue;
            }
            j->job.err = CORE_ERR_INTERRUPTED;
            j->finished(&j->job, n);
        }
    }
}

void lane_lose(struct node *n, struct lane *l, const char *why)
{
    // Another handle of a device that is lost already says nothing new.
    if (l->number == SCHED_NO_LANE || lane_state(n, l) == LANE_LOST) return;
    sched_lanes_failed(&n->lanes.load, l->number, n->now_ms);
    snprintf(l->why, sizeof l->why, "%s", why);
    l->losses++;
    event_emit(&n->events, "device.lost", EV_TEXT("device", l->name), EV_TEXT("why", l->why),
               EV_U64("retry_s", lane_retry_s(n, l)));
    lane_evacuate(n, l);
}

static void lane_done(struct job *job, void *context)
{
    struct node *n = context;
    struct lane_job *j = (struct lane_job *)job;
    struct lane *l = j->lane;
    double seconds = (double)j->took_us * 1e-6;
    l->current = NULL;
    l->busy_us += j->took_us;
    sched_fair_used(&l->fair, j->kind, seconds);
    if (l->number != SCHED_NO_LANE && !j->device_failed) {
        // Only training tells a device's rate: the rest is mostly something else than arithmetic.
        if (!job->err && j->kind == SCHED_CLASS_TRAINING && j->gflop > 0)
            sched_lanes_end(&n->lanes.load, l->number, j->gflop, seconds);
        else
            sched_lanes_cancel(&n->lanes.load, l->number, j->gflop);
    }
    bool again = j->device_failed && j->undo && !atomic_load(&job->cancelled) && !n->lanes.closing;
    if (j->device_failed) {
        char why[CONFIG_WHY_SIZE];
        compute_why(&l->compute, why);
        lane_lose(n, l, why);
    }
    if (again) {
        j->undo(j);
        move(n, j, l->number);
    } else {
        j->finished(job, n);
    }
    dispatch(n, l);
    for (uint32_t i = 0; i < n->lanes.count; i++) dispatch(n, &n->lanes.lane[i]);
}

// ---- states ----

enum lane_state lane_state(const struct node *n, const struct lane *l)
{
    if (l->number == SCHED_NO_LANE) return LANE_ELSEWHERE;
    switch (n->lanes.load.lanes[l->number].state) {
    case SCHED_LANE_UP: return LANE_UP;
    case SCHED_LANE_LOST: return LANE_LOST;
    case SCHED_LANE_PROBING: return LANE_PROBING;
    }
    return LANE_UP;
}

const char *lane_state_name(enum lane_state s)
{
    static const char *const names[] = {
        [LANE_UP] = "up", [LANE_LOST] = "lost", [LANE_PROBING] = "probing", [LANE_ELSEWHERE] = "elsewhere"};
    return names[s];
}

uint32_t lane_waiting(const struct lane *l)
{
    uint32_t count = 0;
    for (int kind = 0; kind < SCHED_CLASSES; kind++)
        for (const struct lane_job *j = l->first[kind]; j; j = (const struct lane_job *)j->job.next) count++;
    return count;
}

uint64_t lane_retry_s(const struct node *n, const struct lane *l)
{
    if (lane_state(n, l) != LANE_LOST) return 0;
    uint64_t probe_ms = n->lanes.load.lanes[l->number].probe_ms;
    return probe_ms > n->now_ms ? (probe_ms - n->now_ms + 999) / 1000 : 0;
}

uint32_t lanes_load(struct node *n)
{
    uint32_t load = worker_load(&n->lanes.aside.worker);
    for (uint32_t i = 0; i < n->lanes.count; i++) load += n->lanes.lane[i].current != NULL;
    return load;
}

// How much of the time lately a job was on it: the last second's part, smoothed over some ten.
static void tick_busy(struct lane *l, uint64_t now_us)
{
    if (l->seen_us == 0) l->seen_us = now_us;
    if (now_us < l->seen_us + BUSY_TICK_US) return;
    uint64_t busy = l->busy_us + (l->current ? now_us - l->current_since_us : 0);
    double part = busy > l->seen_busy_us ? (double)(busy - l->seen_busy_us) / (double)(now_us - l->seen_us) : 0;
    l->busy += 0.2 * ((part > 1 ? 1 : part) - l->busy);
    l->seen_busy_us = busy;
    l->seen_us = now_us;
}

void lanes_tick(struct node *n)
{
    uint64_t now_us = node_clock_us();
    for (uint32_t i = 0; i < n->lanes.count; i++) tick_busy(&n->lanes.lane[i], now_us);
    uint32_t number;
    while ((number = sched_lanes_probe_due(&n->lanes.load, n->now_ms)) != SCHED_NO_LANE)
        lane_try(n, lane_numbered(n, number));
}

// ---- the end ----

void lanes_stop(struct node *n)
{
    struct lanes *lanes = &n->lanes;
    lanes->closing = true;
    worker_stop(&lanes->aside.worker);
    for (uint32_t i = 0; i < lanes->count; i++) worker_stop(&lanes->lane[i].worker);
    for (uint32_t i = 0; i <= lanes->count; i++) {
        struct lane *l = i < lanes->count ? &lanes->lane[i] : &lanes->aside;
        for (int kind = 0; kind < SCHED_CLASSES; kind++) {
            for (struct lane_job *j; (j = pop(l, (enum sched_class)kind));) {
                j->job.err = CORE_ERR_INTERRUPTED;
                j->finished(&j->job, n);
            }
        }
    }
}
