#include "gossip/gossip.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/gossip_parts.h"
#include "gossip/sync.h"

enum {
    YOUNG_MS = 400,     // between digests while news comes in
    SPOKEN_MS = 10000,  // a record is told on new links so long after it was made
    SYNC_MS = 500,      // between comparisons that pongs give reason for
    REST_MS = 10,       // never ticks more often
    UNCONFIRMED_MS = 4000,
    LOCATE_FIRST_MS = 10000,  // before this peer first says where it lies
    LINKS_BESIDE = 251,       // links beyond the active view's that are known of: the round's and passing ones
};

static void option_default(uint32_t *option, uint32_t value)
{
    if (*option == 0) *option = value;
}

static void options_fill(struct gossip_options *o)
{
    option_default(&o->members_max, 16384);
    option_default(&o->active_size, 5);
    option_default(&o->passive_size, 30);
    option_default(&o->walk_active, 6);
    option_default(&o->walk_passive, 3);
    option_default(&o->random_size, 2);
    option_default(&o->near_ms, 10000);
    option_default(&o->shuffle_ms, 30000);
    option_default(&o->dial_timeout_ms, 4000);
    option_default(&o->retry_max_ms, 300000);
    option_default(&o->digest_ms, 20000);
    option_default(&o->cast_count, 16384);
    option_default(&o->cast_bytes, 32u << 20);
    option_default(&o->graft_ms, 250);
    option_default(&o->ping_ms, 2000);
    option_default(&o->silent_ms, 1000);
    option_default(&o->probe_ms, 700);
    option_default(&o->refute_ms, 1000);
    if (o->incarnation == 0) o->incarnation = 1;
}

static struct slice keep(uint8_t *to, struct slice s)
{
    if (s.size) memcpy(to, s.data, s.size);
    return (struct slice){to, s.size};
}

enum core_err gossip_open(struct gossip **out, const struct gossip_options *options, uint64_t now_ms)
{
    *out = NULL;
    const bool fits = options->name.size <= GOSSIP_NAME_MAX && options->addresses.size <= GOSSIP_ADDRESSES_MAX &&
                      options->certificate.size <= GOSSIP_CERTIFICATE_MAX && options->site.size <= GOSSIP_SITE_MAX;
    if (!fits) return CORE_ERR_TOO_LARGE;
    struct gossip *g = calloc(1, sizeof *g);
    if (!g) return CORE_ERR_NO_MEMORY;
    g->options = *options;
    struct gossip_options *o = &g->options;
    options_fill(o);
    const struct core_id *self = &o->key.id;
    enum core_err err = link_table_open(&g->links, o->active_size + LINKS_BESIDE);
    if (!err) err = members_open(&g->members, o, &g->links, &g->counts, now_ms);
    if (!err) err = view_open(&g->view, o, &g->links, &g->members, &g->coordinates, &g->counts, now_ms);
    if (!err) err = broadcast_open(&g->broadcast, o, self, &g->links, &g->counts);
    if (err) {
        gossip_close(g);
        return err;
    }
    monitor_open(&g->monitor, o, &g->links, &g->members, &g->coordinates, &g->counts, now_ms);
    coordinates_open(&g->coordinates, o->seed);
    newcomers_open(&g->newcomers);
    g->rng = rng_from(o->seed, 0x676f7373);
    g->digest_ms = now_ms + rng_below(&g->rng, YOUNG_MS);
    g->record_ms = g->tell_ms = UINT64_MAX;
    g->locate_ms = now_ms + LOCATE_FIRST_MS + rng_below(&g->rng, LOCATE_FIRST_MS);
    g->ticked_ms = now_ms;
    g->self =
        (struct member_record){.id = *self, .incarnation = o->incarnation, .host = o->host, .watchers = g->watchers};
    g->self.session = rng_u64(&g->rng);
    g->self.site = keep(g->site, o->site);
    g->self.name = keep(g->name, o->name);
    g->self.addresses = keep(g->addresses, o->addresses);
    g->self.certificate = keep(g->certificate, o->certificate);
    o->name = o->addresses = o->certificate = o->site = (struct slice){0};  // the caller's, not kept
    gossip_self_put(g, now_ms);
    *out = g;
    return CORE_ERR_OK;
}

void gossip_close(struct gossip *g)
{
    if (!g) return;
    monitor_close(&g->monitor);
    broadcast_close(&g->broadcast);
    view_close(&g->view);
    members_close(&g->members);
    link_table_close(&g->links);
    free(g);
}

// ---- what follows from an event ----

// After every event: neighbours that are new hear what they may lack; this peer's record names them, a little later.
static void neighbors_follow(struct gossip *g, uint64_t now_ms, struct outbox *out)
{
    if (!g->view.changed) return;
    g->view.changed = false;
    for (uint32_t i = 0; i < g->links.count; i++) {
        struct link *link = &g->links.items[i];
        if (link->neighbor && !link->introduced) {
            monitor_neighbor_up(&g->monitor, link, now_ms);
            broadcast_neighbor_up(&g->broadcast, link, now_ms, out);
            // What was broadcast between the link's coming up and this moment missed it.
            sync_root_send(&g->members, &link->id, out);
            event_emit(&g->options.events, "gossip.neighbor.up", EV_ID("peer", &link->id));
        } else if (!link->neighbor && link->introduced) {
            broadcast_neighbor_down(&g->broadcast, link, now_ms, out);
            event_emit(&g->options.events, "gossip.neighbor.down", EV_ID("peer", &link->id));
        }
        link->introduced = link->neighbor;
    }
    gossip_self_neighbors(g, now_ms, out);
}

// ---- events ----

// First in every event.
static void clock_look(struct gossip *g, uint64_t now_ms)
{
    const uint64_t woke_ms = g->monitor.woke_ms;
    monitor_clock(&g->monitor, now_ms);
    if (g->monitor.woke_ms != woke_ms) broadcast_paused(&g->broadcast, g->monitor.late_ms, now_ms);
}

void gossip_link_up(struct gossip *g, const struct core_id *peer, uint64_t now_ms, struct outbox *out)
{
    if (id_equal(peer, &g->self.id)) return;
    clock_look(g, now_ms);
    // Up again without a word that it was down: a new process perhaps, which then says so; a neighbour until it does.
    struct link *old = link_table_find(&g->links, peer);
    const bool was_neighbor = old && old->neighbor;
    if (old) broadcast_neighbor_down(&g->broadcast, old, now_ms, out);
    struct link *link = link_table_add(&g->links, peer, now_ms);
    if (!link) {
        outbox_hangup(out, peer);
        return;
    }
    link->neighbor = was_neighbor;
    if (was_neighbor) g->view.changed = true;
    monitor_heard(&g->monitor, link, now_ms);
    struct member *member = members_find(&g->members, peer);
    if (member) member->heard_ms = now_ms;
    // Who has been here for a while, the other knows, or finds by the roots.
    if (!member || now_ms - g->spoken_ms < SPOKEN_MS)
        sync_entry_send(members_find(&g->members, &g->self.id), peer, out);
    if (member && member->accusations[0]) sync_entry_send(member, peer, out);
    g->announced |= g->members.count == 1;
    sync_root_send(&g->members, peer, out);
    if (!g->self.left) view_link_up(&g->view, peer, now_ms, out);
    outbox_member(out, peer);
    neighbors_follow(g, now_ms, out);
}

void gossip_link_down(struct gossip *g, const struct core_id *peer, uint64_t now_ms, struct outbox *out)
{
    clock_look(g, now_ms);
    struct link *link = link_table_find(&g->links, peer);
    if (!link) return;
    const bool was_neighbor = link->neighbor;
    broadcast_neighbor_down(&g->broadcast, link, now_ms, out);
    link_table_remove(&g->links, peer);
    monitor_link_down(&g->monitor, peer, out);
    view_link_down(&g->view, peer, was_neighbor, now_ms, out);
    if (was_neighbor)
        monitor_doubt(&g->monitor, peer, MONITOR_CLOSED, now_ms, out);
    else  // perhaps nobody watches it
        monitor_lost(&g->monitor, now_ms);
    outbox_member(out, peer);
    neighbors_follow(g, now_ms, out);
}

void gossip_dial_failed(struct gossip *g, const struct core_id *peer, uint64_t now_ms, struct outbox *out)
{
    clock_look(g, now_ms);
    view_dial_failed(&g->view, peer, now_ms);
    monitor_dial_failed(&g->monitor, peer, now_ms, out);
}

static void heard(struct gossip *g, struct link *link, uint64_t now_ms)
{
    monitor_heard(&g->monitor, link, now_ms);
    struct member *member = members_find(&g->members, &link->id);
    if (member) member->heard_ms = now_ms;
}

void gossip_heard(struct gossip *g, const struct core_id *peer, uint64_t now_ms)
{
    clock_look(g, now_ms);
    struct link *link = link_table_find(&g->links, peer);
    if (link) heard(g, link, now_ms);
}

// Of three, the one between the others: a packet that lay in a queue, or a paused process, moves nobody.
static uint32_t median(const uint32_t us[3])
{
    const uint32_t low = us[0] < us[1] ? us[0] : us[1], high = us[0] < us[1] ? us[1] : us[0];
    return us[2] < low ? low : us[2] > high ? high : us[2];
}

void gossip_measured(struct gossip *g, const struct core_id *peer, uint64_t rtt_us, uint64_t now_ms)
{
    clock_look(g, now_ms);
    struct link *link = link_table_find(&g->links, peer);
    if (!link || rtt_us > COORDINATES_MAX_US) return;
    if (rtt_us == 0) rtt_us = 1;
    const int64_t weight = link->rtt_count < 16 ? ++link->rtt_count : 16;
    link->rtt_us = (uint64_t)((int64_t)link->rtt_us + ((int64_t)rtt_us - (int64_t)link->rtt_us) / weight);
    if (link->rtt_us == 0) link->rtt_us = 1;
    link->measured_us[2] = link->measured_us[1];
    link->measured_us[1] = link->measured_us[0];
    link->measured_us[0] = (uint32_t)rtt_us;
    const uint32_t us = link->rtt_count < 3 ? link->measured_us[0] : median(link->measured_us);
    if (link->located) coordinates_update(&g->coordinates, &link->coordinates, us);
}

static bool is_gossip(enum message_type type)
{
    switch (type) {
    case MESSAGE_PING:
    case MESSAGE_PONG:
    case MESSAGE_VIEW_JOIN:
    case MESSAGE_VIEW_FORWARD:
    case MESSAGE_VIEW_NEIGHBOR:
    case MESSAGE_VIEW_ANSWER:
    case MESSAGE_VIEW_DISCONNECT:
    case MESSAGE_VIEW_SHUFFLE:
    case MESSAGE_VIEW_SHUFFLED:
    case MESSAGE_CAST:
    case MESSAGE_CAST_HAVE:
    case MESSAGE_CAST_GRAFT:
    case MESSAGE_CAST_PRUNE:
    case MESSAGE_CAST_BULK:
    case MESSAGE_CAST_RECENT:
    case MESSAGE_MEMBERS_ROOT:
    case MESSAGE_MEMBERS_NODES:
    case MESSAGE_MEMBERS_WATCHERS:
    case MESSAGE_MEMBERS_WANT:
    case MESSAGE_MEMBERS_RECORDS:
    case MESSAGE_PROBE:
    case MESSAGE_PROBE_ANSWER: return true;
    default: return false;
    }
}

// Tables that differ are compared, a few at a time: most differences are broadcasts that are under way.
static void pong_follow(struct gossip *g, const struct core_id *from, const struct message_pong *pong, uint64_t now_ms,
                        struct outbox *out)
{
    if (now_ms < g->sync_ms || !sync_differs(&g->members, pong->members)) return;
    g->sync_ms = now_ms + SYNC_MS;
    sync_begin(&g->members, from, out);
}

static void message_received(struct gossip *g, const struct core_id *from, const struct message *m, uint64_t now_ms,
                             struct outbox *out, enum core_err *err)
{
    if (view_message(&g->view, from, m, now_ms, out, err)) return;
    if (broadcast_message(&g->broadcast, from, m, now_ms, out, err)) return;
    if (monitor_message(&g->monitor, from, m, now_ms, out, err)) {
        if (m->type == MESSAGE_PONG) pong_follow(g, from, &m->pong, now_ms, out);
        const struct link *link = link_table_find(&g->links, from);
        // Neighbours alone ping in rounds; nonce 0 is a single question (gossip/monitor.c).
        if (m->type == MESSAGE_PING && m->ping.nonce != 0 && !link->neighbor) view_asymmetric(&g->view, from, out);
        return;
    }
    switch (m->type) {
    case MESSAGE_CAST:
    case MESSAGE_CAST_BULK: *err = gossip_cast_received(g, from, m, now_ms, out); break;
    case MESSAGE_MEMBERS_ROOT:
        *err = sync_root_received(&g->members, from, &m->members_root, out);
        if (!*err && m->members_root.count <= 1) gossip_newcomer(g, from, now_ms, out);
        break;
    case MESSAGE_MEMBERS_NODES: *err = sync_nodes_received(&g->members, from, &m->members_nodes, out); break;
    case MESSAGE_MEMBERS_WANT: *err = sync_want_received(&g->members, from, &m->members_want, out); break;
    case MESSAGE_MEMBERS_RECORDS:
        *err = gossip_records_received(g, from, m->members_records.records, now_ms, out);
        break;
    default: check(false);
    }
}

bool gossip_message(struct gossip *g, const struct core_id *from, const struct message *m, uint64_t now_ms,
                    struct outbox *out, enum core_err *err)
{
    *err = CORE_ERR_OK;
    if (!is_gossip(m->type)) return false;
    clock_look(g, now_ms);
    struct link *link = link_table_find(&g->links, from);
    if (!link) return true;  // came with a link that is gone
    heard(g, link, now_ms);
    gossip_tell_the_dead(g, link, now_ms, out);
    message_received(g, from, m, now_ms, out, err);
    monitor_answer(&g->monitor, now_ms, out);
    neighbors_follow(g, now_ms, out);
    if (*err) g->counts.refused++;
    return true;
}

// ---- timers ----

static void give_up_mute_links(struct gossip *g, uint64_t now_ms, struct outbox *out)
{
    for (uint32_t i = 0; i < g->links.count; i++) {
        struct link *link = &g->links.items[i];
        if (!link->neighbor) continue;
        const struct member *member = members_find(&g->members, &link->id);
        // A suspect that nobody else confirms too: perhaps this peer is cut off, and others with it are to be found.
        const enum gossip_state state = member ? members_state(member) : GOSSIP_ALIVE;
        const bool given_up = state == GOSSIP_SUSPECT && now_ms - member->since_ms >= UNCONFIRMED_MS;
        if ((state == GOSSIP_DEAD || given_up) && gossip_is_silent(g, link, now_ms))
            view_lost(&g->view, &member->record->id, now_ms);
        if (!link->neighbor || link->vouched < MONITOR_VOUCHED_MAX) continue;
        const struct core_id peer = link->id;
        link->vouched = 0;
        link->neighbor = false;
        g->view.changed = true;
        g->view.fill_ms = now_ms;
        outbox_hangup(out, &peer);
    }
}

// Beside the roots in the neighbours' pongs: often while news comes in, as to a sample it always does.
static void digest_round(struct gossip *g, uint64_t now_ms, struct outbox *out)
{
    const bool young = now_ms < g->young_ms && !g->members.sampled;
    const uint64_t every = young ? YOUNG_MS : g->options.digest_ms;
    g->digest_ms = now_ms + every / 2 + rng_below(&g->rng, every);
    const struct link *to = NULL;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < g->links.count; i++)
        if (g->links.items[i].neighbor && rng_below(&g->rng, ++seen) == 0) to = &g->links.items[i];
    if (!to) return;
    if (g->members.sampled)
        sync_begin(&g->members, &to->id, out);
    else
        sync_root_send(&g->members, &to->id, out);
}

void gossip_tick(struct gossip *g, uint64_t now_ms, struct outbox *out)
{
    clock_look(g, now_ms);
    g->ticked_ms = now_ms;
    monitor_tick(&g->monitor, now_ms, out);
    struct monitor_verdict verdict;
    while (!g->self.left && monitor_next_verdict(&g->monitor, now_ms, out, &verdict))
        gossip_self_accuse(g, &verdict, now_ms, out);
    struct members_change change;
    while (members_next_dead(&g->members, now_ms, monitor_refute_ms(&g->monitor), monitor_refute_from_ms(&g->monitor),
                             &change))
        gossip_change_follow(g, &change, now_ms, out);
    members_age(&g->members, now_ms);
    give_up_mute_links(g, now_ms, out);
    view_tick(&g->view, now_ms, out);
    neighbors_follow(g, now_ms, out);
    gossip_self_tick(g, now_ms, out);
    if (g->digest_ms <= now_ms) digest_round(g, now_ms, out);
    broadcast_tick(&g->broadcast, now_ms, out);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t gossip_next_ms(const struct gossip *g)
{
    if (g->self.left) return g->ticked_ms + g->options.ping_ms;
    uint64_t next = earlier(gossip_self_next_ms(g), g->digest_ms);
    next = earlier(next, monitor_next_ms(&g->monitor));
    next = earlier(next,
                   members_next_ms(&g->members, monitor_refute_ms(&g->monitor), monitor_refute_from_ms(&g->monitor)));
    next = earlier(next, view_next_ms(&g->view));
    next = earlier(next, broadcast_next_ms(&g->broadcast));
    const uint64_t soonest = g->ticked_ms + REST_MS;
    return next > soonest ? next : soonest;
}

// ---- requests ----

enum core_err gossip_cast(struct gossip *g, enum cast_topic topic, struct slice payload, uint64_t now_ms,
                          struct outbox *out)
{
    check(topic > 0 && topic < TOPIC_COUNT && topic != TOPIC_MEMBER && topic != TOPIC_SUSPICION &&
          topic != TOPIC_NEWCOMERS);
    return gossip_own_cast(g, topic, payload, now_ms, out);
}

void gossip_leave(struct gossip *g, uint64_t now_ms, struct outbox *out)
{
    if (g->self.left) return;
    g->self.left = true;
    g->view.quiet = true;
    g->monitor.quiet = true;
    g->monitor.doubt_count = g->monitor.inquiry_count = 0;
    gossip_self_renew(g, now_ms, out);
    event_emit(&g->options.events, "gossip.left", EV_U64("incarnation", g->self.incarnation));
}

enum core_err gossip_addresses_set(struct gossip *g, struct slice addresses, uint64_t now_ms, struct outbox *out)
{
    if (addresses.size > GOSSIP_ADDRESSES_MAX) return CORE_ERR_TOO_LARGE;
    g->self.addresses = keep(g->addresses, addresses);
    gossip_self_renew(g, now_ms, out);
    return CORE_ERR_OK;
}

void gossip_recheck(struct gossip *g, uint64_t now_ms, struct outbox *out)
{
    const struct gossip_callbacks *c = &g->options.callbacks;
    for (uint32_t i = g->members.count; c->certificate_valid && i-- > 0;) {
        const struct member *member = members_at(&g->members, i);
        const struct core_id id = member->record->id;
        if (id_equal(&id, &g->self.id)) continue;
        if (c->certificate_valid(c->context, &id, member->record->name, member->record->certificate)) continue;
        view_lost(&g->view, &id, now_ms);
        monitor_settled(&g->monitor, &id);
        members_remove(&g->members, &id);
        outbox_hangup(out, &id);
        outbox_member(out, &id);
    }
    neighbors_follow(g, now_ms, out);
}
