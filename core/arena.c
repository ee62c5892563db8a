#include "core/arena.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"

enum { ARENA_ALIGN = 16 };

enum core_err arena_open(struct arena *a, size_t size)
{
    *a = (struct arena){.base = malloc(size ? size : 1), .size = size};
    return a->base ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}

void arena_close(struct arena *a)
{
    free(a->base);
    *a = (struct arena){0};
}

void *arena_alloc(struct arena *a, size_t size)
{
    check(!a->sealed);
    check(a->used <= a->size);
    if (size > SIZE_MAX - ARENA_ALIGN) return NULL;
    size_t rounded = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (rounded > a->size - a->used) return NULL;
    void *p = a->base + a->used;
    a->used += rounded;
    if (a->used > a->peak) a->peak = a->used;
    memset(p, 0, size);
    return p;
}

void *arena_copy(struct arena *a, const void *data, size_t size)
{
    void *p = arena_alloc(a, size);
    if (p && size) memcpy(p, data, size);
    return p;
}

void arena_seal(struct arena *a)
{
    check(!a->sealed);
    a->sealed = true;
}

void arena_reset(struct arena *a)
{
    check(!a->sealed);
    a->used = 0;
}
