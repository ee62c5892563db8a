#include "tools/sim/queue.h"

#include <stdlib.h>

#include "core/check.h"

void queue_close(struct queue *q)
{
    free(q->keys);
    *q = (struct queue){0};
}

static bool before(const struct queue_key *a, const struct queue_key *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void queue_push(struct queue *q, uint64_t at_us, uint32_t place)
{
    if (q->count == q->capacity) {
        q->capacity = q->capacity ? 2 * q->capacity : 1024;
        q->keys = realloc(q->keys, q->capacity * sizeof *q->keys);
        check(q->keys);
    }
    const struct queue_key key = {at_us, q->order++, place};
    size_t at = q->count++;
    for (; at > 0 && before(&key, &q->keys[(at - 1) / 4]); at = (at - 1) / 4) q->keys[at] = q->keys[(at - 1) / 4];
    q->keys[at] = key;
}

bool queue_pop(struct queue *q, struct queue_key *key)
{
    if (!q->count) return false;
    *key = q->keys[0];
    const struct queue_key last = q->keys[--q->count];
    size_t at = 0;
    for (;;) {
        const size_t first = 4 * at + 1;
        if (first >= q->count) break;
        const size_t end = first + 4 < q->count ? first + 4 : q->count;
        size_t child = first;
        for (size_t i = first + 1; i < end; i++)
            if (before(&q->keys[i], &q->keys[child])) child = i;
        if (!before(&q->keys[child], &last)) break;
        q->keys[at] = q->keys[child];
        at = child;
    }
    if (q->count) q->keys[at] = last;
    return true;
}
