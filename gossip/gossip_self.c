// What this peer says of itself: its signed record, when it is renewed, and how it answers those who believe it gone.
//
// The record is broadcast when this peer enters the mesh, when it refutes, moves or leaves; otherwise seldom, since
// everyone receives it: when it names fewer than two of the neighbours that have stayed for a while, and when this peer
// lies elsewhere than it says, at most once in LOCATE_MS, and in a large mesh, where all do, seldom. Neighbours hear of
// each other at once, from it alone.
#include "core/check.h"
#include "gossip/gossip_parts.h"
#include "gossip/sync.h"

enum {
    TELL_MS = 200,        // changes of neighbours are gathered so long before the neighbours are told
    SETTLE_MS = 3000,     // neighbours that stay so long are worth naming,
    UNSETTLED_MS = 8000,  // or those there are, if they never stay; before others miss watchers (gossip/monitor_watch)
    LOCATE_MS = 60000,
    LOCATE_MEMBERS = 64,  // and as often fewer as the mesh has so many
    LOCATE_SAMPLES = 4,
    LOCATE_US = 3000,  // and a quarter of its own distance from the middle: no news
    NAMED = 2,
};

static uint32_t neighbors_named(const struct gossip *g, uint32_t *neighbors)
{
    uint32_t named = 0;
    *neighbors = 0;
    for (uint32_t i = 0; i < g->links.count; i++) {
        const struct link *link = &g->links.items[i];
        *neighbors += link->neighbor;
        for (uint32_t k = 0; link->neighbor && k < g->self.watcher_count; k++)
            named += id_equal(&link->id, &g->watchers[k]);
    }
    return named;
}

static void watchers_fill(struct gossip *g)
{
    g->self.watcher_count = 0;
    for (uint32_t i = 0; i < g->links.count && g->self.watcher_count < RECORD_WATCHERS_MAX; i++)
        if (g->links.items[i].neighbor) g->watchers[g->self.watcher_count++] = g->links.items[i].id;
}

void gossip_self_put(struct gossip *g, uint64_t now_ms)
{
    watchers_fill(g);
    if (g->coordinates.samples >= LOCATE_SAMPLES) {
        g->self.located = true;
        g->self.coordinates = coordinates_rounded(&g->coordinates);
    }
    g->self.seq++;
    g->spoken_ms = now_ms;
    g->record_ms = UINT64_MAX;
    members_self_put(&g->members, &g->self, &g->options.key, now_ms);
}

void gossip_self_renew(struct gossip *g, uint64_t now_ms, struct outbox *out)
{
    gossip_self_put(g, now_ms);
    const struct member *self = members_find(&g->members, &g->self.id);
    const enum core_err err = gossip_own_cast(g, TOPIC_MEMBER, self->record->bytes, now_ms, out);
    check(err == CORE_ERR_OK);
}

void gossip_self_refute(struct gossip *g, uint64_t incarnation, uint64_t now_ms, struct outbox *out)
{
    if (g->self.left || incarnation < g->self.incarnation || incarnation >= RECORD_INCARNATION_MAX) return;
    g->self.incarnation = incarnation + 1;
    g->counts.refutations++;
    monitor_refuted(&g->monitor);
    event_emit(&g->options.events, "gossip.refuted", EV_U64("incarnation", g->self.incarnation));
    gossip_self_renew(g, now_ms, out);
}

void gossip_self_neighbors(struct gossip *g, uint64_t now_ms, struct outbox *out)
{
    if (g->self.left) return;
    if (!g->entered && link_table_neighbors(&g->links) > 0) {
        g->entered = true;
        if (!g->announced) gossip_self_renew(g, now_ms, out);
    }
    if (g->tell_ms == UINT64_MAX) g->tell_ms = now_ms + TELL_MS;
    if (g->record_ms == UINT64_MAX) g->unsettled_ms = now_ms;
    const uint64_t settled_ms = now_ms + SETTLE_MS + rng_below(&g->rng, SETTLE_MS);
    const uint64_t latest_ms = g->unsettled_ms + UNSETTLED_MS;
    g->record_ms = settled_ms < latest_ms ? settled_ms : latest_ms;
}

static uint32_t size_of(int32_t us)
{
    return us < 0 ? (uint32_t)-us : (uint32_t)us;
}

static bool has_moved(const struct gossip *g)
{
    if (g->coordinates.samples < LOCATE_SAMPLES) return false;
    if (!g->self.located) return true;
    const struct coordinates_point now = coordinates_rounded(&g->coordinates), *said = &g->self.coordinates;
    uint64_t moved = size_of((int32_t)now.height_us - (int32_t)said->height_us), size = now.height_us;
    for (uint32_t i = 0; i < COORDINATES_DIMENSIONS; i++) {
        moved += size_of(now.at_us[i] - said->at_us[i]);
        size += size_of(now.at_us[i]);
    }
    return moved > LOCATE_US + size / 4;
}

void gossip_newcomers_cast(struct gossip *g, uint64_t now_ms, struct outbox *out)
{
    uint8_t records[GOSSIP_PUSH_MAX];
    for (size_t size; (size = newcomers_take(&g->newcomers, &g->members, records)) > 0;) {
        const enum core_err err = gossip_own_cast(g, TOPIC_NEWCOMERS, (struct slice){records, size}, now_ms, out);
        check(err == CORE_ERR_OK);
    }
}

void gossip_newcomer(struct gossip *g, const struct core_id *id, uint64_t now_ms, struct outbox *out)
{
    struct link *link = link_table_find(&g->links, id);
    if (g->self.left || !link || link->announced || !members_find(&g->members, id)) return;
    link->announced = true;
    if (newcomers_add(&g->newcomers, id, now_ms)) return;
    gossip_newcomers_cast(g, now_ms, out);
    newcomers_add(&g->newcomers, id, now_ms);
}

void gossip_self_tick(struct gossip *g, uint64_t now_ms, struct outbox *out)
{
    if (g->self.left) return;
    if (g->newcomers.due_ms <= now_ms) gossip_newcomers_cast(g, now_ms, out);
    if (g->tell_ms <= now_ms) {
        g->tell_ms = UINT64_MAX;
        monitor_watchers_send(&g->monitor, out);
    }
    bool renew = false;
    if (g->record_ms <= now_ms) {
        g->record_ms = UINT64_MAX;
        uint32_t neighbors;
        const uint32_t named = neighbors_named(g, &neighbors);
        renew = named < NAMED && named < neighbors;
    }
    if (g->locate_ms <= now_ms) {
        const uint64_t every_ms = LOCATE_MS * (1 + members_alive(&g->members) / LOCATE_MEMBERS);
        g->locate_ms = now_ms + every_ms + rng_below(&g->rng, every_ms / 4);
        renew |= has_moved(g);
    }
    if (renew) gossip_self_renew(g, now_ms, out);
}

uint64_t gossip_self_next_ms(const struct gossip *g)
{
    const uint64_t all[] = {g->newcomers.due_ms, g->tell_ms, g->record_ms};
    uint64_t next = g->locate_ms;
    for (uint32_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i] < next) next = all[i];
    return next;
}

// ---- what this peer says of others' silence ----

void gossip_self_accuse(struct gossip *g, const struct monitor_verdict *verdict, uint64_t now_ms, struct outbox *out)
{
    static const char *const reasons[] = {"silent", "closed", "dial", "unwatched", "accused"};
    const struct accusation accusation = {
        .accuser = g->self.id, .target = verdict->target, .incarnation = verdict->incarnation};
    uint8_t bytes[MEMBERS_ACCUSATIONS_MAX];
    accusation_write(bytes, &accusation, &g->options.key);
    struct members_change own, others = {0};
    const enum core_err err = members_accusation_put(&g->members, (struct slice){bytes, ACCUSATION_SIZE}, now_ms, &own);
    check(err == CORE_ERR_OK);
    if (!own.news) return;  // others were faster
    const struct slice another = {verdict->accusation, ACCUSATION_SIZE};
    if (verdict->confirmed && members_accusation_put(&g->members, another, now_ms, &others)) others.news = false;
    g->counts.accusations++;
    event_emit(&g->options.events, "gossip.accused", EV_ID("peer", &verdict->target),
               EV_TEXT("why", reasons[verdict->reason]));
    // This peer's own first, and what it knows beside it.
    struct writer w = writer_over(bytes, sizeof bytes);
    w.size = ACCUSATION_SIZE;
    const struct member *member = members_find(&g->members, &verdict->target);
    for (uint32_t i = 0; i < MEMBERS_ACCUSERS && member->accusations[i]; i++)
        if (!id_equal(&member->accusations[i]->accuser, &g->self.id))
            write_bytes(&w, member->accusations[i]->bytes.data, ACCUSATION_SIZE);
    check(!w.overflowed);
    // Before the table's news: the suspect itself may be the neighbour that must hear it.
    const enum core_err sent = gossip_own_cast(g, TOPIC_SUSPICION, (struct slice){bytes, w.size}, now_ms, out);
    check(sent == CORE_ERR_OK);
    gossip_change_follow(g, &own, now_ms, out);
}
