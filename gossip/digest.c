#include "gossip/digest.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "core/philox.h"

static uint32_t level_size(uint32_t depth)
{
    return 1u << (4 * depth);
}

enum core_err digest_open(struct digest *d)
{
    *d = (struct digest){.depth = 1};
    d->nodes = calloc(level_size(1), sizeof *d->nodes);
    return d->nodes ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}

void digest_close(struct digest *d)
{
    free(d->nodes);
    *d = (struct digest){0};
}

bool digest_is_shallow(const struct digest *d, uint32_t count)
{
    return d->depth < DIGEST_DEPTH_MAX && count / DIGEST_NODE_MEMBERS > level_size(d->depth);
}

bool digest_deepen(struct digest *d)
{
    struct pool_mark *nodes = calloc(level_size(d->depth + 1), sizeof *nodes);
    if (!nodes) return false;
    free(d->nodes);
    *d = (struct digest){.nodes = nodes, .depth = d->depth + 1};
    return true;
}

void digest_xor(struct pool_mark *a, const struct pool_mark *b)
{
    for (size_t i = 0; i < sizeof a->bytes; i++) a->bytes[i] ^= b->bytes[i];
}

bool digest_equal(const struct pool_mark *a, const struct pool_mark *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void digest_toggle(struct digest *d, uint64_t prefix, const struct pool_mark *mark)
{
    digest_xor(&d->nodes[prefix >> (64 - 4 * d->depth)], mark);
    digest_xor(&d->root, mark);
}

struct pool_mark digest_node(const struct digest *d, uint64_t path, uint32_t depth)
{
    check(depth <= d->depth);
    if (depth == 0) return d->root;
    struct pool_mark mark = {{0}};
    const uint32_t under = 4 * (d->depth - depth);
    const uint64_t first = path >> (64 - 4 * depth) << under;
    for (uint64_t i = 0; i < (uint64_t)1 << under; i++) digest_xor(&mark, &d->nodes[first + i]);
    return mark;
}

// Through a mixing function, not an XOR with a constant: two members' accusations must not cancel out.
struct pool_mark digest_mark(const struct member_record *record, uint32_t accusations, const struct core_id *accuser)
{
    const struct pool_mark *of = record_pool_mark(record);
    if (accusations == 0) return *of;
    uint64_t key, low;
    memcpy(&key, of->bytes, sizeof key);
    memcpy(&low, of->bytes + 8, sizeof low);
    uint64_t who = 0;
    if (accusations == 1) memcpy(&who, accuser->bytes, sizeof who);
    const struct philox_block block = philox(key, low, (who & ~UINT64_C(3)) | accusations);
    struct pool_mark mark;
    for (uint32_t i = 0; i < POOL_MARK_SIZE; i++) mark.bytes[i] = (uint8_t)(block.word[i / 4] >> (i % 4 * 8));
    return mark;
}
