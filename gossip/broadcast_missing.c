// What was announced and has not come: how long it is waited for, and whom it is asked of.
#include <string.h>

#include "core/check.h"
#include "gossip/broadcast_parts.h"

enum {
    PATIENCE_MAX_MS = 1000,
    PATIENCE_PARTS = 1024,
    BULK_WAIT_MS = 1000,    // for an answer to a graft of a large payload, and
    BULK_WAIT_RATE = 1024,  // bytes in a millisecond
    TRIES_MAX = 8,
    ANNOUNCED_MAX = 2048,  // missing rows that one neighbour can open
};

struct broadcast_missing *broadcast_missing_find(struct broadcast *b, uint64_t key)
{
    const uint32_t *place = key_map_find(&b->missing_map, key);
    return place ? &b->missing[*place] : NULL;
}

void broadcast_missing_remove(struct broadcast *b, struct broadcast_missing *row)
{
    struct link *opener = broadcast_link_of_bit(b, row->opener);
    if (opener && opener->cast_rows > 0) opener->cast_rows--;
    key_map_remove(&b->missing_map, row->key);
    *row = b->missing[--b->missing_count];
    if (row == &b->missing[b->missing_count]) return;
    const bool moved = key_map_put(&b->missing_map, row->key, (uint32_t)(row - b->missing));
    check(moved);  // it was there: nothing is allocated
}

static struct broadcast_missing *missing_open(struct broadcast *b, struct link *link, uint64_t key, uint64_t now_ms)
{
    const bool room = b->missing_count < BROADCAST_MISSING_MAX && link->cast_rows < ANNOUNCED_MAX;
    if (!room || !key_map_put(&b->missing_map, key, b->missing_count)) return NULL;  // it is told of again
    link->cast_rows++;
    struct broadcast_missing *row = &b->missing[b->missing_count++];
    *row = (struct broadcast_missing){.key = key, .opener = link->cast_bit, .since_ms = now_ms};
    return row;
}

// As long as broadcasts usually take to come by themselves once they are announced, and up to as long again: of a
// subtree that was cut off one peer asks first, and the others get it through that one.
static uint64_t patience_ms(const struct broadcast *b)
{
    const uint64_t usual_ms = (b->lag_us + 4 * b->lag_var_us) / 1000;
    const uint64_t least_ms = b->options->graft_ms;
    const uint64_t ms = usual_ms < least_ms ? least_ms : usual_ms > PATIENCE_MAX_MS ? PATIENCE_MAX_MS : usual_ms;
    return ms + ms * b->patience / PATIENCE_PARTS;
}

// As TCP estimates round trips (RFC 6298).
void broadcast_lag_learn(struct broadcast *b, uint64_t lag_ms)
{
    const int64_t off = (int64_t)(1000 * lag_ms) - (int64_t)b->lag_us;
    b->lag_us = (uint64_t)((int64_t)b->lag_us + off / 8);
    b->lag_var_us = (uint64_t)((int64_t)b->lag_var_us + ((off < 0 ? -off : off) - (int64_t)b->lag_var_us) / 4);
}

void broadcast_graft_flush(struct broadcast *b, struct broadcast_graft *graft, struct outbox *out)
{
    if (!graft->to || (graft->count == 0 && !graft->edge)) return;
    if (graft->edge) graft->to->lazy = false;
    struct message m = {.type = MESSAGE_CAST_GRAFT};
    m.cast_graft.ids = (struct slice){graft->raw, graft->count * CAST_KEY_SIZE};
    m.cast_graft.edge = graft->edge;
    outbox_send(out, &graft->to->id, &m);
    b->counts->grafts += graft->count;
    graft->count = 0;
    graft->to = NULL;
}

static void graft_add(struct broadcast *b, struct broadcast_graft *graft, struct link *to, bool edge, uint64_t key,
                      struct outbox *out)
{
    if (graft->to != to || graft->edge != edge || graft->count == BROADCAST_GRAFT_MAX)
        broadcast_graft_flush(b, graft, out);
    graft->to = to;
    graft->edge = edge;
    if (graft->count == 0) graft->w = writer_over(graft->raw, sizeof graft->raw);
    write_u64(&graft->w, key);
    graft->count++;
}

// Whether what is asked for shall also make the edge eager: one edge at a time, for one is enough to mend the tree, and
// none where what the same neighbour announced later has come by itself: it was mended by others.
static bool is_edge(struct broadcast *b, const struct link *link, const struct broadcast_missing *row, uint64_t now_ms)
{
    if (row->size != 0 || row->repair || link->through_ms > row->since_ms) return false;
    if (now_ms - b->edge_ms < b->options->graft_ms) return link->cast_bit == b->edge;
    b->edge_ms = now_ms;
    b->edge = link->cast_bit;
    b->patience = (uint32_t)rng_below(&b->rng, PATIENCE_PARTS);
    return true;
}

// Everyone who announced it, once more: what was asked for, or its answer, may be lost.
static void ask_again(struct broadcast *b, struct broadcast_missing *row)
{
    for (uint32_t i = 0; i < b->links->count && row->count < BROADCAST_ANNOUNCERS; i++) {
        const uint32_t bit = b->links->items[i].cast_bit;
        if (bit & row->announced) row->announcers[row->count++] = bit;
    }
}

// Asks the next who announced it. False when it was asked for often enough: it is forgotten, until it is announced
// again.
static bool ask_next(struct broadcast *b, struct broadcast_missing *row, struct broadcast_graft *graft, uint64_t now_ms,
                     struct outbox *out)
{
    if (row->count == 0 && row->tries < TRIES_MAX) ask_again(b, row);
    struct link *link = NULL;
    while (!link && row->count > 0) {
        link = broadcast_link_of_bit(b, row->announcers[0]);
        row->count--;
        memmove(&row->announcers[0], &row->announcers[1], row->count * sizeof row->announcers[0]);
    }
    if (!link) return false;
    row->asked = true;
    row->asked_of = link->cast_bit;
    row->tries++;
    const uint64_t bulk_ms = row->size ? BULK_WAIT_MS + row->size / BULK_WAIT_RATE : 0;
    row->ask_ms = now_ms + b->options->graft_ms + 4 * link->rtt_us / 1000 + bulk_ms;
    graft_add(b, graft, link, is_edge(b, link, row, now_ms), row->key, out);
    return true;
}

// One announced key: `size` and `repair` as in the row.
void broadcast_announced(struct broadcast *b, struct link *link, uint64_t key, uint32_t size, bool repair,
                         struct broadcast_graft *graft, uint64_t now_ms, struct outbox *out)
{
    struct broadcast_missing *row = broadcast_missing_find(b, key);
    if (!row) {
        row = missing_open(b, link, key, now_ms);
        if (!row) return;
        row->size = size;
        row->repair = repair;
        row->ask_ms = size || repair ? now_ms : now_ms + patience_ms(b);
    }
    bool known = false;
    for (uint32_t i = 0; i < row->count; i++) known |= row->announcers[i] == link->cast_bit;
    if (!known && row->count < BROADCAST_ANNOUNCERS) row->announcers[row->count++] = link->cast_bit;
    row->announced |= link->cast_bit;
    if (!row->asked && row->ask_ms <= now_ms && !ask_next(b, row, graft, now_ms, out))
        broadcast_missing_remove(b, row);
    else if (row->ask_ms < b->missing_ms)
        b->missing_ms = row->ask_ms;
}

void broadcast_ask_due(struct broadcast *b, uint64_t now_ms, struct outbox *out)
{
    struct broadcast_graft graft = {0};
    b->missing_ms = UINT64_MAX;
    for (uint32_t i = b->missing_count; i-- > 0;) {
        struct broadcast_missing *row = &b->missing[i];
        if (row->ask_ms <= now_ms && !ask_next(b, row, &graft, now_ms, out))
            broadcast_missing_remove(b, row);
        else if (row->ask_ms < b->missing_ms)
            b->missing_ms = row->ask_ms;
    }
    broadcast_graft_flush(b, &graft, out);
}
