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

// Four neighbours of this operand at once: aligned, and together inside or outside.
static bool by_fours(const float *p, size_t step, size_t k_step, uint32_t length, uint32_t k)
{
    const bool along_k = k_step == 1;
    return (uintptr_t)p % 16 == 0 && (along_k ? step : k_step) % 4 == 0 && (along_k ? k : length) % 4 == 0 &&
           (along_k || step == 1);
}

static bool strides_by_fours(const struct gpu_product *p)
{
    return (p->a_outer | p->a_inner | p->b_outer | p->b_inner | p->c_outer | p->c_inner) % 4 == 0;
}

// Large tiles where they fill the device, else small ones; elements one by one where they don't come in fours.
static enum gpu_kernel product_kernel(const struct gpu_device *d, const struct gpu_product *p, uint32_t layers)
{
    const bool fours = by_fours(p->a, p->a_row, p->a_k, p->m, p->k) && by_fours(p->b, p->b_column, p->b_k, p->n, p->k);
    if (!fours || !strides_by_fours(p) || p->n % 4 || p->ldc % 4 || ((uintptr_t)p->c | (uintptr_t)p->add) % 16)
        return GPU_product_any;
    const bool limited = p->limit == GPU_LOWER || p->limit == GPU_UPPER;
    const uint64_t large = (uint64_t)blocks(p->m, 128) * blocks(p->n, 128) * layers;
    return limited || large < 2 * (uint64_t)d->units ? GPU_product_small : GPU_product_large;
}

static void run_product(struct gpu_stream *s, struct gpu_product *p, uint32_t layers)
{
    if (!p->m || !p->n) return;
    const enum gpu_kernel kernel = product_kernel((const struct gpu_device *)s->stream.device, p, layers);
    const uint32_t tile = kernel == GPU_product_large ? 128 : 64;
    for (uint32_t first = 0; first < layers; first += GRID_MAX) {
        const uint32_t now = layers - first < GRID_MAX ? layers - first : GRID_MAX;
        p->first = first;
        gpu_run(s, kernel, blocks(p->n, tile), blocks(p->m, tile), now, p);
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

// Where a head's rows lie: a matrix of `ld`, and the distances of sequences and of layers within one.
struct place {
    const float *p;
    size_t ld, outer, inner;
};

// Those of query head h of each group, for what hip_attention and hip_attention_grad share.
struct places {
    struct place y, q, k, v, probs;  // y: of y or dy
    uint32_t context, dim, layers, kv_heads;
    size_t group, square;
};

static struct places places_of(const struct hip_attention *a, size_t h)
{
    struct places w = {.context = a->context, .dim = a->head_dim, .kv_heads = a->kv_heads};
    const size_t ldy = (size_t)a->heads * w.dim, context = a->context;
    w.layers = a->batch * a->kv_heads;
    w.group = a->heads / a->kv_heads;
    w.square = context * context;
    w.y = (struct place){a->y + h * w.dim, ldy, context * ldy, w.group * w.dim};
    w.q = (struct place){a->q + h * w.dim, a->ldq, context * a->ldq, w.group * w.dim};
    w.k = (struct place){a->k, a->ldk, context * a->ldk, w.dim};
    w.v = (struct place){a->v, a->ldk, context * a->ldk, w.dim};
    w.probs = (struct place){a->probs + h * w.square, context, a->heads * w.square, w.group * w.square};
    return w;
}

// c = a b, or a b^T (the scores' two products), or a^T b; each layer's.
enum attention_product { A_B, A_BT, AT_B };

static void attention_product(struct gpu_stream *s, const struct places *w, enum attention_product form, struct place a,
                              struct place b, struct place c, float *out, const float *add)
{
    struct gpu_product p = {.a = a.p, .b = b.p, .c = out, .add = add, .m = w->context, .inner = w->kv_heads};
    p.n = form == A_BT ? w->context : w->dim;
    p.k = form == A_BT ? w->dim : w->context;
    p.limit = form == A_BT ? GPU_SCORES : form == A_B ? GPU_LOWER : GPU_UPPER;
    p.a_row = form == AT_B ? 1 : a.ld;
    p.a_k = form == AT_B ? a.ld : 1;
    p.b_k = form == A_BT ? 1 : b.ld;
    p.b_column = form == A_BT ? b.ld : 1;
    p.ldc = c.ld;
    p.a_outer = a.outer, p.a_inner = a.inner;
    p.b_outer = b.outer, p.b_inner = b.inner;
    p.c_outer = c.outer, p.c_inner = c.inner;
    run_product(s, &p, w->layers);
}

static void check_attention(uint32_t context, uint32_t head_dim, uint32_t heads, uint32_t kv_heads)
{
    check(context <= HIP_MAX_CONTEXT && head_dim <= HIP_MAX_HEAD_DIM && kv_heads && heads % kv_heads == 0);
}

static void plan_attention(struct gpu_stream *s, const struct hip_attention *a)
{
    check_attention(a->context, a->head_dim, a->heads, a->kv_heads);
    for (size_t h = 0; h < a->heads / a->kv_heads; h++) {
        const struct places w = places_of(a, h);
        float *probs = a->probs + h * w.square;
        attention_product(s, &w, A_BT, w.q, w.k, w.probs, probs, NULL);
        struct gpu_softmax rows = {.scores = probs, .context = a->context, .scale = a->scale, .inner = a->kv_heads};
        rows.rows = (size_t)w.layers * a->context;
        rows.outer = (size_t)a->heads * a->context;
        rows.layer = w.group * a->context;
        gpu_run(s, GPU_softmax, blocks(rows.rows, ROWS_A_BLOCK), 1, 1, &rows);
        attention_product(s, &w, A_B, w.probs, w.v, w.y, a->y + h * w.dim, NULL);
    }
}

// The sequences of `a`, few enough that their score gradients `g` fit the scratch.
static void attention_grad_part(struct gpu_stream *s, const struct hip_attention_grad *a, float *g)
{
    const struct hip_attention forward = {.q = a->q,
                                          .k = a->k,
                                          .v = a->v,
                                          .ldq = a->ldq,
                                          .ldk = a->ldk,
                                          .probs = a->probs,
                                          .y = (float *)(uintptr_t)a->dy,
                                          .batch = a->batch,
                                          .context = a->context,
                                          .heads = a->heads,
                                          .kv_heads = a->kv_heads,
                                          .head_dim = a->head_dim};
    for (size_t h = 0; h < a->heads / a->kv_heads; h++) {
        const struct places w = places_of(&forward, h);
        const struct place scores = {g, a->context, a->kv_heads * w.square, w.square};
        // dv with the probabilities, which ds overwrites; then g = dy V^T and ds from it; dk and dq with ds.
        attention_product(s, &w, AT_B, w.probs, w.y, w.v, a->dv, h ? a->dv : NULL);
        attention_product(s, &w, A_BT, w.y, w.v, scores, g, NULL);
        struct gpu_softmax_grad rows = {.probs = a->probs + h * w.square, .g = g, .context = a->context};
        rows.scale = a->scale;
        rows.rows = (size_t)w.layers * a->context;
        rows.outer = (size_t)a->heads * a->context;
        rows.layer = w.group * a->context;
        rows.inner = a->kv_heads;
        gpu_run(s, GPU_softmax_grad, blocks(rows.rows, ROWS_A_BLOCK), 1, 1, &rows);
        attention_product(s, &w, AT_B, w.probs, w.q, w.k, a->dk, h ? a->dk : NULL);
        attention_product(s, &w, A_B, w.probs, w.k, w.q, a->dq + h * w.dim, NULL);
    }
}

static void plan_attention_grad(struct gpu_stream *s, const struct hip_attention_grad *a)
{
    check_attention(a->context, a->head_dim, a->heads, a->kv_heads);
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
#define FOURS(NAME, name)    PLAIN(NAME, name, name, blocks(a.count, 4 * GPU_BLOCK), 1)

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
        FOURS(QUANTISE, quantise)
        FOURS(OUTER_STEP, outer_step)
        FOURS(ACCUMULATE, accumulate)
        FOURS(WIDEN_ADD, widen_add)
        FOURS(NARROW, narrow)
    case HIP_KERNEL_COUNT: break;
    }
}
