// From hwloc's tree to plain arrays; for topology.c alone.
#ifndef SCHED_TOPOLOGY_PARTS_H
#define SCHED_TOPOLOGY_PARTS_H

#include <hwloc.h>

#include "sched/topology.h"

// Fills `t` (zeroed) but for the cgroup's limits. `here`: the tree is this machine's, so this process's affinity
// counts.
CORE_MUST_USE enum core_err topology_extract(hwloc_topology_t tree, bool here, struct sched_topology *t);
// Is a PCI device of this vendor and class (two bytes: 0x0302) a processor that we may compute on?
bool topology_is_gpu(unsigned vendor, unsigned class_id);

#endif
