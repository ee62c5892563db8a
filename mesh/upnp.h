// A port of the gateway by UPnP (UDA 1.0, WANIPConnection:1), for routers that speak nothing better: what to ask and
// what the answers say. Texts in, texts out; sockets are the caller's (node/discovery_upnp). Pure; one owner.
//
//   SEARCH --LOCATION of the gateway--> DESCRIBE --control URL--> ADDRESS --outer address--> MAP --200--> DONE
//      any step --an error, or no answer (the caller)--> FAILED       MAP --718, 725--> MAP with another port, no lease
//
// Invariants: nothing but the gateway's own address is ever asked (a LOCATION or control URL elsewhere is refused: it
// would make us send requests for others); paths are printable ASCII without spaces, so no answer writes our headers;
// the service's type comes from our list, not from the answer.
#ifndef MESH_UPNP_H
#define MESH_UPNP_H

#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"

enum {
    UPNP_SEARCH_PORT = 1900,
    UPNP_REQUEST_MAX = 2048,
    UPNP_ANSWER_MAX = 65536,
    UPNP_PATH_MAX = 256,
    UPNP_LEASE_S = 3600,
    UPNP_TRIES = 4,  // of MAP
};
#define UPNP_SEARCH_GROUP "239.255.255.250"

enum upnp_step { UPNP_SEARCH, UPNP_DESCRIBE, UPNP_ADDRESS, UPNP_MAP, UPNP_DONE, UPNP_FAILED };

struct upnp {
    enum upnp_step step;
    uint8_t gateway[4], own[4];
    uint16_t port;                // ours
    uint16_t http_port;           // the gateway's, once found
    char path[UPNP_PATH_MAX];     // of its description
    char control[UPNP_PATH_MAX];  // of the service
    const char *service;
    uint32_t tries;
    uint32_t lease_s;  // 0: for ever, for gateways that know nothing else
    uint8_t external[4];
    uint16_t external_port;
    char why[96];  // of FAILED
};

void upnp_start(struct upnp *u, uint16_t port, const uint8_t own[4], const uint8_t gateway[4]);
// The datagram that looks for gateways. Returns its size.
size_t upnp_search(char out[UPNP_REQUEST_MAX]);
// An answer to it that came from the gateway. CORE_ERR_MALFORMED: it is none, go on waiting.
CORE_MUST_USE enum core_err upnp_found(struct upnp *u, struct slice datagram);
// The HTTP request of the step (DESCRIBE, ADDRESS or MAP) to the gateway's http_port. Returns its size.
size_t upnp_request(const struct upnp *u, char out[UPNP_REQUEST_MAX]);
// Its whole answer; the step moves on, or becomes FAILED with `why`.
void upnp_answer(struct upnp *u, struct slice answer);
// No answer, or no connection.
void upnp_failed(struct upnp *u, const char *why);
// The HTTP request that gives the port back, after DONE. Returns its size.
size_t upnp_release(const struct upnp *u, char out[UPNP_REQUEST_MAX]);

#endif
