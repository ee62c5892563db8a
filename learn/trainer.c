#include "learn/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "learn/compress.h"
#include "learn/model.h"
#include "learn/schedule.h"

// Parameters and residuals beyond this cannot be subtracted and scaled safely; training that gets here has diverged.
static const float magnitude_limit = 1e30f;

struct trainer {
    struct model_config config;
    struct hip_device *device;
    struct hip_stream *stream;
    struct model model;
    uint64_t elements;
    void *memory;   // the device allocation of what follows
    float *params;  // each a flat vector
    float *start;   // the round's first parameters
    float *grads, *m, *v, *residual;
    float *scalar;  // one result of a reduction
    int8_t *update;
    // On a device that may be lost, with its memory, while results are on their way: what they would overwrite.
    bool may_fail;
    struct inner_state before;
    uint8_t *tokens;  // [batch, context + 1], the host's
    float *losses;    // [batch * context], the host's
};

static uint64_t window_bytes(const struct model_config *c)
{
    return (uint64_t)c->batch * (c->context + 1);
}

static uint64_t loss_bytes(const struct model_config *c)
{
    return (uint64_t)c->batch * c->context * sizeof(float);
}

// Six vectors of fp32, one of int8, a line for the scalar.
static uint64_t vector_bytes(const struct model_config *c)
{
    return tensors_elements(c) * (6 * sizeof(float) + 1) + 64;
}

static uint64_t memory_with(const struct model_config *config, uint32_t pass_rows)
{
    return sizeof(struct trainer) + model_memory(config, pass_rows) + vector_bytes(config) + window_bytes(config) +
           3 * loss_bytes(config);
}

uint64_t trainer_memory(const struct model_config *config)
{
    return memory_with(config, MODEL_PASS_ROWS);
}

// What may be taken: `limit`, no more than a GPU has; 0: all that the machine has.
static uint64_t memory_limit_of(const struct hip_facts *facts, uint64_t limit)
{
    if (facts->memory_bytes) return limit && limit < facts->memory_bytes ? limit : facts->memory_bytes;
    return limit ? limit : (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

// A GPU gets as many rows at once as half of that has room for. The bits are the same.
static uint32_t pass_rows_for(const struct model_config *config, const struct hip_facts *facts, uint64_t limit)
{
    uint32_t rows = facts->memory_bytes ? MODEL_PASS_ROWS_GPU : MODEL_PASS_ROWS;
    while (rows > MODEL_PASS_ROWS && memory_with(config, rows) > limit / 2) rows /= 2;
    return rows;
}

static enum core_err check_memory(const struct model_config *config, const struct hip_facts *facts, uint64_t limit,
                                  char *why)
{
    uint64_t needed = trainer_memory(config);
    if (needed <= limit) return CORE_ERR_OK;
    snprintf(why, CONFIG_WHY_SIZE,
             "model %s (%llu parameters, batch %u of context %u) needs %llu MiB to train; there are %llu MiB on %s. A "
             "smaller "
             "batch, context or model needs less",
             config->name, (unsigned long long)tensors_parameters(config), config->batch, config->context,
             (unsigned long long)(needed >> 20) + 1, (unsigned long long)(limit >> 20),
             facts->memory_bytes ? facts->name : "this machine");
    return CORE_ERR_NO_MEMORY;
}

static enum core_err open_buffers(struct trainer *t, uint32_t pass_rows)
{
    const struct model_config *c = &t->config;
    t->tokens = malloc(window_bytes(c));
    t->losses = malloc(loss_bytes(c));
    if (!t->tokens || !t->losses) return CORE_ERR_NO_MEMORY;
    enum core_err err = hip_alloc(t->device, vector_bytes(c), &t->memory);
    if (!err && t->may_fail) err = inner_state_open(&t->before, c);
    if (err) return err;
    float *at = t->memory;
    float **vectors[] = {&t->params, &t->start, &t->grads, &t->m, &t->v, &t->residual};
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++, at += t->elements) *vectors[i] = at;
    t->scalar = at;
    t->update = (int8_t *)(at + 16);
    err = hip_stream_open(t->device, &t->stream);
    if (!err) err = model_open(&t->model, t->device, t->stream, c, pass_rows);
    return err;
}

enum core_err trainer_open(struct trainer **out, struct hip_device *device, const struct model_config *config,
                           uint64_t memory_limit, char *why)
{
    struct hip_facts facts;
    hip_device_facts(device, &facts);
    enum core_err err = config_check(config, why);
    const uint64_t limit = memory_limit_of(&facts, memory_limit);
    if (!err) err = check_memory(config, &facts, limit, why);
    if (err) return err;
    struct trainer *t = calloc(1, sizeof *t);
    if (t) {
        t->config = *config;
        t->device = device;
        t->elements = tensors_elements(config);
        t->may_fail = facts.memory_bytes > 0;
        err = open_buffers(t, pass_rows_for(config, &facts, limit));
    } else {
        err = CORE_ERR_NO_MEMORY;
    }
    if (err) {
        char said[HIP_WHY_SIZE];
        hip_device_why(device, said, sizeof said);
        snprintf(why, CONFIG_WHY_SIZE, "the %llu MiB that model %s needs to train could not be taken%s%.120s",
                 (unsigned long long)(trainer_memory(config) >> 20) + 1, config->name, said[0] ? ": " : "", said);
        trainer_close(t);
        return err;
    }
    *out = t;
    return CORE_ERR_OK;
}

void trainer_close(struct trainer *trainer)
{
    if (!trainer) return;
    if (trainer->model.memory) model_close(&trainer->model);
    if (trainer->stream) hip_stream_close(trainer->stream);
    if (trainer->memory) hip_free(trainer->device, trainer->memory);
    if (trainer->before.m) inner_state_close(&trainer->before);
    free(trainer->losses);
    free(trainer->tokens);
    free(trainer);
}

const struct model_config *trainer_config(const struct trainer *trainer)
{
    return &trainer->config;
}

void trainer_set_profile(struct trainer *trainer, enum hip_profile profile)
{
    hip_stream_profile(trainer->stream, profile);
}

// The losses' mean, summed in their order: a step's split into passes does not show.
static double mean_loss(const float *losses, uint64_t count)
{
    double sum = 0;
    for (uint64_t i = 0; i < count; i++) sum += (double)losses[i];
    return sum / (double)count;
}

static enum core_err gradient_norm(struct trainer *t, float *norm)
{
    float squares = 0;
    hip_sum_squares(t->stream, &(struct hip_sum_squares){.x = t->grads, .out = t->scalar, .count = t->elements});
    hip_download(t->stream, &squares, t->scalar, sizeof squares);
    enum core_err err = hip_stream_wait(t->stream);
    *norm = sqrtf(squares);
    return err ? err : isfinite(*norm) ? CORE_ERR_OK : CORE_ERR_NON_FINITE;
}

// AdamW over the whole vector: neighbouring tensors that decay alike go in one launch, padding included (it stays
// zero).
static void update_params(struct trainer *t, const struct hyper_parameters *hyper, float rate, float norm,
                          uint64_t adam_step)
{
    uint32_t count = tensors_count(&t->config);
    struct hip_adamw args = {
        .grad_scale = hyper->clip > 0 && norm > hyper->clip ? hyper->clip / norm : 1,
        .beta1 = hyper->beta1,
        .beta2 = hyper->beta2,
        .eps = hyper->epsilon,
        .rate = rate,
        .correct1 = (float)(1 / schedule_bias_correction(hyper->beta1, adam_step)),
        .correct2 = (float)(1 / schedule_bias_correction(hyper->beta2, adam_step)),
    };
    for (uint32_t i = 0, last; i < count; i = last) {
        struct tensor first = tensors_at(&t->config, i);
        uint64_t end = t->elements;
        for (last = i + 1; last < count; last++) {
            struct tensor next = tensors_at(&t->config, last);
            if (next.decays == first.decays) continue;
            end = next.offset;
            break;
        }
        args.params = t->params + first.offset;
        args.grads = t->grads + first.offset;
        args.m = t->m + first.offset;
        args.v = t->v + first.offset;
        args.count = end - first.offset;
        args.keep = first.decays ? 1.0f - rate * hyper->weight_decay : 1.0f;
        hip_adamw(t->stream, &args);
    }
}

static enum core_err take_step(struct trainer *t, const struct train_task *task, uint32_t step, uint64_t adam_step,
                               double *loss, float *norm)
{
    const struct model_config *c = &t->config;
    data_batch(task->data, c, task->seed, task->round, step, task->slot, t->tokens);
    enum core_err err = model_gradient(&t->model, t->params, t->tokens, c->batch, t->grads, t->losses);
    if (err) return err;
    *loss = mean_loss(t->losses, (uint64_t)c->batch * c->context);
    if (!isfinite(*loss)) return CORE_ERR_NON_FINITE;
    err = gradient_norm(t, norm);
    if (err) return err;
    float rate = schedule_rate(task->hyper, task->first_step + step, task->total_steps);
    update_params(t, task->hyper, rate, *norm, adam_step);
    return CORE_ERR_OK;
}

static enum core_err take_steps(struct trainer *t, const struct train_task *task, const float *params,
                                const struct inner_state *state, struct train_result *result)
{
    const struct model_config *c = &t->config;
    size_t bytes = t->elements * sizeof(float);
    double sum = 0;
    check(task->steps > 0 && state->elements == t->elements);
    hip_upload(t->stream, t->params, params, bytes);
    hip_upload(t->stream, t->m, state->m, bytes);
    hip_upload(t->stream, t->v, state->v, bytes);
    for (uint32_t step = 0; step < task->steps; step++) {
        double loss = 0;
        enum core_err err = take_step(t, task, step, state->steps + step + 1, &loss, &result->gradient_norm);
        if (err) return err;
        sum += loss;
        if (task->hook && !task->hook(task->hook_context, step + 1, task->steps, loss)) return CORE_ERR_INTERRUPTED;
    }
    result->loss = sum / task->steps;
    result->weight = (uint64_t)c->batch * c->context;
    result->tokens = result->weight * task->steps;
    return CORE_ERR_OK;
}

// NON_FINITE unless every element is a number within magnitude_limit.
static enum core_err check_vector(struct trainer *t, const float *x)
{
    uint32_t bad = 0;
    float largest = 0;
    hip_count_nonfinite(
        t->stream, &(struct hip_count_nonfinite){.x = x, .out = (uint32_t *)(void *)t->scalar, .count = t->elements});
    hip_download(t->stream, &bad, t->scalar, sizeof bad);
    enum core_err err = hip_stream_wait(t->stream);
    if (err || bad) return err ? err : CORE_ERR_NON_FINITE;
    hip_max_abs(t->stream, &(struct hip_max_abs){.x = x, .out = t->scalar, .count = t->elements});
    hip_download(t->stream, &largest, t->scalar, sizeof largest);
    err = hip_stream_wait(t->stream);
    return err ? err : largest <= magnitude_limit ? CORE_ERR_OK : CORE_ERR_NON_FINITE;
}

static void quantise(struct trainer *t, const struct train_task *task)
{
    for (uint32_t i = 0; i < tensors_count(&t->config); i++) {
        struct tensor tensor = tensors_at(&t->config, i);
        hip_quantise(t->stream, &(struct hip_quantise){.before = t->start + tensor.offset,
                                                       .after = t->params + tensor.offset,
                                                       .residual = t->residual + tensor.offset,
                                                       .q = t->update + tensor.offset,
                                                       .count = tensor.count,
                                                       .exponent = task->exponents[i],
                                                       .limit = compress_limit(task->hyper->bits),
                                                       .decay = task->hyper->residual_decay});
    }
}

// Brings the moments, and the residual where `residual`, to `state`, and waits for these and for what was asked before.
// On an error the state is as it was.
static enum core_err bring_state(struct trainer *t, uint32_t steps, bool residual, struct inner_state *state)
{
    size_t bytes = t->elements * sizeof(float);
    if (t->may_fail) inner_state_copy(&t->before, state);
    hip_download(t->stream, state->m, t->m, bytes);
    hip_download(t->stream, state->v, t->v, bytes);
    if (residual) hip_download(t->stream, state->residual, t->residual, bytes);
    enum core_err err = hip_stream_wait(t->stream);
    if (!err)
        state->steps += steps;
    else if (t->may_fail)
        inner_state_copy(state, &t->before);
    return err;
}

enum core_err trainer_train(struct trainer *trainer, const struct train_task *task, struct inner_state *state,
                            int8_t *update, float *end, struct train_result *result)
{
    struct trainer *t = trainer;
    size_t bytes = t->elements * sizeof(float);
    memset(result, 0, sizeof *result);
    hip_upload(t->stream, t->start, task->params, bytes);
    hip_upload(t->stream, t->residual, state->residual, bytes);
    enum core_err err = check_vector(t, t->start);
    if (!err) err = check_vector(t, t->residual);
    if (!err) err = take_steps(t, task, task->params, state, result);
    if (!err) err = check_vector(t, t->params);
    if (err) return err;
    quantise(t, task);
    hip_download(t->stream, update, t->update, t->elements);
    if (end) hip_download(t->stream, end, t->params, bytes);
    return bring_state(t, task->steps, true, state);
}

enum core_err trainer_train_local(struct trainer *trainer, const struct train_task *task, struct inner_state *state,
                                  float *params, struct train_result *result)
{
    struct trainer *t = trainer;
    size_t bytes = t->elements * sizeof(float);
    memset(result, 0, sizeof *result);
    enum core_err err = take_steps(t, task, params, state, result);
    if (!err) err = check_vector(t, t->params);
    float *before = t->may_fail ? malloc(bytes) : NULL;
    if (!err && t->may_fail && !before) err = CORE_ERR_NO_MEMORY;
    if (!err) {
        if (before) memcpy(before, params, bytes);
        hip_download(t->stream, params, t->params, bytes);
        err = bring_state(t, task->steps, false, state);
        if (err && before) memcpy(params, before, bytes);
    }
    free(before);
    return err;
}

enum core_err trainer_evaluate(struct trainer *trainer, const float *params, const struct dataset *data,
                               uint64_t windows, trainer_hook *hook, void *hook_context, double *loss)
{
    struct trainer *t = trainer;
    const struct model_config *c = &t->config;
    uint64_t window = (uint64_t)c->context + 1, count = data_held_out_windows(data, c, windows);
    uint64_t batches = (count + c->batch - 1) / c->batch;
    double sum = 0;
    if (count == 0) return CORE_ERR_TOO_SHORT;
    hip_upload(t->stream, t->params, params, t->elements * sizeof(float));
    for (uint64_t first = 0, batch = 1; first < count; first += c->batch, batch++) {
        uint32_t sequences = (uint32_t)(count - first < c->batch ? count - first : c->batch);
        for (uint32_t i = 0; i < sequences; i++)
            memcpy(t->tokens + i * window, data->held_out + data_held_out_start(data, c, count, first + i), window);
        enum core_err err = model_losses(&t->model, t->params, t->tokens, sequences, t->losses);
        if (err) return err;
        for (uint64_t i = 0; i < (uint64_t)sequences * c->context; i++) sum += (double)t->losses[i];
        if (hook && !hook(hook_context, (uint32_t)batch, (uint32_t)batches, sum)) return CORE_ERR_INTERRUPTED;
    }
    *loss = sum / ((double)count * c->context);
    return isfinite(*loss) ? CORE_ERR_OK : CORE_ERR_NON_FINITE;
}
