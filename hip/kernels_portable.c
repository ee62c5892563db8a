// The kernels in plain C: one lane, any machine.
#define CPU_KERNELS cpu_kernels_portable
#include "hip/kernels.inc"
