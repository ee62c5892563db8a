// Shapes of real training, too many for the naive twins: a GPU's bits against the CPU's, which the unit tests hold to
// the rule.
#define MYCEL_TEST_DEVICE
#include "unit/hip/naive.h"

#include "device/parts.h"

static bool emulated(void)
{
    const struct hip_found *found;
    return mirror_devices(&found) && !strncmp(found[0].facts.name, "Emulated", 8);
}

// Sizes for the emulator's patience.
static uint32_t sized(uint32_t n)
{
    return emulated() ? n / 8 : n;
}

// The same launch on the CPU, on the host's own memory.
static void on_cpu(enum hip_kernel k, const void *args)
{
    static struct hip_device *d;
    static struct hip_stream *s;
    if (!d) {
        assert_int_equal(hip_device_open("cpu", &(struct hip_options){.threads = 8}, &d), CORE_ERR_OK);
        assert_int_equal(hip_stream_open(d, &s), CORE_ERR_OK);
    }
    mirror_launch_host(s, k, args);
}

struct shape {
    uint32_t m, n, k;
    bool transpose_a, transpose_b, add;
};

static void products(struct hip_stream *s)
{
    static const struct shape shapes[] = {
        {1536, 384, 128, false, true, false},    {1024, 1152, 384, false, true, false},
        {1024, 384, 1024, false, true, true},    {1024, 384, 1152, false, false, false},
        {1152, 384, 1024, true, false, true},    {4096, 2304, 768, false, true, false},
        {768, 2048, 4096, true, false, false},   {1000, 999, 1537, true, true, true},
        {2048, 2048, 2048, false, false, false},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct shape p = shapes[i];
        p.m = sized(p.m), p.n = sized(p.n), p.k = sized(p.k);
        float *a = naive_random((size_t)p.m * p.k, 1, 1), *b = naive_random((size_t)p.n * p.k, 1, 2);
        float *add = naive_random((size_t)p.m * p.n, 1, 3), *expected = naive_copy(add, (size_t)p.m * p.n);
        struct hip_gemm g = {.m = p.m, .n = p.n, .k = p.k, .transpose_a = p.transpose_a, .a = a, .b = b, .c = add};
        g.transpose_b = p.transpose_b;
        g.lda = p.transpose_a ? p.m : p.k, g.ldb = p.transpose_b ? p.k : p.n, g.ldc = p.n;
        if (p.add) g.add = add;
        hip_gemm(s, &g);
        g.c = expected;
        if (p.add) g.add = expected;
        on_cpu(HIP_KERNEL_GEMM, &g);
        char what[80];
        snprintf(what, sizeof what, "product %u x %u x %u", p.m, p.n, p.k);
        naive_same(what, expected, add, (size_t)p.m * p.n);
        free(a), free(b), free(add), free(expected);
    }
}

static void attention(struct hip_stream *s)
{
    const uint32_t context = sized(1024), heads = 6, dim = 64, batch = 2;
    const size_t rows = (size_t)batch * context, width = (size_t)heads * dim, ld = 3 * width;
    const size_t np = (size_t)batch * heads * context * context;
    float *qkv = naive_random(rows * ld, 1, 1), *dy = naive_random(rows * width, 1, 2);
    float *out[2], *probs[2], *grads[2];
    for (int i = 0; i < 2; i++) {
        out[i] = naive_random(rows * width, 1, 3);
        probs[i] = naive_random(np, 1, 4);
        grads[i] = naive_random(rows * ld, 1, 5);
        struct hip_attention a = {qkv,   qkv + width, qkv + 2 * width, ld,    ld,  probs[i], out[i],
                                  batch, context,     heads,           heads, dim, 0.125f};
        struct hip_attention_grad g = {.dy = dy, .q = qkv, .k = qkv + width, .v = qkv + 2 * width, .probs = probs[i]};
        g.dq = grads[i], g.dk = grads[i] + width, g.dv = grads[i] + 2 * width;
        g.ldq = g.ldk = ld, g.batch = batch, g.context = context, g.heads = g.kv_heads = heads, g.head_dim = dim;
        g.scale = 0.125f;
        if (i) {
            on_cpu(HIP_KERNEL_ATTENTION, &a), on_cpu(HIP_KERNEL_ATTENTION_GRAD, &g);
        } else {
            hip_attention(s, &a), hip_attention_grad(s, &g);
        }
    }
    naive_same("attention", out[1], out[0], rows * width);
    naive_same("attention's gradients", grads[1], grads[0], rows * ld);
    for (int i = 0; i < 2; i++) free(out[i]), free(probs[i]), free(grads[i]);
    free(qkv), free(dy);
}

static void tensors(struct hip_stream *s)
{
    const size_t n = (size_t)sized(5000) * 4099;
    float *x = naive_random(n, 1, 1), got[2] = {0}, expected[2] = {0};
    hip_sum(s, &(struct hip_sum){x, got, n});
    hip_sum_squares(s, &(struct hip_sum_squares){x, got + 1, n});
    on_cpu(HIP_KERNEL_SUM, &(struct hip_sum){x, expected, n});
    on_cpu(HIP_KERNEL_SUM_SQUARES, &(struct hip_sum_squares){x, expected + 1, n});
    naive_same("sums of a tensor", expected, got, 2);
    free(x);
}

static void products_equal_the_cpus(void **state)
{
    (void)state, mirror_each(products);
}
static void attention_equals_the_cpus(void **state)
{
    (void)state, mirror_each(attention);
}
static void reductions_equal_the_cpus(void **state)
{
    (void)state, mirror_each(tensors);
}

int large_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_equal_the_cpus),
        cmocka_unit_test(attention_equals_the_cpus),
        cmocka_unit_test(reductions_equal_the_cpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
