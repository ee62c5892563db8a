// The chain of decided values: each is appended, written, and entered as a new manifest or as the round's cut.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "learn/round_parts.h"

void round_height_start(struct round *r, uint64_t now_ms, struct outbox *out)
{
    struct core_id ids[RUN_MEMBERS_MAX];
    for (uint32_t i = 0; i < r->head.member_count; i++) ids[i] = r->head.members[i].id;
    r->height = r->log_count + 1;
    r->offered = (struct core_hash){0};
    round_votes_forget(r);
    round_recall_height(r, now_ms, out);
    consensus_start(r->consensus, r->height, ids, r->head.member_count, now_ms, out);
}

// What is durable here of the parameters that the head names.
void round_params_find(struct round *r)
{
    r->params_here = r->inner_here = false;
    const struct turn *t = r->before;
    if (t->valid && t->apply == STEP_DONE && t->round + 1 == r->head.round && hash_equal(&t->params, &r->head.params)) {
        r->params_here = true;
        r->inner_here = t->apply_kept_inner;
    }
    for (uint32_t i = 0; i < r->durable_count; i++) {
        if (r->durable[i].round != r->head.round || !hash_equal(&r->durable[i].hash, &r->head.params)) continue;
        r->params_here = true;
        r->inner_here |= r->durable[i].inner;
    }
}

static void open_round(struct round *r, uint64_t now_ms)
{
    struct turn *t = r->turn;
    struct item *items = t->items;
    struct tree_plan plan = t->plan;
    memset(t, 0, sizeof *t);
    t->items = items;
    t->plan = plan;
    t->alone = r->careful;
    t->valid = true;
    t->round = r->head.round;
    t->manifest = r->head;
    t->started_ms = now_ms;
    uint32_t index = run_members_find(r->head.members, r->head.member_count, &r->options.key->id);
    t->self = index == UINT32_MAX ? UINT32_MAX : r->head.members[index].slot;
    enum core_err err = turn_plan(r, t, 0);
    check(!err);  // a decoded manifest's members always make a plan
}

// How long the round before took to be ready for its cut, for the deadline of later ones.
static void note_duration(struct round *r)
{
    const struct turn *t = r->turn;
    // Rounds that this peer only heard about while it caught up say nothing of how long one takes.
    if (!t->valid || !t->cut_valid || !t->last_commit_ms || !t->acknowledged) return;
    uint64_t took = t->last_commit_ms > t->started_ms ? t->last_commit_ms - t->started_ms : 0;
    r->durations[r->duration_count++ % ROUND_HISTORY] = took;
}

void round_enter(struct round *r, const struct manifest *m, const struct core_hash *hash, uint64_t now_ms,
                 struct outbox *out)
{
    const bool next = m->height == 0 || m->round != r->head.round;
    const struct manifest old = r->head;
    if (next) note_duration(r);
    r->head = *m;
    r->head_hash = *hash;
    r->head_ms = now_ms;
    if (m->state == RUN_DONE || m->state == RUN_CANCELLED) r->clear_ms = now_ms + 60000;
    if (next) {
        struct turn *t = r->before;
        r->before = r->turn;
        r->turn = t;
        open_round(r, now_ms);
        round_params_find(r);
        if (!r->mute && m->round > 0) {
            const struct work_drop drop = {.run = r->run, .before_round = m->round - 1};
            outbox_work(out, WORK_DROP, &drop, sizeof drop);
        }
    } else {
        r->turn->started_ms = now_ms;  // the deadline starts anew after a pause
    }
    event_emit(&r->options.events, "round.manifest", EV_HASH("run", &r->run), EV_U64("round", m->round),
               EV_HASH("params", &m->params), EV_TEXT("state", run_state_name(m->state)),
               EV_U64("members", m->member_count));
    if (r->mute) return;
    for (uint32_t i = 0; next && i < m->member_count; i++)  // who is counted in by this manifest waits for it
        if (m->height > 0 && run_members_find(old.members, old.member_count, &m->members[i].id) == UINT32_MAX &&
            !id_equal(&m->members[i].id, &r->options.key->id))
            round_send_head(r, &m->members[i].id, out);
}

static void take_cut(struct round *r, struct turn *t, const struct cut *cut, const struct core_hash *hash,
                     uint64_t height, uint64_t now_ms, struct outbox *out)
{
    t->cut_valid = true;
    t->reopened = false;
    t->attempt = cut->attempt;
    t->cut_slots = cut->slots;
    t->cut_hash = *hash;
    t->cut_height = height;
    // The cut holds another update of this peer's than it has here: its disk was older than its last word.
    if (t->self != UINT32_MAX && cut->slots & SLOT(t->self) && t->train == STEP_DONE && t->known[t->self].holds == 0) {
        t->train = STEP_NONE;
        t->unfit = true;
    }
    turn_cut(r, t, now_ms, out);
}

// Appends a decided value, whose certificate was checked, and enters what it opens.
static void take(struct round *r, struct slice value, struct slice certificate, uint64_t now_ms, struct outbox *out)
{
    if (r->log_count == r->log_capacity) {
        struct decided *log = realloc(r->log, 2 * r->log_capacity * sizeof *log);
        check(log);
        r->log = log;
        r->log_capacity *= 2;
    }
    struct decided d = {.value_size = (uint32_t)value.size, .certificate_size = (uint32_t)certificate.size};
    d.value = malloc(value.size + certificate.size + 1);
    check(d.value);
    d.certificate = d.value + value.size;
    memcpy(d.value, value.data, value.size);
    memcpy(d.certificate, certificate.data, certificate.size);
    d.kind = value_kind_of(value);
    d.round = r->head.round;
    const struct core_hash hash = hash_bytes(value.data, value.size);
    const uint64_t height = r->log_count + 1;
    r->last = hash;
    value.data = d.value;
    r->log[r->log_count++] = d;
    if (!r->mute) round_decision_persist(r, height, out);
    if (d.kind == VALUE_MANIFEST) {
        struct manifest m;
        enum core_err err = manifest_decode(value, &m);
        check(!err);  // a quorum judged it
        r->log[height - 1].round = m.round;
        round_enter(r, &m, &hash, now_ms, out);
    } else {
        struct cut cut;
        enum core_err err = cut_decode(value, &cut);
        check(!err);
        struct turn *t = r->turn;
        for (uint32_t i = 0; i < cut.count; i++) {
            err = turn_commit_add(r, t, cut.commits[i], COMMIT_DECIDED);
            check(!err);
        }
        if (cut.count == 0)
            turn_reopen(t, cut.attempt, now_ms);
        else
            take_cut(r, t, &cut, &hash, height, now_ms, out);
        event_emit(&r->options.events, "round.cut", EV_HASH("run", &r->run), EV_U64("round", cut.round),
                   EV_U64("attempt", cut.attempt), EV_U64("commits", cut.count));
    }
    if (!round_ended(r)) round_height_start(r, now_ms, out);
}

void round_take(struct round *r, uint64_t now_ms, struct outbox *out)
{
    const struct consensus_decision *d;
    while (!r->broken && !round_ended(r) && (d = consensus_decision(r->consensus)) && d->height == r->height) {
        if (!round_value_follows(r, d->height, d->value)) {
            round_broken(r, "a decision that does not continue the chain");
            return;
        }
        const size_t mark = out->count;
        take(r, d->value, d->certificate, now_ms, out);
        round_votes_wrap(r, mark, out);  // a height may begin with votes for messages that came early
    }
}

void round_settle(struct round *r, size_t mark, uint64_t now_ms, struct outbox *out)
{
    round_votes_wrap(r, mark, out);
    round_take(r, now_ms, out);
}

void round_offer(struct round *r, struct slice value, uint64_t now_ms, struct outbox *out)
{
    const struct core_hash hash = hash_bytes(value.data, value.size);
    if (hash_equal(&hash, &r->offered)) return;
    r->offered = hash;
    const size_t mark = out->count;
    consensus_offer(r->consensus, value, now_ms, out);
    round_settle(r, mark, now_ms, out);
}

// Height 0 is what the spec implies.
void round_genesis(struct round *r, uint64_t now_ms, struct outbox *out)
{
    struct manifest genesis;
    manifest_genesis(&genesis, &r->spec, &r->run);
    const struct core_hash hash = manifest_hash(&genesis);
    r->last = hash;
    round_enter(r, &genesis, &hash, now_ms, out);
    round_height_start(r, now_ms, out);
}
