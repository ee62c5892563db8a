// Nearness without losing connectivity, after X-BOT (Leitão, Marques, Pereira, Rodrigues, SRDS 2009): now and then the
// farthest neighbour is exchanged for a member that coordinates say is much nearer; that one takes part if it has room
// or gains likewise. *Anchors* are never exchanged: chosen at random, they keep the mesh in one piece and its diameter
// small, as the long links of a small world do. A peer that has fewer than random_size of them makes the next neighbour
// that it finds at random one, for both ends: were it one for this end alone, far links would die at their other ends.
//
// A gain counts from a third of the round trip and NEAR_GAIN_US on: on one machine or in one room nothing moves. Looks
// that lead to nothing become rarer.
#include "gossip/view_parts.h"

enum {
    NEAR_GAIN_US = 2000,
    NEAR_CANDIDATES = 8,    // members looked at
    NEAR_ERROR = 400,       // thousandths: coordinates that are worse count for nothing
    NEAR_WAIT_FACTOR = 32,  // looks become rarer up to this
};

static bool is_gain(uint64_t from_us, uint64_t to_us)
{
    return from_us > 0 && to_us + NEAR_GAIN_US <= from_us && 3 * to_us <= 2 * from_us;
}

// Whether one more neighbour may be there for its nearness.
static bool has_near_room(const struct view *v)
{
    uint32_t near = 0;
    for (uint32_t i = 0; i < v->links->count; i++) near += v->links->items[i].neighbor && v->links->items[i].near;
    return near + v->options->random_size < v->options->active_size;
}

static bool is_exchangeable(const struct view *v, const struct link *link)
{
    return link->neighbor && link->rtt_us > 0 && !link->anchor && (link->near || has_near_room(v));
}

static struct link *farthest(const struct view *v)
{
    struct link *worst = NULL;
    for (uint32_t i = 0; i < v->links->count; i++) {
        struct link *link = &v->links->items[i];
        if (is_exchangeable(v, link) && (!worst || link->rtt_us > worst->rtt_us)) worst = link;
    }
    return worst;
}

static bool predicted(const struct view *v, const struct member *member, uint64_t *us)
{
    const struct member_record *r = member->record;
    const struct coordinates_point own = coordinates_rounded(v->coordinates);
    if (!r->located || r->coordinates.error > NEAR_ERROR || own.error > NEAR_ERROR) return false;
    *us = coordinates_distance_us(&own, &r->coordinates);
    return true;
}

bool view_near_accepts(struct view *v, const struct link *asker, struct link **worst)
{
    *worst = NULL;
    if (view_has_room(v)) return has_near_room(v);
    *worst = farthest(v);
    uint64_t us = asker->rtt_us;
    const struct member *member = members_find(v->members, &asker->id);
    if (us == 0 && (!member || !predicted(v, member, &us))) return false;
    return *worst && is_gain((*worst)->rtt_us, us);
}

void view_near_round(struct view *v, uint64_t now_ms, struct outbox *out)
{
    const uint64_t most_ms = (uint64_t)NEAR_WAIT_FACTOR * v->options->near_ms;
    if (coordinates_rounded(v->coordinates).error <= NEAR_ERROR)
        v->near_wait_ms = 2 * v->near_wait_ms < most_ms ? 2 * v->near_wait_ms : most_ms;
    v->near_ms = now_ms + v->near_wait_ms / 2 + rng_below(&v->rng, v->near_wait_ms);
    const struct link *worst = farthest(v);
    if (view_has_room(v) || !worst) return;
    const struct member *best = NULL;
    uint64_t best_us = 0;
    for (uint32_t i = 0; i < NEAR_CANDIDATES; i++) {
        const struct member *member = members_at(v->members, (uint32_t)rng_below(&v->rng, v->members->count));
        const struct link *link = link_table_find(v->links, &member->record->id);
        uint64_t us;
        if (members_state(member) != GOSSIP_ALIVE || id_equal(&member->record->id, view_self(v))) continue;
        if ((link && (link->neighbor || link->asked)) || !predicted(v, member, &us)) continue;
        if (best && us >= best_us) continue;
        best = member;
        best_us = us;
    }
    if (!best || !is_gain(worst->rtt_us, best_us)) return;
    const struct core_id id = best->record->id;
    v->near_worst = worst->id;
    view_connect(v, &id, best->record->addresses, VIEW_NEARER, now_ms, out);
}
