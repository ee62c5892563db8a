#include "node/incoming.h"

#include <stdlib.h>

#include "node/daemon.h"

struct check_job {
    struct job job;
    struct check_job *next;  // of those under way
    struct core_id from;
    struct arena arena;  // of the message's views
    struct message message;
    struct blob_key key;
    struct core_hash hash;
    struct buffer *bulk;
    bool right;
};

static void refuse(struct node *n, const struct core_id *from)
{
    node_strike(n, from, MESSAGE_DATA, CORE_ERR_VERIFY_FAILED);
}

static bool matches(struct buffer *bulk, const struct core_hash *expected)
{
    const struct core_hash hash = hash_bytes(buffer_data(bulk), buffer_size(bulk));
    return hash_equal(&hash, expected);
}

static void store(struct node *n, const struct core_id *from, const struct message *m, const struct blob_key *key,
                  struct buffer *bulk)
{
    struct blob *blob = blob_of(bulk);
    if (!blob) return;
    if (blobs_put(&n->blobs, key, blob)) {
        n->dropped.blobs++;
        event_emit(&n->events, "problem.blobs_full", EV_U64("bytes", n->blobs.bytes));
        return;
    }
    peer_stored(n->peer, from, &m->data, n->now_ms, &n->out);
}

// ---- checks by the worker ----

static void check_run(struct job *job, struct worker *w)
{
    (void)w;
    struct check_job *j = (struct check_job *)job;
    j->right = matches(j->bulk, &j->hash);
}

static void check_free(struct check_job *j)
{
    buffer_drop(j->bulk);
    arena_close(&j->arena);
    free(j);
}

static void check_done(struct job *job, void *context)
{
    struct node *n = context;
    struct check_job *j = (struct check_job *)job;
    struct check_job **at = &n->incoming.first;
    while (*at != j) at = &(*at)->next;
    *at = j->next;
    n->incoming.count--;
    if (job->err) {
        check_free(j);  // the node stops
        return;
    }
    // The round may have gone on meanwhile, or have it from somebody else.
    struct peer_expected expected;
    if (!j->right)
        refuse(n, &j->from);
    else if (peer_data(n->peer, &j->from, &j->message.data, &expected, n->now_ms, &n->out) == PEER_WANTED &&
             hash_equal(&expected.hash, &j->hash))
        store(n, &j->from, &j->message, &expected.key, j->bulk);
    check_free(j);
}

static bool under_way(const struct node *n, const struct core_id *from, const struct blob_key *key)
{
    for (const struct check_job *j = n->incoming.first; j; j = j->next)
        if (id_equal(&j->from, from) && blob_key_equal(&j->key, key)) return true;
    return false;
}

// False without memory, or where too many are under way.
static bool check_later(struct node *n, const struct core_id *from, const struct message *m,
                        const struct peer_expected *expected, struct buffer *bulk)
{
    if (n->incoming.count >= INCOMING_MAX) return false;
    struct check_job *j = calloc(1, sizeof *j);
    struct message views = *m;
    views.bulk = (struct slice){0};  // the buffer is kept instead
    if (!j || arena_open(&j->arena, m->data.set.size + m->data.proof.size + 128)) {
        free(j);
        return false;
    }
    if (!message_copy(&j->arena, &j->message, &views)) {
        check_free(j);
        return false;
    }
    j->job = (struct job){.name = "check", .priority = JOB_URGENT, .run = check_run, .done = check_done};
    j->from = *from;
    j->key = expected->key;
    j->hash = expected->hash;
    j->bulk = buffer_keep(bulk);
    j->next = n->incoming.first;
    n->incoming.first = j;
    n->incoming.count++;
    worker_submit(&n->sums_worker, &j->job);
    return true;
}

// ---- what arrives ----

void incoming_data(struct node *n, const struct core_id *from, const struct message *m, struct buffer *bulk)
{
    struct peer_expected expected;
    enum peer_wanted wanted = peer_data(n->peer, from, &m->data, &expected, n->now_ms, &n->out);
    if (wanted == PEER_REFUSED) refuse(n, from);
    if (wanted != PEER_WANTED) return;
    if (!bulk || buffer_size(bulk) != expected.size || m->bulk.size != expected.size) {
        refuse(n, from);
        return;
    }
    if (!hash_is_zero(&expected.hash)) {
        if (under_way(n, from, &expected.key) || check_later(n, from, m, &expected, bulk)) return;
        if (!matches(bulk, &expected.hash)) {
            refuse(n, from);
            return;
        }
    }
    store(n, from, m, &expected.key, bulk);
}
