#include "gossip/link.h"

#include <stdlib.h>

enum core_err link_table_open(struct link_table *l, uint32_t capacity)
{
    *l = (struct link_table){.capacity = capacity, .items = calloc(capacity, sizeof *l->items)};
    return l->items ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}

void link_table_close(struct link_table *l)
{
    free(l->items);
    *l = (struct link_table){0};
}

struct link *link_table_find(struct link_table *l, const struct core_id *id)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (id_equal(&l->items[i].id, id)) return &l->items[i];
    return NULL;
}

struct link *link_table_add(struct link_table *l, const struct core_id *id, uint64_t now_ms)
{
    struct link *link = link_table_find(l, id);
    if (!link) {
        if (l->count == l->capacity) return NULL;
        link = &l->items[l->count++];
    }
    *link = (struct link){.id = *id, .heard_ms = now_ms};
    return link;
}

void link_table_remove(struct link_table *l, const struct core_id *id)
{
    struct link *link = link_table_find(l, id);
    if (link) *link = l->items[--l->count];
}

uint32_t link_table_neighbors(const struct link_table *l)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < l->count; i++) count += l->items[i].neighbor;
    return count;
}
