#include "learn/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "hip/device.h"
#include "hip/fma.h"
#include "hip/math.h"
#include "learn/model.h"
#include "learn/streams.h"

// One byte's pass: linear layers, norms and rotation run on the device over one row; the one query's attention over the
// cache is small and runs here, by the rules of hip/kernels.h, so the logits have the bits of a whole forward pass.
struct generator {
    struct model_config config;
    struct hip_device *device;
    struct hip_stream *stream;
    void *memory;            // the device allocation of the rows below
    float *params;           // the device's copy
    float *cosines, *sines;  // [context, head width / 2]
    float *x, *normed, *rstd, *qkv, *attended, *gate_up, *gated, *logits;
    int32_t *token;
    float *keys, *values;  // the host's cache: [layers, context, width]
    float *row;            // the host's: 3 width + context + vocab
    uint8_t *text;         // [context]: the bytes that the cache was made from
    uint32_t position;     // bytes in the cache
    float temperature;
    uint64_t seed, drawn;  // bytes drawn since the beginning
};

static uint64_t cache_elements(const struct model_config *c)
{
    return (uint64_t)c->layers * c->context * c->width;
}

static uint64_t table_elements(const struct model_config *c)
{
    return (uint64_t)c->context * (c->width / c->heads / 2);
}

static uint64_t row_elements(const struct model_config *c)
{
    return 3ull * c->width + c->context + c->vocab;
}

static uint64_t device_elements(const struct model_config *c)
{
    uint64_t lines = 3ull * c->width + 3ull * c->width + 3ull * c->inner + c->vocab + 12 * 16;
    return tensors_elements(c) + 2 * (table_elements(c) + 16) + lines;
}

uint64_t generator_memory(const struct model_config *config)
{
    return sizeof(struct generator) + config->context +
           sizeof(float) * (device_elements(config) + 2 * cache_elements(config) + row_elements(config));
}

static float *take(float **at, uint64_t count)
{
    float *here = *at;
    *at += (count + 15) / 16 * 16;
    return here;
}

static enum core_err open_device(struct generator *g, const float *params)
{
    const struct model_config *c = &g->config;
    uint64_t table = table_elements(c);
    enum core_err err = hip_alloc(g->device, device_elements(c) * sizeof(float), &g->memory);
    if (!err) err = hip_stream_open(g->device, &g->stream);
    float *tables = malloc(2 * table * sizeof *tables);
    if (!err && !tables) err = CORE_ERR_NO_MEMORY;
    if (!err) {
        float *at = g->memory;
        g->params = take(&at, tensors_elements(c));
        g->cosines = take(&at, table);
        g->sines = take(&at, table);
        g->x = take(&at, c->width);
        g->normed = take(&at, c->width);
        g->rstd = take(&at, 1);
        g->qkv = take(&at, 3ull * c->width);
        g->attended = take(&at, c->width);
        g->gate_up = take(&at, 2ull * c->inner);
        g->gated = take(&at, c->inner);
        g->logits = take(&at, c->vocab);
        g->token = (int32_t *)(void *)take(&at, 1);
        check(at <= (float *)g->memory + device_elements(c));
        model_rotary_tables(c, tables, tables + table);
        hip_upload(g->stream, g->params, params, tensors_elements(c) * sizeof(float));
        hip_upload(g->stream, g->cosines, tables, table * sizeof(float));
        hip_upload(g->stream, g->sines, tables + table, table * sizeof(float));
        err = hip_stream_wait(g->stream);
    }
    free(tables);
    return err;
}

enum core_err generator_open(struct generator **out, struct hip_device *device, const struct model_config *config,
                             const float *params)
{
    struct generator *g = calloc(1, sizeof *g);
    if (!g) return CORE_ERR_NO_MEMORY;
    g->config = *config;
    g->device = device;
    g->keys = malloc(2 * cache_elements(config) * sizeof *g->keys);
    g->row = malloc(row_elements(config) * sizeof *g->row);
    g->text = malloc(config->context);
    enum core_err err = g->keys && g->row && g->text ? open_device(g, params) : CORE_ERR_NO_MEMORY;
    if (err) {
        generator_close(g);
        return err;
    }
    g->values = g->keys + cache_elements(config);
    *out = g;
    return CORE_ERR_OK;
}

void generator_close(struct generator *generator)
{
    if (!generator) return;
    if (generator->stream) hip_stream_close(generator->stream);
    if (generator->memory) hip_free(generator->device, generator->memory);
    free(generator->text);
    free(generator->row);
    free(generator->keys);
    free(generator);
}

// y = x W^T for the one row; W lies at `offset` of the parameters.
static void linear_row(const struct generator *g, const float *x, uint64_t offset, uint32_t in, uint32_t out,
                       const float *add, float *y)
{
    hip_gemm(g->stream, &(struct hip_gemm){.m = 1,
                                           .n = out,
                                           .k = in,
                                           .transpose_b = true,
                                           .a = x,
                                           .b = g->params + offset,
                                           .add = add,
                                           .c = y,
                                           .lda = in,
                                           .ldb = in,
                                           .ldc = out});
}

static void norm_row(const struct generator *g, const float *x, uint64_t offset)
{
    hip_norm(g->stream, &(struct hip_norm){.x = x,
                                           .weight = g->params + offset,
                                           .y = g->normed,
                                           .rstd = g->rstd,
                                           .rows = 1,
                                           .width = g->config.width,
                                           .eps = g->config.norm_epsilon});
}

static float row_reduce(const float *x, uint32_t count)
{
    float partial[HIP_PARTIALS] = {0};
    for (uint32_t i = 0; i < count; i++) partial[i % HIP_PARTIALS] += x[i];
    for (uint32_t half = HIP_PARTIALS / 2; half > 0; half /= 2)
        for (uint32_t i = 0; i < half; i++) partial[i] += partial[i + half];
    return partial[0];
}

// contract() of hip/kernels.h: b's elements lie `stride` apart.
static float contract(const float *a, const float *b, size_t stride, uint32_t count)
{
    float sum = 0;
    for (uint32_t chunk = 0; chunk < count; chunk += HIP_CHUNK) {
        float inner = 0;
        for (uint32_t k = chunk; k < count && k < chunk + HIP_CHUNK; k++) inner = hip_fma(a[k], b[k * stride], inner);
        sum = chunk == 0 ? inner : sum + inner;
    }
    return sum;
}

// Attention of one head's query over `visible` keys: `scores` is scratch, y receives head_width numbers.
static void attend(const float *query, const float *keys, const float *values, size_t width, uint32_t head_width,
                   uint32_t visible, float *scores, float *y)
{
    float scale = 1.0f / sqrtf((float)head_width), most = -INFINITY;
    for (uint32_t j = 0; j < visible; j++) {
        scores[j] = scale * contract(query, keys + j * width, 1, head_width);
        if (scores[j] > most) most = scores[j];
    }
    for (uint32_t j = 0; j < visible; j++) scores[j] = hip_math_exp(scores[j] - most);
    float total = row_reduce(scores, visible);
    for (uint32_t j = 0; j < visible; j++) scores[j] /= total;
    for (uint32_t d = 0; d < head_width; d++) y[d] = contract(scores, values + d, width, visible);
}

static enum core_err attention_row(struct generator *g, uint32_t layer)
{
    const struct model_config *c = &g->config;
    uint32_t width = c->width, head_width = width / c->heads;
    size_t cache = (size_t)layer * c->context * width;
    float *keys = g->keys + cache, *values = g->values + cache, *scores = g->row + 3 * (size_t)width;
    hip_rotate(g->stream, &(struct hip_rotate){.x = g->qkv,
                                               .ld = 3 * (size_t)width,
                                               .cosines = g->cosines,
                                               .sines = g->sines,
                                               .rows = 1,
                                               .context = 1,
                                               .first = g->position,
                                               .heads = 2 * c->heads,
                                               .head_dim = head_width});
    hip_download(g->stream, g->row, g->qkv, 3 * (size_t)width * sizeof(float));
    enum core_err err = hip_stream_wait(g->stream);
    if (err) return err;
    memcpy(keys + (size_t)g->position * width, g->row + width, width * sizeof(float));
    memcpy(values + (size_t)g->position * width, g->row + 2 * (size_t)width, width * sizeof(float));
    for (uint32_t h = 0; h < c->heads; h++) {
        size_t at = (size_t)h * head_width;
        // The query's own place takes the result: it is read before.
        float query[HIP_MAX_HEAD_DIM];
        memcpy(query, g->row + at, head_width * sizeof(float));
        attend(query, keys + at, values + at, width, head_width, g->position + 1, scores, g->row + at);
    }
    hip_upload(g->stream, g->attended, g->row, width * sizeof(float));
    return hip_stream_wait(g->stream);
}

// Reads one byte at the next position; the logits of what follows it stay on the device.
static enum core_err read_byte(struct generator *g, uint8_t byte)
{
    const struct model_config *c = &g->config;
    int32_t token = byte;
    check(g->position < c->context);
    g->text[g->position] = byte;
    hip_upload(g->stream, g->token, &token, sizeof token);
    hip_embed(g->stream,
              &(struct hip_embed){
                  .tokens = g->token, .table = g->params, .y = g->x, .rows = 1, .width = c->width, .vocab = c->vocab});
    for (uint32_t layer = 0; layer < c->layers; layer++) {
        uint64_t at[6];
        for (uint32_t i = 0; i < 6; i++) at[i] = tensors_at(c, 1 + 6 * layer + i).offset;
        norm_row(g, g->x, at[0]);
        linear_row(g, g->normed, at[1], c->width, 3 * c->width, NULL, g->qkv);
        enum core_err err = attention_row(g, layer);
        if (err) return err;
        linear_row(g, g->attended, at[2], c->width, c->width, g->x, g->x);
        norm_row(g, g->x, at[3]);
        linear_row(g, g->normed, at[4], c->width, 2 * c->inner, NULL, g->gate_up);
        hip_swiglu(g->stream, &(struct hip_swiglu){.gate = g->gate_up,
                                                   .up = g->gate_up + c->inner,
                                                   .ld = 2 * (size_t)c->inner,
                                                   .y = g->gated,
                                                   .rows = 1,
                                                   .width = c->inner});
        linear_row(g, g->gated, at[5], c->inner, c->width, g->x, g->x);
    }
    norm_row(g, g->x, tensors_at(c, 1 + 6 * c->layers).offset);
    uint64_t head = c->tied ? 0 : tensors_at(c, tensors_count(c) - 1).offset;
    linear_row(g, g->normed, head, c->width, c->vocab, NULL, g->logits);
    g->position++;
    return CORE_ERR_OK;
}

// The later half is read again from position 0, so what follows depends on the last context / 2 bytes and more.
static enum core_err slide(struct generator *g)
{
    uint32_t keep = g->config.context / 2;
    memmove(g->text, g->text + (g->config.context - keep), keep);
    g->position = 0;
    for (uint32_t i = 0; i < keep; i++) {
        enum core_err err = read_byte(g, g->text[i]);
        if (err) return err;
    }
    return CORE_ERR_OK;
}

enum core_err generator_begin(struct generator *generator, struct slice prompt, float temperature, uint64_t seed)
{
    struct generator *g = generator;
    if (!(temperature >= 0) || !isfinite(temperature)) return CORE_ERR_USAGE;
    g->position = 0;
    g->temperature = temperature;
    g->seed = seed;
    g->drawn = 0;
    if (prompt.size == 0) prompt = (struct slice){(const uint8_t *)"\n", 1};
    size_t longest = g->config.context - 1;
    size_t skip = prompt.size > longest ? prompt.size - longest : 0;
    for (size_t i = skip; i < prompt.size; i++) {
        enum core_err err = read_byte(g, prompt.data[i]);
        if (err) return err;
    }
    return CORE_ERR_OK;
}

// The likeliest (the lowest of equals), or by inverting the distribution at a number in [0, 1) of the seed's stream.
static uint32_t draw(struct generator *g, const float *logits)
{
    uint32_t vocab = g->config.vocab, best = 0;
    for (uint32_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    if (!(g->temperature > 0)) return best;
    double weights[CONFIG_VOCAB], total = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        weights[i] = (double)hip_math_exp((logits[i] - logits[best]) / g->temperature);
        total += weights[i];
    }
    struct philox_block block = stream_block(g->seed, STREAM_GENERATE, g->drawn, 0);
    double point = (double)block.word[0] * 0x1p-32 * total;
    for (uint32_t i = 0; i < vocab; i++) {
        if (point < weights[i]) return i;
        point -= weights[i];
    }
    return best;
}

enum core_err generator_next(struct generator *generator, uint8_t *byte)
{
    struct generator *g = generator;
    float *logits = g->row + 3 * (size_t)g->config.width + g->config.context;
    check(g->position > 0);
    hip_download(g->stream, logits, g->logits, g->config.vocab * sizeof *logits);
    enum core_err err = hip_stream_wait(g->stream);
    if (err) return err;
    for (uint32_t i = 0; i < g->config.vocab; i++)
        if (!isfinite(logits[i])) return CORE_ERR_NON_FINITE;
    *byte = (uint8_t)draw(g, logits);
    g->drawn++;
    if (g->position == g->config.context) err = slide(g);
    return err ? err : read_byte(g, *byte);
}
