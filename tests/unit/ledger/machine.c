// The consensus machine by hand, one rule at a time: votes are made here with the members' keys and shown to one
// machine, and what it answers is compared with what the paper's lines say.
#include "unit/ledger/bench.h"

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
        cmocka_unit_test(prevotes_stand_in_for_judgement),
        cmocka_unit_test(lone_member_decides_at_once),
        cmocka_unit_test(early_messages_are_replayed),
        cmocka_unit_test(own_votes_are_repeated),
        cmocka_unit_test(later_rounds_are_joined),
        cmocka_unit_test(last_rounds_precommit_is_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
