// Rounds of training: AdamW against a twin in double, error feedback, the same bits whatever runs it, refusals; and
// text that the model itself would write.
#include "learn/trainer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "hip/device.h"
#include "hip/math.h"
#include "learn/compress.h"
#include "learn/generate.h"
#include "learn/model.h"
#include "learn/outer.h"
#include "learn/streams.h"

// --- Fixtures ---

static const struct model_config tiny = {"tiny", 2, 24, 2, 20, CONFIG_VOCAB, 12, 3, true, 10000, 1e-5f};

struct fixture {
    struct model_config config;
    struct hip_device *device;
    struct trainer *trainer;
    struct hyper_parameters hyper;
    struct inner_state state;
    struct dataset data;
    uint8_t text[2000];
    uint64_t elements;
    float *params, *end;
    int8_t *update;
    int8_t exponents[CONFIG_TENSORS_MAX];
    struct train_task task;
    struct train_result result;
};

static struct fixture *fixture_open(uint32_t threads, enum hip_isa isa)
{
    struct fixture *f = calloc(1, sizeof *f);
    char why[CONFIG_WHY_SIZE];
    f->config = tiny;
    f->hyper = hyper_defaults();
    f->hyper.warmup_steps = 2;
    f->hyper.inner_steps = 3;
    f->elements = tensors_elements(&f->config);
    f->params = malloc(f->elements * sizeof *f->params);
    f->end = malloc(f->elements * sizeof *f->end);
    f->update = malloc(f->elements);
    for (size_t i = 0; i < sizeof f->text; i++) f->text[i] = (uint8_t)("to be or not to be, "[i % 20] + (i % 7 == 0));
    f->data = data_split(f->text, sizeof f->text);
    tensors_init(&f->config, 5, f->params);
    compress_first_exponents(&f->config, &f->hyper, 30, f->exponents);
    assert_int_equal(hip_device_open("cpu", &(struct hip_options){.threads = threads, .isa = isa}, &f->device), 0);
    assert_int_equal(trainer_open(&f->trainer, f->device, &f->config, 0, why), 0);
    assert_int_equal(inner_state_open(&f->state, &f->config), 0);
    f->task = (struct train_task){.params = f->params,
                                  .data = &f->data,
                                  .seed = 11,
                                  .round = 1,
                                  .slot = 2,
                                  .steps = 3,
                                  .first_step = 0,
                                  .total_steps = 30,
                                  .hyper = &f->hyper,
                                  .exponents = f->exponents};
    return f;
}

static void fixture_close(struct fixture *f)
{
    inner_state_close(&f->state);
    trainer_close(f->trainer);
    hip_device_close(f->device);
    free(f->update);
    free(f->end);
    free(f->params);
    free(f);
}

static enum core_err train(struct fixture *f)
{
    return trainer_train(f->trainer, &f->task, &f->state, f->update, f->end, &f->result);
}

// --- Steps ---

// The twin takes the gradients from the model (its own test checks them) and does the rest in double.
static void steps_follow_adamw(void **state)
{
    (void)state;
    struct fixture *f = fixture_open(1, HIP_ISA_AUTO);
    uint64_t n = f->elements;
    struct hip_stream *stream;
    struct model model;
    void *device_params, *device_grads;
    float *params = malloc(n * sizeof *params), *grads = calloc(n, sizeof *grads), losses[36];
    double *m = calloc(n, sizeof *m), *v = calloc(n, sizeof *v), *p = malloc(n * sizeof *p), loss = 0;
    f->hyper.clip = 0.5f;  // below this model's first norms, so that it acts
    assert_int_equal(hip_stream_open(f->device, &stream), 0);
    assert_int_equal(model_open(&model, f->device, stream, &f->config, MODEL_PASS_ROWS), 0);
    assert_int_equal(hip_alloc(f->device, n * sizeof(float), &device_params), 0);
    assert_int_equal(hip_alloc(f->device, n * sizeof(float), &device_grads), 0);
    for (uint64_t i = 0; i < n; i++) p[i] = (double)f->params[i];
    for (uint32_t step = 0; step < 3; step++) {
        uint8_t tokens[39];
        for (uint64_t i = 0; i < n; i++) params[i] = (float)p[i];
        data_batch(&f->data, &f->config, 11, 1, step, 2, tokens);
        hip_upload(stream, device_params, params, n * sizeof(float));
        assert_int_equal(model_gradient(&model, device_params, tokens, 3, device_grads, losses), 0);
        hip_download(stream, grads, device_grads, n * sizeof(float));
        assert_int_equal(hip_stream_wait(stream), 0);
        double squares = 0, rate = step == 0 ? 1e-3 : 2e-3, scale;  // the warm-up's two steps, the cosine's first
        for (int i = 0; i < 36; i++) loss += (double)losses[i] / 36 / 3;
        for (uint64_t i = 0; i < n; i++) squares += (double)grads[i] * (double)grads[i];
        scale = sqrt(squares) > 0.5 ? 0.5 / sqrt(squares) : 1;
        assert_true(scale < 1);
        for (uint64_t i = 0; i < n; i++) {
            double g = (double)grads[i] * scale;
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.95 * v[i] + 0.05 * g * g;
            double u = m[i] / (1 - pow(0.9, step + 1)) / (sqrt(v[i] / (1 - pow(0.95, step + 1))) + 1e-8);
            bool decays = tensors_at(&f->config, tensors_find(&f->config, i)).decays;
            p[i] = p[i] * (decays ? 1 - rate * 0.1 : 1) - rate * u;
        }
    }
    assert_int_equal(train(f), CORE_ERR_OK);
    assert_true(fabs(f->result.loss / loss - 1) < 1e-6);
    assert_int_equal(f->result.tokens, 108);
    assert_int_equal(f->result.weight, 36);
    assert_int_equal(f->state.steps, 3);
    uint64_t moved = 0;
    for (uint64_t i = 0; i < n; i++) {
        // Where a gradient is nearly nothing its sign decides the step: leave those few out.
        if (fabs(v[i]) < 1e-18) continue;
        moved++;
        assert_true(fabs((double)f->end[i] - p[i]) < 2e-6);
        assert_true(fabs((double)f->state.m[i] - m[i]) < 1e-6);
    }
    assert_true(moved > 2000);
    model_close(&model);
    hip_free(f->device, device_grads);
    hip_free(f->device, device_params);
    hip_stream_close(stream);
    free(p);
    free(v);
    free(m);
    free(grads);
    free(params);
    fixture_close(f);
}

static void an_update_and_its_residual_hold_what_was_learnt(void **state)
{
    (void)state;
    struct fixture *f = fixture_open(1, HIP_ISA_AUTO);
    float *before = malloc(f->elements * sizeof *before);
    f->hyper.bits = 4;
    compress_first_exponents(&f->config, &f->hyper, 30, f->exponents);
    for (int8_t *e = f->exponents; e < f->exponents + tensors_count(&f->config); e++) *e = (int8_t)(*e - 2);
    uint64_t saturated = 0;
    for (uint32_t round = 1; round <= 2; round++) {
        f->task.round = round;
        memcpy(before, f->state.residual, f->elements * sizeof *before);
        assert_int_equal(train(f), CORE_ERR_OK);
        for (uint64_t i = 0; i < f->elements; i++) {
            double scale = exp2(f->exponents[tensors_find(&f->config, i)]), q = f->update[i];
            double wanted = (double)f->params[i] - (double)f->end[i] + (double)before[i];
            double rest = wanted - q * scale;
            assert_true(fabs(q) <= 7);
            assert_true(fabs(rest) <= scale * 0.5000001 || (fabs(q) == 7 && rest * q > 0));
            assert_true(fabs((double)f->state.residual[i] - rest * (double)0.95f) < 1e-8);
            saturated += fabs(q) == 7;
        }
    }
    assert_true(saturated > 0);
    free(before);
    fixture_close(f);
}

static void two_rounds_have_the_same_bits_everywhere(void **state)
{
    (void)state;
    struct core_hash first[3] = {0};
    for (enum hip_isa isa = HIP_ISA_PORTABLE; isa < HIP_ISA_COUNT; isa++) {
        if (!hip_isa_built(isa)) continue;
        if (!hip_isa_available(isa)) {
            printf("SKIPPED: this CPU lacks %s\n", hip_isa_name(isa));
            continue;
        }
        for (uint32_t threads = 1; threads <= 3; threads++) {
            struct fixture *f = fixture_open(threads, isa);
            for (uint32_t round = 1; round <= 2; round++) {
                f->task.round = round;
                assert_int_equal(train(f), CORE_ERR_OK);
            }
            struct core_hash hashes[3] = {tensors_hash_update(&f->config, f->update, NULL), inner_state_hash(&f->state),
                                          tensors_hash(&f->config, f->end, NULL)};
            if (hash_is_zero(&first[0])) memcpy(first, hashes, sizeof first);
            assert_memory_equal(first, hashes, sizeof first);
            fixture_close(f);
        }
    }
}

static void the_slot_round_and_seed_pick_the_data(void **state)
{
    (void)state;
    struct core_hash seen[4];
    for (int i = 0; i < 4; i++) {
        struct fixture *f = fixture_open(1, HIP_ISA_AUTO);
        f->task.slot += i == 1;
        f->task.round += i == 2;
        f->task.seed += i == 3;
        assert_int_equal(train(f), CORE_ERR_OK);
        seen[i] = tensors_hash_update(&f->config, f->update, NULL);
        for (int j = 0; j < i; j++) assert_false(hash_equal(&seen[i], &seen[j]));
        fixture_close(f);
    }
}

static void a_carried_state_goes_on_where_it_was(void **state)
{
    (void)state;
    struct fixture *f = fixture_open(1, HIP_ISA_AUTO);
    uint64_t size = inner_state_size(&f->config);
    uint8_t *blob = malloc(size);
    assert_int_equal(train(f), CORE_ERR_OK);
    struct writer w = writer_over(blob, size);
    inner_state_encode(&w, &f->state);
    assert_true(!w.overflowed && w.size == size);
    struct core_hash out = inner_state_hash(&f->state), back;
    inner_state_reset(&f->state);
    back = inner_state_hash(&f->state);
    assert_false(hash_equal(&out, &back));
    assert_int_equal(inner_state_decode((struct slice){blob, size}, &f->state), CORE_ERR_OK);
    back = inner_state_hash(&f->state);
    assert_true(hash_equal(&out, &back));
    assert_int_equal(f->state.steps, 3);
    assert_int_equal(inner_state_decode((struct slice){blob, size - 1}, &f->state), CORE_ERR_TRUNCATED);
    assert_int_equal(inner_state_decode((struct slice){blob, 3}, &f->state), CORE_ERR_TRUNCATED);
    blob[9 + 3] = 0x7f;  // the first moment's first element becomes an infinity or a NaN
    blob[9 + 2] |= 0x80;
    assert_int_equal(inner_state_decode((struct slice){blob, size}, &f->state), CORE_ERR_MALFORMED);
    assert_int_equal(f->state.steps, 0);
    w = writer_over(blob, size);
    f->state.v[3] = -1;  // no mean of squares
    inner_state_encode(&w, &f->state);
    assert_int_equal(inner_state_decode((struct slice){blob, size}, &f->state), CORE_ERR_MALFORMED);
    blob[0] = 2;
    assert_int_equal(inner_state_decode((struct slice){blob, size}, &f->state), CORE_ERR_UNKNOWN_VERSION);
    free(blob);
    fixture_close(f);
}

static bool stop_after_two(void *context, uint32_t step, uint32_t steps, double loss)
{
    uint32_t *calls = context;
    assert_int_equal(steps, 3);
    assert_int_equal(step, ++*calls);
    assert_true(loss > 0);
    return step < 2;
}

static void stopped_or_broken_training_leaves_the_state(void **state)
{
    (void)state;
    struct fixture *f = fixture_open(1, HIP_ISA_AUTO);
    uint32_t calls = 0;
    assert_int_equal(train(f), CORE_ERR_OK);
    struct core_hash before = inner_state_hash(&f->state), after;
    f->task.hook = stop_after_two;
    f->task.hook_context = &calls;
    assert_int_equal(train(f), CORE_ERR_INTERRUPTED);
    assert_int_equal(calls, 2);
    after = inner_state_hash(&f->state);
    assert_true(hash_equal(&before, &after));
    f->task.hook = NULL;
    for (int i = 0; i < 3; i++) {
        float kept = f->params[100];
        f->params[100] = i == 0 ? NAN : i == 1 ? INFINITY : 3e38f;
        assert_int_equal(train(f), CORE_ERR_NON_FINITE);
        f->params[100] = kept;
    }
    f->hyper.inner_rate = 9e30f;
    assert_int_equal(train(f), CORE_ERR_NON_FINITE);
    after = inner_state_hash(&f->state);
    assert_true(hash_equal(&before, &after));
    fixture_close(f);
}

static void an_evaluation_is_the_mean_over_its_windows(void **state)
{
    (void)state;
    struct fixture *f = fixture_open(1, HIP_ISA_AUTO);
    struct hip_stream *stream;
    struct model model;
    void *device_params;
    double loss, sum = 0;
    float losses[12];
    assert_int_equal(hip_stream_open(f->device, &stream), 0);
    assert_int_equal(model_open(&model, f->device, stream, &f->config, MODEL_PASS_ROWS), 0);
    assert_int_equal(hip_alloc(f->device, f->elements * sizeof(float), &device_params), 0);
    hip_upload(stream, device_params, f->params, f->elements * sizeof(float));
    // 200 bytes are held out: 16 windows of 12.
    for (int i = 0; i < 16; i++) {
        assert_int_equal(model_losses(&model, device_params, f->data.held_out + i * 12, 1, losses), 0);
        for (int t = 0; t < 12; t++) sum += (double)losses[t] / (16 * 12);
    }
    assert_int_equal(trainer_evaluate(f->trainer, f->params, &f->data, 0, NULL, NULL, &loss), CORE_ERR_OK);
    assert_true(fabs(loss - sum) < 1e-12);
    f->data.held_out_size = 12;
    assert_int_equal(trainer_evaluate(f->trainer, f->params, &f->data, 0, NULL, NULL, &loss), CORE_ERR_TOO_SHORT);
    model_close(&model);
    hip_free(f->device, device_params);
    hip_stream_close(stream);
    fixture_close(f);
}

static void local_training_learns(void **state)
{
    (void)state;
    struct fixture *f = fixture_open(2, HIP_ISA_AUTO);
    double before, after;
    assert_int_equal(trainer_evaluate(f->trainer, f->params, &f->data, 0, NULL, NULL, &before), CORE_ERR_OK);
    f->task.steps = f->task.total_steps = 60;
    memcpy(f->end, f->params, f->elements * sizeof *f->end);
    assert_int_equal(trainer_train_local(f->trainer, &f->task, &f->state, f->end, &f->result), CORE_ERR_OK);
    assert_int_equal(trainer_evaluate(f->trainer, f->end, &f->data, 0, NULL, NULL, &after), CORE_ERR_OK);
    assert_true(before > 5.3 && after < 4.5);
    fixture_close(f);
}

static void a_model_too_large_is_refused_with_numbers(void **state)
{
    (void)state;
    struct hip_device *device;
    struct trainer *trainer;
    struct model_config config = *config_preset("baby");
    char why[CONFIG_WHY_SIZE] = "";
    assert_int_equal(hip_device_open("cpu", NULL, &device), 0);
    assert_int_equal(trainer_open(&trainer, device, &config, 1 << 20, why), CORE_ERR_NO_MEMORY);
    assert_non_null(strstr(why, "model baby"));
    assert_non_null(strstr(why, "there are 1 MiB"));
    config.width = 8192;
    config.heads = 64;
    config.inner = 32768;
    config.layers = 64;
    config.context = 4096;
    config.batch = 1024;
    assert_int_equal(trainer_open(&trainer, device, &config, 0, why), CORE_ERR_NO_MEMORY);
    config.heads = 3;
    assert_int_equal(trainer_open(&trainer, device, &config, 0, why), CORE_ERR_USAGE);
    hip_device_close(device);
}

// Node and device may each take the outer step: the bits are one.
static void the_outer_step_has_the_devices_bits(void **state)
{
    (void)state;
    struct fixture *f = fixture_open(1, HIP_ISA_AUTO);
    uint64_t n = f->elements;
    struct hip_stream *stream;
    void *device[3];
    int64_t *sums = malloc(n * sizeof *sums), largest[CONFIG_TENSORS_MAX] = {0};
    float *momentum = malloc(n * sizeof *momentum), *out = malloc(n * sizeof *out);
    for (uint64_t i = 0; i < n; i++) {
        sums[i] = (int64_t)(i * 2654435761u % 2000) - 1000;
        momentum[i] = (float)(i % 17) * 1e-4f;
    }
    memset(f->exponents, -13, sizeof f->exponents);
    assert_int_equal(hip_stream_open(f->device, &stream), 0);
    for (int i = 0; i < 3; i++) assert_int_equal(hip_alloc(f->device, n * sizeof(int64_t), &device[i]), 0);
    hip_upload(stream, device[0], sums, n * sizeof *sums);
    hip_upload(stream, device[1], f->params, n * sizeof(float));
    hip_upload(stream, device[2], momentum, n * sizeof(float));
    hip_outer_step(stream, &(struct hip_outer_step){.sums = device[0],
                                                    .params = device[1],
                                                    .momentum = device[2],
                                                    .count = n,
                                                    .weight = 7,
                                                    .exponent = -13,
                                                    .rate = 0.7f,
                                                    .mu = 0.9f});
    hip_download(stream, out, device[1], n * sizeof *out);
    assert_int_equal(hip_stream_wait(stream), 0);
    struct outer_step step = {&f->config, 0.7f, 0.9f, 7, f->exponents};
    assert_int_equal(outer_apply(&step, sums, 0, n, f->params, momentum, largest), CORE_ERR_OK);
    assert_memory_equal(out, f->params, n * sizeof *out);
    hip_download(stream, out, device[2], n * sizeof *out);
    assert_int_equal(hip_stream_wait(stream), 0);
    assert_memory_equal(out, momentum, n * sizeof *out);
    for (int i = 0; i < 3; i++) hip_free(f->device, device[i]);
    hip_stream_close(stream);
    free(out);
    free(momentum);
    free(sums);
    fixture_close(f);
}

// --- Generation ---

// What the model says of the bytes after `text`, from a whole forward pass; the last row of the logits.
static void last_logits(struct fixture *f, struct model *model, const float *params, const uint8_t *text,
                        uint32_t count, float *logits)
{
    uint8_t window[13] = {0};
    float losses[12];
    memcpy(window, text, count);
    assert_int_equal(model_losses(model, params, window, 1, losses), 0);
    hip_download(model->stream, logits, model->logits + (size_t)(count - 1) * CONFIG_VOCAB,
                 CONFIG_VOCAB * sizeof(float));
    assert_int_equal(hip_stream_wait(model->stream), 0);
    (void)f;
}

static uint8_t naive_draw(const float *logits, float temperature, uint64_t seed, uint64_t number)
{
    float most = -INFINITY;
    double total = 0;
    for (int i = 0; i < CONFIG_VOCAB; i++) most = fmaxf(most, logits[i]);
    for (int i = 0; i < CONFIG_VOCAB; i++) {
        if (temperature == 0 && logits[i] == most) return (uint8_t)i;
        if (temperature > 0) total += (double)hip_math_exp((logits[i] - most) / temperature);
    }
    double left = ldexp(stream_block(seed, STREAM_GENERATE, number, 0).word[0], -32) * total;
    for (int i = 0;; i++) {
        double weight = (double)hip_math_exp((logits[i] - most) / temperature);
        if (left < weight) return (uint8_t)i;
        left -= weight;
    }
}

// The cache against whole forward passes, past the context's end, where the window slides.
static void text_is_what_whole_passes_give(void **state)
{
    (void)state;
    struct fixture *f = fixture_open(1, HIP_ISA_AUTO);
    struct hip_stream *stream;
    struct model model;
    struct generator *generator;
    void *params;
    float logits[CONFIG_VOCAB];
    for (uint64_t i = 0; i < f->elements; i++) f->params[i] *= f->params[i] == 1.0f ? 1 : 12;
    assert_int_equal(hip_stream_open(f->device, &stream), 0);
    assert_int_equal(model_open(&model, f->device, stream, &f->config, MODEL_PASS_ROWS), 0);
    assert_int_equal(hip_alloc(f->device, f->elements * sizeof(float), &params), 0);
    hip_upload(stream, params, f->params, f->elements * sizeof(float));
    assert_int_equal(generator_open(&generator, f->device, &f->config, f->params), 0);
    for (int mode = 0; mode < 2; mode++) {
        float temperature = mode ? 0.8f : 0;
        uint8_t text[13] = "abc", byte;
        uint32_t count = 3;
        assert_int_equal(generator_begin(generator, (struct slice){text, 3}, temperature, 99), CORE_ERR_OK);
        for (uint64_t i = 0; i < 40; i++) {
            last_logits(f, &model, params, text, count, logits);
            assert_int_equal(generator_next(generator, &byte), CORE_ERR_OK);
            assert_int_equal(byte, naive_draw(logits, temperature, 99, i));
            if (count == 12) {
                memmove(text, text + 6, 6);
                count = 6;
            }
            text[count++] = byte;
        }
    }
    assert_int_equal(generator_begin(generator, (struct slice){NULL, 0}, -1, 1), CORE_ERR_USAGE);
    assert_int_equal(generator_begin(generator, (struct slice){NULL, 0}, NAN, 1), CORE_ERR_USAGE);
    generator_close(generator);
    model_close(&model);
    hip_free(f->device, params);
    hip_stream_close(stream);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_follow_adamw),
        cmocka_unit_test(an_update_and_its_residual_hold_what_was_learnt),
        cmocka_unit_test(two_rounds_have_the_same_bits_everywhere),
        cmocka_unit_test(the_slot_round_and_seed_pick_the_data),
        cmocka_unit_test(a_carried_state_goes_on_where_it_was),
        cmocka_unit_test(stopped_or_broken_training_leaves_the_state),
        cmocka_unit_test(an_evaluation_is_the_mean_over_its_windows),
        cmocka_unit_test(local_training_learns),
        cmocka_unit_test(a_model_too_large_is_refused_with_numbers),
        cmocka_unit_test(the_outer_step_has_the_devices_bits),
        cmocka_unit_test(text_is_what_whole_passes_give),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
