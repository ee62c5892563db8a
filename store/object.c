#include "store/object.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "store/disk.h"

struct object_writer {
    struct store *store;
    struct object_index index;
    uint32_t part_room, chunk_room;
    uint8_t *chunk;  // the part's last bytes, not yet a chunk
    uint32_t held;
    enum core_err err;  // the first one; sticks
};

enum core_err object_writer_begin(struct object_writer **out, struct store *s)
{
    struct object_writer *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w) return CORE_ERR_NO_MEMORY;
    w->store = s;
    w->chunk = malloc(STORE_CHUNK_SIZE);
    if (!w->chunk) {
        free(w);
        return CORE_ERR_NO_MEMORY;
    }
    *out = w;
    return CORE_ERR_OK;
}

void object_writer_cancel(struct object_writer *w)
{
    if (!w) return;
    object_index_free(&w->index);
    free(w->chunk);
    free(w);
}

// Room for one more element of an array that doubles.
static enum core_err grow(void **array, uint32_t *room, uint32_t count, size_t element)
{
    if (count < *room) return CORE_ERR_OK;
    uint32_t more = *room ? 2 * *room : 32;
    void *moved = realloc(*array, more * element);
    if (!moved) return CORE_ERR_NO_MEMORY;
    *array = moved;
    *room = more;
    return CORE_ERR_OK;
}

// One chunk of the last part: stored, and named in the index.
static enum core_err add_chunk(struct object_writer *w, const void *data, uint32_t size)
{
    struct object_index *x = &w->index;
    if (object_index_size(x) + CORE_HASH_SIZE > OBJECT_INDEX_LIMIT) return CORE_ERR_TOO_LARGE;
    void *chunks = x->chunks;
    enum core_err err = grow(&chunks, &w->chunk_room, x->chunk_count, sizeof *x->chunks);
    x->chunks = chunks;
    if (!err) err = store_put(w->store, data, size, &x->chunks[x->chunk_count]);
    if (err) return err;
    x->chunk_count++;
    x->parts[x->part_count - 1].count++;
    x->parts[x->part_count - 1].size += size;
    return CORE_ERR_OK;
}

static enum core_err close_part(struct object_writer *w)
{
    enum core_err err = w->held ? add_chunk(w, w->chunk, w->held) : CORE_ERR_OK;
    w->held = 0;
    return err;
}

enum core_err object_writer_part(struct object_writer *w)
{
    struct object_index *x = &w->index;
    if (!w->err) w->err = close_part(w);
    if (!w->err && x->part_count == OBJECT_PARTS_MAX) w->err = CORE_ERR_TOO_LARGE;
    if (!w->err) {
        void *parts = x->parts;
        w->err = grow(&parts, &w->part_room, x->part_count, sizeof *x->parts);
        x->parts = parts;
    }
    if (!w->err) x->parts[x->part_count++] = (struct object_part){.first = x->chunk_count};
    return w->err;
}

enum core_err object_writer_add(struct object_writer *w, const void *data, size_t size)
{
    check(w->err || w->index.part_count > 0);
    const uint8_t *at = data;
    while (!w->err && size > 0) {
        if (w->held == 0 && size >= STORE_CHUNK_SIZE) {
            w->err = add_chunk(w, at, STORE_CHUNK_SIZE);
            at += STORE_CHUNK_SIZE;
            size -= STORE_CHUNK_SIZE;
            continue;
        }
        size_t room = STORE_CHUNK_SIZE - w->held, n = size < room ? size : room;
        memcpy(w->chunk + w->held, at, n);
        w->held += (uint32_t)n;
        at += n;
        size -= n;
        if (w->held == STORE_CHUNK_SIZE) w->err = close_part(w);
    }
    return w->err;
}

static enum core_err write_index(struct store *s, const struct object_index *index)
{
    size_t size = object_index_size(index);
    if (size > OBJECT_INDEX_LIMIT) return CORE_ERR_TOO_LARGE;
    // Written even where there is one: the root does not cover the parts' sizes, and the other may have them wrong.
    struct writer w = writer_over(s->buffer, STORE_CHUNK_SIZE);
    object_index_encode(&w, index);
    check(!w.overflowed && w.size == size);
    return disk_write(s, DISK_OBJECT, &index->root, s->buffer, size);
}

enum core_err object_writer_end(struct object_writer *w, struct core_hash *root)
{
    if (!w->err) w->err = close_part(w);
    if (!w->err && w->index.part_count == 0) w->err = CORE_ERR_TOO_SHORT;
    if (!w->err) w->err = object_index_finish(&w->index);
    if (!w->err) w->err = write_index(w->store, &w->index);
    if (!w->err) *root = w->index.root;
    enum core_err err = w->err;
    object_writer_cancel(w);
    return err;
}

enum core_err object_put(struct store *s, const struct slice *parts, uint32_t count, struct core_hash *root)
{
    struct object_writer *w;
    enum core_err err = object_writer_begin(&w, s);
    if (err) return err;
    for (uint32_t i = 0; !err && i < count; i++) {
        err = object_writer_part(w);
        if (!err) err = object_writer_add(w, parts[i].data, parts[i].size);
    }
    return object_writer_end(w, root);
}

enum core_err object_put_index(struct store *s, const struct core_hash *root, struct slice bytes)
{
    struct object_index index;
    enum core_err err = object_index_decode(bytes, UINT64_MAX, &index);
    if (err) return err;
    err = hash_equal(&index.root, root) ? write_index(s, &index) : CORE_ERR_VERIFY_FAILED;
    object_index_free(&index);
    return err;
}

enum core_err object_open(struct store *s, const struct core_hash *root, struct object_index *index)
{
    *index = (struct object_index){0};
    size_t size;
    enum core_err err = disk_read(s, DISK_OBJECT, root, s->buffer, STORE_CHUNK_SIZE, &size);
    if (err) return err;
    err = object_index_decode((struct slice){s->buffer, size}, UINT64_MAX, index);
    if (err == CORE_ERR_NO_MEMORY) return err;
    if (!err && hash_equal(&index->root, root)) return CORE_ERR_OK;
    object_index_free(index);
    err = disk_remove(s, DISK_OBJECT, root);
    return err ? err : CORE_ERR_VERIFY_FAILED;
}

uint32_t object_missing(struct store *s, const struct object_index *index)
{
    uint32_t missing = 0;
    for (uint32_t i = 0; i < index->chunk_count; i++) {
        missing += disk_size(s, DISK_CHUNK, &index->chunks[i]) != object_chunk_size(index, i);
    }
    return missing;
}

enum core_err object_read(struct store *s, const struct object_index *index, uint32_t part, uint64_t offset, void *out,
                          size_t size)
{
    check(part < index->part_count);
    const struct object_part *p = &index->parts[part];
    if (offset > p->size || size > p->size - offset) return CORE_ERR_TOO_SHORT;
    uint8_t *to = out;
    while (size > 0) {
        uint32_t i = p->first + (uint32_t)(offset / STORE_CHUNK_SIZE);
        size_t skip = offset % STORE_CHUNK_SIZE, held;
        enum core_err err = store_get(s, &index->chunks[i], s->buffer, STORE_CHUNK_SIZE, &held);
        if (err) return err;
        if (held != object_chunk_size(index, i)) return CORE_ERR_VERIFY_FAILED;
        size_t n = size < held - skip ? size : held - skip;
        memcpy(to, s->buffer + skip, n);
        to += n;
        offset += n;
        size -= n;
    }
    return CORE_ERR_OK;
}

enum core_err object_verify(struct store *s, const struct core_hash *root, uint32_t *bad)
{
    struct object_index index;
    uint32_t wrong = 0;
    enum core_err err = object_open(s, root, &index);
    for (uint32_t i = 0; !err && i < index.chunk_count; i++) {
        size_t held = 0;
        enum core_err got = store_get(s, &index.chunks[i], s->buffer, STORE_CHUNK_SIZE, &held);
        bool damaged = got == CORE_ERR_NOT_FOUND || got == CORE_ERR_VERIFY_FAILED || got == CORE_ERR_TOO_LARGE;
        if (damaged || (!got && held != object_chunk_size(&index, i)))
            wrong++;
        else
            err = got;
    }
    object_index_free(&index);
    if (bad) *bad = wrong;
    return err ? err : wrong ? CORE_ERR_VERIFY_FAILED : CORE_ERR_OK;
}
