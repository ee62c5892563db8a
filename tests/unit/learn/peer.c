// One peer driven by hand: what is durable before what is sent, what it says while it waits, how it comes back. Many
// peers together are the simulator's (tests/unit/tools/sim).
#include "learn/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gossip/sum.h"

enum { ELEMENTS = 256, TENSORS = 2, RECORDS = 16384, JOBS = 64 };

struct job {
    uint32_t kind;
    _Alignas(16) uint8_t bytes[sizeof(struct work_reduce)];
};

struct rig {
    struct core_key key;
    struct peer *peer;
    struct outbox out;
    uint64_t now_ms;
    struct {
        uint32_t kind;
        uint8_t *data;
        size_t size;
    } journal[RECORDS];
    uint32_t records, trained, persists_failing;
    bool full;
    struct job jobs[JOBS];
    uint32_t job_count;
    uint64_t params_round;  // durable
    struct core_hash params;
    uint8_t spec[RUN_SPEC_LIMIT];
    size_t spec_size;
    struct core_hash run;
};

static bool any_spec(void *context, const struct run_spec *spec)
{
    (void)context;
    (void)spec;
    return true;
}

static struct core_key key_of(uint8_t n)
{
    uint8_t seed[CORE_SEED_SIZE] = {n};
    return sign_key_from_seed(seed);
}

static struct core_hash params_of(uint64_t round)
{
    return hash_bytes(&round, sizeof round);
}

static void open_peer(struct rig *rig)
{
    const struct peer_options options = {
        .gossip = {.key = rig->key,
                   .seed = 1,
                   .incarnation = 1,
                   .members_max = 8,
                   .cast_count = 64,
                   .cast_bytes = 1 << 16,
                   .name = {(const uint8_t *)"p", 1},
                   .addresses = {(const uint8_t *)"a", 1}},
        .spec_valid = any_spec,
    };
    assert_int_equal(peer_open(&rig->peer, &options, rig->now_ms), CORE_ERR_OK);
}

static void make_spec(struct rig *rig, uint32_t members, uint32_t rounds, uint64_t created_ms)
{
    struct run_spec s = {.created_ms = created_ms, .seed = created_ms, .rounds = rounds, .deadline_ms = 1000};
    s.model = *config_preset("small");
    s.hyper = hyper_defaults();
    s.params = params_of(0);
    s.elements = ELEMENTS;
    s.tensors = TENSORS;
    s.member_count = members;
    for (uint32_t i = 0; i < members; i++)
        s.members[i] = (struct run_member){
            .id = key_of((uint8_t)(i + 1)).id, .slot = i, .weight = 1, .dialable = true, .fresh = true};
    struct writer w = writer_over(rig->spec, sizeof rig->spec);
    run_spec_encode(&w, &s, &rig->key, &rig->run);
    rig->spec_size = w.size;
}

static void setup(struct rig *rig)
{
    *rig = (struct rig){.key = key_of(1), .now_ms = 1000};
    assert_int_equal(outbox_open(&rig->out, PEER_OUTBOX_EFFECTS, PEER_OUTBOX_BYTES), CORE_ERR_OK);
    open_peer(rig);
}

static void teardown(struct rig *rig)
{
    peer_close(rig->peer);
    outbox_close(&rig->out);
    for (uint32_t i = 0; i < rig->records; i++) free(rig->journal[i].data);
}

static bool journal_holds(const struct rig *rig, const void *bytes, size_t size)
{
    for (uint32_t i = rig->records; i-- > 0;)
        if (memmem(rig->journal[i].data, rig->journal[i].size, bytes, size)) return true;
    return false;
}

// Performs what the last step wrote; whatever is signed must be in the journal before it leaves.
static void perform(struct rig *rig)
{
    bool failed = false;
    for (size_t i = 0; i < rig->out.count; i++) {
        const struct effect *e = &rig->out.effects[i];
        if (e->kind == EFFECT_PERSIST && (rig->full || failed)) {
            failed = true;
            rig->persists_failing++;
            peer_persist_failed(rig->peer, e->kind_of, e->payload, rig->now_ms);
        } else if (e->kind == EFFECT_PERSIST) {
            assert_true(rig->records < RECORDS);
            rig->journal[rig->records].kind = e->kind_of;
            rig->journal[rig->records].size = e->payload.size;
            rig->journal[rig->records].data = malloc(e->payload.size);
            memcpy(rig->journal[rig->records++].data, e->payload.data, e->payload.size);
        } else if (failed) {
            continue;
        } else if (e->kind == EFFECT_WORK && e->kind_of != WORK_DROP) {
            assert_true(rig->job_count < JOBS);
            rig->jobs[rig->job_count].kind = e->kind_of;
            memcpy(rig->jobs[rig->job_count++].bytes, e->payload.data, e->payload.size);
        } else if (e->kind == EFFECT_SEND && e->message.type == MESSAGE_RUN_VOTE) {
            const struct slice vote = e->message.run_vote.vote;
            assert_true(journal_holds(rig, vote.data + vote.size - CORE_SIG_SIZE, CORE_SIG_SIZE));
        } else if (e->kind == EFFECT_SEND && e->message.type == MESSAGE_DATA && e->message.data.proof.size) {
            const struct slice proof = e->message.data.proof;
            assert_true(journal_holds(rig, proof.data, proof.size));
        }
    }
    outbox_reset(&rig->out);
}

static void do_job(struct rig *rig, const struct job *job)
{
    struct work_result result = {.kind = (enum work_kind)job->kind, .run = rig->run};
    if (job->kind == WORK_TRAIN) {
        const struct work_train *work = (const void *)job->bytes;
        rig->trained++;
        result.run = work->run;
        result.round = work->round;
        result.attempt = work->attempt;
        result.train.update_root = hash_bytes(&work->round, sizeof work->round);
        result.train.loss = 2;
        result.train.weight = 768;
        result.train.tokens = 768 * work->steps;
    } else if (job->kind == WORK_REDUCE) {
        const struct work_reduce *work = (const void *)job->bytes;
        result.run = work->key.run;
        result.round = work->key.round;
        result.attempt = work->key.attempt;
        result.reduce.key = work->key;
    } else if (job->kind == WORK_APPLY) {
        const struct work_apply *work = (const void *)job->bytes;
        result.run = work->top.run;
        result.round = work->round;
        result.attempt = work->attempt;
        result.apply.params_hash = params_of(work->round + 1);
        rig->params_round = work->round + 1;
        rig->params = result.apply.params_hash;
    } else {
        const struct work_fetch *work = (const void *)job->bytes;
        result.run = work->run;
        result.round = work->round;
        result.fetch.what = work->what;
        result.fetch.object = work->object;
        if (work->what == FETCH_PARAMS) rig->params = work->object;
    }
    peer_work_done(rig->peer, &result, rig->now_ms, &rig->out);
    perform(rig);
}

// Time and work go on until `until_ms`; work takes a millisecond.
static void pass(struct rig *rig, uint64_t until_ms)
{
    while (rig->now_ms < until_ms) {
        for (uint32_t left = rig->job_count; left > 0; left--) {
            const struct job job = rig->jobs[0];
            memmove(&rig->jobs[0], &rig->jobs[1], --rig->job_count * sizeof job);
            do_job(rig, &job);
        }
        const uint64_t next = rig->job_count ? rig->now_ms + 1 : peer_next_ms(rig->peer);
        rig->now_ms = next > rig->now_ms ? (next < until_ms ? next : until_ms) : rig->now_ms + 1;
        peer_tick(rig->peer, rig->now_ms, &rig->out);
        perform(rig);
    }
}

static struct run_status status_of(const struct rig *rig)
{
    struct run_status s;
    assert_true(peer_run_find(rig->peer, &rig->run, &s));
    return s;
}

static void start_run(struct rig *rig)
{
    const struct slice spec = {rig->spec, rig->spec_size};
    assert_int_equal(peer_run_start(rig->peer, spec, rig->now_ms, &rig->out), CORE_ERR_OK);
    perform(rig);
    assert_int_equal(peer_run_start(rig->peer, spec, rig->now_ms, &rig->out), CORE_ERR_EXISTS);
}

static void begin(struct rig *rig)
{
    peer_start(rig->peer, rig->now_ms, &rig->out);
    perform(rig);
}

static void one_peer_trains_alone(void **state)
{
    (void)state;
    struct rig rig;
    setup(&rig);
    make_spec(&rig, 1, 5, 1);
    begin(&rig);
    start_run(&rig);
    pass(&rig, 5000);
    const struct run_status s = status_of(&rig);
    assert_int_equal(s.head->state, RUN_DONE);
    assert_int_equal(s.head->round, 5);
    assert_int_equal(rig.trained, 5);
    assert_true(s.head->tokens == 5 * 768 * (uint64_t)hyper_defaults().inner_steps && s.head->loss == 2.0);
    for (uint64_t round = 0; round <= 5; round++) {
        struct manifest m;
        uint64_t cut;
        const struct core_hash params = params_of(round);
        assert_true(peer_run_manifest(rig.peer, &rig.run, round, &m, &cut));
        assert_true(m.round == round && hash_equal(&m.params, &params));
        assert_true(cut == (round ? 2 * round - 1 : 0));
        assert_true(m.members[0].fresh == (round == 0));
    }
    teardown(&rig);
}

static void it_comes_back_from_its_journal(void **state)
{
    (void)state;
    for (uint32_t cut_at = 1; cut_at < 24; cut_at++) {  // after each record of the first rounds
        struct rig rig;
        setup(&rig);
        make_spec(&rig, 1, 5, 1);
        begin(&rig);
        start_run(&rig);
        while (rig.records < cut_at && status_of(&rig).head->state == RUN_RUNNING) pass(&rig, rig.now_ms + 1);
        peer_close(rig.peer);
        rig.job_count = 0;
        open_peer(&rig);
        for (uint32_t i = 0; i < rig.records; i++)
            assert_int_equal(peer_restore(rig.peer, rig.journal[i].kind,
                                          (struct slice){rig.journal[i].data, rig.journal[i].size}, rig.now_ms),
                             CORE_ERR_OK);
        peer_restore_params(rig.peer, &rig.run, rig.params_round, &rig.params, rig.params_round > 0);
        peer_restore_dataset(rig.peer, &rig.run);
        begin(&rig);
        pass(&rig, rig.now_ms + 8000);
        const struct run_status s = status_of(&rig);
        assert_int_equal(s.head->state, RUN_DONE);
        const struct core_hash params = params_of(5);
        assert_true(hash_equal(&s.head->params, &params));
        teardown(&rig);
    }
}

static void a_full_disk_stops_it_and_space_lets_it_go_on(void **state)
{
    (void)state;
    struct rig rig;
    setup(&rig);
    make_spec(&rig, 1, 60, 1);
    begin(&rig);
    start_run(&rig);
    pass(&rig, rig.now_ms + 2);
    rig.full = true;
    pass(&rig, 3000);
    assert_true(rig.persists_failing > 0);
    assert_true(peer_persist_halted(rig.peer));
    struct wait_entry waits[4];
    assert_true(peer_run_waiting(rig.peer, &rig.run, waits, 4) > 0);
    assert_int_equal(waits[0].cause, WAIT_DISK);
    const uint32_t written = rig.records;
    pass(&rig, 6000);
    assert_int_equal(rig.records, written);
    rig.full = false;
    peer_persist_ok(rig.peer, rig.now_ms, &rig.out);
    perform(&rig);
    pass(&rig, 12000);
    assert_int_equal(status_of(&rig).head->state, RUN_DONE);
    teardown(&rig);
}

static void without_a_quorum_it_names_who_is_missing(void **state)
{
    (void)state;
    struct rig rig;
    setup(&rig);
    make_spec(&rig, 3, 4, 1);
    begin(&rig);
    start_run(&rig);
    pass(&rig, 20000);
    const struct run_status s = status_of(&rig);
    assert_true(s.waiting);
    assert_int_equal(s.head->round, 0);
    assert_int_equal(s.quorum, 2);
    struct wait_entry waits[8];
    const uint32_t count = peer_run_waiting(rig.peer, &rig.run, waits, 8);
    uint32_t named = 0;
    for (uint32_t i = 0; i < count; i++)
        for (uint8_t n = 2; n <= 3; n++) {
            const struct core_id id = key_of(n).id;
            named += waits[i].cause == WAIT_QUORUM && id_equal(&waits[i].peer, &id);
        }
    assert_int_equal(named, 2);
    teardown(&rig);
}

static void a_second_run_waits_for_the_first(void **state)
{
    (void)state;
    struct rig rig;
    setup(&rig);
    begin(&rig);
    make_spec(&rig, 1, 6, 1);
    start_run(&rig);
    const struct core_hash first = rig.run;
    pass(&rig, 100);
    make_spec(&rig, 1, 3, 2);
    const uint64_t queued_ms = rig.now_ms;
    start_run(&rig);
    struct wait_entry wait;
    assert_int_equal(status_of(&rig).stage, ROUND_QUEUED);
    assert_int_equal(peer_run_waiting(rig.peer, &rig.run, &wait, 1), 1);
    assert_int_equal(wait.cause, WAIT_QUEUE);
    assert_int_equal(wait.since_ms, queued_ms);
    pass(&rig, 20000);
    struct run_status s;
    assert_true(peer_run_find(rig.peer, &first, &s));
    assert_int_equal(s.head->state, RUN_DONE);
    assert_int_equal(status_of(&rig).head->state, RUN_DONE);
    teardown(&rig);
}

static void commands_change_the_state(void **state)
{
    (void)state;
    struct rig rig;
    setup(&rig);
    make_spec(&rig, 1, 4000, 1);
    begin(&rig);
    start_run(&rig);
    assert_int_equal(peer_run_command(rig.peer, &rig.run, RUN_RESUME, rig.now_ms, &rig.out), CORE_ERR_REFUSED);
    pass(&rig, rig.now_ms + 5);
    assert_int_equal(peer_run_command(rig.peer, &rig.run, RUN_PAUSE, rig.now_ms, &rig.out), CORE_ERR_OK);
    perform(&rig);
    pass(&rig, rig.now_ms + 20);
    assert_int_equal(status_of(&rig).head->state, RUN_PAUSED);
    const uint64_t round = status_of(&rig).head->round;
    pass(&rig, rig.now_ms + 2000);
    assert_true(status_of(&rig).head->round == round);
    assert_int_equal(peer_run_command(rig.peer, &rig.run, RUN_RESUME, rig.now_ms, &rig.out), CORE_ERR_OK);
    perform(&rig);
    pass(&rig, rig.now_ms + 20);
    assert_true(status_of(&rig).head->round > round);
    assert_int_equal(peer_run_command(rig.peer, &rig.run, RUN_CANCEL, rig.now_ms, &rig.out), CORE_ERR_OK);
    perform(&rig);
    pass(&rig, rig.now_ms + 20);
    assert_int_equal(status_of(&rig).head->state, RUN_CANCELLED);
    assert_int_equal(peer_run_command(rig.peer, &rig.run, RUN_RESUME, rig.now_ms, &rig.out), CORE_ERR_REFUSED);
    teardown(&rig);
}

static void strangers_bytes_cost_them(void **state)
{
    (void)state;
    struct rig rig;
    setup(&rig);
    make_spec(&rig, 3, 4, 1);
    begin(&rig);
    start_run(&rig);
    pass(&rig, rig.now_ms + 5);
    const struct core_id other = key_of(2).id;
    struct message m = {.type = MESSAGE_RUN_COMMIT};
    m.run_commit.run = rig.run;
    m.run_commit.commit = (struct slice){(const uint8_t *)"not a commit", 12};
    assert_int_not_equal(peer_message(rig.peer, &other, &m, rig.now_ms, &rig.out), CORE_ERR_OK);
    perform(&rig);
    m = (struct message){.type = MESSAGE_RUN_VOTE};
    m.run_vote.run = rig.run;
    m.run_vote.vote = (struct slice){(const uint8_t *)"nor a vote", 10};
    assert_int_equal(peer_message(rig.peer, &other, &m, rig.now_ms, &rig.out), CORE_ERR_REFUSED);
    perform(&rig);
    struct message_data data = {.run = rig.run, .kind = ROUND_CONTRIBUTION, .slot = 1, .bits = 8};
    data.proof = (struct slice){(const uint8_t *)"no proof", 8};
    struct peer_expected expected;
    assert_int_equal(peer_data(rig.peer, &other, &data, &expected, rig.now_ms, &rig.out), PEER_REFUSED);
    perform(&rig);
    data = (struct message_data){.run = rig.run, .kind = ROUND_PARTIAL, .level = 5, .bits = 16};
    uint8_t set[8] = {1};
    data.set = (struct slice){set, sizeof set};
    assert_int_equal(peer_data(rig.peer, &other, &data, &expected, rig.now_ms, &rig.out), PEER_REFUSED);
    perform(&rig);
    struct peer_counts counts;
    peer_counts_get(rig.peer, &counts);
    assert_int_equal(counts.refused, 4);
    teardown(&rig);
}

static void a_spec_that_is_not_its_models_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    setup(&rig);
    make_spec(&rig, 1, 4, 1);
    peer_close(rig.peer);
    const struct peer_options options = {
        .gossip = {.key = rig.key, .incarnation = 1, .members_max = 8, .cast_count = 64, .cast_bytes = 1 << 16}};
    assert_int_equal(peer_open(&rig.peer, &options, rig.now_ms), CORE_ERR_OK);
    begin(&rig);
    assert_int_equal(peer_run_start(rig.peer, (struct slice){rig.spec, rig.spec_size}, rig.now_ms, &rig.out),
                     CORE_ERR_REFUSED);
    teardown(&rig);
}

static enum core_err tell_vote(struct rig *rig, const struct core_key *voter, const char *value)
{
    struct ledger_vote v = {.run = rig->run,
                            .height = 1,
                            .step = LEDGER_PREVOTE,
                            .valid_round = -1,
                            .value = hash_bytes(value, strlen(value))};
    ledger_vote_sign(&v, voter);
    uint8_t bytes[LEDGER_VOTE_SIZE];
    struct writer w = writer_over(bytes, sizeof bytes);
    ledger_vote_write(&w, &v);
    struct message m = {.type = MESSAGE_RUN_VOTE, .run_vote = {.run = rig->run, .vote = {bytes, w.size}}};
    const enum core_err err = peer_message(rig->peer, &voter->id, &m, rig->now_ms, &rig->out);
    perform(rig);
    return err;
}

// The proof against a member that voted twice is kept over a restart.
static void a_liar_is_named_and_kept(void **state)
{
    (void)state;
    struct rig rig;
    setup(&rig);
    make_spec(&rig, 3, 4, 1);
    begin(&rig);
    start_run(&rig);
    const struct core_key liar = key_of(2);
    struct run_liar named;
    assert_int_equal(tell_vote(&rig, &liar, "a"), CORE_ERR_OK);
    assert_false(peer_run_liar(rig.peer, &rig.run, 0, &named));
    assert_int_equal(tell_vote(&rig, &liar, "b"), CORE_ERR_OK);
    assert_int_equal(status_of(&rig).liars, 1);
    peer_close(rig.peer);
    rig.job_count = 0;
    open_peer(&rig);
    for (uint32_t i = 0; i < rig.records; i++)
        assert_int_equal(peer_restore(rig.peer, rig.journal[i].kind,
                                      (struct slice){rig.journal[i].data, rig.journal[i].size}, rig.now_ms),
                         CORE_ERR_OK);
    begin(&rig);
    assert_true(peer_run_liar(rig.peer, &rig.run, 0, &named));
    struct evidence e;
    assert_int_equal(evidence_decode(named.evidence, &e), CORE_ERR_OK);
    assert_true(named.kind == EVIDENCE_VOTES && named.at == 1 && id_equal(&named.id, &liar.id));
    assert_false(peer_run_liar(rig.peer, &rig.run, 1, &named));
    teardown(&rig);
}

// A disk that is full for anything else halts as one that is full for votes does, and says so to the others.
static void a_disk_full_of_other_data_halts_too(void **state)
{
    (void)state;
    struct rig rig;
    setup(&rig);
    make_spec(&rig, 2, 4, 1);
    begin(&rig);
    start_run(&rig);
    peer_disk_full(rig.peer, rig.now_ms);
    assert_true(peer_persist_halted(rig.peer));
    struct wait_entry wait;
    assert_true(peer_run_waiting(rig.peer, &rig.run, &wait, 1) > 0);
    assert_int_equal(wait.cause, WAIT_DISK);
    peer_tick(rig.peer, rig.now_ms + 2000, &rig.out);
    uint32_t said = 0;
    for (size_t i = 0; i < rig.out.count; i++) {
        const struct effect *e = &rig.out.effects[i];
        said += e->kind == EFFECT_SEND && e->message.type == MESSAGE_RUN_HEAD && e->message.run_head.halted;
    }
    assert_int_equal(said, 1);
    outbox_reset(&rig.out);
    peer_persist_ok(rig.peer, rig.now_ms + 3000, &rig.out);
    perform(&rig);
    assert_false(peer_persist_halted(rig.peer));
    teardown(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_peer_trains_alone),
        cmocka_unit_test(it_comes_back_from_its_journal),
        cmocka_unit_test(a_full_disk_stops_it_and_space_lets_it_go_on),
        cmocka_unit_test(without_a_quorum_it_names_who_is_missing),
        cmocka_unit_test(a_second_run_waits_for_the_first),
        cmocka_unit_test(commands_change_the_state),
        cmocka_unit_test(a_liar_is_named_and_kept),
        cmocka_unit_test(a_disk_full_of_other_data_halts_too),
        cmocka_unit_test(strangers_bytes_cost_them),
        cmocka_unit_test(a_spec_that_is_not_its_models_is_refused),
    };
    if (sign_start() != CORE_ERR_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
