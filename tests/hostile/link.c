// A CURVE connection to a daemon's port and the first words on it, without the product's own link code: what is sent is
// whatever the attack wants sent.
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "hostile.h"
#include "mesh/hello.h"
#include "mesh/socket.h"
#include "mesh/wire.h"

enum { CONNECT_MS = 3000, HEAD_MAX = 300 << 10, AGAIN_MS = 200 };

static void read_monitor(struct hostile *h, struct hostile_link *link)
{
    struct socket_event e;
    while (socket_monitor_next(link->monitor, &e)) {
        if (e.event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) link->secured = true;
        bool failed = e.event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH || e.event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL ||
                      e.event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL || e.event == ZMQ_EVENT_DISCONNECTED ||
                      (e.event == ZMQ_EVENT_CLOSED && !link->secured);
        if (failed && !link->closed) {
            link->closed = true;
            h->closed++;
        }
    }
}

static void wait_for(struct hostile_link *link, int ms)
{
    zmq_pollitem_t items[2] = {{.socket = link->monitor, .events = ZMQ_POLLIN},
                               {.socket = link->socket, .events = ZMQ_POLLIN}};
    zmq_poll(items, link->deaf ? 1 : 2, ms);
}

static bool open_socket(struct hostile *h, struct hostile_link *link, const struct identity_curve *curve)
{
    static unsigned serial;
    char name[64], endpoint[128];
    uint8_t server[IDENTITY_CURVE_SIZE];
    int none = 0, one = 1, handshake = CONNECT_MS;
    snprintf(name, sizeof name, "inproc://monitor-%u", ++serial);
    snprintf(endpoint, sizeof endpoint, "tcp://%s:0;127.0.0.1:%u", h->from, h->port);
    link->socket = zmq_socket(h->context, ZMQ_DEALER);
    link->monitor = zmq_socket(h->context, ZMQ_PAIR);
    if (!link->socket || !link->monitor || identity_curve_public(&h->target, server)) return false;
    void *s = link->socket;
    return !zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none) && !zmq_setsockopt(s, ZMQ_SNDHWM, &one, sizeof one) &&
           (!link->deaf || !zmq_setsockopt(s, ZMQ_RCVHWM, &one, sizeof one)) &&
           (!link->deaf || !zmq_setsockopt(s, ZMQ_RCVBUF, &(int){4096}, sizeof(int))) &&
           !zmq_setsockopt(s, ZMQ_HANDSHAKE_IVL, &handshake, sizeof handshake) &&
           !zmq_setsockopt(s, ZMQ_RECONNECT_IVL, &(int){-1}, sizeof(int)) &&
           !zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, server, sizeof server) &&
           !zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, curve->public_key, IDENTITY_CURVE_SIZE) &&
           !zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, curve->secret_key, IDENTITY_CURVE_SIZE) &&
           !zmq_socket_monitor(s, name, ZMQ_EVENT_ALL) && !zmq_connect(link->monitor, name) &&
           !zmq_connect(s, endpoint);
}

bool hostile_connect(struct hostile *h, struct hostile_link *link, const struct core_key *key)
{
    struct identity_curve curve;
    link->secured = link->closed = false;
    if (identity_curve_pair(key, &curve) || !open_socket(h, link, &curve)) return false;
    uint64_t end = hostile_clock_ms() + CONNECT_MS;
    while (!link->secured && !link->closed && hostile_clock_ms() < end) {
        zmq_pollitem_t item = {.socket = link->monitor, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, 50);
        read_monitor(h, link);
    }
    return link->secured && !link->closed;
}

void hostile_close(struct hostile_link *link)
{
    if (link->socket) {
        zmq_socket_monitor(link->socket, NULL, 0);
        zmq_close(link->socket);
    }
    if (link->monitor) zmq_close(link->monitor);
    link->socket = link->monitor = NULL;
}

void hostile_hello(struct hostile *h, const struct core_key *key, const struct core_id *to, enum message_lane lane,
                   struct message *out)
{
    struct hello_self self = {.key = key,
                              .charter = &h->charter,
                              .certificate = {h->certificate, h->certificate_size},
                              .host = h->host,
                              .incarnation = 1};
    hello_make(&self, to, lane, 7, out);
}

size_t hostile_encode(const struct hostile *h, const struct message *m, uint8_t *out)
{
    size_t size = 0;
    return wire_encode(m, &h->charter.id, out, HEAD_MAX, &size) ? 0 : size;
}

bool hostile_send_frames(struct hostile *h, struct hostile_link *link, const struct slice *frames, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int more = i + 1 < count ? ZMQ_SNDMORE : 0;
        while (zmq_send(link->socket, frames[i].data, frames[i].size, ZMQ_DONTWAIT | more) < 0) {
            read_monitor(h, link);
            if (link->closed || zmq_errno() != EAGAIN || hostile_clock_ms() > h->end_ms) return false;
            wait_for(link, 10);
        }
    }
    h->sent++;
    read_monitor(h, link);
    return !link->closed;
}

bool hostile_send(struct hostile *h, struct hostile_link *link, const struct message *m)
{
    static uint8_t head[HEAD_MAX];
    struct slice frames[2] = {{head, hostile_encode(h, m, head)}, m->bulk};
    return frames[0].size && hostile_send_frames(h, link, frames, m->bulk.size ? 2 : 1);
}

// One message of theirs. True if it is of `wanted`.
static bool receive(struct hostile *h, struct hostile_link *link, enum message_type wanted)
{
    struct socket_message raw;
    if (link->deaf || !socket_receive(link->socket, &raw)) return false;
    struct slice frames[2];
    size_t count = raw.count < 2 ? raw.count : 2;
    for (size_t i = 0; i < count; i++) frames[i] = socket_part(&raw, i);
    struct message m;
    bool right = !wire_decode(frames, count, &h->charter.id, &m);
    h->answers += right;
    if (right && m.type == MESSAGE_HELLO) link->host = m.hello.host;
    if (right && m.type == MESSAGE_LANE_READY && m.lane_ready.name.size < sizeof link->name) {
        link->ready = m.lane_ready;
        memcpy(link->name, m.lane_ready.name.data, m.lane_ready.name.size);
    }
    if (right && m.type == MESSAGE_PING && !link->silent) {
        struct message pong = {.type = MESSAGE_PONG};
        pong.pong.nonce = m.ping.nonce;
        hostile_send(h, link, &pong);
        h->sent--;
    }
    if (right && link->asked && m.type != MESSAGE_HELLO && m.type != MESSAGE_PING) link->asked(h, link, &m);
    socket_message_close(&raw);
    return right && m.type == wanted;
}

bool hostile_listen(struct hostile *h, struct hostile_link *link, uint32_t ms)
{
    uint64_t end = hostile_clock_ms() + ms;
    while (!link->closed && hostile_clock_ms() < end) {
        wait_for(link, ms < 20 ? (int)ms : 20);
        read_monitor(h, link);
        for (int i = 0; i < 64 && !link->closed; i++) receive(h, link, MESSAGE_HELLO);
    }
    return !link->closed;
}

bool hostile_greet(struct hostile *h, struct hostile_link *link, enum message_lane lane)
{
    struct message hello;
    bool deaf = link->deaf;
    hostile_hello(h, &h->key, &h->target, lane, &hello);
    if (!hostile_send(h, link, &hello)) return false;
    h->sent--;
    link->deaf = false;
    bool greeted = false;
    uint64_t end = hostile_clock_ms() + CONNECT_MS;
    while (!greeted && !link->closed && hostile_clock_ms() < end) {
        wait_for(link, 20);
        read_monitor(h, link);
        greeted = receive(h, link, MESSAGE_HELLO);
    }
    link->deaf = deaf;
    return greeted && !link->closed;
}

bool hostile_enter(struct hostile *h, struct hostile_link *link, enum message_lane lane)
{
    uint64_t end = hostile_clock_ms() + 1000ull * h->seconds, closed = h->closed;
    do {
        if (hostile_connect(h, link, &h->key) && hostile_greet(h, link, lane)) {
            h->closed = closed;  // tries at the door don't count
            return true;
        }
        hostile_close(link);
        zmq_poll(NULL, 0, AGAIN_MS);
    } while (hostile_clock_ms() < end);
    return false;
}
