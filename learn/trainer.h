// What a compute worker calls: a round's inner steps, evaluation, and the same steps again to verify them. One owner,
// one thread at a time (the device's own threads work inside). All memory is taken at trainer_open. The bits of every
// result depend on the task alone: not on threads, instruction set or what ran before.
#ifndef LEARN_TRAINER_H
#define LEARN_TRAINER_H

#include "hip/device.h"
#include "learn/data.h"
#include "learn/inner_state.h"

struct trainer;

// Called after each step (each batch of an evaluation), on the caller's thread. False stops the work: INTERRUPTED.
typedef bool trainer_hook(void *context, uint32_t step, uint32_t steps, double loss);

// Bytes that trainer_open takes, buffers on the device included.
uint64_t trainer_memory(const struct model_config *config);

// NO_MEMORY, with the needed and the available bytes in `why` (CONFIG_WHY_SIZE bytes), when the model does not fit
// (`memory_limit` bytes; 0: what the machine has). `device` outlives the trainer; `config` is copied.
CORE_MUST_USE enum core_err trainer_open(struct trainer **out, struct hip_device *device,
                                         const struct model_config *config, uint64_t memory_limit, char *why);
void trainer_close(struct trainer *trainer);
const struct model_config *trainer_config(const struct trainer *trainer);
// How the next tasks are computed: a run's profile (hip_profile_of its kernel_spec). repro-fp32 at first.
void trainer_set_profile(struct trainer *trainer, enum hip_profile profile);

struct train_task {
    const float *params;         // the manifest's, flat vector; not changed
    const struct dataset *data;  // passed data_check
    uint64_t seed;               // the run's
    uint32_t round, slot;
    uint32_t steps;        // of this round
    uint64_t first_step;   // of the run: the schedule's clock for the round's first step
    uint64_t total_steps;  // of the run
    const struct hyper_parameters *hyper;
    const int8_t *exponents;  // one a tensor, the manifest's
    trainer_hook *hook;       // or NULL
    void *hook_context;
};

struct train_result {
    double loss;          // mean over the round's tokens, nats; the mean of the steps' losses, summed in order
    uint64_t tokens;      // seen in this round
    uint64_t weight;      // of the contribution: tokens a step
    float gradient_norm;  // of the last step, before clipping
};

// Takes the steps and quantises the pseudo-gradient. `state` goes in and comes out; `update` receives tensors_elements
// int8; `end` the parameters at the end of the steps (flat vector), or NULL.
// NON_FINITE when a loss, norm or parameter is not finite; INTERRUPTED. On any error `state` is as it was.
CORE_MUST_USE enum core_err trainer_train(struct trainer *trainer, const struct train_task *task,
                                          struct inner_state *state, int8_t *update, float *end,
                                          struct train_result *result);

// The same steps without a round around them, for baselines and a peer alone: `params` is changed in place, nothing is
// quantised, the residual stays. task->params and task->exponents are not read. On an error both are as they were.
CORE_MUST_USE enum core_err trainer_train_local(struct trainer *trainer, const struct train_task *task,
                                                struct inner_state *state, float *params, struct train_result *result);

// Held-out loss in nats a byte over `windows` (data_held_out_windows; 0: all of them).
CORE_MUST_USE enum core_err trainer_evaluate(struct trainer *trainer, const float *params, const struct dataset *data,
                                             uint64_t windows, trainer_hook *hook, void *hook_context, double *loss);

#endif
