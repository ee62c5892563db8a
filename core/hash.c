#include "core/hash.h"

#include <sodium.h>
#include <string.h>

#include "core/check.h"

_Static_assert(sizeof(crypto_generichash_state) <= sizeof(struct hash_state), "hash_state too small");

void hash_begin(struct hash_state *s)
{
    check(crypto_generichash_init((crypto_generichash_state *)(void *)s, NULL, 0, CORE_HASH_SIZE) == 0);
}

void hash_add(struct hash_state *s, const void *data, size_t size)
{
    if (size) check(crypto_generichash_update((crypto_generichash_state *)(void *)s, data, size) == 0);
}

struct core_hash hash_end(struct hash_state *s)
{
    struct core_hash h;
    check(crypto_generichash_final((crypto_generichash_state *)(void *)s, h.bytes, sizeof h.bytes) == 0);
    return h;
}

struct core_hash hash_bytes(const void *data, size_t size)
{
    struct core_hash h;
    check(crypto_generichash(h.bytes, sizeof h.bytes, data, size, NULL, 0) == 0);
    return h;
}

struct core_hash hash_leaf(const void *data, size_t size)
{
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, "\0", 1);
    hash_add(&s, data, size);
    return hash_end(&s);
}

struct core_hash hash_node(const struct core_hash *left, const struct core_hash *right)
{
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, "\1", 1);
    hash_add(&s, left->bytes, sizeof left->bytes);
    hash_add(&s, right->bytes, sizeof right->bytes);
    return hash_end(&s);
}

struct core_hash hash_part(uint64_t size, const struct core_hash *chunks_root)
{
    uint8_t raw[8];
    for (int i = 0; i < 8; i++) raw[i] = (uint8_t)(size >> (8 * i));
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, "\2", 1);
    hash_add(&s, raw, sizeof raw);
    hash_add(&s, chunks_root->bytes, sizeof chunks_root->bytes);
    return hash_end(&s);
}

struct core_hash hash_merkle_root(const struct core_hash *leaves, size_t count)
{
    if (count == 0) return hash_bytes(NULL, 0);
    if (count == 1) return leaves[0];
    size_t half = 1;
    while (half * 2 < count) half *= 2;
    struct core_hash left = hash_merkle_root(leaves, half);
    struct core_hash right = hash_merkle_root(leaves + half, count - half);
    return hash_node(&left, &right);
}

bool hash_equal(const struct core_hash *a, const struct core_hash *b)
{
    return hash_compare(a, b) == 0;
}

bool hash_is_zero(const struct core_hash *h)
{
    static const struct core_hash zero;
    return hash_equal(h, &zero);
}

int hash_compare(const struct core_hash *a, const struct core_hash *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}
