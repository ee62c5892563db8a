#include "gossip/view.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"

enum {
    FILL_MS = 250,
    FILL_DIALS = 2,          // dials under way for the sake of filling the active view
    REFUSED_WAIT_MS = 5000,  // before a peer that refused or could not be dialled is asked again
    RETRY_FIRST_MS = 1000,
    MIX_MS = 5000,
    MIX_FOR_MS = 60000,
    SHUFFLE_ACTIVE = 3,
    SHUFFLE_PASSIVE = 4,
    SHUFFLE_MAX = 1 + SHUFFLE_ACTIVE + SHUFFLE_PASSIVE,
    HOPS_MAX = 16,
};

enum core_err view_open(struct view *v, const struct gossip_options *options, struct link_table *links,
                        struct members *members, uint64_t now_ms)
{
    *v = (struct view){.options = options, .links = links, .members = members};
    v->rng = rng_from(options->seed, 0x76696577);
    v->passive = calloc(options->passive_size, sizeof *v->passive);
    v->fill_ms = now_ms;
    v->shuffle_ms = now_ms + rng_below(&v->rng, options->shuffle_ms);
    return v->passive ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}

void view_close(struct view *v)
{
    free(v->passive);
    *v = (struct view){0};
}

static const struct core_id *self_of(const struct view *v)
{
    return &v->members->self;
}

static struct slice own_addresses(const struct view *v)
{
    const struct member *self = members_find(v->members, self_of(v));
    return self ? self->record->addresses : (struct slice){0};
}

static void send(const struct core_id *to, const struct message *m, struct outbox *out)
{
    outbox_send(out, to, m);
}

// ---- the passive view ----

static struct view_peer *passive_find(struct view *v, const struct core_id *id)
{
    for (uint32_t i = 0; i < v->passive_count; i++)
        if (id_equal(&v->passive[i].id, id)) return &v->passive[i];
    return NULL;
}

static void passive_remove(struct view *v, const struct core_id *id)
{
    struct view_peer *peer = passive_find(v, id);
    if (peer) *peer = v->passive[--v->passive_count];
}

// Nobody without addresses, who is dead, or who is a neighbour belongs there; a full view loses a random one.
static void passive_add(struct view *v, const struct core_id *id, struct slice addresses, uint64_t not_before_ms)
{
    const struct member *member = members_find(v->members, id);
    if (member) addresses = member->record->addresses;
    if (addresses.size == 0 || addresses.size > GOSSIP_ADDRESSES_MAX || id_equal(id, self_of(v))) return;
    if (member && members_state(member) >= GOSSIP_DEAD) return;
    const struct link *link = link_table_find(v->links, id);
    if (link && link->neighbor) return;
    struct view_peer *peer = passive_find(v, id);
    if (!peer && v->passive_count == v->options->passive_size) peer = &v->passive[rng_below(&v->rng, v->passive_count)];
    if (!peer)
        peer = &v->passive[v->passive_count++];
    else if (id_equal(&peer->id, id) && peer->not_before_ms > not_before_ms)
        not_before_ms = peer->not_before_ms;
    *peer = (struct view_peer){.id = *id, .not_before_ms = not_before_ms, .size = (uint32_t)addresses.size};
    memcpy(peer->addresses, addresses.data, addresses.size);
}

// ---- neighbours ----

static struct link *random_neighbor(struct view *v, const struct core_id *except, const struct core_id *also_except)
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

static void drop_neighbor(struct view *v, struct link *link, uint64_t not_before_ms)
{
    link->neighbor = false;
    v->changed = true;
    v->fill_ms = 0;
    passive_add(v, &link->id, (struct slice){0}, not_before_ms);
}

static void evict_one(struct view *v, const struct core_id *except, uint64_t now_ms, struct outbox *out)
{
    struct link *link = random_neighbor(v, except, NULL);
    if (!link) return;
    struct message m = {.type = MESSAGE_VIEW_DISCONNECT};
    send(&link->id, &m, out);
    drop_neighbor(v, link, now_ms + REFUSED_WAIT_MS);
    outbox_hangup(out, &link->id);
}

static bool has_room(const struct view *v)
{
    return link_table_neighbors(v->links) < v->options->active_size;
}

static void add_neighbor(struct view *v, struct link *link, uint64_t now_ms, struct outbox *out)
{
    link->asked = false;
    if (link->neighbor) return;
    if (!has_room(v)) evict_one(v, &link->id, now_ms, out);
    link->neighbor = true;
    link->lazy = false;
    link->heard_ms = now_ms;
    v->changed = true;
    passive_remove(v, &link->id);
}

// In a mesh this small everyone is everyone's neighbour.
static bool is_small(const struct view *v)
{
    return members_alive(v->members) <= v->options->active_size + 1;
}

// ---- connecting ----

static struct view_pending *pending_find(struct view *v, const struct core_id *id)
{
    for (uint32_t i = 0; i < v->pending_count; i++)
        if (id_equal(&v->pending[i].id, id)) return &v->pending[i];
    return NULL;
}

static bool pending_remove(struct view *v, const struct core_id *id, bool *urgent)
{
    struct view_pending *pending = pending_find(v, id);
    if (!pending) return false;
    *urgent = pending->urgent;
    *pending = v->pending[--v->pending_count];
    return true;
}

static void ask(struct view *v, struct link *link, bool urgent, uint64_t now_ms, struct outbox *out)
{
    if (link->neighbor || link->asked) return;
    struct message m = {.type = MESSAGE_VIEW_NEIGHBOR};
    m.view_neighbor.urgent = urgent || link_table_neighbors(v->links) == 0;
    link->asked = true;
    link->asked_ms = now_ms;
    send(&link->id, &m, out);
}

// Asks a linked peer to be neighbours, or dials it to ask then.
static bool connect_to(struct view *v, const struct core_id *id, struct slice addresses, bool urgent, uint64_t now_ms,
                       struct outbox *out)
{
    struct link *link = link_table_find(v->links, id);
    if (link) {
        ask(v, link, urgent, now_ms, out);
        return true;
    }
    if (v->quiet || addresses.size == 0 || v->pending_count == VIEW_PENDING_MAX || pending_find(v, id)) return false;
    v->pending[v->pending_count++] =
        (struct view_pending){.id = *id, .deadline_ms = now_ms + v->options->dial_timeout_ms, .urgent = urgent};
    outbox_dial(out, id, addresses);
    return true;
}

void view_link_up(struct view *v, const struct core_id *peer, uint64_t now_ms, struct outbox *out)
{
    struct link *link = link_table_find(v->links, peer);
    check(link);
    bool urgent;
    if (pending_remove(v, peer, &urgent)) {
        link->dialed = true;
        ask(v, link, urgent, now_ms, out);
        return;
    }
    if (link_table_neighbors(v->links) == 0) {
        struct message m = {.type = MESSAGE_VIEW_JOIN};
        m.view_join.addresses = own_addresses(v);
        send(peer, &m, out);
        add_neighbor(v, link, now_ms, out);
    } else if (has_room(v) && is_small(v)) {
        ask(v, link, false, now_ms, out);
    }
}

void view_link_down(struct view *v, const struct core_id *peer, bool was_neighbor, uint64_t now_ms, struct outbox *out)
{
    if (!was_neighbor) return;
    v->changed = true;
    v->fill_ms = 0;
    passive_add(v, peer, (struct slice){0}, now_ms + REFUSED_WAIT_MS);
    // Perhaps only the link broke: whoever can be dialled is tried at once, before others take its place.
    const struct member *member = members_find(v->members, peer);
    if (member && members_state(member) <= GOSSIP_SUSPECT)
        connect_to(v, peer, member->record->addresses, false, now_ms, out);
}

void view_dial_failed(struct view *v, const struct core_id *peer, uint64_t now_ms)
{
    bool urgent;
    if (!pending_remove(v, peer, &urgent)) return;
    struct view_peer *passive = passive_find(v, peer);
    if (passive) passive->not_before_ms = now_ms + REFUSED_WAIT_MS;
    v->fill_ms = 0;
}

void view_lost(struct view *v, const struct core_id *peer, uint64_t now_ms)
{
    struct link *link = link_table_find(v->links, peer);
    if (link && link->neighbor) drop_neighbor(v, link, now_ms);
    passive_remove(v, peer);
    struct member *member = members_find(v->members, peer);
    if (!member) return;
    member->retry_wait_ms = RETRY_FIRST_MS;
    member->retry_ms = now_ms + RETRY_FIRST_MS + rng_below(&v->rng, RETRY_FIRST_MS);
}

void view_revived(struct view *v, uint64_t now_ms)
{
    if (v->mix_until_ms <= now_ms) v->mix_ms = now_ms + rng_below(&v->rng, MIX_MS);
    v->mix_until_ms = now_ms + MIX_FOR_MS;
    v->fill_ms = 0;
}

// ---- messages ----

static void join_received(struct view *v, struct link *link, const struct message *m, uint64_t now_ms,
                          struct outbox *out)
{
    const bool known = link->neighbor;
    add_neighbor(v, link, now_ms, out);
    if (known) return;
    struct message forward = {.type = MESSAGE_VIEW_FORWARD};
    forward.view_forward.joiner = link->id;
    forward.view_forward.addresses = m->view_join.addresses;
    forward.view_forward.hops_left = v->options->walk_active;
    if (forward.view_forward.addresses.size == 0) return;  // it can't be dialled: it dials others itself
    for (uint32_t i = 0; i < v->links->count; i++) {
        const struct link *other = &v->links->items[i];
        if (other->neighbor && !id_equal(&other->id, &link->id)) send(&other->id, &forward, out);
    }
}

static void forward_received(struct view *v, const struct core_id *from, const struct message *m, uint64_t now_ms,
                             struct outbox *out)
{
    const struct core_id *joiner = &m->view_forward.joiner;
    const struct slice addresses = m->view_forward.addresses;
    if (id_equal(joiner, self_of(v))) return;
    uint64_t hops = m->view_forward.hops_left < HOPS_MAX ? m->view_forward.hops_left : HOPS_MAX;
    if (hops == v->options->walk_passive) passive_add(v, joiner, addresses, now_ms);
    const struct link *next = hops > 0 ? random_neighbor(v, from, joiner) : NULL;
    const struct link *known = link_table_find(v->links, joiner);
    if (known && known->neighbor && !next) return;
    if (!next || is_small(v)) {
        connect_to(v, joiner, addresses, true, now_ms, out);
        return;
    }
    struct message forward = *m;
    forward.view_forward.hops_left = hops - 1;
    send(&next->id, &forward, out);
}

static void neighbor_received(struct view *v, struct link *link, const struct message *m, uint64_t now_ms,
                              struct outbox *out)
{
    const bool accepted = !v->quiet && (link->neighbor || has_room(v) || m->view_neighbor.urgent != 0);
    struct message answer = {.type = MESSAGE_VIEW_ANSWER};
    answer.view_answer.accepted = accepted;
    send(&link->id, &answer, out);
    if (accepted) add_neighbor(v, link, now_ms, out);
}

static void answer_received(struct view *v, struct link *link, const struct message *m, uint64_t now_ms,
                            struct outbox *out)
{
    if (!link->asked) return;
    link->asked = false;
    if (m->view_answer.accepted) {
        add_neighbor(v, link, now_ms, out);
        return;
    }
    if (link->neighbor) return;
    passive_add(v, &link->id, (struct slice){0}, now_ms + REFUSED_WAIT_MS);
    if (link->dialed) outbox_hangup(out, &link->id);
}

static struct slice addresses_of(const struct view *v, const struct core_id *id)
{
    const struct member *member = members_find(v->members, id);
    return member ? member->record->addresses : (struct slice){0};
}

static void list_put(struct writer *w, const struct core_id *id, struct slice addresses)
{
    if (addresses.size == 0) return;
    write_bytes(w, id->bytes, sizeof id->bytes);
    write_slice(w, addresses);
}

static void list_passive(struct view *v, struct writer *w, uint32_t count)
{
    const uint32_t n = v->passive_count, first = n ? (uint32_t)rng_below(&v->rng, n) : 0;
    for (uint32_t i = 0; i < count && i < n; i++) {
        const struct view_peer *peer = &v->passive[(first + i) % n];
        list_put(w, &peer->id, (struct slice){peer->addresses, peer->size});
    }
}

static bool list_read(struct view *v, struct slice list, uint64_t now_ms)
{
    struct reader r = reader_over(list.data, list.size);
    for (uint32_t i = 0; i < SHUFFLE_MAX && r.at < r.size && !r.failed; i++) {
        struct core_id id;
        read_bytes(&r, id.bytes, sizeof id.bytes);
        const struct slice addresses = read_slice(&r, GOSSIP_ADDRESSES_MAX);
        if (!r.failed) passive_add(v, &id, addresses, now_ms);
    }
    return reader_finished(&r);
}

static void shuffle_start(struct view *v, struct outbox *out)
{
    const struct link *to = random_neighbor(v, NULL, NULL);
    if (!to) return;
    uint8_t raw[SHUFFLE_MAX * (CORE_ID_SIZE + 4 + GOSSIP_ADDRESSES_MAX)];
    struct writer w = writer_over(raw, sizeof raw);
    list_put(&w, self_of(v), own_addresses(v));
    uint32_t others = 0;
    for (uint32_t i = 0; i < v->links->count && others < SHUFFLE_ACTIVE; i++) {
        const struct link *link = &v->links->items[i];
        if (!link->neighbor || link == to) continue;
        list_put(&w, &link->id, addresses_of(v, &link->id));
        others++;
    }
    list_passive(v, &w, SHUFFLE_PASSIVE);
    check(!w.overflowed);
    struct message m = {.type = MESSAGE_VIEW_SHUFFLE};
    m.view_shuffle.origin = *self_of(v);
    m.view_shuffle.hops_left = v->options->walk_active;
    m.view_shuffle.peers = (struct slice){raw, w.size};
    send(&to->id, &m, out);
}

static enum core_err shuffle_received(struct view *v, const struct core_id *from, const struct message *m,
                                      uint64_t now_ms, struct outbox *out)
{
    const struct core_id *origin = &m->view_shuffle.origin;
    const uint64_t hops = m->view_shuffle.hops_left < HOPS_MAX ? m->view_shuffle.hops_left : HOPS_MAX;
    const struct link *next = hops > 1 ? random_neighbor(v, from, origin) : NULL;
    if (next) {
        struct message forward = *m;
        forward.view_shuffle.hops_left = hops - 1;
        send(&next->id, &forward, out);
        return CORE_ERR_OK;
    }
    if (link_table_find(v->links, origin)) {
        uint8_t raw[SHUFFLE_MAX * (CORE_ID_SIZE + 4 + GOSSIP_ADDRESSES_MAX)];
        struct writer w = writer_over(raw, sizeof raw);
        list_passive(v, &w, SHUFFLE_MAX);
        struct message answer = {.type = MESSAGE_VIEW_SHUFFLED};
        answer.view_shuffled.peers = (struct slice){raw, w.size};
        if (w.size > 0) send(origin, &answer, out);
    }
    return list_read(v, m->view_shuffle.peers, now_ms) ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

bool view_message(struct view *v, const struct core_id *from, const struct message *m, uint64_t now_ms,
                  struct outbox *out, enum core_err *err)
{
    struct link *link = link_table_find(v->links, from);
    check(link);
    switch (m->type) {
    case MESSAGE_VIEW_JOIN: join_received(v, link, m, now_ms, out); return true;
    case MESSAGE_VIEW_FORWARD: forward_received(v, from, m, now_ms, out); return true;
    case MESSAGE_VIEW_NEIGHBOR: neighbor_received(v, link, m, now_ms, out); return true;
    case MESSAGE_VIEW_ANSWER: answer_received(v, link, m, now_ms, out); return true;
    case MESSAGE_VIEW_DISCONNECT:
        link->asked = false;
        if (link->neighbor) drop_neighbor(v, link, now_ms + REFUSED_WAIT_MS);
        return true;
    case MESSAGE_VIEW_SHUFFLE: *err = shuffle_received(v, from, m, now_ms, out); return true;
    case MESSAGE_VIEW_SHUFFLED:
        if (!list_read(v, m->view_shuffled.peers, now_ms)) *err = CORE_ERR_MALFORMED;
        return true;
    default: return false;
    }
}

void view_asymmetric(struct view *v, const struct core_id *peer, struct outbox *out)
{
    const struct link *link = link_table_find(v->links, peer);
    if (!link || link->neighbor || link->asked) return;
    struct message m = {.type = MESSAGE_VIEW_DISCONNECT};
    send(peer, &m, out);
}

// ---- timers ----

static void expire_pending(struct view *v, uint64_t now_ms)
{
    for (uint32_t i = v->pending_count; i-- > 0;) {
        const struct core_id id = v->pending[i].id;
        if (v->pending[i].deadline_ms <= now_ms) view_dial_failed(v, &id, now_ms);
    }
    for (uint32_t i = 0; i < v->links->count; i++) {
        struct link *link = &v->links->items[i];
        if (link->asked && now_ms - link->asked_ms >= v->options->dial_timeout_ms) link->asked = false;
    }
}

// The passive view is kept half full from the table, so that it is of use before the first shuffles.
static void refill_passive(struct view *v, uint64_t now_ms)
{
    const uint32_t n = v->members->count;
    for (uint32_t tries = 0; tries < 4 && v->passive_count < v->options->passive_size / 2 && n > 1; tries++) {
        const struct member *member = members_at(v->members, (uint32_t)rng_below(&v->rng, n));
        if (!passive_find(v, &member->record->id)) passive_add(v, &member->record->id, (struct slice){0}, now_ms);
    }
}

// Everyone to everyone: only who is not yet linked, or linked and not yet a neighbour, is of interest.
static void fill_small(struct view *v, uint64_t now_ms, struct outbox *out)
{
    for (uint32_t i = 0; i < v->members->count; i++) {
        const struct member *member = members_at(v->members, i);
        const struct core_id *id = &member->record->id;
        const struct link *link = link_table_find(v->links, id);
        if (id_equal(id, self_of(v)) || members_state(member) >= GOSSIP_DEAD || (link && link->neighbor)) continue;
        const struct view_peer *passive = passive_find(v, id);
        if (passive && passive->not_before_ms > now_ms) continue;
        connect_to(v, id, member->record->addresses, false, now_ms, out);
        if (!passive) passive_add(v, id, (struct slice){0}, now_ms);
    }
}

static void fill(struct view *v, uint64_t now_ms, struct outbox *out)
{
    if (!has_room(v)) return;
    if (is_small(v)) {
        fill_small(v, now_ms, out);
        return;
    }
    const uint32_t missing = v->options->active_size - link_table_neighbors(v->links);
    uint32_t under_way = v->pending_count;
    for (uint32_t i = 0; i < v->links->count; i++) under_way += v->links->items[i].asked;
    const uint32_t n = v->passive_count, first = n ? (uint32_t)rng_below(&v->rng, n) : 0;
    for (uint32_t i = 0; i < n && under_way < missing && under_way < FILL_DIALS; i++) {
        struct view_peer *peer = &v->passive[(first + i) % n];
        if (peer->not_before_ms > now_ms) continue;
        const bool urgent = link_table_neighbors(v->links) == 0;
        peer->not_before_ms = now_ms + REFUSED_WAIT_MS;
        under_way += connect_to(v, &peer->id, (struct slice){peer->addresses, peer->size}, urgent, now_ms, out);
    }
}

// One dead member whose time has come, for ever, over the link that may still stand or a new one; who answers becomes a
// neighbour, so that a split's halves grow together.
static void retry_dead(struct view *v, uint64_t now_ms, struct outbox *out)
{
    const uint32_t n = v->members->count;
    for (uint32_t i = 0; i < n; i++) {
        v->retry_at = (v->retry_at + 1) % n;
        struct member *member = members_at(v->members, v->retry_at);
        if (members_state(member) != GOSSIP_DEAD || member->retry_ms > now_ms) continue;
        if (id_equal(&member->record->id, self_of(v))) continue;
        if (member->retry_wait_ms < RETRY_FIRST_MS) member->retry_wait_ms = RETRY_FIRST_MS;
        member->retry_wait_ms *= 2;
        if (member->retry_wait_ms > v->options->retry_max_ms) member->retry_wait_ms = v->options->retry_max_ms;
        member->retry_ms = now_ms + member->retry_wait_ms + rng_below(&v->rng, member->retry_wait_ms / 4 + 1);
        if (connect_to(v, &member->record->id, member->record->addresses, true, now_ms, out)) return;
    }
}

static void mix(struct view *v, uint64_t now_ms, struct outbox *out)
{
    v->mix_ms = now_ms + MIX_MS + rng_below(&v->rng, MIX_MS);
    if (is_small(v)) return;
    const struct member *member = members_at(v->members, (uint32_t)rng_below(&v->rng, v->members->count));
    if (id_equal(&member->record->id, self_of(v)) || members_state(member) != GOSSIP_ALIVE) return;
    connect_to(v, &member->record->id, member->record->addresses, true, now_ms, out);
}

void view_tick(struct view *v, uint64_t now_ms, struct outbox *out)
{
    if (v->quiet) return;
    expire_pending(v, now_ms);
    if (v->fill_ms <= now_ms) {
        v->fill_ms = now_ms + FILL_MS;
        refill_passive(v, now_ms);
        fill(v, now_ms, out);
        retry_dead(v, now_ms, out);
    }
    if (v->shuffle_ms <= now_ms) {
        v->shuffle_ms = now_ms + v->options->shuffle_ms / 2 + rng_below(&v->rng, v->options->shuffle_ms);
        shuffle_start(v, out);
    }
    if (v->mix_until_ms > now_ms && v->mix_ms <= now_ms) mix(v, now_ms, out);
}

uint64_t view_next_ms(const struct view *v)
{
    return v->fill_ms < v->shuffle_ms ? v->fill_ms : v->shuffle_ms;
}
