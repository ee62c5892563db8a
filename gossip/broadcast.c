#include "gossip/broadcast.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"

enum {
    ANNOUNCE_MS = 100,  // announcements are gathered so long
    REMIND_MS = 1000,
    REMIND_FOR_MS = 10000,
    NEIGHBOR_FOR_MS = 30000,  // a new neighbour is told of what is younger
    HAVE_MAX = 128,           // ids of one CAST_HAVE
    MISSING_MAX = 512,
    HOPS_MAX = 64,
};

enum core_err broadcast_open(struct broadcast *b, const struct gossip_options *options, const struct core_id *self,
                             struct link_table *links, struct gossip_counts *counts, uint64_t now_ms)
{
    *b = (struct broadcast){.options = options, .links = links, .self = *self, .counts = counts};
    b->rng = rng_from(options->seed, 0x63617374);
    b->announce_ms = UINT64_MAX;
    b->remind_ms = now_ms + REMIND_MS;
    b->seen_capacity = 4 * options->cast_count;
    uint32_t slots = 16;
    while (slots < 2 * b->seen_capacity) slots *= 2;
    b->index_mask = slots - 1;
    b->entries = calloc(options->cast_count, sizeof *b->entries);
    b->seen = calloc(b->seen_capacity, sizeof *b->seen);
    b->seen_index = calloc(slots, sizeof *b->seen_index);
    b->missing = calloc(MISSING_MAX, sizeof *b->missing);
    if (b->entries && b->seen && b->seen_index && b->missing) return CORE_ERR_OK;
    broadcast_close(b);
    return CORE_ERR_NO_MEMORY;
}

static void drop_oldest(struct broadcast *b)
{
    struct broadcast_entry *e = &b->entries[b->first];
    free((void *)(uintptr_t)e->payload.data);
    b->bytes -= e->payload.size;
    *e = (struct broadcast_entry){0};
    b->first = (b->first + 1) % b->options->cast_count;
    b->count--;
}

void broadcast_close(struct broadcast *b)
{
    while (b->entries && b->count > 0) drop_oldest(b);
    free(b->entries);
    free(b->seen);
    free(b->seen_index);
    free(b->missing);
    *b = (struct broadcast){0};
}

// ---- ids that were seen: a ring, and an index into it by linear probing ----

static uint32_t home_of(const struct broadcast *b, const struct core_hash *id)
{
    uint32_t home;
    memcpy(&home, id->bytes, sizeof home);
    return home & b->index_mask;
}

static uint32_t seen_slot(const struct broadcast *b, const struct core_hash *id)
{
    uint32_t slot = home_of(b, id);
    while (b->seen_index[slot] && !hash_equal(&b->seen[b->seen_index[slot] - 1], id)) slot = (slot + 1) & b->index_mask;
    return slot;
}

static bool is_seen(const struct broadcast *b, const struct core_hash *id)
{
    return b->seen_index[seen_slot(b, id)] != 0;
}

// Empties a slot and moves up what probing would no longer reach (Knuth, TAOCP 3, 6.4, algorithm R).
static void unindex(struct broadcast *b, uint32_t slot)
{
    uint32_t hole = slot;
    b->seen_index[hole] = 0;
    for (uint32_t at = (slot + 1) & b->index_mask; b->seen_index[at]; at = (at + 1) & b->index_mask) {
        const uint32_t home = home_of(b, &b->seen[b->seen_index[at] - 1]);
        const bool reachable = ((at - home) & b->index_mask) < ((at - hole) & b->index_mask);
        if (reachable) continue;
        b->seen_index[hole] = b->seen_index[at];
        b->seen_index[at] = 0;
        hole = at;
    }
}

static void remember(struct broadcast *b, const struct core_hash *id)
{
    if (is_seen(b, id)) return;
    if (b->seen_count == b->seen_capacity)
        unindex(b, seen_slot(b, &b->seen[b->seen_next]));
    else
        b->seen_count++;
    b->seen[b->seen_next] = *id;
    b->seen_index[seen_slot(b, id)] = b->seen_next + 1;
    b->seen_next = (b->seen_next + 1) % b->seen_capacity;
}

// ---- what is kept ----

static struct core_hash id_of(const struct core_id *origin, uint64_t topic, uint64_t repeat, struct slice payload)
{
    uint8_t raw[CORE_ID_SIZE + 16];
    struct writer w = writer_over(raw, sizeof raw);
    write_bytes(&w, origin->bytes, sizeof origin->bytes);
    write_u64(&w, topic);
    write_u64(&w, repeat);
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, raw, w.size);
    hash_add(&s, payload.data, payload.size);
    return hash_end(&s);
}

static struct broadcast_entry *entry_back(struct broadcast *b, uint32_t back)
{
    return &b->entries[(b->first + b->count - 1 - back) % b->options->cast_count];
}

static const struct broadcast_entry *entry_find(struct broadcast *b, const struct core_hash *id)
{
    for (uint32_t back = 0; back < b->count; back++)
        if (hash_equal(&entry_back(b, back)->id, id)) return entry_back(b, back);
    return NULL;
}

// False when memory is short: the broadcast still goes out, but can't be asked for.
static bool keep(struct broadcast *b, const struct broadcast_entry *entry)
{
    const struct slice payload = entry->payload;
    while (b->count > 0 && (b->count == b->options->cast_count || b->bytes + payload.size > b->options->cast_bytes))
        drop_oldest(b);
    if (payload.size > b->options->cast_bytes) return false;
    uint8_t *copy = malloc(payload.size ? payload.size : 1);
    if (!copy) return false;
    if (payload.size) memcpy(copy, payload.data, payload.size);
    b->entries[(b->first + b->count) % b->options->cast_count] = *entry;
    b->count++;
    entry_back(b, 0)->payload.data = copy;
    b->bytes += payload.size;
    return true;
}

// ---- sending ----

static void push(struct broadcast *b, const struct broadcast_entry *entry, const struct core_id *to, struct outbox *out)
{
    struct message m = {.type = MESSAGE_CAST};
    m.cast.id = entry->id;
    m.cast.origin = entry->origin;
    m.cast.topic = entry->topic;
    m.cast.repeat = entry->repeat;
    m.cast.hops = entry->hops;
    m.cast.payload = entry->payload;
    outbox_send(out, to, &m);
    b->counts->casts_sent++;
}

// Eager neighbours get it now; the others are told of it soon.
static void spread(struct broadcast *b, const struct broadcast_entry *entry, const struct core_id *from,
                   uint64_t now_ms, struct outbox *out)
{
    bool lazy = false;
    for (uint32_t i = 0; i < b->links->count; i++) {
        const struct link *link = &b->links->items[i];
        if (!link->neighbor || (from && id_equal(&link->id, from))) continue;
        if (link->lazy)
            lazy = true;
        else
            push(b, entry, &link->id, out);
    }
    if (!keep(b, entry) || !lazy) {
        if (b->unannounced > 0) b->unannounced++;  // it lies among those that are to be announced
        return;
    }
    b->unannounced++;
    if (b->announce_ms == UINT64_MAX) b->announce_ms = now_ms + ANNOUNCE_MS;
}

// Tells `to` the ids of the latest `count` entries that are not older than `age_ms`.
static void tell(struct broadcast *b, const struct core_id *to, uint64_t count, uint64_t age_ms, uint64_t now_ms,
                 struct outbox *out)
{
    uint8_t ids[HAVE_MAX * CORE_HASH_SIZE];
    struct writer w = writer_over(ids, sizeof ids);
    for (uint32_t back = 0; back < b->count && back < count && back < HAVE_MAX; back++) {
        const struct broadcast_entry *e = entry_back(b, back);
        if (now_ms - e->at_ms > age_ms) break;
        write_bytes(&w, e->id.bytes, sizeof e->id.bytes);
    }
    if (w.size == 0) return;
    struct message m = {.type = MESSAGE_CAST_HAVE};
    m.cast_have.ids = (struct slice){ids, w.size};
    outbox_send(out, to, &m);
}

enum core_err broadcast_cast(struct broadcast *b, enum cast_topic topic, uint64_t repeat, struct slice payload,
                             uint64_t now_ms, struct outbox *out)
{
    if (payload.size > GOSSIP_PAYLOAD_MAX) return CORE_ERR_TOO_LARGE;
    struct broadcast_entry entry = {.origin = b->self, .topic = topic, .repeat = repeat, .at_ms = now_ms};
    entry.payload = payload;
    entry.id = id_of(&b->self, topic, repeat, payload);
    remember(b, &entry.id);
    spread(b, &entry, NULL, now_ms, out);
    return CORE_ERR_OK;
}

// ---- receiving ----

static struct broadcast_missing *missing_find(struct broadcast *b, const struct core_hash *id)
{
    for (uint32_t i = 0; i < b->missing_count; i++)
        if (hash_equal(&b->missing[i].id, id)) return &b->missing[i];
    return NULL;
}

static void missing_remove(struct broadcast *b, const struct core_hash *id)
{
    struct broadcast_missing *missing = missing_find(b, id);
    if (missing) *missing = b->missing[--b->missing_count];
}

enum broadcast_verdict broadcast_look(struct broadcast *b, const struct core_id *from, const struct message *m,
                                      struct outbox *out)
{
    b->counts->casts_received++;
    const struct message_cast *cast = &m->cast;
    if (is_seen(b, &cast->id)) {
        b->counts->casts_duplicate++;
        struct link *link = link_table_find(b->links, from);
        if (link) link->lazy = true;
        struct message prune = {.type = MESSAGE_CAST_PRUNE};
        outbox_send(out, from, &prune);
        return BROADCAST_KNOWN;
    }
    if (cast->topic == 0 || cast->topic >= TOPIC_COUNT || cast->payload.size > GOSSIP_PAYLOAD_MAX)
        return BROADCAST_MALFORMED;
    const struct core_hash id = id_of(&cast->origin, cast->topic, cast->repeat, cast->payload);
    if (!hash_equal(&id, &cast->id)) return BROADCAST_MALFORMED;
    missing_remove(b, &id);
    // Judged once: a payload that its owner refuses is not looked at again when it comes from elsewhere.
    remember(b, &id);
    return BROADCAST_NEW;
}

void broadcast_accept(struct broadcast *b, const struct core_id *from, const struct message *m, uint64_t now_ms,
                      struct outbox *out)
{
    const struct message_cast *cast = &m->cast;
    struct link *link = link_table_find(b->links, from);
    if (link) link->lazy = false;
    const uint64_t hops = cast->hops < HOPS_MAX ? cast->hops + 1 : HOPS_MAX;
    const struct broadcast_entry entry = {.id = cast->id,
                                          .origin = cast->origin,
                                          .topic = (uint32_t)cast->topic,
                                          .repeat = cast->repeat,
                                          .hops = hops,
                                          .at_ms = now_ms,
                                          .payload = cast->payload};
    spread(b, &entry, from, now_ms, out);
}

static enum core_err have_received(struct broadcast *b, const struct core_id *from, struct slice ids, uint64_t now_ms)
{
    if (ids.size % CORE_HASH_SIZE != 0) return CORE_ERR_MALFORMED;
    for (size_t at = 0; at < ids.size; at += CORE_HASH_SIZE) {
        struct core_hash id;
        memcpy(id.bytes, ids.data + at, sizeof id.bytes);
        if (is_seen(b, &id)) continue;
        struct broadcast_missing *missing = missing_find(b, &id);
        if (!missing) {
            if (b->missing_count == MISSING_MAX) return CORE_ERR_OK;  // it is told of again
            missing = &b->missing[b->missing_count++];
            *missing = (struct broadcast_missing){.id = id, .ask_ms = now_ms + b->options->graft_ms};
        }
        bool known = false;
        for (uint32_t i = 0; i < missing->count; i++) known |= id_equal(&missing->announcers[i], from);
        if (!known && missing->count < BROADCAST_ANNOUNCERS) missing->announcers[missing->count++] = *from;
    }
    return CORE_ERR_OK;
}

bool broadcast_message(struct broadcast *b, const struct core_id *from, const struct message *m, uint64_t now_ms,
                       struct outbox *out, enum core_err *err)
{
    struct link *link = link_table_find(b->links, from);
    switch (m->type) {
    case MESSAGE_CAST_HAVE: *err = have_received(b, from, m->cast_have.ids, now_ms); return true;
    case MESSAGE_CAST_GRAFT: {
        if (link) link->lazy = false;
        const struct broadcast_entry *entry = entry_find(b, &m->cast_graft.id);
        if (entry) push(b, entry, from, out);
        return true;
    }
    case MESSAGE_CAST_PRUNE:
        if (link) link->lazy = true;
        return true;
    default: return false;
    }
}

void broadcast_neighbor(struct broadcast *b, const struct core_id *peer, uint64_t now_ms, struct outbox *out)
{
    tell(b, peer, HAVE_MAX, NEIGHBOR_FOR_MS, now_ms, out);
}

// ---- timers ----

static void announce(struct broadcast *b, uint64_t now_ms, struct outbox *out)
{
    for (uint32_t i = 0; i < b->links->count; i++) {
        const struct link *link = &b->links->items[i];
        if (link->neighbor && link->lazy) tell(b, &link->id, b->unannounced, UINT64_MAX, now_ms, out);
    }
    b->unannounced = 0;
    b->announce_ms = UINT64_MAX;
}

static void remind(struct broadcast *b, uint64_t now_ms, struct outbox *out)
{
    b->remind_ms = now_ms + REMIND_MS;
    const struct link *to = NULL;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < b->links->count; i++)
        if (b->links->items[i].neighbor && rng_below(&b->rng, ++seen) == 0) to = &b->links->items[i];
    if (to) tell(b, &to->id, HAVE_MAX, REMIND_FOR_MS, now_ms, out);
}

// Asks the next who announced it; when nobody is left it is forgotten, until it is announced again.
static void ask_missing(struct broadcast *b, struct broadcast_missing *missing, uint64_t now_ms, struct outbox *out)
{
    const struct core_id announcer = missing->announcers[0];
    missing->count--;
    memmove(&missing->announcers[0], &missing->announcers[1], missing->count * sizeof announcer);
    missing->ask_ms = now_ms + b->options->graft_ms;
    struct link *link = link_table_find(b->links, &announcer);
    if (!link) return;
    link->lazy = false;
    struct message m = {.type = MESSAGE_CAST_GRAFT};
    m.cast_graft.id = missing->id;
    outbox_send(out, &announcer, &m);
    b->counts->grafts++;
}

void broadcast_tick(struct broadcast *b, uint64_t now_ms, struct outbox *out)
{
    if (b->announce_ms <= now_ms) announce(b, now_ms, out);
    if (b->remind_ms <= now_ms) remind(b, now_ms, out);
    for (uint32_t i = b->missing_count; i-- > 0;) {
        struct broadcast_missing *missing = &b->missing[i];
        if (missing->ask_ms > now_ms) continue;
        if (missing->count == 0)
            *missing = b->missing[--b->missing_count];
        else
            ask_missing(b, missing, now_ms, out);
    }
}

uint64_t broadcast_next_ms(const struct broadcast *b)
{
    uint64_t next = b->announce_ms < b->remind_ms ? b->announce_ms : b->remind_ms;
    for (uint32_t i = 0; i < b->missing_count; i++)
        if (b->missing[i].ask_ms < next) next = b->missing[i].ask_ms;
    return next;
}
