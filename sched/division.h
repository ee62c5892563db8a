// How the peers of one machine divide its GPUs and cores: the same for whoever computes it. For placement.c alone; the
// rules and what they minimise stand in placement.h.
#ifndef SCHED_DIVISION_H
#define SCHED_DIVISION_H

#include "sched/placement.h"

struct division {
    uint32_t gpus;                      // in `order`
    uint32_t order[SCHED_MAX_DEVICES];  // device indices by memory node, then PCI address
    uint64_t nodes[SCHED_MAX_DEVICES];  // by device index: the memory nodes nearest to it, 0: not known
    uint16_t owner[SCHED_MAX_CPUS];     // by core: the peer that it belongs to
};

// Cores are counted as in topology->cpus, of which the first facts.cores_usable are one of each core. There must be at
// least as many of them as peers.
void division_make(const struct sched_request *r, struct division *out);
// Only the GPUs: order and nodes.
void division_gpus(const struct sched_request *r, struct division *out);
// Distance between a core of memory node `node` and the nearest of `nodes`; 0 where those are not known.
uint32_t division_distance(const struct sched_topology *t, uint32_t node, uint64_t nodes);

// Where a peer's run of cores or of GPUs begins: cores rounded down; GPUs up, so that few GPUs go to the first peers.
static inline uint32_t division_gpus_from(uint32_t whole, uint32_t peer, uint32_t peers)
{
    return (uint32_t)(((uint64_t)whole * peer + peers - 1) / peers);
}

static inline uint32_t division_from(uint32_t whole, uint32_t peer, uint32_t peers)
{
    return (uint32_t)((uint64_t)whole * peer / peers);
}

#endif
