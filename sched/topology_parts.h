// From hwloc's tree to plain arrays; for topology.c alone.
#ifndef SCHED_TOPOLOGY_PARTS_H
#define SCHED_TOPOLOGY_PARTS_H

#include <hwloc.h>

#include "sched/topology.h"

// Fills `t` (zeroed) but for the cgroup's limits. `here`: the tree is this machine's, so this process's affinity
// counts.
CORE_MUST_USE enum core_err topology_extract(hwloc_topology_t tree, bool here, struct sched_topology *t);

#endif
