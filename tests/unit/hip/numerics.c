// docs/numerics.md held to the program: the hashes of the profiles' rules, and each operator's largest error against
// the same formula in double, which may not exceed the bound that the table there states. The bits are one on every
// device, so one of them is measured. `cat .cache/tests/unit/hip-numerics.log` shows what came out.
#include "unit/hip/naive.h"

enum { ROWS = 96, WIDTH = 384, HEADS = 6, DIM = WIDTH / HEADS, CONTEXT = 48, VOCAB = 256 };

static struct hip_stream *stream;
static char *document;

// The largest difference in units of 2^-24 of the largest exact element: half an ulp of it is 0.5 to 1.
static double worst(const double *exact, const float *got, size_t count)
{
    double difference = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = fabs(exact[i] - (double)got[i]), size = fabs(exact[i]);
        difference = d > difference ? d : difference;
        largest = size > largest ? size : largest;
    }
    return difference / largest * 0x1p24;
}

static double *doubles(size_t count)
{
    double *x = calloc(count, sizeof *x);
    assert_non_null(x);
    return x;
}

static double product_of(uint32_t k)
{
    const uint32_t m = 24, n = 40;
    float *a = naive_random((size_t)m * k, 1, 1), *b = naive_random((size_t)n * k, 1, 2),
          *c = naive_random(m * n, 1, 3);
    double *exact = doubles(m * n);
    hip_gemm(stream,
             &(struct hip_gemm){
                 .m = m, .n = n, .k = k, .transpose_b = true, .a = a, .b = b, .c = c, .lda = k, .ldb = k, .ldc = n});
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t d = 0; d < k; d++) exact[i * n + j] += (double)a[i * k + d] * (double)b[j * k + d];
    const double error = worst(exact, c, m * n);
    free(a), free(b), free(c), free(exact);
    return error;
}

static double product_384(void)
{
    return product_of(384);
}
static double product_16384(void)
{
    return product_of(16384);
}

static double norm_forward(void)
{
    float *x = naive_random(ROWS * WIDTH, 3, 1), *w = naive_random(WIDTH, 2, 2), *y = naive_random(ROWS * WIDTH, 1, 3);
    float *rstd = naive_random(ROWS, 1, 4);
    double *exact = doubles(ROWS * WIDTH);
    hip_norm(stream, &(struct hip_norm){x, w, y, rstd, ROWS, WIDTH, 1e-5f});
    for (size_t i = 0; i < ROWS; i++) {
        double sum = 0;
        for (size_t j = 0; j < WIDTH; j++) sum += (double)x[i * WIDTH + j] * (double)x[i * WIDTH + j];
        const double r = 1 / sqrt(sum / WIDTH + (double)1e-5f);
        for (size_t j = 0; j < WIDTH; j++) exact[i * WIDTH + j] = (double)x[i * WIDTH + j] * r * (double)w[j];
    }
    const double error = worst(exact, y, ROWS * WIDTH);
    free(x), free(w), free(y), free(rstd), free(exact);
    return error;
}

// Errors of dx (0) and dweight (1); rstd is taken as it was given.
static double norm_backward(int which)
{
    float *x = naive_random(ROWS * WIDTH, 3, 1), *w = naive_random(WIDTH, 2, 2), *dy = naive_random(ROWS * WIDTH, 1, 3);
    float *rstd = naive_random(ROWS, 1, 4), *dx = naive_random(ROWS * WIDTH, 1, 5), *dw = naive_random(WIDTH, 1, 6);
    double *edx = doubles(ROWS * WIDTH), *edw = doubles(WIDTH);
    for (size_t i = 0; i < ROWS; i++) rstd[i] = 0.5f + fabsf(rstd[i]);
    hip_norm_grad(stream, &(struct hip_norm_grad){dy, x, w, rstd, NULL, dx, dw, ROWS, WIDTH, false});
    for (size_t i = 0; i < ROWS; i++) {
        double d = 0, r = (double)rstd[i];
        for (size_t j = 0, at = i * WIDTH; j < WIDTH; j++, at++) d += (double)dy[at] * (double)w[j] * (double)x[at];
        for (size_t j = 0, at = i * WIDTH; j < WIDTH; j++, at++) {
            edx[at] = (double)dy[at] * (double)w[j] * r - (double)x[at] * r * r * r * d / WIDTH;
            edw[j] += (double)dy[at] * (double)x[at] * r;
        }
    }
    const double error = which ? worst(edw, dw, WIDTH) : worst(edx, dx, ROWS * WIDTH);
    free(x), free(w), free(dy), free(rstd), free(dx), free(dw), free(edx), free(edw);
    return error;
}

static double norm_input_gradient(void)
{
    return norm_backward(0);
}
static double norm_weight_gradient(void)
{
    return norm_backward(1);
}

static double swiglu_part(int which)
{
    const size_t n = (size_t)ROWS * WIDTH;
    float *x = naive_random(2 * n, 6, 1), *y = naive_random(n, 1, 2), *dy = naive_random(n, 1, 3),
          *in = naive_copy(x, 2 * n);
    double *ey = doubles(n), *ed = doubles(2 * n);
    hip_swiglu(stream, &(struct hip_swiglu){x, x + WIDTH, 2 * WIDTH, y, ROWS, WIDTH});
    hip_swiglu_grad(stream, &(struct hip_swiglu_grad){dy, x, x + WIDTH, x, x + WIDTH, 2 * WIDTH, ROWS, WIDTH});
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < WIDTH; j++) {
            const size_t at = 2 * i * WIDTH + j;
            const double g = (double)in[at], u = (double)in[at + WIDTH], d = (double)dy[i * WIDTH + j],
                         s = 1 / (1 + exp(-g));
            ey[i * WIDTH + j] = g * s * u;
            ed[at] = d * u * s * (1 + g * (1 - s));
            ed[at + WIDTH] = d * g * s;
        }
    }
    const double error = which ? worst(ed, x, 2 * n) : worst(ey, y, n);
    free(x), free(y), free(dy), free(in), free(ey), free(ed);
    return error;
}

static double swiglu_forward(void)
{
    return swiglu_part(0);
}
static double swiglu_gradient(void)
{
    return swiglu_part(1);
}

static double entropy_part(int which)
{
    const size_t n = (size_t)ROWS * VOCAB;
    float *x = naive_random(n, 8, 1), *d = naive_random(n, 1, 2), *losses = naive_random(ROWS, 1, 3);
    double *el = doubles(ROWS), *ed = doubles(n);
    int32_t targets[ROWS];
    for (int i = 0; i < ROWS; i++) targets[i] = i * 37 % VOCAB;
    hip_cross_entropy(stream, &(struct hip_cross_entropy){x, targets, losses, d, ROWS, VOCAB, 1.0f / ROWS});
    for (size_t i = 0; i < ROWS; i++) {
        double sum = 0;
        for (size_t j = 0; j < VOCAB; j++) sum += exp((double)x[i * VOCAB + j]);
        el[i] = log(sum) - (double)x[i * VOCAB + (size_t)targets[i]];
        for (size_t j = 0; j < VOCAB; j++)
            ed[i * VOCAB + j] =
                (exp((double)x[i * VOCAB + j]) / sum - ((size_t)targets[i] == j)) * (double)(1.0f / ROWS);
    }
    const double error = which ? worst(ed, d, n) : worst(el, losses, ROWS);
    free(x), free(d), free(losses), free(el), free(ed);
    return error;
}

static double entropy_loss(void)
{
    return entropy_part(0);
}
static double entropy_gradient(void)
{
    return entropy_part(1);
}

// y (0), dq, dk, dv (1 to 3): one head's formula in double.
static void exact_head(const float *qkv, const float *dy, size_t b, size_t h, double *const out[4])
{
    const size_t ld = 3 * WIDTH, row0 = b * CONTEXT;
    const double scale = (double)(1.0f / sqrtf(DIM));
    for (size_t i = 0; i < CONTEXT; i++) {
        double p[CONTEXT], g[CONTEXT], sum = 0, r = 0;
        for (size_t j = 0; j <= i; j++) {
            p[j] = g[j] = 0;
            for (size_t d = h * DIM; d < (h + 1) * DIM; d++) {
                p[j] += (double)qkv[(row0 + i) * ld + d] * (double)qkv[(row0 + j) * ld + WIDTH + d];
                g[j] += (double)dy[(row0 + i) * WIDTH + d] * (double)qkv[(row0 + j) * ld + 2 * WIDTH + d];
            }
            sum += p[j] = exp(p[j] * scale);
        }
        for (size_t j = 0; j <= i; j++) p[j] /= sum, r += p[j] * g[j];
        for (size_t j = 0; j <= i; j++) {
            const double ds = p[j] * (g[j] - r) * scale;
            for (size_t d = h * DIM; d < (h + 1) * DIM; d++) {
                out[0][(row0 + i) * WIDTH + d] += p[j] * (double)qkv[(row0 + j) * ld + 2 * WIDTH + d];
                out[1][(row0 + i) * WIDTH + d] += ds * (double)qkv[(row0 + j) * ld + WIDTH + d];
                out[2][(row0 + j) * WIDTH + d] += ds * (double)qkv[(row0 + i) * ld + d];
                out[3][(row0 + j) * WIDTH + d] += p[j] * (double)dy[(row0 + i) * WIDTH + d];
            }
        }
    }
}

static double attention_part(int which)
{
    const size_t n = (size_t)ROWS * WIDTH, sequences = ROWS / CONTEXT;
    float *qkv = naive_random(3 * n, 1, 1), *dy = naive_random(n, 1, 2), *got[4];
    float *probs = naive_random(sequences * HEADS * CONTEXT * CONTEXT, 1, 3);
    double *exact[4];
    for (int i = 0; i < 4; i++) got[i] = naive_random(n, 1, 4), exact[i] = doubles(n);
    const float scale = 1.0f / sqrtf(DIM);
    struct hip_attention a = {qkv,       qkv + WIDTH, qkv + 2 * WIDTH, 3 * WIDTH, 3 * WIDTH, probs, got[0],
                              sequences, CONTEXT,     HEADS,           HEADS,     DIM,       scale};
    hip_attention(stream, &a);
    float *grads = naive_random(3 * n, 1, 5);
    struct hip_attention_grad g = {.dy = dy, .q = a.q, .k = a.k, .v = a.v, .probs = probs, .ldq = a.ldq, .ldk = a.ldk};
    g.dq = grads, g.dk = grads + WIDTH, g.dv = grads + 2 * WIDTH;
    g.batch = a.batch, g.context = CONTEXT, g.heads = g.kv_heads = HEADS, g.head_dim = DIM, g.scale = scale;
    hip_attention_grad(stream, &g);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < 3 * WIDTH; j++) got[1 + j / WIDTH][i * WIDTH + j % WIDTH] = grads[i * 3 * WIDTH + j];
    for (size_t b = 0; b < sequences; b++)
        for (size_t h = 0; h < HEADS; h++) exact_head(qkv, dy, b, h, exact);
    const double error = worst(exact[which], got[which], n);
    for (int i = 0; i < 4; i++) free(got[i]), free(exact[i]);
    free(qkv), free(dy), free(probs), free(grads);
    return error;
}

static double attention_forward(void)
{
    return attention_part(0);
}
static double attention_queries(void)
{
    return attention_part(1);
}
static double attention_keys(void)
{
    return attention_part(2);
}
static double attention_values(void)
{
    return attention_part(3);
}

static double rotation(void)
{
    const size_t half = DIM / 2, n = (size_t)ROWS * WIDTH;
    float *x = naive_random(n, 1, 1), *in = naive_copy(x, n), *c = naive_random(CONTEXT * half, 1, 2);
    float *s = naive_random(CONTEXT * half, 1, 3);
    double *exact = doubles(n);
    hip_rotate(stream, &(struct hip_rotate){x, WIDTH, c, s, ROWS, CONTEXT, 0, HEADS, DIM, false});
    for (size_t i = 0; i < n; i++) {
        const size_t row = i / WIDTH, d = i % DIM, j = d % half, at = row % CONTEXT * half + j;
        const double a = (double)in[i - d + j], b = (double)in[i - d + j + half];
        exact[i] = d < half ? a * (double)c[at] - b * (double)s[at] : b * (double)c[at] + a * (double)s[at];
    }
    const double error = worst(exact, x, n);
    free(x), free(in), free(c), free(s), free(exact);
    return error;
}

static double adamw(void)
{
    enum { N = 5000 };
    float *p = naive_random(N, 1, 1), *m = naive_random(N, 1, 2), *v = naive_random(N, 1, 3),
          *g = naive_random(N, 1, 4);
    double *exact = doubles(N);
    struct hip_adamw a = {p, m, v, g, N, 0.5f, 0.9f, 0.95f, 1e-8f, 2e-3f, 0.9998f, 3.5f, 7.25f};
    for (size_t i = 0; i < N; i++) {
        v[i] = fabsf(v[i]) + 0.01f;
        const double grad = (double)g[i] * (double)a.grad_scale;
        const double em = (double)a.beta1 * (double)m[i] + (double)(1.0f - a.beta1) * grad;
        const double ev = (double)a.beta2 * (double)v[i] + (double)(1.0f - a.beta2) * grad * grad;
        exact[i] = (double)p[i] * (double)a.keep -
                   (double)a.rate * em * (double)a.correct1 / (sqrt(ev * (double)a.correct2) + (double)a.eps);
    }
    hip_adamw(stream, &a);
    const double error = worst(exact, p, N);
    free(p), free(m), free(v), free(g), free(exact);
    return error;
}

static double tensor_sum(void)
{
    const size_t n = 3000001;
    float *x = naive_random(n, 1, 1), got;
    double exact = 0;
    hip_sum_squares(stream, &(struct hip_sum_squares){x, &got, n});
    for (size_t i = 0; i < n; i++) exact += (double)x[i] * (double)x[i];
    free(x);
    return worst(&exact, &got, 1);
}

static double outer_step(void)
{
    enum { N = 5000 };
    float *p = naive_random(N, 1, 1), *m = naive_random(N, 1, 2);
    double *exact = doubles(N);
    int64_t sums[N];
    for (int i = 0; i < N; i++) {
        sums[i] = (int64_t)i * 7919 % 40001 - 20000;
        const double g = (double)sums[i] / 189 * 0x1p-8, after = (double)0.9f * (double)m[i] + g;
        exact[i] = (double)p[i] - (double)0.7f * ((double)0.9f * after + g);
    }
    hip_outer_step(stream, &(struct hip_outer_step){sums, p, m, NULL, N, 189, -8, 0.7f, 0.9f});
    const double error = worst(exact, p, N);
    free(p), free(m), free(exact);
    return error;
}

static const struct {
    const char *name;
    double (*measure)(void);
    const char *bound;
} operators[] = {
    {"matrix product, k = 384", product_384, "7.7"},
    {"matrix product, k = 16384", product_16384, "6.7"},
    {"norm", norm_forward, "2.4"},
    {"norm, input's gradient", norm_input_gradient, "1.5"},
    {"norm, weight's gradient", norm_weight_gradient, "4.7"},
    {"rotary positions", rotation, "0.9"},
    {"SwiGLU", swiglu_forward, "2.2"},
    {"SwiGLU's gradient", swiglu_gradient, "6.4"},
    {"attention", attention_forward, "1.8"},
    {"attention, queries' gradient", attention_queries, "2.9"},
    {"attention, keys' gradient", attention_keys, "5.1"},
    {"attention, values' gradient", attention_values, "4.9"},
    {"loss", entropy_loss, "1.1"},
    {"loss, logits' gradient", entropy_gradient, "1.1"},
    {"AdamW, parameters", adamw, "1.1"},
    {"sum of squares of a tensor", tensor_sum, "0.1"},
    {"outer step, parameters", outer_step, "1.1"},
};

static void operators_keep_their_documented_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        const double error = operators[i].measure();
        char line[120];
        printf("%-32s %6.2f * 2^-24 of the largest element, at most %s\n", operators[i].name, error,
               operators[i].bound);
        if (!(error <= strtod(operators[i].bound, NULL))) fail_msg("%s: %g", operators[i].name, error);
        snprintf(line, sizeof line, "| %s | %s |", operators[i].name, operators[i].bound);
        if (!strstr(document, line)) fail_msg("docs/numerics.md has no line \"%s\"", line);
    }
}

static void the_documented_hashes_are_the_programs(void **state)
{
    (void)state;
    for (enum hip_profile p = 0; p < HIP_PROFILE_COUNT; p++) {
        const struct core_hash hash = hip_spec_hash(p);
        char hex[65], line[120];
        for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", hash.bytes[i]);
        snprintf(line, sizeof line, "| `%s` | `%s` |", hip_profile_name(p), hex);
        if (!strstr(document, line)) fail_msg("docs/numerics.md has no line \"%s\"", line);
        enum hip_profile found;
        assert_true(hip_profile_of(&hash, &found) && found == p);
        assert_true(hip_profile_named(hip_profile_name(p), &found) && found == p);
    }
    struct core_hash other = hip_spec_hash(HIP_PROFILE_REPRO_FP32);
    enum hip_profile found;
    other.bytes[31] ^= 1;
    assert_false(hip_profile_of(&other, &found));
    assert_false(hip_profile_named("fast", &found));
}

static int setup(void **state)
{
    static struct hip_device *device;
    enum { SIZE = 1 << 16 };
    (void)state;
    document = calloc(1, SIZE);
    FILE *f = fopen("docs/numerics.md", "r");
    if (!document || !f) return 1;
    (void)!fread(document, 1, SIZE - 1, f);
    fclose(f);
    return hip_device_open("cpu", NULL, &device) || hip_stream_open(device, &stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_documented_hashes_are_the_programs),
        cmocka_unit_test(operators_keep_their_documented_bounds),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
