// Who is in the mesh: a convergent table of signed records and of the accusations against each. Any two tables that
// have seen the same objects, in whatever order, hold the same; what a broadcast missed is repaired by gossip/sync.
//
//   state of a member = left     its newest record (gossip/record.h has the order) says so
//                     | suspect  somebody accuses it at exactly that record's incarnation
//                     | dead     two distinct members do (one, where no other is alive), and the time that it had to
//                                refute is over: each table counts that time for itself
//                     | alive    otherwise
// Accusations for another incarnation are void: nobody can accuse ahead, and a member refutes with incarnation + 1. One
// accuser alone makes nobody dead while others live, and a member that hears its accusation outlives it in time.
//
// Bounded: members_max entries of some 70 bytes beside the interned records, taken as they are needed. A table that is
// full lets go of who has been dead or gone longest; full of the living it becomes a *sample*: it keeps whom it is
// linked with, and of the rest those with the lowest hash(self, id), which is a uniform choice that nobody else makes.
//
// The dead are kept (and tried, gossip/view) for MEMBERS_DEAD_KEEP_MS, who left for MEMBERS_LEFT_KEEP_MS; before that,
// after *_QUIET_MS, they leave the digest, so that late comers aren't told of them. The newest record of who was
// forgotten remains as a tombstone: older ones, replayed, don't bring it back.
//
// Files: members.c records and entries, members_accuse.c accusations; what they share is in members_parts.h. Pure; one
// owner, one thread.
#ifndef GOSSIP_MEMBERS_H
#define GOSSIP_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "gossip/conduct.h"
#include "gossip/digest.h"
#include "gossip/gossip.h"
#include "gossip/link.h"
#include "gossip/pool.h"
#include "gossip/record.h"

enum {
    MEMBERS_ACCUSERS = 2,
    MEMBERS_TOMBSTONES_MAX = 1024,
    MEMBERS_PROOFS_MAX = 8,
    MEMBERS_ACCUSATIONS_MAX = MEMBERS_ACCUSERS * ACCUSATION_SIZE,  // bytes
    MEMBERS_AGE_MS = 60000,                                        // how often members_age is wanted
    MEMBERS_LEFT_QUIET_MS = 300000,
    MEMBERS_LEFT_KEEP_MS = 600000,
    MEMBERS_DEAD_QUIET_MS = 3600000,
};
#define MEMBERS_DEAD_KEEP_MS (UINT64_C(30) * 24 * 3600 * 1000)

struct member {
    const struct member_record *record;                      // interned
    const struct accusation *accusations[MEMBERS_ACCUSERS];  // of distinct accusers, interned; filled from the first
    uint64_t prefix;                                         // first 8 bytes of the id, big-endian
    uint64_t hash;                                           // of (self, id), for the sample
    uint64_t since_ms;                                       // its state's last change here
    uint64_t heard_ms;                                       // over a link; 0: never
    bool dead;                                               // the accusations stood for long enough
    bool quiet;                                              // not in the digest any more
};

// Two records that a member signed for one (session, incarnation, seq).
struct members_proof {
    const struct member_record *records[2];
};

struct members {
    const struct gossip_options *options;
    const struct link_table *links;
    struct gossip_counts *counts;
    struct core_id self;
    struct record_pool *pool;
    bool pool_is_own;
    struct member *items;  // a pointer to one is good until the next record is put
    uint32_t *order;       // places in `items`, ascending by id; behind the first `count` the free ones
    uint64_t *prefixes;    // of order's members, side by side for the search
    uint32_t count;
    uint32_t capacity;   // taken; at most options->members_max
    uint32_t states[4];  // members in each enum gossip_state
    bool sampled;
    uint64_t sample_below;  // hashes from here on were let go of
    uint32_t sample_at;     // gossip/sync: `order` index of the next sample that is told
    uint64_t age_ms;
    uint64_t suspect_ms;  // since when the longest accused suspect is; UINT64_MAX: nobody is
    struct digest digest;
    struct conduct conduct;
    const struct member_record **tombstones;  // ring
    uint32_t tombstone_count, tombstone_next, tombstone_capacity;
    struct members_proof proofs[MEMBERS_PROOFS_MAX];
    uint32_t proof_count;
};

// What an offered object did to the table.
struct members_change {
    struct core_id id;
    bool news;         // the table changed
    bool notable;      // beyond the watchers: worth an EFFECT_MEMBER
    bool revived;      // was suspect, dead or left, is alive
    bool stale;        // a newer record is known
    bool pass;         // a broadcast of it is worth passing on: signed, and not known to be out of date
    bool self_behind;  // it is about this peer, and true or false it must be outlived: `incarnation` + 1
    uint64_t incarnation;
};

// The options, links and counts must outlive the table. CORE_ERR_NO_MEMORY.
CORE_MUST_USE enum core_err members_open(struct members *m, const struct gossip_options *options,
                                         const struct link_table *links, struct gossip_counts *counts, uint64_t now_ms);
void members_close(struct members *m);

struct member *members_find(const struct members *m, const struct core_id *id);
struct member *members_at(const struct members *m, uint32_t index);
// The first index whose id is not below `prefix` followed by zeros; `count` if there is none.
uint32_t members_from(const struct members *m, uint64_t prefix);
enum gossip_state members_state(const struct member *member);
uint32_t members_alive(const struct members *m);  // suspects included: known to be up, or not known to be down
// How many accuse it: 0 to MEMBERS_ACCUSERS.
uint32_t members_accusations(const struct member *member);
// In the digest.
struct pool_mark members_mark(const struct member *member);
// Whether a record orders before (-1), as (0: the same bytes) or behind (1) another of the same member.
int members_order(const struct member_record *a, const struct member_record *b);

// Signs `record` as this peer's own and puts it in.
void members_self_put(struct members *m, const struct member_record *record, const struct core_key *key,
                      uint64_t now_ms);
// Others' objects. Not news, void, or not for this table's sample: CORE_ERR_OK without `news`. CORE_ERR_REFUSED: no
// fault of whoever passed it on (forgotten, over its author's budget, a certificate that doesn't hold). Errors are
// counted by reason.
CORE_MUST_USE enum core_err members_record_put(struct members *m, struct slice bytes, uint64_t now_ms,
                                               struct members_change *change);
CORE_MUST_USE enum core_err members_accusation_put(struct members *m, struct slice bytes, uint64_t now_ms,
                                                   struct members_change *change);
void members_remove(struct members *m, const struct core_id *id);

// The next suspect whose time to refute (`wait_ms`, and not before `not_before_ms`) is over becomes dead. False when
// there is none.
bool members_next_dead(struct members *m, uint64_t now_ms, uint64_t wait_ms, uint64_t not_before_ms,
                       struct members_change *change);
// When members_next_dead has something to look at; UINT64_MAX: not before somebody is accused.
uint64_t members_next_ms(const struct members *m, uint64_t wait_ms, uint64_t not_before_ms);
// How many accusers it takes to make the member dead: 2, or 1 where no other is alive.
uint32_t members_accusers_needed(const struct members *m, const struct member *member);
// Forgets who has been gone for long, once in MEMBERS_AGE_MS.
void members_age(struct members *m, uint64_t now_ms);
// Whether the member would be in this table's sample.
bool members_wanted(const struct members *m, uint64_t prefix);
// Whether it would be in a neighbour's, if that is as large as this one's.
bool members_wanted_by(const struct members *m, const struct core_id *neighbor, uint64_t prefix);

#endif
