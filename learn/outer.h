// The outer step: exact sums in, new parameters out (DiLoCo, arXiv 2311.08105; momentum 0 is plain averaging).
//   mean = (float)((double)sum / (double)weight * 2^e)      each operation rounded to nearest even
//   momentum = fma(mu, momentum, mean);  u = fma(mu, momentum, mean);  params = fma(-rate, u, params)
// With mu = 0: u = mean. The same bits as the device's hip_outer_step. Element-wise, so any split gives the same.
// Pure; any thread; two threads may work on ranges that don't overlap.
#ifndef LEARN_OUTER_H
#define LEARN_OUTER_H

#include "learn/tensors.h"

struct outer_step {
    const struct model_config *config;
    float rate, momentum;
    uint64_t weight;          // total weight of the contributions summed, > 0
    const int8_t *exponents;  // one a tensor, those of the round's manifest
};

// Elements [first, first + count), both multiples of TENSORS_ALIGN. `sums` points at element `first`; `params` and
// `momentum` are whole flat vectors, changed in place (`momentum` may be NULL when step->momentum is 0).
// `largest` (one a tensor, zeroed by the caller before the first range) becomes the maximum of itself and |sum|.
// NON_FINITE when a parameter would not be finite, MALFORMED for a |sum| of 2^53 or more (nobody honest sent it);
// `params` and `momentum` are then half changed.
CORE_MUST_USE enum core_err outer_apply(const struct outer_step *step, const int64_t *sums, uint64_t first,
                                        uint64_t count, float *params, float *momentum, int64_t *largest);

// Hash of the outer state: the momentum vector as tensors_hash, or the hash of nothing without momentum.
struct core_hash outer_hash(const struct model_config *config, float momentum_rate, const float *momentum);

#endif
