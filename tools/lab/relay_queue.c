// Chunks of memory are filled from the front; a chunk is used again when its last packet has gone. A heap orders the
// packets.
//
// Invariants: a chunk's `held` counts its packets in the heap; `filling` has room for one more packet or is NULL; every
// chunk that isn't `filling` and holds nothing is in `spare`.
#include "tools/lab/relay_queue.h"

#include <stdlib.h>

#include "core/check.h"

enum { CHUNK_BYTES = 1 << 20, SPARE_MAX = 8 };

struct chunk {
    struct chunk *next;  // in `spare`
    size_t used;
    size_t held;
    uint8_t bytes[CHUNK_BYTES];
};

struct held_packet {
    uint64_t due_ns;
    uint64_t number;  // of its arrival
    struct chunk *chunk;
    uint32_t offset;
    uint32_t size;
};

struct relay_queue {
    struct held_packet *heap;
    size_t count;
    size_t capacity;
    uint64_t arrivals;
    struct chunk *filling;
    struct chunk *spare;
    size_t spare_count;
    size_t bytes;  // held
    size_t bytes_max;
};

struct relay_queue *relay_queue_new(size_t bytes_max)
{
    struct relay_queue *q = calloc(1, sizeof *q);
    check(q);
    q->bytes_max = bytes_max;
    return q;
}

static void retire(struct relay_queue *q, struct chunk *c)
{
    if (q->spare_count == SPARE_MAX) {
        free(c);
        return;
    }
    c->next = q->spare;
    q->spare = c;
    q->spare_count++;
}

void relay_queue_free(struct relay_queue *q)
{
    while (q->count > 0) relay_queue_drop_first(q);
    for (struct chunk *c = q->spare, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(q->filling);
    free(q->heap);
    free(q);
}

static bool make_room(struct relay_queue *q)
{
    if (q->count < q->capacity) return true;
    size_t capacity = q->capacity ? 2 * q->capacity : 1024;
    struct held_packet *heap = reallocarray(q->heap, capacity, sizeof *heap);
    if (!heap) return false;
    q->heap = heap;
    q->capacity = capacity;
    return true;
}

uint8_t *relay_queue_place(struct relay_queue *q)
{
    if (q->bytes >= q->bytes_max || !make_room(q)) return NULL;
    struct chunk *c = q->filling;
    if (c && c->held == 0) c->used = 0;
    if (c && CHUNK_BYTES - c->used >= RELAY_PACKET_MAX) return c->bytes + c->used;
    if (q->spare) {
        q->filling = q->spare;
        q->spare = q->spare->next;
        q->spare_count--;
    } else {
        struct chunk *fresh = malloc(sizeof *fresh);
        if (!fresh) return NULL;
        q->filling = fresh;
    }
    q->filling->used = q->filling->held = 0;
    return q->filling->bytes;
}

static bool before(const struct held_packet *a, const struct held_packet *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

void relay_queue_add(struct relay_queue *q, size_t size, uint64_t due_ns)
{
    struct chunk *c = q->filling;
    check(c && size <= RELAY_PACKET_MAX && c->used + size <= CHUNK_BYTES && q->count < q->capacity);
    struct held_packet p = {due_ns, q->arrivals++, c, (uint32_t)c->used, (uint32_t)size};
    c->used += (size + 15) / 16 * 16;
    c->held++;
    q->bytes += size;
    size_t i = q->count++;
    for (; i > 0 && before(&p, &q->heap[(i - 1) / 2]); i = (i - 1) / 2) q->heap[i] = q->heap[(i - 1) / 2];
    q->heap[i] = p;
}

const uint8_t *relay_queue_first(const struct relay_queue *q, uint64_t *due_ns, size_t *size)
{
    if (q->count == 0) return NULL;
    *due_ns = q->heap[0].due_ns;
    *size = q->heap[0].size;
    return q->heap[0].chunk->bytes + q->heap[0].offset;
}

void relay_queue_drop_first(struct relay_queue *q)
{
    check(q->count > 0);
    struct chunk *c = q->heap[0].chunk;
    q->bytes -= q->heap[0].size;
    if (--c->held == 0 && c != q->filling) retire(q, c);
    struct held_packet last = q->heap[--q->count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < q->count; i = child) {
        if (child + 1 < q->count && before(&q->heap[child + 1], &q->heap[child])) child++;
        if (!before(&q->heap[child], &last)) break;
        q->heap[i] = q->heap[child];
    }
    if (q->count > 0) q->heap[i] = last;
}
