#include "gossip/link.h"

#include <stdlib.h>

enum core_err links_open(struct links *l, uint32_t capacity)
{
    *l = (struct links){.capacity = capacity, .items = calloc(capacity, sizeof *l->items)};
    return l->items ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}

void links_close(struct links *l)
{
    free(l->items);
    *l = (struct links){0};
}

struct link *links_find(struct links *l, const struct core_id *id)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (id_equal(&l->items[i].id, id)) return &l->items[i];
    return NULL;
}

struct link *links_add(struct links *l, const struct core_id *id, uint64_t now_ms)
{
    struct link *link = links_find(l, id);
    if (!link) {
        if (l->count == l->capacity) return NULL;
        link = &l->items[l->count++];
    }
    *link = (struct link){.id = *id, .heard_ms = now_ms};
    return link;
}

void links_remove(struct links *l, const struct core_id *id)
{
    struct link *link = links_find(l, id);
    if (link) *link = l->items[--l->count];
}

uint32_t links_neighbors(const struct links *l)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < l->count; i++) count += l->items[i].neighbor;
    return count;
}
