// States: IDLE -> INDEX (asking for the index) -> CHUNKS -> DONE, and FAILED from INDEX and CHUNKS.
//
//   INDEX  -- index whose root is the object's -->  CHUNKS, or DONE when every chunk is held, or FAILED (TOO_LARGE)
//   CHUNKS -- last chunk -->                         DONE
//   CHUNKS -- a chunk contradicts the index -->      INDEX: whoever sent that index is not asked again
//   both   -- an item was asked of everyone `sweeps` times, or fetch_abort -->  FAILED
//
// Invariants:
//   1. an item (the index, or a chunk) is WANTED, ASKED (exactly one request names it) or HELD; HELD only if its bytes
//      were hashed here or the caller says that it holds them;
//   2. a peer has at most per_peer requests, all peers together at most in_flight;
//   3. a peer that sent wrong bytes is never asked again.
#include "store/fetch.h"

#include <stdlib.h>

#include "core/check.h"

enum { REQUESTS_MAX = 64, ITEM_INDEX = UINT32_MAX };

enum item_state { ITEM_WANTED, ITEM_ASKED, ITEM_HELD };

struct item {
    uint64_t tried;     // peers asked in this sweep, as a bitmap
    uint64_t retry_at;  // not before
    uint64_t asked_ms;  // first
    uint8_t state;
    uint8_t sweeps;
    uint8_t asks;  // so far
};

struct request {
    bool active;
    uint32_t item;
    uint32_t peer;
    uint64_t deadline;
};

struct fetch {
    struct fetch_options options;
    struct core_hash root;
    enum fetch_state state;
    enum core_err failure;
    struct fetch_peer peers[FETCH_PEERS_MAX];
    uint32_t busy[FETCH_PEERS_MAX];
    uint32_t peer_count;
    uint32_t turn;  // where the search for the next peer begins, so that equals share the load
    struct request requests[REQUESTS_MAX];
    uint32_t in_flight;
    struct object_index index;
    uint32_t index_from;  // the peer that sent it
    struct item index_item;
    struct item *items;  // one a chunk; as many as the (bounded) index has
    uint32_t held;
    uint64_t bytes_held;
    uint32_t first_wanted;  // no chunk before it is WANTED
    uint64_t chunk_ms;      // moving average of what a chunk took
};

enum core_err fetch_open(struct fetch **out, const struct fetch_options *options)
{
    struct fetch *f = calloc(1, sizeof *f);
    *out = f;
    if (!f) return CORE_ERR_NO_MEMORY;
    f->options = *options;
    struct fetch_options *o = &f->options;
    if (!o->size_limit) o->size_limit = 32ull << 30;
    if (!o->in_flight) o->in_flight = 8;
    if (o->in_flight > REQUESTS_MAX) o->in_flight = REQUESTS_MAX;
    if (!o->per_peer) o->per_peer = 2;
    if (!o->timeout_ms) o->timeout_ms = 10000;
    if (!o->first_ms) o->first_ms = 1500;
    if (!o->retry_ms) o->retry_ms = 2000;
    if (!o->sweeps) o->sweeps = 5;
    return CORE_ERR_OK;
}

static void forget_index(struct fetch *f)
{
    object_index_free(&f->index);
    free(f->items);
    f->items = NULL;
    f->held = 0;
    f->bytes_held = 0;
    f->first_wanted = 0;
}

static void forget_requests(struct fetch *f)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) f->requests[i].active = false;
    for (uint32_t i = 0; i < FETCH_PEERS_MAX; i++) f->busy[i] = 0;
    f->in_flight = 0;
}

void fetch_close(struct fetch *f)
{
    if (!f) return;
    forget_index(f);
    free(f);
}

static bool running(const struct fetch *f)
{
    return f->state == FETCH_INDEX || f->state == FETCH_CHUNKS;
}

static struct item *item_at(struct fetch *f, uint32_t item)
{
    return item == ITEM_INDEX ? &f->index_item : &f->items[item];
}

static const struct core_hash *item_hash(const struct fetch *f, uint32_t item)
{
    return item == ITEM_INDEX ? &f->root : &f->index.chunks[item];
}

static void fail(struct fetch *f, enum core_err why)
{
    f->state = FETCH_FAILED;
    f->failure = why;
    forget_requests(f);
}

// What everybody's failing to give it says of the object.
static enum core_err reason(const struct fetch *f)
{
    uint32_t silent = 0, refusals = 0, wrong = 0;
    for (uint32_t i = 0; i < f->peer_count; i++) {
        const struct fetch_peer *p = &f->peers[i];
        silent += p->timeouts > 0 || (p->gone && !p->wrong);
        refusals += p->refusals;
        wrong += p->wrong;
    }
    if (silent || !(refusals || wrong)) return CORE_ERR_UNREACHABLE;
    return refusals ? CORE_ERR_NOT_FOUND : CORE_ERR_VERIFY_FAILED;
}

static void request_end(struct fetch *f, struct request *r)
{
    r->active = false;
    f->busy[r->peer]--;
    f->in_flight--;
}

// The peer did not give it: the item goes to the next one.
static void request_failed(struct fetch *f, struct request *r)
{
    struct item *it = item_at(f, r->item);
    it->state = ITEM_WANTED;
    if (r->item != ITEM_INDEX && r->item < f->first_wanted) f->first_wanted = r->item;
    request_end(f, r);
}

static void requests_of_peer_failed(struct fetch *f, uint32_t peer)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        if (f->requests[i].active && f->requests[i].peer == peer) request_failed(f, &f->requests[i]);
    }
}

// The least busy peer that was not asked in this sweep. `any`: whether there is one at all, busy or not.
static uint32_t peer_for(const struct fetch *f, const struct item *it, bool *any)
{
    uint32_t best = UINT32_MAX;
    *any = false;
    for (uint32_t k = 0; k < f->peer_count; k++) {
        uint32_t i = (f->turn + k) % f->peer_count;
        if (f->peers[i].gone || it->tried >> i & 1) continue;
        *any = true;
        if (f->busy[i] < f->options.per_peer && (best == UINT32_MAX || f->busy[i] < f->busy[best])) best = i;
    }
    return best;
}

static bool asked_already(const struct fetch *f, const struct core_hash *hash)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        const struct request *r = &f->requests[i];
        if (r->active && hash_equal(item_hash(f, r->item), hash)) return true;
    }
    return false;
}

// An answer that is lost must not hold everything up, and one that is only slow must not be asked for by everyone: the
// wait begins short and doubles. (What comes late still counts.)
static uint64_t patience_ms(const struct fetch *f, uint32_t item, uint32_t asks)
{
    uint64_t ms = f->options.first_ms;
    if (item != ITEM_INDEX) ms = 4 * f->chunk_ms > 2 * ms ? 4 * f->chunk_ms : 2 * ms;
    for (uint32_t i = 0; i < asks && ms < f->options.timeout_ms; i++) ms *= 2;
    return ms < f->options.timeout_ms ? ms : f->options.timeout_ms;
}

static void ask(struct fetch *f, uint32_t item, uint32_t peer, uint64_t now_ms, struct outbox *out)
{
    uint32_t free_place = 0;
    while (f->requests[free_place].active) free_place++;
    struct item *it = item_at(f, item);
    f->requests[free_place] = (struct request){true, item, peer, now_ms + patience_ms(f, item, it->asks)};
    if (it->asks == 0) it->asked_ms = now_ms;
    if (it->asks < UINT8_MAX) it->asks++;
    it->state = ITEM_ASKED;
    it->tried |= 1ull << peer;
    f->peers[peer].asked++;
    f->busy[peer]++;
    f->in_flight++;
    f->turn = (peer + 1) % f->peer_count;
    struct message m = {.type = MESSAGE_CHUNK_GET, .chunk_get = {.hash = *item_hash(f, item)}};
    outbox_send(out, &f->peers[peer].id, &m);
}

// Asks for one wanted item where somebody is free to be asked; false when the fetch has failed over it.
static bool try_item(struct fetch *f, uint32_t item, uint64_t now_ms, struct outbox *out)
{
    struct item *it = item_at(f, item);
    if (it->retry_at > now_ms || asked_already(f, item_hash(f, item))) return true;
    bool any;
    uint32_t peer = peer_for(f, it, &any);
    if (peer != UINT32_MAX) {
        ask(f, item, peer, now_ms, out);
    } else if (!any) {
        if (++it->sweeps >= f->options.sweeps) {
            fail(f, reason(f));
            return false;
        }
        it->tried = 0;
        it->retry_at = now_ms + f->options.retry_ms;
    }
    return true;
}

static void ask_more(struct fetch *f, uint64_t now_ms, struct outbox *out)
{
    if (f->state == FETCH_INDEX && f->index_item.state == ITEM_WANTED) try_item(f, ITEM_INDEX, now_ms, out);
    if (f->state != FETCH_CHUNKS) return;
    bool skipped = false;
    for (uint32_t i = f->first_wanted; i < f->index.chunk_count && f->in_flight < f->options.in_flight; i++) {
        if (f->items[i].state == ITEM_WANTED && !try_item(f, i, now_ms, out)) return;
        skipped |= f->items[i].state == ITEM_WANTED;
        if (!skipped) f->first_wanted = i + 1;
    }
}

static uint32_t peer_index(const struct fetch *f, const struct core_id *id)
{
    for (uint32_t i = 0; i < f->peer_count; i++) {
        if (id_equal(&f->peers[i].id, id)) return i;
    }
    return UINT32_MAX;
}

static void add_peer(struct fetch *f, const struct core_id *id)
{
    uint32_t i = peer_index(f, id);
    if (i != UINT32_MAX)
        f->peers[i].gone = f->peers[i].wrong > 0;
    else if (f->peer_count < FETCH_PEERS_MAX)
        f->peers[f->peer_count++] = (struct fetch_peer){.id = *id};
}

void fetch_start(struct fetch *f, const struct core_hash *root, const struct core_id *peers, uint32_t count,
                 uint64_t now_ms, struct outbox *out)
{
    forget_index(f);
    forget_requests(f);
    f->root = *root;
    f->state = FETCH_INDEX;
    f->failure = CORE_ERR_OK;
    f->index_item = (struct item){0};
    f->peer_count = 0;
    f->turn = 0;
    for (uint32_t i = 0; i < count; i++) add_peer(f, &peers[i]);
    ask_more(f, now_ms, out);
}

void fetch_candidate(struct fetch *f, const struct core_id *peer, uint64_t now_ms, struct outbox *out)
{
    if (!running(f)) return;
    add_peer(f, peer);
    // Whoever is new may have what the others did not: nobody waits out a pause for it.
    f->index_item.retry_at = 0;
    for (uint32_t i = f->first_wanted; f->items && i < f->index.chunk_count; i++) f->items[i].retry_at = 0;
    ask_more(f, now_ms, out);
}

void fetch_peer_gone(struct fetch *f, const struct core_id *peer, uint64_t now_ms, struct outbox *out)
{
    uint32_t i = peer_index(f, peer);
    if (!running(f) || i == UINT32_MAX || f->peers[i].gone) return;
    f->peers[i].gone = true;
    requests_of_peer_failed(f, i);
    ask_more(f, now_ms, out);
}

static void wrong_bytes(struct fetch *f, uint32_t peer)
{
    f->peers[peer].wrong++;
    f->peers[peer].gone = true;
    requests_of_peer_failed(f, peer);
}

static void hold(struct fetch *f, uint32_t i)
{
    if (f->items[i].state == ITEM_HELD) return;
    f->items[i].state = ITEM_HELD;
    f->held++;
    f->bytes_held += object_chunk_size(&f->index, i);
}

static void finish_if_all_held(struct fetch *f)
{
    if (f->state == FETCH_CHUNKS && f->held == f->index.chunk_count) f->state = FETCH_DONE;
}

static enum fetch_verdict take_index(struct fetch *f, struct request *r, uint32_t from, struct slice bytes)
{
    struct object_index index;
    // The root is judged before the size: a liar must not be able to make the object look too large.
    enum core_err err = object_index_decode(bytes, UINT64_MAX, &index);
    if (!err && !hash_equal(&index.root, &f->root)) {
        object_index_free(&index);
        err = CORE_ERR_VERIFY_FAILED;
    }
    if (err == CORE_ERR_NO_MEMORY) {
        fail(f, err);
        return FETCH_IGNORED;
    }
    if (err) {
        wrong_bytes(f, from);
        return FETCH_WRONG;
    }
    request_end(f, r);
    f->index_item.state = ITEM_HELD;
    f->index = index;
    f->index_from = from;
    f->peers[from].bytes += bytes.size;
    f->items = calloc(index.chunk_count ? index.chunk_count : 1, sizeof *f->items);
    if (!f->items || index.size > f->options.size_limit) {
        fail(f, f->items ? CORE_ERR_TOO_LARGE : CORE_ERR_NO_MEMORY);
        return FETCH_IGNORED;
    }
    f->state = FETCH_CHUNKS;
    for (uint32_t i = 0; f->options.have && i < index.chunk_count; i++) {
        if (f->options.have(f->options.context, &index.chunks[i], object_chunk_size(&index, i))) hold(f, i);
    }
    finish_if_all_held(f);
    return FETCH_KEEP_INDEX;
}

static enum fetch_verdict take_chunk(struct fetch *f, struct request *r, uint32_t from, struct slice bytes,
                                     uint64_t now_ms)
{
    const struct core_hash asked = f->index.chunks[r->item];
    struct core_hash hash = hash_leaf(bytes.data, bytes.size);
    if (bytes.size > STORE_CHUNK_SIZE || !hash_equal(&hash, &asked)) {
        wrong_bytes(f, from);
        return FETCH_WRONG;
    }
    f->peers[from].bytes += bytes.size;
    uint64_t took_ms = now_ms - f->items[r->item].asked_ms;
    f->chunk_ms = f->chunk_ms ? (7 * f->chunk_ms + took_ms) / 8 : took_ms;
    if (bytes.size != object_chunk_size(&f->index, r->item)) {
        // The root covers the chunks' hashes; the parts' sizes are as good as their bytes.
        uint32_t liar = f->index_from;
        forget_requests(f);
        forget_index(f);
        f->peers[liar].wrong++;
        f->peers[liar].gone = true;
        f->state = FETCH_INDEX;
        f->index_item.state = ITEM_WANTED;
        return FETCH_KEEP_CHUNK;
    }
    request_end(f, r);
    for (uint32_t i = 0; i < f->index.chunk_count; i++) {
        if (hash_equal(&f->index.chunks[i], &asked)) hold(f, i);
    }
    finish_if_all_held(f);
    return FETCH_KEEP_CHUNK;
}

enum fetch_verdict fetch_chunk(struct fetch *f, const struct core_id *from, const struct message *m, uint64_t now_ms,
                               struct outbox *out)
{
    check(m->type == MESSAGE_CHUNK);
    uint32_t peer = peer_index(f, from);
    if (!running(f) || peer == UINT32_MAX) return FETCH_IGNORED;
    // An answer that comes after its time is as good as any while somebody is still asked for the same.
    struct request *r = NULL;
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        struct request *q = &f->requests[i];
        if (!q->active || !hash_equal(item_hash(f, q->item), &m->chunk.hash)) continue;
        r = q;
        break;
    }
    if (!r) return FETCH_IGNORED;
    enum fetch_verdict verdict = FETCH_IGNORED;
    if (m->chunk.found) {
        verdict = r->item == ITEM_INDEX ? take_index(f, r, peer, m->bulk) : take_chunk(f, r, peer, m->bulk, now_ms);
    } else if (r->peer == peer) {
        f->peers[peer].refusals++;
        request_failed(f, r);
    }
    ask_more(f, now_ms, out);
    return verdict;
}

void fetch_abort(struct fetch *f, enum core_err why)
{
    if (f->state != FETCH_IDLE) fail(f, why);
}

void fetch_tick(struct fetch *f, uint64_t now_ms, struct outbox *out)
{
    if (!running(f)) return;
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        struct request *r = &f->requests[i];
        if (!r->active || r->deadline > now_ms) continue;
        f->peers[r->peer].timeouts++;
        request_failed(f, r);
    }
    ask_more(f, now_ms, out);
}

static uint64_t item_wakes(const struct item *it)
{
    return it->state == ITEM_WANTED && it->retry_at ? it->retry_at : UINT64_MAX;
}

uint64_t fetch_next_ms(const struct fetch *f)
{
    uint64_t next = UINT64_MAX;
    if (!running(f)) return next;
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        if (f->requests[i].active && f->requests[i].deadline < next) next = f->requests[i].deadline;
    }
    if (f->state == FETCH_INDEX) return item_wakes(&f->index_item) < next ? item_wakes(&f->index_item) : next;
    // With every place taken a paused item could not be asked anyway: an answer or a deadline comes first.
    if (f->in_flight >= f->options.in_flight) return next;
    for (uint32_t i = f->first_wanted; i < f->index.chunk_count; i++) {
        uint64_t wakes = item_wakes(&f->items[i]);
        if (wakes < next) next = wakes;
    }
    return next;
}

struct fetch_progress fetch_progress(const struct fetch *f)
{
    return (struct fetch_progress){
        .state = f->state,
        .root = f->root,
        .chunks = f->index.chunk_count,
        .chunks_done = f->held,
        .bytes = f->index.size,
        .bytes_done = f->bytes_held,
        .in_flight = f->in_flight,
    };
}

enum core_err fetch_failure(const struct fetch *f)
{
    return f->failure;
}

const struct fetch_peer *fetch_peers(const struct fetch *f, uint32_t *count)
{
    *count = f->peer_count;
    return f->peers;
}
