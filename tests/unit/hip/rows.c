// Row kernels (embedding, norm, rotary, SwiGLU, loss) against the rules, bit by bit.
#include "unit/hip/naive.h"

static const uint32_t widths[] = {1, 2, 15, 16, 31, 32, 33, 64, 100, 128, 344, 513};
#define WIDTHS (sizeof widths / sizeof *widths)

static int32_t *random_tokens(size_t count, uint32_t vocab)
{
    int32_t *t = malloc(count * sizeof *t);
    struct rng r = rng_from(3, 3);
    assert_non_null(t);
    for (size_t i = 0; i < count; i++) t[i] = (int32_t)rng_below(&r, vocab);
    return t;
}

static void embedding(struct hip_stream *s)
{
    for (size_t x = 0; x < WIDTHS; x++) {
        uint32_t width = widths[x], rows = 37, vocab = 9;
        int32_t *tokens = random_tokens(rows, vocab);
        float *table = naive_random((size_t)vocab * width, 1, 1), *y = naive_random((size_t)rows * width, 1, 2);
        float *sum = naive_copy(table, (size_t)vocab * width), *got = naive_copy(table, (size_t)vocab * width);
        hip_embed(s, &(struct hip_embed){tokens, table, y, rows, width, vocab});
        for (uint32_t i = 0; i < rows; i++)
            naive_same("embed", table + (size_t)tokens[i] * width, y + (size_t)i * width, width);
        for (uint32_t i = 0; i < rows; i++) {
            for (uint32_t j = 0; j < width; j++) sum[(size_t)tokens[i] * width + j] += y[(size_t)i * width + j];
        }
        hip_embed_grad(s, &(struct hip_embed_grad){tokens, y, got, rows, width, vocab});
        naive_same("embed_grad", sum, got, (size_t)vocab * width);
        free(tokens), free(table), free(y), free(sum), free(got);
    }
}

struct norm_case {
    uint32_t rows, width;
    float *x, *weight, *y, *rstd, *dy, *add, *dx, *dweight;
};

static struct norm_case norm_open(uint32_t rows, uint32_t width)
{
    size_t n = (size_t)rows * width;
    return (struct norm_case){rows,
                              width,
                              naive_random(n, 3, 1),
                              naive_random(width, 2, 2),
                              naive_random(n, 1, 3),
                              naive_random(rows, 1, 4),
                              naive_random(n, 1, 5),
                              naive_random(n, 1, 6),
                              naive_random(n, 1, 7),
                              naive_random(width, 1, 8)};
}

static void norm_close(struct norm_case *c)
{
    free(c->x), free(c->weight), free(c->y), free(c->rstd), free(c->dy), free(c->add), free(c->dx), free(c->dweight);
}

static void naive_norm(struct norm_case *c, float eps, int add, int accumulate)
{
    float *t = malloc(c->width * sizeof *t), *hat = malloc((size_t)c->rows * c->width * sizeof *hat);
    assert_true(t && hat);
    for (size_t i = 0; i < c->rows; i++) {
        const float *x = c->x + i * c->width, *dy = c->dy + i * c->width;
        float rstd = 1.0f / sqrtf(naive_row(x, x, c->width) / (float)c->width + eps);
        c->rstd[i] = rstd;
        for (size_t j = 0; j < c->width; j++) {
            hat[i * c->width + j] = x[j] * rstd;
            c->y[i * c->width + j] = (x[j] * rstd) * c->weight[j];
            t[j] = dy[j] * c->weight[j];
        }
        float d = naive_row(t, x, c->width), k = ((rstd * rstd) * rstd) * (d / (float)c->width);
        for (size_t j = 0; j < c->width; j++) {
            float g = fmaf(x[j], -k, t[j] * rstd);
            c->dx[i * c->width + j] = add ? c->add[i * c->width + j] + g : g;
        }
    }
    struct naive_matrix dyt = {c->dy, 1, c->width}, xhat = {hat, c->width, 1};
    for (size_t j = 0; j < c->width; j++) {
        c->dweight[j] = naive_contract(dyt, j, xhat, j, 0, c->rows, accumulate ? c->dweight + j : NULL);
    }
    free(t), free(hat);
}

static void norm(struct hip_stream *s)
{
    for (size_t x = 0; x < WIDTHS * 2; x++) {
        struct norm_case e = norm_open(x % 5 ? 23 : 700, widths[x / 2]), c = norm_open(e.rows, e.width);
        int add = x & 1, accumulate = x / 2 & 1;
        naive_norm(&e, 1e-5f, add, accumulate);
        hip_norm(s, &(struct hip_norm){c.x, c.weight, c.y, c.rstd, c.rows, c.width, 1e-5f});
        naive_same("rstd", e.rstd, c.rstd, c.rows);
        naive_same("norm", e.y, c.y, (size_t)c.rows * c.width);
        float *dx = add && x % 3 ? c.add : c.dx;  // in place too
        hip_norm_grad(s, &(struct hip_norm_grad){c.dy, c.x, c.weight, c.rstd, add ? c.add : NULL, dx, c.dweight, c.rows,
                                                 c.width, accumulate});
        naive_same("norm dx", e.dx, dx, (size_t)c.rows * c.width);
        naive_same("norm dweight", e.dweight, c.dweight, c.width);
        norm_close(&e), norm_close(&c);
    }
}

static void rotate(struct hip_stream *s)
{
    static const uint32_t dims[] = {2, 4, 30, 32, 48, 64, 128};
    for (size_t x = 0; x < sizeof dims / sizeof *dims * 2; x++) {
        uint32_t dim = dims[x / 2], rows = 21, context = 8, heads = 3, first = 2, half = dim / 2, inverse = x & 1;
        size_t ld = (size_t)heads * dim + 5;
        float *q = naive_random(rows * ld, 1, 1), *e = naive_copy(q, rows * ld);
        float *c = naive_random((size_t)(first + context) * half, 1, 2),
              *n = naive_random((size_t)(first + context) * half, 1, 3);
        for (size_t i = 0; i < rows; i++) {
            for (size_t h = 0; h < heads; h++) {
                for (size_t j = 0; j < half; j++) {
                    float *p = e + i * ld + h * dim + j, a = p[0], b = p[half];
                    float co = c[(first + i % context) * half + j], si = n[(first + i % context) * half + j];
                    if (inverse) si = -si;
                    p[0] = fmaf(a, co, -(b * si));
                    p[half] = fmaf(b, co, a * si);
                }
            }
        }
        hip_rotate(s, &(struct hip_rotate){q, ld, c, n, rows, context, first, heads, dim, inverse});
        naive_same("rotate", e, q, rows * ld);
        free(q), free(e), free(c), free(n);
    }
}

static void swiglu(struct hip_stream *s)
{
    for (size_t x = 0; x < WIDTHS; x++) {
        uint32_t rows = 11, width = widths[x];
        size_t ld = 2 * (size_t)width + 1, n = (size_t)rows * width;
        float *in = naive_random(rows * ld, 40, 1), *dy = naive_random(n, 1, 2), *y = naive_random(n, 1, 3);
        float *ey = naive_random(n, 1, 3), *ed = naive_copy(in, rows * ld);
        for (size_t i = 0; i < rows; i++) {
            for (size_t j = 0; j < width; j++) {
                float g = in[i * ld + j], u = in[i * ld + width + j], d = dy[i * width + j];
                float sig = 1.0f / (1.0f + hip_math_exp(-g)), a = g * sig;
                ey[i * width + j] = a * u;
                ed[i * ld + j] = (d * u) * (sig * fmaf(g, 1.0f - sig, 1.0f));
                ed[i * ld + width + j] = d * a;
            }
        }
        hip_swiglu(s, &(struct hip_swiglu){in, in + width, ld, y, rows, width});
        naive_same("swiglu", ey, y, n);
        hip_swiglu_grad(s, &(struct hip_swiglu_grad){dy, in, in + width, in, in + width, ld, rows, width});
        naive_same("swiglu_grad", ed, in, rows * ld);
        free(in), free(dy), free(y), free(ey), free(ed);
    }
}

static void cross_entropy(struct hip_stream *s)
{
    for (size_t x = 0; x < WIDTHS; x++) {
        uint32_t rows = 19, vocab = widths[x];
        size_t n = (size_t)rows * vocab;
        float *logits = naive_random(n, 60, 1), *d = naive_random(n, 1, 2), *e = naive_random(n, 1, 2);
        float *losses = naive_random(rows, 1, 3), *expected = naive_random(rows, 1, 3), scale = 1.0f / 19;
        int32_t *targets = random_tokens(rows, vocab);
        targets[4] = -1;
        for (size_t i = 0; i < rows; i++) {
            const float *l = logits + i * vocab;
            float m = naive_max(l, vocab), *to = e + i * vocab;
            for (size_t j = 0; j < vocab; j++) to[j] = hip_math_exp(l[j] - m);
            float z = naive_row(to, NULL, vocab);
            expected[i] = targets[i] < 0 ? 0.0f : hip_math_log(z) - (l[targets[i]] - m);
            for (size_t j = 0; j < vocab; j++) {
                float hit = (size_t)targets[i] == j ? 1.0f : 0.0f;
                to[j] = targets[i] < 0 ? 0.0f : (to[j] / z - hit) * scale;
            }
        }
        hip_cross_entropy(s, &(struct hip_cross_entropy){logits, targets, losses, NULL, rows, vocab, scale});
        naive_same("losses alone", expected, losses, rows);
        hip_cross_entropy(s, &(struct hip_cross_entropy){logits, targets, losses, d, rows, vocab, scale});
        naive_same("losses", expected, losses, rows);
        naive_same("dlogits", e, d, n);
        hip_cross_entropy(s, &(struct hip_cross_entropy){logits, targets, losses, logits, rows, vocab, scale});
        naive_same("dlogits in place", e, logits, n);
        free(logits), free(d), free(e), free(losses), free(expected), free(targets);
    }
}

static void embedding_equals_the_rule(void **state)
{
    (void)state, on_every_device(embedding);
}
static void norm_equals_the_rule(void **state)
{
    (void)state, on_every_device(norm);
}
static void rotate_equals_the_rule(void **state)
{
    (void)state, on_every_device(rotate);
}
static void swiglu_equals_the_rule(void **state)
{
    (void)state, on_every_device(swiglu);
}
static void cross_entropy_equals_the_rule(void **state)
{
    (void)state, on_every_device(cross_entropy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embedding_equals_the_rule),     cmocka_unit_test(norm_equals_the_rule),
        cmocka_unit_test(rotate_equals_the_rule),        cmocka_unit_test(swiglu_equals_the_rule),
        cmocka_unit_test(cross_entropy_equals_the_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
