// The host as a GPU's target (hip/gpu/target.h): the threads of a block are coroutines that the fake driver runs one
// after the other from barrier to barrier. A barrier that some threads of a block skip stops the test.
#ifndef TESTS_FAKE_EMULATOR_H
#define TESTS_FAKE_EMULATOR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
struct emulated {
    uint32_t thread, block[3];
};
extern struct emulated emulated;
void emulator_barrier(void);

// Kernel number `kernel` with its arguments, as the thread that `emulated` says.
void emulated_kernel(uint32_t kernel, const void *args);
extern const char *const emulated_names[];
extern const uint32_t emulated_args_size[];
#ifdef __cplusplus
}

#define GPU_DEVICE        static inline __attribute__((always_inline, unused))
#define GPU_SHARED        static __attribute__((aligned(16)))
#define GPU_KERNEL        static inline
#define GPU_KERNEL_TWICE  GPU_KERNEL
#define GPU_KERNEL_SHARED GPU_KERNEL

GPU_DEVICE uint32_t gpu_thread(void)
{
    return emulated.thread;
}
GPU_DEVICE uint32_t gpu_block_x(void)
{
    return emulated.block[0];
}
GPU_DEVICE uint32_t gpu_block_y(void)
{
    return emulated.block[1];
}
GPU_DEVICE uint32_t gpu_block_z(void)
{
    return emulated.block[2];
}
GPU_DEVICE void gpu_barrier(void)
{
    emulator_barrier();
}
#endif

#endif
