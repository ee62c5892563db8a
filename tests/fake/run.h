// A product as the vendors' libraries are asked for it, by columns: c[m, n] = beta c0 + op(a)[m, k] op(b)[k, n].
struct blas_call {
    uint64_t m, n, k;
    int transpose_a, transpose_b;
    const uint16_t *a, *b;  // bfloat16
    const float *c0;
    float *c;
    int64_t lda, ldb, ldc;
    float beta;
};
void blas_product(const struct blas_call *p);
// Queues it like a launch; the call "product" may be made to fail.
int driver_product(const struct blas_call *product);

// Runs one launch on the calling thread.
#ifndef TESTS_FAKE_RUN_H
#define TESTS_FAKE_RUN_H

#include <stdint.h>

void emulator_launch(uint32_t kernel, const void *args, const unsigned grid[3], unsigned block);

#endif
