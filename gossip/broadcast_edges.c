// The tree of eager edges: which cycle is cut where, which way is shortened, what a new neighbour's edge is, and what
// takes the place of a lost one.
#include <string.h>

#include "gossip/broadcast_parts.h"

enum {
    BUSY_MS = 50,             // broadcasts that come closer than this may be on their way together,
    LEAD_MS = 200,            // and are weighed against each other within this; both longer where ways are long
    FLIGHT_MAX_MS = 2000,     // but no longer
    FLIGHT_PARTS = 8,         // weight of the newest in the mean
    SHORTER_BY = 3,           // hops that make another parent worth while,
    SHORTER_TIMES = 5,        // that many times in a row
    SHORTEN_MS = 500,         // between two such changes,
    SHORTEN_QUIET_MS = 1000,  // and without broadcasts on their way together
    YOUNG_MS = 30000,
    EAGER_YOUNG = 4,  // eager neighbours with which a new one stays lazy, while there is no tree yet,
    EAGER_OLD = 1,    // and once there is
};

// ---- cycles ----

// How long broadcasts are on their way to this peer, by their hops and the last one's round trip.
static uint64_t flight_ms(const struct broadcast *b, uint64_t least_ms)
{
    const uint64_t ms = b->flight_us / 1000;
    return ms < least_ms ? least_ms : ms > FLIGHT_MAX_MS ? FLIGHT_MAX_MS : ms;
}

// Keeps the keys that no later one was below, in order of time and so ascending.
static void lead_note(struct broadcast *b, uint64_t key, uint64_t now_ms)
{
    while (b->lead_count > 0 && b->leads[b->lead_count - 1].key > key) b->lead_count--;
    if (b->lead_count == BROADCAST_LEADS) memmove(&b->leads[0], &b->leads[1], --b->lead_count * sizeof b->leads[0]);
    b->leads[b->lead_count++] = (struct broadcast_lead){key, now_ms};
}

static const struct broadcast_lead *lead_find(const struct broadcast *b, uint64_t key)
{
    for (uint32_t i = 0; i < b->lead_count; i++)
        if (b->leads[i].key == key) return &b->leads[i];
    return NULL;
}

// Nothing below it came within `within_ms` before it; once it has stood for as long, nothing below it came after it
// either, and all who had that time agree on it.
static bool may_lead(const struct broadcast *b, const struct broadcast_lead *lead, uint64_t within_ms)
{
    return lead && (lead == b->leads || lead->at_ms - lead[-1].at_ms > within_ms);
}

void broadcast_came(struct broadcast *b, const struct link *link, const struct message_cast *cast, uint64_t key,
                    uint64_t now_ms)
{
    if (now_ms - b->came_ms <= flight_ms(b, BUSY_MS)) b->busy_ms = now_ms;
    b->came_ms = now_ms;
    if (broadcast_is_large(cast->payload.size) || broadcast_is_flooded(cast->topic)) return;
    b->parent = link->cast_bit;
    lead_note(b, key, now_ms);
    const int64_t us = (int64_t)((cast->hops < UINT8_MAX ? cast->hops + 1 : UINT8_MAX) * (link->rtt_us / 2));
    if (us > 0) b->flight_us = (uint64_t)((int64_t)b->flight_us + (us - (int64_t)b->flight_us) / FLIGHT_PARTS);
}

// One broadcast on its way at a time: the edge is cut at once. Of several that are on their way together, each would
// have the cycles cut where suits it, and two cuts of one cycle are a tree in two parts: only the duplicates of the
// one with the lowest key count, which everyone takes for that without asking, and only once it is known to be it.
bool broadcast_is_prune_due(struct broadcast *b, struct link *link, uint64_t key, uint64_t now_ms)
{
    if (now_ms - b->busy_ms > flight_ms(b, BUSY_MS)) return true;
    const uint64_t within_ms = flight_ms(b, LEAD_MS);
    const struct broadcast_lead *lead = lead_find(b, link->duplicate_key), *other = lead_find(b, key);
    const bool leads = may_lead(b, lead, within_ms);
    if (leads && now_ms - lead->at_ms >= within_ms) {
        link->duplicate_key = 0;
        return true;
    }
    if (may_lead(b, other, within_ms) && (!leads || key < lead->key)) link->duplicate_key = key;
    return false;
}

// ---- shorter ways ----

// Senders differ in what suits them: a way must be shorter for one after the other, than the same parent's.
void broadcast_shorten(struct broadcast *b, struct link *link, uint32_t hops, const struct cast_entry *e,
                       uint64_t now_ms, struct outbox *out)
{
    const struct cast_seen *seen = cast_store_seen(&b->store, cast_key(e->id.bytes));
    const struct link *parent = seen ? broadcast_link_of_bit(b, seen->parent) : NULL;
    if (!link->lazy || !parent || parent == link || parent->lazy) return;
    const bool shorter = hops + 1 + SHORTER_BY <= e->hops;
    if (!shorter || link->nearer_than != parent->cast_bit) link->nearer = 0;
    link->nearer_than = parent->cast_bit;
    link->nearer += shorter;
    if (link->nearer < SHORTER_TIMES || now_ms < b->shorten_ms || now_ms - b->busy_ms < SHORTEN_QUIET_MS) return;
    link->nearer = 0;
    b->shorten_ms = now_ms + SHORTEN_MS;
    struct broadcast_graft graft = {.to = link, .edge = true};
    broadcast_graft_flush(b, &graft, out);
}

// ---- neighbours come and go ----

// A first tree is best found by a flood, for which not all edges are needed. Where there is a tree, one more edge would
// only be a cycle; it serves once another is lost.
void broadcast_edge_new(struct broadcast *b, struct link *link, uint64_t now_ms, struct outbox *out)
{
    if (b->first_ms == UINT64_MAX) b->first_ms = now_ms;
    uint32_t eager = 0;
    for (uint32_t i = 0; i < b->links->count; i++) {
        const struct link *other = &b->links->items[i];
        eager += other != link && other->neighbor && other->cast_bit && !other->lazy;
    }
    link->lazy = eager >= (now_ms - b->first_ms < YOUNG_MS ? EAGER_YOUNG : EAGER_OLD);
    link->duplicate_key = 0;
    link->nearer = 0;
    if (eager > 0) return;
    struct broadcast_graft graft = {.to = link, .edge = true};  // the other end has others
    broadcast_graft_flush(b, &graft, out);
}

// What came last came over it: this peer's side may be cut off, and a lazy edge takes its place before anything is
// missed. The other side's business is the other end's.
void broadcast_edge_lost(struct broadcast *b, const struct link *lost, struct outbox *out)
{
    if (b->parent && b->parent != lost->cast_bit) return;
    b->parent = 0;
    struct link *pick = NULL;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < b->links->count; i++) {
        struct link *link = &b->links->items[i];
        if (link != lost && link->neighbor && link->lazy && rng_below(&b->rng, ++seen) == 0) pick = link;
    }
    struct broadcast_graft graft = {.to = pick, .edge = true};
    broadcast_graft_flush(b, &graft, out);
}
