// Seeds over several processes: each runs every n-th, results come back through pipes and are handed on in order, so
// that the output does not depend on how many there are. A process that dies costs the seed that it was at, no other.
#ifndef TOOLS_SIM_JOBS_H
#define TOOLS_SIM_JOBS_H

#include <stddef.h>
#include <stdint.h>

struct jobs {
    uint64_t count;    // seeds, by index
    uint32_t workers;  // 1: in this process
    size_t size;       // bytes of a result
    void (*run)(void *context, uint64_t index, void *result);
    // NULL: the process died on it.
    void (*take)(void *context, uint64_t index, const void *result);
    void *context;
};

enum { JOBS_WORKERS_MAX = 64 };

void jobs_run(const struct jobs *jobs);

#endif
