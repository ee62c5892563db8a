// How members behave as authors of records and accusations: each has a budget of both (token buckets), and whoever
// accuses healthy members again and again loses the right to for a while. A member is not to be silenced by one enemy
// that plays dead: refutations count once for each target.
//
// Pure and bounded: who was not heard of for longest is forgotten first, those who are muted last. One owner.
#ifndef GOSSIP_CONDUCT_H
#define GOSSIP_CONDUCT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/sign.h"

enum {
    CONDUCT_ROWS_MAX = 256,
    CONDUCT_RECORDS = 24,      // of one member at once, and then
    CONDUCT_RECORD_MS = 2000,  // one more in each of these
    CONDUCT_ACCUSATIONS = 128,
    CONDUCT_ACCUSATION_MS = 250,
    CONDUCT_MUTED_COST = 16,  // of a muted author's accusation that is heard all the same: by whom it accuses
    CONDUCT_REFUTED = 4,      // targets that refuted within
    CONDUCT_REFUTED_MS = 60000,
    CONDUCT_MUTED_MS = 60000,
};

struct conduct_row {
    uint64_t id;  // its first 8 bytes
    uint64_t seen_ms, records_ms, accusations_ms, muted_until_ms;
    uint32_t records, accusations;      // left
    uint32_t targets[CONDUCT_REFUTED];  // that refuted; hashed
    uint64_t refuted_ms[CONDUCT_REFUTED];
};

struct conduct {
    struct conduct_row *rows;  // grows to CONDUCT_ROWS_MAX
    uint32_t count, capacity;
};

void conduct_close(struct conduct *c);
// Whether one more of the author's may be taken; an accusation may cost as much as several.
bool conduct_record(struct conduct *c, const struct core_id *author, uint64_t now_ms);
bool conduct_accusation(struct conduct *c, const struct core_id *author, uint32_t cost, uint64_t now_ms);
// A target has outlived what the author said of it. True if the author is muted from now on.
bool conduct_refuted(struct conduct *c, const struct core_id *author, const struct core_id *target, uint64_t now_ms);
bool conduct_muted(const struct conduct *c, const struct core_id *author, uint64_t now_ms);

#endif
