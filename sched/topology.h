// What the machine is and which of it this process may use: packages, cores, caches, memory nodes, cpus. A thin layer
// over hwloc 2, loaded once; immutable afterwards, so any thread may read it.
#ifndef SCHED_TOPOLOGY_H
#define SCHED_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

#define SCHED_MAX_CPUS  1024
#define SCHED_MAX_NODES 64

struct sched_topology;

struct sched_cpu {
    uint32_t os_index;  // the kernel's number
    uint32_t core;      // physical core it belongs to, counted from 0
    uint32_t package;
    uint32_t node;  // memory node, hwloc's logical number
};

struct sched_facts {
    char model[96];  // "Intel(R) Xeon(R) Processor", "" where unknown
    uint32_t packages, cores, cpus, nodes;
    uint32_t cpus_usable;                    // what affinity and cgroup sets leave
    uint32_t cpus_quota;                     // cgroup's cpu.max rounded up, 0 for none
    uint64_t l1d_bytes, l2_bytes, l3_bytes;  // of one cache, 0 where there is none
    uint64_t memory_bytes;
};

// This machine. CORE_ERR_IO when hwloc can't read it.
CORE_MUST_USE enum core_err sched_topology_open(struct sched_topology **out);
// For tests: hwloc's synthetic description ("package:2 core:4 pu:2") or its XML. CORE_ERR_MALFORMED when it isn't one.
CORE_MUST_USE enum core_err sched_topology_open_synthetic(const char *description, struct sched_topology **out);
CORE_MUST_USE enum core_err sched_topology_open_xml(const char *xml, size_t size, struct sched_topology **out);
void sched_topology_close(struct sched_topology *t);

void sched_topology_facts(const struct sched_topology *t, struct sched_facts *out);

// The usable cpus, one of each core first (then the cores' second threads), packages kept together. Returns how many
// there are, at most `capacity` of them written.
uint32_t sched_topology_cpus(const struct sched_topology *t, struct sched_cpu *out, uint32_t capacity);

#endif
