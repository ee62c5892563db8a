// A run of training rounds on one peer. Start reading here.
//
// A run is a chain of decided values, one a height. Height 0 is the genesis manifest, which the spec implies. Then
//
//     manifest r --CUT(r, 0)--> [CUT(r, 1) ...] --MANIFEST(r+1)--> manifest r + 1 --CUT(r+1, 0)--> ...
//         |            '--CUT(r, 1) with nobody in it: all of CUT(r, 0) is lost; the round collects anew, for attempt 2
//         '--MANIFEST(r), another state (pause, resume, cancel): only before the round's first cut
//
// Everything that counts is a function of that chain; the rest (which blobs are here, who has answered) is repaired
// whenever it is lost. So there is no state variable that says where the round stands: `round_advance` looks at the
// facts after every event and does what they allow. `round_stage_now` names the result for people:
//
//   stage        facts                                                     leaves it by
//   CATCHING     others have decided heights that are not here             RUN_DECISION
//   FETCHING     dataset or the head's parameters are not here             WORK_FETCH done
//   WATCHING     not in the head's electorate                              ENTER, then a manifest that counts it in
//   TRAINING     parameters here, own update not                           WORK_TRAIN done
//   HANDING      own shards not all on a second peer                       DATA_ACK of each; then the commit is cast
//   COLLECTING   no cut yet                                                all commits in, or the deadline: CUT decided
//   SUMMING      cut decided, result's shards not all here                 sums pushed, pulled, computed (round_sum.c)
//   APPLYING     result here, new parameters not                           WORK_APPLY done
//   AGREEING     new parameters here                                       MANIFEST decided
//   PAUSED, ENDED  the head's state says so                                RESUME decided; never
//
// Invariants (tools/sim checks 1 to 6 from outside)
//   1. One value a height: consensus, whose votes are durable before they are sent. A peer that comes back asks the
//      others first what it has signed (round_recall.c).
//   2. A peer votes for MANIFEST(r+1) only if it computed those parameters itself, from the decided cut, or was shown
//      that a quorum did (its prevotes).
//   3. A sum carries the set of contributions in it. It is used only where that set is the decided cut's below its
//      group, and replaced, never added to, when it comes again: each contribution counts exactly once.
//   4. A commit is announced only when durable, and an update that differs from it is never announced for that round
//      and collecting attempt (turn.collecting). A cut of nobody voids every commit of its attempt for all: then each
//      trainer trains again, where its inner state is lost from a fresh one. Blobs of contributions carry the attempt,
//      so that bytes of a void one are never taken for a new one's.
//   5. A commit is cast as acknowledged only when another peer holds each shard.
//   6. What a crash leaves durable leads to the same next state: decisions and votes are replayed, training and sums
//      are done again and give the same bits.
//   7. No wait is without a timer, and none is silent: what is missing is asked for again (struct retry), from the next
//      candidate each time, and round_status.c names it.
//   8. On the way without faults nothing waits for a timer.
//   9. A member that lies alone stops nothing for good and changes nothing that its quorum bears (docs/aggregation.md):
//      what it claims is looked for, what it sums is summed again where parameters differ, what it signs twice is
//      proof.
//
// Files: round_chain.c entering what was decided; round_records.c the disk; round_values.c what may be decided;
// round_collect.c training to cut; round_sum.c cut to result, with round_pull.c what is missing; round_finish.c result
// to manifest; round_data.c bulk by key; round_recall.c after a restart; round_heads.c catching up, entering;
// round_lost.c contributions that nobody has; round_dispute.c parameters that differ; round_fork.c two decisions for
// one height; round_evidence.c who lied; round_others.c what is held against each member; round_status.c for people.
#include "learn/round.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "learn/round_parts.h"

static enum core_err open_turn(struct turn **out)
{
    struct turn *t = calloc(1, sizeof *t);
    if (!t) return CORE_ERR_NO_MEMORY;
    *out = t;
    t->items = calloc(TREE_GROUPS(RUN_MEMBERS_MAX) * TREE_SHARD_MAX, sizeof *t->items);
    if (!t->items) return CORE_ERR_NO_MEMORY;
    return tree_plan_open(&t->plan, RUN_MEMBERS_MAX);
}

static void close_turn(struct turn *t)
{
    if (!t) return;
    tree_plan_close(&t->plan);
    free(t->items);
    free(t);
}

enum core_err round_open(struct round **out, const struct round_options *options, struct slice bytes, uint64_t now_ms)
{
    struct round *r = calloc(1, sizeof *r);
    if (!r) return CORE_ERR_NO_MEMORY;
    r->options = *options;
    r->now_ms = r->opened_ms = r->head_ms = r->stage_ms = now_ms;
    r->mute = true;
    enum core_err err = run_spec_decode(bytes, &r->spec, &r->run);
    check(!err);
    const struct consensus_options consensus = {
        .run = r->run,
        .key = options->key,
        .model = r->spec.fault_model,
        .value_limit = LEDGER_VALUE_LIMIT,
        .judge = round_judge,
        .convict = round_votes_conflict,
        .context = r,
        .events = options->events,
    };
    err = open_turn(&r->turn);
    if (!err) err = open_turn(&r->before);
    if (!err) err = consensus_open(&r->consensus, &consensus);
    r->spec_bytes = malloc(bytes.size);
    r->log_capacity = 64;
    r->log = calloc(r->log_capacity, sizeof *r->log);
    if (!err && (!r->spec_bytes || !r->log)) err = CORE_ERR_NO_MEMORY;
    if (err) {
        round_close(r);
        return err;
    }
    memcpy(r->spec_bytes, bytes.data, bytes.size);
    r->spec_size = (uint32_t)bytes.size;
    *out = r;
    return CORE_ERR_OK;
}

void round_close(struct round *r)
{
    if (!r) return;
    consensus_close(r->consensus);
    close_turn(r->turn);
    close_turn(r->before);
    round_votes_forget(r);
    round_evidence_forget(r);
    for (uint64_t i = 0; r->log && i < r->log_count; i++) free(r->log[i].value);
    free(r->votes);
    free(r->log);
    free(r->spec_bytes);
    free(r);
}

// ---- small questions ----

void round_wake(struct round *r, uint64_t when_ms)
{
    if (when_ms < r->wake_ms) r->wake_ms = when_ms;
}

bool round_gone(const struct round *r, const struct core_id *id)
{
    if (id_equal(id, &r->options.key->id)) return false;
    if (round_halted(r, id)) return true;
    return r->options.state_of(r->options.context, id) >= GOSSIP_DEAD;
}

const struct run_member *turn_member(const struct turn *t, uint32_t slot)
{
    uint32_t index = run_members_slot(t->manifest.members, t->manifest.member_count, slot);
    return index == UINT32_MAX ? NULL : &t->manifest.members[index];
}

bool round_slot_gone(const struct round *r, const struct turn *t, uint32_t slot)
{
    const struct run_member *m = turn_member(t, slot);
    return !m || round_gone(r, &m->id);
}

uint32_t turn_next_attempt(const struct turn *t)
{
    return t->cut_valid || t->reopened ? t->attempt + 1 : 0;
}

bool round_behind(const struct round *r)
{
    return r->ahead > r->height && r->now_ms < r->ahead_ms + ROUND_AHEAD_MS;
}

uint64_t round_backoff(const struct round *r, uint32_t tries, uint64_t bytes)
{
    const uint64_t first = r->options.resend_ms + 2 * bytes / r->options.bytes_per_ms;
    return first * (tries < 3 ? UINT64_C(1) << tries : ROUND_BACKOFF);
}

uint32_t round_quorum(const struct round *r)
{
    return ledger_quorum(r->spec.fault_model, r->head.member_count);
}

struct turn *round_turn(struct round *r, uint64_t round)
{
    if (r->turn->valid && r->turn->round == round) return r->turn;
    if (r->before->valid && r->before->round == round) return r->before;
    return NULL;
}

bool round_ended(const struct round *r)
{
    return r->head.state == RUN_DONE || r->head.state == RUN_CANCELLED;
}

const struct core_hash *round_run(const struct round *r)
{
    return &r->run;
}

const struct run_spec *round_spec(const struct round *r)
{
    return &r->spec;
}

struct slice round_spec_bytes(const struct round *r)
{
    return (struct slice){r->spec_bytes, r->spec_size};
}

// ---- the start ----

void round_start(struct round *r, enum round_origin origin, uint64_t now_ms, struct outbox *out)
{
    check(!r->started);
    r->now_ms = now_ms;
    r->started = true;
    r->mute = false;
    if (r->height == 0) {
        const size_t mark = out->count;
        round_genesis(r, now_ms, out);
        round_settle(r, mark, now_ms, out);
    }
    r->head_ms = r->turn->started_ms = now_ms;
    round_params_find(r);
    if (origin == ROUND_RESTORED && r->head.member_count > 1) r->listen_until_ms = now_ms + ROUND_LISTEN_MS;
    if (origin != ROUND_MADE) round_recall_start(r, origin == ROUND_HEARD, now_ms, out);
    round_send_heads(r, out);
    round_advance(r, now_ms, out);
}

// ---- events ----

static void believe(struct round *r, uint64_t now_ms, struct outbox *out)
{
    uint64_t dead = 0;
    for (uint32_t i = 0; i < r->head.member_count; i++)
        if (round_gone(r, &r->head.members[i].id)) dead |= SLOT(i);
    const size_t mark = out->count;
    consensus_believe(r->consensus, dead, now_ms, out);
    round_settle(r, mark, now_ms, out);
}

void round_members_changed(struct round *r, uint64_t now_ms, struct outbox *out)
{
    if (!r->started || r->frozen) return;
    r->now_ms = now_ms;
    round_advance(r, now_ms, out);
}

void round_link_up(struct round *r, const struct core_id *other, uint64_t now_ms, struct outbox *out)
{
    (void)now_ms;
    if (r->started && !r->frozen) round_send_head(r, other, out);
}

// A vote or proposal of another height: help whoever is behind.
static void help(struct round *r, const struct core_id *from, const struct message *m, enum consensus_verdict verdict,
                 uint64_t now_ms, struct outbox *out)
{
    if (verdict == CONSENSUS_BEHIND) {
        round_pull(r, from, now_ms, out);
        return;
    }
    struct slice bytes = m->type == MESSAGE_RUN_VOTE ? m->run_vote.vote : m->run_proposal.proposal;
    struct reader in = reader_over(bytes.data, bytes.size);
    struct ledger_vote vote;
    if (!ledger_vote_read(&in, &vote) && round_answers(r, from, 1)) round_send_decision(r, from, vote.height, out);
}

enum core_err round_message(struct round *r, const struct core_id *from, const struct message *m, uint64_t now_ms,
                            struct outbox *out)
{
    if (r->broken) {
        r->now_ms = now_ms;
        round_broken_message(r, from, m, out);
    }
    if (!r->started || r->frozen) return CORE_ERR_OK;
    r->now_ms = now_ms;
    enum core_err err = CORE_ERR_OK;
    struct blob_key key;
    switch (m->type) {
    case MESSAGE_RUN_VOTE:
    case MESSAGE_RUN_PROPOSAL: {
        if (round_ended(r)) {
            help(r, from, m, CONSENSUS_STALE, now_ms, out);
            return CORE_ERR_OK;
        }
        const size_t mark = out->count;
        enum consensus_verdict verdict = consensus_message(r->consensus, from, m, now_ms, out);
        round_settle(r, mark, now_ms, out);
        if (verdict == CONSENSUS_REFUSED) err = CORE_ERR_REFUSED;
        if (verdict == CONSENSUS_BEHIND || verdict == CONSENSUS_STALE) help(r, from, m, verdict, now_ms, out);
        break;
    }
    case MESSAGE_DATA_PULL:
        err = blob_key_of_pull(&key, &m->data_pull);
        if (!err) round_pulled(r, from, &key, now_ms, out);
        break;
    case MESSAGE_DATA_ACK: {
        err = blob_key_of_ack(&key, &m->data_ack);
        struct turn *t = err ? NULL : round_turn(r, key.round);
        uint32_t index = t ? run_members_find(t->manifest.members, t->manifest.member_count, from) : UINT32_MAX;
        if (index == UINT32_MAX) break;
        const uint32_t slot = t->manifest.members[index].slot;
        if (m->data_ack.have)
            round_acked(r, t, slot, &key, now_ms, out);
        else if (key.kind == ROUND_CONTRIBUTION && key.attempt == t->collecting)
            t->known[key.slot].negative[key.shard] |= SLOT(slot);
        break;
    }
    case MESSAGE_RUN_COMMIT: {
        struct commit c;
        err = commit_decode(m->run_commit.commit, &c);
        if (!err) round_commit_heard(r, m->run_commit.commit, now_ms, out);
        return err;
    }
    default: err = round_heads_message(r, from, m, now_ms, out);
    }
    round_advance(r, now_ms, out);
    return err;
}

void round_commit_heard(struct round *r, struct slice bytes, uint64_t now_ms, struct outbox *out)
{
    if (!r->started || r->frozen) return;
    r->now_ms = now_ms;
    if (turn_commit_add(r, r->turn, bytes, COMMIT_CHECKED)) {
        round_evidence_tell(r, out);
        return;
    }
    round_advance(r, now_ms, out);
}

void round_command_heard(struct round *r, const struct run_command *command, uint64_t now_ms, struct outbox *out)
{
    if (!r->started || r->frozen || command->height + RUN_COMMAND_HEIGHTS < r->height) return;
    r->now_ms = now_ms;
    r->wanted = *command;
    r->wanted_valid = true;
    r->wanted_mine = id_equal(&command->author, &r->options.key->id);
    r->next_command_ms = now_ms + ROUND_ENTER_MS;
    round_advance(r, now_ms, out);
}

static void fetched(struct round *r, const struct work_result *result, uint64_t now_ms)
{
    if (result->fetch.what == FETCH_DATASET) {
        r->dataset_asked = false;
        if (result->err)
            r->dataset_retry_ms = now_ms + ROUND_RETRY_MS;
        else
            r->dataset_here = true;
        return;
    }
    r->fetching = false;
    if (result->err) {
        r->fetch_retry_ms = now_ms + ROUND_RETRY_MS;
    } else if (result->round == r->head.round && hash_equal(&result->fetch.object, &r->head.params)) {
        if (!r->params_here) r->inner_here = false;
        r->params_here = true;
    }
}

static void applied(struct round *r, const struct work_result *result, uint64_t now_ms)
{
    struct turn *t = round_turn(r, result->round);
    if (!t || t->apply != STEP_RUNNING || !t->cut_valid || result->attempt != t->attempt) return;
    if (result->err) {
        t->apply = STEP_NONE;
        t->apply_retry_ms = now_ms + ROUND_RETRY_MS;
        // Perhaps the inner state that the own training left is gone: it is made again.
        if (result->err == CORE_ERR_NOT_FOUND && t->apply_kept_inner && t == r->turn) t->train = STEP_NONE;
        return;
    }
    t->apply = STEP_DONE;
    t->applied_ms = now_ms;
    t->params = result->apply.params_hash;
    t->outer = result->apply.outer_hash;
    t->evaluated = result->apply.evaluated;
    t->val_loss = result->apply.val_loss;
    memcpy(t->exponents, result->apply.exponents, sizeof t->exponents);
    round_dispute_over(r, t);
    if (t != r->before || r->params_here) return;
    round_params_find(r);
    if (!r->params_here)
        event_emit(&r->options.events, "round.diverged", EV_HASH("run", &r->run), EV_U64("round", r->head.round),
                   EV_HASH("own", &t->params), EV_HASH("decided", &r->head.params));
}

void round_work_done(struct round *r, const struct work_result *result, uint64_t now_ms, struct outbox *out)
{
    if (!r->started || r->frozen) return;
    r->now_ms = now_ms;
    r->work_error = result->err;
    switch (result->kind) {
    case WORK_TRAIN: round_trained(r, result, now_ms, out); break;
    case WORK_REDUCE: round_reduced(r, result, now_ms, out); break;
    case WORK_APPLY: applied(r, result, now_ms); break;
    case WORK_FETCH: fetched(r, result, now_ms); break;
    case WORK_DROP: break;
    }
    round_advance(r, now_ms, out);
}

void round_hold(struct round *r, bool held, uint64_t now_ms, struct outbox *out)
{
    if (r->held == held) return;
    r->held = held;
    r->turn->started_ms = now_ms;
    if (r->started && !r->frozen) round_advance(r, now_ms, out);
}

void round_tick(struct round *r, uint64_t now_ms, struct outbox *out)
{
    if (r->started && r->frozen) round_halted_tick(r, now_ms, out);
    if (!r->started || r->frozen) return;
    r->now_ms = now_ms;
    if (!round_ended(r)) {
        const size_t mark = out->count;
        consensus_tick(r->consensus, now_ms, out);
        round_settle(r, mark, now_ms, out);
    }
    round_heads_tick(r, now_ms, out);
    round_advance(r, now_ms, out);
}

uint64_t round_next_ms(const struct round *r)
{
    if (!r->started) return UINT64_MAX;
    if (r->frozen) return round_ended(r) && !r->broken ? UINT64_MAX : r->next_head_ms;
    uint64_t next = r->wake_ms < r->next_head_ms ? r->wake_ms : r->next_head_ms;
    if (round_ended(r)) return next;
    uint64_t votes = consensus_next_ms(r->consensus);
    return votes < next ? votes : next;
}

// ---- what the facts allow ----

static void ask_fetch(struct round *r, enum work_fetched what, struct outbox *out)
{
    struct work_fetch fetch = {.run = r->run, .what = what, .round = r->head.round};
    fetch.object = what == FETCH_DATASET ? r->spec.dataset : r->head.params;
    if (what == FETCH_PARAMS) fetch.outer = r->head.outer;
    outbox_work(out, WORK_FETCH, &fetch, sizeof fetch);
}

// Dataset and parameters. A straggler first tries to finish the round that the others closed: that keeps its inner
// state.
static void fetch(struct round *r, uint64_t now_ms, struct outbox *out)
{
    if (r->options.observe) return;
    if (!r->dataset_here && !r->dataset_asked) {
        if (now_ms < r->dataset_retry_ms) {
            round_wake(r, r->dataset_retry_ms);
        } else {
            r->dataset_asked = true;
            ask_fetch(r, FETCH_DATASET, out);
        }
    }
    const struct turn *t = r->before;
    if (r->params_here || r->turn->self == UINT32_MAX || r->head.state == RUN_CANCELLED) return;
    if (r->fetching) return;
    const bool may_finish = t->valid && t->cut_valid && t->params_here && t->round + 1 == r->head.round &&
                            t->self != UINT32_MAX && t->apply != STEP_DONE;
    const bool working =
        may_finish && (t->train == STEP_RUNNING || t->apply == STEP_RUNNING || turn_results_here(r, t));
    if (working && now_ms < r->head_ms + 10 * ROUND_STRAGGLE_MS) {
        round_wake(r, r->head_ms + 10 * ROUND_STRAGGLE_MS);
        return;
    }
    if (may_finish && !working && now_ms < r->head_ms + ROUND_STRAGGLE_MS) {
        round_wake(r, r->head_ms + ROUND_STRAGGLE_MS);
        return;
    }
    if (now_ms < r->fetch_retry_ms) {
        round_wake(r, r->fetch_retry_ms);
        return;
    }
    r->fetching = true;
    r->fetch_round = r->head.round;
    ask_fetch(r, FETCH_PARAMS, out);
}

static void clear(struct round *r, uint64_t now_ms, struct outbox *out)
{
    if (!r->clear_ms) return;
    if (now_ms < r->clear_ms) {
        round_wake(r, r->clear_ms);
        return;
    }
    r->clear_ms = 0;
    const struct work_drop drop = {.run = r->run, .before_round = UINT64_MAX};
    outbox_work(out, WORK_DROP, &drop, sizeof drop);
}

static void note_stage(struct round *r, uint64_t now_ms)
{
    const enum round_stage stage = round_stage_now(r);
    if (stage == r->stage) return;
    r->stage = stage;
    r->stage_ms = now_ms;
    event_emit(&r->options.events, "round.stage", EV_HASH("run", &r->run), EV_U64("round", r->head.round),
               EV_TEXT("stage", round_stage_name(stage)));
}

void round_advance(struct round *r, uint64_t now_ms, struct outbox *out)
{
    if (!r->started || r->frozen) return;
    r->now_ms = now_ms;
    uint64_t height;
    do {  // a value decided on the way opens new work
        height = r->height;
        r->wake_ms = UINT64_MAX;
        if (round_ended(r)) {
            fetch(r, now_ms, out);  // the result is everybody's
            if (r->before->valid && !r->params_here) round_sum(r, r->before, now_ms, out);
            clear(r, now_ms, out);
            break;
        }
        round_claims_check(r, now_ms);
        believe(r, now_ms, out);
        round_recall(r, now_ms, out);
        if (r->height != height) continue;
        if (now_ms < r->listen_until_ms) {
            round_wake(r, r->listen_until_ms);
            break;
        }
        if (round_behind(r)) {
            round_wake(r, r->ahead_ms + ROUND_AHEAD_MS);
            break;
        }
        fetch(r, now_ms, out);
        if (r->before->valid && !r->params_here) round_sum(r, r->before, now_ms, out);
        enum run_state wanted;
        if (round_command_state(r, &wanted)) round_offer_state(r, wanted, now_ms, out);
        if (r->height != height || r->head.state != RUN_RUNNING || r->turn->self == UINT32_MAX) continue;
        round_collect(r, r->turn, now_ms, out);
        if (r->height == height && r->turn->cut_valid) round_sum(r, r->turn, now_ms, out);
    } while (r->height != height);
    round_evidence_tell(r, out);
    note_stage(r, now_ms);
}
