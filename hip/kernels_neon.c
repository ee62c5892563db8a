// The kernels in NEON: four lanes. Every aarch64 has it.
#define CPU_NEON    1
#define CPU_KERNELS cpu_kernels_neon
#include "hip/kernels.inc"
