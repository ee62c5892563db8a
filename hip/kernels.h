// Every kernel: its arguments and, to the bit, its result. Profile repro-fp32: binary32, round to nearest even,
// subnormals kept, a fused multiply-add only where `fma` stands. Tiling, threads and vector width are free; the bits
// are not.
//
// Words used below:
//   row-reduce(e_0 .. e_n-1)  32 partials from +0, element i goes to partial i mod 32, i ascending (`p = p + e`, or
//                             `p = fma(a, b, p)` where the element is a product a * b); then for h = 16, 8, 4, 2, 1:
//                             p[i] = p[i] + p[i + h] for i < h; the result is p[0].
//   contract(a_k, b_k)        k in chunks [0,512), [512,1024) ... of its absolute index; within a chunk one accumulator
//                             from +0, acc = fma(a_k, b_k, acc), k ascending; the chunks' sums added ascending (the
//                             first is taken as it is). An index that is not visible is left out, a chunk without any
//                             too.
//   start + contract          start takes the place of nothing: ((start + chunk 0) + chunk 1) ...
//   exp, log, silu, ...       hip/math.h.
//
// Matrices are row-major; `ld` is the distance between rows in elements. All addresses are the device's. Outputs must
// not overlap inputs unless said. Tokens are int32 and must lie in range (checked by whoever made them).
#ifndef HIP_KERNELS_H
#define HIP_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HIP_CHUNK        512   // of a contraction
#define HIP_PARTIALS     32    // of a row reduction
#define HIP_TENSOR_ROW   4096  // of a whole tensor's reduction
#define HIP_MAX_CONTEXT  4096
#define HIP_MAX_HEAD_DIM 256

#define HIP_KERNELS(X)                  \
    X(GEMM, gemm)                       \
    X(EMBED, embed)                     \
    X(EMBED_GRAD, embed_grad)           \
    X(NORM, norm)                       \
    X(NORM_GRAD, norm_grad)             \
    X(ROTATE, rotate)                   \
    X(SWIGLU, swiglu)                   \
    X(SWIGLU_GRAD, swiglu_grad)         \
    X(ATTENTION, attention)             \
    X(ATTENTION_GRAD, attention_grad)   \
    X(CROSS_ENTROPY, cross_entropy)     \
    X(ADAMW, adamw)                     \
    X(SUM, sum)                         \
    X(SUM_SQUARES, sum_squares)         \
    X(MAX_ABS, max_abs)                 \
    X(COUNT_NONFINITE, count_nonfinite) \
    X(SCALE, scale)                     \
    X(AXPY, axpy)                       \
    X(QUANTISE, quantise)               \
    X(OUTER_STEP, outer_step)           \
    X(ACCUMULATE, accumulate)           \
    X(WIDEN_ADD, widen_add)             \
    X(NARROW, narrow)

enum hip_kernel {
#define HIP_KERNEL_ENUM(NAME, name) HIP_KERNEL_##NAME,
    HIP_KERNELS(HIP_KERNEL_ENUM)
#undef HIP_KERNEL_ENUM
        HIP_KERNEL_COUNT
};

// C[m, n] = add + op(A)[m, k] op(B)[k, n]; c_ij = add_ij + contract(a_ik, b_kj). op(X) is X, or its transpose where
// asked: then A is stored [k, m] (lda >= m) and B [n, k] (ldb >= k). A linear layer y = x W^T with W [out, in]: a = x,
// b = W, transpose_b, m = rows, n = out, k = in. Its gradients: dx = dy W (no transpose), dW = dy^T x (transpose_a, k =
// rows).
struct hip_gemm {
    uint32_t m, n, k;  // k = 0 gives C = add, or +0
    bool transpose_a, transpose_b;
    const float *a;
    const float *b;
    const float *add;  // starting value, same leading dimension as C; C itself to accumulate; NULL for none
    float *c;
    size_t lda, ldb, ldc;
    uint32_t batch;                       // 0 means 1: so many products, each at the strides below (in elements)
    size_t stride_a, stride_b, stride_c;  // stride_c holds for `add` too
};

// y[i, :] = table[tokens[i], :]. table [vocab, width].
struct hip_embed {
    const int32_t *tokens;  // [rows]
    const float *table;
    float *y;  // [rows, width]
    uint32_t rows, width, vocab;
};

// For i ascending: dtable[tokens[i], :] = dtable[tokens[i], :] + dy[i, :]. With a tied head run the head's gradient
// first.
struct hip_embed_grad {
    const int32_t *tokens;
    const float *dy;  // [rows, width]
    float *dtable;    // [vocab, width], added to
    uint32_t rows, width, vocab;
};

// RMSNorm (arXiv 1910.07467). s = row-reduce(x * x by fma); rstd = 1 / sqrt(s / width + eps); y = (x * rstd) * weight.
struct hip_norm {
    const float *x;       // [rows, width]
    const float *weight;  // [width]
    float *y;             // [rows, width]
    float *rstd;          // [rows], kept for the gradient
    uint32_t rows, width;
    float eps;
};

// t_j = dy_j * weight_j; d = row-reduce(t_j * x_j by fma); c = ((rstd * rstd) * rstd) * (d / width);
// dx_j = add_j + fma(x_j, -c, t_j * rstd)     (without `add`: just the fma).
// dweight_j = contract(dy_ij, x_ij * rstd_i) over rows i, started from dweight_j where `accumulate`.
struct hip_norm_grad {
    const float *dy;      // [rows, width]
    const float *x;       // [rows, width]
    const float *weight;  // [width]
    const float *rstd;    // [rows]
    const float *add;     // [rows, width], or NULL: the residual branch's gradient. May be dx, may be dy's twin, not dy
    float *dx;            // [rows, width]
    float *dweight;       // [width]
    uint32_t rows, width;
    bool accumulate;
};

// Rotary embedding in place on `heads` heads that lie side by side in each row (arXiv 2104.09864, halves as in Llama's
// Hugging Face layout). Row i stands at position first + i mod context. For j < half = head_dim / 2, a = x[j],
// b = x[j + half], c = cos[position, j], s = sin[position, j]:
// x[j] = fma(a, c, -(b * s));  x[j + half] = fma(b, c, a * s).
// `inverse` (the gradient) takes -s for s. Tables are the host's, [>= first + context, half].
struct hip_rotate {
    float *x;  // [rows, heads * head_dim at ld]
    size_t ld;
    const float *cosines;
    const float *sines;
    uint32_t rows, context, first, heads, head_dim;
    bool inverse;
};

// s = 1 / (1 + exp(-gate)); y = (gate * s) * up.
struct hip_swiglu {
    const float *gate;  // [rows, width at ld]; gate and up may be halves of one matrix
    const float *up;    // [rows, width at ld]
    size_t ld;
    float *y;  // [rows, width]
    uint32_t rows, width;
};

// s as above; a = gate * s; dup = dy * a; dgate = (dy * up) * (s * fma(gate, 1 - s, 1)).
// dgate and dup may be gate and up themselves.
struct hip_swiglu_grad {
    const float *dy;    // [rows, width]
    const float *gate;  // at ld
    const float *up;    // at ld
    float *dgate;       // at ld
    float *dup;         // at ld
    size_t ld;
    uint32_t rows, width;
};

// Causal attention for each sequence b and query head h, whose key head is h / (heads / kv_heads). Query i sees the
// keys j <= i:
//   s_ij = scale * contract_d(q_id, k_jd);  e_ij = exp(s_ij - max_j s_ij);
//   p_ij = e_ij / row-reduce_j(e_ij), +0 where j > i (probs);
//   y_id = contract_j(p_ij, v_jd).
struct hip_attention {
    const float *q;   // [batch * context, heads * head_dim at ldq]
    const float *k;   // [batch * context, kv_heads * head_dim at ldk]
    const float *v;   // at ldk
    size_t ldq, ldk;  // q, k and v may lie in one matrix: then both are its row
    float *probs;     // [batch, heads, context, context], kept for the gradient; fast-bf16: anything of that size
    float *y;         // [batch * context, heads * head_dim]
    uint32_t batch, context, heads, kv_heads, head_dim;
    float scale;  // 1 / sqrt(head_dim), the host's
};

// With p from the forward pass:
//   dv_jd = contract_{i >= j}(p_ij, dy_id);
//   g_ij = contract_d(dy_id, v_jd);  r_i = row-reduce_j(p_ij * g_ij by fma);
//   ds_ij = (p_ij * (g_ij - r_i)) * scale, which overwrites probs;
//   dq_id = contract_{j <= i}(ds_ij, k_jd);  dk_jd = contract_{i >= j}(ds_ij, q_id).
// Where query heads share a key head, they are taken ascending and each one's dk and dv contraction starts from what
// the heads before it gave.
struct hip_attention_grad {
    const float *dy;         // [batch * context, heads * head_dim]
    const float *q, *k, *v;  // as above
    float *probs;
    float *dq, *dk, *dv;  // written, at ldq and ldk
    size_t ldq, ldk;
    uint32_t batch, context, heads, kv_heads, head_dim;
    float scale;
    const float *y;  // the forward pass's result: read by fast-bf16 only, which has no probabilities
};

// m = max_j x_j; e_j = exp(x_j - m); z = row-reduce(e_j); losses_i = log(z) - (x_target - m)  (nats);
// dlogits_j = (e_j / z - [j = target]) * scale. A target < 0 leaves its row out: loss +0, gradient +0.
struct hip_cross_entropy {
    const float *logits;     // [rows, vocab]
    const int32_t *targets;  // [rows]
    float *losses;           // [rows]
    float *dlogits;          // [rows, vocab], may be logits; NULL for the loss alone
    uint32_t rows, vocab;
    float scale;  // 1 / rows of the step
};

// AdamW (arXiv 1711.05101). g = grad * grad_scale; m = fma(1 - beta1, g, beta1 * m); v = fma(1 - beta2, g * g, beta2 *
// v); u = (m * correct1) / (sqrt(v * correct2) + eps); p = fma(-rate, u, p * keep). 1 - beta is taken in binary32.
struct hip_adamw {
    float *params, *m, *v;
    const float *grads;
    size_t count;
    float grad_scale;  // of clipping, 1 for none
    float beta1, beta2, eps, rate;
    float keep;                // 1 - rate * weight decay; 1 where the tensor does not decay
    float correct1, correct2;  // 1 / (1 - beta^t), the host's
};

// out[0] = sum of x: rows of 4096 by row-reduce, their results again so, until one is left. count 0 gives +0.
struct hip_sum {
    const float *x;
    float *out;
    size_t count;
};

// The same over x * x (by fma in the first pass; later passes add).
struct hip_sum_squares {
    const float *x;
    float *out;
    size_t count;
};

// out[0] = max |x|, +0 for count 0. With a NaN among x the result is any number: see count_nonfinite.
struct hip_max_abs {
    const float *x;
    float *out;
    size_t count;
};

// out[0] = how many of x are infinite or NaN, saturating at 2^32 - 1.
struct hip_count_nonfinite {
    const float *x;
    uint32_t *out;
    size_t count;
};

// x = x * factor.
struct hip_scale {
    float *x;
    size_t count;
    float factor;
};

// y = fma(alpha, x, y).
struct hip_axpy {
    const float *x;
    float *y;
    size_t count;
    float alpha;
};

// An update to integers, with error feedback (arXiv 1901.09847): t = (before - after) + residual; q = t * 2^-exponent
// rounded to the nearest even integer, saturating at +-limit; residual = (t - q * 2^exponent) * decay. t must be
// finite.
struct hip_quantise {
    const float *before;  // parameters at the round's start
    const float *after;   // and after the inner steps
    float *residual;      // in and out
    int8_t *q;            // out
    size_t count;
    int32_t exponent;  // -120 .. 120: the scale is 2^exponent
    int32_t limit;     // 127 for 8 bits, 7 for 4
    float decay;
};

// Nesterov's outer step from exact sums (DiLoCo, arXiv 2311.08105): g = (float)(((double)sum / (double)weight) *
// 2^exponent); momentum = fma(mu, momentum, g); u = fma(mu, momentum, g); params = fma(-rate, u, params). |sum| < 2^53.
// With mu = 0 momentum may be NULL and u = g.
struct hip_outer_step {
    const int64_t *sums;
    float *params;
    float *momentum;
    float *aggregate;  // out: g, or NULL. Its max_abs sets the next round's scale
    size_t count;
    int64_t weight;  // > 0
    int32_t exponent;
    float rate, mu;
};

// sums = sums + weight * x, exact.
struct hip_accumulate {
    const int8_t *x;
    int64_t *sums;
    size_t count;
    int32_t weight;
};

// sums = sums + x, where x is little-endian two's complement of `bits` (8, 16, 24, 32 or 64), packed without gaps.
struct hip_widen_add {
    const uint8_t *x;
    int64_t *sums;
    size_t count;
    uint32_t bits;
};

// The other way; each sum must fit (else its low bits are kept).
struct hip_narrow {
    const int64_t *sums;
    uint8_t *x;
    size_t count;
    uint32_t bits;
};

#endif
