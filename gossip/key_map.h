// A map from 64-bit keys to 32-bit values: open addressing, salted, so that nobody who chooses keys chooses where they
// lie. It grows by itself. Keys are the first 8 bytes of BLAKE2b hashes: to meet another's takes 2^64 tries. Pure.
#ifndef GOSSIP_KEY_MAP_H
#define GOSSIP_KEY_MAP_H

#include <stdbool.h>
#include <stdint.h>

struct key_map_slot {
    uint64_t key;
    uint32_t value;
    bool used;
};

struct key_map {
    struct key_map_slot *slots;  // a power of two, at most half of them used
    uint32_t capacity, count;
    uint64_t salt;
};

void key_map_open(struct key_map *m, uint64_t salt);
void key_map_close(struct key_map *m);
// NULL if the key isn't there; good until the next put or remove.
uint32_t *key_map_find(const struct key_map *m, uint64_t key);
// False when memory is short.
bool key_map_put(struct key_map *m, uint64_t key, uint32_t value);
void key_map_remove(struct key_map *m, uint64_t key);

#endif
