// An append-only file of records that survives a crash: each append is durable when it returns, a torn tail is cut at
// the next open, and a failed append (a full disk) leaves the file as it was.
//
//   record: u32 size of the payload, u32 kind, 8 bytes of BLAKE2b-256 over kind and payload, payload; little-endian
//
// One thread.
#ifndef NODE_JOURNAL_H
#define NODE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"

enum { JOURNAL_HEAD = 16, JOURNAL_RECORD_MAX = 1 << 20 };

struct journal {
    int fd;  // -1: closed
    uint64_t size;
};

// Opens or makes the file at `path`, hands every whole record to `record` (may be NULL) in order, cuts what follows.
CORE_MUST_USE enum core_err journal_open(struct journal *j, const char *path,
                                         void (*record)(void *context, uint32_t kind, struct slice payload),
                                         void *context);
void journal_close(struct journal *j);
// Durable on return. CORE_ERR_NO_SPACE, CORE_ERR_IO, CORE_ERR_TOO_LARGE.
CORE_MUST_USE enum core_err journal_append(struct journal *j, uint32_t kind, struct slice payload);
// The same without waiting for the disk; journal_sync makes all before it durable.
CORE_MUST_USE enum core_err journal_append_unsynced(struct journal *j, uint32_t kind, struct slice payload);
CORE_MUST_USE enum core_err journal_sync(struct journal *j);

// Replaces the file at `path`, which `j` has open, by the records that `keep` says yes to, in one step that survives a
// crash. On an error the old file stays, open and in use; but an error of the last step (the folder's fsync) leaves the
// new one in use, and nothing more may be appended before a later journal_rewrite is OK.
CORE_MUST_USE enum core_err journal_rewrite(struct journal *j, const char *path,
                                            bool (*keep)(void *context, uint32_t kind, struct slice payload),
                                            void *context);

#endif
