// Chunks, objects and pins on a real folder, with every piece of I/O failing in its turn. Roots and the index's bytes
// were computed with Python's hashlib.blake2b from the definitions in store/object.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/object.h"

enum { BIG = 2 * STORE_CHUNK_SIZE + STORE_CHUNK_SIZE / 2 };

struct fixture {
    char dir[64];
    struct store *store;
    int countdown, error;  // the I/O that fails, when countdown reaches 0; -1: never
    int calls;
    uint8_t *big;
};

static int failing(void *context, enum store_io what)
{
    struct fixture *f = context;
    f->calls++;
    // Taking away what is half written must not fail as well: the disk is full, not broken.
    if (what == STORE_IO_UNLINK || f->countdown < 0) return 0;
    return f->countdown-- == 0 ? f->error : 0;
}

static void reopen(struct fixture *f)
{
    struct store_options options = {failing, f};
    store_close(f->store);
    assert_int_equal(store_open(&f->store, f->dir, &options), CORE_ERR_OK);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/mycel-store-XXXXXX");
    if (!mkdtemp(f->dir)) return 1;
    f->countdown = -1;
    f->big = malloc(BIG);
    for (uint32_t i = 0; i < BIG; i++) f->big[i] = (uint8_t)(i * 7 + (i >> 8) + (i >> 16) * 3);
    reopen(f);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f->big);
    free(f);
    return 0;
}

static struct core_hash from_hex(const char *hex)
{
    struct core_hash h;
    assert_true(hex_decode(h.bytes, sizeof h.bytes, hex));
    return h;
}

static struct core_hash leaf_abc(void)
{
    return from_hex("4b44b5a5f9e6fafead231e4d609a8e88053a6053c087b68e24e31faf0fb8dfe7");
}

static void chunk_path(const struct fixture *f, const struct core_hash *hash, char path[256])
{
    char hex[65];
    hex_encode(hex, hash->bytes, 32);
    snprintf(path, 256, "%s/chunks/%.2s/%s", f->dir, hex, hex);
}

static uint32_t temporary_files(const struct fixture *f)
{
    char command[128], answer[16] = {0};
    snprintf(command, sizeof command, "ls %s/tmp | wc -l", f->dir);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    assert_non_null(fgets(answer, sizeof answer, p));
    pclose(p);
    return (uint32_t)strtoul(answer, NULL, 10);
}

static void chunks(void **state)
{
    struct fixture *f = *state;
    struct core_hash hash, expected = leaf_abc(), zero = {{0}};
    uint8_t out[8];
    size_t size;
    assert_false(store_has(f->store, &expected));
    assert_int_equal(store_get(f->store, &expected, out, sizeof out, &size), CORE_ERR_NOT_FOUND);
    assert_int_equal(store_put(f->store, "abc", 3, &hash), CORE_ERR_OK);
    assert_true(hash_equal(&hash, &expected));
    assert_true(store_has(f->store, &hash));
    reopen(f);
    assert_int_equal(store_get(f->store, &hash, out, sizeof out, &size), CORE_ERR_OK);
    assert_int_equal(size, 3);
    assert_memory_equal(out, "abc", 3);
    assert_int_equal(store_get(f->store, &hash, out, 2, &size), CORE_ERR_TOO_LARGE);
    assert_int_equal(store_put_checked(f->store, &zero, "abc", 3), CORE_ERR_VERIFY_FAILED);
    assert_false(store_has(f->store, &zero));
    assert_int_equal(store_put_checked(f->store, &hash, "abd", 3), CORE_ERR_VERIFY_FAILED);
    uint8_t *large = calloc(1, STORE_CHUNK_SIZE + 1);
    assert_int_equal(store_put(f->store, large, STORE_CHUNK_SIZE + 1, &hash), CORE_ERR_TOO_LARGE);
    free(large);
    assert_int_equal(store_remove(f->store, &expected), CORE_ERR_OK);
    assert_false(store_has(f->store, &expected));
    assert_int_equal(store_remove(f->store, &expected), CORE_ERR_OK);
}

static void spoilt_chunks_are_taken_away(void **state)
{
    struct fixture *f = *state;
    struct core_hash hash;
    char path[256];
    uint8_t out[8];
    size_t size;
    assert_int_equal(store_put(f->store, "abc", 3, &hash), CORE_ERR_OK);
    chunk_path(f, &hash, path);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "x", 1, 1), 1);
    close(fd);
    assert_int_equal(store_get(f->store, &hash, out, sizeof out, &size), CORE_ERR_VERIFY_FAILED);
    assert_false(store_has(f->store, &hash));
    assert_int_equal(store_put(f->store, "abc", 3, &hash), CORE_ERR_OK);
    // Cut to nothing, as a file system may leave a file after a power cut: putting it again repairs it.
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(store_put(f->store, "abc", 3, &hash), CORE_ERR_OK);
    assert_int_equal(store_get(f->store, &hash, out, sizeof out, &size), CORE_ERR_OK);
}

static struct core_hash put_sample(struct fixture *f)
{
    struct slice parts[] = {{f->big, BIG}, {(const uint8_t *)"held-out", 8}, {NULL, 0}};
    struct core_hash root, same;
    assert_int_equal(object_put(f->store, parts, 3, &root), CORE_ERR_OK);
    assert_int_equal(object_root(parts, 3, &same), CORE_ERR_OK);
    assert_true(hash_equal(&root, &same));
    return root;
}

static void objects(void **state)
{
    struct fixture *f = *state;
    struct core_hash root = put_sample(f);
    struct core_hash expected = from_hex("897e2ce6c5dc95dca60f648ec06214ffd9661a7e75f6ed19f57026be672cbf2c");
    assert_true(hash_equal(&root, &expected));
    struct object_index x;
    assert_int_equal(object_open(f->store, &root, &x), CORE_ERR_OK);
    assert_int_equal(x.part_count, 3);
    assert_int_equal(x.chunk_count, 4);
    assert_true(x.size == BIG + 8);
    assert_int_equal(object_chunk_size(&x, 0), STORE_CHUNK_SIZE);
    assert_int_equal(object_chunk_size(&x, 2), STORE_CHUNK_SIZE / 2);
    assert_int_equal(object_chunk_size(&x, 3), 8);
    assert_int_equal(object_missing(f->store, &x), 0);
    uint8_t *out = malloc(BIG);
    // Ranges around every edge.
    static const uint64_t from[] = {0,       1,  STORE_CHUNK_SIZE - 3, STORE_CHUNK_SIZE, 2 * STORE_CHUNK_SIZE - 1,
                                    BIG - 5, BIG};
    static const size_t sizes[] = {0, 1, 5, STORE_CHUNK_SIZE, STORE_CHUNK_SIZE + 7, BIG};
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            bool inside = from[i] + sizes[k] <= BIG;
            enum core_err err = object_read(f->store, &x, 0, from[i], out, sizes[k]);
            assert_int_equal(err, inside ? CORE_ERR_OK : CORE_ERR_TOO_SHORT);
            if (inside) assert_memory_equal(out, f->big + from[i], sizes[k]);
        }
    }
    assert_int_equal(object_read(f->store, &x, 1, 0, out, 8), CORE_ERR_OK);
    assert_memory_equal(out, "held-out", 8);
    uint32_t bad = 9;
    assert_int_equal(object_verify(f->store, &root, &bad), CORE_ERR_OK);
    assert_int_equal(bad, 0);
    assert_int_equal(store_remove(f->store, &x.chunks[1]), CORE_ERR_OK);
    assert_int_equal(object_missing(f->store, &x), 1);
    assert_int_equal(object_verify(f->store, &root, &bad), CORE_ERR_VERIFY_FAILED);
    assert_int_equal(bad, 1);
    assert_int_equal(object_read(f->store, &x, 0, STORE_CHUNK_SIZE, out, 1), CORE_ERR_NOT_FOUND);
    object_index_free(&x);
    free(out);
}

static void streams_in_any_portions(void **state)
{
    struct fixture *f = *state;
    struct core_hash expected = put_sample(f), root;
    static const size_t portions[] = {1000003, STORE_CHUNK_SIZE, 4096, BIG};
    for (size_t i = 0; i < sizeof portions / sizeof portions[0]; i++) {
        struct object_writer *w;
        assert_int_equal(object_writer_begin(&w, f->store), CORE_ERR_OK);
        assert_int_equal(object_writer_part(w), CORE_ERR_OK);
        for (size_t at = 0; at < BIG; at += portions[i]) {
            size_t n = BIG - at < portions[i] ? BIG - at : portions[i];
            assert_int_equal(object_writer_add(w, f->big + at, n), CORE_ERR_OK);
        }
        assert_int_equal(object_writer_part(w), CORE_ERR_OK);
        assert_int_equal(object_writer_add(w, "held-", 5), CORE_ERR_OK);
        assert_int_equal(object_writer_add(w, "out", 3), CORE_ERR_OK);
        assert_int_equal(object_writer_part(w), CORE_ERR_OK);
        assert_int_equal(object_writer_end(w, &root), CORE_ERR_OK);
        assert_true(hash_equal(&root, &expected));
    }
}

static void index_bytes(void **state)
{
    struct fixture *f = *state;
    // docs/record-format.md's example: a part "abc" and an empty one.
    static const char hex[] = "01020000000300000000000000"
                              "4b44b5a5f9e6fafead231e4d609a8e88053a6053c087b68e24e31faf0fb8dfe70000000000000000";
    uint8_t bytes[53], out[64];
    assert_true(hex_decode(bytes, sizeof bytes, hex));
    struct core_hash root = from_hex("29f534b1e11e922a8397b273d1574ed746712599a48900e926ed95c1bd73ab0c");
    struct object_index x;
    assert_int_equal(object_index_decode((struct slice){bytes, sizeof bytes}, 100, &x), CORE_ERR_OK);
    assert_true(hash_equal(&x.root, &root));
    struct writer w = writer_over(out, sizeof out);
    object_index_encode(&w, &x);
    assert_int_equal(w.size, sizeof bytes);
    assert_int_equal(object_index_size(&x), sizeof bytes);
    assert_memory_equal(out, bytes, sizeof bytes);
    object_index_free(&x);
    assert_int_equal(object_index_decode((struct slice){bytes, sizeof bytes}, 2, &x), CORE_ERR_TOO_LARGE);
    for (size_t size = 0; size < sizeof bytes; size++) {
        assert_int_not_equal(object_index_decode((struct slice){bytes, size}, 100, &x), CORE_ERR_OK);
    }
    assert_int_equal(object_put_index(f->store, &root, (struct slice){bytes, sizeof bytes}), CORE_ERR_OK);
    bytes[20] ^= 1;
    assert_int_equal(object_put_index(f->store, &root, (struct slice){bytes, sizeof bytes}), CORE_ERR_VERIFY_FAILED);
    // Served by its root like a chunk by its hash.
    size_t size;
    assert_int_equal(store_serve(f->store, &root, out, sizeof out, &size), CORE_ERR_OK);
    assert_int_equal(size, sizeof bytes);
    struct core_hash abc = leaf_abc();
    assert_int_equal(store_serve(f->store, &abc, out, sizeof out, &size), CORE_ERR_NOT_FOUND);
}

static void pins_keep_and_share(void **state)
{
    struct fixture *f = *state;
    struct slice first[] = {{(const uint8_t *)"shared", 6}, {(const uint8_t *)"first", 5}};
    struct slice second[] = {{(const uint8_t *)"shared", 6}, {(const uint8_t *)"second", 6}};
    struct slice loose[] = {{(const uint8_t *)"nobody's", 8}};
    struct core_hash a, b, c, shared = hash_leaf("shared", 6), only = hash_leaf("first", 5);
    assert_int_equal(object_put(f->store, first, 2, &a), CORE_ERR_OK);
    assert_int_equal(object_put(f->store, second, 2, &b), CORE_ERR_OK);
    assert_int_equal(object_put(f->store, loose, 1, &c), CORE_ERR_OK);
    assert_int_equal(object_pin(f->store, &a), CORE_ERR_OK);
    assert_int_equal(object_pin(f->store, &b), CORE_ERR_OK);
    assert_true(object_pinned(f->store, &a));
    assert_int_equal(object_remove(f->store, &a), CORE_ERR_OK);
    assert_false(object_pinned(f->store, &a));
    assert_true(store_has(f->store, &shared));
    assert_false(store_has(f->store, &only));
    assert_int_equal(object_verify(f->store, &b, NULL), CORE_ERR_OK);
    assert_int_equal(object_verify(f->store, &a, NULL), CORE_ERR_NOT_FOUND);
    uint64_t freed = 0;
    reopen(f);
    assert_int_equal(store_collect(f->store, &freed), CORE_ERR_OK);
    assert_true(freed == 8 + 45);  // the loose chunk and its object's index
    assert_int_equal(object_verify(f->store, &c, NULL), CORE_ERR_NOT_FOUND);
    assert_int_equal(object_verify(f->store, &b, NULL), CORE_ERR_OK);
    assert_int_equal(object_remove(f->store, &b), CORE_ERR_OK);
    assert_false(store_has(f->store, &shared));
    assert_int_equal(object_remove(f->store, &b), CORE_ERR_OK);
}

// Puts, pins and syncs; what every failure must leave whole.
static enum core_err put_all(struct fixture *f, struct core_hash *root)
{
    struct slice parts[] = {{f->big, BIG}, {(const uint8_t *)"held-out", 8}};
    enum core_err err = object_put(f->store, parts, 2, root);
    if (!err) err = object_pin(f->store, root);
    return err ? err : store_sync(f->store);
}

static void every_io_fails_once(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int error;
        enum core_err expected;
    } kinds[] = {{ENOSPC, CORE_ERR_NO_SPACE}, {EDQUOT, CORE_ERR_NO_SPACE}, {EIO, CORE_ERR_IO}};
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        struct core_hash root;
        uint64_t freed;
        int n = 0;
        for (;; n++) {
            assert_true(n < 100);
            assert_int_equal(store_collect(f->store, &freed), CORE_ERR_OK);
            f->error = kinds[kind].error;
            f->countdown = n;
            enum core_err err = put_all(f, &root);
            bool failed = f->countdown < 0;
            f->countdown = -1;
            assert_int_equal(temporary_files(f), 0);
            if (!failed) {
                assert_int_equal(err, CORE_ERR_OK);
                break;
            }
            assert_int_equal(err, kinds[kind].expected);
            // With space again the same succeeds, and what is there is right.
            assert_int_equal(put_all(f, &root), CORE_ERR_OK);
            assert_int_equal(object_verify(f->store, &root, NULL), CORE_ERR_OK);
            assert_int_equal(object_remove(f->store, &root), CORE_ERR_OK);
        }
        // Four chunks, an index and a pin make at least three pieces of I/O each.
        assert_true(n >= 18);
        assert_int_equal(object_remove(f->store, &root), CORE_ERR_OK);
    }
}

static int short_write(void *context, enum store_io what)
{
    (void)context;
    return what == STORE_IO_WRITE ? -1 : 0;
}

static void short_writes_go_on(void **state)
{
    struct fixture *f = *state;
    struct store_options options = {short_write, NULL};
    struct core_hash root;
    store_close(f->store);
    assert_int_equal(store_open(&f->store, f->dir, &options), CORE_ERR_OK);
    assert_int_equal(put_all(f, &root), CORE_ERR_OK);
    assert_int_equal(object_verify(f->store, &root, NULL), CORE_ERR_OK);
}

static void many_small_files_sync(void **state)
{
    struct fixture *f = *state;
    struct core_hash hash;
    for (uint32_t i = 0; i < 40; i++) assert_int_equal(store_put(f->store, &i, sizeof i, &hash), CORE_ERR_OK);
    assert_int_equal(store_sync(f->store), CORE_ERR_OK);
    int calls = f->calls;
    assert_int_equal(store_sync(f->store), CORE_ERR_OK);
    assert_int_equal(f->calls, calls);  // nothing new, nothing done
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chunks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(spoilt_chunks_are_taken_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(objects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(streams_in_any_portions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(index_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pins_keep_and_share, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_io_fails_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(short_writes_go_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_small_files_sync, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
