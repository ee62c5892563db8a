#include "gossip/broadcast.h"

#include <stdlib.h>

#include "core/check.h"
#include "gossip/broadcast_parts.h"

enum {
    ANNOUNCE_MS = 100,  // announcements are gathered so long
    UNDER_WAY_MS = 20,  // and two round trips, in which a prune takes effect
    HAVE_ITEM = 1 + CAST_KEY_SIZE,
    HOPS_MAX = 64,
};

enum core_err broadcast_open(struct broadcast *b, const struct gossip_options *options, const struct core_id *self,
                             struct link_table *links, struct gossip_counts *counts)
{
    *b = (struct broadcast){.options = options, .links = links, .self = *self, .counts = counts};
    b->announce_ms = b->recent_ms = b->missing_ms = b->first_ms = UINT64_MAX;
    b->rng = rng_from(options->seed, 0x63617374);
    key_map_open(&b->missing_map, rng_u64(&b->rng));
    b->missing = calloc(BROADCAST_MISSING_MAX, sizeof *b->missing);
    const enum core_err err = cast_store_open(&b->store, options->cast_count, options->cast_bytes, rng_u64(&b->rng));
    if (!err && b->missing) return CORE_ERR_OK;
    broadcast_close(b);
    return CORE_ERR_NO_MEMORY;
}

void broadcast_close(struct broadcast *b)
{
    cast_store_close(&b->store);
    key_map_close(&b->missing_map);
    free(b->missing);
    *b = (struct broadcast){0};
}

struct link *broadcast_link_of_bit(struct broadcast *b, uint32_t bit)
{
    for (uint32_t i = 0; bit && i < b->links->count; i++)
        if (b->links->items[i].cast_bit == bit) return &b->links->items[i];
    return NULL;
}

bool broadcast_is_large(size_t size)
{
    return size > GOSSIP_PUSH_MAX;
}

// An accusation comes when a peer has just died, and the tree with it: it goes to everyone at once, and says nothing of
// which edges are good.
bool broadcast_is_flooded(uint64_t topic)
{
    return topic == TOPIC_SUSPICION;
}

// Others repair members' news (gossip/members).
bool broadcast_is_repaired(const struct cast_entry *e)
{
    return e->topic != TOPIC_MEMBER && e->topic != TOPIC_SUSPICION && e->topic != TOPIC_NEWCOMERS;
}

// ---- sending ----

static void push(struct broadcast *b, const struct cast_entry *e, const struct core_id *to, struct outbox *out)
{
    struct message m = {.type = MESSAGE_CAST};
    m.cast.id = e->id;
    m.cast.origin = e->origin;
    m.cast.topic = e->topic;
    m.cast.repeat = e->repeat;
    m.cast.hops = e->hops;
    m.cast.payload = e->payload;
    if (broadcast_is_large(e->payload.size)) {
        const struct message_cast cast = m.cast;
        m = (struct message){.type = MESSAGE_CAST_BULK, .bulk = cast.payload};
        m.cast_bulk = (struct message_cast_bulk){
            .id = cast.id, .origin = cast.origin, .topic = cast.topic, .repeat = cast.repeat, .hops = cast.hops};
    }
    outbox_send(out, to, &m);
    b->counts->casts_sent++;
}

// Eager neighbours get it now, lazy ones are told of it soon; of a large one all are told now.
static void spread(struct broadcast *b, struct cast_entry *entry, const struct core_id *from, uint64_t now_ms,
                   struct outbox *out)
{
    struct cast_entry *kept = cast_store_keep(&b->store, entry);
    const bool large = broadcast_is_large(entry->payload.size);
    bool lazy = false;
    for (uint32_t i = 0; i < b->links->count; i++) {
        const struct link *link = &b->links->items[i];
        if (!link->neighbor || (from && id_equal(&link->id, from)) || (link->cast_bit & entry->has)) continue;
        if (large && kept)
            broadcast_announce_large(kept, &link->id, out);
        else if (!large && (!link->lazy || broadcast_is_flooded(entry->topic)))
            push(b, entry, &link->id, out);
        else {
            lazy = true;
            continue;
        }
        entry->sent |= link->cast_bit;
    }
    if (!kept) return;
    kept->sent = entry->sent;
    if (lazy && b->announce_ms == UINT64_MAX) {
        b->announce_ms = now_ms + ANNOUNCE_MS;
        b->announced = b->store.next - 1;
    }
    if (broadcast_is_repaired(kept) && b->recent_ms == UINT64_MAX) b->recent_ms = now_ms + BROADCAST_RECENT_MS;
}

enum core_err broadcast_cast(struct broadcast *b, enum cast_topic topic, uint64_t repeat, struct slice payload,
                             uint64_t now_ms, struct outbox *out)
{
    if (payload.size > GOSSIP_PAYLOAD_MAX) return CORE_ERR_TOO_LARGE;
    const struct message_cast cast = {.origin = b->self, .topic = topic, .repeat = repeat, .payload = payload};
    struct cast_entry entry = {
        .id = cast_id_of(&cast), .origin = b->self, .topic = topic, .repeat = repeat, .at_ms = now_ms};
    entry.payload = payload;
    cast_store_remember(&b->store, cast_key(entry.id.bytes), 0);
    spread(b, &entry, NULL, now_ms, out);
    return CORE_ERR_OK;
}

// ---- receiving ----

static void prune(struct link *link, uint64_t now_ms, struct outbox *out)
{
    link->lazy = true;
    link->pruned_ms = now_ms;
    struct message m = {.type = MESSAGE_CAST_PRUNE};
    outbox_send(out, &link->id, &m);
}

static bool has_other_eager(const struct broadcast *b, const struct link *but)
{
    for (uint32_t i = 0; i < b->links->count; i++) {
        const struct link *link = &b->links->items[i];
        if (link != but && link->neighbor && !link->lazy) return true;
    }
    return false;
}

static void duplicate(struct broadcast *b, struct link *link, const struct cast_seen *seen,
                      const struct message_cast *cast, uint64_t now_ms, struct outbox *out)
{
    b->counts->casts_duplicate++;
    struct cast_entry *e = cast_store_find(&b->store, seen->key);
    if (e) e->has |= link->cast_bit;
    if (broadcast_is_large(cast->payload.size) || broadcast_is_flooded(cast->topic)) return;
    if (link->cast_bit && link->cast_bit == seen->parent) return;
    const struct link *parent = broadcast_link_of_bit(b, seen->parent);
    const bool own = id_equal(&cast->origin, &b->self);
    const bool stands = own ? has_other_eager(b, link) : parent && parent->neighbor && !parent->lazy;
    if (!link->neighbor || (stands && broadcast_is_prune_due(b, link, seen->key, now_ms))) prune(link, now_ms, out);
}

enum broadcast_verdict broadcast_look(struct broadcast *b, const struct core_id *from, const struct message_cast *cast,
                                      uint64_t now_ms, struct outbox *out)
{
    b->counts->casts_received++;
    struct link *link = link_table_find(b->links, from);
    check(link);
    const uint64_t key = cast_key(cast->id.bytes);
    const struct cast_seen *seen = cast_store_seen(&b->store, key);
    if (seen) {
        duplicate(b, link, seen, cast, now_ms, out);
        return BROADCAST_KNOWN;
    }
    if (cast->topic == 0 || cast->topic >= TOPIC_COUNT) return BROADCAST_MALFORMED;
    const struct core_hash id = cast_id_of(cast);
    if (!hash_equal(&id, &cast->id)) return BROADCAST_MALFORMED;
    const struct broadcast_missing *row = broadcast_missing_find(b, key);
    if (row && !row->asked) broadcast_lag_learn(b, now_ms - row->since_ms);
    struct link *opener = row && row->asked_of != link->cast_bit ? broadcast_link_of_bit(b, row->opener) : NULL;
    if (opener) opener->through_ms = now_ms;
    if (row) b->counts->repaired += row->repair;
    // Judged once: a payload that its owner refuses is not looked at again when it comes from elsewhere.
    cast_store_remember(&b->store, key, link->cast_bit);
    broadcast_came(b, link, cast, key, now_ms);
    return BROADCAST_NEW;
}

// Whether a new broadcast says that the edge over which it came is good: not what was on its way when it was pruned.
static bool is_telling(const struct link *link, const struct message_cast *cast, uint64_t now_ms)
{
    if (broadcast_is_large(cast->payload.size) || broadcast_is_flooded(cast->topic)) return false;
    return now_ms - link->pruned_ms > UNDER_WAY_MS + 2 * link->rtt_us / 1000;
}

void broadcast_accept(struct broadcast *b, const struct core_id *from, const struct message_cast *cast, uint64_t now_ms,
                      struct outbox *out)
{
    struct link *link = link_table_find(b->links, from);
    const uint64_t hops = cast->hops < HOPS_MAX ? cast->hops + 1 : HOPS_MAX;
    struct cast_entry entry = {.id = cast->id,
                               .origin = cast->origin,
                               .topic = (uint32_t)cast->topic,
                               .repeat = cast->repeat,
                               .hops = (uint32_t)hops,
                               .at_ms = now_ms,
                               .has = link ? link->cast_bit : 0,
                               .payload = cast->payload};
    struct broadcast_missing *row = broadcast_missing_find(b, cast_key(cast->id.bytes));
    const bool answer = link && row && row->asked && row->asked_of == link->cast_bit;
    if (link && !answer && is_telling(link, cast, now_ms)) link->lazy = false;
    entry.answer = answer;
    if (row) {
        struct link *nearest = answer ? NULL : broadcast_link_of_bit(b, row->nearest);
        if (nearest) broadcast_shorten(b, nearest, row->hops, &entry, now_ms, out);
        entry.has |= row->announced;
        broadcast_missing_remove(b, row);
    }
    spread(b, &entry, from, now_ms, out);
}

static enum core_err have_received(struct broadcast *b, struct link *link, const struct message_cast_have *have,
                                   uint64_t now_ms, struct outbox *out)
{
    const struct slice ids = have->ids;
    const bool one = ids.size == HAVE_ITEM && have->size <= GOSSIP_PAYLOAD_MAX && broadcast_is_large(have->size);
    if (ids.size % HAVE_ITEM != 0 || (have->size != 0 && !one)) return CORE_ERR_MALFORMED;
    if (!link->cast_bit) return CORE_ERR_OK;  // no neighbour any more: who asks it may get no answer
    struct broadcast_graft graft = {0};
    for (size_t at = 0; at < ids.size; at += HAVE_ITEM) {
        const uint64_t key = cast_key(ids.data + at + 1);
        if (!cast_store_seen(&b->store, key)) {
            broadcast_announced(b, link, key, (uint32_t)have->size, false, &graft, now_ms, out);
            struct broadcast_missing *row = broadcast_missing_find(b, key);
            if (row && have->size == 0 && (!row->nearest || ids.data[at] < row->hops)) {
                row->nearest = link->cast_bit;
                row->hops = ids.data[at];
            }
            continue;
        }
        struct cast_entry *e = cast_store_find(&b->store, key);
        if (!e) continue;
        e->has |= link->cast_bit;
        if (!e->answer && e->at_ms > link->through_ms) link->through_ms = e->at_ms;
        if (have->size == 0) broadcast_shorten(b, link, ids.data[at], e, now_ms, out);
    }
    broadcast_graft_flush(b, &graft, out);
    return CORE_ERR_OK;
}

static enum core_err recent_received(struct broadcast *b, struct link *link, struct slice ids, uint64_t now_ms,
                                     struct outbox *out)
{
    if (ids.size % CAST_KEY_SIZE != 0) return CORE_ERR_MALFORMED;
    if (!link->cast_bit) return CORE_ERR_OK;
    struct broadcast_graft graft = {0};
    for (size_t at = 0; at < ids.size; at += CAST_KEY_SIZE) {
        const uint64_t key = cast_key(ids.data + at);
        struct cast_entry *e = cast_store_find(&b->store, key);
        if (e)
            e->has |= link->cast_bit;
        else if (!cast_store_seen(&b->store, key))
            broadcast_announced(b, link, key, 0, true, &graft, now_ms, out);
    }
    broadcast_graft_flush(b, &graft, out);
    return CORE_ERR_OK;
}

static enum core_err graft_received(struct broadcast *b, struct link *link, const struct message_cast_graft *graft,
                                    uint64_t now_ms, struct outbox *out)
{
    const struct slice ids = graft->ids;
    if (ids.size % CAST_KEY_SIZE != 0 || ids.size > BROADCAST_GRAFT_MAX * CAST_KEY_SIZE) return CORE_ERR_MALFORMED;
    if (graft->edge) link->lazy = false;
    bool large = false;
    for (size_t at = 0; at < ids.size; at += CAST_KEY_SIZE) {
        struct cast_entry *e = cast_store_find(&b->store, cast_key(ids.data + at));
        if (!e || (large && broadcast_is_large(e->payload.size)))
            continue;  // one large answer a call (gossip/gossip.h)
        large |= broadcast_is_large(e->payload.size);
        const uint64_t cost = e->payload.size + CORE_ID_SIZE;
        if (!bucket_take(&link->served, cost, BROADCAST_SERVE_RATE, BROADCAST_SERVE_BURST, now_ms)) {
            b->counts->limited++;
            return CORE_ERR_OK;
        }
        push(b, e, &link->id, out);
        e->sent |= link->cast_bit;
    }
    return CORE_ERR_OK;
}

bool broadcast_message(struct broadcast *b, const struct core_id *from, const struct message *m, uint64_t now_ms,
                       struct outbox *out, enum core_err *err)
{
    struct link *link = link_table_find(b->links, from);
    check(link);
    switch (m->type) {
    case MESSAGE_CAST_HAVE: *err = have_received(b, link, &m->cast_have, now_ms, out); return true;
    case MESSAGE_CAST_RECENT: *err = recent_received(b, link, m->cast_recent.ids, now_ms, out); return true;
    case MESSAGE_CAST_GRAFT: *err = graft_received(b, link, &m->cast_graft, now_ms, out); return true;
    case MESSAGE_CAST_PRUNE: link->lazy = true; return true;
    default: return false;
    }
}

// ---- neighbours ----

void broadcast_neighbor_up(struct broadcast *b, struct link *link, uint64_t now_ms, struct outbox *out)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < b->links->count; i++) used |= b->links->items[i].cast_bit;
    check(used != UINT32_MAX);  // active_size is at most half of that
    link->cast_bit = 1u << __builtin_ctz(~used);
    cast_store_bit_reuse(&b->store, link->cast_bit);
    broadcast_edge_new(b, link, now_ms, out);
    broadcast_tell_recent(b, link, 0, CAST_KEEP_MS, b->options->cast_count, now_ms, out);
}

void broadcast_neighbor_down(struct broadcast *b, struct link *link, uint64_t now_ms, struct outbox *out)
{
    const uint32_t bit = link->cast_bit;
    if (bit && !link->lazy) broadcast_edge_lost(b, link, out);
    link->cast_bit = 0;
    link->cast_rows = 0;
    for (uint32_t i = 0; bit && i < b->missing_count; i++) {
        struct broadcast_missing *row = &b->missing[i];
        uint32_t left = 0;
        for (uint32_t k = 0; k < row->count; k++)
            if (row->announcers[k] != bit) row->announcers[left++] = row->announcers[k];
        row->count = left;
        row->announced &= ~bit;
        if (row->nearest == bit) row->nearest = 0;
        if (row->opener == bit) row->opener = 0;
        if (row->asked_of == bit) row->ask_ms = b->missing_ms = now_ms;
    }
}

// ---- time ----

static uint64_t shifted(uint64_t at_ms, uint64_t by_ms, uint64_t now_ms)
{
    return now_ms - at_ms < by_ms ? now_ms : at_ms + by_ms;
}

void broadcast_paused(struct broadcast *b, uint64_t paused_ms, uint64_t now_ms)
{
    for (uint64_t number = b->store.first; number < b->store.next; number++) {
        struct cast_entry *e = cast_store_at(&b->store, number);
        e->at_ms = shifted(e->at_ms, paused_ms, now_ms);
    }
    for (uint32_t i = 0; i < b->missing_count; i++)
        b->missing[i].since_ms = shifted(b->missing[i].since_ms, paused_ms, now_ms);
}

void broadcast_tick(struct broadcast *b, uint64_t now_ms, struct outbox *out)
{
    cast_store_expire(&b->store, now_ms);
    if (b->announce_ms <= now_ms) broadcast_announce(b, out);
    if (b->recent_ms <= now_ms) broadcast_recent_round(b, now_ms, out);
    if (b->missing_ms <= now_ms) broadcast_ask_due(b, now_ms, out);
}

uint64_t broadcast_next_ms(const struct broadcast *b)
{
    const uint64_t next = b->announce_ms < b->recent_ms ? b->announce_ms : b->recent_ms;
    return b->missing_ms < next ? b->missing_ms : next;
}
