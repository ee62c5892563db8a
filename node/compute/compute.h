// What a lane's thread owns: one device, the trainer of the model in use, and the cpus it stands on. The loop says
// which place this peer has for it; the thread takes that over between two jobs, never within one.
#ifndef NODE_COMPUTE_COMPUTE_H
#define NODE_COMPUTE_COMPUTE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hip/device.h"
#include "learn/trainer.h"
#include "sched/placement.h"

struct compute {
    // Fixed at open.
    char name[16];  // "cpu", "nvidia:0"
    const struct sched_topology *topology;
    // Loop and thread, under the mutex.
    pthread_mutex_t mutex;
    struct sched_lane wanted;
    bool changed;
    char why[CONFIG_WHY_SIZE];  // of the last failure to open a device or a trainer
    // The thread only.
    struct sched_lane place;
    struct sched_lane_binding binding;
    struct hip_device *device;
    struct trainer *trainer;
    struct model_config config;
    bool failed;           // the device did, since compute_begin
    uint64_t step_end_us;  // for compute_pace
};

void compute_open(struct compute *c, const char *name, const struct sched_topology *topology,
                  const struct sched_lane *place);
void compute_close(struct compute *c);  // after the thread has ended
// Loop: what the thread should use from its next job on.
void compute_place_set(struct compute *c, const struct sched_lane *place);
void compute_why(struct compute *c, char out[CONFIG_WHY_SIZE]);
uint32_t compute_threads(struct compute *c);

// About what that many training steps compute, 1e9 operations: products only, backward twice the forward.
double compute_gflop(const struct model_config *config, uint64_t steps);

// ---- the lane's thread ----

// A job begins: takes over a new place, forgets earlier failures.
void compute_begin(struct compute *c);
// The device, opened where it isn't.
CORE_MUST_USE enum core_err compute_device(struct compute *c, struct hip_device **out);
// The trainer for `config`, opened anew where model or place changed, to compute by `profile`.
CORE_MUST_USE enum core_err compute_trainer(struct compute *c, const struct model_config *config,
                                            enum hip_profile profile, struct trainer **out);
// Gives back what the device's work ended with, and notes where a GPU failed (not the work itself): the job is to be
// done again elsewhere.
CORE_MUST_USE enum core_err compute_judge(struct compute *c, enum core_err err);
// After each step: pauses for as long as the owner's share of the device's time asks. Returns early when cancelled.
void compute_pace(struct compute *c, const _Atomic bool *cancelled);
// Closes trainer and device: another peer's part of the machine now, or lost.
void compute_shut(struct compute *c);

#endif
