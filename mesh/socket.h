// What links and admission need of libzmq, with its traps in one place: every socket speaks CURVE, closes without
// lingering, bounds a frame's size and a handshake's time, and comes with a monitor that tells of the TCP connections
// behind it. One thread a socket.
#ifndef MESH_SOCKET_H
#define MESH_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

#include "core/bytes.h"
#include "core/error.h"
#include "mesh/address.h"
#include "mesh/identity.h"

enum { SOCKET_PARTS_MAX = 4, SOCKET_USER_ID_HEX = 64 };

struct socket_options {
    const struct identity_curve *curve;
    int handshake_ms;
    int connect_ms;
    // A connection that we dial and that is silent for 4 times this is closed by either side; one that a listener
    // accepted, by it, after 15 times this. 0: none.
    int heartbeat_ms;
    int linger_ms;
};

// A bound ROUTER; `port` gets the port that it took. CORE_ERR_REFUSED where no gate (mesh/gate.h) is open in the
// context: without one a listener would let everyone in. CORE_ERR_IN_USE, CORE_ERR_UNREACHABLE (not our address),
// CORE_ERR_MALFORMED, CORE_ERR_IO. `monitor` gets its monitor.
CORE_MUST_USE enum core_err socket_listen(void *context, const struct socket_options *options, const struct address *at,
                                          const char *monitor_name, void **socket, void **monitor, uint16_t *port);
// A DEALER connecting to `at`, where only the holder of `server` can answer. It never reconnects by itself: a closed
// connection is a closed lane.
CORE_MUST_USE enum core_err socket_dial(void *context, const struct socket_options *options, const struct address *at,
                                        const uint8_t server[IDENTITY_CURVE_SIZE], const char *monitor_name,
                                        void **socket, void **monitor);
// Closes both; NULLs are fine.
void socket_close(void *socket, void *monitor);

// ---- monitor ----

struct socket_event {
    uint16_t event;  // ZMQ_EVENT_*
    uint32_t value;  // a file descriptor, an errno or a protocol error
};
// The next event; false when there is none.
bool socket_monitor_next(void *monitor, struct socket_event *out);

// ---- messages ----

// All parts of one message. Parts past SOCKET_PARTS_MAX are dropped but counted.
struct socket_message {
    zmq_msg_t parts[SOCKET_PARTS_MAX];
    size_t count;
};
// False when there is none. Close what was received with `socket_message_close`.
bool socket_receive(void *socket, struct socket_message *out);
void socket_message_close(struct socket_message *m);
struct slice socket_part(struct socket_message *m, size_t index);

// ---- TCP connections ----
// `host` and `port` are what socket_peer said when the connection began: a descriptor that was closed and used again
// meanwhile is left alone.

// The peer's address of a connection ("10.0.0.2"), and its port; false where it is gone.
bool socket_peer(int fd, char *host, size_t size, uint16_t *port);
// Whether nothing that was sent arrives, nor is anything heard. TCP tries ever less often, so a connection stays mute
// for as long again as the cut that has just healed, and one from an address that this machine has lost for a quarter
// of an hour: better to dial anew. A slow reader answers TCP's probes and is for LINK_SLOW; TCP_USER_TIMEOUT
// (ZMQ_TCP_MAXRT) would end that one too, for it counts the time that a window is closed.
bool socket_is_mute(int fd, const char *host, uint16_t port);
// Bytes that an accepted connection has received since it began; 0 where it is gone.
uint64_t socket_received(int fd, const char *host, uint16_t port);
// Shuts an accepted connection down, for libzmq's ROUTER cannot drop one peer.
void socket_shutdown(int fd, const char *host, uint16_t port);

#endif
