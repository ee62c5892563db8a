// The tiled product: a block of 256 threads makes a tile of BM x BN, each thread TM x TN of it, from slices of A and B
// in shared memory. An output has one accumulator in a chunk of 512 of k, taken in ascending order; chunks' sums are
// added through C itself, which only its own thread touches.
#ifndef HIP_GPU_PRODUCT_H
#define HIP_GPU_PRODUCT_H

#include "hip/gpu_args.h"
#include "hip/gpu/target.h"

#define PRODUCT_DEPTH 16

// The next slice in registers: loaded while the present one is used.
template <int EACH> struct product_slice {
    float value[EACH];
};

// Elements [first, first + LENGTH) x [k, k + 16) of a matrix with strides `step` and `k_step`; beyond its ends, `pad`.
template <int LENGTH>
GPU_DEVICE void slice_load(product_slice<LENGTH / 16> &to, const float *p, size_t step, size_t k_step, uint32_t first,
                           uint32_t length, uint32_t k, uint32_t k_end, float pad)
{
    const uint32_t t = gpu_thread();
    const bool along_k = k_step == 1;
#pragma unroll
    for (int e = 0; e < LENGTH / 16; e++) {
        uint32_t at = t + GPU_BLOCK * (uint32_t)e;
        uint32_t i = along_k ? at / PRODUCT_DEPTH : at % LENGTH, d = along_k ? at % PRODUCT_DEPTH : at / LENGTH;
        bool inside = first + i < length && k + d < k_end;
        to.value[e] = inside ? p[(size_t)(first + i) * step + (size_t)(k + d) * k_step] : pad;
    }
}

template <int LENGTH> GPU_DEVICE void slice_store(const product_slice<LENGTH / 16> &from, float *shared, size_t k_step)
{
    const uint32_t t = gpu_thread();
    const bool along_k = k_step == 1;
#pragma unroll
    for (int e = 0; e < LENGTH / 16; e++) {
        uint32_t at = t + GPU_BLOCK * (uint32_t)e;
        uint32_t i = along_k ? at / PRODUCT_DEPTH : at % LENGTH, d = along_k ? at % PRODUCT_DEPTH : at / LENGTH;
        shared[d * (LENGTH + 4) + i] = from.value[e];
    }
}

// Row (or column) number i of a thread's T, of a tile of LENGTH: groups of four, so that shared memory is read in fours
// by neighbours.
template <int LENGTH, int T> GPU_DEVICE uint32_t product_place(uint32_t who, int i)
{
    return (uint32_t)(i / 4) * (LENGTH / (T / 4)) + who * 4 + (uint32_t)(i % 4);
}

// One slice. PARTLY: at the diagonal, where each row sees its own part of k.
template <int BM, int BN, int TM, int TN, bool PARTLY>
GPU_DEVICE void product_multiply(float (&acc)[TM][TN], const float *a, const float *b, uint32_t ty, uint32_t tx,
                                 uint32_t limit, uint32_t row0, uint32_t k)
{
#pragma unroll PARTLY ? 1 : 2
    for (uint32_t d = 0; d < PRODUCT_DEPTH; d++) {
        float va[TM], vb[TN];
#pragma unroll
        for (int i = 0; i < TM; i++) va[i] = a[d * (BM + 4) + product_place<BM, TM>(ty, i)];
#pragma unroll
        for (int j = 0; j < TN; j++) vb[j] = b[d * (BN + 4) + product_place<BN, TN>(tx, j)];
#pragma unroll
        for (int i = 0; i < TM; i++) {
            const uint32_t row = row0 + product_place<BM, TM>(ty, i);
            const bool seen = !PARTLY || (limit == GPU_LOWER ? k + d <= row : k + d >= row);
#pragma unroll
            for (int j = 0; j < TN; j++) acc[i][j] = seen ? gpu_fma(va[i], vb[j], acc[i][j]) : acc[i][j];
        }
    }
}

template <int BM, int BN, int TM, int TN>
GPU_DEVICE void product(const gpu_product &g, float (*shared_a)[PRODUCT_DEPTH * (BM + 4)],
                        float (*shared_b)[PRODUCT_DEPTH * (BN + 4)])
{
    const uint32_t row0 = gpu_block_y() * BM, column0 = gpu_block_x() * BN;
    const uint32_t z = g.first + gpu_block_z();
    if (g.limit == GPU_SCORES && column0 >= row0 + BM) return;
    const size_t outer = z / g.inner, inner = z % g.inner;
    const float *a = g.a + outer * g.a_outer + inner * g.a_inner;
    const float *b = g.b + outer * g.b_outer + inner * g.b_inner;
    const size_t at_c = outer * g.c_outer + inner * g.c_inner;
    const float *add = g.add ? g.add + at_c : nullptr;
    float *c = g.c + at_c;
    const uint32_t ty = gpu_thread() / (BN / TN), tx = gpu_thread() % (BN / TN);
    // No row of the tile sees a k outside [from, to).
    const uint32_t from = g.limit == GPU_UPPER ? row0 / PRODUCT_DEPTH * PRODUCT_DEPTH : 0;
    const uint32_t to = g.limit == GPU_LOWER && row0 + BM < g.k ? row0 + BM : g.k;
    for (uint32_t k = from; k < to;) {
        const uint32_t chunk = k / HIP_CHUNK * HIP_CHUNK, end = chunk + HIP_CHUNK < to ? chunk + HIP_CHUNK : to;
        float acc[TM][TN];
#pragma unroll
        for (int i = 0; i < TM; i++) {
#pragma unroll
            for (int j = 0; j < TN; j++) acc[i][j] = 0.0f;
        }
        product_slice<BM / 16> next_a;
        product_slice<BN / 16> next_b;
        uint32_t side = 0;
        // Beyond the end a is +0 and b -0: adding their product, -0, changes no accumulator's bits.
        slice_load<BM>(next_a, a, g.a_row, g.a_k, row0, g.m, k, end, 0.0f);
        slice_load<BN>(next_b, b, g.b_column, g.b_k, column0, g.n, k, end, -0.0f);
        for (; k < end; k += PRODUCT_DEPTH, side ^= 1) {
            slice_store<BM>(next_a, shared_a[side], g.a_k);
            slice_store<BN>(next_b, shared_b[side], g.b_k);
            gpu_barrier();
            if (k + PRODUCT_DEPTH < end) {
                slice_load<BM>(next_a, a, g.a_row, g.a_k, row0, g.m, k + PRODUCT_DEPTH, end, 0.0f);
                slice_load<BN>(next_b, b, g.b_column, g.b_k, column0, g.n, k + PRODUCT_DEPTH, end, -0.0f);
            }
            const bool partly =
                (g.limit == GPU_LOWER && k + PRODUCT_DEPTH > row0 + 1) || (g.limit == GPU_UPPER && k < row0 + BM);
            if (partly)
                product_multiply<BM, BN, TM, TN, true>(acc, shared_a[side], shared_b[side], ty, tx, g.limit, row0, k);
            else
                product_multiply<BM, BN, TM, TN, false>(acc, shared_a[side], shared_b[side], ty, tx, g.limit, row0, k);
        }
        gpu_barrier();  // the next chunk fills the first side again
#pragma unroll
        for (int i = 0; i < TM; i++) {
            const uint32_t row = row0 + product_place<BM, TM>(ty, i);
            if (row >= g.m) continue;
            // A chunk of which the row sees nothing is left out.
            if ((g.limit == GPU_LOWER && chunk > row) || (g.limit == GPU_UPPER && chunk + HIP_CHUNK <= row)) continue;
            const bool first = g.limit == GPU_UPPER ? chunk == row / HIP_CHUNK * HIP_CHUNK : chunk == 0;
#pragma unroll
            for (int j = 0; j < TN; j++) {
                const uint32_t column = column0 + product_place<BN, TN>(tx, j);
                if (column >= g.n) continue;
                const size_t at = (size_t)row * g.ldc + column;
                c[at] = !first ? c[at] + acc[i][j] : add ? add[at] + acc[i][j] : acc[i][j];
            }
        }
    }
    if (g.k) return;
#pragma unroll
    for (int i = 0; i < TM; i++) {
#pragma unroll
        for (int j = 0; j < TN; j++) {
            const uint32_t row = row0 + product_place<BM, TM>(ty, i), column = column0 + product_place<BN, TN>(tx, j);
            const size_t at = (size_t)row * g.ldc + column;
            if (row < g.m && column < g.n) c[at] = add ? add[at] : 0.0f;
        }
    }
}

GPU_KERNEL void mycel_product_large(gpu_product g)
{
    GPU_SHARED float a[2][PRODUCT_DEPTH * 132], b[2][PRODUCT_DEPTH * 132];
    product<128, 128, 8, 8>(g, a, b);
}

GPU_KERNEL void mycel_product_small(gpu_product g)
{
    GPU_SHARED float a[2][PRODUCT_DEPTH * 68], b[2][PRODUCT_DEPTH * 68];
    product<64, 64, 4, 4>(g, a, b);
}

#endif
