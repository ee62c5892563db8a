// One simulated peer of mesh mode: it boots, perhaps from a saved table, and performs what its gossip asks for.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/members.h"
#include "tools/sim/mesh_world.h"

enum {
    LOOK_US = 2000000,  // as the node does while it has no link
    MANY = 256,         // peers from which on tables and memories are small,
    TOO_MANY = 20000,   // and smaller still
};

size_t mesh_node_address(const struct mesh_world *w, uint32_t index, char *out, size_t size)
{
    return (size_t)snprintf(out, size, "sim:%u:%u", index, w->nodes[index].moves);
}

static void emit(void *context, const struct event *event)
{
    const struct mesh_node *n = context;
    char line[512];
    event_format(line, sizeof line, event);
    mesh_say(n->world, "peer %u (%02x%02x%02x%02x)  %s", mesh_number(n->world, n), n->key.id.bytes[0],
             n->key.id.bytes[1], n->key.id.bytes[2], n->key.id.bytes[3], line);
}

static void schedule(struct mesh_world *w, uint32_t index)
{
    struct mesh_node *n = &w->nodes[index];
    const uint64_t next_ms = gossip_next_ms(n->gossip);
    if (next_ms == UINT64_MAX) return;
    const uint64_t ahead_ms = next_ms > n->clock_ms ? next_ms - n->clock_ms : 0;
    uint64_t at = n->clock_us + ahead_ms * 1000 * 1000000 / n->clock_rate;
    if (at <= w->now_us) at = w->now_us + 1000;
    // A later one than the one under way can wait until that comes.
    if (n->tick_us > w->now_us && n->tick_us <= at) return;
    n->tick_us = at;
    mesh_push(w, (struct mesh_event){.kind = MESH_TICK, .node = index, .life = n->life}, at - w->now_us);
}

static void load(struct mesh_world *w, struct mesh_node *n)
{
    struct reader r = reader_over(n->saved.bytes, n->saved.size);
    while (r.at < r.size && !r.failed) {
        const struct slice entry = read_slice(&r, GOSSIP_ENTRY_MAX);
        if (r.failed) break;
        const enum core_err err = gossip_entry_load(n->gossip, entry, mesh_clock(w, n));
        if (err && err != CORE_ERR_LIMIT) mesh_fail(w, "record: a saved entry was refused: %s", core_error_text(err));
    }
}

void mesh_node_boot(struct mesh_world *w, uint32_t index)
{
    struct mesh_node *n = &w->nodes[index];
    if (n->up || n->gone) return;
    n->life++;
    n->tick_us = 0;
    n->paused_us = 0;
    n->silent = false;
    n->booted_us = w->now_us;
    char name[16], address[32], site[16];
    snprintf(name, sizeof name, "p%u", index);
    snprintf(site, sizeof site, "site%u", n->site);
    const size_t size = mesh_node_address(w, index, address, sizeof address);
    const uint64_t host = n->hostile ? UINT64_MAX : index;  // the hostile share a machine
    struct gossip_options options = {
        .key = n->key,
        .seed = rng_u64(&w->rng),
        .name = {(const uint8_t *)name, strlen(name)},
        .addresses = {(const uint8_t *)address, size},
        .site = {(const uint8_t *)site, strlen(site)},
        .host = hash_bytes(&host, sizeof host),
        .incarnation = n->incarnation + 1,
        .members_max = w->options.members_max,
        .cast_count = w->options.nodes > TOO_MANY ? 32
                      : w->options.nodes > MANY   ? 128
                                                  : 1024,
        .cast_bytes = w->options.nodes > TOO_MANY ? 32 << 10
                      : w->options.nodes > MANY   ? 128 << 10
                                                  : 4 << 20,
    };
    mesh_verify_options(w, n, &options);
    if (w->options.verbose) options.events = (struct event_sink){emit, n};
    const enum core_err err = gossip_open(&n->gossip, &options, mesh_clock(w, n));
    check(!err);
    n->up = true;
    if (w->acting) mesh_say(w, "peer %u is back", index);
    if (n->saved.size) load(w, n);
    n->incarnation = gossip_incarnation(n->gossip);
    measure_back(w, index);
    const uint32_t phase = w->acting || w->options.storm ? 1000 : 1 + mesh_chance(w, 1000000);
    n->tick_us = w->now_us + phase;
    mesh_push(w, (struct mesh_event){.kind = MESH_TICK, .node = index, .life = n->life}, phase);
    mesh_push(w, (struct mesh_event){.kind = MESH_LOOK, .node = index, .life = n->life},
              w->options.storm ? phase : LOOK_US + mesh_chance(w, LOOK_US));
    if (n->hostile)
        mesh_push(w, (struct mesh_event){.kind = MESH_MISCHIEF, .node = index, .life = n->life},
                  1000000 + mesh_chance(w, 1000000));
}

void mesh_node_save(struct mesh_world *w, uint32_t index)
{
    struct mesh_node *n = &w->nodes[index];
    if (!n->up) return;
    const uint32_t count = gossip_member_count(n->gossip);
    free(n->saved.bytes);
    n->saved.bytes = malloc((size_t)count * (GOSSIP_ENTRY_MAX + 4) + 1);
    check(n->saved.bytes);
    struct writer w2 = writer_over(n->saved.bytes, (size_t)count * (GOSSIP_ENTRY_MAX + 4));
    for (uint32_t i = 0; i < count; i++) {
        uint8_t entry[GOSSIP_ENTRY_MAX];
        const size_t size = gossip_entry_save(n->gossip, i, entry);
        write_slice(&w2, (struct slice){entry, size});
    }
    check(!w2.overflowed);
    n->saved.size = w2.size;
    n->saved.bytes = realloc(n->saved.bytes, w2.size + 1);
    check(n->saved.bytes);
}

void mesh_node_stop(struct mesh_world *w, uint32_t index, bool told)
{
    struct mesh_node *n = &w->nodes[index];
    if (!n->up) return;
    measure_died(w, index);
    n->incarnation = gossip_incarnation(n->gossip);
    n->up = false;
    n->down_us = w->now_us;
    n->silent = !told;
    mesh_links_cut(w, index, told);
    gossip_close(n->gossip);
    n->gossip = NULL;
}

// What a peer says of another must be what that one said of itself.
static void believed(struct mesh_world *w, uint32_t index, uint32_t of)
{
    const struct mesh_node *n = &w->nodes[index], *other = &w->nodes[of];
    struct gossip_member member;
    if (!gossip_member_find(n->gossip, &other->key.id, &member)) return;
    const enum gossip_state state = member.state;
    measure_believed(w, index, of, state);
    if (state == GOSSIP_LEFT && !n->hostile && !other->hostile && !other->left)
        mesh_fail(w, "forged: peer %u believes that peer %u left", index, of);
}

void mesh_node_finish(struct mesh_world *w, uint32_t index)
{
    struct mesh_node *n = &w->nodes[index];
    w->report->dropped += w->out.dropped;
    if (w->out.dropped) mesh_fail(w, "bounds: peer %u's step did not fit an outbox", index);
    w->out.dropped = 0;
    for (size_t i = 0; i < w->out.count; i++) {
        const struct effect *e = &w->out.effects[i];
        const uint32_t to = e->kind == EFFECT_DELIVER ? index : mesh_find(w, &e->to);
        if (to == MESH_NOBODY) {
            if (e->kind == EFFECT_MEMBER) mesh_fail(w, "forged: peer %u believes in a member that never was", index);
            continue;
        }
        switch (e->kind) {
        case EFFECT_SEND:
            if (to == index || (n->hostile && mesh_hostile_keeps(w, n, &e->message))) break;
            measure_accused(w, index, &e->message);
            mesh_send(w, index, to, &e->message);
            break;
        case EFFECT_DIAL:
            if (to != index) mesh_dial(w, index, to, e->payload);
            break;
        case EFFECT_HANGUP: mesh_hangup(w, index, to); break;
        case EFFECT_DELIVER: measure_delivered(w, index, e->payload); break;
        case EFFECT_MEMBER: believed(w, index, to); break;
        case EFFECT_CAST:
        case EFFECT_PERSIST:
        case EFFECT_WORK: check(false);
        }
    }
    outbox_reset(&w->out);
    schedule(w, index);
}

void mesh_node_message(struct mesh_world *w, uint32_t index, uint32_t from, const struct wire *wire)
{
    struct mesh_node *n = &w->nodes[index];
    const struct message *m = &wire->message;
    const uint64_t now_ms = mesh_clock(w, n);
    const struct core_id *id = &w->nodes[from].key.id;
    if (n->hostile) mesh_hostile_heard(w, index, wire);
    measure_received(w, index, wire);
    if (w->options.broken == MESH_BREAK_DEAF && index == 1 && m->type == MESSAGE_CAST && m->cast.topic > 2) return;
    enum core_err err = CORE_ERR_OK;
    w->hops = m->type == MESSAGE_CAST        ? (uint32_t)m->cast.hops + 1
              : m->type == MESSAGE_CAST_BULK ? (uint32_t)m->cast_bulk.hops + 1
                                             : 0;
    if (!gossip_message(n->gossip, id, m, now_ms, &w->out, &err)) gossip_heard(n->gossip, id, now_ms);
    if (err && !w->nodes[from].hostile)
        mesh_fail(w, "peer %u refused an honest %s of peer %u: %s", index, message_info(m->type)->name, from,
                  core_error_text(err));
    if (err && !n->hostile) w->report->refused++;
    const struct mesh_side *side = mesh_side_find(n, from);
    if (m->type == MESSAGE_PONG && side && side->ping_nonce && side->ping_nonce == m->pong.nonce) {
        const uint64_t rtt_us = w->now_us - side->ping_us;
        mesh_side_find(n, from)->ping_nonce = 0;
        gossip_measured(n->gossip, id, rtt_us ? rtt_us : 1, now_ms);
    }
    mesh_node_finish(w, index);
}

void mesh_node_tick(struct mesh_world *w, uint32_t index, uint64_t at_us)
{
    struct mesh_node *n = &w->nodes[index];
    if (n->tick_us != at_us) return;  // an earlier one took its place
    n->tick_us = 0;
    if (gossip_next_ms(n->gossip) <= mesh_clock(w, n)) gossip_tick(n->gossip, mesh_clock(w, n), &w->out);
    mesh_node_finish(w, index);
}

void mesh_node_look(struct mesh_world *w, uint32_t index)
{
    struct mesh_node *n = &w->nodes[index];
    bool linked = false;
    for (uint32_t i = 0; i < n->side_count; i++) linked = linked || n->sides[i].up;
    // The contacts found each other first: a mesh stands when a storm comes.
    const bool early = w->now_us < MESH_STORM_US;
    const uint32_t contact =
        early ? 0 : mesh_chance(w, w->options.nodes < MESH_CONTACTS ? w->options.nodes : MESH_CONTACTS);
    if (!linked && contact != index && !n->left) mesh_dial(w, index, contact, (struct slice){0});
    mesh_push(w, (struct mesh_event){.kind = MESH_LOOK, .node = index, .life = n->life}, LOOK_US);
}

uint64_t mesh_node_cast(struct mesh_world *w, uint32_t index)
{
    struct mesh_node *n = &w->nodes[index];
    uint8_t payload[GOSSIP_PUSH_MAX] = {0};
    const uint64_t number = measure_cast(w, index);
    mesh_say(w, "broadcast %llu of peer %u", (unsigned long long)number, index);
    struct writer writer = writer_over(payload, sizeof payload);
    write_u64(&writer, number);
    const uint32_t size = w->options.cast_bytes < sizeof payload ? w->options.cast_bytes : sizeof payload;
    const enum core_err err = gossip_cast(n->gossip, TOPIC_RUN_COMMAND, (struct slice){payload, size < 8 ? 8 : size},
                                          mesh_clock(w, n), &w->out);
    check(!err);
    mesh_node_finish(w, index);
    return number;
}

// What everyone in a peer's table says of itself by now.
static void refresh(struct mesh_world *w, struct mesh_node *n, uint8_t (*entries)[GOSSIP_ENTRY_MAX],
                    const uint32_t *sizes)
{
    const uint32_t count = gossip_member_count(n->gossip);
    uint32_t *known = malloc((count + 1) * sizeof *known);
    check(known);
    for (uint32_t k = 0; k < count; k++) {
        struct gossip_member member;
        gossip_member_at(n->gossip, k, &member);
        known[k] = member.self ? MESH_NOBODY : mesh_find(w, &member.id);
    }
    for (uint32_t k = 0; k < count; k++) {
        if (known[k] == MESH_NOBODY) continue;
        const struct slice entry = {entries[known[k]], sizes[known[k]]};
        const enum core_err err = gossip_entry_load(n->gossip, entry, mesh_clock(w, n));
        if (err && err != CORE_ERR_LIMIT) mesh_fail(w, "record: an entry was refused: %s", core_error_text(err));
    }
    free(known);
}

void mesh_tables_load(struct mesh_world *w)
{
    const uint32_t nodes = w->options.nodes;
    uint8_t(*entries)[GOSSIP_ENTRY_MAX] = malloc((size_t)nodes * GOSSIP_ENTRY_MAX);
    uint32_t *sizes = malloc(nodes * sizeof *sizes);
    check(entries && sizes);
    for (uint32_t i = 0; i < nodes; i++) {
        const struct gossip *g = w->nodes[i].gossip;
        sizes[i] = 0;
        for (uint32_t k = 0; k < gossip_member_count(g); k++) {
            struct gossip_member member;
            gossip_member_at(g, k, &member);
            if (member.self) sizes[i] = (uint32_t)gossip_entry_save(g, k, entries[i]);
        }
    }
    const bool all = nodes <= w->options.members_max;
    const uint32_t count = all ? nodes : w->options.members_max - w->options.members_max / 8;
    for (uint32_t i = 0; i < nodes; i++) {
        struct mesh_node *n = &w->nodes[i];
        if (!all) refresh(w, n, entries, sizes);
        // A sample: every so manieth, from somewhere; the same whenever it is loaded.
        struct rng rng = rng_from(w->options.seed, i + 100);
        const uint32_t step = all ? 1 : 1 + (uint32_t)rng_below(&rng, nodes / count);
        const uint32_t first = all ? 0 : (uint32_t)rng_below(&rng, nodes);
        for (uint32_t k = 0; k < count; k++) {
            const uint32_t other = (uint32_t)((first + (uint64_t)k * step) % nodes);
            if (other == i) continue;
            const enum core_err err =
                gossip_entry_load(n->gossip, (struct slice){entries[other], sizes[other]}, mesh_clock(w, n));
            if (err && err != CORE_ERR_LIMIT) mesh_fail(w, "record: an entry was refused: %s", core_error_text(err));
        }
    }
    free(entries);
    free(sizes);
}
