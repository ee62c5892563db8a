#include "tools/sim/watch.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/sum.h"
#include "ledger/vote.h"
#include "learn/cut.h"
#include "tools/sim/toy.h"

enum { WATCH_ROUNDS = 4 };  // recent rounds whose shards are remembered

struct seen_vote {
    uint32_t voter, round;
    uint8_t step;
    int32_t valid_round;
    struct core_hash value;
    uint64_t holders;  // nodes that have heard it and are still up
};

struct height {
    struct core_hash hash;
    enum value_kind kind;
    struct slice value;  // malloc'd
    uint64_t round;
    uint32_t attempt;
    bool applied;
    struct core_hash params;  // the first outer step from this cut
};

struct votes {
    struct seen_vote *list;
    uint32_t count, capacity;
};

struct contribution {
    bool here;
    uint64_t round;
    uint32_t attempt;
    struct core_hash root;
    int8_t *update;
};

struct watch {
    struct world *w;
    struct height *heights;  // [h - 1]
    uint64_t count, capacity;
    struct votes *votes;  // [h - 1]
    uint64_t votes_capacity;
    struct manifest head;
    struct core_hash head_hash;
    uint64_t seen[WORLD_NODES];
    struct contribution contributions[WATCH_ROUNDS][RUN_MEMBERS_MAX];
    uint64_t kept[WATCH_ROUNDS][RUN_MEMBERS_MAX][TREE_SHARD_MAX];  // nodes that stored the shard, in the attempt:
    uint32_t kept_attempt[WATCH_ROUNDS][RUN_MEMBERS_MAX];
    uint64_t kept_round[WATCH_ROUNDS];
    struct commit commits[WATCH_ROUNDS]
                         [RUN_MEMBERS_MAX];  // the word of each trainer for the last attempt that it spoke in
    bool commit_here[WATCH_ROUNDS][RUN_MEMBERS_MAX];
};

struct watch *watch_open(struct world *w)
{
    struct watch *watch = calloc(1, sizeof *watch);
    check(watch);
    watch->w = w;
    manifest_genesis(&watch->head, &w->spec, &w->run);
    watch->head_hash = manifest_hash(&watch->head);
    return watch;
}

void watch_close(struct watch *watch)
{
    for (uint64_t i = 0; i < watch->count; i++) free((void *)(uintptr_t)watch->heights[i].value.data);
    for (uint64_t i = 0; i < watch->votes_capacity; i++) free(watch->votes[i].list);
    for (uint32_t i = 0; i < WATCH_ROUNDS; i++)
        for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++) free(watch->contributions[i][slot].update);
    free(watch->votes);
    free(watch->heights);
    free(watch);
}

// A place for what is remembered of a round, cleared when a newer round takes it; UINT32_MAX for one long gone.
static uint32_t round_place(struct watch *watch, uint64_t round)
{
    const uint32_t at = (uint32_t)(round % WATCH_ROUNDS);
    if (round < watch->kept_round[at]) return UINT32_MAX;
    if (round > watch->kept_round[at]) {
        watch->kept_round[at] = round;
        memset(watch->kept[at], 0, sizeof watch->kept[at]);
        memset(watch->kept_attempt[at], 0, sizeof watch->kept_attempt[at]);
        memset(watch->commit_here[at], 0, sizeof watch->commit_here[at]);
        for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++) watch->contributions[at][slot].here = false;
    }
    return at;
}

// ---- decisions: agreement ----

static void first_decision(struct watch *watch, const struct node *n, struct slice value, struct slice certificate)
{
    struct world *w = watch->w;
    const uint64_t height = watch->count + 1;
    struct height h = {.hash = hash_bytes(value.data, value.size), .kind = value_kind_of(value)};
    struct core_id ids[RUN_MEMBERS_MAX];
    for (uint32_t i = 0; i < watch->head.member_count; i++) ids[i] = watch->head.members[i].id;
    if (!ledger_certificate_valid(certificate, LEDGER_PRECOMMIT, &w->run, height, &h.hash, ids,
                                  watch->head.member_count,
                                  ledger_quorum(w->spec.fault_model, watch->head.member_count)))
        world_fail(w, "agreement: peer %u decided height %llu without a quorum", n->index, (unsigned long long)height);
    uint8_t *copy = malloc(value.size);
    check(copy);
    memcpy(copy, value.data, value.size);
    h.value = (struct slice){copy, value.size};
    struct manifest m;
    struct cut cut;
    if (h.kind == VALUE_MANIFEST && !manifest_decode(h.value, &m)) {
        if (!hash_equal(&m.previous, &watch->head_hash)) world_fail(w, "agreement: manifests are not a chain");
        h.round = m.round;
        watch->head = m;
        watch->head_hash = h.hash;
    } else if (h.kind == VALUE_CUT && !cut_decode(h.value, &cut)) {
        h.round = cut.round;
        h.attempt = cut.attempt;
        if (cut.attempt) w->report->attempts++;
    } else {
        world_fail(w, "agreement: height %llu is neither cut nor manifest", (unsigned long long)height);
    }
    if (watch->count == watch->capacity) {
        watch->capacity = watch->capacity ? 2 * watch->capacity : 64;
        watch->heights = realloc(watch->heights, watch->capacity * sizeof *watch->heights);
        check(watch->heights);
    }
    watch->heights[watch->count++] = h;
}

// Two quorums of the electorate need share nobody but who lies: then it can split the run, and all that is promised is
// that everyone sees it.
static bool may_fork(const struct watch *watch)
{
    const uint32_t count = watch->head.member_count;
    return watch->w->traitor && 2 * ledger_quorum(watch->w->spec.fault_model, count) <= count + 1;
}

void watch_decisions(struct watch *watch, struct node *n)
{
    struct world *w = watch->w;
    if (w->forked) return;
    struct slice value, certificate;
    while (peer_run_decision(n->peer, &w->run, watch->seen[n->index] + 1, &value, &certificate)) {
        const uint64_t height = ++watch->seen[n->index];
        if (height > watch->count) first_decision(watch, n, value, certificate);
        const struct core_hash hash = hash_bytes(value.data, value.size);
        if (hash_equal(&hash, &watch->heights[height - 1].hash)) continue;
        w->forked = may_fork(watch);
        w->report->forks += w->forked;
        world_fail(w, "agreement: peer %u decided another value at height %llu", n->index, (unsigned long long)height);
        return;
    }
}

void watch_forget(struct watch *watch, const struct node *n)
{
    watch->seen[n->index] = 0;
    watch_unheard(watch, n);
}

uint64_t watch_round(const struct watch *watch)
{
    return watch->head.round;
}

uint64_t watch_height(const struct watch *watch)
{
    return watch->count;
}

enum run_state watch_state(const struct watch *watch)
{
    return watch->head.state;
}

// ---- votes: one a slot, durable before it is sent ----

static struct votes *votes_at(struct watch *watch, uint64_t height)
{
    if (height > watch->votes_capacity) {
        const uint64_t capacity = height + 64;
        watch->votes = realloc(watch->votes, capacity * sizeof *watch->votes);
        check(watch->votes);
        memset(watch->votes + watch->votes_capacity, 0, (capacity - watch->votes_capacity) * sizeof *watch->votes);
        watch->votes_capacity = capacity;
    }
    return &watch->votes[height - 1];
}

static bool is_durable(const struct node *n, const struct core_sig *signature)
{
    for (uint32_t i = n->disk.record_count; i-- > 0;) {
        const struct record *r = &n->disk.records[i];
        if (r->synced && r->kind == RUN_PERSIST_VOTE &&
            memmem(r->payload.data, r->payload.size, signature->bytes, sizeof signature->bytes))
            return true;
    }
    return false;
}

static void check_vote(struct watch *watch, const struct node *n, const struct ledger_vote *v)
{
    struct world *w = watch->w;
    if (!id_equal(&v->voter, &n->key.id) || v->height == 0 || v->height > watch->count + 64) return;
    struct votes *votes = votes_at(watch, v->height);
    for (uint32_t i = 0; i < votes->count; i++) {
        const struct seen_vote *s = &votes->list[i];
        if (s->voter != n->index || s->round != v->round || s->step != v->step) continue;
        if (!hash_equal(&s->value, &v->value) || s->valid_round != v->valid_round)
            world_fail(w, "votes: peer %u voted twice at height %llu, round %u, step %u", n->index,
                       (unsigned long long)v->height, v->round, v->step);
        return;
    }
    if (!is_durable(n, &v->signature))
        world_fail(w, "votes: peer %u sent a vote at height %llu that is not durable", n->index,
                   (unsigned long long)v->height);
    if (votes->count == votes->capacity) {
        votes->capacity = votes->capacity ? 2 * votes->capacity : 64;
        votes->list = realloc(votes->list, votes->capacity * sizeof *votes->list);
        check(votes->list);
    }
    votes->list[votes->count++] = (struct seen_vote){n->index, v->round, (uint8_t)v->step, v->valid_round, v->value, 0};
}

static struct seen_vote *find_vote(const struct watch *watch, uint32_t voter, const struct ledger_vote *v)
{
    if (v->height == 0 || v->height > watch->votes_capacity) return NULL;
    const struct votes *votes = &watch->votes[v->height - 1];
    for (uint32_t i = 0; i < votes->count; i++) {
        struct seen_vote *s = &votes->list[i];
        if (s->voter == voter && s->round == v->round && s->step == v->step) return s;
    }
    return NULL;
}

void watch_heard(struct watch *watch, const struct node *n, const struct message *m)
{
    const bool proposal = m->type == MESSAGE_RUN_PROPOSAL;
    if (!proposal && m->type != MESSAGE_RUN_VOTE) return;
    const struct slice bytes = proposal ? m->run_proposal.proposal : m->run_vote.vote;
    struct reader in = reader_over(bytes.data, bytes.size);
    struct ledger_vote v;
    if (ledger_vote_read(&in, &v)) return;
    struct seen_vote *s = find_vote(watch, world_find(watch->w, &v.voter), &v);
    if (s && !peer_persist_halted(n->peer)) s->holders |= UINT64_C(1) << n->index;
}

void watch_unheard(struct watch *watch, const struct node *n)
{
    for (uint64_t h = 0; h < watch->votes_capacity; h++)
        for (uint32_t i = 0; i < watch->votes[h].count; i++)
            watch->votes[h].list[i].holders &= ~(UINT64_C(1) << n->index);
}

bool watch_told(const struct watch *watch, const struct node *n, struct slice record, uint64_t who)
{
    for (size_t at = 0; at + LEDGER_VOTE_SIZE <= record.size; at++) {  // wherever consensus has put them
        struct reader in = reader_over(record.data + at, LEDGER_VOTE_SIZE);
        struct ledger_vote v;
        if (ledger_vote_read(&in, &v) || !id_equal(&v.voter, &n->key.id) || !ledger_vote_signed(&v)) continue;
        const struct seen_vote *s = find_vote(watch, n->index, &v);
        bool told = !s || s->holders & who;
        for (uint32_t i = 0; i < watch->w->options.nodes; i++) told |= (who >> i & 1) && watch->seen[i] >= v.height;
        if (!told) return false;
    }
    return true;
}

// ---- commits: the same after a restart, acknowledged only when kept ----

static void check_acknowledged(struct watch *watch, const struct node *n, const struct commit *c, uint32_t at)
{
    struct world *w = watch->w;
    if (w->traitor) return;  // it may say that it keeps what it doesn't
    for (uint32_t shard = 0; shard < c->shard_count; shard++) {
        uint64_t first;
        if (!tree_shard_range(w->spec.elements, c->shard_count, shard, &first)) continue;
        if (watch->kept_attempt[at][c->slot] > c->attempt) return;  // void: an old broadcast, sent on once more
        if (watch->kept_attempt[at][c->slot] < c->attempt ||
            !(watch->kept[at][c->slot][shard] & ~(UINT64_C(1) << n->index)))
            world_fail(w, "acknowledged: shard %u of slot %u in round %llu lies on one peer only", shard, c->slot,
                       (unsigned long long)c->round);
    }
}

static void check_commit(struct watch *watch, const struct node *n, struct slice bytes, bool cast)
{
    struct commit c;
    if (commit_read(bytes, &c) || !id_equal(&c.trainer, &n->key.id)) return;
    const uint32_t at = round_place(watch, c.round);
    if (at == UINT32_MAX) return;
    const struct commit *before = &watch->commits[at][c.slot];
    const bool spoke = watch->commit_here[at][c.slot] && id_equal(&before->trainer, &c.trainer);
    if (spoke && before->attempt > c.attempt) return;  // an old broadcast, sent on once more
    if (spoke && before->attempt == c.attempt && !commit_same_work(before, &c))
        world_fail(watch->w, "restart: slot %u committed to two updates of round %llu", c.slot,
                   (unsigned long long)c.round);
    watch->commits[at][c.slot] = c;
    watch->commit_here[at][c.slot] = true;
    if (cast && c.phase == COMMIT_ACKNOWLEDGED && c.shard_count > 1) check_acknowledged(watch, n, &c, at);
}

bool watch_committed(const struct watch *watch, const struct node *n)
{
    const uint32_t at = (uint32_t)(watch->head.round % WATCH_ROUNDS);
    for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX && watch->kept_round[at] == watch->head.round; slot++)
        if (watch->commit_here[at][slot] && id_equal(&watch->commits[at][slot].trainer, &n->key.id)) return true;
    return false;
}

void watch_send(struct watch *watch, struct node *n, const struct message *m)
{
    struct ledger_vote vote;
    struct reader in;
    switch (m->type) {
    case MESSAGE_RUN_VOTE:
        in = reader_over(m->run_vote.vote.data, m->run_vote.vote.size);
        if (!ledger_vote_read(&in, &vote)) check_vote(watch, n, &vote);
        break;
    case MESSAGE_RUN_PROPOSAL:
        in = reader_over(m->run_proposal.proposal.data, m->run_proposal.proposal.size);
        if (!ledger_vote_read(&in, &vote)) check_vote(watch, n, &vote);
        break;
    case MESSAGE_DATA:
        if (m->data.kind == ROUND_CONTRIBUTION) check_commit(watch, n, m->data.proof, false);
        break;
    case MESSAGE_CAST:
        if (m->cast.topic == TOPIC_COMMIT) check_commit(watch, n, m->cast.payload, true);
        break;
    default: break;
    }
}

void watch_stored(struct watch *watch, const struct node *n, const struct blob_key *key)
{
    const uint32_t at = round_place(watch, key->round);
    if (at == UINT32_MAX || key->kind != ROUND_CONTRIBUTION || key->attempt < watch->kept_attempt[at][key->slot])
        return;
    if (key->attempt > watch->kept_attempt[at][key->slot]) {
        watch->kept_attempt[at][key->slot] = key->attempt;
        memset(watch->kept[at][key->slot], 0, sizeof watch->kept[at][key->slot]);
    }
    watch->kept[at][key->slot][key->shard] |= UINT64_C(1) << n->index;
}

// ---- sums: each contribution of the cut, once ----

void watch_trained(struct watch *watch, const struct node *n, const struct work_train *work, const int8_t *update)
{
    (void)n;
    const uint32_t at = round_place(watch, work->round);
    if (at == UINT32_MAX) return;
    struct contribution *c = &watch->contributions[at][work->slot];
    const struct core_hash root = hash_bytes(update, work->elements);
    // What counts is what was announced; a restarted trainer that differs is caught elsewhere.
    if (c->here && (c->attempt > work->attempt || (c->attempt == work->attempt && watch->commit_here[at][work->slot] &&
                                                   watch->commits[at][work->slot].attempt == work->attempt)))
        return;
    free(c->update);
    c->update = malloc(work->elements);
    check(c->update);
    memcpy(c->update, update, work->elements);
    c->root = root;
    c->round = work->round;
    c->attempt = work->attempt;
    c->here = true;
}

static struct height *find_cut(struct watch *watch, uint64_t round, uint32_t attempt)
{
    for (uint64_t i = watch->count; i-- > 0;) {
        struct height *h = &watch->heights[i];
        if (h->kind == VALUE_CUT && h->round == round && h->attempt == attempt) return h;
    }
    return NULL;
}

void watch_applied(struct watch *watch, const struct node *n, const struct work_apply *work, const int64_t *sums,
                   const struct core_hash *params)
{
    struct world *w = watch->w;
    struct height *h = find_cut(watch, work->round, work->attempt);
    if (!h) {
        world_fail(w, "agreement: peer %u applied round %llu without a decided cut", n->index,
                   (unsigned long long)work->round);
        return;
    }
    if (w->traitor) return;  // they may differ until they are disputed
    if (h->applied && !hash_equal(&h->params, params))
        world_fail(w, "agreement: peer %u applied other parameters for round %llu", n->index,
                   (unsigned long long)work->round);
    h->applied = true;
    h->params = *params;
    struct cut cut;
    const uint32_t at = round_place(watch, work->round);
    if (at == UINT32_MAX || cut_decode(h->value, &cut)) return;
    uint64_t raw[RUN_MEMBERS_MAX];
    uint32_t weights[RUN_MEMBERS_MAX];
    const struct contribution *from[RUN_MEMBERS_MAX];
    for (uint32_t i = 0; i < cut.count; i++) {
        struct commit c;
        if (commit_read(cut.commits[i], &c)) return;
        raw[i] = c.weight;
        from[i] = &watch->contributions[at][c.slot];
        if (!from[i]->here || !hash_equal(&from[i]->root, &c.update_root)) return;  // not seen: nothing to compare with
    }
    toy_weights(weights, raw, cut.count);
    for (uint64_t e = 0; e < work->elements; e++) {
        int64_t sum = 0;
        for (uint32_t i = 0; i < cut.count; i++) sum += (int64_t)weights[i] * from[i]->update[e];
        if (sum == sums[e]) continue;
        world_fail(w, "exactly once: peer %u, round %llu: element %llu sums to %lld, its contributions to %lld",
                   n->index, (unsigned long long)work->round, (unsigned long long)e, (long long)sums[e],
                   (long long)sum);
        return;
    }
}

// ---- the end ----

void watch_end(struct watch *watch)
{
    struct world *w = watch->w;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        if (!w->nodes[i].up || w->nodes[i].hostile) continue;
        for (uint64_t h = 0; h < watch->count; h++) {
            if (watch->heights[h].kind != VALUE_MANIFEST) continue;
            struct manifest want, have;
            uint64_t cut_height;
            if (manifest_decode(watch->heights[h].value, &want)) continue;
            if (!peer_run_manifest(w->nodes[i].peer, &w->run, want.round, &have, &cut_height) ||
                have.round != want.round || !hash_equal(&have.params, &want.params))
                world_fail(w, "record: peer %u cannot read the manifest of round %llu", i,
                           (unsigned long long)want.round);
        }
    }
}
