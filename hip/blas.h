// Inside hip/: the vendor's matrix products in bfloat16 (cuBLASLt, hipBLASLt), opened at run time; for profile
// fast-bf16. Both libraries have the same calls under two sets of names, but for the numbers of some constants.
#ifndef HIP_BLAS_H
#define HIP_BLAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

#define BLAS_WORKSPACE ((size_t)32 << 20)  // bytes that a product may use besides

struct blas;

// C[m, n] = add + op(A)[m, k] op(B)[k, n], row-major, sums in fp32; op as in hip_gemm. Addresses are the device's.
struct blas_product {
    uint32_t m, n, k;
    bool transpose_a, transpose_b;
    const uint16_t *a, *b;
    const float *add;  // laid out like c, may be c; or NULL
    float *c;
    size_t lda, ldb, ldc;
};

// For the calling thread's current device. MYCEL_CUBLASLT_LIBRARY and MYCEL_HIPBLASLT_LIBRARY name another file.
// NOT_FOUND: no such library here; UNSUPPORTED: it lacks a call, or does not start. NO_MEMORY.
CORE_MUST_USE enum core_err blas_open(bool amd, struct blas **out);
void blas_close(struct blas *b);
// Queues the product on the driver's stream; `workspace` of BLAS_WORKSPACE bytes is its own until it is done. False
// where the library has nothing for it: nothing was queued then.
CORE_MUST_USE bool blas_run(struct blas *b, const struct blas_product *p, void *workspace, void *stream);

#endif
