// The bulk bytes of rounds by key: contributions' shards, partial sums, results. A blob never changes once it is in the
// table; whoever uses one (a job, a message on its way) holds a reference, so dropping a round never pulls bytes from
// under a worker. What came over a link stays in the link's buffer, and what is made here for peers of this host lies
// in memory that is lent to them: neither is copied. The table belongs to the loop's thread; references may be given
// back by any thread.
#ifndef NODE_BLOBS_H
#define NODE_BLOBS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "learn/work.h"
#include "mesh/buffer.h"

struct blob {
    _Atomic uint32_t references;
    size_t size;
    uint8_t *data;
    struct buffer *buffer;  // that holds the data
};

// One reference, the caller's. NULL without memory. The bytes are unset. `slabs` (may be NULL): memory that others of
// this host can read in place. Any thread.
struct blob *blob_new(size_t size, struct buffer_pool *slabs);
// What `buffer` holds, which the blob keeps.
struct blob *blob_of(struct buffer *buffer);
struct blob *blob_hold(struct blob *b);  // one more reference
void blob_release(struct blob *b);       // NULL is fine

struct blobs_entry {
    struct blob_key key;
    struct blob *blob;
};

struct blobs {
    struct blobs_entry *entries;
    uint32_t count, capacity;
    uint64_t bytes, limit;  // bytes held; the most that may be held
    uint32_t shared;        // blobs with a descriptor of their own
    struct buffer_pool *slabs;
};

// Where one more blob that peers of this host want is to lie; NULL where no more may be shared: a process has so many
// descriptors.
struct buffer_pool *blobs_slabs(const struct blobs *table);

CORE_MUST_USE enum core_err blobs_open(struct blobs *table, uint32_t capacity, uint64_t limit);
void blobs_close(struct blobs *table);
// Takes over the caller's reference also on an error. One that is there already stays. CORE_ERR_LIMIT.
CORE_MUST_USE enum core_err blobs_put(struct blobs *table, const struct blob_key *key, struct blob *blob);
// Borrowed until the next call that changes the table; NULL where there is none.
struct blob *blobs_find(const struct blobs *table, const struct blob_key *key);
void blobs_drop(struct blobs *table, const struct core_hash *run, uint64_t before_round);

#endif
