// Fetching against a naive world of peers that hold all, part or none of an object and that answer, stay silent,
// refuse, lie, leave and come back, over many seeds. Whatever they do: no byte is kept that does not hash to its name,
// and the object is fetched whenever somebody honest holds all of it. Then each way to fail, by hand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/philox.h"
#include "store/fetch.h"

enum { PEERS = 6, PARTS = 24, INDEX_ROOM = 2048, QUEUE = 512 };

enum kind { HONEST, PARTIAL, SILENT, REFUSES, LIES, SLOW, LIES_ABOUT_SIZES, KINDS };

struct pending {
    uint64_t at;
    uint32_t peer;
    struct core_hash hash;
};

struct world {
    struct core_id ids[PEERS];
    enum kind kinds[PEERS];
    uint32_t count;
    uint8_t parts[PARTS][16];
    struct object_index index;
    uint8_t index_bytes[INDEX_ROOM], false_index[INDEX_ROOM];
    size_t index_size;
    struct pending queue[QUEUE];
    uint32_t queue_count;
    uint32_t open[PEERS];  // requests not answered yet
    struct outbox out;
    struct fetch *fetch;
    bool held[PARTS], index_held;
    uint64_t now;
    struct rng rng;
    uint32_t in_flight, per_peer;
};

static bool have(void *context, const struct core_hash *hash, uint32_t size)
{
    struct world *w = context;
    for (uint32_t i = 0; i < PARTS; i++) {
        if (w->held[i] && w->index.parts[i].size == size && hash_equal(&w->index.chunks[i], hash)) return true;
    }
    return false;
}

static void make_object(struct world *w)
{
    struct slice parts[PARTS];
    for (uint32_t i = 0; i < PARTS; i++) {
        // Parts 5 and 9 are the same: one chunk, fetched once.
        memset(w->parts[i], (int)(i == 9 ? 5 : i) + 1, sizeof w->parts[i]);
        parts[i] = (struct slice){w->parts[i], i == 9 || i == 5 ? 10 : 4 + i % 12};
    }
    struct writer x = writer_over(w->index_bytes, sizeof w->index_bytes);
    write_u8(&x, 1);
    write_u32(&x, PARTS);
    for (uint32_t i = 0; i < PARTS; i++) {
        struct core_hash h = hash_leaf(parts[i].data, parts[i].size);
        write_u64(&x, parts[i].size);
        write_bytes(&x, h.bytes, sizeof h.bytes);
    }
    assert_false(x.overflowed);
    w->index_size = x.size;
    struct core_hash root;
    assert_int_equal(object_index_decode((struct slice){w->index_bytes, x.size}, 1 << 20, &w->index), CORE_ERR_OK);
    assert_int_equal(object_root(parts, PARTS, &root), CORE_ERR_OK);
    assert_true(hash_equal(&root, &w->index.root));
    memcpy(w->false_index, w->index_bytes, x.size);
    w->false_index[5 + 40] += 1;  // the second part's size, which the root does not cover
}

static struct world *make(uint64_t seed, uint32_t count, const struct fetch_options *options)
{
    struct world *w = calloc(1, sizeof *w);
    w->rng = rng_from(seed, 3);
    w->count = count;
    for (uint32_t i = 0; i < PEERS; i++) {
        w->ids[i].bytes[0] = (uint8_t)(i + 1);
        w->kinds[i] = HONEST;
    }
    make_object(w);
    assert_int_equal(outbox_open(&w->out, 256, 1 << 16), CORE_ERR_OK);
    struct fetch_options o = *options;
    o.have = have;
    o.context = w;
    w->in_flight = o.in_flight;
    w->per_peer = o.per_peer;
    assert_int_equal(fetch_open(&w->fetch, &o), CORE_ERR_OK);
    return w;
}

static void drop(struct world *w)
{
    fetch_close(w->fetch);
    object_index_free(&w->index);
    outbox_close(&w->out);
    free(w);
}

// Takes the requests out of the outbox, checking the limits.
static void collect(struct world *w)
{
    uint32_t all = 0;
    for (size_t i = 0; i < w->out.count; i++) {
        const struct effect *e = &w->out.effects[i];
        assert_int_equal(e->kind, EFFECT_SEND);
        assert_int_equal(e->message.type, MESSAGE_CHUNK_GET);
        uint32_t peer = 0;
        while (!id_equal(&w->ids[peer], &e->to)) peer++;
        assert_true(w->queue_count < QUEUE);
        uint64_t delay = 1 + rng_below(&w->rng, 50);
        if (w->kinds[peer] == SLOW) delay += 150;  // mostly too late
        w->queue[w->queue_count++] = (struct pending){w->now + delay, peer, e->message.chunk_get.hash};
    }
    outbox_reset(&w->out);
    all = fetch_progress(w->fetch).in_flight;
    assert_true(all <= w->in_flight);
}

static enum fetch_verdict reply(struct world *w, uint32_t peer, struct core_hash hash, bool found, struct slice bulk)
{
    struct message m = {.type = MESSAGE_CHUNK, .bulk = bulk, .chunk = {.hash = hash, .found = found}};
    enum fetch_verdict verdict = fetch_chunk(w->fetch, &w->ids[peer], &m, w->now, &w->out);
    if (verdict == FETCH_KEEP_INDEX) {
        assert_true(hash_equal(&hash, &w->index.root));
        w->index_held = true;
    }
    if (verdict == FETCH_KEEP_CHUNK) {
        struct core_hash actual = hash_leaf(bulk.data, bulk.size);
        assert_true(hash_equal(&actual, &hash));
        bool mine = false;
        for (uint32_t i = 0; i < PARTS; i++) {
            if (!hash_equal(&w->index.chunks[i], &hash)) continue;
            w->held[i] = true;
            mine = true;
        }
        assert_true(mine);
    }
    return verdict;
}

static void answer(struct world *w, struct pending p)
{
    static const uint8_t junk[] = "not what you asked for";
    bool index = hash_equal(&p.hash, &w->index.root);
    struct slice bytes = {w->index_bytes, w->index_size};
    uint32_t part = 0;
    if (!index) {
        while (!hash_equal(&w->index.chunks[part], &p.hash)) part++;
        bytes = (struct slice){w->parts[part], w->index.parts[part].size};
    }
    switch (w->kinds[p.peer]) {
    case SILENT: return;
    case REFUSES: reply(w, p.peer, p.hash, false, (struct slice){0}); return;
    case LIES: reply(w, p.peer, p.hash, true, (struct slice){junk, sizeof junk}); return;
    case PARTIAL:
        reply(w, p.peer, p.hash, index || part % 3 != 0, index || part % 3 ? bytes : (struct slice){0});
        return;
    case LIES_ABOUT_SIZES:
        if (index) bytes.data = w->false_index;
        break;
    case HONEST:
    case SLOW:
    case KINDS: break;
    }
    reply(w, p.peer, p.hash, true, bytes);
}

// Runs until the fetch ends. False: nothing more would ever happen.
static bool run(struct world *w)
{
    for (uint32_t steps = 0; steps < 20000; steps++) {
        collect(w);
        enum fetch_state state = fetch_progress(w->fetch).state;
        if (state == FETCH_DONE || state == FETCH_FAILED) return true;
        uint32_t next = UINT32_MAX;
        uint64_t at = fetch_next_ms(w->fetch);
        for (uint32_t i = 0; i < w->queue_count; i++) {
            if (w->queue[i].at < at) at = w->queue[i].at, next = i;
        }
        if (at == UINT64_MAX) return false;
        if (at > w->now) w->now = at;
        if (next == UINT32_MAX) {
            fetch_tick(w->fetch, w->now, &w->out);
        } else {
            struct pending p = w->queue[next];
            w->queue[next] = w->queue[--w->queue_count];
            answer(w, p);
        }
        uint32_t dice = (uint32_t)rng_below(&w->rng, 100), peer = (uint32_t)rng_below(&w->rng, w->count);
        if (w->kinds[peer] != HONEST && dice < 3) fetch_peer_gone(w->fetch, &w->ids[peer], w->now, &w->out);
        if (w->kinds[peer] != HONEST && dice == 99) fetch_candidate(w->fetch, &w->ids[peer], w->now, &w->out);
    }
    return false;
}

static void many_seeds(void **state)
{
    (void)state;
    uint32_t done = 0, failed = 0;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct rng rng = rng_from(seed, 1);
        struct fetch_options options = {.in_flight = 1 + (uint32_t)rng_below(&rng, 8),
                                        .timeout_ms = 100,
                                        .per_peer = 1 + (uint32_t)rng_below(&rng, 3),
                                        .retry_ms = 50,
                                        .sweeps = 3};
        struct world *w = make(seed, 1 + (uint32_t)rng_below(&rng, PEERS), &options);
        bool honest = false;
        for (uint32_t i = 0; i < w->count; i++) {
            w->kinds[i] = (enum kind)rng_below(&rng, KINDS);
            honest |= w->kinds[i] == HONEST;
        }
        for (uint32_t i = 0; i < PARTS; i++) w->held[i] = rng_below(&rng, 4) == 0;  // some is here already
        fetch_start(w->fetch, &w->index.root, w->ids, w->count, w->now, &w->out);
        if (!run(w)) fail_msg("seed %lu: it hangs", (unsigned long)seed);
        struct fetch_progress p = fetch_progress(w->fetch);
        if (honest && p.state != FETCH_DONE) fail_msg("seed %lu: an honest peer had everything", (unsigned long)seed);
        if (p.state == FETCH_DONE) {
            done++;
            assert_true(w->index_held && p.chunks_done == PARTS && p.bytes_done == p.bytes);
            assert_true(p.bytes == w->index.size);  // no lie about sizes has lasted
            for (uint32_t i = 0; i < PARTS; i++)
                assert_true(have(w, &w->index.chunks[i], (uint32_t)w->index.parts[i].size));
        } else {
            failed++;
            assert_int_not_equal(fetch_failure(w->fetch), CORE_ERR_OK);
        }
        drop(w);
    }
    assert_true(done > 1000 && failed > 300);  // both ends were seen
}

static const struct fetch_options plain = {
    .in_flight = 4, .per_peer = 2, .timeout_ms = 100, .retry_ms = 50, .sweeps = 2};

static enum core_err fails_with(enum kind first, enum kind second, uint32_t count)
{
    struct world *w = make(1, count, &plain);
    w->kinds[0] = first;
    w->kinds[1] = second;
    // Nobody leaves or returns here.
    fetch_start(w->fetch, &w->index.root, w->ids, count, 0, &w->out);
    for (uint32_t i = 0; i < 200 && fetch_progress(w->fetch).state != FETCH_FAILED; i++) {
        collect(w);
        if (w->queue_count)
            answer(w, w->queue[--w->queue_count]);
        else
            fetch_tick(w->fetch, w->now = fetch_next_ms(w->fetch), &w->out);
    }
    assert_int_equal(fetch_progress(w->fetch).state, FETCH_FAILED);
    enum core_err err = fetch_failure(w->fetch);
    drop(w);
    return err;
}

static void failures_have_reasons(void **state)
{
    (void)state;
    assert_int_equal(fails_with(REFUSES, REFUSES, 2), CORE_ERR_NOT_FOUND);
    assert_int_equal(fails_with(SILENT, REFUSES, 2), CORE_ERR_UNREACHABLE);
    assert_int_equal(fails_with(LIES, LIES, 2), CORE_ERR_VERIFY_FAILED);
    assert_int_equal(fails_with(LIES, REFUSES, 2), CORE_ERR_NOT_FOUND);
    assert_int_equal(fails_with(HONEST, HONEST, 0), CORE_ERR_UNREACHABLE);
}

static void size_limit(void **state)
{
    (void)state;
    struct fetch_options o = plain;
    o.size_limit = 50;
    struct world *w = make(1, 1, &o);
    fetch_start(w->fetch, &w->index.root, w->ids, 1, 0, &w->out);
    reply(w, 0, w->index.root, true, (struct slice){w->index_bytes, w->index_size});
    assert_int_equal(fetch_progress(w->fetch).state, FETCH_FAILED);
    assert_int_equal(fetch_failure(w->fetch), CORE_ERR_TOO_LARGE);
    assert_false(w->index_held);
    drop(w);
}

static void liars_are_left_and_named(void **state)
{
    (void)state;
    struct world *w = make(1, 2, &plain);
    fetch_start(w->fetch, &w->index.root, w->ids, 2, 0, &w->out);
    assert_int_equal(w->out.count, 1);
    assert_true(id_equal(&w->out.effects[0].to, &w->ids[0]));
    outbox_reset(&w->out);
    assert_int_equal(reply(w, 0, w->index.root, true, (struct slice){w->parts[0], 4}), FETCH_WRONG);
    assert_int_equal(w->out.count, 1);
    assert_true(id_equal(&w->out.effects[0].to, &w->ids[1]));
    outbox_reset(&w->out);
    assert_int_equal(reply(w, 1, w->index.root, true, (struct slice){w->index_bytes, w->index_size}), FETCH_KEEP_INDEX);
    for (size_t i = 0; i < w->out.count; i++) assert_true(id_equal(&w->out.effects[i].to, &w->ids[1]));
    fetch_candidate(w->fetch, &w->ids[0], 1, &w->out);  // coming back does not clear it
    uint32_t count;
    const struct fetch_peer *peers = fetch_peers(w->fetch, &count);
    assert_int_equal(count, 2);
    assert_true(peers[0].gone && peers[0].wrong == 1);
    assert_false(peers[1].gone);
    // Not asked for, not asked of, and somebody else's.
    struct core_hash zero = {{0}};
    assert_int_equal(reply(w, 1, zero, true, (struct slice){w->parts[0], 4}), FETCH_IGNORED);
    assert_int_equal(reply(w, 5, w->index.chunks[0], true, (struct slice){w->parts[0], 4}), FETCH_IGNORED);
    drop(w);
}

static void a_full_disk_ends_it(void **state)
{
    (void)state;
    struct world *w = make(1, 1, &plain);
    fetch_start(w->fetch, &w->index.root, w->ids, 1, 0, &w->out);
    reply(w, 0, w->index.root, true, (struct slice){w->index_bytes, w->index_size});
    fetch_abort(w->fetch, CORE_ERR_NO_SPACE);
    assert_int_equal(fetch_failure(w->fetch), CORE_ERR_NO_SPACE);
    outbox_reset(&w->out);
    fetch_tick(w->fetch, 100000, &w->out);
    assert_int_equal(w->out.count, 0);
    assert_true(fetch_next_ms(w->fetch) == UINT64_MAX);
    // And it can begin again.
    fetch_start(w->fetch, &w->index.root, w->ids, 1, 0, &w->out);
    assert_true(run(w));
    assert_int_equal(fetch_progress(w->fetch).state, FETCH_DONE);
    drop(w);
}

// A lost answer costs 1.5 s, not the 10 s that a slow one may take; and each further wait is twice as long.
static void a_lost_answer_is_asked_for_soon(void **state)
{
    (void)state;
    struct world *w = make(1, 3, &(struct fetch_options){.sweeps = 2});
    w->in_flight = 8;
    fetch_start(w->fetch, &w->index.root, w->ids, 3, 0, &w->out);
    static const uint64_t at[] = {1500, 4500, 10500};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fetch_next_ms(w->fetch), at[i]);
        outbox_reset(&w->out);
        fetch_tick(w->fetch, w->now = at[i], &w->out);
        assert_int_equal(w->out.count, i < 2);
    }
    // The first one's answer, when it comes at last, is as good as any.
    fetch_tick(w->fetch, w->now = fetch_next_ms(w->fetch), &w->out);
    assert_int_equal(reply(w, 0, w->index.root, true, (struct slice){w->index_bytes, w->index_size}), FETCH_KEEP_INDEX);
    assert_int_equal(fetch_next_ms(w->fetch), w->now + 3000);  // chunks are larger
    drop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_seeds),          cmocka_unit_test(failures_have_reasons),
        cmocka_unit_test(size_limit),          cmocka_unit_test(liars_are_left_and_named),
        cmocka_unit_test(a_full_disk_ends_it), cmocka_unit_test(a_lost_answer_is_asked_for_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
