#include "gossip/pool.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "core/hash.h"
#include "gossip/record.h"

enum { BUCKETS_FIRST = 64 };

enum pool_kind { POOL_RECORD, POOL_ACCUSATION };

struct pool_item {
    struct pool_item *next;  // in its bucket
    struct pool_mark mark;
    uint32_t refs;
    uint32_t kind;
    union {
        struct member_record record;
        struct accusation accusation;
    };
};

struct record_pool {
    struct pool_item **buckets;
    uint32_t bucket_count;  // a power of two
    uint32_t count;
    size_t bytes;
};

enum core_err record_pool_open(struct record_pool **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return CORE_ERR_NO_MEMORY;
    (*out)->bucket_count = BUCKETS_FIRST;
    (*out)->buckets = calloc(BUCKETS_FIRST, sizeof *(*out)->buckets);
    if ((*out)->buckets) return CORE_ERR_OK;
    free(*out);
    *out = NULL;
    return CORE_ERR_NO_MEMORY;
}

void record_pool_close(struct record_pool *p)
{
    if (!p) return;
    check(p->count == 0);
    free(p->buckets);
    free(p);
}

static struct pool_mark mark_of(struct slice bytes)
{
    const struct core_hash hash = hash_bytes(bytes.data, bytes.size);
    struct pool_mark mark;
    memcpy(mark.bytes, hash.bytes, sizeof mark.bytes);
    return mark;
}

static struct pool_item **bucket_of(const struct record_pool *p, const struct pool_mark *mark)
{
    uint32_t index;
    memcpy(&index, mark->bytes, sizeof index);
    return &p->buckets[index & (p->bucket_count - 1)];
}

static struct slice bytes_of(const struct pool_item *item)
{
    return item->kind == POOL_RECORD ? item->record.bytes : item->accusation.bytes;
}

// Twice the buckets; without the memory for them, chains grow longer.
static void grow(struct record_pool *p)
{
    struct pool_item **old = p->buckets;
    const uint32_t old_count = p->bucket_count;
    struct pool_item **buckets = calloc((size_t)old_count * 2, sizeof *buckets);
    if (!buckets) return;
    p->buckets = buckets;
    p->bucket_count = old_count * 2;
    for (uint32_t i = 0; i < old_count; i++) {
        for (struct pool_item *item = old[i], *next; item; item = next) {
            next = item->next;
            struct pool_item **bucket = bucket_of(p, &item->mark);
            item->next = *bucket;
            *bucket = item;
        }
    }
    free(old);
}

// The item with these bytes, one reference more; or NULL.
static struct pool_item *find(struct record_pool *p, enum pool_kind kind, struct slice bytes,
                              const struct pool_mark *mark)
{
    for (struct pool_item *item = *bucket_of(p, mark); item; item = item->next) {
        const struct slice have = bytes_of(item);
        if (item->kind != kind || have.size != bytes.size || memcmp(have.data, bytes.data, bytes.size) != 0) continue;
        item->refs++;
        return item;
    }
    return NULL;
}

// A new item with a copy of `bytes` behind it, which `copy` views.
static struct pool_item *add(struct record_pool *p, enum pool_kind kind, struct slice bytes,
                             const struct pool_mark *mark, struct slice *copy)
{
    if (p->count >= p->bucket_count) grow(p);
    struct pool_item *item = malloc(sizeof *item + bytes.size);
    if (!item) return NULL;
    uint8_t *place = (uint8_t *)(item + 1);
    memcpy(place, bytes.data, bytes.size);
    *copy = (struct slice){place, bytes.size};
    struct pool_item **bucket = bucket_of(p, mark);
    *item = (struct pool_item){.next = *bucket, .mark = *mark, .refs = 1, .kind = kind};
    *bucket = item;
    p->count++;
    p->bytes += sizeof *item + bytes.size;
    return item;
}

static void release(struct record_pool *p, struct pool_item *item)
{
    check(item->refs > 0);
    if (--item->refs > 0) return;
    struct pool_item **at = bucket_of(p, &item->mark);
    while (*at != item) at = &(*at)->next;
    *at = item->next;
    p->count--;
    p->bytes -= sizeof *item + bytes_of(item).size;
    free(item);
}

const struct member_record *record_pool_find_record(struct record_pool *p, const struct member_record *record)
{
    const struct pool_mark mark = mark_of(record->bytes);
    const struct pool_item *item = find(p, POOL_RECORD, record->bytes, &mark);
    return item ? &item->record : NULL;
}

const struct member_record *record_pool_add_record(struct record_pool *p, const struct member_record *record)
{
    const struct pool_mark mark = mark_of(record->bytes);
    struct pool_item *item = find(p, POOL_RECORD, record->bytes, &mark);
    if (item) return &item->record;
    struct slice copy;
    item = add(p, POOL_RECORD, record->bytes, &mark, &copy);
    if (!item) return NULL;
    const enum core_err err = record_read(&item->record, copy);
    check(err == CORE_ERR_OK);
    return &item->record;
}

const struct accusation *record_pool_find_accusation(struct record_pool *p, const struct accusation *accusation)
{
    const struct pool_mark mark = mark_of(accusation->bytes);
    const struct pool_item *item = find(p, POOL_ACCUSATION, accusation->bytes, &mark);
    return item ? &item->accusation : NULL;
}

const struct accusation *record_pool_add_accusation(struct record_pool *p, const struct accusation *accusation)
{
    const struct pool_mark mark = mark_of(accusation->bytes);
    struct pool_item *item = find(p, POOL_ACCUSATION, accusation->bytes, &mark);
    if (item) return &item->accusation;
    struct slice copy;
    item = add(p, POOL_ACCUSATION, accusation->bytes, &mark, &copy);
    if (!item) return NULL;
    const enum core_err err = accusation_read(&item->accusation, copy);
    check(err == CORE_ERR_OK);
    return &item->accusation;
}

static struct pool_item *item_of(const void *object, size_t offset)
{
    return (struct pool_item *)(uintptr_t)((const uint8_t *)object - offset);
}

void record_pool_release_record(struct record_pool *p, const struct member_record *record)
{
    if (record) release(p, item_of(record, offsetof(struct pool_item, record)));
}

void record_pool_release_accusation(struct record_pool *p, const struct accusation *accusation)
{
    if (accusation) release(p, item_of(accusation, offsetof(struct pool_item, accusation)));
}

const struct pool_mark *record_pool_mark(const struct member_record *record)
{
    return &item_of(record, offsetof(struct pool_item, record))->mark;
}

uint32_t record_pool_count(const struct record_pool *p)
{
    return p->count;
}

size_t record_pool_bytes(const struct record_pool *p)
{
    return p->bytes;
}
