// The polynomials against libm's double: error in units of the last place, over every 4099th float of the domain, or
// over all of them with MYCEL_FULL=1. And the device: names, instruction sets, threads, copies.
#include "unit/hip/naive.h"

#include <stdatomic.h>

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// |got - exact| in units of the last place of the exact value's float (of the smallest normal's below it).
static double ulps(float got, double exact)
{
    int e;
    (void)frexp(exact, &e);
    if (e < -125) e = -125;
    return fabs((double)got - exact) / ldexp(1, e - 24);
}

struct worst {
    double error;
    float at;
};

static struct worst over(float (*f)(float), double (*exact)(double), float low, float high)
{
    struct worst w = {0, 0};
    uint32_t step = getenv("MYCEL_FULL") ? 1 : 4099;
    for (uint64_t b = 0; b <= UINT32_MAX; b += step) {
        float x = float_of((uint32_t)b);
        if (!(x >= low && x <= high)) continue;
        double e = ulps(f(x), exact((double)x));
        if (e > w.error) w = (struct worst){e, x};
    }
    printf("worst error %.3f ulp at %a\n", w.error, (double)w.at);
    return w;
}

static double exact_silu(double x)
{
    return x / (1 + exp(-x));
}

static void exp_error(void **state)
{
    (void)state;
    assert_true(over(hip_math_exp, exp, -103.9f, 88.722f).error < 1.1);
    assert_true(hip_math_exp(-104.0f) == 0 && hip_math_exp(-INFINITY) == 0);
    assert_true(isinf(hip_math_exp(88.73f)) && isinf(hip_math_exp(INFINITY)) && isnan(hip_math_exp(NAN)));
    assert_true(hip_math_exp(0) == 1);
}

static void log_error(void **state)
{
    (void)state;
    assert_true(over(hip_math_log, log, 0x1p-149f, 3.4e38f).error < 1.1);
    assert_true(hip_math_log(0) == -INFINITY && isnan(hip_math_log(-1)) && isinf(hip_math_log(INFINITY)));
    assert_true(hip_math_log(1) == 0);
}

// Near their zeros sine and cosine are small: the absolute error counts there, in units of 2^-24.
static double worst_absolute(float (*f)(float), double (*exact)(double))
{
    double worst = 0;
    uint32_t step = getenv("MYCEL_FULL") ? 1 : 4099;
    for (uint64_t b = 0; b <= UINT32_MAX; b += step) {
        float x = float_of((uint32_t)b);
        if (!(fabsf(x) <= 65536.0f)) continue;
        double e = fabs((double)f(x) - exact((double)x)) * 0x1p24;
        if (e > worst) worst = e;
    }
    printf("worst error %.3f * 2^-24\n", worst);
    return worst;
}

static void sine_and_cosine_error(void **state)
{
    (void)state;
    assert_true(worst_absolute(hip_math_sin, sin) < 1.6);
    assert_true(worst_absolute(hip_math_cos, cos) < 1.6);
}

static void silu_error(void **state)
{
    (void)state;
    assert_true(over(hip_math_silu, exact_silu, -80.0f, 1e6f).error < 3.5);
    assert_true(hip_math_rsqrt(4.0f) == 0.5f);
}

static void bind_count(void *context, uint32_t thread)
{
    assert_true(thread >= 1 && thread < 5);
    atomic_fetch_add((atomic_uint *)context, 1u << (4 * thread));
}

static void device_opens_by_name(void **state)
{
    (void)state;
    struct hip_device *d;
    struct hip_facts facts;
    assert_int_equal(hip_device_open("abacus", NULL, &d), CORE_ERR_NOT_FOUND);
    assert_null(d);
    assert_int_equal(setenv("MYCEL_ISA", "mmx", 1), 0);
    assert_int_equal(hip_device_open("cpu", NULL, &d), CORE_ERR_UNSUPPORTED);
    assert_int_equal(setenv("MYCEL_ISA", "portable", 1), 0);
    atomic_uint bound = 0;
    struct hip_options options = {.threads = 5, .bind = bind_count, .bind_context = &bound};
    assert_int_equal(hip_device_open("cpu", &options, &d), CORE_ERR_OK);
    hip_device_facts(d, &facts);
    assert_string_equal(facts.isa, "portable");
    assert_string_equal(facts.name, "cpu");
    assert_int_equal(facts.threads, 5);
    hip_device_close(d);
    assert_int_equal(atomic_load(&bound), 0x11110);
    assert_int_equal(unsetenv("MYCEL_ISA"), 0);
    assert_string_equal(hip_kernel_name(HIP_KERNEL_ATTENTION_GRAD), "attention_grad");
}

static void buffers_and_copies(void **state)
{
    (void)state;
    struct hip_device *d;
    struct hip_stream *s;
    struct hip_event *from, *to;
    assert_int_equal(hip_device_open("cpu", NULL, &d), CORE_ERR_OK);
    assert_int_equal(hip_stream_open(d, &s), CORE_ERR_OK);
    static const size_t sizes[] = {0, 1, 4097, 5 << 20};
    for (size_t i = 0; i < 4; i++) {
        void *a, *b;
        char *host = malloc(sizes[i] + 1);
        assert_int_equal(hip_alloc(d, sizes[i], &a), CORE_ERR_OK);
        assert_int_equal(hip_alloc(d, sizes[i], &b), CORE_ERR_OK);
        assert_true(host && (uintptr_t)a % 64 == 0);
        for (size_t j = 0; j < sizes[i]; j++) assert_int_equal(((char *)a)[j], 0);
        memset(host, 7, sizes[i]);
        hip_upload(s, a, host, sizes[i]);
        hip_copy(s, b, a, sizes[i]);
        hip_zero(s, a, sizes[i]);
        memset(host, 0, sizes[i]);
        hip_download(s, host, b, sizes[i]);
        assert_int_equal(hip_stream_wait(s), CORE_ERR_OK);
        for (size_t j = 0; j < sizes[i]; j++) assert_true(host[j] == 7 && ((char *)a)[j] == 0);
        hip_free(d, a), hip_free(d, b), free(host);
    }
    assert_int_equal(hip_event_open(d, &from), CORE_ERR_OK);
    assert_int_equal(hip_event_open(d, &to), CORE_ERR_OK);
    hip_event_record(from, s);
    hip_event_record(to, s);
    hip_event_wait(to);
    assert_true(hip_event_seconds(from, to) >= 0);
    hip_event_close(from), hip_event_close(to);
    hip_stream_close(s);
    hip_device_close(d);
}

// Against libm's, surely libm's; and where rounding twice would show: 1 + 2^-23 + 2^-24 - 2^-70 is below the middle.
static void fma_rounds_once(void **state)
{
    (void)state;
    float (*libm)(float, float, float);
    void *library = dlopen("libm.so.6", RTLD_NOW), *found = library ? dlsym(library, "fmaf") : NULL;
    assert_non_null(found);
    memcpy(&libm, &found, sizeof libm);
    volatile float a = 1 + 0x1p-23f, b = 0x1p-24f * (1 - 0x1p-23f), c = 1 + 0x1p-23f;
    assert_true(hip_fma(a, b, c) == 1 + 0x1p-23f);
    assert_true(hip_fma(a, b, -c) == -1 - 0x1p-23f);  // just beyond the middle of 1 and its neighbour
    assert_true(signbit(hip_fma(-0x1p-100f, 0x1p-100f, -0.0f)));
    struct rng r = rng_from(5, 5);
    for (int i = 0; i < 3000000; i++) {
        float x[3];
        for (int j = 0; j < 3; j++) {
            uint32_t bits = rng_u32(&r);
            // Half of them near one with few bits set, so that sums come close to the middle between two floats.
            if (i % 2)
                bits = (bits & 0x8000007f) | (uint32_t)(j == 2 ? 100 + i / 2 % 55 : 127) << 23 | (bits >> 9 & 7) << 20;
            x[j] = float_of(bits);
        }
        const float expected = libm(x[0], x[1], x[2]), got = hip_fma(x[0], x[1], x[2]);
        if (expected == expected || got == got) naive_same("fma", &expected, &got, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fma_rounds_once),       cmocka_unit_test(exp_error),  cmocka_unit_test(log_error),
        cmocka_unit_test(sine_and_cosine_error), cmocka_unit_test(silu_error), cmocka_unit_test(device_opens_by_name),
        cmocka_unit_test(buffers_and_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
