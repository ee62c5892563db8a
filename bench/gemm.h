// `bench gemm`: the reproducible matrix product over squares and every product of the presets' training steps (forward,
// input gradient, weight gradient of each layer; the rows of a whole batch, and of one pass where a step takes
// several), on AVX-512 and AVX2, on 1 and 2 threads; beside OpenBLAS where it is there, and MKL with --with-peers.
#ifndef BENCH_GEMM_H
#define BENCH_GEMM_H

#include "bench/bench.h"

#define BENCH_GEMM_SETS   "avx512 avx2 neon"
#define BENCH_GEMM_SHAPES "squares small baby pass"
#define BENCH_GEMM_PARTS  BENCH_GEMM_SETS " " BENCH_GEMM_SHAPES

int bench_gemm(struct bench *b);

#endif
