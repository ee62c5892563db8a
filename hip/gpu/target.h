// What a kernel needs of its target, since Zig ships no HIP or CUDA headers: AMD and NVIDIA by clang's builtins, and
// the host, where the tests run every thread of a block as a coroutine (tests/fake/emulator.h). Kernels never assume
// how many lanes run together.
#ifndef HIP_GPU_TARGET_H
#define HIP_GPU_TARGET_H

#include <stddef.h>
#include <stdint.h>

#define GPU_BLOCK 256  // threads of every launch

#if defined(__HIP__) || defined(__CUDA__)
#define GPU_DEVICE static inline __attribute__((device, always_inline))
#define GPU_SHARED __attribute__((shared))
#define GPU_TABLE  static __attribute__((device)) const
#if defined(__HIP__)
#define GPU_KERNEL extern "C" __attribute__((global, amdgpu_flat_work_group_size(GPU_BLOCK, GPU_BLOCK)))
#else
#define GPU_KERNEL extern "C" __attribute__((global, launch_bounds(GPU_BLOCK)))
#endif
#else
#include "tests/fake/emulator.h"
#endif

#if defined(__HIP__)
GPU_DEVICE uint32_t gpu_thread(void)
{
    return __builtin_amdgcn_workitem_id_x();
}
GPU_DEVICE uint32_t gpu_block_x(void)
{
    return __builtin_amdgcn_workgroup_id_x();
}
GPU_DEVICE uint32_t gpu_block_y(void)
{
    return __builtin_amdgcn_workgroup_id_y();
}
GPU_DEVICE uint32_t gpu_block_z(void)
{
    return __builtin_amdgcn_workgroup_id_z();
}
// All threads of the block: what was written to shared memory before it is seen after it.
GPU_DEVICE void gpu_barrier(void)
{
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
#elif defined(__CUDA__)
GPU_DEVICE uint32_t gpu_thread(void)
{
    return __nvvm_read_ptx_sreg_tid_x();
}
GPU_DEVICE uint32_t gpu_block_x(void)
{
    return __nvvm_read_ptx_sreg_ctaid_x();
}
GPU_DEVICE uint32_t gpu_block_y(void)
{
    return __nvvm_read_ptx_sreg_ctaid_y();
}
GPU_DEVICE uint32_t gpu_block_z(void)
{
    return __nvvm_read_ptx_sreg_ctaid_z();
}
GPU_DEVICE void gpu_barrier(void)
{
    __syncthreads();
}
#endif

// Each is one IEEE operation, rounded to nearest even; `a * b + c` is never fused (-ffp-contract=off).
GPU_DEVICE float gpu_fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}
GPU_DEVICE float gpu_sqrt(float a)
{
    return __builtin_sqrtf(a);
}
GPU_DEVICE int32_t gpu_bits(float x)
{
    return __builtin_bit_cast(int32_t, x);
}
GPU_DEVICE float gpu_float(int32_t b)
{
    return __builtin_bit_cast(float, b);
}

// The polynomials of hip/math.c, step by step.
GPU_DEVICE float gpu_exp(float x)
{
    x = -104.0f > x ? -104.0f : x;
    x = 89.0f < x ? 89.0f : x;
    const float magic = 12582912.0f;
    float t = gpu_fma(x, 1.44269504088896341f, magic);
    float n = t - magic;
    float r = gpu_fma(n, -0.693359375f, x);
    r = gpu_fma(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = gpu_fma(p, r, 1.3981999507e-3f);
    p = gpu_fma(p, r, 8.3334519073e-3f);
    p = gpu_fma(p, r, 4.1665795894e-2f);
    p = gpu_fma(p, r, 1.6666665459e-1f);
    p = gpu_fma(p, r, 5.0000001201e-1f);
    p = gpu_fma(p, r * r, r) + 1.0f;
    int32_t k = (int32_t)((uint32_t)gpu_bits(t) - 0x4b400000u), low = k >> 1;
    float first = gpu_float((int32_t)((uint32_t)(low + 127) << 23));
    float second = gpu_float((int32_t)((uint32_t)(k - low + 127) << 23));
    return x == x ? (p * first) * second : x;
}

// For finite x > 0: what a sum of exponentials is.
GPU_DEVICE float gpu_log(float x)
{
    if (x != x || gpu_bits(x) == 0x7f800000) return x;
    int32_t e = 0;
    if (x < 1.17549435e-38f) {
        x *= 33554432.0f;
        e = -25;
    }
    int32_t b = gpu_bits(x);
    int32_t shift = (b - 0x3f3504f3) >> 23;
    e += shift;
    float f = gpu_float(b - (int32_t)((uint32_t)shift << 23)) - 1.0f;
    float z = f * f;
    float p = 7.0376836292e-2f;
    p = gpu_fma(p, f, -1.1514610310e-1f);
    p = gpu_fma(p, f, 1.1676998740e-1f);
    p = gpu_fma(p, f, -1.2420140846e-1f);
    p = gpu_fma(p, f, 1.4249322787e-1f);
    p = gpu_fma(p, f, -1.6668057665e-1f);
    p = gpu_fma(p, f, 2.0000714765e-1f);
    p = gpu_fma(p, f, -2.4999993993e-1f);
    p = gpu_fma(p, f, 3.3333331174e-1f);
    float n = (float)e;
    float y = gpu_fma(n, -2.12194440e-4f, f * z * p);
    y = gpu_fma(z, -0.5f, y);
    return gpu_fma(n, 0.693359375f, f + y);
}

GPU_DEVICE float gpu_sigmoid(float x)
{
    return 1.0f / (1.0f + gpu_exp(-x));
}

#endif
