// What neighbours are told of broadcasts: announcements (CAST_HAVE) and recent keys (CAST_RECENT).
#include "gossip/broadcast_parts.h"

enum {
    RECENT_FOR_MS = 30000,  // what is older has been told of often enough
    RECENT_AGE_MS = 300,    // what is younger is still on its way
    HAVE_MAX = 1024,        // items of one CAST_HAVE
    RECENT_MAX = 4096,      // keys of one CAST_RECENT
};

// ---- lists of keys, sent when full ----

struct key_list {
    const struct core_id *to;
    struct outbox *out;
    struct writer w;
    uint32_t count;
    uint8_t raw[RECENT_MAX * CAST_KEY_SIZE];
};

static void list_begin(struct key_list *list, const struct core_id *to, struct outbox *out)
{
    list->to = to;
    list->out = out;
    list->count = 0;
    list->w = writer_over(list->raw, sizeof list->raw);
}

static void recent_flush(struct key_list *list)
{
    if (list->count == 0) return;
    struct message m = {.type = MESSAGE_CAST_RECENT};
    m.cast_recent.ids = (struct slice){list->raw, list->w.size};
    outbox_send(list->out, list->to, &m);
    list_begin(list, list->to, list->out);
}

static void have_flush(struct key_list *list, uint32_t size)
{
    if (list->count == 0) return;
    struct message m = {.type = MESSAGE_CAST_HAVE};
    m.cast_have.ids = (struct slice){list->raw, list->w.size};
    m.cast_have.size = size;
    outbox_send(list->out, list->to, &m);
    list_begin(list, list->to, list->out);
}

static void have_add(struct key_list *list, const struct cast_entry *e)
{
    if (list->count == HAVE_MAX) have_flush(list, 0);
    write_u8(&list->w, (uint8_t)e->hops);
    write_bytes(&list->w, e->id.bytes, CAST_KEY_SIZE);
    list->count++;
}

static void recent_add(struct key_list *list, const struct cast_entry *e)
{
    if (list->count == RECENT_MAX) recent_flush(list);
    write_bytes(&list->w, e->id.bytes, CAST_KEY_SIZE);
    list->count++;
}

void broadcast_announce_large(const struct cast_entry *e, const struct core_id *to, struct outbox *out)
{
    struct key_list list;
    list_begin(&list, to, out);
    have_add(&list, e);
    have_flush(&list, (uint32_t)e->payload.size);
}

// ---- what is told ----

// Thrice at most, and nobody who is known to have it. Counts.
static bool is_worth_telling(struct cast_entry *e, uint32_t bit)
{
    if ((e->has & bit) || (e->told[0] & e->told[1] & bit)) return false;
    e->told[1] ^= e->told[0] & bit;
    e->told[0] ^= bit;
    return true;
}

// Keys of what is kept that `link` is not known to have, the newest first; large ones are announced as such.
void broadcast_tell_recent(struct broadcast *b, const struct link *link, uint64_t age_min_ms, uint64_t age_max_ms,
                           uint32_t max, uint64_t now_ms, struct outbox *out)
{
    struct key_list list;
    list_begin(&list, &link->id, out);
    uint32_t told = 0;
    for (uint64_t number = b->store.next; number-- > b->store.first && told < max;) {
        struct cast_entry *e = cast_store_at(&b->store, number);
        const uint64_t age_ms = now_ms - e->at_ms;
        if (age_ms > age_max_ms) break;
        if (age_ms < age_min_ms || !broadcast_is_repaired(e) || !is_worth_telling(e, link->cast_bit)) continue;
        told++;
        if (broadcast_is_large(e->payload.size))
            broadcast_announce_large(e, &link->id, out);
        else
            recent_add(&list, e);
    }
    recent_flush(&list);
}

// Tells neighbours what they were not sent since `announced`.
void broadcast_announce(struct broadcast *b, struct outbox *out)
{
    b->announce_ms = UINT64_MAX;
    const uint64_t from = b->announced < b->store.first ? b->store.first : b->announced;
    struct key_list list;
    for (uint32_t i = 0; i < b->links->count; i++) {
        struct link *link = &b->links->items[i];
        if (!link->neighbor || !link->cast_bit) continue;
        list_begin(&list, &link->id, out);
        for (uint64_t number = from; number < b->store.next; number++) {
            struct cast_entry *e = cast_store_at(&b->store, number);
            if (((e->has | e->sent) & link->cast_bit) || broadcast_is_large(e->payload.size)) continue;
            have_add(&list, e);
            e->sent |= link->cast_bit;
            link->nearer = 0;  // it is no nearer: this peer had it first
        }
        have_flush(&list, 0);
    }
}

void broadcast_recent_round(struct broadcast *b, uint64_t now_ms, struct outbox *out)
{
    b->recent_ms = UINT64_MAX;
    const uint32_t neighbors = link_table_neighbors(b->links), turn = neighbors ? b->recent_turn++ % neighbors : 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < b->links->count; i++) {
        const struct link *link = &b->links->items[i];
        if (link->neighbor && at++ == turn)
            broadcast_tell_recent(b, link, RECENT_AGE_MS, RECENT_FOR_MS, RECENT_MAX, now_ms, out);
    }
    for (uint64_t number = b->store.next; number-- > b->store.first;) {
        const struct cast_entry *e = cast_store_at(&b->store, number);
        if (now_ms - e->at_ms > RECENT_FOR_MS) break;
        if (!broadcast_is_repaired(e)) continue;
        b->recent_ms = now_ms + BROADCAST_RECENT_MS;
        break;
    }
}
