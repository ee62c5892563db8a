// What profile fast-bf16 does otherwise on a GPU: products by the vendor's library from operands turned to bfloat16,
// and attention without its probabilities in memory. Shapes that neither fits go the way of repro-fp32.
#include "core/check.h"
#include "hip/gpu.h"

enum { FOURS = 4, QUERIES = 64, KEYS = 32, GRID_MAX = 65535, LINE = 256 };

static uint32_t blocks(size_t count, size_t each)
{
    const size_t n = (count + each - 1) / each;
    check(n <= INT32_MAX);
    return (uint32_t)n;
}

static size_t lines(size_t size)
{
    return (size + LINE - 1) / LINE * LINE;
}

static bool by_fours(const void *p, uint32_t columns, size_t ld)
{
    return (uintptr_t)p % (FOURS * sizeof(float)) == 0 && columns % FOURS == 0 && ld % FOURS == 0;
}

static void to_bf16(struct gpu_stream *s, const float *x, size_t rows, uint32_t columns, size_t ld, void *y)
{
    struct gpu_to_bf16 a = {.x = x, .y = y, .rows = rows, .ld = ld, .columns = columns};
    gpu_run(s, GPU_to_bf16, blocks(rows * columns, FOURS * GPU_BLOCK), 1, 1, &a);
}

static bool fast_gemm(struct gpu_stream *s, const struct hip_gemm *g)
{
    const uint32_t a_rows = g->transpose_a ? g->k : g->m, a_columns = g->transpose_a ? g->m : g->k;
    const uint32_t b_rows = g->transpose_b ? g->n : g->k, b_columns = g->transpose_b ? g->k : g->n;
    if (!g->m || !g->n || !g->k || g->batch > 1 || !by_fours(g->a, a_columns, g->lda) ||
        !by_fours(g->b, b_columns, g->ldb))
        return false;
    struct blas *blas = gpu_blas(s);
    if (!blas) return false;
    const size_t a_size = lines((size_t)a_rows * a_columns * 2), b_size = lines((size_t)b_rows * b_columns * 2);
    char *scratch = gpu_scratch(s, a_size + b_size + BLAS_WORKSPACE);
    if (!scratch) return true;  // out of memory, which the stream says
    to_bf16(s, g->a, a_rows, a_columns, g->lda, scratch);
    to_bf16(s, g->b, b_rows, b_columns, g->ldb, scratch + a_size);
    if (s->err) return true;
    const struct blas_product p = {.m = g->m,
                                   .n = g->n,
                                   .k = g->k,
                                   .transpose_a = g->transpose_a,
                                   .transpose_b = g->transpose_b,
                                   .a = (const uint16_t *)(const void *)scratch,
                                   .b = (const uint16_t *)(const void *)(scratch + a_size),
                                   .add = g->add,
                                   .c = g->c,
                                   .lda = a_columns,
                                   .ldb = b_columns,
                                   .ldc = g->ldc};
    return blas_run(blas, &p, scratch + a_size + b_size, s->handle);
}

static bool fused_fits(uint32_t batch, uint32_t heads, uint32_t head_dim)
{
    return batch && heads && head_dim <= GPU_FUSED_DIM && batch <= GRID_MAX && heads <= GRID_MAX;
}

// lse and delta lie in the room of the probabilities, of which a head has context * context: a context of 1 has only
// one.
static bool room_for_rows(uint32_t context)
{
    return context >= 2;
}

static bool fast_attention(struct gpu_stream *s, const struct hip_attention *a)
{
    if (!fused_fits(a->batch, a->heads, a->head_dim) || !room_for_rows(a->context)) return false;
    struct gpu_fused f = {.q = a->q, .k = a->k, .v = a->v, .y = a->y, .lse = a->probs, .ldq = a->ldq, .ldk = a->ldk};
    f.ldy = (size_t)a->heads * a->head_dim;
    f.context = a->context;
    f.heads = a->heads;
    f.group = a->heads / a->kv_heads;
    f.dim = a->head_dim;
    f.scale = a->scale;
    gpu_run(s, GPU_fused, blocks(a->context, QUERIES), a->heads, a->batch, &f);
    return true;
}

static bool fast_attention_grad(struct gpu_stream *s, const struct hip_attention_grad *a)
{
    if (!fused_fits(a->batch, a->heads, a->head_dim) || !room_for_rows(a->context)) return false;
    check(a->y);  // without probabilities the gradient needs the forward pass's result
    struct gpu_fused f = {.q = a->q, .k = a->k, .v = a->v, .dy = a->dy, .dq = a->dq, .dk = a->dk, .dv = a->dv};
    f.y = (float *)(uintptr_t)a->y;
    f.lse = a->probs;
    f.delta = a->probs + (size_t)a->batch * a->heads * a->context;
    f.ldq = a->ldq;
    f.ldk = a->ldk;
    f.ldy = (size_t)a->heads * a->head_dim;
    f.context = a->context;
    f.heads = a->heads;
    f.group = a->heads / a->kv_heads;
    f.dim = a->head_dim;
    f.scale = a->scale;
    gpu_run(s, GPU_fused_delta, blocks(a->context, GPU_BLOCK), a->heads, a->batch, &f);
    gpu_run(s, GPU_fused_dq, blocks(a->context, KEYS), a->heads, a->batch, &f);
    gpu_run(s, GPU_fused_dkv, blocks(a->context, KEYS), a->kv_heads, a->batch, &f);
    return true;
}

bool gpu_plan_fast(struct gpu_stream *s, enum hip_kernel k, const void *args)
{
    if (k == HIP_KERNEL_GEMM) return fast_gemm(s, args);
    if (k == HIP_KERNEL_ATTENTION) return fast_attention(s, args);
    if (k == HIP_KERNEL_ATTENTION_GRAD) return fast_attention_grad(s, args);
    return false;
}
