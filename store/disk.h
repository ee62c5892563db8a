// The store's files: whole or not there, named by hash, with the errors that a disk can give. Inside the store only.
#ifndef STORE_DISK_H
#define STORE_DISK_H

#include "store/chunks.h"

// Folders of the store, each with files named by a hash.
enum disk_kind { DISK_CHUNK, DISK_OBJECT, DISK_PIN, DISK_KINDS };

enum {
    DISK_PENDING_MAX = 4096,  // files written since the last sync; one more syncs first
    DISK_SYNC_SINGLY = 8,     // up to so many files are fsynced one by one, more by one syncfs
};

struct disk_pending {
    enum disk_kind kind;
    struct core_hash hash;
};

struct store {
    int dir_fd;  // every path is relative to it
    int (*fail)(void *context, enum store_io what);
    void *fail_context;
    uint64_t temporary;  // number of the next file in tmp/
    struct disk_pending *pending;
    uint32_t pending_count;
    uint8_t *buffer;  // STORE_CHUNK_SIZE, for what is read inside the store
};

// Writes and renames; leaves nothing behind on failure.
CORE_MUST_USE enum core_err disk_write(struct store *s, enum disk_kind kind, const struct core_hash *hash,
                                       const void *data, size_t size);
// NOT_FOUND; TOO_LARGE when the file has more than `capacity` bytes.
CORE_MUST_USE enum core_err disk_read(struct store *s, enum disk_kind kind, const struct core_hash *hash, void *out,
                                      size_t capacity, size_t *size);
bool disk_has(struct store *s, enum disk_kind kind, const struct core_hash *hash);
CORE_MUST_USE enum core_err disk_remove(struct store *s, enum disk_kind kind, const struct core_hash *hash);
CORE_MUST_USE enum core_err disk_sync(struct store *s);

// The hashes of every file of a kind, in no order; `hashes` is malloc'd (NULL for none).
CORE_MUST_USE enum core_err disk_list(struct store *s, enum disk_kind kind, struct core_hash **hashes, uint32_t *count);
// Bytes of a file; 0 when it isn't there.
uint64_t disk_size(struct store *s, enum disk_kind kind, const struct core_hash *hash);

#endif
