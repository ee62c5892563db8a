// Toy training for the simulator: integer functions of what the real ones depend on (parameters, slot, round, inner
// state), cheap and sensitive to every bit. Pure.
#ifndef TOOLS_SIM_TOY_H
#define TOOLS_SIM_TOY_H

#include "core/hash.h"
#include "learn/work.h"

struct core_hash toy_hash(const uint32_t *params, uint64_t elements);
void toy_first_params(uint64_t seed, uint32_t *params, uint64_t elements);
// Tokens a step of a slot: weights differ, so that a wrong one shows.
uint64_t toy_weight(uint32_t slot);
// The slot's update and its next inner state (0: fresh).
void toy_train(const struct work_train *work, uint64_t state, int8_t *update, uint64_t *next_state);
struct core_hash toy_state_hash(uint64_t state);
// `params` change in place; `exponents` become the next round's.
void toy_apply(uint32_t *params, uint64_t elements, const int64_t *sums, uint64_t weight, int8_t *exponents,
               uint32_t tensors);

// The naive twin of what the mesh computes: one loop over the contributions, weights by trial division.
void toy_weights(uint32_t *weights, const uint64_t *raw, uint32_t count);

#endif
