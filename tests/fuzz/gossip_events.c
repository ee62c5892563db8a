// A stream of events into one gossip: links of members and strangers, messages of every kind with fields from the
// input, ticks and pauses. It must survive them, keep to its limits and never let time's next event lie in the past.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/gossip.h"
#include "gossip/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PEERS = 8, FIELD_MAX = 300 };

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

// Half of what comes is well formed: a record or an accusation that one of the peers signed.
static struct slice take_object(struct input *in, const struct core_key *keys, uint8_t *buffer)
{
    const uint8_t kind = take(in), who = take(in) % PEERS;
    if (kind % 4 == 0) return take_bytes(in);
    if (kind % 4 == 1) {
        struct accusation a = {keys[who].id, keys[take(in) % PEERS].id, take(in) % 4, take(in), RANK_SUSPECT};
        if (kind & 8) a.rank = RANK_DEAD;
        accusation_write(buffer, &a, &keys[who]);
        return (struct slice){buffer, ACCUSATION_SIZE};
    }
    struct record r = {.id = keys[who].id, .incarnation = take(in) % 4, .seq = take(in) % 8, .left = kind & 16};
    r.addresses = (struct slice){(const uint8_t *)"a:1", kind & 32 ? 3 : 0};
    r.watcher_count = take(in) % 3;
    for (uint32_t i = 0; i < r.watcher_count; i++) r.watchers[i] = keys[take(in) % PEERS].id;
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct core_key keys[PEERS];
    static struct outbox out;
    if (!out.effects) {
        if (sign_start() || outbox_open(&out, 4096, 4 << 20)) abort();
        for (uint8_t i = 0; i < PEERS; i++) keys[i] = sign_key_from_seed((uint8_t[CORE_SEED_SIZE]){i});
    }
    struct input in = {data, size};
    struct gossip_options o = {.key = keys[0],
                               .seed = 1,
                               .members_max = 6,
                               .passive_size = 4,
                               .active_size = 3,
                               .cast_count = 8,
                               .cast_bytes = 2000};
    o.addresses = (struct slice){(const uint8_t *)"s:1", 3};
    struct gossip *g;
    uint64_t now = 1000;
    if (gossip_open(&g, &o, now)) abort();
    while (in.size > 0) {
        const uint8_t what = take(&in);
        const struct core_id *peer = &keys[take(&in) % PEERS].id;
        uint8_t buffer[RECORD_MAX], entry[GOSSIP_ENTRY_MAX];
        struct message m = {0};
        enum core_err err;
        switch (what % 8) {
        case 0: gossip_link_up(g, peer, now, &out); break;
        case 1: gossip_link_down(g, peer, now, &out); break;
        case 2: gossip_dial_failed(g, peer, now, &out); break;
        case 3:
            now += (uint64_t)take(&in) * (what & 8 ? 100 : 4);
            gossip_tick(g, now, &out);
            check(gossip_next_ms(g) > now && gossip_next_ms(g) <= now + 500);
            break;
        case 4:
            if (take(&in) == 7)
                gossip_leave(g, now, &out);
            else if (gossip_cast(g, TOPIC_RUN, take_bytes(&in), now, &out))
                abort();
            break;
        default: {
            const struct message_info *info = message_info_at(6 + take(&in) % 18);
            m.type = info->type;
            fill(&m, &in, keys, buffer);
            complete(&m, entry);
            (void)gossip_message(g, peer, &m, now, &out, &err);
            break;
        }
        }
        check(out.dropped == 0 && gossip_member_count(g) <= 6 && gossip_neighbors(g, NULL, 0) <= 3);
        for (size_t i = 0; i < out.count; i++)
            check(!id_equal(&out.effects[i].to, &keys[0].id) || out.effects[i].kind == EFFECT_MEMBER);
        outbox_reset(&out);
    }
    gossip_close(g);
    return 0;
}
