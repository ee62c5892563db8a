// Who is alive: neighbours watch each other over their links. SWIM's suspicion and refutation (Das, Gupta, Motivala,
// DSN 2002) with Lifeguard's local health (Dadgar, Phillips, Currey, 2018), but over links, not by probing at random.
//
// A doubt about member X, as this peer goes through it:
//
//   (none) --silent neighbour | link closed | dial failed | nobody watches it--> PROBING: X's other watchers are asked
//   PROBING  --heard from X, or one answers "reachable"--> (none)
//            --all answered "not reachable", or the time is up--> ACCUSED: suspicion signed and broadcast
//   ACCUSED  --X's incarnation rose, or heard from X--> (none)
//            --time to refute is up--> (none): death signed and broadcast
//
// Invariants: a doubt never outlives a word from X over a link of this peer. This peer accuses nobody for silence that
// began before it last woke up: after a gap in its own clock all neighbours get a fresh interval and all doubts are
// dropped. Every time to wait is stretched by the local health.
//
// A member's record names its watchers. When all of them are dead or gone, or a suspicion stays open, the two members
// that come first in rendezvous order doubt it.
//
// Pure; one owner, one thread.
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
    MONITOR_DOUBTS_MAX = 64,
    MONITOR_INQUIRIES_MAX = 64,
    MONITOR_ASKED_MAX = 3,
    MONITOR_HEALTH_MAX = 4,
    MONITOR_VOUCHED_MAX = 3,  // silences in a row that others contradict before a link is given up
};

enum monitor_reason { MONITOR_SILENT, MONITOR_CLOSED, MONITOR_DIAL_FAILED, MONITOR_UNWATCHED };
enum monitor_stage { MONITOR_PROBING, MONITOR_ACCUSED };

struct monitor_doubt {
    struct core_id target;
    enum monitor_reason reason;
    enum monitor_stage stage;
    uint64_t since_ms;
    uint64_t deadline_ms;
    uint64_t incarnation;  // accused of
    uint64_t nonce;        // of the probes
    struct core_id asked[MONITOR_ASKED_MAX];
    uint32_t asked_count;
    uint32_t answered;  // bits of `asked`
};

// Another's question about a target that this peer is pinging to answer it.
struct monitor_inquiry {
    struct core_id asker, target;
    uint64_t nonce;
    uint64_t deadline_ms;
    bool heard;  // the target was: answer
};

struct monitor {
    const struct gossip_options *options;
    struct link_table *links;
    struct members *members;
    struct gossip_counts *counts;
    struct rng rng;
    struct monitor_doubt doubts[MONITOR_DOUBTS_MAX];
    uint32_t doubt_count;
    struct monitor_inquiry inquiries[MONITOR_INQUIRIES_MAX];
    uint32_t inquiry_count;
    uint64_t ping_ms;   // next round of pings
    uint64_t watch_ms;  // next look for members that nobody watches
    uint64_t last_ms;   // this peer's clock when it was last called
    uint64_t woke_ms;   // end of its last pause
    uint64_t serial;
    uint32_t health;
    bool quiet;  // this peer left: it accuses nobody
};

// What the monitor wants done: an accusation to be put into the table and broadcast. At most one a call of
// monitor_next_verdict.
struct monitor_verdict {
    struct core_id target;
    uint64_t incarnation;
    enum monitor_reason reason;
};

void monitor_open(struct monitor *m, const struct gossip_options *options, struct link_table *links,
                  struct members *members, struct gossip_counts *counts, uint64_t now_ms);

// To be called first in every event: notices that this peer was paused.
void monitor_clock(struct monitor *m, uint64_t now_ms);
// Something came over the link.
void monitor_heard(struct monitor *m, struct link *link, uint64_t now_ms);
// The link to `peer` closed: whoever asked about it is answered.
void monitor_link_down(struct monitor *m, const struct core_id *peer, struct outbox *out);
// Begins a doubt, unless there is one, the member is unknown, dead or gone, or this peer left.
void monitor_doubt(struct monitor *m, const struct core_id *target, enum monitor_reason reason, uint64_t now_ms,
                   struct outbox *out);
// The member is dead, gone, or has refuted: ends a doubt.
void monitor_settled(struct monitor *m, const struct core_id *target);
// This peer had to refute: it was slow.
void monitor_refuted(struct monitor *m);
// PING, PONG, PROBE and PROBE_ANSWER; true if the type is one of these.
bool monitor_message(struct monitor *m, const struct core_id *from, const struct message *message, uint64_t now_ms,
                     struct outbox *out);
// Answers the inquiries that can be.
void monitor_answer(struct monitor *m, uint64_t now_ms, struct outbox *out);
void monitor_tick(struct monitor *m, uint64_t now_ms, struct outbox *out);
bool monitor_next_verdict(struct monitor *m, uint64_t now_ms, struct monitor_verdict *verdict);
uint64_t monitor_next_ms(const struct monitor *m);

#endif
