// What this member says: each slot (round, step) is signed once for ever, is on disk before it is on the wire, and is
// repeated until the height is decided.
//
// A persisted payload is a sequence of records (docs/record-format.md):
//   u8 1, a signed vote                                                       every vote and proposal signed
//   u8 2, u64 height, u32 round, value (u32 size, bytes), certificate (same)  the value locked in that round
#include <string.h>

#include "core/check.h"
#include "ledger/consensus_state.h"

enum { RECORD_VOTE = 1, RECORD_LOCK = 2 };

static int64_t slot_of(uint32_t round, enum ledger_step step)
{
    return (int64_t)round * 3 + (int64_t)step;
}

static struct writer journal_room(struct consensus *c, uint32_t size, struct outbox *out)
{
    if (c->journal_limit - c->journal_size < size) consensus_own_flush(c, UINT64_MAX, out);
    check(c->journal_limit - c->journal_size >= size);
    return writer_over(c->journal + c->journal_size, c->journal_limit - c->journal_size);
}

static void journal_vote(struct consensus *c, const struct ledger_vote *v, struct outbox *out)
{
    if (c->unsent_count == CONSENSUS_UNSENT_MAX) consensus_own_flush(c, UINT64_MAX, out);
    struct writer w = journal_room(c, 1 + LEDGER_VOTE_SIZE, out);
    write_u8(&w, RECORD_VOTE);
    ledger_vote_write(&w, v);
    check(!w.overflowed);
    c->journal_size += (uint32_t)w.size;
    c->unsent[c->unsent_count++] = *v;
}

void consensus_own_lock(struct consensus *c, struct outbox *out)
{
    uint32_t size = 1 + 8 + 4 + 4 + c->valid.size + 4 + c->valid_certificate_size;
    struct writer w = journal_room(c, size, out);
    write_u8(&w, RECORD_LOCK);
    write_u64(&w, c->height);
    write_u32(&w, c->round);
    write_slice(&w, (struct slice){c->valid.data, c->valid.size});
    write_slice(&w, (struct slice){c->valid_certificate, c->valid_certificate_size});
    check(!w.overflowed && w.size == size);
    c->journal_size += size;
}

static bool slot_take(struct consensus *c, enum ledger_step step)
{
    if (c->self < 0 || c->halted || c->held || slot_of(c->round, step) <= c->signed_slot) return false;
    c->signed_slot = slot_of(c->round, step);
    c->heard |= 1ull << c->self;
    return true;
}

static struct ledger_vote vote_now(const struct consensus *c, enum ledger_step step, const struct core_hash *value,
                                   int32_t valid_round)
{
    struct ledger_vote v = {.run = c->options.run,
                            .height = c->height,
                            .round = c->round,
                            .step = step,
                            .valid_round = valid_round,
                            .value = *value};
    ledger_vote_sign(&v, c->options.key);
    return v;
}

bool consensus_own_vote(struct consensus *c, enum ledger_step step, const struct core_hash *value, struct outbox *out)
{
    if (!slot_take(c, step)) return false;
    struct ledger_vote v = vote_now(c, step, value, -1);
    tally_vote(tally_votes(tally_claim(&c->tally, c->round), step), (uint32_t)c->self, &v);
    journal_vote(c, &v, out);
    return true;
}

bool consensus_own_propose(struct consensus *c, const struct consensus_value *value, int32_t valid_round,
                           struct outbox *out)
{
    struct ledger_proposal p = {.value = {value->data, value->size}};
    if (valid_round >= 0) p.certificate = (struct slice){c->valid_certificate, c->valid_certificate_size};
    if (slot_take(c, LEDGER_PROPOSE)) {
        p.vote = vote_now(c, LEDGER_PROPOSE, &value->hash, valid_round);
        journal_vote(c, &p.vote, out);
    } else if (c->has_own_proposal && c->own_proposal.round == c->round && c->own_proposal.valid_round == valid_round &&
               hash_equal(&c->own_proposal.value, &value->hash)) {
        // Signed before a restart, and the value is at hand again: the same words may be repeated.
        if (c->unsent_count == CONSENSUS_UNSENT_MAX) consensus_own_flush(c, UINT64_MAX, out);
        p.vote = c->own_proposal;
        c->unsent[c->unsent_count++] = p.vote;
    } else {
        return false;
    }
    tally_propose(tally_claim(&c->tally, c->round), &p);
    return true;
}

static void send_vote(struct consensus *c, const struct ledger_vote *v, uint64_t to, struct outbox *out)
{
    uint8_t bytes[LEDGER_VOTE_SIZE];
    struct writer w = writer_over(bytes, sizeof bytes);
    ledger_vote_write(&w, v);
    struct message m = {.type = MESSAGE_RUN_VOTE, .run_vote = {.run = c->options.run, .vote = {bytes, w.size}}};
    for (uint32_t i = 0; i < c->count; i++) {
        if (to >> i & 1) outbox_send(out, &c->members[i], &m);
    }
}

static void send_proposal(struct consensus *c, const struct tally_round *r, uint64_t to, struct outbox *out)
{
    struct ledger_proposal p = {
        .vote = r->proposal, .value = {r->value, r->value_size}, .certificate = {r->certificate, r->certificate_size}};
    struct writer w = writer_over(c->scratch, LEDGER_PROPOSAL_LIMIT);
    ledger_proposal_write(&w, &p);
    check(!w.overflowed);
    struct message m = {.type = MESSAGE_RUN_PROPOSAL,
                        .run_proposal = {.run = c->options.run, .proposal = {c->scratch, w.size}}};
    for (uint32_t i = 0; i < c->count; i++) {
        if (to >> i & 1) outbox_send(out, &c->members[i], &m);
    }
}

static uint64_t others(const struct consensus *c)
{
    uint64_t all = c->count == LEDGER_MEMBERS_MAX ? UINT64_MAX : (1ull << c->count) - 1;
    return c->self < 0 ? all : all & ~(1ull << c->self);
}

void consensus_own_flush(struct consensus *c, uint64_t now_ms, struct outbox *out)
{
    if (c->journal_size) {
        outbox_persist(out, LEDGER_PERSIST_VOTE, (struct slice){c->journal, c->journal_size});
        c->journal_size = 0;
    }
    for (uint32_t i = 0; i < c->unsent_count; i++) {
        const struct ledger_vote *v = &c->unsent[i];
        struct tally_round *r = tally_find(&c->tally, v->round);
        if (v->step != LEDGER_PROPOSE)
            send_vote(c, v, others(c), out);
        else if (r && r->proposed)
            send_proposal(c, r, others(c), out);
    }
    if (c->unsent_count && now_ms != UINT64_MAX && !c->decided && others(c)) {
        c->resend_wait = c->options.resend_ms;
        c->resend_at = now_ms + c->resend_wait;
    }
    c->unsent_count = 0;
}

void consensus_own_show(struct consensus *c, struct tally_round *r, uint32_t member, struct outbox *out)
{
    if (r->shown >> member & 1 || c->self < 0) return;
    r->shown |= 1ull << member;
    send_proposal(c, r, 1ull << member, out);
}

// A member's vote of a step and round goes to `to` once more.
static void resend_vote(struct consensus *c, uint32_t member, struct tally_round *r, enum ledger_step step, uint64_t to,
                        struct outbox *out)
{
    const struct tally_step *s = tally_votes(r, step);
    if (!(s->voters >> member & 1)) return;
    struct ledger_vote v = {.run = c->options.run,
                            .height = c->height,
                            .round = r->round,
                            .step = step,
                            .valid_round = -1,
                            .value = s->value[member],
                            .voter = c->members[member],
                            .signature = s->signature[member]};
    send_vote(c, &v, to, out);
}

// Where it does not come to a decision, one other member's votes are passed on each time: who cannot reach everyone is
// heard all the same, and who tells some this and others that is found out.
static void relay(struct consensus *c, struct tally_round *now, struct outbox *out)
{
    const uint32_t member = c->relay_turn++ % c->count;
    if (c->self < 0 || member == (uint32_t)c->self) return;
    const uint64_t to = others(c) & ~(1ull << member);
    resend_vote(c, member, now, LEDGER_PREVOTE, to, out);
    resend_vote(c, member, now, LEDGER_PRECOMMIT, to, out);
}

// The last two rounds' votes are enough: whoever is in round r has seen a quorum of precommits of r - 1, so at least
// liars + 1 honest members are in r - 1 or later, and by line 55 nobody honest stays behind r - 1; to leave r - 1 it
// needs those precommits again. A proposal is repeated, by everyone who holds it, to whoever has not precommitted it.
void consensus_own_resend(struct consensus *c, uint64_t now_ms, struct outbox *out)
{
    uint64_t to = others(c);
    struct tally_round *before = c->round ? tally_find(&c->tally, c->round - 1) : NULL;
    struct tally_round *now = tally_find(&c->tally, c->round);
    const bool member = c->self >= 0;
    if (before && member) resend_vote(c, (uint32_t)c->self, before, LEDGER_PRECOMMIT, to, out);
    if (now) {
        if (now->proposed && member) {
            send_proposal(c, now, to & ~tally_for(&now->precommits, &now->proposal.value), out);
        }
        if (member) {
            resend_vote(c, (uint32_t)c->self, now, LEDGER_PREVOTE, to, out);
            resend_vote(c, (uint32_t)c->self, now, LEDGER_PRECOMMIT, to, out);
        }
        relay(c, now, out);
    }
    if (c->resend_wait < 8 * c->options.resend_ms) c->resend_wait *= 2;
    c->resend_at = now_ms + c->resend_wait;
}

// An own vote of this height, from the disk or from others, in any order: its slot is signed, and a precommit for a
// value is what the lock was taken with (lines 38-39). False: known already.
static bool take_back(struct consensus *c, const struct ledger_vote *v)
{
    const int64_t slot = slot_of(v->round, v->step);
    const bool news = slot > c->signed_slot;
    if (news) c->signed_slot = slot;
    c->heard |= 1ull << c->self;
    if (v->round > c->round) {
        c->propose_at = c->prevote_at = c->precommit_at = UINT64_MAX;
        c->prevote_armed = c->precommit_armed = false;
        c->step = v->step;
    } else if (v->round == c->round && v->step > c->step) {
        c->step = v->step;
    }
    if (v->round > c->round) tally_move(&c->tally, c->round = v->round);
    if (v->step == LEDGER_PROPOSE) {
        if (c->has_own_proposal && c->own_proposal.round >= v->round) return false;
        c->own_proposal = *v;
        c->has_own_proposal = true;
        return true;
    }
    bool lock = v->step == LEDGER_PRECOMMIT && !hash_is_zero(&v->value) && (int32_t)v->round > c->locked_round;
    if (lock) {
        c->locked = v->value;
        c->locked_round = (int32_t)v->round;
    }
    if (tally_in_window(&c->tally, v->round)) {
        struct tally_step *s = tally_votes(tally_claim(&c->tally, v->round), v->step);
        if (!(s->voters >> c->self & 1)) tally_vote(s, (uint32_t)c->self, v);
    }
    return news || lock;
}

bool consensus_own_recall(struct consensus *c, const struct ledger_vote *v, struct outbox *out)
{
    if (!take_back(c, v)) return false;
    journal_vote(c, v, out);
    return true;
}

static enum core_err restore_vote(struct consensus *c, struct reader *r)
{
    struct ledger_vote v;
    enum core_err err = ledger_vote_read(r, &v);
    if (err) return err;
    if (!hash_equal(&v.run, &c->options.run) || v.height != c->height || c->self < 0) return CORE_ERR_OK;
    if (!id_equal(&v.voter, &c->options.key->id) || !ledger_vote_signed(&v)) return CORE_ERR_BAD_SIGNATURE;
    (void)take_back(c, &v);
    return CORE_ERR_OK;
}

static enum core_err restore_lock(struct consensus *c, struct reader *r)
{
    uint64_t height = read_u64(r);
    uint32_t round = read_u32(r);
    struct slice value = read_slice(r, c->options.value_limit);
    struct slice certificate = read_slice(r, LEDGER_CERTIFICATE_LIMIT);
    if (r->failed || round > INT32_MAX) return CORE_ERR_MALFORMED;
    if (height != c->height || c->self < 0 || (int32_t)round <= c->valid_round) return CORE_ERR_OK;
    struct core_hash hash = hash_bytes(value.data, value.size);
    if (!ledger_certificate_valid(certificate, LEDGER_PREVOTE, &c->options.run, height, &hash, c->members, c->count,
                                  c->quorum)) {
        return CORE_ERR_BAD_SIGNATURE;
    }
    consensus_value_set(&c->valid, value, &hash);
    c->valid_round = (int32_t)round;
    memcpy(c->valid_certificate, certificate.data, certificate.size);
    c->valid_certificate_size = (uint32_t)certificate.size;
    return CORE_ERR_OK;
}

enum core_err consensus_restore(struct consensus *c, struct slice payload)
{
    check(c->started && !c->halted && c->journal_size == 0 && c->unsent_count == 0);
    struct reader r = reader_over(payload.data, payload.size);
    enum core_err err = CORE_ERR_OK;
    while (!err && r.at < r.size) {
        uint8_t record = read_u8(&r);
        if (record == RECORD_VOTE)
            err = restore_vote(c, &r);
        else if (record == RECORD_LOCK)
            err = restore_lock(c, &r);
        else
            err = CORE_ERR_MALFORMED;
    }
    // A peer that forgot what it signed must not sign.
    if (err) c->halted = true;
    c->propose_at = UINT64_MAX;
    if (c->signed_slot >= 0) c->resend_at = 0;
    return err;
}
