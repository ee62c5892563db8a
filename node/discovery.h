// How a peer is found: announcements on the LAN (mesh/lan.h), a port of the gateway (mesh/portmap.h), and the list of
// addresses that others are told, renewed when the machine's change. Loop's thread.
#ifndef NODE_DISCOVERY_H
#define NODE_DISCOVERY_H

#include <jansson.h>
#include <zmq.h>

#include "core/sign.h"
#include "mesh/address.h"
#include "mesh/lan.h"
#include "mesh/lan_socket.h"
#include "mesh/portmap.h"
#include "node/discovery_upnp.h"

struct node;
struct node_failure;

enum { DISCOVERY_POLLITEMS = 4 };

struct discovery {
    struct address listen;  // as it was asked for: any, or one address
    struct lan_interfaces interfaces;
    uint64_t interfaces_ms;  // when they are read again

    // ---- LAN ----
    struct lan *lan;  // NULL: off
    struct lan_socket lan_socket;
    const char *lan_why;  // of off
    uint32_t lan_sequence;
    uint64_t lan_sent, lan_dialled;
    uint64_t lan_deaf_ms;  // until then nothing is read: there was more than a second's worth
    bool lan_linked;       // links were up at the last look

    // ---- the gateway's port ----
    struct portmap portmap;
    int portmap_fd;              // -1: none
    struct upnp_ask upnp;        // where the gateway speaks neither
    uint8_t gateway[4], own[4];  // and our address as it sees it
    enum portmap_state portmap_told;
    uint8_t external[4];     // that others are told, ..
    uint16_t external_port;  // .. and its port; 0: none
};

// The addresses that others are told: what the owner advertises, or the machine's; and the gateway's, where it gave a
// port. Fills n->addresses and its encoding.
CORE_MUST_USE enum core_err discovery_addresses(struct node *n, struct node_failure *why);
// After the links: begins to announce and to ask the gateway, as the options say. Never fails: what cannot be is told
// in the log and in the status.
void discovery_open(struct node *n, const struct address *listen);
void discovery_close(struct node *n);  // gives the port back

size_t discovery_pollitems(struct node *n, zmq_pollitem_t *items);
void discovery_process(struct node *n);  // what has arrived; call when one of them is ready
void discovery_tick(struct node *n);     // what is due
uint64_t discovery_next_ms(const struct node *n);

// Puts what was heard of a peer on the LAN before `list`'s addresses.
void discovery_prefer(const struct node *n, const struct core_id *peer, struct address_list *list);

json_t *discovery_lan_json(const struct node *n);      // status: "lan"
json_t *discovery_portmap_json(const struct node *n);  // status: "port_map"

#endif
