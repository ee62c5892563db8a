// Whom this peer is linked with: HyParView (Leitão, Pereira, Rodrigues, DSN 2007). A small symmetric active view of
// neighbours over links, and a larger passive view (gossip/passive) of peers to dial when a neighbour is lost.
//
// A link's states, as the view sees them:
//
//   none --connect--> pending --link_up--> asked --ANSWER yes--> neighbour --DISCONNECT, link_down, death--> passive
//                        |                    '---ANSWER no----> linked only (hung up if the view dialled it)
//                        '--dial failed, timeout--> passive, not tried again for a while
//
// A peer without neighbours asks whoever else links with it by JOIN, which is VIEW_NEIGHBOR with help.
//
// Invariants: at most active_size neighbours; a neighbour is linked; nobody without addresses is dialled or named in a
// walk or shuffle; the random_size oldest of the neighbours that this peer chose itself (or, where those are fewer, of
// all) are evicted for nobody while there are others.
//
// Where we leave the paper:
//   joining       a contact that is full does not evict: it answers no, with a sample of members to dial, and sends a
//                 random walk out, which ends where there is room, and that peer dials the joiner; a storm of joiners
//                 is handed on, not carried. Links are what joining costs: who has a few neighbours fills the other
//                 places at leisure, one dial at a time, and nobody is evicted for another while the mesh is young.
//   small meshes  of at most active_size + 1 members everyone connects to everyone.
//   shuffles      travel over existing links only, so a shuffle's answer is sent where its origin is linked.
//   evictions     asked for by others are few (a token bucket), and fall on peers of the newcomer's host where those
//                 hold half of the view: many identities on one machine displace each other.
//   nearness      gossip/view_near, after X-BOT (Leitão et al., SRDS 2009).
//   splits        gossip/view_heal: the dead are tried for ever; when many come back, views are mixed for a minute so
//                 that the halves of a healed split do not hang together by a thread.
//   floods        every link has a bucket of VIEW_* messages, counted in `limited`; dials that others' walks and lists
//                 cause have one of their own.
//
// Files: view.c neighbours and messages, view_upkeep.c what time brings, view_heal.c, view_near.c; what they share is
// in view_parts.h. Pure; one owner, one thread.
#ifndef GOSSIP_VIEW_H
#define GOSSIP_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "core/effect.h"
#include "core/philox.h"
#include "gossip/bucket.h"
#include "gossip/gossip.h"
#include "gossip/link.h"
#include "gossip/members.h"
#include "gossip/passive.h"

enum { VIEW_PENDING_MAX = 8 };

// What VIEW_NEIGHBOR wishes; VIEW_ANCHOR on top: as an anchor (gossip/view_near).
enum { VIEW_ANCHOR = 4 };
enum view_wish {
    VIEW_IF_ROOM,
    VIEW_URGENT,  // also in another's place
    VIEW_NEARER,  // in a farther one's place
};

// A dial under way, made to become neighbours.
struct view_pending {
    struct core_id id;
    uint64_t deadline_ms;
    enum view_wish wish;
    bool retry;  // of a dead member
};

struct view {
    const struct gossip_options *options;
    struct link_table *links;
    struct members *members;
    const struct coordinates *coordinates;  // this peer's
    struct gossip_counts *counts;
    struct rng rng;
    struct passive passive;
    struct view_pending pending[VIEW_PENDING_MAX];
    uint32_t pending_count;
    struct bucket evictions;  // on others' wish
    struct bucket errands;    // dials that others' walks cause
    uint64_t opened_ms;
    uint64_t neighbor_number;  // of the newest neighbour
    uint64_t fill_ms;          // next look at what is missing; UINT64_MAX: nothing is
    uint64_t fill_wait_ms;
    uint32_t refusals;   // since the last new neighbour
    uint64_t expire_ms;  // of dials and questions under way
    uint64_t shuffle_ms;
    uint64_t near_ms, near_wait_ms;
    struct core_id near_worst;  // who goes if the question that is open is answered with yes
    uint64_t retry_ms;          // next try of a dead member; UINT64_MAX: there is none
    uint64_t mix_ms, mix_until_ms;
    uint64_t revived_ms;  // since when `revived` counts
    uint32_t revived;
    bool quiet;    // this peer left: no dials
    bool changed;  // neighbours changed since the owner last cleared this
};

CORE_MUST_USE enum core_err view_open(struct view *v, const struct gossip_options *options, struct link_table *links,
                                      struct members *members, const struct coordinates *coordinates,
                                      struct gossip_counts *counts, uint64_t now_ms);
void view_close(struct view *v);

// The links' row is there already.
void view_link_up(struct view *v, const struct core_id *peer, uint64_t now_ms, struct outbox *out);
// The links' row is gone already.
void view_link_down(struct view *v, const struct core_id *peer, bool was_neighbor, uint64_t now_ms, struct outbox *out);
void view_dial_failed(struct view *v, const struct core_id *peer, uint64_t now_ms);
// A member that was not known.
void view_known(struct view *v, uint64_t now_ms);
// The member was found dead, or left: it is no neighbour any more.
void view_lost(struct view *v, const struct core_id *peer, uint64_t now_ms);
// A dead member is back.
void view_revived(struct view *v, uint64_t now_ms);
// A neighbour is given up for another.
void view_give_up(struct view *v, struct link *link, uint64_t now_ms, struct outbox *out);
// True if the type is the view's.
bool view_message(struct view *v, const struct core_id *from, const struct message *m, uint64_t now_ms,
                  struct outbox *out, enum core_err *err);
// A ping came from a peer that is no neighbour here: tells it so.
void view_asymmetric(struct view *v, const struct core_id *peer, struct outbox *out);
void view_tick(struct view *v, uint64_t now_ms, struct outbox *out);
uint64_t view_next_ms(const struct view *v);

#endif
