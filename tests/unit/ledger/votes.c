// Votes and certificates: quorums, proposers' turns, what is valid.
#include "unit/ledger/bench.h"

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
        cmocka_unit_test(quorums),
        cmocka_unit_test(proposers_take_turns),
        cmocka_unit_test(certificates_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
