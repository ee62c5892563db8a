#include "learn/compress.h"

#include <string.h>

#include "core/check.h"
#include "learn/schedule.h"

int32_t compress_limit(uint8_t bits)
{
    check(bits >= 2 && bits <= 8);
    return (1 << (bits - 1)) - 1;
}

static int8_t clamped(int64_t exponent)
{
    if (exponent < COMPRESS_EXPONENT_MIN) return COMPRESS_EXPONENT_MIN;
    return (int8_t)(exponent > COMPRESS_EXPONENT_MAX ? COMPRESS_EXPONENT_MAX : exponent);
}

void compress_first_exponents(const struct model_config *config, const struct hyper_parameters *hyper,
                              uint64_t total_steps, int8_t *exponents)
{
    double range = 0, reach = compress_limit(hyper->bits);
    for (uint64_t step = 0; step < hyper->inner_steps; step++) range += (double)schedule_rate(hyper, step, total_steps);
    int exponent = 0;
    while (exponent > COMPRESS_EXPONENT_MIN && range <= reach / 2) {
        reach /= 2;
        exponent--;
    }
    while (exponent < COMPRESS_EXPONENT_MAX && range > reach) {
        reach *= 2;
        exponent++;
    }
    memset(exponents, exponent, tensors_count(config));
}

// The smallest d with value <= reach * 2^d.
static int64_t log2_ceiling(uint64_t value, uint64_t reach)
{
    int64_t d = 0;
    unsigned __int128 x = value, y = reach;
    while (x > y) {
        y <<= 1;
        d++;
    }
    while (x << 1 <= y) {
        x <<= 1;
        d--;
    }
    return d;
}

void compress_next_exponents(const struct model_config *config, uint8_t bits, const int8_t *exponents,
                             const int64_t *largest, uint64_t weight, int8_t *next)
{
    uint64_t reach = (uint64_t)compress_limit(bits) * weight;
    check(weight > 0 && weight < 1ull << 48);
    for (uint32_t i = 0; i < tensors_count(config); i++) {
        check(largest[i] >= 0 && largest[i] < INT64_MAX / 2);
        // Nothing at all in a tensor: look more finely, a step a round.
        int64_t shift = largest[i] ? log2_ceiling(2 * (uint64_t)largest[i], reach) : -1;
        next[i] = clamped(exponents[i] + shift);
    }
}

uint64_t compress_packed_size(uint64_t count, uint8_t bits)
{
    return (count * bits + 7) / 8;
}

void compress_pack(const int8_t *elements, uint64_t count, uint8_t bits, uint8_t *packed)
{
    uint32_t mask = (1u << bits) - 1, held = 0, held_bits = 0;
    if (bits == 8) {
        memcpy(packed, elements, count);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        held |= ((uint32_t)elements[i] & mask) << held_bits;
        held_bits += bits;
        if (held_bits < 8) continue;
        *packed++ = (uint8_t)held;
        held >>= 8;
        held_bits -= 8;
    }
    if (held_bits > 0) *packed = (uint8_t)held;
}

enum core_err compress_unpack(struct slice packed, uint64_t count, uint8_t bits, int8_t *elements)
{
    int32_t limit = compress_limit(bits);
    uint32_t mask = (1u << bits) - 1, sign = 1u << (bits - 1), held = 0, held_bits = 0;
    const uint8_t *from = packed.data;
    if (packed.size != compress_packed_size(count, bits)) return CORE_ERR_MALFORMED;
    for (uint64_t i = 0; i < count; i++) {
        if (held_bits < bits) {
            held |= (uint32_t)*from++ << held_bits;
            held_bits += 8;
        }
        int32_t value = (int32_t)((held & mask) ^ sign) - (int32_t)sign;
        if (value < -limit) return CORE_ERR_MALFORMED;
        elements[i] = (int8_t)value;
        held >>= bits;
        held_bits -= bits;
    }
    return held ? CORE_ERR_MALFORMED : CORE_ERR_OK;
}
