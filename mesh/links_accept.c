// Connections that others opened to our listener: from a TCP connection to a stranger with a key, to a lane of a link.
//
// libzmq's monitor names a connection by its descriptor, a message by a routing id; ZMQ_SRCFD of a message joins the
// two. Descriptors are used again, so order matters: an old connection's DISCONNECTED is in the monitor before its
// descriptor is closed, hence before the next one's first message: whoever reads the monitor to its end before it looks
// a new routing id up never takes one for the other.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/check.h"
#include "mesh/links_internal.h"

// ---- TCP connections, from the monitor ----

static struct conn *conn_by_fd(struct links *l, int fd)
{
    for (uint32_t i = 0; i < l->conn_count; i++)
        if (l->conns[i].state != CONN_FREE && !l->conns[i].closed && l->conns[i].fd == fd) return &l->conns[i];
    return NULL;
}

static struct conn *conn_by_routing_id(struct links *l, struct slice id)
{
    for (uint32_t i = 0; i < l->conn_count; i++) {
        struct conn *c = &l->conns[i];
        if (c->state != CONN_FREE && c->named && memcmp(c->routing_id, id.data, ROUTING_ID_SIZE) == 0) return c;
    }
    return NULL;
}

static uint32_t strangers_from(const struct links *l, const char *host)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < l->conn_count; i++)
        count += l->conns[i].state == CONN_STRANGER && strcmp(l->conns[i].host, host) == 0;
    return count;
}

// Connections that say nothing must not keep others out: the oldest one of the address that has most of them gives way,
// unless that is the newcomer's own.
static bool make_room(struct links *l, const char *newcomer)
{
    struct conn *oldest = NULL;
    uint32_t most = strangers_from(l, newcomer);
    for (uint32_t i = 0; i < l->conn_count; i++) {
        struct conn *c = &l->conns[i];
        if (c->state != CONN_STRANGER) continue;
        uint32_t count = oldest && strcmp(oldest->host, c->host) == 0 ? most : strangers_from(l, c->host);
        bool older =
            oldest && count == most && strcmp(oldest->host, c->host) == 0 && c->deadline_ms < oldest->deadline_ms;
        if (count <= most && !older) continue;
        most = count;
        oldest = c;
    }
    if (!oldest) return false;
    char host[GATE_ADDRESS_MAX];
    memcpy(host, oldest->host, sizeof host);
    conn_shun(l, oldest, 0);
    links_refuse(l, LINK_LIMIT, NULL, host);
    return true;
}

static void conn_accepted(struct links *l, int fd)
{
    struct conn *c = NULL;
    uint32_t strangers = 0;
    for (uint32_t i = 0; i < l->conn_count; i++) {
        if (l->conns[i].state == CONN_STRANGER) strangers++;
        if (l->conns[i].state == CONN_FREE) c = &l->conns[i];
    }
    char host[GATE_ADDRESS_MAX] = "";
    uint16_t port = 0;
    (void)!socket_peer(fd, host, sizeof host, &port);
    bool full = !c || (strangers >= l->options.max_strangers && !make_room(l, host));
    if (full || !gate_accept(l->gate, host)) {
        socket_shutdown(fd, host, port);
        if (!full) l->totals.handshakes_refused++;
        links_refuse(l, full ? LINK_LIMIT : LINK_TOO_FAST, NULL, host);
        return;
    }
    *c = (struct conn){.state = CONN_STRANGER,
                       .fd = fd,
                       .port = port,
                       .deadline_ms = l->now_ms + (uint64_t)l->options.hello_timeout_ms};
    memcpy(c->host, host, sizeof c->host);
}

// A connection that ended without a message: why? libzmq's events about handshakes name no connection, but one that
// failed comes right before its DISCONNECTED (one I/O thread); the others are counted.
static enum link_reason reason_of_silence(struct links *l)
{
    struct socket_event before = l->before;
    if (before.event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) return LINK_HANDSHAKE;
    // It closed, or said nothing until the handshake's time was over: a dial given up, a port scan.
    if (before.event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) return before.value == EAGAIN ? LINK_NO_HELLO : LINK_NONE;
    uint32_t *counted = l->turned_away ? &l->turned_away : l->shaken ? &l->shaken : NULL;
    if (!counted) return LINK_HANDSHAKE;  // libzmq says nothing of what isn't ZMTP at all
    --*counted;
    return LINK_NONE;
}

static void conn_disconnected(struct links *l, int fd)
{
    struct conn *c = conn_by_fd(l, fd);
    if (!c) return;
    c->closed = true;
    if (c->named) return;  // its last messages are read first
    enum link_reason reason = reason_of_silence(l);
    bool stranger = c->state == CONN_STRANGER;
    c->state = CONN_FREE;
    if (!stranger || !reason) return;
    if (reason == LINK_HANDSHAKE) gate_slow(l->gate, c->host, (uint64_t)l->options.penalty_ms);
    links_refuse(l, reason, NULL, c->host);
}

static void read_monitor(struct links *l)
{
    struct socket_event e;
    for (; socket_monitor_next(l->monitor, &e); l->before = e) {
        switch (e.event) {
        case ZMQ_EVENT_ACCEPTED: conn_accepted(l, (int)e.value); break;
        case ZMQ_EVENT_DISCONNECTED: conn_disconnected(l, (int)e.value); break;
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: l->turned_away++; break;
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: l->shaken++; break;
        default: break;
        }
    }
}

// ---- letting go ----

void conn_shun(struct links *l, struct conn *c, uint64_t delay_ms)
{
    if (c->state == CONN_PARKED) socket_message_close(&c->hello);
    c->state = c->closed ? CONN_FREE : CONN_SHUNNED;
    c->deadline_ms = l->now_ms + delay_ms;
    if (delay_ms == 0 && !c->closed) socket_shutdown(c->fd, c->host, c->port);
}

static void say_refused(struct links *l, struct conn *c, enum link_reason reason)
{
    struct message m;
    links_refusal(reason, &m);
    conn_send(l, c, &m);
}

static void conn_refuse(struct links *l, struct conn *c, enum link_reason reason)
{
    say_refused(l, c, reason);
    conn_shun(l, c, CLOSE_DELAY_MS);
    links_refuse(l, reason, c->named ? c->curve : NULL, c->host);
}

// ---- HELLO and ADMIT ----

static void answer_hello(struct links *l, struct link *link, struct conn *c, enum message_lane lane)
{
    struct message m;
    hello_make(&l->self, &link->id, lane, link->nonce, &m);
    conn_send(l, c, &m);
    link->lanes[lane].conn = (uint32_t)(c - l->conns);
    link->lanes[lane].state = LANE_OPEN;
    c->state = CONN_LANE;
    c->deadline_ms = 0;
    c->link = (uint32_t)(link - l->links);
    c->lane = lane;
}

static void take_control(struct links *l, struct link *link, struct conn *c, const struct message *m,
                         const struct certificate *certificate)
{
    link->ours = link->waiting = false;
    link->nonce = ++l->next_nonce;
    snprintf(link->address, sizeof link->address, "%s", c->host);
    answer_hello(l, link, c, LANE_CONTROL);
    links_up(l, link, m, certificate);
}

static bool is_newer(const struct link *link, const struct message_hello *h)
{
    if (h->incarnation != link->their_incarnation) return h->incarnation > link->their_incarnation;
    return h->nonce > link->their_nonce;
}

// The lower id's dial is on its way: keep the higher's HELLO until it is known how that went (invariant 4).
static void park(struct links *l, struct link *link, struct conn *c, struct socket_message *raw)
{
    if (link->parked != NO_CONN) conn_shun(l, &l->conns[link->parked], 0);
    link->parked = (uint32_t)(c - l->conns);
    c->state = CONN_PARKED;
    c->deadline_ms = 0;
    c->link = (uint32_t)(link - l->links);
    c->hello = *raw;
    raw->count = 0;
}

static void hello_control(struct links *l, struct conn *c, struct socket_message *raw, const struct message *m,
                          const struct certificate *certificate)
{
    struct link *link = links_find(l, &certificate->key);
    if (link && link->state == LINK_STATE_UP) {
        if (!link->closing && !is_newer(link, &m->hello)) {
            conn_shun(l, c, 0);  // the other side of a crossing, overtaken
            return;
        }
        // It would not dial if it still saw our link: it restarted, or lost the connection before we did.
        links_down(l, link, link->closing ? link->closing_reason : LINK_REPLACED, "");
        link = links_find(l, &certificate->key);  // the owner may have dialled at once
    }
    if (link) {
        if (!link->closing && id_compare(&l->self.key->id, &certificate->key) < 0) {
            park(l, link, c, raw);
            return;
        }
        links_drop_lanes(l, link);
    }
    if (!link) link = links_take(l, &certificate->key);
    if (!link) {
        conn_refuse(l, c, LINK_LIMIT);
        return;
    }
    memcpy(link->curve, c->curve, sizeof link->curve);
    link->closing = false;
    take_control(l, link, c, m, certificate);
}

static void hello_bulk(struct links *l, struct conn *c, const struct message *m, const struct core_id *id)
{
    struct link *link = links_find(l, id);
    bool fits = link && link->state == LINK_STATE_UP && !link->ours && link->lanes[LANE_BULK].state == LANE_CLOSED &&
                link->their_nonce == m->hello.nonce;
    if (!fits) {
        conn_shun(l, c, 0);  // of a link that is gone
        return;
    }
    bulk_forget(link);  // no other way was possible
    link->bulk.step = BULK_OPEN;
    answer_hello(l, link, c, LANE_BULK);
    links_bulk_opened(l, link);
}

// True where another member has this X25519 key: two ids that differ in the sign bit, which the conversion drops.
static bool is_twin(const struct links *l, const uint8_t *curve, const struct core_id *id)
{
    struct core_id twin = *id;
    twin.bytes[CORE_ID_SIZE - 1] ^= 0x80;
    if (l->options.knows && l->options.knows(l->options.knows_context, &twin)) return true;
    for (uint32_t i = 0; i < l->options.max_links; i++) {
        const struct link *link = &l->links[i];
        if (link->state != LINK_STATE_FREE && memcmp(link->curve, curve, sizeof link->curve) == 0 &&
            !id_equal(&link->id, id))
            return true;
    }
    return false;
}

static void receive_hello(struct links *l, struct conn *c, struct socket_message *raw, const struct message *m)
{
    struct certificate certificate;
    enum link_reason reason = hello_verify(&l->self, m, c->curve, l->options.revoked, links_clock_s(), &certificate);
    if (!reason && is_twin(l, c->curve, &certificate.key)) reason = LINK_WRONG_KEY;
    if (reason) {
        conn_refuse(l, c, reason);
        return;
    }
    gate_know(l->gate, c->curve, c->host);
    if (m->hello.lane == LANE_CONTROL)
        hello_control(l, c, raw, m, &certificate);
    else
        hello_bulk(l, c, m, &certificate.key);
}

static void receive_admit(struct links *l, struct conn *c, const struct message *m)
{
    if (!l->admit_open) {
        conn_refuse(l, c, LINK_NO_INVITATION);
        return;
    }
    c->state = CONN_JOINER;
    c->ticket = ++l->next_ticket;
    c->deadline_ms = l->now_ms + JOINER_MS;
    links_emit(l,
               &(struct link_event){
                   .kind = LINK_EVENT_ADMIT, .ticket = c->ticket, .curve = c->curve, .message = m, .address = c->host});
}

enum core_err links_answer(struct links *l, uint64_t ticket, const struct message *m)
{
    for (uint32_t i = 0; i < l->conn_count; i++) {
        struct conn *c = &l->conns[i];
        if (c->state != CONN_JOINER || c->ticket != ticket || c->closed) continue;
        conn_send(l, c, m);
        conn_shun(l, c, JOINER_MS);  // the joiner closes once it has read this
        return CORE_ERR_OK;
    }
    return CORE_ERR_NOT_FOUND;
}

bool accept_parked(struct links *l, struct link *link)
{
    struct conn *c = &l->conns[link->parked];
    link->parked = NO_CONN;
    struct socket_message raw = c->hello;
    c->hello.count = 0;
    c->state = CONN_STRANGER;
    struct slice head = socket_part(&raw, 1);
    struct message m;
    struct certificate certificate;
    // Both passed when it was parked; the certificate may have ended since.
    bool ok = wire_decode(&head, 1, &l->options.charter->id, &m) == CORE_ERR_OK &&
              hello_verify(&l->self, &m, c->curve, l->options.revoked, links_clock_s(), &certificate) == LINK_NONE;
    if (ok)
        take_control(l, link, c, &m, &certificate);
    else
        conn_shun(l, c, 0);
    socket_message_close(&raw);
    return ok;
}

// ---- messages ----

// The first message of a connection gives it its routing id and its key. NULL where it is gone, or isn't to be heard.
static struct conn *conn_name(struct links *l, struct socket_message *m)
{
    read_monitor(l);  // see the top of this file
    struct slice id = socket_part(m, 0);
    int fd = m->count > 1 ? zmq_msg_get(&m->parts[1], ZMQ_SRCFD) : -1;
    struct conn *c = fd < 0 ? NULL : conn_by_fd(l, fd);
    if (!c || c->named || c->state != CONN_STRANGER) return NULL;
    const char *user = zmq_msg_gets(&m->parts[1], "User-Id");
    if (!user || !hex_decode(c->curve, sizeof c->curve, user)) return NULL;
    // A routing id that the peer chose could be made to collide with another's.
    if (id.size != ROUTING_ID_SIZE || id.data[0] != 0) {
        conn_shun(l, c, 0);
        links_refuse(l, LINK_NOT_ALLOWED, c->curve, c->host);
        return NULL;
    }
    memcpy(c->routing_id, id.data, ROUTING_ID_SIZE);
    c->named = true;
    if (l->shaken) l->shaken--;
    return c;
}

// A stranger's message: HELLO or ADMIT, or it was one too many.
static void receive_stranger(struct links *l, struct conn *c, struct socket_message *raw)
{
    size_t count = raw->count - 1;
    if (count != 1) {
        conn_refuse(l, c, LINK_MALFORMED);
        return;
    }
    struct slice head = socket_part(raw, 1);
    struct message m;
    enum core_err err = wire_decode(&head, 1, &l->options.charter->id, &m);
    if (err)
        conn_refuse(l, c, links_reason_of(err));
    else if (m.type == MESSAGE_HELLO)
        receive_hello(l, c, raw, &m);
    else if (m.type == MESSAGE_ADMIT)
        receive_admit(l, c, &m);
    else
        conn_refuse(l, c, LINK_NOT_ALLOWED);
}

static void receive(struct links *l, struct socket_message *raw)
{
    struct slice id = socket_part(raw, 0);
    struct conn *c = id.size == ROUTING_ID_SIZE ? conn_by_routing_id(l, id) : NULL;
    if (!c) c = conn_name(l, raw);
    if (!c) return;
    switch (c->state) {
    case CONN_STRANGER: receive_stranger(l, c, raw); break;
    case CONN_LANE: links_receive(l, &l->links[c->link], c->lane, raw, 1); break;
    case CONN_PARKED: {  // it has had no HELLO from us: nothing may follow its own
        struct link *link = &l->links[c->link];
        link->parked = NO_CONN;
        conn_refuse(l, c, LINK_NOT_ALLOWED);
        break;
    }
    default: break;
    }
}

// A connection whose TCP side is gone and whose messages are all read.
static void conn_end(struct links *l, struct conn *c)
{
    enum conn_state was = c->state;
    if (was == CONN_PARKED) {
        l->links[c->link].parked = NO_CONN;
        socket_message_close(&c->hello);
    }
    c->state = CONN_FREE;
    if (was != CONN_LANE) return;
    struct link *link = &l->links[c->link];
    link->lanes[c->lane].conn = NO_CONN;
    links_down(l, link, LINK_CLOSED, "");
}

void accept_process(struct links *l)
{
    if (!l->router) return;
    read_monitor(l);
    struct socket_message m;
    uint32_t count = 0;
    for (; count < MESSAGES_A_CALL && socket_receive(l->router, &m); count++) {
        receive(l, &m);
        socket_message_close(&m);
    }
    if (count == MESSAGES_A_CALL) {
        l->more = true;
        return;
    }
    bool nameless = false;
    for (uint32_t i = 0; i < l->conn_count; i++) {
        struct conn *c = &l->conns[i];
        if (c->state != CONN_FREE && c->closed) conn_end(l, c);
        nameless |= c->state != CONN_FREE && !c->named;
    }
    if (!nameless) l->turned_away = l->shaken = 0;  // nothing is left that they could count
}

// libzmq reads a message of many frames whole before it hands any over: what a stranger makes us hold is bounded by
// what its connection received, which the system knows.
static bool is_overfed(const struct conn *c)
{
    if (c->named || c->closed || c->state != CONN_STRANGER) return false;
    return socket_received(c->fd, c->host, c->port) > STRANGER_BYTES_MAX;
}

void accept_timers(struct links *l)
{
    for (uint32_t i = 0; i < l->conn_count; i++) {
        struct conn *c = &l->conns[i];
        if (c->state == CONN_STRANGER && is_overfed(c)) {
            conn_shun(l, c, 0);
            c->deadline_ms = 0;
            l->totals.overfed++;
            gate_slow(l->gate, c->host, (uint64_t)l->options.penalty_ms);
            links_refuse(l, LINK_TOO_LARGE, NULL, c->host);
            continue;
        }
        if (c->state == CONN_FREE || c->deadline_ms == 0 || l->now_ms < c->deadline_ms) continue;
        enum conn_state was = c->state;
        conn_shun(l, c, 0);
        c->deadline_ms = 0;
        if (was == CONN_STRANGER) links_refuse(l, LINK_NO_HELLO, c->named ? c->curve : NULL, c->host);
    }
}
