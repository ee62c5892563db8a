#include "tools/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"

// ---- time: a binary heap by (time, order) ----

static bool before(const struct world_event *a, const struct world_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void world_push(struct world *w, struct world_event e, uint64_t in_us)
{
    e.at_us = w->now_us + in_us;
    e.order = w->order++;
    if (w->count == w->capacity) {
        w->capacity = w->capacity ? 2 * w->capacity : 1024;
        w->heap = realloc(w->heap, w->capacity * sizeof *w->heap);
        check(w->heap);
    }
    size_t at = w->count++;
    for (; at > 0 && before(&e, &w->heap[(at - 1) / 2]); at = (at - 1) / 2) w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = e;
}

bool world_pop(struct world *w, struct world_event *e)
{
    if (!w->count) return false;
    *e = w->heap[0];
    const struct world_event last = w->heap[--w->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= w->count) break;
        if (child + 1 < w->count && before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!before(&w->heap[child], &last)) break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    if (w->count) w->heap[at] = last;
    w->now_us = e->at_us;
    return true;
}

uint64_t world_ms(const struct world *w)
{
    return w->now_us / 1000;
}

uint64_t node_ms(const struct node *n)
{
    return world_ms(n->world) + n->ahead_ms;
}

uint32_t world_chance(struct world *w, uint32_t below)
{
    return (uint32_t)rng_below(&w->rng, below);
}

bool world_odds(struct world *w, uint32_t of_1000)
{
    return of_1000 && world_chance(w, 1000) < of_1000;
}

void world_fail(struct world *w, const char *format, ...)
{
    if (w->report->failed) return;                                 // the first is the cause
    if (w->forked && strncmp(format, "progress", 8) != 0) return;  // two runs now: what counts is that it is seen
    w->report->failed = true;
    int size = snprintf(w->report->what, sizeof w->report->what, "at %llu ms: ", (unsigned long long)world_ms(w));
    va_list args;
    va_start(args, format);
    vsnprintf(w->report->what + size, sizeof w->report->what - (size_t)size, format, args);
    va_end(args);
}

uint32_t world_find(const struct world *w, const struct core_id *id)
{
    for (uint32_t i = 0; i < w->options.nodes; i++)
        if (id_equal(&w->nodes[i].key.id, id)) return i;
    return UINT32_MAX;
}

// ---- messages ----

// One block: the struct, then the bytes that its views show.
struct message *message_clone(const struct message *m)
{
    const struct message_info *info = message_info(m->type);
    size_t size = sizeof *m + m->bulk.size;
    for (uint32_t i = 0; i < info->count; i++)
        if (info->fields[i].kind == MESSAGE_BYTES)
            size += ((const struct slice *)(const void *)((const uint8_t *)m + info->fields[i].offset))->size;
    uint8_t *block = malloc(size);
    check(block);
    struct message *copy = (struct message *)(void *)block;
    *copy = *m;
    uint8_t *at = block + sizeof *m;
    for (uint32_t i = 0; i <= info->count; i++) {
        if (i < info->count && info->fields[i].kind != MESSAGE_BYTES) continue;
        struct slice *s =
            i == info->count ? &copy->bulk : (struct slice *)(void *)((uint8_t *)copy + info->fields[i].offset);
        if (s->size) memcpy(at, s->data, s->size);
        s->data = at;
        at += s->size;
    }
    return copy;
}

static void deliver_in(struct world *w, uint32_t from, uint32_t to, const struct message *m)
{
    struct side *side = &w->sides[from][to];
    uint64_t in = 150 + world_chance(w, 600) + m->bulk.size / 10;
    if (w->now_us >= w->spared_us && world_odds(w, w->reorder)) {
        w->report->faults[2]++;
        in += world_chance(w, 40000);
    }
    if (w->now_us >= w->spared_us && world_odds(w, w->delay)) {
        w->report->faults[1]++;
        in += 50000 + world_chance(w, 1500000);
    }
    uint64_t at = w->now_us + in;
    if (!w->reorder && at <= side->last_us) at = side->last_us + 1;
    if (at > side->last_us) side->last_us = at;
    world_push(
        w,
        (struct world_event){
            .kind = WORLD_MESSAGE, .node = to, .other = from, .connection = side->connection, .data = message_clone(m)},
        at - w->now_us);
}

static void transmit(struct world *w, uint32_t from, uint32_t to, const struct message *m)
{
    w->report->messages++;
    hostile_hears(w, m);
    if (w->blocked[from][to]) return;
    if (w->now_us < w->spared_us) {
        deliver_in(w, from, to, m);
        return;
    }
    if (world_odds(w, w->drop)) {
        w->report->faults[0]++;
        return;
    }
    deliver_in(w, from, to, m);
    if (world_odds(w, w->duplicate)) {
        w->report->faults[3]++;
        deliver_in(w, from, to, m);
    }
}

void world_send(struct world *w, uint32_t from, uint32_t to, const struct message *m)
{
    struct side *side = &w->sides[from][to];
    if (side->up) {
        transmit(w, from, to, m);
        return;
    }
    world_dial(w, from, to);
    if (side->pending_count < WORLD_PENDING) side->pending[side->pending_count++] = message_clone(m);
}

// ---- links ----

static void drop_pending(struct side *side)
{
    for (uint32_t i = 0; i < side->pending_count; i++) free(side->pending[i]);
    side->pending_count = 0;
}

void world_dial(struct world *w, uint32_t from, uint32_t to)
{
    struct side *side = &w->sides[from][to];
    if (side->up || side->dialing || from == to) return;
    side->dialing = true;
    const bool reached = w->nodes[to].up && !w->blocked[from][to] && !w->blocked[to][from];
    const uint64_t in = reached ? 1000 + world_chance(w, 3000) : 400000 + world_chance(w, 400000);
    world_push(w, (struct world_event){.kind = WORLD_DIALED, .node = from, .other = to, .life = w->nodes[from].life},
               in);
}

static void side_down(struct world *w, uint32_t at, uint32_t other)
{
    struct side *side = &w->sides[at][other];
    if (!side->up) return;
    side->up = false;
    struct node *n = &w->nodes[at];
    if (!n->up) return;
    peer_link_down(n->peer, &w->nodes[other].key.id, node_ms(n), &w->out);
    node_finish(n);
}

static void side_up(struct world *w, uint32_t at, uint32_t other, uint64_t connection)
{
    side_down(w, at, other);  // a dead connection that nobody noticed
    struct side *side = &w->sides[at][other];
    struct node *n = &w->nodes[at];
    if (!n->up) return;
    side->up = true;
    side->connection = connection;
    side->last_us = 0;
    peer_link_up(n->peer, &w->nodes[other].key.id, node_ms(n), &w->out);
    node_finish(n);
    if (!side->up) return;  // it crashed on that
    for (uint32_t i = 0; i < side->pending_count; i++) transmit(w, at, other, side->pending[i]);
    drop_pending(side);
}

void world_dialed(struct world *w, const struct world_event *e)
{
    struct side *side = &w->sides[e->node][e->other];
    struct node *n = &w->nodes[e->node];
    if (!n->up || n->life != e->life) return;
    side->dialing = false;
    if (side->up) return;
    if (w->nodes[e->other].up && !w->blocked[e->node][e->other] && !w->blocked[e->other][e->node]) {
        const uint64_t connection = ++w->connections;
        side_up(w, e->other, e->node, connection);
        if (w->nodes[e->node].up) side_up(w, e->node, e->other, connection);
        return;
    }
    drop_pending(side);
    peer_dial_failed(n->peer, &w->nodes[e->other].key.id, node_ms(n), &w->out);
    node_finish(n);
}

void world_link_down(struct world *w, const struct world_event *e)
{
    if (w->sides[e->node][e->other].connection == e->connection) side_down(w, e->node, e->other);
}

// The process is gone: its sockets close, and whoever can hear it, hears that.
void world_links_cut(struct world *w, uint32_t node)
{
    for (uint32_t other = 0; other < w->options.nodes; other++) {
        struct side *mine = &w->sides[node][other], *theirs = &w->sides[other][node];
        mine->up = mine->dialing = false;
        drop_pending(mine);
        if (theirs->up && !w->blocked[node][other])
            world_push(w,
                       (struct world_event){
                           .kind = WORLD_LINK_DOWN, .node = other, .other = node, .connection = theirs->connection},
                       500 + world_chance(w, 3000));
    }
}
