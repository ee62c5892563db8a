// exp and log as polynomials over fma, for the host (hip/math.c) and the GPUs (hip/gpu/target.h) from one source.
// Whoever includes it says what POLYNOMIAL functions are declared as, and how a fused multiply-add and a float's bits
// are had: POLYNOMIAL_FMA, POLYNOMIAL_BITS, POLYNOMIAL_FLOAT. The vectors in hip/vector.inc take the very same steps.
#ifndef HIP_POLYNOMIAL_H
#define HIP_POLYNOMIAL_H

#include <stdint.h>

// Cephes' expf polynomial (S. L. Moshier) over fma.
POLYNOMIAL float polynomial_exp(float x)
{
    x = -104.0f > x ? -104.0f : x;
    x = 89.0f < x ? 89.0f : x;
    if (x != x) return x;
    const float magic = 12582912.0f;
    float t = POLYNOMIAL_FMA(x, 1.44269504088896341f, magic);
    float n = t - magic;
    float r = POLYNOMIAL_FMA(n, -0.693359375f, x);
    r = POLYNOMIAL_FMA(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = POLYNOMIAL_FMA(p, r, 1.3981999507e-3f);
    p = POLYNOMIAL_FMA(p, r, 8.3334519073e-3f);
    p = POLYNOMIAL_FMA(p, r, 4.1665795894e-2f);
    p = POLYNOMIAL_FMA(p, r, 1.6666665459e-1f);
    p = POLYNOMIAL_FMA(p, r, 5.0000001201e-1f);
    p = POLYNOMIAL_FMA(p, r * r, r) + 1.0f;
    int32_t k = POLYNOMIAL_BITS(t) - 0x4b400000, low = k >> 1;
    return p * POLYNOMIAL_FLOAT((low + 127) << 23) * POLYNOMIAL_FLOAT((k - low + 127) << 23);
}

// Cephes' logf polynomial over fma, for x > 0, infinity and NaN: x = m * 2^e with m in [sqrt(1/2), sqrt(2)).
POLYNOMIAL float polynomial_log(float x)
{
    if (x != x || POLYNOMIAL_BITS(x) == 0x7f800000) return x;
    int32_t e = 0;
    if (x < 1.17549435e-38f) {
        x *= 33554432.0f;
        e = -25;
    }
    int32_t b = POLYNOMIAL_BITS(x);
    int32_t shift = (b - 0x3f3504f3) >> 23;
    e += shift;
    float f = POLYNOMIAL_FLOAT(b - (int32_t)((uint32_t)shift << 23)) - 1.0f;
    float z = f * f;
    float p = 7.0376836292e-2f;
    p = POLYNOMIAL_FMA(p, f, -1.1514610310e-1f);
    p = POLYNOMIAL_FMA(p, f, 1.1676998740e-1f);
    p = POLYNOMIAL_FMA(p, f, -1.2420140846e-1f);
    p = POLYNOMIAL_FMA(p, f, 1.4249322787e-1f);
    p = POLYNOMIAL_FMA(p, f, -1.6668057665e-1f);
    p = POLYNOMIAL_FMA(p, f, 2.0000714765e-1f);
    p = POLYNOMIAL_FMA(p, f, -2.4999993993e-1f);
    p = POLYNOMIAL_FMA(p, f, 3.3333331174e-1f);
    float n = (float)e;
    float y = POLYNOMIAL_FMA(n, -2.12194440e-4f, f * z * p);
    y = POLYNOMIAL_FMA(z, -0.5f, y);
    return POLYNOMIAL_FMA(n, 0.693359375f, f + y);
}

#endif
