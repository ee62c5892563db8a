// Sealed records and packets of shared memory: what is written is read, what is changed is not; buffers.
#include "mesh/seal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "mesh/bulk_internal.h"
#include "mesh/record.h"

static uint64_t next_random = 1;

// Bytes that differ in every call and are the same in every run (splitmix64).
static void fill(void *out, size_t size)
{
    uint8_t *at = out;
    for (size_t i = 0; i < size; i++) {
        uint64_t z = next_random += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        at[i] = (uint8_t)((z ^ z >> 27) >> 32);
    }
}

// ---- keys ----

static struct seal_binding binding(void)
{
    struct seal_binding b = {.cipher = SEAL_AES_256_GCM};
    memset(b.dialler.bytes, 1, CORE_ID_SIZE);
    memset(b.listener.bytes, 2, CORE_ID_SIZE);
    memset(b.ticket.bytes, 3, CORE_HASH_SIZE);
    return b;
}

static void keys_are_bound_to_everything(void **state)
{
    (void)state;
    struct seal_binding b = binding();
    struct seal_keys first, other;
    seal_derive(&b, &first);
    assert_memory_not_equal(first.to_dialler.bytes, first.to_listener.bytes, 32);
    assert_memory_not_equal(first.dialler_proof.bytes, first.listener_proof.bytes, 32);
    uint8_t *const parts[] = {b.mesh.bytes,   b.dialler.bytes,       b.listener.bytes,
                              b.ticket.bytes, b.dialler_bytes.bytes, b.listener_bytes.bytes};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        parts[i][31] ^= 1;
        seal_derive(&b, &other);
        assert_memory_not_equal(first.to_dialler.bytes, other.to_dialler.bytes, 32);
        assert_memory_not_equal(first.dialler_proof.bytes, other.dialler_proof.bytes, 32);
        parts[i][31] ^= 1;
    }
    b.cipher = SEAL_CHACHA20_POLY1305;
    seal_derive(&b, &other);
    assert_memory_not_equal(first.to_dialler.bytes, other.to_dialler.bytes, 32);
}

// ---- records ----

static bool allow_up_to(void *context, size_t bytes)
{
    size_t *left = context;
    if (*left < bytes) return false;
    *left -= bytes;
    return true;
}

struct pair {
    struct record_writer writer;
    struct record_reader reader;
    struct buffer_pool *pool;
    size_t left;
};

static void pair_open(struct pair *p, enum seal_cipher cipher, uint64_t records_a_key, size_t allowed)
{
    struct core_hash key, mesh = {{0}};
    memset(key.bytes, 9, sizeof key.bytes);
    *p = (struct pair){.left = allowed, .pool = buffer_pool_open(1 << 20)};
    assert_non_null(p->pool);
    assert_true(record_writer_open(&p->writer, cipher, &key, records_a_key));
    assert_true(record_reader_open(&p->reader, cipher, &key, records_a_key, p->pool, &mesh, allow_up_to, &p->left));
}

static void pair_close(struct pair *p)
{
    record_writer_close(&p->writer);
    record_reader_close(&p->reader);
    buffer_pool_close(p->pool);
}

static size_t chunk_head(size_t bulk_size, uint8_t *head)
{
    struct core_hash mesh = {{0}};
    struct message m = {.type = MESSAGE_DATA, .bulk = {head, bulk_size}};
    size_t size;
    assert_int_equal(wire_encode(&m, &mesh, head, WIRE_BULK_HEAD_MAX, &size), CORE_ERR_OK);
    return size;
}

// All of one message's sealed bytes.
static size_t sealed_bytes(struct pair *p, struct slice head, struct slice bulk, uint8_t *out)
{
    size_t size = 0;
    record_writer_begin(&p->writer, head, bulk);
    for (struct slice next; (next = record_writer_next(&p->writer)).size > 0;) {
        memcpy(out + size, next.data, next.size);
        size += next.size;
        record_writer_took(&p->writer, next.size);
    }
    return size;
}

// Feeds bytes in pieces of at most `step`; stops at an error or a whole message, and says how far it came.
static enum core_err feed(struct pair *p, const uint8_t *bytes, size_t size, size_t step, size_t *at,
                          struct slice *head, struct buffer **bulk)
{
    *bulk = NULL;
    while (*at < size) {
        struct iovec parts[RECORD_PARTS_MAX];
        const int count = record_reader_room(&p->reader, parts);
        const size_t from = *at;
        assert_true(count >= 1 && count <= RECORD_PARTS_MAX);
        for (int i = 0; i < count && *at < size && *at - from < step; i++) {
            assert_true(parts[i].iov_len > 0);
            size_t part = size - *at < parts[i].iov_len ? size - *at : parts[i].iov_len;
            if (part > step - (*at - from)) part = step - (*at - from);
            memcpy(parts[i].iov_base, bytes + *at, part);
            *at += part;
        }
        enum core_err err = record_reader_put(&p->reader, *at - from);
        if (err || record_reader_take(&p->reader, head, bulk)) return err;
    }
    return CORE_ERR_WOULD_BLOCK;
}

static uint8_t text[3 * RECORD_BULK_MAX], wire[2 * sizeof text + 65536];

static void messages_round_trip(enum seal_cipher cipher, uint64_t records_a_key)
{
    static const size_t sizes[] = {0, 1, 1000, RECORD_BULK_MAX - 1, RECORD_BULK_MAX, RECORD_BULK_MAX + 1, sizeof text};
    static const size_t steps[] = {1, 7, 4096, sizeof wire};
    struct pair p;
    pair_open(&p, cipher, records_a_key, SIZE_MAX / 2);
    fill(text, sizeof text);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t j = sizes[i] > 1000 ? 2 : 0; j < sizeof steps / sizeof *steps; j++) {
            uint8_t raw[WIRE_BULK_HEAD_MAX];
            struct slice head = {raw, chunk_head(sizes[i], raw)}, got;
            struct buffer *bulk;
            // Two at once, so that one's end and the other's beginning come together.
            size_t size = sealed_bytes(&p, head, (struct slice){text, sizes[i]}, wire), at = 0;
            size += sealed_bytes(&p, head, (struct slice){text, sizes[i]}, wire + size);
            for (int k = 0; k < 2; k++) {
                assert_int_equal(feed(&p, wire, size, steps[j], &at, &got, &bulk), CORE_ERR_OK);
                assert_int_equal(got.size, head.size);
                assert_memory_equal(got.data, head.data, head.size);
                assert_int_equal(bulk ? buffer_size(bulk) : 0, sizes[i]);
                if (bulk) assert_memory_equal(buffer_data(bulk), text, sizes[i]);
                buffer_drop(bulk);
            }
            assert_int_equal(at, size);
        }
    }
    pair_close(&p);
}

static void records_round_trip(void **state)
{
    (void)state;
    messages_round_trip(SEAL_AES_256_GCM, SEAL_RECORDS_MAX);
    messages_round_trip(SEAL_CHACHA20_POLY1305, SEAL_RECORDS_MAX);
}

static void keys_change_by_themselves(void **state)
{
    (void)state;
    messages_round_trip(SEAL_AES_256_GCM, 3);
    messages_round_trip(SEAL_CHACHA20_POLY1305, 1);
}

// Any bit changed, any record left out or repeated: refused, and nothing opens after it.
static void tampered_records_do_not_open(void **state)
{
    (void)state;
    uint8_t raw[WIRE_BULK_HEAD_MAX];
    struct slice head = {raw, chunk_head(500, raw)}, got;
    struct buffer *bulk;
    size_t first = RECORD_SIZES + head.size + SEAL_OVERHEAD;
    for (size_t bit = 0; bit < 8 * (first + 500 + SEAL_OVERHEAD); bit += 11) {
        struct pair p;
        pair_open(&p, SEAL_AES_256_GCM, SEAL_RECORDS_MAX, 1 << 20);
        size_t size = sealed_bytes(&p, head, (struct slice){text, 500}, wire), at = 0;
        wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
        enum core_err err = feed(&p, wire, size, size, &at, &got, &bulk);
        assert_null(bulk);
        // A size above what can be is seen at once; one below waits for bytes that do not come, or fails.
        assert_true(err == CORE_ERR_VERIFY_FAILED || err == CORE_ERR_MALFORMED || err == CORE_ERR_WOULD_BLOCK);
        if (bit / 8 >= SEAL_SIZE_SIZE && bit / 8 < first) assert_int_equal(err, CORE_ERR_VERIFY_FAILED);
        pair_close(&p);
    }
    struct pair p;
    pair_open(&p, SEAL_AES_256_GCM, SEAL_RECORDS_MAX, 1 << 20);
    size_t size = sealed_bytes(&p, head, (struct slice){text, 500}, wire), at = 0;
    assert_int_equal(feed(&p, wire, size, size, &at, &got, &bulk), CORE_ERR_OK);
    buffer_drop(bulk);
    at = 0;  // the same once more: a replay
    assert_int_equal(feed(&p, wire, size, size, &at, &got, &bulk), CORE_ERR_VERIFY_FAILED);
    pair_close(&p);
}

static enum core_err read_first(struct slice plain, size_t allowed, struct slice *got, struct buffer **bulk)
{
    struct pair p;
    size_t at = 0;
    pair_open(&p, SEAL_AES_256_GCM, SEAL_RECORDS_MAX, allowed);
    seal_record(p.writer.seal, &plain, 1, wire);
    enum core_err err = feed(&p, wire, plain.size + SEAL_OVERHEAD, SIZE_MAX, &at, got, bulk);
    buffer_drop(*bulk);
    pair_close(&p);
    return err;
}

// What a member that holds the keys may say, and may not.
static void first_records_that_lie_are_refused(void **state)
{
    (void)state;
    uint8_t raw[RECORD_SIZES + WIRE_BULK_HEAD_MAX];
    struct slice got, plain = {raw, 0};
    struct buffer *bulk;
    size_t head = chunk_head(100, raw + RECORD_SIZES);
    struct writer w = writer_over(raw, RECORD_SIZES);
    write_u32(&w, (uint32_t)head);
    write_u32(&w, 100);
    plain.size = RECORD_SIZES + head;
    assert_int_equal(read_first(plain, head + 100, &got, &bulk),
                     CORE_ERR_WOULD_BLOCK);                                       // well, and the bulk is to come
    assert_int_equal(read_first(plain, head + 99, &got, &bulk), CORE_ERR_LIMIT);  // more than was granted
    raw[0]++;
    assert_int_equal(read_first(plain, 1 << 20, &got, &bulk), CORE_ERR_MALFORMED);  // another size of the head
    raw[0]--;
    raw[7] = 0x7f;
    assert_int_equal(read_first(plain, SIZE_MAX / 2, &got, &bulk), CORE_ERR_TOO_LARGE);  // two gigabytes of bulk
    raw[7] = 0;
    raw[4] = 0;
    assert_int_equal(read_first(plain, 1 << 20, &got, &bulk), CORE_ERR_MALFORMED);  // the header says there is bulk
    raw[4] = 100;
    raw[RECORD_SIZES + 4] = MESSAGE_PING;
    assert_int_equal(read_first(plain, 1 << 20, &got, &bulk), CORE_ERR_TOO_LARGE);  // a type without bulk
    plain.size = RECORD_SIZES - 1;
    assert_int_equal(read_first(plain, 1 << 20, &got, &bulk), CORE_ERR_MALFORMED);
}

// Whatever seals here, libcrypto opens, and the other way round: any size, several parts, over a change of key.
static void engines_agree(void **state)
{
    (void)state;
    enum { LARGEST = 70000 };
    static uint8_t clear[LARGEST], record[LARGEST + SEAL_OVERHEAD], other[LARGEST + SEAL_OVERHEAD], out[LARGEST];
    static const size_t sizes[] = {1, 2, 15, 16, 17, 255, 256, 257, 1000, 4096, 65536, LARGEST};
    const struct core_hash secret = {{3, 1, 4}};
    struct seal *best = seal_new(SEAL_AES_256_GCM, &secret, 5, false),
                *opener = seal_new(SEAL_AES_256_GCM, &secret, 5, true);
    struct seal *plain = seal_new_libcrypto(SEAL_AES_256_GCM, &secret, 5, false);
    struct seal *plain_opener = seal_new_libcrypto(SEAL_AES_256_GCM, &secret, 5, true);
    for (size_t i = 0; i < LARGEST; i++) clear[i] = (uint8_t)(i * 11 + i / 200);
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        const size_t size = sizes[i / 2], cut = i % 2 ? size / 3 : 0;
        const struct slice parts[2] = {{clear, cut}, {clear + cut, size - cut}};
        seal_record(best, parts + (cut == 0), cut ? 2 : 1, record);
        seal_record(plain, parts + (cut == 0), cut ? 2 : 1, other);
        assert_memory_equal(record, other, size + SEAL_OVERHEAD);
        assert_int_equal(seal_open(plain_opener, record, out), CORE_ERR_OK);
        assert_memory_equal(out, clear, size);
        memset(out, 0, size);
        assert_int_equal(seal_open(opener, record, out), CORE_ERR_OK);
        assert_memory_equal(out, clear, size);
    }
    const struct slice all = {clear, 1000};
    seal_record(best, &all, 1, record);
    record[SEAL_SIZE_SIZE + 1000 + 15] ^= 1;  // the tag's last byte
    assert_int_equal(seal_open(opener, record, out), CORE_ERR_VERIFY_FAILED);
    seal_free(best);
    seal_free(opener);
    seal_free(plain);
    seal_free(plain_opener);
}

// ---- packets ----

static void packets_that_lie_are_refused(void **state)
{
    (void)state;
    uint8_t raw[PACKET_SIZES + WIRE_BULK_HEAD_MAX + 100];
    struct core_hash mesh = {{0}};
    struct packet p;
    size_t head = chunk_head(100, raw + PACKET_SIZES);
    struct writer w = writer_over(raw, PACKET_SIZES);
    write_u8(&w, 0);
    write_u32(&w, (uint32_t)head);
    write_u32(&w, 100);
    struct slice s = {raw, PACKET_SIZES + head + 100};
    assert_int_equal(packet_decode(s, &mesh, &p), CORE_ERR_OK);
    assert_true(p.kind == PACKET_INLINE && p.bulk.size == 100 && p.head.size == head);
    for (size_t size = 0; size < s.size; size++)
        assert_int_equal(packet_decode((struct slice){raw, size}, &mesh, &p), CORE_ERR_MALFORMED);
    raw[0] = 1;  // in a descriptor, but bytes follow
    assert_int_equal(packet_decode(s, &mesh, &p), CORE_ERR_MALFORMED);
    assert_int_equal(packet_decode((struct slice){raw, PACKET_SIZES + head}, &mesh, &p), CORE_ERR_OK);
    assert_true(p.kind == PACKET_SEALED && p.bulk_size == 100);
    raw[0] = 2;
    assert_int_equal(packet_decode(s, &mesh, &p), CORE_ERR_MALFORMED);
    assert_int_equal(packet_decode((struct slice){raw, PACKET_SIZES + head}, &mesh, &p), CORE_ERR_OK);
    assert_true(p.kind == PACKET_SLAB && p.bulk_size == 100);
    for (uint8_t kind = 3; kind < 10; kind++) {  // those of no message have no head; others are none
        raw[0] = kind;
        assert_int_equal(packet_decode(s, &mesh, &p), CORE_ERR_MALFORMED);
        assert_int_equal(packet_decode((struct slice){raw, PACKET_SIZES + head}, &mesh, &p), CORE_ERR_MALFORMED);
    }
    raw[0] = 1;
    raw[8] = 0x7f;
    assert_int_equal(packet_decode((struct slice){raw, PACKET_SIZES + head}, &mesh, &p), CORE_ERR_TOO_LARGE);
}

// What a packet about slabs says: nothing, or whole numbers, no more than can be lent.
static void packets_of_slabs_have_their_shape(void **state)
{
    (void)state;
    static uint8_t raw[PACKET_SIZES + 8 * LENT_MAX + 8];
    struct core_hash mesh = {{0}};
    struct packet p;
    raw[0] = PACKET_WELCOME;
    assert_int_equal(packet_decode((struct slice){raw, PACKET_SIZES}, &mesh, &p), CORE_ERR_OK);
    assert_int_equal(packet_decode((struct slice){raw, PACKET_SIZES + 1}, &mesh, &p), CORE_ERR_MALFORMED);
    raw[0] = PACKET_BACK;
    assert_int_equal(packet_decode((struct slice){raw, PACKET_SIZES}, &mesh, &p), CORE_ERR_MALFORMED);
    for (uint32_t size = 1; size <= 8 * (LENT_MAX + 1); size++) {
        struct writer w = writer_over(raw + 5, 4);
        write_u32(&w, size);
        const bool fits = size % 8 == 0 && size <= 8 * LENT_MAX;
        assert_int_equal(packet_decode((struct slice){raw, PACKET_SIZES + size}, &mesh, &p),
                         fits ? CORE_ERR_OK : CORE_ERR_MALFORMED);
        assert_int_equal(packet_decode((struct slice){raw, PACKET_SIZES + size - 1}, &mesh, &p), CORE_ERR_MALFORMED);
    }
}

// ---- buffers ----

static int memfd(size_t size, unsigned seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

// Only what nobody can change or cut any more is mapped.
static void unsealed_memory_is_not_mapped(void **state)
{
    (void)state;
    const unsigned all = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
    struct buffer *b;
    assert_int_equal(buffer_map(memfd(5000, all), 5000, &b), CORE_ERR_OK);
    assert_int_equal(buffer_size(b), 5000);
    buffer_drop(b);
    assert_int_equal(buffer_map(memfd(5000, all), 4999, &b), CORE_ERR_MALFORMED);
    assert_int_equal(buffer_map(memfd(5000, all), 500000, &b), CORE_ERR_MALFORMED);
    assert_int_equal(buffer_map(memfd(5000, all & ~F_SEAL_WRITE), 5000, &b), CORE_ERR_MALFORMED);
    assert_int_equal(buffer_map(memfd(5000, all & ~F_SEAL_SHRINK), 5000, &b), CORE_ERR_MALFORMED);
    assert_int_equal(buffer_map(memfd(5000, all & ~F_SEAL_GROW), 5000, &b), CORE_ERR_MALFORMED);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(buffer_map(pipes[0], 1, &b), CORE_ERR_MALFORMED);
    close(pipes[1]);
    char path[] = "/tmp/mycel-seal-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    assert_int_equal(ftruncate(fd, 5000), 0);
    assert_int_equal(buffer_map(fd, 5000, &b), CORE_ERR_MALFORMED);  // a file that is no memfd
}

static void a_shared_buffer_seals_in_place(void **state)
{
    (void)state;
    struct buffer *b = buffer_new_shared(100000), *seen, *plain = buffer_new(10);
    assert_non_null(b);
    uint8_t *at = buffer_data(b);
    memset(at, 5, 100000);
    assert_int_equal(buffer_descriptor(b), -1);
    assert_int_equal(buffer_seal(b), CORE_ERR_OK);
    assert_int_equal(buffer_seal(b), CORE_ERR_OK);
    assert_ptr_equal(buffer_data(b), at);
    assert_int_equal(at[99999], 5);
    int fd = dup(buffer_descriptor(b));
    assert_ptr_equal(mmap(NULL, 100000, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_true(write(fd, "x", 1) < 0);
    assert_int_equal(buffer_map(fd, 100000, &seen), CORE_ERR_OK);
    buffer_drop(b);
    assert_int_equal(buffer_data(seen)[50000], 5);
    buffer_drop(seen);
    assert_int_equal(buffer_seal(plain), CORE_ERR_UNSUPPORTED);
    buffer_drop(plain);
}

static void a_pool_uses_memory_again(void **state)
{
    (void)state;
    struct buffer_pool *pool = buffer_pool_open(1 << 20);
    struct buffer *a = buffer_pool_new(pool, 1 << 20), *b = buffer_pool_new(pool, 1 << 20);
    uint8_t *at = buffer_data(a);
    buffer_keep(a);
    buffer_drop(a);
    assert_int_equal(buffer_data(a)[0], 0);  // still held
    buffer_drop(a);
    buffer_drop(b);  // above what is kept
    a = buffer_pool_new(pool, 600000);
    assert_ptr_equal(buffer_data(a), at);
    assert_int_equal(buffer_size(a), 600000);
    buffer_pool_close(pool);  // the buffer outlives it
    buffer_data(a)[599999] = 1;
    buffer_drop(a);
}

static int start(void **state)
{
    (void)state;
    return sign_start() ? 1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_bound_to_everything),
        cmocka_unit_test(records_round_trip),
        cmocka_unit_test(keys_change_by_themselves),
        cmocka_unit_test(tampered_records_do_not_open),
        cmocka_unit_test(first_records_that_lie_are_refused),
        cmocka_unit_test(packets_that_lie_are_refused),
        cmocka_unit_test(unsealed_memory_is_not_mapped),
        cmocka_unit_test(a_shared_buffer_seals_in_place),
        cmocka_unit_test(a_pool_uses_memory_again),
        cmocka_unit_test(packets_of_slabs_have_their_shape),
        cmocka_unit_test(engines_agree),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
