// `bench kernels`: every other kernel of a training step at the preset `small`, in microseconds a call and bytes a
// second.
#ifndef BENCH_KERNELS_H
#define BENCH_KERNELS_H

#include "bench/bench.h"

int bench_kernels(struct bench *b);

#endif
