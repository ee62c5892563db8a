// Text from parameters, byte by byte, with a cache of keys and values. When the context is full its later half is read
// again and generation goes on from there. The same (parameters, prompt, temperature, seed) give the same bytes on any
// machine. One owner, one thread.
#ifndef LEARN_GENERATE_H
#define LEARN_GENERATE_H

#include "learn/tensors.h"

struct hip_device;
struct generator;

// Bytes that generator_open takes.
uint64_t generator_memory(const struct model_config *config);

// `params` (flat vector) and `device` are the caller's and outlive the generator.
CORE_MUST_USE enum core_err generator_open(struct generator **out, struct hip_device *device,
                                           const struct model_config *config, const float *params);
void generator_close(struct generator *generator);

// Starts anew from `prompt`; only its last context - 1 bytes count. An empty prompt reads as one newline.
// `temperature` 0 takes the likeliest byte each time; otherwise > 0. USAGE for a negative or non-finite one.
CORE_MUST_USE enum core_err generator_begin(struct generator *generator, struct slice prompt, float temperature,
                                            uint64_t seed);
// The next byte. NON_FINITE when the model's output is not finite.
CORE_MUST_USE enum core_err generator_next(struct generator *generator, uint8_t *byte);

#endif
