// Kernels that work row by row: 32 threads a row, one for each partial of the row reduction, eight rows a block.
#ifndef HIP_GPU_ROWS_H
#define HIP_GPU_ROWS_H

#include "hip/gpu_args.h"
#include "hip/gpu/target.h"

#define ROWS_A_BLOCK (GPU_BLOCK / HIP_PARTIALS)

struct row_place {
    size_t row;
    uint32_t lane;
    float *partials;  // this row's 32
};

#define ROW_PLACE(name)              \
    GPU_SHARED float all[GPU_BLOCK]; \
    const struct row_place name = row_place_of(all)

GPU_DEVICE struct row_place row_place_of(float *all)
{
    const uint32_t t = gpu_thread();
    return {(size_t)gpu_block_x() * ROWS_A_BLOCK + t / HIP_PARTIALS, t % HIP_PARTIALS,
            all + t / HIP_PARTIALS * HIP_PARTIALS};
}

// The halving tree over what each lane brings. All threads of the block take part.
GPU_DEVICE float row_sum(const row_place &p, float mine)
{
    p.partials[p.lane] = mine;
    gpu_barrier();
    for (uint32_t h = HIP_PARTIALS / 2; h; h /= 2) {
        if (p.lane < h) p.partials[p.lane] = p.partials[p.lane] + p.partials[p.lane + h];
        gpu_barrier();
    }
    const float s = p.partials[0];
    gpu_barrier();
    return s;
}

GPU_DEVICE float row_max(const row_place &p, float mine)
{
    p.partials[p.lane] = mine;
    gpu_barrier();
    float m = p.partials[0];
    for (uint32_t i = 1; i < HIP_PARTIALS; i++) m = p.partials[i] > m ? p.partials[i] : m;
    gpu_barrier();
    return m;
}

GPU_KERNEL void mycel_embed(hip_embed e)
{
    const size_t at = (size_t)gpu_block_x() * GPU_BLOCK + gpu_thread(), row = at / e.width, j = at % e.width;
    if (row < e.rows) e.y[at] = e.table[(size_t)e.tokens[row] * e.width + j];
}

// A row of the table belongs to the blocks of its number: they look through all tokens in their order.
GPU_KERNEL void mycel_embed_grad(hip_embed_grad e)
{
    const int32_t token = (int32_t)gpu_block_x();
    const uint32_t j = gpu_block_y() * GPU_BLOCK + gpu_thread();
    if (j >= e.width) return;
    float *to = e.dtable + (size_t)token * e.width + j;
    float sum = *to;
    bool any = false;
    for (size_t i = 0; i < e.rows; i++) {
        if (e.tokens[i] != token) continue;
        sum = sum + e.dy[i * e.width + j];
        any = true;
    }
    if (any) *to = sum;
}

GPU_KERNEL void mycel_norm(hip_norm a)
{
    ROW_PLACE(p);
    const bool inside = p.row < a.rows;
    const float *x = a.x + p.row * a.width;
    float s = 0.0f;
    for (uint32_t j = p.lane; inside && j < a.width; j += HIP_PARTIALS) s = gpu_fma(x[j], x[j], s);
    s = row_sum(p, s);
    if (!inside) return;
    const float rstd = 1.0f / gpu_sqrt(s / (float)a.width + a.eps);
    if (p.lane == 0) a.rstd[p.row] = rstd;
    float *y = a.y + p.row * a.width;
    for (uint32_t j = p.lane; j < a.width; j += HIP_PARTIALS) y[j] = (x[j] * rstd) * a.weight[j];
}

GPU_KERNEL void mycel_norm_grad(hip_norm_grad a)
{
    ROW_PLACE(p);
    const bool inside = p.row < a.rows;
    const size_t at = p.row * a.width;
    const float *dy = a.dy + at, *x = a.x + at;
    float s = 0.0f;
    for (uint32_t j = p.lane; inside && j < a.width; j += HIP_PARTIALS) s = gpu_fma(dy[j] * a.weight[j], x[j], s);
    s = row_sum(p, s);
    if (!inside) return;
    const float rstd = a.rstd[p.row];
    const float minus_c = -(((rstd * rstd) * rstd) * (s / (float)a.width));
    for (uint32_t j = p.lane; j < a.width; j += HIP_PARTIALS) {
        const float t = dy[j] * a.weight[j];
        const float y = gpu_fma(x[j], minus_c, t * rstd);
        a.dx[at + j] = a.add ? a.add[at + j] + y : y;
    }
}

// A chunk of 512 rows of the weight's gradient, a thread a column.
GPU_KERNEL void mycel_norm_weight(gpu_norm_weight a)
{
    const uint32_t j = gpu_block_x() * GPU_BLOCK + gpu_thread(), chunk = gpu_block_y();
    if (j >= a.width) return;
    const size_t from = (size_t)chunk * HIP_CHUNK, to = from + HIP_CHUNK < a.rows ? from + HIP_CHUNK : a.rows;
    float acc = 0.0f;
    for (size_t i = from; i < to; i++) acc = gpu_fma(a.dy[i * a.width + j], a.x[i * a.width + j] * a.rstd[i], acc);
    a.partial[(size_t)chunk * a.width + j] = acc;
}

GPU_KERNEL void mycel_norm_weight_sum(gpu_norm_weight a)
{
    const uint32_t j = gpu_block_x() * GPU_BLOCK + gpu_thread();
    if (j >= a.width) return;
    float sum = a.accumulate ? a.dweight[j] : 0.0f;
    for (uint32_t chunk = 0; chunk < a.chunks; chunk++) {
        const float part = a.partial[(size_t)chunk * a.width + j];
        sum = chunk == 0 && !a.accumulate ? part : sum + part;
    }
    a.dweight[j] = sum;
}

GPU_KERNEL void mycel_rotate(hip_rotate a)
{
    const size_t half = a.head_dim / 2, each = a.heads * half;
    const size_t at = (size_t)gpu_block_x() * GPU_BLOCK + gpu_thread(), row = at / each;
    if (row >= a.rows) return;
    const size_t head = at % each / half, j = at % half, position = a.first + row % a.context;
    float *x = a.x + row * a.ld + head * a.head_dim + j;
    const float c = a.cosines[position * half + j], sine = a.sines[position * half + j], s = a.inverse ? -sine : sine;
    const float p = x[0], q = x[half];
    x[0] = gpu_fma(p, c, -(q * s));
    x[half] = gpu_fma(q, c, p * s);
}

GPU_KERNEL void mycel_swiglu(hip_swiglu a)
{
    const size_t at = (size_t)gpu_block_x() * GPU_BLOCK + gpu_thread(), row = at / a.width, j = at % a.width;
    if (row >= a.rows) return;
    const float g = a.gate[row * a.ld + j];
    a.y[at] = (g * gpu_sigmoid(g)) * a.up[row * a.ld + j];
}

GPU_KERNEL void mycel_swiglu_grad(hip_swiglu_grad a)
{
    const size_t at = (size_t)gpu_block_x() * GPU_BLOCK + gpu_thread(), row = at / a.width, j = at % a.width;
    if (row >= a.rows) return;
    const size_t place = row * a.ld + j;
    const float g = a.gate[place], u = a.up[place], d = a.dy[at], s = gpu_sigmoid(g);
    a.dup[place] = d * (g * s);
    a.dgate[place] = (d * u) * (s * gpu_fma(g, 1.0f - s, 1.0f));
}

GPU_KERNEL void mycel_cross_entropy(hip_cross_entropy a)
{
    ROW_PLACE(p);
    const bool inside = p.row < a.rows;
    const int32_t target = inside ? a.targets[p.row] : -1;
    const bool counted = target >= 0;
    const float *x = a.logits + p.row * a.vocab;
    float m = counted ? x[0] : 0.0f;
    for (uint32_t j = p.lane; counted && j < a.vocab; j += HIP_PARTIALS) m = x[j] > m ? x[j] : m;
    m = row_max(p, m);
    const float hit = counted ? x[target] : 0.0f;
    float z = 0.0f;
    for (uint32_t j = p.lane; counted && j < a.vocab; j += HIP_PARTIALS) z = z + gpu_exp(x[j] - m);
    z = row_sum(p, z);
    if (!inside) return;
    if (p.lane == 0) a.losses[p.row] = counted ? gpu_log(z) - (hit - m) : 0.0f;
    if (!a.dlogits) return;
    float *d = a.dlogits + p.row * a.vocab;
    for (uint32_t j = p.lane; j < a.vocab; j += HIP_PARTIALS) {
        const float part = counted ? gpu_exp(x[j] - m) / z : 0.0f;
        d[j] = !counted ? 0.0f : ((int32_t)j == target ? part - 1.0f : part) * a.scale;
    }
}

// ---- attention's rows: layer l is (l / inner, l % inner) ----

GPU_DEVICE size_t softmax_row(size_t row, uint32_t context, uint32_t inner, size_t outer, size_t layer)
{
    const size_t l = row / context;
    return (l / inner * outer + l % inner * layer + row % context) * context;
}

GPU_KERNEL void mycel_softmax(gpu_softmax a)
{
    ROW_PLACE(p);
    const bool inside = p.row < a.rows;
    const uint32_t visible = inside ? (uint32_t)(p.row % a.context) + 1 : 0;
    float *s = a.scores + (inside ? softmax_row(p.row, a.context, a.inner, a.outer, a.layer) : 0);
    float m = inside ? s[0] * a.scale : 0.0f;
    for (uint32_t j = p.lane; j < visible; j += HIP_PARTIALS) {
        const float t = s[j] * a.scale;
        m = t > m ? t : m;
    }
    m = row_max(p, m);
    float z = 0.0f;
    for (uint32_t j = p.lane; j < visible; j += HIP_PARTIALS) z = z + gpu_exp(s[j] * a.scale - m);
    z = row_sum(p, z);
    for (uint32_t j = p.lane; inside && j < a.context; j += HIP_PARTIALS)
        s[j] = j < visible ? gpu_exp(s[j] * a.scale - m) / z : 0.0f;
}

GPU_KERNEL void mycel_softmax_grad(gpu_softmax_grad a)
{
    ROW_PLACE(p);
    const bool inside = p.row < a.rows;
    const uint32_t visible = inside ? (uint32_t)(p.row % a.context) + 1 : 0;
    float *probs = a.probs + (inside ? softmax_row(p.row, a.context, a.inner, a.outer, a.layer) : 0);
    const float *g = a.g + p.row * a.context;
    float r = 0.0f;
    for (uint32_t j = p.lane; j < visible; j += HIP_PARTIALS) r = gpu_fma(probs[j], g[j], r);
    r = row_sum(p, r);
    for (uint32_t j = p.lane; j < visible; j += HIP_PARTIALS) probs[j] = (probs[j] * (g[j] - r)) * a.scale;
}

// ---- whole tensors ----

GPU_KERNEL void mycel_reduce(gpu_reduce a)
{
    ROW_PLACE(p);
    const size_t from = p.row * HIP_TENSOR_ROW;
    const size_t to = from + HIP_TENSOR_ROW < a.count ? from + HIP_TENSOR_ROW : a.count;
    float s = 0.0f;
#pragma unroll 8
    for (size_t i = from + p.lane; i < to; i += HIP_PARTIALS) s = a.squares ? gpu_fma(a.x[i], a.x[i], s) : s + a.x[i];
    s = row_sum(p, s);
    if (from < a.count && p.lane == 0) a.out[p.row] = s;
}

#endif
