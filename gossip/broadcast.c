#include "gossip/broadcast.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"

enum {
    ANNOUNCE_MS = 100,  // announcements are gathered so long
    PATIENCE_MAX_MS = 1000,
    PATIENCE_PARTS = 1024,
    BUSY_MS = 50,         // broadcasts that come closer than this may be on their way together
    DUPLICATES_MS = 200,  // duplicates that come closer than this are of one cycle
    PRUNE_MS = 1000,
    RECENT_MS = 500,
    RECENT_FOR_MS = 30000,  // what is older has been told of often enough
    RECENT_AGE_MS = 300,    // what is younger is still on its way
    BULK_WAIT_MS = 1000,    // for an answer to a graft of a large payload, and
    BULK_WAIT_RATE = 1024,  // bytes in a millisecond
    HAVE_ITEM = 1 + CAST_KEY_SIZE,
    HAVE_MAX = 1024,    // items of one CAST_HAVE
    RECENT_MAX = 4096,  // keys of one CAST_RECENT
    TRIES_MAX = 8,
    GRAFT_MAX = 64,           // keys of one CAST_GRAFT
    ANNOUNCED_MAX = 2048,     // missing rows that one neighbour can open
    SHORTER_BY = 3,           // hops that make another parent worth while
    SHORTEN_QUIET_MS = 1000,  // without broadcasts on their way together
    SHORTEN_MS = 2000,        // first between two such changes, and doubling: senders differ in what suits them
    SHORTEN_MAX_MS = 600000,
    HOPS_MAX = 64,
};

enum core_err broadcast_open(struct broadcast *b, const struct gossip_options *options, const struct core_id *self,
                             struct link_table *links, struct gossip_counts *counts)
{
    *b = (struct broadcast){.options = options, .links = links, .self = *self, .counts = counts};
    b->announce_ms = b->recent_ms = b->missing_ms = UINT64_MAX;
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

static struct link *link_of_bit(struct broadcast *b, uint32_t bit)
{
    for (uint32_t i = 0; bit && i < b->links->count; i++)
        if (b->links->items[i].cast_bit == bit) return &b->links->items[i];
    return NULL;
}

static bool is_large(size_t size)
{
    return size > GOSSIP_PUSH_MAX;
}

// An accusation comes when a peer has just died, and the tree with it: it goes to everyone at once, and says nothing of
// which edges are good.
static bool is_flooded(uint64_t topic)
{
    return topic == TOPIC_SUSPICION;
}

// Others repair members' news (gossip/members).
static bool is_repaired_here(const struct cast_entry *e)
{
    return e->topic != TOPIC_MEMBER && e->topic != TOPIC_SUSPICION && e->topic != TOPIC_NEWCOMERS;
}

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

static void announce_large(const struct cast_entry *e, const struct core_id *to, struct outbox *out)
{
    struct key_list list;
    list_begin(&list, to, out);
    have_add(&list, e);
    have_flush(&list, (uint32_t)e->payload.size);
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
    if (is_large(e->payload.size)) {
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
    const bool large = is_large(entry->payload.size);
    bool lazy = false;
    for (uint32_t i = 0; i < b->links->count; i++) {
        const struct link *link = &b->links->items[i];
        if (!link->neighbor || (from && id_equal(&link->id, from)) || (link->cast_bit & entry->has)) continue;
        if (large && kept)
            announce_large(kept, &link->id, out);
        else if (!large && (!link->lazy || is_flooded(entry->topic)))
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
    if (is_repaired_here(kept) && b->recent_ms == UINT64_MAX) b->recent_ms = now_ms + RECENT_MS;
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

// ---- what is missing ----

static struct broadcast_missing *missing_find(struct broadcast *b, uint64_t key)
{
    const uint32_t *place = key_map_find(&b->missing_map, key);
    return place ? &b->missing[*place] : NULL;
}

static void missing_remove(struct broadcast *b, struct broadcast_missing *row)
{
    struct link *opener = link_of_bit(b, row->opener);
    if (opener && opener->cast_rows > 0) opener->cast_rows--;
    key_map_remove(&b->missing_map, row->key);
    *row = b->missing[--b->missing_count];
    if (row == &b->missing[b->missing_count]) return;
    const bool moved = key_map_put(&b->missing_map, row->key, (uint32_t)(row - b->missing));
    check(moved);  // it was there: nothing is allocated
}

static struct broadcast_missing *missing_open(struct broadcast *b, struct link *link, uint64_t key, uint64_t now_ms)
{
    const bool room = b->missing_count < BROADCAST_MISSING_MAX && link->cast_rows < ANNOUNCED_MAX;
    if (!room || !key_map_put(&b->missing_map, key, b->missing_count)) return NULL;  // it is told of again
    link->cast_rows++;
    struct broadcast_missing *row = &b->missing[b->missing_count++];
    *row = (struct broadcast_missing){.key = key, .opener = link->cast_bit, .since_ms = now_ms};
    return row;
}

// As long as broadcasts usually take to come by themselves once they are announced, and up to as long again: of a
// subtree that was cut off one peer asks first, and the others get it through that one.
static uint64_t patience_ms(const struct broadcast *b)
{
    const uint64_t usual_ms = (b->lag_us + 4 * b->lag_var_us) / 1000;
    const uint64_t least_ms = b->options->graft_ms;
    const uint64_t ms = usual_ms < least_ms ? least_ms : usual_ms > PATIENCE_MAX_MS ? PATIENCE_MAX_MS : usual_ms;
    return ms + ms * b->patience / PATIENCE_PARTS;
}

// As TCP estimates round trips (RFC 6298).
static void lag_learn(struct broadcast *b, uint64_t lag_ms)
{
    const int64_t off = (int64_t)(1000 * lag_ms) - (int64_t)b->lag_us;
    b->lag_us = (uint64_t)((int64_t)b->lag_us + off / 8);
    b->lag_var_us = (uint64_t)((int64_t)b->lag_var_us + ((off < 0 ? -off : off) - (int64_t)b->lag_var_us) / 4);
}

// Grafts to one neighbour, gathered.
struct graft {
    struct link *to;
    bool edge;
    uint32_t count;
    struct writer w;
    uint8_t raw[GRAFT_MAX * CAST_KEY_SIZE];
};

static void graft_flush(struct broadcast *b, struct graft *graft, struct outbox *out)
{
    if (!graft->to || (graft->count == 0 && !graft->edge)) return;
    if (graft->edge) graft->to->lazy = false;
    struct message m = {.type = MESSAGE_CAST_GRAFT};
    m.cast_graft.ids = (struct slice){graft->raw, graft->count * CAST_KEY_SIZE};
    m.cast_graft.edge = graft->edge;
    outbox_send(out, &graft->to->id, &m);
    b->counts->grafts += graft->count;
    graft->count = 0;
    graft->to = NULL;
}

static void graft_add(struct broadcast *b, struct graft *graft, struct link *to, bool edge, uint64_t key,
                      struct outbox *out)
{
    if (graft->to != to || graft->edge != edge || graft->count == GRAFT_MAX) graft_flush(b, graft, out);
    graft->to = to;
    graft->edge = edge;
    if (graft->count == 0) graft->w = writer_over(graft->raw, sizeof graft->raw);
    write_u64(&graft->w, key);
    graft->count++;
}

// Whether what is asked for shall also make the edge eager: one edge at a time, for one is enough to mend the tree, and
// none where what the same neighbour announced later has come by itself: it was mended by others.
static bool is_edge(struct broadcast *b, const struct link *link, const struct broadcast_missing *row, uint64_t now_ms)
{
    if (row->size != 0 || row->repair || link->through_ms > row->since_ms) return false;
    if (now_ms - b->edge_ms < b->options->graft_ms) return link->cast_bit == b->edge;
    b->edge_ms = now_ms;
    b->edge = link->cast_bit;
    b->patience = (uint32_t)rng_below(&b->rng, PATIENCE_PARTS);
    return true;
}

// Everyone who announced it, once more: what was asked for, or its answer, may be lost.
static void ask_again(struct broadcast *b, struct broadcast_missing *row)
{
    for (uint32_t i = 0; i < b->links->count && row->count < BROADCAST_ANNOUNCERS; i++) {
        const uint32_t bit = b->links->items[i].cast_bit;
        if (bit & row->announced) row->announcers[row->count++] = bit;
    }
}

// Asks the next who announced it. False when it was asked for often enough: it is forgotten, until it is announced
// again.
static bool ask_next(struct broadcast *b, struct broadcast_missing *row, struct graft *graft, uint64_t now_ms,
                     struct outbox *out)
{
    if (row->count == 0 && row->tries < TRIES_MAX) ask_again(b, row);
    struct link *link = NULL;
    while (!link && row->count > 0) {
        link = link_of_bit(b, row->announcers[0]);
        row->count--;
        memmove(&row->announcers[0], &row->announcers[1], row->count * sizeof row->announcers[0]);
    }
    if (!link) return false;
    row->asked = true;
    row->asked_of = link->cast_bit;
    row->tries++;
    const uint64_t bulk_ms = row->size ? BULK_WAIT_MS + row->size / BULK_WAIT_RATE : 0;
    row->ask_ms = now_ms + b->options->graft_ms + 4 * link->rtt_us / 1000 + bulk_ms;
    graft_add(b, graft, link, is_edge(b, link, row, now_ms), row->key, out);
    return true;
}

// One announced key: `size` and `repair` as in the row.
static void announced(struct broadcast *b, struct link *link, uint64_t key, uint32_t size, bool repair,
                      struct graft *graft, uint64_t now_ms, struct outbox *out)
{
    struct broadcast_missing *row = missing_find(b, key);
    if (!row) {
        row = missing_open(b, link, key, now_ms);
        if (!row) return;
        row->size = size;
        row->repair = repair;
        row->ask_ms = size || repair ? now_ms : now_ms + patience_ms(b);
    }
    bool known = false;
    for (uint32_t i = 0; i < row->count; i++) known |= row->announcers[i] == link->cast_bit;
    if (!known && row->count < BROADCAST_ANNOUNCERS) row->announcers[row->count++] = link->cast_bit;
    row->announced |= link->cast_bit;
    if (!row->asked && row->ask_ms <= now_ms && !ask_next(b, row, graft, now_ms, out))
        missing_remove(b, row);
    else if (row->ask_ms < b->missing_ms)
        b->missing_ms = row->ask_ms;
}

// ---- receiving ----

static void prune(struct link *link, struct outbox *out)
{
    link->lazy = true;
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

// One broadcast on its way at a time: the edge is cut at once. Among many, two peers could each cut one and the same
// cycle, at different edges: they wait for a time that each draws for itself, and cut only what still brings
// duplicates.
static bool is_prune_due(struct broadcast *b, struct link *link, uint64_t now_ms)
{
    if (now_ms - b->busy_ms > BUSY_MS) return true;
    if (now_ms - link->duplicate_ms > DUPLICATES_MS) link->prune_ms = now_ms + rng_below(&b->rng, PRUNE_MS);
    link->duplicate_ms = now_ms;
    return link->prune_ms <= now_ms;
}

static void duplicate(struct broadcast *b, struct link *link, const struct cast_seen *seen,
                      const struct message_cast *cast, uint64_t now_ms, struct outbox *out)
{
    b->counts->casts_duplicate++;
    struct cast_entry *e = cast_store_find(&b->store, seen->key);
    if (e) e->has |= link->cast_bit;
    if (is_large(cast->payload.size) || is_flooded(cast->topic)) return;
    if (link->cast_bit && link->cast_bit == seen->parent) return;
    const struct link *parent = link_of_bit(b, seen->parent);
    const bool own = id_equal(&cast->origin, &b->self);
    const bool stands = own ? has_other_eager(b, link) : parent && parent->neighbor && !parent->lazy;
    if (!link->neighbor || (stands && is_prune_due(b, link, now_ms))) prune(link, out);
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
    const struct broadcast_missing *row = missing_find(b, key);
    if (row && !row->asked) lag_learn(b, now_ms - row->since_ms);
    struct link *opener = row && row->asked_of != link->cast_bit ? link_of_bit(b, row->opener) : NULL;
    if (opener) opener->through_ms = now_ms;
    if (row) b->counts->repaired += row->repair;
    // Judged once: a payload that its owner refuses is not looked at again when it comes from elsewhere.
    cast_store_remember(&b->store, key, link->cast_bit);
    if (now_ms - b->came_ms <= BUSY_MS) b->busy_ms = now_ms;
    b->came_ms = now_ms;
    return BROADCAST_NEW;
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
    struct broadcast_missing *row = missing_find(b, cast_key(cast->id.bytes));
    const bool answer = link && row && row->asked && row->asked_of == link->cast_bit;
    if (link && !answer && !is_large(cast->payload.size) && !is_flooded(cast->topic)) link->lazy = false;
    entry.answer = answer;
    if (row) {
        entry.has |= row->announced;
        missing_remove(b, row);
    }
    spread(b, &entry, from, now_ms, out);
}

// The one who announces is far nearer to the origin than the parent: they change places.
static void shorten(struct broadcast *b, struct link *link, uint32_t hops, const struct cast_entry *e, uint64_t now_ms,
                    struct outbox *out)
{
    const struct cast_seen *seen = cast_store_seen(&b->store, cast_key(e->id.bytes));
    struct link *parent = seen ? link_of_bit(b, seen->parent) : NULL;
    if (hops + 1 + SHORTER_BY > e->hops || !link->lazy || !parent || parent == link || parent->lazy) return;
    if (now_ms < b->shorten_ms || now_ms - b->busy_ms < SHORTEN_QUIET_MS) return;
    b->shorten_wait_ms = b->shorten_wait_ms ? 2 * b->shorten_wait_ms : SHORTEN_MS;
    if (b->shorten_wait_ms > SHORTEN_MAX_MS) b->shorten_wait_ms = SHORTEN_MAX_MS;
    b->shorten_ms = now_ms + b->shorten_wait_ms;
    struct graft graft = {.to = link, .edge = true};
    graft_flush(b, &graft, out);
}

static enum core_err have_received(struct broadcast *b, struct link *link, const struct message_cast_have *have,
                                   uint64_t now_ms, struct outbox *out)
{
    const struct slice ids = have->ids;
    const bool one = ids.size == HAVE_ITEM && have->size <= GOSSIP_PAYLOAD_MAX && is_large(have->size);
    if (ids.size % HAVE_ITEM != 0 || (have->size != 0 && !one)) return CORE_ERR_MALFORMED;
    if (!link->cast_bit) return CORE_ERR_OK;  // no neighbour any more: who asks it may get no answer
    struct graft graft = {0};
    for (size_t at = 0; at < ids.size; at += HAVE_ITEM) {
        const uint64_t key = cast_key(ids.data + at + 1);
        if (!cast_store_seen(&b->store, key)) {
            announced(b, link, key, (uint32_t)have->size, false, &graft, now_ms, out);
            continue;
        }
        struct cast_entry *e = cast_store_find(&b->store, key);
        if (!e) continue;
        e->has |= link->cast_bit;
        if (!e->answer && e->at_ms > link->through_ms) link->through_ms = e->at_ms;
        if (have->size == 0) shorten(b, link, ids.data[at], e, now_ms, out);
    }
    graft_flush(b, &graft, out);
    return CORE_ERR_OK;
}

static enum core_err recent_received(struct broadcast *b, struct link *link, struct slice ids, uint64_t now_ms,
                                     struct outbox *out)
{
    if (ids.size % CAST_KEY_SIZE != 0) return CORE_ERR_MALFORMED;
    if (!link->cast_bit) return CORE_ERR_OK;
    struct graft graft = {0};
    for (size_t at = 0; at < ids.size; at += CAST_KEY_SIZE) {
        const uint64_t key = cast_key(ids.data + at);
        struct cast_entry *e = cast_store_find(&b->store, key);
        if (e)
            e->has |= link->cast_bit;
        else if (!cast_store_seen(&b->store, key))
            announced(b, link, key, 0, true, &graft, now_ms, out);
    }
    graft_flush(b, &graft, out);
    return CORE_ERR_OK;
}

static enum core_err graft_received(struct broadcast *b, struct link *link, const struct message_cast_graft *graft,
                                    uint64_t now_ms, struct outbox *out)
{
    const struct slice ids = graft->ids;
    if (ids.size % CAST_KEY_SIZE != 0 || ids.size > GRAFT_MAX * CAST_KEY_SIZE) return CORE_ERR_MALFORMED;
    if (graft->edge) link->lazy = false;
    bool large = false;
    for (size_t at = 0; at < ids.size; at += CAST_KEY_SIZE) {
        struct cast_entry *e = cast_store_find(&b->store, cast_key(ids.data + at));
        if (!e || (large && is_large(e->payload.size))) continue;  // one large answer a call (gossip/gossip.h)
        large |= is_large(e->payload.size);
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

// Thrice at most, and nobody who is known to have it. Counts.
static bool is_worth_telling(struct cast_entry *e, uint32_t bit)
{
    if ((e->has & bit) || (e->told[0] & e->told[1] & bit)) return false;
    e->told[1] ^= e->told[0] & bit;
    e->told[0] ^= bit;
    return true;
}

// Keys of what is kept that `link` is not known to have, the newest first; large ones are announced as such.
static void tell_recent(struct broadcast *b, const struct link *link, uint64_t age_min_ms, uint64_t age_max_ms,
                        uint32_t max, uint64_t now_ms, struct outbox *out)
{
    struct key_list list;
    list_begin(&list, &link->id, out);
    uint32_t told = 0;
    for (uint64_t number = b->store.next; number-- > b->store.first && told < max;) {
        struct cast_entry *e = cast_store_at(&b->store, number);
        const uint64_t age_ms = now_ms - e->at_ms;
        if (age_ms > age_max_ms) break;
        if (age_ms < age_min_ms || !is_repaired_here(e) || !is_worth_telling(e, link->cast_bit)) continue;
        told++;
        if (is_large(e->payload.size))
            announce_large(e, &link->id, out);
        else
            recent_add(&list, e);
    }
    recent_flush(&list);
}

void broadcast_neighbor_up(struct broadcast *b, struct link *link, uint64_t now_ms, struct outbox *out)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < b->links->count; i++) used |= b->links->items[i].cast_bit;
    check(used != UINT32_MAX);  // active_size is at most half of that
    link->cast_bit = 1u << __builtin_ctz(~used);
    cast_store_bit_reuse(&b->store, link->cast_bit);
    tell_recent(b, link, 0, CAST_KEEP_MS, b->options->cast_count, now_ms, out);
}

// An eager edge less may be a tree in two parts: a lazy one takes its place, before anything is missed.
static void replace_edge(struct broadcast *b, const struct link *lost, struct outbox *out)
{
    struct link *pick = NULL;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < b->links->count; i++) {
        struct link *link = &b->links->items[i];
        if (link != lost && link->neighbor && link->lazy && rng_below(&b->rng, ++seen) == 0) pick = link;
    }
    struct graft graft = {.to = pick, .edge = true};
    graft_flush(b, &graft, out);
}

void broadcast_neighbor_down(struct broadcast *b, struct link *link, uint64_t now_ms, struct outbox *out)
{
    const uint32_t bit = link->cast_bit;
    if (bit && !link->lazy) replace_edge(b, link, out);
    b->shorten_wait_ms = 0;
    link->cast_bit = 0;
    link->cast_rows = 0;
    for (uint32_t i = 0; bit && i < b->missing_count; i++) {
        struct broadcast_missing *row = &b->missing[i];
        uint32_t left = 0;
        for (uint32_t k = 0; k < row->count; k++)
            if (row->announcers[k] != bit) row->announcers[left++] = row->announcers[k];
        row->count = left;
        row->announced &= ~bit;
        if (row->opener == bit) row->opener = 0;
        if (row->asked_of == bit) row->ask_ms = b->missing_ms = now_ms;
    }
}

// ---- timers ----

// Tells neighbours what they were not sent since `announced`.
static void announce(struct broadcast *b, struct outbox *out)
{
    b->announce_ms = UINT64_MAX;
    const uint64_t from = b->announced < b->store.first ? b->store.first : b->announced;
    struct key_list list;
    for (uint32_t i = 0; i < b->links->count; i++) {
        const struct link *link = &b->links->items[i];
        if (!link->neighbor || !link->cast_bit) continue;
        list_begin(&list, &link->id, out);
        for (uint64_t number = from; number < b->store.next; number++) {
            struct cast_entry *e = cast_store_at(&b->store, number);
            if (((e->has | e->sent) & link->cast_bit) || is_large(e->payload.size)) continue;
            have_add(&list, e);
            e->sent |= link->cast_bit;
        }
        have_flush(&list, 0);
    }
}

static void recent_round(struct broadcast *b, uint64_t now_ms, struct outbox *out)
{
    b->recent_ms = UINT64_MAX;
    const uint32_t neighbors = link_table_neighbors(b->links), turn = neighbors ? b->recent_turn++ % neighbors : 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < b->links->count; i++) {
        const struct link *link = &b->links->items[i];
        if (link->neighbor && at++ == turn) tell_recent(b, link, RECENT_AGE_MS, RECENT_FOR_MS, RECENT_MAX, now_ms, out);
    }
    for (uint64_t number = b->store.next; number-- > b->store.first;) {
        const struct cast_entry *e = cast_store_at(&b->store, number);
        if (now_ms - e->at_ms > RECENT_FOR_MS) break;
        if (!is_repaired_here(e)) continue;
        b->recent_ms = now_ms + RECENT_MS;
        break;
    }
}

static void ask_due(struct broadcast *b, uint64_t now_ms, struct outbox *out)
{
    struct graft graft = {0};
    b->missing_ms = UINT64_MAX;
    for (uint32_t i = b->missing_count; i-- > 0;) {
        struct broadcast_missing *row = &b->missing[i];
        if (row->ask_ms <= now_ms && !ask_next(b, row, &graft, now_ms, out))
            missing_remove(b, row);
        else if (row->ask_ms < b->missing_ms)
            b->missing_ms = row->ask_ms;
    }
    graft_flush(b, &graft, out);
}

void broadcast_tick(struct broadcast *b, uint64_t now_ms, struct outbox *out)
{
    cast_store_expire(&b->store, now_ms);
    if (b->announce_ms <= now_ms) announce(b, out);
    if (b->recent_ms <= now_ms) recent_round(b, now_ms, out);
    if (b->missing_ms <= now_ms) ask_due(b, now_ms, out);
}

uint64_t broadcast_next_ms(const struct broadcast *b)
{
    const uint64_t next = b->announce_ms < b->recent_ms ? b->announce_ms : b->recent_ms;
    return b->missing_ms < next ? b->missing_ms : next;
}
