// The kernels in AVX2 and FMA: eight lanes.
#define CPU_KERNELS cpu_kernels_avx2
#include "hip/kernels.inc"
