// Which of the machine's devices, cpus and memory this peer uses, and for what. A pure function of the machine, its
// devices, the owner's limits and which of the host's peers asks: every peer computes the same division and takes its
// own part, so they need not talk.
//
// A lane is one device with the thread that drives it: each GPU of this peer, and the CPU (always the last lane).
//
// 1. Division. GPUs in the order of their memory nodes, then PCI addresses, are cut into equal runs, one a peer (peer p
//    of P: from n*p/P, rounded up, to before n*(p+1)/P), and each peer gets as many cores as any other, or one more
//    (c*p/P to c*(p+1)/P - 1 of them). A core goes to one peer with all its threads. Of all such divisions that one is
//    taken which costs least:
//        sum over peers of (SCHED_COST_FAR * distance of its best cores to its GPUs, a core a GPU as far as it has
//        them)
//                        + (distance of its other cores to its home)
//    where distance is the firmware's between memory nodes (10 to itself, 0 to a GPU of which the machine says
//    nothing), and a peer's home is the node nearest to its first GPU, or without one the node of the core in the
//    middle of its run. Where a machine has several kinds of cores each peer gets its part of every kind.
// 2. Lanes. Each GPU's thread gets a core; of all choices of cores within the part that one is taken which costs least:
//        sum over GPUs of (SCHED_COST_FAR * distance from core to GPU)
//        + SCHED_COST_SHARED for each GPU that is not the first on its core
//        + sum over cores taken of (SCHED_COST_SPEED * its speed in percent)
//    so GPUs share a core only when there are more of them than cores, and economical cores drive GPUs where they are
//    as near. The thread may use all threads of the core.
// 3. The CPU lane computes with one thread a core, since threads that share a core share its vector units, on those of
//    the remaining cores that compute fastest together: work is cut into equal parts, so `n` cores of which the slowest
//    has speed s compute n*s. With no core left (as many GPUs as cores) it uses all of them: it is there for when the
//    GPUs fail.
// 4. The services (loop, sums, disk) get the cpus that no lane computes on: second threads of cores, economical cores
//    that the CPU lane had no use for; where there are none and the CPU lane has at least SCHED_SERVICE_CORES cores,
//    one core in SCHED_SERVICE_CORES that it gives up; else all cpus of the part.
// 5. Memory: of a GPU's thread the nodes nearest to the GPU, of the CPU lane the nodes of its cores.
// 6. Limits cut the part after 1, which others compute too and don't know of them: share_percent keeps that part of the
//    cores, rounded up; cpus that many cpus, one of each core first. Cores of GPUs' threads are kept before others.
//
// tests/unit/sched/placement_best.c compares 1 to 3 with the best of all by exhaustive search.
#ifndef SCHED_PLACEMENT_H
#define SCHED_PLACEMENT_H

#include "sched/topology.h"

#define SCHED_MAX_DEVICES 64
#define SCHED_MAX_LANES   (SCHED_MAX_DEVICES + 1)
#define SCHED_MAX_THREADS 256  // of the CPU lane
#define SCHED_ALL         UINT32_MAX

enum {
    SCHED_COST_FAR = 100,         // a tick of distance between a GPU and its thread
    SCHED_COST_SHARED = 1000000,  // two GPUs driven from one core: more than any distance
    SCHED_COST_SPEED = 1,
    SCHED_SERVICE_CORES = 16,
};

// A GPU that works, as hip found it. Those that don't are not given.
struct sched_device {
    char name[16];  // "nvidia:0"
    char pci[16];   // "0000:3b:00.0", "" where not known
    uint64_t memory_bytes;
    double rate;  // measured, GFLOP/s; 0: not yet
};

// What the machine's owner allows; see sched/limits.h to read and check them. Zeroed is: everything.
struct sched_limits {
    uint32_t cpus;                      // cpus at most, 0: all
    uint64_t memory_bytes;              // of the host, 0: see sched_placement.memory_bytes
    bool gpus_limited;                  // false: all of this peer's part
    uint32_t gpus;                      // where limited and not named: this many of its part
    bool gpus_named;                    // exactly those of gpu_named, whoever's part they are
    bool gpu_named[SCHED_MAX_DEVICES];  // by index of the devices
    uint32_t share_percent;             // 1..100 of what is left by the others, 0: 100
};

struct sched_request {
    const struct sched_topology *topology;
    const struct sched_device *devices;  // devices_count <= SCHED_MAX_DEVICES; may be NULL when 0
    uint32_t devices_count;
    struct sched_limits limits;
    uint32_t peer, peers;  // this peer's number among those of the host; peer < peers
    double cpu_rate;       // measured, GFLOP/s of the whole CPU lane; 0: not yet
};

struct sched_lane {
    bool gpu;
    uint32_t device;         // index of the devices, where gpu
    double rate;             // as given; 0: not measured
    uint32_t threads;        // compute threads: 1 for a GPU
    bool each_to_one;        // thread i is bound to the i-th of `cpus` (modulo their number); else each to all of them
    struct sched_cpus cpus;  // empty: not bound
    uint64_t nodes;          // memory nodes to take memory from, a bit a node of the topology; 0: wherever
    uint64_t memory_bytes;   // what the work may use of the device's own memory; for the CPU the peer's memory_bytes
    uint32_t duty_percent;   // of a GPU's time, 1..100; 100 for the CPU, whose share is in its cpus
};

struct sched_placement {
    uint32_t lanes_count;  // at least 1
    struct sched_lane lanes[SCHED_MAX_LANES];
    struct sched_cpus services;  // for loop, sums and disk; empty: not bound
    uint32_t cpus;               // that this peer uses in all, at most the limits'
    uint64_t memory_bytes;  // of the host: the owner's limit, else half of what the host's peers are to share, divided
                            // among them (but SCHED_MEMORY_FLOOR each, if half of all has that much)
};

#define SCHED_MEMORY_FLOOR ((uint64_t)1 << 30)

// Fills all of `out` (some 10 KiB). A machine with fewer cores than peers, or under a cgroup's quota of cpu time,
// leaves the CPU lane and the services unbound: the kernel's scheduler balances them.
void sched_placement_plan(const struct sched_request *r, struct sched_placement *out);

bool sched_lane_equal(const struct sched_lane *a, const struct sched_lane *b);

// ---- binding, at run time ----

// The calling thread runs on its cpus (on all of the machine where the lane isn't bound) and takes its memory from the
// lane's nodes from now on (pages touched before stay where they are): preferred with one node, interleaved with
// several. Threads that it starts inherit both. REFUSED when the kernel won't: slower, not wrong.
CORE_MUST_USE enum core_err sched_lane_bind(const struct sched_topology *t, const struct sched_lane *lane,
                                            uint32_t thread);
// The same of a service's thread: the kernel's number (gettid), 0 for the calling one.
CORE_MUST_USE enum core_err sched_services_bind(const struct sched_topology *t, const struct sched_placement *p,
                                                int thread);

// As hip_options.bind wants it: context is a struct sched_lane_binding. A refusal is ignored.
struct sched_lane_binding {
    const struct sched_topology *topology;
    const struct sched_lane *lane;
};
void sched_lane_bind_callback(void *binding, uint32_t thread);

#endif
