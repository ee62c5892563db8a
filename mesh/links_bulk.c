// How a link gets its bulk lane: only once there is bulk, over the best way that both sides can go. The messages and
// states stand in bulk.h. Whoever dialled the link dials the lane, first through shared memory (one host), then sealed
// over TCP, then over CURVE like the control lane, which always works.
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "core/check.h"
#include "mesh/links_internal.h"

enum { POOL_BYTES = 32 << 20, SLOW_TIMES = 3, EVENTS_A_CALL = 64 };

static uint32_t bit(unsigned number)
{
    return 1u << number;
}

// Threads and listeners come with the first bulk lane of the process. NULL: only CURVE is left.
static struct bulk *bulk_of(struct links *l)
{
    if (l->bulk || !(l->options.bulk_ways & (bit(LINK_WAY_SEALED) | bit(LINK_WAY_SHARED)))) return l->bulk;
    struct bulk_options o = {.mesh = &l->options.charter->id,
                             .listen = l->options.listen,
                             .no_listener = l->options.no_listener,
                             .ways = l->options.bulk_ways,
                             .pool_bytes = POOL_BYTES,
                             .connect_ms = l->options.dial_timeout_ms};
    o.listen.port = l->options.bulk_port;
    if (bulk_open(&o, &l->bulk)) {
        l->bulk = NULL;
        l->options.bulk_ways = bit(LINK_WAY_CURVE);
    }
    return l->bulk;
}

static void say(struct links *l, struct link *link, const struct message *m)
{
    struct frame f;
    if (frame_make(l, m, NULL, &f) == CORE_ERR_OK) (void)!lane_send(l, link, LINK_CLASS_CONTROL, &f);
}

// ---- the dialler ----

// Offers what was not tried yet; CURVE when nothing is left.
static void offer(struct links *l, struct link *link)
{
    struct bulk_attempt *a = &link->bulk;
    if (!a->ways || !bulk_of(l)) {
        a->step = BULK_CURVE;
        if (l->options.bulk_ways != bit(LINK_WAY_CURVE)) l->totals.fallbacks++;
        dial_bulk(l, link);
        return;
    }
    randombytes_buf(a->ticket.bytes, CORE_HASH_SIZE);
    randombytes_buf(a->our_bytes.bytes, CORE_HASH_SIZE);
    a->step = BULK_OFFERED;
    struct message m = {.type = MESSAGE_LANE_OPEN};
    m.lane_open = (struct message_lane_open){.ticket = a->ticket, .key = a->our_bytes, .ways = a->ways};
    m.lane_open.ciphers = bit(SEAL_CHACHA20_POLY1305) | (seal_has_aes() ? bit(SEAL_AES_256_GCM) : 0);
    say(l, link, &m);
}

static void patience(struct links *l, struct link *link)
{
    link->deadline_ms = l->now_ms + 2 * (uint64_t)(l->options.dial_timeout_ms + l->options.hello_timeout_ms);
}

void bulk_begin(struct links *l, struct link *link)
{
    struct bulk_attempt *a = &link->bulk;
    if (a->step != BULK_NONE) return;
    patience(l, link);
    if (!link->ours) {
        a->step = BULK_WANTED;
        say(l, link, &(struct message){.type = MESSAGE_LANE_WANT});
        return;
    }
    a->ways = l->options.bulk_ways & (bit(LINK_WAY_SEALED) | bit(LINK_WAY_SHARED));
    if (!link->same_host) a->ways &= ~bit(LINK_WAY_SHARED);
    offer(l, link);
}

static struct seal_binding binding_of(const struct links *l, const struct link *link, const struct core_hash *theirs,
                                      enum seal_cipher cipher)
{
    const struct core_id *self = &l->self.key->id;
    const struct core_hash *ours = &link->bulk.our_bytes;
    return (struct seal_binding){.cipher = cipher,
                                 .mesh = l->options.charter->id,
                                 .dialler = link->ours ? *self : link->id,
                                 .listener = link->ours ? link->id : *self,
                                 .ticket = link->bulk.ticket,
                                 .dialler_bytes = link->ours ? *ours : *theirs,
                                 .listener_bytes = link->ours ? *theirs : *ours};
}

// The listener says which way. One that we did not offer is no way: CURVE.
static void ready(struct links *l, struct link *link, const struct message_lane_ready *m)
{
    struct bulk_attempt *a = &link->bulk;
    if (a->step != BULK_OFFERED || !hash_equal(&m->ticket, &a->ticket)) return;  // of an attempt that is over
    enum link_way way = m->way == LINK_WAY_SEALED || m->way == LINK_WAY_SHARED ? (enum link_way)m->way : LINK_WAY_NONE;
    bool fits = (a->ways & bit(way)) && (m->cipher == SEAL_AES_256_GCM || m->cipher == SEAL_CHACHA20_POLY1305) &&
                m->port <= UINT16_MAX && m->name.size < BULK_NAME_MAX;
    if (fits) {
        char name[BULK_NAME_MAX] = "";
        if (m->name.size) memcpy(name, m->name.data, m->name.size);
        struct seal_binding binding = binding_of(l, link, &m->key, (enum seal_cipher)m->cipher);
        a->lane =
            bulk_connect(l->bulk, (uint64_t)(link - l->links), &binding, way, link->peer_host, (uint16_t)m->port, name);
        sodium_memzero(&binding, sizeof binding);
    }
    a->step = BULK_DIALLED;
    if (a->lane) return;
    a->ways = 0;
    offer(l, link);
}

// ---- the listener ----

static enum link_way choose(struct links *l, const struct link *link, uint64_t ways)
{
    struct bulk *b = bulk_of(l);
    if (!b) return LINK_WAY_NONE;
    ways &= l->options.bulk_ways;
    if ((ways & bit(LINK_WAY_SHARED)) && link->same_host && bulk_name(b)[0]) return LINK_WAY_SHARED;
    return (ways & bit(LINK_WAY_SEALED)) && bulk_port(b) ? LINK_WAY_SEALED : LINK_WAY_NONE;
}

static void expect(struct links *l, struct link *link, const struct message_lane_open *m)
{
    struct bulk_attempt *a = &link->bulk;
    if (a->step == BULK_OPEN || a->step == BULK_CURVE) return;
    bulk_forget(link);  // an earlier way that failed
    patience(l, link);
    a->step = BULK_EXPECTED;
    a->ticket = m->ticket;
    randombytes_buf(a->our_bytes.bytes, CORE_HASH_SIZE);
    bool aes = seal_has_aes() && (m->ciphers & bit(SEAL_AES_256_GCM));
    enum seal_cipher cipher = aes ? SEAL_AES_256_GCM : SEAL_CHACHA20_POLY1305;
    enum link_way way = choose(l, link, m->ways);
    struct seal_binding binding = binding_of(l, link, &m->key, cipher);
    if (way != LINK_WAY_NONE) a->lane = bulk_expect(l->bulk, (uint64_t)(link - l->links), &binding, way);
    sodium_memzero(&binding, sizeof binding);
    struct message out = {.type = MESSAGE_LANE_READY};
    out.lane_ready = (struct message_lane_ready){.ticket = m->ticket, .key = a->our_bytes, .cipher = cipher};
    out.lane_ready.way = a->lane ? way : LINK_WAY_NONE;
    if (a->lane && way == LINK_WAY_SEALED) out.lane_ready.port = bulk_port(l->bulk);
    if (a->lane && way == LINK_WAY_SHARED)
        out.lane_ready.name = (struct slice){(const uint8_t *)bulk_name(l->bulk), strlen(bulk_name(l->bulk))};
    say(l, link, &out);
}

void bulk_message(struct links *l, struct link *link, const struct message *m)
{
    // Only one side of a link dials lanes.
    bool fits = m->type == MESSAGE_LANE_OPEN ? !link->ours : link->ours;
    if (!fits) {
        links_refuse(l, LINK_NOT_ALLOWED, link->curve, link->address);
        links_down(l, link, LINK_NOT_ALLOWED, "");
    } else if (m->type == MESSAGE_LANE_WANT) {
        bulk_begin(l, link);
    } else if (m->type == MESSAGE_LANE_OPEN) {
        expect(l, link, &m->lane_open);
    } else {
        ready(l, link, &m->lane_ready);
    }
}

// ---- what the lanes say ----

static void opened(struct links *l, struct link *link)
{
    link->bulk.step = BULK_OPEN;
    link->bulk.since_ms = l->now_ms;
    link->lanes[LANE_BULK].state = LANE_OPEN;
    sodium_memzero(&link->bulk.our_bytes, sizeof link->bulk.our_bytes);
    links_bulk_opened(l, link);
}

static void failed(struct links *l, struct link *link)
{
    struct bulk_attempt *a = &link->bulk;
    uint32_t tried = bit(bulk_way(a->lane));
    bulk_forget(link);
    if (!link->ours) {
        a->step = BULK_EXPECTED;  // the dialler comes again
        return;
    }
    a->ways &= ~tried;
    offer(l, link);
}

static void closed(struct links *l, struct link *link, enum link_reason reason)
{
    if (reason != LINK_CLOSED && reason != LINK_LANE) links_refuse(l, reason, link->curve, link->address);
    links_down(l, link, reason, "");
}

void bulk_events(struct links *l)
{
    struct bulk_event e;
    uint32_t count = 0;
    for (; l->bulk && count < EVENTS_A_CALL && bulk_next(l->bulk, &e); count++) {
        struct link *link = &l->links[bulk_tag(e.lane)];
        if (link->state == LINK_STATE_UP && link->bulk.lane == e.lane) {
            struct slice frames[2] = {e.head, e.bulk ? buffer_slice(e.bulk) : (struct slice){0}};
            switch (e.kind) {
            case BULK_EVENT_OPENED: opened(l, link); break;
            case BULK_EVENT_FAILED: failed(l, link); break;
            case BULK_EVENT_CLOSED: closed(l, link, e.reason); break;
            case BULK_EVENT_MESSAGE: links_message(l, link, LANE_BULK, frames, e.bulk ? 2 : 1, e.bulk); break;
            }
        }
        bulk_event_done(l->bulk, &e);
    }
    if (count == EVENTS_A_CALL) l->more = true;
}

void bulk_forget(struct link *link)
{
    if (link->bulk.lane) bulk_drop(link->bulk.lane);
    link->bulk.lane = NULL;
    link->bulk.step = BULK_NONE;
}

enum core_err bulk_push(struct link *link, struct frame *f)
{
    struct slice head = {zmq_msg_data(&f->head), zmq_msg_size(&f->head)};
    if (bulk_send(link->bulk.lane, head, f->bulk, f->bulk_bytes)) return CORE_ERR_WOULD_BLOCK;
    frame_close(f);
    return CORE_ERR_OK;
}

uint64_t bulk_slow_at(struct links *l, struct link *link)
{
    struct bulk_attempt *a = &link->bulk;
    if (a->step != BULK_OPEN || !a->lane) return 0;
    uint64_t taken;
    bool waits = bulk_waiting(a->lane, &taken) > 0 || link->queues[LINK_CLASS_BULK].count > 0;
    if (!waits || taken != a->taken) {
        a->taken = taken;
        a->since_ms = l->now_ms;
    }
    // A large message over a slow line is acknowledged late: bulk has more time than the rest.
    return waits ? a->since_ms + SLOW_TIMES * (uint64_t)l->options.slow_ms : 0;
}
