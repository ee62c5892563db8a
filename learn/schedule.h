// The inner learning rate of a run's step and AdamW's bias corrections: computed on the host from exact operations and
// the profile's own cosine, so every peer has the same bits. Pure; any thread.
#ifndef LEARN_SCHEDULE_H
#define LEARN_SCHEDULE_H

#include "learn/config.h"

// Rate of `step` (from 0) in a run of `total` steps: linear warm-up to inner_rate, then a cosine that reaches
// inner_rate * final_fraction at step `total`. Steps past the end keep the last rate.
float schedule_rate(const struct hyper_parameters *hyper, uint64_t step, uint64_t total);

// 1 - beta^step by repeated squaring in double, step >= 1.
double schedule_bias_correction(float beta, uint64_t step);

#endif
