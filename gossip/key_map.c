#include "gossip/key_map.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 64 };

void key_map_open(struct key_map *m, uint64_t salt)
{
    *m = (struct key_map){.salt = salt};
}

void key_map_close(struct key_map *m)
{
    free(m->slots);
    *m = (struct key_map){0};
}

static uint32_t home_of(const struct key_map *m, uint64_t key)
{
    uint64_t mixed = (key ^ m->salt) * 0x9e3779b97f4a7c15;
    mixed = (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93;
    return (uint32_t)(mixed >> 32) & (m->capacity - 1);
}

static uint32_t slot_of(const struct key_map *m, uint64_t key)
{
    uint32_t slot = home_of(m, key);
    while (m->slots[slot].used && m->slots[slot].key != key) slot = (slot + 1) & (m->capacity - 1);
    return slot;
}

uint32_t *key_map_find(const struct key_map *m, uint64_t key)
{
    if (m->count == 0) return NULL;
    struct key_map_slot *slot = &m->slots[slot_of(m, key)];
    return slot->used ? &slot->value : NULL;
}

static bool grow(struct key_map *m)
{
    struct key_map larger = {.salt = m->salt, .capacity = m->capacity ? 2 * m->capacity : FIRST_CAPACITY};
    larger.slots = calloc(larger.capacity, sizeof *larger.slots);
    if (!larger.slots) return false;
    for (uint32_t i = 0; i < m->capacity; i++)
        if (m->slots[i].used) larger.slots[slot_of(&larger, m->slots[i].key)] = m->slots[i];
    larger.count = m->count;
    free(m->slots);
    *m = larger;
    return true;
}

bool key_map_put(struct key_map *m, uint64_t key, uint32_t value)
{
    uint32_t *found = key_map_find(m, key);
    if (found) {
        *found = value;
        return true;
    }
    if (2 * (m->count + 1) > m->capacity && !grow(m)) return false;
    m->slots[slot_of(m, key)] = (struct key_map_slot){key, value, true};
    m->count++;
    return true;
}

// Empties the slot and moves up what probing would no longer reach (Knuth, TAOCP 3, 6.4, algorithm R).
void key_map_remove(struct key_map *m, uint64_t key)
{
    if (m->count == 0) return;
    uint32_t hole = slot_of(m, key);
    if (!m->slots[hole].used) return;
    const uint32_t mask = m->capacity - 1;
    m->slots[hole].used = false;
    m->count--;
    for (uint32_t at = (hole + 1) & mask; m->slots[at].used; at = (at + 1) & mask) {
        const uint32_t home = home_of(m, m->slots[at].key);
        if (((at - home) & mask) < ((at - hole) & mask)) continue;
        m->slots[hole] = m->slots[at];
        m->slots[at].used = false;
        hole = at;
    }
}
