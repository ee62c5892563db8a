#include "tools/sim/wire.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"

static const void *field(const struct message *m, const struct message_field *f)
{
    return (const uint8_t *)m + f->offset;
}

static uint32_t size_u64(uint64_t v)
{
    return v < 128 ? 1 : v < 256 ? 2 : v < 65536 ? 3 : v <= UINT32_MAX ? 5 : 9;
}

static uint32_t size_bytes(size_t n)
{
    return (n < 256 ? 2u : n < 65536 ? 3u : 5u) + (uint32_t)n;
}

uint32_t wire_size(const struct message *m)
{
    const struct message_info *info = message_info(m->type);
    uint32_t size = info->count < 16 ? 1 : 3;
    for (uint32_t i = 0; i < info->count; i++) {
        const struct message_field *f = &info->fields[i];
        switch (f->kind) {
        case MESSAGE_U64: size += size_u64(*(const uint64_t *)field(m, f)); break;
        case MESSAGE_ID:
        case MESSAGE_HASH: size += size_bytes(32); break;
        case MESSAGE_SIG: size += size_bytes(64); break;
        case MESSAGE_BYTES: size += size_bytes(((const struct slice *)field(m, f))->size); break;
        }
    }
    return size + (uint32_t)m->bulk.size;
}

struct wire *wire_make(const struct message *m)
{
    const struct message_info *info = message_info(m->type);
    size_t size = sizeof(struct wire) + m->bulk.size;
    for (uint32_t i = 0; i < info->count; i++)
        if (info->fields[i].kind == MESSAGE_BYTES) size += ((const struct slice *)field(m, &info->fields[i]))->size;
    struct wire *w = malloc(size);
    check(w);
    w->refs = 1;
    w->size = wire_size(m);
    w->message = *m;
    uint8_t *at = (uint8_t *)(w + 1);
    for (uint32_t i = 0; i <= info->count; i++) {
        if (i < info->count && info->fields[i].kind != MESSAGE_BYTES) continue;
        struct slice *s = i == info->count ? &w->message.bulk
                                           : (struct slice *)(void *)((uint8_t *)&w->message + info->fields[i].offset);
        if (s->size) memcpy(at, s->data, s->size);
        s->data = at;
        at += s->size;
    }
    return w;
}

void wire_release(struct wire *w)
{
    if (w && --w->refs == 0) free(w);
}

static bool same_slice(const struct slice *a, const struct slice *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

bool wire_same(const struct wire *w, const struct message *m)
{
    if (w->message.type != m->type || w->message.trace != m->trace) return false;
    const struct message_info *info = message_info(m->type);
    for (uint32_t i = 0; i < info->count; i++) {
        const struct message_field *f = &info->fields[i];
        const void *a = field(&w->message, f), *b = field(m, f);
        switch (f->kind) {
        case MESSAGE_U64:
            if (*(const uint64_t *)a != *(const uint64_t *)b) return false;
            break;
        case MESSAGE_ID:
        case MESSAGE_HASH:
            if (memcmp(a, b, 32) != 0) return false;
            break;
        case MESSAGE_SIG:
            if (memcmp(a, b, 64) != 0) return false;
            break;
        case MESSAGE_BYTES:
            if (!same_slice(a, b)) return false;
            break;
        }
    }
    return same_slice(&w->message.bulk, &m->bulk);
}
