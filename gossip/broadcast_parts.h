// What the files of the broadcasts share; nobody else's business.
#ifndef GOSSIP_BROADCAST_PARTS_H
#define GOSSIP_BROADCAST_PARTS_H

#include "gossip/broadcast.h"

enum {
    BROADCAST_RECENT_MS = 500,
    BROADCAST_GRAFT_MAX = 64,  // keys of one CAST_GRAFT
};

// NULL for 0, or where it is nobody's any more.
struct link *broadcast_link_of_bit(struct broadcast *b, uint32_t bit);
bool broadcast_is_large(size_t size);
bool broadcast_is_flooded(uint64_t topic);
bool broadcast_is_repaired(const struct cast_entry *e);

// ---- broadcast_edges.c: which neighbours are eager ----
// A new broadcast came over the link.
void broadcast_came(struct broadcast *b, const struct link *link, const struct message_cast *cast, uint64_t key,
                    uint64_t now_ms);
// Whether the link, over which `key` came a second time, is to be pruned.
bool broadcast_is_prune_due(struct broadcast *b, struct link *link, uint64_t key, uint64_t now_ms);
// The neighbour announced it with so many hops: perhaps its edge becomes eager too.
void broadcast_shorten(struct broadcast *b, struct link *link, uint32_t hops, const struct cast_entry *e,
                       uint64_t now_ms, struct outbox *out);
// The link is a new neighbour's.
void broadcast_edge_new(struct broadcast *b, struct link *link, uint64_t now_ms, struct outbox *out);
// An eager neighbour goes.
void broadcast_edge_lost(struct broadcast *b, const struct link *lost, struct outbox *out);

// ---- broadcast_tell.c ----
void broadcast_announce_large(const struct cast_entry *e, const struct core_id *to, struct outbox *out);
// Tells neighbours what they were not sent since b->announced.
void broadcast_announce(struct broadcast *b, struct outbox *out);
// Keys of what is kept, of this age, that `link` is not known to have, the newest first, at most `max`.
void broadcast_tell_recent(struct broadcast *b, const struct link *link, uint64_t age_min_ms, uint64_t age_max_ms,
                           uint32_t max, uint64_t now_ms, struct outbox *out);
void broadcast_recent_round(struct broadcast *b, uint64_t now_ms, struct outbox *out);

// ---- broadcast_missing.c ----
// Grafts to one neighbour, gathered.
struct broadcast_graft {
    struct link *to;
    bool edge;
    uint32_t count;
    struct writer w;
    uint8_t raw[BROADCAST_GRAFT_MAX * CAST_KEY_SIZE];
};

// Sends what is gathered, if anything.
void broadcast_graft_flush(struct broadcast *b, struct broadcast_graft *graft, struct outbox *out);
struct broadcast_missing *broadcast_missing_find(struct broadcast *b, uint64_t key);
void broadcast_missing_remove(struct broadcast *b, struct broadcast_missing *row);
// How long after its announcement a broadcast came by itself.
void broadcast_lag_learn(struct broadcast *b, uint64_t lag_ms);
// One announced key that was not seen: `size` and `repair` as in the row.
void broadcast_announced(struct broadcast *b, struct link *link, uint64_t key, uint32_t size, bool repair,
                         struct broadcast_graft *graft, uint64_t now_ms, struct outbox *out);
// Asks for what did not come in its time.
void broadcast_ask_due(struct broadcast *b, uint64_t now_ms, struct outbox *out);

#endif
