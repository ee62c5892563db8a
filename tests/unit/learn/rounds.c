// Rounds of several peers in virtual time, with a fault put at one exact place: an owner killed in the middle of a sum,
// a full disk, a cut whose every contribution is lost. Random faults are the simulator's.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gossip/sum.h"
#include "learn/peer.h"

enum { PEERS_MAX = 5, ELEMENTS = 1280, EVENTS = 1 << 16, BLOBS = 4096, LINK_MS = 1, REDUCE_MS = 40 };

struct blob {
    struct blob_key key;
    uint8_t *data;
    size_t size;
};

// One peer, and what lies on it.
struct node {
    struct core_key key;
    struct peer *peer;
    bool dead, full;
    uint32_t reducing;  // sums it was asked for that are not done
    struct blob blobs[BLOBS];
    uint32_t blob_count;
};

enum timed_kind { A_MESSAGE, A_JOB };

struct timed {
    uint64_t at_ms, order;
    enum timed_kind kind;
    uint32_t to, from, work;
    struct arena arena;  // of the message
    struct message message;
    uint8_t *job;
};

struct world {
    struct node nodes[PEERS_MAX];
    uint32_t count;
    uint64_t now_ms, order;
    uint64_t train_ms[PEERS_MAX];
    struct timed *events[EVENTS];
    uint32_t event_count;
    struct outbox out;
    struct core_hash run;
    uint8_t spec[RUN_SPEC_LIMIT];
    size_t spec_size;
};

static struct world world;

static bool any_spec(void *context, const struct run_spec *spec)
{
    (void)context;
    (void)spec;
    return true;
}

static struct core_hash first_params(void)
{
    return hash_bytes("first", 5);
}

static int8_t element_of(uint32_t slot, uint64_t e)
{
    return (int8_t)((slot * 37 + e * 11) % 255 - 127);
}

// What the parameters after a round are here: the hash of the sums of the slots in `set`, each with weight 1.
static struct core_hash params_of(uint64_t set)
{
    static int64_t sums[ELEMENTS];
    for (uint64_t e = 0; e < ELEMENTS; e++) {
        sums[e] = 0;
        for (uint32_t slot = 0; slot < PEERS_MAX; slot++)
            if (set >> slot & 1) sums[e] += element_of(slot, e);
    }
    return hash_bytes((const uint8_t *)sums, sizeof sums);
}

// ---- blobs ----

static struct blob *blob_find(struct node *n, const struct blob_key *key)
{
    for (uint32_t i = 0; i < n->blob_count; i++)
        if (blob_key_equal(&n->blobs[i].key, key)) return &n->blobs[i];
    return NULL;
}

static void blob_put(struct node *n, const struct blob_key *key, const uint8_t *data, size_t size)
{
    if (blob_find(n, key)) return;
    assert_true(n->blob_count < BLOBS);
    struct blob *b = &n->blobs[n->blob_count++];
    *b = (struct blob){.key = *key, .data = malloc(size + 1), .size = size};
    if (size) memcpy(b->data, data, size);
}

// ---- events in order of time ----

static void push(struct timed *e, uint64_t in_ms)
{
    assert_true(world.event_count < EVENTS);
    e->at_ms = world.now_ms + in_ms;
    e->order = world.order++;
    world.events[world.event_count++] = e;
}

static struct timed *pop(uint64_t until_ms)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < world.event_count; i++) {
        const struct timed *e = world.events[i], *b = best == UINT32_MAX ? NULL : world.events[best];
        if (e->at_ms <= until_ms && (!b || e->at_ms < b->at_ms || (e->at_ms == b->at_ms && e->order < b->order)))
            best = i;
    }
    if (best == UINT32_MAX) return NULL;
    struct timed *e = world.events[best];
    world.events[best] = world.events[--world.event_count];
    return e;
}

static void drop(struct timed *e)
{
    if (e->kind == A_MESSAGE) arena_close(&e->arena);
    free(e->job);
    free(e);
}

static void send(uint32_t from, uint32_t to, const struct message *m)
{
    struct message full = *m;
    if (m->type == MESSAGE_DATA) {
        struct blob_key key;
        if (blob_key_of_data(&key, &m->data)) return;
        const struct blob *b = blob_find(&world.nodes[from], &key);
        if (!b) return;
        full.bulk = (struct slice){b->data, b->size};
    }
    struct timed *e = calloc(1, sizeof *e);
    *e = (struct timed){.kind = A_MESSAGE, .to = to, .from = from};
    assert_int_equal(arena_open(&e->arena, (1 << 17) + full.bulk.size), CORE_ERR_OK);
    assert_true(message_copy(&e->arena, &e->message, &full));
    push(e, LINK_MS);
}

static uint32_t index_of(const struct core_id *id)
{
    for (uint32_t i = 0; i < world.count; i++)
        if (id_equal(&world.nodes[i].key.id, id)) return i;
    return UINT32_MAX;
}

// Performs what a step of node `index` wrote.
static void perform(uint32_t index)
{
    struct node *n = &world.nodes[index];
    bool failed = false;
    for (size_t i = 0; i < world.out.count; i++) {
        const struct effect *e = &world.out.effects[i];
        if (e->kind == EFFECT_PERSIST && (n->full || failed)) {
            failed = true;
            peer_persist_failed(n->peer, e->kind_of, e->payload, world.now_ms);
        } else if (failed) {
            continue;
        } else if (e->kind == EFFECT_SEND) {
            const uint32_t to = index_of(&e->to);
            if (to < world.count && !world.nodes[to].dead) send(index, to, &e->message);
        } else if (e->kind == EFFECT_WORK && e->kind_of != WORK_DROP) {
            struct timed *job = calloc(1, sizeof *job);
            *job = (struct timed){.kind = A_JOB, .to = index, .work = e->kind_of, .job = malloc(e->payload.size)};
            memcpy(job->job, e->payload.data, e->payload.size);
            n->reducing += e->kind_of == WORK_REDUCE;
            push(job, e->kind_of == WORK_TRAIN ? world.train_ms[index] : e->kind_of == WORK_REDUCE ? REDUCE_MS : 2);
        }
    }
    outbox_reset(&world.out);
}

// ---- work ----

static void do_train(struct node *n, const struct work_train *work, struct work_result *result)
{
    static uint8_t update[ELEMENTS];
    for (uint64_t e = 0; e < ELEMENTS; e++) update[e] = (uint8_t)element_of(work->slot, e);
    for (uint32_t shard = 0; shard < work->shards; shard++) {
        uint64_t first;
        const uint64_t count = tree_shard_range(work->elements, work->shards, shard, &first);
        const struct blob_key key = {.run = world.run,
                                     .round = work->round,
                                     .attempt = work->attempt,
                                     .kind = ROUND_CONTRIBUTION,
                                     .shard = shard,
                                     .slot = work->slot};
        blob_put(n, &key, update + first, count);
        result->train.shards[shard] = hash_bytes(update + first, count);
    }
    result->round = work->round;
    result->attempt = work->attempt;
    result->train.update_root = hash_bytes(update, sizeof update);
    result->train.loss = 2;
    result->train.weight = 768;
    result->train.tokens = 768;
}

static void do_reduce(struct node *n, const struct work_reduce *work, struct work_result *result)
{
    struct sum_input inputs[WORK_INPUTS_MAX];
    uint8_t out[ELEMENTS * 8];
    result->round = work->key.round;
    result->attempt = work->key.attempt;
    result->reduce.key = work->key;
    n->reducing--;
    for (uint32_t i = 0; i < work->count; i++) {
        const struct blob *b = blob_find(n, &work->inputs[i].key);
        assert_non_null(b);
        inputs[i] = (struct sum_input){b->data, work->inputs[i].bits, work->inputs[i].weight};
    }
    assert_int_equal(sum_reduce(out, work->bits, inputs, work->count, work->elements), CORE_ERR_OK);
    blob_put(n, &work->key, out, sum_bytes(work->bits, work->elements));
}

static void do_apply(struct node *n, const struct work_apply *work, struct work_result *result)
{
    static int64_t sums[ELEMENTS];
    for (uint32_t shard = 0; shard < work->shards; shard++) {
        uint64_t first;
        const uint64_t count = tree_shard_range(work->elements, work->shards, shard, &first);
        struct blob_key key = work->top;
        key.shard = shard;
        const struct blob *b = blob_find(n, &key);
        assert_non_null(b);
        assert_int_equal(sum_unpack(sums + first, b->data, work->bits, count), CORE_ERR_OK);
    }
    result->round = work->round;
    result->attempt = work->attempt;
    result->apply.params_hash = hash_bytes((const uint8_t *)sums, sizeof sums);
}

static void do_job(struct timed *e)
{
    struct node *n = &world.nodes[e->to];
    struct work_result result = {.kind = (enum work_kind)e->work, .run = world.run};
    if (e->work == WORK_TRAIN) {
        do_train(n, (const void *)e->job, &result);
    } else if (e->work == WORK_REDUCE) {
        do_reduce(n, (const void *)e->job, &result);
    } else if (e->work == WORK_APPLY) {
        do_apply(n, (const void *)e->job, &result);
    } else {
        const struct work_fetch *work = (const void *)e->job;
        result.round = work->round;
        result.fetch.what = work->what;
        result.fetch.object = work->object;
    }
    peer_work_done(n->peer, &result, world.now_ms, &world.out);
    perform(e->to);
}

static void take_message(struct timed *e)
{
    struct node *n = &world.nodes[e->to];
    const struct core_id *from = &world.nodes[e->from].key.id;
    const struct message *m = &e->message;
    if (m->type != MESSAGE_DATA) {
        (void)!peer_message(n->peer, from, m, world.now_ms, &world.out);
        perform(e->to);
        return;
    }
    struct peer_expected expected;
    const enum peer_wanted wanted = peer_data(n->peer, from, &m->data, &expected, world.now_ms, &world.out);
    perform(e->to);
    assert_int_not_equal(wanted, PEER_REFUSED);
    if (wanted != PEER_WANTED) return;
    assert_int_equal(m->bulk.size, expected.size);
    blob_put(n, &expected.key, m->bulk.data, m->bulk.size);
    peer_stored(n->peer, from, &m->data, world.now_ms, &world.out);
    perform(e->to);
}

// ---- the world ----

static void step(void)
{
    for (struct timed *e; (e = pop(world.now_ms));) {
        if (!world.nodes[e->to].dead) {
            if (e->kind == A_MESSAGE)
                take_message(e);
            else
                do_job(e);
        }
        drop(e);
    }
    for (uint32_t i = 0; i < world.count; i++) {
        struct node *n = &world.nodes[i];
        if (n->dead || peer_next_ms(n->peer) > world.now_ms) continue;
        peer_tick(n->peer, world.now_ms, &world.out);
        perform(i);
    }
    world.now_ms++;
}

static void kill_node(uint32_t index)
{
    world.nodes[index].dead = true;
    for (uint32_t i = 0; i < world.count; i++) {
        if (world.nodes[i].dead) continue;
        peer_link_down(world.nodes[i].peer, &world.nodes[index].key.id, world.now_ms, &world.out);
        perform(i);
    }
}

static struct run_status status_of(uint32_t index)
{
    struct run_status s = {0};
    (void)peer_run_find(world.nodes[index].peer, &world.run, &s);
    return s;
}

static void open_world(uint32_t count, uint32_t deadline_ms)
{
    memset(&world, 0, sizeof world);
    world.count = count;
    world.now_ms = 1000;
    assert_int_equal(outbox_open(&world.out, PEER_OUTBOX_EFFECTS, PEER_OUTBOX_BYTES), CORE_ERR_OK);
    struct run_spec s = {.created_ms = 1, .seed = 1, .rounds = 3, .deadline_ms = deadline_ms};
    s.model = *config_preset("small");
    s.hyper = hyper_defaults();
    s.params = first_params();
    s.elements = ELEMENTS;
    s.tensors = 2;
    s.member_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct node *n = &world.nodes[i];
        uint8_t seed[CORE_SEED_SIZE] = {(uint8_t)(i + 1)};
        n->key = sign_key_from_seed(seed);
        world.train_ms[i] = 100;
        s.members[i] = (struct run_member){.id = n->key.id, .slot = i, .dialable = true, .fresh = true};
        const struct peer_options options = {.gossip = {.key = n->key,
                                                        .seed = i,
                                                        .incarnation = 1,
                                                        .members_max = 16,
                                                        .cast_count = 256,
                                                        .cast_bytes = 1 << 20,
                                                        .name = {(const uint8_t *)"p", 1},
                                                        .addresses = {(const uint8_t *)"a", 1}},
                                             .spec_valid = any_spec};
        assert_int_equal(peer_open(&n->peer, &options, world.now_ms), CORE_ERR_OK);
    }
    struct writer w = writer_over(world.spec, sizeof world.spec);
    run_spec_encode(&w, &s, &world.nodes[0].key, &world.run);
    world.spec_size = w.size;
    for (uint32_t i = 0; i < count; i++) {
        peer_start(world.nodes[i].peer, world.now_ms, &world.out);
        perform(i);
    }
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < count; k++) {
            if (i == k) continue;
            peer_link_up(world.nodes[i].peer, &world.nodes[k].key.id, world.now_ms, &world.out);
            perform(i);
        }
    }
    for (int i = 0; i < 3000; i++) step();  // gossip has settled
    assert_int_equal(
        peer_run_start(world.nodes[0].peer, (struct slice){world.spec, world.spec_size}, world.now_ms, &world.out),
        CORE_ERR_OK);
    perform(0);
}

static void close_world(void)
{
    for (uint32_t i = 0; i < world.event_count; i++) drop(world.events[i]);
    for (uint32_t i = 0; i < world.count; i++) {
        peer_close(world.nodes[i].peer);
        for (uint32_t k = 0; k < world.nodes[i].blob_count; k++) free(world.nodes[i].blobs[k].data);
    }
    outbox_close(&world.out);
}

// Until node `index` has decided round `round`, `limit_ms` at most; how long it took.
static uint64_t run_to(uint32_t index, uint64_t round, uint64_t limit_ms)
{
    const uint64_t from = world.now_ms;
    while (world.now_ms < from + limit_ms && (!status_of(index).head || status_of(index).head->round < round)) step();
    assert_true(status_of(index).head->round >= round);
    return world.now_ms - from;
}

static void cut_of(uint32_t index, uint64_t round, struct manifest *m, uint64_t *slots)
{
    uint64_t height;
    struct slice value, certificate;
    static struct cut cut;
    assert_true(peer_run_manifest(world.nodes[index].peer, &world.run, round, m, &height));
    assert_true(peer_run_decision(world.nodes[index].peer, &world.run, height, &value, &certificate));
    assert_int_equal(cut_decode(value, &cut), CORE_ERR_OK);
    *slots = cut.slots;
}

static void an_owner_killed_in_its_sum_costs_no_contribution(void **state)
{
    (void)state;
    for (uint32_t victim = 0; victim < 4; victim++) {
        open_world(4, 20000);
        const uint32_t survivor = (victim + 1) % 4;
        for (uint64_t i = 0; i < 10000 && !world.nodes[victim].reducing; i++) step();
        assert_true(world.nodes[victim].reducing > 0);  // it has the cut and every contribution to its shard
        kill_node(victim);
        const uint64_t took = run_to(survivor, 1, 20000);
        struct manifest m;
        uint64_t slots;
        cut_of(survivor, 1, &m, &slots);
        assert_true(slots == 15 && m.attempt == 0);
        const struct core_hash expected = params_of(15);
        assert_true(hash_equal(&m.params, &expected));
        assert_true(took < 3000);  // the failure detector's time (a closed link: about 2 s), and little more
        close_world();
    }
}

static void a_full_disk_does_not_hold_the_others(void **state)
{
    (void)state;
    open_world(4, 30000);
    for (int i = 0; i < 50; i++) step();
    world.nodes[2].full = true;
    const uint64_t took = run_to(0, 1, 30000);
    assert_true(took < 5000);  // not the deadline's 30 s
    assert_true(peer_persist_halted(world.nodes[2].peer));
    struct manifest m;
    uint64_t slots;
    cut_of(0, 1, &m, &slots);
    assert_true(slots == 11);
    // With space again it is back.
    world.nodes[2].full = false;
    peer_persist_ok(world.nodes[2].peer, world.now_ms, &world.out);
    perform(2);
    (void)run_to(2, 3, 30000);
    cut_of(2, 3, &m, &slots);
    assert_true(slots == 15);
    close_world();
}

static void a_cut_that_is_lost_reopens_its_round(void **state)
{
    (void)state;
    open_world(5, 1000);
    for (uint32_t i = 2; i < 5; i++) world.train_ms[i] = 12000;
    // Slots 0 and 1 are cut at the deadline. Each holds the other's only copy of one shard.
    for (uint64_t i = 0; i < 10000 && !world.nodes[0].reducing && !world.nodes[1].reducing; i++) step();
    kill_node(0);
    kill_node(1);
    (void)run_to(2, 1, 120000);
    struct manifest m;
    uint64_t slots;
    cut_of(2, 1, &m, &slots);
    assert_true(slots && (slots & ~UINT64_C(28)) == 0);  // whoever was ready at that deadline
    assert_int_equal(m.attempt, 2);                      // 1: nobody
    const struct core_hash expected = params_of(slots);
    assert_true(hash_equal(&m.params, &expected));
    (void)run_to(3, 3, 120000);
    close_world();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_owner_killed_in_its_sum_costs_no_contribution),
        cmocka_unit_test(a_full_disk_does_not_hold_the_others),
        cmocka_unit_test(a_cut_that_is_lost_reopens_its_round),
    };
    if (sign_start() != CORE_ERR_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
