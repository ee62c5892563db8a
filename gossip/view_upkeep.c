// What time brings to the view: dials that came to nothing, places to fill, shuffles.
#include "core/check.h"
#include "gossip/view_parts.h"

enum {
    FILL_REST_MS = 500,    // between looks of a peer that has enough neighbours, at first,
    FILL_MAX_MS = 5000,    // and of any when nothing comes of them,
    FILL_LAST_MS = 60000,  // but where only one is missing
    SHUFFLE_ACTIVE = 3,
    SHUFFLE_PASSIVE = 4,
    SHUFFLE_FULL_TABLE = 10,  // times as rare where the table holds everyone, and shuffles tell nothing new
};

static void expire(struct view *v, uint64_t now_ms)
{
    v->expire_ms = UINT64_MAX;
    const uint64_t timeout_ms = v->options->dial_timeout_ms;
    for (uint32_t i = v->pending_count; i-- > 0;) {
        const struct view_pending pending = v->pending[i];
        if (pending.deadline_ms <= now_ms)
            view_dial_failed(v, &pending.id, now_ms);
        else if (pending.deadline_ms < v->expire_ms)
            v->expire_ms = pending.deadline_ms;
    }
    for (uint32_t i = 0; i < v->links->count; i++) {
        struct link *link = &v->links->items[i];
        if (!link->asked) continue;
        if (link->asked_ms + timeout_ms <= now_ms) {
            link->asked = false;
            view_fill_soon(v, now_ms);
        } else if (link->asked_ms + timeout_ms < v->expire_ms) {
            v->expire_ms = link->asked_ms + timeout_ms;
        }
    }
}

// Everyone to everyone: only who is not yet linked, or linked and not yet a neighbour, is of interest.
static void fill_small(struct view *v, uint64_t now_ms, struct outbox *out)
{
    for (uint32_t i = 0; i < v->members->count; i++) {
        const struct member *member = members_at(v->members, i);
        const struct core_id id = member->record->id;
        const struct link *link = link_table_find(v->links, &id);
        if (id_equal(&id, view_self(v)) || members_state(member) >= GOSSIP_DEAD || (link && link->neighbor)) continue;
        const struct passive_peer *known = passive_find(&v->passive, &id);
        if (known && known->not_before_ms > now_ms) continue;
        view_connect(v, &id, member->record->addresses, VIEW_IF_ROOM, now_ms, out);
        passive_add(&v->passive, &id, (struct slice){0}, NULL, now_ms + VIEW_REFUSED_MS);
    }
}

static void fill_from_passive(struct view *v, uint64_t now_ms, struct outbox *out)
{
    const uint32_t neighbors = link_table_neighbors(v->links);
    const uint32_t at_once = neighbors < VIEW_ENOUGH ? VIEW_ENOUGH - neighbors : 1;
    uint32_t under_way = view_under_way(v);
    const uint32_t n = v->passive.count, first = n ? (uint32_t)rng_below(&v->rng, n) : 0;
    for (uint32_t i = 0; i < n && under_way < at_once; i++) {
        struct passive_peer *peer = &v->passive.items[(first + i) % n];
        if (peer->not_before_ms > now_ms) continue;
        peer->not_before_ms = now_ms + VIEW_REFUSED_MS;
        const struct slice addresses = {peer->addresses, peer->size};
        if (!view_connect(v, &peer->id, addresses, VIEW_IF_ROOM, now_ms, out)) continue;
        under_way++;
        if (neighbors < VIEW_ENOUGH) v->fill_wait_ms = VIEW_FILL_MS;
    }
}

static void fill(struct view *v, uint64_t now_ms, struct outbox *out)
{
    if (!view_has_room(v)) {
        v->fill_ms = UINT64_MAX;
        v->fill_wait_ms = VIEW_FILL_MS;
        return;
    }
    if (!view_is_short(v) && v->fill_wait_ms < FILL_REST_MS) v->fill_wait_ms = FILL_REST_MS;
    v->fill_ms = now_ms + v->fill_wait_ms;
    // One place may stay free for good: where everyone else is full, nobody can take it.
    const bool one = link_table_neighbors(v->links) + 1 == v->options->active_size && !view_is_small(v);
    const uint64_t most_ms = one ? FILL_LAST_MS : FILL_MAX_MS;
    v->fill_wait_ms = 2 * v->fill_wait_ms < most_ms ? 2 * v->fill_wait_ms : most_ms;
    passive_refill(&v->passive, now_ms);
    if (view_is_small(v))
        fill_small(v, now_ms, out);
    else
        fill_from_passive(v, now_ms, out);
}

// ---- shuffles ----

static void shuffle_start(struct view *v, struct outbox *out)
{
    const struct link *to = view_random_neighbor(v, NULL, NULL);
    if (!to) return;
    uint8_t raw[VIEW_LIST_BYTES];
    struct writer w = writer_over(raw, sizeof raw);
    view_list_put(&w, view_self(v), view_own_addresses(v));
    uint32_t others = 0;
    for (uint32_t i = 0; i < v->links->count && others < SHUFFLE_ACTIVE; i++) {
        const struct link *link = &v->links->items[i];
        const struct member *member = link->neighbor && link != to ? members_find(v->members, &link->id) : NULL;
        others += member && view_list_put(&w, &link->id, member->record->addresses);
    }
    const uint32_t n = v->passive.count, first = n ? (uint32_t)rng_below(&v->rng, n) : 0;
    for (uint32_t i = 0; i < SHUFFLE_PASSIVE && i < n; i++) {
        const struct passive_peer *peer = &v->passive.items[(first + i) % n];
        view_list_put(&w, &peer->id, (struct slice){peer->addresses, peer->size});
    }
    struct message m = {.type = MESSAGE_VIEW_SHUFFLE};
    m.view_shuffle.origin = *view_self(v);
    m.view_shuffle.hops_left = v->options->walk_active;
    m.view_shuffle.peers = (struct slice){raw, w.size};
    outbox_send(out, &to->id, &m);
}

static void shuffle_round(struct view *v, uint64_t now_ms, struct outbox *out)
{
    const uint64_t mean_ms = (uint64_t)v->options->shuffle_ms * (v->members->sampled ? 1 : SHUFFLE_FULL_TABLE);
    v->shuffle_ms = now_ms + mean_ms / 2 + rng_below(&v->rng, mean_ms);
    shuffle_start(v, out);
}

void view_tick(struct view *v, uint64_t now_ms, struct outbox *out)
{
    if (v->quiet) return;
    if (v->expire_ms <= now_ms) expire(v, now_ms);
    if (v->fill_ms <= now_ms) fill(v, now_ms, out);
    if (v->retry_ms <= now_ms) view_retry(v, now_ms, out);
    if (v->shuffle_ms <= now_ms) shuffle_round(v, now_ms, out);
    if (v->near_ms <= now_ms) view_near_round(v, now_ms, out);
    if (v->mix_ms <= now_ms) view_mix(v, now_ms, out);
}

uint64_t view_next_ms(const struct view *v)
{
    const uint64_t all[] = {v->expire_ms, v->fill_ms, v->retry_ms, v->shuffle_ms, v->near_ms, v->mix_ms};
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i] < next) next = all[i];
    return next;
}
