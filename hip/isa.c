// Which instruction sets this CPU has. By CPUID itself: Zig's runtime has no __builtin_cpu_supports.
#include "core/check.h"
#include "hip/device.h"

static const char *const isa_names[] = {"auto", "portable", "avx2", "avx512", "neon"};

#if defined(__x86_64__)
#include <cpuid.h>

enum {
    REGISTERS_YMM = 0x6,   // XCR0: the system saves SSE's and AVX's registers
    REGISTERS_ZMM = 0xe6,  // and the mask registers and the ZMM's upper halves and the upper 16
};

static uint64_t saved_registers(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool has_vectors(enum hip_isa isa)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_FMA) || !(c & bit_AVX)) return false;
    uint64_t saved = saved_registers();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    if (isa == HIP_ISA_AVX2) return (saved & REGISTERS_YMM) == REGISTERS_YMM && (b & bit_AVX2);
    const unsigned wanted = bit_AVX2 | bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    return (saved & REGISTERS_ZMM) == REGISTERS_ZMM && (b & wanted) == wanted;
}
#endif

bool hip_isa_available(enum hip_isa isa)
{
#if defined(__x86_64__)
    if (isa == HIP_ISA_AVX2 || isa == HIP_ISA_AVX512) return has_vectors(isa);
#elif defined(__aarch64__)
    if (isa == HIP_ISA_NEON) return true;
#endif
    return isa == HIP_ISA_AUTO || isa == HIP_ISA_PORTABLE;
}

bool hip_isa_built(enum hip_isa isa)
{
#if defined(__x86_64__)
    return isa != HIP_ISA_NEON && isa < HIP_ISA_COUNT;
#elif defined(__aarch64__)
    return isa == HIP_ISA_NEON || hip_isa_available(isa);
#else
    return hip_isa_available(isa);
#endif
}

const char *hip_isa_name(enum hip_isa isa)
{
    check((size_t)isa < sizeof isa_names / sizeof *isa_names);
    return isa_names[isa];
}
