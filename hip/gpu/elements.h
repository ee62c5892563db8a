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

GPU_KERNEL void mycel_quantise(hip_quantise a)
{
    const size_t i = element();
    if (i >= a.count) return;
    const float up = gpu_float((a.exponent + 127) << 23), down = gpu_float((127 - a.exponent) << 23);
    const float magic = 12582912.0f, limit = (float)a.limit, low = (float)-a.limit;
    const float t = (a.before[i] - a.after[i]) + a.residual[i];
    float q = t * down;
    q = low > q ? low : q;
    q = limit < q ? limit : q;
    q = (q + magic) - magic;  // to the nearest even integer
    a.q[i] = (int8_t)q;
    a.residual[i] = (t - q * up) * a.decay;
}

GPU_KERNEL void mycel_outer_step(hip_outer_step a)
{
    const size_t i = element();
    if (i >= a.count) return;
    const double up = __builtin_bit_cast(double, (uint64_t)(a.exponent + 1023) << 52);
    const float g = (float)((double)a.sums[i] / (double)a.weight * up);
    float u = g;
    if (a.momentum) {
        const float m = gpu_fma(a.mu, a.momentum[i], g);
        a.momentum[i] = m;
        u = gpu_fma(a.mu, m, g);
    }
    a.params[i] = gpu_fma(-a.rate, u, a.params[i]);
    if (a.aggregate) a.aggregate[i] = g;
}

GPU_KERNEL void mycel_accumulate(hip_accumulate a)
{
    const size_t i = element();
    if (i < a.count) a.sums[i] += (int64_t)a.weight * a.x[i];
}

GPU_KERNEL void mycel_widen_add(hip_widen_add a)
{
    const size_t i = element(), size = a.bits / 8;
    if (i >= a.count) return;
    uint64_t x = 0;
    for (size_t b = 0; b < size; b++) x |= (uint64_t)a.x[i * size + b] << (64 - a.bits + 8 * b);
    a.sums[i] += (int64_t)x >> (64 - a.bits);
}

GPU_KERNEL void mycel_narrow(hip_narrow a)
{
    const size_t i = element(), size = a.bits / 8;
    if (i >= a.count) return;
    for (size_t b = 0; b < size; b++) a.x[i * size + b] = (uint8_t)((uint64_t)a.sums[i] >> (8 * b));
}

#endif
