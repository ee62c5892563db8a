// The kernels in AVX-512: sixteen lanes.
#define CPU_KERNELS cpu_kernels_avx512
#include "hip/kernels.inc"
