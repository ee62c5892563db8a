// What a bulk lane reads from a peer that holds its keys: sealed records whose plaintext is the fuzzer's, a raw stream
// that nobody sealed, and packets of shared memory. Whatever comes, a message that is handed up is within its limits.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "mesh/bulk_internal.h"
#include "mesh/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ALLOWED = 1 << 20 };

static const struct core_hash key = {{1}}, mesh = {{0}};

static bool allow(void *context, size_t bytes)
{
    size_t *left = context;
    if (*left < bytes) return false;
    *left -= bytes;
    return true;
}

// False once the stream is over.
static bool feed(struct record_reader *r, const uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        struct iovec parts[RECORD_PARTS_MAX];
        const int count = record_reader_room(r, parts);
        const size_t from = at;
        for (int i = 0; i < count; i++) {
            check(parts[i].iov_len > 0);
            const size_t part = size - at < parts[i].iov_len ? size - at : parts[i].iov_len;
            memcpy(parts[i].iov_base, bytes + at, part);
            at += part;
        }
        if (record_reader_put(r, at - from)) return false;
        struct slice head;
        struct buffer *bulk;
        if (!record_reader_take(r, &head, &bulk)) continue;
        struct wire_header header;
        check(wire_header_decode(head, &mesh, &header) == CORE_ERR_OK);
        size_t bulk_size = bulk ? buffer_size(bulk) : 0;
        check(bulk_size <= message_info(header.type)->bulk_limit && head.size + bulk_size <= ALLOWED);
        buffer_drop(bulk);
    }
    return true;
}

// The input as records: each of two bytes of size and as many of plaintext.
static void sealed(const uint8_t *data, size_t size, bool raw)
{
    static uint8_t record[65536 + SEAL_OVERHEAD];
    size_t left = ALLOWED;
    struct record_reader reader;
    struct buffer_pool *pool = buffer_pool_open(0);
    struct seal *seal = seal_new(SEAL_AES_256_GCM, &key, 5, false);
    check(pool && seal);
    check(record_reader_open(&reader, SEAL_AES_256_GCM, &key, 5, pool, &mesh, allow, &left));
    bool goes_on = !raw || feed(&reader, data, size);
    for (size_t at = 0; !raw && goes_on && at + 2 <= size;) {
        size_t part = (size_t)data[at] | (size_t)data[at + 1] << 8;
        at += 2;
        if (part > size - at) part = size - at;
        struct slice plain = {data + at, part};
        seal_record(seal, &plain, 1, record);
        goes_on = feed(&reader, record, part + SEAL_OVERHEAD);
        at += part;
    }
    record_reader_close(&reader);
    seal_free(seal);
    buffer_pool_close(pool);
}

static void packet(const uint8_t *data, size_t size)
{
    struct packet p;
    if (packet_decode((struct slice){data, size}, &mesh, &p)) return;
    const bool beside = p.kind == PACKET_SEALED || p.kind == PACKET_SLAB;
    check(beside ? p.bulk.size == 0 : p.bulk.size == p.bulk_size);
    if (p.kind < PACKET_WELCOME) {
        struct wire_header header;
        check(wire_header_decode(p.head, &mesh, &header) == CORE_ERR_OK);
        check(p.bulk_size <= message_info(header.type)->bulk_limit);
    } else {
        check(p.head.size == 0 && p.bulk.size <= 8 * LENT_MAX);
    }
    check(p.head.data >= data && p.bulk.data + p.bulk.size <= data + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    switch (data[0] % 3) {
    case 0: sealed(data + 1, size - 1, false); break;
    case 1: sealed(data + 1, size - 1, true); break;
    default: packet(data + 1, size - 1); break;
    }
    return 0;
}
