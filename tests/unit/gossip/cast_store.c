// What broadcasts are remembered by: the key map beside a naive twin, the store's bounds, the token bucket.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/effect.h"
#include "core/philox.h"
#include "gossip/bucket.h"
#include "gossip/cast_store.h"
#include "gossip/key_map.h"

enum { KEYS = 512 };

static void a_map_is_as_its_naive_twin(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct key_map map;
        key_map_open(&map, seed);
        struct rng rng = rng_from(seed, 5);
        uint32_t values[KEYS];
        bool there[KEYS] = {false};
        uint32_t count = 0;
        for (uint32_t turn = 0; turn < 50000; turn++) {
            const uint32_t k = (uint32_t)rng_below(&rng, KEYS);
            const uint64_t key = (uint64_t)k << (seed == 3 ? 48 : 0);  // keys that differ in high bits only
            if (rng_below(&rng, 2)) {
                assert_true(key_map_put(&map, key, turn));
                count += !there[k];
                there[k] = true;
                values[k] = turn;
            } else {
                key_map_remove(&map, key);
                count -= there[k];
                there[k] = false;
            }
            assert_int_equal(map.count, count);
            const uint32_t other = (uint32_t)rng_below(&rng, KEYS);
            const uint32_t *found = key_map_find(&map, (uint64_t)other << (seed == 3 ? 48 : 0));
            assert_int_equal(found != NULL, there[other]);
            if (found) assert_int_equal(*found, values[other]);
        }
        key_map_close(&map);
    }
}

static uint64_t keep(struct cast_store *s, uint32_t n, size_t size, uint64_t now_ms)
{
    static const uint8_t payload[4096];
    struct message_cast cast = {.topic = TOPIC_RUN, .repeat = n, .payload = {payload, size}};
    struct cast_entry entry = {
        .id = cast_id_of(&cast), .topic = TOPIC_RUN, .at_ms = now_ms, .payload = {payload, size}};
    const uint64_t key = cast_key(entry.id.bytes);
    cast_store_remember(s, key, 1);
    const struct cast_entry *kept = cast_store_keep(s, &entry);
    assert_int_equal(kept != NULL, size <= s->bytes_max);
    return key;
}

static void a_store_keeps_what_its_bounds_allow(void **state)
{
    (void)state;
    struct cast_store s;
    assert_int_equal(cast_store_open(&s, 8, 10000, 1), CORE_ERR_OK);
    uint64_t keys[100];
    for (uint32_t n = 0; n < 100; n++) {
        keys[n] = keep(&s, n, 100, 1000 + n);
        assert_true(s.next - s.first <= 8 && s.bytes == 100 * (s.next - s.first));
        // The last 8 can be had, the last 32 are known.
        for (uint32_t k = 0; k <= n; k++) {
            assert_int_equal(cast_store_find(&s, keys[k]) != NULL, n - k < 8);
            assert_int_equal(cast_store_seen(&s, keys[k]) != NULL, n - k < 32);
        }
    }
    keep(&s, 100, 4096, 2000);
    keep(&s, 101, 4096, 2000);
    assert_true(s.bytes <= 10000);
    const uint64_t last = keep(&s, 102, 4096, 2000);
    assert_int_equal(s.next - s.first, 2);  // the third of them displaced the first
    cast_store_expire(&s, 2000 + CAST_KEEP_MS);
    assert_non_null(cast_store_find(&s, last));
    cast_store_expire(&s, 2001 + CAST_KEEP_MS);
    assert_null(cast_store_find(&s, last));
    assert_non_null(cast_store_seen(&s, last));
    assert_int_equal(s.bytes, 0);
    cast_store_close(&s);
}

static void a_bucket_gives_its_rate(void **state)
{
    (void)state;
    struct bucket b = {0};
    uint32_t given = 0;
    for (uint32_t i = 0; i < 100; i++) given += bucket_take(&b, 1, 10, 20, 1000);
    assert_int_equal(given, 20);  // the burst
    given = 0;
    for (uint64_t ms = 1000; ms <= 11000; ms += 7) given += bucket_take(&b, 1, 10, 20, ms);
    assert_in_range(given, 99, 100);                // ten seconds at ten a second
    assert_false(bucket_take(&b, 1, 10, 20, 500));  // a clock that went back gives nothing
    assert_true(bucket_take(&b, 20, 10, 20, UINT64_C(1) << 40));
    assert_false(bucket_take(&b, 21, 10, 20, UINT64_C(1) << 41));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_is_as_its_naive_twin),
        cmocka_unit_test(a_store_keeps_what_its_bounds_allow),
        cmocka_unit_test(a_bucket_gives_its_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
