// A mesh of gossip peers in virtual time over a seeded network that delays, reorders, drops and parts. Links behave
// like TCP's: a killed process closes them, a stopped one or a partition leaves them silent. One seed, one history.
#ifndef TESTS_UNIT_GOSSIP_WORLD_H
#define TESTS_UNIT_GOSSIP_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/check.h"
#include "core/philox.h"
#include "gossip/gossip.h"
#include "gossip/key_map.h"
#include "gossip/pool.h"

enum { WORLD_PEERS = 256, WORLD_EVENTS = 1 << 20, WORLD_CASTS = 256, WORLD_PINGS = 8 };

enum world_kind { WORLD_MESSAGE, WORLD_UP, WORLD_DOWN, WORLD_DIAL_FAILED, WORLD_HANGUP };

struct world_event {
    uint64_t at_ms, order;
    enum world_kind kind;
    uint32_t from, to;
    uint32_t epoch;  // of the link that a message travels on
    struct message *message;
};

// A ping under way, for gossip_measured.
struct world_ping {
    uint64_t nonce, at_ms;
};

struct world_peer {
    struct gossip *gossip;  // NULL: the process is down
    uint64_t next_ms;       // its next tick
    struct world_ping pings[WORLD_PINGS];
    uint32_t pinged;
    uint64_t sent, bytes;  // messages that it sent, and their fields' bytes
    struct core_key key;
    bool dialable, paused;
    uint32_t part;  // peers of different parts don't reach each other
    uint64_t starts;
    uint64_t deaf_until_ms;  // what is sent to it arrives no earlier
    uint64_t held_until_ms;  // nor what it sends, whatever parts it from others
    uint32_t dialed;         // times that others dialled it
    uint32_t got[WORLD_CASTS];
};

struct world {
    struct world_peer peers[WORLD_PEERS];
    uint32_t count;
    uint64_t now_ms, order;
    struct rng rng;
    uint32_t delay_min_ms, delay_max_ms;
    uint32_t (*distance_ms)(uint32_t a, uint32_t b);  // one way, on top of the delay; NULL: none
    struct key_map numbers;                           // of peers, by the first 8 bytes of their ids
    struct record_pool *pool;                         // shared: hundreds of peers verify a record once
    uint32_t drop_percent;
    bool kills_are_silent;                  // no one is told that a killed process's links closed
    bool cut[WORLD_PEERS][WORLD_PEERS];     // nothing comes from [a] to [b], whose link stands
    bool linked[WORLD_PEERS][WORLD_PEERS];  // as [a] believes of [b]
    uint32_t epoch[WORLD_PEERS][WORLD_PEERS];
    struct world_event *heap;
    uint32_t heap_count;
    struct outbox out;
    uint64_t sent, bytes, accusations;
    uint64_t sent_of[256];  // by type
    struct core_hash history;
    void (*log)(void *context, const struct event *event);  // every event, with its peer's number in world->speaker
    void *log_context;
    uint32_t speaker;
    struct gossip_options options;  // what every peer gets beside its own
    struct world_speaker {
        struct world *world;
        uint32_t peer;
    } speakers[WORLD_PEERS];
};

// ---- the queue ----

static inline bool world_before(const struct world_event *a, const struct world_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static inline void world_push(struct world *w, struct world_event e, uint64_t delay_ms)
{
    check(w->heap_count < WORLD_EVENTS);
    e.at_ms = w->now_ms + delay_ms;
    e.order = w->order++;
    uint32_t at = w->heap_count++;
    while (at > 0 && world_before(&e, &w->heap[(at - 1) / 2])) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = e;
}

static inline struct world_event world_pop(struct world *w)
{
    const struct world_event top = w->heap[0], last = w->heap[--w->heap_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= w->heap_count) break;
        if (child + 1 < w->heap_count && world_before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!world_before(&w->heap[child], &last)) break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return top;
}

// ---- the network ----

static inline uint64_t world_delay(struct world *w, uint32_t a, uint32_t b)
{
    const uint64_t delay = w->delay_min_ms + rng_below(&w->rng, w->delay_max_ms - w->delay_min_ms + 1);
    return delay + (w->distance_ms ? w->distance_ms(a, b) : 0);
}

// A copy; `bytes` of its views and bulk.
static inline struct message *world_copy(const struct message *m, size_t *bytes)
{
    const struct message_info *info = message_info(m->type);
    size_t size = sizeof *m + m->bulk.size;
    for (uint32_t i = 0; i < info->count; i++)
        if (info->fields[i].kind == MESSAGE_BYTES)
            size += ((const struct slice *)(const void *)((const uint8_t *)m + info->fields[i].offset))->size;
    struct message *copy = malloc(size);
    check(copy);
    *copy = *m;
    uint8_t *at = (uint8_t *)(copy + 1);
    for (uint32_t i = 0; i < info->count; i++) {
        if (info->fields[i].kind != MESSAGE_BYTES) continue;
        struct slice *s = (struct slice *)(void *)((uint8_t *)copy + info->fields[i].offset);
        if (s->size) memcpy(at, s->data, s->size);
        s->data = at;
        at += s->size;
    }
    check(size - sizeof *m - m->bulk.size <= info->body_limit && m->bulk.size <= info->bulk_limit);
    if (m->bulk.size) memcpy(at, m->bulk.data, m->bulk.size);
    copy->bulk.data = at;
    *bytes = size - sizeof *m;
    return copy;
}

static inline uint64_t world_key(const void *bytes)
{
    uint64_t key;
    memcpy(&key, bytes, sizeof key);
    return key;
}

static inline uint32_t world_number(const struct world *w, const struct core_id *id)
{
    const uint32_t *number = key_map_find(&w->numbers, world_key(id->bytes));
    return number && id_equal(&w->peers[*number].key.id, id) ? *number : UINT32_MAX;
}

static inline bool world_reaches(const struct world *w, uint32_t a, uint32_t b)
{
    return w->peers[a].part == w->peers[b].part;
}

// a dials b: both are told, or a alone that it failed.
static inline void world_dial(struct world *w, uint32_t a, uint32_t b)
{
    check(w->peers[b].dialable);
    w->peers[b].dialed++;
    if (w->linked[a][b]) return;
    const bool up = w->peers[b].gossip && world_reaches(w, a, b) && !w->peers[b].paused;
    if (!up) {
        const bool refused = !w->peers[b].gossip && world_reaches(w, a, b);
        world_push(w, (struct world_event){.kind = WORLD_DIAL_FAILED, .from = b, .to = a}, refused ? 2 : 3000);
        return;
    }
    const uint32_t epoch = w->epoch[a][b] > w->epoch[b][a] ? w->epoch[a][b] + 1 : w->epoch[b][a] + 1;
    w->epoch[a][b] = w->epoch[b][a] = epoch;
    w->linked[a][b] = w->linked[b][a] = true;
    const uint64_t delay = world_delay(w, a, b);
    world_push(w, (struct world_event){.kind = WORLD_UP, .from = a, .to = b, .epoch = epoch}, delay);
    world_push(w, (struct world_event){.kind = WORLD_UP, .from = b, .to = a, .epoch = epoch}, delay);
}

static inline void world_unlink(struct world *w, uint32_t a, uint32_t b, bool tell_b)
{
    if (!w->linked[a][b]) return;
    w->linked[a][b] = false;
    const uint32_t epoch = w->epoch[a][b]++;
    world_push(w, (struct world_event){.kind = WORLD_DOWN, .from = b, .to = a, .epoch = epoch}, 0);
    if (!tell_b) return;
    w->linked[b][a] = false;
    w->epoch[b][a] = w->epoch[a][b];
    world_push(w, (struct world_event){.kind = WORLD_DOWN, .from = a, .to = b, .epoch = epoch}, world_delay(w, a, b));
}

static inline void world_send(struct world *w, uint32_t a, uint32_t b, const struct message *m)
{
    if (!w->linked[a][b]) {
        if (!w->peers[b].dialable) return;
        world_dial(w, a, b);
        if (!w->linked[a][b]) return;
    }
    w->sent++;
    w->peers[a].sent++;
    w->sent_of[m->type]++;
    if (m->type == MESSAGE_PING)
        w->peers[a].pings[w->peers[a].pinged++ % WORLD_PINGS] = (struct world_ping){m->ping.nonce, w->now_ms};
    const bool lost = rng_below(&w->rng, 100) < w->drop_percent;
    const uint64_t held_ms = w->peers[a].held_until_ms > w->now_ms ? w->peers[a].held_until_ms - w->now_ms : 0;
    if (lost || w->cut[a][b] || (!held_ms && !world_reaches(w, a, b))) return;
    // Behind the link's own coming up.
    const uint64_t delay = world_delay(w, a, b) + w->delay_max_ms + held_ms;
    struct world_event e = {.kind = WORLD_MESSAGE, .from = a, .to = b, .epoch = w->epoch[a][b]};
    size_t bytes;
    e.message = world_copy(m, &bytes);
    w->peers[a].bytes += bytes;
    w->bytes += bytes;
    world_push(w, e, delay);
}

static inline void world_perform(struct world *w, uint32_t a)
{
    check(w->out.dropped == 0);
    for (size_t i = 0; i < w->out.count; i++) {
        const struct effect *e = &w->out.effects[i];
        const uint32_t b = world_number(w, &e->to);
        check(b != UINT32_MAX && (b != a || e->kind == EFFECT_MEMBER || e->kind == EFFECT_DELIVER));
        switch (e->kind) {
        case EFFECT_SEND: world_send(w, a, b, &e->message); break;
        case EFFECT_DIAL: world_dial(w, a, b); break;
        case EFFECT_HANGUP:  // as the node does: once the link has been idle for a while
            world_push(w, (struct world_event){.kind = WORLD_HANGUP, .from = b, .to = a, .epoch = w->epoch[a][b]},
                       1000);
            break;
        case EFFECT_DELIVER: w->peers[a].got[e->payload.data[0]]++; break;
        case EFFECT_MEMBER: break;
        default: check(false);
        }
    }
    outbox_reset(&w->out);
    if (w->peers[a].gossip) w->peers[a].next_ms = gossip_next_ms(w->peers[a].gossip);
}

// ---- peers ----

static inline void world_emit(void *context, const struct event *event)
{
    const struct world_speaker *speaker = context;
    struct world *w = speaker->world;
    w->speaker = speaker->peer;
    char line[512];
    const size_t size = event_format(line, sizeof line, event);
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, w->history.bytes, sizeof w->history.bytes);
    hash_add(&s, &w->now_ms, sizeof w->now_ms);
    hash_add(&s, line, size);
    w->history = hash_end(&s);
    if (strcmp(event->name, "gossip.accused") == 0) w->accusations++;
    if (w->log) w->log(w->log_context, event);
}

// Starts peer i's process with an empty table; `incarnation` as from its disk.
static inline void world_start(struct world *w, uint32_t i, uint64_t incarnation)
{
    struct world_peer *p = &w->peers[i];
    char name[16], address[24];
    snprintf(name, sizeof name, "p%u", i);
    snprintf(address, sizeof address, "host-%u:6173", i);
    struct gossip_options o = w->options;
    o.key = p->key;
    o.seed = 1000 * ++p->starts + i;
    o.incarnation = incarnation;
    o.name = (struct slice){(const uint8_t *)name, strlen(name)};
    o.addresses = p->dialable ? (struct slice){(const uint8_t *)address, strlen(address)} : (struct slice){0};
    w->speakers[i] = (struct world_speaker){w, i};
    o.events = (struct event_sink){world_emit, &w->speakers[i]};
    o.pool = w->pool;
    const enum core_err err = gossip_open(&p->gossip, &o, w->now_ms);
    check(err == CORE_ERR_OK);
    p->next_ms = gossip_next_ms(p->gossip);
}

static inline void world_kill(struct world *w, uint32_t i)
{
    gossip_close(w->peers[i].gossip);
    w->peers[i].gossip = NULL;
    w->peers[i].paused = false;
    for (uint32_t b = 0; b < w->count; b++) {
        if (!w->linked[b][i] && !w->linked[i][b]) continue;
        w->linked[i][b] = false;
        w->epoch[i][b]++;
        if (w->kills_are_silent || !world_reaches(w, i, b) || !w->linked[b][i]) continue;
        w->linked[b][i] = false;
        const uint32_t epoch = w->epoch[b][i]++;
        world_push(w, (struct world_event){.kind = WORLD_DOWN, .from = i, .to = b, .epoch = epoch},
                   world_delay(w, i, b));
    }
}

static inline void world_open(struct world *w, uint32_t count, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->count = count;
    w->rng = rng_from(seed, 77);
    w->delay_min_ms = 1;
    w->delay_max_ms = 20;
    w->options.members_max = WORLD_PEERS;
    w->options.retry_max_ms = 20000;
    w->heap = calloc(WORLD_EVENTS, sizeof *w->heap);
    check(w->heap);
    enum core_err err = outbox_open(&w->out, 4096, 16u << 20);
    if (!err) err = record_pool_open(&w->pool);
    check(err == CORE_ERR_OK);
    w->now_ms = 1000;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t raw[CORE_SEED_SIZE] = {(uint8_t)i, (uint8_t)seed, (uint8_t)(seed >> 8), 1};
        w->peers[i].key = sign_key_from_seed(raw);
        w->peers[i].dialable = true;
        check(key_map_put(&w->numbers, world_key(w->peers[i].key.id.bytes), i));
    }
}

static inline void world_close(struct world *w)
{
    for (uint32_t i = 0; i < w->count; i++) gossip_close(w->peers[i].gossip);
    while (w->heap_count > 0) {
        const struct world_event e = world_pop(w);
        free(e.message);
    }
    free(w->heap);
    key_map_close(&w->numbers);
    record_pool_close(w->pool);
    outbox_close(&w->out);
}

// The round trip of a ping, for its pong.
static inline void world_measure(struct world *w, const struct world_event *e)
{
    struct world_peer *p = &w->peers[e->to];
    for (uint32_t i = 0; i < WORLD_PINGS; i++) {
        if (p->pings[i].nonce != e->message->pong.nonce || p->pings[i].at_ms == 0) continue;
        gossip_measured(p->gossip, &w->peers[e->from].key.id, 1000 * (w->now_ms - p->pings[i].at_ms), w->now_ms);
        p->pings[i].at_ms = 0;
    }
}

static inline void world_handle(struct world *w, const struct world_event *e)
{
    struct world_peer *p = &w->peers[e->to];
    const struct core_id *from = &w->peers[e->from].key.id;
    if (!p->gossip) return;
    if (p->paused || w->now_ms < p->deaf_until_ms) {  // it lies in the socket until the process goes on
        struct world_event again = *e;
        size_t bytes;
        if (e->message) again.message = world_copy(e->message, &bytes);
        world_push(w, again, 100);
        return;
    }
    enum core_err err = CORE_ERR_OK;
    switch (e->kind) {
    case WORLD_MESSAGE:
        if (w->epoch[e->to][e->from] != e->epoch || !w->linked[e->to][e->from]) return;
        check(gossip_message(p->gossip, from, e->message, w->now_ms, &w->out, &err));
        assert_int_equal(err, CORE_ERR_OK);
        if (e->message->type == MESSAGE_PONG) world_measure(w, e);
        break;
    case WORLD_UP:
        if (w->epoch[e->to][e->from] == e->epoch) gossip_link_up(p->gossip, from, w->now_ms, &w->out);
        break;
    case WORLD_DOWN:
        if (w->epoch[e->to][e->from] == e->epoch + 1 && !w->linked[e->to][e->from])
            gossip_link_down(p->gossip, from, w->now_ms, &w->out);
        break;
    case WORLD_HANGUP: {
        struct gossip_member m;
        const bool wanted = gossip_member_find(p->gossip, from, &m) && m.neighbor;
        if (!wanted && w->epoch[e->to][e->from] == e->epoch) world_unlink(w, e->to, e->from, true);
        break;
    }
    case WORLD_DIAL_FAILED: gossip_dial_failed(p->gossip, from, w->now_ms, &w->out); break;
    }
    world_perform(w, e->to);
}

// Handles what comes next, up to `until_ms`; false when that is reached.
static inline bool world_step(struct world *w, uint64_t until_ms)
{
    uint64_t next = until_ms + 1;
    uint32_t ticks = UINT32_MAX;
    for (uint32_t i = 0; i < w->count; i++) {
        const struct world_peer *p = &w->peers[i];
        if (!p->gossip || p->paused) continue;
        const uint64_t at = p->next_ms < w->now_ms ? w->now_ms : p->next_ms;
        if (at < next) {
            next = at;
            ticks = i;
        }
    }
    if (w->heap_count > 0 && w->heap[0].at_ms <= next && w->heap[0].at_ms <= until_ms) {
        const struct world_event e = world_pop(w);
        w->now_ms = e.at_ms;
        world_handle(w, &e);
        free(e.message);
        return true;
    }
    if (next > until_ms) {
        w->now_ms = until_ms;
        return false;
    }
    w->now_ms = next;
    gossip_tick(w->peers[ticks].gossip, w->now_ms, &w->out);
    world_perform(w, ticks);
    return true;
}

static inline void world_run(struct world *w, uint64_t for_ms)
{
    const uint64_t until = w->now_ms + for_ms;
    while (world_step(w, until)) continue;
}

static inline void world_cast(struct world *w, uint32_t i, uint8_t number)
{
    const uint8_t payload[40] = {number};
    const struct slice bytes = {payload, sizeof payload};
    const enum core_err err = gossip_cast(w->peers[i].gossip, TOPIC_RUN, bytes, w->now_ms, &w->out);
    check(err == CORE_ERR_OK);
    world_perform(w, i);
}

// Everyone starts; all but the first dial it within half a second, as after `join`.
static inline void world_join_all(struct world *w)
{
    for (uint32_t i = 0; i < w->count; i++) world_start(w, i, 1);
    for (uint32_t i = 1; i < w->count; i++) {
        world_run(w, rng_below(&w->rng, 1000 / w->count + 1));
        world_dial(w, i, 0);
    }
}

#endif
