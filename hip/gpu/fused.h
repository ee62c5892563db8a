// Profile fast-bf16, whose bits are not fixed: attention without its probabilities in memory (Dao et al., arXiv
// 2205.14135, 2307.08691) and the turn to bfloat16.
//
// 256 threads as 16 x 16: thread (ty, tx) holds rows ty, ty + 16, ... of a tile of queries, its columns tx, tx + 16 of
// the scores with 32 keys, and its columns 4 tx .. 4 tx + 3 of what has the head's width (at most 64, zeros beyond).
#ifndef HIP_GPU_FUSED_H
#define HIP_GPU_FUSED_H

#include "hip/gpu_args.h"
#include "hip/gpu/product.h"
#include "hip/gpu/target.h"

#define FUSED_KEYS  32
#define FUSED_DIM   64
#define FUSED_ROW   (FUSED_DIM + 4)   // floats of a row of q, k, v in shared memory
#define FUSED_SCORE (FUSED_KEYS + 4)  // and of a row of scores
#define FUSED_NONE  -1e30f            // the score of what is not visible

struct fused_head {
    size_t q, k, y,
        row;  // where the block's head begins in q and dq, in k, v, dk and dv, in y and dy, in lse and delta
};

GPU_DEVICE fused_head fused_head_of(const gpu_fused &a, uint32_t batch, uint32_t head)
{
    const size_t first = (size_t)batch * a.context, of_keys = head / a.group;
    return {first * a.ldq + (size_t)head * a.dim, first * a.ldk + of_keys * a.dim, first * a.ldy + (size_t)head * a.dim,
            ((size_t)batch * a.heads + head) * a.context};
}

// ROWS rows from `first` on, zeros beyond the context and the head's width.
template <int ROWS>
GPU_DEVICE void fused_load(float *to, const float *p, size_t ld, uint32_t first, uint32_t context, uint32_t dim)
{
    for (uint32_t at = gpu_thread(); at < ROWS * FUSED_DIM; at += GPU_BLOCK) {
        const uint32_t row = at / FUSED_DIM, d = at % FUSED_DIM;
        to[row * FUSED_ROW + d] = first + row < context && d < dim ? p[(size_t)(first + row) * ld + d] : 0.0f;
    }
}

// s[i][j] = dot(a's row ty + 16 i, b's row tx + 16 j).
template <int R> GPU_DEVICE void fused_scores(float (&s)[R][2], const float *a, const float *b)
{
    const uint32_t ty = gpu_thread() / 16, tx = gpu_thread() % 16;
#pragma unroll
    for (int i = 0; i < R; i++) s[i][0] = s[i][1] = 0.0f;
#pragma unroll 4
    for (uint32_t d = 0; d < FUSED_DIM; d += 4) {
        product_four va[R], vb[2];
#pragma unroll
        for (int i = 0; i < R; i++) va[i] = *(const product_four *)(a + (ty + 16 * (uint32_t)i) * FUSED_ROW + d);
#pragma unroll
        for (int j = 0; j < 2; j++) vb[j] = *(const product_four *)(b + (tx + 16 * (uint32_t)j) * FUSED_ROW + d);
#pragma unroll
        for (int i = 0; i < R; i++) {
#pragma unroll
            for (int j = 0; j < 2; j++) {
#pragma unroll
                for (int e = 0; e < 4; e++) s[i][j] = gpu_fma(va[i].v[e], vb[j].v[e], s[i][j]);
            }
        }
    }
}

// out[i] += sum over kk of s[ty + 16 i][kk] * b[kk][4 tx ..].
template <int R> GPU_DEVICE void fused_apply(float (&out)[R][4], const float *s, const float *b)
{
    const uint32_t ty = gpu_thread() / 16, tx = gpu_thread() % 16;
#pragma unroll 2
    for (uint32_t k = 0; k < FUSED_KEYS; k += 4) {
        product_four vs[R];
#pragma unroll
        for (int i = 0; i < R; i++) vs[i] = *(const product_four *)(s + (ty + 16 * (uint32_t)i) * FUSED_SCORE + k);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const product_four vb = *(const product_four *)(b + (k + (uint32_t)e) * FUSED_ROW + 4 * tx);
#pragma unroll
            for (int i = 0; i < R; i++) {
#pragma unroll
                for (int c = 0; c < 4; c++) out[i][c] = gpu_fma(vs[i].v[e], vb.v[c], out[i][c]);
            }
        }
    }
}

// out[r] += sum over the 32 queries i of s[i][ty + 16 r] * b[i][4 tx ..]: the same with s turned.
GPU_DEVICE void fused_apply_turned(float (&out)[2][4], const float *s, const float *b)
{
    const uint32_t ty = gpu_thread() / 16, tx = gpu_thread() % 16;
#pragma unroll 4
    for (uint32_t i = 0; i < 32; i++) {
        const product_four vb = *(const product_four *)(b + i * FUSED_ROW + 4 * tx);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float x = s[i * FUSED_SCORE + ty + 16 * (uint32_t)r];
#pragma unroll
            for (int c = 0; c < 4; c++) out[r][c] = gpu_fma(x, vb.v[c], out[r][c]);
        }
    }
}

template <int R>
GPU_DEVICE void fused_store(float *p, size_t ld, uint32_t first, const gpu_fused &a, const float (&out)[R][4])
{
    const uint32_t ty = gpu_thread() / 16, tx = gpu_thread() % 16;
#pragma unroll
    for (int i = 0; i < R; i++) {
        const uint32_t row = first + ty + 16 * (uint32_t)i;
#pragma unroll
        for (uint32_t c = 0; c < 4; c++)
            if (row < a.context && 4 * tx + c < a.dim) p[(size_t)row * ld + 4 * tx + c] = out[i][c];
    }
}

// y and lse of 64 queries: the keys' tiles one after the other, what was summed rescaled whenever the largest score
// grows.
GPU_KERNEL_SHARED void mycel_fused(gpu_fused a)
{
    enum { QUERIES = 64, R = QUERIES / 16 };
    GPU_SHARED float q[QUERIES * FUSED_ROW], kv[FUSED_KEYS * FUSED_ROW], scores[QUERIES * FUSED_SCORE];
    const uint32_t first = gpu_block_x() * QUERIES, ty = gpu_thread() / 16, tx = gpu_thread() % 16;
    const fused_head at = fused_head_of(a, gpu_block_z(), gpu_block_y());
    float out[R][4], largest[R], sum[R], s[R][2];
#pragma unroll
    for (int i = 0; i < R; i++) {
        largest[i] = FUSED_NONE;
        sum[i] = out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0.0f;
    }
    fused_load<QUERIES>(q, a.q + at.q, a.ldq, first, a.context, a.dim);
    const uint32_t end = first + QUERIES < a.context ? first + QUERIES : a.context;
    for (uint32_t key = 0; key < end; key += FUSED_KEYS) {
        gpu_barrier();
        fused_load<FUSED_KEYS>(kv, a.k + at.k, a.ldk, key, a.context, a.dim);
        gpu_barrier();
        fused_scores<R>(s, q, kv);
#pragma unroll
        for (int i = 0; i < R; i++) {
            const uint32_t row = ty + 16 * (uint32_t)i;
#pragma unroll
            for (uint32_t j = 0; j < 2; j++) {
                const uint32_t column = key + tx + 16 * j;
                s[i][j] = column <= first + row && column < a.context ? s[i][j] * a.scale : FUSED_NONE;
                scores[row * FUSED_SCORE + tx + 16 * j] = s[i][j];
            }
        }
        gpu_barrier();
        fused_load<FUSED_KEYS>(kv, a.v + at.k, a.ldk, key, a.context, a.dim);
        float rescale[R];
#pragma unroll
        for (int i = 0; i < R; i++) {
            float m = largest[i];
            for (uint32_t k = 0; k < FUSED_KEYS; k++) {
                const float x = scores[(ty + 16 * (uint32_t)i) * FUSED_SCORE + k];
                m = x > m ? x : m;
            }
            rescale[i] = gpu_exp(largest[i] - m);
            largest[i] = m;
        }
        gpu_barrier();
#pragma unroll
        for (int i = 0; i < R; i++) {
#pragma unroll
            for (uint32_t j = 0; j < 2; j++)
                scores[(ty + 16 * (uint32_t)i) * FUSED_SCORE + tx + 16 * j] = gpu_exp(s[i][j] - largest[i]);
#pragma unroll
            for (int c = 0; c < 4; c++) out[i][c] *= rescale[i];
            sum[i] *= rescale[i];
        }
        gpu_barrier();
#pragma unroll
        for (int i = 0; i < R; i++)
            for (uint32_t k = 0; k < FUSED_KEYS; k++) sum[i] += scores[(ty + 16 * (uint32_t)i) * FUSED_SCORE + k];
        fused_apply<R>(out, scores, kv);
    }
#pragma unroll
    for (int i = 0; i < R; i++) {
        const uint32_t row = first + ty + 16 * (uint32_t)i;
        if (tx == 0 && row < a.context) a.lse[at.row + row] = largest[i] + gpu_log(sum[i]);
#pragma unroll
        for (int c = 0; c < 4; c++) out[i][c] /= sum[i];
    }
    fused_store<R>(a.y + at.y, a.ldy, first, a, out);
}

// delta[i] = dot(dy_i, y_i), which is the sum over j of p_ij * g_ij.
GPU_KERNEL void mycel_fused_delta(gpu_fused a)
{
    const uint32_t row = gpu_block_x() * GPU_BLOCK + gpu_thread();
    if (row >= a.context) return;
    const fused_head at = fused_head_of(a, gpu_block_z(), gpu_block_y());
    const float *dy = a.dy + at.y + (size_t)row * a.ldy, *y = a.y + at.y + (size_t)row * a.ldy;
    float sum = 0.0f;
    for (uint32_t d = 0; d < a.dim; d++) sum = gpu_fma(dy[d], y[d], sum);
    a.delta[at.row + row] = sum;
}

// p and ds of 32 queries from `first` and 32 keys from `key` on.
GPU_DEVICE void fused_ds(const gpu_fused &a, size_t row0, uint32_t first, uint32_t key, const float *q, const float *k,
                         const float *dy, const float *v, float *probs, float *ds)
{
    const uint32_t ty = gpu_thread() / 16, tx = gpu_thread() % 16;
    float s[2][2], g[2][2];
    fused_scores<2>(s, q, k);
    fused_scores<2>(g, dy, v);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint32_t row = ty + 16 * (uint32_t)i, query = first + row;
#pragma unroll
        for (uint32_t j = 0; j < 2; j++) {
            const uint32_t column = key + tx + 16 * j, to = row * FUSED_SCORE + tx + 16 * j;
            const bool seen = column <= query && query < a.context;
            const float p = seen ? gpu_exp(s[i][j] * a.scale - a.lse[row0 + query]) : 0.0f;
            probs[to] = p;
            ds[to] = seen ? p * (g[i][j] - a.delta[row0 + query]) * a.scale : 0.0f;
        }
    }
}

// dq of 32 queries.
GPU_KERNEL_SHARED void mycel_fused_dq(gpu_fused a)
{
    GPU_SHARED float q[32 * FUSED_ROW], dy[32 * FUSED_ROW], k[32 * FUSED_ROW], v[32 * FUSED_ROW];
    GPU_SHARED float probs[32 * FUSED_SCORE], ds[32 * FUSED_SCORE];
    const uint32_t first = gpu_block_x() * 32;
    const fused_head at = fused_head_of(a, gpu_block_z(), gpu_block_y());
    float out[2][4] = {};
    fused_load<32>(q, a.q + at.q, a.ldq, first, a.context, a.dim);
    fused_load<32>(dy, a.dy + at.y, a.ldy, first, a.context, a.dim);
    const uint32_t end = first + 32 < a.context ? first + 32 : a.context;
    for (uint32_t key = 0; key < end; key += FUSED_KEYS) {
        gpu_barrier();
        fused_load<32>(k, a.k + at.k, a.ldk, key, a.context, a.dim);
        fused_load<32>(v, a.v + at.k, a.ldk, key, a.context, a.dim);
        gpu_barrier();
        fused_ds(a, at.row, first, key, q, k, dy, v, probs, ds);
        gpu_barrier();
        fused_apply<2>(out, ds, k);
    }
    fused_store<2>(a.dq + at.q, a.ldq, first, a, out);
}

// dk and dv of 32 keys, over all query heads that share them.
GPU_KERNEL_SHARED void mycel_fused_dkv(gpu_fused a)
{
    GPU_SHARED float q[32 * FUSED_ROW], dy[32 * FUSED_ROW], k[32 * FUSED_ROW], v[32 * FUSED_ROW];
    GPU_SHARED float probs[32 * FUSED_SCORE], ds[32 * FUSED_SCORE];
    const uint32_t key = gpu_block_x() * FUSED_KEYS;
    float dk[2][4] = {}, dv[2][4] = {};
    const fused_head keys = fused_head_of(a, gpu_block_z(), gpu_block_y() * a.group);
    fused_load<32>(k, a.k + keys.k, a.ldk, key, a.context, a.dim);
    fused_load<32>(v, a.v + keys.k, a.ldk, key, a.context, a.dim);
    for (uint32_t h = 0; h < a.group; h++) {
        const fused_head at = fused_head_of(a, gpu_block_z(), gpu_block_y() * a.group + h);
        for (uint32_t first = key; first < a.context; first += 32) {
            gpu_barrier();
            fused_load<32>(q, a.q + at.q, a.ldq, first, a.context, a.dim);
            fused_load<32>(dy, a.dy + at.y, a.ldy, first, a.context, a.dim);
            gpu_barrier();
            fused_ds(a, at.row, first, key, q, k, dy, v, probs, ds);
            gpu_barrier();
            fused_apply_turned(dv, probs, dy);
            fused_apply_turned(dk, ds, q);
        }
    }
    fused_store<2>(a.dk + keys.k, a.ldk, key, a, dk);
    fused_store<2>(a.dv + keys.k, a.ldk, key, a, dv);
}

// A matrix's elements to bfloat16, to the nearest even, its rows side by side. A NaN stays one.
GPU_KERNEL void mycel_to_bf16(gpu_to_bf16 a)
{
    const size_t at = ((size_t)gpu_block_x() * GPU_BLOCK + gpu_thread()) * 4, row = at / a.columns;
    const uint32_t column = (uint32_t)(at % a.columns);
    if (row >= a.rows) return;
    const product_four x = *(const product_four *)(a.x + row * a.ld + column);
    uint16_t to[4];
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const uint32_t bits = (uint32_t)gpu_bits(x.v[e]);
        const bool nan = (bits & 0x7fffffff) > 0x7f800000;
        to[e] = (uint16_t)(nan ? (bits >> 16) | 64 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
    *(uint64_t *)(a.y + at) = (uint64_t)to[0] | (uint64_t)to[1] << 16 | (uint64_t)to[2] << 32 | (uint64_t)to[3] << 48;
}

#endif
