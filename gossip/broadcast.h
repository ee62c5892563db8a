// Broadcast to everyone: Plumtree (Leitão, Pereira, Rodrigues, SRDS 2007) over the active view.
//
// A neighbour is eager or lazy. A broadcast is sent to eager ones at once; lazy ones are told its key, in batches. Who
// is sent a duplicate prunes that edge (both ends become lazy), so that the eager edges become a spanning tree that the
// first arrivals chose. What is announced and does not come by itself is asked for (graft), which makes the edge eager.
//
//   a broadcast, as this peer goes through it:
//
//   (unknown) --CAST, CAST_BULK--> known, kept, sent on
//       '--CAST_HAVE, CAST_RECENT--> missing --CAST, CAST_BULK--> known
//                                       '--its time is up--> asked of the first announcer, then of the next, and
//                                          again, then forgotten until it is announced again
//
// Where we go beyond the paper:
//   large payloads (above GOSSIP_PUSH_MAX) are never pushed: they are announced at once, one by one, and pulled from
//     the first who announced them. Nobody who announced one is sent it or told of it, as with gossipsub's IDONTWANT.
//   prunes only while the edge to the parent, over which the broadcast came first, is eager; and while several
//     broadcasts are on their way at once, only for duplicates of the one with the lowest key: otherwise several peers
//     would cut one cycle, each at another edge, and a subtree would be off.
//   new neighbours are eager only as far as the first flood needs them; where there is a tree they are lazy.
//   patience: an announced broadcast is waited for as long as broadcasts usually come after their announcement.
//     Of a subtree that was cut off one peer grafts, the others get it through that one: each waits a little longer by
//     chance, and makes no edge where the same neighbour's later announcements came true by themselves.
//   a shorter way: who announces several broadcasts in a row with far fewer hops than the parent's becomes eager too
//     (the paper's optimisation prunes the parent at once, which senders in different places make each other undo);
//     the cycle that this makes is cut where it is longest.
//   a lost eager edge is replaced by a lazy one at once, before anything is missed, on the side that was fed by it.
//   repair: while there are recent broadcasts, one neighbour after the other is told the keys of those that it is not
//     known to have (CAST_RECENT), each key thrice in half a minute, and a new neighbour those of all that are kept.
//     This costs nothing where nothing was broadcast. Members' records are left out: their digests repair them
//     (gossip/members).
//
// Files: broadcast.c what comes and goes on, broadcast_edges.c the tree, broadcast_tell.c what neighbours are told,
// broadcast_missing.c what is waited for and asked for; what they share is in broadcast_parts.h.
//
// Invariants: a broadcast is delivered once while its key is remembered; no payload goes to a neighbour that is known
// to have it; what answers to one neighbour's grafts cost is bounded (BROADCAST_SERVE_*). Memory: gossip/cast_store,
// and BROADCAST_MISSING_MAX rows. Pure; one owner, one thread.
#ifndef GOSSIP_BROADCAST_H
#define GOSSIP_BROADCAST_H

#include <stdbool.h>
#include <stdint.h>

#include "core/effect.h"
#include "core/hash.h"
#include "core/philox.h"
#include "gossip/cast_store.h"
#include "gossip/gossip.h"
#include "gossip/key_map.h"
#include "gossip/link.h"

enum {
    BROADCAST_ANNOUNCERS = 4,
    BROADCAST_MISSING_MAX = 8192,
    BROADCAST_LEADS = 16,
    BROADCAST_SERVE_RATE = 16 << 20,  // bytes of payload a second that a neighbour's grafts are answered with
    BROADCAST_SERVE_BURST = 32 << 20,
};

// One that was announced and has not come.
struct broadcast_missing {
    uint64_t key;
    uint32_t announcers[BROADCAST_ANNOUNCERS];  // bits of those left to ask
    uint32_t count;
    uint32_t announced;  // bits of all who announced it
    uint32_t opener;     // bit of the first
    uint32_t nearest;    // bit of who announced it with the fewest hops from its origin, and those; 0: none
    uint32_t hops;
    uint32_t asked_of;  // bit of whom it was asked last
    uint32_t tries;     // times it was asked for
    bool asked;
    bool repair;        // found by anti-entropy
    uint32_t size;      // 0, or of a large payload
    uint64_t since_ms;  // first announced
    uint64_t ask_ms;
};

// A broadcast that came lately, below all that came after it.
struct broadcast_lead {
    uint64_t key, at_ms;
};

struct broadcast {
    const struct gossip_options *options;
    struct link_table *links;
    struct core_id self;
    struct gossip_counts *counts;
    struct rng rng;
    struct cast_store store;
    struct broadcast_missing *missing;  // in no order
    uint32_t missing_count;
    struct key_map missing_map;  // key to place in `missing`
    uint64_t missing_ms;         // the earliest ask_ms, or before it
    uint64_t announced;          // number of the first entry that lazy neighbours have yet to be told of
    uint64_t announce_ms;        // when they are told; UINT64_MAX: nothing to tell
    uint64_t recent_ms;          // when a neighbour is told of recent ones; UINT64_MAX: there are none
    uint32_t recent_turn;        // which neighbour
    uint64_t came_ms, busy_ms;   // the last new broadcast; the last that came close behind another
    uint32_t parent;             // bit of the neighbour that the last one came from
    uint64_t first_ms;           // the first neighbour's; UINT64_MAX: none yet
    uint64_t flight_us;          // how long broadcasts are on their way to this peer, moving average
    struct broadcast_lead leads[BROADCAST_LEADS];
    uint32_t lead_count;
    uint64_t shorten_ms;          // no change of a parent for a nearer one before
    uint64_t edge_ms;             // when a graft last made an edge eager,
    uint32_t edge;                // and whose
    uint32_t patience;            // this peer's own part of the wait
    uint64_t lag_us, lag_var_us;  // how long after their announcement broadcasts come by themselves
};

CORE_MUST_USE enum core_err broadcast_open(struct broadcast *b, const struct gossip_options *options,
                                           const struct core_id *self, struct link_table *links,
                                           struct gossip_counts *counts);
void broadcast_close(struct broadcast *b);

// A broadcast of this peer's own.
CORE_MUST_USE enum core_err broadcast_cast(struct broadcast *b, enum cast_topic topic, uint64_t repeat,
                                           struct slice payload, uint64_t now_ms, struct outbox *out);

// What a CAST message, or a CAST_BULK as one, turned out to be.
enum broadcast_verdict { BROADCAST_NEW, BROADCAST_KNOWN, BROADCAST_MALFORMED };
// Looks at it and answers a duplicate with a prune. A new one must be judged by its topic's owner, and if it is
// valid, given to broadcast_accept, which keeps it and passes it on.
enum broadcast_verdict broadcast_look(struct broadcast *b, const struct core_id *from, const struct message_cast *cast,
                                      uint64_t now_ms, struct outbox *out);
void broadcast_accept(struct broadcast *b, const struct core_id *from, const struct message_cast *cast, uint64_t now_ms,
                      struct outbox *out);
// CAST_HAVE, CAST_GRAFT, CAST_PRUNE and CAST_RECENT; true if the type is one of these.
bool broadcast_message(struct broadcast *b, const struct core_id *from, const struct message *m, uint64_t now_ms,
                       struct outbox *out, enum core_err *err);
// A neighbour is new: it is told what was broadcast lately.
void broadcast_neighbor_up(struct broadcast *b, struct link *link, uint64_t now_ms, struct outbox *out);
// It is none any more, or its link is gone: what was asked of it is asked of others at the next tick.
void broadcast_neighbor_down(struct broadcast *b, struct link *link, uint64_t now_ms, struct outbox *out);
// This peer was paused, or its clock jumped: what it keeps for others is no older for it.
void broadcast_paused(struct broadcast *b, uint64_t paused_ms, uint64_t now_ms);
void broadcast_tick(struct broadcast *b, uint64_t now_ms, struct outbox *out);
uint64_t broadcast_next_ms(const struct broadcast *b);

#endif
