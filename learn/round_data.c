// Bulk by key: what is accepted from whom, what is sent to whom. The bytes themselves are the caller's.
#include <string.h>

#include "core/check.h"
#include "learn/round_parts.h"

// ---- sending ----

void round_send_data(struct round *r, struct turn *t, const struct blob_key *key, const struct core_id *to,
                     struct outbox *out)
{
    if (r->mute) return;
    uint8_t set[8];
    struct writer w = writer_over(set, sizeof set);
    struct message m = {.type = MESSAGE_DATA};
    m.data = (struct message_data){
        .run = key->run,
        .round = key->round,
        .attempt = key->attempt,
        .kind = key->kind,
        .level = key->level,
        .group = key->group,
        .shard = key->shard,
        .slot = key->slot,
        .bits = 8,
    };
    if (key->kind == ROUND_CONTRIBUTION) {
        m.data.proof = (struct slice){t->known[key->slot].bytes, t->known[key->slot].size};
        write_u64(&w, SLOT(key->slot));
    } else {
        const struct item *item = turn_item(t, key->level, key->group, key->shard);
        m.data.bits = item->bits;
        write_u64(&w, item->set);
    }
    m.data.set = (struct slice){set, w.size};
    r->options.counts->data_sent++;
    outbox_send(out, to, &m);
}

void round_send_pull(struct round *r, const struct blob_key *key, const struct core_id *to, struct outbox *out)
{
    struct message m = {.type = MESSAGE_DATA_PULL};
    m.data_pull = (struct message_data_pull){
        .run = key->run,
        .round = key->round,
        .attempt = key->attempt,
        .kind = key->kind,
        .level = key->level,
        .group = key->group,
        .shard = key->shard,
        .slot = key->slot,
    };
    r->options.counts->pulls_sent++;
    outbox_send(out, to, &m);
}

void round_send_ack(struct round *r, const struct blob_key *key, const struct core_id *to, bool have,
                    struct outbox *out)
{
    (void)r;
    struct message m = {.type = MESSAGE_DATA_ACK};
    m.data_ack = (struct message_data_ack){
        .run = key->run,
        .round = key->round,
        .attempt = key->attempt,
        .kind = key->kind,
        .level = key->level,
        .group = key->group,
        .shard = key->shard,
        .slot = key->slot,
        .have = have,
    };
    outbox_send(out, to, &m);
}

// ---- answering pulls ----

static void pulled_contribution(struct round *r, struct turn *t, const struct core_id *from, const struct blob_key *key,
                                struct outbox *out)
{
    if (!turn_member(t, key->slot) || key->shard >= t->shards || key->attempt != t->collecting) return;
    const struct known *k = &t->known[key->slot];
    if (k->here && k->holds & 1u << key->shard) {
        r->options.counts->pulls_answered++;
        round_send_data(r, t, key, from, out);
        return;
    }
    // Its trainer can still make it again: no answer yet. Anyone else, or a trainer that came out unfit, has not got
    // it.
    if (key->slot == t->self && !t->unfit) return;
    round_send_ack(r, key, from, false, out);
}

static void pulled_sum(struct round *r, struct turn *t, uint32_t slot, const struct core_id *from,
                       const struct blob_key *key, struct outbox *out)
{
    if (!t->cut_valid || key->attempt != t->attempt || !tree_plan_has(&t->plan, key->level, key->group, key->shard))
        return;
    struct item *item = turn_item(t, key->level, key->group, key->shard);
    if (!item->set) return;
    if (item->state == ITEM_HERE) {
        r->options.counts->pulls_answered++;
        round_send_data(r, t, key, from, out);
        return;
    }
    item->waiters |= SLOT(slot);
    if (t->self != UINT32_MAX && item_candidate(item, t->self)) item->duty = true;
}

void round_pulled(struct round *r, const struct core_id *from, const struct blob_key *key, uint64_t now_ms,
                  struct outbox *out)
{
    struct turn *t = round_turn(r, key->round);
    if (!t) {
        if (key->round > r->head.round)
            round_pull(r, from, now_ms, out);
        else
            round_send_head(r, from, out);  // a straggler: that round is closed
        return;
    }
    const uint32_t index = run_members_find(t->manifest.members, t->manifest.member_count, from);
    if (index == UINT32_MAX) return;
    if (key->kind == ROUND_CONTRIBUTION)
        pulled_contribution(r, t, from, key, out);
    else
        pulled_sum(r, t, t->manifest.members[index].slot, from, key, out);
}

// ---- what arrives ----

static bool read_set(const struct message_data *m, uint64_t *set)
{
    struct reader in = reader_over(m->set.data, m->set.size);
    *set = read_u64(&in);
    return reader_finished(&in);
}

// A copy lies with its owner or a replacement, or with whoever asked for it; with anyone where all of those are gone.
static bool may_hold(const struct round *r, const struct turn *t, uint32_t slot, uint32_t shard)
{
    if (t->self == UINT32_MAX) return false;
    const struct item *item = turn_item(t, 0, tree_plan_group_of(&t->plan, 0, slot), shard);
    return item_candidate(item, t->self) || t->known[slot].pull[shard].tries || turn_acting(r, t, item) == UINT32_MAX;
}

// A result is everybody's; another sum is for the candidates of the sum above it.
static bool may_use(const struct turn *t, const struct blob_key *key)
{
    if (key->level + 1 == t->plan.levels) return true;
    const uint32_t parent = tree_plan_parent(&t->plan, key->level, key->group);
    return item_candidate(turn_item(t, key->level + 1, parent, key->shard), t->self);
}

static enum peer_wanted wanted_contribution(struct round *r, struct turn *t, const struct core_id *from,
                                            const struct message_data *m, struct peer_expected *expected,
                                            struct outbox *out)
{
    const struct blob_key *key = &expected->key;
    if (m->bits != 8 || key->shard >= t->shards) return PEER_REFUSED;
    if (key->attempt != t->collecting || !turn_member(t, key->slot) || !may_hold(r, t, key->slot, key->shard))
        return PEER_UNWANTED;
    struct known *k = &t->known[key->slot];
    enum core_err err = turn_commit_add(r, t, m->proof, COMMIT_UNCHECKED);
    if (err && err != CORE_ERR_EXISTS && err != CORE_ERR_NOT_FOUND) return PEER_REFUSED;
    // Another update of that trainer than is known here: not its holder's fault.
    struct commit c;
    if (!k->here || err || commit_read(m->proof, &c) || c.slot != key->slot) return PEER_UNWANTED;
    expected->bits = 8;
    expected->hash = k->commit.shards[key->shard];
    expected->size = turn_shard_bytes(r, t, key->shard, 8);
    if (k->holds & 1u << key->shard) {
        round_send_ack(r, key, from, true, out);  // the ack was lost
        return PEER_UNWANTED;
    }
    return PEER_WANTED;
}

static enum peer_wanted wanted_sum(struct round *r, struct turn *t, const struct message_data *m,
                                   struct peer_expected *expected)
{
    const struct blob_key *key = &expected->key;
    uint64_t set;
    if (!read_set(m, &set) || !sum_bits_valid((uint32_t)m->bits) || m->bits > 64) return PEER_REFUSED;
    const uint32_t attempt = t->cut_valid ? t->attempt : 0;
    if (key->attempt != attempt || !t->plan_made || t->self == UINT32_MAX) return PEER_UNWANTED;
    if (!tree_plan_has(&t->plan, key->level, key->group, key->shard)) return PEER_REFUSED;
    struct item *item = turn_item(t, key->level, key->group, key->shard);
    expected->bits = (uint32_t)m->bits;
    expected->size = turn_shard_bytes(r, t, key->shard, expected->bits);
    if (item->state != ITEM_NONE || t->alone || !may_use(t, key)) return PEER_UNWANTED;
    if (t->cut_valid) return set == item->set && m->bits == item->bits ? PEER_WANTED : PEER_REFUSED;
    // The sender knows the cut already, this peer does not yet: keep it, and see then.
    return set && item->early_set != set ? PEER_WANTED : PEER_UNWANTED;
}

enum peer_wanted round_data(struct round *r, const struct core_id *from, const struct message_data *m,
                            struct peer_expected *expected, uint64_t now_ms, struct outbox *out)
{
    *expected = (struct peer_expected){0};
    if (!r->started || r->frozen) return PEER_UNWANTED;
    r->now_ms = now_ms;
    if (blob_key_of_data(&expected->key, m)) return PEER_REFUSED;
    struct turn *t = round_turn(r, m->round);
    if (!t) {
        if (m->round > r->head.round) round_pull(r, from, now_ms, out);
        return PEER_UNWANTED;
    }
    if (run_members_find(t->manifest.members, t->manifest.member_count, from) == UINT32_MAX) return PEER_UNWANTED;
    if (m->kind == ROUND_CONTRIBUTION) {
        const enum peer_wanted wanted = wanted_contribution(r, t, from, m, expected, out);
        round_evidence_tell(r, out);
        return wanted;
    }
    return wanted_sum(r, t, m, expected);
}

void round_stored(struct round *r, const struct core_id *from, const struct message_data *m, uint64_t now_ms,
                  struct outbox *out)
{
    if (!r->started || r->frozen) return;
    r->now_ms = now_ms;
    struct blob_key key;
    struct turn *t = round_turn(r, m->round);
    if (!t || blob_key_of_data(&key, m)) return;
    r->options.counts->data_stored++;
    if (key.kind == ROUND_CONTRIBUTION) {
        struct commit c;  // what was stored is what the proof said, unless the known commit changed meanwhile
        struct known *k = &t->known[key.slot];
        if (!k->here || key.shard >= t->shards || key.attempt != t->collecting || commit_read(m->proof, &c) ||
            !commit_same_work(&k->commit, &c))
            return;
        k->holds |= (uint16_t)(1u << key.shard);
        t->lost &= ~SLOT(key.slot);  // it is there after all
        round_send_ack(r, &key, from, true, out);
        round_advance(r, now_ms, out);
        return;
    }
    uint64_t set;
    if (!read_set(m, &set) || !tree_plan_has(&t->plan, key.level, key.group, key.shard)) return;
    struct item *item = turn_item(t, key.level, key.group, key.shard);
    if (!t->cut_valid) {
        if (key.attempt == 0) {
            item->early_set = set;
            item->early_bits = (uint8_t)m->bits;
        }
        return;
    }
    if (key.attempt != t->attempt || item->state != ITEM_NONE || t->alone || set != item->set || m->bits != item->bits)
        return;
    turn_item_here(r, t, key.level, key.group, key.shard, false, now_ms, out);
    round_advance(r, now_ms, out);
}
