// Inside bench/: one call of `mycel bench`, shared by bench.c and bench_main.c.
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <jansson.h>
#include <stddef.h>

#include "bench/bench.h"

enum { BENCH_WORDS_MAX = 8 };

struct bench {
    json_t *rows;  // NULL: text
    uint32_t threads;
    double seconds;
    bool quiet;
    bool full;
    bool with_peers;
    bool table;
    uint32_t seed;
    uint32_t nodes;
    uint32_t runs;
    const char *data;
    const char *words[BENCH_WORDS_MAX];  // what to measure of a benchmark that has parts
    size_t word_count;
};

// "CPU model, cpus, caches, memory, kernels": what the figures were measured on.
void bench_hardware(char *line, size_t size);

#endif
