// The inside of the aggregation plan, shared by tree*.c only.
#ifndef GOSSIP_TREE_PARTS_H
#define GOSSIP_TREE_PARTS_H

#include "gossip/tree.h"

// Something with a place: a member, a block of members, a site.
struct tree_unit {
    int64_t at[TREE_AXES];
    uint32_t first, count;  // of a list of member indices
    uint32_t tie;           // settles what coordinates leave equal: a member's index, distinct in one list
};

// Sorts `units` so that near ones stand together: halved along the widest axis until no part is above
// TREE_GROUP_MAX. The parts are those that tree_parts says.
void tree_halve(struct tree_unit *units, uint32_t count);
// How many parts of at most TREE_GROUP_MAX `count` makes (a power of two), and where part `part` begins (part == parts:
// the end).
uint32_t tree_parts(uint32_t count);
uint32_t tree_part_first(uint32_t count, uint32_t parts, uint32_t part);

// Fills order, groups, group_of and levels from members.
void tree_group_members(struct tree_plan *plan);

#endif
