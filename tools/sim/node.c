// One simulated peer: it boots from its disk, performs effects one by one, and may crash between any two of them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "tools/sim/watch.h"

// Counts the transitions between a run's stages, and a few rare events.
static void emit(void *context, const struct event *event)
{
    struct node *n = context;
    struct world *w = n->world;
    if (w->options.verbose) {
        char line[512];
        event_format(line, sizeof line, event);
        fprintf(stderr, "%8.3f s  peer %u  %s\n", (double)w->now_us / 1e6, n->index, line);
    }
    if (strcmp(event->name, "round.unfit") == 0) w->report->unfit++;
    if (strcmp(event->name, "round.liar") == 0) w->report->convicted += !n->hostile;
    if (strcmp(event->name, "round.disputed") == 0) w->report->disputes++;
    if (strcmp(event->name, "round.stage") != 0) return;
    for (uint32_t stage = 0; stage < SIM_STAGES; stage++) {
        if (strcmp(event->fields[2].text, round_stage_name((enum round_stage)stage)) != 0) continue;
        w->report->stages[n->stage][stage]++;
        n->stage = (enum round_stage)stage;
    }
}

static void schedule(struct node *n)
{
    struct world *w = n->world;
    const uint64_t next_ms = peer_next_ms(n->peer);
    if (next_ms == UINT64_MAX) return;
    uint64_t at = next_ms > n->ahead_ms ? (next_ms - n->ahead_ms) * 1000 : 0;
    if (at < w->now_us + 100) at = w->now_us + 100;
    if (n->tick_us > w->now_us && n->tick_us <= at) return;
    n->tick_us = at;
    world_push(w, (struct world_event){.kind = WORLD_TICK, .node = n->index, .life = n->life}, at - w->now_us);
}

static void replay(struct node *n)
{
    struct world *w = n->world;
    for (uint32_t i = 0; i < n->disk.record_count; i++) {
        struct record *r = &n->disk.records[i];
        r->synced = true;
        if (w->options.broken == BREAK_TRAINING && r->kind == RUN_PERSIST_COMMIT) continue;
        if (w->options.broken == BREAK_FORGET && r->kind == RUN_PERSIST_VOTE) continue;
        if (w->options.broken == BREAK_RECORD && r->kind == RUN_PERSIST_DECISION)
            ((uint8_t *)(uintptr_t)r->payload.data)[60] ^= 1;
        enum core_err err = peer_restore(n->peer, r->kind, r->payload, node_ms(n));
        if (err) world_fail(w, "record: peer %u cannot replay record %u: %s", n->index, i, core_error_text(err));
        if (err) break;
    }
    for (uint32_t i = 0; i < n->disk.param_count; i++) {
        const struct stored_params *p = &n->disk.params[i];
        peer_restore_params(n->peer, &w->run, p->round, &p->hash, p->inner);
    }
    if (n->disk.dataset) peer_restore_dataset(n->peer, &w->run);
}

// What replaying must lead to: as many decisions as lie on the disk (more where a peer's own votes are a quorum); that
// they are everybody's is checked as for any peer.
static void check_replayed(struct node *n)
{
    struct world *w = n->world;
    uint64_t height = 0;
    for (uint32_t i = 0; i < n->disk.record_count; i++) {
        const struct record *r = &n->disk.records[i];
        if (r->kind != RUN_PERSIST_DECISION) continue;
        struct reader in = reader_over(r->payload.data + CORE_HASH_SIZE, r->payload.size - CORE_HASH_SIZE);
        const uint64_t h = read_u64(&in);
        if (h > height) height = h;
    }
    struct run_status status;
    if (!peer_run_find(n->peer, &w->run, &status)) return;
    if (height && status.head->state != RUN_DONE && status.height < height + 1)
        world_fail(w, "restart: peer %u comes back at height %llu, its disk holds %llu decisions", n->index,
                   (unsigned long long)status.height, (unsigned long long)height);
}

// Toy parameters have no model.
static bool any_spec(void *context, const struct run_spec *spec)
{
    (void)context;
    (void)spec;
    return true;
}

void node_boot(struct node *n)
{
    struct world *w = n->world;
    if (n->up) return;
    n->life++;
    n->crash_in = 0;
    n->tick_us = 0;
    n->paused_us = 0;
    memset(n->pending, 0, sizeof n->pending);
    n->stage = ROUND_WATCHING;
    faults_at_boot(n);
    char name[16], address[16];
    snprintf(name, sizeof name, "p%u", n->index);
    snprintf(address, sizeof address, "sim:%u", n->index);
    const struct peer_options options = {
        .gossip =
            {
                .key = n->key,
                .seed = rng_u64(&w->rng),
                .name = {(const uint8_t *)name, strlen(name)},
                .addresses = {(const uint8_t *)address, strlen(address)},
                .host = n->host,
                .incarnation = n->life,
                .members_max = 128,
                .cast_count = 256,
                .cast_bytes = 1 << 20,
                .events = {emit, n},
            },
        .spec_valid = any_spec,
        .observe = n->index == w->hostile,
        .runs_max = 4,
    };
    enum core_err err = peer_open(&n->peer, &options, node_ms(n));
    check(!err);
    n->up = true;
    replay(n);
    if (w->report->failed) return;
    peer_start(n->peer, node_ms(n), &w->out);
    check_replayed(n);
    node_finish(n);
    world_push(w, (struct world_event){.kind = WORLD_LOOK, .node = n->index, .life = n->life}, 1000);
}

void node_crash(struct node *n)
{
    struct world *w = n->world;
    if (!n->up) return;
    n->up = false;
    peer_close(n->peer);
    n->peer = NULL;
    disk_crash(&n->disk, &w->rng);
    faults_at_crash(n);
    watch_forget(w->watch, n);
    world_links_cut(w, n->index);
    if (n->down_ms == WORLD_FOR_EVER) return;
    world_push(w, (struct world_event){.kind = WORLD_BOOT, .node = n->index}, (uint64_t)n->down_ms * 1000 + 1);
}

static void send(struct node *n, struct effect *e)
{
    struct world *w = n->world;
    const uint32_t to = world_find(w, &e->to);
    if (to == UINT32_MAX || to == n->index) return;
    if (e->message.type == MESSAGE_DATA) {
        struct blob_key key;
        if (blob_key_of_data(&key, &e->message.data)) return;
        const struct blob *b = disk_get(&n->disk, &key);
        if (!b) return;
        e->message.bulk = (struct slice){b->data, b->size};
    }
    const bool untold = w->options.broken == BREAK_TRAINING || w->options.broken == BREAK_COMMIT;
    if (untold && e->message.type == MESSAGE_RUN_COMMIT) return;  // others would tell it its own
    const bool untold_votes = w->options.broken == BREAK_RECALL || w->options.broken == BREAK_FORGET;
    if (untold_votes && e->message.type == MESSAGE_RUN_HEAD) e->message.run_head.votes = (struct slice){0};
    if (n->index == traitor_node(w)) {
        traitor_send(n, to, &e->message);
        return;
    }
    if (!n->hostile) watch_send(w->watch, n, &e->message);
    world_send(w, n->index, to, &e->message);
}

static void persist(struct node *n, const struct effect *e)
{
    struct world *w = n->world;
    if (n->persist_broken) {
        peer_persist_failed(n->peer, e->kind_of, e->payload, node_ms(n));
        return;
    }
    if (w->options.broken == BREAK_PERSIST && e->kind_of == RUN_PERSIST_VOTE) return;
    if (w->options.broken == BREAK_COMMIT && e->kind_of == RUN_PERSIST_COMMIT) return;
    if (disk_append(&n->disk, e->kind_of, e->payload, peer_persist_lazy(e->kind_of))) return;
    n->persist_broken = true;
    watch_unheard(w->watch, n);
    peer_persist_failed(n->peer, e->kind_of, e->payload, node_ms(n));
}

void node_finish(struct node *n)
{
    struct world *w = n->world;
    check(w->out.dropped == 0);
    n->persist_broken = false;
    if (!n->hostile) watch_decisions(w->watch, n);
    for (size_t i = 0; i < w->out.count && n->up; i++) {
        struct effect *e = &w->out.effects[i];
        if (n->crash_in && --n->crash_in == 0) {
            node_crash(n);
            break;
        }
        if (n->persist_broken && e->kind != EFFECT_PERSIST) continue;  // dropped with the failed record
        switch (e->kind) {
        case EFFECT_SEND: send(n, e); break;
        case EFFECT_DIAL: {
            const uint32_t to = world_find(w, &e->to);
            if (to != UINT32_MAX) world_dial(w, n->index, to);
            break;
        }
        case EFFECT_PERSIST: persist(n, e); break;
        case EFFECT_WORK: node_work(n, e->kind_of, e->payload); break;
        case EFFECT_HANGUP:  // the run may use the link
        case EFFECT_MEMBER:
        case EFFECT_DELIVER: break;
        case EFFECT_CAST: check(false);
        }
    }
    outbox_reset(&w->out);
    if (n->up) schedule(n);
}

// A shard or a sum: ask the peer, check the bytes, keep them.
static void node_data(struct node *n, uint32_t from, const struct message *m)
{
    struct world *w = n->world;
    const struct core_id *id = &w->nodes[from].key.id;
    const uint64_t life = n->life;
    struct peer_expected expected;
    const enum peer_wanted wanted = peer_data(n->peer, id, &m->data, &expected, node_ms(n), &w->out);
    const bool hostile = w->nodes[from].hostile;
    if (wanted == PEER_REFUSED && !hostile) world_fail(w, "peer %u refused honest data", n->index);
    w->report->refused += wanted == PEER_REFUSED;
    node_finish(n);
    if (wanted != PEER_WANTED || !n->up || n->life != life) return;
    const struct core_hash hash = hash_bytes(m->bulk.data, m->bulk.size);
    if (m->bulk.size != expected.size || (!hash_is_zero(&expected.hash) && !hash_equal(&hash, &expected.hash))) {
        if (!hostile) world_fail(w, "peer %u was sent other bytes than it expected", n->index);
        w->report->refused++;
        return;
    }
    if (w->options.broken != BREAK_ACK || expected.key.kind != ROUND_CONTRIBUTION) {
        disk_put(&n->disk, &expected.key, m->bulk.data, m->bulk.size);
        watch_stored(w->watch, n, &expected.key);
    }
    peer_stored(n->peer, id, &m->data, node_ms(n), &w->out);
    node_finish(n);
}

void node_message(struct node *n, uint32_t from, const struct message *m)
{
    struct world *w = n->world;
    if (m->type == MESSAGE_DATA) {
        node_data(n, from, m);
        return;
    }
    watch_heard(w->watch, n, m);
    enum core_err err = peer_message(n->peer, &w->nodes[from].key.id, m, node_ms(n), &w->out);
    if (err) w->report->refused++;
    if (err && !w->nodes[from].hostile)
        world_fail(w, "peer %u refused an honest %s: %s", n->index, message_info(m->type)->name, core_error_text(err));
    node_finish(n);
}

void node_tick(struct node *n)
{
    n->tick_us = 0;
    peer_tick(n->peer, node_ms(n), &n->world->out);
    node_finish(n);
}

void node_space(struct node *n)
{
    n->disk.full = false;
    if (!n->up) return;
    peer_persist_ok(n->peer, node_ms(n), &n->world->out);
    node_finish(n);
}
