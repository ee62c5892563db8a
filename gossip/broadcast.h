// Broadcast to everyone: Plumtree (Leitão, Pereira, Rodrigues, SRDS 2007) over the active view. New neighbours are
// eager: a broadcast is sent to them at once. Whoever sends a duplicate is pruned and becomes lazy: it is only told the
// ids, in batches, and asks (graft) for what does not come by itself, which makes the link eager again. What remains
// eager is a spanning tree that the first arrivals chose.
//
// A broadcast's id is BLAKE2b(origin || u64 topic || u64 repeat || payload): `repeat` lets its owner send one payload
// again, since what has been seen under one id is dropped for as long as the id is remembered.
//
// Invariants: a broadcast is delivered once under an id that is remembered (the last 4 * cast_count); at most
// cast_count payloads and cast_bytes are kept, oldest dropped first. Pure; memory is taken at open; one owner, one
// thread.
#ifndef GOSSIP_BROADCAST_H
#define GOSSIP_BROADCAST_H

#include <stdbool.h>
#include <stdint.h>

#include "core/effect.h"
#include "core/hash.h"
#include "core/philox.h"
#include "gossip/gossip.h"
#include "gossip/link.h"

enum { BROADCAST_ANNOUNCERS = 3 };

// A broadcast that is kept for those who missed it.
struct broadcast_entry {
    struct core_hash id;
    struct core_id origin;
    uint32_t topic;
    uint64_t repeat;
    uint64_t hops;
    uint64_t at_ms;
    struct slice payload;  // malloc'ed
};

// One that was announced and has not come.
struct broadcast_missing {
    struct core_hash id;
    struct core_id announcers[BROADCAST_ANNOUNCERS];
    uint32_t count;  // announcers left to ask
    uint64_t ask_ms;
};

struct broadcast {
    const struct gossip_options *options;
    struct link_table *links;
    struct core_id self;
    struct rng rng;
    struct gossip_counts *counts;
    struct broadcast_entry *entries;  // ring: `first`, `count` of cast_count
    uint32_t first, count;
    size_t bytes;
    struct core_hash *seen;  // ring of ids: `seen_next`, `seen_count` of seen_capacity
    uint32_t *seen_index;    // open addressing: place in `seen` + 1, 0 for empty
    uint32_t seen_next, seen_count, seen_capacity, index_mask;
    struct broadcast_missing *missing;
    uint32_t missing_count;
    uint64_t unannounced;  // entries, from the newest back, that lazy neighbours have yet to be told of
    uint64_t announce_ms;  // when they are told; UINT64_MAX: nothing to tell
    uint64_t remind_ms;    // when one neighbour is told of the latest again, for announcements that were lost
};

CORE_MUST_USE enum core_err broadcast_open(struct broadcast *b, const struct gossip_options *options,
                                           const struct core_id *self, struct link_table *links,
                                           struct gossip_counts *counts, uint64_t now_ms);
void broadcast_close(struct broadcast *b);

// A broadcast of this peer's own.
CORE_MUST_USE enum core_err broadcast_cast(struct broadcast *b, enum cast_topic topic, uint64_t repeat,
                                           struct slice payload, uint64_t now_ms, struct outbox *out);

// What a CAST message turned out to be.
enum broadcast_verdict { BROADCAST_NEW, BROADCAST_KNOWN, BROADCAST_MALFORMED };
// Looks at a CAST and answers duplicates with a prune. A new one must be judged by its topic's owner, and if it is
// valid, given to broadcast_accept, which keeps it and passes it on.
enum broadcast_verdict broadcast_look(struct broadcast *b, const struct core_id *from, const struct message *m,
                                      struct outbox *out);
void broadcast_accept(struct broadcast *b, const struct core_id *from, const struct message *m, uint64_t now_ms,
                      struct outbox *out);
// CAST_HAVE, CAST_GRAFT and CAST_PRUNE; true if the type is one of these.
bool broadcast_message(struct broadcast *b, const struct core_id *from, const struct message *m, uint64_t now_ms,
                       struct outbox *out, enum core_err *err);
// A neighbour is new: it is told what was broadcast lately.
void broadcast_neighbor(struct broadcast *b, const struct core_id *peer, uint64_t now_ms, struct outbox *out);
void broadcast_tick(struct broadcast *b, uint64_t now_ms, struct outbox *out);
uint64_t broadcast_next_ms(const struct broadcast *b);

#endif
