#include "hip/math.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static int32_t bits_of(float x)
{
    int32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static float float_of(int32_t b)
{
    float x;
    memcpy(&x, &b, sizeof x);
    return x;
}

// Cephes' expf polynomial (S. L. Moshier) over fma. The vectors in hip/vector.inc take the very same steps.
float hip_math_exp(float x)
{
    x = -104.0f > x ? -104.0f : x;
    x = 89.0f < x ? 89.0f : x;
    if (x != x) return x;
    const float magic = 12582912.0f;
    float t = fmaf(x, 1.44269504088896341f, magic);
    float n = t - magic;
    float r = fmaf(n, -0.693359375f, x);
    r = fmaf(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    p = fmaf(p, r * r, r) + 1.0f;
    int32_t k = bits_of(t) - 0x4b400000, low = k >> 1;
    return p * float_of((low + 127) << 23) * float_of((k - low + 127) << 23);
}

// Cephes' logf polynomial over fma: x = m * 2^e with m in [sqrt(1/2), sqrt(2)).
float hip_math_log(float x)
{
    if (x != x || x < 0) return NAN;
    if (x == 0) return -INFINITY;
    if (x == INFINITY) return x;
    int32_t e = 0;
    if (x < 1.17549435e-38f) {
        x *= 33554432.0f;
        e = -25;
    }
    int32_t b = bits_of(x);
    e += ((b - 0x3f3504f3) >> 23);
    float f = float_of(b - (int32_t)((uint32_t)((b - 0x3f3504f3) >> 23) << 23)) - 1.0f;
    float z = f * f;
    float p = 7.0376836292e-2f;
    p = fmaf(p, f, -1.1514610310e-1f);
    p = fmaf(p, f, 1.1676998740e-1f);
    p = fmaf(p, f, -1.2420140846e-1f);
    p = fmaf(p, f, 1.4249322787e-1f);
    p = fmaf(p, f, -1.6668057665e-1f);
    p = fmaf(p, f, 2.0000714765e-1f);
    p = fmaf(p, f, -2.4999993993e-1f);
    p = fmaf(p, f, 3.3333331174e-1f);
    float n = (float)e;
    float y = fmaf(n, -2.12194440e-4f, f * z * p);
    y = fmaf(z, -0.5f, y);
    return fmaf(n, 0.693359375f, f + y);
}

// x - q * pi/2 in three steps, and which quarter it is.
static float reduce(float x, int32_t *quarter)
{
    const float magic = 12582912.0f;
    float t = fmaf(x, 0.63661977236758134f, magic);
    float n = t - magic;
    *quarter = (bits_of(t) - 0x4b400000) & 3;
    float r = fmaf(n, -1.57079625129699707f, x);
    r = fmaf(n, -7.54978941586159635e-8f, r);
    return fmaf(n, -5.39030253191302e-15f, r);
}

static float sine_of(float r)
{
    float z = r * r;
    float p = fmaf(fmaf(-1.9515295891e-4f, z, 8.3321608736e-3f), z, -1.6666654611e-1f);
    return fmaf(p * z, r, r);
}

static float cosine_of(float r)
{
    float z = r * r;
    float p = fmaf(fmaf(2.443315711809948e-5f, z, -1.388731625493765e-3f), z, 4.166664568298827e-2f);
    return fmaf(p * z, z, fmaf(z, -0.5f, 1.0f));
}

float hip_math_sin(float x)
{
    int32_t quarter;
    float r = reduce(x, &quarter);
    float y = quarter & 1 ? cosine_of(r) : sine_of(r);
    return quarter & 2 ? -y : y;
}

float hip_math_cos(float x)
{
    int32_t quarter;
    float r = reduce(x, &quarter);
    float y = quarter & 1 ? sine_of(r) : cosine_of(r);
    return quarter == 1 || quarter == 2 ? -y : y;
}

float hip_math_silu(float x)
{
    return x * (1.0f / (1.0f + hip_math_exp(-x)));
}

float hip_math_rsqrt(float x)
{
    return 1.0f / sqrtf(x);
}
