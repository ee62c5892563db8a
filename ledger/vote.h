// What the members of a run sign while they agree: votes, proposals and the certificates made of votes. Canonical
// little-endian bytes; docs/record-format.md has the byte tables. Pure functions, any thread.
#ifndef LEDGER_VOTE_H
#define LEDGER_VOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "core/sign.h"

enum {
    LEDGER_MEMBERS_MAX = 64,         // a member set is a uint64_t bitmap of indices
    LEDGER_VALUE_LIMIT = 64 * 1024,  // bytes of a decided value
    LEDGER_VOTE_SIZE = 178,          // bytes of a signed vote
    // version, step, round, bitmap, then a signature a bit
    LEDGER_CERTIFICATE_HEAD = 1 + 1 + 4 + 8,
    LEDGER_CERTIFICATE_LIMIT = LEDGER_CERTIFICATE_HEAD + LEDGER_MEMBERS_MAX * CORE_SIG_SIZE,
    LEDGER_PROPOSAL_LIMIT = LEDGER_VOTE_SIZE + 4 + LEDGER_VALUE_LIMIT + 4 + LEDGER_CERTIFICATE_LIMIT,
};

// What the mesh's charter says of faults, and so how many votes are a quorum of n.
enum ledger_fault_model {
    LEDGER_TRUSTED,    // members crash but do not lie: 1 + floor(n/2)
    LEDGER_BYZANTINE,  // up to floor((n-1)/3) lie: 1 + floor(2n/3)
};

enum ledger_step { LEDGER_PROPOSE = 0, LEDGER_PREVOTE = 1, LEDGER_PRECOMMIT = 2 };

// One member's word for one slot (run, height, round, step). A member signs at most one vote a slot for ever.
struct ledger_vote {
    struct core_hash run;
    uint64_t height;
    uint32_t round;  // the consensus round, not the run's
    enum ledger_step step;
    int32_t valid_round;     // of a proposal: the round whose quorum of prevotes it carries, -1 for none; otherwise -1
    struct core_hash value;  // hash_bytes() of the value; zero is nil
    struct core_id voter;
    struct core_sig signature;
};

// A proposal is its proposer's PROPOSE vote (which comes first in its bytes) with the value, and the prevotes that
// justify it when valid_round >= 0.
struct ledger_proposal {
    struct ledger_vote vote;
    struct slice value;        // views of the decoded bytes
    struct slice certificate;  // LEDGER_PREVOTE certificate of valid_round; empty for none
};

uint32_t ledger_quorum(enum ledger_fault_model model, uint32_t members);
// How many of `members` may lie: votes of one more than that many come from at least one honest member.
uint32_t ledger_liars(enum ledger_fault_model model, uint32_t members);

// Members in the order in which they propose at a height: rendezvous hash of (run, height, id), ties by id. The
// proposer of consensus round r is members[order[r % count]], so each has its turn within `count` rounds.
void ledger_proposer_order(uint8_t order[LEDGER_MEMBERS_MAX], const struct core_hash *run, uint64_t height,
                           const struct core_id *members, uint32_t count);
// The index of one round's proposer.
uint32_t ledger_proposer(const struct core_hash *run, uint64_t height, uint32_t round, const struct core_id *members,
                         uint32_t count);

// Fills in voter and signature with `key`.
void ledger_vote_sign(struct ledger_vote *v, const struct core_key *key);
bool ledger_vote_signed(const struct ledger_vote *v);
void ledger_vote_write(struct writer *w, const struct ledger_vote *v);
// The vote's form is checked, its signature is not. CORE_ERR_MALFORMED, CORE_ERR_UNKNOWN_VERSION.
CORE_MUST_USE enum core_err ledger_vote_read(struct reader *r, struct ledger_vote *v);
// Two signed votes of one voter for one slot that differ: proof that it lied.
bool ledger_votes_conflict(const struct ledger_vote *a, const struct ledger_vote *b);

void ledger_proposal_write(struct writer *w, const struct ledger_proposal *p);
// Form, and that the value's hash is the vote's; no signature is checked. Views lie in `bytes`.
CORE_MUST_USE enum core_err ledger_proposal_read(struct slice bytes, struct ledger_proposal *p);

// A certificate: one step's votes of one round for one value, as a bitmap over the members and a signature each.
struct ledger_certificate {
    enum ledger_step step;
    uint32_t round;
    uint64_t signers;           // bit i: members[i] signed
    const uint8_t *signatures;  // in the bits' order
};

CORE_MUST_USE enum core_err ledger_certificate_read(struct slice bytes, struct ledger_certificate *c);
// `signatures` by member's index; those of the bits in `signers` are written.
void ledger_certificate_write(struct writer *w, enum ledger_step step, uint32_t round, uint64_t signers,
                              const struct core_sig signatures[LEDGER_MEMBERS_MAX]);
// True when at least `quorum` of `members` signed (run, height, the certificate's round, `step`, value) and every
// signature in it verifies. Decisions are certified by LEDGER_PRECOMMIT.
bool ledger_certificate_valid(struct slice bytes, enum ledger_step step, const struct core_hash *run, uint64_t height,
                              const struct core_hash *value, const struct core_id *members, uint32_t count,
                              uint32_t quorum);

#endif
