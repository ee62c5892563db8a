#include "sched/placement.h"

#include <string.h>

#include "core/check.h"
#include "sched/division.h"
#include "sched/transport.h"

enum { WHOLE = 100 };

// This peer's cores, by their index in topology->cpus, and what it may use of them.
struct part {
    uint32_t count;
    uint16_t cores[SCHED_MAX_CPUS];
    struct sched_cpus cpus;  // all threads that may be used
    uint32_t gpus;
    uint32_t gpu[SCHED_MAX_DEVICES];       // device indices
    uint16_t gpu_core[SCHED_MAX_DEVICES];  // the core of each one's thread
};

static uint32_t share_of(const struct sched_limits *l)
{
    return l->share_percent ? l->share_percent : WHOLE;
}

static uint32_t percent_up(uint32_t whole, uint32_t percent)
{
    return (uint32_t)(((uint64_t)whole * percent + WHOLE - 1) / WHOLE);
}

static bool taken(const struct part *p, uint16_t core)
{
    for (uint32_t g = 0; g < p->gpus; g++)
        if (p->gpu_core[g] == core) return true;
    return false;
}

// ---- which GPUs ----

static void choose_gpus(const struct sched_request *r, const struct division *d, struct part *p)
{
    const struct sched_limits *l = &r->limits;
    uint32_t from = division_gpus_from(d->gpus, r->peer, r->peers);
    uint32_t to = division_gpus_from(d->gpus, r->peer + 1, r->peers);
    for (uint32_t i = 0; i < d->gpus; i++) {
        uint32_t device = d->order[i];
        bool mine = l->gpus_limited && l->gpus_named ? l->gpu_named[device] : i >= from && i < to;
        bool enough = l->gpus_limited && !l->gpus_named && p->gpus >= l->gpus;
        if (mine && !enough) p->gpu[p->gpus++] = device;
    }
}

// ---- a core for each GPU's thread ----

// Cores alike to every GPU: of one memory node and one kind.
struct group {
    uint32_t node, kind, count;
};

static uint32_t group_cores(const struct sched_topology *t, const struct part *p, struct group *groups)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        const struct sched_cpu *c = &t->cpus[p->cores[i]];
        uint32_t g = 0;
        while (g < count && (groups[g].node != c->node || groups[g].kind != c->kind)) g++;
        if (g == count) {
            check(count < TRANSPORT_MAX / 2);  // topology_extract sees to it
            groups[count++] = (struct group){c->node, c->kind, 0};
        }
        groups[g].count++;
    }
    return count;
}

// The `at`-th core of a group, around and around.
static uint16_t core_of(const struct sched_topology *t, const struct part *p, const struct group *g, uint32_t at)
{
    at %= g->count;
    for (uint32_t i = 0;; i++) {
        const struct sched_cpu *c = &t->cpus[p->cores[i]];
        if (c->node == g->node && c->kind == g->kind && at-- == 0) return p->cores[i];
    }
}

// A sink for each group's cores, and one for sharing them. Sharing costs more than any free core, so it comes last.
static void place_gpus(const struct sched_request *r, const struct division *d, struct part *p)
{
    const struct sched_topology *t = r->topology;
    struct group groups[TRANSPORT_MAX / 2];
    struct transport w = {.sources = p->gpus};
    uint32_t count = group_cores(t, p, groups);
    w.sinks = 2 * count;
    for (uint32_t g = 0; g < p->gpus; g++) {
        w.supply[g] = 1;
        for (uint32_t j = 0; j < count; j++) {
            uint32_t far = SCHED_COST_FAR * division_distance(t, groups[j].node, d->nodes[p->gpu[g]]);
            w.cost[g][j] = (int32_t)(far + SCHED_COST_SPEED * t->kinds[groups[j].kind].speed);
            w.cost[g][count + j] = (int32_t)(far + SCHED_COST_SHARED);
        }
    }
    for (uint32_t j = 0; j < count; j++) {
        w.capacity[j] = groups[j].count;
        w.capacity[count + j] = p->gpus;
    }
    transport_solve(&w);
    uint32_t used[TRANSPORT_MAX / 2] = {0};
    for (uint32_t g = 0; g < p->gpus; g++)
        for (uint32_t j = 0; j < w.sinks; j++)
            if (w.flow[g][j]) p->gpu_core[g] = core_of(t, p, &groups[j % count], used[j % count]++);
}

// ---- limits ----

// Keeps `most` cores: those of the GPUs' threads first, in the GPUs' order, then the part's own order.
static void keep_cores(struct part *p, uint32_t most)
{
    if (p->count <= most) return;
    uint16_t kept[SCHED_MAX_CPUS];
    uint32_t count = 0;
    for (uint32_t g = 0; g < p->gpus && count < most; g++) {
        bool had = false;
        for (uint32_t i = 0; i < count; i++) had |= kept[i] == p->gpu_core[g];
        if (!had) kept[count++] = p->gpu_core[g];
    }
    for (uint32_t i = 0; i < p->count && count < most; i++)
        if (!taken(p, p->cores[i])) kept[count++] = p->cores[i];
    memcpy(p->cores, kept, count * sizeof *kept);
    p->count = count;
}

static bool has_core(const struct sched_topology *t, const struct part *p, uint32_t core)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (t->cpus[p->cores[i]].core == core) return true;
    return false;
}

// The threads of the part's cores, `most` of them at most: one of each core first.
static void keep_cpus(const struct sched_topology *t, struct part *p, uint32_t most)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < t->cpus_count && used < most; i++) {
        if (!has_core(t, p, t->cpus[i].core)) continue;
        sched_cpus_add(&p->cpus, t->cpus[i].os_index);
        used++;
    }
}

static void limit_part(const struct sched_request *r, const struct division *d, struct part *p)
{
    const struct sched_limits *l = &r->limits;
    uint32_t most = percent_up(p->count, share_of(l));
    if (l->cpus && l->cpus < most) most = l->cpus;
    if (p->count > most) {
        place_gpus(r, d, p);
        keep_cores(p, most);
    }
    keep_cpus(r->topology, p, l->cpus ? l->cpus : SCHED_MAX_CPUS);
    place_gpus(r, d, p);
}

// ---- lanes ----

static struct sched_cpus threads_of(const struct sched_topology *t, const struct part *p, uint16_t core)
{
    struct sched_cpus set = {{0}};
    for (uint32_t i = 0; i < t->cpus_count; i++)
        if (t->cpus[i].core == t->cpus[core].core && sched_cpus_has(&p->cpus, t->cpus[i].os_index))
            sched_cpus_add(&set, t->cpus[i].os_index);
    return set;
}

static struct sched_lane gpu_lane(const struct sched_request *r, uint32_t device)
{
    uint32_t share = share_of(&r->limits);
    const struct sched_device *d = &r->devices[device];
    return (struct sched_lane){.gpu = true,
                               .device = device,
                               .rate = d->rate,
                               .threads = 1,
                               .memory_bytes = d->memory_bytes / WHOLE * share,
                               .duty_percent = share};
}

// Of several nodes near a GPU those that have cpus: the others are the GPU's own memory, or memory alone.
static uint64_t memory_of(const struct sched_topology *t, uint64_t nodes, uint32_t otherwise)
{
    uint64_t with_cpus = 0;
    for (uint32_t n = 0; n < t->nodes_count; n++)
        if (nodes >> n & 1 && t->nodes[n].cpus) with_cpus |= (uint64_t)1 << n;
    if (with_cpus) return with_cpus;
    return nodes ? nodes : (uint64_t)1 << otherwise;
}

static void add_gpu_lanes(const struct sched_request *r, const struct division *d, const struct part *p,
                          struct sched_placement *out)
{
    for (uint32_t g = 0; g < p->gpus; g++) {
        struct sched_lane *lane = &out->lanes[out->lanes_count++];
        *lane = gpu_lane(r, p->gpu[g]);
        lane->cpus = threads_of(r->topology, p, p->gpu_core[g]);
        lane->nodes = memory_of(r->topology, d->nodes[p->gpu[g]], r->topology->cpus[p->gpu_core[g]].node);
    }
}

// The cores that no GPU's thread has, the fastest first; all where none is left. Returns how many.
static uint32_t free_cores(const struct sched_topology *t, const struct part *p, uint16_t *out)
{
    uint32_t count = 0;
    for (int all = 0; all < 2 && count == 0; all++)
        for (uint32_t kind = 0; kind < t->kinds_count; kind++)
            for (uint32_t i = 0; i < p->count; i++)
                if (t->cpus[p->cores[i]].kind == kind && (all || !taken(p, p->cores[i]))) out[count++] = p->cores[i];
    return count;
}

// How many of these cores, the fastest first, compute most in equal parts.
static uint32_t best_count(const struct sched_topology *t, const uint16_t *cores, uint32_t count)
{
    uint32_t best = 0, most = 0;
    for (uint32_t n = 1; n <= count && n <= SCHED_MAX_THREADS; n++) {
        uint32_t rate = n * t->kinds[t->cpus[cores[n - 1]].kind].speed;
        if (rate <= most) continue;
        most = rate;
        best = n;
    }
    return best;
}

static void add_cpu_lane(const struct sched_request *r, const uint16_t *cores, uint32_t count,
                         struct sched_placement *out)
{
    const struct sched_topology *t = r->topology;
    struct sched_lane *lane = &out->lanes[out->lanes_count++];
    *lane = (struct sched_lane){.rate = r->cpu_rate,
                                .threads = count,
                                .each_to_one = true,
                                .memory_bytes = out->memory_bytes,
                                .duty_percent = WHOLE};
    for (uint32_t i = 0; i < count; i++) {
        sched_cpus_add(&lane->cpus, t->cpus[cores[i]].os_index);
        lane->nodes |= (uint64_t)1 << t->cpus[cores[i]].node;
    }
}

// Cpus of the part on which no lane computes; empty where there are none.
static struct sched_cpus idle_cpus(const struct part *p, const struct sched_placement *out)
{
    struct sched_cpus set = p->cpus;
    for (uint32_t i = 0; i < out->lanes_count; i++)
        for (uint32_t w = 0; w < SCHED_MAX_CPUS / 64; w++) set.bits[w] &= ~out->lanes[i].cpus.bits[w];
    return set;
}

static void place_threads(const struct sched_request *r, const struct division *d, struct part *p,
                          struct sched_placement *out)
{
    uint16_t cores[SCHED_MAX_CPUS];
    uint32_t free = free_cores(r->topology, p, cores), count = best_count(r->topology, cores, free);
    add_gpu_lanes(r, d, p, out);
    add_cpu_lane(r, cores, count, out);
    out->services = idle_cpus(p, out);
    if (sched_cpus_count(&out->services) == 0 && count >= SCHED_SERVICE_CORES) {
        out->lanes_count--;
        add_cpu_lane(r, cores, count - count / SCHED_SERVICE_CORES, out);
        out->services = idle_cpus(p, out);
    }
    if (sched_cpus_count(&out->services) == 0) out->services = p->cpus;
    out->cpus = sched_cpus_count(&p->cpus);
}

// ---- a machine that is shared unevenly, or has fewer cores than peers: nothing is bound to a core ----

static struct sched_cpus near_cpus(const struct sched_topology *t, uint64_t nodes)
{
    struct sched_cpus set = {{0}};
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < t->cpus_count; i++) {
        uint32_t distance = division_distance(t, t->cpus[i].node, nodes);
        if (distance < least) set = (struct sched_cpus){{0}};
        if (distance < least) least = distance;
        if (distance == least) sched_cpus_add(&set, t->cpus[i].os_index);
    }
    return set;
}

static void place_loosely(const struct sched_request *r, const struct division *d, const struct part *p, uint32_t whole,
                          struct sched_placement *out)
{
    uint32_t mine = division_from(whole, r->peer + 1, r->peers) - division_from(whole, r->peer, r->peers);
    uint32_t threads = percent_up(mine, share_of(&r->limits));
    if (r->limits.cpus && r->limits.cpus < threads) threads = r->limits.cpus;
    if (threads > SCHED_MAX_THREADS) threads = SCHED_MAX_THREADS;
    for (uint32_t g = 0; g < p->gpus; g++) {
        struct sched_lane *lane = &out->lanes[out->lanes_count++];
        uint64_t nodes = d->nodes[p->gpu[g]];
        *lane = gpu_lane(r, p->gpu[g]);
        if (nodes) lane->cpus = near_cpus(r->topology, nodes);
        if (nodes) lane->nodes = memory_of(r->topology, nodes, 0);
    }
    add_cpu_lane(r, NULL, 0, out);
    out->lanes[out->lanes_count - 1].each_to_one = false;
    out->lanes[out->lanes_count - 1].threads = out->cpus = threads ? threads : 1;
}

static uint64_t host_memory(const struct sched_request *r)
{
    uint64_t half = sched_topology_memory(r->topology) / 2, part = half / r->peers;
    if (r->limits.memory_bytes) return r->limits.memory_bytes;
    if (part < SCHED_MEMORY_FLOOR) part = half && half < SCHED_MEMORY_FLOOR ? half : SCHED_MEMORY_FLOOR;
    return part / WHOLE * share_of(&r->limits);
}

void sched_placement_plan(const struct sched_request *r, struct sched_placement *out)
{
    const struct sched_topology *t = r->topology;
    check(r->peers > 0 && r->peer < r->peers && r->devices_count <= SCHED_MAX_DEVICES);
    check(share_of(&r->limits) <= WHOLE);
    memset(out, 0, sizeof *out);
    out->memory_bytes = host_memory(r);
    struct part p = {0};
    struct division d;
    uint32_t cores = t->facts.cores_usable, quota = t->facts.cpus_quota;
    bool loose = (quota && quota < cores) || cores < r->peers;
    if (loose) {
        division_gpus(r, &d);
        choose_gpus(r, &d, &p);
        place_loosely(r, &d, &p, quota && quota < cores ? quota : cores, out);
        return;
    }
    division_make(r, &d);
    choose_gpus(r, &d, &p);
    for (uint32_t i = 0; i < cores; i++)
        if (d.owner[i] == r->peer) p.cores[p.count++] = (uint16_t)i;
    limit_part(r, &d, &p);
    place_threads(r, &d, &p, out);
}

bool sched_lane_equal(const struct sched_lane *a, const struct sched_lane *b)
{
    return a->gpu == b->gpu && a->device == b->device && a->threads == b->threads && a->each_to_one == b->each_to_one &&
           a->nodes == b->nodes && a->memory_bytes == b->memory_bytes && a->duty_percent == b->duty_percent &&
           memcmp(&a->cpus, &b->cpus, sizeof a->cpus) == 0;
}
