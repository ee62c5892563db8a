// What a running process costs, from /proc. One thread.
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct usage {
    uint64_t cpu_ns;   // of all its threads since each began
    uint64_t wakeups;  // how often they waited for something and were woken
    uint64_t rss_bytes;
};

// False where there is no such process.
bool usage_of(pid_t pid, struct usage *out);

#endif
