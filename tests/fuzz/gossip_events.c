// A stream of events into one gossip: links of members and strangers, messages of every kind with fields from the
// input, its own last messages sent back to it, whole or broken, ticks and pauses. It must survive them, keep to its
// limits, never believe itself dead, never let time's next event lie in the past, and after each event its table, the
// table's counts and digest, and the pool must agree with a recomputation.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/gossip.h"
#include "gossip/gossip_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PEERS = 12, MEMBERS_MAX = 9, ACTIVE = 3, FIELD_MAX = 300, COPY_MAX = 1 << 16 };

struct input {
    const uint8_t *data;
    size_t size;
};

static uint8_t take(struct input *in)
{
    if (in->size == 0) return 0;
    in->size--;
    return *in->data++;
}

static struct slice take_bytes(struct input *in)
{
    size_t n = (size_t)take(in) * 2 % FIELD_MAX;
    if (n > in->size) n = in->size;
    const struct slice s = {in->data, n};
    in->data += n;
    in->size -= n;
    return s;
}

static size_t take_accusation(struct input *in, const struct core_key *keys, uint8_t *buffer)
{
    const uint8_t who = take(in) % PEERS;
    const struct accusation a = {
        .accuser = keys[who].id, .target = keys[take(in) % PEERS].id, .incarnation = take(in) % 4};
    accusation_write(buffer, &a, &keys[who]);
    return ACCUSATION_SIZE;
}

// Half of what comes is well formed: a record or one or two accusations that peers signed.
static struct slice take_object(struct input *in, const struct core_key *keys, uint8_t *buffer)
{
    const uint8_t kind = take(in);
    if (kind % 4 == 0) return take_bytes(in);
    if (kind % 4 == 1) {
        size_t size = take_accusation(in, keys, buffer);
        if (kind & 8) size += take_accusation(in, keys, buffer + size);
        return (struct slice){buffer, size};
    }
    const uint8_t who = take(in) % PEERS;
    struct core_id watchers[2];
    struct member_record r = {.id = keys[who].id, .incarnation = take(in) % 4, .seq = take(in) % 8, .left = kind & 16};
    r.session = kind >> 6;
    r.addresses = (struct slice){(const uint8_t *)"a:1", kind & 32 ? 3 : 0};
    r.watcher_count = take(in) % 3;
    r.watchers = watchers;
    for (uint32_t i = 0; i < r.watcher_count; i++) watchers[i] = keys[take(in) % PEERS].id;
    return (struct slice){buffer, record_write(buffer, &r, &keys[who])};
}

static void fill(struct message *m, struct input *in, const struct core_key *keys, uint8_t *buffer)
{
    const struct message_info *info = message_info(m->type);
    for (uint32_t i = 0; i < info->count; i++) {
        uint8_t *field = (uint8_t *)m + info->fields[i].offset;
        switch (info->fields[i].kind) {
        case MESSAGE_U64: {
            const uint64_t value = take(in);
            memcpy(field, &value, sizeof value);
            break;
        }
        case MESSAGE_ID: memcpy(field, keys[take(in) % PEERS].id.bytes, CORE_ID_SIZE); break;
        case MESSAGE_HASH: field[0] = take(in); break;
        case MESSAGE_SIG: break;
        case MESSAGE_BYTES: {
            const struct slice s = take_object(in, keys, buffer);
            memcpy(field, &s, sizeof s);
            break;
        }
        }
    }
}

// What a well-formed MEMBERS_RECORDS or CAST needs around its object.
static void complete(struct message *m, uint8_t *entry)
{
    if (m->type == MESSAGE_MEMBERS_RECORDS && m->members_records.records.size < RECORD_MAX) {
        struct writer w = writer_over(entry, GOSSIP_ENTRY_MAX);
        write_slice(&w, m->members_records.records);
        write_slice(&w, (struct slice){0});
        m->members_records.records = (struct slice){entry, w.size};
    }
    if (m->type != MESSAGE_CAST) return;
    uint8_t head[CORE_ID_SIZE + 16];
    struct writer w = writer_over(head, sizeof head);
    write_bytes(&w, m->cast.origin.bytes, CORE_ID_SIZE);
    write_u64(&w, m->cast.topic);
    write_u64(&w, m->cast.repeat);
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, head, w.size);
    hash_add(&s, m->cast.payload.data, m->cast.payload.size);
    if (m->cast.id.bytes[0] & 1) m->cast.id = hash_end(&s);
}

// A message that it sent before, perhaps with a broken byte. False if there is none.
static bool echo(struct message *m, struct input *in, const struct outbox *sent, uint8_t *copy)
{
    if (sent->count == 0) return false;
    const struct effect *e = &sent->effects[take(in) % sent->count];
    if (e->kind != EFFECT_SEND) return false;
    *m = e->message;
    const uint8_t flip = take(in);
    const struct message_info *info = message_info(m->type);
    for (uint32_t i = 0; i < info->count; i++) {
        if (info->fields[i].kind != MESSAGE_BYTES) continue;
        struct slice *s = (struct slice *)(void *)((uint8_t *)m + info->fields[i].offset);
        if (s->size == 0 || s->size > COPY_MAX) continue;
        memcpy(copy, s->data, s->size);
        s->data = copy;
        if (flip) copy[(size_t)take(in) * 7 % s->size] ^= flip;
        break;
    }
    return true;
}

static void verify(const struct gossip *g, const struct outbox *out)
{
    const struct members *m = &g->members;
    check(out->dropped == 0 && m->count <= MEMBERS_MAX && gossip_neighbors(g, NULL, 0) <= ACTIVE);
    for (size_t i = 0; i < out->count; i++)
        check(!id_equal(&out->effects[i].to, &g->self.id) || out->effects[i].kind == EFFECT_MEMBER);
    uint32_t states[4] = {0}, held = m->tombstone_count + 2 * m->proof_count;
    struct pool_mark sum = {{0}};
    for (uint32_t i = 0; i < m->count; i++) {
        const struct member *member = members_at(m, i);
        states[members_state(member)]++;
        held += 1 + members_accusations(member);
        check(member->accusations[0] || (!member->accusations[1] && !member->dead));
        check(i == 0 || id_compare(&members_at(m, i - 1)->record->id, &member->record->id) < 0);
        const struct pool_mark mark = members_mark(member);
        if (!member->quiet) digest_xor(&sum, &mark);
    }
    check(memcmp(states, m->states, sizeof states) == 0 && digest_equal(&sum, &m->digest.root));
    check(record_pool_count(m->pool) <= held);
    check(gossip_state_of(g, &g->self.id) == (g->self.left ? GOSSIP_LEFT : GOSSIP_ALIVE));
    check(g->monitor.doubt_count <= MONITOR_DOUBTS_MAX && g->monitor.inquiry_count <= MONITOR_INQUIRIES_MAX);
    check(m->tombstone_count <= MEMBERS_TOMBSTONES_MAX && m->conduct.count <= CONDUCT_ROWS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct core_key keys[PEERS];
    static struct outbox outs[2];
    static uint8_t copy[COPY_MAX];
    if (!outs[0].effects) {
        if (sign_start() || outbox_open(&outs[0], 4096, 16 << 20) || outbox_open(&outs[1], 4096, 16 << 20)) abort();
        for (uint8_t i = 0; i < PEERS; i++) keys[i] = sign_key_from_seed((uint8_t[CORE_SEED_SIZE]){i});
    }
    struct input in = {data, size};
    struct gossip_options o = {.key = keys[0],
                               .seed = 1,
                               .members_max = MEMBERS_MAX,
                               .passive_size = 4,
                               .active_size = ACTIVE,
                               .cast_count = 8,
                               .cast_bytes = 2000};
    o.addresses = (struct slice){(const uint8_t *)"s:1", 3};
    struct gossip *g;
    uint64_t now = 1000;
    if (gossip_open(&g, &o, now)) abort();
    for (uint32_t turn = 0; in.size > 0; turn++) {
        struct outbox *out = &outs[turn % 2], *sent = &outs[!(turn % 2)];
        outbox_reset(out);
        const uint8_t what = take(&in);
        const struct core_id *peer = &keys[take(&in) % PEERS].id;
        uint8_t buffer[RECORD_MAX], entry[GOSSIP_ENTRY_MAX];
        struct message m = {0};
        enum core_err err;
        switch (what % 10) {
        case 0: gossip_link_up(g, peer, now, out); break;
        case 1: gossip_link_down(g, peer, now, out); break;
        case 2: gossip_dial_failed(g, peer, now, out); break;
        case 3:
        case 4:
            // Small steps, the next thing that is due, or a pause that a clock would not forget.
            if (what & 16)
                now = gossip_next_ms(g) > now ? gossip_next_ms(g) : now;
            else
                now += (uint64_t)take(&in) * (what & 32 ? 100 : what & 64 ? 100000 : 4);
            gossip_tick(g, now, out);
            check(gossip_next_ms(g) > now);
            break;
        case 5:
            if (take(&in) == 7)
                gossip_leave(g, now, out);
            else if (gossip_cast(g, TOPIC_RUN, take_bytes(&in), now, out))
                abort();
            break;
        case 6:
            if (echo(&m, &in, sent, copy)) (void)gossip_message(g, peer, &m, now, out, &err);
            break;
        default: {
            const struct message_info *info;
            do info = message_info_at(take(&in) % 40);
            while (!info && in.size > 0);
            if (!info) break;
            m.type = info->type;
            fill(&m, &in, keys, buffer);
            complete(&m, entry);
            (void)gossip_message(g, peer, &m, now, out, &err);
            break;
        }
        }
        verify(g, out);
    }
    gossip_close(g);
    outbox_reset(&outs[0]);
    outbox_reset(&outs[1]);
    return 0;
}
