// What a member signed, given back to its consensus machine: by its disk after a restart, by the others, and not at
// all.
#include "unit/ledger/bench.h"

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

int main(void)
{
    if (sign_start() != CORE_ERR_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restart_restores),         cmocka_unit_test(told_votes_count_as_restored),
        cmocka_unit_test(a_members_votes_are_told), cmocka_unit_test(restore_refuses_other_bytes),
        cmocka_unit_test(halted_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
