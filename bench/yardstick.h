// Other people's matrix products, opened at run time: yardsticks only. A process chooses their instruction set once,
// before it opens them. One thread.
#ifndef BENCH_YARDSTICK_H
#define BENCH_YARDSTICK_H

#include "bench/bench.h"
#include "hip/device.h"

enum { YARDSTICKS_MAX = 2 };

typedef void yardstick_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                             const float *b, int ldb, float beta, float *c, int ldc);

struct yardstick {
    const char *name;
    void *library;
    yardstick_sgemm *sgemm;
    void (*set_threads)(int n);
};

// Opens OpenBLAS (the system's) and, with --with-peers, MKL (peers_folder() / mkl, or the libmkl_rt.so that MYCEL_MKL
// names), told to use `isa` and no more; says what is missing. Their threads, `threads` in all, are made here: call it
// before this thread is bound to a cpu, which they would inherit. Returns how many there are.
uint32_t yardstick_open(struct bench *b, enum hip_isa isa, uint32_t threads, struct yardstick out[YARDSTICKS_MAX]);

// The same product into `c`. No batch, no `add`.
void yardstick_product(const struct yardstick *yardstick, const struct hip_gemm *g, float *c);

#endif
