// Arguments of the GPU's kernels: those of hip/kernels.h that one launch can do come as they are; the others are made
// of the parts below (hip/gpu_plan.c says which). Read by the host's C and by the kernels' C++ alike.
#ifndef HIP_GPU_ARGS_H
#define HIP_GPU_ARGS_H

#include "hip/kernels.h"

#define GPU_BLOCK 256  // threads of every launch

// Which part of a product counts.
enum gpu_limit {
    GPU_ALL,
    GPU_SCORES,  // only c[i, j] with j <= i are wanted; others may be left as they are or hold anything
    GPU_LOWER,   // only k <= i takes part
    GPU_UPPER,   // only k >= i
};

// c[i, j] = start + contract(a(i, k), b(k, j)) of hip/kernels.h, a(i, k) at a[i * a_row + k * a_k], b(k, j) at
// b[k * b_k + j * b_column], one of each pair of strides being 1. So many products as the launch has layers: layer z is
// (z / inner, z % inner) at these strides.
struct gpu_product {
    const float *a;
    const float *b;
    const float *add;  // start, laid out like c; NULL: none
    float *c;
    size_t a_row, a_k, b_k, b_column, ldc;
    uint32_t m, n, k;
    uint32_t limit;  // enum gpu_limit
    uint32_t inner;
    uint32_t first;  // layer of the launch's first
    size_t a_outer, a_inner, b_outer, b_inner, c_outer, c_inner;
};

// Rows of scores [layers, context, context] to probabilities, in place (hip_attention).
struct gpu_softmax {
    float *scores;
    uint32_t context;
    size_t rows;  // layers * context
    float scale;
    size_t outer, layer;  // distance of a sequence's and of a head's scores, in rows of `context`
    uint32_t inner;       // heads that the launch takes of each sequence
};

// ds from p (replaced) and g.
struct gpu_softmax_grad {
    float *probs;
    const float *g;
    uint32_t context;
    size_t rows;
    float scale;
    size_t outer, layer;  // of probs; g is [layers, context, context] without gaps
    uint32_t inner;
};

// dweight: partial[chunk, j] = the contraction's chunk; then their sum.
struct gpu_norm_weight {
    const float *dy, *x, *rstd;
    float *partial;  // [chunks, width]
    float *dweight;
    uint32_t rows, width, chunks;
    bool accumulate;
};

// out[r] = row-reduce of x[r * 4096 ..], or of its squares.
struct gpu_reduce {
    const float *x;
    float *out;
    size_t count;
    bool squares;
};

// One number a block of 256 * GPU_SPAN elements.
#define GPU_SPAN 64
struct gpu_largest {
    const float *x;
    float *out;
    size_t count;
};
struct gpu_nonfinite {
    const float *x;
    uint64_t *counts;  // one a block
    uint32_t *out;     // second pass: their sum, saturated
    size_t count;      // of x, or of counts
};

// Attention of profile fast-bf16, head_dim at most 64: `lse` is each row's log of its sum of exponentials, `delta` the
// dot product of dy and y, both [batch, heads, context].
#define GPU_FUSED_DIM 64
struct gpu_fused {
    const float *q, *k, *v, *dy;
    float *y, *lse, *delta, *dq, *dk, *dv;
    size_t ldq, ldk, ldy;
    uint32_t context, heads, group, dim;  // group: query heads of one key head
    float scale;
};

// y[rows, columns] = x[rows, columns at ld] in bfloat16; columns and ld are multiples of 4.
struct gpu_to_bf16 {
    const float *x;
    uint16_t *y;
    size_t rows, ld;
    uint32_t columns;
};

#define GPU_KERNELS(X)                  \
    X(product_large, gpu_product)       \
    X(product_small, gpu_product)       \
    X(product_any, gpu_product)         \
    X(softmax, gpu_softmax)             \
    X(softmax_grad, gpu_softmax_grad)   \
    X(embed, hip_embed)                 \
    X(embed_grad, hip_embed_grad)       \
    X(norm, hip_norm)                   \
    X(norm_grad, hip_norm_grad)         \
    X(norm_weight, gpu_norm_weight)     \
    X(norm_weight_sum, gpu_norm_weight) \
    X(rotate, hip_rotate)               \
    X(swiglu, hip_swiglu)               \
    X(swiglu_grad, hip_swiglu_grad)     \
    X(cross_entropy, hip_cross_entropy) \
    X(adamw, hip_adamw)                 \
    X(reduce, gpu_reduce)               \
    X(largest, gpu_largest)             \
    X(nonfinite, gpu_nonfinite)         \
    X(nonfinite_sum, gpu_nonfinite)     \
    X(scale, hip_scale)                 \
    X(axpy, hip_axpy)                   \
    X(quantise, hip_quantise)           \
    X(outer_step, hip_outer_step)       \
    X(accumulate, hip_accumulate)       \
    X(widen_add, hip_widen_add)         \
    X(narrow, hip_narrow)               \
    X(fused, gpu_fused)                 \
    X(fused_delta, gpu_fused)           \
    X(fused_dq, gpu_fused)              \
    X(fused_dkv, gpu_fused)             \
    X(to_bf16, gpu_to_bf16)

enum gpu_kernel {
#define GPU_KERNEL_ENUM(name, args) GPU_##name,
    GPU_KERNELS(GPU_KERNEL_ENUM)
#undef GPU_KERNEL_ENUM
        GPU_KERNEL_COUNT
};

#endif
