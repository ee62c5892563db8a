// Attacks by a member gone bad: what it says is well formed and comes over a right link, but is false or too much.
#include <string.h>

#include "core/effect.h"
#include "gossip/cast_store.h"
#include "gossip/record.h"
#include "hostile.h"
#include "mesh/address.h"

enum { BODY = 200 << 10, SETTLE_MS = 500 };

static struct member_record own_record(struct hostile *h, uint64_t incarnation, uint64_t seq)
{
    return (struct member_record){.id = h->key.id,
                                  .incarnation = incarnation,
                                  .seq = seq,
                                  .session = h->seed,
                                  .host = {{9, 9, 9}},
                                  .name = {(const uint8_t *)h->name, strlen(h->name)},
                                  .certificate = {h->certificate, h->certificate_size}};
}

static bool send_records(struct hostile *h, struct hostile_link *link, struct slice record, struct slice accusation)
{
    static uint8_t body[BODY];
    struct writer w = writer_over(body, sizeof body);
    write_slice(&w, record);
    write_slice(&w, accusation);
    struct message m = {.type = MESSAGE_MEMBERS_RECORDS};
    m.members_records.records = (struct slice){body, w.size};
    return hostile_send(h, link, &m);
}

static bool send_cast(struct hostile *h, struct hostile_link *link, enum cast_topic topic, uint64_t repeat,
                      struct slice payload)
{
    struct message m = {.type = MESSAGE_CAST};
    m.cast.origin = h->key.id;
    m.cast.topic = topic;
    m.cast.repeat = repeat;
    m.cast.payload = payload;
    m.cast.id = cast_id_of(&m.cast);
    return hostile_send(h, link, &m);
}

// Each of `count` rounds: a record of its own that was altered, one of another member that it signed itself, one of a
// member that there is not, and one from so far ahead that it could not be outlived.
static void forged_records(struct hostile *h)
{
    struct hostile_link link = {0};
    if (!hostile_enter(h, &link, LANE_CONTROL)) return;
    for (uint32_t i = 0; i < h->count && !link.closed; i++) {
        uint8_t bytes[RECORD_MAX];
        struct member_record r = own_record(h, 1000 + i, 1);
        size_t size = record_write(bytes, &r, &h->key);
        bytes[size - 1] ^= 1;
        send_records(h, &link, (struct slice){bytes, size}, (struct slice){0});
        r.id = h->about;
        size = record_write(bytes, &r, &h->key);
        send_records(h, &link, (struct slice){bytes, size}, (struct slice){0});
        struct core_key nobody = sign_key_random();
        r.id = nobody.id;
        size = record_write(bytes, &r, &nobody);
        send_records(h, &link, (struct slice){bytes, size}, (struct slice){0});
        r = own_record(h, RECORD_INCARNATION_MAX + 1, 1);
        size = record_write(bytes, &r, &h->key);
        send_records(h, &link, (struct slice){bytes, size}, (struct slice){0});
        hostile_listen(h, &link, 20);
    }
    hostile_listen(h, &link, SETTLE_MS);
    hostile_close(&link);
}

// Says `count` times that --about is silent: of its first incarnations, one after the other, so that each refutation
// is answered by the next accusation.
static void accuse(struct hostile *h)
{
    struct hostile_link link = {0};
    if (!hostile_enter(h, &link, LANE_CONTROL)) return;
    uint8_t own[RECORD_MAX];
    struct member_record r = own_record(h, 2, 1);
    size_t size = record_write(own, &r, &h->key);
    send_records(h, &link, (struct slice){own, size}, (struct slice){0});
    for (uint32_t i = 0; i < h->count && !link.closed; i++) {
        uint8_t bytes[ACCUSATION_SIZE];
        struct accusation a = {.accuser = h->key.id, .target = h->about, .incarnation = 1 + i};
        accusation_write(bytes, &a, &h->key);
        send_cast(h, &link, TOPIC_SUSPICION, 0, (struct slice){bytes, sizeof bytes});
        hostile_listen(h, &link, 1000 * h->seconds / h->count);
    }
    hostile_listen(h, &link, SETTLE_MS);
    hostile_close(&link);
}

// An accusation that another made (its signature is wrong).
static void accuse_as_another(struct hostile *h)
{
    struct hostile_link link = {0};
    if (!hostile_enter(h, &link, LANE_CONTROL)) return;
    for (uint32_t i = 0; i < h->count && !link.closed; i++) {
        uint8_t bytes[ACCUSATION_SIZE];
        struct accusation a = {.accuser = h->target, .target = h->about, .incarnation = 1};
        accusation_write(bytes, &a, &h->key);
        send_cast(h, &link, TOPIC_SUSPICION, i, (struct slice){bytes, sizeof bytes});
        hostile_listen(h, &link, 20);
    }
    hostile_listen(h, &link, SETTLE_MS);
    hostile_close(&link);
}

// Two stories about itself for one place in the order of its records, again and again.
static void equivocate(struct hostile *h)
{
    struct hostile_link link = {0};
    if (!hostile_enter(h, &link, LANE_CONTROL)) return;
    for (uint32_t i = 0; i < h->count && !link.closed; i++) {
        for (int side = 0; side < 2; side++) {
            uint8_t bytes[RECORD_MAX];
            struct member_record r = own_record(h, 5, 10 + i);
            r.site = (struct slice){(const uint8_t *)(side ? "here" : "away"), 4};
            size_t size = record_write(bytes, &r, &h->key);
            send_records(h, &link, (struct slice){bytes, size}, (struct slice){0});
        }
        hostile_listen(h, &link, 50);
    }
    hostile_listen(h, &link, SETTLE_MS);
    hostile_close(&link);
}

// Old records of its own and one broadcast, again and again.
static void replay(struct hostile *h)
{
    struct hostile_link link = {0};
    if (!hostile_enter(h, &link, LANE_CONTROL)) return;
    uint8_t old[RECORD_MAX], new[RECORD_MAX];
    struct member_record r = own_record(h, 3, 1);
    size_t old_size = record_write(old, &r, &h->key);
    r = own_record(h, 4, 1);
    size_t new_size = record_write(new, &r, &h->key);
    send_records(h, &link, (struct slice){new, new_size}, (struct slice){0});
    for (uint32_t i = 0; i < h->count && !link.closed; i++) {
        send_records(h, &link, (struct slice){old, old_size}, (struct slice){0});
        send_cast(h, &link, TOPIC_MEMBER, 0, (struct slice){old, old_size});
        if (i % 16 == 15) hostile_listen(h, &link, 20);
    }
    hostile_listen(h, &link, SETTLE_MS);
    hostile_close(&link);
}

// As much as goes of one kind, for `seconds`; comes back as soon as it may when it is shut out.
static void flood(struct hostile *h, bool (*one)(struct hostile *h, struct hostile_link *link, uint64_t number))
{
    uint64_t end = hostile_clock_ms() + 1000ull * h->seconds, number = 0;
    while (hostile_clock_ms() < end) {
        struct hostile_link link = {.silent = true};
        if (!hostile_enter(h, &link, LANE_CONTROL)) return;
        while (!link.closed && hostile_clock_ms() < end && one(h, &link, number++))
            if (number % 256 == 0) hostile_listen(h, &link, 1);
        hostile_close(&link);
    }
}

static bool one_cast(struct hostile *h, struct hostile_link *link, uint64_t number)
{
    static uint8_t payload[1024];
    memcpy(payload, &number, sizeof number);
    return send_cast(h, link, TOPIC_ENTER, number, (struct slice){payload, sizeof payload});
}

static bool one_ping(struct hostile *h, struct hostile_link *link, uint64_t number)
{
    struct message m = {.type = MESSAGE_PING};
    m.ping.nonce = number;
    return hostile_send(h, link, &m);
}

// A shuffle full of peers that there are not, all at addresses of ours.
static bool one_shuffle(struct hostile *h, struct hostile_link *link, uint64_t number)
{
    static uint8_t body[8000];
    struct writer w = writer_over(body, sizeof body);
    for (int i = 0; i < 16; i++) {
        struct address a;
        struct address_list list = {0};
        uint8_t encoded[ADDRESS_LIST_BYTES];
        struct core_key fake = sign_key_random();
        if (address_parse("127.0.0.9:9", &a) || address_list_add(&list, &a)) return false;
        write_bytes(&w, fake.id.bytes, CORE_ID_SIZE);
        write_slice(&w, (struct slice){encoded, address_list_encode(&list, encoded)});
    }
    struct message m = {.type = number % 2 ? MESSAGE_VIEW_SHUFFLE : MESSAGE_VIEW_SHUFFLED};
    if (number % 2) {
        m.view_shuffle.origin = h->key.id;
        m.view_shuffle.hops_left = UINT64_MAX;
        m.view_shuffle.peers = (struct slice){body, w.size};
    } else {
        m.view_shuffled.peers = (struct slice){body, w.size};
    }
    return hostile_send(h, link, &m);
}

static void flood_casts(struct hostile *h)
{
    flood(h, one_cast);
}

static void flood_pings(struct hostile *h)
{
    flood(h, one_ping);
}

// Slowly enough not to be a flood: what counts is what the other believes.
static void eclipse(struct hostile *h)
{
    struct hostile_link link = {0};
    if (!hostile_enter(h, &link, LANE_CONTROL)) return;
    uint64_t end = hostile_clock_ms() + 1000ull * h->seconds;
    for (uint64_t i = 0; hostile_clock_ms() < end && one_shuffle(h, &link, i); i++) hostile_listen(h, &link, 50);
    hostile_close(&link);
}

const struct attack member_attacks[] = {
    {"forged-records", true, forged_records},
    {"accuse", true, accuse},
    {"accuse-as-another", true, accuse_as_another},
    {"equivocate", true, equivocate},
    {"replay", true, replay},
    {"flood-casts", true, flood_casts},
    {"flood-pings", true, flood_pings},
    {"eclipse", true, eclipse},
    {NULL, false, NULL},
};
