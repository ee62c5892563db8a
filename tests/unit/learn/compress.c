// Scales and packing of updates, the outer step, the schedule and n-grams, against naive twins in double and by hand.
#include "learn/compress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "learn/ngram.h"
#include "learn/outer.h"
#include "learn/schedule.h"

static void packing_comes_back_at_every_width(void **state)
{
    (void)state;
    int8_t elements[1000], back[1000];
    uint8_t packed[1001];
    for (uint8_t bits = 2; bits <= 8; bits++) {
        int32_t limit = compress_limit(bits);
        assert_int_equal(limit, (int32_t)exp2(bits - 1) - 1);
        for (int i = 0; i < 1000; i++) elements[i] = (int8_t)((i * 37) % (2 * limit + 1) - limit);
        for (uint64_t count = 0; count < 1000; count = count * 2 + 1) {
            uint64_t size = compress_packed_size(count, bits);
            assert_int_equal(size, (count * bits + 7) / 8);
            packed[size] = 0xa5;
            compress_pack(elements, count, bits, packed);
            assert_int_equal(packed[size], 0xa5);
            struct slice s = {packed, size};
            assert_int_equal(compress_unpack(s, count, bits, back), CORE_ERR_OK);
            assert_memory_equal(elements, back, count);
            s.size++;
            assert_int_equal(compress_unpack(s, count, bits, back), CORE_ERR_MALFORMED);
        }
    }
}

static void hostile_packings_are_malformed(void **state)
{
    (void)state;
    int8_t out[4];
    // -128 lies outside the limit; so does -8 in four bits; 4 bits after the last element must be 0.
    assert_int_equal(compress_unpack((struct slice){(const uint8_t *)"\x80", 1}, 1, 8, out), CORE_ERR_MALFORMED);
    assert_int_equal(compress_unpack((struct slice){(const uint8_t *)"\x08", 1}, 2, 4, out), CORE_ERR_MALFORMED);
    assert_int_equal(compress_unpack((struct slice){(const uint8_t *)"\x13", 1}, 1, 4, out), CORE_ERR_MALFORMED);
    assert_int_equal(compress_unpack((struct slice){(const uint8_t *)"\xf3", 1}, 2, 4, out), CORE_ERR_OK);
    assert_int_equal(out[0], 3);
    assert_int_equal(out[1], -1);
}

static void scales_cover_twice_the_last_maximum(void **state)
{
    (void)state;
    const struct model_config *config = config_preset("small");
    int8_t exponents[CONFIG_TENSORS_MAX], next[CONFIG_TENSORS_MAX];
    int64_t largest[CONFIG_TENSORS_MAX];
    uint32_t count = tensors_count(config);
    for (uint8_t bits = 2; bits <= 8; bits++) {
        for (uint64_t weight = 1; weight <= 252; weight = weight * 3 + 1) {
            for (uint32_t i = 0; i < count; i++) {
                exponents[i] = (int8_t)(-20 + (int)i);
                largest[i] = (int64_t)(weight * (uint64_t)compress_limit(bits)) >> (i % 8);
            }
            compress_next_exponents(config, bits, exponents, largest, weight, next);
            for (uint32_t i = 0; i < count; i++) {
                double most = (double)largest[i] / (double)weight * exp2(exponents[i]);
                double range = compress_limit(bits) * exp2(next[i]);
                if (largest[i] == 0)
                    assert_int_equal(next[i], exponents[i] - 1);
                else
                    assert_true(range >= 2 * most * (1 - 1e-12) && range < 4 * most * (1 + 1e-12));
            }
        }
    }
    memset(exponents, COMPRESS_EXPONENT_MAX, sizeof exponents);
    compress_next_exponents(config, 8, exponents, largest, 1, next);
    assert_int_equal(next[0], COMPRESS_EXPONENT_MAX);
}

static void first_scales_come_from_the_warm_up(void **state)
{
    (void)state;
    struct hyper_parameters hyper = hyper_defaults();
    int8_t exponents[CONFIG_TENSORS_MAX];
    // 2e-3 / 100 * (1 + ... + 10) = 1.1e-3; 127 * 2^-17 = 0.97e-3 is too little, 2^-16 is enough.
    compress_first_exponents(config_preset("small"), &hyper, 1500, exponents);
    assert_int_equal(exponents[0], -16);
    assert_int_equal(exponents[25], -16);
    hyper.bits = 4;  // 7 * 2^-12 = 1.7e-3
    compress_first_exponents(config_preset("small"), &hyper, 1500, exponents);
    assert_int_equal(exponents[0], -12);
}

static void the_schedule_warms_up_and_cools_down(void **state)
{
    (void)state;
    struct hyper_parameters hyper = hyper_defaults();
    assert_true(schedule_rate(&hyper, 0, 1500) == 2e-3f * 0.01f);
    assert_true(schedule_rate(&hyper, 99, 1500) == 2e-3f);
    for (uint64_t step = 100; step < 1500; step += 50) {
        double wanted = 2e-4 + (2e-3 - 2e-4) * 0.5 * (1 + cos(M_PI * (double)(step - 100) / 1400));
        assert_true(fabs((double)schedule_rate(&hyper, step, 1500) / wanted - 1) < 1e-5);
    }
    assert_true(fabsf(schedule_rate(&hyper, 1500, 1500) - 2e-4f) < 1e-9f);
    assert_true(schedule_rate(&hyper, 99999, 1500) == schedule_rate(&hyper, 1500, 1500));
    for (uint64_t step = 1; step < 3000; step = step * 2 + 1) {
        double wanted = 1 - pow((double)0.95f, (double)step);
        assert_true(fabs(schedule_bias_correction(0.95f, step) - wanted) < 1e-12);
    }
}

static void the_outer_step_is_an_average(void **state)
{
    (void)state;
    struct model_config config = *config_preset("small");
    config.width = 24;
    config.inner = 33;
    uint64_t n = tensors_elements(&config);
    uint32_t tensors = tensors_count(&config);
    int8_t exponents[CONFIG_TENSORS_MAX];
    int64_t largest[CONFIG_TENSORS_MAX] = {0}, split_largest[CONFIG_TENSORS_MAX] = {0};
    int64_t *sums = calloc(n, sizeof *sums);
    float *params = calloc(n, sizeof *params), *momentum = calloc(n, sizeof *momentum);
    float *split = calloc(n, sizeof *split), *split_momentum = calloc(n, sizeof *split_momentum);
    for (uint32_t i = 0; i < tensors; i++) exponents[i] = (int8_t)(-18 + (int)(i % 5));
    for (uint64_t i = 0; i < n; i++) {
        sums[i] = (int64_t)(i * 2654435761u % 1000) - 500;
        params[i] = split[i] = (float)i * 1e-4f;
        momentum[i] = split_momentum[i] = (float)(i % 7) * 1e-3f;
    }
    struct outer_step step = {&config, 0.7f, 0.9f, 12, exponents};
    assert_int_equal(outer_apply(&step, sums, 0, n, params, momentum, largest), CORE_ERR_OK);
    for (uint64_t i = 0; i < n; i++) {
        int8_t e = exponents[tensors_find(&config, i)];
        double mean = (double)sums[i] / 12 * exp2(e), mu = (double)0.9f;
        double m = mu * (double)((float)(i % 7) * 1e-3f) + mean;
        double p = (double)((float)i * 1e-4f) - (double)0.7f * (mean + mu * m);
        assert_true(fabs((double)momentum[i] - m) < 1e-8);
        assert_true(fabs((double)params[i] - p) < 1e-7 * (1 + fabs(p)));
    }
    // Any split into ranges, in any order, gives the same bits.
    for (uint64_t end = n; end > 0;) {
        uint64_t count = end > 64 * 5 ? 64 * 5 : end;
        end -= count;
        assert_int_equal(outer_apply(&step, sums + end, end, count, split, split_momentum, split_largest), CORE_ERR_OK);
    }
    assert_memory_equal(params, split, n * sizeof *params);
    assert_memory_equal(momentum, split_momentum, n * sizeof *momentum);
    for (uint32_t t = 0; t < tensors; t++) {
        struct tensor tensor = tensors_at(&config, t);
        int64_t most = 0;
        for (uint64_t i = 0; i < n; i++)
            if (tensors_find(&config, i) == t && llabs(sums[i]) > most) most = llabs(sums[i]);
        (void)tensor;
        assert_int_equal(largest[t], most);
        assert_int_equal(split_largest[t], most);
    }
    static const int64_t lies[] = {INT64_MIN, INT64_MAX, 1ll << 53};
    for (size_t i = 0; i < 3; i++) {
        sums[100] = lies[i];
        assert_int_equal(outer_apply(&step, sums, 0, n, params, momentum, largest), CORE_ERR_MALFORMED);
    }
    sums[100] = 1ll << 52;
    step.rate = 1e30f;
    exponents[0] = 20;
    assert_int_equal(outer_apply(&step, sums, 0, n, params, momentum, largest), CORE_ERR_NON_FINITE);
    free(split_momentum);
    free(split);
    free(momentum);
    free(params);
    free(sums);
}

static void n_grams_of_a_small_text(void **state)
{
    (void)state;
    struct dataset data = {(const uint8_t *)"abab", 4, (const uint8_t *)"abc", 3};
    struct ngram_losses losses;
    assert_int_equal(ngram_measure(&data, &losses), CORE_ERR_OK);
    // By hand: a 2, b 2 of 4, 2 kinds: p1(a) = p1(b) = (2 + 2/256) / 6, p1(c) = (2/256) / 6.
    // After a: b twice, 1 kind: p2(b|a) = (2 + p1) / 3. After b: a once, 1 kind: p2(c|b) = p1(c) / 2.
    // After ab: a once, 1 kind: p3(c|ab) = p2(c|b) / 2. The first byte has no context, the second one of one byte.
    double a = (2 + 2.0 / 256) / 6, c = 2.0 / 256 / 6, b2 = (2 + a) / 3, c2 = c / 2, c3 = c2 / 2;
    assert_true(fabs(losses.unigram + (2 * log(a) + log(c)) / 3) < 1e-12);
    assert_true(fabs(losses.bigram + (log(a) + log(b2) + log(c2)) / 3) < 1e-12);
    assert_true(fabs(losses.trigram + (log(a) + log(b2) + log(c3)) / 3) < 1e-12);
    data.train_size = 2;
    assert_int_equal(ngram_measure(&data, &losses), CORE_ERR_TOO_SHORT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing_comes_back_at_every_width),
        cmocka_unit_test(hostile_packings_are_malformed),
        cmocka_unit_test(scales_cover_twice_the_last_maximum),
        cmocka_unit_test(first_scales_come_from_the_warm_up),
        cmocka_unit_test(the_schedule_warms_up_and_cools_down),
        cmocka_unit_test(the_outer_step_is_an_average),
        cmocka_unit_test(n_grams_of_a_small_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
