// An update on its way: the pseudo-gradient in `bits` bits with one power-of-two scale a tensor and error feedback.
//   wanted = decay * residual + (start - end);  q = clamp(round_half_even(wanted * 2^-e), -limit, limit);
//   residual = wanted - q * 2^e;                limit = 2^(bits-1) - 1
// e is the tensor's exponent, named by the round's manifest. Every product by a power of two is exact.
// Pure; any thread.
#ifndef LEARN_COMPRESS_H
#define LEARN_COMPRESS_H

#include "learn/tensors.h"

enum { COMPRESS_EXPONENT_MIN = -60, COMPRESS_EXPONENT_MAX = 20 };

static inline int32_t compress_limit(uint8_t bits) { return (1 << (bits - 1)) - 1; }

// Exponents of the first round, from the inner rates of its steps: AdamW moves an element by about the rate a step.
void compress_first_exponents(const struct model_config *config, const struct hyper_parameters *hyper,
                              uint64_t total_steps, int8_t *exponents);

// Exponents after an aggregate: the range becomes twice its largest mean, rounded up to a power of two (the maximum alone
// could lock in saturation). `largest[t]` is the largest |sum| in tensor t, `weight` the aggregate's total weight.
void compress_next_exponents(const struct model_config *config, uint8_t bits, const int8_t *exponents,
                             const int64_t *largest, uint64_t weight, int8_t *next);

// Elements [first, first + count) (both multiples of TENSORS_ALIGN) of all four vectors, each a whole flat vector.
// NON_FINITE where start - end is not finite; `residual` and `update` are then half written.
CORE_MUST_USE enum core_err compress_quantise(const struct model_config *config, uint8_t bits, float decay,
                                              const int8_t *exponents, const float *start, const float *end,
                                              uint64_t first, uint64_t count, float *residual, int8_t *update);

// Bytes of `count` elements on the wire: count * bits / 8, rounded up.
uint64_t compress_packed_size(uint64_t count, uint8_t bits);
// Two's complement, lowest bits first. Elements lie within the limit of `bits`.
void compress_pack(const int8_t *elements, uint64_t count, uint8_t bits, uint8_t *packed);
// MALFORMED for a wrong size, a value outside the limit or bits set after the last element.
CORE_MUST_USE enum core_err compress_unpack(struct slice packed, uint64_t count, uint8_t bits, int8_t *elements);

#endif
