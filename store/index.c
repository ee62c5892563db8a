#include <stdlib.h>

#include "core/check.h"
#include "store/object.h"

enum { INDEX_VERSION = 1, INDEX_HEAD = 1 + 4 };

static uint64_t chunks_of(uint64_t size)
{
    return size / STORE_CHUNK_SIZE + (size % STORE_CHUNK_SIZE != 0);
}

enum core_err object_index_finish(struct object_index *index)
{
    struct core_hash *roots = malloc(index->part_count * sizeof *roots);
    if (!roots) return CORE_ERR_NO_MEMORY;
    index->size = 0;
    for (uint32_t i = 0; i < index->part_count; i++) {
        const struct object_part *p = &index->parts[i];
        struct core_hash chunks = hash_merkle_root(index->chunks + p->first, p->count);
        roots[i] = hash_part(p->size, &chunks);
        index->size += p->size;
    }
    index->root = hash_merkle_root(roots, index->part_count);
    free(roots);
    return CORE_ERR_OK;
}

enum core_err object_index_decode(struct slice bytes, uint64_t size_limit, struct object_index *index)
{
    *index = (struct object_index){0};
    struct reader r = reader_over(bytes.data, bytes.size);
    uint8_t version = read_u8(&r);
    if (!r.failed && version != INDEX_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    uint32_t parts = read_u32(&r);
    if (r.failed || parts == 0 || bytes.size > OBJECT_INDEX_LIMIT) return CORE_ERR_MALFORMED;
    if (parts > OBJECT_PARTS_MAX) return CORE_ERR_TOO_LARGE;
    // What the bytes can hold bounds the memory, whatever they say.
    index->parts = calloc(parts, sizeof *index->parts);
    index->chunks = malloc(bytes.size + 1);
    enum core_err err = index->parts && index->chunks ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
    uint64_t total = 0;
    for (uint32_t i = 0; !err && i < parts; i++) {
        uint64_t size = read_u64(&r), count = chunks_of(size);
        if (r.failed || count > (r.size - r.at) / CORE_HASH_SIZE) {
            err = CORE_ERR_MALFORMED;
            break;
        }
        index->parts[i] = (struct object_part){size, index->chunk_count, (uint32_t)count};
        read_bytes(&r, index->chunks + index->chunk_count, count * CORE_HASH_SIZE);
        index->chunk_count += (uint32_t)count;
        total += size;
        if (total > size_limit) err = CORE_ERR_TOO_LARGE;
    }
    if (!err && !reader_finished(&r)) err = CORE_ERR_MALFORMED;
    index->part_count = parts;
    if (!err) err = object_index_finish(index);
    if (err) object_index_free(index);
    return err;
}

void object_index_free(struct object_index *index)
{
    free(index->parts);
    free(index->chunks);
    *index = (struct object_index){0};
}

size_t object_index_size(const struct object_index *index)
{
    return INDEX_HEAD + 8 * (size_t)index->part_count + CORE_HASH_SIZE * (size_t)index->chunk_count;
}

void object_index_encode(struct writer *w, const struct object_index *index)
{
    write_u8(w, INDEX_VERSION);
    write_u32(w, index->part_count);
    for (uint32_t i = 0; i < index->part_count; i++) {
        const struct object_part *p = &index->parts[i];
        write_u64(w, p->size);
        if (p->count) write_bytes(w, index->chunks + p->first, (size_t)p->count * CORE_HASH_SIZE);
    }
}

uint32_t object_chunk_size(const struct object_index *index, uint32_t i)
{
    check(i < index->chunk_count);
    for (uint32_t k = 0; k < index->part_count; k++) {
        const struct object_part *p = &index->parts[k];
        if (i < p->first || i - p->first >= p->count) continue;
        if (i - p->first + 1 < p->count) return STORE_CHUNK_SIZE;
        return (uint32_t)(p->size - (uint64_t)(p->count - 1) * STORE_CHUNK_SIZE);
    }
    check(false);
    return 0;
}

enum core_err object_root(const struct slice *parts, uint32_t count, struct core_hash *root)
{
    if (count == 0 || count > OBJECT_PARTS_MAX) return CORE_ERR_TOO_LARGE;
    struct core_hash *roots = malloc(count * sizeof *roots);
    enum core_err err = roots ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
    for (uint32_t i = 0; !err && i < count; i++) {
        uint64_t chunks = chunks_of(parts[i].size);
        struct core_hash *hashes = malloc((chunks ? chunks : 1) * sizeof *hashes);
        if (!hashes) {
            err = CORE_ERR_NO_MEMORY;
            break;
        }
        for (uint64_t c = 0; c < chunks; c++) {
            size_t at = c * STORE_CHUNK_SIZE, left = parts[i].size - at;
            hashes[c] = hash_leaf(parts[i].data + at, left < STORE_CHUNK_SIZE ? left : STORE_CHUNK_SIZE);
        }
        struct core_hash whole = hash_merkle_root(hashes, chunks);
        roots[i] = hash_part(parts[i].size, &whole);
        free(hashes);
    }
    if (!err) *root = hash_merkle_root(roots, count);
    free(roots);
    return err;
}
