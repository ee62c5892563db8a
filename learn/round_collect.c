// From a manifest to the cut: own training, handing its shards over, collecting everybody's commits.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "learn/round_parts.h"

// ---- commits ----

uint64_t turn_committed(const struct turn *t)
{
    uint64_t slots = 0;
    for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++)
        if (t->known[slot].here && t->known[slot].commit.phase == COMMIT_ACKNOWLEDGED) slots |= SLOT(slot);
    return slots;
}

bool turn_hopeless(const struct turn *t)
{
    return t->unfit && !turn_committed(t);
}

// Whether a commit replaces another of its trainer: the acknowledged one what was only announced, the decided one all.
static bool replaces(const struct turn *t, const struct known *k, const struct commit *c, enum commit_source source)
{
    if (source == COMMIT_DECIDED) return true;
    const bool decided = t->cut_valid && t->cut_slots & SLOT(c->slot);
    return !decided && c->phase == COMMIT_ACKNOWLEDGED && k->commit.phase == COMMIT_ANNOUNCED;
}

// Keeps a commit of this turn's round and attempt, announced or acknowledged. OK also when it was known; NOT_FOUND for
// another one or a stranger; EXISTS when it contradicts a better one: then its trainer lied.
enum core_err turn_commit_add(struct round *r, struct turn *t, struct slice bytes, enum commit_source source)
{
    struct commit c;
    enum core_err err = commit_read(bytes, &c);
    if (err) return err;
    if (!t->valid || c.round != t->round || c.attempt != t->collecting || !hash_equal(&c.run, &r->run))
        return CORE_ERR_NOT_FOUND;
    const struct run_member *m = turn_member(t, c.slot);
    if (!m || !id_equal(&m->id, &c.trainer)) return CORE_ERR_NOT_FOUND;
    if (c.shard_count != t->shards) return CORE_ERR_MALFORMED;
    struct known *k = &t->known[c.slot];
    if (k->here && commit_same_work(&k->commit, &c) && k->commit.phase >= c.phase) return CORE_ERR_OK;
    if (source == COMMIT_UNCHECKED && (err = commit_decode(bytes, &c))) return err;
    if (k->here && !commit_same_work(&k->commit, &c)) {
        round_commits_conflict(r, (struct slice){k->bytes, k->size}, bytes);
        if (!replaces(t, k, &c, source)) return CORE_ERR_EXISTS;
        k->holds = 0;
    }
    k->here = true;
    k->commit = c;
    k->size = (uint16_t)bytes.size;
    memmove(k->bytes, bytes.data, bytes.size);
    if (c.phase == COMMIT_ACKNOWLEDGED && !t->cut_valid) t->last_commit_ms = r->now_ms;
    return CORE_ERR_OK;
}

struct blob_key turn_contribution_key(const struct round *r, const struct turn *t, uint32_t slot, uint32_t shard)
{
    return (struct blob_key){.run = r->run,
                             .round = t->round,
                             .attempt = t->collecting,
                             .kind = ROUND_CONTRIBUTION,
                             .shard = shard,
                             .slot = slot};
}

// A cut of nobody: what it followed is lost, or nobody could commit. Every word for that attempt is void, and whoever
// can train does so again: with the same bits where its inner state is still here, from a fresh one otherwise.
void turn_reopen(struct turn *t, uint32_t attempt, uint64_t now_ms)
{
    memset(t->known, 0, sizeof t->known);
    memset(t->hand, 0, sizeof t->hand);
    memset(t->acked, 0, sizeof t->acked);
    t->attempt = attempt;
    t->collecting = attempt + 1;
    t->cut_slots = t->doubted = t->lost = t->lost_told = 0;
    t->mismatches = 0;
    t->cut_valid = t->cut_offered = t->unfit = t->acknowledged = false;
    t->reopened = true;
    t->train = t->apply = STEP_NONE;
    t->train_retry_ms = t->handed_ms = 0;
    t->started_ms = now_ms;
}

// ---- training ----

static void ask_train(struct round *r, struct turn *t, struct outbox *out)
{
    struct work_train work = {
        .run = r->run,
        .params_hash = t->manifest.params,
        .round = t->round,
        .elements = r->spec.elements,
        .first_step = t->round * r->spec.hyper.inner_steps,
        .total_steps = (uint64_t)r->spec.rounds * r->spec.hyper.inner_steps,
        .slot = t->self,
        .attempt = t->collecting,
        .steps = r->spec.hyper.inner_steps,
        .shards = t->shards,
        .tensors = r->spec.tensors,
        .fresh = turn_member(t, t->self)->fresh || !r->inner_here,
    };
    t->train_fresh = work.fresh;
    memcpy(work.exponents, t->manifest.exponents, work.tensors);
    t->train = STEP_RUNNING;
    t->known[t->self].holds = 0;  // what others have sent of it is written over
    outbox_work(out, WORK_TRAIN, &work, sizeof work);
}

static void train(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out)
{
    if (t->train != STEP_NONE || t->unfit || r->held || r->options.observe) return;
    if (!r->params_here || !r->dataset_here || r->recalling) return;  // its own commit of before may come
    if (t->cut_valid && !(t->cut_slots & SLOT(t->self))) return;
    if (now_ms < t->train_retry_ms) {
        round_wake(r, t->train_retry_ms);
        return;
    }
    ask_train(r, t, out);
}

static bool restored(const struct round *r, const struct turn *t, struct commit *before)
{
    return r->restored_commit_size > 0 &&
           !commit_read((struct slice){r->restored_commit, r->restored_commit_size}, before) &&
           before->round == t->round && before->attempt == t->collecting;
}

// A commit written before a crash binds: the same bits may be announced again, others never.
static bool restored_agrees(const struct round *r, const struct turn *t, const struct commit *c, bool *found)
{
    struct commit before;
    *found = restored(r, t, &before);
    return !*found || commit_same_work(&before, c);
}

static void persist_commit(struct round *r, struct slice bytes, struct outbox *out)
{
    uint8_t record[CORE_HASH_SIZE + COMMIT_LIMIT];
    struct writer w = writer_over(record, sizeof record);
    write_bytes(&w, r->run.bytes, CORE_HASH_SIZE);
    write_bytes(&w, bytes.data, bytes.size);
    outbox_persist(out, RUN_PERSIST_COMMIT, (struct slice){record, w.size});
    memcpy(r->restored_commit, bytes.data, bytes.size);
    r->restored_commit_size = (uint32_t)bytes.size;
}

// The measured rate as a power of two, so that small changes make no new plan.
static uint32_t bandwidth_class(const struct round *r)
{
    uint64_t class = 1;
    if (!r->rate) return r->options.weight;
    while (class * 2 * ROUND_RATE_UNIT <= r->rate && class * 2 <= TREE_WEIGHT_MAX) class *= 2;
    return (uint32_t) class;
}

static void note_rate(struct round *r, const struct turn *t, uint64_t now_ms)
{
    uint64_t bytes = 0;
    for (uint32_t shard = 0; shard < t->shards; shard++) bytes += turn_shard_bytes(r, t, shard, 8);
    if (bytes < ROUND_RATE_BYTES || now_ms < t->handed_ms + ROUND_RATE_MS) return;
    const uint64_t rate = bytes / (now_ms - t->handed_ms);
    r->rate = r->rate ? (3 * r->rate + rate) / 4 : rate;
}

static struct commit commit_of(const struct round *r, const struct turn *t, const struct work_result *result)
{
    struct commit c = {
        .run = r->run,
        .round = t->round,
        .attempt = t->collecting,
        .trainer = r->options.key->id,
        .slot = t->self,
        .tokens = result->train.tokens,
        .weight = result->train.weight,
        .loss = result->train.loss,
        .fresh = t->train_fresh,
        .state_in = result->train.state_in,
        .state_out = result->train.state_out,
        .update_root = result->train.update_root,
        .bandwidth = bandwidth_class(r),
        .shard_count = t->shards,
        .phase = COMMIT_ANNOUNCED,
    };
    r->options.place_of(r->options.context, &c.site, c.at);
    memcpy(c.shards, result->train.shards, t->shards * sizeof c.shards[0]);
    struct commit before;  // what was announced before a crash is announced again, also where this peer was then
    const struct known *told = &t->known[t->self];  // by others, who have heard it
    const bool here = restored(r, t, &before);
    if (!here && told->here) before = told->commit;
    if (here || told->here) {
        c.bandwidth = before.bandwidth;
        c.site = before.site;
        memcpy(c.at, before.at, sizeof c.at);
    }
    return c;
}

void round_trained(struct round *r, const struct work_result *result, uint64_t now_ms, struct outbox *out)
{
    struct turn *t = round_turn(r, result->round);
    if (!t || t->train != STEP_RUNNING || result->attempt != t->collecting) return;
    if (result->err || !isfinite(result->train.loss) || result->train.weight == 0) {
        t->train = STEP_NONE;
        t->train_retry_ms = now_ms + ROUND_RETRY_MS;
        return;
    }
    const struct commit c = commit_of(r, t, result);
    struct known *k = &t->known[t->self];
    bool written;
    if (!restored_agrees(r, t, &c, &written) || (k->here && !commit_same_work(&k->commit, &c))) {
        t->train = STEP_NONE;
        t->unfit = true;
        event_emit(&r->options.events, "round.unfit", EV_HASH("run", &r->run), EV_U64("round", t->round));
        return;
    }
    t->train = STEP_DONE;
    uint8_t bytes[COMMIT_LIMIT];
    struct writer w = writer_over(bytes, sizeof bytes);
    commit_encode(&w, &c, r->options.key);
    check(!w.overflowed);
    if (!written) persist_commit(r, (struct slice){bytes, w.size}, out);
    enum core_err err = turn_commit_add(r, t, (struct slice){bytes, w.size}, COMMIT_CHECKED);
    check(!err);
    k->holds = (uint16_t)((1u << t->shards) - 1);
}

// ---- handing over ----

// Who gets the copy of a shard: its owner, then the next in rendezvous order; never this peer, nor who is gone.
static const struct run_member *hand_target(const struct round *r, const struct turn *t, uint32_t shard, uint32_t turn)
{
    const struct item *item = turn_item(t, 0, tree_plan_group_of(&t->plan, 0, t->self), shard);
    uint32_t slots[TREE_CANDIDATE_MAX], count = 0;
    for (uint32_t i = 0; i < item->candidates; i++)
        if (item->candidate[i] != t->self && !round_slot_gone(r, t, item->candidate[i]))
            slots[count++] = item->candidate[i];
    for (uint32_t i = 0; count == 0 && i < t->manifest.member_count; i++)
        if (t->manifest.members[i].slot != t->self && !round_gone(r, &t->manifest.members[i].id))
            slots[count++] = t->manifest.members[i].slot;
    return count ? turn_member(t, slots[turn % count]) : NULL;
}

static bool hand_over(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out)
{
    bool all = true;
    if (!t->handed_ms) t->handed_ms = now_ms;
    for (uint32_t shard = 0; shard < t->shards; shard++) {
        if (t->manifest.member_count == 1 || t->acked[shard] || turn_shard_elements(r, t, shard) == 0) continue;
        all = false;
        struct retry *retry = &t->hand[shard];
        if (retry->tries == 0) retry->since_ms = now_ms;
        if (now_ms >= retry->next_ms) {
            const struct run_member *m = hand_target(r, t, shard, retry->tries);
            const struct blob_key key = turn_contribution_key(r, t, t->self, shard);
            if (m) round_send_data(r, t, &key, &m->id, out);
            if (retry->tries) r->options.counts->resent++;
            retry->next_ms = now_ms + round_backoff(r, retry->tries++, turn_shard_bytes(r, t, shard, 8));
        }
        round_wake(r, retry->next_ms);
    }
    return all;
}

static void acknowledge(struct round *r, struct turn *t, struct outbox *out)
{
    t->acknowledged = true;
    struct commit c = t->known[t->self].commit;
    c.phase = COMMIT_ACKNOWLEDGED;
    uint8_t bytes[COMMIT_LIMIT];
    struct writer w = writer_over(bytes, sizeof bytes);
    commit_encode(&w, &c, r->options.key);
    check(!w.overflowed);
    enum core_err err = turn_commit_add(r, t, (struct slice){bytes, w.size}, COMMIT_CHECKED);
    check(!err);
    outbox_cast(out, TOPIC_COMMIT, (struct slice){bytes, w.size});
    // Whoever proposes the cut gets it directly too: the round does not wait for a broadcast's repair.
    const uint32_t proposer = consensus_status(r->consensus).proposer;
    if (proposer >= r->head.member_count) return;
    const struct core_id *to = &r->head.members[proposer].id;
    if (id_equal(to, &r->options.key->id) || round_gone(r, to)) return;
    struct message m = {.type = MESSAGE_RUN_COMMIT};
    m.run_commit.run = r->run;
    m.run_commit.commit = (struct slice){bytes, w.size};
    outbox_send(out, to, &m);
}

void round_acked(struct round *r, struct turn *t, uint32_t slot, const struct blob_key *key, uint64_t now_ms,
                 struct outbox *out)
{
    (void)r, (void)now_ms, (void)out;
    if (key->kind != ROUND_CONTRIBUTION || key->attempt != t->collecting || key->slot != t->self ||
        key->shard >= t->shards)
        return;
    t->acked[key->shard] |= SLOT(slot);
}

// ---- the deadline ----

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *values, uint32_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}

// How long after the manifest the cut goes without who is missing, in ms; UINT64_MAX: not at all. With a quorum of
// commits in, it follows how long earlier rounds took: median + k * MAD (median absolute deviation).
uint64_t round_deadline(const struct round *r, bool quorum)
{
    const uint64_t most = r->spec.deadline_ms;
    if (!quorum) return most ? most : RUN_DEADLINE_MS;
    if (!most) return UINT64_MAX;
    const uint32_t count = r->duration_count < ROUND_HISTORY ? r->duration_count : ROUND_HISTORY;
    if (r->head.round < ROUND_DEADLINE_FROM || count < ROUND_DEADLINE_FROM) return most;
    uint64_t values[ROUND_HISTORY];
    memcpy(values, r->durations, count * sizeof values[0]);
    const uint64_t middle = median(values, count);
    for (uint32_t i = 0; i < count; i++) values[i] = values[i] > middle ? values[i] - middle : middle - values[i];
    const uint64_t spread = ROUND_MAD_FACTOR * median(values, count);
    const uint64_t deadline = middle + (spread > middle ? spread : middle) + ROUND_DEADLINE_SLACK_MS;
    return deadline < most ? deadline : most;
}

static void propose_cut(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out)
{
    enum run_state wanted;
    if (r->held || round_command_state(r, &wanted)) return;
    const uint64_t slots = turn_committed(t);
    bool all = slots != 0;
    for (uint32_t i = 0; i < t->manifest.member_count && all; i++) {
        const struct run_member *m = &t->manifest.members[i];
        all = (slots & SLOT(m->slot)) || (m->slot == t->self ? t->unfit : round_gone(r, &m->id));
    }
    const bool quorum = (uint32_t)__builtin_popcountll(slots) >= round_quorum(r);
    const uint64_t wait = round_deadline(r, quorum);
    const bool late = wait != UINT64_MAX && now_ms >= t->started_ms + wait;
    // Nobody, where nobody can: a quorum that is unfit votes for it.
    if ((slots && ((all && quorum) || late || t->cut_offered)) || (turn_hopeless(t) && late)) {
        t->cut_offered = true;
        round_offer_cut(r, slots, turn_next_attempt(t), now_ms, out);
    } else if ((slots || turn_hopeless(t)) && wait != UINT64_MAX && !late) {
        round_wake(r, t->started_ms + wait);
    }
}

void round_collect(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out)
{
    train(r, t, now_ms, out);
    if (t->cut_valid) return;
    if (t->train == STEP_DONE && !t->acknowledged && hand_over(r, t, now_ms, out)) {
        note_rate(r, t, now_ms);
        acknowledge(r, t, out);
    }
    propose_cut(r, t, now_ms, out);
}
