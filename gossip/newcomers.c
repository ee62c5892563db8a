#include "gossip/newcomers.h"

enum { GATHER_MS = 20 };

void newcomers_open(struct newcomers *n)
{
    n->count = 0;
    n->due_ms = UINT64_MAX;
}

bool newcomers_add(struct newcomers *n, const struct core_id *id, uint64_t now_ms)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (id_equal(&n->ids[i], id)) return true;
    if (n->count == NEWCOMERS_MAX) return false;
    if (n->count == 0) n->due_ms = now_ms + GATHER_MS;
    n->ids[n->count++] = *id;
    return true;
}

size_t newcomers_take(struct newcomers *n, const struct members *m, uint8_t *out)
{
    struct writer w = writer_over(out, GOSSIP_PUSH_MAX);
    while (n->count > 0 && w.size + 4 + RECORD_MAX <= w.capacity) {
        const struct member *member = members_find(m, &n->ids[--n->count]);
        if (member) write_slice(&w, member->record->bytes);
    }
    if (n->count == 0) n->due_ms = UINT64_MAX;
    return w.size;
}

bool newcomers_next(struct reader *r, struct slice *record)
{
    if (r->failed || r->at == r->size) return false;
    *record = read_slice(r, RECORD_MAX);
    return !r->failed;
}
