#include "sched/division.h"

#include <string.h>

#include "core/check.h"
#include "sched/transport.h"

_Static_assert(TRANSPORT_MAX >= SCHED_MAX_DEVICES + SCHED_MAX_NODES, "a source a GPU and a source a home");

uint32_t division_distance(const struct sched_topology *t, uint32_t node, uint64_t nodes)
{
    uint32_t least = nodes ? UINT32_MAX : 0;
    for (uint32_t i = 0; i < t->nodes_count; i++)
        if (nodes >> i & 1 && t->distance[node][i] < least) least = t->distance[node][i];
    return least;
}

// ---- GPUs ----

static uint32_t first_node(uint64_t nodes)
{
    return nodes ? (uint32_t)__builtin_ctzll(nodes) : SCHED_NO_NODE;
}

static bool before(const struct sched_request *r, const struct division *d, uint32_t a, uint32_t b)
{
    uint32_t x = first_node(d->nodes[a]), y = first_node(d->nodes[b]);
    if (x != y) return x < y;
    int order = strcmp(r->devices[a].pci, r->devices[b].pci);
    return order ? order < 0 : a < b;
}

// Nodes near a device, 0 where the machine doesn't say: all of several are no answer.
static uint64_t nodes_of(const struct sched_topology *t, const struct sched_device *device)
{
    const struct sched_pci *pci = sched_topology_pci(t, device->pci);
    bool all = pci && t->nodes_count > 1 && (uint32_t)__builtin_popcountll(pci->nodes) == t->nodes_count;
    return pci && !all ? pci->nodes : 0;
}

void division_gpus(const struct sched_request *r, struct division *out)
{
    out->gpus = r->devices_count;
    for (uint32_t i = 0; i < out->gpus; i++) {
        out->nodes[i] = nodes_of(r->topology, &r->devices[i]);
        uint32_t at = i;
        for (; at > 0 && before(r, out, i, out->order[at - 1]); at--) out->order[at] = out->order[at - 1];
        out->order[at] = i;
    }
}

// ---- cores ----

struct cores {
    uint32_t count[SCHED_MAX_NODES];  // cores of each memory node
    uint32_t next[SCHED_MAX_NODES];   // where its next one to hand out stands in `order`
    uint16_t order[SCHED_MAX_CPUS];   // cores, node after node
};

// Node after node, each in the machine's order; where a machine has several kinds of cores, every peers-th core in
// turn, the fast ones first, so that each peer gets as many of each kind as the others.
static void order_cores(const struct sched_request *r, struct cores *c)
{
    const struct sched_topology *t = r->topology;
    uint32_t used = 0;
    memset(c, 0, sizeof *c);
    for (uint32_t n = 0; n < t->nodes_count; n++) {
        uint16_t here[SCHED_MAX_CPUS];
        uint32_t stride = t->kinds_count > 1 ? r->peers : 1;
        for (uint32_t kind = 0; kind < t->kinds_count; kind++)
            for (uint32_t i = 0; i < t->facts.cores_usable; i++)
                if (t->cpus[i].node == n && t->cpus[i].kind == kind) here[c->count[n]++] = (uint16_t)i;
        c->next[n] = used;
        for (uint32_t start = 0; start < stride; start++)
            for (uint32_t i = start; i < c->count[n]; i += stride) c->order[used++] = here[i];
    }
}

static uint32_t nearest_with_cores(const struct sched_topology *t, const struct cores *c, uint64_t nodes)
{
    uint32_t best = SCHED_NO_NODE;
    for (uint32_t n = 0; n < t->nodes_count; n++) {
        if (!c->count[n]) continue;
        if (best == SCHED_NO_NODE || division_distance(t, n, nodes) < division_distance(t, best, nodes)) best = n;
    }
    return best;
}

struct peer_part {
    uint32_t cores, first_gpu, gpus;  // GPUs that get a core: no more than there are cores
    uint32_t home;
};

static struct peer_part part_of(const struct sched_request *r, const struct division *d, const struct cores *c,
                                uint32_t peer)
{
    const struct sched_topology *t = r->topology;
    uint32_t from = division_from(t->facts.cores_usable, peer, r->peers);
    uint32_t to = division_from(t->facts.cores_usable, peer + 1, r->peers);
    struct peer_part p = {.cores = to - from, .first_gpu = division_gpus_from(d->gpus, peer, r->peers)};
    p.gpus = division_gpus_from(d->gpus, peer + 1, r->peers) - p.first_gpu;
    uint64_t near = p.gpus ? d->nodes[d->order[p.first_gpu]] : 0;
    p.home = near ? nearest_with_cores(t, c, near) : t->cpus[(from + to) / 2].node;
    if (p.gpus > p.cores) p.gpus = p.cores;
    return p;
}

// Sources: the GPUs in their order (0 units where one gets no core), then a home a memory node. Sinks: memory nodes.
static void price(const struct sched_request *r, const struct division *d, const struct cores *c, struct transport *t)
{
    const struct sched_topology *m = r->topology;
    t->sources = d->gpus + m->nodes_count;
    t->sinks = m->nodes_count;
    memset(t->supply, 0, sizeof t->supply);
    for (uint32_t p = 0; p < r->peers; p++) {
        struct peer_part part = part_of(r, d, c, p);
        for (uint32_t g = 0; g < part.gpus; g++) t->supply[part.first_gpu + g] = 1;
        t->supply[d->gpus + part.home] += part.cores - part.gpus;
    }
    for (uint32_t n = 0; n < m->nodes_count; n++) {
        t->capacity[n] = c->count[n];
        for (uint32_t g = 0; g < d->gpus; g++)
            t->cost[g][n] = (int32_t)(SCHED_COST_FAR * division_distance(m, n, d->nodes[d->order[g]]));
        for (uint32_t home = 0; home < m->nodes_count; home++) t->cost[d->gpus + home][n] = m->distance[n][home];
    }
}

static void hand_out(struct cores *c, struct division *d, uint32_t peer, uint32_t node, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) d->owner[c->order[c->next[node]++]] = (uint16_t)peer;
}

void division_make(const struct sched_request *r, struct division *out)
{
    const struct sched_topology *m = r->topology;
    check(m->facts.cores_usable >= r->peers);
    struct cores c;
    struct transport t;
    division_gpus(r, out);
    order_cores(r, &c);
    price(r, out, &c, &t);
    transport_solve(&t);
    for (uint32_t p = 0; p < r->peers; p++) {
        struct peer_part part = part_of(r, out, &c, p);
        for (uint32_t n = 0; n < m->nodes_count; n++)
            for (uint32_t g = 0; g < part.gpus; g++) hand_out(&c, out, p, n, t.flow[part.first_gpu + g][n]);
        uint16_t *of_home = t.flow[out->gpus + part.home];
        uint32_t left = part.cores - part.gpus;
        while (left) {  // of what this home got, the nearest first
            uint32_t best = SCHED_NO_NODE;
            for (uint32_t n = 0; n < m->nodes_count; n++)
                if (of_home[n] && (best == SCHED_NO_NODE || m->distance[n][part.home] < m->distance[best][part.home]))
                    best = n;
            check(best != SCHED_NO_NODE);
            uint32_t take = left < of_home[best] ? left : of_home[best];
            hand_out(&c, out, p, best, take);
            of_home[best] = (uint16_t)(of_home[best] - take);
            left -= take;
        }
    }
}
