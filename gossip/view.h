// Whom this peer is linked with: HyParView (Leitão, Pereira, Rodrigues, DSN 2007). A small symmetric active view of
// neighbours over links, and a larger passive view of peers to dial when a neighbour is lost.
//
// A link's states, as the view sees them:
//
//   none --connect--> pending --link_up--> asked --ANSWER yes--> neighbour --DISCONNECT, link_down, death--> passive
//                        |                   '----ANSWER no----> linked only (hung up if the view dialled it)
//                        '--dial failed, timeout--> passive, not tried again for a while
//
// Invariants: at most active_size neighbours; a neighbour is linked; nobody without addresses is dialled or named in a
// walk or shuffle; a dead member is tried for ever, at intervals that double up to retry_max_ms.
// Where we leave the paper: shuffles travel over existing links only, so a shuffle's answer is sent where its origin is
// linked; in a mesh of at most active_size + 1 members everyone connects to everyone; after dead members came back,
// views are mixed for a minute so that the halves of a healed split do not hang together by a thread.
//
// Pure; one owner, one thread.
#ifndef GOSSIP_VIEW_H
#define GOSSIP_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "core/effect.h"
#include "core/philox.h"
#include "gossip/gossip.h"
#include "gossip/link.h"
#include "gossip/members.h"

enum { VIEW_PENDING_MAX = 8 };

// A peer that could be dialled.
struct view_peer {
    struct core_id id;
    uint64_t not_before_ms;  // not tried earlier
    uint32_t size;
    uint8_t addresses[GOSSIP_ADDRESSES_MAX];
};

// A dial under way, made to become neighbours.
struct view_pending {
    struct core_id id;
    uint64_t deadline_ms;
    bool urgent;
};

struct view {
    const struct gossip_options *options;
    struct link_table *links;
    struct members *members;
    struct rng rng;
    struct view_peer *passive;
    uint32_t passive_count;
    struct view_pending pending[VIEW_PENDING_MAX];
    uint32_t pending_count;
    uint64_t fill_ms;     // next look at what is missing
    uint64_t shuffle_ms;  // next shuffle
    uint64_t mix_ms, mix_until_ms;
    uint32_t retry_at;  // members' index where the search for a dead one to try goes on
    bool quiet;         // this peer left: no dials
    bool changed;       // neighbours changed since the owner last cleared this
};

CORE_MUST_USE enum core_err view_open(struct view *v, const struct gossip_options *options, struct link_table *links,
                                      struct members *members, uint64_t now_ms);
void view_close(struct view *v);

// The links' row is there already.
void view_link_up(struct view *v, const struct core_id *peer, uint64_t now_ms, struct outbox *out);
// The links' row is gone already.
void view_link_down(struct view *v, const struct core_id *peer, bool was_neighbor, uint64_t now_ms, struct outbox *out);
void view_dial_failed(struct view *v, const struct core_id *peer, uint64_t now_ms);
// The member was found dead, or left: it is no neighbour any more.
void view_lost(struct view *v, const struct core_id *peer, uint64_t now_ms);
// A dead member is back.
void view_revived(struct view *v, uint64_t now_ms);
// True if the type is the view's.
bool view_message(struct view *v, const struct core_id *from, const struct message *m, uint64_t now_ms,
                  struct outbox *out, enum core_err *err);
// A ping came from a peer that is no neighbour here: tells it so.
void view_asymmetric(struct view *v, const struct core_id *peer, struct outbox *out);
void view_tick(struct view *v, uint64_t now_ms, struct outbox *out);
uint64_t view_next_ms(const struct view *v);

#endif
