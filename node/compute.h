// What the compute worker owns: the device, the trainer of the model in use, and its share of the machine's cpus. The
// loop says what share this peer should have; the worker takes it over between two jobs, never within one.
#ifndef NODE_COMPUTE_H
#define NODE_COMPUTE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "hip/device.h"
#include "learn/trainer.h"
#include "sched/share.h"

struct compute {
    // Loop and worker, under the mutex.
    pthread_mutex_t mutex;
    struct sched_share wanted;
    bool changed;
    char why[CONFIG_WHY_SIZE];  // of the last failure to open a trainer
    // Worker only.
    struct sched_share share;
    struct hip_device *device;
    struct trainer *trainer;
    struct model_config config;
    uint64_t memory_limit;  // bytes; fixed at open
};

void compute_open(struct compute *c, const struct sched_share *share, uint64_t memory_limit);
void compute_close(struct compute *c);  // after the worker has ended
// Loop: what the worker should use from its next job on.
void compute_share_set(struct compute *c, const struct sched_share *share);
void compute_why(struct compute *c, char out[CONFIG_WHY_SIZE]);

// Worker: the trainer for `config`, opened anew where model or share changed.
CORE_MUST_USE enum core_err compute_trainer(struct compute *c, const struct model_config *config, struct trainer **out);

#endif
