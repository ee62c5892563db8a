// HyParView's passive view: peers to dial when a neighbour is lost. What fills it could be an attacker's, so that
// nobody gets to fill it alone (eclipse): of what one peer named, and of the members that claim one host, no more than
// a share stays once there are others; peers that this one was linked with itself, and so knows to exist, are kept for
// long.
//
// Invariants: no peer twice, never this peer, never a neighbour, never without addresses. Pure; one owner.
#ifndef GOSSIP_PASSIVE_H
#define GOSSIP_PASSIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/philox.h"
#include "gossip/gossip.h"
#include "gossip/link.h"
#include "gossip/members.h"

struct passive_peer {
    struct core_id id;
    uint64_t not_before_ms;  // not dialled earlier
    uint64_t feeder;         // who named it, the first 8 bytes of its id; 0: this peer's own table
    bool met;                // was linked with this peer
    uint32_t size;
    uint8_t addresses[GOSSIP_ADDRESSES_MAX];
};

struct passive {
    struct passive_peer *items;
    uint32_t count, capacity;
    struct rng rng;
    const struct link_table *links;
    const struct members *members;
};

CORE_MUST_USE enum core_err passive_open(struct passive *p, uint32_t capacity, uint64_t seed,
                                         const struct link_table *links, const struct members *members);
void passive_close(struct passive *p);
struct passive_peer *passive_find(struct passive *p, const struct core_id *id);
void passive_remove(struct passive *p, const struct core_id *id);
// Puts a peer in, if it belongs there, in another's place where the view is full. `addresses` count only where the
// table doesn't know the peer. `feeder`: who named it; NULL: own knowledge.
void passive_add(struct passive *p, const struct core_id *id, struct slice addresses, const struct core_id *feeder,
                 uint64_t not_before_ms);
// A peer that was linked with this one.
void passive_add_met(struct passive *p, const struct core_id *id, uint64_t not_before_ms);
// Half of the view comes from the table, as far as that knows enough members: a uniform choice that nobody feeds.
void passive_refill(struct passive *p, uint64_t now_ms);

#endif
