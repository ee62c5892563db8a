// The model's losses and gradients against a naive twin in double precision (gradients by central differences), and the
// same bits from any number of threads, any instruction set and any split into passes.
#include "learn/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// --- The twin: one sequence after the other, one token after the other, nothing shared with the code under test ---

enum { TWIN_CONTEXT = 12, TWIN_WIDTH = 24, TWIN_INNER = 20 };

struct twin_layer {
    const double *norm1, *qkv, *out, *norm2, *gate_up, *down;
};

static void twin_linear(const double *x, const double *w, int in, int out, double *y)
{
    for (int o = 0; o < out; o++) {
        y[o] = 0;
        for (int i = 0; i < in; i++) y[o] += w[o * in + i] * x[i];
    }
}

static void twin_norm(const double *x, const double *weight, int width, double eps, double *y)
{
    double squares = 0;
    for (int i = 0; i < width; i++) squares += x[i] * x[i];
    for (int i = 0; i < width; i++) y[i] = x[i] / sqrt(squares / width + eps) * weight[i];
}

static void twin_rotate(double *x, int position, int head_width, double base)
{
    for (int j = 0; j < head_width / 2; j++) {
        double angle = position * pow(base, -2.0 * j / head_width), a = x[j], b = x[j + head_width / 2];
        x[j] = a * cos(angle) - b * sin(angle);
        x[j + head_width / 2] = b * cos(angle) + a * sin(angle);
    }
}

static void twin_layer_apply(const struct model_config *c, const struct twin_layer *l, double (*x)[TWIN_WIDTH])
{
    int width = (int)c->width, head_width = width / (int)c->heads, inner = (int)c->inner;
    double qkv[TWIN_CONTEXT][3 * TWIN_WIDTH], h[TWIN_WIDTH], gate_up[2 * TWIN_INNER], y[TWIN_WIDTH];
    for (int t = 0; t < (int)c->context; t++) {
        twin_norm(x[t], l->norm1, width, (double)c->norm_epsilon, h);
        twin_linear(h, l->qkv, width, 3 * width, qkv[t]);
        for (int head = 0; head < 2 * (int)c->heads; head++)
            twin_rotate(qkv[t] + head * head_width, t, head_width, (double)c->rope_base);
    }
    for (int t = 0; t < (int)c->context; t++) {
        double attended[TWIN_WIDTH] = {0};
        for (int head = 0; head < (int)c->heads; head++) {
            double p[TWIN_CONTEXT], total = 0;
            int at = head * head_width;
            for (int j = 0; j <= t; j++) {
                p[j] = 0;
                for (int d = 0; d < head_width; d++) p[j] += qkv[t][at + d] * qkv[j][width + at + d];
                total += p[j] = exp(p[j] / sqrt(head_width));
            }
            for (int j = 0; j <= t; j++)
                for (int d = 0; d < head_width; d++) attended[at + d] += p[j] / total * qkv[j][2 * width + at + d];
        }
        twin_linear(attended, l->out, width, width, y);
        for (int i = 0; i < width; i++) x[t][i] += y[i];
    }
    for (int t = 0; t < (int)c->context; t++) {
        twin_norm(x[t], l->norm2, width, (double)c->norm_epsilon, h);
        twin_linear(h, l->gate_up, width, 2 * inner, gate_up);
        for (int i = 0; i < inner; i++) gate_up[i] *= gate_up[inner + i] / (1 + exp(-gate_up[i]));
        twin_linear(gate_up, l->down, inner, width, y);
        for (int i = 0; i < width; i++) x[t][i] += y[i];
    }
}

static double twin_loss(const struct model_config *c, const double *params, const uint8_t *tokens, int sequences)
{
    double sum = 0;
    int width = (int)c->width, context = (int)c->context;
    const double *head = c->tied ? params : params + tensors_at(c, tensors_count(c) - 1).offset;
    for (int s = 0; s < sequences; s++) {
        const uint8_t *window = tokens + s * (context + 1);
        double x[TWIN_CONTEXT][TWIN_WIDTH], h[TWIN_WIDTH], logits[CONFIG_VOCAB];
        for (int t = 0; t < context; t++)
            for (int i = 0; i < width; i++) x[t][i] = params[window[t] * width + i];
        for (uint32_t layer = 0; layer < c->layers; layer++) {
            const double *at[6];
            for (uint32_t i = 0; i < 6; i++) at[i] = params + tensors_at(c, 1 + 6 * layer + i).offset;
            twin_layer_apply(c, &(struct twin_layer){at[0], at[1], at[2], at[3], at[4], at[5]}, x);
        }
        for (int t = 0; t < context; t++) {
            twin_norm(x[t], params + tensors_at(c, 1 + 6 * c->layers).offset, width, (double)c->norm_epsilon, h);
            twin_linear(h, head, width, CONFIG_VOCAB, logits);
            double total = 0;
            for (int i = 0; i < CONFIG_VOCAB; i++) total += exp(logits[i]);
            sum += log(total) - logits[window[t + 1]];
        }
    }
    return sum / (sequences * context);
}

// --- Fixtures ---

static struct model_config tiny(bool tied)
{
    return (struct model_config){"tiny",       2, TWIN_WIDTH, 2,     TWIN_INNER, CONFIG_VOCAB,
                                 TWIN_CONTEXT, 3, tied,       10000, 1e-5f};
}

// Larger than the first parameters of a run, so that every part of the model matters.
static float *lively_params(const struct model_config *c)
{
    uint64_t n = tensors_elements(c);
    float *params = malloc(n * sizeof *params);
    tensors_init(c, 3, params);
    for (uint64_t i = 0; i < n; i++) params[i] = params[i] == 1.0f ? 1.0f + 0.01f * (float)(i % 13) : params[i] * 12;
    return params;
}

static void some_tokens(uint8_t *tokens, size_t count)
{
    for (size_t i = 0; i < count; i++) tokens[i] = (uint8_t)((i * i * 7 + i / 3) % 251);
}

struct outcome {
    float *grads, *losses;
    uint64_t elements, rows;
};

static void outcome_free(struct outcome *o)
{
    free(o->grads);
    free(o->losses);
}

// Gradient and losses of one step; `pass` sequences a pass (0: the model's own choice).
static struct outcome gradient_of(const struct model_config *c, const float *params, const uint8_t *tokens,
                                  uint32_t threads, enum hip_isa isa, uint32_t pass)
{
    struct outcome o = {.elements = tensors_elements(c), .rows = (uint64_t)c->batch * c->context};
    struct hip_device *device;
    struct hip_stream *stream;
    struct model model;
    void *device_params, *device_grads;
    o.grads = malloc(o.elements * sizeof *o.grads);
    o.losses = malloc(o.rows * sizeof *o.losses);
    assert_int_equal(hip_device_open("cpu", &(struct hip_options){.threads = threads, .isa = isa}, &device), 0);
    assert_int_equal(hip_stream_open(device, &stream), 0);
    assert_int_equal(model_open(&model, device, stream, c, MODEL_PASS_ROWS), 0);
    assert_int_equal(hip_alloc(device, o.elements * sizeof(float), &device_params), 0);
    assert_int_equal(hip_alloc(device, o.elements * sizeof(float), &device_grads), 0);
    if (pass) model.sequences = pass;
    hip_upload(stream, device_params, params, o.elements * sizeof(float));
    // Twice: what an earlier step left behind must not show.
    for (int i = 0; i < 2; i++)
        assert_int_equal(model_gradient(&model, device_params, tokens, c->batch, device_grads, o.losses), 0);
    hip_download(stream, o.grads, device_grads, o.elements * sizeof(float));
    assert_int_equal(hip_stream_wait(stream), 0);
    model_close(&model);
    hip_free(device, device_grads);
    hip_free(device, device_params);
    hip_stream_close(stream);
    hip_device_close(device);
    return o;
}

static void gradients_agree_with_differences(const struct model_config *c)
{
    uint8_t tokens[3 * (TWIN_CONTEXT + 1)];
    float *params = lively_params(c);
    some_tokens(tokens, sizeof tokens);
    struct outcome o = gradient_of(c, params, tokens, 1, HIP_ISA_AUTO, 0);
    double *twin = malloc(o.elements * sizeof *twin), mean = 0;
    for (uint64_t i = 0; i < o.elements; i++) twin[i] = (double)params[i];
    for (uint64_t i = 0; i < o.rows; i++) mean += (double)o.losses[i] / (double)o.rows;
    assert_true(fabs(mean / twin_loss(c, twin, tokens, 3) - 1) < 1e-5);
    for (uint32_t t = 0; t < tensors_count(c); t++) {
        struct tensor tensor = tensors_at(c, t);
        double largest = 0;
        for (uint64_t k = 0; k < tensor.count; k++) largest = fmax(largest, fabs((double)o.grads[tensor.offset + k]));
        assert_true(largest > 1e-4);
        for (uint64_t sample = 0; sample < 25; sample++) {
            // The embedding's samples hit rows that occur as inputs, too.
            uint64_t k = t == 0 && sample < 12 ? (uint64_t)tokens[sample] * c->width + sample
                                               : (sample * 7919 + 3) % tensor.count;
            double *p = &twin[tensor.offset + k], kept = *p, h = 1e-5;
            *p = kept + h;
            double above = twin_loss(c, twin, tokens, 3);
            *p = kept - h;
            double below = twin_loss(c, twin, tokens, 3);
            *p = kept;
            double wanted = (above - below) / (2 * h), got = (double)o.grads[tensor.offset + k];
            if (fabs(got - wanted) > 1e-4 * largest + 1e-3 * fabs(wanted))
                fail_msg("%s[%llu]: %g, differences give %g", tensor.name, (unsigned long long)k, got, wanted);
        }
    }
    free(twin);
    outcome_free(&o);
    free(params);
}

static void gradients_with_a_tied_head(void **state)
{
    (void)state;
    struct model_config c = tiny(true);
    gradients_agree_with_differences(&c);
}

static void gradients_with_a_head_of_its_own(void **state)
{
    (void)state;
    struct model_config c = tiny(false);
    gradients_agree_with_differences(&c);
}

static void assert_same_bits(const struct outcome *a, const struct outcome *b)
{
    assert_memory_equal(a->losses, b->losses, a->rows * sizeof *a->losses);
    assert_memory_equal(a->grads, b->grads, a->elements * sizeof *a->grads);
}

// Shapes that are multiples of nothing, and the preset that the quick start trains.
static void threads_and_instruction_sets_give_the_same_bits(void **state)
{
    (void)state;
    struct model_config configs[2] = {tiny(true), *config_preset("small")};
    configs[1].layers = 1;
    configs[1].batch = 5;
    for (size_t i = 0; i < 2; i++) {
        struct model_config *c = &configs[i];
        size_t size = (size_t)c->batch * (c->context + 1);
        uint8_t *tokens = malloc(size);
        float *params = lively_params(c);
        some_tokens(tokens, size);
        struct outcome first = gradient_of(c, params, tokens, 1, HIP_ISA_PORTABLE, 0);
        for (enum hip_isa isa = HIP_ISA_PORTABLE; isa < HIP_ISA_COUNT; isa++) {
            if (!hip_isa_built(isa)) continue;
            if (!hip_isa_available(isa)) {
                printf("SKIPPED: this CPU lacks %s\n", hip_isa_name(isa));
                continue;
            }
            for (uint32_t threads = 1; threads <= 3; threads++) {
                struct outcome o = gradient_of(c, params, tokens, threads, isa, 0);
                assert_same_bits(&first, &o);
                outcome_free(&o);
            }
        }
        outcome_free(&first);
        free(params);
        free(tokens);
    }
}

static void passes_do_not_show(void **state)
{
    (void)state;
    struct model_config c = tiny(true);
    c.context = 64;
    c.batch = 16;  // 1024 rows: one pass
    size_t size = (size_t)c.batch * (c.context + 1);
    uint8_t *tokens = malloc(size);
    float *params = lively_params(&c);
    some_tokens(tokens, size);
    struct outcome whole = gradient_of(&c, params, tokens, 1, HIP_ISA_AUTO, 0);
    struct outcome halves = gradient_of(&c, params, tokens, 2, HIP_ISA_AUTO, 8);
    assert_same_bits(&whole, &halves);
    // Nor does a sequence depend on its neighbours: alone in a batch of one it has the same losses.
    struct model_config alone = c;
    alone.batch = 1;
    struct outcome last = gradient_of(&alone, params, tokens + 15 * (c.context + 1), 1, HIP_ISA_AUTO, 0);
    assert_memory_equal(last.losses, whole.losses + 15 * (size_t)c.context, c.context * sizeof(float));
    outcome_free(&last);
    outcome_free(&halves);
    outcome_free(&whole);
    free(params);
    free(tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_with_a_tied_head),
        cmocka_unit_test(gradients_with_a_head_of_its_own),
        cmocka_unit_test(threads_and_instruction_sets_give_the_same_bits),
        cmocka_unit_test(passes_do_not_show),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
