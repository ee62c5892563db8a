// Kernels over single elements, and reductions whose order does not matter.
#ifndef HIP_GPU_ELEMENTS_H
#define HIP_GPU_ELEMENTS_H

#include "hip/gpu_args.h"
#include "hip/gpu/target.h"

GPU_DEVICE size_t element(void)
{
    return (size_t)gpu_block_x() * GPU_BLOCK + gpu_thread();
}

GPU_KERNEL void mycel_adamw(hip_adamw a)
{
    const size_t i = element();
    if (i >= a.count) return;
    const float g = a.grads[i] * a.grad_scale;
    const float m = gpu_fma(1.0f - a.beta1, g, a.beta1 * a.m[i]);
    const float v = gpu_fma(1.0f - a.beta2, g * g, a.beta2 * a.v[i]);
    a.m[i] = m;
    a.v[i] = v;
    const float u = (m * a.correct1) / (gpu_sqrt(v * a.correct2) + a.eps);
    a.params[i] = gpu_fma(-a.rate, u, a.params[i] * a.keep);
}

GPU_KERNEL void mycel_largest(gpu_largest a)
{
    GPU_SHARED float all[GPU_BLOCK];
    const uint32_t t = gpu_thread();
    const size_t from = (size_t)gpu_block_x() * GPU_BLOCK * GPU_SPAN + t;
    float m = 0.0f;
    for (uint32_t i = 0; i < GPU_SPAN; i++) {
        const size_t at = from + (size_t)i * GPU_BLOCK;
        if (at >= a.count) break;
        const float x = gpu_float(gpu_bits(a.x[at]) & 0x7fffffff);
        m = x > m ? x : m;
    }
    all[t] = m;
    gpu_barrier();
    for (uint32_t h = GPU_BLOCK / 2; h; h /= 2) {
        if (t < h && all[t + h] > all[t]) all[t] = all[t + h];
        gpu_barrier();
    }
    if (t == 0) a.out[gpu_block_x()] = all[0];
}

GPU_DEVICE uint64_t block_count(uint64_t *all, uint64_t mine)
{
    const uint32_t t = gpu_thread();
    all[t] = mine;
    gpu_barrier();
    for (uint32_t h = GPU_BLOCK / 2; h; h /= 2) {
        if (t < h) all[t] += all[t + h];
        gpu_barrier();
    }
    return all[0];
}

GPU_KERNEL void mycel_nonfinite(gpu_nonfinite a)
{
    GPU_SHARED uint64_t all[GPU_BLOCK];
    const size_t from = (size_t)gpu_block_x() * GPU_BLOCK * GPU_SPAN + gpu_thread();
    uint64_t found = 0;
    for (uint32_t i = 0; i < GPU_SPAN; i++) {
        const size_t at = from + (size_t)i * GPU_BLOCK;
        if (at >= a.count) break;
        found += (gpu_bits(a.x[at]) & 0x7f800000) == 0x7f800000;
    }
    found = block_count(all, found);
    if (gpu_thread() == 0) a.counts[gpu_block_x()] = found;
}

GPU_KERNEL void mycel_nonfinite_sum(gpu_nonfinite a)
{
    GPU_SHARED uint64_t all[GPU_BLOCK];
    uint64_t found = 0;
    for (size_t i = gpu_thread(); i < a.count; i += GPU_BLOCK) found += a.counts[i];
    found = block_count(all, found);
    if (gpu_thread() == 0) *a.out = found > 0xffffffffu ? 0xffffffffu : (uint32_t)found;
}

GPU_KERNEL void mycel_scale(hip_scale a)
{
    const size_t i = element();
    if (i < a.count) a.x[i] = a.x[i] * a.factor;
}

GPU_KERNEL void mycel_axpy(hip_axpy a)
{
    const size_t i = element();
    if (i < a.count) a.y[i] = gpu_fma(a.alpha, a.x[i], a.y[i]);
}

// ---- sums and compression: four elements a thread, read and written at once where all lie so ----

template <typename T> struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) element_four {
    T v[4];
};

template <typename T> GPU_DEVICE bool element_aligned(const T *p)
{
    return (size_t)p % alignof(element_four<T>) == 0;
}

template <bool WHOLE, typename T> GPU_DEVICE element_four<T> fours_load(const T *p, size_t i, size_t count)
{
    if constexpr (WHOLE) return *(const element_four<T> *)(p + i);
    element_four<T> x;
#pragma unroll
    for (uint32_t e = 0; e < 4; e++) x.v[e] = i + e < count ? p[i + e] : T(0);
    return x;
}

template <bool WHOLE, typename T> GPU_DEVICE void fours_store(T *p, size_t i, size_t count, const element_four<T> &x)
{
    if constexpr (WHOLE) {
        *(element_four<T> *)(p + i) = x;
        return;
    }
#pragma unroll
    for (uint32_t e = 0; e < 4; e++)
        if (i + e < count) p[i + e] = x.v[e];
}

template <bool WHOLE> GPU_DEVICE void quantise_fours(const hip_quantise &a, size_t i)
{
    const float up = gpu_float((a.exponent + 127) << 23), down = gpu_float((127 - a.exponent) << 23);
    const float magic = 12582912.0f, limit = (float)a.limit, low = (float)-a.limit;
    const element_four<float> before = fours_load<WHOLE>(a.before, i, a.count);
    const element_four<float> after = fours_load<WHOLE>(a.after, i, a.count);
    element_four<float> residual = fours_load<WHOLE>(a.residual, i, a.count);
    element_four<int8_t> out;
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const float t = (before.v[e] - after.v[e]) + residual.v[e];
        float q = t * down;
        q = low > q ? low : q;
        q = limit < q ? limit : q;
        q = (q + magic) - magic;  // to the nearest even integer
        out.v[e] = (int8_t)q;
        residual.v[e] = (t - q * up) * a.decay;
    }
    fours_store<WHOLE>(a.q, i, a.count, out);
    fours_store<WHOLE>(a.residual, i, a.count, residual);
}

GPU_KERNEL void mycel_quantise(hip_quantise a)
{
    const size_t i = element() * 4;
    const bool whole = i + 4 <= a.count && element_aligned(a.before) && element_aligned(a.after) &&
                       element_aligned(a.residual) && element_aligned(a.q);
    if (i >= a.count) return;
    if (whole)
        quantise_fours<true>(a, i);
    else
        quantise_fours<false>(a, i);
}

template <bool WHOLE> GPU_DEVICE void outer_step_fours(const hip_outer_step &a, size_t i)
{
    const double up = __builtin_bit_cast(double, (uint64_t)(a.exponent + 1023) << 52);
    const element_four<int64_t> sums = fours_load<WHOLE>(a.sums, i, a.count);
    element_four<float> params = fours_load<WHOLE>(a.params, i, a.count), momentum = {}, g;
    if (a.momentum) momentum = fours_load<WHOLE>(a.momentum, i, a.count);
#pragma unroll
    for (int e = 0; e < 4; e++) {
        g.v[e] = (float)((double)sums.v[e] / (double)a.weight * up);
        float u = g.v[e];
        if (a.momentum) {
            momentum.v[e] = gpu_fma(a.mu, momentum.v[e], g.v[e]);
            u = gpu_fma(a.mu, momentum.v[e], g.v[e]);
        }
        params.v[e] = gpu_fma(-a.rate, u, params.v[e]);
    }
    fours_store<WHOLE>(a.params, i, a.count, params);
    if (a.momentum) fours_store<WHOLE>(a.momentum, i, a.count, momentum);
    if (a.aggregate) fours_store<WHOLE>(a.aggregate, i, a.count, g);
}

GPU_KERNEL void mycel_outer_step(hip_outer_step a)
{
    const size_t i = element() * 4;
    const bool whole = i + 4 <= a.count && element_aligned(a.sums) && element_aligned(a.params) &&
                       element_aligned(a.momentum) && element_aligned(a.aggregate);
    if (i >= a.count) return;
    if (whole)
        outer_step_fours<true>(a, i);
    else
        outer_step_fours<false>(a, i);
}

template <bool WHOLE> GPU_DEVICE void accumulate_fours(const hip_accumulate &a, size_t i)
{
    const element_four<int8_t> x = fours_load<WHOLE>(a.x, i, a.count);
    element_four<int64_t> sums = fours_load<WHOLE>(a.sums, i, a.count);
#pragma unroll
    for (int e = 0; e < 4; e++) sums.v[e] += (int64_t)a.weight * x.v[e];
    fours_store<WHOLE>(a.sums, i, a.count, sums);
}

GPU_KERNEL void mycel_accumulate(hip_accumulate a)
{
    const size_t i = element() * 4;
    const bool whole = i + 4 <= a.count && element_aligned(a.sums) && element_aligned(a.x);
    if (i >= a.count) return;
    if (whole)
        accumulate_fours<true>(a, i);
    else
        accumulate_fours<false>(a, i);
}

// Four packed elements are `bits` / 8 words of 32 bits.
template <bool WHOLE> GPU_DEVICE void widen_add_fours(const hip_widen_add &a, size_t i)
{
    const size_t size = a.bits / 8;
    element_four<int64_t> sums = fours_load<WHOLE>(a.sums, i, a.count);
    if (WHOLE && size <= 4) {
        const uint32_t *words = (const uint32_t *)(a.x + i * size);
        uint32_t w[4] = {};
#pragma unroll
        for (uint32_t k = 0; k < 4; k++)
            if (k < size) w[k] = words[k];
        const uint64_t low = w[0] | (uint64_t)w[1] << 32, high = w[2] | (uint64_t)w[3] << 32;
#pragma unroll
        for (uint32_t e = 0; e < 4; e++) {
            const uint32_t at = e * a.bits;  // the element's first bit of 128
            uint64_t x = at < 64 ? low >> at : high >> (at - 64);
            if (at < 64 && at + a.bits > 64) x |= high << (64 - at);
            sums.v[e] += (int64_t)(x << (64 - a.bits)) >> (64 - a.bits);
        }
    } else {
#pragma unroll
        for (uint32_t e = 0; e < 4; e++) {
            if (i + e >= a.count) break;
            uint64_t x = 0;
            for (size_t b = 0; b < size; b++) x |= (uint64_t)a.x[(i + e) * size + b] << (64 - a.bits + 8 * b);
            sums.v[e] += (int64_t)x >> (64 - a.bits);
        }
    }
    fours_store<WHOLE>(a.sums, i, a.count, sums);
}

GPU_KERNEL void mycel_widen_add(hip_widen_add a)
{
    const size_t i = element() * 4;
    const bool whole = i + 4 <= a.count && element_aligned(a.sums) && (size_t)a.x % 4 == 0;
    if (i >= a.count) return;
    if (whole)
        widen_add_fours<true>(a, i);
    else
        widen_add_fours<false>(a, i);
}

template <bool WHOLE> GPU_DEVICE void narrow_fours(const hip_narrow &a, size_t i)
{
    const size_t size = a.bits / 8;
    const element_four<int64_t> sums = fours_load<WHOLE>(a.sums, i, a.count);
    if (WHOLE && size <= 4) {
        uint64_t low = 0, high = 0;
#pragma unroll
        for (uint32_t e = 0; e < 4; e++) {
            const uint64_t x = (uint64_t)sums.v[e] << (64 - a.bits) >> (64 - a.bits);
            const uint32_t at = e * a.bits;
            if (at < 64) low |= x << at;
            if (at >= 64) high |= x << (at - 64);
            if (at < 64 && at + a.bits > 64) high |= x >> (64 - at);
        }
        uint32_t *words = (uint32_t *)(a.x + i * size);
        const uint32_t w[4] = {(uint32_t)low, (uint32_t)(low >> 32), (uint32_t)high, (uint32_t)(high >> 32)};
#pragma unroll
        for (uint32_t k = 0; k < 4; k++)
            if (k < size) words[k] = w[k];
        return;
    }
#pragma unroll
    for (uint32_t e = 0; e < 4; e++) {
        if (i + e >= a.count) break;
        for (size_t b = 0; b < size; b++) a.x[(i + e) * size + b] = (uint8_t)((uint64_t)sums.v[e] >> (8 * b));
    }
}

GPU_KERNEL void mycel_narrow(hip_narrow a)
{
    const size_t i = element() * 4;
    const bool whole = i + 4 <= a.count && element_aligned(a.sums) && (size_t)a.x % 4 == 0;
    if (i >= a.count) return;
    if (whole)
        narrow_fours<true>(a, i);
    else
        narrow_fours<false>(a, i);
}

#endif
