// What the machine is and which part of it this process may use: packages, cores and their kinds, caches, memory nodes,
// GPUs on the PCI bus, limits of affinity and cgroups. Read once through hwloc 2 into plain arrays, immutable from then
// on: any thread may read it. It holds no open file and no hwloc tree.
#ifndef SCHED_TOPOLOGY_H
#define SCHED_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

#define SCHED_MAX_CPUS   1024
#define SCHED_MAX_NODES  64
#define SCHED_MAX_PCI    64
#define SCHED_MAX_CACHES 8
#define SCHED_MAX_KINDS  8
#define SCHED_MAX_GROUPS 64  // kinds times nodes; a machine with more counts as one kind
#define SCHED_NO_NODE    UINT32_MAX
#define SCHED_WHY_SIZE   256

// A set of the kernel's cpu numbers.
struct sched_cpus {
    uint64_t bits[SCHED_MAX_CPUS / 64];
};

struct sched_cpu {
    uint32_t os_index;  // the kernel's number
    uint32_t core;      // physical core it belongs to, counted from 0
    uint32_t package;
    uint32_t node;     // index in nodes
    uint32_t kind;     // index in kinds: 0 are the fastest cores
    uint32_t sibling;  // 0: the first thread of its core, 1: the second ...
};

struct sched_node {
    uint32_t os_index;      // the kernel's number
    uint32_t package;       // UINT32_MAX where it belongs to none
    uint32_t cpus;          // usable ones; 0 for memory without cpus
    uint64_t memory_bytes;  // 0: not known
};

struct sched_cache {
    uint32_t level;  // 1 (data), 2, 3
    uint32_t count;
    uint32_t cpus;   // that share one
    uint64_t bytes;  // of one
};

// Cores alike. A laptop's fast and its economical cores are two kinds; on most machines there is one.
struct sched_kind {
    uint32_t cores, cpus;
    uint32_t
        speed;      // a core's, in percent of the fastest kind's: of its frequencies where both are known, else guessed
    char name[32];  // "IntelCore", "IntelAtom", "" where unknown
};

// A GPU, or another processor of AMD's or NVIDIA's, as the PCI bus shows it, with or without a driver.
struct sched_pci {
    char address[16];  // "0000:3b:00.0"
    uint16_t vendor, device, class_id;
    char name[64];           // "NVIDIA 10de:2335" where nobody knows better
    uint64_t nodes;          // memory nodes nearest to it, a bit each; all of them where the machine does not say
    struct sched_cpus near;  // usable cpus nearest to it; all of them where the machine doesn't say
};

struct sched_facts {
    char model[96];                          // "Intel(R) Xeon(R) Processor", "" where unknown
    uint32_t packages, cores, cpus, nodes;   // of the machine
    uint32_t cpus_usable;                    // what affinity and cgroup sets leave
    uint32_t cores_usable;                   // cores with at least one usable cpu
    uint32_t cpus_quota;                     // cgroup's cpu.max rounded up, 0 for none
    uint64_t l1d_bytes, l2_bytes, l3_bytes;  // of one cache, 0 where there is none
    uint64_t memory_bytes;                   // of the machine
    uint64_t memory_limit_bytes;             // cgroup's, 0 for none
};

struct sched_topology {
    struct sched_facts facts;
    uint32_t cpus_count, nodes_count, caches_count, kinds_count, pci_count;
    struct sched_cpu cpus[SCHED_MAX_CPUS];  // usable ones: one of each core first, packages and nodes kept together
    struct sched_node nodes[SCHED_MAX_NODES];
    struct sched_cache caches[SCHED_MAX_CACHES];
    struct sched_kind kinds[SCHED_MAX_KINDS];
    struct sched_pci pci[SCHED_MAX_PCI];
    uint8_t distance[SCHED_MAX_NODES][SCHED_MAX_NODES];  // the firmware's, 10: itself; guessed where it says nothing
};

// This machine, as this process may use it now. CORE_ERR_IO when hwloc can't read it. Cpus and nodes beyond what the
// arrays above hold are left out, here and below.
CORE_MUST_USE enum core_err sched_topology_open(struct sched_topology **out);
// For tests: hwloc's synthetic description ("package:2 core:4 pu:2"). CORE_ERR_MALFORMED when it isn't one.
CORE_MUST_USE enum core_err sched_topology_open_synthetic(const char *description, struct sched_topology **out);
// hwloc's XML of a machine, `size` bytes: a file of ours or of the machine's owner. hwloc does not withstand hostile
// ones (found by fuzzing 2.9.0), so never give it a stranger's. TOO_SHORT when empty, TRUNCATED when cut short,
// MALFORMED, UNKNOWN_VERSION, TOO_LARGE; what is wrong stands in `why` (SCHED_WHY_SIZE bytes, may be NULL).
CORE_MUST_USE enum core_err sched_topology_open_xml(const char *xml, size_t size, struct sched_topology **out,
                                                    char *why);
// The same of the file at `path`, which `why` names; NOT_FOUND or IO where it can't be read.
CORE_MUST_USE enum core_err sched_topology_open_file(const char *path, struct sched_topology **out, char *why);
void sched_topology_close(struct sched_topology *t);

// The memory that this process may count on: the machine's or the cgroup's limit, whichever is less.
uint64_t sched_topology_memory(const struct sched_topology *t);
// The PCI device at `address` ("0000:3b:00.0", case ignored), NULL where there is none.
const struct sched_pci *sched_topology_pci(const struct sched_topology *t, const char *address);

static inline bool sched_cpus_has(const struct sched_cpus *s, uint32_t cpu)
{
    return cpu < SCHED_MAX_CPUS && (s->bits[cpu / 64] >> (cpu % 64) & 1);
}
static inline void sched_cpus_add(struct sched_cpus *s, uint32_t cpu)
{
    if (cpu < SCHED_MAX_CPUS) s->bits[cpu / 64] |= (uint64_t)1 << (cpu % 64);
}
uint32_t sched_cpus_count(const struct sched_cpus *s);
// The number of the `at`-th cpu of the set (from 0, by number), UINT32_MAX where there are fewer.
uint32_t sched_cpus_at(const struct sched_cpus *s, uint32_t at);
// The kernel's list notation, "0-3,8"; cut where it doesn't fit.
void sched_cpus_text(const struct sched_cpus *s, char *out, size_t size);

#endif
