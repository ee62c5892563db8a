// The golden trajectory: a small model's rounds, whose hashes of update, inner state and parameters every machine must
// give. The file was written once on AVX-512; a difference means that the bits of training changed: then the number in
// hip_spec_hash must change too. MYCEL_REWRITE=1 writes the file anew: commit only a difference you understand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef MYCEL_TEST_DEVICE
#include "device/mirror.h"
#endif

#include "core/bytes.h"
#include "core/philox.h"
#include "fake/fake.h"
#include "hip/device.h"
#include "learn/compress.h"
#include "learn/outer.h"
#include "learn/trainer.h"

#define GOLDEN "tests/golden/tiny.txt"

enum { ROUNDS = 5, STEPS = 4, TEXT = 8000, LINE = 256 };

// 528 tokens a step: a weight's gradient crosses a chunk of 512. Widths that no vector divides.
static const struct model_config config = {"golden", 2, 24, 2, 40, CONFIG_VOCAB, 48, 11, true, 10000, 1e-5f};

struct walk {
    struct trainer *trainer;
    struct inner_state state;
    float *params, *momentum;
    int8_t *update;
    int64_t *sums;
    int8_t exponents[CONFIG_TENSORS_MAX];
    struct hyper_parameters hyper;
};

static void one_round(struct walk *w, const struct dataset *data, uint32_t round, char *line)
{
    struct train_result result;
    struct train_task task = {.params = w->params, .data = data, .seed = 3, .round = round, .slot = 1, .steps = STEPS};
    task.first_step = (uint64_t)(round - 1) * STEPS;
    task.total_steps = ROUNDS * STEPS;
    task.hyper = &w->hyper;
    task.exponents = w->exponents;
    assert_int_equal(trainer_train(w->trainer, &task, &w->state, w->update, NULL, &result), CORE_ERR_OK);
    uint64_t n = tensors_elements(&config);
    for (uint64_t i = 0; i < n; i++) w->sums[i] = 3 * (int64_t)w->update[i];
    int64_t largest[CONFIG_TENSORS_MAX] = {0};
    struct outer_step step = {&config, 0.7f, 0.9f, 3, w->exponents};
    assert_int_equal(outer_apply(&step, w->sums, 0, n, w->params, w->momentum, largest), CORE_ERR_OK);
    compress_next_exponents(&config, 8, w->exponents, largest, 3, w->exponents);
    struct core_hash hashes[3] = {tensors_hash_update(&config, w->update, NULL), inner_state_hash(&w->state),
                                  tensors_hash(&config, w->params, NULL)};
    int at = snprintf(line, LINE, "round %u", round);
    for (int h = 0; h < 3; h++) {
        at += snprintf(line + at, (size_t)(LINE - at), " ");
        for (int i = 0; i < 16; i++) at += snprintf(line + at, (size_t)(LINE - at), "%02x", hashes[h].bytes[i]);
    }
}

static void walk_on(const char *name, enum hip_isa isa, uint32_t threads, char (*lines)[LINE])
{
    struct walk w = {.hyper = hyper_defaults()};
    struct hip_device *device;
    char why[CONFIG_WHY_SIZE];
    uint8_t *text = malloc(TEXT);
    uint64_t n = tensors_elements(&config);
    struct rng r = rng_from(1, 2);
    w.hyper.warmup_steps = 5;
    w.params = calloc(n, sizeof *w.params);
    w.momentum = calloc(n, sizeof *w.momentum);
    w.update = calloc(n, 1);
    w.sums = calloc(n, sizeof *w.sums);
    assert_true(text && w.params && w.momentum && w.update && w.sums);
    for (int i = 0; i < TEXT; i++)
        text[i] = (uint8_t)("the quick brown fox jumps over "[rng_below(&r, 4) ? i % 31 : rng_below(&r, 31)]);
    struct dataset data = data_split(text, TEXT);
    tensors_init(&config, 9, w.params);
    compress_first_exponents(&config, &w.hyper, ROUNDS * STEPS, w.exponents);
    assert_int_equal(hip_device_open(name, &(struct hip_options){.threads = threads, .isa = isa}, &device),
                     CORE_ERR_OK);
    assert_int_equal(trainer_open(&w.trainer, device, &config, 0, why), CORE_ERR_OK);
    assert_int_equal(inner_state_open(&w.state, &config), CORE_ERR_OK);
    for (uint32_t i = 0; i < ROUNDS; i++) one_round(&w, &data, i + 1, lines[i]);
    inner_state_close(&w.state);
    trainer_close(w.trainer);
    hip_device_close(device);
    free(w.params), free(w.momentum), free(w.update), free(w.sums), free(text);
}

static void the_trajectory_is_the_golden_one(void **state)
{
    (void)state;
    char lines[ROUNDS][LINE], expected[LINE + 2];
    const char *rewrite = getenv("MYCEL_REWRITE");
    for (enum hip_isa isa = HIP_ISA_PORTABLE; isa < HIP_ISA_COUNT; isa++) {
        if (!hip_isa_built(isa)) continue;
        if (!hip_isa_available(isa)) {
            fprintf(stderr, "SKIPPED: this CPU has no %s, its trajectory was NOT walked\n", hip_isa_name(isa));
            continue;
        }
        walk_on("cpu", isa, 2, lines);
        FILE *f = fopen(GOLDEN, rewrite && *rewrite ? "w" : "r");
        assert_non_null(f);
        for (int i = 0; i < ROUNDS; i++) {
            if (rewrite && *rewrite)
                fprintf(f, "%s\n", lines[i]);
            else
                assert_non_null(fgets(expected, sizeof expected, f));
            if (rewrite && *rewrite) continue;
            expected[strcspn(expected, "\n")] = 0;
            assert_string_equal(lines[i], expected);
        }
        assert_int_equal(fclose(f), 0);
        rewrite = NULL;  // the other instruction sets must agree with what was written
    }
}

static void is_golden(char (*lines)[LINE])
{
    char expected[LINE + 2];
    FILE *f = fopen(GOLDEN, "r");
    assert_non_null(f);
    for (int i = 0; i < ROUNDS; i++) {
        assert_non_null(fgets(expected, sizeof expected, f));
        expected[strcspn(expected, "\n")] = 0;
        assert_string_equal(lines[i], expected);
    }
    assert_int_equal(fclose(f), 0);
}

#ifdef MYCEL_TEST_DEVICE
static void gpus_walk_the_golden_trajectory(void **state)
{
    (void)state;
    char lines[ROUNDS][LINE];
    const struct hip_found *found;
    const uint32_t count = mirror_devices(&found);
    if (!count) skip();
    for (uint32_t i = 0; i < count; i++) {
        walk_on(found[i].name, HIP_ISA_AUTO, 1, lines);
        is_golden(lines);
    }
}
#else
// The emulated GPUs, at their most unlike the CPU: work is done when somebody waits, and the host can't touch a
// device's memory.
static void gpus_walk_the_golden_trajectory(void **state)
{
    (void)state;
    static const char *const devices[] = {"nvidia:1", "amd:0"};
    char lines[ROUNDS][LINE];
    struct fake_control *control = fake_use();
    if (!control) skip();
    control->late = control->guard = true;
    for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
        const unsigned long before = control->launches;
        walk_on(devices[d], HIP_ISA_AUTO, 1, lines);
        assert_true(control->launches > before + 1000);
        is_golden(lines);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_trajectory_is_the_golden_one),
                                       cmocka_unit_test(gpus_walk_the_golden_trajectory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
