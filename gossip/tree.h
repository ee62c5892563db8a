// The aggregation plan: who sums which shard for whom. A pure function of what the manifest freezes (members, hosts,
// sites, coordinates, weights, reachability) and of run, round and attempt, in integers only, so every peer derives the
// same one and nobody assigns it.
//
//   level 0    the peers of one host, at most 16 a group (peers alone on their host share groups of near ones at their
//              site)
//   then       the groups of one host until each host is one group; near groups of one site until each site is one
//              group; near sites until one group holds everyone. Each group has at most 16 children; one that has no
//              company on a level stands there with itself as its only child, and owners and candidates of that child
//   shards     the vector cut in min(16, reachable members) contiguous ranges, the same on every level; where it is
//              large and they are few, a multiple of that, so that sums begin before everything has come
//
// What is near is found by halving: a set above 16 is cut in two equal parts along its widest axis, and so on. One
// more member moves a few others, not all.
//
// For each (level, group, shard) one member owns the sum: load-bounded weighted rendezvous (Mirrokni et al.,
// "Consistent hashing with bounded loads", 2018; weights after Schindelhauer and Schomaker, 2005). A dead owner is
// replaced by the next candidate. Inputs of (0, g, s) are shard s of the contributions of g's slots; inputs of (l, g,
// s) are the sums (l - 1, child, s). The result's shard s is the sum (levels - 1, 0, s).
//
// Memory is taken at open for `members_max`. One owner, one thread; reading a made plan is safe from several.
#ifndef GOSSIP_TREE_H
#define GOSSIP_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/hash.h"

enum {
    TREE_GROUP_MAX = 16,  // members of a level-0 group, children of a higher one
    TREE_SHARD_MAX = 16,
    TREE_LEVEL_MAX = 12,
    TREE_CANDIDATE_MAX = 16,     // of one sum: owner and replacements
    TREE_SHARD_ALIGN = 64,       // elements
    TREE_SHARD_LEAST = 1 << 18,  // elements of a shard where there are several for each member
    TREE_WEIGHT_MAX = 65535,
    TREE_WEIGHT_SPREAD = 4,  // no weight counts more than so many times the median, so nobody carries too much
    TREE_AXES = 3,
    TREE_MEMBERS_MAX = 4096,
    TREE_BURDEN = 1 << 20,
};

// Room for the groups of all levels of a plan of `members`.
#define TREE_GROUPS(members) ((size_t)(members)*TREE_LEVEL_MAX)

struct tree_member {
    uint32_t slot;          // unique; any number
    struct core_hash host;  // equal for peers of one machine
    uint64_t site;          // equal for peers of one place; 0: not known: these share one
    int32_t at[TREE_AXES];  // round-trip coordinates, microseconds; zeros: not known
    uint32_t weight;  // bandwidth class, 1 to 65535, the share of shards it should own; 0: not known, the median's
    bool reachable;   // can be dialled: only these own (unless nobody is reachable)
};

struct tree_group {
    uint32_t first;         // level 0: into `order`; above: first child group (children are contiguous)
    uint32_t count;         // members, or children
    uint32_t member_first;  // into `order`: the members below this group are contiguous on every level
    uint32_t member_count;
    uint32_t parent;  // group index in the next level
};

// Whose group it is, numbered along `order`.
struct tree_domain {
    uint32_t host, site;
};

struct tree_unit;

struct tree_plan {
    uint32_t levels;  // >= 1
    uint32_t shards;  // >= 1
    uint32_t count;   // members
    uint32_t group_count[TREE_LEVEL_MAX];
    uint32_t group_first[TREE_LEVEL_MAX];  // into `groups`
    uint64_t key;                          // of run, round and attempt
    struct tree_group *groups;
    struct tree_member *members;  // ascending by slot
    uint32_t *order;              // member indices, group after group
    uint32_t *group_of;           // member index -> level-0 group
    uint32_t *owners;             // (group's place in `groups`) * TREE_SHARD_MAX + shard -> member index
    uint32_t *scratch;            // a number for each member, while a plan is made
    uint32_t *list;               // members in question, likewise
    uint64_t *rank;               // their scores, likewise
    uint64_t *burden;             // inputs that a member sums for its weight, likewise
    struct tree_domain *domains;  // of the highest level's groups, likewise
    struct tree_unit *units, *sites;
    uint32_t members_max;
    bool all_reachable;  // nobody was reachable: everyone may own
};

// CORE_ERR_LIMIT: members_max above TREE_MEMBERS_MAX; CORE_ERR_NO_MEMORY.
CORE_MUST_USE enum core_err tree_plan_open(struct tree_plan *plan, uint32_t members_max);
void tree_plan_close(struct tree_plan *plan);

// Makes the plan for a vector of `elements`; `members` in any order. CORE_ERR_MALFORMED: none, or a slot twice;
// CORE_ERR_LIMIT: more than members_max. Cost O(members * shards^2) a level.
CORE_MUST_USE enum core_err tree_plan_make(struct tree_plan *plan, const struct tree_member *members, uint32_t count,
                                           uint64_t elements, const struct core_hash *run, uint64_t round,
                                           uint64_t attempt);

// Who may compute the sum (level, group, shard), as slots: the owner first, then replacements in rendezvous order (the
// group's own, then outsiders, so that there is a second holder even for a group of one). Returns how many: at
// most TREE_CANDIDATE_MAX, at least 1, min(16, reachable members) in all. Arguments must be inside the plan.
uint32_t tree_plan_candidates(const struct tree_plan *plan, uint32_t level, uint32_t group, uint32_t shard,
                              uint32_t slots[TREE_CANDIDATE_MAX]);
// The first of them.
uint32_t tree_plan_owner(const struct tree_plan *plan, uint32_t level, uint32_t group, uint32_t shard);

// True if (level, group, shard) names a sum of this plan: ask before using numbers from a message.
bool tree_plan_has(const struct tree_plan *plan, uint64_t level, uint64_t group, uint64_t shard);
bool tree_plan_has_slot(const struct tree_plan *plan, uint32_t slot);
// The group of `level` that `slot` contributes to; slot must be in the plan.
uint32_t tree_plan_group_of(const struct tree_plan *plan, uint32_t level, uint32_t slot);
// The group's parent in level + 1 (level < levels - 1) and its children's range in level - 1 (level > 0).
uint32_t tree_plan_parent(const struct tree_plan *plan, uint32_t level, uint32_t group);
uint32_t tree_plan_children(const struct tree_plan *plan, uint32_t level, uint32_t group, uint32_t *first);
// The slots below a group, in the plan's order: index < tree_plan_slot_count.
uint32_t tree_plan_slot_count(const struct tree_plan *plan, uint32_t level, uint32_t group);
uint32_t tree_plan_slot_at(const struct tree_plan *plan, uint32_t level, uint32_t group, uint32_t index);

// Elements [*first, *first + returned) of a vector of `elements`: contiguous, cut at multiples of 64; may be empty.
uint64_t tree_shard_range(uint64_t elements, uint32_t shards, uint32_t shard, uint64_t *first);

#endif
