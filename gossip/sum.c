#include "gossip/sum.h"

#include <string.h>

#include "core/check.h"

// A block's accumulators stay in the first-level cache: 16 KiB at 64 bits.
// Contributions of a total weight of 255 fit 16 bits: 128 * 255 < 2^15.
enum { BLOCK = 2048, NARROW_WEIGHT = 255 };

// No honest element is larger: 2^31 contributions of 127 at the largest weight stay below.
static const int64_t LARGEST = (int64_t)1 << 44;
_Static_assert((uint64_t)SUM_INPUTS_MAX *SUM_WEIGHT_MAX < (uint64_t)1 << 18, "sums of LARGEST fit 63 bits");

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

void sum_weights(uint32_t *weights, const uint64_t *raw, size_t count)
{
    uint64_t factor = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        check(raw[i] < (uint64_t)1 << 56);
        factor = gcd(raw[i], factor);
        if (raw[i] > largest) largest = raw[i];
    }
    if (factor == 0) factor = 1;
    largest /= factor;
    for (size_t i = 0; i < count; i++) {
        uint64_t weight = raw[i] / factor;
        if (largest > SUM_WEIGHT_MAX && weight > 0) {
            weight = (weight * SUM_WEIGHT_MAX * 2 + largest) / (2 * largest);
            if (weight == 0) weight = 1;
        }
        weights[i] = (uint32_t)weight;
    }
}

uint32_t sum_bits(uint64_t total_weight)
{
    // 128 W <= 2^(bits - 1) holds -128 W and, as W >= 1, 127 W too.
    if (total_weight <= 1) return 8;
    if (total_weight <= (uint64_t)1 << 8) return 16;
    if (total_weight <= (uint64_t)1 << 16) return 24;
    if (total_weight <= (uint64_t)1 << 24) return 32;
    return 64;
}

bool sum_bits_valid(uint32_t bits)
{
    return bits == 8 || bits == 16 || bits == 24 || bits == 32 || bits == 64;
}

size_t sum_bytes(uint32_t bits, size_t elements)
{
    if (!sum_bits_valid(bits) || elements > SIZE_MAX / 8) return 0;
    return elements * (bits / 8);
}

// Bytes put together one by one: the compiler makes a single load of it on a little-endian machine.
static uint32_t load_u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}
static uint32_t load_u24(const uint8_t *p)
{
    return load_u16(p) | (uint32_t)p[2] << 16;
}
static uint32_t load_u32(const uint8_t *p)
{
    return load_u16(p) | load_u16(p + 2) << 16;
}
static uint64_t load_u64(const uint8_t *p)
{
    return load_u32(p) | (uint64_t)load_u32(p + 4) << 32;
}

static int64_t load_24(const uint8_t *p)
{
    return (int32_t)(load_u24(p) << 8) >> 8;
}

static void store_u16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void store_u32(uint8_t *p, uint32_t v)
{
    store_u16(p, v);
    store_u16(p + 2, v >> 16);
}

// ---- one addend into a block's accumulators ----
// The three adders are the same loop at three widths; each vectorises at the baseline instruction set.

// The first of a block's addends starts the accumulators.
static void add_16(int16_t *restrict acc, const uint8_t *restrict data, uint32_t weight, size_t n, bool first)
{
    const int16_t w = (int16_t)weight;
    if (first)
        for (size_t i = 0; i < n; i++) acc[i] = (int16_t)((int8_t)data[i] * w);
    else if (w == 1)
        for (size_t i = 0; i < n; i++) acc[i] = (int16_t)(acc[i] + (int8_t)data[i]);
    else
        for (size_t i = 0; i < n; i++) acc[i] = (int16_t)(acc[i] + (int16_t)((int8_t)data[i] * w));
}

// Partial sums have weight 1; the baseline has no 32-bit multiply, so they are added without one.
static void add_32(int32_t *restrict acc, const uint8_t *restrict data, uint32_t bits, uint32_t weight, size_t n)
{
    const int32_t w = (int32_t)weight;
    switch (bits) {
    case 8:
        // Weighted bytes fit 16 bits (128 * 63 < 2^15), where the baseline has a multiply.
        for (size_t i = 0; i < n; i++) acc[i] += (int16_t)((int8_t)data[i] * (int16_t)w);
        break;
    case 16:
        if (w == 1)
            for (size_t i = 0; i < n; i++) acc[i] += (int16_t)load_u16(data + 2 * i);
        else
            for (size_t i = 0; i < n; i++) acc[i] += (int16_t)load_u16(data + 2 * i) * w;
        break;
    default:
        check(bits == 24);
        // One load of four bytes an element, but not behind the last.
        for (size_t i = 0; i + 1 < n; i++) acc[i] += ((int32_t)(load_u32(data + 3 * i) << 8) >> 8) * w;
        if (n > 0) acc[n - 1] += (int32_t)load_24(data + 3 * (n - 1)) * w;
        break;
    }
}

// False where a 64-bit element is above LARGEST in magnitude; up to it no sum of SUM_INPUTS_MAX addends overflows.
static bool add_64(int64_t *restrict acc, const uint8_t *restrict data, uint32_t bits, uint32_t weight, size_t n)
{
    const int64_t w = weight;
    bool bad = false;
    switch (bits) {
    case 8:
        for (size_t i = 0; i < n; i++) acc[i] += (int8_t)data[i] * w;
        break;
    case 16:
        for (size_t i = 0; i < n; i++) acc[i] += (int16_t)load_u16(data + 2 * i) * w;
        break;
    case 24:
        for (size_t i = 0; i < n; i++) acc[i] += load_24(data + 3 * i) * w;
        break;
    case 32:
        if (w == 1)
            for (size_t i = 0; i < n; i++) acc[i] += (int32_t)load_u32(data + 4 * i);
        else
            for (size_t i = 0; i < n; i++) acc[i] += (int32_t)load_u32(data + 4 * i) * w;
        break;
    default:
        for (size_t i = 0; i < n; i++) {
            int64_t v = (int64_t)load_u64(data + 8 * i);
            const bool lies = v < -LARGEST || v > LARGEST;
            bad |= lies;
            acc[i] += (lies ? 0 : v) * w;
        }
        break;
    }
    return !bad;
}

// ---- accumulators to the wire; false if a value does not fit ----

static bool put_16(uint8_t *restrict out, uint32_t bits, const int16_t *restrict acc, size_t n)
{
    uint32_t bad = 0;
    switch (bits) {
    case 8:
        for (size_t i = 0; i < n; i++) {
            out[i] = (uint8_t)acc[i];
            bad |= (uint32_t)((int8_t)acc[i] != acc[i]);
        }
        break;
    case 16:
        for (size_t i = 0; i < n; i++) store_u16(out + 2 * i, (uint16_t)acc[i]);
        break;
    case 24:
        for (size_t i = 0; i < n; i++) {
            store_u16(out + 3 * i, (uint16_t)acc[i]);
            out[3 * i + 2] = (uint8_t)(acc[i] >> 15);
        }
        break;
    case 32:
        for (size_t i = 0; i < n; i++) store_u32(out + 4 * i, (uint32_t)(int32_t)acc[i]);
        break;
    default:
        for (size_t i = 0; i < n; i++) {
            store_u32(out + 8 * i, (uint32_t)(int32_t)acc[i]);
            store_u32(out + 8 * i + 4, (uint32_t)(acc[i] >> 15));
        }
        break;
    }
    return bad == 0;
}

static bool put_32(uint8_t *restrict out, uint32_t bits, const int32_t *restrict acc, size_t n)
{
    uint32_t bad = 0;
    switch (bits) {
    case 8:
        for (size_t i = 0; i < n; i++) {
            out[i] = (uint8_t)acc[i];
            bad |= (uint32_t)((int8_t)acc[i] != acc[i]);
        }
        break;
    case 16:
        for (size_t i = 0; i < n; i++) {
            store_u16(out + 2 * i, (uint16_t)acc[i]);
            bad |= (uint32_t)((int16_t)acc[i] != acc[i]);
        }
        break;
    case 24:
        for (size_t i = 0; i < n; i++) {
            store_u16(out + 3 * i, (uint32_t)acc[i]);
            out[3 * i + 2] = (uint8_t)(acc[i] >> 16);
            bad |= (uint32_t)(acc[i] < -(1 << 23) || acc[i] >= 1 << 23);
        }
        break;
    case 32:
        for (size_t i = 0; i < n; i++) store_u32(out + 4 * i, (uint32_t)acc[i]);
        break;
    default:
        for (size_t i = 0; i < n; i++) {
            store_u32(out + 8 * i, (uint32_t)acc[i]);
            store_u32(out + 8 * i + 4, (uint32_t)(acc[i] >> 31));
        }
        break;
    }
    return bad == 0;
}

static bool put_64(uint8_t *restrict out, uint32_t bits, const int64_t *restrict acc, size_t n)
{
    uint64_t bad = 0;
    const uint32_t bytes = bits / 8;
    if (bits == 32) {
        for (size_t i = 0; i < n; i++) {
            store_u32(out + 4 * i, (uint32_t)acc[i]);
            bad |= (uint64_t)(acc[i] != (int32_t)acc[i]);
        }
        return bad == 0;
    }
    for (size_t i = 0; i < n; i++) {
        const uint64_t v = (uint64_t)acc[i];
        for (uint32_t b = 0; b < bytes; b++) out[i * bytes + b] = (uint8_t)(v >> (8 * b));
        if (bits < 64) bad |= (uint64_t)(acc[i] < -((int64_t)1 << (bits - 1)) || acc[i] >= (int64_t)1 << (bits - 1));
    }
    return bad == 0;
}

// Contributions into 32 bits, by way of 16 for as many at a time as fit there: most of the work stays at that width.
static void add_bytes_32(int32_t *restrict acc, const struct sum_input *inputs, size_t count, size_t at, size_t n)
{
    int16_t narrow[BLOCK];
    for (size_t k = 0; k < count;) {
        uint32_t weights = 0;
        const size_t from = k;
        for (; k < count && weights + inputs[k].weight <= NARROW_WEIGHT; k++) {
            weights += inputs[k].weight;
            add_16(narrow, inputs[k].data + at, inputs[k].weight, n, k == from);
        }
        for (size_t i = 0; i < n; i++) acc[i] += narrow[i];
    }
}

// Partial sums of 32 bits into one of 32: the same width all the way. False where adding them in this order leaves 32
// bits somewhere, which the wide accumulators then decide.
static bool add_words(uint8_t *restrict out, const struct sum_input *inputs, size_t count, size_t at, size_t n)
{
    uint32_t acc[BLOCK], over = 0;
    for (size_t i = 0; i < n; i++) acc[i] = load_u32(inputs[0].data + 4 * (at + i));
    for (size_t k = 1; k < count; k++) {
        const uint8_t *restrict data = inputs[k].data + 4 * at;
        for (size_t i = 0; i < n; i++) {
            const uint32_t v = load_u32(data + 4 * i), sum = acc[i] + v;
            over |= (acc[i] ^ sum) & (v ^ sum);  // the sign bit: both addends have the sign that the sum has not
            acc[i] = sum;
        }
    }
    for (size_t i = 0; i < n; i++) store_u32(out + 4 * i, acc[i]);
    return over >> 31 == 0;
}

union block {
    int16_t narrow[BLOCK];
    int32_t middle[BLOCK];
    int64_t wide[BLOCK];
};

enum width { NARROW, MIDDLE, WIDE };

// The narrowest accumulator that no input can overflow; only 8-bit inputs take the narrow one.
static enum width width_for(const struct sum_input *inputs, size_t count, bool *bytes)
{
    uint64_t bound = 0;
    *bytes = true;
    for (size_t i = 0; i < count; i++) {
        *bytes &= inputs[i].bits == 8;
        if (inputs[i].bits >= 32)
            bound = UINT32_MAX;
        else
            bound += (uint64_t)inputs[i].weight << (inputs[i].bits - 1);
    }
    if (*bytes && bound <= (uint64_t)NARROW_WEIGHT << 7) return NARROW;
    return bound < (uint64_t)1 << 31 ? MIDDLE : WIDE;
}

enum core_err sum_reduce(uint8_t *out, uint32_t out_bits, const struct sum_input *inputs, size_t count, size_t elements)
{
    if (!sum_bits_valid(out_bits) || count > SUM_INPUTS_MAX) return CORE_ERR_MALFORMED;
    for (size_t k = 0; k < count; k++)
        if (!sum_bits_valid(inputs[k].bits) || inputs[k].weight == 0 || inputs[k].weight > SUM_WEIGHT_MAX)
            return CORE_ERR_MALFORMED;

    bool bytes, words = out_bits == 32 && count > 0;
    for (size_t k = 0; k < count; k++) words &= inputs[k].bits == 32 && inputs[k].weight == 1;
    const enum width width = width_for(inputs, count, &bytes);
    union block acc;
    for (size_t at = 0; at < elements; at += BLOCK) {
        const size_t n = elements - at < BLOCK ? elements - at : BLOCK;
        if (words && add_words(out + 4 * at, inputs, count, at, n)) continue;
        if (width != NARROW || count == 0) memset(&acc, 0, n << (1 + width));  // 2, 4 or 8 bytes an element
        bool ok = true;
        if (width == MIDDLE && bytes) add_bytes_32(acc.middle, inputs, count, at, n);
        for (size_t k = 0; k < count && !(width == MIDDLE && bytes); k++) {
            const struct sum_input *in = &inputs[k];
            const uint8_t *data = in->data + at * (in->bits / 8);
            if (width == NARROW)
                add_16(acc.narrow, data, in->weight, n, k == 0);
            else if (width == MIDDLE)
                add_32(acc.middle, data, in->bits, in->weight, n);
            else
                ok &= add_64(acc.wide, data, in->bits, in->weight, n);
        }
        uint8_t *to = out + at * (out_bits / 8);
        if (width == NARROW)
            ok &= put_16(to, out_bits, acc.narrow, n);
        else if (width == MIDDLE)
            ok &= put_32(to, out_bits, acc.middle, n);
        else
            ok &= put_64(to, out_bits, acc.wide, n);
        if (!ok) return CORE_ERR_TOO_LARGE;
    }
    return CORE_ERR_OK;
}

static int64_t load_any(const uint8_t *data, uint32_t bits, size_t i)
{
    switch (bits) {
    case 8: return (int8_t)data[i];
    case 16: return (int16_t)load_u16(data + 2 * i);
    case 24: return load_24(data + 3 * i);
    case 32: return (int32_t)load_u32(data + 4 * i);
    default: return (int64_t)load_u64(data + 8 * i);
    }
}

bool sum_within(const uint8_t *data, uint32_t bits, size_t elements, uint64_t total_weight)
{
    if (!sum_bits_valid(bits) || total_weight > (uint64_t)1 << 48) return false;
    const int64_t low = -128 * (int64_t)total_weight, high = 127 * (int64_t)total_weight;
    bool bad = false;
    for (size_t i = 0; i < elements; i++) {
        const int64_t v = load_any(data, bits, i);
        bad |= v < low || v > high;
    }
    return !bad;
}

enum core_err sum_unpack(int64_t *out, const uint8_t *data, uint32_t bits, size_t elements)
{
    if (!sum_bits_valid(bits)) return CORE_ERR_MALFORMED;
    for (size_t i = 0; i < elements; i++) out[i] = load_any(data, bits, i);
    return CORE_ERR_OK;
}

enum core_err sum_pack(uint8_t *out, uint32_t bits, const int64_t *values, size_t elements)
{
    if (!sum_bits_valid(bits)) return CORE_ERR_MALFORMED;
    return put_64(out, bits, values, elements) ? CORE_ERR_OK : CORE_ERR_TOO_LARGE;
}
