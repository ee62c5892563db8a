#include "tools/sim/disk.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"

static void *copy_of(const void *data, size_t size)
{
    void *copy = malloc(size ? size : 1);
    check(copy);
    if (size) memcpy(copy, data, size);
    return copy;
}

static void drop_blobs(struct disk *d, uint64_t before_round)
{
    for (uint32_t i = 0; i < DISK_BUCKETS; i++) {
        for (struct blob **at = &d->blobs[i]; *at;) {
            struct blob *b = *at;
            if (b->key.round >= before_round) {
                at = &b->next;
                continue;
            }
            *at = b->next;
            free(b->data);
            free(b);
        }
    }
}

void disk_close(struct disk *d)
{
    for (uint32_t i = 0; i < d->record_count; i++) free((void *)(uintptr_t)d->records[i].payload.data);
    free(d->records);
    for (uint32_t i = 0; i < d->param_count; i++) free(d->params[i].params);
    drop_blobs(d, UINT64_MAX);
    *d = (struct disk){0};
}

bool disk_append(struct disk *d, uint32_t kind, struct slice payload, bool lazy)
{
    if (d->full) return false;
    if (d->record_count == d->record_capacity) {
        d->record_capacity = d->record_capacity ? 2 * d->record_capacity : 64;
        d->records = realloc(d->records, d->record_capacity * sizeof *d->records);
        check(d->records);
    }
    d->records[d->record_count++] = (struct record){kind, {copy_of(payload.data, payload.size), payload.size}, false};
    if (lazy) return true;
    for (uint32_t i = d->record_count; i-- > 0 && !d->records[i].synced;) d->records[i].synced = true;
    return true;
}

void disk_crash(struct disk *d, struct rng *rng)
{
    uint32_t synced = d->record_count;
    while (synced > 0 && !d->records[synced - 1].synced) synced--;
    const uint32_t keep = synced + (uint32_t)rng_below(rng, d->record_count - synced + 1);
    for (uint32_t i = keep; i < d->record_count; i++) free((void *)(uintptr_t)d->records[i].payload.data);
    d->record_count = keep;
    drop_blobs(d, UINT64_MAX);
}

void disk_forget(struct disk *d, uint32_t records)
{
    for (; records > 0 && d->record_count > 1; records--)
        free((void *)(uintptr_t)d->records[--d->record_count].payload.data);
}

void disk_wipe(struct disk *d)
{
    const bool full = d->full;
    disk_close(d);
    d->full = full;
}

static uint32_t bucket(const struct blob_key *key)
{
    uint64_t h = key->round * 31 + key->kind;
    h = h * 31 + key->attempt;
    h = h * 31 + key->level;
    h = h * 31 + key->group;
    h = h * 31 + key->shard;
    h = h * 31 + key->slot;
    return (uint32_t)(h % DISK_BUCKETS);
}

static struct blob *find(const struct disk *d, const struct blob_key *key)
{
    struct blob *b = d->blobs[bucket(key)];
    while (b && !blob_key_equal(&b->key, key)) b = b->next;
    return b;
}

void disk_put(struct disk *d, const struct blob_key *key, const void *data, size_t size)
{
    struct blob *b = find(d, key);
    if (!b) {
        b = calloc(1, sizeof *b);
        check(b);
        b->key = *key;
        b->next = d->blobs[bucket(key)];
        d->blobs[bucket(key)] = b;
    }
    free(b->data);
    b->data = copy_of(data, size);
    b->size = size;
}

const struct blob *disk_get(const struct disk *d, const struct blob_key *key)
{
    return find(d, key);
}

static void params_remove(struct disk *d, uint32_t index)
{
    free(d->params[index].params);
    d->params[index] = d->params[--d->param_count];
}

void disk_drop(struct disk *d, uint64_t before_round)
{
    drop_blobs(d, before_round);
    uint64_t last = 0;
    for (uint32_t i = 0; i < d->param_count; i++)
        if (d->params[i].round > last) last = d->params[i].round;
    if (before_round > last) before_round = last;
    for (uint32_t i = d->param_count; i-- > 0;)
        if (d->params[i].round < before_round) params_remove(d, i);
}

void disk_params_put(struct disk *d, uint64_t round, const struct core_hash *hash, const uint32_t *params,
                     uint64_t elements, bool inner, uint64_t state)
{
    for (uint32_t i = d->param_count; i-- > 0;)
        if (d->params[i].round == round && hash_equal(&d->params[i].hash, hash)) params_remove(d, i);
    if (d->param_count == DISK_PARAMS) {
        uint32_t oldest = 0;
        for (uint32_t i = 1; i < d->param_count; i++)
            if (d->params[i].round < d->params[oldest].round) oldest = i;
        params_remove(d, oldest);
    }
    d->params[d->param_count++] =
        (struct stored_params){round, *hash, copy_of(params, elements * sizeof *params), inner, state};
}

const struct stored_params *disk_params_get(const struct disk *d, uint64_t round, const struct core_hash *hash)
{
    for (uint32_t i = 0; i < d->param_count; i++)
        if (d->params[i].round == round && hash_equal(&d->params[i].hash, hash)) return &d->params[i];
    return NULL;
}
