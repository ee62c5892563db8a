// `bench step`: a training step of the presets in milliseconds, tokens a second and GFLOP/s, on 1 thread and on 2 (or
// on 1 and --threads).
#ifndef BENCH_STEP_H
#define BENCH_STEP_H

#include "bench/bench.h"

#define BENCH_STEP_PARTS "small baby"

int bench_step(struct bench *b);

#endif
