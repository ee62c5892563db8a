// Inside bench/: one call of `mycel bench`, shared by bench.c and bench_main.c.
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <jansson.h>
#include <stddef.h>

#include "bench/bench.h"

struct bench {
    json_t *rows;  // NULL: text
    uint32_t threads;
    double seconds;
    bool quiet;
    bool full;
    uint32_t seed;
    const char *data;
};

// "CPU model, cpus, caches, memory, kernels": what the figures were measured on.
void bench_hardware(char *line, size_t size);

#endif
