#include "bench/step.h"

#include <stdio.h>
#include <stdlib.h>

#include "hip/device.h"
#include "learn/compress.h"
#include "learn/trainer.h"

enum { TEXT_SIZE = 1 << 16, SAMPLES_MAX = 200 };

// Work of a step: 6 a parameter and token for the linear layers (the embedding's rows are only copied, but a tied table
// is the head, too), 12 a layer, unit of width and visible key for attention. Norms, activations and the optimizer
// count as nothing, though their time counts.
static double step_flops(const struct model_config *c)
{
    double tokens = (double)c->batch * c->context, visible = ((double)c->context + 1) / 2;
    double table = c->tied ? 0 : (double)c->vocab * c->width;
    return tokens * (6 * ((double)tensors_parameters(c) - table) + 12.0 * c->layers * c->width * visible);
}

struct stand {
    struct trainer *trainer;
    struct train_task task;
    struct inner_state state;
    struct train_result result;
    float *params;
    enum core_err err;
    double seconds[SAMPLES_MAX], last, until;
    uint32_t samples;
};

// The hook runs between two steps: it is the stopwatch.
static bool stop_watch(void *context, uint32_t step, uint32_t steps, double loss)
{
    struct stand *s = context;
    (void)steps;
    (void)loss;
    double now = bench_now(), took = now - s->last;
    // The first steps are cold, which shows in short ones only.
    if ((step > 2 || took > 1) && s->samples < SAMPLES_MAX) s->seconds[s->samples++] = took;
    s->last = bench_now();
    return s->samples == 0 || now < s->until;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(struct bench *b, const struct model_config *c, uint32_t threads, struct stand *s)
{
    qsort(s->seconds, s->samples, sizeof *s->seconds, ascending);
    double median = s->seconds[s->samples / 2];
    double spread = (s->seconds[s->samples * 3 / 4] - s->seconds[s->samples / 4]) / median;
    const struct {
        const char *unit;
        double value;
    } figures[] = {
        {"ms", median * 1e3},
        {"tokens/s", (double)c->batch * c->context / median},
        {"GFLOP/s", step_flops(c) / median * 1e-9},
    };
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        struct bench_row row = {.value = figures[i].value, .unit = figures[i].unit, .spread = spread};
        snprintf(row.name, sizeof row.name, "step %s, %u thread%s", c->name, threads, threads == 1 ? "" : "s");
        bench_report(b, &row);
    }
}

static enum core_err measure(struct bench *b, const struct model_config *config, uint32_t threads,
                             struct hip_device *device, const uint8_t *text, char *why)
{
    struct dataset data = data_split(text, TEXT_SIZE);
    struct hyper_parameters hyper = hyper_defaults();
    struct stand s = {.params = malloc(tensors_elements(config) * sizeof *s.params)};
    enum core_err err = s.params ? inner_state_open(&s.state, config) : CORE_ERR_NO_MEMORY;
    if (!err) err = trainer_open(&s.trainer, device, config, 0, why);
    if (!err) {
        tensors_init(config, 1, s.params);
        s.task = (struct train_task){.data = &data,
                                     .seed = 1,
                                     .steps = SAMPLES_MAX,
                                     .total_steps = 1500,
                                     .hyper = &hyper,
                                     .hook = stop_watch,
                                     .hook_context = &s};
        s.last = bench_now();
        s.until = s.last + 10 * bench_seconds(b);
        err = trainer_train_local(s.trainer, &s.task, &s.state, s.params, &s.result);
        if (err == CORE_ERR_INTERRUPTED) err = CORE_ERR_OK;
    }
    if (!err) report(b, config, threads, &s);
    trainer_close(s.trainer);
    inner_state_close(&s.state);
    free(s.params);
    return err;
}

int bench_step(struct bench *b)
{
    static const char *const presets[] = {"small", "baby"};
    uint32_t threads[] = {1, bench_threads(b) ? bench_threads(b) : 2};
    char why[CONFIG_WHY_SIZE] = "";
    enum core_err err = CORE_ERR_OK;
    uint8_t *text = malloc(TEXT_SIZE);
    if (!text) err = CORE_ERR_NO_MEMORY;
    for (uint32_t i = 0; text && i < TEXT_SIZE; i++)
        text[i] = (uint8_t)("the quick brown fox jumps "[i % 26] + i % 11 / 10);
    for (size_t i = 0; !err && i < sizeof presets / sizeof presets[0]; i++) {
        for (size_t k = 0; !err && k < (threads[1] == 1 ? 1 : 2); k++) {
            struct hip_device *device;
            struct hip_stream *stream;
            bench_device(threads[k], &device, &stream);
            err = measure(b, config_preset(presets[i]), threads[k], device, text, why);
            hip_stream_close(stream);
            hip_device_close(device);
        }
    }
    free(text);
    if (err) fprintf(stderr, "bench step: %s%s%s\n", core_error_text(err), *why ? ": " : "", why);
    return err ? core_error_exit(err) : 0;
}
