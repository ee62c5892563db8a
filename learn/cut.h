// A cut decides which acknowledged commits of a round count. It holds the signed commits themselves, so whoever has a
// decided cut can check, pull and sum everything in it. Pure; any thread.
#ifndef LEARN_CUT_H
#define LEARN_CUT_H

#include "learn/commit.h"
#include "learn/manifest.h"

struct cut {
    struct core_hash run;
    uint64_t height;
    uint64_t round;
    uint32_t attempt;           // 0, then 1 more each time that a named shard is lost with all its
                                // holders, or that nobody can commit
    struct core_hash manifest;  // the head that it continues
    uint32_t count;             // of commits, ascending by slot; 0: the round collects anew, for attempt + 1
    struct slice commits[RUN_MEMBERS_MAX];  // signed bytes: views of whatever was encoded or decoded
    uint64_t slots;                         // decoded: the commits' slots
};

void cut_encode(struct writer *w, const struct cut *c);
// Form only: commits are not read but for their slot's order, their signatures not checked (round.c does, for those
// that it has not seen). UNKNOWN_VERSION, TRUNCATED, MALFORMED.
CORE_MUST_USE enum core_err cut_decode(struct slice bytes, struct cut *c);
// VALUE_CUT, VALUE_MANIFEST, or 0 for neither.
enum value_kind value_kind_of(struct slice value);

#endif
