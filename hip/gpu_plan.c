// What each kernel of hip/kernels.h is on a GPU: one launch, or several with scratch between them. The split never
// changes a bit: products and rows keep the order that hip/kernels.h fixes.
#include "core/check.h"
#include "hip/gpu.h"

enum {
    ROWS_A_BLOCK = GPU_BLOCK / HIP_PARTIALS,
    GRID_MAX = 65535,        // of y and z
    SCORES_MAX = 256 << 20,  // bytes of score gradients held at once
    LARGEST_SPAN = GPU_BLOCK * GPU_SPAN,
};

static uint32_t blocks(size_t count, size_t each)
{
    const size_t n = (count + each - 1) / each;
    check(n <= INT32_MAX);
    return (uint32_t)n;
}

// Large tiles where they fill the device, else small ones.
static void run_product(struct gpu_stream *s, struct gpu_product *p, uint32_t layers)
{
    const struct gpu_device *d = (const struct gpu_device *)s->stream.device;
    const uint64_t large = (uint64_t)blocks(p->m, 128) * blocks(p->n, 128) * layers;
    const bool small = large < 2 * (uint64_t)d->units;
    const uint32_t tile = small ? 64 : 128;
    for (uint32_t first = 0; first < layers; first += GRID_MAX) {
        const uint32_t now = layers - first < GRID_MAX ? layers - first : GRID_MAX;
        p->first = first;
        gpu_run(s, small ? GPU_product_small : GPU_product_large, blocks(p->n, tile), blocks(p->m, tile), now, p);
    }
}

static void plan_gemm(struct gpu_stream *s, const struct hip_gemm *g)
{
    struct gpu_product p = {.a = g->a, .b = g->b, .add = g->add, .c = g->c, .ldc = g->ldc};
    p.m = g->m;
    p.n = g->n;
    p.k = g->k;
    p.a_row = g->transpose_a ? 1 : g->lda;
    p.a_k = g->transpose_a ? g->lda : 1;
    p.b_k = g->transpose_b ? 1 : g->ldb;
    p.b_column = g->transpose_b ? g->ldb : 1;
    p.inner = 1;
    p.a_outer = g->stride_a;
    p.b_outer = g->stride_b;
    p.c_outer = g->stride_c;
    run_product(s, &p, g->batch ? g->batch : 1);
}

// ---- attention: layers are (sequence, key head) pairs; query heads that share a key head come one after another ----

static void plan_attention(struct gpu_stream *s, const struct hip_attention *a)
{
    check(a->context <= HIP_MAX_CONTEXT && a->head_dim <= HIP_MAX_HEAD_DIM && a->kv_heads &&
          a->heads % a->kv_heads == 0);
    const size_t dim = a->head_dim, group = a->heads / a->kv_heads, square = (size_t)a->context * a->context;
    const size_t ldy = (size_t)a->heads * dim;
    const uint32_t layers = a->batch * a->kv_heads;
    for (size_t h = 0; h < group; h++) {
        float *probs = a->probs + h * square;
        struct gpu_product scores = {.a = a->q + h * dim, .b = a->k, .c = probs, .limit = GPU_SCORES};
        scores.m = scores.n = a->context;
        scores.k = a->head_dim;
        scores.a_row = a->ldq;
        scores.a_k = scores.b_k = 1;
        scores.b_column = a->ldk;
        scores.ldc = a->context;
        scores.inner = a->kv_heads;
        scores.a_outer = a->context * a->ldq;
        scores.a_inner = group * dim;
        scores.b_outer = a->context * a->ldk;
        scores.b_inner = dim;
        scores.c_outer = a->heads * square;
        scores.c_inner = group * square;
        run_product(s, &scores, layers);
        struct gpu_softmax rows = {.scores = probs, .context = a->context, .scale = a->scale, .inner = a->kv_heads};
        rows.rows = (size_t)layers * a->context;
        rows.outer = (size_t)a->heads * a->context;
        rows.layer = group * a->context;
        gpu_run(s, GPU_softmax, blocks(rows.rows, ROWS_A_BLOCK), 1, 1, &rows);
        struct gpu_product y = {.a = probs, .b = a->v, .c = a->y + h * dim, .limit = GPU_LOWER};
        y.m = y.k = a->context;
        y.n = a->head_dim;
        y.a_row = a->context;
        y.a_k = y.b_column = 1;
        y.b_k = a->ldk;
        y.ldc = ldy;
        y.inner = a->kv_heads;
        y.a_outer = scores.c_outer;
        y.a_inner = scores.c_inner;
        y.b_outer = scores.b_outer;
        y.b_inner = dim;
        y.c_outer = a->context * ldy;
        y.c_inner = group * dim;
        run_product(s, &y, layers);
    }
}

// The sequences of `a`, few enough that their score gradients `g` fit the scratch.
static void attention_grad_part(struct gpu_stream *s, const struct hip_attention_grad *a, float *g)
{
    const size_t dim = a->head_dim, group = a->heads / a->kv_heads, square = (size_t)a->context * a->context;
    const size_t ldy = (size_t)a->heads * dim;
    const uint32_t layers = a->batch * a->kv_heads;
    for (size_t h = 0; h < group; h++) {
        float *probs = a->probs + h * square;
        // Where a head's rows lie: of dy, of q (and dq), of k and v (and dk, dv), of probs.
        const size_t of_y[2] = {a->context * ldy, group * dim}, of_q[2] = {a->context * a->ldq, group * dim};
        const size_t of_k[2] = {a->context * a->ldk, dim}, of_p[2] = {a->heads * square, group * square};
        struct gpu_product p = {.m = a->context, .inner = a->kv_heads};
        // dv = P^T dy, with the probabilities that ds will overwrite.
        p.a = probs;
        p.a_row = 1;
        p.a_k = a->context;
        p.a_outer = of_p[0];
        p.a_inner = of_p[1];
        p.b = a->dy + h * dim;
        p.b_k = ldy;
        p.b_column = 1;
        p.b_outer = of_y[0];
        p.b_inner = of_y[1];
        p.c = a->dv;
        p.add = h ? a->dv : NULL;
        p.ldc = a->ldk;
        p.c_outer = of_k[0];
        p.c_inner = of_k[1];
        p.n = a->head_dim;
        p.k = a->context;
        p.limit = GPU_UPPER;
        run_product(s, &p, layers);
        // g = dy V^T.
        struct gpu_product scores = {.m = a->context, .n = a->context, .k = a->head_dim, .inner = a->kv_heads};
        scores.limit = GPU_SCORES;
        scores.a = a->dy + h * dim;
        scores.a_row = ldy;
        scores.a_k = 1;
        scores.a_outer = of_y[0];
        scores.a_inner = of_y[1];
        scores.b = a->v;
        scores.b_k = 1;
        scores.b_column = a->ldk;
        scores.b_outer = of_k[0];
        scores.b_inner = of_k[1];
        scores.c = g;
        scores.ldc = a->context;
        scores.c_outer = a->kv_heads * square;
        scores.c_inner = square;
        run_product(s, &scores, layers);
        struct gpu_softmax_grad rows = {.probs = probs, .g = g, .context = a->context, .scale = a->scale};
        rows.rows = (size_t)layers * a->context;
        rows.outer = (size_t)a->heads * a->context;
        rows.layer = group * a->context;
        rows.inner = a->kv_heads;
        gpu_run(s, GPU_softmax_grad, blocks(rows.rows, ROWS_A_BLOCK), 1, 1, &rows);
        // dk = dS^T q, as dv.
        p.b = a->q + h * dim;
        p.b_k = a->ldq;
        p.b_outer = of_q[0];
        p.b_inner = of_q[1];
        p.c = a->dk;
        p.add = h ? a->dk : NULL;
        run_product(s, &p, layers);
        // dq = dS k.
        p.a_row = a->context;
        p.a_k = 1;
        p.b = a->k;
        p.b_k = a->ldk;
        p.b_outer = of_k[0];
        p.b_inner = of_k[1];
        p.c = a->dq + h * dim;
        p.add = NULL;
        p.ldc = a->ldq;
        p.c_outer = of_q[0];
        p.c_inner = of_q[1];
        p.limit = GPU_LOWER;
        run_product(s, &p, layers);
    }
}

static void plan_attention_grad(struct gpu_stream *s, const struct hip_attention_grad *a)
{
    check(a->context <= HIP_MAX_CONTEXT && a->head_dim <= HIP_MAX_HEAD_DIM && a->kv_heads &&
          a->heads % a->kv_heads == 0);
    const size_t square = (size_t)a->context * a->context, each = square * a->kv_heads * sizeof(float);
    if (!each) return;
    const uint32_t fit = each >= SCORES_MAX ? 1 : (uint32_t)(SCORES_MAX / each);
    struct hip_attention_grad part = *a;
    for (uint32_t from = 0; from < a->batch; from += fit) {
        const size_t row = (size_t)from * a->context;
        part.batch = a->batch - from < fit ? a->batch - from : fit;
        part.dy = a->dy + row * a->heads * a->head_dim;
        part.q = a->q + row * a->ldq;
        part.k = a->k + row * a->ldk;
        part.v = a->v + row * a->ldk;
        part.dq = a->dq + row * a->ldq;
        part.dk = a->dk + row * a->ldk;
        part.dv = a->dv + row * a->ldk;
        part.probs = a->probs + from * a->heads * square;
        float *g = gpu_scratch(s, part.batch * each);
        if (!g) return;
        attention_grad_part(s, &part, g);
    }
}

// ---- rows and whole tensors ----

static void plan_norm_grad(struct gpu_stream *s, const struct hip_norm_grad *a)
{
    struct gpu_norm_weight w = {.dy = a->dy, .x = a->x, .rstd = a->rstd, .dweight = a->dweight, .rows = a->rows};
    w.width = a->width;
    w.chunks = blocks(a->rows, HIP_CHUNK);
    w.accumulate = a->accumulate;
    w.partial = gpu_scratch(s, (size_t)w.chunks * a->width * sizeof(float));
    if (!w.partial) return;
    check(w.chunks <= GRID_MAX);
    gpu_run(s, GPU_norm_weight, blocks(a->width, GPU_BLOCK), w.chunks, 1, &w);
    gpu_run(s, GPU_norm_weight_sum, blocks(a->width, GPU_BLOCK), 1, 1, &w);
    struct hip_norm_grad copy = *a;
    gpu_run(s, GPU_norm_grad, blocks(a->rows, ROWS_A_BLOCK), 1, 1, &copy);
}

static void plan_reduce(struct gpu_stream *s, const float *x, float *out, size_t count, bool squares)
{
    size_t rows = blocks(count, HIP_TENSOR_ROW);
    // Two halves of the scratch take turns; the last pass writes the result.
    float *sides[2] = {gpu_scratch(s, (rows + rows) * sizeof(float) + sizeof(float)), NULL};
    if (!sides[0]) return;
    sides[1] = sides[0] + rows;
    if (!count) {
        hip_zero(&s->stream, out, sizeof *out);
        return;
    }
    struct gpu_reduce r = {.x = x, .count = count, .squares = squares};
    for (unsigned turn = 0;; turn ^= 1) {
        rows = blocks(r.count, HIP_TENSOR_ROW);
        r.out = rows == 1 ? out : sides[turn];
        gpu_run(s, GPU_reduce, blocks(rows, ROWS_A_BLOCK), 1, 1, &r);
        if (rows == 1) return;
        r = (struct gpu_reduce){.x = r.out, .count = rows};
    }
}

static void plan_max_abs(struct gpu_stream *s, const struct hip_max_abs *a)
{
    size_t rows = blocks(a->count, LARGEST_SPAN);
    float *sides[2] = {gpu_scratch(s, (rows + rows) * sizeof(float) + sizeof(float)), NULL};
    if (!sides[0]) return;
    sides[1] = sides[0] + rows;
    if (!a->count) {
        hip_zero(&s->stream, a->out, sizeof *a->out);
        return;
    }
    struct gpu_largest r = {.x = a->x, .count = a->count};
    for (unsigned turn = 0;; turn ^= 1) {
        rows = blocks(r.count, LARGEST_SPAN);
        r.out = rows == 1 ? a->out : sides[turn];
        gpu_run(s, GPU_largest, (uint32_t)rows, 1, 1, &r);
        if (rows == 1) return;
        r = (struct gpu_largest){.x = r.out, .count = rows};
    }
}

static void plan_count_nonfinite(struct gpu_stream *s, const struct hip_count_nonfinite *a)
{
    const uint32_t rows = blocks(a->count, LARGEST_SPAN);
    struct gpu_nonfinite n = {.x = a->x, .out = a->out, .count = a->count};
    n.counts = gpu_scratch(s, (size_t)rows * sizeof(uint64_t) + sizeof(uint64_t));
    if (!n.counts) return;
    gpu_run(s, GPU_nonfinite, rows, 1, 1, &n);
    n.count = rows;
    gpu_run(s, GPU_nonfinite_sum, 1, 1, 1, &n);
}

// A launch of what hip/kernels.h names, as it is.
#define PLAIN(NAME, name, kernel, gx, gy)                       \
    case HIP_KERNEL_##NAME: {                                   \
        struct hip_##name a = *(const struct hip_##name *)args; \
        gpu_run(s, GPU_##kernel, gx, gy, 1, &a);                \
        return;                                                 \
    }

#define ELEMENTS(NAME, name) PLAIN(NAME, name, name, blocks(a.count, GPU_BLOCK), 1)

void gpu_plan(struct gpu_stream *s, enum hip_kernel k, const void *args)
{
    switch (k) {
    case HIP_KERNEL_GEMM: plan_gemm(s, args); return;
    case HIP_KERNEL_ATTENTION: plan_attention(s, args); return;
    case HIP_KERNEL_ATTENTION_GRAD: plan_attention_grad(s, args); return;
    case HIP_KERNEL_NORM_GRAD: plan_norm_grad(s, args); return;
    case HIP_KERNEL_SUM: {
        const struct hip_sum *a = args;
        plan_reduce(s, a->x, a->out, a->count, false);
        return;
    }
    case HIP_KERNEL_SUM_SQUARES: {
        const struct hip_sum_squares *a = args;
        plan_reduce(s, a->x, a->out, a->count, true);
        return;
    }
    case HIP_KERNEL_MAX_ABS: plan_max_abs(s, args); return;
    case HIP_KERNEL_COUNT_NONFINITE:
        plan_count_nonfinite(s, args);
        return;
        PLAIN(EMBED, embed, embed, blocks((size_t)a.rows * a.width, GPU_BLOCK), 1)
        PLAIN(EMBED_GRAD, embed_grad, embed_grad, a.vocab, blocks(a.width, GPU_BLOCK))
        PLAIN(NORM, norm, norm, blocks(a.rows, ROWS_A_BLOCK), 1)
        PLAIN(ROTATE, rotate, rotate, blocks((size_t)a.rows * a.heads * (a.head_dim / 2), GPU_BLOCK), 1)
        PLAIN(SWIGLU, swiglu, swiglu, blocks((size_t)a.rows * a.width, GPU_BLOCK), 1)
        PLAIN(SWIGLU_GRAD, swiglu_grad, swiglu_grad, blocks((size_t)a.rows * a.width, GPU_BLOCK), 1)
        PLAIN(CROSS_ENTROPY, cross_entropy, cross_entropy, blocks(a.rows, ROWS_A_BLOCK), 1)
        ELEMENTS(ADAMW, adamw)
        ELEMENTS(SCALE, scale)
        ELEMENTS(AXPY, axpy)
        ELEMENTS(QUANTISE, quantise)
        ELEMENTS(OUTER_STEP, outer_step)
        ELEMENTS(ACCUMULATE, accumulate)
        ELEMENTS(WIDEN_ADD, widen_add)
        ELEMENTS(NARROW, narrow)
    case HIP_KERNEL_COUNT: break;
    }
}
