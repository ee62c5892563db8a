// Element-wise kernels, whole reductions and integer sums against the rules, bit by bit.
#include "unit/hip/naive.h"

static const size_t counts[] = {0, 1, 15, 16, 33, 64, 1000, 4096, 4097, 20000, 150000};
#define COUNTS (sizeof counts / sizeof *counts)

static void adamw(struct hip_stream *s)
{
    for (size_t x = 0; x < COUNTS; x++) {
        size_t n = counts[x];
        float *p = naive_random(n, 1, 1), *m = naive_random(n, 1, 2), *v = naive_random(n, 1, 3),
              *g = naive_random(n, 1, 4);
        for (size_t i = 0; i < n; i++) v[i] = fabsf(v[i]);
        float *ep = naive_copy(p, n), *em = naive_copy(m, n), *ev = naive_copy(v, n);
        struct hip_adamw a = {p, m, v, g, n, 0.7f, 0.9f, 0.95f, 1e-8f, 2e-3f, 0.9998f, 3.5f, 7.25f};
        for (size_t i = 0; i < n; i++) {
            float grad = g[i] * a.grad_scale;
            em[i] = fmaf(1.0f - a.beta1, grad, a.beta1 * em[i]);
            ev[i] = fmaf(1.0f - a.beta2, grad * grad, a.beta2 * ev[i]);
            float u = (em[i] * a.correct1) / (sqrtf(ev[i] * a.correct2) + a.eps);
            ep[i] = fmaf(-a.rate, u, ep[i] * a.keep);
        }
        hip_adamw(s, &a);
        naive_same("adamw p", ep, p, n);
        naive_same("adamw m", em, m, n);
        naive_same("adamw v", ev, v, n);
        free(p), free(m), free(v), free(g), free(ep), free(em), free(ev);
    }
}

static float naive_tensor(const float *x, size_t count, int squares)
{
    if (!count) return 0.0f;
    size_t rows = (count + NAIVE_TENSOR_ROW - 1) / NAIVE_TENSOR_ROW;
    float *r = malloc(rows * sizeof *r);
    assert_non_null(r);
    for (size_t i = 0; i < rows; i++) {
        size_t at = i * NAIVE_TENSOR_ROW, n = count - at < NAIVE_TENSOR_ROW ? count - at : NAIVE_TENSOR_ROW;
        r[i] = naive_row(x + at, squares ? x + at : NULL, n);
    }
    float out = rows == 1 ? r[0] : naive_tensor(r, rows, 0);
    free(r);
    return out;
}

static void reductions(struct hip_stream *s)
{
    for (size_t x = 0; x < COUNTS; x++) {
        size_t n = counts[x];
        float *p = naive_random(n, 1, 1), got = 9, expected = naive_tensor(p, n, 0);
        hip_sum(s, &(struct hip_sum){p, &got, n});
        naive_same("sum", &expected, &got, 1);
        expected = naive_tensor(p, n, 1);
        hip_sum_squares(s, &(struct hip_sum_squares){p, &got, n});
        naive_same("sum_squares", &expected, &got, 1);
        expected = 0;
        for (size_t i = 0; i < n; i++) expected = fabsf(p[i]) > expected ? fabsf(p[i]) : expected;
        hip_max_abs(s, &(struct hip_max_abs){p, &got, n});
        naive_same("max_abs", &expected, &got, 1);
        uint32_t bad = 77;
        if (n > 20) p[3] = INFINITY, p[n - 1] = NAN, p[n / 2] = -INFINITY;
        hip_count_nonfinite(s, &(struct hip_count_nonfinite){p, &bad, n});
        assert_int_equal(bad, n > 20 ? 3 : 0);
        free(p);
    }
}

// 4096 * 4096 + 5 elements: the results' results are reduced once more.
static void a_large_sum_takes_three_passes(void **state)
{
    (void)state;
    size_t n = (size_t)NAIVE_TENSOR_ROW * NAIVE_TENSOR_ROW + 5;
    float *p = naive_random(n, 1, 1), got = 0, expected = naive_tensor(p, n, 1);
    struct hip_device *d;
    struct hip_stream *s;
    assert_int_equal(hip_device_open("cpu", &(struct hip_options){.threads = 2}, &d), CORE_ERR_OK);
    assert_int_equal(hip_stream_open(d, &s), CORE_ERR_OK);
    hip_sum_squares(s, &(struct hip_sum_squares){p, &got, n});
    naive_same("large sum", &expected, &got, 1);
    hip_stream_close(s);
    hip_device_close(d);
    free(p);
}

static void simple(struct hip_stream *s)
{
    for (size_t x = 0; x < COUNTS; x++) {
        size_t n = counts[x];
        float *a = naive_random(n, 1, 1), *b = naive_random(n, 1, 2), *ea = naive_copy(a, n), *eb = naive_copy(b, n);
        for (size_t i = 0; i < n; i++) eb[i] = fmaf(0.3f, ea[i], eb[i]), ea[i] *= 1.7f;
        hip_axpy(s, &(struct hip_axpy){a, b, n, 0.3f});
        hip_scale(s, &(struct hip_scale){a, n, 1.7f});
        naive_same("axpy", eb, b, n);
        naive_same("scale", ea, a, n);
        free(a), free(b), free(ea), free(eb);
    }
}

static void quantise(struct hip_stream *s)
{
    for (size_t x = 0; x < COUNTS; x++) {
        size_t n = counts[x];
        int limit = x % 2 ? 127 : 7, exponent = -9 + (int)x % 3;
        float *a = naive_random(n, 0.2f, 1), *b = naive_random(n, 0.2f, 2), *r = naive_random(n, 0.01f, 3),
              *er = naive_copy(r, n);
        int8_t *q = malloc(n + 1);
        assert_non_null(q);
        hip_quantise(s, &(struct hip_quantise){a, b, r, q, n, exponent, limit, 0.95f});
        for (size_t i = 0; i < n; i++) {
            float t = (a[i] - b[i]) + er[i];
            double k = nearbyint((double)t * ldexp(1, -exponent));
            k = k > limit ? limit : k < -limit ? -limit : k;
            assert_int_equal(q[i], (int)k);
            er[i] = (t - (float)k * ldexpf(1, exponent)) * 0.95f;
        }
        naive_same("residual", er, r, n);
        free(a), free(b), free(r), free(er), free(q);
    }
}

static void outer_step(struct hip_stream *s)
{
    for (size_t x = 0; x < COUNTS * 2; x++) {
        size_t n = counts[x / 2];
        float *p = naive_random(n, 1, 1), *m = x & 1 ? naive_random(n, 1, 2) : NULL, *g = naive_random(n, 1, 3);
        float *ep = naive_copy(p, n), *em = m ? naive_copy(m, n) : NULL, mu = m ? 0.9f : 0;
        int64_t *sums = malloc((n + 1) * sizeof *sums);
        struct rng r = rng_from(8, 8);
        assert_non_null(sums);
        for (size_t i = 0; i < n; i++) sums[i] = (int64_t)rng_below(&r, 100000) - 50000;
        hip_outer_step(s, &(struct hip_outer_step){sums, p, m, g, n, 189, -8, 0.7f, mu});
        for (size_t i = 0; i < n; i++) {
            float e = (float)(((double)sums[i] / 189.0) * 0x1p-8), u = e;
            naive_same("aggregate", &e, g + i, 1);
            if (em) em[i] = fmaf(mu, em[i], e), u = fmaf(mu, em[i], e);
            ep[i] = fmaf(-0.7f, u, ep[i]);
        }
        naive_same("outer params", ep, p, n);
        if (em) naive_same("outer momentum", em, m, n);
        free(p), free(m), free(g), free(ep), free(em), free(sums);
    }
}

static void integers(struct hip_stream *s)
{
    static const uint32_t widths[] = {8, 16, 24, 32, 64};
    for (size_t x = 0; x < COUNTS * 5; x++) {
        size_t n = counts[x / 5];
        uint32_t bits = widths[x % 5];
        int8_t *q0 = malloc(n + 2), *q;
        uint8_t *packed0 = malloc(n * 8 + 2), *packed;
        int64_t *sums0 = malloc((n + 2) * sizeof *sums0), *wide = malloc((n + 1) * sizeof *wide), *sums;
        int64_t *expected = malloc((n + 1) * sizeof *expected);
        struct rng r = rng_from(bits, 8);
        assert_true(q0 && packed0 && sums0 && wide && expected);
        // In every other case from an odd place on.
        q = q0 + x % 2, packed = packed0 + x % 2, sums = sums0 + x % 2;
        for (size_t i = 0; i < n; i++) {
            q[i] = (int8_t)rng_u32(&r);
            sums[i] = (int64_t)(rng_u64(&r) & ~(uint64_t)0) >> (65 - bits);
            sums[i] = sums[i] / 2;
            expected[i] = sums[i];
            wide[i] = 1000;
        }
        hip_narrow(s, &(struct hip_narrow){sums, packed, n, bits});
        for (size_t i = 0; i < n; i++) {
            for (uint32_t b = 0; b < bits / 8; b++)
                assert_int_equal(packed[i * bits / 8 + b], (uint64_t)sums[i] >> 8 * b & 255);
        }
        hip_widen_add(s, &(struct hip_widen_add){packed, wide, n, bits});
        hip_accumulate(s, &(struct hip_accumulate){q, sums, n, 63});
        for (size_t i = 0; i < n; i++) {
            assert_true(wide[i] == expected[i] + 1000);
            assert_true(sums[i] == expected[i] + 63 * (int64_t)q[i]);
        }
        free(q0), free(packed0), free(sums0), free(wide), free(expected);
    }
}

static void adamw_equals_the_rule(void **state)
{
    (void)state, on_every_device(adamw);
}
static void reductions_equal_the_rule(void **state)
{
    (void)state, on_every_device(reductions);
}
static void scale_and_axpy_equal_the_rule(void **state)
{
    (void)state, on_every_device(simple);
}
static void quantise_equals_the_rule(void **state)
{
    (void)state, on_every_device(quantise);
}
static void outer_step_equals_the_rule(void **state)
{
    (void)state, on_every_device(outer_step);
}
static void integer_sums_are_exact(void **state)
{
    (void)state, on_every_device(integers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_equals_the_rule),          cmocka_unit_test(reductions_equal_the_rule),
        cmocka_unit_test(a_large_sum_takes_three_passes), cmocka_unit_test(scale_and_axpy_equal_the_rule),
        cmocka_unit_test(quantise_equals_the_rule),       cmocka_unit_test(outer_step_equals_the_rule),
        cmocka_unit_test(integer_sums_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
