// The log's codec: chains, torn tails at every byte, changed bytes, heads. The example is docs/record-format.md's, made
// with Python's struct and hashlib.blake2b from the byte table.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "ledger/log.h"

enum { ENTRIES = 4, ROOM = 4096 };

struct sample {
    uint8_t bytes[ROOM];
    size_t ends[ENTRIES];
    struct core_hash last[ENTRIES];
    size_t size;
};

static struct slice text(const char *s)
{
    return (struct slice){(const uint8_t *)s, strlen(s)};
}

static void make(struct sample *s)
{
    static const char *const values[ENTRIES] = {"first value", "", "third", "the last of them"};
    struct writer w = writer_over(s->bytes, sizeof s->bytes);
    struct core_hash previous = {{0}};
    for (uint32_t i = 0; i < ENTRIES; i++) {
        struct ledger_entry e = {.kind = (uint8_t)(i % 2),
                                 .number = i,
                                 .height = 10 + 2 * i,
                                 .previous = previous,
                                 .value = text(values[i]),
                                 .certificate = text("quorum")};
        size_t before = w.size;
        previous = ledger_entry_write(&w, &e);
        assert_int_equal(w.size - before, ledger_entry_size(e.value.size, e.certificate.size));
        s->ends[i] = w.size;
        s->last[i] = previous;
    }
    assert_false(w.overflowed);
    s->size = w.size;
}

static void reads_what_was_written(void **state)
{
    (void)state;
    struct sample s;
    make(&s);
    struct ledger_reader r = ledger_reader_over((struct slice){s.bytes, s.size});
    struct ledger_entry e;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        assert_int_equal(ledger_reader_next(&r, &e), CORE_ERR_OK);
        assert_int_equal(e.number, i);
        assert_int_equal(e.height, 10 + 2 * i);
        assert_int_equal(r.at, s.ends[i]);
        assert_true(hash_equal(&r.last, &s.last[i]));
        struct core_hash value = hash_bytes(e.value.data, e.value.size);
        assert_true(hash_equal(&value, &e.value_hash));
    }
    assert_memory_equal(e.value.data, "the last of them", e.value.size);
    assert_int_equal(ledger_reader_next(&r, &e), CORE_ERR_NOT_FOUND);
}

// A crash in mid-append, after every possible byte, and with the file lengthened by zeros.
static void torn_tails_are_cut(void **state)
{
    (void)state;
    struct sample s;
    make(&s);
    for (size_t size = 0; size < s.size; size++) {
        uint32_t whole = 0;
        while (whole < ENTRIES && s.ends[whole] <= size) whole++;
        size_t end = whole ? s.ends[whole - 1] : 0;
        for (int zeros = 0; zeros < 2; zeros++) {
            uint8_t copy[ROOM] = {0};
            memcpy(copy, s.bytes, size);
            // Zeros in the place of what was not written: the file's length was written before its bytes.
            size_t length = zeros ? s.ends[whole] : size;
            struct ledger_reader r = ledger_reader_over((struct slice){copy, length});
            enum core_err err = ledger_log_check(&r, NULL);
            assert_int_equal(err, length == end ? CORE_ERR_OK : CORE_ERR_TRUNCATED);
            assert_int_equal(r.count, whole);
            assert_int_equal(r.at, end);
        }
    }
}

// Any changed byte before the last entry is an error that names its entry; never a shorter log.
static void changed_bytes_are_found(void **state)
{
    (void)state;
    struct sample s;
    make(&s);
    for (size_t i = 0; i < s.ends[ENTRIES - 2]; i++) {
        uint32_t entry = 0;
        while (s.ends[entry] <= i) entry++;
        size_t start = entry ? s.ends[entry - 1] : 0;
        for (int bit = 0; bit < 8; bit++) {
            s.bytes[i] ^= (uint8_t)(1 << bit);
            struct ledger_reader r = ledger_reader_over((struct slice){s.bytes, s.size});
            enum core_err err = ledger_log_check(&r, NULL);
            // A changed size may look like an entry that is being written; the head, below, knows better.
            if (i - start >= 4)
                assert_true(err != CORE_ERR_OK && err != CORE_ERR_TRUNCATED);
            else
                assert_int_not_equal(err, CORE_ERR_OK);
            assert_int_equal(r.count, entry);
            struct ledger_head head = {.count = ENTRIES, .height = 16, .last = s.last[ENTRIES - 1]};
            r = ledger_reader_over((struct slice){s.bytes, s.size});
            err = ledger_log_check(&r, &head);
            assert_true(err != CORE_ERR_OK && err != CORE_ERR_TRUNCATED);
            s.bytes[i] ^= (uint8_t)(1 << bit);
        }
    }
}

static void order_matters(void **state)
{
    (void)state;
    struct sample s;
    make(&s);
    // Without the first entry, and with the second one twice.
    struct ledger_reader r = ledger_reader_over((struct slice){s.bytes + s.ends[0], s.size - s.ends[0]});
    assert_int_equal(ledger_log_check(&r, NULL), CORE_ERR_VERIFY_FAILED);
    uint8_t twice[ROOM];
    memcpy(twice, s.bytes, s.ends[1]);
    memcpy(twice + s.ends[1], s.bytes + s.ends[0], s.ends[1] - s.ends[0]);
    r = ledger_reader_over((struct slice){twice, 2 * s.ends[1] - s.ends[0]});
    assert_int_equal(ledger_log_check(&r, NULL), CORE_ERR_VERIFY_FAILED);
    assert_int_equal(r.count, 2);
}

static void heads(void **state)
{
    (void)state;
    struct sample s;
    make(&s);
    uint8_t seed[CORE_SEED_SIZE] = {9}, bytes[LEDGER_HEAD_SIZE];
    struct core_key key = sign_key_from_seed(seed);
    struct ledger_head head = {.run = hash_bytes("run", 3), .count = 3, .height = 14, .last = s.last[2]}, read;
    struct writer w = writer_over(bytes, sizeof bytes);
    ledger_head_write(&w, &head, &key);
    assert_int_equal(w.size, LEDGER_HEAD_SIZE);
    assert_int_equal(ledger_head_read((struct slice){bytes, w.size}, &read), CORE_ERR_OK);
    assert_int_equal(read.count, 3);
    assert_true(id_equal(&read.owner, &key.id));
    // One entry more than the head: it was appended, and the head not yet replaced.
    struct ledger_reader r = ledger_reader_over((struct slice){s.bytes, s.size});
    assert_int_equal(ledger_log_check(&r, &read), CORE_ERR_OK);
    assert_int_equal(r.count, ENTRIES);
    r = ledger_reader_over((struct slice){s.bytes, s.ends[2] + 5});
    assert_int_equal(ledger_log_check(&r, &read), CORE_ERR_TRUNCATED);
    // Fewer than the head.
    r = ledger_reader_over((struct slice){s.bytes, s.ends[1]});
    assert_int_equal(ledger_log_check(&r, &read), CORE_ERR_VERIFY_FAILED);
    assert_int_equal(r.count, 2);
    // Another history of the same length.
    read.last.bytes[0] ^= 1;
    r = ledger_reader_over((struct slice){s.bytes, s.size});
    assert_int_equal(ledger_log_check(&r, &read), CORE_ERR_VERIFY_FAILED);
    assert_int_equal(r.count, 2);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 4;
        assert_int_not_equal(ledger_head_read((struct slice){bytes, sizeof bytes}, &read), CORE_ERR_OK);
        bytes[i] ^= 4;
    }
    assert_int_equal(ledger_head_read((struct slice){bytes, sizeof bytes - 1}, &read), CORE_ERR_MALFORMED);
}

static void documented_example(void **state)
{
    (void)state;
    static const char hex[] = "83000000010100000000000000000200000000000000bddd813c634239723171"
                              "ef3fee98579b94964e3bb1cb3e427262c8c068d5231900000000000000000000"
                              "0000000000000000000000000000000000000000000003000000616263020000"
                              "000102461c56b55084a5e5957fcaef11bf37a66d637cc589c6fa6bc27e3109b8"
                              "1e7447";
    uint8_t bytes[131], again[131];
    assert_true(hex_decode(bytes, sizeof bytes, hex));
    struct ledger_reader r = ledger_reader_over((struct slice){bytes, sizeof bytes});
    struct ledger_entry e;
    assert_int_equal(ledger_reader_next(&r, &e), CORE_ERR_OK);
    assert_int_equal(e.kind, 1);
    assert_int_equal(e.height, 2);
    assert_int_equal(e.value.size, 3);
    assert_memory_equal(e.value.data, "abc", 3);
    struct writer w = writer_over(again, sizeof again);
    ledger_entry_write(&w, &e);
    assert_false(w.overflowed);
    assert_memory_equal(again, bytes, sizeof bytes);
}

int main(void)
{
    if (sign_start() != CORE_ERR_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(torn_tails_are_cut),
        cmocka_unit_test(changed_bytes_are_found),
        cmocka_unit_test(order_matters),
        cmocka_unit_test(heads),
        cmocka_unit_test(documented_example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
