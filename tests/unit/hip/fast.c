// Profile fast-bf16 on the emulated GPUs: bfloat16 products and fused attention within stated bounds of the same sums
// in double, a library that is not there, and repro-fp32 beside it with its bits.
#include "unit/hip/naive.h"

static struct fake_control *control;

static struct hip_device *device;
static struct hip_stream *stream;

static void open_on(const char *name)
{
    assert_int_equal(hip_device_open(name, NULL, &device), CORE_ERR_OK);
    assert_int_equal(hip_stream_open(device, &stream), CORE_ERR_OK);
    hip_stream_profile(stream, HIP_PROFILE_FAST_BF16);
}

static void close_it(void)
{
    hip_stream_close(stream);
    hip_device_close(device);
}

// Largest difference, in parts of the largest expected element.
static double apart(const double *expected, const float *got, size_t count)
{
    double difference = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(isfinite(got[i]));
        const double d = fabs(expected[i] - (double)got[i]);
        difference = d > difference ? d : difference;
        largest = fabs(expected[i]) > largest ? fabs(expected[i]) : largest;
    }
    return difference / largest;
}

struct product {
    uint32_t m, n, k;
    int ta, tb, add;
};

// Each operand's rounding is within 2^-9 of it; the sums of `k` products of like size stay below 2^-7 of the largest.
static void one_product(const struct product *p, bool library)
{
    const size_t lda = (p->ta ? p->m : p->k) + 4, ldb = (p->tb ? p->k : p->n) + 8, ldc = p->n + 4;
    const size_t na = lda * (p->ta ? p->k : p->m), nb = ldb * (p->tb ? p->n : p->k), nc = ldc * p->m;
    float *a = naive_random(na, 1, 1), *b = naive_random(nb, 1, 2), *c = naive_random(nc, 1, 3);
    double *expected = malloc(nc * sizeof *expected);
    assert_non_null(expected);
    for (size_t i = 0; i < nc; i++) expected[i] = (double)c[i];
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            double sum = p->add ? (double)c[i * ldc + j] : 0;
            for (size_t k = 0; k < p->k; k++)
                sum += (double)a[p->ta ? k * lda + i : i * lda + k] * (double)b[p->tb ? j * ldb + k : k * ldb + j];
            expected[i * ldc + j] = sum;
        }
    }
    const unsigned long before = control->products;
    hip_gemm(stream, &(struct hip_gemm){.m = p->m,
                                        .n = p->n,
                                        .k = p->k,
                                        .transpose_a = p->ta,
                                        .transpose_b = p->tb,
                                        .a = a,
                                        .b = b,
                                        .add = p->add ? c : NULL,
                                        .c = c,
                                        .lda = lda,
                                        .ldb = ldb,
                                        .ldc = ldc});
    assert_int_equal(hip_stream_wait(stream), CORE_ERR_OK);
    assert_int_equal(control->products - before, library);
    const double error = apart(expected, c, nc);
    if (error > 0x1p-7 || (library && error < 0x1p-14)) fail_msg("%u x %u x %u: %g apart", p->m, p->n, p->k, error);
    free(a), free(b), free(c), free(expected);
}

static const struct product products[] = {
    {16, 24, 32, 0, 1, 0}, {12, 8, 516, 0, 0, 1}, {40, 20, 64, 1, 0, 1}, {8, 36, 128, 1, 1, 0}, {16, 24, 32, 0, 1, 1},
};

static void products_are_the_librarys(void **state)
{
    (void)state;
    if (!control) skip();
    for (int amd = 0; amd < 2; amd++) {
        open_on(amd ? "amd" : "nvidia");
        for (int twice = 0; twice < 2; twice++)
            for (size_t i = 0; i < sizeof products / sizeof *products; i++) one_product(products + i, true);
        // More shapes than are remembered.
        for (uint32_t n = 4; n < 4 * 70; n += 4) one_product(&(struct product){4, n, 8, 0, 1, 0}, true);
        close_it();
    }
}

static void without_a_library_products_are_ours(void **state)
{
    (void)state;
    if (!control) skip();
    setenv("MYCEL_CUBLASLT_LIBRARY", "", 1);
    open_on("nvidia");
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) one_product(products + i, false);
    close_it();
    setenv("MYCEL_CUBLASLT_LIBRARY", "libm.so.6", 1);  // one that has none of the calls
    open_on("nvidia");
    one_product(products, false);
    close_it();
    fake_use();
}

static void a_product_that_fails_is_ours(void **state)
{
    (void)state;
    if (!control) skip();
    open_on("nvidia");
    control->fail = "product";
    one_product(products, false);
    control->fail = NULL;
    one_product(products, false);  // the library is not asked for this shape again
    one_product(products + 1, true);
    close_it();
}

struct shape {
    uint32_t batch, context, heads, kv_heads, dim;
};

struct attention {
    struct shape s;
    size_t rows, ldq, ldk, ldy;
    float *q, *k, *v, *dy, *y, *probs, *dq, *dk, *dv;
    double *ey, *edq, *edk, *edv;
};

// The definition in double, one head.
static void exact_head(struct attention *t, size_t b, size_t h, double scale)
{
    const size_t n = t->s.context, dim = t->s.dim, kv = h / (t->s.heads / t->s.kv_heads);
    const size_t q0 = b * n * t->ldq + h * dim, k0 = b * n * t->ldk + kv * dim, y0 = b * n * t->ldy + h * dim;
    double *p = malloc(n * sizeof *p), *g = malloc(n * sizeof *g);
    assert_true(p && g);
    for (size_t i = 0; i < n; i++) {
        double largest = -INFINITY, sum = 0, r = 0;
        for (size_t j = 0; j <= i; j++) {
            p[j] = g[j] = 0;
            for (size_t d = 0; d < dim; d++) {
                p[j] += (double)t->q[q0 + i * t->ldq + d] * (double)t->k[k0 + j * t->ldk + d];
                g[j] += (double)t->dy[y0 + i * t->ldy + d] * (double)t->v[k0 + j * t->ldk + d];
            }
            p[j] *= scale;
            largest = p[j] > largest ? p[j] : largest;
        }
        for (size_t j = 0; j <= i; j++) sum += p[j] = exp(p[j] - largest);
        for (size_t j = 0; j <= i; j++) p[j] /= sum, r += p[j] * g[j];
        for (size_t j = 0; j <= i; j++) {
            const double ds = p[j] * (g[j] - r) * scale;
            for (size_t d = 0; d < dim; d++) {
                t->ey[y0 + i * t->ldy + d] += p[j] * (double)t->v[k0 + j * t->ldk + d];
                t->edv[k0 + j * t->ldk + d] += p[j] * (double)t->dy[y0 + i * t->ldy + d];
                t->edq[q0 + i * t->ldq + d] += ds * (double)t->k[k0 + j * t->ldk + d];
                t->edk[k0 + j * t->ldk + d] += ds * (double)t->q[q0 + i * t->ldq + d];
            }
        }
    }
    free(p), free(g);
}

// fp32 throughout: within 2^-17 of the largest element.
static void one_attention(const struct shape *s)
{
    struct attention t = {.s = *s, .rows = (size_t)s->batch * s->context, .ldq = (size_t)s->heads * s->dim + 4};
    t.ldk = (size_t)s->kv_heads * s->dim + 3, t.ldy = (size_t)s->heads * s->dim;
    const size_t nq = t.rows * t.ldq, nk = t.rows * t.ldk, ny = t.rows * t.ldy;
    t.q = naive_random(nq, 2, 1), t.k = naive_random(nk, 2, 2), t.v = naive_random(nk, 2, 3);
    t.dy = naive_random(ny, 1, 4), t.y = naive_random(ny, 1, 5);
    t.probs = naive_random((size_t)s->batch * s->heads * s->context * s->context, 1, 6);
    t.dq = calloc(nq, 4), t.dk = calloc(nk, 4), t.dv = calloc(nk, 4);
    t.ey = calloc(ny, 8), t.edq = calloc(nq, 8), t.edk = calloc(nk, 8), t.edv = calloc(nk, 8);
    assert_true(t.dq && t.dk && t.dv && t.ey && t.edq && t.edk && t.edv);
    const float scale = 1.0f / sqrtf((float)s->dim);
    for (size_t b = 0; b < s->batch; b++)
        for (size_t h = 0; h < s->heads; h++) exact_head(&t, b, h, (double)scale);
    struct hip_attention a = {t.q,      t.k,        t.v,      t.ldq,       t.ldk,  t.probs, t.y,
                              s->batch, s->context, s->heads, s->kv_heads, s->dim, scale};
    struct hip_attention_grad g = {t.dy,  t.q,      t.k,        t.v,      t.probs,     t.dq,   t.dk,  t.dv, t.ldq,
                                   t.ldk, s->batch, s->context, s->heads, s->kv_heads, s->dim, scale, t.y};
    hip_attention(stream, &a);
    hip_attention_grad(stream, &g);
    assert_int_equal(hip_stream_wait(stream), CORE_ERR_OK);
    const double errors[] = {apart(t.ey, t.y, ny), apart(t.edq, t.dq, nq), apart(t.edk, t.dk, nk),
                             apart(t.edv, t.dv, nk)};
    for (int i = 0; i < 4; i++) {
        // With a context of 1 the scores' gradient is exactly zero.
        if (errors[i] > 0x1p-17)
            fail_msg("context %u, heads %u, dim %u: %d is %g apart", s->context, s->heads, s->dim, i, errors[i]);
    }
    free(t.q), free(t.k), free(t.v), free(t.dy), free(t.y), free(t.probs), free(t.dq), free(t.dk), free(t.dv);
    free(t.ey), free(t.edq), free(t.edk), free(t.edv);
}

static void fused_attention_is_near_the_definition(void **state)
{
    (void)state;
    if (!control) skip();
    static const struct shape shapes[] = {
        {1, 2, 1, 1, 2}, {2, 33, 2, 2, 8}, {1, 64, 2, 1, 64}, {1, 65, 4, 2, 48}, {1, 200, 1, 1, 16}, {2, 97, 3, 1, 12},
    };
    open_on("nvidia");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) one_attention(shapes + i);
    close_it();
}

static int setup(void **state)
{
    (void)state;
    control = fake_use();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_the_librarys),
        cmocka_unit_test(without_a_library_products_are_ours),
        cmocka_unit_test(a_product_that_fails_is_ours),
        cmocka_unit_test(fused_attention_is_near_the_definition),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
