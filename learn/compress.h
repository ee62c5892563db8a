// An update on its way: the pseudo-gradient in `bits` bits with one power-of-two scale a tensor and error feedback.
//   t = (start - end) + residual;  q = t * 2^-e rounded to the nearest even integer, saturating at +-limit;
//   residual = (t - q * 2^e) * decay;  limit = 2^(bits-1) - 1
// e is the tensor's exponent, named by the round's manifest. The trainer quantises on its device (hip_quantise); here
// are the exponents and the packing for the wire. Pure; any thread.
#ifndef LEARN_COMPRESS_H
#define LEARN_COMPRESS_H

#include "learn/tensors.h"

enum { COMPRESS_EXPONENT_MIN = -60, COMPRESS_EXPONENT_MAX = 20 };

// 2^(bits-1) - 1: the largest element of an update.
int32_t compress_limit(uint8_t bits);

// Exponents of the first round, from the inner rates of its steps: AdamW moves an element by about the rate a step.
void compress_first_exponents(const struct model_config *config, const struct hyper_parameters *hyper,
                              uint64_t total_steps, int8_t *exponents);

// Exponents after an aggregate: the range becomes twice its largest mean, rounded up to a power of two (the maximum
// alone could lock in saturation). `largest[t]` is the largest |sum| in tensor t, `weight` the aggregate's total
// weight.
void compress_next_exponents(const struct model_config *config, uint8_t bits, const int8_t *exponents,
                             const int64_t *largest, uint64_t weight, int8_t *next);

// Bytes of `count` elements on the wire: count * bits / 8, rounded up.
uint64_t compress_packed_size(uint64_t count, uint8_t bits);
// Two's complement, lowest bits first. Elements lie within the limit of `bits`.
void compress_pack(const int8_t *elements, uint64_t count, uint8_t bits, uint8_t *packed);
// MALFORMED for a wrong size, a value outside the limit or bits set after the last element.
CORE_MUST_USE enum core_err compress_unpack(struct slice packed, uint64_t count, uint8_t bits, int8_t *elements);

#endif
