// The order of the data: which windows of the text a trainer sees is a pure function of (seed, round, step, slot,
// index), so anyone can replay it. Bytes are tokens. Pure; any thread.
#ifndef LEARN_DATA_H
#define LEARN_DATA_H

#include "learn/config.h"

// Views of the caller's bytes, which outlive whatever uses them.
struct dataset {
    const uint8_t *train;
    uint64_t train_size;
    const uint8_t *held_out;
    uint64_t held_out_size;
};

// One text, its last tenth held out.
struct dataset data_split(const uint8_t *text, uint64_t size);

// TOO_SHORT, with numbers in `why` (CONFIG_WHY_SIZE bytes), unless each part holds a window of context + 1 bytes.
CORE_MUST_USE enum core_err data_check(const struct dataset *data, const struct model_config *config, char *why);

// One step's batch: `tokens` receives [batch, context + 1] bytes; position t predicts t + 1.
void data_batch(const struct dataset *data, const struct model_config *config, uint64_t seed, uint32_t round,
                uint32_t step, uint32_t slot, uint8_t *tokens);

// Windows that an evaluation over the held-out part reads: `wanted` evenly spaced, fewer where the part is short;
// `wanted` 0: every one, side by side (what is left at the end, less than a window, is not read).
uint64_t data_held_out_windows(const struct dataset *data, const struct model_config *config, uint64_t wanted);
// Where window `index` of `windows` starts in the held-out part; it is context + 1 bytes long.
uint64_t data_held_out_start(const struct dataset *data, const struct model_config *config, uint64_t windows,
                             uint64_t index);

#endif
