// The consensus machine's inside, shared by consensus.c (calls and messages), consensus_rules.c (the paper's lines) and
// consensus_own.c (what this member signs, persists and sends). Nobody else includes this.
#ifndef LEDGER_CONSENSUS_STATE_H
#define LEDGER_CONSENSUS_STATE_H

#include "core/arena.h"
#include "ledger/consensus.h"
#include "ledger/tally.h"

enum {
    CONSENSUS_UNSENT_MAX = 32,
    CONSENSUS_TIMEOUT_MAX_MS = 10000,
    CONSENSUS_SKIP_ROUNDS = 16,  // that one member's word can take another on
};

// A value with its hash, in memory of the machine's own.
struct consensus_value {
    uint8_t *data;
    uint32_t size;
    struct core_hash hash;
};

// A message of the next height that came before this member entered it.
struct consensus_early {
    bool vote_here[LEDGER_MEMBERS_MAX][2];
    uint8_t vote[LEDGER_MEMBERS_MAX][2][LEDGER_VOTE_SIZE];
    uint8_t *proposal;
    uint32_t proposal_size;  // 0: none
    struct core_id proposal_from;
    struct core_id from[LEDGER_MEMBERS_MAX];
};

struct consensus {
    struct consensus_options options;
    struct arena arena;

    // the height
    uint64_t height;
    struct core_id members[LEDGER_MEMBERS_MAX];
    uint32_t count, quorum, liars;
    int self;  // index, -1 for a watcher
    uint8_t order[LEDGER_MEMBERS_MAX];

    // the paper's variables (lines 1-9)
    uint32_t round;
    enum ledger_step step;
    int32_t locked_round;
    struct core_hash locked;
    int32_t valid_round;
    struct consensus_value valid;
    uint8_t *valid_certificate;  // the prevotes of valid_round
    uint32_t valid_certificate_size;

    struct tally tally;
    uint32_t peer_round[LEDGER_MEMBERS_MAX];  // highest round that each was heard in (line 55)
    uint64_t heard, dead;
    struct ledger_vote latest[LEDGER_MEMBERS_MAX];  // of whom `heard` says: the vote of the highest slot, kept or not

    bool started, offered, halted, decided, held;
    struct consensus_value offer;

    // deadlines in ms; UINT64_MAX: not set. `prevote_armed` and `precommit_armed`: "for the first time" of lines 34, 47
    uint64_t propose_at, prevote_at, precommit_at, resend_at, skip_at;
    // the last skip at this height: where to and when
    bool skipped;
    uint32_t skipped_round;
    uint64_t skipped_ms;
    uint32_t resend_wait;
    uint32_t relay_turn;
    bool prevote_armed, precommit_armed;

    // what this member signed: the last slot, and its own proposal (restored without its value)
    int64_t signed_slot;  // round * 3 + step; -1 for none. Only ever rises within a height.
    struct ledger_vote own_proposal;
    bool has_own_proposal;
    uint8_t *journal;  // records not yet handed out as an EFFECT_PERSIST
    uint32_t journal_size, journal_limit;
    struct ledger_vote unsent[CONSENSUS_UNSENT_MAX];
    uint32_t unsent_count;
    uint8_t *scratch;  // LEDGER_PROPOSAL_LIMIT bytes for encoding

    struct consensus_early *early;
    struct consensus_value decided_value;
    uint8_t *decided_certificate;
    struct consensus_decision decision;
};

// ---- consensus_rules.c ----
void consensus_round_start(struct consensus *c, uint32_t round, uint64_t now_ms, struct outbox *out);
// This member's turn, where it is and was not taken yet (lines 14-19).
void consensus_round_propose(struct consensus *c, uint64_t now_ms, struct outbox *out);
// Starts or cuts short the wait for the proposer.
void consensus_round_wait(struct consensus *c, uint64_t now_ms);
// Deadlines that have passed (lines 57-67).
void consensus_round_expire(struct consensus *c, uint64_t now_ms, struct outbox *out);
// Applies the rules until none applies any more.
void consensus_round_advance(struct consensus *c, uint64_t now_ms, struct outbox *out);
void consensus_decide(struct consensus *c, uint32_t round, struct slice value, const struct core_hash *hash,
                      struct slice certificate);
uint32_t consensus_proposer_of(const struct consensus *c, uint32_t round);

// ---- consensus_own.c ----
// Signs this member's vote for a slot and counts it; false when that slot, or a later one, was signed before.
bool consensus_own_vote(struct consensus *c, enum ledger_step step, const struct core_hash *value, struct outbox *out);
bool consensus_own_propose(struct consensus *c, const struct consensus_value *value, int32_t valid_round,
                           struct outbox *out);
// One signed before a restart, that others hold: taken back and persisted. False: known.
bool consensus_own_recall(struct consensus *c, const struct ledger_vote *v, struct outbox *out);
// The locked value goes to disk with the precommit that locks it.
void consensus_own_lock(struct consensus *c, struct outbox *out);
// Hands out what was signed: one EFFECT_PERSIST, then the sends.
void consensus_own_flush(struct consensus *c, uint64_t now_ms, struct outbox *out);
// Sends the proposal that is here to a member that voted for another value of that round: one of the two has been shown
// a second proposal, or lies.
void consensus_own_show(struct consensus *c, struct tally_round *r, uint32_t member, struct outbox *out);
void consensus_own_resend(struct consensus *c, uint64_t now_ms, struct outbox *out);

static inline void consensus_value_set(struct consensus_value *to, struct slice from, const struct core_hash *hash)
{
    if (from.size) __builtin_memmove(to->data, from.data, from.size);
    to->size = (uint32_t)from.size;
    to->hash = *hash;
}

#endif
