// Messages as sealed records, for a byte stream: a message is one record with its sizes and head, then its bulk in
// records of RECORD_BULK_MAX bytes, the last one shorter. Writer and reader know no socket; each belongs to one thread.
//
//   first record  u32 size of the head, u32 size of the bulk, the head
//   further ones  the bulk, in order; how long each is follows from the sizes
//
// Nothing is allocated for a message before its first record opened, its type is one that may have bulk, its sizes are
// within the type's limits, and the reader has been allowed the bytes.
#ifndef MESH_RECORD_H
#define MESH_RECORD_H

#include <sys/uio.h>

#include "core/hash.h"
#include "mesh/buffer.h"
#include "mesh/seal.h"
#include "mesh/wire.h"

enum {
    RECORD_BULK_MAX = 131072,  // what is sealed and what is sent stay in a core's cache together
    RECORD_SIZES = 8,
    RECORD_FIRST_MAX = RECORD_SIZES + WIRE_BULK_HEAD_MAX,
    RECORD_PARTS_MAX = 2,
};

// ---- writing ----

struct record_writer {
    struct seal *seal;
    uint8_t *staging;  // room for a first record and one of bulk
    size_t at, size;   // sealed bytes that were not taken yet
    struct slice head, bulk;
    size_t bulk_at;
    bool begun;
};
CORE_MUST_USE bool record_writer_open(struct record_writer *w, enum seal_cipher cipher, const struct core_hash *key,
                                      uint64_t records_a_key);
void record_writer_close(struct record_writer *w);
// The views live until the message is written.
void record_writer_begin(struct record_writer *w, struct slice head, struct slice bulk);
// The next sealed bytes to send, sealing more when all were taken; empty when the message is written.
struct slice record_writer_next(struct record_writer *w);
void record_writer_took(struct record_writer *w, size_t size);

// ---- reading ----

// What was granted and not used yet, in bytes of heads and bulk; asked before a message's memory is. False refuses.
typedef bool record_allow(void *context, size_t bytes);

struct record_reader {
    struct seal *seal;
    struct buffer_pool *pool;
    struct core_hash mesh;
    record_allow *allow;
    void *allow_context;
    uint8_t *staging;   // the size of the record that comes; all of it where it is a message's first
    size_t have, need;  // of that record; what was read beyond it is the next one's size
    uint8_t tail[SEAL_TAG_SIZE + SEAL_SIZE_SIZE];  // of a record of bulk, and the next one's size
    uint8_t *head;
    size_t head_size;
    struct buffer *bulk;
    size_t bulk_at;
};
CORE_MUST_USE bool record_reader_open(struct record_reader *r, enum seal_cipher cipher, const struct core_hash *key,
                                      uint64_t records_a_key, struct buffer_pool *pool, const struct core_hash *mesh,
                                      record_allow *allow, void *context);
void record_reader_close(struct record_reader *r);
// Where the next bytes of the stream go, one place after the other; how many places, 1 at least, none empty. Bulk goes
// where it stays and is opened there: bytes that were copied twice would cost as much as the cipher.
int record_reader_room(struct record_reader *r, struct iovec parts[RECORD_PARTS_MAX]);
// How many bytes are surely still to come for what has begun, 1 at least: no use to be woken for fewer.
size_t record_reader_wants(const struct record_reader *r);
// So many were put there. CORE_ERR_VERIFY_FAILED (a record does not open), CORE_ERR_MALFORMED, CORE_ERR_TOO_LARGE or
// another of wire_header_decode, CORE_ERR_LIMIT (not allowed), CORE_ERR_NO_MEMORY; after an error the stream is over.
CORE_MUST_USE enum core_err record_reader_put(struct record_reader *r, size_t size);
// A whole message, if there is one now: the views and the buffer (to be dropped by the caller; NULL without bulk) are
// valid until the next put.
bool record_reader_take(struct record_reader *r, struct slice *head, struct buffer **bulk);

#endif
