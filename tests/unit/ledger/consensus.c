// Consensus against a naive world: a few members on one seeded, lossy network in virtual time, which crash between any
// two effects and come back with what their disk holds. Four checkers watch: agreement, validity, one vote a slot, and
// nothing on the wire that isn't on disk; after the faults stop every height must be decided. Two tests break a rule on
// purpose and must be caught.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "core/philox.h"
#include "ledger/consensus.h"
#include "ledger/consensus_state.h"

enum { NODES = 7, HEIGHTS = 3, FLIGHT = 4096, DISK = 256, VOTES = 8192, VALUE = 24, MOODS = 3 };

struct flying {
    uint64_t at;
    uint32_t from, to;
    enum message_type type;
    uint8_t *bytes;
    size_t size;
};

struct decided {
    bool here;
    uint8_t value[VALUE];
    size_t value_size;
    uint8_t certificate[LEDGER_CERTIFICATE_LIMIT];
    size_t certificate_size;
};

struct node {
    struct core_key key;
    struct consensus *machine;  // NULL while crashed
    uint64_t wakes, offers;     // when it restarts, when it offers
    uint64_t height;
    bool offered;
    struct {
        uint8_t *bytes;
        size_t size;
        uint64_t height;
    } disk[DISK];
    uint32_t disk_count;
    struct decided log[HEIGHTS];
    uint32_t late;  // judge says UNKNOWN this many times first
};

enum breakage { BREAK_NOTHING, BREAK_LOCK, BREAK_DISK };

struct world {
    uint32_t count;
    enum ledger_fault_model model;
    struct node nodes[NODES];
    struct core_id ids[NODES];
    struct flying flight[FLIGHT];
    uint32_t flight_count;
    struct ledger_vote votes[VOTES];  // every vote that was ever on the wire, once
    uint32_t vote_count;
    struct core_hash run;
    uint64_t seed;
    struct rng rng;
    uint64_t now, calm;  // from `calm` on nothing is lost, nobody crashes
    uint32_t loss;       // percent of messages, until then
    enum breakage breakage;
    const char *violation;
    uint32_t crashes, drops, rounds;
};

static uint32_t chance(struct world *w, uint32_t percent)
{
    return rng_below(&w->rng, 100) < percent;
}

static enum consensus_validity judge(void *context, uint64_t height, struct slice value)
{
    struct node *n = context;
    if (n->late > 0) {
        n->late--;
        return CONSENSUS_UNKNOWN;
    }
    char text[VALUE + 1] = {0};
    if (value.size > VALUE) return CONSENSUS_INVALID;
    memcpy(text, value.data, value.size);
    unsigned long h = 0;
    return sscanf(text, "value of height %lu", &h) == 1 && h == height ? CONSENSUS_VALID : CONSENSUS_INVALID;
}

// Members propose different values, and each another one after a restart; validity tells those of a height.
static struct slice value_of(uint32_t i, uint64_t height, uint32_t mood, char text[VALUE + 16])
{
    int size = snprintf(text, VALUE + 16, "value of height %u/%u%u", (unsigned)height, (unsigned)i, (unsigned)mood);
    return (struct slice){(uint8_t *)text, (size_t)size};
}

static void violate(struct world *w, const char *what)
{
    if (!w->violation) w->violation = what;
}

// The world is split in two, anew every 1.5 s, half of the time (always where the lock is broken: it
// takes a split at the wrong moment to see that).
static bool parted(const struct world *w, uint32_t a, uint32_t b)
{
    struct philox_block split = philox(w->seed, w->now / 1500, 0);
    bool now = w->breakage == BREAK_LOCK || split.word[0] % 2;
    return now && (split.word[1] >> a & 1) != (split.word[1] >> b & 1);
}

static void fly(struct world *w, uint32_t from, uint32_t to, enum message_type type, struct slice s)
{
    bool storm = w->now < w->calm;
    if (storm && (chance(w, w->loss) || parted(w, from, to))) {
        w->drops++;
        return;
    }
    for (uint32_t copies = storm && chance(w, 10) ? 2 : 1; copies > 0 && w->flight_count < FLIGHT; copies--) {
        struct flying *f = &w->flight[w->flight_count++];
        uint64_t delay = 1 + rng_below(&w->rng, storm && chance(w, 20) ? 2000 : 40);
        *f = (struct flying){w->now + delay, from, to, type, malloc(s.size ? s.size : 1), s.size};
        memcpy(f->bytes, s.data, s.size);
    }
}

static bool on_disk(const struct node *n, const struct ledger_vote *v)
{
    uint8_t bytes[LEDGER_VOTE_SIZE];
    struct writer wr = writer_over(bytes, sizeof bytes);
    ledger_vote_write(&wr, v);
    for (uint32_t i = 0; i < n->disk_count; i++) {
        if (memmem(n->disk[i].bytes, n->disk[i].size, bytes, sizeof bytes)) return true;
    }
    return false;
}

// The wire's observer.
static void watch(struct world *w, uint32_t from, const struct message *m)
{
    struct ledger_vote v;
    struct ledger_proposal p;
    struct slice bytes = m->type == MESSAGE_RUN_VOTE ? m->run_vote.vote : m->run_proposal.proposal;
    if (m->type == MESSAGE_RUN_VOTE) {
        struct reader r = reader_over(bytes.data, bytes.size);
        assert_int_equal(ledger_vote_read(&r, &v), CORE_ERR_OK);
    } else {
        assert_int_equal(ledger_proposal_read(bytes, &p), CORE_ERR_OK);
        v = p.vote;
    }
    if (id_equal(&v.voter, &w->ids[from]) && w->breakage != BREAK_DISK && !on_disk(&w->nodes[from], &v)) {
        violate(w, "a vote is on the wire before it is on disk");
    }
    for (uint32_t i = 0; i < w->vote_count; i++) {
        struct ledger_vote *o = &w->votes[i];
        if (o->height != v.height || o->round != v.round || o->step != v.step || !id_equal(&o->voter, &v.voter))
            continue;
        if (!hash_equal(&o->value, &v.value) || o->valid_round != v.valid_round) violate(w, "two votes for one slot");
        return;
    }
    assert_true(w->vote_count < VOTES);
    w->votes[w->vote_count++] = v;
    if (v.round > w->rounds) w->rounds = v.round;
}

static void crash(struct world *w, uint32_t i)
{
    struct node *n = &w->nodes[i];
    consensus_close(n->machine);
    n->machine = NULL;
    n->wakes = w->now + 1 + rng_below(&w->rng, 1500);
    w->crashes++;
}

// Performs what a member wants; a crash may come between any two effects. False: it crashed.
static bool perform(struct world *w, uint32_t i, struct outbox *out)
{
    struct node *n = &w->nodes[i];
    uint64_t crash_at = w->now < w->calm && chance(w, 3) ? rng_below(&w->rng, out->count + 1) : UINT64_MAX;
    for (size_t k = 0; k < out->count; k++) {
        const struct effect *e = &out->effects[k];
        if (k == crash_at) {
            crash(w, i);
            return false;
        }
        if (e->kind == EFFECT_PERSIST) {
            assert_int_equal(e->kind_of, LEDGER_PERSIST_VOTE);
            assert_true(n->disk_count < DISK);
            n->disk[n->disk_count].bytes = malloc(e->payload.size);
            memcpy(n->disk[n->disk_count].bytes, e->payload.data, e->payload.size);
            n->disk[n->disk_count].size = e->payload.size;
            n->disk[n->disk_count++].height = n->height;
        } else {
            assert_int_equal(e->kind, EFFECT_SEND);
            watch(w, i, &e->message);
            for (uint32_t to = 0; to < w->count; to++) {
                if (!id_equal(&w->ids[to], &e->to)) continue;
                fly(w, i, to, e->message.type,
                    e->message.type == MESSAGE_RUN_VOTE ? e->message.run_vote.vote : e->message.run_proposal.proposal);
            }
        }
    }
    assert_int_equal(out->dropped, 0);
    return true;
}

static void start(struct world *w, uint32_t i, struct outbox *out)
{
    struct node *n = &w->nodes[i];
    n->offered = false;
    n->offers = w->now + rng_below(&w->rng, 400);
    n->late = chance(w, 20) ? 1 : 0;
    consensus_start(n->machine, n->height, w->ids, w->count, w->now, out);
}

static void note_decision(struct world *w, uint32_t i, uint64_t height, const struct consensus_decision *d)
{
    struct node *n = &w->nodes[i];
    struct decided *mine = &n->log[height];
    char text[VALUE + 16];
    bool offered = false;
    for (uint32_t k = 0; k < w->count * MOODS; k++) {
        struct slice s = value_of(k / MOODS, height, k % MOODS, text);
        offered |= s.size == d->value.size && memcmp(s.data, d->value.data, s.size) == 0;
    }
    if (!offered) violate(w, "a value was decided that nobody offered");
    if (!ledger_certificate_valid(d->certificate, LEDGER_PRECOMMIT, &w->run, height, &d->hash, w->ids, w->count,
                                  ledger_quorum(w->model, w->count))) {
        violate(w, "a decision's certificate is not valid");
    }
    mine->here = true;
    mine->value_size = d->value.size;
    memcpy(mine->value, d->value.data, d->value.size);
    mine->certificate_size = d->certificate.size;
    memcpy(mine->certificate, d->certificate.data, d->certificate.size);
    for (uint32_t k = 0; k < w->count; k++) {
        const struct decided *o = &w->nodes[k].log[height];
        if (o->here && (o->value_size != mine->value_size || memcmp(o->value, mine->value, o->value_size))) {
            violate(w, "two members decided differently");
        }
    }
}

// After each call into a machine: perform, and enter the next height when this one is decided.
static void after(struct world *w, uint32_t i, struct outbox *out)
{
    struct node *n = &w->nodes[i];
    for (;;) {
        if (w->breakage == BREAK_LOCK) n->machine->locked_round = n->machine->valid_round = -1;
        const struct consensus_decision *d = consensus_decision(n->machine);
        bool alive = perform(w, i, out);
        outbox_reset(out);
        if (!alive || !d || n->height >= HEIGHTS) return;
        note_decision(w, i, n->height, d);
        n->height++;
        if (n->height >= HEIGHTS) return;
        start(w, i, out);
    }
}

static void restart(struct world *w, uint32_t i, struct outbox *out)
{
    struct node *n = &w->nodes[i];
    struct consensus_options options = {
        .run = w->run,
        .key = &n->key,
        .model = w->model,
        .value_limit = VALUE,
        .timeout_ms = 300,
        .timeout_growth_ms = 100,
        .resend_ms = 100,
        .judge = judge,
        .context = n,
    };
    assert_int_equal(consensus_open(&n->machine, &options), CORE_ERR_OK);
    uint64_t height = n->height < HEIGHTS ? n->height : HEIGHTS - 1;
    n->height = height;
    start(w, i, out);
    for (uint32_t k = 0; w->breakage != BREAK_DISK && k < n->disk_count; k++) {
        assert_int_equal(consensus_restore(n->machine, (struct slice){n->disk[k].bytes, n->disk[k].size}), CORE_ERR_OK);
    }
    if (n->log[height].here) {
        const struct decided *d = &n->log[height];
        struct slice value = {d->value, d->value_size};
        assert_int_equal(consensus_adopt(n->machine, value, (struct slice){d->certificate, d->certificate_size}),
                         CORE_ERR_OK);
        n->height = HEIGHTS;
    }
    after(w, i, out);
}

static void deliver(struct world *w, struct flying f, struct outbox *out)
{
    struct node *n = &w->nodes[f.to];
    if (n->machine && n->height <= HEIGHTS) {
        struct message m = {.type = f.type};
        struct slice s = {f.bytes, f.size};
        if (f.type == MESSAGE_RUN_DECISION) {
            // The harness's own form: height, then value and certificate.
            struct reader r = reader_over(f.bytes, f.size);
            uint64_t height = read_u64(&r);
            struct slice value = read_slice(&r, VALUE), certificate = read_slice(&r, LEDGER_CERTIFICATE_LIMIT);
            if (height == n->height && n->height < HEIGHTS) {
                assert_int_equal(consensus_adopt(n->machine, value, certificate), CORE_ERR_OK);
            }
        } else {
            if (f.type == MESSAGE_RUN_VOTE)
                m.run_vote.run = w->run, m.run_vote.vote = s;
            else
                m.run_proposal.run = w->run, m.run_proposal.proposal = s;
            enum consensus_verdict verdict = consensus_message(n->machine, &w->ids[f.from], &m, w->now, out);
            if (verdict == CONSENSUS_REFUSED) violate(w, "an honest member's message was refused");
            if (verdict == CONSENSUS_STALE) {
                struct ledger_vote v;
                struct reader r = reader_over(f.bytes, f.size);  // a proposal begins with its vote
                assert_int_equal(ledger_vote_read(&r, &v), CORE_ERR_OK);
                const struct decided *d = &n->log[v.height];
                uint8_t bytes[16 + VALUE + LEDGER_CERTIFICATE_LIMIT];
                struct writer wr = writer_over(bytes, sizeof bytes);
                write_u64(&wr, v.height);
                write_slice(&wr, (struct slice){d->value, d->value_size});
                write_slice(&wr, (struct slice){d->certificate, d->certificate_size});
                if (d->here) fly(w, f.to, f.from, MESSAGE_RUN_DECISION, (struct slice){bytes, wr.size});
            }
        }
        after(w, f.to, out);
    }
    free(f.bytes);
}

// The next thing to happen; false when nothing will.
static bool step(struct world *w, struct outbox *out)
{
    uint64_t best = UINT64_MAX;
    uint32_t message = UINT32_MAX, node = UINT32_MAX;
    for (uint32_t i = 0; i < w->flight_count; i++) {
        if (w->flight[i].at < best) best = w->flight[i].at, message = i;
    }
    for (uint32_t i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        uint64_t at = n->machine ? consensus_next_ms(n->machine) : n->wakes;
        if (n->machine && !n->offered && n->height < HEIGHTS && n->offers < at) at = n->offers;
        if (at < best) best = at, node = i;
    }
    if (best == UINT64_MAX) return false;
    if (best > w->now) w->now = best;
    if (node == UINT32_MAX) {
        struct flying f = w->flight[message];
        w->flight[message] = w->flight[--w->flight_count];
        deliver(w, f, out);
        return true;
    }
    struct node *n = &w->nodes[node];
    if (!n->machine) {
        restart(w, node, out);
        return true;
    }
    if (!n->offered && n->height < HEIGHTS && n->offers <= w->now) {
        char text[VALUE + 16];
        n->offered = true;
        consensus_recheck(n->machine, w->now, out);
        after(w, node, out);
        if (!n->machine || n->height >= HEIGHTS || !n->offered) return true;
        consensus_offer(n->machine, value_of(node, n->height, rng_u32(&w->rng) % MOODS, text), w->now, out);
    } else if (w->now < w->calm && chance(w, 5)) {
        consensus_believe(n->machine, rng_u64(&w->rng), w->now, out);
    } else {
        consensus_tick(n->machine, w->now, out);
    }
    after(w, node, out);
    return true;
}

static bool finished(const struct world *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        if (!w->nodes[i].machine || w->nodes[i].height < HEIGHTS) return false;
    }
    return true;
}

// One seed. NULL when all held, else what did not.
static const char *run_seed(uint64_t seed, uint32_t count, enum ledger_fault_model model, enum breakage breakage,
                            struct world *w)
{
    memset(w, 0, sizeof *w);
    w->count = count;
    w->model = model;
    w->breakage = breakage;
    w->seed = seed;
    w->rng = rng_from(seed, 7);
    w->calm = rng_below(&w->rng, 12000);
    w->loss = (uint32_t)rng_below(&w->rng, 60);
    w->run = hash_bytes(&seed, sizeof seed);
    struct outbox out;
    assert_int_equal(outbox_open(&out, 512, 1 << 20), CORE_ERR_OK);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t key_seed[CORE_SEED_SIZE] = {(uint8_t)i, 1};
        w->nodes[i].key = sign_key_from_seed(key_seed);
        w->ids[i] = w->nodes[i].key.id;
    }
    for (uint32_t i = 0; i < count; i++) restart(w, i, &out);
    uint32_t steps = 0;
    while (!finished(w) && !w->violation) {
        if (!step(w, &out)) violate(w, "nothing will happen any more");
        if (w->now > w->calm + 120 * 1000 || ++steps > 200000) violate(w, "no decision long after the faults stopped");
    }
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < w->nodes[i].disk_count; k++) free(w->nodes[i].disk[k].bytes);
        consensus_close(w->nodes[i].machine);
    }
    for (uint32_t i = 0; i < w->flight_count; i++) free(w->flight[i].bytes);
    outbox_close(&out);
    return w->violation;
}

static uint32_t seeds(uint32_t usual)
{
    const char *text = getenv("MYCEL_SEEDS");
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
    usual /= 10;  // one thread: nothing to find there, and it is ten times slower
#endif
#endif
    return text ? (uint32_t)strtoul(text, NULL, 10) : usual;
}

static void test_many_seeds(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    uint32_t crashes = 0, drops = 0, rounds = 0;
    for (uint64_t seed = 1; seed <= seeds(600); seed++) {
        uint32_t count = 1 + (uint32_t)(seed % NODES);
        enum ledger_fault_model model = seed % 3 ? LEDGER_TRUSTED : LEDGER_BYZANTINE;
        const char *wrong = run_seed(seed, count, model, BREAK_NOTHING, w);
        if (wrong)
            fail_msg("seed %lu, %u members: %s at %lu ms", (unsigned long)seed, count, wrong, (unsigned long)w->now);
        crashes += w->crashes;
        drops += w->drops;
        if (w->rounds > rounds) rounds = w->rounds;
    }
    print_message("crashes %u, drops %u, highest round %u\n", crashes, drops, rounds);
    // The schedule is fixed, so the faults it holds are facts: without them the test would prove little.
    if (seeds(600) == 600) assert_true(crashes > 100 && drops > 1000 && rounds > 3);
    free(w);
}

static void expect_caught(enum breakage breakage, const char *what)
{
    struct world *w = malloc(sizeof *w);
    const char *wrong = NULL;
    for (uint64_t seed = 1; seed <= 2000 && !wrong; seed++) {
        wrong = run_seed(seed, 4 + (uint32_t)(seed % 2), LEDGER_TRUSTED, breakage, w);
        if (wrong && strcmp(wrong, what) != 0) wrong = NULL;  // look for the violation that it must lead to
    }
    if (wrong) print_message("caught by seed %lu\n", (unsigned long)w->seed);
    free(w);
    if (!wrong) fail_msg("breaking it went unnoticed: %s", what);
}

static void test_forgotten_lock_is_caught(void **state)
{
    (void)state;
    expect_caught(BREAK_LOCK, "two members decided differently");
}

static void test_forgotten_votes_are_caught(void **state)
{
    (void)state;
    expect_caught(BREAK_DISK, "two votes for one slot");
}

int main(void)
{
    if (sign_start() != CORE_ERR_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_seeds),
        cmocka_unit_test(test_forgotten_lock_is_caught),
        cmocka_unit_test(test_forgotten_votes_are_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
