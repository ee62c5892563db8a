// Binding of the calling thread: the only part of placement that acts.
#include <errno.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sched/placement.h"

// An empty set is every cpu of the machine: what an earlier binding took away is given back.
static enum core_err run_on(const struct sched_topology *t, int thread, const struct sched_cpus *cpus)
{
    bool everywhere = sched_cpus_count(cpus) == 0;
    cpu_set_t set;
    CPU_ZERO(&set);
    for (uint32_t i = 0; i < t->cpus_count; i++) {
        uint32_t cpu = t->cpus[i].os_index;
        if (cpu < CPU_SETSIZE && (everywhere || sched_cpus_has(cpus, cpu))) CPU_SET(cpu, &set);
    }
    return sched_setaffinity(thread, sizeof set, &set) ? CORE_ERR_REFUSED : CORE_ERR_OK;
}

// The kernel's policy is the thread's own; a machine without memory nodes (or a container that forbids the call) has
// nothing to choose.
static enum core_err take_memory_from(const struct sched_topology *t, uint64_t nodes)
{
    enum { BITS = 1024, WORD = 8 * sizeof(unsigned long) };
    unsigned long mask[BITS / WORD] = {0};
    int mode = __builtin_popcountll(nodes) > 1 ? MPOL_INTERLEAVE : MPOL_PREFERRED;
    for (uint32_t i = 0; i < t->nodes_count; i++)
        if (nodes >> i & 1 && t->nodes[i].os_index < BITS)
            mask[t->nodes[i].os_index / WORD] |= 1ul << (t->nodes[i].os_index % WORD);
    if (!nodes) mode = MPOL_DEFAULT;
    long refused = syscall(SYS_set_mempolicy, mode, nodes ? mask : NULL, nodes ? BITS : 0);
    return refused && errno != ENOSYS ? CORE_ERR_REFUSED : CORE_ERR_OK;
}

enum core_err sched_lane_bind(const struct sched_topology *t, const struct sched_lane *lane, uint32_t thread)
{
    uint32_t count = sched_cpus_count(&lane->cpus);
    struct sched_cpus one = {{0}};
    if (count && lane->each_to_one) sched_cpus_add(&one, sched_cpus_at(&lane->cpus, thread % count));
    enum core_err err = run_on(t, 0, lane->each_to_one ? &one : &lane->cpus);
    enum core_err memory = t->nodes_count > 1 ? take_memory_from(t, lane->nodes) : CORE_ERR_OK;
    return err ? err : memory;
}

enum core_err sched_services_bind(const struct sched_topology *t, const struct sched_placement *p, int thread)
{
    return run_on(t, thread, &p->services);
}

void sched_lane_bind_callback(void *binding, uint32_t thread)
{
    const struct sched_lane_binding *b = binding;
    enum core_err err = sched_lane_bind(b->topology, b->lane, thread);
    (void)err;
}
