// Which lanes there are: the machine's devices, the owner's limits, this peer's part among those of its host, and what
// each lane reaches.
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/daemon.h"

enum { FOUND_MAX = SCHED_MAX_DEVICES };

static const double try_seconds = 0.25;

void lane_open(struct node *n, struct lane *l, const char *name, const struct sched_lane *place, bool aside)
{
    *l = (struct lane){.number = SCHED_NO_LANE};
    snprintf(l->name, sizeof l->name, "%s", aside ? "aside" : name);
    sched_fair_open(&l->fair);
    compute_open(&l->compute, name, n->topology, place);
}

// ---- trying a lane ----

struct try_job {
    struct lane_job lane_job;
    const struct home *home;
    struct hip_facts facts;
    struct measure_rates rates;
};

static void try_run(struct lane_job *lane_job, struct compute *c)
{
    struct try_job *t = (struct try_job *)lane_job;
    struct hip_device *device;
    enum core_err err = compute_device(c, &device);
    if (!err) err = compute_judge(c, measure_device(device, try_seconds, &t->rates));
    lane_job->job.err = err;
    if (err) return;
    hip_device_facts(device, &t->facts);
    // Only to know it at the next start.
    if (measure_keep(t->home, c->name, &t->facts, &t->rates)) return;
}

static void measure_unknown(struct node *n);

static void try_finished(struct job *job, void *context)
{
    struct node *n = context;
    struct try_job *t = (struct try_job *)job;
    struct lane *l = t->lane_job.lane;
    l->trying = false;
    bool probing = lane_state(n, l) == LANE_PROBING;
    if (!job->err) {
        l->rates = t->rates;
        l->facts = t->facts;
        if (l->number != SCHED_NO_LANE && (probing || n->lanes.load.lanes[l->number].rate <= 0))
            n->lanes.load.lanes[l->number].rate = t->rates.gflops;
        event_emit(&n->events, "device.measured", EV_TEXT("device", l->name), EV_F64("gflops", t->rates.gflops),
                   EV_F64("gbytes_per_s", t->rates.gbytes_per_s));
    }
    if (!job->err && probing) {
        sched_lanes_returned(&n->lanes.load, l->number, n->now_ms);
        l->why[0] = 0;
        event_emit(&n->events, "device.back", EV_TEXT("device", l->name));
    } else if (probing && !n->lanes.closing) {
        lane_lose(n, l, l->why);
    }
    free(t);
    measure_unknown(n);
}

void lane_try(struct node *n, struct lane *l)
{
    if (l->trying || l->number == SCHED_NO_LANE || n->lanes.closing) return;
    struct try_job *t = calloc(1, sizeof *t);
    if (!t) return;
    struct sched_lane_load *load = &n->lanes.load.lanes[l->number];
    if (load->state == SCHED_LANE_LOST) load->state = SCHED_LANE_PROBING;
    l->trying = l->tried = true;
    t->lane_job = (struct lane_job){
        .job = {.name = "measure"}, .kind = SCHED_CLASS_OTHER, .run = try_run, .finished = try_finished};
    t->home = &n->home;
    lane_submit_to(n, l, &t->lane_job);
}

// ---- this peer's part ----

static void shut_run(struct lane_job *j, struct compute *c)
{
    (void)j;
    compute_shut(c);
}

static void shut_finished(struct job *job, void *context)
{
    (void)context;
    free(job);
}

// Another peer's from now on: what waits here goes elsewhere, and the device is given back.
static void leave(struct node *n, struct lane *l)
{
    l->number = SCHED_NO_LANE;
    lane_evacuate(n, l);
    struct lane_job *j = l->worker.started ? calloc(1, sizeof *j) : NULL;
    if (!j) return;
    *j = (struct lane_job){
        .job = {.name = "shut"}, .kind = SCHED_CLASS_OTHER, .run = shut_run, .finished = shut_finished};
    lane_submit_to(n, l, j);
}

static uint32_t number_of(const struct sched_placement *p, uint32_t lane)
{
    for (uint32_t i = 0; i < p->lanes_count; i++)
        if (lane == LANE_CPU ? !p->lanes[i].gpu : p->lanes[i].gpu && p->lanes[i].device == lane - 1) return i;
    return SCHED_NO_LANE;
}

static void take_devices(const struct lanes *lanes, struct sched_device *devices)
{
    for (uint32_t i = 1; i < lanes->count; i++) {
        const struct lane *l = &lanes->lane[i];
        struct sched_device *d = &devices[i - 1];
        *d = (struct sched_device){.memory_bytes = l->facts.memory_bytes, .rate = l->rates.gflops};
        memcpy(d->name, l->name, sizeof d->name);
        memcpy(d->pci, l->facts.pci, sizeof d->pci);
    }
}

// The loop, the sums and the disk keep off the cpus that lanes compute on. Threads that any of them starts inherit
// that, libzmq's among them; a lane's thread is bound anew with its device. What the kernel refuses is slower, not
// wrong.
static void place_services(struct node *n)
{
    const int threads[] = {gettid(), atomic_load(&n->sums_worker.tid), atomic_load(&n->io_worker.tid)};
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++)
        if (threads[i] && sched_services_bind(n->topology, &n->lanes.placement, threads[i])) return;
}

static void place(struct node *n)
{
    struct lanes *lanes = &n->lanes;
    struct sched_device devices[SCHED_MAX_DEVICES];
    static const struct sched_placement none;
    struct sched_placement *fresh = malloc(sizeof *fresh);
    if (!fresh) return;
    *fresh = none;
    take_devices(lanes, devices);
    struct sched_request request = {.topology = n->topology,
                                    .devices = devices,
                                    .devices_count = lanes->count - 1,
                                    .limits = lanes->limits,
                                    .peer = lanes->index,
                                    .peers = lanes->peers,
                                    .cpu_rate = lanes->lane[LANE_CPU].rates.gflops};
    sched_placement_plan(&request, fresh);
    struct sched_lanes load, before = lanes->load;
    sched_lanes_open(&load, fresh);
    uint32_t was[SCHED_MAX_LANES];
    for (uint32_t i = 0; i < lanes->count; i++) {
        struct lane *l = &lanes->lane[i];
        was[i] = l->number;
        l->number = number_of(fresh, i);
        if (l->number == SCHED_NO_LANE) continue;
        if (was[i] != SCHED_NO_LANE) load.lanes[l->number] = before.lanes[was[i]];
        compute_place_set(&l->compute, &fresh->lanes[l->number]);
    }
    lanes->load = load;
    lanes->placement = *fresh;
    for (uint32_t i = 0; i < lanes->count; i++)
        if (was[i] != SCHED_NO_LANE && lanes->lane[i].number == SCHED_NO_LANE) leave(n, &lanes->lane[i]);
    compute_place_set(&lanes->aside.compute, &fresh->lanes[lanes->lane[LANE_CPU].number]);
    n->memory_bytes = fresh->memory_bytes;
    free(fresh);
    place_services(n);
}

// Where there is a choice, what the devices reach decides it. One after the other, so that none slows another down.
static void measure_unknown(struct node *n)
{
    struct lane *next = NULL;
    bool choice = false;
    for (uint32_t i = 0; i < n->lanes.count; i++) {
        struct lane *l = &n->lanes.lane[i];
        if (l->trying) return;
        if (lane_state(n, l) != LANE_UP) continue;
        choice = choice || i != LANE_CPU;
        if (!next && !l->tried && l->rates.gflops <= 0) next = l;
    }
    if (choice && next) lane_try(n, next);
}

void lanes_share(struct node *n, uint32_t index, uint32_t peers)
{
    if (n->lanes.index == index && n->lanes.peers == peers) return;
    n->lanes.index = index;
    n->lanes.peers = peers;
    place(n);
    n->blobs.limit = n->memory_bytes / 2;
    measure_unknown(n);
}

// ---- what there is ----

static void open_gpus(struct node *n, const struct hip_found *found, uint32_t count)
{
    struct lanes *lanes = &n->lanes;
    static const struct sched_lane nowhere = {.gpu = true, .threads = 1, .duty_percent = 100};
    for (uint32_t i = 0; i < count && lanes->count < SCHED_MAX_LANES; i++) {
        if (!found[i].usable) {
            event_emit(&n->events, "device.unusable", EV_TEXT("device", found[i].name), EV_TEXT("why", found[i].why));
            continue;
        }
        struct lane *l = &lanes->lane[lanes->count++];
        lane_open(n, l, found[i].name, &nowhere, false);
        l->facts = found[i].facts;
        measure_recall(&n->home, l->name, &l->facts, &l->rates);
        event_emit(&n->events, "device.found", EV_TEXT("device", l->name), EV_TEXT("name", l->facts.name),
                   EV_TEXT("image", l->facts.isa), EV_U64("memory_bytes", l->facts.memory_bytes));
    }
}

static void found(struct node *n, const struct hip_found *found, uint32_t count)
{
    struct lanes *lanes = &n->lanes;
    lanes->looked = LANES_LOOKED;
    lanes->found = calloc(count + 1, sizeof *found);
    if (!lanes->found) return;
    memcpy(lanes->found, found, count * sizeof *found);
    lanes->found_count = count;
    open_gpus(n, found, count);
    if (lanes->count == 1) return;
    place(n);
    measure_unknown(n);
}

struct find_job {
    struct job job;
    struct hip_found found[FOUND_MAX];
    uint32_t count;
};

static void find_run(struct job *job, struct worker *w)
{
    (void)w;
    struct find_job *f = (struct find_job *)job;
    f->count = hip_devices_find(f->found, FOUND_MAX);
}

static void find_done(struct job *job, void *context)
{
    struct node *n = context;
    struct find_job *f = (struct find_job *)job;
    if (!job->err) found(n, f->found, f->count);
    free(f);
}

// Opening every device takes seconds on some machines: the peer comes up meanwhile.
static enum core_err look_aside(struct node *n)
{
    struct find_job *f = calloc(1, sizeof *f);
    if (!f) return CORE_ERR_NO_MEMORY;
    f->job = (struct job){.name = "find", .priority = JOB_NORMAL, .run = find_run, .done = find_done};
    n->lanes.looked = LANES_LOOKING;
    worker_submit(&n->lanes.aside.worker, &f->job);
    return CORE_ERR_OK;
}

// The devices' names stand in the limits: they are read before the peer starts.
static enum core_err look_now(struct node *n, char *why)
{
    struct hip_found *all = calloc(FOUND_MAX, sizeof *all);
    if (!all) return CORE_ERR_NO_MEMORY;
    uint32_t count = hip_devices_find(all, FOUND_MAX), usable = 0;
    struct sched_device devices[SCHED_MAX_DEVICES];
    for (uint32_t i = 0; i < count; i++)
        if (all[i].usable) memcpy(devices[usable++].name, all[i].name, sizeof all[i].name);
    enum core_err err = sched_limits_gpus(n->options->gpus, devices, usable, &n->lanes.limits, why);
    for (uint32_t i = 0; err && i < count; i++) {
        size_t used = strlen(why);
        if (!all[i].usable) snprintf(why + used, SCHED_WHY_SIZE - used, "; %s: %s", all[i].name, all[i].why);
    }
    if (!err) found(n, all, count);
    free(all);
    return err;
}

static void cpu_facts(uint32_t threads, struct hip_facts *out)
{
    struct hip_device *device;
    if (hip_device_open("cpu", NULL, &device)) return;
    hip_device_facts(device, out);
    hip_device_close(device);
    out->threads = threads;
}

enum core_err lanes_open(struct node *n, char *why)
{
    struct lanes *lanes = &n->lanes;
    const struct node_options *o = n->options;
    lanes->limits =
        (struct sched_limits){.cpus = o->cpus, .memory_bytes = o->memory_bytes, .share_percent = o->share_percent};
    enum core_err err = sched_limits_check(&lanes->limits, n->topology, why);
    if (err) return err;
    static const struct sched_lane nowhere = {.threads = 1, .duty_percent = 100};
    lane_open(n, &lanes->lane[LANE_CPU], "cpu", &nowhere, false);
    lane_open(n, &lanes->aside, "cpu", &nowhere, true);
    lanes->count = lanes->peers = 1;
    struct hip_facts *cpu = &lanes->lane[LANE_CPU].facts;
    place(n);
    cpu_facts(compute_threads(&lanes->lane[LANE_CPU].compute), cpu);
    measure_recall(&n->home, "cpu", cpu, &lanes->lane[LANE_CPU].rates);
    err = lane_start(n, &lanes->lane[LANE_CPU]);
    if (!err) err = lane_start(n, &lanes->aside);
    if (err) return err;
    if (!o->gpus || !strcmp(o->gpus, "all")) return look_aside(n);
    if (!strcmp(o->gpus, "none")) return sched_limits_gpus("none", NULL, 0, &lanes->limits, why);
    return look_now(n, why);
}

void lanes_close(struct node *n)
{
    for (uint32_t i = 0; i < n->lanes.count; i++) compute_close(&n->lanes.lane[i].compute);
    compute_close(&n->lanes.aside.compute);
    free(n->lanes.found);
    n->lanes.found = NULL;
}
