// Connections that we dial: one address after the other until one answers as the peer, then the bulk lane to the same.
#include <stdio.h>
#include <string.h>

#include "core/check.h"
#include "mesh/links_internal.h"

void lane_close_dealer(struct lane *lane)
{
    socket_close(lane->dealer, lane->monitor);
    lane->dealer = lane->monitor = NULL;
    lane->connected = lane->secured = lane->ended = lane->blocked = false;
    lane->why = LINK_NONE;
}

// Connects one lane and leaves our HELLO in its pipe: libzmq hands it over once CURVE has proved the other side.
static bool dial_lane(struct links *l, struct link *link, uint32_t index)
{
    struct lane *lane = &link->lanes[index];
    char name[32];
    snprintf(name, sizeof name, "monitor-%llu", (unsigned long long)++l->next_name);
    struct socket_options sockets = l->sockets;
    // A heartbeat waits behind a large message: the control lane speaks for both.
    if (index == LANE_BULK) sockets.heartbeat_ms = 0;
    if (socket_dial(l->context, &sockets, &link->at, link->curve, name, &lane->dealer, &lane->monitor)) return false;
    lane->state = LANE_GREETING;
    return lane_greet(l, link, index);
}

static void address_failed(struct links *l, struct link *link, enum link_reason reason, const char *text)
{
    links_emit(l, &(struct link_event){.kind = LINK_EVENT_ADDRESS_FAILED,
                                       .id = link->id,
                                       .reason = reason,
                                       .text = text,
                                       .address = link->address,
                                       .dialled_by_us = true});
}

// The next address, or what is left when there is none: their own dial if it waits, else the end.
static void dial_next(struct links *l, struct link *link, enum link_reason reason, const char *text)
{
    for (;;) {
        lane_close_dealer(&link->lanes[LANE_CONTROL]);
        link->lanes[LANE_CONTROL].state = LANE_CLOSED;
        if (link->parked != NO_CONN && accept_parked(l, link)) return;
        if (link->next_address >= link->addresses.count) break;
        link->at = link->addresses.items[link->next_address++];
        address_format(&link->at, link->address);
        link->nonce = ++l->next_nonce;
        link->dialled_ms = l->now_ms;
        link->deadline_ms = l->now_ms + (uint64_t)l->options.dial_timeout_ms;
        if (dial_lane(l, link, LANE_CONTROL)) return;
        reason = LINK_LIMIT;  // no socket, or an address that libzmq does not take
        text = "";
        address_failed(l, link, reason, text);
    }
    links_down(l, link, reason, text);
}

void dial_start(struct links *l, struct link *link)
{
    link->waiting = false;
    dial_next(l, link, LINK_NONE, "");
}

void dial_bulk(struct links *l, struct link *link)
{
    link->deadline_ms = l->now_ms + (uint64_t)(l->options.dial_timeout_ms + l->options.hello_timeout_ms);
    if (!dial_lane(l, link, LANE_BULK)) link->lanes[LANE_BULK].ended = true;
}

// A lane that we dialled came to its end: the next address while dialling, else the link's end.
static void lane_ended(struct links *l, struct link *link, enum link_reason reason, const char *text)
{
    if (link->state == LINK_STATE_UP) {
        links_down(l, link, reason, text);
        return;
    }
    address_failed(l, link, reason, text);
    dial_next(l, link, reason, text);
}

static void read_monitor(struct links *l, struct link *link, struct lane *lane)
{
    struct socket_event e;
    while (socket_monitor_next(lane->monitor, &e)) {
        switch (e.event) {
        case ZMQ_EVENT_CONNECTED: {
            uint16_t port;
            lane->connected = true;
            lane->fd = (int)e.value;
            if (!socket_peer((int)e.value, link->peer_host, sizeof link->peer_host, &port)) link->peer_host[0] = '\0';
            break;
        }
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
            lane->secured = true;
            if (link->state == LINK_STATE_DIALLING)
                link->deadline_ms = l->now_ms + (uint64_t)l->options.hello_timeout_ms;
            break;
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: lane->why = LINK_TURNED_AWAY; break;
        case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
            if (!lane->why) lane->why = LINK_HANDSHAKE;
            break;
        case ZMQ_EVENT_CLOSED:  // the attempt to connect
            if (lane->connected) break;
            lane->ended = true;
            if (!lane->why) {
                bool late = l->now_ms + 50 >= link->dialled_ms + (uint64_t)l->options.dial_timeout_ms;
                lane->why = late ? LINK_TIMED_OUT : LINK_REFUSED_CONNECTION;
            }
            break;
        case ZMQ_EVENT_DISCONNECTED:
            lane->ended = true;
            if (!lane->why) lane->why = lane->secured ? LINK_CLOSED : LINK_HANDSHAKE;
            break;
        default: break;
        }
    }
}

// What a lane says before it is open: HELLO, or REFUSED with a reason.
static void receive_greeting(struct links *l, struct link *link, uint32_t index, struct socket_message *raw)
{
    struct message m;
    enum core_err err = CORE_ERR_MALFORMED;
    if (raw->count == 1) {
        struct slice head = socket_part(raw, 0);
        err = wire_decode(&head, 1, &l->options.charter->id, &m);
    }
    if (!err && m.type == MESSAGE_REFUSED) {
        char text[REFUSAL_TEXT];
        enum link_reason reason = links_refusal_read(&m, text);
        lane_ended(l, link, reason, text);
        return;
    }
    enum link_reason reason = links_reason_of(err);
    struct certificate certificate;
    if (!err && m.type != MESSAGE_HELLO) reason = LINK_NOT_ALLOWED;
    if (!reason) reason = hello_verify(&l->self, &m, link->curve, l->options.revoked, links_clock_s(), &certificate);
    if (!reason && (!id_equal(&certificate.key, &link->id) || m.hello.lane != index)) reason = LINK_WRONG_KEY;
    if (reason) {
        struct message no;  // for them the link is up already, and then gone without a word
        links_refusal(reason, &no);
        (void)!lane_say(l, link, index, &no);
        links_refuse(l, reason, link->curve, link->address);
        lane_ended(l, link, reason, "");
        return;
    }
    link->lanes[index].state = LANE_OPEN;
    if (index == LANE_BULK) {
        links_bulk_opened(l, link);
        return;
    }
    gate_know(l->gate, link->curve, NULL);
    if (link->parked != NO_CONN) {  // the crossing connection: ours stays
        conn_shun(l, &l->conns[link->parked], 0);
        link->parked = NO_CONN;
    }
    links_up(l, link, &m, &certificate);
}

static void process_lane(struct links *l, struct link *link, uint32_t index)
{
    struct lane *lane = &link->lanes[index];
    void *dealer = lane->dealer;
    read_monitor(l, link, lane);
    struct socket_message raw;
    for (uint32_t i = 0; i < MESSAGES_A_CALL; i++) {
        if (!socket_receive(dealer, &raw)) {
            if (lane->ended) lane_ended(l, link, lane->why, "");
            return;
        }
        if (lane->state == LANE_OPEN)
            links_receive(l, link, index, &raw, 0);
        else
            receive_greeting(l, link, index, &raw);
        socket_message_close(&raw);
        if (lane->dealer != dealer) return;  // the lane ended, and perhaps another began
    }
    l->more = true;
}

void dial_process(struct links *l, struct link *link)
{
    for (uint32_t i = 0; i < LANE_COUNT; i++) {
        if (link->state == LINK_STATE_FREE) return;
        if (link->lanes[i].dealer)
            process_lane(l, link, i);
        else if (link->lanes[i].ended)
            lane_ended(l, link, LINK_LIMIT, "");
    }
}

void dial_timers(struct links *l, struct link *link)
{
    if (link->state == LINK_STATE_FREE || link->deadline_ms == 0 || l->now_ms < link->deadline_ms) return;
    const struct lane *lane = &link->lanes[link->state == LINK_STATE_UP ? LANE_BULK : LANE_CONTROL];
    lane_ended(l, link, lane->secured ? LINK_NO_HELLO : LINK_TIMED_OUT, "");
}
