// Interned records and accusations: equal bytes are held once, with a count of who holds them. A table opens its own
// pool, or shares one with the other peers of its process (the simulator's thousands know the same records).
//
// What is in a pool had its signature checked before it was put there: bytes that are found in it need no second
// check. One thread.
#ifndef GOSSIP_POOL_H
#define GOSSIP_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/sign.h"

enum { POOL_MARK_SIZE = 16 };

// The first bytes of the hash of an object's bytes.
struct pool_mark {
    uint8_t bytes[POOL_MARK_SIZE];
};

// Whether a signature over bytes of a domain is its signer's; sign_valid, or a stand-in that remembers (simulator).
struct signature_check {
    bool (*valid)(void *context, const struct core_id *id, const char *domain, struct slice bytes,
                  const struct core_sig *sig);
    void *context;
};

struct record_pool;
struct member_record;  // gossip/record.h
struct accusation;

CORE_MUST_USE enum core_err record_pool_open(struct record_pool **out);
// Everything must have been released. NULL is fine.
void record_pool_close(struct record_pool *p);

// The interned copy of what record_read gave, held until released; its views point into the copy. Not found: NULL
// from `find`, NULL for want of memory from `add`.
const struct member_record *record_pool_find_record(struct record_pool *p, const struct member_record *record);
const struct member_record *record_pool_add_record(struct record_pool *p, const struct member_record *record);
const struct accusation *record_pool_find_accusation(struct record_pool *p, const struct accusation *accusation);
const struct accusation *record_pool_add_accusation(struct record_pool *p, const struct accusation *accusation);
// NULL is fine.
void record_pool_release_record(struct record_pool *p, const struct member_record *record);
void record_pool_release_accusation(struct record_pool *p, const struct accusation *accusation);

// Of an interned record.
const struct pool_mark *record_pool_mark(const struct member_record *record);
// Objects held, and the bytes that they take.
uint32_t record_pool_count(const struct record_pool *p);
size_t record_pool_bytes(const struct record_pool *p);

#endif
