#include "hip/blas.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// X(field, name after cublasLt or hipblasLt, arguments)
#define BLAS_CALLS(X)                                                                                             \
    X(create, Create, (void **handle))                                                                            \
    X(destroy, Destroy, (void *handle))                                                                           \
    X(desc_create, MatmulDescCreate, (void **desc, int compute, int scale))                                       \
    X(desc_destroy, MatmulDescDestroy, (void *desc))                                                              \
    X(desc_set, MatmulDescSetAttribute, (void *desc, int attribute, const void *value, size_t size))              \
    X(layout_create, MatrixLayoutCreate, (void **layout, int type, uint64_t rows, uint64_t columns, int64_t ld))  \
    X(layout_destroy, MatrixLayoutDestroy, (void *layout))                                                        \
    X(wish_create, MatmulPreferenceCreate, (void **wish))                                                         \
    X(wish_destroy, MatmulPreferenceDestroy, (void *wish))                                                        \
    X(wish_set, MatmulPreferenceSetAttribute, (void *wish, int attribute, const void *value, size_t size))        \
    X(heuristic, MatmulAlgoGetHeuristic,                                                                          \
      (void *handle, void *desc, void *a, void *b, void *c, void *d, void *wish, int wanted, void *results,       \
       int *found))                                                                                               \
    X(matmul, Matmul,                                                                                             \
      (void *handle, void *desc, const void *alpha, const void *a, void *a_layout, const void *b, void *b_layout, \
       const void *beta, const void *c, void *c_layout, void *d, void *d_layout, const void *algorithm,           \
       void *workspace, size_t workspace_size, void *stream))

enum {
    TYPE_FP32 = 0,   // CUDA_R_32F, HIP_R_32F
    TYPE_BF16 = 14,  // CUDA_R_16BF, HIP_R_16BF
    WISH_WORKSPACE = 1,
    PLANS = 64,        // shapes whose algorithm is remembered: a training step has some fifteen
    RESULT_SIZE = 96,  // of a heuristic's result, the algorithm first; AMD's is smaller
};

// Constants whose numbers differ: NVIDIA's, AMD's.
static const struct numbers {
    int compute_fp32, transpose_a, transpose_b, op_plain, op_transposed;
} numbers[2] = {{68, 3, 4, 0, 1}, {2, 0, 1, 111, 112}};

// What the library made for one shape. `key.c` and the other addresses don't count, but for whether there is an `add`.
struct plan {
    struct blas_product key;
    void *desc, *a, *b, *c;
    _Alignas(16) unsigned char result[RESULT_SIZE];
    bool usable;
};

struct blas {
    const struct numbers *numbers;
    void *library, *handle, *wish;
#define BLAS_FIELD(field, name, arguments) int(*field) arguments;
    BLAS_CALLS(BLAS_FIELD)
#undef BLAS_FIELD
    struct plan plans[PLANS];
    uint32_t count, next;  // plans made; the one to give up for a new one
};

static void *library_open(bool amd)
{
    static const char *const nvidia[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", NULL};
    static const char *const amds[] = {"libhipblaslt.so", "libhipblaslt.so.1", "libhipblaslt.so.0", NULL};
    const char *given = getenv(amd ? "MYCEL_HIPBLASLT_LIBRARY" : "MYCEL_CUBLASLT_LIBRARY");
    const int flags = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE;
    if (given) return *given ? dlopen(given, flags) : NULL;
    for (const char *const *name = amd ? amds : nvidia; *name; name++) {
        void *library = dlopen(*name, flags);
        if (library) return library;
    }
    return NULL;
}

static bool calls_find(struct blas *b, bool amd)
{
#define BLAS_SYMBOL(field, name, arguments) {{"cublasLt" #name, "hipblasLt" #name}, offsetof(struct blas, field)},
    static const struct {
        const char *names[2];
        size_t offset;
    } calls[] = {BLAS_CALLS(BLAS_SYMBOL)};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        void *found = dlsym(b->library, calls[i].names[amd]);
        if (!found) return false;
        memcpy((char *)b + calls[i].offset, &found, sizeof found);
    }
    return true;
}

enum core_err blas_open(bool amd, struct blas **out)
{
    struct blas *b = calloc(1, sizeof *b);
    const size_t workspace = BLAS_WORKSPACE;
    *out = NULL;
    if (!b) return CORE_ERR_NO_MEMORY;
    b->numbers = numbers + amd;
    b->library = library_open(amd);
    enum core_err err = b->library ? CORE_ERR_OK : CORE_ERR_NOT_FOUND;
    if (!err && !calls_find(b, amd)) err = CORE_ERR_UNSUPPORTED;
    if (!err && (b->create(&b->handle) || b->wish_create(&b->wish) ||
                 b->wish_set(b->wish, WISH_WORKSPACE, &workspace, sizeof workspace)))
        err = CORE_ERR_UNSUPPORTED;
    if (err) {
        blas_close(b);
        return err;
    }
    *out = b;
    return CORE_ERR_OK;
}

static void plan_drop(struct blas *b, struct plan *p)
{
    if (p->desc) (void)b->desc_destroy(p->desc);
    if (p->a) (void)b->layout_destroy(p->a);
    if (p->b) (void)b->layout_destroy(p->b);
    if (p->c) (void)b->layout_destroy(p->c);
    *p = (struct plan){.usable = false};
}

void blas_close(struct blas *b)
{
    if (!b) return;
    for (uint32_t i = 0; i < b->count; i++) plan_drop(b, b->plans + i);
    if (b->wish) (void)b->wish_destroy(b->wish);
    if (b->handle) (void)b->destroy(b->handle);
    if (b->library) dlclose(b->library);
    free(b);
}

static bool same_shape(const struct blas_product *x, const struct blas_product *y)
{
    return x->m == y->m && x->n == y->n && x->k == y->k && x->transpose_a == y->transpose_a &&
           x->transpose_b == y->transpose_b && x->lda == y->lda && x->ldb == y->ldb && x->ldc == y->ldc;
}

// The libraries count by columns: a row-major matrix is its transpose to them, so C^T = op(B)^T op(A)^T is asked for.
static bool plan_make(struct blas *b, const struct blas_product *p, struct plan *plan)
{
    const int32_t first = p->transpose_b ? b->numbers->op_transposed : b->numbers->op_plain;
    const int32_t second = p->transpose_a ? b->numbers->op_transposed : b->numbers->op_plain;
    int found = 0;
    plan->key = *p;
    if (b->desc_create(&plan->desc, b->numbers->compute_fp32, TYPE_FP32) ||
        b->desc_set(plan->desc, b->numbers->transpose_a, &first, sizeof first) ||
        b->desc_set(plan->desc, b->numbers->transpose_b, &second, sizeof second))
        return false;
    if (b->layout_create(&plan->b, TYPE_BF16, p->transpose_b ? p->k : p->n, p->transpose_b ? p->n : p->k,
                         (int64_t)p->ldb) ||
        b->layout_create(&plan->a, TYPE_BF16, p->transpose_a ? p->m : p->k, p->transpose_a ? p->k : p->m,
                         (int64_t)p->lda) ||
        b->layout_create(&plan->c, TYPE_FP32, p->n, p->m, (int64_t)p->ldc))
        return false;
    return !b->heuristic(b->handle, plan->desc, plan->b, plan->a, plan->c, plan->c, b->wish, 1, plan->result, &found) &&
           found == 1;
}

static struct plan *plan_for(struct blas *b, const struct blas_product *p)
{
    for (uint32_t i = 0; i < b->count; i++) {
        if (same_shape(&b->plans[i].key, p)) return b->plans + i;
    }
    struct plan *plan = b->plans + b->next;
    if (b->count < PLANS)
        b->count++;
    else
        plan_drop(b, plan);
    b->next = (b->next + 1) % PLANS;
    plan->usable = plan_make(b, p, plan);
    return plan;
}

bool blas_run(struct blas *b, const struct blas_product *p, void *workspace, void *stream)
{
    static const float one = 1, zero = 0;
    struct plan *plan = plan_for(b, p);
    if (!plan->usable) return false;
    plan->usable =
        !b->matmul(b->handle, plan->desc, &one, p->b, plan->b, p->a, plan->a, p->add ? &one : &zero,
                   p->add ? p->add : p->c, plan->c, p->c, plan->c, plan->result, workspace, BLAS_WORKSPACE, stream);
    return plan->usable;
}
