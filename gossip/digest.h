// What a members' table holds, as a tree of marks: each member has a mark (16 bytes made of its record's hash and of
// how it is accused), a node's mark is the XOR of its members' marks, and a node at depth d stands for the members
// whose ids begin with d given hex digits. Two tables are equal if their roots are; where they differ the differing
// children lead there, 16 ways a step.
//
// Kept: the marks of the deepest level alone, which grows with the table so that a node there has some 16 members;
// marks above it are XORs of these, marks below it come from the members themselves. Pure; one owner.
#ifndef GOSSIP_DIGEST_H
#define GOSSIP_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "gossip/pool.h"

enum {
    DIGEST_WAYS = 16,
    DIGEST_DEPTH_MAX = 4,      // of the level that is kept
    DIGEST_NODE_MEMBERS = 16,  // a node of the kept level has about so many
};

struct digest {
    struct pool_mark *nodes;  // 16^depth
    uint32_t depth;
    struct pool_mark root;
};

CORE_MUST_USE enum core_err digest_open(struct digest *d);
void digest_close(struct digest *d);
// True if a table of `count` members wants a deeper level: digest_deepen, then digest_toggle for each member again.
bool digest_is_shallow(const struct digest *d, uint32_t count);
// Empty, one level deeper. Without the memory for it nothing changes, and false is returned.
bool digest_deepen(struct digest *d);
// Puts a member's mark in, or takes it out. `prefix`: the first 8 bytes of its id, big-endian.
void digest_toggle(struct digest *d, uint64_t prefix, const struct pool_mark *mark);
// The mark of the node at `depth` <= d->depth whose members' prefixes begin with the `depth` hex digits of `path`
// (in its highest bits).
struct pool_mark digest_node(const struct digest *d, uint64_t path, uint32_t depth);

// A member's mark, with how many accuse it; where it is one, who: two tables that know different ones make it dead.
struct pool_mark digest_mark(const struct member_record *record, uint32_t accusations, const struct core_id *accuser);
bool digest_equal(const struct pool_mark *a, const struct pool_mark *b);
void digest_xor(struct pool_mark *a, const struct pool_mark *b);

#endif
