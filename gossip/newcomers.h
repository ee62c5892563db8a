// Newcomers, announced together. A newcomer knows nobody but itself (MEMBERS_ROOT with count 1) on its first link;
// whoever is at the other end announces it, and gathers for GATHER_MS who else comes, so that a hundred that join at
// once cost a few broadcasts in place of a hundred. A peer that comes back with a table announces itself
// (gossip/gossip_self.c).
//
// The payload of TOPIC_NEWCOMERS: (u32 size, member record) for each, at most GOSSIP_PUSH_MAX bytes. Pure.
#ifndef GOSSIP_NEWCOMERS_H
#define GOSSIP_NEWCOMERS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "gossip/members.h"

enum { NEWCOMERS_MAX = 64 };

struct newcomers {
    struct core_id ids[NEWCOMERS_MAX];
    uint32_t count;
    uint64_t due_ms;  // UINT64_MAX: there are none
};

void newcomers_open(struct newcomers *n);
// False if there is no room: they are to be announced first.
bool newcomers_add(struct newcomers *n, const struct core_id *id, uint64_t now_ms);
// The records of as many as fit into `out` (GOSSIP_PUSH_MAX); returns their size, 0 when there are no more.
size_t newcomers_take(struct newcomers *n, const struct members *m, uint8_t *out);
// The next record of a payload; false at the end, with r->failed if the bytes are malformed.
bool newcomers_next(struct reader *r, struct slice *record);

#endif
