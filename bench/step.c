#include "bench/step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/step_peers.h"
#include "core/check.h"
#include "hip/device.h"
#include "learn/compress.h"
#include "learn/trainer.h"

enum { TEXT_SIZE = 1 << 16, STEPS_MAX = 16, TURNS_MAX = 64, ALL = STEP_PEERS + 1 };

// Work of a step: 6 a parameter and token for the linear layers (the embedding's rows are only copied, but a tied table
// is the head, too), 12 a layer, unit of width and visible key for attention. Norms, activations and the optimizer
// count as nothing, though their time counts.
static double step_flops(const struct model_config *c)
{
    double tokens = (double)c->batch * c->context, visible = ((double)c->context + 1) / 2;
    double table = c->tied ? 0 : (double)c->vocab * c->width;
    return tokens * (6 * ((double)tensors_parameters(c) - table) + 12.0 * c->layers * c->width * visible);
}

// Our training, which goes on from turn to turn, and the others'.
struct stand {
    const struct model_config *config;
    uint32_t threads;
    struct dataset data;
    struct hyper_parameters hyper;
    struct trainer *trainer;
    struct inner_state state;
    float *params;
    double *seconds, last;  // of the steps under way
    uint32_t taken;
    struct step_peer peers[STEP_PEERS];
    uint32_t peer_count;
    double taken_by[ALL][TURNS_MAX];  // a step's median in each turn
    uint32_t turns;
};

// The hook runs between two steps: it is the stopwatch.
static bool stop_watch(void *context, uint32_t step, uint32_t steps, double loss)
{
    struct stand *s = context;
    (void)step, (void)steps, (void)loss;
    s->seconds[s->taken++] = bench_now() - s->last;
    s->last = bench_now();
    return true;
}

static enum core_err run_ours(struct stand *s, uint32_t steps, double *seconds)
{
    struct train_result result;
    struct train_task task = {.data = &s->data,
                              .seed = 1,
                              .steps = steps,
                              .total_steps = 1500,
                              .hyper = &s->hyper,
                              .hook = stop_watch,
                              .hook_context = s};
    s->seconds = seconds;
    s->taken = 0;
    s->last = bench_now();
    return trainer_train_local(s->trainer, &task, &s->state, s->params, &result);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// One turn of everybody: the median of `steps` steps, after one that finds its caches cold where there are several.
static enum core_err take_turn(struct stand *s, uint32_t steps)
{
    double seconds[STEPS_MAX + 1];
    uint32_t cold = steps > 1 ? 1 : 0;
    for (uint32_t i = 0; i <= s->peer_count; i++) {
        if (i == 0) {
            enum core_err err = run_ours(s, steps + cold, seconds);
            if (err) return err;
        } else if (!step_peer_run(&s->peers[i - 1], steps + cold, seconds)) {
            return CORE_ERR_IO;
        }
        qsort(seconds + cold, steps, sizeof *seconds, ascending);
        if (s->turns < TURNS_MAX) s->taken_by[i][s->turns] = seconds[cold + steps / 2];
    }
    s->turns++;
    return CORE_ERR_OK;
}

static void report(struct bench *b, struct stand *s)
{
    double *samples[ALL];
    struct bench_time times[ALL];
    const struct model_config *c = s->config;
    for (uint32_t i = 0; i <= s->peer_count; i++) samples[i] = s->taken_by[i];
    bench_summary(samples, s->peer_count + 1, s->turns, times);
    struct bench_row row = {.value = times[0].median * 1e3, .unit = "ms", .spread = times[0].spread};
    row.less_is_better = true;
    snprintf(row.name, sizeof row.name, "step %s, %u thread%s", c->name, s->threads, s->threads == 1 ? "" : "s");
    for (uint32_t i = 0; i < s->peer_count; i++) {
        row.beside = s->peers[i].name, row.beside_value = times[i + 1].median * 1e3;
        row.ratio = times[i + 1].ratio, row.ratio_spread = times[i + 1].ratio_spread;
        bench_report(b, &row);
    }
    row.beside = NULL, row.ratio = 0, row.ratio_spread = 0;
    if (!s->peer_count) bench_report(b, &row);
    row.value = (double)c->batch * c->context / times[0].median, row.unit = "tokens/s", row.less_is_better = false;
    bench_report(b, &row);
    row.value = step_flops(c) / times[0].median * 1e-9, row.unit = "GF/s";
    bench_report(b, &row);
}

static void open_peers(struct bench *b, struct stand *s)
{
    double seconds[STEPS_MAX];
    char why[STEP_WHY_SIZE];
    for (uint32_t i = 0; i < STEP_PEERS; i++) {
        struct step_peer *peer = &s->peers[s->peer_count];
        if (!step_peer_open(peer, i, s->config, s->threads, why)) {
            bench_say(b, "%s", why);
            continue;
        }
        bench_say(b, "%s compiles and warms up: %s", peer->name, s->config->name);
        if (step_peer_run(peer, 2, seconds)) {
            s->peer_count++;
        } else {
            bench_say(b, "%s is left out: it ended (step.log beside its installation)", peer->name);
            step_peer_close(peer);
        }
    }
}

// A short step is taken several times a turn; turns until the time is spent, 10 times that of a single kernel.
static enum core_err turns(struct bench *b, struct stand *s)
{
    double first[3];
    enum core_err err = run_ours(s, 1, first);
    bool brief = first[0] < 1;
    if (!err && brief) err = run_ours(s, 3, first);
    if (err) return err;
    if (bench_with_peers(b)) open_peers(b, s);
    uint32_t steps = brief ? 10 : 1, least = brief ? 7 : 3;
    for (double end = bench_now() + 10 * bench_seconds(b) * (s->peer_count + 1);
         !err && s->turns < TURNS_MAX && (s->turns < least || bench_now() < end);)
        err = take_turn(s, steps);
    return err;
}

static enum core_err measure(struct bench *b, const struct model_config *config, uint32_t threads, const uint8_t *text,
                             char *why)
{
    struct hip_device *device;
    struct hip_stream *stream;
    struct stand s = {.config = config, .threads = threads, .data = data_split(text, TEXT_SIZE)};
    bench_device(threads, &device, &stream);
    s.hyper = hyper_defaults();
    s.params = malloc(tensors_elements(config) * sizeof *s.params);
    enum core_err err = s.params ? inner_state_open(&s.state, config) : CORE_ERR_NO_MEMORY;
    if (!err) err = trainer_open(&s.trainer, device, config, 0, why);
    if (!err) {
        tensors_init(config, 1, s.params);
        err = turns(b, &s);
    }
    if (!err) report(b, &s);
    for (uint32_t i = 0; i < s.peer_count; i++) step_peer_close(&s.peers[i]);
    trainer_close(s.trainer);
    inner_state_close(&s.state);
    free(s.params);
    hip_stream_close(stream);
    hip_device_close(device);
    return err;
}

int bench_step(struct bench *b)
{
    static const char *const presets[] = {"small", "baby"};
    uint32_t many = bench_threads(b) ? bench_threads(b) : 2, from = bench_with_peers(b) ? many : 1;
    char why[CONFIG_WHY_SIZE] = "";
    enum core_err err = CORE_ERR_OK;
    uint8_t *text = malloc(TEXT_SIZE);
    if (!text) err = CORE_ERR_NO_MEMORY;
    for (uint32_t i = 0; text && i < TEXT_SIZE; i++)
        text[i] = (uint8_t)("the quick brown fox jumps "[i % 26] + i % 11 / 10);
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        if (!bench_wants(b, presets[i])) continue;
        for (uint32_t threads = from; !err && threads <= many; threads += many > from ? many - from : 1)
            err = measure(b, config_preset(presets[i]), threads, text, why);
    }
    free(text);
    if (err) fprintf(stderr, "bench step: %s%s%s\n", core_error_text(err), *why ? ": " : "", why);
    return err ? core_error_exit(err) : 0;
}
