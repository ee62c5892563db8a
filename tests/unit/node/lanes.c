// Lanes over emulated GPUs: work moves off a device that fails and leaves no trace there, lost devices are tried again
// with growing waits, peers of one host divide the devices, and every job ends exactly once.
#include "node/compute/lanes.h"

#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zmq.h>

#include "fake/fake.h"
#include "node/daemon.h"
#include "tsan_start.h"

struct fixture {
    struct node *n;
    struct node_options options;
    struct fake_control *fake;
    char folder[64], why[SCHED_WHY_SIZE];
};

static void open_node(struct fixture *f, const char *gpus)
{
    snprintf(f->folder, sizeof f->folder, "/tmp/mycel-test-lanes-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->n = calloc(1, sizeof *f->n);
    assert_non_null(f->n);
    f->options.gpus = gpus;
    f->n->options = &f->options;
    f->n->now_ms = 1000;
    snprintf(f->n->home.path, sizeof f->n->home.path, "%s", f->folder);
    assert_int_equal(sched_topology_open_synthetic("package:1 core:2 pu:1", &f->n->topology), CORE_ERR_OK);
    assert_int_equal(inbox_open(&f->n->inbox, f->n), CORE_ERR_OK);
}

static void close_node(struct fixture *f)
{
    char command[128];
    lanes_stop(f->n);
    inbox_take(&f->n->inbox);
    lanes_close(f->n);
    inbox_close(&f->n->inbox);
    sched_topology_close(f->n->topology);
    free(f->n);
    snprintf(command, sizeof command, "rm -r %s", f->folder);
    assert_int_equal(system(command), 0);
}

// Lets the loop's side go on until `*count` reaches `wanted`.
static void pump(struct fixture *f, const uint32_t *count, uint32_t wanted)
{
    while (*count < wanted) {
        struct pollfd fd = {.fd = f->n->inbox.fd, .events = POLLIN};
        assert_int_equal(poll(&fd, 1, 60000), 1);
        inbox_take(&f->n->inbox);
    }
}

static void pump_tries(struct fixture *f)
{
    for (uint32_t i = 0; i < f->n->lanes.count; i++) {
        while (f->n->lanes.lane[i].trying) {
            struct pollfd fd = {.fd = f->n->inbox.fd, .events = POLLIN};
            assert_int_equal(poll(&fd, 1, 60000), 1);
            inbox_take(&f->n->inbox);
            i = 0;
        }
    }
}

// ---- a piece of work that needs its device ----

struct work {
    struct lane_job lane_job;
    float x[4];       // as the device made it
    sem_t *gate;      // waits for it first
    uint32_t undone;  // times
    uint32_t *finished;
    char on[16];        // who made it
    enum core_err err;  // how it ended
};

static enum core_err use_device(struct work *w, struct hip_device *d)
{
    const float in[4] = {1, 2, 3, 4};
    struct hip_stream *s;
    void *memory;
    enum core_err err = hip_stream_open(d, &s);
    if (err) return err;
    err = hip_alloc(d, sizeof in, &memory);
    if (!err) {
        hip_upload(s, memory, in, sizeof in);
        hip_scale(s, &(struct hip_scale){.x = memory, .count = 4, .factor = 2});
        hip_download(s, w->x, memory, sizeof in);
        err = hip_stream_wait(s);
        hip_free(d, memory);
    }
    hip_stream_close(s);
    return err;
}

static void work_run(struct lane_job *j, struct compute *c)
{
    struct work *w = (struct work *)j;
    struct hip_device *device;
    if (w->gate) sem_wait(w->gate);
    enum core_err err = compute_device(c, &device);
    if (!err) err = compute_judge(c, use_device(w, device));
    snprintf(w->on, sizeof w->on, "%s", c->name);
    j->job.err = err;
}

static void work_undo(struct lane_job *j)
{
    struct work *w = (struct work *)j;
    w->undone++;
    memset(w->x, 0, sizeof w->x);
}

static void work_finished(struct job *job, void *context)
{
    struct work *w = (struct work *)job;
    (void)context;
    w->err = job->err;
    ++*w->finished;
}

static struct work work_new(uint32_t *finished, sem_t *gate)
{
    return (struct work){.lane_job = {.job = {.name = "work"},
                                      .kind = SCHED_CLASS_TRAINING,
                                      .gflop = 1,
                                      .run = work_run,
                                      .undo = work_undo,
                                      .finished = work_finished},
                         .gate = gate,
                         .finished = finished};
}

static void check_made(const struct work *w, const char *on)
{
    const float wanted[4] = {2, 4, 6, 8};
    assert_int_equal(w->err, CORE_ERR_OK);
    assert_string_equal(w->on, on);
    assert_memory_equal(w->x, wanted, sizeof wanted);
}

// ---- cases ----

static void the_cpu_alone(void **state)
{
    (void)state;
    struct fixture f = {0};
    uint32_t finished = 0;
    open_node(&f, "none");
    assert_int_equal(lanes_open(f.n, f.why), CORE_ERR_OK);
    assert_int_equal(f.n->lanes.count, 1);
    struct work a = work_new(&finished, NULL), b = work_new(&finished, NULL), c = work_new(&finished, NULL);
    b.lane_job.kind = SCHED_CLASS_OTHER;
    c.lane_job.aside = true;
    lanes_submit(f.n, &a.lane_job);
    lanes_submit(f.n, &b.lane_job);
    lanes_submit(f.n, &c.lane_job);
    pump(&f, &finished, 3);
    check_made(&a, "cpu");
    check_made(&b, "cpu");
    check_made(&c, "cpu");
    assert_ptr_equal(c.lane_job.lane, &f.n->lanes.aside);
    close_node(&f);
}

static void what_waits_at_the_end_is_interrupted(void **state)
{
    (void)state;
    struct fixture f = {0};
    uint32_t finished = 0;
    sem_t gate;
    sem_init(&gate, 0, 0);
    open_node(&f, "none");
    assert_int_equal(lanes_open(f.n, f.why), CORE_ERR_OK);
    struct work a = work_new(&finished, &gate), b = work_new(&finished, NULL);
    lanes_submit(f.n, &a.lane_job);
    lanes_submit(f.n, &b.lane_job);
    sem_post(&gate);
    close_node(&f);
    assert_int_equal(finished, 2);
    assert_int_equal(b.err, CORE_ERR_INTERRUPTED);
    sem_destroy(&gate);
}

// As NVIDIA's driver alone.
static struct fake_control *use_nvidia(void)
{
    struct fake_control *fake = fake_use();
    unsetenv("MYCEL_HIP_LIBRARY");
    return fake;
}

// The first GPU is by far the fastest, as far as is known.
static void set_rates(struct fixture *f)
{
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t number = f->n->lanes.lane[i].number;
        if (number != SCHED_NO_LANE) f->n->lanes.load.lanes[number].rate = i == 0 ? 1 : i == 1 ? 1e9 : 1e6;
    }
}

// Two emulated GPUs, measured, the first by far the fastest.
static bool open_gpus(struct fixture *f)
{
    f->fake = use_nvidia();
    if (!f->fake) return false;
    open_node(f, "nvidia:0,nvidia:1");
    assert_int_equal(lanes_open(f->n, f->why), CORE_ERR_OK);
    assert_int_equal(f->n->lanes.count, 3);
    pump_tries(f);
    for (uint32_t i = 0; i < 3; i++) {
        struct lane *l = &f->n->lanes.lane[i];
        assert_true(l->rates.gflops > 0 && l->rates.gbytes_per_s > 0);
    }
    f->fake->fail_once = false;
    set_rates(f);
    return true;
}

static void moves_off_what_fails(void **state)
{
    (void)state;
    struct fixture f = {0};
    uint32_t finished = 0;
    if (!open_gpus(&f)) return;
    struct work a = work_new(&finished, NULL);
    lanes_submit(f.n, &a.lane_job);
    pump(&f, &finished, 1);
    check_made(&a, "nvidia:0");
    assert_int_equal(a.undone, 0);
    // One failure: the next device does it. Failures for ever: the CPU.
    f.fake->fail = "launch";
    f.fake->fail_after = 0;
    f.fake->fail_once = true;
    struct work b = work_new(&finished, NULL);
    set_rates(&f);
    lanes_submit(f.n, &b.lane_job);
    pump(&f, &finished, 2);
    check_made(&b, "nvidia:1");
    assert_int_equal(b.undone, 1);
    assert_int_equal(lane_state(f.n, &f.n->lanes.lane[1]), LANE_LOST);
    assert_true(f.n->lanes.lane[1].why[0] != 0);
    f.fake->fail = "alloc";
    f.fake->fail_once = false;
    struct work c = work_new(&finished, NULL);
    lanes_submit(f.n, &c.lane_job);
    pump(&f, &finished, 3);
    check_made(&c, "cpu");
    assert_int_equal(lane_state(f.n, &f.n->lanes.lane[2]), LANE_LOST);
    f.fake->fail = NULL;
    close_node(&f);
}

static void what_waited_on_it_moves_too(void **state)
{
    (void)state;
    struct fixture f = {0};
    uint32_t finished = 0;
    sem_t gate;
    sem_init(&gate, 0, 0);
    if (!open_gpus(&f)) return;
    struct work a[3] = {work_new(&finished, &gate), work_new(&finished, NULL), work_new(&finished, NULL)};
    for (int i = 0; i < 3; i++) {
        a[i].lane_job.gflop = 0;  // so that all prefer the first
        lanes_submit(f.n, &a[i].lane_job);
        assert_ptr_equal(a[i].lane_job.lane, &f.n->lanes.lane[1]);
    }
    f.fake->fail = "launch";
    f.fake->fail_once = true;
    sem_post(&gate);
    sem_post(&gate);  // it comes here twice
    pump(&f, &finished, 3);
    for (int i = 0; i < 3; i++) check_made(&a[i], "nvidia:1");
    assert_int_equal(a[0].undone, 1);
    assert_int_equal(a[1].undone, 0);
    close_node(&f);
    sem_destroy(&gate);
}

static void an_idle_lane_takes_over(void **state)
{
    (void)state;
    struct fixture f = {0};
    uint32_t finished = 0;
    sem_t gate;
    sem_init(&gate, 0, 0);
    if (!open_gpus(&f)) return;
    // All go where the rate is said to be the highest; the first that ends elsewhere shows that it isn't.
    struct work a = work_new(&finished, &gate), b = work_new(&finished, NULL), c = work_new(&finished, NULL);
    c.lane_job.stay = true;
    c.lane_job.lane = &f.n->lanes.lane[2];
    lanes_submit(f.n, &a.lane_job);
    lanes_submit(f.n, &b.lane_job);
    assert_ptr_equal(b.lane_job.lane, &f.n->lanes.lane[1]);
    f.n->lanes.load.lanes[f.n->lanes.lane[1].number].rate = 1e-6;
    lanes_submit(f.n, &c.lane_job);
    pump(&f, &finished, 2);
    check_made(&c, "nvidia:1");
    check_made(&b, "nvidia:1");
    sem_post(&gate);
    pump(&f, &finished, 3);
    check_made(&a, "nvidia:0");
    for (uint32_t i = 0; i < 3; i++) assert_true(f.n->lanes.load.lanes[i].queued < 1e-9);
    close_node(&f);
    sem_destroy(&gate);
}

static void is_tried_again(void **state)
{
    (void)state;
    struct fixture f = {0};
    uint32_t finished = 0;
    if (!open_gpus(&f)) return;
    struct lane *l = &f.n->lanes.lane[1];
    f.fake->fail = "launch";
    struct work a = work_new(&finished, NULL);
    lanes_submit(f.n, &a.lane_job);
    pump(&f, &finished, 1);
    check_made(&a, "cpu");
    assert_int_equal(lane_retry_s(f.n, l), 60);
    f.n->now_ms += 59999;
    lanes_tick(f.n);
    assert_int_equal(lane_state(f.n, l), LANE_LOST);
    f.n->now_ms += 1;
    lanes_tick(f.n);
    assert_int_equal(lane_state(f.n, l), LANE_PROBING);
    pump_tries(&f);  // both devices, and both still fail
    assert_int_equal(lane_state(f.n, l), LANE_LOST);
    assert_int_equal(lane_retry_s(f.n, l), 120);
    f.fake->fail = NULL;
    f.n->now_ms += 120000;
    lanes_tick(f.n);
    pump_tries(&f);
    assert_int_equal(lane_state(f.n, l), LANE_UP);
    assert_int_equal(lane_state(f.n, &f.n->lanes.lane[2]), LANE_UP);
    assert_int_equal(l->losses, 2);
    assert_string_equal(l->why, "");
    struct work b = work_new(&finished, NULL);
    b.lane_job.stay = true;
    b.lane_job.lane = l;
    lanes_submit(f.n, &b.lane_job);
    pump(&f, &finished, 2);
    check_made(&b, "nvidia:0");
    close_node(&f);
}

static void peers_divide_the_devices(void **state)
{
    (void)state;
    struct fixture f = {0};
    uint32_t finished = 0;
    if (!open_gpus(&f)) return;
    close_node(&f);
    // Named devices are this peer's whoever else is there; otherwise each has its part.
    f.options = (struct node_options){0};
    open_node(&f, "2");
    assert_int_equal(lanes_open(f.n, f.why), CORE_ERR_OK);
    pump_tries(&f);
    lanes_share(f.n, 1, 2);
    assert_int_equal(lane_state(f.n, &f.n->lanes.lane[1]), LANE_ELSEWHERE);
    assert_int_equal(lane_state(f.n, &f.n->lanes.lane[2]), LANE_UP);
    f.n->lanes.load.lanes[f.n->lanes.lane[2].number].rate = 1e9;
    struct work a = work_new(&finished, NULL);
    lanes_submit(f.n, &a.lane_job);
    pump(&f, &finished, 1);
    check_made(&a, "nvidia:1");
    lanes_share(f.n, 0, 1);
    assert_int_equal(lane_state(f.n, &f.n->lanes.lane[1]), LANE_UP);
    close_node(&f);
}

static void what_does_not_fit_goes_by(void **state)
{
    (void)state;
    struct fixture f = {0};
    uint32_t finished = 0;
    if (!open_gpus(&f)) return;
    struct work a = work_new(&finished, NULL);
    a.lane_job.memory_bytes = UINT64_MAX / 2;
    lanes_submit(f.n, &a.lane_job);
    pump(&f, &finished, 1);
    check_made(&a, "cpu");
    assert_int_equal(f.n->lanes.lane[1].losses, 0);
    close_node(&f);
}

// A quarter of the device's time: after a step as long a pause as three such steps.
static void the_owners_share_is_kept(void **state)
{
    (void)state;
    enum { STEP_US = 5000, HOUR_US = 1000000000 };
    struct compute c = {.place = {.gpu = true, .duty_percent = 25}};
    _Atomic bool cancelled = false;
    uint64_t begin = node_clock_us();
    c.step_end_us = begin - STEP_US;
    compute_pace(&c, &cancelled);
    assert_true(node_clock_us() - begin >= 3 * STEP_US);
    assert_true(c.step_end_us >= begin + 3 * STEP_US);
    cancelled = true;
    c.step_end_us = node_clock_us() - HOUR_US;
    compute_pace(&c, &cancelled);  // or it would be here for hours
    c.place.duty_percent = 100;
    cancelled = false;
    c.step_end_us = 0;
    compute_pace(&c, &cancelled);
    assert_int_equal(c.step_end_us, 0);
}

static void names_that_are_not_there(void **state)
{
    (void)state;
    struct fixture f = {.fake = use_nvidia()};
    if (!f.fake) return;
    open_node(&f, "nvidia:5");
    assert_int_equal(lanes_open(f.n, f.why), CORE_ERR_USAGE);
    assert_non_null(strstr(f.why, "nvidia:0, nvidia:1"));
    close_node(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cpu_alone),
        cmocka_unit_test(what_waits_at_the_end_is_interrupted),
        cmocka_unit_test(moves_off_what_fails),
        cmocka_unit_test(what_waited_on_it_moves_too),
        cmocka_unit_test(an_idle_lane_takes_over),
        cmocka_unit_test(is_tried_again),
        cmocka_unit_test(peers_divide_the_devices),
        cmocka_unit_test(what_does_not_fit_goes_by),
        cmocka_unit_test(the_owners_share_is_kept),
        cmocka_unit_test(names_that_are_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
