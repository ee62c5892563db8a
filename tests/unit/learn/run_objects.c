// The signed and decided objects of a run: round trips, their bytes' places, and every way of damaging them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "learn/cut.h"
#include "learn/evidence.h"
#include "learn/tensors.h"

static struct core_key key_of(uint8_t n)
{
    uint8_t seed[CORE_SEED_SIZE] = {n};
    return sign_key_from_seed(seed);
}

static struct core_hash hash_of(uint8_t n)
{
    return hash_bytes(&n, 1);
}

static struct run_spec make_spec(void)
{
    struct run_spec s = {.created_ms = 1234567890123, .seed = 77, .rounds = 150, .deadline_ms = 60000, .val_every = 10};
    s.dataset = hash_of(1);
    s.params = hash_of(2);
    s.outer = hash_of(3);
    s.kernel_spec = hash_of(4);
    s.model = *config_preset("small");
    s.hyper = hyper_defaults();
    s.elements = tensors_elements(&s.model);
    s.tensors = tensors_count(&s.model);
    s.member_count = 3;
    for (uint32_t i = 0; i < 3; i++)  // out of order: encoding sorts them
        s.members[i] = (struct run_member){.id = key_of((uint8_t)(10 + i)).id,
                                           .host = hash_of((uint8_t)i),
                                           .slot = (i + 2) % 3,
                                           .site = 7 * i,
                                           .at = {(int32_t)i * 1000, -5, 0},
                                           .weight = i,
                                           .dialable = i != 1,
                                           .fresh = true};
    for (uint32_t t = 0; t < s.tensors; t++) s.exponents[t] = (int8_t)(-20 + (int)t % 5);
    return s;
}

static void spec_round_trip(void **state)
{
    (void)state;
    static uint8_t bytes[RUN_SPEC_LIMIT];
    struct run_spec s = make_spec(), back;
    const struct core_key key = key_of(10);
    struct core_hash run, again;
    struct writer w = writer_over(bytes, sizeof bytes);
    run_spec_encode(&w, &s, &key, &run);
    assert_int_equal(run_spec_decode((struct slice){bytes, w.size}, &back, &again), CORE_ERR_OK);
    assert_true(hash_equal(&run, &again));
    const struct core_hash body = hash_bytes(bytes, w.size - CORE_SIG_SIZE);
    assert_true(hash_equal(&run, &body));
    assert_true(id_equal(&back.creator, &key.id));
    assert_true(back.created_ms == 1234567890123 && back.seed == 77 && back.rounds == 150);
    assert_true(back.elements == s.elements && back.tensors == s.tensors && back.member_count == 3);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(back.members[i].slot, i);
    assert_true(id_equal(&back.members[2].id, &key.id));
    assert_false(back.members[0].dialable);
    assert_true(back.members[0].site == 7 && back.members[0].at[0] == 1000 && back.members[0].at[1] == -5);
    assert_memory_equal(back.exponents, s.exponents, s.tensors);
    // Places as docs/run-format.md says them.
    assert_int_equal(bytes[0], 2);
    assert_memory_equal(bytes + 1, key.id.bytes, 32);
    assert_int_equal(bytes[41], 77);
}

static struct commit make_commit(const struct core_key *key)
{
    struct commit c = {.run = hash_of(9),
                       .round = 0x0102,
                       .attempt = 0x0304,
                       .trainer = key->id,
                       .slot = 5,
                       .tokens = 7680,
                       .weight = 768,
                       .bandwidth = 0x0204,
                       .site = 99,
                       .at = {1, -2, 3},
                       .loss = 2.5,
                       .fresh = true,
                       .shard_count = 4,
                       .phase = COMMIT_ACKNOWLEDGED};
    c.state_in = hash_of(20);
    c.state_out = hash_of(21);
    c.update_root = hash_of(22);
    for (uint8_t i = 0; i < 4; i++) c.shards[i] = hash_of((uint8_t)(30 + i));
    return c;
}

static void commit_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[COMMIT_LIMIT];
    const struct core_key key = key_of(3);
    const struct commit c = make_commit(&key);
    struct commit back;
    struct writer w = writer_over(bytes, sizeof bytes);
    commit_encode(&w, &c, &key);
    assert_int_equal(w.size, 1 + 32 + 8 + 4 + 32 + 1 + 8 + 8 + 2 + 20 + 8 + 1 + 3 * 32 + 1 + 1 + 4 * 32 + 64);
    assert_int_equal(commit_decode((struct slice){bytes, w.size}, &back), CORE_ERR_OK);
    assert_true(commit_same_work(&c, &back));
    assert_int_equal(back.phase, COMMIT_ACKNOWLEDGED);
    assert_int_equal(bytes[33], 2);  // round, little-endian
    assert_int_equal(bytes[34], 1);
    assert_true(bytes[41] == 4 && bytes[42] == 3 && bytes[43] == 0);  // attempt
    assert_int_equal(bytes[77], 5);                                   // slot
    static const uint8_t loss[8] = {0, 0, 0, 0, 0, 0, 4, 0x40};       // 2.5 in IEEE 754
    assert_memory_equal(bytes + 116, loss, 8);
    assert_true(bytes[94] == 4 && bytes[95] == 2 && bytes[96] == 99);
    assert_true(bytes[104] == 1 && bytes[108] == 0xfe && bytes[111] == 0xff);
    struct commit other = back;
    other.loss = 2.25;
    assert_false(commit_same_work(&c, &other));
    other = back;
    other.attempt++;
    assert_false(commit_same_work(&c, &other));
    other = back;
    other.at[2]++;
    assert_false(commit_same_work(&c, &other));
}

// docs/run-format.md's example, read from there.
static void the_documents_commit_decodes(void **state)
{
    (void)state;
    static char text[32768], hex[4096];
    uint8_t bytes[COMMIT_LIMIT], made[COMMIT_LIMIT];
    FILE *f = fopen("docs/run-format.md", "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    const char *at = strstr(text, "```\ncommit\n");
    assert_non_null(at);
    size_t size = 0;
    for (at += 11; *at != '`'; at++)
        if (*at != '\n') hex[size++] = *at;
    hex[size] = 0;
    assert_true(hex_decode(bytes, size / 2, hex));
    struct commit c;
    assert_int_equal(commit_decode((struct slice){bytes, size / 2}, &c), CORE_ERR_OK);
    const struct core_key key = key_of(3);
    struct commit want = make_commit(&key);
    want.shard_count = 1;
    assert_true(commit_same_work(&c, &want));
    struct writer w = writer_over(made, sizeof made);
    commit_encode(&w, &want, &key);
    assert_int_equal(w.size, size / 2);
    assert_memory_equal(made, bytes, w.size);
}

static void damaged_commits_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[COMMIT_LIMIT + 1];
    const struct core_key key = key_of(3);
    const struct commit c = make_commit(&key);
    struct commit back;
    struct writer w = writer_over(bytes, sizeof bytes);
    commit_encode(&w, &c, &key);
    for (size_t size = 0; size < w.size; size++) assert_true(commit_decode((struct slice){bytes, size}, &back));
    bytes[w.size] = 0;
    assert_true(commit_decode((struct slice){bytes, w.size + 1}, &back));
    for (size_t i = 0; i < w.size; i++) {
        bytes[i] ^= 0x10;
        assert_true(commit_decode((struct slice){bytes, w.size}, &back));
        bytes[i] ^= 0x10;
    }
    bytes[0] = 1;
    assert_int_equal(commit_decode((struct slice){bytes, w.size}, &back), CORE_ERR_UNKNOWN_VERSION);
    bytes[0] = 3;
    memset(bytes + 116, 0xff, 8);  // a loss that is not a number
    assert_int_equal(commit_read((struct slice){bytes, w.size}, &back), CORE_ERR_MALFORMED);
}

static void manifest_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[MANIFEST_LIMIT];
    const struct run_spec s = make_spec();
    struct manifest m, back;
    const struct core_hash run = hash_of(9);
    struct run_spec sorted = s;
    struct core_hash id;
    static uint8_t spec[RUN_SPEC_LIMIT];
    struct writer sw = writer_over(spec, sizeof spec);
    const struct core_key key = key_of(10);
    run_spec_encode(&sw, &sorted, &key, &id);
    manifest_genesis(&m, &sorted, &run);
    assert_true(hash_equal(&m.params, &s.params) && m.round == 0 && m.state == RUN_RUNNING);
    m.round = 7;
    m.loss = 3.25;
    m.val_round = 5;
    m.val_loss = 3.5;
    m.members[1].absent = 2;
    m.members[1].fresh = false;
    struct writer w = writer_over(bytes, sizeof bytes);
    manifest_encode(&w, &m);
    assert_int_equal(manifest_decode((struct slice){bytes, w.size}, &back), CORE_ERR_OK);
    assert_true(back.round == 7 && back.loss == 3.25 && back.val_round == 5 && back.val_loss == 3.5);
    assert_true(back.members[1].absent == 2 && !back.members[1].fresh && back.members[0].fresh);
    const struct core_hash hash = hash_bytes(bytes, w.size), same = manifest_hash(&back);
    assert_true(hash_equal(&hash, &same));
    assert_int_equal(value_kind_of((struct slice){bytes, w.size}), VALUE_MANIFEST);
    for (size_t size = 0; size < w.size; size++) assert_true(manifest_decode((struct slice){bytes, size}, &back));
    m.members[1].slot = m.members[0].slot;  // two members on one slot
    w = writer_over(bytes, sizeof bytes);
    manifest_encode(&w, &m);
    assert_int_equal(manifest_decode((struct slice){bytes, w.size}, &back), CORE_ERR_MALFORMED);
    m.members[1].slot = 1;
    m.members[1].id = m.members[0].id;  // one member twice
    w = writer_over(bytes, sizeof bytes);
    manifest_encode(&w, &m);
    assert_int_equal(manifest_decode((struct slice){bytes, w.size}, &back), CORE_ERR_MALFORMED);
}

static void full_cuts_fit_a_decision(void **state)
{
    (void)state;
    static uint8_t commits[RUN_MEMBERS_MAX][COMMIT_LIMIT];
    struct cut cut = {.run = hash_of(9), .height = 3, .round = 1, .manifest = hash_of(8)}, back;
    for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++) {
        const struct core_key key = key_of((uint8_t)slot);
        struct commit c = make_commit(&key);
        c.slot = slot;
        c.shard_count = TREE_SHARD_MAX;
        struct writer w = writer_over(commits[slot], COMMIT_LIMIT);
        commit_encode(&w, &c, &key);
        assert_false(w.overflowed);
        cut.commits[cut.count++] = (struct slice){commits[slot], w.size};
    }
    uint8_t *bytes = malloc(LEDGER_VALUE_LIMIT);
    struct writer w = writer_over(bytes, LEDGER_VALUE_LIMIT);
    cut_encode(&w, &cut);
    assert_false(w.overflowed);
    assert_int_equal(cut_decode((struct slice){bytes, w.size}, &back), CORE_ERR_OK);
    assert_true(back.slots == UINT64_MAX && back.count == RUN_MEMBERS_MAX);
    const struct slice swap = cut.commits[0];  // out of order
    cut.commits[0] = cut.commits[1];
    cut.commits[1] = swap;
    w = writer_over(bytes, LEDGER_VALUE_LIMIT);
    cut_encode(&w, &cut);
    assert_int_equal(cut_decode((struct slice){bytes, w.size}, &back), CORE_ERR_MALFORMED);
    free(bytes);
}

static void words_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[RUN_ENTER_LIMIT];
    const struct core_key key = key_of(5);
    struct run_enter e = {.run = hash_of(9), .host = hash_of(1), .height = 44, .weight = 3, .leaving = true}, enter;
    struct writer w = writer_over(bytes, sizeof bytes);
    run_enter_encode(&w, &e, &key);
    assert_int_equal(run_enter_decode((struct slice){bytes, w.size}, &enter), CORE_ERR_OK);
    assert_true(enter.height == 44 && enter.weight == 3 && enter.leaving && !enter.dialable);
    bytes[40] ^= 1;  // another's id
    assert_int_equal(run_enter_decode((struct slice){bytes, w.size}, &enter), CORE_ERR_BAD_SIGNATURE);
    struct run_command c = {.run = hash_of(9), .height = 4, .kind = RUN_CANCEL}, command;
    w = writer_over(bytes, sizeof bytes);
    run_command_encode(&w, &c, &key);
    assert_int_equal(run_command_decode((struct slice){bytes, w.size}, &command), CORE_ERR_OK);
    assert_true(command.kind == RUN_CANCEL && id_equal(&command.author, &key.id));
    for (size_t i = 0; i < w.size; i++) {
        bytes[i] ^= 4;
        assert_true(run_command_decode((struct slice){bytes, w.size}, &command));
        bytes[i] ^= 4;
    }
}

static void keys_out_of_range_are_refused(void **state)
{
    (void)state;
    struct blob_key key;
    struct message_data m = {.kind = ROUND_CONTRIBUTION, .attempt = 7, .level = 3, .shard = 2, .slot = 63};
    assert_int_equal(blob_key_of_data(&key, &m), CORE_ERR_OK);
    assert_true(key.attempt == 7 && key.level == 0 && key.slot == 63);
    m.attempt = BLOB_ATTEMPT_MAX + 1;
    assert_int_equal(blob_key_of_data(&key, &m), CORE_ERR_MALFORMED);
    m.attempt = 0;
    m.slot = 64;
    assert_int_equal(blob_key_of_data(&key, &m), CORE_ERR_MALFORMED);
    m = (struct message_data){.kind = ROUND_PARTIAL, .shard = TREE_SHARD_MAX};
    assert_int_equal(blob_key_of_data(&key, &m), CORE_ERR_MALFORMED);
    m = (struct message_data){.kind = ROUND_PARTIAL, .level = UINT64_C(1) << 32};
    assert_int_equal(blob_key_of_data(&key, &m), CORE_ERR_MALFORMED);
    m = (struct message_data){.kind = 3};
    assert_int_equal(blob_key_of_data(&key, &m), CORE_ERR_MALFORMED);
}

static struct ledger_vote vote_of(const struct core_key *key, uint8_t value)
{
    struct ledger_vote v = {
        .run = hash_of(9), .height = 7, .round = 2, .step = LEDGER_PREVOTE, .valid_round = -1, .value = hash_of(value)};
    ledger_vote_sign(&v, key);
    return v;
}

// Two votes or two commits that contradict each other are proof; altered, alike or of two signers they are not.
static void evidence_proves(void **state)
{
    (void)state;
    const struct core_key key = key_of(3), other = key_of(4);
    uint8_t bytes[EVIDENCE_LIMIT], again[EVIDENCE_LIMIT], commits[3][COMMIT_LIMIT];
    struct evidence e;
    const struct ledger_vote a = vote_of(&key, 1), b = vote_of(&key, 2), theirs = vote_of(&other, 2);
    struct writer w = writer_over(bytes, sizeof bytes), v = writer_over(again, sizeof again);
    evidence_of_votes(&w, &a, &b);
    evidence_of_votes(&v, &b, &a);
    assert_int_equal(evidence_decode((struct slice){bytes, w.size}, &e), CORE_ERR_OK);
    assert_true(e.kind == EVIDENCE_VOTES && e.at == 7 && id_equal(&e.liar, &key.id));
    assert_true(w.size == 2 + 2 * (4 + LEDGER_VOTE_SIZE) && memcmp(bytes, again, w.size) == 0);
    for (size_t i = 0; i < w.size; i++) {
        bytes[i] ^= 4;
        assert_int_not_equal(evidence_decode((struct slice){bytes, w.size}, &e), CORE_ERR_OK);
        bytes[i] ^= 4;
        assert_int_not_equal(evidence_decode((struct slice){bytes, i}, &e), CORE_ERR_OK);
    }
    w.size = v.size = 0;
    evidence_of_votes(&w, &a, &a);
    assert_int_equal(evidence_decode((struct slice){bytes, w.size}, &e), CORE_ERR_MALFORMED);
    w.size = 0;
    evidence_of_votes(&w, &a, &theirs);
    assert_int_equal(evidence_decode((struct slice){bytes, w.size}, &e), CORE_ERR_MALFORMED);

    struct slice signed_commits[3];
    struct commit c = make_commit(&key);
    for (uint32_t i = 0; i < 3; i++) {  // the first, acknowledged from announced, another
        c.phase = i == 1 ? COMMIT_ACKNOWLEDGED : COMMIT_ANNOUNCED;
        c.loss = i == 2 ? 3 : 2;
        struct writer out = writer_over(commits[i], COMMIT_LIMIT);
        commit_encode(&out, &c, &key);
        signed_commits[i] = (struct slice){commits[i], out.size};
    }
    w.size = 0;
    evidence_of_commits(&w, signed_commits[0], signed_commits[1]);
    assert_int_equal(evidence_decode((struct slice){bytes, w.size}, &e), CORE_ERR_MALFORMED);
    w.size = 0;
    evidence_of_commits(&w, signed_commits[1], signed_commits[2]);
    assert_int_equal(evidence_decode((struct slice){bytes, w.size}, &e), CORE_ERR_OK);
    assert_true(e.kind == EVIDENCE_COMMITS && e.at == 0x0102 && id_equal(&e.liar, &key.id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spec_round_trip),
        cmocka_unit_test(commit_round_trip),
        cmocka_unit_test(the_documents_commit_decodes),
        cmocka_unit_test(damaged_commits_are_refused),
        cmocka_unit_test(manifest_round_trip),
        cmocka_unit_test(full_cuts_fit_a_decision),
        cmocka_unit_test(words_round_trip),
        cmocka_unit_test(evidence_proves),
        cmocka_unit_test(keys_out_of_range_are_refused),
    };
    if (sign_start() != CORE_ERR_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
