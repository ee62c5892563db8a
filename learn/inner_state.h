// What AdamW and error feedback carry from round to round: moments m and v, the residual, the count of steps. Owned by
// whoever opened it; committed by hash, saved and restored as one blob.
#ifndef LEARN_INNER_STATE_H
#define LEARN_INNER_STATE_H

#include "learn/tensors.h"

struct inner_state {
    uint64_t elements;  // of each vector: tensors_elements
    uint64_t steps;     // taken since the state was fresh; AdamW's bias correction counts them
    float *m, *v, *residual;
};

CORE_MUST_USE enum core_err inner_state_open(struct inner_state *state, const struct model_config *config);
void inner_state_close(struct inner_state *state);
// All zero: a fresh state.
void inner_state_reset(struct inner_state *state);
// Only moments and steps start anew (a run that does not carry them); the residual stays.
void inner_state_reset_moments(struct inner_state *state);
void inner_state_copy(struct inner_state *to, const struct inner_state *from);

// The blob: u8 version 1, u64 steps, then m, v and residual as little-endian fp32, padding included.
uint64_t inner_state_size(const struct model_config *config);  // bytes
void inner_state_encode(struct writer *w, const struct inner_state *state);
// For bytes from disk: UNKNOWN_VERSION, TRUNCATED or MALFORMED (a number that is not finite); the state is then reset.
CORE_MUST_USE enum core_err inner_state_decode(struct slice blob, struct inner_state *state);

// state_in and state_out of a commit: the Merkle root of four parts, tensors_hash_part of version and steps, of m, of v
// and of the residual.
struct core_hash inner_state_hash(const struct inner_state *state);

#endif
