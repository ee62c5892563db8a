#include "ledger/vote.h"

#include <string.h>

#include "core/check.h"

enum { VOTE_VERSION = 1, CERTIFICATE_VERSION = 1, VOTE_BODY = LEDGER_VOTE_SIZE - CORE_SIG_SIZE };

static const char vote_domain[] = "mycel vote v1";

uint32_t ledger_quorum(enum ledger_fault_model model, uint32_t members)
{
    return model == LEDGER_BYZANTINE ? 1 + 2 * members / 3 : 1 + members / 2;
}

uint32_t ledger_liars(enum ledger_fault_model model, uint32_t members)
{
    return model == LEDGER_BYZANTINE && members > 0 ? (members - 1) / 3 : 0;
}

void ledger_proposer_order(uint8_t order[LEDGER_MEMBERS_MAX], const struct core_hash *run, uint64_t height,
                           const struct core_id *members, uint32_t count)
{
    check(count >= 1 && count <= LEDGER_MEMBERS_MAX);
    struct core_hash scores[LEDGER_MEMBERS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        uint8_t bytes[CORE_HASH_SIZE + 8 + CORE_ID_SIZE];
        struct writer w = writer_over(bytes, sizeof bytes);
        write_bytes(&w, run->bytes, CORE_HASH_SIZE);
        write_u64(&w, height);
        write_bytes(&w, members[i].bytes, CORE_ID_SIZE);
        scores[i] = hash_bytes(bytes, w.size);
        // Insertion: the highest score proposes first.
        uint32_t at = i;
        for (; at > 0; at--) {
            int above = hash_compare(&scores[i], &scores[order[at - 1]]);
            if (above < 0 || (above == 0 && id_compare(&members[i], &members[order[at - 1]]) > 0)) break;
            order[at] = order[at - 1];
        }
        order[at] = (uint8_t)i;
    }
}

uint32_t ledger_proposer(const struct core_hash *run, uint64_t height, uint32_t round, const struct core_id *members,
                         uint32_t count)
{
    uint8_t order[LEDGER_MEMBERS_MAX];
    ledger_proposer_order(order, run, height, members, count);
    return order[round % count];
}

// What the signature covers.
static void write_body(struct writer *w, const struct ledger_vote *v)
{
    write_u8(w, VOTE_VERSION);
    write_u8(w, (uint8_t)v->step);
    write_bytes(w, v->run.bytes, CORE_HASH_SIZE);
    write_u64(w, v->height);
    write_u32(w, v->round);
    write_u32(w, (uint32_t)v->valid_round);
    write_bytes(w, v->value.bytes, CORE_HASH_SIZE);
    write_bytes(w, v->voter.bytes, CORE_ID_SIZE);
}

void ledger_vote_sign(struct ledger_vote *v, const struct core_key *key)
{
    uint8_t body[VOTE_BODY];
    struct writer w = writer_over(body, sizeof body);
    v->voter = key->id;
    write_body(&w, v);
    check(!w.overflowed && w.size == VOTE_BODY);
    v->signature = sign_make(key, vote_domain, body, sizeof body);
}

bool ledger_vote_signed(const struct ledger_vote *v)
{
    uint8_t body[VOTE_BODY];
    struct writer w = writer_over(body, sizeof body);
    write_body(&w, v);
    return sign_valid(&v->voter, vote_domain, body, sizeof body, &v->signature);
}

void ledger_vote_write(struct writer *w, const struct ledger_vote *v)
{
    write_body(w, v);
    write_bytes(w, v->signature.bytes, CORE_SIG_SIZE);
}

enum core_err ledger_vote_read(struct reader *r, struct ledger_vote *v)
{
    uint8_t version = read_u8(r);
    if (!r->failed && version != VOTE_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    uint8_t step = read_u8(r);
    read_bytes(r, v->run.bytes, CORE_HASH_SIZE);
    v->height = read_u64(r);
    v->round = read_u32(r);
    uint32_t valid_round = read_u32(r);
    read_bytes(r, v->value.bytes, CORE_HASH_SIZE);
    read_bytes(r, v->voter.bytes, CORE_ID_SIZE);
    read_bytes(r, v->signature.bytes, CORE_SIG_SIZE);
    if (r->failed || step > LEDGER_PRECOMMIT || v->round > INT32_MAX) return CORE_ERR_MALFORMED;
    v->step = (enum ledger_step)step;
    v->valid_round = valid_round == UINT32_MAX ? -1 : (int32_t)(valid_round & INT32_MAX);
    if (valid_round > INT32_MAX && valid_round != UINT32_MAX) return CORE_ERR_MALFORMED;
    if (step == LEDGER_PROPOSE) {
        // Line 28 of the paper: vr < round; and nobody proposes nil.
        if (v->valid_round >= (int32_t)v->round || hash_is_zero(&v->value)) return CORE_ERR_MALFORMED;
    } else if (v->valid_round != -1) {
        return CORE_ERR_MALFORMED;
    }
    return CORE_ERR_OK;
}

bool ledger_votes_conflict(const struct ledger_vote *a, const struct ledger_vote *b)
{
    bool same_slot = hash_equal(&a->run, &b->run) && a->height == b->height && a->round == b->round &&
                     a->step == b->step && id_equal(&a->voter, &b->voter);
    bool same_word = hash_equal(&a->value, &b->value) && a->valid_round == b->valid_round;
    return same_slot && !same_word && ledger_vote_signed(a) && ledger_vote_signed(b);
}

void ledger_proposal_write(struct writer *w, const struct ledger_proposal *p)
{
    ledger_vote_write(w, &p->vote);
    write_slice(w, p->value);
    write_slice(w, p->certificate);
}

enum core_err ledger_proposal_read(struct slice bytes, struct ledger_proposal *p)
{
    struct reader r = reader_over(bytes.data, bytes.size);
    enum core_err err = ledger_vote_read(&r, &p->vote);
    if (err) return err;
    p->value = read_slice(&r, LEDGER_VALUE_LIMIT);
    p->certificate = read_slice(&r, LEDGER_CERTIFICATE_LIMIT);
    if (!reader_finished(&r) || p->vote.step != LEDGER_PROPOSE) return CORE_ERR_MALFORMED;
    if ((p->vote.valid_round >= 0) != (p->certificate.size > 0)) return CORE_ERR_MALFORMED;
    struct core_hash hash = hash_bytes(p->value.data, p->value.size);
    return hash_equal(&hash, &p->vote.value) ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

enum core_err ledger_certificate_read(struct slice bytes, struct ledger_certificate *c)
{
    struct reader r = reader_over(bytes.data, bytes.size);
    uint8_t version = read_u8(&r);
    if (!r.failed && version != CERTIFICATE_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    uint8_t step = read_u8(&r);
    c->round = read_u32(&r);
    c->signers = read_u64(&r);
    if (r.failed || (step != LEDGER_PREVOTE && step != LEDGER_PRECOMMIT) || c->round > INT32_MAX) {
        return CORE_ERR_MALFORMED;
    }
    c->step = (enum ledger_step)step;
    c->signatures = bytes.data + r.at;
    size_t signatures = (size_t)__builtin_popcountll(c->signers) * CORE_SIG_SIZE;
    return bytes.size - r.at == signatures ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

void ledger_certificate_write(struct writer *w, enum ledger_step step, uint32_t round, uint64_t signers,
                              const struct core_sig signatures[LEDGER_MEMBERS_MAX])
{
    write_u8(w, CERTIFICATE_VERSION);
    write_u8(w, (uint8_t)step);
    write_u32(w, round);
    write_u64(w, signers);
    for (uint32_t i = 0; i < LEDGER_MEMBERS_MAX; i++) {
        if (signers >> i & 1) write_bytes(w, signatures[i].bytes, CORE_SIG_SIZE);
    }
}

bool ledger_certificate_valid(struct slice bytes, enum ledger_step step, const struct core_hash *run, uint64_t height,
                              const struct core_hash *value, const struct core_id *members, uint32_t count,
                              uint32_t quorum)
{
    struct ledger_certificate c;
    if (ledger_certificate_read(bytes, &c) != CORE_ERR_OK || c.step != step) return false;
    if (count == 0 || count > LEDGER_MEMBERS_MAX || quorum == 0 || hash_is_zero(value)) return false;
    if (count < LEDGER_MEMBERS_MAX && c.signers >> count != 0) return false;
    if ((uint32_t)__builtin_popcountll(c.signers) < quorum) return false;
    const uint8_t *at = c.signatures;
    for (uint32_t i = 0; i < count; i++) {
        if (!(c.signers >> i & 1)) continue;
        struct ledger_vote v = {.run = *run,
                                .height = height,
                                .round = c.round,
                                .step = c.step,
                                .valid_round = -1,
                                .value = *value,
                                .voter = members[i]};
        memcpy(v.signature.bytes, at, CORE_SIG_SIZE);
        if (!ledger_vote_signed(&v)) return false;
        at += CORE_SIG_SIZE;
    }
    return true;
}
