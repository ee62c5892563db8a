// A consensus machine on the bench: votes and proposals are made with the members' keys, shown to it, and what it says
// is read back. For tests/unit/ledger only.
#ifndef TESTS_UNIT_LEDGER_BENCH_H
#define TESTS_UNIT_LEDGER_BENCH_H

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

static inline enum consensus_validity judge(void *context, uint64_t height, struct slice value)
{
    (void)height;
    (void)value;
    return ((struct bench *)context)->validity;
}

static inline void convict(void *context, const struct ledger_vote *first, const struct ledger_vote *second)
{
    struct bench *b = context;
    b->convictions++;
    b->first = *first;
    b->second = *second;
}

static inline void open_machine(struct bench *b, uint32_t members)
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

static inline struct bench *make(uint32_t members)
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

static inline void drop(struct bench *b)
{
    consensus_close(b->machine);
    outbox_close(&b->out);
    free(b);
}

static inline struct slice text(const char *s)
{
    return (struct slice){(const uint8_t *)s, strlen(s)};
}

static inline struct core_hash hash_of(const char *s)
{
    return s ? hash_bytes(s, strlen(s)) : nil;
}

static inline struct ledger_vote vote_of(struct bench *b, uint32_t member, uint32_t round, enum ledger_step step,
                                         const char *value)
{
    struct ledger_vote v = {
        .run = b->run, .height = 5, .round = round, .step = step, .valid_round = -1, .value = hash_of(value)};
    ledger_vote_sign(&v, &b->keys[member]);
    return v;
}

static inline enum consensus_verdict show(struct bench *b, const struct ledger_vote *v, uint64_t now_ms)
{
    uint8_t bytes[LEDGER_VOTE_SIZE];
    struct writer w = writer_over(bytes, sizeof bytes);
    ledger_vote_write(&w, v);
    struct message m = {.type = MESSAGE_RUN_VOTE, .run_vote = {.run = b->run, .vote = {bytes, w.size}}};
    return consensus_message(b->machine, &v->voter, &m, now_ms, &b->out);
}

static inline enum consensus_verdict vote(struct bench *b, uint32_t member, uint32_t round, enum ledger_step step,
                                          const char *value, uint64_t now_ms)
{
    struct ledger_vote v = vote_of(b, member, round, step, value);
    return show(b, &v, now_ms);
}

// A proposal of `member`, with prevotes of `valid_round` by members 1 .. 3 where it is not -1.
static inline enum consensus_verdict propose(struct bench *b, uint32_t member, uint32_t round, const char *value,
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
static inline void expect_votes(struct bench *b, uint32_t count, const struct ledger_vote *expected)
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

static inline void expect_vote(struct bench *b, uint32_t round, enum ledger_step step, const char *value)
{
    struct ledger_vote v = {.round = round, .step = step, .value = hash_of(value)};
    expect_votes(b, 1, &v);
}

static inline void expect_silence(struct bench *b)
{
    expect_votes(b, 0, NULL);
}

// Gets this member to lock "a" in round 0 and move to round 1 with the others' nil precommits.
static inline struct bench *locked_on_a(void)
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

#endif
