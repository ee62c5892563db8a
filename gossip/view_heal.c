// How a split heals by itself. The dead are tried for ever. How often does not depend on how many peers try: the mesh
// as a whole makes one try in try_ms, and each living peer its share of them, so that a mesh of thousands never storms
// a dead member, and two halves find each other about as fast whatever their size:
//
//   dead for     up to 1 min   10 min   1 h     longer
//   one try in   1.2 s         12 s     72 s    up to retry_max_ms
//
// Whom: a dead member at random, in proportion to how often its own time of death asks for tries.
//
// Who answers becomes a neighbour (VIEW_URGENT), tables are compared at once, and who finds itself declared dead
// refutes by broadcast (gossip/gossip.c).
#include "gossip/view_parts.h"

enum {
    TRY_MS = 1200,
    TRY_FALL = 50,  // one try in a fiftieth of the time since death
    TRIES_AT_ONCE = 3,
    SHARES = 1 << 20,
    MIX_MS = 5000,           // a neighbour is exchanged so often
    MIX_FOR_MS = 60000,      // after many came back:
    MIX_REVIVED_MS = 10000,  // within this time
    MIX_SHARE = 8,           // one in so many of the living,
    MIX_YOUNG_MS = 1200,  // or thrice, faster, after this peer joined: who joins with others lies where there was room
};

static uint64_t try_ms(const struct view *v, const struct member *member, uint64_t now_ms)
{
    const uint64_t dead_ms = now_ms - member->since_ms, fallen_ms = dead_ms / TRY_FALL;
    if (fallen_ms < TRY_MS) return TRY_MS;
    return fallen_ms < v->options->retry_max_ms ? fallen_ms : v->options->retry_max_ms;
}

static bool can_be_tried(const struct view *v, const struct member *member)
{
    const struct link *link = link_table_find(v->links, &member->record->id);
    return members_state(member) == GOSSIP_DEAD && (link ? !link->neighbor : member->record->addresses.size > 0);
}

// A dead member at random, weighted; `soonest_ms` is how often the mesh is to try any. NULL if there is none.
static const struct member *pick(struct view *v, uint64_t now_ms, uint64_t *soonest_ms)
{
    const struct member *pick = NULL;
    uint64_t sum = 0;
    *soonest_ms = UINT64_MAX;
    for (uint32_t i = 0; i < v->members->count; i++) {
        const struct member *member = members_at(v->members, i);
        if (!can_be_tried(v, member)) continue;
        const uint64_t ms = try_ms(v, member, now_ms), share = SHARES / ms + 1;
        if (ms < *soonest_ms) *soonest_ms = ms;
        sum += share;
        if (rng_below(&v->rng, sum) < share) pick = member;
    }
    return pick;
}

// This peer's share of tries: after a wait around living * ms.
static uint64_t wait_ms(struct view *v, uint64_t ms)
{
    const uint64_t mean = ms * members_alive(v->members);
    return mean / 2 + rng_below(&v->rng, mean + 1);
}

void view_retry_soon(struct view *v, uint64_t now_ms)
{
    const uint64_t at = now_ms + rng_below(&v->rng, (uint64_t)TRY_MS * members_alive(v->members) + 1);
    if (at < v->retry_ms) v->retry_ms = at;
}

void view_retry(struct view *v, uint64_t now_ms, struct outbox *out)
{
    uint64_t soonest_ms;
    const struct member *member = pick(v, now_ms, &soonest_ms);
    v->retry_ms = member ? now_ms + wait_ms(v, soonest_ms) : UINT64_MAX;
    uint32_t tries = 0;
    for (uint32_t i = 0; i < v->pending_count; i++) tries += v->pending[i].retry;
    if (!member || tries >= TRIES_AT_ONCE) return;
    const struct core_id id = member->record->id;
    view_connect(v, &id, member->record->addresses, VIEW_URGENT, now_ms, out);
}

void view_revived(struct view *v, uint64_t now_ms)
{
    view_known(v, now_ms);
    if (now_ms - v->revived_ms > MIX_REVIVED_MS) {
        v->revived_ms = now_ms;
        v->revived = 0;
    }
    if (++v->revived * MIX_SHARE < members_alive(v->members) || view_is_small(v)) return;
    if (v->mix_ms == UINT64_MAX) v->mix_ms = now_ms + rng_below(&v->rng, MIX_MS);
    v->mix_until_ms = now_ms + MIX_FOR_MS;
}

void view_mix_young(struct view *v)
{
    v->mix_ms = v->opened_ms + VIEW_YOUNG_MS + rng_below(&v->rng, MIX_YOUNG_MS);
    v->mix_until_ms = v->opened_ms + VIEW_YOUNG_MS + 2 * MIX_YOUNG_MS;
}

void view_mix(struct view *v, uint64_t now_ms, struct outbox *out)
{
    const uint64_t every_ms = now_ms - v->opened_ms < 2 * VIEW_YOUNG_MS ? MIX_YOUNG_MS : MIX_MS;
    v->mix_ms = now_ms < v->mix_until_ms ? now_ms + every_ms + rng_below(&v->rng, every_ms) : UINT64_MAX;
    if (view_is_small(v)) return;
    const struct member *member = members_at(v->members, (uint32_t)rng_below(&v->rng, v->members->count));
    const struct core_id id = member->record->id;
    if (id_equal(&id, view_self(v)) || members_state(member) != GOSSIP_ALIVE) return;
    view_connect(v, &id, member->record->addresses, VIEW_URGENT, now_ms, out);
}
