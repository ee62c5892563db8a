#include "gossip/monitor.h"

#include <stdlib.h>

#include "core/check.h"
#include "gossip/monitor_parts.h"
#include "gossip/sync.h"

enum {
    MASS_SILENCE_HEALTH = 2,  // no worse for it alone: a real split is to be seen too
    NEIGHBORS_LEAST = 2,
    SHORT_MS = 2000,  // a pause that is only skipped
    PAUSE_FACTOR = 2,
    PROBES_RATE = 8,  // questions a second that one peer may put
    PROBES_BURST = 64,
};

void monitor_open(struct monitor *m, const struct gossip_options *options, struct link_table *links,
                  struct members *members, const struct coordinates *coordinates, struct gossip_counts *counts,
                  uint64_t now_ms)
{
    *m = (struct monitor){
        .options = options, .links = links, .members = members, .coordinates = coordinates, .counts = counts};
    m->rng = rng_from(options->seed, 0x6d6f6e69);
    m->woke_ms = now_ms;
    m->late_ms = SHORT_MS;
    m->mend_ms = now_ms;
    m->watch_ms = UINT64_MAX;
}

void monitor_close(struct monitor *m)
{
    free(m->doubts);
    free(m->inquiries);
    free(m->told);
    *m = (struct monitor){0};
}

uint64_t monitor_stretched(const struct monitor *m, uint64_t ms)
{
    return ms * (2 + m->health) / 2;
}

void monitor_health_add(struct monitor *m, int by)
{
    if (by > 0 && m->health < MONITOR_HEALTH_MAX) m->health++;
    if (by < 0 && m->health > 0) m->health--;
}

void monitor_refuted(struct monitor *m)
{
    monitor_health_add(m, 1);
}

uint64_t monitor_refute_ms(const struct monitor *m)
{
    return monitor_stretched(m, m->options->refute_ms);
}

uint64_t monitor_refute_from_ms(const struct monitor *m)
{
    return m->woke_ms + monitor_grace(m, m->options->silent_ms + m->options->refute_ms);
}

uint64_t monitor_grace(const struct monitor *m, uint64_t most_ms)
{
    const uint64_t ms = PAUSE_FACTOR * m->late_ms;
    return ms < most_ms ? ms : most_ms;
}

// Whoever has few neighbours can watch them the more closely for the same traffic.
static uint64_t ping_every_ms(const struct monitor *m)
{
    const uint64_t neighbors = m->neighbors < NEIGHBORS_LEAST ? NEIGHBORS_LEAST : m->neighbors;
    const uint64_t every = m->options->ping_ms * neighbors / m->options->active_size;
    return every < m->options->ping_ms ? every : m->options->ping_ms;
}

// What this peer waited for may have come meanwhile, and lies in a socket: it has that much more time.
static void pause_skip(struct monitor *m, uint64_t ms)
{
    for (uint32_t i = 0; i < m->doubt_count; i++) m->doubts[i].deadline_ms += ms;
    for (uint32_t i = 0; i < m->links->count; i++)
        if (m->links->items[i].waiting_ms) m->links->items[i].waiting_ms += ms;
}

// All the others may have changed, and hung up on this peer: it begins anew.
static void pause_forget(struct monitor *m, uint64_t now_ms)
{
    m->doubt_count = 0;
    m->mass_until_ms = 0;
    for (uint32_t i = 0; i < m->links->count; i++) {
        struct link *link = &m->links->items[i];
        link->heard_ms = now_ms - ping_every_ms(m);  // pinged now, or by the other side in a moment
        link->due_ms = now_ms;
        link->waiting_ms = 0;
    }
    if (m->watch_ms != UINT64_MAX) m->watch_ms = m->watch_until_ms = now_ms + WAKE_GRACE_MS;
}

void monitor_clock(struct monitor *m, uint64_t now_ms)
{
    // What was due when this peer was last called is still due: nothing has happened since.
    const uint64_t due_ms = monitor_next_ms(m);
    if (due_ms == UINT64_MAX || now_ms < due_ms + LATE_MS) return;
    m->woke_ms = now_ms;
    m->late_ms = now_ms - due_ms;
    m->inquiry_count = 0;
    if (m->late_ms < SHORT_MS)
        pause_skip(m, PAUSE_FACTOR * m->late_ms);
    else
        pause_forget(m, now_ms);
    m->mend_ms = now_ms + m->options->ping_ms;
    monitor_health_add(m, 1);
}

void monitor_neighbor_up(struct monitor *m, struct link *link, uint64_t now_ms)
{
    m->neighbors = link_table_neighbors(m->links);
    link->watched_ms = now_ms;
    link->turn = id_compare(&m->members->self, &link->id) < 0;
    link->due_ms = now_ms + rng_below(&m->rng, ping_every_ms(m));  // a peer's watchers don't all look at one time
    link->waiting_ms = 0;
}

void monitor_heard(struct monitor *m, struct link *link, uint64_t now_ms)
{
    link->heard_ms = now_ms;
    link->waiting_ms = 0;
    link->vouched = 0;
    monitor_settled(m, &link->id);
    for (uint32_t i = 0; i < m->inquiry_count; i++)
        if (id_equal(&m->inquiries[i].target, &link->id)) m->inquiries[i].heard = true;
}

// ---- pings ----

void monitor_ping(struct monitor *m, const struct core_id *peer, struct outbox *out)
{
    struct link *link = link_table_find(m->links, peer);
    struct message message = {.type = MESSAGE_PING};
    // Neighbours alone ping in rounds; 0 is a single question, and says nothing of how they stand to each other.
    if (link && link->neighbor) message.ping.nonce = rng_u64(&m->rng) | 1;
    outbox_send(out, peer, &message);
}

static uint64_t next_ping_ms(struct monitor *m, uint64_t now_ms)
{
    const uint64_t every = ping_every_ms(m);
    return now_ms + every - every / 16 + rng_below(&m->rng, every / 8 + 1);
}

static uint64_t ping_due_ms(const struct monitor *m, const struct link *link)
{
    if (link->turn) return link->due_ms;
    const uint64_t every = ping_every_ms(m);
    const uint64_t from_ms = link->heard_ms > link->watched_ms ? link->heard_ms : link->watched_ms;
    return from_ms + every + every / 8;
}

static uint64_t patience_ms(const struct monitor *m, const struct link *link)
{
    return monitor_stretched(m, m->options->silent_ms + link->rtt_us * 4 / 1000);
}

static uint64_t link_due_ms(const struct monitor *m, const struct link *link)
{
    if (link->waiting_ms == 0) return ping_due_ms(m, link);
    const uint64_t patience = patience_ms(m, link);
    return link->waiting_ms + (link->pinged_again ? patience : patience / 2);
}

// True if the neighbour is to be doubted.
static bool link_tick(struct monitor *m, struct link *link, uint64_t now_ms, struct outbox *out)
{
    if (now_ms < link_due_ms(m, link)) return false;
    if (link->waiting_ms != 0 && link->pinged_again) return true;
    link->pinged_again = link->waiting_ms != 0;
    if (link->waiting_ms == 0) link->waiting_ms = now_ms;
    link->due_ms = next_ping_ms(m, now_ms);
    link->turn = false;
    monitor_ping(m, &link->id, out);
    return false;
}

// When most neighbours fall silent at once, it is this peer that is slow: its health worsens; a time in which nobody
// was late mends it.
static void mend(struct monitor *m, uint64_t now_ms)
{
    uint32_t neighbors = 0, late = 0;
    for (uint32_t i = 0; i < m->links->count; i++) {
        const struct link *link = &m->links->items[i];
        neighbors += link->neighbor;
        late += link->neighbor && link->waiting_ms != 0 && link->pinged_again;
    }
    if (now_ms < m->mend_ms) return;
    m->mend_ms = now_ms + m->options->ping_ms;
    if (neighbors >= 3 && 2 * late > neighbors && m->health < MASS_SILENCE_HEALTH) monitor_health_add(m, 1);
    if (late == 0) monitor_health_add(m, -1);
}

void monitor_tick(struct monitor *m, uint64_t now_ms, struct outbox *out)
{
    if (m->quiet) return;
    mend(m, now_ms);
    for (uint32_t i = 0; i < m->links->count; i++) {
        struct link *link = &m->links->items[i];
        if (!link->neighbor || !link_tick(m, link, now_ms, out)) continue;
        monitor_doubt(m, &link->id, MONITOR_SILENT, now_ms, out);
        link->waiting_ms = now_ms;  // the doubt has its own times; the link is watched on
        link->pinged_again = false;
    }
    monitor_mass(m, now_ms);
    if (m->watch_ms <= now_ms) monitor_watch(m, now_ms, out);
    monitor_answer(m, now_ms, out);
}

uint64_t monitor_next_ms(const struct monitor *m)
{
    uint64_t next = m->quiet ? UINT64_MAX : m->watch_ms;
    for (uint32_t i = 0; i < m->doubt_count; i++)
        if (m->doubts[i].deadline_ms < next) next = m->doubts[i].deadline_ms;
    for (uint32_t i = 0; i < m->inquiry_count; i++)
        if (m->inquiries[i].deadline_ms < next) next = m->inquiries[i].deadline_ms;
    for (uint32_t i = 0; i < m->links->count && !m->quiet; i++) {
        const struct link *link = &m->links->items[i];
        if (!link->neighbor) continue;
        const uint64_t due = link_due_ms(m, link);
        if (due < next) next = due;
    }
    return next;
}

// ---- messages ----

static void ping_received(struct monitor *m, struct link *link, uint64_t nonce, uint64_t now_ms, struct outbox *out)
{
    if (nonce != 0) {
        link->turn = true;  // both ends measure
        link->due_ms = next_ping_ms(m, now_ms);
    }
    uint8_t point[COORDINATES_SIZE];
    struct message pong = {.type = MESSAGE_PONG};
    pong.pong.nonce = nonce;
    pong.pong.members = sync_root(m->members);
    const struct coordinates_point own = coordinates_rounded(m->coordinates);
    coordinates_write(point, &own);
    pong.pong.coordinates = (struct slice){point, sizeof point};
    outbox_send(out, &link->id, &pong);
}

static enum core_err pong_received(struct link *link, const struct message_pong *pong)
{
    if (pong->members.size != 0 && pong->members.size != POOL_MARK_SIZE) return CORE_ERR_MALFORMED;
    if (pong->coordinates.size == 0) return CORE_ERR_OK;
    const enum core_err err = coordinates_read(&link->coordinates, pong->coordinates);
    link->located = err == CORE_ERR_OK;
    return err;
}

bool monitor_message(struct monitor *m, const struct core_id *from, const struct message *message, uint64_t now_ms,
                     struct outbox *out, enum core_err *err)
{
    struct link *link = link_table_find(m->links, from);
    check(link);
    switch (message->type) {
    case MESSAGE_PING: ping_received(m, link, message->ping.nonce, now_ms, out); return true;
    case MESSAGE_PONG: *err = pong_received(link, &message->pong); return true;
    case MESSAGE_PROBE:
        if (bucket_take(&link->probes, 1, PROBES_RATE, PROBES_BURST, now_ms))
            monitor_probe_received(m, from, &message->probe, now_ms, out);
        else
            m->counts->limited++;
        return true;
    case MESSAGE_PROBE_ANSWER: *err = monitor_answer_received(m, from, &message->probe_answer, now_ms); return true;
    case MESSAGE_MEMBERS_WATCHERS: *err = monitor_told_received(m, from, message->members_watchers.ids); return true;
    default: return false;
    }
}
