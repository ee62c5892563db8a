#include "gossip/view.h"

#include <string.h>

#include "core/check.h"
#include "gossip/view_parts.h"

enum {
    HOPS_MAX = 16,
    JOIN_WALKS = 1,
    SAMPLE_TRIES = 4,
    MESSAGES_RATE = 40,  // VIEW_* messages a second that a link is given,
    MESSAGES_BURST = 400,
    JOIN_COST = 8,
    JOIN_MS = 500,
    REFUSALS = 2,            // that a peer without neighbours takes before it asks urgently,
    REFUSALS_LEFT_OVER = 8,  // and one that lacks two: it goes between two others that are neighbours
};

enum core_err view_open(struct view *v, const struct gossip_options *options, struct link_table *links,
                        struct members *members, const struct coordinates *coordinates, struct gossip_counts *counts,
                        uint64_t now_ms)
{
    *v = (struct view){.options = options,
                       .links = links,
                       .members = members,
                       .coordinates = coordinates,
                       .counts = counts,
                       .opened_ms = now_ms,
                       .fill_ms = now_ms,
                       .fill_wait_ms = VIEW_FILL_MS,
                       .expire_ms = UINT64_MAX,
                       .retry_ms = UINT64_MAX,
                       .near_wait_ms = options->near_ms};
    v->rng = rng_from(options->seed, 0x76696577);
    view_mix_young(v);
    v->shuffle_ms = now_ms + rng_below(&v->rng, options->shuffle_ms);
    v->near_ms = now_ms + options->near_ms / 2 + rng_below(&v->rng, options->near_ms);
    return passive_open(&v->passive, options->passive_size, options->seed, links, members);
}

void view_close(struct view *v)
{
    passive_close(&v->passive);
    *v = (struct view){0};
}

const struct core_id *view_self(const struct view *v)
{
    return &v->members->self;
}

struct slice view_own_addresses(const struct view *v)
{
    const struct member *self = members_find(v->members, view_self(v));
    return self ? self->record->addresses : (struct slice){0};
}

void view_fill_soon(struct view *v, uint64_t now_ms)
{
    v->fill_wait_ms = VIEW_FILL_MS;
    v->fill_ms = now_ms;
}

// ---- neighbours ----

struct link *view_random_neighbor(struct view *v, const struct core_id *except, const struct core_id *also_except)
{
    struct link *pick = NULL;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < v->links->count; i++) {
        struct link *link = &v->links->items[i];
        if (!link->neighbor || (except && id_equal(&link->id, except))) continue;
        if (also_except && id_equal(&link->id, also_except)) continue;
        if (rng_below(&v->rng, ++seen) == 0) pick = link;
    }
    return pick;
}

bool view_has_room(const struct view *v)
{
    return link_table_neighbors(v->links) < v->options->active_size;
}

bool view_is_short(const struct view *v)
{
    const uint32_t enough = v->options->active_size < VIEW_ENOUGH ? v->options->active_size : VIEW_ENOUGH;
    return link_table_neighbors(v->links) < enough;
}

bool view_is_small(const struct view *v)
{
    return members_alive(v->members) <= v->options->active_size + 1;
}

// The mesh too, perhaps, and others are joining.
static bool is_young(const struct view *v, uint64_t now_ms)
{
    return now_ms - v->opened_ms < VIEW_YOUNG_MS;
}

static void drop_neighbor(struct view *v, struct link *link, uint64_t not_before_ms, uint64_t now_ms)
{
    link->neighbor = link->near = link->anchor = false;
    v->changed = true;
    view_fill_soon(v, now_ms);
    passive_add_met(&v->passive, &link->id, not_before_ms);
}

void view_give_up(struct view *v, struct link *link, uint64_t now_ms, struct outbox *out)
{
    struct message m = {.type = MESSAGE_VIEW_DISCONNECT};
    outbox_send(out, &link->id, &m);
    drop_neighbor(v, link, now_ms + VIEW_REFUSED_MS, now_ms);
    outbox_hangup(out, &link->id);
}

static const struct core_hash *host_of(const struct view *v, const struct core_id *id)
{
    const struct member *member = members_find(v->members, id);
    return member ? &member->record->host : NULL;
}

static bool is_on_host(const struct view *v, const struct core_id *id, const struct core_hash *host)
{
    const struct core_hash *own = host_of(v, id);
    return own && hash_equal(own, host);
}

// One of the random_size oldest neighbours that this peer chose itself, or, where those are fewer, of all: who comes in
// numbers comes later.
static bool is_protected(const struct view *v, const struct link *link)
{
    if (link->near) return false;
    uint32_t before = 0;
    for (uint32_t i = 0; i < v->links->count; i++) {
        const struct link *other = &v->links->items[i];
        if (!other->neighbor || other->near) continue;
        before += other->chosen == link->chosen ? other->number < link->number : other->chosen;
    }
    return before < v->options->random_size;
}

// Whose place a newcomer takes.
static struct link *displaced(struct view *v, const struct core_id *newcomer)
{
    const struct core_hash *host = host_of(v, newcomer);
    uint32_t same = 0;
    for (uint32_t i = 0; host && i < v->links->count; i++)
        same += v->links->items[i].neighbor && is_on_host(v, &v->links->items[i].id, host);
    const bool crowded = 2 * same >= v->options->active_size;
    struct link *pick = NULL;
    for (uint32_t strict = 2; !pick; strict--) {
        uint64_t seen = 0;
        for (uint32_t i = 0; i < v->links->count; i++) {
            struct link *link = &v->links->items[i];
            if (!link->neighbor || id_equal(&link->id, newcomer)) continue;
            if (strict >= 1 && is_protected(v, link)) continue;
            if (strict >= 2 && crowded && !is_on_host(v, &link->id, host)) continue;
            if (rng_below(&v->rng, ++seen) == 0) pick = link;
        }
        if (strict == 0) break;
    }
    return pick;
}

static void add_neighbor(struct view *v, struct link *link, bool chosen, uint64_t now_ms, struct outbox *out)
{
    link->asked = false;
    if (link->neighbor) return;
    if (!view_has_room(v)) {
        struct link *leaves = displaced(v, &link->id);
        if (leaves) view_give_up(v, leaves, now_ms, out);
    }
    link->neighbor = true;
    link->chosen = chosen;
    link->number = ++v->neighbor_number;
    link->lazy = false;
    link->heard_ms = now_ms;
    v->changed = true;
    v->refusals = 0;
    passive_remove(&v->passive, &link->id);
}

// ---- connecting ----

uint32_t view_under_way(const struct view *v)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < v->pending_count; i++) count += !v->pending[i].retry;
    for (uint32_t i = 0; i < v->links->count; i++) count += v->links->items[i].asked;
    return count;
}

static struct view_pending *pending_find(struct view *v, const struct core_id *id)
{
    for (uint32_t i = 0; i < v->pending_count; i++)
        if (id_equal(&v->pending[i].id, id)) return &v->pending[i];
    return NULL;
}

static bool pending_remove(struct view *v, const struct core_id *id, struct view_pending *was)
{
    struct view_pending *pending = pending_find(v, id);
    if (!pending) return false;
    *was = *pending;
    *pending = v->pending[--v->pending_count];
    return true;
}

static void expect(struct view *v, uint64_t until_ms)
{
    if (until_ms < v->expire_ms) v->expire_ms = until_ms;
}

static uint32_t anchors(const struct view *v)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < v->links->count; i++) count += v->links->items[i].neighbor && v->links->items[i].anchor;
    return count;
}

static void ask(struct view *v, struct link *link, enum view_wish wish, uint64_t now_ms, struct outbox *out)
{
    if (link->neighbor || link->asked) return;
    struct message m = {.type = MESSAGE_VIEW_NEIGHBOR};
    const uint32_t neighbors = link_table_neighbors(v->links);
    const bool alone = neighbors == 0 && v->refusals >= REFUSALS;
    const bool left_over = neighbors + 2 <= v->options->active_size && v->refusals >= REFUSALS_LEFT_OVER;
    if (wish == VIEW_IF_ROOM && (alone || left_over)) wish = VIEW_URGENT;
    link->anchor = wish != VIEW_NEARER && anchors(v) < v->options->random_size;
    m.view_neighbor.urgent = wish | (link->anchor ? VIEW_ANCHOR : 0);
    link->asked = true;
    link->asked_ms = now_ms;
    link->wish = wish;
    expect(v, now_ms + v->options->dial_timeout_ms);
    outbox_send(out, &link->id, &m);
}

bool view_connect(struct view *v, const struct core_id *id, struct slice addresses, enum view_wish wish,
                  uint64_t now_ms, struct outbox *out)
{
    struct link *link = link_table_find(v->links, id);
    if (link) {
        ask(v, link, wish, now_ms, out);
        return true;
    }
    if (v->quiet || addresses.size == 0 || v->pending_count == VIEW_PENDING_MAX || pending_find(v, id)) return false;
    const struct member *member = members_find(v->members, id);
    v->pending[v->pending_count++] = (struct view_pending){.id = *id,
                                                           .deadline_ms = now_ms + v->options->dial_timeout_ms,
                                                           .wish = wish,
                                                           .retry = member && members_state(member) == GOSSIP_DEAD};
    expect(v, now_ms + v->options->dial_timeout_ms);
    outbox_dial(out, id, addresses);
    return true;
}

// Whether somebody was just asked by JOIN: one is enough, and others that link with this peer meanwhile ask it.
static bool is_joining(const struct view *v, uint64_t now_ms)
{
    for (uint32_t i = 0; i < v->links->count; i++) {
        const struct link *link = &v->links->items[i];
        if (link->asked && now_ms - link->asked_ms < JOIN_MS) return true;
    }
    return false;
}

void view_link_up(struct view *v, const struct core_id *peer, uint64_t now_ms, struct outbox *out)
{
    struct link *link = link_table_find(v->links, peer);
    check(link);
    struct view_pending was;
    const bool pending = pending_remove(v, peer, &was);
    if (pending) link->dialed = true;
    if (pending) {
        ask(v, link, was.wish, now_ms, out);
    } else if (link_table_neighbors(v->links) == 0 && !is_joining(v, now_ms)) {
        struct message m = {.type = MESSAGE_VIEW_JOIN};
        m.view_join.addresses = view_own_addresses(v);
        outbox_send(out, peer, &m);
        link->asked = true;
        link->asked_ms = now_ms;
        link->wish = VIEW_URGENT;
        link->anchor = true;
        expect(v, now_ms + v->options->dial_timeout_ms);
    } else if (view_has_room(v) && view_is_small(v)) {
        ask(v, link, VIEW_IF_ROOM, now_ms, out);
    }
}

void view_link_down(struct view *v, const struct core_id *peer, bool was_neighbor, uint64_t now_ms, struct outbox *out)
{
    if (was_neighbor || view_is_short(v)) view_fill_soon(v, now_ms);
    if (!was_neighbor) return;
    v->changed = true;
    passive_add_met(&v->passive, peer, now_ms + VIEW_REFUSED_MS);
    // Perhaps only the link broke: whoever can be dialled is tried at once, before others take its place.
    const struct member *member = members_find(v->members, peer);
    if (member && members_state(member) <= GOSSIP_SUSPECT)
        view_connect(v, peer, member->record->addresses, VIEW_IF_ROOM, now_ms, out);
}

void view_dial_failed(struct view *v, const struct core_id *peer, uint64_t now_ms)
{
    struct view_pending was;
    if (!pending_remove(v, peer, &was)) return;
    struct passive_peer *passive = passive_find(&v->passive, peer);
    if (passive && !members_find(v->members, peer))
        passive_remove(&v->passive, peer);  // hearsay that is not true
    else if (passive)
        passive->not_before_ms = now_ms + VIEW_REFUSED_MS;
    if (!was.retry && view_is_short(v) && v->fill_ms > now_ms) v->fill_ms = now_ms;
}

void view_known(struct view *v, uint64_t now_ms)
{
    if (view_is_short(v) && v->fill_ms > now_ms + VIEW_FILL_MS) v->fill_ms = now_ms + VIEW_FILL_MS;
}

void view_lost(struct view *v, const struct core_id *peer, uint64_t now_ms)
{
    struct link *link = link_table_find(v->links, peer);
    if (link && link->neighbor) drop_neighbor(v, link, now_ms, now_ms);
    passive_remove(&v->passive, peer);
    view_retry_soon(v, now_ms);
}

// ---- messages ----

// Up to VIEW_LIST_MAX living members, at random.
static void sample_send(struct view *v, const struct core_id *to, struct outbox *out)
{
    uint8_t raw[VIEW_LIST_BYTES];
    struct writer w = writer_over(raw, sizeof raw);
    const struct members *m = v->members;
    const uint32_t n = m->count, first = n ? (uint32_t)rng_below(&v->rng, n) : 0;
    // A stretch of the table from a random place on: ids are hashes, their order says nothing.
    for (uint32_t i = 0, given = 0; i < n && i < SAMPLE_TRIES * VIEW_LIST_MAX && given < VIEW_LIST_MAX; i++) {
        const struct member *member = members_at(m, (first + i) % n);
        const struct member_record *r = member->record;
        if (members_state(member) != GOSSIP_ALIVE || id_equal(&r->id, to) || id_equal(&r->id, view_self(v))) continue;
        given += view_list_put(&w, &r->id, r->addresses);
    }
    if (w.size == 0) return;
    struct message answer = {.type = MESSAGE_VIEW_SHUFFLED};
    answer.view_shuffled.peers = (struct slice){raw, w.size};
    outbox_send(out, to, &answer);
}

static void answer_send(const struct core_id *to, bool accepted, struct outbox *out)
{
    struct message answer = {.type = MESSAGE_VIEW_ANSWER};
    answer.view_answer.accepted = accepted;
    outbox_send(out, to, &answer);
}

static void join_received(struct view *v, struct link *link, const struct message *m, uint64_t now_ms,
                          struct outbox *out)
{
    const bool known = link->neighbor, accepted = !v->quiet && (known || view_has_room(v));
    answer_send(&link->id, accepted, out);
    sample_send(v, &link->id, out);
    if (accepted) {
        add_neighbor(v, link, false, now_ms, out);
        link->anchor = true;
    } else {
        outbox_hangup(out, &link->id);
    }
    struct message forward = {.type = MESSAGE_VIEW_FORWARD};
    forward.view_forward.joiner = link->id;
    forward.view_forward.addresses = m->view_join.addresses;
    forward.view_forward.hops_left = v->options->walk_active;
    if (known || forward.view_forward.addresses.size == 0) return;  // not to be dialled: it dials others itself
    const struct link *before = NULL;
    for (uint32_t i = 0; i < JOIN_WALKS; i++) {
        const struct link *next = view_random_neighbor(v, &link->id, before ? &before->id : NULL);
        if (!next) return;
        outbox_send(out, &next->id, &forward);
        before = next;
    }
}

// A walk's end: this peer becomes the joiner's neighbour, in another's place where that may be. While the mesh is young
// it may not be: whoever is displaced dials others, and a storm of joiners would go round and round.
static void walk_ended(struct view *v, const struct core_id *joiner, struct slice addresses, uint64_t now_ms,
                       struct outbox *out)
{
    const struct link *link = link_table_find(v->links, joiner);
    if (link && (link->neighbor || link->asked)) return;
    if (!bucket_take(&v->errands, 1, VIEW_ERRANDS_RATE, VIEW_ERRANDS_BURST, now_ms)) {
        v->counts->limited++;
        return;
    }
    const bool young = now_ms - v->opened_ms < VIEW_YOUNG_MS;
    if (view_has_room(v) ||
        (!young && bucket_take(&v->evictions, 1, VIEW_EVICTIONS_RATE, VIEW_EVICTIONS_BURST, now_ms)))
        view_connect(v, joiner, addresses, VIEW_IF_ROOM, now_ms, out);
}

static void forward_received(struct view *v, const struct core_id *from, const struct message *m, uint64_t now_ms,
                             struct outbox *out)
{
    const struct core_id *joiner = &m->view_forward.joiner;
    const struct slice addresses = m->view_forward.addresses;
    if (id_equal(joiner, view_self(v)) || addresses.size > GOSSIP_ADDRESSES_MAX) return;
    const uint64_t hops = m->view_forward.hops_left < HOPS_MAX ? m->view_forward.hops_left : HOPS_MAX;
    if (hops == v->options->walk_passive) passive_add(&v->passive, joiner, addresses, from, now_ms);
    const bool here = is_young(v, now_ms) && hops <= v->options->walk_passive && view_has_room(v);
    const struct link *next = hops > 0 && !here ? view_random_neighbor(v, from, joiner) : NULL;
    if (!next || view_is_small(v)) {
        walk_ended(v, joiner, addresses, now_ms, out);
        return;
    }
    struct message forward = *m;
    forward.view_forward.hops_left = hops - 1;
    outbox_send(out, &next->id, &forward);
}

static void neighbor_received(struct view *v, struct link *link, const struct message *m, uint64_t now_ms,
                              struct outbox *out)
{
    const uint64_t wish = m->view_neighbor.urgent & ~(uint64_t)VIEW_ANCHOR;
    struct link *worst = NULL;
    const bool nearer = !v->quiet && !link->neighbor && wish == VIEW_NEARER && view_near_accepts(v, link, &worst);
    bool accepted = !v->quiet && (link->neighbor || (wish != VIEW_NEARER && view_has_room(v)));
    if (!accepted && !v->quiet && wish == VIEW_URGENT)
        accepted = bucket_take(&v->evictions, 1, VIEW_EVICTIONS_RATE, VIEW_EVICTIONS_BURST, now_ms);
    answer_send(&link->id, accepted || nearer, out);
    if (worst && nearer) {
        view_give_up(v, worst, now_ms, out);
        v->counts->exchanges++;
    }
    if (accepted || nearer) add_neighbor(v, link, false, now_ms, out);
    if (nearer) link->near = true;
    if (accepted && (m->view_neighbor.urgent & VIEW_ANCHOR)) link->anchor = true;
    if (!accepted && !nearer && wish == VIEW_URGENT) sample_send(v, &link->id, out);
}

static void exchange(struct view *v, struct link *link, uint64_t now_ms, struct outbox *out)
{
    struct link *worst = link_table_find(v->links, &v->near_worst);
    if (!view_has_room(v) && worst && worst->neighbor) {
        view_give_up(v, worst, now_ms, out);
        v->counts->exchanges++;
    }
    add_neighbor(v, link, true, now_ms, out);
    link->near = true;
    v->near_wait_ms = v->options->near_ms;
}

static void answer_received(struct view *v, struct link *link, const struct message *m, uint64_t now_ms,
                            struct outbox *out)
{
    if (!link->asked) return;
    link->asked = false;
    if (!m->view_answer.accepted) {
        if (link->neighbor) return;
        v->refusals++;
        passive_add_met(&v->passive, &link->id, now_ms + VIEW_REFUSED_MS);
        if (link->dialed) outbox_hangup(out, &link->id);
        if (view_is_short(v) && v->fill_ms > now_ms) v->fill_ms = now_ms;
        return;
    }
    if (link->wish == VIEW_NEARER)
        exchange(v, link, now_ms, out);
    else
        add_neighbor(v, link, true, now_ms, out);
}

bool view_list_put(struct writer *w, const struct core_id *id, struct slice addresses)
{
    if (addresses.size == 0 || w->size + CORE_ID_SIZE + 4 + addresses.size > w->capacity) return false;
    write_bytes(w, id->bytes, sizeof id->bytes);
    write_slice(w, addresses);
    return true;
}

static bool list_valid(struct slice list)
{
    struct reader r = reader_over(list.data, list.size);
    for (uint32_t i = 0; i < VIEW_LIST_MAX && r.at < r.size && !r.failed; i++) {
        uint8_t id[CORE_ID_SIZE];
        read_bytes(&r, id, sizeof id);
        read_slice(&r, GOSSIP_ADDRESSES_MAX);
    }
    return reader_finished(&r);
}

static enum core_err list_read(struct view *v, const struct core_id *feeder, struct slice list, uint64_t now_ms)
{
    if (!list_valid(list)) return CORE_ERR_MALFORMED;
    struct reader r = reader_over(list.data, list.size);
    while (r.at < r.size) {
        struct core_id id;
        read_bytes(&r, id.bytes, sizeof id.bytes);
        passive_add(&v->passive, &id, read_slice(&r, GOSSIP_ADDRESSES_MAX), feeder, now_ms);
    }
    if (view_is_short(v) && v->fill_ms > now_ms) v->fill_ms = now_ms;
    return CORE_ERR_OK;
}

static enum core_err shuffle_received(struct view *v, const struct core_id *from, const struct message *m,
                                      uint64_t now_ms, struct outbox *out)
{
    // Before it is passed on: who handed it over answers for it, wherever the walk goes.
    if (!list_valid(m->view_shuffle.peers)) return CORE_ERR_MALFORMED;
    const struct core_id *origin = &m->view_shuffle.origin;
    const uint64_t hops = m->view_shuffle.hops_left < HOPS_MAX ? m->view_shuffle.hops_left : HOPS_MAX;
    const struct link *next = hops > 1 ? view_random_neighbor(v, from, origin) : NULL;
    if (next) {
        struct message forward = *m;
        forward.view_shuffle.hops_left = hops - 1;
        outbox_send(out, &next->id, &forward);
        return CORE_ERR_OK;
    }
    if (link_table_find(v->links, origin)) sample_send(v, origin, out);
    // Whoever handed it over is its feeder: the origin's name is anybody's to write.
    return list_read(v, from, m->view_shuffle.peers, now_ms);
}

static void disconnect_received(struct view *v, struct link *link, uint64_t now_ms)
{
    link->asked = false;
    if (link->neighbor) drop_neighbor(v, link, now_ms + VIEW_REFUSED_MS, now_ms);
}

static bool is_view(enum message_type type)
{
    return type >= MESSAGE_VIEW_JOIN && type <= MESSAGE_VIEW_SHUFFLED;
}

bool view_message(struct view *v, const struct core_id *from, const struct message *m, uint64_t now_ms,
                  struct outbox *out, enum core_err *err)
{
    struct link *link = link_table_find(v->links, from);
    check(link);
    if (!is_view(m->type)) return false;
    const uint64_t cost = m->type == MESSAGE_VIEW_JOIN ? JOIN_COST : 1;
    if (!bucket_take(&link->views, cost, MESSAGES_RATE, MESSAGES_BURST, now_ms)) {
        v->counts->limited++;
        return true;
    }
    switch (m->type) {
    case MESSAGE_VIEW_JOIN: join_received(v, link, m, now_ms, out); break;
    case MESSAGE_VIEW_FORWARD: forward_received(v, from, m, now_ms, out); break;
    case MESSAGE_VIEW_NEIGHBOR: neighbor_received(v, link, m, now_ms, out); break;
    case MESSAGE_VIEW_ANSWER: answer_received(v, link, m, now_ms, out); break;
    case MESSAGE_VIEW_DISCONNECT: disconnect_received(v, link, now_ms); break;
    case MESSAGE_VIEW_SHUFFLE: *err = shuffle_received(v, from, m, now_ms, out); break;
    default: *err = list_read(v, from, m->view_shuffled.peers, now_ms);
    }
    return true;
}

void view_asymmetric(struct view *v, const struct core_id *peer, struct outbox *out)
{
    const struct link *link = link_table_find(v->links, peer);
    if (!link || link->neighbor || link->asked) return;
    struct message m = {.type = MESSAGE_VIEW_DISCONNECT};
    outbox_send(out, peer, &m);
}
