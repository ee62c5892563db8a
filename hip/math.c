#include "hip/math.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "hip/fma.h"

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

#define POLYNOMIAL       static
#define POLYNOMIAL_FMA   hip_fma
#define POLYNOMIAL_BITS  bits_of
#define POLYNOMIAL_FLOAT float_of
#include "hip/polynomial.h"

float hip_math_exp(float x)
{
    return polynomial_exp(x);
}

float hip_math_log(float x)
{
    if (x != x || x < 0) return NAN;
    return x == 0 ? -INFINITY : polynomial_log(x);
}

// x - q * pi/2 in three steps, and which quarter it is.
static float reduce(float x, int32_t *quarter)
{
    const float magic = 12582912.0f;
    float t = hip_fma(x, 0.63661977236758134f, magic);
    float n = t - magic;
    *quarter = (bits_of(t) - 0x4b400000) & 3;
    float r = hip_fma(n, -1.57079625129699707f, x);
    r = hip_fma(n, -7.54978941586159635e-8f, r);
    return hip_fma(n, -5.39030253191302e-15f, r);
}

static float sine_of(float r)
{
    float z = r * r;
    float p = hip_fma(hip_fma(-1.9515295891e-4f, z, 8.3321608736e-3f), z, -1.6666654611e-1f);
    return hip_fma(p * z, r, r);
}

static float cosine_of(float r)
{
    float z = r * r;
    float p = hip_fma(hip_fma(2.443315711809948e-5f, z, -1.388731625493765e-3f), z, 4.166664568298827e-2f);
    return hip_fma(p * z, z, hip_fma(z, -0.5f, 1.0f));
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
