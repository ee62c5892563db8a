// What may be decided: a cut of a round's commits, the next manifest, or a change of the run's state. What a peer
// proposes and what it judges come from the same functions.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "learn/round_parts.h"

// ---- cuts ----

static bool commit_fits(const struct turn *t, const struct commit *c, const struct core_hash *run)
{
    const struct run_member *m = turn_member(t, c->slot);
    return m && id_equal(&m->id, &c->trainer) && hash_equal(&c->run, run) && c->round == t->round &&
           c->attempt == t->collecting && c->shard_count == t->shards && c->phase == COMMIT_ACKNOWLEDGED;
}

// A first cut, a subset of the cut before (perhaps nobody), or a new one after nobody was left; nobody at all where
// nobody can commit any more.
static bool cut_continues(const struct turn *t, const struct cut *cut)
{
    if (cut->attempt != turn_next_attempt(t)) return false;
    return !t->cut_valid || !(cut->slots & ~t->cut_slots);
}

static enum consensus_validity judge_cut(struct round *r, uint64_t height, struct slice value)
{
    struct cut cut;
    struct turn *t = r->turn;
    if (cut_decode(value, &cut) || r->head.state != RUN_RUNNING) return CONSENSUS_INVALID;
    if (cut.height != height || !hash_equal(&cut.run, &r->run) || cut.round != r->head.round ||
        !hash_equal(&cut.manifest, &r->head_hash))
        return CONSENSUS_INVALID;
    if (!cut_continues(t, &cut)) return CONSENSUS_INVALID;
    for (uint32_t i = 0; i < cut.count; i++) {
        struct commit c;
        if (commit_read(cut.commits[i], &c) || !commit_fits(t, &c, &r->run)) return CONSENSUS_INVALID;
        const struct known *k = &t->known[c.slot];
        if (k->here && k->size == cut.commits[i].size && memcmp(k->bytes, cut.commits[i].data, k->size) == 0) continue;
        if (commit_decode(cut.commits[i], &c)) return CONSENSUS_INVALID;
        (void)turn_commit_add(r, t, cut.commits[i], COMMIT_CHECKED);
    }
    // What only this peer's own state speaks against yields to a quorum's prevotes: others may know more.
    if (!t->cut_valid) return cut.count == 0 && !turn_hopeless(t) ? CONSENSUS_DOUBTED : CONSENSUS_VALID;
    if (t->apply == STEP_DONE) return CONSENSUS_DOUBTED;
    const uint64_t without = t->cut_slots & ~cut.slots;  // lost, as far as this peer can see?
    turn_doubt(t, without & ~t->lost);
    return without & ~t->lost ? CONSENSUS_UNKNOWN : CONSENSUS_VALID;
}

void round_offer_cut(struct round *r, uint64_t slots, uint32_t attempt, uint64_t now_ms, struct outbox *out)
{
    struct turn *t = r->turn;
    struct cut cut = {
        .run = r->run,
        .height = r->height,
        .round = t->round,
        .attempt = attempt,
        .manifest = r->head_hash,
    };
    for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++)
        if (slots & SLOT(slot)) cut.commits[cut.count++] = (struct slice){t->known[slot].bytes, t->known[slot].size};
    uint8_t *bytes = malloc(LEDGER_VALUE_LIMIT);
    check(bytes);
    struct writer w = writer_over(bytes, LEDGER_VALUE_LIMIT);
    cut_encode(&w, &cut);
    check(!w.overflowed);
    round_offer(r, (struct slice){bytes, w.size}, now_ms, out);
    free(bytes);
}

// ---- what continues the chain at all ----

static bool cut_follows(const struct round *r, uint64_t height, struct slice value)
{
    struct cut cut;
    const struct turn *t = r->turn;
    if (cut_decode(value, &cut) || cut.height != height || !hash_equal(&cut.run, &r->run) ||
        cut.round != r->head.round || !hash_equal(&cut.manifest, &r->head_hash) || !cut_continues(t, &cut))
        return false;
    for (uint32_t i = 0; i < cut.count; i++) {
        struct commit c;
        if (commit_read(cut.commits[i], &c) || !commit_fits(t, &c, &r->run)) return false;
    }
    return true;
}

static bool manifest_follows(const struct round *r, uint64_t height, struct slice value)
{
    struct manifest m;
    if (manifest_decode(value, &m) || m.height != height || !hash_equal(&m.run, &r->run) ||
        !hash_equal(&m.previous, &r->head_hash) || m.tensors != r->spec.tensors)
        return false;
    return m.round == r->head.round ? !r->turn->cut_valid : m.round == r->head.round + 1 && r->turn->cut_valid;
}

// What a decided value must be for the chain to go on, whoever decided it. round_judge asks for more before it votes.
bool round_value_follows(const struct round *r, uint64_t height, struct slice value)
{
    switch (value_kind_of(value)) {
    case VALUE_CUT: return cut_follows(r, height, value);
    case VALUE_MANIFEST: return manifest_follows(r, height, value);
    }
    return false;
}

// ---- manifests ----

// Mean loss of the cut, weighted by tokens; slots ascending, so that every peer gets the same bits.
static void add_losses(const struct turn *t, struct manifest *m)
{
    double sum = 0, tokens = 0;
    for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++) {
        if (!(t->cut_slots & SLOT(slot))) continue;
        const struct commit *c = &t->known[slot].commit;
        sum += c->loss * (double)c->tokens;
        tokens += (double)c->tokens;
        m->tokens += c->tokens;
    }
    m->loss = tokens > 0 ? sum / tokens : 0;
}

// What follows from the head, the cut and the outer step: all but who else enters or leaves, and held-out loss.
static void next_manifest(const struct round *r, struct manifest *m)
{
    const struct turn *t = r->turn;
    *m = r->head;
    m->height = r->height;
    m->round = t->round + 1;
    m->attempt = t->attempt;
    m->previous = r->head_hash;
    m->cut = t->cut_hash;
    m->params = t->params;
    m->outer = t->outer;
    memcpy(m->exponents, t->exponents, m->tensors);
    add_losses(t, m);
    m->state = m->round >= r->spec.rounds ? RUN_DONE : RUN_RUNNING;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->member_count; i++) {
        struct run_member member = m->members[i];
        const bool in = t->cut_slots & SLOT(member.slot);
        member.absent = in ? 0 : member.absent + 1;
        member.fresh = !in;
        if (in) {  // where it said it is, and how fast: the next plan's
            const struct commit *c = &t->known[member.slot].commit;
            if (c->bandwidth) member.weight = c->bandwidth;
            member.site = c->site;
            memcpy(member.at, c->at, sizeof member.at);
        }
        if (member.absent < ROUND_ABSENT_MAX) m->members[kept++] = member;
    }
    m->member_count = kept;  // at least the cut's
}

static bool same_member(const struct run_member *a, const struct run_member *b)
{
    return id_equal(&a->id, &b->id) && hash_equal(&a->host, &b->host) && a->slot == b->slot && a->weight == b->weight &&
           a->absent == b->absent && a->dialable == b->dialable && a->fresh == b->fresh && a->site == b->site &&
           memcmp(a->at, b->at, sizeof a->at) == 0;
}

// What this peer has heard of a peer's wish; NULL: nothing.
static const struct run_enter *wish_of(const struct round *r, const struct core_id *id)
{
    for (uint32_t i = 0; i < RUN_MEMBERS_MAX; i++)
        if (r->enters[i].used && id_equal(&r->enters[i].enter.id, id)) return &r->enters[i].enter;
    return NULL;
}

// Who comes in has asked to, and who is left out has asked to or has lied, as far as this peer knows. Others may know
// more; but no proposer makes up members, or gets rid of them, alone.
static bool members_known(const struct round *r, const struct manifest *expected, const struct manifest *m)
{
    for (uint32_t i = 0; i < m->member_count; i++) {
        const struct core_id *id = &m->members[i].id;
        if (run_members_find(expected->members, expected->member_count, id) != UINT32_MAX) continue;
        const struct run_enter *e = wish_of(r, id);
        if (!e || e->leaving || round_liar(r, id) || round_gone(r, id)) return false;
    }
    for (uint32_t i = 0; i < expected->member_count; i++) {
        const struct core_id *id = &expected->members[i].id;
        if (run_members_find(m->members, m->member_count, id) != UINT32_MAX) continue;
        const struct run_enter *e = wish_of(r, id);
        if (!round_liar(r, id) && !(e && e->leaving)) return false;
    }
    return true;
}

// Members of the next manifest: those expected, less who leaves, and newcomers on slots that nobody had.
static bool members_follow(const struct manifest *head, const struct manifest *expected, const struct manifest *m)
{
    for (uint32_t i = 0; i < m->member_count; i++) {
        const struct run_member *member = &m->members[i];
        uint32_t at = run_members_find(expected->members, expected->member_count, &member->id);
        if (at != UINT32_MAX) {
            if (!same_member(member, &expected->members[at])) return false;
            continue;
        }
        if (!member->fresh || member->absent) return false;
        if (run_members_find(head->members, head->member_count, &member->id) != UINT32_MAX) return false;
        if (run_members_slot(head->members, head->member_count, member->slot) != UINT32_MAX) return false;
    }
    return true;
}

static bool encodes_to(const struct manifest *m, struct slice value)
{
    uint8_t bytes[MANIFEST_LIMIT];
    struct writer w = writer_over(bytes, sizeof bytes);
    manifest_encode(&w, m);
    return !w.overflowed && w.size == value.size && memcmp(bytes, value.data, w.size) == 0;
}

static bool state_may_follow(enum run_state from, enum run_state to)
{
    if (from == RUN_RUNNING) return to == RUN_PAUSED || to == RUN_CANCELLED;
    return from == RUN_PAUSED && (to == RUN_RUNNING || to == RUN_CANCELLED);
}

static void state_manifest(const struct round *r, enum run_state state, struct manifest *m)
{
    *m = r->head;
    m->height = r->height;
    m->previous = r->head_hash;
    m->state = state;
}

static enum consensus_validity judge_manifest(struct round *r, struct slice value)
{
    const struct turn *t = r->turn;
    struct manifest m, expected;
    if (manifest_decode(value, &m)) return CONSENSUS_INVALID;
    if (m.round == r->head.round) {
        if (t->cut_valid || !state_may_follow(r->head.state, m.state)) return CONSENSUS_INVALID;
        state_manifest(r, m.state, &expected);
        return encodes_to(&expected, value) ? CONSENSUS_VALID : CONSENSUS_INVALID;
    }
    if (!t->cut_valid || m.round != r->head.round + 1 || m.attempt != t->attempt || !hash_equal(&m.cut, &t->cut_hash))
        return CONSENSUS_INVALID;
    if (t->apply != STEP_DONE) return CONSENSUS_UNKNOWN;
    next_manifest(r, &expected);
    if (!members_follow(&r->head, &expected, &m)) return CONSENSUS_INVALID;
    const bool known = members_known(r, &expected, &m);
    memcpy(expected.members, m.members, sizeof m.members);
    expected.member_count = m.member_count;
    if (m.val_round == m.round) {
        expected.val_round = m.val_round;
        expected.val_loss = m.val_loss;
    }
    if (encodes_to(&expected, value)) return known ? CONSENSUS_VALID : CONSENSUS_DOUBTED;
    if (hash_equal(&expected.params, &m.params)) return CONSENSUS_INVALID;
    turn_mismatch(r, r->turn);
    expected.params = m.params;
    expected.outer = m.outer;
    memcpy(expected.exponents, m.exponents, sizeof expected.exponents);
    return encodes_to(&expected, value) ? CONSENSUS_DOUBTED : CONSENSUS_INVALID;
}

enum consensus_validity round_judge(void *context, uint64_t height, struct slice value)
{
    struct round *r = context;
    if (height != r->height) return CONSENSUS_INVALID;
    switch (value_kind_of(value)) {
    case VALUE_CUT: return judge_cut(r, height, value);
    case VALUE_MANIFEST: return judge_manifest(r, value);
    }
    return CONSENSUS_INVALID;
}

static uint32_t free_slot(const struct manifest *head, const struct manifest *m)
{
    for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++)
        if (run_members_slot(head->members, head->member_count, slot) == UINT32_MAX &&
            run_members_slot(m->members, m->member_count, slot) == UINT32_MAX)
            return slot;
    return UINT32_MAX;
}

static void insert_member(struct manifest *m, const struct run_member *member)
{
    uint32_t at = m->member_count++;
    for (; at > 0 && m->members[at - 1].slot > member->slot; at--) m->members[at] = m->members[at - 1];
    m->members[at] = *member;
}

static void leave_out(struct manifest *m, uint32_t at)
{
    m->member_count--;
    memmove(&m->members[at], &m->members[at + 1], (m->member_count - at) * sizeof m->members[0]);
}

// Who asked to enter or to leave, as far as this peer has heard, and who lied.
static void add_wishes(const struct round *r, struct manifest *m)
{
    for (uint32_t i = 0; i < m->member_count;) {
        if (m->member_count > 1 && round_liar(r, &m->members[i].id))
            leave_out(m, i);
        else
            i++;
    }
    for (uint32_t i = 0; i < RUN_MEMBERS_MAX; i++) {
        const struct run_enter *e = &r->enters[i].enter;
        if (!r->enters[i].used || r->now_ms > r->enters[i].heard_ms + ROUND_ENTER_OLD_MS) continue;
        const uint32_t at = run_members_find(m->members, m->member_count, &e->id);
        if (e->leaving) {
            if (at == UINT32_MAX || m->member_count == 1) continue;
            leave_out(m, at);
            continue;
        }
        const uint32_t slot = free_slot(&r->head, m);
        if (at != UINT32_MAX || slot == UINT32_MAX || round_gone(r, &e->id) || round_liar(r, &e->id) ||
            r->options.state_of(r->options.context, &e->id) != GOSSIP_ALIVE ||  // made up, perhaps
            run_members_find(r->head.members, r->head.member_count, &e->id) != UINT32_MAX)
            continue;
        insert_member(m, &(struct run_member){
                             .id = e->id,
                             .host = e->host,
                             .site = e->site,
                             .at = {e->at[0], e->at[1], e->at[2]},
                             .slot = slot,
                             .weight = e->weight,
                             .dialable = e->dialable,
                             .fresh = true,
                         });
    }
}

static void offer_bytes(struct round *r, const struct manifest *m, uint64_t now_ms, struct outbox *out)
{
    uint8_t bytes[MANIFEST_LIMIT];
    struct writer w = writer_over(bytes, sizeof bytes);
    manifest_encode(&w, m);
    check(!w.overflowed);
    round_offer(r, (struct slice){bytes, w.size}, now_ms, out);
}

void round_offer_manifest(struct round *r, uint64_t now_ms, struct outbox *out)
{
    const struct turn *t = r->turn;
    if (!hash_is_zero(&r->offered) && !r->turn->lost_told) return;  // once is enough
    struct manifest m;
    next_manifest(r, &m);
    add_wishes(r, &m);
    if (t->evaluated) {
        m.val_round = m.round;
        m.val_loss = t->val_loss;
    }
    offer_bytes(r, &m, now_ms, out);
}

void round_offer_state(struct round *r, enum run_state state, uint64_t now_ms, struct outbox *out)
{
    struct manifest m;
    state_manifest(r, state, &m);
    offer_bytes(r, &m, now_ms, out);
}

// The state that somebody's command asks for, if the run can go there now.
bool round_command_state(const struct round *r, enum run_state *state)
{
    static const enum run_state states[] = {
        [RUN_PAUSE] = RUN_PAUSED, [RUN_RESUME] = RUN_RUNNING, [RUN_CANCEL] = RUN_CANCELLED};
    if (!r->wanted_valid || r->turn->cut_valid) return false;
    *state = states[r->wanted.kind];
    return state_may_follow(r->head.state, *state);
}
