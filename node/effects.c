// Performs effects in their order. An effect may cause an event whose effects are appended to the same outbox, so one
// pass over it performs everything; then it is reset.
//
// A PERSIST is durable before anything behind it is done. When it fails, what is left of the outbox is dropped (later
// PERSISTs are named to the protocol, which keeps them), the peer stops voting, and the disk is tried again each
// second.
#include <stdlib.h>
#include <string.h>

#include "node/daemon.h"

enum { DISK_RETRY_MS = 1000, DISK_PROBE_BYTES = 4 << 20 };

void node_disk_failed(struct node *n, enum core_err err, const char *what)
{
    if (!n->disk_full)
        event_emit(&n->events, "disk.failed", EV_TEXT("what", what), EV_TEXT("why", core_error_text(err)));
    n->disk_full = true;
    if (n->peer) peer_disk_full(n->peer, n->now_ms);
    n->disk_err = err;
    n->disk_retry_ms = n->now_ms + DISK_RETRY_MS;
}

// There is room again when a file larger than any vote can be written.
void node_disk_retry(struct node *n)
{
    if (!n->disk_full || n->now_ms < n->disk_retry_ms) return;
    n->disk_retry_ms = n->now_ms + DISK_RETRY_MS;
    uint8_t *zeros = calloc(1, DISK_PROBE_BYTES);
    if (!zeros) return;
    enum core_err err = home_write(&n->home, "probe", (struct slice){zeros, DISK_PROBE_BYTES});
    free(zeros);
    home_remove(&n->home, "probe");
    if (err) {
        n->disk_err = err;
        return;
    }
    n->disk_full = false;
    event_emit(&n->events, "disk.back", EV_TEXT("home", n->home.path));
    peer_persist_ok(n->peer, n->now_ms, &n->out);
    node_perform(n);
}

static void deliver(struct node *n, const struct effect *e)
{
    if (e->kind_of != TOPIC_REVOCATION) return;
    struct revocation revocation;
    if (revocation_verify(e->payload, &n->charter, &n->revoked, node_wall_s(), &revocation)) return;
    if (revocations_add(&n->revoked, &revocation.key)) return;
    event_emit(&n->events, "node.revoked", EV_ID("peer", &revocation.key));
    struct slice all = {(const uint8_t *)n->revoked.keys, n->revoked.count * sizeof *n->revoked.keys};
    enum core_err err = home_write(&n->home, "revocations", all);
    if (err) node_disk_failed(n, err, "revocations");
    links_ban(n->links, &revocation.key, 0);
    peer_recheck(n->peer, n->now_ms, &n->out);
}

static void hangup(struct node *n, const struct core_id *id)
{
    struct node_link *link = node_link_find(n, id);
    if (link) link->unwanted = true;
}

static void dial(struct node *n, const struct effect *e)
{
    struct node_link *link = node_link_find(n, &e->to);
    if (link) link->unwanted = false;
    if (links_is_up(n->links, &e->to)) {
        peer_link_up(n->peer, &e->to, n->now_ms, &n->out);
        return;
    }
    if (!outbound_dial(n, &e->to, e->payload)) peer_dial_failed(n->peer, &e->to, n->now_ms, &n->out);
}

// Gossip's pings are timed here, where its effects leave; others' (the verb ping) have nonces of their own.
static void send(struct node *n, const struct effect *e)
{
    struct node_link *link = e->message.type == MESSAGE_PING ? node_link_find(n, &e->to) : NULL;
    if (link) {
        link->ping_nonce = e->message.ping.nonce;
        link->ping_us = node_clock_us();
    }
    outbound_send(n, &e->to, &e->message);
}

static void perform_one(struct node *n, const struct effect *e, bool *failing)
{
    if (e->kind == EFFECT_PERSIST) {
        enum core_err err = *failing ? CORE_ERR_NO_SPACE : runs_persist(n, e->kind_of, e->payload);
        if (!err) return;
        if (!*failing) node_disk_failed(n, err, "a vote or decision");
        *failing = true;
        peer_persist_failed(n->peer, e->kind_of, e->payload, n->now_ms);
        return;
    }
    if (*failing) return;
    switch (e->kind) {
    case EFFECT_SEND: send(n, e); break;
    case EFFECT_DELIVER: deliver(n, e); break;
    case EFFECT_DIAL: dial(n, e); break;
    case EFFECT_HANGUP: hangup(n, &e->to); break;
    case EFFECT_MEMBER: n->members_changed = true; break;
    case EFFECT_WORK: node_work_start(n, e->kind_of, e->payload); break;
    case EFFECT_CAST:  // performed inside peer
    case EFFECT_PERSIST: break;
    }
}

void node_perform(struct node *n)
{
    if (n->performing) return;
    n->performing = true;
    bool failing = false;
    for (size_t i = 0; i < n->out.count; i++) perform_one(n, &n->out.effects[i], &failing);
    if (n->out.dropped) {
        event_emit(&n->events, "problem.outbox_full", EV_U64("dropped", n->out.dropped));
        n->dropped.outbox += n->out.dropped;
        n->out.dropped = 0;
    }
    outbox_reset(&n->out);
    n->performing = false;
    runs_watch(n);
}

void node_work_done(struct node *n, const struct work_result *result)
{
    if (result->err)
        event_emit(&n->events, "problem.work", EV_U64("kind", result->kind), EV_U64("round", result->round),
                   EV_TEXT("why", core_error_text(result->err)));
    if (result->err == CORE_ERR_NO_SPACE) node_disk_failed(n, result->err, "training state");
    peer_work_done(n->peer, result, n->now_ms, &n->out);
    node_perform(n);
}
