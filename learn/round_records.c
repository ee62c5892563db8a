// What a run keeps on disk and how it comes back: its own votes and decisions are written before what follows from
// them, replayed after a restart, and written again when a full disk lost them.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "learn/round_parts.h"

void round_votes_forget(struct round *r)
{
    for (uint32_t i = 0; i < r->vote_count; i++) free((void *)(uintptr_t)r->votes[i].data);
    r->vote_count = 0;
}

// ---- records ----

static void round_vote_keep(struct round *r, struct slice bytes)
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
void round_votes_wrap(struct round *r, size_t mark, struct outbox *out)
{
    for (size_t i = mark; i < out->count; i++) {
        struct effect *e = &out->effects[i];
        if (e->kind != EFFECT_PERSIST || e->kind_of != LEDGER_PERSIST_VOTE) continue;
        round_vote_keep(r, e->payload);
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

void round_decision_persist(struct round *r, uint64_t height, struct outbox *out)
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
        round_genesis(r, now_ms, &out);
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
            if (!err) round_vote_keep(r, bytes);
        }
    } else if (kind == RUN_PERSIST_COMMIT) {
        if (payload.size > sizeof r->restored_commit)
            err = CORE_ERR_TOO_LARGE;
        else {
            memcpy(r->restored_commit, payload.data, payload.size);
            r->restored_commit_size = (uint32_t)payload.size;
        }
    } else if (kind == RUN_PERSIST_EVIDENCE) {
        round_evidence_restore(r, payload);
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

// ---- a full disk ----

void round_freeze(struct round *r)
{
    if (r->frozen) return;
    r->frozen = true;
    r->next_head_ms = 0;
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
    r->next_head_ms = 0;
    if (!r->started) return;
    ask_again(r->turn);
    ask_again(r->before);
    r->fetching = r->dataset_asked = false;
    if (!round_ended(r)) {
        const uint32_t count = r->vote_count;
        r->vote_count = 0;  // round_height_start would forget them
        const size_t mark = out->count;
        round_height_start(r, now_ms, out);
        for (uint32_t i = 0; i < count; i++) {
            enum core_err err = consensus_restore(r->consensus, r->votes[i]);
            check(!err);  // what this peer itself wrote
        }
        r->vote_count = count;
        round_settle(r, mark, now_ms, out);
    }
    round_advance(r, now_ms, out);
}
