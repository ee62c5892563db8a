// The matrix product against the rule, bit by bit: every transposition, edges, strides, several chunks.
#include "unit/hip/naive.h"

struct product {
    uint32_t m, n, k;
    int ta, tb, add, batch;  // add: 0 none, 1 another matrix, 2 C itself
};

static const struct product products[] = {
    {1, 1, 1, 0, 0, 0, 1},      {1, 1, 1, 1, 1, 2, 1},       {7, 5, 3, 0, 1, 0, 1},       {14, 32, 64, 0, 0, 0, 1},
    {15, 33, 65, 1, 0, 1, 1},   {13, 31, 17, 0, 1, 2, 1},    {29, 70, 511, 1, 1, 0, 1},   {16, 48, 512, 0, 0, 2, 1},
    {30, 47, 513, 0, 1, 0, 1},  {30, 47, 513, 1, 0, 1, 1},   {3, 100, 1025, 1, 1, 1, 1},  {2, 1100, 40, 0, 1, 0, 1},
    {70, 1090, 20, 1, 0, 2, 1}, {9, 10, 0, 0, 0, 0, 1},      {9, 10, 0, 0, 0, 1, 1},      {17, 19, 23, 0, 1, 1, 3},
    {600, 70, 30, 1, 0, 0, 1},  {30, 100, 1025, 0, 1, 0, 1}, {96, 128, 600, 1, 0, 0, 1},  {64, 96, 100, 0, 0, 0, 2},
    {1, 300, 130, 0, 0, 0, 1},  {300, 1, 130, 0, 1, 0, 1},   {260, 264, 516, 0, 1, 0, 1}, {300, 268, 1028, 0, 0, 2, 1},
    {132, 520, 20, 1, 0, 1, 1}, {260, 260, 36, 1, 1, 0, 1},  {8, 12, 1028, 1, 0, 1, 1},   {36, 68, 516, 0, 1, 2, 2},
    {64, 64, 12, 1, 1, 1, 1},   {100, 60, 24, 0, 0, 0, 3},
};

static void one_product(struct hip_stream *s, const struct product *p)
{
    size_t batch = (size_t)p->batch;
    // Where all comes in fours the GPUs have products of their own, for rows that begin so.
    const bool fours = (p->m | p->n | p->k) % 4 == 0;
    size_t lda = (p->ta ? p->m : p->k) + (fours ? 4 : 3), ldb = (p->tb ? p->k : p->n) + (fours ? 8 : 5);
    size_t ldc = p->n + (fours ? 4 : 2), sc = ldc * p->m;
    size_t sa = lda * (p->ta ? p->k : p->m) + (fours ? 4 : 1), sb = ldb * (p->tb ? p->n : p->k) + (fours ? 8 : 2);
    float *a = naive_random(sa * batch, 1, 1), *b = naive_random(sb * batch, 1, 2),
          *add = naive_random(sc * batch, 1, 3);
    float *c = naive_random(sc * batch, 1, 4), *expected = naive_copy(c, sc * batch);
    for (size_t x = 0; x < batch; x++) {
        struct naive_matrix am = {a + x * sa, p->ta ? 1 : lda, p->ta ? lda : 1};
        struct naive_matrix bm = {b + x * sb, p->tb ? 1 : ldb, p->tb ? ldb : 1};
        for (size_t i = 0; i < p->m; i++) {
            for (size_t j = 0; j < p->n; j++) {
                size_t at = x * sc + i * ldc + j;
                const float *start = p->add == 1 ? add + at : p->add ? expected + at : NULL;
                expected[at] = naive_contract(am, i, bm, j, 0, p->k, start);
            }
        }
    }
    struct hip_gemm g = {.m = p->m, .n = p->n, .k = p->k, .transpose_a = p->ta, .transpose_b = p->tb};
    g.a = a, g.b = b, g.c = c, g.add = p->add == 1 ? add : p->add ? c : NULL;
    g.lda = lda, g.ldb = ldb, g.ldc = ldc, g.batch = p->batch == 1 ? 0 : (uint32_t)p->batch;
    g.stride_a = sa, g.stride_b = sb, g.stride_c = sc;
    hip_gemm(s, &g);
    char what[80];
    snprintf(what, sizeof what, "%ux%ux%u ta %d tb %d add %d", p->m, p->n, p->k, p->ta, p->tb, p->add);
    naive_same(what, expected, c, sc * batch);
    free(a), free(b), free(add), free(c), free(expected);
}

static void all_products(struct hip_stream *s)
{
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) one_product(s, products + i);
}

static void gemm_equals_the_rule(void **state)
{
    (void)state;
    on_every_device(all_products);
}

static void any_products(struct hip_stream *s)
{
    struct rng r = rng_from(20, 0);
    for (int i = 0; i < 40; i++) {
        struct product p = {.batch = 1};
        p.m = 1 + (uint32_t)rng_below(&r, 60);
        p.n = 1 + (uint32_t)rng_below(&r, 80);
        p.k = 1 + (uint32_t)rng_below(&r, 90);
        p.ta = (int)rng_below(&r, 2), p.tb = (int)rng_below(&r, 2), p.add = (int)rng_below(&r, 3);
        one_product(s, &p);
    }
}

static void gemm_of_any_shape_equals_the_rule(void **state)
{
    (void)state;
    on_every_device(any_products);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_equals_the_rule),
        cmocka_unit_test(gemm_of_any_shape_equals_the_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
