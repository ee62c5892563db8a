// The transportation problem: each source's units go to sinks that hold so many, at the least total cost. Exact, by
// successive shortest paths (Busacker and Gowen 1960; Ahuja, Magnanti, Orlin, "Network Flows", 9.7), which is fast
// enough for some hundred units.
#ifndef SCHED_TRANSPORT_H
#define SCHED_TRANSPORT_H

#include <stdint.h>

#define TRANSPORT_MAX 128  // sources, and sinks

struct transport {
    uint32_t sources, sinks;
    uint32_t supply[TRANSPORT_MAX];
    uint32_t capacity[TRANSPORT_MAX];
    int32_t cost[TRANSPORT_MAX][TRANSPORT_MAX];   // of one unit from a source to a sink, at least 0
    uint16_t flow[TRANSPORT_MAX][TRANSPORT_MAX];  // the answer
};

// Fills `flow`. The capacities together must hold the supplies together (a programmer's error otherwise), 65,535 at
// most.
void transport_solve(struct transport *t);

#endif
