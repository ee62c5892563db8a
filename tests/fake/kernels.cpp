// The GPUs' kernels for the host, called by number.
#include "hip/gpu/kernels.hip"

#define NAME(name, args) "mycel_" #name,
const char *const emulated_names[] = {GPU_KERNELS(NAME) nullptr};
#define SIZE(name, args) sizeof(args),
const uint32_t emulated_args_size[] = {GPU_KERNELS(SIZE) 0};

void emulated_kernel(uint32_t kernel, const void *args)
{
    switch (kernel) {
#define CALL(name, args_type) \
    case GPU_##name: mycel_##name(*static_cast<const args_type *>(args)); break;
        GPU_KERNELS(CALL)
    default: __builtin_trap();
    }
}
