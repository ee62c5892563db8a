// `bench step`: a training step of the presets in milliseconds, tokens a second and GFLOP/s, on 1 thread and on 2 (or
// on 1 and --threads). With --with-peers on 2 (or --threads) alone, in turns with PyTorch, eager and compiled, and JAX:
// the same shapes, the same optimiser, so the same FLOPs.
#ifndef BENCH_STEP_H
#define BENCH_STEP_H

#include "bench/bench.h"

#define BENCH_STEP_PARTS "small baby"

int bench_step(struct bench *b);

#endif
