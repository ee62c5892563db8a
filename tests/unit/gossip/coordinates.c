// Vivaldi: that predictions come true on networks whose round trips are known, and that liars move nobody far.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/philox.h"
#include "gossip/coordinates.h"

enum { PEERS = 60 };

static struct coordinates peers[PEERS];

// Three sites on a line, 40 and 80 ms apart; inside a site 1 ms; every third peer is behind a slow access of 10 ms.
static uint64_t truth_us(uint32_t a, uint32_t b)
{
    const uint64_t apart = a / 20 > b / 20 ? a / 20 - b / 20 : b / 20 - a / 20;
    return 1000 + 40000 * apart + (a % 3 == 0 ? 10000 : 0) + (b % 3 == 0 ? 10000 : 0);
}

static void settle(uint64_t seed, uint32_t rounds, uint32_t jitter_us)
{
    struct rng rng = rng_from(seed, 1);
    for (uint32_t i = 0; i < PEERS; i++) coordinates_open(&peers[i], seed * 1000 + i);
    for (uint32_t round = 0; round < rounds; round++)
        for (uint32_t a = 0; a < PEERS; a++) {
            const uint32_t b = (uint32_t)rng_below(&rng, PEERS);
            if (a == b) continue;
            const struct coordinates_point at = coordinates_rounded(&peers[b]);
            const uint64_t us = truth_us(a, b) + (jitter_us ? rng_below(&rng, jitter_us) : 0);
            assert_true(coordinates_update(&peers[a], &at, us));
        }
}

// The median relative error of all predictions, in percent.
static uint32_t median_error(void)
{
    static uint32_t bins[1001];
    memset(bins, 0, sizeof bins);
    uint32_t pairs = 0;
    for (uint32_t a = 0; a < PEERS; a++)
        for (uint32_t b = 0; b < a; b++) {
            const struct coordinates_point pa = coordinates_rounded(&peers[a]), pb = coordinates_rounded(&peers[b]);
            const uint64_t said = coordinates_distance_us(&pa, &pb), is = truth_us(a, b);
            const uint64_t error = 100 * (said > is ? said - is : is - said) / is;
            bins[error < 1000 ? error : 1000]++;
            pairs++;
        }
    uint32_t at = 0;
    for (uint32_t seen = bins[0]; 2 * seen < pairs;) seen += bins[++at];
    return at;
}

static void predictions_come_true(void **state)
{
    (void)state;
    settle(1, 200, 0);
    const uint32_t quiet = median_error();
    settle(2, 200, 4000);
    const uint32_t noisy = median_error();
    print_message("median error %u %%, with 4 ms of jitter %u %%\n", quiet, noisy);
    assert_true(quiet <= 10 && noisy <= 20);
    for (uint32_t i = 0; i < PEERS; i++) assert_true(coordinates_rounded(&peers[i]).error < 400);
}

static void liars_are_refused_or_bounded(void **state)
{
    (void)state;
    settle(3, 200, 0);
    const struct coordinates_point before = coordinates_rounded(&peers[1]);
    struct coordinates_point lie = before;
    lie.at_us[0] = COORDINATES_MAX_US + 1;
    assert_false(coordinates_update(&peers[1], &lie, 1000));
    lie = before;
    lie.error = 1001;
    assert_false(coordinates_update(&peers[1], &lie, 1000));
    lie = before;
    lie.height_us = UINT32_MAX;
    assert_false(coordinates_update(&peers[1], &lie, 1000));
    assert_false(coordinates_update(&peers[1], &before, 0));
    assert_false(coordinates_update(&peers[1], &before, COORDINATES_MAX_US + 1));
    struct coordinates_point now = coordinates_rounded(&peers[1]);
    assert_memory_equal(&now, &before, sizeof now);
    // The farthest place, claimed with certainty: a step at a time.
    lie = (struct coordinates_point){{COORDINATES_MAX_US, -COORDINATES_MAX_US, COORDINATES_MAX_US}, 0, 0};
    assert_true(coordinates_update(&peers[1], &lie, 1));
    now = coordinates_rounded(&peers[1]);
    const struct coordinates_point flat_now = {{now.at_us[0], now.at_us[1], now.at_us[2]}, 0, 0};
    const struct coordinates_point flat = {{before.at_us[0], before.at_us[1], before.at_us[2]}, 0, 0};
    assert_true(coordinates_distance_us(&flat_now, &flat) <= COORDINATES_STEP_US + 2);
    // However often and whatever it says, coordinates stay numbers within the limits.
    struct rng rng = rng_from(9, 9);
    for (uint32_t i = 0; i < 100000; i++) {
        for (uint32_t k = 0; k < COORDINATES_DIMENSIONS; k++)
            lie.at_us[k] = (int32_t)rng_below(&rng, 2 * COORDINATES_MAX_US + 1) - COORDINATES_MAX_US;
        lie.height_us = (uint32_t)rng_below(&rng, COORDINATES_MAX_US + 1);
        lie.error = (uint32_t)rng_below(&rng, 1001);
        coordinates_update(&peers[1], &lie, 1 + rng_below(&rng, COORDINATES_MAX_US));
        uint8_t bytes[COORDINATES_SIZE];
        now = coordinates_rounded(&peers[1]);
        coordinates_write(bytes, &now);
        assert_int_equal(coordinates_read(&lie, (struct slice){bytes, sizeof bytes}), CORE_ERR_OK);
        assert_memory_equal(&lie, &now, sizeof now);
    }
}

static void two_at_one_place_part(void **state)
{
    (void)state;
    struct coordinates a, b;
    coordinates_open(&a, 1);
    coordinates_open(&b, 2);
    for (uint32_t i = 0; i < 200; i++) {
        const struct coordinates_point of_b = coordinates_rounded(&b), of_a = coordinates_rounded(&a);
        coordinates_update(&a, &of_b, 30000);
        coordinates_update(&b, &of_a, 30000);
    }
    const struct coordinates_point of_a = coordinates_rounded(&a), of_b = coordinates_rounded(&b);
    assert_in_range(coordinates_distance_us(&of_a, &of_b), 27000, 33000);
}

// 3-4-12: |(3,4,12)| = 13; worked out by hand, as are the bytes.
static void distances_and_bytes_are_whole_numbers(void **state)
{
    (void)state;
    const struct coordinates_point a = {{1000, -2000, 3000}, 7, 1000}, b = {{4000, 2000, 15000}, 11, 50};
    assert_int_equal(coordinates_distance_us(&a, &b), 13018);
    assert_int_equal(coordinates_distance_us(&b, &a), 13018);
    const struct coordinates_point ends[2] = {{{-COORDINATES_MAX_US, -COORDINATES_MAX_US, -COORDINATES_MAX_US}, 0, 0},
                                              {{COORDINATES_MAX_US, COORDINATES_MAX_US, COORDINATES_MAX_US}, 0, 0}};
    assert_int_equal(coordinates_distance_us(&ends[0], &ends[1]), 34641016);
    uint8_t bytes[COORDINATES_SIZE];
    coordinates_write(bytes, &a);
    static const uint8_t expected[] = {0xe8, 3, 0, 0, 0x30, 0xf8, 0xff, 0xff, 0xb8, 0x0b,
                                       0,    0, 7, 0, 0,    0,    0xe8, 3,    0,    0};
    assert_memory_equal(bytes, expected, sizeof expected);
    struct coordinates_point back;
    assert_int_equal(coordinates_read(&back, (struct slice){bytes, sizeof bytes - 1}), CORE_ERR_MALFORMED);
    assert_int_equal(coordinates_read(&back, (struct slice){bytes, 0}), CORE_ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(predictions_come_true),
        cmocka_unit_test(liars_are_refused_or_bounded),
        cmocka_unit_test(two_at_one_place_part),
        cmocka_unit_test(distances_and_bytes_are_whole_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
