// cuBLASLt and hipBLASLt as hip/blas.c calls them: bfloat16 operands, sums in fp32, nothing else. What it is not asked
// for it refuses, so that a wrong constant shows.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/run.h"

enum { NOT_SUPPORTED = 15, FP32 = 0, BF16 = 14, RESULT = 0x5a };

// A descriptor of any kind.
struct thing {
    int amd, compute, transposed[2], type;
    uint64_t rows, columns;
    int64_t ld;
};

static float to_float(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

void blas_product(const struct blas_call *p)
{
    for (uint64_t j = 0; j < p->n; j++) {
        for (uint64_t i = 0; i < p->m; i++) {
            float sum = 0;
            for (uint64_t k = 0; k < p->k; k++) {
                const uint64_t a = p->transpose_a ? k + i * (uint64_t)p->lda : i + k * (uint64_t)p->lda;
                const uint64_t b = p->transpose_b ? j + k * (uint64_t)p->ldb : k + j * (uint64_t)p->ldb;
                sum += to_float(p->a[a]) * to_float(p->b[b]);
            }
            const uint64_t at = i + j * (uint64_t)p->ldc;
            p->c[at] = p->beta != 0 ? sum + p->c0[at] : sum;
        }
    }
}

static int thing_new(void **out, struct thing content)
{
    struct thing *t = malloc(sizeof *t);
    if (!t) return 1;
    *t = content;
    *out = t;
    return 0;
}

static int fake_end(void *thing)
{
    free(thing);
    return 0;
}

static int fake_begin(void **out)
{
    return thing_new(out, (struct thing){.type = -1});
}

static int fake_layout(void **out, int type, uint64_t rows, uint64_t columns, int64_t ld)
{
    return type == FP32 || type == BF16 ? thing_new(out, (struct thing){0, 0, {0}, type, rows, columns, ld})
                                        : NOT_SUPPORTED;
}

static int fake_wish(void *wish, int attribute, const void *value, size_t size)
{
    (void)wish, (void)value;
    return attribute == 1 && size == sizeof(size_t) ? 0 : NOT_SUPPORTED;
}

static int nvidia_desc(void **out, int compute, int scale)
{
    return compute == 68 && scale == FP32 ? thing_new(out, (struct thing){.compute = 1}) : NOT_SUPPORTED;
}

static int amd_desc(void **out, int compute, int scale)
{
    return compute == 2 && scale == FP32 ? thing_new(out, (struct thing){.compute = 1, .amd = 1}) : NOT_SUPPORTED;
}

static int fake_desc_set(void *desc, int attribute, const void *value, size_t size)
{
    struct thing *t = desc;
    int32_t v;
    const int first = t->amd ? 0 : 3, plain = t->amd ? 111 : 0;
    memcpy(&v, value, sizeof v);
    if (size != sizeof v || attribute < first || attribute > first + 1 || v < plain || v > plain + 1)
        return NOT_SUPPORTED;
    t->transposed[attribute - first] = v - plain;
    return 0;
}

static int fits(const struct thing *desc, const struct thing *a, const struct thing *b, const struct thing *c)
{
    const uint64_t k = desc->transposed[0] ? a->rows : a->columns;
    return a->type == BF16 && b->type == BF16 && c->type == FP32 && a->ld >= (int64_t)a->rows &&
           b->ld >= (int64_t)b->rows && c->ld >= (int64_t)c->rows &&
           c->rows == (desc->transposed[0] ? a->columns : a->rows) &&
           c->columns == (desc->transposed[1] ? b->rows : b->columns) &&
           k == (desc->transposed[1] ? b->columns : b->rows);
}

static int fake_heuristic(void *handle, void *desc, void *a, void *b, void *c, void *d, void *wish, int wanted,
                          void *results, int *found)
{
    (void)handle, (void)wish;
    *found = 0;
    if (wanted != 1 || c != d || !fits(desc, a, b, c)) return NOT_SUPPORTED;
    memset(results, RESULT, 24);  // the algorithm
    *found = 1;
    return 0;
}

static int fake_matmul(void *handle, void *desc, const void *alpha, const void *a, void *a_layout, const void *b,
                       void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                       const void *algorithm, void *workspace, size_t workspace_size, void *stream)
{
    const struct thing *t = desc, *la = a_layout, *lb = b_layout, *lc = c_layout;
    float scale[2];
    (void)handle, (void)stream;
    memcpy(scale, alpha, sizeof(float)), memcpy(scale + 1, beta, sizeof(float));
    if (scale[0] != 1 || c_layout != d_layout || !fits(t, la, lb, lc) || !workspace || !workspace_size ||
        *(const unsigned char *)algorithm != RESULT)
        return NOT_SUPPORTED;
    const struct blas_call p = {.m = lc->rows,
                                .n = lc->columns,
                                .k = t->transposed[0] ? la->rows : la->columns,
                                .transpose_a = t->transposed[0],
                                .transpose_b = t->transposed[1],
                                .a = a,
                                .b = b,
                                .c0 = c,
                                .c = d,
                                .lda = la->ld,
                                .ldb = lb->ld,
                                .ldc = lc->ld,
                                .beta = scale[1]};
    return driver_product(&p);
}

#define EXPORT(name, target, arguments)                          \
    int cublasLt##name arguments __attribute__((alias(target))); \
    int hipblasLt##name arguments __attribute__((alias(target)));
EXPORT(Create, "fake_begin", (void **))
EXPORT(Destroy, "fake_end", (void *))
EXPORT(MatmulDescDestroy, "fake_end", (void *))
EXPORT(MatmulDescSetAttribute, "fake_desc_set", (void *, int, const void *, size_t))
EXPORT(MatrixLayoutCreate, "fake_layout", (void **, int, uint64_t, uint64_t, int64_t))
EXPORT(MatrixLayoutDestroy, "fake_end", (void *))
EXPORT(MatmulPreferenceCreate, "fake_begin", (void **))
EXPORT(MatmulPreferenceDestroy, "fake_end", (void *))
EXPORT(MatmulPreferenceSetAttribute, "fake_wish", (void *, int, const void *, size_t))
EXPORT(MatmulAlgoGetHeuristic, "fake_heuristic",
       (void *, void *, void *, void *, void *, void *, void *, int, void *, int *))
EXPORT(Matmul, "fake_matmul",
       (void *, void *, const void *, const void *, void *, const void *, void *, const void *, const void *, void *,
        void *, void *, const void *, void *, size_t, void *))
int cublasLtMatmulDescCreate(void **, int, int) __attribute__((alias("nvidia_desc")));
int hipblasLtMatmulDescCreate(void **, int, int) __attribute__((alias("amd_desc")));
