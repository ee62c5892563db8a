#include "learn/commit.h"

#include <math.h>
#include <string.h>

#include "core/check.h"
#include "learn/signed.h"

enum { COMMIT_VERSION = 3 };

static const char commit_domain[] = "mycel commit v1";

void commit_encode(struct writer *w, const struct commit *c, const struct core_key *trainer)
{
    check(c->shard_count >= 1 && c->shard_count <= TREE_SHARD_MAX && isfinite(c->loss));
    size_t start = w->size;
    write_u8(w, COMMIT_VERSION);
    write_hash(w, &c->run);
    write_u64(w, c->round);
    write_u32(w, c->attempt);
    write_id(w, &trainer->id);
    write_u8(w, (uint8_t)c->slot);
    write_u64(w, c->tokens);
    write_u64(w, c->weight);
    write_u16(w, (uint16_t)c->bandwidth);
    run_place_write(w, c->site, c->at);
    write_f64(w, c->loss);
    write_u8(w, c->fresh);
    write_hash(w, &c->state_in);
    write_hash(w, &c->state_out);
    write_hash(w, &c->update_root);
    write_u8(w, (uint8_t)c->phase);
    write_u8(w, (uint8_t)c->shard_count);
    for (uint32_t i = 0; i < c->shard_count; i++) write_hash(w, &c->shards[i]);
    signed_close(w, start, commit_domain, trainer);
}

static enum core_err commit_fields(struct slice bytes, struct commit *c, struct reader *r)
{
    *c = (struct commit){0};
    if (bytes.size > COMMIT_LIMIT) return CORE_ERR_TOO_LARGE;
    enum core_err err = signed_open(bytes, COMMIT_VERSION, r);
    if (err) return err;
    c->run = read_hash(r);
    c->round = read_u64(r);
    c->attempt = read_u32(r);
    c->trainer = read_id(r);
    c->slot = read_u8(r);
    c->tokens = read_u64(r);
    c->weight = read_u64(r);
    c->bandwidth = read_u16(r);
    run_place_read(r, &c->site, c->at);
    c->loss = read_f64(r);
    c->fresh = read_bool(r);
    c->state_in = read_hash(r);
    c->state_out = read_hash(r);
    c->update_root = read_hash(r);
    uint8_t phase = read_u8(r);
    c->shard_count = read_u8(r);
    if (r->failed || phase < COMMIT_ANNOUNCED || phase > COMMIT_ACKNOWLEDGED || c->shard_count == 0 ||
        c->shard_count > TREE_SHARD_MAX || c->slot >= RUN_MEMBERS_MAX || c->attempt > BLOB_ATTEMPT_MAX ||
        c->weight == 0 || c->weight >= UINT64_C(1) << 40 || c->tokens >= UINT64_C(1) << 48 ||
        fabs(c->loss) > COMMIT_LOSS_MAX)
        return CORE_ERR_MALFORMED;
    c->phase = (enum commit_phase)phase;
    for (uint32_t i = 0; i < c->shard_count; i++) c->shards[i] = read_hash(r);
    return signed_finished(r);
}

enum core_err commit_decode(struct slice bytes, struct commit *c)
{
    struct reader r;
    enum core_err err = commit_fields(bytes, c, &r);
    return err ? err : signed_check(bytes, &r, commit_domain, &c->trainer);
}

enum core_err commit_read(struct slice bytes, struct commit *c)
{
    struct reader r;
    return commit_fields(bytes, c, &r);
}

bool commit_same_work(const struct commit *a, const struct commit *b)
{
    if (a->shard_count != b->shard_count) return false;
    for (uint32_t i = 0; i < a->shard_count; i++)
        if (!hash_equal(&a->shards[i], &b->shards[i])) return false;
    return hash_equal(&a->run, &b->run) && a->round == b->round && a->attempt == b->attempt &&
           id_equal(&a->trainer, &b->trainer) && a->slot == b->slot && a->tokens == b->tokens &&
           a->weight == b->weight && a->bandwidth == b->bandwidth && a->site == b->site &&
           memcmp(a->at, b->at, sizeof a->at) == 0 && memcmp(&a->loss, &b->loss, sizeof a->loss) == 0 &&
           a->fresh == b->fresh && hash_equal(&a->state_in, &b->state_in) && hash_equal(&a->state_out, &b->state_out) &&
           hash_equal(&a->update_root, &b->update_root);
}

bool commits_conflict(const struct commit *a, const struct commit *b)
{
    return hash_equal(&a->run, &b->run) && a->round == b->round && a->attempt == b->attempt &&
           id_equal(&a->trainer, &b->trainer) && !commit_same_work(a, b);
}
