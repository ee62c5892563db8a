#include "gossip/passive.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

enum {
    FEEDER_SHARE = 4,  // of one peer's naming at most a quarter
    HOST_SHARE = 3,    // of one host at most a third
    MET_SHARE = 4,     // a quarter of peers that were met is not displaced
    REFILL_TRIES = 8,
};

enum core_err passive_open(struct passive *p, uint32_t capacity, uint64_t seed, const struct link_table *links,
                           const struct members *members)
{
    *p = (struct passive){.capacity = capacity, .rng = rng_from(seed, 0x70617373), .links = links, .members = members};
    p->items = calloc(capacity, sizeof *p->items);
    return p->items ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}

void passive_close(struct passive *p)
{
    free(p->items);
    *p = (struct passive){0};
}

struct passive_peer *passive_find(struct passive *p, const struct core_id *id)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (id_equal(&p->items[i].id, id)) return &p->items[i];
    return NULL;
}

void passive_remove(struct passive *p, const struct core_id *id)
{
    struct passive_peer *peer = passive_find(p, id);
    if (peer) *peer = p->items[--p->count];
}

static uint64_t feeder_of(const struct core_id *id)
{
    struct reader r = reader_over(id->bytes, sizeof id->bytes);
    return read_u64(&r) | 1;
}

static bool is_of_host(const struct passive *p, const struct passive_peer *peer, const struct core_hash *host)
{
    const struct member *member = members_find(p->members, &peer->id);
    return member && hash_equal(&member->record->host, host);
}

// ---- who makes room ----

enum group { OF_FEEDER, OF_HOST, OF_ALL };

struct choice {
    const struct passive *p;
    enum group group;
    uint64_t feeder;
    const struct core_hash *host;
    bool spare_met;
};

static bool is_in(const struct choice *c, const struct passive_peer *peer)
{
    if (c->spare_met && peer->met) return false;
    if (c->group == OF_FEEDER) return peer->feeder == c->feeder;
    return c->group == OF_ALL || is_of_host(c->p, peer, c->host);
}

static uint32_t count_in(const struct choice *c)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->p->count; i++) count += is_in(c, &c->p->items[i]);
    return count;
}

static struct passive_peer *pick(struct passive *p, const struct choice *c)
{
    struct passive_peer *pick = NULL;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < p->count; i++)
        if (is_in(c, &p->items[i]) && rng_below(&p->rng, ++seen) == 0) pick = &p->items[i];
    return pick;
}

// A feeder that has named more than its share; 0: none has.
static uint64_t greedy_feeder(const struct passive *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        const struct choice c = {.p = p, .group = OF_FEEDER, .feeder = p->items[i].feeder};
        if (c.feeder && count_in(&c) > p->capacity / FEEDER_SHARE) return c.feeder;
    }
    return 0;
}

static struct passive_peer *displaced(struct passive *p, uint64_t feeder, const struct core_hash *host)
{
    uint32_t met = 0;
    for (uint32_t i = 0; i < p->count; i++) met += p->items[i].met;
    struct choice c = {.p = p, .group = OF_FEEDER, .feeder = feeder, .spare_met = met <= p->capacity / MET_SHARE};
    if (feeder == 0 || count_in(&c) < p->capacity / FEEDER_SHARE) c.feeder = greedy_feeder(p);
    struct passive_peer *peer = c.feeder ? pick(p, &c) : NULL;
    if (!peer && host) {
        c.group = OF_HOST;
        c.host = host;
        if (count_in(&c) > p->capacity / HOST_SHARE) peer = pick(p, &c);
    }
    c.group = OF_ALL;
    if (!peer) peer = pick(p, &c);
    c.spare_met = false;
    return peer ? peer : pick(p, &c);
}

// ---- who comes in ----

static void put(struct passive *p, const struct core_id *id, struct slice addresses, uint64_t feeder, bool met,
                uint64_t not_before_ms)
{
    const struct member *member = members_find(p->members, id);
    if (member) addresses = member->record->addresses;
    if (addresses.size == 0 || addresses.size > GOSSIP_ADDRESSES_MAX || id_equal(id, &p->members->self)) return;
    if (member && members_state(member) >= GOSSIP_DEAD) return;
    for (uint32_t i = 0; i < p->links->count; i++)
        if (p->links->items[i].neighbor && id_equal(&p->links->items[i].id, id)) return;
    struct passive_peer *peer = passive_find(p, id);
    if (peer) {
        if (peer->not_before_ms > not_before_ms) not_before_ms = peer->not_before_ms;
        met |= peer->met;
        if (peer->feeder == 0) feeder = 0;
    } else if (p->count < p->capacity) {
        peer = &p->items[p->count++];
    } else {
        peer = displaced(p, feeder, member ? &member->record->host : NULL);
    }
    *peer = (struct passive_peer){
        .id = *id, .not_before_ms = not_before_ms, .feeder = feeder, .met = met, .size = (uint32_t)addresses.size};
    memcpy(peer->addresses, addresses.data, addresses.size);
}

void passive_add(struct passive *p, const struct core_id *id, struct slice addresses, const struct core_id *feeder,
                 uint64_t not_before_ms)
{
    put(p, id, addresses, feeder ? feeder_of(feeder) : 0, false, not_before_ms);
}

void passive_add_met(struct passive *p, const struct core_id *id, uint64_t not_before_ms)
{
    put(p, id, (struct slice){0}, 0, true, not_before_ms);
}

void passive_refill(struct passive *p, uint64_t now_ms)
{
    const uint32_t n = p->members->count;
    uint32_t own = 0;
    for (uint32_t i = 0; i < p->count; i++) own += p->items[i].feeder == 0;
    for (uint32_t tries = 0; tries < REFILL_TRIES && own < p->capacity / 2 && n > 1; tries++) {
        const struct core_id id = members_at(p->members, (uint32_t)rng_below(&p->rng, n))->record->id;
        const struct passive_peer *known = passive_find(p, &id);
        if (known && known->feeder == 0) continue;
        passive_add(p, &id, (struct slice){0}, NULL, now_ms);
        own += passive_find(p, &id) != NULL;
    }
}
