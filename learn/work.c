#include "learn/work.h"

#include "learn/run_spec.h"

// Numbers from a message, checked against what any plan could have.
static enum core_err key_fill(struct blob_key *key, const struct core_hash *run, uint64_t round, uint64_t attempt,
                              uint64_t kind, uint64_t level, uint64_t group, uint64_t shard, uint64_t slot)
{
    *key = (struct blob_key){.run = *run, .round = round, .kind = (uint32_t)kind, .shard = (uint32_t)shard};
    if (shard >= TREE_SHARD_MAX || attempt > BLOB_ATTEMPT_MAX) return CORE_ERR_MALFORMED;
    key->attempt = (uint32_t)attempt;
    if (kind == ROUND_CONTRIBUTION) {
        if (slot >= RUN_MEMBERS_MAX) return CORE_ERR_MALFORMED;
        key->slot = (uint32_t)slot;
        return CORE_ERR_OK;
    }
    if (kind != ROUND_PARTIAL || level >= TREE_LEVEL_MAX || group >= RUN_MEMBERS_MAX) return CORE_ERR_MALFORMED;
    key->level = (uint32_t)level;
    key->group = (uint32_t)group;
    return CORE_ERR_OK;
}

enum core_err blob_key_of_data(struct blob_key *key, const struct message_data *m)
{
    return key_fill(key, &m->run, m->round, m->attempt, m->kind, m->level, m->group, m->shard, m->slot);
}

enum core_err blob_key_of_pull(struct blob_key *key, const struct message_data_pull *m)
{
    return key_fill(key, &m->run, m->round, m->attempt, m->kind, m->level, m->group, m->shard, m->slot);
}

enum core_err blob_key_of_ack(struct blob_key *key, const struct message_data_ack *m)
{
    return key_fill(key, &m->run, m->round, m->attempt, m->kind, m->level, m->group, m->shard, m->slot);
}

bool blob_key_equal(const struct blob_key *a, const struct blob_key *b)
{
    return hash_equal(&a->run, &b->run) && a->round == b->round && a->attempt == b->attempt && a->kind == b->kind &&
           a->level == b->level && a->group == b->group && a->shard == b->shard && a->slot == b->slot;
}
