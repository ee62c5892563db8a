// What the monitor's files share. Not for others.
#ifndef GOSSIP_MONITOR_PARTS_H
#define GOSSIP_MONITOR_PARTS_H

#include "gossip/monitor.h"

enum {
    LATE_MS = 500,  // a peer that is called so much later than it had to be was paused
    WAKE_GRACE_MS = 3000,
};

// A wait, stretched by the local health: 1, 1.5, 2, 2.5 or 3 times. (gossip/monitor.c)
uint64_t monitor_stretched(const struct monitor *m, uint64_t ms);
// How long after its last pause this peer is careful: twice the pause, `most_ms` at most.
uint64_t monitor_grace(const struct monitor *m, uint64_t most_ms);
void monitor_health_add(struct monitor *m, int by);
// Pings the peer: a neighbour, or, as a single question, anyone who is linked or can be dialled.
void monitor_ping(struct monitor *m, const struct core_id *peer, struct outbox *out);

// gossip/monitor_doubts.c
struct monitor_doubt *monitor_doubt_find(const struct monitor *m, const struct core_id *target);
void monitor_probe_received(struct monitor *m, const struct core_id *from, const struct message_probe *probe,
                            uint64_t now_ms, struct outbox *out);
enum core_err monitor_answer_received(struct monitor *m, const struct core_id *from,
                                      const struct message_probe_answer *answer, uint64_t now_ms);

// gossip/monitor_watch.c
enum core_err monitor_told_received(struct monitor *m, const struct core_id *from, struct slice ids);
// Adds to `ids` (of `count`, at most `max`) the target's other watchers that can be asked, or, from `rendezvous` on,
// the members that come first in rendezvous order; returns the new count.
uint32_t monitor_watchers_pick(struct monitor *m, const struct core_id *target, bool rendezvous, struct core_id *ids,
                               uint32_t count, uint32_t max);
// How many of the target's watchers come before this peer in rendezvous order.
uint32_t monitor_watchers_before(const struct monitor *m, const struct core_id *target);
// Whether this peer is one of the first in rendezvous order.
bool monitor_is_prober(const struct monitor *m, const struct core_id *target);
void monitor_watch(struct monitor *m, uint64_t now_ms, struct outbox *out);
// Notices that much of the mesh is silent.
void monitor_mass(struct monitor *m, uint64_t now_ms);

#endif
