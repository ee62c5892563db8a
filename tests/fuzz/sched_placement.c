// Bytes as a machine, its devices, the owner's limits and a peer of many: placement answers, every lane lies within the
// machine and the limits, and no two peers get the same core or GPU. (hwloc's loader of XML is not fuzzed: it does not
// withstand hostile files, and gets none but the owner's own.)
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "sched/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static uint32_t take(struct input *in, uint32_t below)
{
    uint32_t value = 0;
    for (int i = 0; i < 2 && in->size; i++, in->size--) value = value << 8 | *in->data++;
    return value % below;
}

static void take_nodes(struct input *in, struct sched_topology *t)
{
    t->nodes_count = 1 + take(in, SCHED_MAX_NODES);
    t->kinds_count = 1 + take(in, SCHED_MAX_KINDS);
    if (t->nodes_count * t->kinds_count > SCHED_MAX_GROUPS) t->kinds_count = 1;
    for (uint32_t i = 0; i < t->kinds_count; i++) t->kinds[i].speed = 1 + take(in, 100);
    for (uint32_t i = 0; i < t->nodes_count; i++) {
        t->nodes[i].os_index = i;
        for (uint32_t j = 0; j < t->nodes_count; j++) t->distance[i][j] = (uint8_t)(i == j ? 10 : 10 + take(in, 246));
    }
    t->facts.memory_bytes = (uint64_t)take(in, 65536) << 26;
    t->facts.memory_limit_bytes = (uint64_t)take(in, 65536) << 20;
}

static void take_cores(struct input *in, struct sched_topology *t)
{
    uint32_t siblings = 1 + take(in, 4), cores = 1 + take(in, SCHED_MAX_CPUS / siblings);
    for (uint32_t i = 0; i < cores * siblings; i++) {
        struct sched_cpu c = {.os_index = i, .core = i % cores, .sibling = i / cores};
        c.node = c.sibling ? t->cpus[c.core].node : take(in, t->nodes_count);
        c.kind = c.sibling ? t->cpus[c.core].kind : take(in, t->kinds_count);
        t->nodes[c.node].cpus++;
        t->cpus[t->cpus_count++] = c;
    }
    t->facts.cores_usable = cores;
    t->facts.cpus_quota = take(in, 4) ? 0 : take(in, 64);
}

static void take_devices(struct input *in, struct sched_topology *t, struct sched_device *devices)
{
    t->pci_count = take(in, SCHED_MAX_PCI + 1);
    for (uint32_t i = 0; i < t->pci_count; i++) {
        snprintf(t->pci[i].address, sizeof t->pci[i].address, "0000:%02x:00.0", take(in, 256));
        for (uint32_t n = take(in, 3) + 1; n; n--) t->pci[i].nodes |= (uint64_t)1 << take(in, t->nodes_count);
        snprintf(devices[i].pci, sizeof devices[i].pci, "0000:%02x:00.0", take(in, 256));
        snprintf(devices[i].name, sizeof devices[i].name, "gpu:%u", i);
        devices[i].memory_bytes = (uint64_t)take(in, 65536) << 24;
    }
}

static void check_plan(const struct sched_request *r, uint8_t *used, uint8_t *lanes)
{
    struct sched_placement p;
    sched_placement_plan(r, &p);
    check(p.lanes_count >= 1 && p.lanes_count <= r->devices_count + 1);
    uint8_t mine[SCHED_MAX_CPUS] = {0};
    uint32_t cpus = 0;
    for (uint32_t i = 0; i < p.lanes_count; i++) {
        const struct sched_lane *lane = &p.lanes[i];
        check(lane->threads >= 1 && lane->threads <= SCHED_MAX_THREADS && lane->gpu == (i + 1 < p.lanes_count));
        check(lane->duty_percent >= 1 && lane->duty_percent <= 100);
        if (lane->gpu) check(lane->device < r->devices_count && !lanes[lane->device]++);
        check(r->topology->nodes_count == 64 || lane->nodes >> r->topology->nodes_count == 0);
    }
    if (!p.lanes[p.lanes_count - 1].each_to_one) return;  // unbound: cpus are nobody's own
    for (uint32_t c = 0; c < SCHED_MAX_CPUS; c++) {
        mine[c] = sched_cpus_has(&p.services, c);
        for (uint32_t i = 0; i < p.lanes_count; i++) mine[c] |= sched_cpus_has(&p.lanes[i].cpus, c);
        check(!mine[c] || (c < r->topology->cpus_count && !used[c]));
        used[c] |= mine[c];
        cpus += mine[c];
    }
    check(cpus == p.cpus && cpus >= 1 && (!r->limits.cpus || cpus <= r->limits.cpus));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    static struct sched_topology t;
    struct sched_device devices[SCHED_MAX_DEVICES] = {0};
    uint8_t used[SCHED_MAX_CPUS] = {0}, lanes[SCHED_MAX_DEVICES] = {0};
    memset(&t, 0, sizeof t);
    struct sched_request r = {.topology = &t, .devices = devices};
    r.peers = 1 + take(&in, take(&in, 8) ? 8 : 300);
    r.limits.cpus = take(&in, 3) ? 0 : take(&in, 300);
    r.limits.share_percent = take(&in, 101);
    r.limits.gpus_limited = take(&in, 4) == 0;
    r.limits.gpus = take(&in, 8);
    take_nodes(&in, &t);
    take_cores(&in, &t);
    take_devices(&in, &t, devices);
    r.devices_count = t.pci_count;
    uint32_t tried = r.peers < 8 ? r.peers : 8;  // enough of them to catch two with the same part
    for (uint32_t i = 0; i < tried; i++) {
        r.peer = i * r.peers / tried;
        check_plan(&r, used, lanes);
    }
    return 0;
}
