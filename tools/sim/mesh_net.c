// Links and messages between simulated peers.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "tools/sim/mesh_world.h"

enum {
    BASE_US = 60,  // of any message: two loops, a switch
    JITTER_US = 120,
    DIAL_TRIPS = 4,             // round trips of connecting: TCP, ZMTP with CURVE, HELLO
    DIAL_WORK_US = 2500,        // and both sides' CURVE and signatures
    DIAL_REFUSED_US = 1500000,  // a port that nobody listens on: the dialler tries again and gives up
    DIAL_LOST_US = 4000000,     // nothing comes back
    IDLE_US = 60000000,         // a link that was hung up on closes after so long
    SOON_US = 500,
};

struct mesh_side *mesh_side_find(struct mesh_node *n, uint32_t other)
{
    for (uint32_t i = 0; i < n->side_count; i++)
        if (n->sides[i].other == other) return &n->sides[i];
    return NULL;
}

static struct mesh_side *side_get(struct mesh_node *n, uint32_t other)
{
    struct mesh_side *side = mesh_side_find(n, other);
    if (side) return side;
    if (n->side_count == n->side_capacity) {
        n->side_capacity = n->side_capacity ? 2 * n->side_capacity : 8;
        n->sides = realloc(n->sides, n->side_capacity * sizeof *n->sides);
        check(n->sides);
    }
    side = &n->sides[n->side_count++];
    *side = (struct mesh_side){.other = other};
    return side;
}

static void drop_pending(struct mesh_side *side)
{
    for (uint32_t i = 0; i < side->pending_count; i++) wire_release(side->pending[i]);
    side->pending_count = 0;
}

// Rows without a link and without a dial are not kept.
static void side_forget(struct mesh_node *n, uint32_t other)
{
    struct mesh_side *side = mesh_side_find(n, other);
    if (!side || side->up || side->dialing) return;
    drop_pending(side);
    *side = n->sides[--n->side_count];
}

void mesh_links_free(struct mesh_node *n)
{
    for (uint32_t i = 0; i < n->side_count; i++) drop_pending(&n->sides[i]);
    free(n->sides);
    n->sides = NULL;
    n->side_count = n->side_capacity = 0;
}

bool mesh_blocked(const struct mesh_world *w, uint32_t from, uint32_t to)
{
    if (w->nodes[from].silent || w->nodes[to].silent) return true;
    if (w->any_cut && w->cut[w->nodes[from].group][w->nodes[to].group]) return true;
    for (uint32_t i = 0; i < w->pair_count; i++) {
        const struct mesh_pair *p = &w->pairs[i];
        if (p->from == from && p->to == to) return true;
        if (p->both && p->from == to && p->to == from) return true;
    }
    return false;
}

double mesh_distance_ms(const struct mesh_world *w, uint32_t a, uint32_t b)
{
    if (w->rounds.on) return mesh_rounds_latency_ms(w, a, b);
    const struct mesh_node *x = &w->nodes[a], *y = &w->nodes[b];
    const double dx = (double)x->x_ms - (double)y->x_ms, dy = (double)x->y_ms - (double)y->y_ms;
    return BASE_US / 1e3 + sqrt(dx * dx + dy * dy) + (double)x->access_ms + (double)y->access_ms;
}

// ---- messages ----

static void deliver_in(struct mesh_world *w, uint32_t from, struct mesh_side *side, struct wire *wire)
{
    struct mesh_node *n = &w->nodes[from];
    uint64_t leave = w->now_us;
    if (w->options.bandwidth) {
        if (n->uplink_us > leave) leave = n->uplink_us;
        leave += (uint64_t)wire->size * 1000000 / w->options.bandwidth;
        n->uplink_us = leave;
    }
    uint64_t at = leave + (uint64_t)(1e3 * mesh_distance_ms(w, from, side->other)) + mesh_chance(w, JITTER_US);
    const bool out_of_order = mesh_odds(w, w->reorder);
    if (out_of_order) {
        w->report->faults[2]++;
        at += mesh_chance(w, 40000);
    }
    if (mesh_odds(w, w->delay)) {
        w->report->faults[1]++;
        at += 50000 + mesh_chance(w, 1500000);
    }
    if (!out_of_order && at <= side->last_us) at = side->last_us + 1;
    if (at > side->last_us) side->last_us = at;
    wire->refs++;
    mesh_push(
        w,
        (struct mesh_event){
            .kind = MESH_MESSAGE, .node = side->other, .other = from, .connection = side->connection, .wire = wire},
        at - w->now_us);
}

// CAST and what belongs to it; but who is accused must hear it.
static bool is_hushed(const struct message *m)
{
    return (m->type & 0xf0) == 0x20 && (m->type != MESSAGE_CAST || m->cast.topic != TOPIC_SUSPICION);
}

void mesh_transmit(struct mesh_world *w, uint32_t from, struct mesh_side *side, struct wire *wire)
{
    measure_sent(w, from, wire);
    if (wire->message.type == MESSAGE_PING) {
        side->ping_nonce = wire->message.ping.nonce;
        side->ping_us = w->now_us;
    }
    if (mesh_blocked(w, from, side->other)) return;
    if (w->hushed && is_hushed(&wire->message)) return;
    if (mesh_odds(w, w->drop)) {
        w->report->faults[0]++;
        return;
    }
    deliver_in(w, from, side, wire);
    if (mesh_odds(w, w->duplicate)) {
        w->report->faults[3]++;
        deliver_in(w, from, side, wire);
    }
}

static void dial(struct mesh_world *w, uint32_t from, uint32_t to, bool right_address)
{
    struct mesh_side *side = side_get(&w->nodes[from], to);
    if (side->up || side->dialing) return;
    side->dialing = true;
    const struct mesh_node *n = &w->nodes[to];
    const bool lost = mesh_blocked(w, from, to) || mesh_blocked(w, to, from);
    uint64_t in = DIAL_LOST_US;
    if (!lost && n->up && right_address)
        in = (uint64_t)(2e3 * DIAL_TRIPS * mesh_distance_ms(w, from, to)) + DIAL_WORK_US + mesh_chance(w, 1000);
    else if (!lost)
        in = DIAL_REFUSED_US + mesh_chance(w, 500000);
    mesh_push(w,
              (struct mesh_event){
                  .kind = MESH_DIALED, .node = from, .other = to, .life = w->nodes[from].life, .number = right_address},
              in);
}

void mesh_send(struct mesh_world *w, uint32_t from, uint32_t to, const struct message *m)
{
    struct mesh_side *side = side_get(&w->nodes[from], to);
    // What goes to several one after the other is one block.
    struct wire *wire = w->last_made && wire_same(w->last_made, m) ? w->last_made : NULL;
    if (!wire) {
        wire_release(w->last_made);
        w->last_made = wire = wire_make(m);
    }
    if (side->up) {
        side->used_us = w->now_us;
        mesh_transmit(w, from, side, wire);
        return;
    }
    dial(w, from, to, true);
    side = mesh_side_find(&w->nodes[from], to);
    if (side->pending_count == MESH_PENDING) return;
    wire->refs++;
    side->pending[side->pending_count++] = wire;
}

// ---- links ----

void mesh_dial(struct mesh_world *w, uint32_t from, uint32_t to, struct slice addresses)
{
    char address[32];
    const size_t size = mesh_node_address(w, to, address, sizeof address);
    struct mesh_side *side = side_get(&w->nodes[from], to);
    side->unwanted = false;
    if (side->up) {  // the view asks for one that is there: it is told so
        mesh_push(w,
                  (struct mesh_event){
                      .kind = MESH_DIALED, .node = from, .other = to, .life = w->nodes[from].life, .number = 2},
                  SOON_US);
        return;
    }
    dial(w, from, to, addresses.size == 0 || (addresses.size == size && memcmp(address, addresses.data, size) == 0));
}

static void side_down(struct mesh_world *w, uint32_t at, uint32_t other)
{
    struct mesh_node *n = &w->nodes[at];
    struct mesh_side *side = mesh_side_find(n, other);
    if (!side || !side->up) return;
    side->up = false;
    side_forget(n, other);
    if (!n->up) return;
    gossip_link_down(n->gossip, &w->nodes[other].key.id, mesh_clock(w, n), &w->out);
    mesh_node_finish(w, at);
}

static void side_up(struct mesh_world *w, uint32_t at, uint32_t other, uint32_t connection)
{
    side_down(w, at, other);  // a dead connection that nobody noticed
    struct mesh_node *n = &w->nodes[at];
    if (!n->up) return;
    struct mesh_side *side = side_get(n, other);
    side->up = true;
    side->dialing = false;
    side->unwanted = false;
    side->connection = connection;
    side->last_us = 0;
    side->used_us = w->now_us;
    gossip_link_up(n->gossip, &w->nodes[other].key.id, mesh_clock(w, n), &w->out);
    mesh_node_finish(w, at);
    side = mesh_side_find(n, other);
    if (!side || !side->up) return;
    for (uint32_t i = 0; i < side->pending_count; i++) mesh_transmit(w, at, side, side->pending[i]);
    drop_pending(side);
}

void mesh_dialed(struct mesh_world *w, const struct mesh_event *e)
{
    struct mesh_node *n = &w->nodes[e->node];
    if (!n->up || n->life != e->life) return;
    struct mesh_side *side = mesh_side_find(n, e->other);
    if (!side) return;
    if (side->up) {
        side->dialing = false;
        if (e->number != 2) return;  // the other's dial was faster, and both were told
        gossip_link_up(n->gossip, &w->nodes[e->other].key.id, mesh_clock(w, n), &w->out);
        mesh_node_finish(w, e->node);
        return;
    }
    if (!side->dialing) return;
    side->dialing = false;
    const bool lost = mesh_blocked(w, e->node, e->other) || mesh_blocked(w, e->other, e->node);
    // A stopped process' kernel still accepts, but the handshake is the process'.
    const struct mesh_node *other = &w->nodes[e->other];
    if (other->up && other->paused_us <= w->now_us && e->number && !lost) {
        const uint32_t connection = ++w->connections;
        side_up(w, e->other, e->node, connection);
        side_up(w, e->node, e->other, connection);
        return;
    }
    side_forget(n, e->other);
    gossip_dial_failed(n->gossip, &w->nodes[e->other].key.id, mesh_clock(w, n), &w->out);
    mesh_node_finish(w, e->node);
}

void mesh_link_down(struct mesh_world *w, const struct mesh_event *e)
{
    const struct mesh_side *side = mesh_side_find(&w->nodes[e->node], e->other);
    if (side && side->connection == e->connection) side_down(w, e->node, e->other);
}

// The other end hears it, where it can hear anything.
static void tell_down(struct mesh_world *w, uint32_t node, uint32_t other)
{
    const struct mesh_side *theirs = mesh_side_find(&w->nodes[other], node);
    if (!theirs || !theirs->up || mesh_blocked(w, node, other)) return;
    const uint64_t in = (uint64_t)(1e3 * mesh_distance_ms(w, node, other)) + SOON_US;
    mesh_push(
        w, (struct mesh_event){.kind = MESH_LINK_DOWN, .node = other, .other = node, .connection = theirs->connection},
        in);
}

void mesh_reset(struct mesh_world *w, const struct mesh_event *e)
{
    const struct mesh_side *theirs = mesh_side_find(&w->nodes[e->other], e->node);
    if (!theirs || !theirs->up || theirs->connection != e->connection) return;
    tell_down(w, e->node, e->other);
}

void mesh_links_cut(struct mesh_world *w, uint32_t node, bool told)
{
    struct mesh_node *n = &w->nodes[node];
    for (uint32_t i = 0; told && i < n->side_count; i++)
        if (n->sides[i].up) tell_down(w, node, n->sides[i].other);
    mesh_links_free(n);
}

void mesh_hangup(struct mesh_world *w, uint32_t from, uint32_t to)
{
    struct mesh_side *side = mesh_side_find(&w->nodes[from], to);
    if (!side || !side->up) return;
    side->unwanted = true;
    if (side->open) return;
    side->open = true;
    mesh_push(w, (struct mesh_event){.kind = MESH_CLOSE, .node = from, .other = to, .connection = side->connection},
              IDLE_US);
}

void mesh_close_due(struct mesh_world *w, const struct mesh_event *e)
{
    struct mesh_node *n = &w->nodes[e->node];
    struct mesh_side *side = mesh_side_find(n, e->other);
    if (!n->up || !side || !side->up || side->connection != e->connection) return;
    side->open = false;
    if (!side->unwanted) return;
    struct core_id neighbors[64];
    const uint32_t count = gossip_neighbors(n->gossip, neighbors, 64);
    for (uint32_t i = 0; i < count && i < 64; i++) {
        if (!id_equal(&neighbors[i], &w->nodes[e->other].key.id)) continue;
        side->unwanted = false;
        return;
    }
    tell_down(w, e->node, e->other);
    side_down(w, e->node, e->other);
}
