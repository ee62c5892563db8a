#include "mesh/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/check.h"
#include "mesh/gate.h"
#include "mesh/wire.h"

_Static_assert(ZMQ_VERSION >= ZMQ_MAKE_VERSION(4, 3, 2), "libzmq 4.3.2 or later");

enum {
    // Whole messages in libzmq's own queues. They only smooth the way to the I/O thread: our own bounded queues hold
    // what must wait, and credit bounds bulk.
    HIGH_WATER = 256,
    MONITOR_HIGH_WATER = 10000,
    BACKLOG = 256,
    ENDPOINT_MAX = ADDRESS_TEXT_MAX + 16,
    // Tries in a row that nothing answered: the segment again, or a probe where none is under way. Nearby the fourth is
    // 3 s after the first byte, and the next as long again after it.
    MUTE_TRIES = 4,
};

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

static bool set_common(void *s, const struct socket_options *o)
{
    int64_t max = WIRE_FRAME_MAX;
    return set_int(s, ZMQ_LINGER, o->linger_ms) && set_int(s, ZMQ_IPV6, 1) && set_int(s, ZMQ_SNDHWM, HIGH_WATER) &&
           set_int(s, ZMQ_RCVHWM, HIGH_WATER) && zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &max, sizeof max) == 0 &&
           set_int(s, ZMQ_HANDSHAKE_IVL, o->handshake_ms) &&
           zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, o->curve->secret_key, IDENTITY_CURVE_SIZE) == 0;
}

// ZMTP's PING: its sender closes when nothing comes back in time, and the other side when no further one comes (TTL,
// from the first one on).
static bool set_heartbeat(void *s, int interval_ms, int timeout_ms, int ttl_ms)
{
    if (interval_ms == 0) return true;
    return set_int(s, ZMQ_HEARTBEAT_IVL, interval_ms) && set_int(s, ZMQ_HEARTBEAT_TIMEOUT, timeout_ms) &&
           set_int(s, ZMQ_HEARTBEAT_TTL, ttl_ms);
}

// The monitor must read before anything happens on the socket, so that no event is lost.
static void *open_monitor(void *context, void *socket, const char *name)
{
    char endpoint[ENDPOINT_MAX];
    snprintf(endpoint, sizeof endpoint, "inproc://%s", name);
    if (zmq_socket_monitor(socket, endpoint, ZMQ_EVENT_ALL) != 0) return NULL;
    void *monitor = zmq_socket(context, ZMQ_PAIR);
    if (!monitor) return NULL;
    // libzmq's I/O thread would block on a full monitor: leave it room for a loop that stalls.
    if (set_int(monitor, ZMQ_LINGER, 0) && set_int(monitor, ZMQ_RCVHWM, MONITOR_HIGH_WATER) &&
        zmq_connect(monitor, endpoint) == 0)
        return monitor;
    zmq_close(monitor);
    return NULL;
}

static enum core_err error_of_bind(int number)
{
    switch (number) {
    case EADDRINUSE: return CORE_ERR_IN_USE;
    case EADDRNOTAVAIL:
    case ENODEV: return CORE_ERR_UNREACHABLE;
    case EINVAL: return CORE_ERR_MALFORMED;
    case EACCES:
    case EPERM: return CORE_ERR_REFUSED;
    default: return CORE_ERR_IO;
    }
}

static enum core_err fail(void **socket, void **monitor, enum core_err err)
{
    socket_close(*socket, *monitor);
    *socket = *monitor = NULL;
    return err;
}

static uint16_t bound_port(void *socket)
{
    char endpoint[ENDPOINT_MAX];
    size_t size = sizeof endpoint;
    if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0) return 0;
    const char *colon = strrchr(endpoint, ':');
    unsigned port = 0;
    return colon && sscanf(colon + 1, "%u", &port) == 1 ? (uint16_t)port : 0;
}

// Whether somebody answers ZAP's questions in this context: its endpoint can be bound once. libzmq's CURVE server lets
// everyone in where nobody does.
static bool gate_is_there(void *context)
{
    void *probe = zmq_socket(context, ZMQ_REP);
    if (!probe) return false;
    const bool bound = zmq_bind(probe, GATE_ENDPOINT) == 0, there = !bound && errno == EADDRINUSE;
    if (bound) (void)zmq_unbind(probe, GATE_ENDPOINT);  // at once: closing is done later, by another thread
    zmq_close(probe);
    return there;
}

enum core_err socket_listen(void *context, const struct socket_options *options, const struct address *at,
                            const char *monitor_name, void **socket, void **monitor, uint16_t *port)
{
    *socket = *monitor = NULL;
    if (!gate_is_there(context)) return CORE_ERR_REFUSED;
    *socket = zmq_socket(context, ZMQ_ROUTER);
    if (!*socket) return CORE_ERR_NO_MEMORY;
    // Bulk lanes come here too, where an answer may wait behind a large frame: the listener is patient.
    if (!set_common(*socket, options) ||
        !set_heartbeat(*socket, options->heartbeat_ms, 15 * options->heartbeat_ms, 0) ||
        !set_int(*socket, ZMQ_ROUTER_MANDATORY, 1) || !set_int(*socket, ZMQ_CURVE_SERVER, 1) ||
        !set_int(*socket, ZMQ_BACKLOG, BACKLOG) ||
        zmq_setsockopt(*socket, ZMQ_ZAP_DOMAIN, GATE_DOMAIN, strlen(GATE_DOMAIN)) != 0)
        return fail(socket, monitor, CORE_ERR_IO);
    *monitor = open_monitor(context, *socket, monitor_name);
    if (!*monitor) return fail(socket, monitor, CORE_ERR_NO_MEMORY);

    char text[ADDRESS_TEXT_MAX], endpoint[ENDPOINT_MAX];
    address_format(at, text);
    if (address_is_any(at))
        snprintf(endpoint, sizeof endpoint, "tcp://*:%u", at->port);
    else
        snprintf(endpoint, sizeof endpoint, "tcp://%s", text);
    if (zmq_bind(*socket, endpoint) != 0) return fail(socket, monitor, error_of_bind(errno));
    *port = bound_port(*socket);
    return CORE_ERR_OK;
}

enum core_err socket_dial(void *context, const struct socket_options *options, const struct address *at,
                          const uint8_t server[IDENTITY_CURVE_SIZE], const char *monitor_name, void **socket,
                          void **monitor)
{
    *monitor = NULL;
    *socket = zmq_socket(context, ZMQ_DEALER);
    if (!*socket) return CORE_ERR_NO_MEMORY;
    if (!set_common(*socket, options) ||
        !set_heartbeat(*socket, options->heartbeat_ms, 4 * options->heartbeat_ms, 4 * options->heartbeat_ms) ||
        !set_int(*socket, ZMQ_RECONNECT_IVL, -1) || !set_int(*socket, ZMQ_CONNECT_TIMEOUT, options->connect_ms) ||
        zmq_setsockopt(*socket, ZMQ_CURVE_PUBLICKEY, options->curve->public_key, IDENTITY_CURVE_SIZE) != 0 ||
        zmq_setsockopt(*socket, ZMQ_CURVE_SERVERKEY, server, IDENTITY_CURVE_SIZE) != 0)
        return fail(socket, monitor, CORE_ERR_IO);
    *monitor = open_monitor(context, *socket, monitor_name);
    if (!*monitor) return fail(socket, monitor, CORE_ERR_NO_MEMORY);
    char text[ADDRESS_TEXT_MAX], endpoint[ENDPOINT_MAX];
    address_format(at, text);
    snprintf(endpoint, sizeof endpoint, "tcp://%s", text);
    if (zmq_connect(*socket, endpoint) != 0) return fail(socket, monitor, CORE_ERR_MALFORMED);
    return CORE_ERR_OK;
}

void socket_close(void *socket, void *monitor)
{
    if (socket) {
        if (monitor) zmq_socket_monitor(socket, NULL, 0);
        zmq_close(socket);
    }
    if (monitor) zmq_close(monitor);
}

// ---- monitor ----

bool socket_monitor_next(void *monitor, struct socket_event *out)
{
    uint8_t head[6];
    int size = zmq_recv(monitor, head, sizeof head, ZMQ_DONTWAIT);
    if (size < 0) return false;
    // libzmq writes both numbers as the machine has them.
    memset(out, 0, sizeof *out);
    if (size == sizeof head) {
        memcpy(&out->event, head, sizeof out->event);
        memcpy(&out->value, head + 2, sizeof out->value);
    }
    int more = 1;
    size_t option = sizeof more;
    while (zmq_getsockopt(monitor, ZMQ_RCVMORE, &more, &option) == 0 && more)
        if (zmq_recv(monitor, NULL, 0, ZMQ_DONTWAIT) < 0) break;
    return true;
}

// ---- messages ----

bool socket_receive(void *socket, struct socket_message *out)
{
    out->count = 0;
    int more = 1;
    while (more) {
        zmq_msg_t spill, *part = out->count < SOCKET_PARTS_MAX ? &out->parts[out->count] : &spill;
        zmq_msg_init(part);
        if (zmq_msg_recv(part, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(part);
            if (out->count == 0) return false;
            break;  // the parts of one message come together; anything else is a broken connection
        }
        more = zmq_msg_more(part);
        if (out->count >= SOCKET_PARTS_MAX) zmq_msg_close(part);
        out->count++;
    }
    return true;
}

void socket_message_close(struct socket_message *m)
{
    for (size_t i = 0; i < m->count && i < SOCKET_PARTS_MAX; i++) zmq_msg_close(&m->parts[i]);
    m->count = 0;
}

struct slice socket_part(struct socket_message *m, size_t index)
{
    check(index < m->count && index < SOCKET_PARTS_MAX);
    return (struct slice){zmq_msg_data(&m->parts[index]), zmq_msg_size(&m->parts[index])};
}

// ---- TCP connections ----

bool socket_peer(int fd, char *host, size_t size, uint16_t *port)
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof storage;
    if (getpeername(fd, (struct sockaddr *)&storage, &length) != 0) return false;
    if (storage.ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, &storage, sizeof v4);
        *port = ntohs(v4.sin_port);
        return inet_ntop(AF_INET, &v4.sin_addr, host, (socklen_t)size) != NULL;
    }
    if (storage.ss_family != AF_INET6) return false;
    struct sockaddr_in6 v6;
    memcpy(&v6, &storage, sizeof v6);
    *port = ntohs(v6.sin6_port);
    // A dual-stack listener shows IPv4 peers as ::ffff:a.b.c.d; ZAP and people know them as a.b.c.d.
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
        return inet_ntop(AF_INET, v6.sin6_addr.s6_addr + 12, host, (socklen_t)size) != NULL;
    return inet_ntop(AF_INET6, &v6.sin6_addr, host, (socklen_t)size) != NULL;
}

static bool is_same(int fd, const char *host, uint16_t port)
{
    char now[INET6_ADDRSTRLEN];
    uint16_t now_port;
    return socket_peer(fd, now, sizeof now, &now_port) && now_port == port && strcmp(now, host) == 0;
}

static bool tcp_info_of(int fd, const char *host, uint16_t port, struct tcp_info *out)
{
    socklen_t size = sizeof *out;
    memset(out, 0, sizeof *out);  // an older kernel fills less
    return is_same(fd, host, port) && getsockopt(fd, IPPROTO_TCP, TCP_INFO, out, &size) == 0;
}

uint64_t socket_received(int fd, const char *host, uint16_t port)
{
    struct tcp_info info;
    return tcp_info_of(fd, host, port, &info) ? info.tcpi_bytes_received : 0;
}

bool socket_is_mute(int fd, const char *host, uint16_t port)
{
    struct tcp_info info;
    return tcp_info_of(fd, host, port, &info) && info.tcpi_retransmits + info.tcpi_probes >= MUTE_TRIES;
}

void socket_shutdown(int fd, const char *host, uint16_t port)
{
    if (is_same(fd, host, port)) shutdown(fd, SHUT_RDWR);
}
