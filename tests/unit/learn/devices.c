// Training on a device that fails: a call that goes wrong, a device that is gone, memory that runs out. Each ends with
// its error, leaves state and device in order, and the same work elsewhere gives the same bits.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake/fake.h"
#include "hip/device.h"
#include "learn/compress.h"
#include "learn/trainer.h"

enum { TEXT = 3000, STEPS = 2 };

static const struct model_config config = {"tiny", 1, 16, 2, 24, CONFIG_VOCAB, 16, 2, true, 10000, 1e-5f};

static struct fake_control *control, fresh;

struct fixture {
    struct hyper_parameters hyper;
    struct dataset data;
    struct inner_state state;
    struct train_task task;
    struct train_result result;
    float *params;
    int8_t *update;
    int8_t exponents[CONFIG_TENSORS_MAX];
    uint8_t text[TEXT];
};

static struct fixture *fixture_open(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    const uint64_t n = tensors_elements(&config);
    f->hyper = hyper_defaults();
    f->params = calloc(n, sizeof *f->params);
    f->update = calloc(n, 1);
    assert_true(f->params && f->update);
    for (size_t i = 0; i < TEXT; i++) f->text[i] = (uint8_t)("to be or not to be, "[i % 20] + (i % 7 == 0));
    f->data = data_split(f->text, TEXT);
    tensors_init(&config, 5, f->params);
    compress_first_exponents(&config, &f->hyper, 30, f->exponents);
    assert_int_equal(inner_state_open(&f->state, &config), 0);
    for (uint64_t i = 0; i < n; i++) f->state.m[i] = (float)(i % 13) * 1e-4f;  // to be told from an overwritten one
    f->task = (struct train_task){.params = f->params,
                                  .data = &f->data,
                                  .seed = 11,
                                  .round = 1,
                                  .slot = 2,
                                  .steps = STEPS,
                                  .total_steps = 30,
                                  .hyper = &f->hyper,
                                  .exponents = f->exponents};
    return f;
}

static void fixture_close(struct fixture *f)
{
    inner_state_close(&f->state);
    free(f->params), free(f->update), free(f);
}

// Opens `device`, trains a round there and closes all of it.
static enum core_err train(struct fixture *f, const char *name)
{
    struct hip_device *device;
    struct trainer *trainer = NULL;
    char why[CONFIG_WHY_SIZE];
    enum core_err err = hip_device_open(name, NULL, &device);
    if (err) return err;
    err = trainer_open(&trainer, device, &config, 0, why);
    if (!err) err = trainer_train(trainer, &f->task, &f->state, f->update, NULL, &f->result);
    trainer_close(trainer);
    hip_device_close(device);
    return err;
}

static void every_failure_leaves_the_state(void **state)
{
    (void)state;
    if (!control) skip();
    static const char *const calls[] = {"launch", "upload", "download", "stream_wait", "alloc", "set"};
    struct fixture *f = fixture_open();
    const struct core_hash before = inner_state_hash(&f->state);
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        bool ended = false;
        // Further and further into the round, until it comes through.
        for (unsigned after = 0; !ended; after += 1 + after / 3) {
            const size_t live = control->live;
            *control = fresh;
            control->live = live;
            control->late = true;
            control->fail = calls[c];
            control->fail_after = after;
            const enum core_err err = train(f, "nvidia");
            ended = !err;
            if (err && err != CORE_ERR_IO) fail_msg("%s after %u: %s", calls[c], after, core_error_text(err));
            const struct core_hash now = inner_state_hash(&f->state);
            if (err && !hash_equal(&before, &now)) fail_msg("%s after %u changed the state", calls[c], after);
            assert_true(after < 100000);
        }
        // It came through: as it was, for the next call.
        fixture_close(f);
        f = fixture_open();
    }
    fixture_close(f);
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    if (!control) skip();
    struct fixture *f = fixture_open();
    struct hip_device *device;
    struct trainer *trainer;
    char why[CONFIG_WHY_SIZE];
    const struct core_hash before = inner_state_hash(&f->state);
    *control = fresh;
    const uint64_t needed = trainer_memory(&config);
    control->memory = needed / 2;
    assert_int_equal(hip_device_open("nvidia", NULL, &device), CORE_ERR_OK);
    assert_int_equal(trainer_open(&trainer, device, &config, 0, why), CORE_ERR_NO_MEMORY);
    assert_non_null(strstr(why, "MiB on Emulated device 0"));
    hip_device_close(device);
    // Room for the trainer, but not for what a step takes besides.
    control->memory = control->live + needed + (1 << 20);
    assert_int_equal(hip_device_open("nvidia", NULL, &device), CORE_ERR_OK);
    assert_int_equal(trainer_open(&trainer, device, &config, 0, why), CORE_ERR_OK);
    void *taken;
    assert_int_equal(hip_alloc(device, control->memory - control->live - 4096, &taken), CORE_ERR_OK);
    assert_int_equal(trainer_train(trainer, &f->task, &f->state, f->update, NULL, &f->result), CORE_ERR_NO_MEMORY);
    const struct core_hash after = inner_state_hash(&f->state);
    assert_true(hash_equal(&before, &after));
    hip_free(device, taken);
    assert_int_equal(trainer_train(trainer, &f->task, &f->state, f->update, NULL, &f->result), CORE_ERR_OK);
    trainer_close(trainer);
    hip_device_close(device);
    fixture_close(f);
}

// Lost in the middle of a round: the same round on the CPU has the bits that the device would have given.
static void the_cpu_takes_over_with_the_same_bits(void **state)
{
    (void)state;
    if (!control) skip();
    struct fixture *whole = fixture_open(), *moved = fixture_open();
    *control = fresh;
    assert_int_equal(train(whole, "amd:1"), CORE_ERR_OK);
    control->fail = "launch";
    control->fail_after = 60;
    assert_int_equal(train(moved, "amd:1"), CORE_ERR_IO);
    assert_int_equal(train(moved, "cpu"), CORE_ERR_OK);
    const struct core_hash a = inner_state_hash(&whole->state), b = inner_state_hash(&moved->state);
    assert_true(hash_equal(&a, &b));
    assert_memory_equal(whole->update, moved->update, tensors_elements(&config));
    fixture_close(whole), fixture_close(moved);
}

// Sixty steps in each profile from the same start: fast-bf16 takes other bits and learns the same, within a hundredth
// of a nat.
static void fast_bf16_learns_what_repro_fp32_learns(void **state)
{
    (void)state;
    if (!control) skip();
    double losses[HIP_PROFILE_COUNT], held_out[HIP_PROFILE_COUNT];
    struct core_hash states[HIP_PROFILE_COUNT];
    *control = fresh;
    for (enum hip_profile profile = 0; profile < HIP_PROFILE_COUNT; profile++) {
        struct fixture *f = fixture_open();
        struct hip_device *device;
        struct trainer *trainer;
        char why[CONFIG_WHY_SIZE];
        const unsigned long before = control->products;
        inner_state_reset(&f->state);
        f->hyper.warmup_steps = 2;
        f->task.steps = f->task.total_steps = 60;
        assert_int_equal(hip_device_open("nvidia", NULL, &device), CORE_ERR_OK);
        assert_int_equal(trainer_open(&trainer, device, &config, 0, why), CORE_ERR_OK);
        trainer_set_profile(trainer, profile);
        assert_int_equal(trainer_train_local(trainer, &f->task, &f->state, f->params, &f->result), CORE_ERR_OK);
        assert_int_equal(trainer_evaluate(trainer, f->params, &f->data, 4, NULL, NULL, held_out + profile),
                         CORE_ERR_OK);
        assert_int_equal(control->products > before, profile == HIP_PROFILE_FAST_BF16);
        losses[profile] = f->result.loss;
        states[profile] = inner_state_hash(&f->state);
        trainer_close(trainer);
        hip_device_close(device);
        fixture_close(f);
    }
    printf("mean loss of 60 steps: %.5f in repro-fp32, %.5f in fast-bf16; held out %.5f, %.5f\n", losses[0], losses[1],
           held_out[0], held_out[1]);
    assert_true(losses[0] < 5.0 && held_out[0] < losses[0]);
    assert_true(fabs(losses[0] - losses[1]) < 0.01 && fabs(held_out[0] - held_out[1]) < 0.01);
    assert_false(hash_equal(states, states + 1));
}

static int setup(void **state)
{
    (void)state;
    control = fake_use();
    if (control) fresh = *control;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failure_leaves_the_state),
        cmocka_unit_test(memory_that_runs_out_is_said),
        cmocka_unit_test(the_cpu_takes_over_with_the_same_bits),
        cmocka_unit_test(fast_bf16_learns_what_repro_fp32_learns),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
