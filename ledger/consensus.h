// Agreement on one value a height among a run's members: the algorithm of Buchman, Kwon and Milosevic, "The latest
// gossip on BFT consensus" (arXiv 1807.04938), as a pure state machine. Events in, effects out; one thread.
//
// How to use it: `consensus_start` enters a height (messages are taken from then on, no timer runs); `consensus_offer`
// says what this member would propose, and starts its clock. After every call look at `consensus_decision`; when it is
// there, keep it and start the next height at once, so that the others' early messages find their place. On a restart:
// start the height, hand back each persisted payload by `consensus_restore`, then go on as usual.
#ifndef LEDGER_CONSENSUS_H
#define LEDGER_CONSENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/effect.h"
#include "core/event.h"
#include "ledger/vote.h"

// EFFECT_PERSIST's kind_of: the bytes are opaque, to be given back to consensus_restore in the order of writing. Those
// of a height below the current one may be deleted.
enum { LEDGER_PERSIST_VOTE = 0x4c01 };

enum consensus_validity {
    CONSENSUS_INVALID,
    CONSENSUS_VALID,
    CONSENSUS_UNKNOWN,  // this member cannot tell yet: it is asked again on consensus_recheck
    CONSENSUS_DOUBTED,  // it votes against, but follows a quorum's prevotes: others may know what it does not
};

struct consensus_options {
    struct core_hash run;
    const struct core_key *key;  // this member's; outlives the machine
    enum ledger_fault_model model;
    uint32_t value_limit;        // bytes of a value, at most LEDGER_VALUE_LIMIT
    uint32_t timeout_ms;         // of each step in consensus round 0; 0 for 500
    uint32_t timeout_growth_ms;  // added for each further round; 0 for 250
    uint32_t resend_ms;          // first repetition to the members that seem to lack something; 0 for 200; doubles up
                                 // to 8 times
    // Whether `value` may be decided at `height`; must be a function of what is agreed. Called from within the calls
    // below; must not call back.
    enum consensus_validity (*judge)(void *context, uint64_t height, struct slice value);
    // A member signed two different votes for one slot; both signatures were verified. NULL: only the event is emitted.
    void (*convict)(void *context, const struct ledger_vote *first, const struct ledger_vote *second);
    void *context;
    struct event_sink events;
};

// Lives until the next consensus_start or consensus_close.
struct consensus_decision {
    uint64_t height;
    uint32_t round;
    struct core_hash hash;
    struct slice value;
    struct slice certificate;  // ledger_certificate_valid(.., LEDGER_PRECOMMIT, ..)
};

enum consensus_verdict {
    CONSENSUS_TAKEN,    // used, known already, or of no use any more
    CONSENSUS_BEHIND,   // of a later height: this peer lags; pull decisions from the sender
    CONSENSUS_STALE,    // of a height that is decided here: send the sender that height's decision
    CONSENSUS_REFUSED,  // malformed, not signed by a member, or not this run's: costs the sender
};

struct consensus;

// Takes all its memory (about 18 times value_limit and 300 KiB). CORE_ERR_NO_MEMORY.
CORE_MUST_USE enum core_err consensus_open(struct consensus **out, const struct consensus_options *options);
void consensus_close(struct consensus *c);  // NULL is fine

// Enters `height` with its members (1 to 64, in an order that all agree on). Any height may follow any other. A peer
// that is no member watches and never votes.
void consensus_start(struct consensus *c, uint64_t height, const struct core_id *members, uint32_t count,
                     uint64_t now_ms, struct outbox *out);

// One persisted payload, after consensus_start and before anything else. Payloads of other heights are passed over.
// CORE_ERR_MALFORMED or CORE_ERR_BAD_SIGNATURE: this is not what was persisted.
CORE_MUST_USE enum core_err consensus_restore(struct consensus *c, struct slice payload);

// While held, nothing is signed; messages count and decisions are made as ever. It stays across consensus_start. A
// member that came back is held until it knows what it signed before: its disk may be older than its last vote.
void consensus_hold(struct consensus *c, bool held, uint64_t now_ms, struct outbox *out);
// A vote of this member's own that another one holds: it counts as if it had been restored, and is persisted.
// CORE_ERR_NOT_FOUND (another height), CORE_ERR_BAD_SIGNATURE.
CORE_MUST_USE enum core_err consensus_recall(struct consensus *c, const struct ledger_vote *v, uint64_t now_ms,
                                             struct outbox *out);
// The signed votes and proposals (without values) of `member` that are here, of this height and, unchecked, the next.
void consensus_votes_of(const struct consensus *c, const struct core_id *member, struct writer *w);
enum { CONSENSUS_VOTES_LIMIT = 52 * LEDGER_VOTE_SIZE };  // bytes that takes at most

// What this member proposes when its turn comes (copied); may be called again with a better value. It also starts the
// member's clock: a member that has offered nothing votes for what it finds valid, but gives up on no proposer.
void consensus_offer(struct consensus *c, struct slice value, uint64_t now_ms, struct outbox *out);

// MESSAGE_RUN_VOTE or MESSAGE_RUN_PROPOSAL from an authenticated peer; the votes in it may be somebody else's.
enum consensus_verdict consensus_message(struct consensus *c, const struct core_id *from, const struct message *m,
                                         uint64_t now_ms, struct outbox *out);

// A decision of the current height learned elsewhere (MESSAGE_RUN_DECISION). CORE_ERR_VERIFY_FAILED, TOO_LARGE.
CORE_MUST_USE enum core_err consensus_adopt(struct consensus *c, struct slice value, struct slice certificate);

// More is known: `judge` is asked again for proposals that it could not judge.
void consensus_recheck(struct consensus *c, uint64_t now_ms, struct outbox *out);

// Members believed dead, as a bitmap of indices. It only spares waiting: their turns as proposer pass at once during
// the first `count` consensus rounds (a wrong belief then no longer matters), and nobody waits for their votes.
void consensus_believe(struct consensus *c, uint64_t dead, uint64_t now_ms, struct outbox *out);

void consensus_tick(struct consensus *c, uint64_t now_ms, struct outbox *out);
uint64_t consensus_next_ms(const struct consensus *c);  // when to tick; UINT64_MAX for never

// An EFFECT_PERSIST of this machine failed. It signs and sends nothing more until the next consensus_start, after
// which what is durable must be restored, as after a crash.
void consensus_halt(struct consensus *c);

// NULL until the current height is decided.
const struct consensus_decision *consensus_decision(const struct consensus *c);

// For status and tests.
struct consensus_status {
    uint64_t height;
    uint32_t round;
    enum ledger_step step;
    uint32_t quorum;
    uint64_t heard;     // members whose valid message of this height has arrived (oneself, once it has voted)
    uint32_t proposer;  // index of this round's
    int32_t locked_round, valid_round;
    bool offered, decided, halted, held;
};
struct consensus_status consensus_status(const struct consensus *c);

#endif
