#include "mesh/links.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/check.h"
#include "mesh/links_internal.h"

enum { GRANT_FRACTION = 4, IO_THREADS = 1, ZMQ_SOCKETS_MAX = 4096, LOOK_MS = 500 };

// ---- clocks, links, events ----

uint64_t links_clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t links_clock_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec;
}

void links_emit(struct links *l, const struct link_event *event)
{
    struct link_event e = *event;
    if (!e.text) e.text = "";
    if (!e.address) e.address = "";
    if (l->handle) l->handle(l->handle_context, &e);
}

struct link *links_find(const struct links *l, const struct core_id *id)
{
    for (uint32_t i = 0; i < l->options.max_links; i++)
        if (l->links[i].state != LINK_STATE_FREE && id_equal(&l->links[i].id, id)) return &l->links[i];
    return NULL;
}

struct link *links_take(struct links *l, const struct core_id *id)
{
    for (uint32_t i = 0; i < l->options.max_links; i++) {
        struct link *link = &l->links[i];
        if (link->state != LINK_STATE_FREE) continue;
        *link = (struct link){.state = LINK_STATE_DIALLING, .id = *id, .parked = NO_CONN};
        link->lanes[LANE_CONTROL].conn = link->lanes[LANE_BULK].conn = NO_CONN;
        return link;
    }
    return NULL;
}

void links_refuse(struct links *l, enum link_reason reason, const uint8_t *curve, const char *address)
{
    l->totals.refused[reason]++;
    l->totals.refused_total++;
    // What an honest peer may run into by itself costs it nothing but the connection.
    bool innocent = reason == LINK_NO_INVITATION || reason == LINK_LIMIT || reason == LINK_NO_HELLO ||
                    reason == LINK_BANNED || reason == LINK_TOO_FAST || reason == LINK_HANDSHAKE;
    if (curve && !innocent) gate_ban(l->gate, curve, (uint64_t)l->options.penalty_ms);
    links_emit(l,
               &(struct link_event){.kind = LINK_EVENT_REFUSED, .reason = reason, .curve = curve, .address = address});
}

// ---- a link's life ----

void links_drop_lanes(struct links *l, struct link *link)
{
    for (uint32_t i = 0; i < LANE_COUNT; i++) {
        struct lane *lane = &link->lanes[i];
        lane_close_dealer(lane);
        if (lane->conn != NO_CONN) conn_shun(l, &l->conns[lane->conn], CLOSE_DELAY_MS);
        lane->conn = NO_CONN;
        lane->state = LANE_CLOSED;
    }
    bulk_forget(link);
    if (link->parked != NO_CONN) conn_shun(l, &l->conns[link->parked], 0);
    link->parked = NO_CONN;
}

// So that the other side need not wait for TCP to tell.
static void say_bye(struct links *l, struct link *link)
{
    struct message bye = {.type = MESSAGE_BYE};
    struct frame f;
    const struct lane *lane = &link->lanes[LANE_CONTROL];
    if (!lane->dealer && lane->conn == NO_CONN) return;  // its connection is what ended
    if (frame_make(l, &bye, NULL, &f) == CORE_ERR_OK) (void)!lane_send(l, link, LINK_CLASS_CONTROL, &f);
}

void links_down(struct links *l, struct link *link, enum link_reason reason, const char *text)
{
    bool was_up = link->state == LINK_STATE_UP, hangup = link->closing;
    struct core_id id = link->id;
    char address[ADDRESS_TEXT_MAX];
    memcpy(address, link->address, sizeof address);
    bool ours = link->ours;
    if (was_up && hangup) say_bye(l, link);
    links_drop_lanes(l, link);
    for (uint32_t i = 0; i < LINK_CLASS_COUNT; i++) frames_close(&link->queues[i]);
    link->state = LINK_STATE_FREE;
    if (!was_up && hangup) return;  // a dial that the owner gave up
    links_emit(l, &(struct link_event){.kind = was_up ? LINK_EVENT_DOWN : LINK_EVENT_DIAL_FAILED,
                                       .id = id,
                                       .reason = reason,
                                       .text = text,
                                       .address = address,
                                       .dialled_by_us = ours});
}

void links_up(struct links *l, struct link *link, const struct message *hello, const struct certificate *certificate)
{
    const struct message_hello *h = &hello->hello;
    link->state = LINK_STATE_UP;
    link->their_incarnation = h->incarnation;
    link->their_nonce = h->nonce;
    link->credit = 0;
    link->ungranted = 0;
    link->up_since_ms = l->now_ms;
    link->deadline_ms = 0;
    link->same_host = !hash_is_zero(&h->host) && hash_equal(&h->host, &l->options.host);
    limits_begin(l, link);
    links_emit(l, &(struct link_event){.kind = LINK_EVENT_UP,
                                       .id = link->id,
                                       .address = link->address,
                                       .dialled_by_us = link->ours,
                                       .certificate = certificate,
                                       .certificate_bytes = h->certificate,
                                       .addresses = h->addresses,
                                       .host = h->host,
                                       .incarnation = h->incarnation});
}

static void grant(struct links *l, struct link *link, uint64_t bytes)
{
    struct message m = {.type = MESSAGE_CREDIT, .credit.bytes = bytes};
    struct frame f;
    // Before the other side can know.
    if (link->bulk.lane)
        bulk_allow(link->bulk.lane, bytes);
    else
        link->allowance += (int64_t)bytes;
    if (frame_make(l, &m, NULL, &f) == CORE_ERR_OK && lane_send(l, link, LINK_CLASS_CONTROL, &f) == CORE_ERR_OK) return;
    link->ungranted += bytes;  // tried again with the next
    if (link->bulk.lane)
        bulk_disallow(link->bulk.lane, bytes);
    else
        link->allowance -= (int64_t)bytes;
}

void links_bulk_opened(struct links *l, struct link *link)
{
    link->deadline_ms = 0;
    grant(l, link, l->options.bulk_window_bytes);
}

static void grant_due(struct links *l, struct link *link)
{
    if (l->hold || link->ungranted < l->options.bulk_window_bytes / GRANT_FRACTION) return;
    uint64_t bytes = link->ungranted;
    link->ungranted = 0;
    grant(l, link, bytes);
}

// ---- messages of open lanes ----

static void receive_credit(struct links *l, struct link *link, uint64_t bytes)
{
    // No honest window comes near this; it keeps the sum from overflowing.
    const int64_t limit = (int64_t)1 << 40;
    if (bytes > (uint64_t)limit || link->credit + (int64_t)bytes > limit) {
        links_refuse(l, LINK_TOO_LARGE, link->curve, link->address);
        links_down(l, link, LINK_TOO_LARGE, "");
        return;
    }
    link->credit += (int64_t)bytes;
    lane_flush(l, link, LINK_CLASS_BULK);
}

static void deliver(struct links *l, struct link *link, const struct message *m, struct buffer *bulk)
{
    links_emit(l, &(struct link_event){.kind = LINK_EVENT_MESSAGE,
                                       .id = link->id,
                                       .message = m,
                                       .bulk = bulk,
                                       .address = link->address,
                                       .dialled_by_us = link->ours});
}

static enum link_reason misplaced(const struct message *m, uint32_t lane)
{
    if (m->type == MESSAGE_HELLO || m->type == MESSAGE_ADMIT || m->type == MESSAGE_ADMITTED) return LINK_NOT_ALLOWED;
    return message_info(m->type)->lane == lane || m->type == MESSAGE_REFUSED ? LINK_NONE : LINK_NOT_ALLOWED;
}

// Whether what came is within what we granted and allow; drops it, or ends the link, where it is not.
static bool is_allowed(struct links *l, struct link *link, const struct message *m, uint32_t index, size_t bytes)
{
    enum link_reason reason = LINK_NONE;
    if (index == LANE_BULK && !link->bulk.lane) {
        // As the sender counts: any credit that is left lets one more message go.
        if (link->allowance <= 0) reason = LINK_NO_CREDIT;
        link->allowance -= (int64_t)bytes;
    }
    enum limit_verdict verdict = reason ? LIMIT_FITS : limits_take(l, link, links_class_of(m->type), bytes);
    if (verdict == LIMIT_FLOOD) {
        reason = LINK_FLOOD;
        l->totals.floods++;
    }
    if (reason) {
        links_refuse(l, reason, link->curve, link->address);
        links_down(l, link, reason, "");
    }
    return !reason && verdict == LIMIT_FITS;
}

void links_message(struct links *l, struct link *link, uint32_t index, const struct slice *frames, size_t count,
                   struct buffer *bulk)
{
    struct message m;
    enum core_err err = count ? wire_decode(frames, count, &l->options.charter->id, &m) : CORE_ERR_MALFORMED;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += frames[i].size;
    struct lane *lane = &link->lanes[index];
    lane->rx_bytes += bytes;
    lane->rx_messages++;
    l->totals.rx_bytes[index] += bytes;
    enum link_reason reason = err ? links_reason_of(err) : misplaced(&m, index);
    if (reason) {
        links_refuse(l, reason, link->curve, link->address);
        links_down(l, link, reason, "");
        return;
    }
    if (link->closing) return;
    if (index == LANE_BULK) link->ungranted += bytes;
    if (!is_allowed(l, link, &m, index, bytes)) return;
    switch (m.type) {
    case MESSAGE_CREDIT: receive_credit(l, link, m.credit.bytes); return;
    case MESSAGE_LANE_WANT:
    case MESSAGE_LANE_OPEN:
    case MESSAGE_LANE_READY: bulk_message(l, link, &m); return;
    case MESSAGE_REFUSED: {  // they dialled, and our HELLO did not suit them
        char text[REFUSAL_TEXT];
        reason = links_refusal_read(&m, text);
        links_down(l, link, reason ? reason : LINK_NOT_ALLOWED, text);
        return;
    }
    case MESSAGE_BYE:
        deliver(l, link, &m, NULL);
        links_down(l, link, LINK_GOODBYE, "");
        return;
    default: deliver(l, link, &m, bulk); return;
    }
}

static void close_part(void *context)
{
    zmq_msg_close(context);
    free(context);
}

// libzmq's own memory as a buffer, so that the owner may keep it; the part is empty afterwards.
static struct buffer *adopt_part(zmq_msg_t *part)
{
    zmq_msg_t *own = malloc(sizeof *own);
    if (!own) return NULL;
    zmq_msg_init(own);
    zmq_msg_move(own, part);
    struct buffer *b = buffer_adopt(zmq_msg_data(own), zmq_msg_size(own), close_part, own);
    if (!b) close_part(own);
    return b;
}

void links_receive(struct links *l, struct link *link, uint32_t index, struct socket_message *raw, size_t first_part)
{
    struct slice frames[2] = {{0}};
    struct buffer *bulk = NULL;
    size_t count = raw->count - first_part;
    if (count > 2) count = 0;  // malformed
    if (count >= 1) frames[0] = socket_part(raw, first_part);
    if (count == 2) {
        bulk = adopt_part(&raw->parts[first_part + 1]);
        if (!bulk) {
            links_down(l, link, LINK_LIMIT, "");
            return;
        }
        frames[1] = buffer_slice(bulk);
    }
    links_message(l, link, index, frames, count, bulk);
    buffer_drop(bulk);
}

// ---- opening and closing ----

static void set_defaults(struct links_options *o)
{
    if (!o->max_links) o->max_links = 64;
    if (!o->max_strangers) o->max_strangers = 128;
    if (!o->control_queue_bytes) o->control_queue_bytes = 4u << 20;
    if (!o->bulk_queue_bytes) o->bulk_queue_bytes = 128u << 20;
    if (!o->bulk_window_bytes) o->bulk_window_bytes = 32u << 20;
    if (!o->dial_timeout_ms) o->dial_timeout_ms = 3000;
    if (!o->hello_timeout_ms) o->hello_timeout_ms = 5000;
    if (!o->cast_queue_bytes) o->cast_queue_bytes = 8u << 20;
    if (!o->heartbeat_ms) o->heartbeat_ms = 60000;
    if (!o->slow_ms) o->slow_ms = 20000;
    if (!o->bulk_ways) o->bulk_ways = (1u << LINK_WAY_COUNT) - 1;
    limits_defaults(o);
    if (!o->penalty_ms) o->penalty_ms = 30000;
}

static enum core_err open_all(struct links *l, const struct links_options *options)
{
    l->options = *options;
    set_defaults(&l->options);
    if (options->addresses.size > sizeof l->addresses) return CORE_ERR_TOO_LARGE;
    l->self = (struct hello_self){.key = options->key,
                                  .charter = options->charter,
                                  .certificate = options->certificate,
                                  .host = options->host,
                                  .incarnation = options->incarnation};
    links_set_addresses(l, options->addresses);
    if (identity_curve_pair(options->key, &l->curve)) return CORE_ERR_MALFORMED;
    l->sockets = (struct socket_options){.curve = &l->curve,
                                         .handshake_ms = l->options.hello_timeout_ms,
                                         .connect_ms = l->options.dial_timeout_ms,
                                         .heartbeat_ms = l->options.heartbeat_ms,
                                         .linger_ms = CLOSE_DELAY_MS};
    l->conn_count = 2 * (l->options.max_links + l->options.max_strangers);
    l->links = calloc(l->options.max_links, sizeof *l->links);
    l->conns = calloc(l->conn_count, sizeof *l->conns);
    l->scratch = malloc(WIRE_HEAD_MAX);
    l->context = zmq_ctx_new();
    if (!l->links || !l->conns || !l->scratch || !l->context) return CORE_ERR_NO_MEMORY;
    if (zmq_ctx_set(l->context, ZMQ_IO_THREADS, IO_THREADS) != 0) return CORE_ERR_IO;
    if (zmq_ctx_set(l->context, ZMQ_MAX_SOCKETS, ZMQ_SOCKETS_MAX) != 0) return CORE_ERR_IO;
    // Later than that of any earlier process with this key, so that a redial is told from a crossing.
    l->next_nonce = links_clock_s() << 20;
    l->now_ms = links_clock_ms();
    enum core_err err = gate_open(l->context, &l->gate);
    if (err || options->no_listener) return err;
    return socket_listen(l->context, &l->sockets, &options->listen, "listener", &l->router, &l->monitor, &l->port);
}

enum core_err links_open(struct links **out, const struct links_options *options)
{
    struct links *l = calloc(1, sizeof *l);
    if (!l) return CORE_ERR_NO_MEMORY;
    enum core_err err = open_all(l, options);
    if (err)
        links_close(l);
    else
        *out = l;
    return err;
}

void links_close(struct links *l)
{
    if (!l) return;
    l->handle = NULL;
    for (uint32_t i = 0; l->links && i < l->options.max_links; i++) {
        struct link *link = &l->links[i];
        link->closing = true;
        if (link->state != LINK_STATE_FREE) links_down(l, link, LINK_HANGUP, "");
    }
    for (uint32_t i = 0; l->conns && i < l->conn_count; i++)
        if (l->conns[i].state == CONN_PARKED) socket_message_close(&l->conns[i].hello);
    bulk_close(l->bulk);
    socket_close(l->router, l->monitor);
    if (l->context) zmq_ctx_shutdown(l->context);
    if (l->gate) gate_close(l->gate);
    if (l->context) zmq_ctx_term(l->context);
    identity_forget(&l->curve, sizeof l->curve);
    free(l->links);
    free(l->conns);
    free(l->scratch);
    free(l);
}

uint16_t links_port(const struct links *links)
{
    return links->port;
}

void links_set_addresses(struct links *links, struct slice addresses)
{
    check(addresses.size <= sizeof links->addresses);
    if (addresses.size) memcpy(links->addresses, addresses.data, addresses.size);
    links->self.addresses = (struct slice){links->addresses, addresses.size};
}

void links_set_incarnation(struct links *links, uint64_t incarnation)
{
    links->self.incarnation = incarnation;
}

// ---- waiting and processing ----

size_t links_pollitems_max(const struct links *links)
{
    return 3 + 2 * LANE_COUNT * (size_t)links->options.max_links;
}

size_t links_pollitems(struct links *links, struct zmq_pollitem_t *items, size_t capacity)
{
    check(capacity >= links_pollitems_max(links));
    size_t count = 0;
    if (links->router) {
        items[count++] = (zmq_pollitem_t){.socket = links->router, .events = ZMQ_POLLIN};
        items[count++] = (zmq_pollitem_t){.socket = links->monitor, .events = ZMQ_POLLIN};
    }
    if (links->bulk) items[count++] = (zmq_pollitem_t){.fd = bulk_descriptor(links->bulk), .events = ZMQ_POLLIN};
    for (uint32_t i = 0; i < links->options.max_links; i++) {
        const struct link *link = &links->links[i];
        for (uint32_t j = 0; link->state != LINK_STATE_FREE && j < LANE_COUNT; j++) {
            const struct lane *lane = &link->lanes[j];
            if (!lane->dealer) continue;
            short events = lane->blocked ? ZMQ_POLLIN | ZMQ_POLLOUT : ZMQ_POLLIN;
            items[count++] = (zmq_pollitem_t){.socket = lane->dealer, .events = events};
            items[count++] = (zmq_pollitem_t){.socket = lane->monitor, .events = ZMQ_POLLIN};
        }
    }
    return count;
}

static void sooner(uint64_t *at, uint64_t deadline_ms)
{
    if (deadline_ms && deadline_ms < *at) *at = deadline_ms;
}

int links_timeout_ms(struct links *links)
{
    if (links->more) return 0;
    uint64_t now_ms = links_clock_ms(), at = UINT64_MAX;
    for (uint32_t i = 0; i < links->options.max_links; i++) {
        struct link *link = &links->links[i];
        if (link->state == LINK_STATE_FREE) continue;
        if (link->closing || link->waiting) return 0;
        sooner(&at, link->deadline_ms);
        sooner(&at, lane_slow_at(links, link));
        sooner(&at, bulk_slow_at(links, link));
        if (link->lanes[LANE_CONTROL].blocked &&
            (link->queues[LINK_CLASS_CONTROL].count || link->queues[LINK_CLASS_CAST].count))
            sooner(&at, now_ms + RETRY_MS);
        if (link->lanes[LANE_BULK].blocked && link->queues[LINK_CLASS_BULK].count) sooner(&at, now_ms + RETRY_MS);
    }
    for (uint32_t i = 0; i < links->conn_count; i++) {
        const struct conn *c = &links->conns[i];
        if (c->state != CONN_FREE) sooner(&at, c->deadline_ms);
        if (c->state == CONN_STRANGER && !c->named) sooner(&at, now_ms + STRANGER_LOOK_MS);
    }
    if (at == UINT64_MAX) return -1;
    return at <= now_ms ? 0 : (int)(at - now_ms);
}

static void take_refusals(struct links *l)
{
    struct gate_refusal r;
    uint64_t lost = 0, more = 0;
    while (gate_take(l->gate, &r, &more)) {
        lost += more;
        l->totals.handshakes_refused++;
        links_refuse(l, r.banned ? LINK_BANNED : LINK_TOO_FAST, r.key, r.address);
    }
    l->totals.handshakes_refused += lost + more;
    l->totals.refused[LINK_TOO_FAST] += lost + more;
    l->totals.refused_total += lost + more;
}

static void let_slow_go(struct links *l, struct link *link)
{
    uint64_t lane = lane_slow_at(l, link), bulk = bulk_slow_at(l, link);
    bool slow = (lane && l->now_ms >= lane) || (bulk && l->now_ms >= bulk);
    if (!slow || link->closing) return;
    l->totals.slow++;
    link->closing = true;
    link->closing_reason = LINK_SLOW;
}

// A connection that TCP has all but given up is a link that both sides believe in and nothing passes.
static void let_mute_go(struct links *l, struct link *link)
{
    for (uint32_t i = 0; i < LANE_COUNT && !link->closing; i++) {
        const struct lane *lane = &link->lanes[i];
        const struct conn *c = lane->conn == NO_CONN ? NULL : &l->conns[lane->conn];
        bool mute = false;
        if (c)
            mute = !c->closed && socket_is_mute(c->fd, c->host, c->port);
        else if (lane->dealer && lane->connected && !lane->ended)
            mute = socket_is_mute(lane->fd, link->peer_host, link->at.port);
        if (!mute) continue;
        link->closing = true;
        link->closing_reason = LINK_SILENT;
    }
}

void links_process(struct links *links, links_handle *handle, void *context)
{
    check(!links->handle);  // not from its own callback
    links->handle = handle;
    links->handle_context = context;
    links->more = false;
    links->now_ms = links_clock_ms();
    take_refusals(links);
    accept_process(links);
    accept_timers(links);
    bulk_events(links);
    bool look = links->now_ms >= links->looked_ms + LOOK_MS;
    if (look) links->looked_ms = links->now_ms;
    for (uint32_t i = 0; i < links->options.max_links; i++) {
        struct link *link = &links->links[i];
        if (link->state == LINK_STATE_FREE) continue;
        if (link->waiting) dial_start(links, link);
        dial_process(links, link);
        dial_timers(links, link);
        if (link->state == LINK_STATE_UP) {
            grant_due(links, link);
            for (uint32_t j = 0; j < LINK_CLASS_COUNT; j++) lane_flush(links, link, (enum link_class)j);
            if (link->queues[LINK_CLASS_BULK].count) bulk_begin(links, link);
            let_slow_go(links, link);
            if (look) let_mute_go(links, link);
        }
        if (link->state != LINK_STATE_FREE && link->closing) links_down(links, link, link->closing_reason, "");
    }
    links->handle = NULL;
}

// ---- what the owner asks for ----

enum core_err links_dial(struct links *links, const struct core_id *id, struct slice addresses)
{
    struct address_list list;
    uint8_t curve[IDENTITY_CURVE_SIZE];
    if (address_list_decode(addresses, &list) || identity_curve_public(id, curve)) return CORE_ERR_MALFORMED;
    if (id_equal(id, &links->self.key->id)) return CORE_ERR_REFUSED;
    if (links->options.revoked && revocations_has(links->options.revoked, id)) return CORE_ERR_REFUSED;
    if (links_find(links, id)) return CORE_ERR_EXISTS;
    struct link *link = links_take(links, id);
    if (!link) return CORE_ERR_LIMIT;
    memcpy(link->curve, curve, sizeof curve);
    link->addresses = list;
    // The first connection is made by links_process, so that every outcome comes as an event.
    link->ours = true;
    link->waiting = true;
    return CORE_ERR_OK;
}

void links_hangup(struct links *links, const struct core_id *id)
{
    struct link *link = links_find(links, id);
    if (!link || link->closing) return;
    link->closing = true;
    link->closing_reason = LINK_HANGUP;
}

enum core_err links_send_buffer(struct links *links, const struct core_id *id, const struct message *m,
                                struct buffer *bulk)
{
    check(message_info(m->type));
    struct link *link = links_find(links, id);
    if (!link || link->state != LINK_STATE_UP || link->closing) return CORE_ERR_UNREACHABLE;
    struct frame f;
    enum core_err err = frame_make(links, m, bulk, &f);
    if (err) return err;
    enum link_class class = links_class_of(m->type);
    err = lane_send(links, link, class, &f);
    if (class == LINK_CLASS_BULK) bulk_begin(links, link);
    return err;
}

enum core_err links_send(struct links *links, const struct core_id *id, const struct message *m)
{
    return links_send_buffer(links, id, m, NULL);
}

void links_admit_open(struct links *links, bool open)
{
    links->admit_open = open;
}

void links_bulk_hold(struct links *links, bool hold)
{
    links->hold = hold;
}

void links_ban(struct links *links, const struct core_id *id, uint64_t ms)
{
    uint8_t curve[IDENTITY_CURVE_SIZE];
    if (identity_curve_public(id, curve)) return;
    gate_ban(links->gate, curve, ms);
    struct link *link = links_find(links, id);
    if (!link) return;
    link->closing = true;
    link->closing_reason = LINK_BANNED;
}
