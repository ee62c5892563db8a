// Every kernel of the GPUs, one image a target. build/gpu.zig compiles this file for AMD (HIP) and NVIDIA (PTX); the
// tests compile it for the host (tests/fake/emulator.h).
#include "hip/gpu/product.h"
#include "hip/gpu/rows.h"
#include "hip/gpu/elements.h"
#include "hip/gpu/fused.h"
