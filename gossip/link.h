// The links of this peer to authenticated members, as view, broadcast and monitor share them: one row a link, each
// field written by the one under whose name it stands.
#ifndef GOSSIP_LINK_H
#define GOSSIP_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "core/sign.h"
#include "gossip/bucket.h"
#include "gossip/coordinates.h"

struct link {
    struct core_id id;
    // gossip/view.c
    bool neighbor;  // in the active view
    bool asked;     // VIEW_NEIGHBOR sent, no answer yet
    uint64_t asked_ms;
    uint32_t wish;        // of that question: enum view_wish
    bool dialed;          // by the view: hung up when it is not wanted
    bool chosen;          // this peer asked it to be a neighbour, not the other way round
    bool near;            // a neighbour in a farther one's place
    bool anchor;          // found at random and never exchanged; while asked: wished as one
    uint64_t number;      // neighbours are numbered as they come
    struct bucket views;  // VIEW_* messages that are taken from it
    // gossip/broadcast.c
    bool lazy;               // is told of broadcasts, not sent them
    uint64_t pruned_ms;      // when this end last made it lazy
    uint64_t duplicate_key;  // the lowest that came over it a second time, of several on their way together
    uint32_t nearer;         // broadcasts in a row that it announced with far fewer hops,
    uint32_t nearer_than;    // than this neighbour's (its bit)
    uint64_t through_ms;     // when something that it announced had come, or came, by itself
    uint32_t cast_bit;       // this neighbour in sets of neighbours; 0: none yet, or no neighbour
    uint32_t cast_rows;      // missing broadcasts that it was the first to announce
    struct bucket served;    // bytes that its grafts were answered with
    // gossip/monitor.c
    uint64_t heard_ms;     // anything came over the link
    uint64_t watched_ms;   // since when it is a neighbour
    bool turn;             // this end sends the next ping: the ends take turns, the lower id first
    uint64_t due_ms;       // that ping
    uint64_t waiting_ms;   // the first ping since which nothing came; 0: none
    bool pinged_again;     // since that one
    uint32_t vouched;      // silences in a row that others contradicted
    struct bucket probes;  // questions that are taken from it
    bool located;          // its last PONG said where it lies:
    struct coordinates_point coordinates;
    // gossip/gossip.c
    uint64_t rtt_us;          // moving average; 0: not measured
    uint32_t rtt_count;       // that it is of, up to 16
    uint32_t measured_us[3];  // the last round trips, newest first; their median counts
    bool announced;           // as a newcomer
    bool introduced;          // this neighbour was told of members and broadcasts
    uint64_t told_ms;         // when it was last told what is said of it
};

struct link_table {
    struct link *items;  // in no order; a pointer to one is good until the next add or remove
    uint32_t count;
    uint32_t capacity;
};

CORE_MUST_USE enum core_err link_table_open(struct link_table *l, uint32_t capacity);
void link_table_close(struct link_table *l);
struct link *link_table_find(struct link_table *l, const struct core_id *id);
// A fresh row for `id`, in place of its old one if there is one; NULL when the table is full.
struct link *link_table_add(struct link_table *l, const struct core_id *id, uint64_t now_ms);
void link_table_remove(struct link_table *l, const struct core_id *id);
uint32_t link_table_neighbors(const struct link_table *l);

#endif
