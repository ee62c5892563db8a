#include "core/effect.h"

#include <stdlib.h>

#include "core/check.h"

enum core_err outbox_open(struct outbox *o, size_t effects, size_t bytes)
{
    *o = (struct outbox){.capacity = effects};
    o->effects = calloc(effects ? effects : 1, sizeof *o->effects);
    if (!o->effects) return CORE_ERR_NO_MEMORY;
    enum core_err err = arena_open(&o->arena, bytes);
    if (err) outbox_close(o);
    return err;
}

void outbox_close(struct outbox *o)
{
    arena_close(&o->arena);
    free(o->effects);
    *o = (struct outbox){0};
}

void outbox_reset(struct outbox *o)
{
    arena_reset(&o->arena);
    o->count = 0;
}

static bool copy_slice(struct arena *a, struct slice *s)
{
    if (s->size == 0) {
        s->data = NULL;
        return true;
    }
    s->data = arena_copy(a, s->data, s->size);
    return s->data != NULL;
}

bool message_copy(struct arena *a, struct message *to, const struct message *from)
{
    const struct message_info *info = message_info(from->type);
    check(info);
    *to = *from;
    bool ok = copy_slice(a, &to->bulk);
    for (uint32_t i = 0; ok && i < info->count; i++) {
        if (info->fields[i].kind != MESSAGE_BYTES) continue;
        ok = copy_slice(a, (struct slice *)(void *)((uint8_t *)to + info->fields[i].offset));
    }
    return ok;
}

// A free place with a copy of `payload`, or NULL (counted) when the outbox is full.
static struct effect *place(struct outbox *o, enum effect_kind kind, struct slice payload)
{
    if (o->count == o->capacity || !copy_slice(&o->arena, &payload)) {
        o->dropped++;
        return NULL;
    }
    struct effect *e = &o->effects[o->count++];
    *e = (struct effect){.kind = kind, .payload = payload};
    return e;
}

void outbox_send(struct outbox *o, const struct core_id *to, const struct message *m)
{
    struct effect *e = place(o, EFFECT_SEND, (struct slice){0});
    if (!e) return;
    e->to = *to;
    if (message_copy(&o->arena, &e->message, m)) return;
    o->count--;
    o->dropped++;
}

void outbox_cast(struct outbox *o, enum cast_topic topic, struct slice payload)
{
    struct effect *e = place(o, EFFECT_CAST, payload);
    if (e) e->kind_of = topic;
}

void outbox_deliver(struct outbox *o, const struct core_id *origin, enum cast_topic topic, struct slice payload)
{
    struct effect *e = place(o, EFFECT_DELIVER, payload);
    if (!e) return;
    e->kind_of = topic;
    e->to = *origin;
}

void outbox_dial(struct outbox *o, const struct core_id *to, struct slice addresses)
{
    struct effect *e = place(o, EFFECT_DIAL, addresses);
    if (e) e->to = *to;
}

void outbox_hangup(struct outbox *o, const struct core_id *to)
{
    struct effect *e = place(o, EFFECT_HANGUP, (struct slice){0});
    if (e) e->to = *to;
}

void outbox_member(struct outbox *o, const struct core_id *member)
{
    struct effect *e = place(o, EFFECT_MEMBER, (struct slice){0});
    if (e) e->to = *member;
}

void outbox_persist(struct outbox *o, uint32_t kind_of, struct slice payload)
{
    struct effect *e = place(o, EFFECT_PERSIST, payload);
    check(e);
    e->kind_of = kind_of;
}

void outbox_work(struct outbox *o, uint32_t kind_of, const void *args, size_t size)
{
    struct effect *e = place(o, EFFECT_WORK, (struct slice){args, size});
    check(e);
    e->kind_of = kind_of;
}
