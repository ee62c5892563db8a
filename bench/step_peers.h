// Other people's training steps, measured as ours: bench/peers/step_{torch,jax}.py, installed by
// bench/peers/compute.sh. One thread.
#ifndef BENCH_STEP_PEERS_H
#define BENCH_STEP_PEERS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "learn/config.h"

enum { STEP_PEERS = 3, STEP_WHY_SIZE = 256 };

struct step_peer {
    const char *name;  // "PyTorch compiled"
    pid_t pid;
    FILE *to, *from;
};

// Starts number `which` with the model's shapes on so many threads. False with `why` where it isn't installed.
bool step_peer_open(struct step_peer *peer, uint32_t which, const struct model_config *config, uint32_t threads,
                    char why[STEP_WHY_SIZE]);
// Takes `steps` steps; their seconds. The first of all compiles. False: it ended (its log says why).
bool step_peer_run(struct step_peer *peer, uint32_t steps, double *seconds);
void step_peer_close(struct step_peer *peer);

#endif
