#include "node/blobs.h"

#include <stdlib.h>

#include "core/check.h"

enum { SHARED_LEAST = 256 << 10, SHARED_MAX = 256, SLABS_KEPT = 128 << 20 };

static struct blob *blob_over(struct buffer *buffer)
{
    struct blob *b = buffer ? malloc(sizeof *b) : NULL;
    if (!b) {
        buffer_drop(buffer);
        return NULL;
    }
    atomic_init(&b->references, 1);
    b->buffer = buffer;
    b->size = buffer_size(buffer);
    b->data = buffer_data(buffer);
    return b;
}

struct blob *blob_new(size_t size, struct buffer_pool *slabs)
{
    struct buffer *buffer = slabs && size >= SHARED_LEAST ? buffer_pool_new_slab(slabs, size) : NULL;
    return blob_over(buffer ? buffer : buffer_new(size));
}

struct blob *blob_of(struct buffer *buffer)
{
    return blob_over(buffer_keep(buffer));
}

struct blob *blob_hold(struct blob *b)
{
    atomic_fetch_add(&b->references, 1);
    return b;
}

void blob_release(struct blob *b)
{
    if (!b || atomic_fetch_sub(&b->references, 1) != 1) return;
    buffer_drop(b->buffer);
    free(b);
}

enum core_err blobs_open(struct blobs *table, uint32_t capacity, uint64_t limit)
{
    *table = (struct blobs){.capacity = capacity, .limit = limit};
    table->entries = calloc(capacity, sizeof *table->entries);
    table->slabs = buffer_pool_open(0);
    if (table->entries && table->slabs) return CORE_ERR_OK;
    blobs_close(table);
    return CORE_ERR_NO_MEMORY;
}

void blobs_close(struct blobs *table)
{
    for (uint32_t i = 0; i < table->count; i++) blob_release(table->entries[i].blob);
    free(table->entries);
    buffer_pool_close(table->slabs);
    *table = (struct blobs){0};
}

struct blob *blobs_find(const struct blobs *table, const struct blob_key *key)
{
    for (uint32_t i = table->count; i > 0; i--)
        if (blob_key_equal(&table->entries[i - 1].key, key)) return table->entries[i - 1].blob;
    return NULL;
}

struct buffer_pool *blobs_slabs(const struct blobs *table)
{
    return table->shared < SHARED_MAX ? table->slabs : NULL;
}

enum core_err blobs_put(struct blobs *table, const struct blob_key *key, struct blob *blob)
{
    if (blobs_find(table, key)) {
        blob_release(blob);
        return CORE_ERR_OK;
    }
    if (table->count == table->capacity || table->bytes + blob->size > table->limit) {
        blob_release(blob);
        return CORE_ERR_LIMIT;
    }
    if (table->count == 0) buffer_pool_keep(table->slabs, SLABS_KEPT);
    // From here on nobody writes: others of this host may read it.
    if (buffer_seal(blob->buffer) == CORE_ERR_OK) table->shared++;
    table->entries[table->count++] = (struct blobs_entry){*key, blob};
    table->bytes += blob->size;
    return CORE_ERR_OK;
}

void blobs_drop(struct blobs *table, const struct core_hash *run, uint64_t before_round)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        struct blobs_entry *e = &table->entries[i];
        if (e->key.round < before_round && hash_equal(&e->key.run, run)) {
            table->bytes -= e->blob->size;
            if (buffer_descriptor(e->blob->buffer) >= 0) table->shared--;
            blob_release(e->blob);
        } else {
            table->entries[kept++] = *e;
        }
    }
    if (kept == 0 && table->count > 0) buffer_pool_keep(table->slabs, 0);  // rounds are over: nothing stays behind
    table->count = kept;
}
