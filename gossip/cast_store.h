// What a peer remembers of broadcasts: the keys of the last 4 * cast_count that it saw, and the payloads of the last
// cast_count of them (cast_bytes together, at most CAST_KEEP_MS old) for those who missed them.
//
// A broadcast's id is BLAKE2b(origin || u64 topic || u64 repeat || payload); its key is the id's first 8 bytes, which
// is also what announcements carry. Keeping whole ids would guard against nothing more: to hide somebody's broadcast
// takes another with the same key before it spreads, 2^64 tries.
//
// Pure; one owner, one thread.
#ifndef GOSSIP_CAST_STORE_H
#define GOSSIP_CAST_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/message.h"
#include "core/sign.h"
#include "gossip/key_map.h"

enum { CAST_KEEP_MS = 120000, CAST_KEY_SIZE = 8 };

// Sets of neighbours are bits: of link.cast_bit.
struct cast_entry {
    struct core_hash id;
    struct core_id origin;
    uint32_t topic;
    uint32_t hops;  // from the origin to this peer
    uint64_t repeat;
    uint64_t at_ms;        // when it came
    uint32_t has;          // neighbours that are known to have it: they sent or announced it
    uint32_t sent;         // neighbours that it was sent or announced to
    uint32_t told[2];      // the bits of a count for each neighbour: of CAST_RECENT that told of it
    bool answer;           // came because it was asked for
    struct slice payload;  // malloc'ed
};

struct cast_seen {
    uint64_t key;
    uint64_t number;  // of its entry; it may be gone
    bool kept;
    uint32_t parent;  // the bit of the neighbour that it came from first; 0: none
};

struct cast_store {
    struct cast_entry *entries;  // ring: numbers `first` to `next` - 1 at number % capacity
    uint64_t first, next;
    uint32_t capacity;
    size_t bytes, bytes_max;
    struct cast_seen *seen;  // ring
    uint32_t seen_at, seen_capacity, seen_count;
    struct key_map map;  // key to place in `seen`
};

struct core_hash cast_id_of(const struct message_cast *cast);
uint64_t cast_key(const uint8_t *id);

CORE_MUST_USE enum core_err cast_store_open(struct cast_store *s, uint32_t count, size_t bytes, uint64_t salt);
void cast_store_close(struct cast_store *s);
// NULL where the key is not remembered.
struct cast_seen *cast_store_seen(struct cast_store *s, uint64_t key);
void cast_store_remember(struct cast_store *s, uint64_t key, uint32_t parent);
// The entry with a copy of its payload, under a key that is remembered; NULL if it is above bytes_max or memory is
// short: it still goes out, but can't be asked for.
struct cast_entry *cast_store_keep(struct cast_store *s, const struct cast_entry *entry);
struct cast_entry *cast_store_find(struct cast_store *s, uint64_t key);
struct cast_entry *cast_store_at(struct cast_store *s, uint64_t number);  // first <= number < next
void cast_store_expire(struct cast_store *s, uint64_t now_ms);
// The bit is another neighbour's from now on.
void cast_store_bit_reuse(struct cast_store *s, uint32_t bit);

#endif
