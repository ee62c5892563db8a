// a * b + c rounded once, in binary32: what `fma` means in docs/numerics.md. Where the machine has no instruction for
// it, libm's fmaf would do, but a program may get another's instead: the compiler's own library has one that rounds
// twice in rare cases. So it is written out: the product is exact in binary64; the sum is rounded to odd there, which
// keeps enough for the one rounding to binary32 (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums",
// 2008).
#ifndef HIP_FMA_H
#define HIP_FMA_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline __attribute__((always_inline, unused)) float hip_fma(float a, float b, float c)
{
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    const double p = (double)a * (double)b, q = (double)c, s = p + q;
    const double from_q = s - p, error = (p - (s - from_q)) + (q - from_q);  // s + error is the sum, exactly
    uint64_t bits;
    memcpy(&bits, &s, sizeof bits);
    // Inexact and even: the neighbour on the error's side is odd. What is not finite has no number for an error.
    if (error != 0 && !(bits & 1) && fabs(s) < INFINITY) bits += (error > 0) == (s > 0) ? 1 : -(uint64_t)1;
    double odd;
    memcpy(&odd, &bits, sizeof odd);
    return (float)odd;
#endif
}

#endif
