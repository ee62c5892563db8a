// Which objects are kept, and what may go: a chunk goes when no pinned object's index names it.
#include <stdlib.h>

#include "store/disk.h"
#include "store/object.h"

struct hash_set {
    struct core_hash *hashes;  // sorted once filled
    uint32_t count, room;
};

static int by_hash(const void *a, const void *b)
{
    return hash_compare(a, b);
}

static bool set_has(const struct hash_set *set, const struct core_hash *hash)
{
    return set->count && bsearch(hash, set->hashes, set->count, sizeof *hash, by_hash);
}

static enum core_err set_add(struct hash_set *set, const struct core_hash *hashes, uint32_t count)
{
    if (set->room - set->count < count) {
        uint32_t room = 2 * set->room > set->count + count ? 2 * set->room : set->count + count;
        struct core_hash *more = realloc(set->hashes, room * sizeof *more);
        if (!more) return CORE_ERR_NO_MEMORY;
        set->hashes = more;
        set->room = room;
    }
    for (uint32_t i = 0; i < count; i++) set->hashes[set->count++] = hashes[i];
    return CORE_ERR_OK;
}

// The chunks of every pinned object but `except` (NULL: of all), and the pins.
static enum core_err reachable(struct store *s, const struct core_hash *except, struct hash_set *chunks,
                               struct hash_set *pins)
{
    *chunks = *pins = (struct hash_set){0};
    enum core_err err = disk_list(s, DISK_PIN, &pins->hashes, &pins->count);
    pins->room = pins->count;
    for (uint32_t i = 0; !err && i < pins->count; i++) {
        struct object_index index;
        if (except && hash_equal(&pins->hashes[i], except)) continue;
        enum core_err opened = object_open(s, &pins->hashes[i], &index);
        // Pinned and not fetched yet, or spoilt: it names nothing. Any other error must not cost a chunk.
        if (opened == CORE_ERR_NOT_FOUND || opened == CORE_ERR_VERIFY_FAILED) continue;
        err = opened ? opened : set_add(chunks, index.chunks, index.chunk_count);
        object_index_free(&index);
    }
    if (chunks->count) qsort(chunks->hashes, chunks->count, sizeof *chunks->hashes, by_hash);
    if (pins->count) qsort(pins->hashes, pins->count, sizeof *pins->hashes, by_hash);
    if (err) {
        free(chunks->hashes);
        free(pins->hashes);
    }
    return err;
}

enum core_err object_pin(struct store *s, const struct core_hash *root)
{
    if (disk_has(s, DISK_PIN, root)) return CORE_ERR_OK;
    return disk_write(s, DISK_PIN, root, "", 0);
}

enum core_err object_unpin(struct store *s, const struct core_hash *root)
{
    return disk_remove(s, DISK_PIN, root);
}

bool object_pinned(struct store *s, const struct core_hash *root)
{
    return disk_has(s, DISK_PIN, root);
}

enum core_err object_remove(struct store *s, const struct core_hash *root)
{
    struct hash_set kept, pins;
    struct object_index index;
    enum core_err err = reachable(s, root, &kept, &pins);
    if (err) return err;
    err = object_open(s, root, &index);
    if (err == CORE_ERR_NOT_FOUND || err == CORE_ERR_VERIFY_FAILED) err = CORE_ERR_OK;
    // The pin goes first and the index last: a crash in between leaves what the next removal or collection finds.
    if (!err) err = object_unpin(s, root);
    for (uint32_t i = 0; !err && i < index.chunk_count; i++) {
        if (!set_has(&kept, &index.chunks[i])) err = store_remove(s, &index.chunks[i]);
    }
    if (!err) err = disk_remove(s, DISK_OBJECT, root);
    object_index_free(&index);
    free(kept.hashes);
    free(pins.hashes);
    return err;
}

static enum core_err sweep(struct store *s, enum disk_kind kind, const struct hash_set *kept, uint64_t *freed)
{
    struct core_hash *hashes;
    uint32_t count;
    enum core_err err = disk_list(s, kind, &hashes, &count);
    for (uint32_t i = 0; !err && i < count; i++) {
        if (set_has(kept, &hashes[i])) continue;
        *freed += disk_size(s, kind, &hashes[i]);
        err = disk_remove(s, kind, &hashes[i]);
    }
    free(hashes);
    return err;
}

enum core_err store_collect(struct store *s, uint64_t *freed)
{
    struct hash_set kept, pins;
    uint64_t bytes = 0;
    enum core_err err = reachable(s, NULL, &kept, &pins);
    if (err) return err;
    err = sweep(s, DISK_CHUNK, &kept, &bytes);
    if (!err) err = sweep(s, DISK_OBJECT, &pins, &bytes);
    free(kept.hashes);
    free(pins.hashes);
    if (freed) *freed = bytes;
    return err;
}
