// What a simulated peer keeps: a journal whose unsynced end a crash may take, parameters by round (durable), and blobs
// by key (lost with the process). A full disk fails what would be written.
#ifndef TOOLS_SIM_DISK_H
#define TOOLS_SIM_DISK_H

#include "core/philox.h"
#include "learn/work.h"

struct record {
    uint32_t kind;
    struct slice payload;  // malloc'd
    bool synced;
};

struct stored_params {
    uint64_t round;
    struct core_hash hash;
    uint32_t *params;
    bool inner;
    uint64_t state;
};

struct blob {
    struct blob_key key;
    uint8_t *data;
    size_t size;
    struct blob *next;
};

enum { DISK_PARAMS = 8, DISK_BUCKETS = 256 };

struct disk {
    struct record *records;
    uint32_t record_count, record_capacity;
    struct stored_params params[DISK_PARAMS];
    uint32_t param_count;
    bool dataset, full;
    struct blob *blobs[DISK_BUCKETS];
};

void disk_close(struct disk *d);
// False when it is full.
bool disk_append(struct disk *d, uint32_t kind, struct slice payload, bool lazy);
// The process is gone: blobs too, and some of what was not synced.
void disk_crash(struct disk *d, struct rng *rng);

// An older disk comes back: the journal's last records are gone, all but its first.
void disk_forget(struct disk *d, uint32_t records);
// A new disk.
void disk_wipe(struct disk *d);

void disk_put(struct disk *d, const struct blob_key *key, const void *data, size_t size);
const struct blob *disk_get(const struct disk *d, const struct blob_key *key);
void disk_drop(struct disk *d, uint64_t before_round);

// Takes over nothing: copies. Replaces what has the same round and hash.
void disk_params_put(struct disk *d, uint64_t round, const struct core_hash *hash, const uint32_t *params,
                     uint64_t elements, bool inner, uint64_t state);
const struct stored_params *disk_params_get(const struct disk *d, uint64_t round, const struct core_hash *hash);

#endif
