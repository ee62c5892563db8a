// Objects: ordered parts of bytes, cut into chunks. Part root = hash_merkle_root(chunk hashes), object root =
// hash_merkle_root(part roots); the index (part sizes and chunk hashes) is what travels and is stored, and is believed
// only where its root is the one that was asked for. docs/record-format.md has the byte table.
#ifndef STORE_OBJECT_H
#define STORE_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/chunks.h"

enum {
    OBJECT_PARTS_MAX = 4096,
    OBJECT_INDEX_LIMIT = STORE_CHUNK_SIZE,  // so an object holds at most some 32 GiB
};

struct object_part {
    uint64_t size;   // bytes
    uint32_t first;  // its first chunk's place in `chunks`
    uint32_t count;  // chunks: ceil(size / STORE_CHUNK_SIZE), 0 for an empty part
};

struct object_index {
    struct core_hash root;
    struct object_part *parts;
    uint32_t part_count;
    struct core_hash *chunks;
    uint32_t chunk_count;
    uint64_t size;  // bytes in all
};

// Decodes and computes the root. `index` owns memory until object_index_free. MALFORMED, UNKNOWN_VERSION, TOO_LARGE
// (more than size_limit bytes in all), NO_MEMORY.
CORE_MUST_USE enum core_err object_index_decode(struct slice bytes, uint64_t size_limit, struct object_index *index);
void object_index_free(struct object_index *index);
// Computes `root` and `size` from the parts and chunks. NO_MEMORY.
CORE_MUST_USE enum core_err object_index_finish(struct object_index *index);
size_t object_index_size(const struct object_index *index);  // bytes when encoded
void object_index_encode(struct writer *w, const struct object_index *index);
// Bytes of chunk `i`: STORE_CHUNK_SIZE but for the last of its part.
uint32_t object_chunk_size(const struct object_index *index, uint32_t i);

// The root that object_put would give, without storing anything. TOO_LARGE, NO_MEMORY.
CORE_MUST_USE enum core_err object_root(const struct slice *parts, uint32_t count, struct core_hash *root);

// Stores parts that lie in memory; not durable until store_sync, not kept by store_collect until pinned.
CORE_MUST_USE enum core_err object_put(struct store *s, const struct slice *parts, uint32_t count,
                                       struct core_hash *root);

// The same in a stream, for what is larger than memory: begin, then for each part object_writer_part and any number
// of object_writer_add, then object_writer_end. After an error only object_writer_end (which returns it) or _cancel.
struct object_writer;
CORE_MUST_USE enum core_err object_writer_begin(struct object_writer **out, struct store *s);
CORE_MUST_USE enum core_err object_writer_part(struct object_writer *w);
CORE_MUST_USE enum core_err object_writer_add(struct object_writer *w, const void *data, size_t size);
CORE_MUST_USE enum core_err object_writer_end(struct object_writer *w, struct core_hash *root);  // frees
void object_writer_cancel(struct object_writer *w);                                              // frees

// Stores an index that was fetched; its root must be `root`. VERIFY_FAILED, MALFORMED, NO_SPACE, IO.
CORE_MUST_USE enum core_err object_put_index(struct store *s, const struct core_hash *root, struct slice bytes);

// Reads the index; free it. NOT_FOUND, VERIFY_FAILED (removed then), IO, NO_MEMORY.
CORE_MUST_USE enum core_err object_open(struct store *s, const struct core_hash *root, struct object_index *index);
// How many of its chunks are missing, without reading them.
uint32_t object_missing(struct store *s, const struct object_index *index);
// Bytes [offset, offset + size) of a part into `out`, hashed chunk by chunk. TOO_SHORT beyond the part's end;
// as store_get.
CORE_MUST_USE enum core_err object_read(struct store *s, const struct object_index *index, uint32_t part,
                                        uint64_t offset, void *out, size_t size);
// Reads and hashes everything. `bad` (may be NULL): how many chunks were missing or spoilt; then VERIFY_FAILED.
CORE_MUST_USE enum core_err object_verify(struct store *s, const struct core_hash *root, uint32_t *bad);

// Keeps an object: store_collect spares it, and chunks that it shares with a removed one stay. A root may be pinned
// before it is fetched, so that what has come already is kept.
CORE_MUST_USE enum core_err object_pin(struct store *s, const struct core_hash *root);
CORE_MUST_USE enum core_err object_unpin(struct store *s, const struct core_hash *root);
bool object_pinned(struct store *s, const struct core_hash *root);
// Unpins it and removes its index and the chunks that no other pinned object has. OK also when it isn't there.
CORE_MUST_USE enum core_err object_remove(struct store *s, const struct core_hash *root);
// Removes everything that no pinned object has. `freed` (may be NULL): bytes.
CORE_MUST_USE enum core_err store_collect(struct store *s, uint64_t *freed);

#endif
