// The tiled product: a block of 256 threads makes a tile of BM x BN, each thread TM x TN of it, from slices of A and B
// in shared memory, the next of which is on its way to registers meanwhile. An output has one accumulator in a chunk of
// 512 of k, taken in ascending order; chunks' sums are added through C itself, which only its own thread touches.
//
// Rows and columns beyond the matrix repeat its last ones: an output depends on its own row and column alone, and those
// are not stored. Only the end of k needs a filling.
#ifndef HIP_GPU_PRODUCT_H
#define HIP_GPU_PRODUCT_H

#include "hip/gpu_args.h"
#include "hip/gpu/target.h"

#define PRODUCT_ROW(len) ((len) + 4)  // floats of a slice's row in shared memory: fewer threads meet in one bank

// Read and written at once. A struct, since the compiler's own vectors crash it for PTX (clang 21).
struct alignas(16) product_four {
    float v[4];
};

// One operand's way through k for this thread: EACH groups of four neighbours in each slice. VECTOR: a group is
// aligned, and inside or outside as a whole; otherwise its elements are looked at one by one.
template <int LENGTH, int DEPTH, bool VECTOR> struct product_side {
    static constexpr int EACH = LENGTH * DEPTH / 4 / GPU_BLOCK;
    const float *at[EACH];    // of the next slice
    uint32_t advance;         // to the one after it
    product_four next[EACH];  // the next slice
    uint32_t step, last;      // not VECTOR: between a group's elements; how many of its rows after the first are there
    bool along_k;             // groups lie along k
};

template <int LENGTH, int DEPTH> GPU_DEVICE uint32_t side_row(bool along_k, int e)
{
    const uint32_t group = gpu_thread() + GPU_BLOCK * (uint32_t)e;
    return along_k ? group / (DEPTH / 4) : group % (LENGTH / 4) * 4;
}

template <int LENGTH, int DEPTH> GPU_DEVICE uint32_t side_depth(bool along_k, int e)
{
    const uint32_t group = gpu_thread() + GPU_BLOCK * (uint32_t)e;
    return along_k ? group % (DEPTH / 4) * 4 : group / (LENGTH / 4);
}

template <int LENGTH, int DEPTH, bool VECTOR>
GPU_DEVICE void side_begin(product_side<LENGTH, DEPTH, VECTOR> &s, const float *p, size_t step, size_t k_step,
                           uint32_t first, uint32_t length, uint32_t k)
{
    s.along_k = k_step == 1;
    s.advance = (uint32_t)(DEPTH * k_step);
#pragma unroll
    for (int e = 0; e < product_side<LENGTH, DEPTH, VECTOR>::EACH; e++) {
        const uint32_t row = first + side_row<LENGTH, DEPTH>(s.along_k, e),
                       end = length - (s.along_k || !VECTOR ? 1 : 4);
        s.at[e] =
            p + (size_t)(row < end ? row : end) * step + (size_t)(k + side_depth<LENGTH, DEPTH>(s.along_k, e)) * k_step;
        if (VECTOR || e) continue;
        s.step = s.along_k ? 1 : (uint32_t)step;
        s.last = s.along_k ? 3 : row < end ? end - row : 0;
    }
}

// The slice at k, of which nothing is at or beyond `end`: `pad` there.
template <int LENGTH, int DEPTH, bool VECTOR>
GPU_DEVICE void side_load(product_side<LENGTH, DEPTH, VECTOR> &s, uint32_t k, uint32_t end, float pad)
{
#pragma unroll
    for (int e = 0; e < product_side<LENGTH, DEPTH, VECTOR>::EACH; e++) {
        const uint32_t d = k + side_depth<LENGTH, DEPTH>(s.along_k, e);
        s.next[e] = {{pad, pad, pad, pad}};
        if (VECTOR) {
            if (d < end) s.next[e] = *(const product_four *)s.at[e];
        } else {
#pragma unroll
            for (uint32_t c = 0; c < 4; c++)
                if (d + (s.along_k ? c : 0) < end) s.next[e].v[c] = s.at[e][(c < s.last ? c : s.last) * s.step];
        }
        s.at[e] += s.advance;
    }
}

template <int LENGTH, int DEPTH, bool VECTOR>
GPU_DEVICE void side_store(const product_side<LENGTH, DEPTH, VECTOR> &s, float *shared)
{
#pragma unroll
    for (int e = 0; e < product_side<LENGTH, DEPTH, VECTOR>::EACH; e++) {
        float *to = shared + side_depth<LENGTH, DEPTH>(s.along_k, e) * PRODUCT_ROW(LENGTH) +
                    side_row<LENGTH, DEPTH>(s.along_k, e);
        if (s.along_k) {
#pragma unroll
            for (int c = 0; c < 4; c++) to[c * PRODUCT_ROW(LENGTH)] = s.next[e].v[c];
        } else {
            *(product_four *)to = s.next[e];
        }
    }
}

// Row (or column) number i of a thread's T, of a tile of LENGTH: groups of four, so that shared memory is read in fours
// by neighbours.
template <int LENGTH, int T> GPU_DEVICE uint32_t product_place(uint32_t who, int i)
{
    return (uint32_t)(i / 4) * (LENGTH / (T / 4)) + who * 4 + (uint32_t)(i % 4);
}

// One slice. PARTLY: at the diagonal, where each row sees its own part of k.
template <int BM, int BN, int TM, int TN, int DEPTH, bool PARTLY>
GPU_DEVICE void product_multiply(float (&acc)[TM][TN], const float *a, const float *b, uint32_t limit, uint32_t row0,
                                 uint32_t ty, uint32_t k)
{
#pragma unroll PARTLY ? 1 : DEPTH
    for (uint32_t d = 0; d < DEPTH; d++) {
        product_four va[TM / 4], vb[TN / 4];
#pragma unroll
        for (int i = 0; i < TM / 4; i++) va[i] = *(const product_four *)(a + d * PRODUCT_ROW(BM) + i * (BM / (TM / 4)));
#pragma unroll
        for (int j = 0; j < TN / 4; j++) vb[j] = *(const product_four *)(b + d * PRODUCT_ROW(BN) + j * (BN / (TN / 4)));
#pragma unroll
        for (int i = 0; i < TM; i++) {
            const uint32_t row = row0 + product_place<BM, TM>(ty, i);
            const bool seen = !PARTLY || (limit == GPU_LOWER ? k + d <= row : k + d >= row);
#pragma unroll
            for (int j = 0; j < TN; j++)
                acc[i][j] = seen ? gpu_fma(va[i / 4].v[i % 4], vb[j / 4].v[j % 4], acc[i][j]) : acc[i][j];
        }
    }
}

// Where a tile's outputs go.
struct product_out {
    float *c;
    const float *add;  // or nullptr
    size_t ldc;
    uint32_t m, n, row0, column0, limit;
};

// A chunk's sums to C: the first takes `add`'s place beside it, the others join what is there.
template <int BM, int BN, int TM, int TN, bool VECTOR, bool LIMITED>
GPU_DEVICE void product_end(const product_out &o, const float (&acc)[TM][TN], uint32_t ty, uint32_t tx, uint32_t chunk)
{
    // Addresses are made here, not kept in registers through the product.
    ty = gpu_opaque(ty);
    tx = gpu_opaque(tx);
#pragma unroll
    for (int i = 0; i < TM; i++) {
        const uint32_t row = o.row0 + product_place<BM, TM>(ty, i);
        // A chunk of which the row sees nothing is left out.
        const bool lower = LIMITED && o.limit == GPU_LOWER, upper = LIMITED && o.limit == GPU_UPPER;
        if (row >= o.m || (lower && chunk > row) || (upper && chunk + HIP_CHUNK <= row)) continue;
        const bool first = upper ? chunk == row / HIP_CHUNK * HIP_CHUNK : chunk == 0;
        const float *start = first ? o.add : o.c;
#pragma unroll
        for (int j = 0; j < TN; j += VECTOR ? 4 : 1) {
            const uint32_t column = o.column0 + product_place<BN, TN>(tx, j);
            const size_t at = (size_t)row * o.ldc + column;
            if (column >= o.n) continue;
            if (!VECTOR) {
                o.c[at] = start ? start[at] + acc[i][j] : acc[i][j];
                continue;
            }
            product_four sums = {{acc[i][j], acc[i][j + 1], acc[i][j + 2], acc[i][j + 3]}};
            if (start) {
                const product_four before = *(const product_four *)(start + at);
#pragma unroll
                for (int e = 0; e < 4; e++) sums.v[e] = before.v[e] + sums.v[e];
            }
            *(product_four *)(o.c + at) = sums;
        }
    }
}

// Made where it is used: what the compiler doesn't see through it can't keep in registers all the time.
template <int BM, int BN> GPU_DEVICE product_out product_out_of(const gpu_product &g)
{
    const uint32_t z = g.first + gpu_opaque(gpu_block_z());
    const size_t at = z / g.inner * g.c_outer + z % g.inner * g.c_inner;
    const uint32_t row0 = gpu_opaque(gpu_block_y()) * BM, column0 = gpu_opaque(gpu_block_x()) * BN;
    return {g.c + at, g.add ? g.add + at : nullptr, g.ldc, g.m, g.n, row0, column0, g.limit};
}

template <int TM, int TN> GPU_DEVICE void product_clear(float (&acc)[TM][TN])
{
#pragma unroll
    for (int i = 0; i < TM; i++) {
#pragma unroll
        for (int j = 0; j < TN; j++) acc[i][j] = 0.0f;
    }
}

// Without any k: C is `add`, or +0.
template <int BM, int BN> GPU_DEVICE void product_of_nothing(const product_out &o)
{
    for (uint32_t at = gpu_thread(); at < BM * BN; at += GPU_BLOCK) {
        const uint32_t row = o.row0 + at / BN, column = o.column0 + at % BN;
        if (row >= o.m || column >= o.n) continue;
        const size_t place = (size_t)row * o.ldc + column;
        o.c[place] = o.add ? o.add[place] : 0.0f;
    }
}

template <int BM, int BN, int TM, int TN, int DEPTH, bool VECTOR, bool LIMITED>
GPU_DEVICE void product(const gpu_product &g, float (*shared_a)[DEPTH * PRODUCT_ROW(BM)],
                        float (*shared_b)[DEPTH * PRODUCT_ROW(BN)])
{
    const uint32_t row0 = gpu_block_y() * BM, column0 = gpu_block_x() * BN;
    const uint32_t z = g.first + gpu_block_z();
    if (g.limit == GPU_SCORES && column0 >= row0 + BM) return;
    const size_t outer = z / g.inner, inner = z % g.inner;
    if (!g.k) {
        product_of_nothing<BM, BN>(product_out_of<BM, BN>(g));
        return;
    }
    // 32 neighbours take 4 x 8 of the threads' places: what they read of shared memory is in two lines.
    constexpr uint32_t WIDE = BN / TN / 8;
    const uint32_t t = gpu_thread(), tx = t / 32 % WIDE * 8 + t % 8, ty = t / 32 / WIDE * 4 + t / 8 % 4;
    // No row of the tile sees a k outside [from, to).
    const bool lower = LIMITED && g.limit == GPU_LOWER, upper = LIMITED && g.limit == GPU_UPPER;
    const uint32_t from = upper ? row0 / DEPTH * DEPTH : 0, to = lower && row0 + BM < g.k ? row0 + BM : g.k;
    product_side<BM, DEPTH, VECTOR> a;
    product_side<BN, DEPTH, VECTOR> b;
    side_begin(a, g.a + outer * g.a_outer + inner * g.a_inner, g.a_row, g.a_k, row0, g.m, from);
    side_begin(b, g.b + outer * g.b_outer + inner * g.b_inner, g.b_column, g.b_k, column0, g.n, from);
    // Beyond the end a is +0 and b -0: adding their product, -0, changes no accumulator's bits.
    side_load(a, from, to, 0.0f);
    side_load(b, from, to, -0.0f);
    float acc[TM][TN];
    product_clear(acc);
    uint32_t side = 0;
    for (uint32_t k = from; k < to; side ^= 1) {
        side_store(a, shared_a[side]);
        side_store(b, shared_b[side]);
        gpu_barrier();
        const uint32_t next = k + DEPTH;
        if (next < to) {
            side_load(a, next, to, 0.0f);
            side_load(b, next, to, -0.0f);
        }
        const float *from_a = shared_a[side] + ty * 4, *from_b = shared_b[side] + tx * 4;
        if ((lower && next > row0 + 1) || (upper && k < row0 + BM))
            product_multiply<BM, BN, TM, TN, DEPTH, true>(acc, from_a, from_b, g.limit, row0, ty, k);
        else
            product_multiply<BM, BN, TM, TN, DEPTH, false>(acc, from_a, from_b, g.limit, row0, ty, k);
        if (next % HIP_CHUNK == 0 || next >= to) {
            product_end<BM, BN, TM, TN, VECTOR, LIMITED>(product_out_of<BM, BN>(g), acc, ty, tx,
                                                         k / HIP_CHUNK * HIP_CHUNK);
            product_clear(acc);
        }
        k = next;
    }
}

#define PRODUCT(name, TILE, EACH, DEPTH, VECTOR, LIMITED)                 \
    GPU_KERNEL_TWICE void mycel_##name(gpu_product g)                     \
    {                                                                     \
        GPU_SHARED float a[2][(DEPTH)*PRODUCT_ROW(TILE)];                 \
        GPU_SHARED float b[2][(DEPTH)*PRODUCT_ROW(TILE)];                 \
        product<TILE, TILE, EACH, EACH, DEPTH, VECTOR, LIMITED>(g, a, b); \
    }
PRODUCT(product_large, 128, 8, 8, true, false)
PRODUCT(product_small, 64, 4, 16, true, true)
PRODUCT(product_any, 64, 4, 16, false, true)
#undef PRODUCT

#endif
