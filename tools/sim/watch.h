// The checkers: they see what peers decide, send, compute and store, and say when an invariant of learn/round.c breaks.
// What they compare with is computed here, from what was observed, never asked of the peers.
#ifndef TOOLS_SIM_WATCH_H
#define TOOLS_SIM_WATCH_H

#include "tools/sim/world.h"

struct watch *watch_open(struct world *w);
void watch_close(struct watch *watch);

// After each step: every decision that is new on this peer is everybody's, and certified.
void watch_decisions(struct watch *watch, struct node *n);
void watch_forget(struct watch *watch, const struct node *n);  // it crashed: all its decisions are looked at again
// Before a message leaves: votes and commits in it.
void watch_send(struct watch *watch, struct node *n, const struct message *m);
void watch_heard(struct watch *watch, const struct node *n, const struct message *m);  // before the peer takes it
void watch_unheard(struct watch *watch, const struct node *n);  // it has forgotten whatever it heard
// Whether `who` (a set of nodes) can tell node `n` all its votes in a journal's record, or that their height is over.
bool watch_told(const struct watch *watch, const struct node *n, struct slice record, uint64_t who);
// Whether it has sent a commit for a round that isn't over.
bool watch_committed(const struct watch *watch, const struct node *n);
void watch_stored(struct watch *watch, const struct node *n, const struct blob_key *key);
void watch_trained(struct watch *watch, const struct node *n, const struct work_train *work, const int8_t *update);
void watch_applied(struct watch *watch, const struct node *n, const struct work_apply *work, const int64_t *sums,
                   const struct core_hash *params);
// At the end: every decided manifest can be read on every peer.
void watch_end(struct watch *watch);
uint64_t watch_round(const struct watch *watch);  // the last decided
uint64_t watch_height(const struct watch *watch);
enum run_state watch_state(const struct watch *watch);

#endif
