// Who is in the mesh: a convergent table of signed records and of the worst valid accusation against each. Any two
// tables that have seen the same objects, in whatever order, are equal; what a broadcast missed is repaired by digests.
// Records never expire: a dead member is kept (and tried, gossip/view) so that a split heals; only a full table lets go
// of the member that has been dead or gone longest.
//
//   state of a member = left     its newest record (highest incarnation, then seq) says so
//                     | dead, suspect  by the accusation at exactly that record's incarnation
//                     | alive    otherwise
// An accusation for another incarnation is void: nobody can accuse ahead, and a member refutes with incarnation + 1.
//
// Anti-entropy with a neighbour: MEMBERS_DIGEST with count and digest of the whole table; one that differs answers with
// a page of it (ids, incarnations, seqs, ranks); that is answered with MEMBERS_RECORDS of what the other lacks and
// MEMBERS_WANT of what is newer there.
//
// Pure; memory is taken at open. One owner, one thread.
#ifndef GOSSIP_MEMBERS_H
#define GOSSIP_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/effect.h"
#include "gossip/gossip.h"
#include "gossip/record.h"

struct member {
    struct record record;  // its slices are views of `bytes`
    uint32_t size;
    uint8_t bytes[RECORD_MAX];
    uint8_t accusation[ACCUSATION_SIZE];  // valid while rank is not RANK_NONE
    enum accusation_rank rank;
    uint64_t since_ms;                 // its state's last change here
    uint64_t heard_ms;                 // over a link; 0: never
    uint64_t retry_ms, retry_wait_ms;  // gossip/view: the next try of a dead member, and the wait after it
    struct core_hash mark;             // this entry's part of the digest
};

struct members {
    struct member *items;
    uint32_t *order;  // places in `items`, ascending by id; behind the first `count` the free ones
    uint32_t count;
    uint32_t capacity;
    uint32_t page;            // `order` index where the next page begins
    struct core_hash digest;  // XOR of the marks
    struct core_id self;
    struct gossip_callbacks callbacks;
    uint8_t *buffer;  // of one message under construction
};

// What an offered object did to the table.
struct members_change {
    struct core_id id;
    bool news;         // the table changed
    bool notable;      // beyond the watchers: worth an EFFECT_MEMBER
    bool revived;      // was suspect, dead or left, is alive
    bool self_behind;  // it is about this peer, and true or false it must be outlived: `incarnation` + 1
    uint64_t incarnation;
};

CORE_MUST_USE enum core_err members_open(struct members *m, const struct core_id *self, uint32_t capacity,
                                         struct gossip_callbacks callbacks);
void members_close(struct members *m);

struct member *members_find(const struct members *m, const struct core_id *id);
struct member *members_at(const struct members *m, uint32_t index);
enum gossip_state members_state(const struct member *member);
uint32_t members_alive(const struct members *m);  // suspects included: known to be up, or not known to be down

// This peer's own record, signed by `key`; must be newer than the one in the table.
void members_self_put(struct members *m, const struct record *record, const struct core_key *key, uint64_t now_ms);
// Others' objects. Not news, or void: CORE_ERR_OK without `news`. CORE_ERR_LIMIT: the table is full of the living.
CORE_MUST_USE enum core_err members_record_put(struct members *m, struct slice bytes, uint64_t now_ms,
                                               struct members_change *change);
CORE_MUST_USE enum core_err members_accusation_put(struct members *m, struct slice bytes, uint64_t now_ms,
                                                   struct members_change *change);
void members_remove(struct members *m, const struct core_id *id);

// ---- anti-entropy ----
// The digest of the whole table to `peer`.
void members_digest_send(const struct members *m, const struct core_id *peer, struct outbox *out);
// One member's record and accusation.
void members_entry_send(struct members *m, const struct member *member, const struct core_id *peer, struct outbox *out);
CORE_MUST_USE enum core_err members_digest_received(struct members *m, const struct core_id *from,
                                                    const struct message_members_digest *digest, struct outbox *out);
CORE_MUST_USE enum core_err members_want_received(struct members *m, const struct core_id *from,
                                                  const struct message_members_want *want, struct outbox *out);
// Entries of a MEMBERS_RECORDS, or of a saved table: record and accusation (may be empty) as views. False at the end,
// with r->failed if the bytes are malformed.
bool members_entry_next(struct reader *r, struct slice *record, struct slice *accusation);
// The same as bytes: at most GOSSIP_ENTRY_MAX.
void members_entry_write(struct writer *w, const struct member *member);

#endif
