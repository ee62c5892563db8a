// Attention and its gradient against the rule, bit by bit.
#include "unit/hip/naive.h"

struct shape {
    uint32_t batch, context, heads, kv_heads, head_dim;
    int fused;  // q, k, v in one matrix
};

static const struct shape shapes[] = {
    {1, 1, 1, 1, 2, 0},   {2, 5, 2, 2, 8, 1},   {1, 64, 4, 4, 32, 1},  {2, 33, 4, 2, 16, 1}, {1, 30, 6, 1, 48, 0},
    {1, 70, 2, 1, 80, 0}, {1, 530, 1, 1, 6, 0}, {1, 1030, 2, 1, 4, 1}, {1, 132, 2, 2, 8, 1}, {1, 580, 2, 1, 8, 1},
};

struct run {
    struct shape s;
    size_t rows, ldq, ldk, ldy, np;
    float *q, *k, *v, *dq, *dk, *dv, *dy, *y, *probs;
};

static struct run run_open(const struct shape *s)
{
    struct run r = {.s = *s, .rows = (size_t)s->batch * s->context, .ldy = (size_t)s->heads * s->head_dim};
    size_t kw = (size_t)s->kv_heads * s->head_dim;
    r.ldq = s->fused ? r.ldy + 2 * kw : r.ldy + 1;
    r.ldk = s->fused ? r.ldq : kw + 3;
    r.np = (size_t)s->batch * s->heads * s->context * s->context;
    r.q = naive_random(r.rows * r.ldq, 2, 1);
    r.dq = naive_random(r.rows * r.ldq, 2, 9);
    r.k = s->fused ? r.q + r.ldy : naive_random(r.rows * r.ldk, 2, 2);
    r.v = s->fused ? r.k + kw : naive_random(r.rows * r.ldk, 2, 3);
    r.dk = s->fused ? r.dq + r.ldy : naive_random(r.rows * r.ldk, 2, 10);
    r.dv = s->fused ? r.dk + kw : naive_random(r.rows * r.ldk, 2, 11);
    r.dy = naive_random(r.rows * r.ldy, 1, 4);
    r.y = naive_random(r.rows * r.ldy, 1, 5);
    r.probs = naive_random(r.np, 1, 6);
    return r;
}

static void run_close(struct run *r)
{
    if (!r->s.fused) free(r->k), free(r->v), free(r->dk), free(r->dv);
    free(r->q), free(r->dq), free(r->dy), free(r->y), free(r->probs);
}

static void naive_forward(struct run *r, float scale, size_t b, size_t h)
{
    const struct shape *s = &r->s;
    size_t t = s->context, d = s->head_dim, kv = h / (s->heads / s->kv_heads);
    struct naive_matrix q = {r->q + b * t * r->ldq + h * d, r->ldq, 1};
    struct naive_matrix kt = {r->k + b * t * r->ldk + kv * d, 1, r->ldk},
                        v = {r->v + b * t * r->ldk + kv * d, r->ldk, 1};
    float *p = r->probs + (b * s->heads + h) * t * t, *y = r->y + b * t * r->ldy + h * d;
    for (size_t i = 0; i < t; i++) {
        float *row = p + i * t;
        for (size_t j = 0; j <= i; j++) row[j] = scale * naive_contract(q, i, kt, j, 0, d, NULL);
        float m = naive_max(row, i + 1);
        for (size_t j = 0; j <= i; j++) row[j] = hip_math_exp(row[j] - m);
        float z = naive_row(row, NULL, i + 1);
        for (size_t j = 0; j < t; j++) row[j] = j <= i ? row[j] / z : 0.0f;
        for (size_t e = 0; e < d; e++)
            y[i * r->ldy + e] = naive_contract((struct naive_matrix){p, t, 1}, i, v, e, 0, i + 1, NULL);
    }
}

static void naive_backward(struct run *r, float scale, size_t b, size_t h)
{
    const struct shape *s = &r->s;
    size_t t = s->context, d = s->head_dim, group = s->heads / s->kv_heads, kv = h / group;
    size_t q_at = b * t * r->ldq + h * d, k_at = b * t * r->ldk + kv * d;
    struct naive_matrix dy = {r->dy + b * t * r->ldy + h * d, r->ldy, 1}, vt = {r->v + k_at, 1, r->ldk};
    struct naive_matrix q = {r->q + q_at, r->ldq, 1}, k = {r->k + k_at, r->ldk, 1};
    float *p = r->probs + (b * s->heads + h) * t * t;
    struct naive_matrix pt = {p, 1, t}, pm = {p, t, 1};
    float *g = malloc(t * sizeof *g);
    assert_non_null(g);
    for (size_t j = 0; j < t; j++) {
        for (size_t e = 0; e < d; e++) {
            float *out = r->dv + k_at + j * r->ldk + e;
            *out = naive_contract(pt, j, dy, e, j, t, h % group ? out : NULL);
        }
    }
    for (size_t i = 0; i < t; i++) {
        for (size_t j = 0; j <= i; j++) g[j] = naive_contract(dy, i, vt, j, 0, d, NULL);
        float sum = naive_row(p + i * t, g, i + 1);
        for (size_t j = 0; j <= i; j++) p[i * t + j] = (p[i * t + j] * (g[j] - sum)) * scale;
        for (size_t e = 0; e < d; e++) r->dq[q_at + i * r->ldq + e] = naive_contract(pm, i, k, e, 0, i + 1, NULL);
    }
    for (size_t j = 0; j < t; j++) {
        for (size_t e = 0; e < d; e++) {
            float *out = r->dk + k_at + j * r->ldk + e;
            *out = naive_contract(pt, j, q, e, j, t, h % group ? out : NULL);
        }
    }
    free(g);
}

static void one_shape(struct hip_stream *stream, const struct shape *s)
{
    struct run r = run_open(s), e = run_open(s);
    float scale = 1.0f / sqrtf((float)s->head_dim);
    for (size_t b = 0; b < s->batch; b++) {
        for (size_t h = 0; h < s->heads; h++) naive_forward(&e, scale, b, h);
    }
    struct hip_attention a = {r.q,      r.k,        r.v,      r.ldq,       r.ldk,       r.probs, r.y,
                              s->batch, s->context, s->heads, s->kv_heads, s->head_dim, scale};
    hip_attention(stream, &a);
    naive_same("probs", e.probs, r.probs, r.np);
    naive_same("y", e.y, r.y, r.rows * r.ldy);
    for (size_t b = 0; b < s->batch; b++) {
        for (size_t h = 0; h < s->heads; h++) naive_backward(&e, scale, b, h);
    }
    struct hip_attention_grad g = {r.dy,  r.q,      r.k,        r.v,      r.probs,     r.dq,        r.dk,  r.dv, r.ldq,
                                   r.ldk, s->batch, s->context, s->heads, s->kv_heads, s->head_dim, scale, NULL};
    hip_attention_grad(stream, &g);
    naive_same("ds", e.probs, r.probs, r.np);
    naive_same("dq", e.dq, r.dq, r.rows * r.ldq);
    if (!s->fused) {
        naive_same("dk", e.dk, r.dk, r.rows * r.ldk);
        naive_same("dv", e.dv, r.dv, r.rows * r.ldk);
    }
    run_close(&r);
    run_close(&e);
}

static void all_shapes(struct hip_stream *stream)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) one_shape(stream, shapes + i);
}

static void attention_equals_the_rule(void **state)
{
    (void)state;
    on_every_device(all_shapes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(attention_equals_the_rule)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
