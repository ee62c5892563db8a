// Inside hip/: a GPU's device, stream and the launches that make up a kernel of hip/kernels.h.
#ifndef HIP_GPU_H
#define HIP_GPU_H

#include "hip/backend.h"
#include "hip/blas.h"
#include "hip/driver.h"
#include "hip/gpu_args.h"

struct gpu_device {
    struct hip_device device;
    struct driver driver;
    int number;
    void *context;  // NVIDIA's
    void *module;
    void *functions[GPU_KERNEL_COUNT];
    uint32_t units;
    int version;        // of the driver; 0: not known
    struct blas *blas;  // for fast-bf16, opened when first wanted; NULL: not there
    bool blas_sought;
    struct hip_facts facts;
    char why[HIP_WHY_SIZE];  // the last thing that went wrong
};

struct gpu_stream {
    struct hip_stream stream;
    void *handle;
    enum core_err err;  // the first since the last wait
    void *scratch;      // grows; launches in order may use it one after the other
    size_t scratch_size;
};

// An image of all kernels for one target. PTX: any NVIDIA GPU from its number on; AMD: that very one.
struct gpu_image {
    const char *target;  // "sm_75", "gfx942"
    bool amd;
    const void *bytes;
};
extern const struct gpu_image gpu_images[];
extern const uint32_t gpu_image_count;

// Launches one of our kernels; an error stays with the stream. An empty grid is nothing.
void gpu_run(struct gpu_stream *s, enum gpu_kernel kernel, uint32_t gx, uint32_t gy, uint32_t gz, void *args);
// At least `size` bytes that launches after this one may use until the next call; NULL with the stream's error.
void *gpu_scratch(struct gpu_stream *s, size_t size);
// The launches of kernel `k` (gpu_plan.c).
void gpu_plan(struct gpu_stream *s, enum hip_kernel k, const void *args);
// The same by profile fast-bf16 (gpu_fast.c); false where it has nothing of its own for this, and did nothing.
bool gpu_plan_fast(struct gpu_stream *s, enum hip_kernel k, const void *args);
// The vendor's products for this stream's device, or NULL.
struct blas *gpu_blas(struct gpu_stream *s);

#endif
