// What has been said at one height: for each consensus round in a window its proposal and everybody's prevote and
// precommit, the first of each. Owned by one consensus machine; one thread.
#ifndef LEDGER_TALLY_H
#define LEDGER_TALLY_H

#include "core/arena.h"
#include "ledger/vote.h"

enum {
    TALLY_ROUNDS = 16,  // rounds kept; a round r lives in place r % TALLY_ROUNDS
    TALLY_PAST = 4,     // of them this many before the current one: late precommits may still decide (line 49)
};

// One step's votes in one round.
struct tally_step {
    uint64_t voters;  // bit i: members[i]'s vote is here
    struct core_hash value[LEDGER_MEMBERS_MAX];
    struct core_sig signature[LEDGER_MEMBERS_MAX];
};

struct tally_round {
    bool used;
    uint32_t round;
    bool proposed;     // proposal, value and certificate are there
    uint8_t validity;  // enum consensus_validity; meaningful when `judged`
    bool judged;
    struct ledger_vote proposal;
    uint8_t *value;
    uint32_t value_size;
    uint8_t *certificate;  // prevotes of proposal.valid_round
    uint32_t certificate_size;
    uint64_t shown;  // members that were sent this proposal since they voted for another value
    struct tally_step prevotes, precommits;
};

struct tally {
    uint32_t value_limit;
    uint32_t current;  // the window is [current - TALLY_PAST, current - TALLY_PAST + TALLY_ROUNDS)
    struct tally_round rounds[TALLY_ROUNDS];
};

size_t tally_memory(uint32_t value_limit);  // bytes that tally_open takes from the arena
void tally_open(struct tally *t, uint32_t value_limit, struct arena *arena);
void tally_clear(struct tally *t);
void tally_move(struct tally *t, uint32_t current);  // the window follows the current round
bool tally_in_window(const struct tally *t, uint32_t round);
// NULL when nothing was said in that round, or it is outside the window.
struct tally_round *tally_find(struct tally *t, uint32_t round);
// The same, made where it is missing; `round` is in the window.
struct tally_round *tally_claim(struct tally *t, uint32_t round);

struct tally_step *tally_votes(struct tally_round *r, enum ledger_step step);
// Keeps a proposal (sizes were checked). The caller has seen that there is none yet.
void tally_propose(struct tally_round *r, const struct ledger_proposal *p);
void tally_vote(struct tally_step *s, uint32_t member, const struct ledger_vote *v);
// Who voted for `value` (zero: nil).
uint64_t tally_for(const struct tally_step *s, const struct core_hash *value);
uint32_t tally_count(uint64_t members);
// The value (or nil) that at least `quorum` members voted for; false when there is none.
bool tally_majority(const struct tally_step *s, uint32_t quorum, struct core_hash *value);

#endif
