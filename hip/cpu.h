// Inside hip/: what a CPU kernel is, and the table of them for each instruction set. A kernel is run by all threads of
// the pool at once; each finds its part from its number. Kernels keep nothing between launches.
#ifndef HIP_CPU_H
#define HIP_CPU_H

#include "hip/device.h"
#include "hip/pool.h"

#define CPU_SCRATCH ((size_t)4 << 20)  // floats of each thread, and again as many shared by all; touched only as needed

struct cpu_worker {
    uint32_t thread, threads;
    struct pool *pool;  // NULL with one thread
    float *scratch;     // this thread's
    float *shared;
};

typedef void cpu_kernel(const void *args, const struct cpu_worker *w);

extern cpu_kernel *const cpu_kernels_portable[HIP_KERNEL_COUNT];
#if defined(__x86_64__)
extern cpu_kernel *const cpu_kernels_avx2[HIP_KERNEL_COUNT];
extern cpu_kernel *const cpu_kernels_avx512[HIP_KERNEL_COUNT];
#elif defined(__aarch64__)
extern cpu_kernel *const cpu_kernels_neon[HIP_KERNEL_COUNT];
#endif

// No thread goes on before all have come here. Every thread of a launch calls it equally often.
static inline void cpu_barrier(const struct cpu_worker *w)
{
    if (w->threads > 1) pool_barrier(w->pool);
}

struct cpu_range {
    size_t from, to;
};

// This thread's part of `count`, in whole units of `grain`.
static inline struct cpu_range cpu_part(const struct cpu_worker *w, size_t count, size_t grain)
{
    size_t units = (count + grain - 1) / grain;
    size_t from = units * w->thread / w->threads * grain, to = units * (w->thread + 1) / w->threads * grain;
    return (struct cpu_range){from < count ? from : count, to < count ? to : count};
}

#endif
