// States of a height: watching (started; messages are counted, valid proposals voted for) -> offered (this member's
// clock runs as well) -> decided. Halted stands beside them: nothing is signed or sent until the next start.
// The rules are in consensus_rules.c, signing and sending in consensus_own.c.
#include "ledger/consensus.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "ledger/consensus_state.h"

static size_t memory_of(uint32_t value_limit)
{
    size_t journal = 8 * (LEDGER_VOTE_SIZE + 1) + value_limit + LEDGER_CERTIFICATE_LIMIT;
    size_t values = 3 * (size_t)value_limit;
    size_t proposals = 2 * (size_t)LEDGER_PROPOSAL_LIMIT;
    return tally_memory(value_limit) + journal + values + proposals + 2 * LEDGER_CERTIFICATE_LIMIT +
           sizeof(struct consensus_early) + 1024;
}

enum core_err consensus_open(struct consensus **out, const struct consensus_options *options)
{
    check(options->key && options->judge && options->value_limit <= LEDGER_VALUE_LIMIT);
    struct consensus *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c) return CORE_ERR_NO_MEMORY;
    c->options = *options;
    if (!c->options.timeout_ms) c->options.timeout_ms = 500;
    if (!c->options.timeout_growth_ms) c->options.timeout_growth_ms = 250;
    if (!c->options.resend_ms) c->options.resend_ms = 200;
    enum core_err err = arena_open(&c->arena, memory_of(options->value_limit));
    if (err) {
        free(c);
        return err;
    }
    uint32_t limit = options->value_limit;
    tally_open(&c->tally, limit, &c->arena);
    c->valid.data = arena_alloc(&c->arena, limit + 1);
    c->offer.data = arena_alloc(&c->arena, limit + 1);
    c->decided_value.data = arena_alloc(&c->arena, limit + 1);
    c->valid_certificate = arena_alloc(&c->arena, LEDGER_CERTIFICATE_LIMIT);
    c->decided_certificate = arena_alloc(&c->arena, LEDGER_CERTIFICATE_LIMIT);
    c->journal_limit = 8 * (LEDGER_VOTE_SIZE + 1) + limit + LEDGER_CERTIFICATE_LIMIT;
    c->journal = arena_alloc(&c->arena, c->journal_limit);
    c->scratch = arena_alloc(&c->arena, LEDGER_PROPOSAL_LIMIT);
    c->early = arena_alloc(&c->arena, sizeof *c->early);
    check(c->early);
    c->early->proposal = arena_alloc(&c->arena, LEDGER_PROPOSAL_LIMIT);
    check(c->early->proposal && c->scratch && c->journal && c->decided_certificate && c->decided_value.data);
    arena_seal(&c->arena);
    *out = c;
    return CORE_ERR_OK;
}

void consensus_close(struct consensus *c)
{
    if (!c) return;
    arena_close(&c->arena);
    free(c);
}

static int member_of(const struct consensus *c, const struct core_id *id)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (id_equal(&c->members[i], id)) return (int)i;
    }
    return -1;
}

static void early_clear(struct consensus_early *e)
{
    memset(e->vote_here, 0, sizeof e->vote_here);
    e->proposal_size = 0;
}

// Messages of the height that was entered just now, in the order in which they could have come.
static void early_replay(struct consensus *c, uint64_t now_ms, struct outbox *out)
{
    struct consensus_early *e = c->early;
    if (e->proposal_size) {
        struct message m = {.type = MESSAGE_RUN_PROPOSAL,
                            .run_proposal = {.run = c->options.run, .proposal = {e->proposal, e->proposal_size}}};
        consensus_message(c, &e->proposal_from, &m, now_ms, out);
    }
    for (uint32_t i = 0; i < LEDGER_MEMBERS_MAX; i++) {
        for (uint32_t k = 0; k < 2; k++) {
            if (!e->vote_here[i][k]) continue;
            struct message m = {.type = MESSAGE_RUN_VOTE,
                                .run_vote = {.run = c->options.run, .vote = {e->vote[i][k], LEDGER_VOTE_SIZE}}};
            consensus_message(c, &e->from[i], &m, now_ms, out);
        }
    }
    early_clear(e);
}

void consensus_start(struct consensus *c, uint64_t height, const struct core_id *members, uint32_t count,
                     uint64_t now_ms, struct outbox *out)
{
    check(count >= 1 && count <= LEDGER_MEMBERS_MAX);
    bool next = c->started && !c->halted && height == c->height + 1;
    c->height = height;
    memcpy(c->members, members, count * sizeof *members);
    c->count = count;
    c->quorum = ledger_quorum(c->options.model, count);
    c->liars = ledger_liars(c->options.model, count);
    c->self = member_of(c, &c->options.key->id);
    ledger_proposer_order(c->order, &c->options.run, height, members, count);
    // Line 53.
    c->locked_round = c->valid_round = -1;
    tally_clear(&c->tally);
    memset(c->peer_round, 0, sizeof c->peer_round);
    c->heard = c->dead = 0;
    c->started = true;
    c->offered = c->halted = c->decided = false;
    c->signed_slot = -1;
    c->has_own_proposal = false;
    c->journal_size = c->unsent_count = 0;
    c->resend_at = c->skip_at = UINT64_MAX;
    c->skipped = false;
    c->resend_wait = c->options.resend_ms;
    consensus_round_start(c, 0, now_ms, out);  // lines 10 and 54
    if (next)
        early_replay(c, now_ms, out);
    else
        early_clear(c->early);
}

// What every call ends with: rules until none applies, then what was signed goes out.
static void settle(struct consensus *c, uint64_t now_ms, struct outbox *out)
{
    consensus_round_expire(c, now_ms, out);
    consensus_round_advance(c, now_ms, out);
    // A round that began just now may have a deadline that has passed already (a proposer believed dead).
    while (!c->decided && !c->halted && c->propose_at <= now_ms) {
        consensus_round_expire(c, now_ms, out);
        consensus_round_advance(c, now_ms, out);
    }
    consensus_own_flush(c, now_ms, out);
}

static bool idle(const struct consensus *c)
{
    return !c->started || c->decided || c->halted;
}

void consensus_offer(struct consensus *c, struct slice value, uint64_t now_ms, struct outbox *out)
{
    check(c->started && value.size <= c->options.value_limit);
    if (idle(c)) return;
    struct core_hash hash = hash_bytes(value.data, value.size);
    consensus_value_set(&c->offer, value, &hash);
    c->offered = true;
    consensus_round_propose(c, now_ms, out);
    settle(c, now_ms, out);
}

void consensus_recheck(struct consensus *c, uint64_t now_ms, struct outbox *out)
{
    if (idle(c)) return;
    for (uint32_t i = 0; i < TALLY_ROUNDS; i++) {
        struct tally_round *r = &c->tally.rounds[i];
        if (r->judged && r->validity == CONSENSUS_UNKNOWN) r->judged = false;
    }
    settle(c, now_ms, out);
}

void consensus_believe(struct consensus *c, uint64_t dead, uint64_t now_ms, struct outbox *out)
{
    if (!c->started) return;
    c->dead = c->self >= 0 ? dead & ~(1ull << c->self) : dead;
    if (c->count < LEDGER_MEMBERS_MAX) c->dead &= (1ull << c->count) - 1;
    if (idle(c)) return;
    consensus_round_wait(c, now_ms);
    settle(c, now_ms, out);
}

void consensus_tick(struct consensus *c, uint64_t now_ms, struct outbox *out)
{
    if (idle(c)) return;
    settle(c, now_ms, out);
    if (!c->decided && c->resend_at <= now_ms) consensus_own_resend(c, now_ms, out);
}

uint64_t consensus_next_ms(const struct consensus *c)
{
    if (idle(c)) return UINT64_MAX;
    uint64_t next = c->resend_at < c->skip_at ? c->resend_at : c->skip_at;
    if (c->propose_at < next) next = c->propose_at;
    if (c->prevote_at < next) next = c->prevote_at;
    return c->precommit_at < next ? c->precommit_at : next;
}

void consensus_hold(struct consensus *c, bool held, uint64_t now_ms, struct outbox *out)
{
    const bool released = c->held && !held;
    c->held = held;
    if (!released || idle(c)) return;
    consensus_round_propose(c, now_ms, out);
    settle(c, now_ms, out);
}

enum core_err consensus_recall(struct consensus *c, const struct ledger_vote *v, uint64_t now_ms, struct outbox *out)
{
    if (idle(c) || c->self < 0 || v->height != c->height) return CORE_ERR_NOT_FOUND;
    if (!hash_equal(&v->run, &c->options.run) || !id_equal(&v->voter, &c->options.key->id) || !ledger_vote_signed(v))
        return CORE_ERR_BAD_SIGNATURE;
    if (consensus_own_recall(c, v, out)) settle(c, now_ms, out);
    return CORE_ERR_OK;
}

void consensus_votes_of(const struct consensus *c, const struct core_id *member, struct writer *w)
{
    const int i = c->started ? member_of(c, member) : -1;
    if (i < 0) return;
    for (uint32_t k = 0; k < TALLY_ROUNDS && !c->decided; k++) {
        const struct tally_round *r = &c->tally.rounds[k];
        if (!r->used) continue;
        if (r->proposed && id_equal(&r->proposal.voter, member)) ledger_vote_write(w, &r->proposal);
        const struct tally_step *const steps[] = {&r->prevotes, &r->precommits};
        for (uint32_t s = 0; s < 2; s++) {
            if (!(steps[s]->voters >> i & 1)) continue;
            const struct ledger_vote v = {.run = c->options.run,
                                          .height = c->height,
                                          .round = r->round,
                                          .step = s ? LEDGER_PRECOMMIT : LEDGER_PREVOTE,
                                          .valid_round = -1,
                                          .value = steps[s]->value[i],
                                          .voter = *member,
                                          .signature = steps[s]->signature[i]};
            ledger_vote_write(w, &v);
        }
    }
    // What it may not sign below, also where the rounds have moved on since.
    const bool latest = !c->decided && i != c->self && c->heard >> i & 1;
    if (latest && !tally_in_window(&c->tally, c->latest[i].round)) ledger_vote_write(w, &c->latest[i]);
    const struct consensus_early *e = c->early;
    for (uint32_t k = 0; k < 2; k++)
        if (e->vote_here[i][k] && id_equal(&e->from[i], member)) write_bytes(w, e->vote[i][k], LEDGER_VOTE_SIZE);
    if (e->proposal_size && id_equal(&e->proposal_from, member)) write_bytes(w, e->proposal, LEDGER_VOTE_SIZE);
}

void consensus_halt(struct consensus *c)
{
    c->halted = true;
    // Votes of its own that are not on disk must not count towards a decision.
    for (uint32_t i = 0; i < TALLY_ROUNDS; i++) c->tally.rounds[i].used = false;
    c->journal_size = c->unsent_count = 0;
    c->resend_at = c->skip_at = UINT64_MAX;
    early_clear(c->early);
}

static void convict(struct consensus *c, const struct ledger_vote *first, const struct ledger_vote *second)
{
    event_emit(&c->options.events, "consensus.equivocation", EV_ID("member", &first->voter),
               EV_U64("height", first->height), EV_U64("round", first->round), EV_U64("step", first->step));
    if (c->options.convict) c->options.convict(c->options.context, first, second);
}

static bool later(const struct ledger_vote *a, const struct ledger_vote *b)
{
    return a->round != b->round ? a->round > b->round : a->step > b->step;
}

// The vote is signed by member `i` and of this height: what follows from its round alone.
static void heard(struct consensus *c, uint32_t i, const struct ledger_vote *v)
{
    if (!(c->heard >> i & 1) || later(v, &c->latest[i])) c->latest[i] = *v;
    c->heard |= 1ull << i;
    if (v->round > c->peer_round[i]) c->peer_round[i] = v->round;
}

static enum consensus_verdict take_vote(struct consensus *c, const struct ledger_vote *v, uint64_t now_ms,
                                        struct outbox *out)
{
    int i = member_of(c, &v->voter);
    if (i < 0) return CONSENSUS_REFUSED;
    bool kept = tally_in_window(&c->tally, v->round);
    struct tally_round *r = kept ? tally_find(&c->tally, v->round) : NULL;
    struct tally_step *s = r ? tally_votes(r, v->step) : NULL;
    bool known = s && s->voters >> i & 1;
    if (known && hash_equal(&s->value[i], &v->value)) return CONSENSUS_TAKEN;
    if (!kept && v->round < c->round) return CONSENSUS_TAKEN;
    if (!ledger_vote_signed(v)) return CONSENSUS_REFUSED;
    if (known) {
        struct ledger_vote first = *v;
        first.value = s->value[i];
        first.signature = s->signature[i];
        convict(c, &first, v);
        return CONSENSUS_TAKEN;
    }
    // After a crash a peer may be told its own old vote; only what is restored from its disk counts.
    if (i == c->self) return CONSENSUS_TAKEN;
    heard(c, (uint32_t)i, v);
    if (kept) {
        r = tally_claim(&c->tally, v->round);
        tally_vote(tally_votes(r, v->step), (uint32_t)i, v);
        const bool other = !hash_is_zero(&v->value) && r->proposed && !hash_equal(&v->value, &r->proposal.value);
        if (other) consensus_own_show(c, r, (uint32_t)i, out);
    }
    settle(c, now_ms, out);
    return CONSENSUS_TAKEN;
}

static enum consensus_verdict take_proposal(struct consensus *c, const struct ledger_proposal *p, uint64_t now_ms,
                                            struct outbox *out)
{
    const struct ledger_vote *v = &p->vote;
    int i = member_of(c, &v->voter);
    if (i < 0 || (uint32_t)i != consensus_proposer_of(c, v->round) || p->value.size > c->options.value_limit) {
        return CONSENSUS_REFUSED;
    }
    bool kept = tally_in_window(&c->tally, v->round);
    struct tally_round *r = kept ? tally_find(&c->tally, v->round) : NULL;
    bool known = r && r->proposed;
    if (known && hash_equal(&r->proposal.value, &v->value) && r->proposal.valid_round == v->valid_round) {
        return CONSENSUS_TAKEN;
    }
    if (!kept && v->round < c->round) return CONSENSUS_TAKEN;
    if (!ledger_vote_signed(v)) return CONSENSUS_REFUSED;
    if (known) {
        convict(c, &r->proposal, v);
        return CONSENSUS_TAKEN;
    }
    // Line 28: the quorum of prevotes of valid_round comes with the proposal.
    struct ledger_certificate certificate;
    if (v->valid_round >= 0 && (ledger_certificate_read(p->certificate, &certificate) != CORE_ERR_OK ||
                                certificate.round != (uint32_t)v->valid_round ||
                                !ledger_certificate_valid(p->certificate, LEDGER_PREVOTE, &c->options.run, c->height,
                                                          &v->value, c->members, c->count, c->quorum))) {
        return CONSENSUS_REFUSED;
    }
    heard(c, (uint32_t)i, v);
    if (kept) tally_propose(tally_claim(&c->tally, v->round), p);
    settle(c, now_ms, out);
    return CONSENSUS_TAKEN;
}

// The next height's messages of round 0 are kept, unchecked, a few of each sender's: they come while this member is
// about to decide.
static void early_vote(struct consensus *c, const struct core_id *from, const struct ledger_vote *v, struct slice bytes)
{
    int i = member_of(c, from);
    if (i < 0 || v->height != c->height + 1 || v->round != 0 || v->step == LEDGER_PROPOSE || c->halted) return;
    uint32_t k = v->step == LEDGER_PREVOTE ? 0 : 1;
    memcpy(c->early->vote[i][k], bytes.data, LEDGER_VOTE_SIZE);
    c->early->vote_here[i][k] = true;
    c->early->from[i] = *from;
}

static void early_proposal(struct consensus *c, const struct core_id *from, const struct ledger_vote *v,
                           struct slice bytes)
{
    if (member_of(c, from) < 0 || v->height != c->height + 1 || v->round != 0 || c->halted) return;
    if (bytes.size > LEDGER_PROPOSAL_LIMIT || c->early->proposal_size) return;
    memcpy(c->early->proposal, bytes.data, bytes.size);
    c->early->proposal_size = (uint32_t)bytes.size;
    c->early->proposal_from = *from;
}

enum consensus_verdict consensus_message(struct consensus *c, const struct core_id *from, const struct message *m,
                                         uint64_t now_ms, struct outbox *out)
{
    check(c->started && (m->type == MESSAGE_RUN_VOTE || m->type == MESSAGE_RUN_PROPOSAL));
    bool is_vote = m->type == MESSAGE_RUN_VOTE;
    struct slice bytes = is_vote ? m->run_vote.vote : m->run_proposal.proposal;
    struct ledger_proposal p = {0};
    if (is_vote) {
        struct reader r = reader_over(bytes.data, bytes.size);
        if (ledger_vote_read(&r, &p.vote) != CORE_ERR_OK || !reader_finished(&r)) return CONSENSUS_REFUSED;
        if (p.vote.step == LEDGER_PROPOSE) return CONSENSUS_REFUSED;
    } else if (ledger_proposal_read(bytes, &p) != CORE_ERR_OK) {
        return CONSENSUS_REFUSED;
    }
    if (!hash_equal(&p.vote.run, &c->options.run)) return CONSENSUS_REFUSED;
    if (p.vote.height > c->height) {
        if (is_vote)
            early_vote(c, from, &p.vote, bytes);
        else
            early_proposal(c, from, &p.vote, bytes);
        return CONSENSUS_BEHIND;
    }
    if (p.vote.height < c->height || c->decided) return CONSENSUS_STALE;
    return is_vote ? take_vote(c, &p.vote, now_ms, out) : take_proposal(c, &p, now_ms, out);
}

void consensus_decide(struct consensus *c, uint32_t round, struct slice value, const struct core_hash *hash,
                      struct slice certificate)
{
    consensus_value_set(&c->decided_value, value, hash);
    memcpy(c->decided_certificate, certificate.data, certificate.size);
    c->decided = true;
    c->resend_at = UINT64_MAX;
    c->decision = (struct consensus_decision){
        .height = c->height,
        .round = round,
        .hash = *hash,
        .value = {c->decided_value.data, c->decided_value.size},
        .certificate = {c->decided_certificate, certificate.size},
    };
    event_emit(&c->options.events, "consensus.decided", EV_U64("height", c->height), EV_U64("round", round),
               EV_HASH("value", hash));
}

enum core_err consensus_adopt(struct consensus *c, struct slice value, struct slice certificate)
{
    check(c->started);
    if (c->decided) return CORE_ERR_OK;
    if (value.size > c->options.value_limit) return CORE_ERR_TOO_LARGE;
    struct core_hash hash = hash_bytes(value.data, value.size);
    if (!ledger_certificate_valid(certificate, LEDGER_PRECOMMIT, &c->options.run, c->height, &hash, c->members,
                                  c->count, c->quorum)) {
        return CORE_ERR_VERIFY_FAILED;
    }
    struct ledger_certificate parsed;
    enum core_err err = ledger_certificate_read(certificate, &parsed);
    check(err == CORE_ERR_OK);
    consensus_decide(c, parsed.round, value, &hash, certificate);
    return CORE_ERR_OK;
}

const struct consensus_decision *consensus_decision(const struct consensus *c)
{
    return c->decided ? &c->decision : NULL;
}

struct consensus_status consensus_status(const struct consensus *c)
{
    return (struct consensus_status){
        .height = c->height,
        .round = c->round,
        .step = c->step,
        .quorum = c->quorum,
        .heard = c->heard,
        .proposer = c->started ? consensus_proposer_of(c, c->round) : 0,
        .locked_round = c->locked_round,
        .valid_round = c->valid_round,
        .offered = c->offered,
        .decided = c->decided,
        .halted = c->halted,
        .held = c->held,
    };
}
