// Content-addressed chunks on disk: at most 1 MiB each, named by hash_leaf() of their bytes. A chunk is written to a
// temporary file and renamed, so that it is there whole or not at all; reading hashes it again and takes away one that
// the disk has spoilt. One thread, or the caller's lock; one process a folder.
//
//   DIR/chunks/ab/abcdef..   a chunk           DIR/objects/ab/abcdef..  an object's index (store/object.h)
//   DIR/pins/ab/abcdef..     an object to keep  DIR/tmp/                 being written; emptied at open
#ifndef STORE_CHUNKS_H
#define STORE_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"

enum { STORE_CHUNK_SIZE = 1 << 20 };

enum store_io { STORE_IO_OPEN, STORE_IO_WRITE, STORE_IO_FSYNC, STORE_IO_RENAME, STORE_IO_READ, STORE_IO_UNLINK };

struct store_options {
    // Tests: called before each piece of I/O; an errno makes it fail with that, -1 makes a write come out short.
    int (*fail)(void *context, enum store_io what);
    void *fail_context;
};

struct store;

// Makes the folders where they are missing (mode 0700). `options` may be NULL. NO_SPACE, IO, NO_MEMORY.
CORE_MUST_USE enum core_err store_open(struct store **out, const char *dir, const struct store_options *options);
void store_close(struct store *s);  // NULL is fine; does not sync

// Hashes and writes; a chunk that is there already costs its hashing only. TOO_LARGE, NO_SPACE, IO.
CORE_MUST_USE enum core_err store_put(struct store *s, const void *data, size_t size, struct core_hash *hash);
// The same for bytes that must have this hash: VERIFY_FAILED, and nothing written, if they do not.
CORE_MUST_USE enum core_err store_put_checked(struct store *s, const struct core_hash *hash, const void *data,
                                              size_t size);
// Into `out`, of `capacity` bytes (STORE_CHUNK_SIZE always suffices). NOT_FOUND; VERIFY_FAILED when the file's bytes
// have another hash (it is removed, so that it can be fetched anew); TOO_LARGE; IO.
CORE_MUST_USE enum core_err store_get(struct store *s, const struct core_hash *hash, void *out, size_t capacity,
                                      size_t *size);
bool store_has(struct store *s, const struct core_hash *hash);
bool store_has_size(struct store *s, const struct core_hash *hash, size_t size);
// OK also when there was none.
CORE_MUST_USE enum core_err store_remove(struct store *s, const struct core_hash *hash);

// Everything put so far (chunks, indices, pins) is durable when this returns OK; before, a crash of the machine may
// take it away again (a crash of the process does not). It fsyncs what was written since the last call.
CORE_MUST_USE enum core_err store_sync(struct store *s);

// What CHUNK_GET asks for: a chunk, or an object's index under its root. As store_get; an index is checked by its root.
CORE_MUST_USE enum core_err store_serve(struct store *s, const struct core_hash *hash, void *out, size_t capacity,
                                        size_t *size);

#endif
