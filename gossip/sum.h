// Exact sums of quantised updates: int8 inputs times small integer weights, in integers all the way, so any tree and
// any order of arrival gives the same bits. On the wire a sum takes 8, 16, 24, 32 or 64 bits an element, little-endian
// two's complement, as narrow as the weights in it allow. Pure, any thread; the caller owns every buffer.
#ifndef GOSSIP_SUM_H
#define GOSSIP_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum {
    SUM_WEIGHT_MAX = 63,    // after sum_weights
    SUM_INPUTS_MAX = 4096,  // of one reduction
};

// One addend: a contribution (8 bits, its weight) or a partial sum (its bits, weight 1).
struct sum_input {
    const uint8_t *data;  // sum_bytes(bits, elements) bytes
    uint32_t bits;
    uint32_t weight;
};

// Contributions' integer weights: `raw` (tokens a step) divided by their common factor, then, where the largest is
// above 63, scaled so that it is 63 (rounded half up, at least 1). A raw 0 stays 0. `raw` values < 2^56.
void sum_weights(uint32_t *weights, const uint64_t *raw, size_t count);

// The width of a sum whose contributions' weights add up to `total_weight`: every int8 input fits, -128 included.
uint32_t sum_bits(uint64_t total_weight);
bool sum_bits_valid(uint32_t bits);
// Bytes of `elements` at `bits`; 0 for a width that isn't one or a product that overflows.
size_t sum_bytes(uint32_t bits, size_t elements);

// out[i] = sum over inputs of weight * input[i], stored at `out_bits`. Inputs' order does not matter.
// CORE_ERR_MALFORMED: a width or weight (0, > 63) that isn't one, or too many inputs. CORE_ERR_TOO_LARGE: a value does
// not fit `out_bits`, or a 64-bit input's is above 2^44 in magnitude (a partial that lied). `out` must not overlap an
// input; on error it is unspecified.
CORE_MUST_USE enum core_err sum_reduce(uint8_t *out, uint32_t out_bits, const struct sum_input *inputs, size_t count,
                                       size_t elements);

// True if every element of a partial lies within what contributions of `total_weight` can reach: [-128 W, 127 W].
bool sum_within(const uint8_t *data, uint32_t bits, size_t elements, uint64_t total_weight);

// Wire form to int64 and back; sum_pack gives CORE_ERR_TOO_LARGE if a value does not fit.
CORE_MUST_USE enum core_err sum_unpack(int64_t *out, const uint8_t *data, uint32_t bits, size_t elements);
CORE_MUST_USE enum core_err sum_pack(uint8_t *out, uint32_t bits, const int64_t *values, size_t elements);

#endif
