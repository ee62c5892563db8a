// One run on one peer as a pure state machine: `learn/round.c` says how it goes. `learn/peer.c` feeds it and passes its
// effects on (EFFECT_SEND, EFFECT_CAST, EFFECT_PERSIST, EFFECT_WORK). One thread.
#ifndef LEARN_ROUND_H
#define LEARN_ROUND_H

#include "core/event.h"
#include "learn/peer.h"

struct round;

struct round_options {
    const struct core_key *key;  // this peer's; outlives the round
    struct core_hash host;
    uint32_t weight;  // bandwidth class until it is measured; 0: not known
    bool dialable;
    bool observe;
    uint32_t resend_ms, head_ms, bytes_per_ms;
    // What gossip believes of a peer; DEAD and LEFT are not waited for.
    enum gossip_state (*state_of)(void *context, const struct core_id *id);
    // Where this peer is: its site and its round-trip coordinates in microseconds.
    void (*place_of)(void *context, uint64_t *site, int32_t at[TREE_AXES]);
    void *context;
    struct event_sink events;
    struct peer_counts *counts;
};

// Takes its memory. `bytes` passed run_spec_decode.
CORE_MUST_USE enum core_err round_open(struct round **out, const struct round_options *options, struct slice bytes,
                                       uint64_t now_ms);
void round_close(struct round *r);

CORE_MUST_USE enum core_err round_restore(struct round *r, uint32_t kind, struct slice payload, uint64_t now_ms);
void round_restore_params(struct round *r, uint64_t round, const struct core_hash *params_hash, bool inner);
void round_restore_dataset(struct round *r);
// How a run got here. Who made it knows that it never signed anything in it. Who comes back, or hears of it, does not:
// it asks the others first.
enum round_origin { ROUND_MADE, ROUND_HEARD, ROUND_RESTORED };
// Begins to act.
void round_start(struct round *r, enum round_origin origin, uint64_t now_ms, struct outbox *out);

void round_link_up(struct round *r, const struct core_id *other, uint64_t now_ms, struct outbox *out);
void round_members_changed(struct round *r, uint64_t now_ms, struct outbox *out);
CORE_MUST_USE enum core_err round_message(struct round *r, const struct core_id *from, const struct message *m,
                                          uint64_t now_ms, struct outbox *out);
// Broadcasts; their signatures were checked.
void round_commit_heard(struct round *r, struct slice bytes, uint64_t now_ms, struct outbox *out);
void round_enter_heard(struct round *r, const struct run_enter *enter, uint64_t now_ms, struct outbox *out);
void round_command_heard(struct round *r, const struct run_command *command, uint64_t now_ms, struct outbox *out);
void round_evidence_heard(struct round *r, struct slice bytes, struct outbox *out);
enum peer_wanted round_data(struct round *r, const struct core_id *from, const struct message_data *m,
                            struct peer_expected *expected, uint64_t now_ms, struct outbox *out);
void round_stored(struct round *r, const struct core_id *from, const struct message_data *m, uint64_t now_ms,
                  struct outbox *out);
void round_work_done(struct round *r, const struct work_result *result, uint64_t now_ms, struct outbox *out);
void round_tick(struct round *r, uint64_t now_ms, struct outbox *out);
uint64_t round_next_ms(const struct round *r);

// Another run goes first: no training, no cuts.
void round_hold(struct round *r, bool held, uint64_t now_ms, struct outbox *out);
void round_leave(struct round *r, uint64_t now_ms, struct outbox *out);
// The disk is full: nothing more is done until round_thaw. A vote that was not written is taken back.
void round_freeze(struct round *r);
void round_vote_lost(struct round *r, uint64_t height, struct slice bytes);
void round_thaw(struct round *r, uint64_t now_ms, struct outbox *out);

const struct core_hash *round_run(const struct round *r);
const struct run_spec *round_spec(const struct round *r);
struct slice round_spec_bytes(const struct round *r);
bool round_ended(const struct round *r);
void round_status(const struct round *r, struct run_status *status);
uint32_t round_waiting(const struct round *r, struct wait_entry *entries, uint32_t max);
bool round_liar_at(const struct round *r, uint32_t index, struct run_liar *liar);
bool round_decision(const struct round *r, uint64_t height, struct slice *value, struct slice *certificate);
bool round_manifest(const struct round *r, uint64_t round, struct manifest *manifest, uint64_t *cut_height);

#endif
