#include "gossip/cast_store.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"

struct core_hash cast_id_of(const struct message_cast *cast)
{
    uint8_t raw[CORE_ID_SIZE + 16];
    struct writer w = writer_over(raw, sizeof raw);
    write_bytes(&w, cast->origin.bytes, sizeof cast->origin.bytes);
    write_u64(&w, cast->topic);
    write_u64(&w, cast->repeat);
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, raw, w.size);
    hash_add(&s, cast->payload.data, cast->payload.size);
    return hash_end(&s);
}

uint64_t cast_key(const uint8_t *id)
{
    struct reader r = reader_over(id, CAST_KEY_SIZE);
    return read_u64(&r);
}

enum core_err cast_store_open(struct cast_store *s, uint32_t count, size_t bytes, uint64_t salt)
{
    *s = (struct cast_store){.capacity = count, .bytes_max = bytes, .seen_capacity = 4 * count};
    key_map_open(&s->map, salt);
    s->entries = calloc(s->capacity, sizeof *s->entries);
    s->seen = calloc(s->seen_capacity, sizeof *s->seen);
    if (s->entries && s->seen) return CORE_ERR_OK;
    cast_store_close(s);
    return CORE_ERR_NO_MEMORY;
}

struct cast_entry *cast_store_at(struct cast_store *s, uint64_t number)
{
    check(s->first <= number && number < s->next);
    return &s->entries[number % s->capacity];
}

static void drop_oldest(struct cast_store *s)
{
    struct cast_entry *e = cast_store_at(s, s->first);
    free((void *)(uintptr_t)e->payload.data);
    s->bytes -= e->payload.size;
    *e = (struct cast_entry){0};
    s->first++;
}

void cast_store_close(struct cast_store *s)
{
    while (s->entries && s->first < s->next) drop_oldest(s);
    free(s->entries);
    free(s->seen);
    key_map_close(&s->map);
    *s = (struct cast_store){0};
}

struct cast_seen *cast_store_seen(struct cast_store *s, uint64_t key)
{
    const uint32_t *place = key_map_find(&s->map, key);
    return place ? &s->seen[*place] : NULL;
}

void cast_store_remember(struct cast_store *s, uint64_t key, uint32_t parent)
{
    if (cast_store_seen(s, key)) return;
    struct cast_seen *seen = &s->seen[s->seen_at];
    if (s->seen_count == s->seen_capacity)
        key_map_remove(&s->map, seen->key);
    else
        s->seen_count++;
    *seen = (struct cast_seen){.key = key, .parent = parent};
    (void)key_map_put(&s->map, key, s->seen_at);  // without memory it may be delivered twice
    s->seen_at = (s->seen_at + 1) % s->seen_capacity;
}

struct cast_entry *cast_store_keep(struct cast_store *s, const struct cast_entry *entry)
{
    const struct slice payload = entry->payload;
    struct cast_seen *seen = cast_store_seen(s, cast_key(entry->id.bytes));
    if (!seen || payload.size > s->bytes_max) return NULL;
    while (s->first < s->next && (s->next - s->first == s->capacity || s->bytes + payload.size > s->bytes_max))
        drop_oldest(s);
    uint8_t *copy = malloc(payload.size ? payload.size : 1);
    if (!copy) return NULL;
    if (payload.size) memcpy(copy, payload.data, payload.size);
    seen->number = s->next;
    seen->kept = true;
    struct cast_entry *kept = &s->entries[s->next++ % s->capacity];
    *kept = *entry;
    kept->payload.data = copy;
    s->bytes += payload.size;
    return kept;
}

struct cast_entry *cast_store_find(struct cast_store *s, uint64_t key)
{
    const struct cast_seen *seen = cast_store_seen(s, key);
    return seen && seen->kept && seen->number >= s->first ? cast_store_at(s, seen->number) : NULL;
}

void cast_store_expire(struct cast_store *s, uint64_t now_ms)
{
    while (s->first < s->next && now_ms - cast_store_at(s, s->first)->at_ms > CAST_KEEP_MS) drop_oldest(s);
}

void cast_store_bit_reuse(struct cast_store *s, uint32_t bit)
{
    for (uint64_t number = s->first; number < s->next; number++) {
        struct cast_entry *e = cast_store_at(s, number);
        e->has &= ~bit;
        e->sent &= ~bit;
        e->told[0] &= ~bit;
        e->told[1] &= ~bit;
    }
    for (uint32_t i = 0; i < s->seen_count; i++) s->seen[i].parent &= ~bit;
}
