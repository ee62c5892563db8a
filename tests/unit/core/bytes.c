// Codecs, hashes, Philox and the message table against values that others published.
#include "core/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/effect.h"
#include "core/hash.h"
#include "core/philox.h"

static void codec_round_trip(void **state)
{
    (void)state;
    uint8_t raw[64];
    struct writer w = writer_over(raw, sizeof raw);
    write_u16(&w, 0x1234);
    write_u64(&w, 0x0102030405060708u);
    write_slice(&w, (struct slice){(const uint8_t *)"abc", 3});
    assert_false(w.overflowed);
    static const uint8_t expected[] = {0x34, 0x12, 8, 7, 6, 5, 4, 3, 2, 1, 3, 0, 0, 0, 'a', 'b', 'c'};
    assert_int_equal(w.size, sizeof expected);
    assert_memory_equal(raw, expected, sizeof expected);
    struct reader r = reader_over(raw, w.size);
    assert_int_equal(read_u16(&r), 0x1234);
    assert_true(read_u64(&r) == 0x0102030405060708u);
    assert_int_equal(read_slice(&r, 3).size, 3);
    assert_true(reader_finished(&r));
}

static void reader_refuses_what_is_cut_or_lies(void **state)
{
    (void)state;
    static const uint8_t lying[] = {0xff, 0xff, 0xff, 0xff, 1};
    struct reader r = reader_over(lying, sizeof lying);
    assert_int_equal(read_slice(&r, SIZE_MAX).size, 0);
    assert_true(r.failed);
    r = reader_over(lying, 3);
    assert_int_equal(read_u32(&r), 0);
    assert_true(r.failed);
    struct writer w = writer_over((uint8_t[2]){0}, 2);
    write_u32(&w, 1);
    assert_true(w.overflowed);
}

// "abc": the BLAKE2b-256 value that b2sum -l 256 prints.
static void blake2b_known_value(void **state)
{
    (void)state;
    struct core_hash expected, got = hash_bytes("abc", 3);
    assert_true(hex_decode(expected.bytes, 32, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"));
    assert_true(hash_equal(&expected, &got));
}

// Random123's kat_vectors for philox4x32-10.
static void philox_known_values(void **state)
{
    (void)state;
    struct philox_block b = philox(0, 0, 0);
    assert_true(b.word[0] == 0x6627e8d5u && b.word[1] == 0xe169c58du && b.word[2] == 0xbc57ac4cu &&
                b.word[3] == 0x9b00dbd8u);
    b = philox(UINT64_MAX, UINT64_MAX, UINT64_MAX);
    assert_true(b.word[0] == 0x408f276du && b.word[1] == 0x41c83b0eu && b.word[2] == 0xa20bc7c6u &&
                b.word[3] == 0x6d5451fdu);
}

static void outbox_copies_and_counts_drops(void **state)
{
    (void)state;
    struct outbox o;
    assert_int_equal(outbox_open(&o, 2, 4096), CORE_ERR_OK);
    uint8_t payload[3] = {1, 2, 3};
    struct message m = {.type = MESSAGE_CAST, .cast = {.payload = {payload, 3}}};
    struct core_id to = {{7}};
    outbox_send(&o, &to, &m);
    payload[0] = 9;
    assert_int_equal(o.effects[0].message.cast.payload.data[0], 1);
    outbox_cast(&o, TOPIC_RUN, (struct slice){payload, 3});
    outbox_cast(&o, TOPIC_RUN, (struct slice){payload, 3});
    assert_int_equal(o.count, 2);
    assert_int_equal(o.dropped, 1);
    outbox_close(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codec_round_trip),
        cmocka_unit_test(reader_refuses_what_is_cut_or_lies),
        cmocka_unit_test(blake2b_known_value),
        cmocka_unit_test(philox_known_values),
        cmocka_unit_test(outbox_copies_and_counts_drops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
