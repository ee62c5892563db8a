// What the files of gossip's facade share; nobody else's business.
#ifndef GOSSIP_GOSSIP_PARTS_H
#define GOSSIP_GOSSIP_PARTS_H

#include "gossip/broadcast.h"
#include "gossip/gossip.h"
#include "gossip/link.h"
#include "gossip/members.h"
#include "gossip/monitor.h"
#include "gossip/newcomers.h"
#include "gossip/record.h"
#include "gossip/view.h"

struct gossip {
    struct gossip_options options;
    struct link_table links;
    struct members members;
    struct view view;
    struct broadcast broadcast;
    struct monitor monitor;
    struct coordinates coordinates;
    struct newcomers newcomers;
    struct gossip_counts counts;
    struct rng rng;
    struct member_record self;  // its slices point to the arrays below
    uint8_t name[GOSSIP_NAME_MAX];
    uint8_t addresses[GOSSIP_ADDRESSES_MAX];
    uint8_t certificate[GOSSIP_CERTIFICATE_MAX];
    uint8_t site[GOSSIP_SITE_MAX];
    struct core_id watchers[RECORD_WATCHERS_MAX];
    bool entered;           // it has had a neighbour
    bool announced;         // on its first link it knew nobody: it was announced by who is there
    uint64_t spoken_ms;     // when the record was made
    uint64_t tell_ms;       // when neighbours are told of each other; UINT64_MAX: they know
    uint64_t record_ms;     // when the neighbours that the record names are looked at; UINT64_MAX: they are the same
    uint64_t unsettled_ms;  // since when they change
    uint64_t locate_ms;     // when the coordinates that it names are
    uint64_t sync_ms;       // no comparison of tables before
    uint64_t young_ms;      // until when digests are frequent
    uint64_t digest_ms;
    uint64_t ticked_ms;
    uint64_t serial;  // of this peer's casts and accusations
};

// ---- gossip_self.c ----
// Signs this peer's record as it is now and puts it into the table.
void gossip_self_put(struct gossip *g, uint64_t now_ms);
// The same, and broadcasts it.
void gossip_self_renew(struct gossip *g, uint64_t now_ms, struct outbox *out);
// Outlives what is said of that incarnation.
void gossip_self_refute(struct gossip *g, uint64_t incarnation, uint64_t now_ms, struct outbox *out);
// The neighbours are others.
void gossip_self_neighbors(struct gossip *g, uint64_t now_ms, struct outbox *out);
// The member came with a table that names nobody but itself.
void gossip_newcomer(struct gossip *g, const struct core_id *id, uint64_t now_ms, struct outbox *out);
void gossip_newcomers_cast(struct gossip *g, uint64_t now_ms, struct outbox *out);
void gossip_self_tick(struct gossip *g, uint64_t now_ms, struct outbox *out);
uint64_t gossip_self_next_ms(const struct gossip *g);
// This peer accuses another.
void gossip_self_accuse(struct gossip *g, const struct monitor_verdict *verdict, uint64_t now_ms, struct outbox *out);

// ---- gossip_news.c ----
// A broadcast of this peer's.
CORE_MUST_USE enum core_err gossip_own_cast(struct gossip *g, enum cast_topic topic, struct slice payload,
                                            uint64_t now_ms, struct outbox *out);
// A linked peer that is believed dead, or suspected, is told so, for it to refute.
void gossip_tell_the_dead(struct gossip *g, struct link *link, uint64_t now_ms, struct outbox *out);
bool gossip_is_silent(const struct gossip *g, const struct link *link, uint64_t now_ms);
// What the table's change means for view, monitor and owner.
void gossip_change_follow(struct gossip *g, const struct members_change *change, uint64_t now_ms, struct outbox *out);
enum core_err gossip_records_received(struct gossip *g, const struct core_id *from, struct slice records,
                                      uint64_t now_ms, struct outbox *out);
enum core_err gossip_cast_received(struct gossip *g, const struct core_id *from, const struct message *m,
                                   uint64_t now_ms, struct outbox *out);

#endif
