// The rules of hip/kernels.h to the letter, one element at a time: what every kernel must equal bit by bit. And the
// loop over instruction sets and thread counts that all these tests share.
#ifndef TESTS_UNIT_HIP_NAIVE_H
#define TESTS_UNIT_HIP_NAIVE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef MYCEL_TEST_DEVICE
#include "device/mirror.h"
#endif

#include "core/philox.h"
#include "fake/fake.h"
#include "hip/device.h"
#include "hip/fma.h"
#include "hip/math.h"

#define UNUSED __attribute__((unused))

#ifdef MYCEL_TEST_DEVICE
#define malloc mirror_malloc
#define free   mirror_free
// There the compiler's own fmaf is linked, which rounds twice; tests/unit/hip/math.c holds ours to libm's.
#define fmaf hip_fma
#endif

// The rule's own numbers, on purpose not those of the code under test.
enum { NAIVE_CHUNK = 512, NAIVE_TENSOR_ROW = 4096 };

// A strided matrix as a product sees it: element (i, j) at p[i * si + j * sj].
struct naive_matrix {
    const float *p;
    size_t si, sj;
};

// start (if any) + contract over k in [from, to) of a(i, k) b(k, j), chunks of 512 of the absolute index.
UNUSED static float naive_contract(struct naive_matrix a, size_t i, struct naive_matrix b, size_t j, size_t from,
                                   size_t to, const float *start)
{
    float total = start ? *start : 0.0f;
    int first = !start;
    for (size_t k = from; k < to;) {
        size_t end = (k / NAIVE_CHUNK + 1) * NAIVE_CHUNK;
        float acc = 0.0f;
        for (; k < to && k < end; k++) acc = fmaf(a.p[i * a.si + k * a.sj], b.p[k * b.si + j * b.sj], acc);
        total = first ? acc : total + acc;
        first = 0;
    }
    return total;
}

// Row reduction of e[i], or of e[i] * f[i] by fma where f is given.
UNUSED static float naive_row(const float *e, const float *f, size_t count)
{
    float p[32] = {0};
    for (size_t i = 0; i < count; i++) p[i % 32] = f ? fmaf(e[i], f[i], p[i % 32]) : p[i % 32] + e[i];
    for (int h = 16; h; h /= 2) {
        for (int i = 0; i < h; i++) p[i] = p[i] + p[i + h];
    }
    return p[0];
}

UNUSED static float naive_max(const float *x, size_t count)
{
    float m = x[0];
    for (size_t i = 1; i < count; i++) m = x[i] > m ? x[i] : m;
    return m;
}

// `count` floats in about [-scale, scale), some of them zeros, negative zeros and of very unlike sizes.
UNUSED static float *naive_random(size_t count, float scale, uint64_t seed)
{
    float *x = malloc((count + 1) * sizeof *x);
    struct rng r = rng_from(seed, 7);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++) {
        uint32_t u = rng_u32(&r);
        x[i] = ((float)(int32_t)(u >> 8) * 0x1p-23f - 1.0f) * scale;
        if (u % 31 == 0) x[i] = u % 2 ? 0.0f : -0.0f;
        if (u % 37 == 0) x[i] *= 0x1p-60f;
    }
    return x;
}

UNUSED static float *naive_copy(const float *x, size_t count)
{
    float *y = malloc((count + 1) * sizeof *y);
    assert_non_null(y);
    memcpy(y, x, count * sizeof *y);
    return y;
}

UNUSED static void naive_same(const char *what, const float *expected, const float *got, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!memcmp(expected + i, got + i, sizeof *got)) continue;
        fail_msg("%s: element %zu is %a, the rule says %a", what, i, (double)got[i], (double)expected[i]);
    }
}

// The GPUs' kernels, emulated: the host's memory is as good as the device's there.
UNUSED static void on_fake_device(void (*test)(struct hip_stream *s))
{
    struct hip_device *d;
    struct hip_stream *s;
    char why[HIP_WHY_SIZE];
    if (!fake_use()) return;
    if (hip_device_open_told("nvidia", NULL, &d, why, sizeof why)) fail_msg("%s", why);
    assert_int_equal(hip_stream_open(d, &s), CORE_ERR_OK);
    test(s);
    assert_int_equal(hip_stream_wait(s), CORE_ERR_OK);
    hip_stream_close(s);
    hip_device_close(d);
}

// Runs `test` on every instruction set of this CPU with 1, 2, 3 and 5 threads, and on the emulated GPU; in tests/device
// on each real GPU instead. What is missing is said aloud.
UNUSED static void on_every_device(void (*test)(struct hip_stream *s))
{
#ifdef MYCEL_TEST_DEVICE
    mirror_each(test);
#else
    static const uint32_t threads[] = {1, 2, 3, 5};
    for (enum hip_isa isa = HIP_ISA_PORTABLE; isa < HIP_ISA_COUNT; isa++) {
        if (!hip_isa_built(isa)) continue;
        if (!hip_isa_available(isa)) {
            fprintf(stderr, "SKIPPED: this CPU has no %s, its kernels were NOT tested\n", hip_isa_name(isa));
            continue;
        }
        for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
            struct hip_device *d;
            struct hip_stream *s;
            struct hip_options options = {.threads = threads[i], .isa = isa};
            assert_int_equal(hip_device_open("cpu", &options, &d), CORE_ERR_OK);
            assert_int_equal(hip_stream_open(d, &s), CORE_ERR_OK);
            test(s);
            hip_stream_close(s);
            hip_device_close(d);
        }
    }
    on_fake_device(test);
#endif
}

#endif
