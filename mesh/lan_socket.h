// The sockets behind mesh/lan.h: UDP multicast on every interface that is up, can multicast and isn't loopback, to
// 239.255.61.73 (RFC 2365's local scope, TTL 1) and ff12::6d79:6365 (link scope, transient: RFC 4291), port 6173.
// What is sent to the machine's own addresses is not read. One thread.
#ifndef MESH_LAN_SOCKET_H
#define MESH_LAN_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "mesh/address.h"
#include "mesh/lan.h"

#define LAN_GROUP_4 "239.255.61.73"
#define LAN_GROUP_6 "ff12::6d79:6365"
enum { LAN_PORT = 6173, LAN_INTERFACES_MAX = 16, LAN_FAMILIES = 2 };

struct lan_interface {
    unsigned index;
    char name[16];
    struct address addresses[LAN_ADDRESSES_MAX];  // port 0; link-local ones left out
    uint32_t count;
};
struct lan_interfaces {
    struct lan_interface items[LAN_INTERFACES_MAX];
    uint32_t count;
};

struct lan_socket {
    int fds[LAN_FAMILIES];  // IPv4, IPv6; -1 where the machine has no such
    unsigned joined[LAN_FAMILIES][LAN_INTERFACES_MAX];
};

// Those that announcements could go over, with their addresses. CORE_ERR_IO.
CORE_MUST_USE enum core_err lan_interfaces_read(struct lan_interfaces *out);
bool lan_interfaces_equal(const struct lan_interfaces *a, const struct lan_interfaces *b);

// CORE_ERR_IN_USE where another program holds the port for itself, CORE_ERR_IO where there is no UDP at all.
CORE_MUST_USE enum core_err lan_socket_open(struct lan_socket *s);
void lan_socket_close(struct lan_socket *s);  // also of one that was never opened but zeroed with fds -1
// Joins the groups on these interfaces (once each).
void lan_socket_join(struct lan_socket *s, const struct lan_interfaces *interfaces);
// Sends by one family over one interface; false where it did not go out.
bool lan_socket_send(struct lan_socket *s, int family, unsigned interface, const uint8_t bytes[LAN_SIZE]);
// The next datagram's bytes (cut at `capacity`); 0 when there is none. Never blocks.
size_t lan_socket_receive(struct lan_socket *s, uint8_t *bytes, size_t capacity);

#endif
