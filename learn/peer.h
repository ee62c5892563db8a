// One peer's protocol: gossip and the rounds of its runs composed, still pure. The node drives it with sockets, clock
// and disk, the simulator with virtual ones; neither sees gossip or a round but through it.
//
// Events go in, effects come out in the caller's outbox, to be performed in order:
//   EFFECT_SEND     to `to`, dialled first where there is no link (what can't be sent is dropped: all is repaired).
//                   A MESSAGE_DATA comes without its bulk: fill it in from the blob store by blob_key_of_data; without
//                   the blob, drop it
//   EFFECT_DIAL, EFFECT_HANGUP, EFFECT_MEMBER   as gossip.h says
//   EFFECT_DELIVER  a broadcast whose topic isn't this module's (TOPIC_REVOCATION)
//   EFFECT_PERSIST  append (kind_of, payload) to the journal of the run named by the payload's first 32 bytes. A kind
//                   for which peer_persist_lazy is true need not be synced by itself, but never overtakes another
//                   record of that journal: whatever is synced later covers it
//   EFFECT_WORK     learn/work.h
//
// A run has one journal, replayed in order on restart. Records of heights below the last RUN_PERSIST_DECISION other
// than decisions and the spec may be left out when it is rewritten.
//
// One owner, one thread.
#ifndef LEARN_PEER_H
#define LEARN_PEER_H

#include "core/effect.h"
#include "gossip/gossip.h"
#include "learn/cut.h"
#include "learn/evidence.h"
#include "learn/work.h"

// What an outbox handed to a peer must hold: more than any one step writes.
enum { PEER_OUTBOX_EFFECTS = 8192, PEER_OUTBOX_BYTES = 24 << 20 };

struct peer;

struct peer_options {
    // As gossip.h says; key, name, certificate, addresses, host, incarnation, seed and events serve the rounds too.
    // callbacks.payload_valid is asked about topics that aren't this module's.
    struct gossip_options gossip;
    // Whether this peer can train what the spec describes. NULL: its elements and tensors must be those of its model.
    bool (*spec_valid)(void *context, const struct run_spec *spec);
    void *context;
    bool observe;           // never trains, never asks to
    uint32_t weight;        // this peer's bandwidth class until it is measured; 0: not known
    uint32_t runs_max;      // known at a time; 0 for 64
    uint32_t resend_ms;     // first repetition of what was not answered; 0 for 500
    uint32_t head_ms;       // between words about the head of a run; 0 for 1000
    uint32_t bytes_per_ms;  // bulk rate that repetitions allow for; 0 for 10000
};

// CORE_ERR_NO_MEMORY, TOO_LARGE (as gossip_open).
CORE_MUST_USE enum core_err peer_open(struct peer **out, const struct peer_options *options, uint64_t now_ms);
void peer_close(struct peer *p);

// ---- coming back: after peer_open, in this order, before anything else ----
enum peer_persist {
    RUN_PERSIST_SPEC = 1,      // run, spec bytes
    RUN_PERSIST_DECISION = 2,  // run, u64 height, value, certificate. Lazy
    RUN_PERSIST_VOTE = 3,      // run, u64 height, consensus' own bytes
    RUN_PERSIST_COMMIT = 4,    // run, the announced commit
    RUN_PERSIST_EVIDENCE = 5,  // run, evidence_decode's bytes: one for each member that lied. Lazy
};
bool peer_persist_lazy(uint32_t kind);
// A member's entry from gossip_entry_save (peer_gossip).
CORE_MUST_USE enum core_err peer_restore_member(struct peer *p, struct slice entry, uint64_t now_ms);
// One journal record. An error: this record (and what follows in its journal) is not what was written.
CORE_MUST_USE enum core_err peer_restore(struct peer *p, uint32_t kind, struct slice payload, uint64_t now_ms);
// Durable training state that is here: parameters of `round` and whether inner state for them is. Once for each.
void peer_restore_params(struct peer *p, const struct core_hash *run, uint64_t round,
                         const struct core_hash *params_hash, bool inner);
// The run's dataset is here already.
void peer_restore_dataset(struct peer *p, const struct core_hash *run);
// Call it always, also at a first start.
void peer_start(struct peer *p, uint64_t now_ms, struct outbox *out);

// ---- events ----
void peer_link_up(struct peer *p, const struct core_id *other, uint64_t now_ms, struct outbox *out);
void peer_link_down(struct peer *p, const struct core_id *other, uint64_t now_ms, struct outbox *out);
void peer_dial_failed(struct peer *p, const struct core_id *other, uint64_t now_ms, struct outbox *out);
// Any message from an authenticated member but HELLO, ADMIT*, REFUSED, CREDIT, CHUNK* and DATA. An error costs the
// sender: MALFORMED, BAD_SIGNATURE, REFUSED; UNKNOWN_TYPE: not for this module.
CORE_MUST_USE enum core_err peer_message(struct peer *p, const struct core_id *from, const struct message *m,
                                         uint64_t now_ms, struct outbox *out);
// Any other message came: it lives.
void peer_heard(struct peer *p, const struct core_id *other, uint64_t now_ms);
// As gossip_measured.
void peer_measured(struct peer *p, const struct core_id *other, uint64_t rtt_us, uint64_t now_ms);
void peer_tick(struct peer *p, uint64_t now_ms, struct outbox *out);
uint64_t peer_next_ms(const struct peer *p);

// A MESSAGE_DATA arrived. Ask first; when wanted, check size and hash, store the bulk under `key`, then say
// peer_stored.
enum peer_wanted {
    PEER_WANTED,    // check and store it
    PEER_UNWANTED,  // not (or no longer, or not yet) needed here: drop it, nobody is to blame
    PEER_REFUSED,   // it lies: drop it, it costs the sender
};
struct peer_expected {
    struct blob_key key;
    struct core_hash hash;  // hash_bytes of the bulk; zero: not known beforehand (a sum)
    uint64_t size;          // bytes of the bulk
    uint32_t bits;          // an element
};
enum peer_wanted peer_data(struct peer *p, const struct core_id *from, const struct message_data *m,
                           struct peer_expected *expected, uint64_t now_ms, struct outbox *out);
void peer_stored(struct peer *p, const struct core_id *from, const struct message_data *m, uint64_t now_ms,
                 struct outbox *out);

void peer_work_done(struct peer *p, const struct work_result *result, uint64_t now_ms, struct outbox *out);

// A PERSIST failed: drop the rest of that outbox, but call this for the failed record and for each later PERSIST of it,
// in order. The runs stop voting and working (gossip goes on) until peer_persist_ok: space is free again; it writes
// what was not written first.
void peer_persist_failed(struct peer *p, uint32_t kind, struct slice payload, uint64_t now_ms);
void peer_persist_ok(struct peer *p, uint64_t now_ms, struct outbox *out);
// Anything else did not fit the disk (training state, fetched data): the same halt, so that the others count this peer
// as absent and the round goes on without it, until peer_persist_ok.
void peer_disk_full(struct peer *p, uint64_t now_ms);
bool peer_persist_halted(const struct peer *p);

// ---- requests ----
// Starts a run from run_spec_encode's bytes: spread to all. EXISTS, LIMIT, MALFORMED, BAD_SIGNATURE,
// REFUSED (spec_valid), NO_SPACE.
CORE_MUST_USE enum core_err peer_run_start(struct peer *p, struct slice spec, uint64_t now_ms, struct outbox *out);
// NOT_FOUND; REFUSED when the run has ended or is in that state already.
CORE_MUST_USE enum core_err peer_run_command(struct peer *p, const struct core_hash *run, enum run_command_kind kind,
                                             uint64_t now_ms, struct outbox *out);
// Asks to leave every run by its next manifest; peer_left says when none counts this peer any more (or cannot: give it
// some seconds). Then peer_goodbye: gossip's word that this peer leaves for good.
void peer_leave(struct peer *p, uint64_t now_ms, struct outbox *out);
bool peer_left(const struct peer *p);
void peer_goodbye(struct peer *p, uint64_t now_ms, struct outbox *out);
// As gossip_addresses_set, gossip_recheck, gossip_cast (for topics that aren't this module's).
CORE_MUST_USE enum core_err peer_addresses_set(struct peer *p, struct slice addresses, uint64_t now_ms,
                                               struct outbox *out);
void peer_recheck(struct peer *p, uint64_t now_ms, struct outbox *out);
CORE_MUST_USE enum core_err peer_cast(struct peer *p, enum cast_topic topic, struct slice payload, uint64_t now_ms,
                                      struct outbox *out);

// ---- what it knows ----
const struct gossip *peer_gossip(const struct peer *p);
// The electorate for a new run: this peer and every alive member, slots 0.. ascending by id, this peer first.
// Returns how many (at most RUN_MEMBERS_MAX).
uint32_t peer_electorate(const struct peer *p, struct run_member *members);

// Where a run stands on this peer, in the order in which a round passes through.
enum round_stage {
    ROUND_QUEUED,      // another run goes first
    ROUND_CATCHING,    // others are ahead: pulling their decisions
    ROUND_FETCHING,    // the dataset or the head's parameters are on their way
    ROUND_WATCHING,    // not in the electorate (yet)
    ROUND_TRAINING,    // own inner steps
    ROUND_HANDING,     // own shards are being handed over
    ROUND_COLLECTING,  // waiting for the others' commits, then for the cut
    ROUND_SUMMING,     // the cut is decided: reducing and gathering
    ROUND_APPLYING,    // outer step
    ROUND_AGREEING,    // waiting for the next manifest
    ROUND_PAUSED,
    ROUND_ENDED,
};
const char *round_stage_name(enum round_stage stage);

struct tree_plan;
struct run_status {
    struct core_hash run;
    const struct run_spec *spec;  // lives as long as the run is known
    const struct manifest *head;  // the last decided; lives until the next event
    struct core_hash head_hash;
    uint64_t height;   // next to be decided
    uint32_t attempt;  // of the round in progress
    enum round_stage stage;
    bool waiting;   // without a quorum of live members: nothing can be decided
    bool active;    // not queued
    bool member;    // this peer is in the electorate
    uint32_t slot;  // when a member
    uint32_t quorum;
    uint64_t committed;            // slots whose acknowledged commits of this round are here
    uint64_t owners;               // slots that own a shard at any level of this round's plan
    const struct tree_plan *plan;  // this round's; NULL: none yet. Lives until the next event
    struct core_id proposer;       // of the height in progress, in consensus' current round
    uint64_t stage_since_ms;
    uint64_t round_since_ms;  // the head was learned
    uint32_t liars;           // members convicted of two signed words for one place (peer_run_liar)
    uint32_t disputes;        // rounds in which sums that others sent gave other parameters than this peer's own sums
    bool broken;              // WAIT_BROKEN
};
uint32_t peer_run_count(const struct peer *p);
void peer_run_at(const struct peer *p, uint32_t index, struct run_status *status);
bool peer_run_find(const struct peer *p, const struct core_hash *run, struct run_status *status);

// Why the run doesn't go on right now: whom it waits for, since when, and what would help.
enum wait_cause {
    WAIT_QUORUM,  // dead or left, and without it there is no quorum
    WAIT_COMMIT,  // its commit of this round
    WAIT_ACK,     // it has not acknowledged a shard of ours
    WAIT_DATA,    // a contribution or a sum from it
    WAIT_VOTE,    // its vote
    WAIT_TRAIN,   // this peer's own training
    WAIT_WORK,    // this peer's own sums or outer step
    WAIT_FETCH,   // dataset or parameters
    WAIT_QUEUE,   // another run
    WAIT_ENTRY,   // the next manifest, to be counted in
    WAIT_RESUME,  // paused
    WAIT_DISK,    // this peer's disk is full
    WAIT_RECALL,  // it has not said what this peer signed before it came back
    WAIT_LIAR,    // this peer signed two words for one place: the others leave it out
    WAIT_BROKEN,  // what a quorum decided cannot be, or was decided twice: this peer does no more for the run
};
struct wait_entry {
    struct core_id peer;  // this peer itself for what happens here
    enum wait_cause cause;
    enum core_err err;  // last error of own work, or OK
    enum gossip_state state;
    uint64_t since_ms;
};
const char *wait_cause_text(enum wait_cause cause);   // "has not sent its commit"
const char *wait_remedy_text(enum wait_cause cause);  // "start it again, or wait until ..."
uint32_t peer_run_waiting(const struct peer *p, const struct core_hash *run, struct wait_entry *entries, uint32_t max);

// Decided values: the bytes live until the run is forgotten. Heights from 1; false where it isn't (yet) here.
bool peer_run_decision(const struct peer *p, const struct core_hash *run, uint64_t height, struct slice *value,
                       struct slice *certificate);
// The (last) manifest of a round, and the cut that made it (its height; 0 for round 0). False where it isn't here.
bool peer_run_manifest(const struct peer *p, const struct core_hash *run, uint64_t round, struct manifest *manifest,
                       uint64_t *cut_height);

// Who signed two words for one place in this run, with the proof. False beyond the last.
struct run_liar {
    struct core_id id;
    enum evidence_kind kind;
    uint64_t at;            // height of the votes, round of the commits
    struct slice evidence;  // evidence_decode's bytes; they live as long as the run is known
};
bool peer_run_liar(const struct peer *p, const struct core_hash *run, uint32_t index, struct run_liar *liar);

struct peer_counts {
    uint64_t refused;  // malformed, badly signed or lying messages
    uint64_t pulls_sent, pulls_answered, data_sent, data_stored, resent;
    uint64_t decisions_sent, decisions_adopted;
    uint64_t limited;  // requests that came faster than they are answered
};
void peer_counts_get(const struct peer *p, struct peer_counts *out);

#endif
