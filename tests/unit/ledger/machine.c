// The consensus machine by hand, one rule at a time: votes are made here with the members' keys and shown to one
// machine, and what it answers is compared with what the paper's lines say.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "ledger/consensus.h"

enum { MEMBERS = 4, SELF = 0 };

struct bench {
    struct core_key keys[MEMBERS];
    struct core_id ids[MEMBERS];
    struct core_hash run;
    struct consensus *machine;
    struct outbox out;
    enum consensus_validity validity;
    uint32_t convictions;
    struct ledger_vote first, second;
    uint8_t payload[8][8192];  // what was persisted
    size_t payload_size[8];
    uint32_t payloads;
};

static const struct core_hash nil;

static enum consensus_validity judge(void *context, uint64_t height, struct slice value)
{
    (void)height;
    (void)value;
    return ((struct bench *)context)->validity;
}

static void convict(void *context, const struct ledger_vote *first, const struct ledger_vote *second)
{
    struct bench *b = context;
    b->convictions++;
    b->first = *first;
    b->second = *second;
}

static void open_machine(struct bench *b, uint32_t members)
{
    struct consensus_options o = {.run = b->run,
                                  .key = &b->keys[SELF],
                                  .value_limit = 64,
                                  .timeout_ms = 100,
                                  .timeout_growth_ms = 50,
                                  .resend_ms = 10,
                                  .judge = judge,
                                  .convict = convict,
                                  .context = b};
    assert_int_equal(consensus_open(&b->machine, &o), CORE_ERR_OK);
    consensus_start(b->machine, 5, b->ids, members, 0, &b->out);
}

static struct bench *make(uint32_t members)
{
    struct bench *b = calloc(1, sizeof *b);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        uint8_t seed[CORE_SEED_SIZE] = {(uint8_t)(i + 1)};
        b->keys[i] = sign_key_from_seed(seed);
        b->ids[i] = b->keys[i].id;
    }
    b->validity = CONSENSUS_VALID;
    // A run in which members 1, 2, 3 and this one propose in this order at height 5.
    for (uint32_t k = 0;; k++) {
        b->run = hash_bytes(&k, sizeof k);
        if (members == 1) break;
        if (ledger_proposer(&b->run, 5, 0, b->ids, members) == 1 &&
            ledger_proposer(&b->run, 5, 1, b->ids, members) == 2 &&
            ledger_proposer(&b->run, 5, 2, b->ids, members) == (members == 4 ? 3 : 0)) {
            break;
        }
    }
    assert_int_equal(outbox_open(&b->out, 256, 1 << 20), CORE_ERR_OK);
    open_machine(b, members);
    return b;
}

static void drop(struct bench *b)
{
    consensus_close(b->machine);
    outbox_close(&b->out);
    free(b);
}

static struct slice text(const char *s)
{
    return (struct slice){(const uint8_t *)s, strlen(s)};
}

static struct core_hash hash_of(const char *s)
{
    return s ? hash_bytes(s, strlen(s)) : nil;
}

static struct ledger_vote vote_of(struct bench *b, uint32_t member, uint32_t round, enum ledger_step step,
                                  const char *value)
{
    struct ledger_vote v = {
        .run = b->run, .height = 5, .round = round, .step = step, .valid_round = -1, .value = hash_of(value)};
    ledger_vote_sign(&v, &b->keys[member]);
    return v;
}

static enum consensus_verdict show(struct bench *b, const struct ledger_vote *v, uint64_t now_ms)
{
    uint8_t bytes[LEDGER_VOTE_SIZE];
    struct writer w = writer_over(bytes, sizeof bytes);
    ledger_vote_write(&w, v);
    struct message m = {.type = MESSAGE_RUN_VOTE, .run_vote = {.run = b->run, .vote = {bytes, w.size}}};
    return consensus_message(b->machine, &v->voter, &m, now_ms, &b->out);
}

static enum consensus_verdict vote(struct bench *b, uint32_t member, uint32_t round, enum ledger_step step,
                                   const char *value, uint64_t now_ms)
{
    struct ledger_vote v = vote_of(b, member, round, step, value);
    return show(b, &v, now_ms);
}

// A proposal of `member`, with prevotes of `valid_round` by members 1 .. 3 where it is not -1.
static enum consensus_verdict propose(struct bench *b, uint32_t member, uint32_t round, const char *value,
                                      int32_t valid_round, uint32_t prevoters, uint64_t now_ms)
{
    struct ledger_proposal p = {.value = text(value)};
    uint8_t certificate[LEDGER_CERTIFICATE_LIMIT], bytes[LEDGER_PROPOSAL_LIMIT];
    struct core_sig signatures[LEDGER_MEMBERS_MAX];
    if (valid_round >= 0) {
        uint64_t signers = 0;
        for (uint32_t i = 1; i <= prevoters; i++) {
            signatures[i] = vote_of(b, i, (uint32_t)valid_round, LEDGER_PREVOTE, value).signature;
            signers |= 1ull << i;
        }
        struct writer c = writer_over(certificate, sizeof certificate);
        ledger_certificate_write(&c, LEDGER_PREVOTE, (uint32_t)valid_round, signers, signatures);
        p.certificate = (struct slice){certificate, c.size};
    }
    p.vote = (struct ledger_vote){.run = b->run,
                                  .height = 5,
                                  .round = round,
                                  .step = LEDGER_PROPOSE,
                                  .valid_round = valid_round,
                                  .value = hash_of(value)};
    ledger_vote_sign(&p.vote, &b->keys[member]);
    struct writer w = writer_over(bytes, sizeof bytes);
    ledger_proposal_write(&w, &p);
    struct message m = {.type = MESSAGE_RUN_PROPOSAL, .run_proposal = {.run = b->run, .proposal = {bytes, w.size}}};
    return consensus_message(b->machine, &b->ids[member], &m, now_ms, &b->out);
}

// What this member said since the last time: exactly these votes, each to every other member, persisted before.
static void expect_votes(struct bench *b, uint32_t count, const struct ledger_vote *expected)
{
    uint32_t sends = 0;
    bool persisted = false;
    for (size_t i = 0; i < b->out.count; i++) {
        const struct effect *e = &b->out.effects[i];
        if (e->kind == EFFECT_PERSIST) {
            persisted = true;
            assert_true(b->payloads < 8 && e->payload.size <= sizeof b->payload[0]);
            memcpy(b->payload[b->payloads], e->payload.data, e->payload.size);
            b->payload_size[b->payloads++] = e->payload.size;
            continue;
        }
        assert_true(persisted);
        if (e->message.type == MESSAGE_RUN_PROPOSAL) continue;
        struct ledger_vote v;
        struct reader r = reader_over(e->message.run_vote.vote.data, e->message.run_vote.vote.size);
        assert_int_equal(ledger_vote_read(&r, &v), CORE_ERR_OK);
        assert_true(ledger_vote_signed(&v) && id_equal(&v.voter, &b->ids[SELF]));
        bool found = false;
        for (uint32_t k = 0; k < count; k++) {
            found |=
                v.round == expected[k].round && v.step == expected[k].step && hash_equal(&v.value, &expected[k].value);
        }
        assert_true(found);
        sends++;
    }
    assert_int_equal(sends, count * (MEMBERS - 1));
    outbox_reset(&b->out);
}

static void expect_vote(struct bench *b, uint32_t round, enum ledger_step step, const char *value)
{
    struct ledger_vote v = {.round = round, .step = step, .value = hash_of(value)};
    expect_votes(b, 1, &v);
}

static void expect_silence(struct bench *b)
{
    expect_votes(b, 0, NULL);
}

// Lines 22-43 and 49: proposal, prevotes, precommits, decision.
static void decides_in_round_0(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    assert_int_equal(propose(b, 1, 0, "a", -1, 0, 1), CONSENSUS_TAKEN);
    expect_vote(b, 0, LEDGER_PREVOTE, "a");
    vote(b, 1, 0, LEDGER_PREVOTE, "a", 2);
    expect_silence(b);  // two of four are no quorum
    vote(b, 2, 0, LEDGER_PREVOTE, "a", 2);
    expect_vote(b, 0, LEDGER_PRECOMMIT, "a");
    assert_int_equal(consensus_status(b->machine).locked_round, 0);
    vote(b, 1, 0, LEDGER_PRECOMMIT, "a", 3);
    assert_null(consensus_decision(b->machine));
    vote(b, 3, 0, LEDGER_PRECOMMIT, "a", 3);
    const struct consensus_decision *d = consensus_decision(b->machine);
    assert_non_null(d);
    assert_memory_equal(d->value.data, "a", 1);
    assert_true(ledger_certificate_valid(d->certificate, LEDGER_PRECOMMIT, &b->run, 5, &d->hash, b->ids, MEMBERS, 3));
    assert_int_equal(vote(b, 2, 0, LEDGER_PRECOMMIT, "a", 4), CONSENSUS_STALE);
    drop(b);
}

// Gets this member to lock "a" in round 0 and move to round 1 with the others' nil precommits.
static struct bench *locked_on_a(void)
{
    struct bench *b = make(MEMBERS);
    propose(b, 1, 0, "a", -1, 0, 1);
    expect_vote(b, 0, LEDGER_PREVOTE, "a");
    vote(b, 1, 0, LEDGER_PREVOTE, "a", 2);
    vote(b, 2, 0, LEDGER_PREVOTE, "a", 2);
    expect_vote(b, 0, LEDGER_PRECOMMIT, "a");
    for (uint32_t i = 1; i < MEMBERS; i++) vote(b, i, 0, LEDGER_PRECOMMIT, NULL, 3);
    expect_silence(b);
    assert_int_equal(consensus_status(b->machine).round, 1);
    return b;
}

// Line 23: locked on a, another fresh value gets nil.
static void locked_refuses_another_value(void **state)
{
    (void)state;
    struct bench *b = locked_on_a();
    propose(b, 2, 1, "b", -1, 0, 4);
    expect_vote(b, 1, LEDGER_PREVOTE, NULL);
    drop(b);
}

static void locked_accepts_its_own_value(void **state)
{
    (void)state;
    struct bench *b = locked_on_a();
    propose(b, 2, 1, "a", -1, 0, 4);
    expect_vote(b, 1, LEDGER_PREVOTE, "a");
    drop(b);
}

// Lines 28-32: prevotes as recent as the lock open it, older ones do not.
static void lock_yields_to_recent_prevotes_only(void **state)
{
    (void)state;
    // Locked in round 0; round 1 passes; in round 2 b comes with prevotes of round 1.
    struct bench *b = locked_on_a();
    for (uint32_t i = 1; i < MEMBERS; i++) vote(b, i, 1, LEDGER_PRECOMMIT, NULL, 5);
    assert_int_equal(consensus_status(b->machine).round, 2);
    assert_int_equal(propose(b, 3, 2, "b", 1, 2, 6), CONSENSUS_REFUSED);  // two prevotes are no quorum
    expect_silence(b);
    assert_int_equal(propose(b, 3, 2, "b", 1, 3, 6), CONSENSUS_TAKEN);
    expect_vote(b, 2, LEDGER_PREVOTE, "b");
    drop(b);

    // Locked in round 1: prevotes of round 0 are too old.
    b = locked_on_a();
    propose(b, 2, 1, "a", -1, 0, 4);
    expect_vote(b, 1, LEDGER_PREVOTE, "a");
    vote(b, 1, 1, LEDGER_PREVOTE, "a", 4);
    vote(b, 2, 1, LEDGER_PREVOTE, "a", 4);
    expect_vote(b, 1, LEDGER_PRECOMMIT, "a");
    assert_int_equal(consensus_status(b->machine).locked_round, 1);
    for (uint32_t i = 1; i < MEMBERS; i++) vote(b, i, 1, LEDGER_PRECOMMIT, NULL, 5);
    propose(b, 3, 2, "b", 0, 3, 6);
    expect_vote(b, 2, LEDGER_PREVOTE, NULL);
    drop(b);
}

static void invalid_gets_nil_and_unknown_waits(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    b->validity = CONSENSUS_UNKNOWN;
    propose(b, 1, 0, "a", -1, 0, 1);
    expect_silence(b);
    consensus_recheck(b->machine, 2, &b->out);
    expect_silence(b);
    b->validity = CONSENSUS_INVALID;
    consensus_recheck(b->machine, 3, &b->out);
    expect_vote(b, 0, LEDGER_PREVOTE, NULL);
    drop(b);
}

// Lines 57-67, and the clock that only an offer starts.
static void timeouts(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    assert_true(consensus_next_ms(b->machine) == UINT64_MAX);
    consensus_offer(b->machine, text("mine"), 10, &b->out);
    expect_silence(b);
    assert_true(consensus_next_ms(b->machine) == 110);
    consensus_tick(b->machine, 109, &b->out);
    expect_silence(b);
    consensus_tick(b->machine, 110, &b->out);
    expect_vote(b, 0, LEDGER_PREVOTE, NULL);
    vote(b, 1, 0, LEDGER_PREVOTE, "a", 111);
    vote(b, 2, 0, LEDGER_PREVOTE, NULL, 111);  // any quorum: line 34
    expect_silence(b);
    consensus_tick(b->machine, 211, &b->out);
    outbox_reset(&b->out);
    assert_int_equal(consensus_status(b->machine).step, LEDGER_PRECOMMIT);
    vote(b, 1, 0, LEDGER_PRECOMMIT, "a", 212);
    vote(b, 2, 0, LEDGER_PRECOMMIT, NULL, 212);  // line 47
    assert_int_equal(consensus_status(b->machine).round, 0);
    consensus_tick(b->machine, 312, &b->out);
    assert_int_equal(consensus_status(b->machine).round, 1);
    drop(b);
}

static void dead_proposer_is_not_waited_for(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    consensus_offer(b->machine, text("mine"), 10, &b->out);
    expect_silence(b);
    consensus_believe(b->machine, 1u << 1, 11, &b->out);
    expect_vote(b, 0, LEDGER_PREVOTE, NULL);
    // The belief was wrong: the proposal comes all the same and still can be decided.
    propose(b, 1, 0, "a", -1, 0, 12);
    for (uint32_t i = 1; i < MEMBERS; i++) vote(b, i, 0, LEDGER_PREVOTE, "a", 12);
    expect_vote(b, 0, LEDGER_PRECOMMIT, "a");
    vote(b, 1, 0, LEDGER_PRECOMMIT, "a", 13);
    vote(b, 2, 0, LEDGER_PRECOMMIT, "a", 13);
    assert_non_null(consensus_decision(b->machine));
    drop(b);
}

static void two_votes_convict(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    vote(b, 1, 0, LEDGER_PREVOTE, "a", 1);
    vote(b, 1, 0, LEDGER_PREVOTE, "a", 1);
    assert_int_equal(b->convictions, 0);
    struct ledger_vote forged = vote_of(b, 1, 0, LEDGER_PREVOTE, "b");
    forged.signature.bytes[3] ^= 1;
    assert_int_equal(show(b, &forged, 1), CONSENSUS_REFUSED);
    assert_int_equal(b->convictions, 0);
    vote(b, 1, 0, LEDGER_PREVOTE, "b", 1);
    assert_int_equal(b->convictions, 1);
    assert_true(ledger_votes_conflict(&b->first, &b->second));
    // Of the liar's two votes the first one counts.
    propose(b, 1, 0, "b", -1, 0, 2);
    vote(b, 2, 0, LEDGER_PREVOTE, "b", 2);
    assert_int_equal(consensus_status(b->machine).locked_round, -1);
    drop(b);
}

static void strangers_are_refused(void **state)
{
    (void)state;
    struct bench *b = make(3);  // member 3 is none here
    assert_int_equal(vote(b, 3, 0, LEDGER_PREVOTE, "a", 1), CONSENSUS_REFUSED);
    assert_int_equal(propose(b, 2, 0, "a", -1, 0, 1), CONSENSUS_REFUSED);  // not its turn
    struct message m = {.type = MESSAGE_RUN_VOTE, .run_vote = {.run = b->run, .vote = text("junk")}};
    assert_int_equal(consensus_message(b->machine, &b->ids[1], &m, 1, &b->out), CONSENSUS_REFUSED);
    struct ledger_vote other = vote_of(b, 1, 0, LEDGER_PREVOTE, "a");
    other.run.bytes[0] ^= 1;
    ledger_vote_sign(&other, &b->keys[1]);
    assert_int_equal(show(b, &other, 1), CONSENSUS_REFUSED);
    assert_int_equal(b->out.count, 0);
    drop(b);
}

// A restart comes back to the lock, the round and the step, and never votes a slot twice.
static void restart_restores(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    propose(b, 1, 0, "a", -1, 0, 1);
    expect_vote(b, 0, LEDGER_PREVOTE, "a");
    vote(b, 1, 0, LEDGER_PREVOTE, "a", 2);
    vote(b, 2, 0, LEDGER_PREVOTE, "a", 2);
    expect_vote(b, 0, LEDGER_PRECOMMIT, "a");
    consensus_close(b->machine);
    open_machine(b, MEMBERS);
    for (uint32_t i = 0; i < b->payloads; i++) {
        assert_int_equal(consensus_restore(b->machine, (struct slice){b->payload[i], b->payload_size[i]}), CORE_ERR_OK);
    }
    struct consensus_status s = consensus_status(b->machine);
    assert_int_equal(s.round, 0);
    assert_int_equal(s.step, LEDGER_PRECOMMIT);
    assert_int_equal(s.locked_round, 0);
    assert_int_equal(s.valid_round, 0);
    propose(b, 1, 0, "b", -1, 0, 3);  // a lying proposer's other value
    assert_int_equal(b->out.count, 0);
    for (uint32_t i = 1; i < MEMBERS; i++) vote(b, i, 0, LEDGER_PRECOMMIT, NULL, 4);
    propose(b, 2, 1, "b", -1, 0, 5);
    b->payloads = 0;
    expect_vote(b, 1, LEDGER_PREVOTE, NULL);
    drop(b);
}

// With an empty disk it signs nothing before it was told that it precommitted a in round 0; then it keeps to that.
static void told_votes_count_as_restored(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    consensus_hold(b->machine, true, 0, &b->out);
    propose(b, 1, 0, "b", -1, 0, 1);
    vote(b, 1, 0, LEDGER_PREVOTE, "b", 1);
    assert_int_equal(b->out.count, 0);
    struct ledger_vote mine[2] = {vote_of(b, SELF, 0, LEDGER_PRECOMMIT, "a"), vote_of(b, SELF, 0, LEDGER_PREVOTE, "a")};
    for (uint32_t i = 0; i < 2; i++)  // the later slot first
        assert_int_equal(consensus_recall(b->machine, &mine[i], 2, &b->out), CORE_ERR_OK);
    struct ledger_vote forged = vote_of(b, 1, 0, LEDGER_PREVOTE, "b");
    forged.voter = b->ids[SELF];
    assert_int_equal(consensus_recall(b->machine, &forged, 2, &b->out), CORE_ERR_BAD_SIGNATURE);
    expect_votes(b, 1, mine);  // it is said again, once it is on disk
    consensus_hold(b->machine, false, 3, &b->out);
    vote(b, 2, 0, LEDGER_PREVOTE, "b", 3);
    assert_int_equal(b->out.count, 0);  // slots that are signed already
    for (uint32_t i = 1; i < MEMBERS; i++) vote(b, i, 0, LEDGER_PRECOMMIT, NULL, 4);
    propose(b, 2, 1, "b", -1, 0, 5);
    b->payloads = 0;
    expect_vote(b, 1, LEDGER_PREVOTE, NULL);  // locked on a
    drop(b);
}

static void a_members_votes_are_told(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    propose(b, 1, 0, "a", -1, 0, 1);
    vote(b, 1, 0, LEDGER_PREVOTE, "a", 2);
    vote(b, 2, 0, LEDGER_PREVOTE, "a", 2);
    uint8_t bytes[CONSENSUS_VOTES_LIMIT];
    struct writer w = writer_over(bytes, sizeof bytes);
    consensus_votes_of(b->machine, &b->ids[1], &w);
    assert_int_equal(w.size, 2 * LEDGER_VOTE_SIZE);
    struct reader r = reader_over(bytes, w.size);
    for (uint32_t i = 0; i < 2; i++) {
        struct ledger_vote v;
        assert_int_equal(ledger_vote_read(&r, &v), CORE_ERR_OK);
        assert_true(ledger_vote_signed(&v) && id_equal(&v.voter, &b->ids[1]));
        assert_int_equal(v.step, i ? LEDGER_PREVOTE : LEDGER_PROPOSE);
    }
    w = writer_over(bytes, sizeof bytes);
    consensus_votes_of(b->machine, &b->ids[3], &w);
    assert_int_equal(w.size, 0);
    drop(b);
}

// What a crash has made unjudgeable here is voted for with a quorum's prevotes.
static void prevotes_stand_in_for_judgement(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    b->validity = CONSENSUS_UNKNOWN;
    for (uint32_t i = 1; i < MEMBERS; i++) vote(b, i, 0, LEDGER_PRECOMMIT, NULL, 1);
    propose(b, 2, 1, "a", 0, 3, 2);
    expect_vote(b, 1, LEDGER_PREVOTE, "a");
    drop(b);
}

static void restore_refuses_other_bytes(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    propose(b, 1, 0, "a", -1, 0, 1);
    expect_vote(b, 0, LEDGER_PREVOTE, "a");
    consensus_close(b->machine);
    open_machine(b, MEMBERS);
    b->payload[0][60] ^= 1;
    assert_int_not_equal(consensus_restore(b->machine, (struct slice){b->payload[0], b->payload_size[0]}), CORE_ERR_OK);
    propose(b, 1, 0, "b", -1, 0, 2);
    assert_int_equal(b->out.count, 0);  // it does not know what it signed, so it signs nothing
    drop(b);
}

static void halted_is_silent(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    consensus_halt(b->machine);
    propose(b, 1, 0, "a", -1, 0, 1);
    consensus_offer(b->machine, text("mine"), 2, &b->out);
    consensus_tick(b->machine, 100000, &b->out);
    assert_int_equal(b->out.count, 0);
    // It still learns what the others decide.
    for (uint32_t i = 1; i < MEMBERS; i++) vote(b, i, 0, LEDGER_PRECOMMIT, "a", 3);
    assert_non_null(consensus_decision(b->machine));
    drop(b);
}

static void lone_member_decides_at_once(void **state)
{
    (void)state;
    struct bench *b = make(1);
    consensus_offer(b->machine, text("mine"), 1, &b->out);
    const struct consensus_decision *d = consensus_decision(b->machine);
    assert_non_null(d);
    assert_int_equal(d->value.size, 4);
    assert_int_equal(b->out.count, 1);
    assert_int_equal(b->out.effects[0].kind, EFFECT_PERSIST);
    drop(b);
    b = make(1);
    b->validity = CONSENSUS_INVALID;  // must come back, not run through rounds for ever
    consensus_offer(b->machine, text("mine"), 1, &b->out);
    assert_null(consensus_decision(b->machine));
    drop(b);
}

// A message of the next height waits for it.
static void early_messages_are_replayed(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    consensus_start(b->machine, 4, b->ids, MEMBERS, 0, &b->out);
    assert_int_equal(propose(b, 1, 0, "a", -1, 0, 1), CONSENSUS_BEHIND);
    vote(b, 1, 0, LEDGER_PREVOTE, "a", 1);
    vote(b, 2, 0, LEDGER_PREVOTE, "a", 1);
    assert_int_equal(b->out.count, 0);
    consensus_start(b->machine, 5, b->ids, MEMBERS, 2, &b->out);
    assert_int_equal(consensus_status(b->machine).step, LEDGER_PRECOMMIT);
    assert_int_equal(consensus_status(b->machine).locked_round, 0);
    drop(b);
}

static void own_votes_are_repeated(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    propose(b, 1, 0, "a", -1, 0, 1);
    expect_vote(b, 0, LEDGER_PREVOTE, "a");
    assert_true(consensus_next_ms(b->machine) == 11);
    consensus_tick(b->machine, 11, &b->out);
    assert_int_equal(b->out.count, 2 * (MEMBERS - 1));  // the proposal and the prevote, persisted before
    assert_true(consensus_next_ms(b->machine) == 31);   // 20 ms on: it doubles
    drop(b);
}

// Line 55: one word from a later round is enough where nobody lies, liars + 1 where somebody may.
static void later_rounds_are_joined(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    vote(b, 1, 9, LEDGER_PREVOTE, "a", 1);
    assert_int_equal(consensus_status(b->machine).round, 9);
    drop(b);
    b = make(MEMBERS);
    consensus_close(b->machine);
    struct consensus_options o = {.run = b->run,
                                  .key = &b->keys[SELF],
                                  .model = LEDGER_BYZANTINE,
                                  .value_limit = 64,
                                  .judge = judge,
                                  .context = b};
    assert_int_equal(consensus_open(&b->machine, &o), CORE_ERR_OK);
    consensus_start(b->machine, 5, b->ids, MEMBERS, 0, &b->out);
    vote(b, 1, 90, LEDGER_PREVOTE, "a", 1);  // beyond what is kept, too
    assert_int_equal(consensus_status(b->machine).round, 0);
    vote(b, 2, 7, LEDGER_PRECOMMIT, NULL, 1);
    assert_int_equal(consensus_status(b->machine).round, 7);
    drop(b);
}

// Whoever is still in the round before needs the precommit that let this member leave it.
static void last_rounds_precommit_is_repeated(void **state)
{
    (void)state;
    struct bench *b = locked_on_a();
    consensus_tick(b->machine, 20, &b->out);
    assert_int_equal(b->out.count, MEMBERS - 1);
    struct reader r = reader_over(b->out.effects[0].message.run_vote.vote.data, LEDGER_VOTE_SIZE);
    struct ledger_vote v;
    assert_int_equal(ledger_vote_read(&r, &v), CORE_ERR_OK);
    assert_int_equal(v.round, 0);
    assert_int_equal(v.step, LEDGER_PRECOMMIT);
    drop(b);
}

static void quorums(void **state)
{
    (void)state;
    // protocol.md: trusted 1 + floor(n/2), so 2 of 3; byzantine 1 + floor(2n/3) with n = 3f + 1.
    static const uint32_t n[] = {1, 2, 3, 4, 5, 7, 10}, trusted[] = {1, 2, 2, 3, 3, 4, 6},
                          lying[] = {1, 2, 3, 3, 4, 5, 7};
    for (size_t i = 0; i < sizeof n / sizeof n[0]; i++) {
        assert_int_equal(ledger_quorum(LEDGER_TRUSTED, n[i]), trusted[i]);
        assert_int_equal(ledger_quorum(LEDGER_BYZANTINE, n[i]), lying[i]);
        // Two quorums share more than the liars.
        assert_true(2 * lying[i] > n[i] + ledger_liars(LEDGER_BYZANTINE, n[i]));
    }
}

static void proposers_take_turns(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    uint32_t first[MEMBERS] = {0};
    for (uint64_t height = 0; height < 400; height++) {
        uint32_t seen = 0;
        for (uint32_t round = 0; round < MEMBERS; round++) {
            seen |= 1u << ledger_proposer(&b->run, height, round, b->ids, MEMBERS);
        }
        assert_int_equal(seen, 15);
        first[ledger_proposer(&b->run, height, 0, b->ids, MEMBERS)]++;
    }
    // A fair hash: 100 each, deviation 8.7; five of them.
    for (uint32_t i = 0; i < MEMBERS; i++) assert_in_range(first[i], 57, 143);
    drop(b);
}

static void certificates_are_checked(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    struct core_sig signatures[LEDGER_MEMBERS_MAX];
    uint8_t bytes[LEDGER_CERTIFICATE_LIMIT];
    struct core_hash value = hash_of("a"), other = hash_of("b");
    for (uint32_t i = 0; i < MEMBERS; i++) signatures[i] = vote_of(b, i, 2, LEDGER_PRECOMMIT, "a").signature;
    struct writer w = writer_over(bytes, sizeof bytes);
    ledger_certificate_write(&w, LEDGER_PRECOMMIT, 2, 0xd, signatures);
    struct slice s = {bytes, w.size};
    assert_true(ledger_certificate_valid(s, LEDGER_PRECOMMIT, &b->run, 5, &value, b->ids, MEMBERS, 3));
    assert_false(ledger_certificate_valid(s, LEDGER_PRECOMMIT, &b->run, 5, &value, b->ids, MEMBERS, 4));
    assert_false(ledger_certificate_valid(s, LEDGER_PREVOTE, &b->run, 5, &value, b->ids, MEMBERS, 3));
    assert_false(ledger_certificate_valid(s, LEDGER_PRECOMMIT, &b->run, 6, &value, b->ids, MEMBERS, 3));
    assert_false(ledger_certificate_valid(s, LEDGER_PRECOMMIT, &b->run, 5, &other, b->ids, MEMBERS, 3));
    assert_false(ledger_certificate_valid(s, LEDGER_PRECOMMIT, &b->run, 5, &value, b->ids, 3, 3));  // signer 3 is none
    for (size_t i = 0; i < w.size; i++) {
        bytes[i] ^= 0x10;
        assert_false(ledger_certificate_valid(s, LEDGER_PRECOMMIT, &b->run, 5, &value, b->ids, MEMBERS, 3));
        bytes[i] ^= 0x10;
    }
    for (size_t size = 0; size < w.size; size++) {
        assert_false(ledger_certificate_valid((struct slice){bytes, size}, LEDGER_PRECOMMIT, &b->run, 5, &value, b->ids,
                                              MEMBERS, 3));
    }
    drop(b);
}

int main(void)
{
    if (sign_start() != CORE_ERR_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_in_round_0),
        cmocka_unit_test(locked_refuses_another_value),
        cmocka_unit_test(locked_accepts_its_own_value),
        cmocka_unit_test(lock_yields_to_recent_prevotes_only),
        cmocka_unit_test(invalid_gets_nil_and_unknown_waits),
        cmocka_unit_test(timeouts),
        cmocka_unit_test(dead_proposer_is_not_waited_for),
        cmocka_unit_test(two_votes_convict),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(restart_restores),
        cmocka_unit_test(told_votes_count_as_restored),
        cmocka_unit_test(a_members_votes_are_told),
        cmocka_unit_test(prevotes_stand_in_for_judgement),
        cmocka_unit_test(restore_refuses_other_bytes),
        cmocka_unit_test(halted_is_silent),
        cmocka_unit_test(lone_member_decides_at_once),
        cmocka_unit_test(early_messages_are_replayed),
        cmocka_unit_test(own_votes_are_repeated),
        cmocka_unit_test(later_rounds_are_joined),
        cmocka_unit_test(last_rounds_precommit_is_repeated),
        cmocka_unit_test(quorums),
        cmocka_unit_test(proposers_take_turns),
        cmocka_unit_test(certificates_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
