// BLAKE2b-256 (RFC 7693, libsodium's generic hash without a key) and a Merkle root in the manner of RFC 9162: leaves
// and nodes are hashed under different first bytes. Any thread.
#ifndef CORE_HASH_H
#define CORE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CORE_HASH_SIZE = 32 };

struct core_hash {
    uint8_t bytes[CORE_HASH_SIZE];
};

struct hash_state {
    _Alignas(64) uint8_t opaque[384];
};

struct core_hash hash_bytes(const void *data, size_t size);

// The same, in parts.
void hash_begin(struct hash_state *s);
void hash_add(struct hash_state *s, const void *data, size_t size);
struct core_hash hash_end(struct hash_state *s);

// A leaf's hash: BLAKE2b(0x00 || data); a node's: BLAKE2b(0x01 || left || right).
struct core_hash hash_leaf(const void *data, size_t size);
struct core_hash hash_node(const struct core_hash *left, const struct core_hash *right);
// The root over `count` leaf hashes: the left subtree holds the largest power of two below count; 0 leaves give the
// hash of nothing, 1 leaf gives itself. Does not change `leaves`.
struct core_hash hash_merkle_root(const struct core_hash *leaves, size_t count);

// A part of an object: BLAKE2b(0x02 || u64 size in bytes || root of its chunks), so that a root says where parts end.
struct core_hash hash_part(uint64_t size, const struct core_hash *chunks_root);

bool hash_equal(const struct core_hash *a, const struct core_hash *b);
bool hash_is_zero(const struct core_hash *h);
int hash_compare(const struct core_hash *a, const struct core_hash *b);  // as memcmp

#endif
