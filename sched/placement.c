#include "sched/placement.h"

#include <string.h>

#include "core/check.h"

// Every peer gets a run of the cores, one thread a core.
static void plan_cpu(const struct sched_request *r, struct sched_placement *out)
{
    const struct sched_topology *t = r->topology;
    struct sched_lane *lane = &out->lanes[out->lanes_count++];
    *lane = (struct sched_lane){.rate = r->cpu_rate, .duty_percent = 100, .memory_bytes = out->memory_bytes};
    bool limited = t->facts.cpus_quota && t->facts.cpus_quota < t->facts.cores_usable;
    uint32_t whole = limited ? t->facts.cpus_quota : t->facts.cores_usable;
    uint32_t from = (uint32_t)((uint64_t)whole * r->peer / r->peers);
    uint32_t to = (uint32_t)((uint64_t)whole * (r->peer + 1) / r->peers);
    lane->threads = to > from ? to - from : 1;
    uint32_t share = r->limits.share_percent ? r->limits.share_percent : 100;
    uint32_t most = (lane->threads * share + 99) / 100;
    if (r->limits.cpus && r->limits.cpus < most) most = r->limits.cpus;
    if (lane->threads > most) lane->threads = most;
    out->cpus = lane->threads;
    if (limited || whole < r->peers) return;
    lane->each_to_one = true;
    for (uint32_t i = 0; i < lane->threads; i++) sched_cpus_add(&lane->cpus, t->cpus[from + i].os_index);
}

static uint64_t host_memory(const struct sched_request *r)
{
    uint32_t share = r->limits.share_percent ? r->limits.share_percent : 100;
    uint64_t half = sched_topology_memory(r->topology) / 2, part = half / r->peers;
    if (r->limits.memory_bytes) return r->limits.memory_bytes;
    if (part < SCHED_MEMORY_FLOOR) part = half < SCHED_MEMORY_FLOOR ? half : SCHED_MEMORY_FLOOR;
    if (part == 0) part = SCHED_MEMORY_FLOOR;
    return part / 100 * share;
}

void sched_placement_plan(const struct sched_request *r, struct sched_placement *out)
{
    check(r->peers > 0 && r->peer < r->peers && r->devices_count <= SCHED_MAX_DEVICES);
    memset(out, 0, sizeof *out);
    out->memory_bytes = host_memory(r);
    uint32_t from = r->devices_count * r->peer / r->peers, to = r->devices_count * (r->peer + 1) / r->peers;
    const struct sched_limits *l = &r->limits;
    uint32_t share = l->share_percent ? l->share_percent : 100;
    for (uint32_t i = 0; i < r->devices_count; i++) {
        bool mine = l->gpus_named ? l->gpu_named[i] : i >= from && i < to;
        if (!mine || (l->gpus_limited && !l->gpus_named && out->lanes_count >= l->gpus)) continue;
        const struct sched_device *d = &r->devices[i];
        out->lanes[out->lanes_count++] = (struct sched_lane){.gpu = true,
                                                             .device = i,
                                                             .rate = d->rate,
                                                             .threads = 1,
                                                             .memory_bytes = d->memory_bytes / 100 * share,
                                                             .duty_percent = share};
    }
    plan_cpu(r, out);
}

bool sched_lane_equal(const struct sched_lane *a, const struct sched_lane *b)
{
    return a->gpu == b->gpu && a->device == b->device && a->threads == b->threads && a->each_to_one == b->each_to_one &&
           a->nodes == b->nodes && a->memory_bytes == b->memory_bytes && a->duty_percent == b->duty_percent &&
           memcmp(&a->cpus, &b->cpus, sizeof a->cpus) == 0;
}
