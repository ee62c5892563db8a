// Members that lie to a consensus machine, and strangers.
#include "unit/ledger/bench.h"

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

// One member's word for a later round takes nobody far, and not again before everybody has had a turn (or the time for
// it): the height goes on whatever it says.
static void far_rounds_disturb_little(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    vote(b, 1, INT32_MAX, LEDGER_PREVOTE, NULL, 1);
    assert_int_equal(consensus_status(b->machine).round, 16);
    vote(b, 1, INT32_MAX, LEDGER_PRECOMMIT, NULL, 2);
    assert_int_equal(consensus_status(b->machine).round, 16);
    // Round 16's timeout is 100 + 16 * 50 ms, and there are four members.
    assert_true(consensus_next_ms(b->machine) <= 1 + 4 * 900);
    consensus_tick(b->machine, 4 * 900, &b->out);
    assert_int_equal(consensus_status(b->machine).round, 16);
    consensus_tick(b->machine, 1 + 4 * 900, &b->out);
    assert_int_equal(consensus_status(b->machine).round, 32);
    // Two members are believed at once, and in the round that they are in it is decided as ever.
    vote(b, 2, 40, LEDGER_PREVOTE, NULL, 3700);
    assert_int_equal(consensus_status(b->machine).round, 40);
    propose(b, 1, 40, "a", -1, 0, 3701);
    for (uint32_t i = 2; i <= 3; i++) vote(b, i, 40, LEDGER_PRECOMMIT, "a", 3702);
    vote(b, 1, 40, LEDGER_PRECOMMIT, "a", 3702);
    assert_non_null(consensus_decision(b->machine));
    drop(b);
}

// A value that this member has reasons against gets its nil, and its precommit once a quorum has found it good.
static void doubted_values_follow_a_quorum(void **state)
{
    (void)state;
    struct bench *b = make(MEMBERS);
    b->validity = CONSENSUS_DOUBTED;
    propose(b, 1, 0, "a", -1, 0, 1);
    expect_vote(b, 0, LEDGER_PREVOTE, NULL);
    vote(b, 1, 0, LEDGER_PREVOTE, "a", 2);
    vote(b, 2, 0, LEDGER_PREVOTE, "a", 2);
    expect_silence(b);
    vote(b, 3, 0, LEDGER_PREVOTE, "a", 2);
    expect_vote(b, 0, LEDGER_PRECOMMIT, "a");
    drop(b);
    // A proposal that brings that quorum's prevotes is voted for at once.
    b = make(MEMBERS);
    b->validity = CONSENSUS_DOUBTED;
    vote(b, 2, 1, LEDGER_PREVOTE, "a", 1);
    propose(b, 2, 1, "a", 0, 3, 2);
    expect_vote(b, 1, LEDGER_PREVOTE, "a");
    drop(b);
}

int main(void)
{
    if (sign_start() != CORE_ERR_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_votes_convict),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(far_rounds_disturb_little),
        cmocka_unit_test(doubted_values_follow_a_quorum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
