// Who is alive: neighbours watch each other over their links. SWIM's suspicion and refutation (Das, Gupta, Motivala,
// DSN 2002) with Lifeguard's local health (Dadgar, Phillips, Currey, 2018), but over links, not by probing at random.
//
// A link's ends take turns to ping, once in ping_ms (more often, where a peer has fewer than active_size neighbours),
// so that both measure it; whoever's turn it is not pings when it has heard nothing for an eighth longer. A ping that
// nothing answers is repeated at half of silent_ms; at silent_ms (and four round trips) the neighbour is doubted. Any
// message answers. A doubt about member X, as this peer goes through it:
//
//   (none) --silent neighbour | link closed | dial failed | another accuses it | nobody watches it-->
//   PROBING: up to three of X's other watchers are asked, or, where none is known, who comes first in rendezvous order
//            --heard from X, or one answers "reachable"--> (none)
//            --all answered, one of them "silent" with its signed accusation--> this peer accuses, both are broadcast
//            --time is up, nobody knew--> others are asked, once; then this peer accuses alone
//
// What accusations do is the table's matter (gossip/members.h): one alone makes X a suspect, and whoever is linked with
// X, or comes first in rendezvous order, looks for itself and accuses too or makes X refute; two make X dead once the
// time to refute is over.
//
// Watchers of X are its neighbours. X tells them who the others are; everybody else knows those that X's record names,
// which is renewed seldom. When all of these are dead, or one of two and the other is no neighbour, X is looked for.
//
// A mesh that falls apart is not judged one by one. When most of this peer's links are silent, or an eighth of the
// members are suspects, then everyone that was not heard since is looked for, by about two peers each at first, and by
// twice as many with each second, since those who should look may be on the other side. Nothing else changes: each is
// dialled, has its time to answer, and one peer alone gives nobody up while others live. So who is cut off comes to
// call the others unreachable as well, in tens of seconds, slowed by its own bad health.
//
// Invariants: a doubt never outlives a word from X over a link of this peer. This peer accuses nobody for silence that
// began before it last woke up: when it is called LATE_MS after it had to be, it was paused or is slow, and then all
// links have a fresh interval, all doubts are dropped, and closed links are no reason to doubt for WAKE_GRACE_MS; a
// pause below SHORT_MS (a busy machine) puts all of this off by twice its length instead. Every time to wait is
// stretched by the local health. Pure; bounded; one owner, one thread.
#ifndef GOSSIP_MONITOR_H
#define GOSSIP_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/effect.h"
#include "core/philox.h"
#include "gossip/gossip.h"
#include "gossip/link.h"
#include "gossip/members.h"

enum {
    MONITOR_DOUBTS_MAX = 128,
    MONITOR_INQUIRIES_MAX = 64,
    MONITOR_ASKED_MAX = 3,
    MONITOR_TOLD_MAX = 16,
    MONITOR_HEALTH_MAX = 4,
    MONITOR_VOUCHED_MAX = 3,  // silences in a row that others contradict before a link is given up
};

enum monitor_reason { MONITOR_SILENT, MONITOR_CLOSED, MONITOR_DIAL_FAILED, MONITOR_UNWATCHED, MONITOR_ACCUSED };

struct monitor_doubt {
    struct core_id target;
    enum monitor_reason reason;
    uint64_t deadline_ms;
    uint64_t nonce;  // of the probes
    struct core_id asked[MONITOR_ASKED_MAX];
    uint32_t asked_count;
    uint32_t answered, knew;  // bits of `asked`
    bool again;               // others were asked
    bool confirmed;           // one that was asked finds it silent too:
    uint8_t accusation[ACCUSATION_SIZE];
};

// Another's question about a target that this peer is pinging to answer it.
struct monitor_inquiry {
    struct core_id asker, target;
    uint64_t nonce;
    uint64_t deadline_ms;
    bool linked;  // with the target: its silence says something
    bool heard;   // the target was: answer
    bool failed;  // it can't be reached: answer
};

// A neighbour's neighbours, as it told.
struct monitor_told {
    struct core_id of;
    uint32_t count;
    struct core_id watchers[RECORD_WATCHERS_MAX];
};

struct monitor {
    const struct gossip_options *options;
    struct link_table *links;
    struct members *members;
    const struct coordinates *coordinates;
    struct gossip_counts *counts;
    struct rng rng;
    struct monitor_doubt *doubts;  // grows
    uint32_t doubt_count, doubt_capacity;
    struct monitor_inquiry *inquiries;  // grows
    uint32_t inquiry_count, inquiry_capacity;
    struct monitor_told *told;  // grows
    uint32_t told_count, told_capacity;
    uint64_t watch_ms;  // next look for members that nobody watches; UINT64_MAX: none is wanted
    uint64_t watch_until_ms;
    uint64_t mass_ms;        // since when much of the mesh is silent,
    uint64_t mass_until_ms;  // and until when that is believed
    uint64_t mend_ms;        // when the health may mend again
    uint64_t woke_ms;        // end of its last pause,
    uint64_t late_ms;        // which took so long
    uint32_t neighbors;      // at most, lately
    uint32_t health;
    bool quiet;  // this peer left: it accuses nobody
};

// What the monitor wants done: an accusation by this peer to be put into the table and broadcast, with another's
// behind it where `confirmed`.
struct monitor_verdict {
    struct core_id target;
    uint64_t incarnation;
    enum monitor_reason reason;
    bool confirmed;
    uint8_t accusation[ACCUSATION_SIZE];
};

void monitor_open(struct monitor *m, const struct gossip_options *options, struct link_table *links,
                  struct members *members, const struct coordinates *coordinates, struct gossip_counts *counts,
                  uint64_t now_ms);
void monitor_close(struct monitor *m);

// To be called first in every event: notices that this peer was paused.
void monitor_clock(struct monitor *m, uint64_t now_ms);
// The link became a neighbour's: it is watched from now on.
void monitor_neighbor_up(struct monitor *m, struct link *link, uint64_t now_ms);
// Something came over the link.
void monitor_heard(struct monitor *m, struct link *link, uint64_t now_ms);
// The link to `peer` closed: whoever asked about it is answered.
void monitor_link_down(struct monitor *m, const struct core_id *peer, struct outbox *out);
// A dial came to nothing.
void monitor_dial_failed(struct monitor *m, const struct core_id *peer, uint64_t now_ms, struct outbox *out);
// Begins a doubt, unless there is one, the member is unknown, dead or gone, or this peer left.
void monitor_doubt(struct monitor *m, const struct core_id *target, enum monitor_reason reason, uint64_t now_ms,
                   struct outbox *out);
// The table has an accusation by another: where it is up to this peer to confirm it, it looks for itself.
void monitor_accused(struct monitor *m, const struct core_id *target, uint64_t now_ms, struct outbox *out);
// The member is dead, gone, or has refuted: ends a doubt.
void monitor_settled(struct monitor *m, const struct core_id *target);
// A member died or left: who was watched by it may have nobody left.
void monitor_lost(struct monitor *m, uint64_t now_ms);
// This peer had to refute: it was slow.
void monitor_refuted(struct monitor *m);
// This peer's neighbours changed: they are told who the others are.
void monitor_watchers_send(const struct monitor *m, struct outbox *out);
// PING, PONG, PROBE, PROBE_ANSWER and MEMBERS_WATCHERS; true if the type is one of these. CORE_ERR_MALFORMED.
bool monitor_message(struct monitor *m, const struct core_id *from, const struct message *message, uint64_t now_ms,
                     struct outbox *out, enum core_err *err);
// Answers the inquiries that can be.
void monitor_answer(struct monitor *m, uint64_t now_ms, struct outbox *out);
void monitor_tick(struct monitor *m, uint64_t now_ms, struct outbox *out);
bool monitor_next_verdict(struct monitor *m, uint64_t now_ms, struct outbox *out, struct monitor_verdict *verdict);
uint64_t monitor_next_ms(const struct monitor *m);
// How long a suspect has to refute, as long as this peer is healthy; and when the first time can be over.
uint64_t monitor_refute_ms(const struct monitor *m);
uint64_t monitor_refute_from_ms(const struct monitor *m);

#endif
