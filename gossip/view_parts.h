// What the files of the view share; nobody else's business.
#ifndef GOSSIP_VIEW_PARTS_H
#define GOSSIP_VIEW_PARTS_H

#include "gossip/view.h"

enum {
    VIEW_FILL_MS = 50,        // between looks at what is missing, at first
    VIEW_ENOUGH = 2,          // neighbours: who has them fills the other places at leisure
    VIEW_YOUNG_MS = 5000,     // as long as this a peer displaces nobody for a walk's joiner
    VIEW_REFUSED_MS = 5000,   // before a peer that refused or could not be dialled is asked again
    VIEW_EVICTIONS_RATE = 1,  // a second
    VIEW_EVICTIONS_BURST = 6,
    VIEW_ERRANDS_RATE = 4,  // a second
    VIEW_ERRANDS_BURST = 32,
    VIEW_LIST_MAX = 16,      // peers of a sample or shuffle, and
    VIEW_LIST_BYTES = 8000,  // its bytes, below the limits of VIEW_SHUFFLE and VIEW_SHUFFLED
};

const struct core_id *view_self(const struct view *v);
struct slice view_own_addresses(const struct view *v);
bool view_has_room(const struct view *v);
// Fewer neighbours than it can well do with: more are looked for at once.
bool view_is_short(const struct view *v);
// In a mesh this small everyone is everyone's neighbour.
bool view_is_small(const struct view *v);
// Questions and dials under way.
uint32_t view_under_way(const struct view *v);
struct link *view_random_neighbor(struct view *v, const struct core_id *except, const struct core_id *also_except);
// Asks a linked peer to be neighbours, or dials it to ask then. False if neither could be done.
bool view_connect(struct view *v, const struct core_id *id, struct slice addresses, enum view_wish wish,
                  uint64_t now_ms, struct outbox *out);
void view_fill_soon(struct view *v, uint64_t now_ms);
// Adds a peer to a list (id, slice addresses); false without addresses, or where the list is full.
bool view_list_put(struct writer *w, const struct core_id *id, struct slice addresses);

// ---- view_heal.c ----
void view_retry_soon(struct view *v, uint64_t now_ms);
void view_retry(struct view *v, uint64_t now_ms, struct outbox *out);
// Once this peer has been here for a while.
void view_mix_young(struct view *v);
void view_mix(struct view *v, uint64_t now_ms, struct outbox *out);

// ---- view_near.c ----
// Looks for somebody nearer than the farthest neighbour that may be exchanged, and asks.
void view_near_round(struct view *v, uint64_t now_ms, struct outbox *out);
// Whether the asker is taken for its nearness: where there is room, or it is so much nearer than the farthest
// exchangeable neighbour, `worst` (NULL where there is room), that it takes its place.
bool view_near_accepts(struct view *v, const struct link *asker, struct link **worst);

#endif
