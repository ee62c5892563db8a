// Objects that lie in this peer's run files rather than in the store (parameters, inner states, updates of the last
// rounds), so that others can fetch them by hash as if they were in it. A file is indexed (its chunks hashed) only when
// somebody asks for it. Loop's thread; indexing runs on a worker.
#ifndef NODE_CATALOG_H
#define NODE_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"
#include "core/sign.h"
#include "learn/config.h"
#include "node/snapshot.h"
#include "store/object.h"

struct node;

enum catalog_kind {
    CATALOG_PARAMS,    // tensors of fp32, a part each, in a params- file
    CATALOG_MOMENTUM,  // the same behind the parameters
    CATALOG_INNER,     // a whole inner- file: head, m, v, residual
    CATALOG_UPDATE,    // tensors of int8, a part each, in an update- file
};

enum { CATALOG_MAX = 1024, CATALOG_WAITERS = 16, CATALOG_QUEUED_MAX = 16 << 20 };

struct catalog_chunk {
    struct core_hash hash;
    uint64_t offset;  // into the file
    uint32_t size;
};

struct catalog_object {
    struct core_hash root, run;
    char name[RUN_FILE_NAME];
    enum catalog_kind kind;
    uint64_t round;
    struct model_config config;
    enum { CATALOG_KNOWN, CATALOG_INDEXING, CATALOG_INDEXED, CATALOG_SPOILT } state;
    struct catalog_chunk *chunks;
    uint32_t chunk_count;
    uint8_t *index;
    size_t index_size;
    struct core_id waiters[CATALOG_WAITERS];
    uint32_t waiter_count;
    uint64_t serial;
};

struct catalog {
    struct catalog_object *objects[CATALOG_MAX];
    uint32_t count;
    uint64_t serial;
};

// Notes that `root` lies in the file `name`. One that is known already, or beyond the limit, is passed over.
void catalog_add(struct catalog *c, const struct core_hash *run, const struct core_hash *root, const char *name,
                 enum catalog_kind kind, uint64_t round, const struct model_config *config);
void catalog_forget_file(struct catalog *c, const char *name);
void catalog_close(struct catalog *c);

// Answers a CHUNK_GET from the store, from here, or with "not found"; now, or when the index is made.
void catalog_serve(struct node *n, const struct core_id *to, const struct core_hash *hash);

#endif
