#include "learn/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "hip/math.h"

// Offsets of a layer's tensors in the flat vector.
struct layer_offsets {
    uint64_t attention_norm, qkv, out, feed_norm, gate_up, down;
};

static struct layer_offsets offsets_of(const struct model_config *c, uint32_t layer)
{
    uint64_t at[6];
    for (uint32_t i = 0; i < 6; i++) at[i] = tensors_at(c, 1 + 6 * layer + i).offset;
    return (struct layer_offsets){at[0], at[1], at[2], at[3], at[4], at[5]};
}

static uint64_t final_norm_offset(const struct model_config *c)
{
    return tensors_at(c, 1 + 6 * c->layers).offset;
}

static uint64_t head_offset(const struct model_config *c)
{
    return c->tied ? 0 : tensors_at(c, tensors_count(c) - 1).offset;
}

// Sequences of a pass: all, or the largest number within `pass_rows` (at least one period) whose rows are whole
// chunks.
static uint32_t sequences_of_pass(const struct model_config *c, uint32_t pass_rows)
{
    uint32_t period = 1;
    while ((uint64_t)period * c->context % HIP_CHUNK != 0) period++;
    uint32_t rows = period * c->context, periods = pass_rows / rows;
    uint32_t sequences = period * (periods ? periods : 1);
    bool whole = sequences >= c->batch || (uint64_t)c->batch * c->context <= pass_rows;
    return whole ? c->batch : sequences;
}

// --- Memory: one allocation, carved twice: once to measure, once in earnest ---

struct carver {
    char *base;  // NULL to measure
    uint64_t used;
};

static void *carve(struct carver *c, uint64_t count)
{
    void *at = c->base ? c->base + c->used : NULL;
    c->used += (count * sizeof(float) + 63) / 64 * 64;
    return at;
}

uint32_t model_gate_up_ld(const struct model_config *c)
{
    return 2 * c->inner + (2 * c->inner % 1024 ? 0 : 16);
}

static void carve_layer(struct carver *c, const struct model_config *m, uint64_t sequences, struct model_layer *l)
{
    uint64_t rows = sequences * m->context, width = m->width;
    l->x = carve(c, rows * width);
    l->attention_rstd = carve(c, rows);
    l->attention_in = carve(c, rows * width);
    l->qkv = carve(c, rows * 3 * width);
    l->probs = carve(c, sequences * m->heads * m->context * m->context);
    l->attended = carve(c, rows * width);
    l->middle = carve(c, rows * width);
    l->feed_rstd = carve(c, rows);
    l->feed_in = carve(c, rows * width);
    l->gate_up = carve(c, rows * model_gate_up_ld(m));
    l->gated = carve(c, rows * m->inner);
}

static void carve_shared(struct carver *c, struct model *m)
{
    const struct model_config *config = &m->config;
    uint64_t rows = (uint64_t)m->sequences * config->context, all = (uint64_t)config->batch * config->context;
    uint64_t table = (uint64_t)config->context * (config->width / config->heads / 2);
    uint64_t wide = 3 * config->width > config->inner ? 3 * config->width : config->inner;
    m->tokens = carve(c, all);
    m->targets = carve(c, all);
    m->losses = carve(c, all);
    m->embedding_grad = carve(c, all * config->width);
    m->cosines = carve(c, table);
    m->sines = carve(c, table);
    m->x = carve(c, rows * config->width);
    m->rstd = carve(c, rows);
    m->normed = carve(c, rows * config->width);
    m->logits = carve(c, rows * config->vocab);
    m->dx = carve(c, rows * config->width);
    m->dnarrow = carve(c, rows * config->width);
    m->dwide = carve(c, rows * wide);
}

uint64_t model_memory(const struct model_config *config, uint32_t pass_rows)
{
    struct model m = {.config = *config, .sequences = sequences_of_pass(config, pass_rows)};
    struct model_layer layer;
    struct carver shared = {NULL, 0}, layers = {NULL, 0};
    carve_shared(&shared, &m);
    carve_layer(&layers, config, m.sequences, &layer);
    return shared.used + layers.used * config->layers;
}

void model_rotary_tables(const struct model_config *config, float *cosines, float *sines)
{
    uint32_t head_width = config->width / config->heads, half = head_width / 2;
    float log_base = hip_math_log(config->rope_base);
    for (uint32_t j = 0; j < half; j++) {
        float frequency = hip_math_exp(-((float)(2 * j) / (float)head_width) * log_base);
        for (uint32_t position = 0; position < config->context; position++) {
            float angle = (float)position * frequency;
            cosines[(size_t)position * half + j] = hip_math_cos(angle);
            sines[(size_t)position * half + j] = hip_math_sin(angle);
        }
    }
}

static enum core_err upload_tables(struct model *m)
{
    size_t count = (size_t)m->config.context * (m->config.width / m->config.heads / 2);
    float *tables = malloc(2 * count * sizeof *tables);
    if (!tables) return CORE_ERR_NO_MEMORY;
    model_rotary_tables(&m->config, tables, tables + count);
    hip_upload(m->stream, m->cosines, tables, count * sizeof *tables);
    hip_upload(m->stream, m->sines, tables + count, count * sizeof *tables);
    enum core_err err = hip_stream_wait(m->stream);
    free(tables);
    return err;
}

enum core_err model_open(struct model *model, struct hip_device *device, struct hip_stream *stream,
                         const struct model_config *config, uint32_t pass_rows)
{
    *model = (struct model){.config = *config, .device = device, .stream = stream};
    model->sequences = sequences_of_pass(config, pass_rows);
    model->layers = calloc(config->layers, sizeof *model->layers);
    model->host_tokens = calloc(2 * (size_t)config->batch * config->context, sizeof *model->host_tokens);
    enum core_err err = model->layers && model->host_tokens ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
    if (!err) err = hip_alloc(device, model_memory(config, pass_rows), &model->memory);
    if (!err) {
        struct carver c = {model->memory, 0};
        carve_shared(&c, model);
        for (uint32_t i = 0; i < config->layers; i++) carve_layer(&c, config, model->sequences, &model->layers[i]);
        check(c.used == model_memory(config, pass_rows));
        err = upload_tables(model);
    }
    if (err) model_close(model);
    return err;
}

void model_close(struct model *model)
{
    if (model->memory) hip_free(model->device, model->memory);
    free(model->host_tokens);
    free(model->layers);
    *model = (struct model){0};
}

// --- Linear layers: y = x W^T with W [out, in] ---

static void linear(const struct model *m, const float *x, const float *w, uint32_t rows, uint32_t in, uint32_t out,
                   const float *add, float *y, uint32_t ldy)
{
    hip_gemm(m->stream, &(struct hip_gemm){.m = rows,
                                           .n = out,
                                           .k = in,
                                           .transpose_b = true,
                                           .a = x,
                                           .b = w,
                                           .add = add,
                                           .c = y,
                                           .lda = in,
                                           .ldb = in,
                                           .ldc = ldy});
}

static void linear_input_grad(const struct model *m, const float *dy, uint32_t lddy, const float *w, uint32_t rows,
                              uint32_t in, uint32_t out, float *dx)
{
    hip_gemm(m->stream, &(struct hip_gemm){
                            .m = rows, .n = in, .k = out, .a = dy, .b = w, .c = dx, .lda = lddy, .ldb = in, .ldc = in});
}

static void linear_weight_grad(const struct model *m, const float *dy, uint32_t lddy, const float *x, uint32_t rows,
                               uint32_t in, uint32_t out, bool accumulate, float *dw)
{
    hip_gemm(m->stream, &(struct hip_gemm){.m = out,
                                           .n = in,
                                           .k = rows,
                                           .transpose_a = true,
                                           .a = dy,
                                           .b = x,
                                           .add = accumulate ? dw : NULL,
                                           .c = dw,
                                           .lda = lddy,
                                           .ldb = in,
                                           .ldc = in});
}

// --- Forward ---

static void norm(const struct model *m, const float *x, const float *weight, uint32_t rows, float *y, float *rstd)
{
    hip_norm(m->stream, &(struct hip_norm){.x = x,
                                           .weight = weight,
                                           .y = y,
                                           .rstd = rstd,
                                           .rows = rows,
                                           .width = m->config.width,
                                           .eps = m->config.norm_epsilon});
}

// Queries and keys lie side by side in a row of qkv: one call turns both.
static void rotate(const struct model *m, float *qkv, uint32_t rows, bool inverse)
{
    const struct model_config *c = &m->config;
    hip_rotate(m->stream, &(struct hip_rotate){.x = qkv,
                                               .ld = 3 * (size_t)c->width,
                                               .cosines = m->cosines,
                                               .sines = m->sines,
                                               .rows = rows,
                                               .context = c->context,
                                               .heads = 2 * c->heads,
                                               .head_dim = c->width / c->heads,
                                               .inverse = inverse});
}

static float attention_scale(const struct model_config *c)
{
    return 1.0f / sqrtf((float)(c->width / c->heads));
}

static void layer_forward(const struct model *m, const float *params, uint32_t layer, uint32_t sequences, float *next)
{
    const struct model_config *c = &m->config;
    const struct model_layer *l = &m->layers[layer];
    struct layer_offsets o = offsets_of(c, layer);
    uint32_t rows = sequences * c->context, width = c->width, inner = c->inner;
    norm(m, l->x, params + o.attention_norm, rows, l->attention_in, l->attention_rstd);
    linear(m, l->attention_in, params + o.qkv, rows, width, 3 * width, NULL, l->qkv, 3 * width);
    rotate(m, l->qkv, rows, false);
    hip_attention(m->stream, &(struct hip_attention){.q = l->qkv,
                                                     .k = l->qkv + width,
                                                     .v = l->qkv + 2 * width,
                                                     .ldq = 3 * (size_t)width,
                                                     .ldk = 3 * (size_t)width,
                                                     .probs = l->probs,
                                                     .y = l->attended,
                                                     .batch = sequences,
                                                     .context = c->context,
                                                     .heads = c->heads,
                                                     .kv_heads = c->heads,
                                                     .head_dim = width / c->heads,
                                                     .scale = attention_scale(c)});
    linear(m, l->attended, params + o.out, rows, width, width, l->x, l->middle, width);
    norm(m, l->middle, params + o.feed_norm, rows, l->feed_in, l->feed_rstd);
    linear(m, l->feed_in, params + o.gate_up, rows, width, 2 * inner, NULL, l->gate_up, model_gate_up_ld(c));
    hip_swiglu(m->stream, &(struct hip_swiglu){.gate = l->gate_up,
                                               .up = l->gate_up + inner,
                                               .ld = model_gate_up_ld(c),
                                               .y = l->gated,
                                               .rows = rows,
                                               .width = inner});
    linear(m, l->gated, params + o.down, rows, inner, width, l->middle, next, width);
}

// One pass over sequences [first, first + sequences) of the step: losses, and the logits' gradient where `scale` > 0.
static void pass_forward(const struct model *m, const float *params, uint32_t first, uint32_t sequences, float scale)
{
    const struct model_config *c = &m->config;
    uint32_t rows = sequences * c->context;
    size_t at = (size_t)first * c->context;
    hip_embed(m->stream, &(struct hip_embed){.tokens = m->tokens + at,
                                             .table = params,
                                             .y = m->layers[0].x,
                                             .rows = rows,
                                             .width = c->width,
                                             .vocab = c->vocab});
    for (uint32_t i = 0; i < c->layers; i++)
        layer_forward(m, params, i, sequences, i + 1 < c->layers ? m->layers[i + 1].x : m->x);
    norm(m, m->x, params + final_norm_offset(c), rows, m->normed, m->rstd);
    linear(m, m->normed, params + head_offset(c), rows, c->width, c->vocab, NULL, m->logits, c->vocab);
    hip_cross_entropy(m->stream, &(struct hip_cross_entropy){.logits = m->logits,
                                                             .targets = m->targets + at,
                                                             .losses = m->losses + at,
                                                             .dlogits = scale > 0 ? m->logits : NULL,
                                                             .rows = rows,
                                                             .vocab = c->vocab,
                                                             .scale = scale});
}

// --- Backward: `dx` holds the gradient of what leaves a layer and becomes that of what enters it ---

// `dy` is the gradient after the norm; the residual branch's gradient `add` joins it.
static void norm_grad(const struct model *m, const float *dy, const float *x, const float *weight, const float *rstd,
                      const float *add, uint32_t rows, bool accumulate, float *dx, float *dweight)
{
    hip_norm_grad(m->stream, &(struct hip_norm_grad){.dy = dy,
                                                     .x = x,
                                                     .weight = weight,
                                                     .rstd = rstd,
                                                     .add = add,
                                                     .dx = dx,
                                                     .dweight = dweight,
                                                     .rows = rows,
                                                     .width = m->config.width,
                                                     .accumulate = accumulate});
}

static void feed_backward(const struct model *m, const float *params, float *grads, uint32_t layer, uint32_t rows,
                          bool accumulate)
{
    const struct model_layer *l = &m->layers[layer];
    struct layer_offsets o = offsets_of(&m->config, layer);
    uint32_t width = m->config.width, inner = m->config.inner;
    linear_weight_grad(m, m->dx, width, l->gated, rows, inner, width, accumulate, grads + o.down);
    linear_input_grad(m, m->dx, width, params + o.down, rows, inner, width, m->dwide);
    hip_swiglu_grad(m->stream, &(struct hip_swiglu_grad){.dy = m->dwide,
                                                         .gate = l->gate_up,
                                                         .up = l->gate_up + inner,
                                                         .dgate = l->gate_up,
                                                         .dup = l->gate_up + inner,
                                                         .ld = model_gate_up_ld(&m->config),
                                                         .rows = rows,
                                                         .width = inner});
    linear_weight_grad(m, l->gate_up, model_gate_up_ld(&m->config), l->feed_in, rows, width, 2 * inner, accumulate,
                       grads + o.gate_up);
    linear_input_grad(m, l->gate_up, model_gate_up_ld(&m->config), params + o.gate_up, rows, width, 2 * inner,
                      m->dnarrow);
    norm_grad(m, m->dnarrow, l->middle, params + o.feed_norm, l->feed_rstd, m->dx, rows, accumulate, m->dx,
              grads + o.feed_norm);
}

static void attention_backward(const struct model *m, const float *params, float *grads, uint32_t layer,
                               uint32_t sequences, bool accumulate, float *dx)
{
    const struct model_config *c = &m->config;
    const struct model_layer *l = &m->layers[layer];
    struct layer_offsets o = offsets_of(c, layer);
    uint32_t width = c->width, rows = sequences * c->context;
    linear_weight_grad(m, m->dx, width, l->attended, rows, width, width, accumulate, grads + o.out);
    linear_input_grad(m, m->dx, width, params + o.out, rows, width, width, m->dnarrow);
    hip_attention_grad(m->stream, &(struct hip_attention_grad){.dy = m->dnarrow,
                                                               .q = l->qkv,
                                                               .k = l->qkv + width,
                                                               .v = l->qkv + 2 * width,
                                                               .probs = l->probs,
                                                               .y = l->attended,
                                                               .dq = m->dwide,
                                                               .dk = m->dwide + width,
                                                               .dv = m->dwide + 2 * width,
                                                               .ldq = 3 * (size_t)width,
                                                               .ldk = 3 * (size_t)width,
                                                               .batch = sequences,
                                                               .context = c->context,
                                                               .heads = c->heads,
                                                               .kv_heads = c->heads,
                                                               .head_dim = width / c->heads,
                                                               .scale = attention_scale(c)});
    rotate(m, m->dwide, rows, true);
    linear_weight_grad(m, m->dwide, 3 * width, l->attention_in, rows, width, 3 * width, accumulate, grads + o.qkv);
    linear_input_grad(m, m->dwide, 3 * width, params + o.qkv, rows, width, 3 * width, m->dnarrow);
    norm_grad(m, m->dnarrow, l->x, params + o.attention_norm, l->attention_rstd, m->dx, rows, accumulate, dx,
              grads + o.attention_norm);
}

static void pass_backward(const struct model *m, const float *params, uint32_t first, uint32_t sequences, float *grads)
{
    const struct model_config *c = &m->config;
    uint32_t rows = sequences * c->context;
    bool accumulate = first > 0;
    float *dembedding = m->embedding_grad + (size_t)first * c->context * c->width;
    linear_weight_grad(m, m->logits, c->vocab, m->normed, rows, c->width, c->vocab, accumulate, grads + head_offset(c));
    linear_input_grad(m, m->logits, c->vocab, params + head_offset(c), rows, c->width, c->vocab, m->dnarrow);
    norm_grad(m, m->dnarrow, m->x, params + final_norm_offset(c), m->rstd, NULL, rows, accumulate, m->dx,
              grads + final_norm_offset(c));
    for (uint32_t i = c->layers; i-- > 0;) {
        feed_backward(m, params, grads, i, rows, accumulate);
        attention_backward(m, params, grads, i, sequences, accumulate, i > 0 ? m->dx : dembedding);
    }
}

// --- A step ---

static void upload_tokens(const struct model *m, const uint8_t *tokens, uint32_t sequences)
{
    uint32_t context = m->config.context;
    size_t rows = (size_t)sequences * context;
    int32_t *inputs = m->host_tokens, *targets = m->host_tokens + rows;
    for (uint32_t s = 0; s < sequences; s++) {
        const uint8_t *window = tokens + (size_t)s * (context + 1);
        for (uint32_t t = 0; t < context; t++) {
            inputs[(size_t)s * context + t] = window[t];
            targets[(size_t)s * context + t] = window[t + 1];
        }
    }
    hip_upload(m->stream, m->tokens, inputs, rows * sizeof *inputs);
    hip_upload(m->stream, m->targets, targets, rows * sizeof *targets);
}

static enum core_err run(struct model *m, const float *params, const uint8_t *tokens, uint32_t sequences, float *grads,
                         float *losses)
{
    const struct model_config *c = &m->config;
    uint32_t rows = sequences * c->context;
    check(sequences > 0 && sequences <= c->batch);
    upload_tokens(m, tokens, sequences);
    for (uint32_t first = 0; first < sequences; first += m->sequences) {
        uint32_t left = sequences - first, count = left < m->sequences ? left : m->sequences;
        pass_forward(m, params, first, count, grads ? 1.0f / (float)rows : 0);
        if (grads) pass_backward(m, params, first, count, grads);
    }
    if (grads) {
        // The tied head's gradient lies there already; without one the table's starts from nothing.
        if (!c->tied) hip_zero(m->stream, grads, (size_t)c->vocab * c->width * sizeof *grads);
        hip_embed_grad(m->stream, &(struct hip_embed_grad){.tokens = m->tokens,
                                                           .dy = m->embedding_grad,
                                                           .dtable = grads,
                                                           .rows = rows,
                                                           .width = c->width,
                                                           .vocab = c->vocab});
    }
    hip_download(m->stream, losses, m->losses, rows * sizeof *losses);
    return hip_stream_wait(m->stream);
}

enum core_err model_losses(struct model *model, const float *params, const uint8_t *tokens, uint32_t sequences,
                           float *losses)
{
    return run(model, params, tokens, sequences, NULL, losses);
}

enum core_err model_gradient(struct model *model, const float *params, const uint8_t *tokens, uint32_t sequences,
                             float *grads, float *losses)
{
    return run(model, params, tokens, sequences, grads, losses);
}
