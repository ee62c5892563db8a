// What a kernel needs of its target, since Zig ships no HIP or CUDA headers: AMD and NVIDIA by clang's builtins, and
// the host, where the tests run every thread of a block as a coroutine (tests/fake/emulator.h). Kernels never assume
// how many lanes run together.
#ifndef HIP_GPU_TARGET_H
#define HIP_GPU_TARGET_H

#include <stddef.h>
#include <stdint.h>

#include "hip/gpu_args.h"

#if defined(__HIP__) || defined(__CUDA__)
// GPU_KERNEL_TWICE: with so few registers that two blocks run beside each other. GPU_KERNEL_SHARED: it is its shared
// memory that says how many.
#define GPU_DEVICE static inline __attribute__((device, always_inline))
#define GPU_SHARED __attribute__((shared, aligned(16)))
#if defined(__HIP__)
#define GPU_KERNEL extern "C" __attribute__((global, amdgpu_flat_work_group_size(GPU_BLOCK, GPU_BLOCK)))
#define GPU_KERNEL_TWICE \
    extern "C" __attribute__((global, amdgpu_flat_work_group_size(GPU_BLOCK, GPU_BLOCK), amdgpu_waves_per_eu(2)))
#define GPU_KERNEL_SHARED GPU_KERNEL
#else
#define GPU_KERNEL        extern "C" __attribute__((global, launch_bounds(GPU_BLOCK)))
#define GPU_KERNEL_SHARED GPU_KERNEL_TWICE
#if __CUDA_ARCH__ >= 800
#define GPU_KERNEL_TWICE extern "C" __attribute__((global, launch_bounds(GPU_BLOCK, 2)))
#else
#define GPU_KERNEL_TWICE GPU_KERNEL  // sm_75 would spill
#endif
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

// The same number, of which the compiler knows nothing.
GPU_DEVICE uint32_t gpu_opaque(uint32_t x)
{
#if defined(__HIP__)
    __asm__ volatile("" : "+v"(x));
#else
    __asm__ volatile("" : "+r"(x));
#endif
    return x;
}

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

// The very functions of the host: hip/polynomial.h.
#define POLYNOMIAL       GPU_DEVICE
#define POLYNOMIAL_FMA   gpu_fma
#define POLYNOMIAL_BITS  gpu_bits
#define POLYNOMIAL_FLOAT gpu_float
#include "hip/polynomial.h"

GPU_DEVICE float gpu_exp(float x)
{
    return polynomial_exp(x);
}
GPU_DEVICE float gpu_log(float x)
{
    return polynomial_log(x);
}

GPU_DEVICE float gpu_sigmoid(float x)
{
    return 1.0f / (1.0f + gpu_exp(-x));
}

#endif
