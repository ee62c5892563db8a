#include "node/transfers.h"

#include <stdlib.h>

#include "node/daemon.h"
#include "store/object.h"

static bool have_chunk(void *context, const struct core_hash *hash, uint32_t size)
{
    struct node *n = context;
    pthread_mutex_lock(&n->store.mutex);
    bool has = store_has_size(n->store.store, hash, size);
    pthread_mutex_unlock(&n->store.mutex);
    return has;
}

static uint32_t candidates(struct node *n, const struct core_id *first, struct core_id *out)
{
    const struct gossip *g = peer_gossip(n->peer);
    uint32_t count = 0;
    if (first) out[count++] = *first;
    for (uint32_t i = 0; i < gossip_member_count(g) && count < FETCH_PEERS_MAX; i++) {
        struct gossip_member m;
        gossip_member_at(g, i, &m);
        bool reachable = m.state == GOSSIP_ALIVE || links_is_up(n->links, &m.id);
        if (m.self || !reachable || (first && id_equal(first, &m.id))) continue;
        out[count++] = m.id;
    }
    return count;
}

// Ends those that have come to an end. Their `done` may start others.
static void settle(struct node *n)
{
    for (int i = 0; i < TRANSFERS_MAX; i++) {
        struct transfer *t = &n->transfers.items[i];
        if (!t->fetch) continue;
        struct fetch_progress p = fetch_progress(t->fetch);
        if (p.state != FETCH_DONE && p.state != FETCH_FAILED) continue;
        enum core_err err = p.state == FETCH_FAILED ? fetch_failure(t->fetch) : CORE_ERR_OK;
        struct transfer ended = *t;
        fetch_close(t->fetch);
        *t = (struct transfer){0};
        event_emit(&n->events, "fetch.ended", EV_HASH("object", &ended.root), EV_TEXT("how", core_error_name(err)));
        ended.done(n, ended.context, err);
    }
}

enum core_err transfers_start(struct node *n, const struct core_hash *root, const struct core_id *first,
                              void (*done)(struct node *, void *, enum core_err), void *context)
{
    for (int i = 0; i < TRANSFERS_MAX; i++) {
        struct transfer *t = &n->transfers.items[i];
        if (t->fetch) continue;
        struct fetch_options options = {.have = have_chunk, .context = n};
        enum core_err err = fetch_open(&t->fetch, &options);
        if (err) return err;
        t->root = *root;
        t->done = done;
        t->context = context;
        struct core_id peers[FETCH_PEERS_MAX + 1];
        uint32_t count = candidates(n, first, peers);
        fetch_start(t->fetch, root, peers, count, n->now_ms, &n->out);
        return CORE_ERR_OK;
    }
    return CORE_ERR_LIMIT;
}

void transfers_cancel(struct node *n, void *context)
{
    for (int i = 0; i < TRANSFERS_MAX; i++) {
        struct transfer *t = &n->transfers.items[i];
        if (!t->fetch || t->context != context) continue;
        fetch_close(t->fetch);
        *t = (struct transfer){0};
    }
}

static void keep(struct node *n, struct transfer *t, const struct message *m, bool index)
{
    pthread_mutex_lock(&n->store.mutex);
    enum core_err err = index ? object_put_index(n->store.store, &t->root, m->bulk)
                              : store_put_checked(n->store.store, &m->chunk.hash, m->bulk.data, m->bulk.size);
    pthread_mutex_unlock(&n->store.mutex);
    if (!err) return;
    if (err == CORE_ERR_NO_SPACE) node_disk_failed(n, err, "fetched data");
    fetch_abort(t->fetch, err);
}

void transfers_chunk(struct node *n, const struct core_id *from, const struct message *m)
{
    bool wrong = false;
    for (int i = 0; i < TRANSFERS_MAX; i++) {
        struct transfer *t = &n->transfers.items[i];
        if (!t->fetch) continue;
        switch (fetch_chunk(t->fetch, from, m, n->now_ms, &n->out)) {
        case FETCH_KEEP_INDEX: keep(n, t, m, true); break;
        case FETCH_KEEP_CHUNK: keep(n, t, m, false); break;
        case FETCH_WRONG: wrong = true; break;
        case FETCH_IGNORED: break;
        }
    }
    if (wrong) node_strike(n, from, MESSAGE_CHUNK, CORE_ERR_VERIFY_FAILED);
    settle(n);
}

void transfers_gone(struct node *n, const struct core_id *peer)
{
    for (int i = 0; i < TRANSFERS_MAX; i++)
        if (n->transfers.items[i].fetch) fetch_peer_gone(n->transfers.items[i].fetch, peer, n->now_ms, &n->out);
}

void transfers_back(struct node *n, const struct core_id *peer)
{
    for (int i = 0; i < TRANSFERS_MAX; i++)
        if (n->transfers.items[i].fetch) fetch_candidate(n->transfers.items[i].fetch, peer, n->now_ms, &n->out);
}

void transfers_tick(struct node *n)
{
    for (int i = 0; i < TRANSFERS_MAX; i++)
        if (n->transfers.items[i].fetch && fetch_next_ms(n->transfers.items[i].fetch) <= n->now_ms)
            fetch_tick(n->transfers.items[i].fetch, n->now_ms, &n->out);
    settle(n);
}

uint64_t transfers_next_ms(const struct transfers *t)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < TRANSFERS_MAX; i++) {
        if (!t->items[i].fetch) continue;
        uint64_t at = fetch_next_ms(t->items[i].fetch);
        enum fetch_state state = fetch_progress(t->items[i].fetch).state;
        if (state == FETCH_DONE || state == FETCH_FAILED) at = 0;
        if (at < next) next = at;
    }
    return next;
}

void transfers_close(struct transfers *t)
{
    for (int i = 0; i < TRANSFERS_MAX; i++)
        if (t->items[i].fetch) fetch_close(t->items[i].fetch);
}
