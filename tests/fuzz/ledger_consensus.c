// Any sequence of events at one member of four, with messages that are honest, torn or made up: it never trips a check,
// never signs two votes for one slot, and persists what it sends.
#include <string.h>

#include "core/check.h"
#include "ledger/consensus.h"

enum { MEMBERS = 4, SLOTS = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum consensus_validity judge(void *context, uint64_t height, struct slice value)
{
    (void)context;
    return (enum consensus_validity)((height + value.size) % 3);
}

struct said {
    struct ledger_vote votes[SLOTS];
    uint32_t count;
};

// Of what this member sends only its own votes count; a repeated proposal may be another's.
static void watch(struct said *s, const struct core_id *self, struct outbox *out)
{
    for (size_t i = 0; i < out->count; i++) {
        const struct effect *e = &out->effects[i];
        if (e->kind != EFFECT_SEND) continue;
        struct slice b =
            e->message.type == MESSAGE_RUN_VOTE ? e->message.run_vote.vote : e->message.run_proposal.proposal;
        struct reader r = reader_over(b.data, b.size);
        struct ledger_vote v;
        enum core_err err = ledger_vote_read(&r, &v);
        check(err == CORE_ERR_OK);
        if (!id_equal(&v.voter, self)) continue;
        bool known = false;
        for (uint32_t k = 0; k < s->count && !known; k++) {
            struct ledger_vote *o = &s->votes[k];
            known = o->height == v.height && o->round == v.round && o->step == v.step;
            if (known) check(hash_equal(&o->value, &v.value) && o->valid_round == v.valid_round);
        }
        if (!known && s->count < SLOTS) s->votes[s->count++] = v;
    }
    outbox_reset(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct core_key keys[MEMBERS];
    static struct said said;
    struct core_id ids[MEMBERS];
    if (hash_is_zero((const struct core_hash *)(const void *)keys[0].id.bytes) && sign_start() != CORE_ERR_OK) return 0;
    for (uint32_t i = 0; i < MEMBERS; i++) {
        uint8_t seed[CORE_SEED_SIZE] = {(uint8_t)(i + 1)};
        keys[i] = sign_key_from_seed(seed);
        ids[i] = keys[i].id;
    }
    said.count = 0;
    struct consensus_options o = {
        .key = &keys[0], .value_limit = 16, .timeout_ms = 20, .timeout_growth_ms = 5, .resend_ms = 7, .judge = judge};
    struct consensus *c;
    struct outbox out;
    if (consensus_open(&c, &o)) return 0;
    if (outbox_open(&out, 512, 1 << 19)) {
        consensus_close(c);
        return 0;
    }
    uint64_t now = 0, height = 1;
    consensus_start(c, height, ids, MEMBERS, now, &out);
    struct reader r = reader_over(data, size);
    for (uint32_t steps = 0; steps < 200 && !r.failed && r.at < r.size; steps++) {
        uint8_t op = read_u8(&r), a = read_u8(&r), b = read_u8(&r);
        struct slice value = {data + (a % 4), b % 2 + 1u};
        if (value.data + value.size > data + size) break;
        const struct core_key *key = &keys[1 + a % (MEMBERS - 1)];
        uint8_t bytes[LEDGER_PROPOSAL_LIMIT];
        struct writer w = writer_over(bytes, sizeof bytes);
        struct message m = {.type = MESSAGE_RUN_VOTE};
        struct ledger_proposal p = {.value = value};
        p.vote = (struct ledger_vote){.height = height + (op >> 6), .round = b % 20, .valid_round = -1};
        if (a & 4) p.vote.value = hash_bytes(value.data, value.size);
        switch (op % 8) {
        case 0: consensus_tick(c, now += a, &out); break;
        case 1: consensus_offer(c, value, now, &out); break;
        case 2: consensus_believe(c, a, now, &out); break;
        case 3: consensus_recheck(c, now, &out); break;
        case 4:
            p.vote.value = hash_bytes(value.data, value.size);
            ledger_vote_sign(&p.vote, &keys[ledger_proposer(&o.run, p.vote.height, p.vote.round, ids, MEMBERS)]);
            if (id_equal(&p.vote.voter, &ids[0])) break;
            ledger_proposal_write(&w, &p);
            m.type = MESSAGE_RUN_PROPOSAL;
            m.run_proposal.proposal = (struct slice){bytes, w.size};
            consensus_message(c, &ids[1], &m, now, &out);
            break;
        case 5:
        case 6:
            p.vote.step = op % 8 == 5 ? LEDGER_PREVOTE : LEDGER_PRECOMMIT;
            ledger_vote_sign(&p.vote, key);
            ledger_vote_write(&w, &p.vote);
            if (b & 128) bytes[a % w.size] ^= b;
            m.run_vote.vote = (struct slice){bytes, w.size};
            consensus_message(c, &key->id, &m, now, &out);
            break;
        default:
            m.type = a & 1 ? MESSAGE_RUN_VOTE : MESSAGE_RUN_PROPOSAL;
            m.run_vote.vote = read_slice(&r, 4096);
            if (m.type == MESSAGE_RUN_PROPOSAL) {
                struct slice s = m.run_vote.vote;
                m.run_proposal.run = o.run;
                m.run_proposal.proposal = s;
            }
            consensus_message(c, &key->id, &m, now, &out);
        }
        watch(&said, &ids[0], &out);
        if (consensus_decision(c)) {
            consensus_start(c, ++height, ids, MEMBERS, now, &out);
            watch(&said, &ids[0], &out);
        }
    }
    consensus_close(c);
    outbox_close(&out);
    return 0;
}
