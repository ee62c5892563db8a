// Exact sums against a naive twin that adds one element at a time in 128 bits.
#include "gossip/sum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/philox.h"

enum { INPUTS = 5, ELEMENTS = 2048 + 2048 + 37 };

static void fill(uint8_t *data, size_t size, uint64_t seed)
{
    struct rng rng = rng_from(seed, 1);
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)rng_u32(&rng);
}

// The twin: sign-extended by arithmetic, not by casts.
static int64_t element(const uint8_t *data, uint32_t bits, size_t i)
{
    __int128 value = 0, scale = 1;
    for (uint32_t b = 0; b < bits / 8; b++) {
        value += scale * data[i * (bits / 8) + b];
        scale *= 256;
    }
    return (int64_t)(value >= scale / 2 ? value - scale : value);
}

static void assert_sum(const uint8_t *out, uint32_t bits, const struct sum_input *in, size_t count, size_t elements)
{
    for (size_t i = 0; i < elements; i++) {
        __int128 expected = 0;
        for (size_t k = 0; k < count; k++) expected += (__int128)element(in[k].data, in[k].bits, i) * in[k].weight;
        assert_true(expected == element(out, bits, i));
    }
}

// Every width of input into every width of output that holds it.
static void reduce_is_exact_at_every_width(void **state)
{
    (void)state;
    static const uint32_t widths[] = {8, 16, 24, 32};
    static uint8_t data[INPUTS][ELEMENTS * 8], out[ELEMENTS * 8];
    for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
        struct sum_input in[INPUTS];
        for (size_t k = 0; k < INPUTS; k++) {
            fill(data[k], sizeof data[k], 100 * w + k);
            in[k] = (struct sum_input){data[k], widths[w], (uint32_t)(1 + 31 * k % 63)};
        }
        for (uint32_t bits = 8; bits <= 64; bits += bits == 32 ? 32 : 8) {
            const enum core_err err = sum_reduce(out, bits, in, INPUTS, ELEMENTS);
            if (bits > widths[w] || bits == 64) {
                // Weights up to 63 five times are less than nine bits more.
                if (bits >= widths[w] + 16 || bits == 64) assert_int_equal(err, CORE_ERR_OK);
                if (err == CORE_ERR_OK) assert_sum(out, bits, in, INPUTS, ELEMENTS);
            } else {
                assert_int_equal(err, CORE_ERR_TOO_LARGE);
            }
        }
    }
}

static void extremes_fit_the_planned_width(void **state)
{
    (void)state;
    static const uint64_t totals[] = {1, 2, 63, 256, 257, 63 * 16, 4096, 63 * 4096};
    for (size_t t = 0; t < sizeof totals / sizeof totals[0]; t++) {
        static struct sum_input in[SUM_INPUTS_MAX];
        const uint8_t ends[2] = {0x80, 0x7f};
        size_t count = 0;
        for (uint64_t left = totals[t]; left > 0; count++) {
            in[count] = (struct sum_input){ends, 8, (uint32_t)(left > 63 ? 63 : left)};
            left -= in[count].weight;
        }
        const uint32_t bits = sum_bits(totals[t]);
        uint8_t out[16];
        assert_int_equal(sum_reduce(out, bits, in, count, 2), CORE_ERR_OK);
        assert_true(element(out, bits, 0) == -128 * (int64_t)totals[t]);
        assert_true(element(out, bits, 1) == 127 * (int64_t)totals[t]);
        assert_true(sum_within(out, bits, 2, totals[t]));
        assert_false(totals[t] > 1 && sum_within(out, bits, 2, totals[t] - 1));
        // The next narrower width is refused by the same sum.
        if (bits > 8) assert_int_equal(sum_reduce(out, bits == 64 ? 32 : bits - 8, in, count, 2), CORE_ERR_TOO_LARGE);
    }
}

// 24 ways to order four inputs, and each way to split them in two partial sums: one result.
static void order_and_shape_do_not_matter(void **state)
{
    (void)state;
    static uint8_t data[4][ELEMENTS], flat[ELEMENTS * 2], other[ELEMENTS * 2], left[ELEMENTS * 2], right[ELEMENTS * 2];
    const uint32_t weights[4] = {1, 7, 20, 63};
    struct sum_input in[4];
    for (size_t k = 0; k < 4; k++) {
        fill(data[k], sizeof data[k], 7 + k);
        in[k] = (struct sum_input){data[k], 8, weights[k]};
    }
    assert_int_equal(sum_reduce(flat, 16, in, 4, ELEMENTS), CORE_ERR_OK);
    for (int code = 0; code < 256; code++) {
        const int p[4] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6};
        if ((1 << p[0] | 1 << p[1] | 1 << p[2] | 1 << p[3]) != 15) continue;
        const struct sum_input turned[4] = {in[p[0]], in[p[1]], in[p[2]], in[p[3]]};
        assert_int_equal(sum_reduce(other, 16, turned, 4, ELEMENTS), CORE_ERR_OK);
        assert_memory_equal(flat, other, sizeof flat);
    }
    for (int set = 0; set < 16; set++) {
        struct sum_input sides[2][4];
        size_t counts[2] = {0, 0};
        for (int k = 0; k < 4; k++) sides[set >> k & 1][counts[set >> k & 1]++] = in[k];
        assert_int_equal(sum_reduce(left, 16, sides[0], counts[0], ELEMENTS), CORE_ERR_OK);
        assert_int_equal(sum_reduce(right, 16, sides[1], counts[1], ELEMENTS), CORE_ERR_OK);
        const struct sum_input both[2] = {{left, 16, 1}, {right, 16, 1}};
        assert_int_equal(sum_reduce(other, 16, both, 2, ELEMENTS), CORE_ERR_OK);
        assert_memory_equal(flat, other, sizeof flat);
    }
}

// Three sums of 32 bits into one, at random and where one order of adding leaves 32 bits and the sum does not.
static void sums_of_words_are_exact(void **state)
{
    (void)state;
    static uint8_t data[3][ELEMENTS * 4], out[ELEMENTS * 4];
    struct sum_input in[3];
    for (size_t k = 0; k < 3; k++) {
        fill(data[k], sizeof data[k], 50 + k);
        for (size_t i = 0; i < ELEMENTS; i++) data[k][4 * i + 3] = (uint8_t)(data[k][4 * i + 3] % 32);  // it fits
        in[k] = (struct sum_input){data[k], 32, 1};
    }
    assert_int_equal(sum_reduce(out, 32, in, 3, ELEMENTS), CORE_ERR_OK);
    assert_sum(out, 32, in, 3, ELEMENTS);
    const int64_t odd[3] = {INT32_MAX, 2, -3}, far[3] = {INT32_MIN, INT32_MAX, -1};
    for (size_t k = 0; k < 3; k++) {
        assert_int_equal(sum_pack(data[k] + (ELEMENTS - 1) * 4, 32, &odd[k], 1), CORE_ERR_OK);
        assert_int_equal(sum_pack(data[k], 32, &far[k], 1), CORE_ERR_OK);
    }
    assert_int_equal(sum_reduce(out, 32, in, 3, ELEMENTS), CORE_ERR_OK);
    assert_sum(out, 32, in, 3, ELEMENTS);
    assert_true(element(out, 32, ELEMENTS - 1) == INT32_MAX - 1 && element(out, 32, 0) == -2);
    assert_int_equal(sum_reduce(out, 32, in, 2, ELEMENTS), CORE_ERR_TOO_LARGE);
}

static void hostile_inputs_are_refused(void **state)
{
    (void)state;
    uint8_t data[16], out[16];
    memset(data, 0x7f, sizeof data);
    const struct sum_input widths[] = {{data, 0, 1}, {data, 12, 1}, {data, 40, 1}, {data, 8, 0}, {data, 8, 64}};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        assert_int_equal(sum_reduce(out, 64, &widths[i], 1, 2), CORE_ERR_MALFORMED);
    const struct sum_input huge[2] = {{data, 64, 1}, {data, 64, 1}};
    assert_int_equal(sum_reduce(out, 64, huge, 2, 2), CORE_ERR_TOO_LARGE);
    assert_int_equal(sum_reduce(out, 12, huge, 0, 2), CORE_ERR_MALFORMED);
    assert_int_equal(sum_reduce(out, 8, huge, 0, 2), CORE_ERR_OK);
    assert_true(out[0] == 0 && out[1] == 0);
    assert_int_equal(sum_bytes(12, 8), 0);
    assert_int_equal(sum_bytes(24, 8), 24);
    assert_int_equal(sum_bytes(8, SIZE_MAX), 0);
}

static void pack_and_unpack(void **state)
{
    (void)state;
    static const uint32_t widths[] = {8, 16, 24, 32, 64};
    for (size_t w = 0; w < 5; w++) {
        const int64_t high = (int64_t)(((uint64_t)1 << (widths[w] - 1)) - 1);
        const int64_t values[6] = {0, -1, 1, high, -high - 1, high / 3};
        int64_t back[6];
        uint8_t raw[48];
        assert_int_equal(sum_pack(raw, widths[w], values, 6), CORE_ERR_OK);
        assert_int_equal(sum_unpack(back, raw, widths[w], 6), CORE_ERR_OK);
        assert_memory_equal(values, back, sizeof values);
        for (size_t i = 0; i < 6; i++) assert_true(element(raw, widths[w], i) == values[i]);
        if (w < 4) assert_int_equal(sum_pack(raw, widths[w], &(int64_t){high + 1}, 1), CORE_ERR_TOO_LARGE);
    }
    assert_int_equal(sum_unpack(&(int64_t){0}, (uint8_t[8]){0}, 48, 1), CORE_ERR_MALFORMED);
}

static void weights_are_small_and_in_proportion(void **state)
{
    (void)state;
    uint32_t w[4];
    sum_weights(w, (uint64_t[]){768, 768, 768, 768}, 4);
    assert_true(w[0] == 1 && w[1] == 1 && w[2] == 1 && w[3] == 1);
    sum_weights(w, (uint64_t[]){768, 1536, 384, 0}, 4);
    assert_true(w[0] == 2 && w[1] == 4 && w[2] == 1 && w[3] == 0);
    // 1000 : 999 : 1 cannot stand as they are: 63, 62.937 and 0.063 are rounded, and nobody's count is lost.
    sum_weights(w, (uint64_t[]){1000, 999, 1, 500}, 4);
    assert_true(w[0] == 63 && w[1] == 63 && w[2] == 1 && w[3] == 32);
    sum_weights(w, (uint64_t[]){0, 0}, 2);
    assert_true(w[0] == 0 && w[1] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reduce_is_exact_at_every_width),
        cmocka_unit_test(extremes_fit_the_planned_width),
        cmocka_unit_test(order_and_shape_do_not_matter),
        cmocka_unit_test(hostile_inputs_are_refused),
        cmocka_unit_test(sums_of_words_are_exact),
        cmocka_unit_test(pack_and_unpack),
        cmocka_unit_test(weights_are_small_and_in_proportion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
