// `bench gemm`: the reproducible matrix product beside OpenBLAS sgemm (opened at run time, a yardstick only), over
// squares and the presets' training shapes, on 1 and 2 threads.
#ifndef BENCH_GEMM_H
#define BENCH_GEMM_H

#include "bench/bench.h"

int bench_gemm(struct bench *b);

#endif
