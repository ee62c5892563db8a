// The rules of arXiv 1807.04938, Algorithm 1; "line N" is its line. Where we differ, it is in when a timeout ends,
// which the paper leaves open, never in what may be voted:
//   - a wait ends early when nothing more can come of it: the proposer is believed dead, a quorum precommitted nil, or
//     everyone who is not believed dead has voted and no value has a quorum;
//   - a member that has offered nothing yet does not time the proposer out;
//   - the prevotes that line 28 asks for travel inside the proposal, so that they need no repeating.
//
// Invariants:
//   1. step only rises within a round, round only rises within a height: so a slot is never voted twice;
//   2. locked_round <= valid_round or this member restarted and has only the lock's hash;
//   3. a proposal in the tally is from that round's proposer, is signed, and carries a valid certificate if it names a
//      valid_round.
#include "core/check.h"
#include "ledger/consensus_state.h"

static const struct core_hash nil;

uint32_t consensus_proposer_of(const struct consensus *c, uint32_t round)
{
    return c->order[round % c->count];
}

static bool votes_here(const struct consensus *c)
{
    return c->self >= 0 && !c->halted && !c->held;
}

static uint64_t timeout_of(const struct consensus *c)
{
    const uint64_t ms = (uint64_t)c->options.timeout_ms + (uint64_t)c->options.timeout_growth_ms * c->round;
    return ms < CONSENSUS_TIMEOUT_MAX_MS ? ms : CONSENSUS_TIMEOUT_MAX_MS;
}

// valid(v) of the paper, asked once; UNKNOWN is asked again after a recheck (which clears `judged`). Where this member
// cannot tell, perhaps never again because a crash took what it would compare with, the quorum of prevotes that comes
// with a proposal will do: at least one honest member of it has checked the value.
static enum consensus_validity validity(struct consensus *c, struct tally_round *r)
{
    if (!r->judged) {
        r->validity = c->options.judge(c->options.context, c->height, (struct slice){r->value, r->value_size});
        r->judged = true;
        const bool unsure = r->validity == CONSENSUS_UNKNOWN || r->validity == CONSENSUS_DOUBTED;
        if (unsure && r->proposal.valid_round >= 0) r->validity = CONSENSUS_VALID;
    }
    return r->validity;
}

// Lines 11-21.
void consensus_round_start(struct consensus *c, uint32_t round, uint64_t now_ms, struct outbox *out)
{
    c->round = round;
    c->step = LEDGER_PROPOSE;
    tally_move(&c->tally, round);
    c->propose_at = c->prevote_at = c->precommit_at = UINT64_MAX;
    c->prevote_armed = c->precommit_armed = false;
    if (round > 0) {
        event_emit(&c->options.events, "consensus.round", EV_U64("height", c->height), EV_U64("round", round));
    }
    if (!votes_here(c)) return;
    if (round > 0 && c->count > 1) {
        c->resend_wait = c->options.resend_ms;
        c->resend_at = now_ms + c->resend_wait;
    }
    consensus_round_propose(c, now_ms, out);
}

void consensus_round_propose(struct consensus *c, uint64_t now_ms, struct outbox *out)
{
    struct tally_round *r = tally_find(&c->tally, c->round);
    bool mine = votes_here(c) && consensus_proposer_of(c, c->round) == (uint32_t)c->self;
    bool again = c->has_own_proposal && c->own_proposal.round == c->round;
    if (mine && (c->step == LEDGER_PROPOSE || again) && !(r && r->proposed)) {
        if (c->valid_round >= 0 && c->valid_round < (int32_t)c->round) {
            consensus_own_propose(c, &c->valid, c->valid_round, out);  // lines 15-16
        } else if (c->offered) {
            consensus_own_propose(c, &c->offer, -1, out);  // line 18
        }
    }
    consensus_round_wait(c, now_ms);
}

void consensus_round_wait(struct consensus *c, uint64_t now_ms)
{
    if (!votes_here(c) || !c->offered || c->step != LEDGER_PROPOSE || c->decided) return;
    if (c->propose_at == UINT64_MAX) c->propose_at = now_ms + timeout_of(c);  // line 21
    struct tally_round *r = tally_find(&c->tally, c->round);
    bool dead = c->dead >> consensus_proposer_of(c, c->round) & 1;
    if (dead && c->round < c->count && !(r && r->proposed)) c->propose_at = now_ms;
}

// Lines 22-33: vote for the proposal, or for nil where it is invalid or this member is locked on another value.
static bool rule_prevote(struct consensus *c, struct outbox *out)
{
    struct tally_round *r = tally_find(&c->tally, c->round);
    if (c->step != LEDGER_PROPOSE || !r || !r->proposed) return false;
    const struct core_hash *v = &r->proposal.value;
    int32_t vr = r->proposal.valid_round;
    // Line 23 with vr = -1 and line 29 in one: a lock yields to the same value, or to prevotes as recent as itself.
    bool unlocked = c->locked_round == -1 || hash_equal(&c->locked, v) || (vr >= 0 && c->locked_round <= vr);
    enum consensus_validity valid = validity(c, r);
    if (unlocked && valid == CONSENSUS_UNKNOWN) return false;
    bool yes = unlocked && valid == CONSENSUS_VALID;
    c->step = LEDGER_PREVOTE;
    consensus_own_vote(c, LEDGER_PREVOTE, yes ? v : &nil, out);
    return true;
}

// Lines 36-43: a quorum prevoted this round's proposal. It is the valid value now, and locked where not too late.
static bool rule_lock(struct consensus *c, struct outbox *out)
{
    struct tally_round *r = tally_find(&c->tally, c->round);
    if (c->step < LEDGER_PREVOTE || !r || !r->proposed || c->valid_round >= (int32_t)c->round) return false;
    uint64_t yes = tally_for(&r->prevotes, &r->proposal.value);
    if (tally_count(yes) < c->quorum) return false;
    const enum consensus_validity valid = validity(c, r);
    if (valid != CONSENSUS_VALID && valid != CONSENSUS_DOUBTED) return false;
    consensus_value_set(&c->valid, (struct slice){r->value, r->value_size}, &r->proposal.value);
    c->valid_round = (int32_t)c->round;
    struct writer w = writer_over(c->valid_certificate, LEDGER_CERTIFICATE_LIMIT);
    ledger_certificate_write(&w, LEDGER_PREVOTE, c->round, yes, r->prevotes.signature);
    check(!w.overflowed);
    c->valid_certificate_size = (uint32_t)w.size;
    if (c->step == LEDGER_PREVOTE) {
        c->locked = c->valid.hash;
        c->locked_round = (int32_t)c->round;
        c->step = LEDGER_PRECOMMIT;
        consensus_own_lock(c, out);
        consensus_own_vote(c, LEDGER_PRECOMMIT, &c->valid.hash, out);
    }
    return true;
}

static bool precommit_nil(struct consensus *c, struct outbox *out)
{
    c->step = LEDGER_PRECOMMIT;
    consensus_own_vote(c, LEDGER_PRECOMMIT, &nil, out);
    return true;
}

// Everyone who may still speak has spoken.
static bool all_in(const struct consensus *c, const struct tally_step *s)
{
    return tally_count(s->voters | c->dead) >= c->count;
}

// Lines 34-35 and 44-46.
static bool rule_prevotes(struct consensus *c, uint64_t now_ms, struct outbox *out)
{
    struct tally_round *r = tally_find(&c->tally, c->round);
    if (c->step != LEDGER_PREVOTE || !r || tally_count(r->prevotes.voters) < c->quorum) return false;
    struct core_hash value;
    bool majority = tally_majority(&r->prevotes, c->quorum, &value);
    if (majority && hash_is_zero(&value)) return precommit_nil(c, out);
    if (!majority && all_in(c, &r->prevotes)) return precommit_nil(c, out);
    if (!c->prevote_armed) {
        c->prevote_armed = true;
        c->prevote_at = now_ms + timeout_of(c);
    }
    return false;
}

// Lines 47-48; a quorum for nil, or everybody's word without a quorum for anything, needs no waiting.
static bool rule_precommits(struct consensus *c, uint64_t now_ms, struct outbox *out)
{
    struct tally_round *r = tally_find(&c->tally, c->round);
    if (!r || tally_count(r->precommits.voters) < c->quorum || c->round == INT32_MAX) return false;
    struct core_hash value;
    bool majority = tally_majority(&r->precommits, c->quorum, &value);
    // A lone member whose own value is invalid waits, or it would run through the rounds for ever within one call; and
    // everybody does once all have proposed twice in vain.
    const bool at_once = c->quorum > 1 && c->round < 2 * c->count;
    if (at_once && (majority ? hash_is_zero(&value) : all_in(c, &r->precommits))) {
        consensus_round_start(c, c->round + 1, now_ms, out);
        return true;
    }
    if (!c->precommit_armed) {
        c->precommit_armed = true;
        c->precommit_at = now_ms + timeout_of(c);
    }
    return false;
}

// The bytes of a value, from whatever round they came in.
static bool value_find(struct consensus *c, const struct core_hash *hash, struct slice *value)
{
    for (uint32_t i = 0; i < TALLY_ROUNDS; i++) {
        struct tally_round *r = &c->tally.rounds[i];
        if (!r->used || !r->proposed || !hash_equal(&r->proposal.value, hash)) continue;
        *value = (struct slice){r->value, r->value_size};
        return true;
    }
    if (c->valid_round >= 0 && hash_equal(&c->valid.hash, hash)) {
        *value = (struct slice){c->valid.data, c->valid.size};
        return true;
    }
    return false;
}

// Lines 49-54. valid(v) of line 50 holds already: at least one honest member of the quorum has checked it.
static bool rule_decide(struct consensus *c)
{
    for (uint32_t i = 0; i < TALLY_ROUNDS; i++) {
        struct tally_round *r = &c->tally.rounds[i];
        struct core_hash hash;
        struct slice value;
        if (!r->used || !tally_majority(&r->precommits, c->quorum, &hash) || hash_is_zero(&hash)) continue;
        if (!value_find(c, &hash, &value)) continue;
        uint8_t certificate[LEDGER_CERTIFICATE_LIMIT];
        struct writer w = writer_over(certificate, sizeof certificate);
        ledger_certificate_write(&w, LEDGER_PRECOMMIT, r->round, tally_for(&r->precommits, &hash),
                                 r->precommits.signature);
        check(!w.overflowed);
        consensus_decide(c, r->round, value, &hash, (struct slice){certificate, w.size});
        return true;
    }
    return false;
}

// The latest round that more than `liars` members are in or beyond.
static uint32_t claimed_round(const struct consensus *c, uint32_t liars)
{
    uint32_t target = c->round;
    for (uint32_t i = 0; i < c->count; i++) {
        uint32_t above = 0;
        for (uint32_t k = 0; k < c->count; k++) above += c->peer_round[k] >= c->peer_round[i];
        if (above > liars && c->peer_round[i] > target) target = c->peer_round[i];
    }
    return target;
}

// Where nobody is thought to lie one member's word for a later round is enough, but only SKIP_ROUNDS on, and after any
// skip everybody has a turn first (or the time for it). So one that lies after all disturbs one round in so many as
// there are members, and makes no timeout long.
static uint32_t lone_round(struct consensus *c, uint64_t now_ms)
{
    const uint32_t lone = claimed_round(c, 0);
    if (lone == c->round) return lone;
    const uint64_t turns_ms = c->count * timeout_of(c);
    if (c->skipped && c->round < c->skipped_round + c->count && now_ms < c->skipped_ms + turns_ms) {
        c->skip_at = c->skipped_ms + turns_ms;
        return c->round;
    }
    return lone - c->round > CONSENSUS_SKIP_ROUNDS ? c->round + CONSENSUS_SKIP_ROUNDS : lone;
}

// Lines 55-56: enough members are in a later round that one of them is honest.
static bool rule_skip(struct consensus *c, uint64_t now_ms, struct outbox *out)
{
    uint32_t target = claimed_round(c, c->liars ? c->liars : 1);
    c->skip_at = UINT64_MAX;
    if (target == c->round && !c->liars) target = lone_round(c, now_ms);
    if (target == c->round) return false;
    c->skipped = true;
    c->skipped_round = target;
    c->skipped_ms = now_ms;
    consensus_round_start(c, target, now_ms, out);
    return true;
}

void consensus_round_advance(struct consensus *c, uint64_t now_ms, struct outbox *out)
{
    for (bool again = true; again && !c->decided;) {
        again = rule_decide(c) || rule_skip(c, now_ms, out);
        if (again || !votes_here(c)) continue;
        again = rule_prevote(c, out) || rule_lock(c, out) || rule_prevotes(c, now_ms, out) ||
                rule_precommits(c, now_ms, out);
    }
}

void consensus_round_expire(struct consensus *c, uint64_t now_ms, struct outbox *out)
{
    if (!votes_here(c) || c->decided) return;
    if (c->propose_at <= now_ms) {
        c->propose_at = UINT64_MAX;
        if (c->step == LEDGER_PROPOSE) {  // lines 57-60
            c->step = LEDGER_PREVOTE;
            consensus_own_vote(c, LEDGER_PREVOTE, &nil, out);
        }
    }
    if (c->prevote_at <= now_ms) {
        c->prevote_at = UINT64_MAX;
        if (c->step == LEDGER_PREVOTE) precommit_nil(c, out);  // lines 61-64
    }
    if (c->precommit_at <= now_ms) {
        c->precommit_at = UINT64_MAX;
        if (c->round < INT32_MAX) consensus_round_start(c, c->round + 1, now_ms, out);  // lines 65-67
    }
}
