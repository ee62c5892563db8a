// The inside of a run's state machine, shared by round*.c only. round.c explains the whole.
#ifndef LEARN_ROUND_PARTS_H
#define LEARN_ROUND_PARTS_H

#include "gossip/sum.h"
#include "gossip/tree.h"
#include "ledger/consensus.h"
#include "learn/round.h"

enum {
    ROUND_HISTORY = 16,       // rounds whose duration the deadline is made of
    ROUND_DEADLINE_FROM = 3,  // rounds before the deadline follows the median
    ROUND_MAD_FACTOR = 6,
    ROUND_DEADLINE_SLACK_MS = 1000,
    ROUND_ABSENT_MAX = 3,       // rounds in a row; then a member leaves
    ROUND_STRANGER_MS = 10000,  // a member that gossip has never heard of counts as present for so long
    ROUND_LISTEN_MS = 1500,     // after a restart: hear others first
    ROUND_AHEAD_MS = 3000,      // for how long a word of a later height keeps this peer from working
    ROUND_STRAGGLE_MS = 2000,   // a closed round's sums are gathered for so long, then parameters are fetched
    ROUND_LOST_MS = 30000,      // a contribution that nobody has sent for so long counts as lost
    ROUND_GONE_MS = 2000,       // and after so long where whoever may have it is believed dead: beliefs heal
    ROUND_ENTER_MS = 2000,      // between words that this peer wants to enter or to leave
    ROUND_ENTER_OLD_MS = 15000,
    ROUND_EVALUATE_MS = 8000,      // how long the others leave the first proposer to measure held-out loss
    ROUND_RETRY_MS = 1000,         // before failed work is tried again
    ROUND_PULL_LIMIT = 16,         // decisions a pull asks for
    ROUND_HEADS = 8,               // members told of the head at a time
    ROUND_BACKOFF = 8,             // repetitions slow down to so many times the first
    ROUND_RATE_BYTES = 256 << 10,  // handing over less says nothing of this peer's bandwidth
    ROUND_RATE_MS = 5,
    ROUND_HALTED_MS = 5000,  // a member that said that its disk is full counts as absent for so long
    ROUND_HALTED_SAY_MS = 1500,
    ROUND_OTHERS = RUN_MEMBERS_MAX,
    ROUND_DOUBT_MS = 30000,   // who spoke of heights that nobody could show is not believed for so long,
    ROUND_DOUBTS = 6,         // doubled so many times at most
    ROUND_ANSWERS = 512,      // decisions, commits and votes a second that one member is sent, and in reserve
    ROUND_CHECKS = 32,        // of them a certificate costs that is checked for one member's sake
    ROUND_STRICT_MS = 10000,  // how long a peer without a journal waits for all that may know what it signed
    ROUND_CLAIM_MS = 5000,    // after a restart: for so long a later height is waited for that somebody spoke of
    ROUND_RATE_UNIT = 64,     // bytes a millisecond that make class 1; twice the rate, twice the class
    ROUND_LIARS = 2 * RUN_MEMBERS_MAX,
};

// Repeats a request or a push until it is answered.
struct retry {
    uint64_t next_ms;
    uint64_t since_ms;
    uint32_t tries;
};

enum work_step { STEP_NONE, STEP_RUNNING, STEP_DONE };

// A sum (level, group, shard) of the attempt's plan.
enum item_state { ITEM_NONE, ITEM_BUSY, ITEM_HERE };

struct item {
    uint64_t set;        // slots whose contributions it sums: the cut's, below the group
    uint64_t waiters;    // slots that asked for it
    uint64_t early_set;  // arrived before the cut did
    uint32_t bits;
    uint8_t early_bits;
    uint8_t state;  // enum item_state
    bool duty;      // somebody pulled it from this peer: it computes it
    bool computed;  // here, by this peer
    uint8_t candidates;
    uint8_t candidate[TREE_CANDIDATE_MAX];  // slots
    struct retry pull;
};

// What is known of one slot's contribution to the turn's round.
struct known {
    bool here;       // commit and bytes are valid
    uint16_t holds;  // shards whose blob is here
    uint16_t size;
    uint8_t bytes[COMMIT_LIMIT];  // signed: acknowledged if commit.phase says so
    struct commit commit;
    struct retry pull[TREE_SHARD_MAX];
    uint64_t negative[TREE_SHARD_MAX];  // slots that said they don't have it
};

// Everything about one round of the run: it lives until the round after next begins, so that stragglers are served.
struct turn {
    bool valid;
    uint64_t round;
    struct manifest manifest;  // that opened it (a change of state keeps the first)
    uint32_t self;             // own slot, UINT32_MAX: not a member
    uint64_t started_ms;
    uint64_t last_commit_ms;  // the last acknowledged commit came in
    struct tree_plan plan;    // of (round, attempt)
    bool plan_made;
    uint32_t shards;
    struct known known[RUN_MEMBERS_MAX];

    // own training
    enum work_step train;
    uint64_t train_retry_ms;
    bool train_fresh;   // what was asked for
    bool params_here;   // the round's first parameters are (or were) here
    bool unfit;         // own result differs from what was announced before a crash: it sits this attempt out
    bool acknowledged;  // own commit was cast as such
    struct retry hand[TREE_SHARD_MAX];
    uint64_t acked[TREE_SHARD_MAX];  // slots that hold a copy
    uint64_t handed_ms;              // handing over began

    // the cut
    bool cut_offered;
    bool cut_valid;
    uint32_t attempt;
    bool reopened;        // the last cut was empty
    uint32_t collecting;  // what commits are for: 0, or the last empty cut's attempt + 1
    uint64_t cut_height, cut_slots, cut_ms;
    struct core_hash cut_hash;
    uint32_t weights[RUN_MEMBERS_MAX];  // by slot, after sum_weights
    uint64_t weight;                    // total
    struct item *items;                 // [group's place in the plan * TREE_SHARD_MAX + shard]
    uint64_t doubted;                   // slots of the cut that somebody says are lost: looked for here too
    uint64_t lost;                      // of them, what nobody could supply to this peer
    uint64_t lost_told;                 // so far

    // the outer step
    bool alone;           // no sum of others is taken: this peer sums everything itself from what hashes prove
    bool disputed;        // it does so since its parameters were not the others'
    uint64_t mismatches;  // indices of proposers whose manifest had other parameters
    struct core_hash disputed_params;
    enum work_step apply;
    bool apply_kept_inner, rechecked;
    uint64_t applied_ms;
    uint64_t apply_retry_ms;
    struct core_hash params, outer;
    bool evaluated;
    double val_loss;
    int8_t exponents[CONFIG_TENSORS_MAX];
};

struct decided {
    uint8_t *value, *certificate;
    uint32_t value_size, certificate_size;
    uint64_t round;
    enum value_kind kind;
};

// What this peer knows of one member (round_others.c).
struct other {
    struct core_id id;
    uint64_t heard_ms;
    uint64_t halted_until_ms;   // it said that its disk is full
    uint64_t doubted_until_ms;  // its word of later heights does not count
    uint32_t doubts;
    uint32_t answers;  // that it may still have
    uint64_t answers_ms;
};

struct round {
    struct round_options options;
    struct core_hash run;
    struct run_spec spec;
    uint8_t *spec_bytes;
    uint32_t spec_size;

    struct decided *log;  // log[h - 1] is height h's
    uint64_t log_count, log_capacity;
    struct consensus *consensus;
    uint64_t height;           // next to be decided: log_count + 1
    struct core_hash offered;  // at this height; zero: nothing
    bool mute;                 // restoring: nothing is sent or asked
    bool started, frozen, held, leaving;
    bool broken;          // a quorum decided what does not continue the chain, or decided twice: no more for the run
    struct slice *votes;  // this height's persisted payloads, for round_thaw
    uint32_t vote_count, vote_capacity;

    struct manifest head;
    struct core_hash last;  // hash of the value decided last, the genesis at first
    struct core_hash head_hash;
    uint64_t head_ms;            // when it was learned
    struct turn *turn, *before;  // of head.round, and of the round before
    uint64_t opened_ms, listen_until_ms, stage_ms;
    enum round_stage stage;

    // parameters of the head
    bool params_here, inner_here;
    bool fetching;
    uint64_t fetch_round, fetch_retry_ms;
    bool dataset_here, dataset_asked;
    uint64_t dataset_retry_ms;
    enum core_err work_error;  // of the last failed work
    struct {
        uint64_t round;
        struct core_hash hash;
        bool inner;
    } durable[4];
    uint32_t durable_count;
    uint8_t restored_commit[COMMIT_LIMIT];
    uint32_t restored_commit_size;

    // after a restart: what it signed before is asked for
    bool recalling;
    bool recall_known;       // enough have answered once to know up to which height to ask
    uint64_t recall_height;  // nothing is signed up to this one without having asked at it
    uint64_t recalled;       // indices of the head's members that have answered at this height
    uint64_t recall_ms, recall_until_ms;
    uint64_t recall_since_ms;  // answered at this height; a later one is waited for
    uint64_t recall_again_ms;
    uint64_t recall_strict_ms;  // until then more answers are waited for: nothing on the disk tells what it signed

    // others
    uint64_t ahead, ahead_ms;   // the latest height heard of; since when, or since it came nearer
    struct core_id ahead_from;  // who said so
    struct other others[ROUND_OTHERS], stranger;
    uint64_t pull_until, pull_ms;
    uint64_t next_head_ms;
    uint32_t head_turn;
    struct {
        struct run_enter enter;
        uint64_t heard_ms;
        bool used;
    } enters[RUN_MEMBERS_MAX];
    uint64_t next_enter_ms;
    struct run_liar liars[ROUND_LIARS];  // their evidence is malloc'd
    uint32_t liar_count, liars_untold;   // the last ones, found here, are not cast yet
    uint32_t disputes;
    bool careful;  // sums of others were false once: none is taken any more
    struct run_command wanted;
    bool wanted_valid, wanted_mine;
    uint64_t next_command_ms;
    uint64_t rate;  // bytes a millisecond that handing over reached, smoothed; 0: not measured
    uint64_t durations[ROUND_HISTORY];
    uint32_t duration_count;
    uint64_t clear_ms;  // ended: when blobs go
    uint64_t wake_ms;
    uint64_t now_ms;
};

#define SLOT(n) (UINT64_C(1) << (n))

// ---- round.c ----
void round_advance(struct round *r, uint64_t now_ms, struct outbox *out);
void round_wake(struct round *r, uint64_t when_ms);
bool round_gone(const struct round *r, const struct core_id *id);
bool round_slot_gone(const struct round *r, const struct turn *t, uint32_t slot);
const struct run_member *turn_member(const struct turn *t, uint32_t slot);  // NULL: none
bool round_behind(const struct round *r);
uint32_t turn_next_attempt(const struct turn *t);  // of the cut that may come next
// Milliseconds before a push or pull of `bytes` is repeated for the `tries`-th time.
uint64_t round_backoff(const struct round *r, uint32_t tries, uint64_t bytes);
uint32_t round_quorum(const struct round *r);
struct turn *round_turn(struct round *r, uint64_t round);  // the one of `round`, or NULL

// ---- round_chain.c ----
void round_genesis(struct round *r, uint64_t now_ms, struct outbox *out);
void round_height_start(struct round *r, uint64_t now_ms, struct outbox *out);
void round_enter(struct round *r, const struct manifest *m, const struct core_hash *hash, uint64_t now_ms,
                 struct outbox *out);
void round_params_find(struct round *r);
// Takes every value that consensus has decided (certificates were checked).
void round_take(struct round *r, uint64_t now_ms, struct outbox *out);
void round_settle(struct round *r, size_t mark, uint64_t now_ms, struct outbox *out);
void round_offer(struct round *r, struct slice value, uint64_t now_ms, struct outbox *out);

// ---- round_records.c ----
void round_votes_forget(struct round *r);
// Consensus' own records since `mark` become this run's.
void round_votes_wrap(struct round *r, size_t mark, struct outbox *out);
void round_decision_persist(struct round *r, uint64_t height, struct outbox *out);

// ---- round_values.c: what may be decided ----
enum consensus_validity round_judge(void *context, uint64_t height, struct slice value);
bool round_value_follows(const struct round *r, uint64_t height, struct slice value);
void round_offer_cut(struct round *r, uint64_t slots, uint32_t attempt, uint64_t now_ms, struct outbox *out);
void round_offer_manifest(struct round *r, uint64_t now_ms, struct outbox *out);
void round_offer_state(struct round *r, enum run_state state, uint64_t now_ms, struct outbox *out);
bool round_command_state(const struct round *r, enum run_state *state);

// ---- round_collect.c: training, handing over, commits ----
void turn_reopen(struct turn *t, uint32_t attempt, uint64_t now_ms);
struct blob_key turn_contribution_key(const struct round *r, const struct turn *t, uint32_t slot, uint32_t shard);
// How a commit got here, and what is known of it by that.
enum commit_source {
    COMMIT_UNCHECKED,  // its signature was not checked
    COMMIT_CHECKED,
    COMMIT_DECIDED,  // it stands in the decided cut
};
enum core_err turn_commit_add(struct round *r, struct turn *t, struct slice bytes, enum commit_source source);
uint64_t turn_committed(const struct turn *t);
bool turn_hopeless(const struct turn *t);  // as far as this peer sees, nobody commits for this attempt any more
void round_trained(struct round *r, const struct work_result *result, uint64_t now_ms, struct outbox *out);
void round_acked(struct round *r, struct turn *t, uint32_t slot, const struct blob_key *key, uint64_t now_ms,
                 struct outbox *out);
void round_collect(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out);
uint64_t round_deadline(const struct round *r, bool quorum);

// ---- round_sum.c: from the cut to the parameters ----
enum core_err turn_plan(struct round *r, struct turn *t, uint32_t attempt);
struct item *turn_item(const struct turn *t, uint32_t level, uint32_t group, uint32_t shard);
void turn_cut(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out);
void round_sum(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out);
void round_reduced(struct round *r, const struct work_result *result, uint64_t now_ms, struct outbox *out);
void turn_item_here(struct round *r, struct turn *t, uint32_t level, uint32_t group, uint32_t shard, bool computed,
                    uint64_t now_ms, struct outbox *out);
uint32_t turn_acting(const struct round *r, const struct turn *t, const struct item *item);  // slot, or UINT32_MAX
bool item_candidate(const struct item *item, uint32_t slot);
uint64_t turn_shard_bytes(const struct round *r, const struct turn *t, uint32_t shard, uint32_t bits);
uint64_t turn_shard_elements(const struct round *r, const struct turn *t, uint32_t shard);
bool turn_results_here(const struct round *r, const struct turn *t);
uint32_t turn_top_level(const struct turn *t);
struct blob_key turn_item_key(const struct round *r, const struct turn *t, uint32_t level, uint32_t group,
                              uint32_t shard);

// ---- round_pull.c ----
void round_pull_contribution(struct round *r, struct turn *t, uint32_t slot, uint32_t shard, uint64_t now_ms,
                             struct outbox *out);
void round_pull_sum(struct round *r, struct turn *t, uint32_t level, uint32_t group, uint32_t shard, uint64_t now_ms,
                    struct outbox *out);

// ---- round_lost.c: contributions that nobody has any more ----
// Somebody, perhaps in a proposal, says so of `slots`.
void turn_doubt(struct turn *t, uint64_t slots);
void round_lost(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out);

// ---- round_dispute.c: parameters that differ ----
void turn_mismatch(struct round *r, struct turn *t);
void round_dispute(struct round *r, struct turn *t);
void round_dispute_over(struct round *r, struct turn *t);
// Sums that this peer was sent cannot be: proof enough.
void round_sums_false(struct round *r, struct turn *t);

// ---- round_fork.c: two decisions for one height ----
void round_broken(struct round *r, const char *why);
void round_fork_look(struct round *r, const struct core_id *from, const struct message_run_head *head,
                     struct outbox *out);
void round_fork_check(struct round *r, const struct core_id *from, const struct message_run_decision *m,
                      struct outbox *out);

// ---- round_others.c: what is held against each member ----
bool round_halted(const struct round *r, const struct core_id *id);
void round_note_halted(struct round *r, const struct core_id *from, bool halted, uint64_t now_ms);
void round_claimed(struct round *r, const struct core_id *from, uint64_t height, uint64_t now_ms);
void round_claims_check(struct round *r, uint64_t now_ms);
bool round_answers(struct round *r, const struct core_id *from, uint32_t count);

// ---- round_finish.c ----
void round_finish(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out);

// ---- round_data.c: bulk by key ----
void round_send_data(struct round *r, struct turn *t, const struct blob_key *key, const struct core_id *to,
                     struct outbox *out);
void round_send_pull(struct round *r, const struct blob_key *key, const struct core_id *to, struct outbox *out);
void round_send_ack(struct round *r, const struct blob_key *key, const struct core_id *to, bool have,
                    struct outbox *out);
void round_pulled(struct round *r, const struct core_id *from, const struct blob_key *key, uint64_t now_ms,
                  struct outbox *out);

// ---- round_recall.c: what this peer signed before it came back ----
// `empty`: nothing on the disk says what it signed.
void round_recall_start(struct round *r, bool empty, uint64_t now_ms, struct outbox *out);
void round_recall_height(struct round *r, uint64_t now_ms, struct outbox *out);
void round_recall(struct round *r, uint64_t now_ms, struct outbox *out);
void round_recall_asked(struct round *r, const struct core_id *from, uint64_t now_ms, struct outbox *out);
// Whether the member with that index has answered, or need not.
bool round_recall_heard(const struct round *r, uint32_t index);
void round_recall_answered(struct round *r, const struct core_id *from, const struct message_run_head *head,
                           uint64_t now_ms, struct outbox *out);

// ---- round_evidence.c: who lied ----
bool round_liar(const struct round *r, const struct core_id *id);
void round_votes_conflict(void *context, const struct ledger_vote *first, const struct ledger_vote *second);
// Both signed by their trainer, for one round and attempt.
void round_commits_conflict(struct round *r, struct slice first, struct slice second);
void round_evidence_tell(struct round *r, struct outbox *out);
void round_evidence_restore(struct round *r, struct slice bytes);
void round_evidence_forget(struct round *r);

// ---- round_heads.c: catching up, entering ----
// A head that asks `to` for this peer's own votes, or that answers with those of `to`.
void round_send_recall(struct round *r, const struct core_id *to, bool asks, struct outbox *out);
void round_send_head(struct round *r, const struct core_id *to, struct outbox *out);
void round_send_heads(struct round *r, struct outbox *out);
void round_send_decision(struct round *r, const struct core_id *to, uint64_t height, struct outbox *out);
void round_pull(struct round *r, const struct core_id *from, uint64_t now_ms, struct outbox *out);
enum core_err round_heads_message(struct round *r, const struct core_id *from, const struct message *m, uint64_t now_ms,
                                  struct outbox *out);
void round_broken_message(struct round *r, const struct core_id *from, const struct message *m, struct outbox *out);
void round_heads_tick(struct round *r, uint64_t now_ms, struct outbox *out);
// While this peer's disk is full it tells the members.
void round_halted_tick(struct round *r, uint64_t now_ms, struct outbox *out);

// ---- round_status.c ----
enum round_stage round_stage_now(const struct round *r);

#endif
