// A run of training rounds on one peer. Start reading here.
//
// A run is a chain of decided values, one a height. Height 0 is the genesis manifest, which the spec implies. Then
//
//     manifest r --CUT(r, 0)--> [CUT(r, 1) ...] --MANIFEST(r+1)--> manifest r + 1 --CUT(r+1, 0)--> ...
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
//   1. One value a height: consensus, whose votes are durable before they are sent.
//   2. A peer votes for MANIFEST(r+1) only if it computed those parameters itself, from the decided cut.
//   3. A sum carries the set of contributions in it. It is used only where that set is the decided cut's below its
//      group, and replaced, never added to, when it comes again: each contribution counts exactly once.
//   4. A commit is announced only when durable, and an update that differs from it is never announced for that round.
//   5. A commit is cast as acknowledged only when another peer holds each shard.
//   6. What a crash leaves durable leads to the same next state: decisions and votes are replayed, training and sums
//      are done again and give the same bits.
//   7. No wait is without a timer, and none is silent: what is missing is asked for again (struct retry), from the next
//      candidate each time, and round_status.c names it.
//   8. On the way without faults nothing waits for a timer.
//
// Files: round_values.c what may be decided; round_collect.c training to cut; round_sum.c cut to parameters;
// round_data.c bulk by key; round_heads.c catching up, entering; round_status.c for people.
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
    t->items = calloc((size_t)(2 * RUN_MEMBERS_MAX + TREE_LEVEL_MAX) * TREE_SHARD_MAX, sizeof *t->items);
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

static void forget_votes(struct round *r)
{
    for (uint32_t i = 0; i < r->vote_count; i++) free((void *)(uintptr_t)r->votes[i].data);
    r->vote_count = 0;
}

enum core_err round_open(struct round **out, const struct round_options *options, struct slice bytes, uint64_t now_ms)
{
    struct round *r = calloc(1, sizeof *r);
    if (!r) return CORE_ERR_NO_MEMORY;
    r->options = *options;
    r->now_ms = r->opened_ms = r->head_ms = now_ms;
    r->mute = true;
    enum core_err err = run_spec_decode(bytes, &r->spec, &r->run);
    check(!err);
    const struct consensus_options consensus = {
        .run = r->run,
        .key = options->key,
        .model = r->spec.fault_model,
        .value_limit = LEDGER_VALUE_LIMIT,
        .judge = round_judge,
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
    forget_votes(r);
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

// ---- records ----

static void keep_vote(struct round *r, struct slice bytes)
{
    if (r->vote_count == r->vote_capacity) {
        r->vote_capacity = r->vote_capacity ? 2 * r->vote_capacity : 16;
        r->votes = realloc(r->votes, r->vote_capacity * sizeof *r->votes);
        check(r->votes);
    }
    uint8_t *copy = malloc(bytes.size);
    check(copy);
    memcpy(copy, bytes.data, bytes.size);
    r->votes[r->vote_count++] = (struct slice){copy, bytes.size};
}

// Consensus' own records since `mark` become this run's: run, height, bytes.
static void wrap_votes(struct round *r, size_t mark, struct outbox *out)
{
    for (size_t i = mark; i < out->count; i++) {
        struct effect *e = &out->effects[i];
        if (e->kind != EFFECT_PERSIST || e->kind_of != LEDGER_PERSIST_VOTE) continue;
        keep_vote(r, e->payload);
        size_t size = CORE_HASH_SIZE + 8 + e->payload.size;
        uint8_t *bytes = arena_alloc(&out->arena, size);
        check(bytes);
        struct writer w = writer_over(bytes, size);
        write_bytes(&w, r->run.bytes, CORE_HASH_SIZE);
        write_u64(&w, r->height);
        write_bytes(&w, e->payload.data, e->payload.size);
        e->kind_of = RUN_PERSIST_VOTE;
        e->payload = (struct slice){bytes, size};
    }
}

static void persist_decision(struct round *r, uint64_t height, struct outbox *out)
{
    const struct decided *d = &r->log[height - 1];
    size_t size = CORE_HASH_SIZE + 8 + 4 + d->value_size + 4 + d->certificate_size;
    uint8_t *bytes = malloc(size);
    check(bytes);
    struct writer w = writer_over(bytes, size);
    write_bytes(&w, r->run.bytes, CORE_HASH_SIZE);
    write_u64(&w, height);
    write_slice(&w, (struct slice){d->value, d->value_size});
    write_slice(&w, (struct slice){d->certificate, d->certificate_size});
    outbox_persist(out, RUN_PERSIST_DECISION, (struct slice){bytes, w.size});
    free(bytes);
}

// ---- decisions ----

static void start_height(struct round *r, uint64_t now_ms, struct outbox *out)
{
    struct core_id ids[RUN_MEMBERS_MAX];
    for (uint32_t i = 0; i < r->head.member_count; i++) ids[i] = r->head.members[i].id;
    r->height = r->log_count + 1;
    r->offered = (struct core_hash){0};
    forget_votes(r);
    consensus_start(r->consensus, r->height, ids, r->head.member_count, now_ms, out);
}

// What is durable here of the parameters that the head names.
static void find_params(struct round *r)
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

static void enter_manifest(struct round *r, const struct manifest *m, const struct core_hash *hash, uint64_t now_ms,
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
        find_params(r);
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
    value.data = d.value;
    r->log[r->log_count++] = d;
    if (!r->mute) persist_decision(r, height, out);
    if (d.kind == VALUE_MANIFEST) {
        struct manifest m;
        enum core_err err = manifest_decode(value, &m);
        check(!err);  // a quorum judged it
        r->log[height - 1].round = m.round;
        enter_manifest(r, &m, &hash, now_ms, out);
    } else {
        struct cut cut;
        enum core_err err = cut_decode(value, &cut);
        check(!err);
        struct turn *t = r->turn;
        for (uint32_t i = 0; i < cut.count; i++) {
            err = turn_commit_add(r, t, cut.commits[i], true);
            check(!err);
        }
        t->cut_valid = true;
        t->attempt = cut.attempt;
        t->cut_slots = cut.slots;
        t->cut_hash = hash;
        t->cut_height = height;
        turn_cut(r, t, now_ms, out);
        event_emit(&r->options.events, "round.cut", EV_HASH("run", &r->run), EV_U64("round", cut.round),
                   EV_U64("attempt", cut.attempt), EV_U64("commits", cut.count));
    }
    if (!round_ended(r)) start_height(r, now_ms, out);
}

void round_take(struct round *r, uint64_t now_ms, struct outbox *out)
{
    const struct consensus_decision *d;
    while (!r->broken && !round_ended(r) && (d = consensus_decision(r->consensus)) && d->height == r->height) {
        if (!round_value_follows(r, d->height, d->value)) {
            r->broken = true;
            round_freeze(r);
            event_emit(&r->options.events, "round.broken", EV_HASH("run", &r->run), EV_U64("height", d->height));
            return;
        }
        const size_t mark = out->count;
        take(r, d->value, d->certificate, now_ms, out);
        wrap_votes(r, mark, out);  // a height may begin with votes for messages that came early
    }
}

void round_settle(struct round *r, size_t mark, uint64_t now_ms, struct outbox *out)
{
    wrap_votes(r, mark, out);
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

// ---- coming back ----

static enum core_err restore_decision(struct round *r, struct reader *in, uint64_t now_ms, struct outbox *out)
{
    const uint64_t height = read_u64(in);
    const struct slice value = read_slice(in, LEDGER_VALUE_LIMIT);
    const struct slice certificate = read_slice(in, LEDGER_CERTIFICATE_LIMIT);
    if (!reader_finished(in)) return CORE_ERR_MALFORMED;
    if (height < r->height) return CORE_ERR_OK;  // written twice: after a full disk
    if (height > r->height || round_ended(r)) return CORE_ERR_MALFORMED;
    enum core_err err = consensus_adopt(r->consensus, value, certificate);
    if (!err) round_take(r, now_ms, out);
    return err;
}

enum core_err round_restore(struct round *r, uint32_t kind, struct slice payload, uint64_t now_ms)
{
    check(r->mute);
    r->now_ms = now_ms;
    struct outbox out;
    enum core_err err = outbox_open(&out, 64, 1 << 20);
    if (err) return err;
    if (r->height == 0) {  // the first record: enter the genesis
        struct manifest genesis;
        manifest_genesis(&genesis, &r->spec, &r->run);
        const struct core_hash hash = manifest_hash(&genesis);
        enter_manifest(r, &genesis, &hash, now_ms, &out);
        start_height(r, now_ms, &out);
    }
    struct reader in = reader_over(payload.data, payload.size);
    if (kind == RUN_PERSIST_DECISION) {
        err = restore_decision(r, &in, now_ms, &out);
    } else if (kind == RUN_PERSIST_VOTE) {
        const uint64_t height = read_u64(&in);
        const struct slice bytes = {payload.data + in.at, payload.size - in.at};
        if (in.failed || height > r->height)
            err = CORE_ERR_MALFORMED;
        else if (height == r->height) {
            err = consensus_restore(r->consensus, bytes);
            if (!err) keep_vote(r, bytes);
        }
    } else if (kind == RUN_PERSIST_COMMIT) {
        if (payload.size > sizeof r->restored_commit)
            err = CORE_ERR_TOO_LARGE;
        else {
            memcpy(r->restored_commit, payload.data, payload.size);
            r->restored_commit_size = (uint32_t)payload.size;
        }
    }
    outbox_close(&out);
    return err;
}

void round_restore_params(struct round *r, uint64_t round, const struct core_hash *params_hash, bool inner)
{
    const uint32_t room = sizeof r->durable / sizeof r->durable[0];
    uint32_t at = 0;
    if (r->durable_count < room) {
        at = r->durable_count++;
    } else {  // the newest are kept, in whatever order the disk lists them
        for (uint32_t i = 1; i < room; i++)
            if (r->durable[i].round < r->durable[at].round) at = i;
        if (r->durable[at].round >= round) return;
    }
    r->durable[at].round = round;
    r->durable[at].hash = *params_hash;
    r->durable[at].inner = inner;
}

void round_restore_dataset(struct round *r)
{
    r->dataset_here = true;
}

void round_start(struct round *r, bool again, uint64_t now_ms, struct outbox *out)
{
    check(!r->started);
    r->now_ms = now_ms;
    r->started = true;
    r->mute = false;
    if (r->height == 0) {
        struct manifest genesis;
        manifest_genesis(&genesis, &r->spec, &r->run);
        const struct core_hash hash = manifest_hash(&genesis);
        enter_manifest(r, &genesis, &hash, now_ms, out);
        const size_t mark = out->count;
        start_height(r, now_ms, out);
        round_settle(r, mark, now_ms, out);
    }
    r->head_ms = r->turn->started_ms = now_ms;
    find_params(r);
    if (again && r->head.member_count > 1) r->listen_until_ms = now_ms + ROUND_LISTEN_MS;
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
    if (!ledger_vote_read(&in, &vote)) round_send_decision(r, from, vote.height, out);
}

enum core_err round_message(struct round *r, const struct core_id *from, const struct message *m, uint64_t now_ms,
                            struct outbox *out)
{
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
        else if (key.kind == ROUND_CONTRIBUTION)
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
    if (turn_commit_add(r, r->turn, bytes, true)) return;
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
        return;
    }
    t->apply = STEP_DONE;
    t->applied_ms = now_ms;
    t->params = result->apply.params_hash;
    t->outer = result->apply.outer_hash;
    t->evaluated = result->apply.evaluated;
    t->val_loss = result->apply.val_loss;
    memcpy(t->exponents, result->apply.exponents, sizeof t->exponents);
    if (t != r->before || r->params_here) return;
    find_params(r);
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
    if (!r->started || r->frozen) return UINT64_MAX;
    uint64_t next = r->wake_ms < r->next_head_ms ? r->wake_ms : r->next_head_ms;
    if (round_ended(r)) return next;
    uint64_t votes = consensus_next_ms(r->consensus);
    return votes < next ? votes : next;
}

// ---- a full disk ----

void round_freeze(struct round *r)
{
    if (r->frozen) return;
    r->frozen = true;
    if (r->started && !round_ended(r)) consensus_halt(r->consensus);
}

void round_vote_lost(struct round *r, uint64_t height, struct slice bytes)
{
    if (height != r->height) return;
    for (uint32_t i = 0; i < r->vote_count; i++) {
        if (r->votes[i].size != bytes.size || memcmp(r->votes[i].data, bytes.data, bytes.size) != 0) continue;
        free((void *)(uintptr_t)r->votes[i].data);
        r->vote_count--;
        memmove(&r->votes[i], &r->votes[i + 1], (r->vote_count - i) * sizeof r->votes[0]);
        return;
    }
}

// Work that was asked for may have been dropped with the outbox: it is asked for again.
static void ask_again(struct turn *t)
{
    if (t->train == STEP_RUNNING) t->train = STEP_NONE;
    if (t->apply == STEP_RUNNING) t->apply = STEP_NONE;
    const uint32_t groups = t->plan_made ? t->plan.group_first[t->plan.levels - 1] + 1 : 0;
    for (uint32_t i = 0; i < groups * TREE_SHARD_MAX; i++)
        if (t->items[i].state == ITEM_BUSY) t->items[i].state = ITEM_NONE;
}

void round_thaw(struct round *r, uint64_t now_ms, struct outbox *out)
{
    if (!r->frozen || r->broken) return;
    r->now_ms = now_ms;
    r->frozen = false;
    if (!r->started) return;
    ask_again(r->turn);
    ask_again(r->before);
    r->fetching = r->dataset_asked = false;
    if (!round_ended(r)) {
        const uint32_t count = r->vote_count;
        r->vote_count = 0;  // start_height would forget them
        const size_t mark = out->count;
        start_height(r, now_ms, out);
        for (uint32_t i = 0; i < count; i++) {
            enum core_err err = consensus_restore(r->consensus, r->votes[i]);
            check(!err);  // what this peer itself wrote
        }
        r->vote_count = count;
        round_settle(r, mark, now_ms, out);
    }
    round_advance(r, now_ms, out);
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
    const bool may_finish =
        t->valid && t->cut_valid && t->round + 1 == r->head.round && t->self != UINT32_MAX && t->apply != STEP_DONE;
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
        believe(r, now_ms, out);
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
    note_stage(r, now_ms);
}
