// A hostile member that is not in the run: what the round promises against strangers is that nothing they send is
// believed. It sends what others sent, once more or with bytes changed, votes and commits in others' names, and shards
// that are garbage.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "tools/sim/world.h"

enum { ACT_US = 100000, EACH = 8 };

void hostile_begin(struct world *w)
{
    if (w->hostile == UINT32_MAX) return;
    world_push(w, (struct world_event){.kind = WORLD_MISCHIEF, .node = w->hostile}, 1500000);
}

void hostile_end(struct world *w)
{
    for (uint32_t i = 0; i < WORLD_HEARD; i++) {
        free(w->heard[i]);
        w->heard[i] = NULL;
    }
}

void hostile_hears(struct world *w, const struct message *m)
{
    const bool wanted = w->traitor ? true : w->hostile != UINT32_MAX && !w->calm;
    if (!wanted || (m->type < MESSAGE_DATA && m->type != MESSAGE_CAST)) return;
    struct message **place = &w->heard[w->heard_count++ % WORLD_HEARD];
    free(*place);
    *place = message_clone(m);
}

void hostile_change(struct world *w, struct message *m, uint8_t *body)
{
    const struct message_info *info = message_info(m->type);
    size_t used = 0;
    for (uint32_t i = 0; i <= info->count; i++) {
        uint8_t *at = i < info->count ? (uint8_t *)m + info->fields[i].offset : (uint8_t *)&m->bulk;
        const enum message_field_kind kind = i < info->count ? info->fields[i].kind : MESSAGE_BYTES;
        if (world_chance(w, 3)) continue;
        switch (kind) {
        case MESSAGE_U64: {
            const uint64_t odd[] = {0, 1, UINT64_MAX, UINT32_MAX, rng_u64(&w->rng), world_chance(w, 16)};
            memcpy(at, &odd[world_chance(w, 6)], sizeof odd[0]);
            break;
        }
        case MESSAGE_ID: *(struct core_id *)(void *)at = w->nodes[world_chance(w, w->options.nodes)].key.id; break;
        case MESSAGE_HASH:
        case MESSAGE_SIG: at[world_chance(w, 32)] ^= (uint8_t)(1 + world_chance(w, 255)); break;
        case MESSAGE_BYTES: {
            struct slice *s = (struct slice *)(void *)at;
            if (s->size == 0 || s->size > HOSTILE_BODY - used) break;
            memcpy(body + used, s->data, s->size);
            for (uint32_t k = 1 + world_chance(w, 4); k > 0; k--)
                body[used + world_chance(w, (uint32_t)s->size)] = (uint8_t)world_chance(w, 256);
            *s = (struct slice){body + used, world_chance(w, 4) ? s->size : world_chance(w, (uint32_t)s->size)};
            used += s->size;
            break;
        }
        }
    }
}

void hostile_act(struct world *w)
{
    if (w->calm) return;
    world_push(w, (struct world_event){.kind = WORLD_MISCHIEF, .node = w->hostile},
               ACT_US / 2 + world_chance(w, ACT_US));
    if (!w->nodes[w->hostile].up) return;
    for (uint32_t i = 0; i < EACH; i++) {
        const struct message *old = w->heard[world_chance(w, WORLD_HEARD)];
        const uint32_t to = world_chance(w, w->options.nodes);
        if (!old || to == w->hostile) continue;
        struct message m = *old;
        uint8_t body[HOSTILE_BODY];
        if (world_chance(w, 4)) hostile_change(w, &m, body);
        struct message *copy = message_clone(&m);  // what was heard may be replaced while it is sent
        world_send(w, w->hostile, to, copy);
        free(copy);
    }
}
