// Proof that a member of a run signed two words for one place: two votes or proposals for one (height, round, step), or
// two commits for one (round, attempt). Both signatures are the liar's own, so it does not matter who brings it. Pure;
// any thread. docs/run-format.md has the bytes.
#ifndef LEARN_EVIDENCE_H
#define LEARN_EVIDENCE_H

#include "learn/commit.h"
#include "ledger/vote.h"

enum { EVIDENCE_LIMIT = 2 + 2 * (4 + COMMIT_LIMIT) };  // bytes

enum evidence_kind { EVIDENCE_VOTES = 1, EVIDENCE_COMMITS = 2 };

struct evidence {
    enum evidence_kind kind;
    struct core_hash run;
    struct core_id liar;
    uint64_t at;  // height of the votes, round of the commits
    struct slice first, second;
};

// The two must contradict each other (the signatures were checked). Whoever writes the same pair writes the same bytes.
void evidence_of_votes(struct writer *w, const struct ledger_vote *a, const struct ledger_vote *b);
void evidence_of_commits(struct writer *w, struct slice a, struct slice b);
// Form, both signatures, and that they contradict. MALFORMED, UNKNOWN_VERSION, TRUNCATED, BAD_SIGNATURE; TOO_LARGE.
CORE_MUST_USE enum core_err evidence_decode(struct slice bytes, struct evidence *e);
const char *evidence_kind_text(enum evidence_kind kind);  // "voted twice", "committed twice"

#endif
