// A port of the home router (gateway) for this peer, asked for by PCP (RFC 6887), or, where the gateway speaks only
// the older one, NAT-PMP (RFC 6886), or else by UPnP, which the caller does (mesh/upnp.h). A pure state machine:
// datagrams in, datagrams out, time as an argument; the socket is the caller's (node/discovery), connected to the
// gateway, so that only the gateway's answers come in.
//
//   OFF --start--> PCP --answer of version 0--> NATPMP --answers--> MAPPED --half its lifetime--> (asks again)
//                   |  no answer, 4 tries         |  no answer or refusal                |
//                   +----> NATPMP                 +----> UPNP --given--> MAPPED          +-- no renewal --> FAILED
//                                                         +--not given--> FAILED --5 min--> PCP
//
// Invariants: at most one request is under way; an answer counts only while it is, for the protocol asked, our port,
// and (PCP) our nonce; MAPPED has an external port and address, and is asked for again after half its lifetime, 10 min
// at most, so that a gateway that was restarted and has forgotten it learns it again. An external address that is
// itself private means another NAT beyond: MAPPED, but `reachable` is false.
#ifndef MESH_PORTMAP_H
#define MESH_PORTMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"

enum {
    PORTMAP_PORT = 5351,
    PORTMAP_NONCE_SIZE = 12,
    PORTMAP_REQUEST_MAX = 60,
    PORTMAP_TRIES = 4,  // of one request, 250 ms apart at first, then twice as long each
    PORTMAP_LIFETIME_S = 7200,
    PORTMAP_RENEW_MS = 600000,
    PORTMAP_AGAIN_MS = 300000,  // after a failure
    PORTMAP_UPNP_MS = 20000,
};

enum portmap_state { PORTMAP_OFF, PORTMAP_ASKING, PORTMAP_MAPPED, PORTMAP_FAILED };
enum portmap_way { PORTMAP_PCP, PORTMAP_NATPMP_ADDRESS, PORTMAP_NATPMP_MAP, PORTMAP_UPNP };

struct portmap {
    enum portmap_state state;
    enum portmap_way way;  // being asked, or that gave the mapping
    uint16_t port;         // ours
    uint8_t own[4];        // our address on the gateway's network
    uint8_t nonce[PORTMAP_NONCE_SIZE];
    bool waiting;  // a request is under way
    uint32_t tries;
    uint64_t due_ms;      // when to ask, or ask again
    uint64_t expires_ms;  // of the mapping
    uint16_t external_port;
    uint8_t external[4];
    uint32_t lifetime_s;
    uint64_t refused;  // answers that were none: malformed, not ours, not asked for
    char why[96];      // of FAILED, for a person
};

// Begins to ask for TCP `port`; `nonce` is random.
void portmap_start(struct portmap *p, uint16_t port, const uint8_t own[4], const uint8_t nonce[PORTMAP_NONCE_SIZE],
                   uint64_t now_ms);
// What to send now; 0 for nothing. Call when `portmap_next_ms` has come.
size_t portmap_tick(struct portmap *p, uint64_t now_ms, uint8_t out[PORTMAP_REQUEST_MAX]);
uint64_t portmap_next_ms(const struct portmap *p);  // UINT64_MAX: never
// A datagram of the gateway. CORE_ERR_MALFORMED (counted; nothing changed) or OK.
CORE_MUST_USE enum core_err portmap_receive(struct portmap *p, struct slice bytes, uint64_t now_ms);
// Nobody listens there (ICMP): no use in trying on.
void portmap_unreachable(struct portmap *p, uint64_t now_ms);
// True while the caller is to ask by UPnP; it answers with one of the next two, within PORTMAP_UPNP_MS.
bool portmap_wants_upnp(const struct portmap *p);
void portmap_given(struct portmap *p, const uint8_t external[4], uint16_t port, uint32_t lifetime_s, uint64_t now_ms);
void portmap_not_given(struct portmap *p, const char *why, uint64_t now_ms);  // "": nobody answered
// The request that gives the port back; 0 where none is held, or by UPnP: the caller's. Then OFF.
size_t portmap_release(struct portmap *p, uint8_t out[PORTMAP_REQUEST_MAX]);
// Whether others can dial `external`: mapped, and not an address that is private itself.
bool portmap_reachable(const struct portmap *p);
const char *portmap_way_name(enum portmap_way way);  // "pcp", "nat-pmp", "upnp"

// The gateway of the default route, and the device it is on, in the text of /proc/net/route. False for none.
bool portmap_gateway(const char *routes, uint8_t gateway[4], char device[16]);

#endif
