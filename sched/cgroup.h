// What the control groups that this process is in allow it: cpu time and memory, of versions 1 and 2. Cpu and node sets
// are not read here: the kernel cuts the affinity by them, and hwloc reads them.
#ifndef SCHED_CGROUP_H
#define SCHED_CGROUP_H

#include <stdint.h>

struct sched_cgroup {
    uint32_t cpus;          // cpu time in whole cpus, rounded up; 0: no limit
    uint64_t memory_bytes;  // 0: no limit
};

// The least of what the process's groups and those above them say. `root` is "" for this machine, a folder that holds
// proc/self/cgroup and sys/fs/cgroup for tests. What is missing or unreadable is no limit.
void sched_cgroup_read(const char *root, struct sched_cgroup *out);
// The same of process `pid`; 0: this one.
void sched_cgroup_read_of(const char *root, int pid, struct sched_cgroup *out);

#endif
