// Every message of core/message.def with nonsense in it, made from the table, so that a new message is attacked as soon
// as it is there. Links' own greetings are left to strangers.c.
#include <string.h>

#include "hostile.h"

enum { LONGEST = 4096, FIELDS_MAX = 32, HEADER = 10 };

enum nonsense { NOTHING, EXTREMES, RANDOM, NONSENSE };

static void fill(struct hostile *h, const struct message_info *info, enum nonsense kind, struct message *m)
{
    static uint8_t bytes[FIELDS_MAX][LONGEST];
    *m = (struct message){.type = info->type};
    for (uint32_t i = 0; i < info->count && i < FIELDS_MAX; i++) {
        uint8_t *field = (uint8_t *)m + info->fields[i].offset;
        size_t size = info->fields[i].kind == MESSAGE_U64   ? 8
                      : info->fields[i].kind == MESSAGE_SIG ? sizeof(struct core_sig)
                                                            : CORE_HASH_SIZE;
        if (info->fields[i].kind == MESSAGE_BYTES) {
            size_t most = info->body_limit / 2 < LONGEST ? info->body_limit / 2 : LONGEST;
            size = kind == NOTHING    ? 0
                   : kind == EXTREMES ? most / info->count
                                      : rng_below(&h->rng, most / info->count + 1);
            hostile_random(h, bytes[i], size);
            if (kind == EXTREMES) memset(bytes[i], 0xff, size);
            struct slice view = {bytes[i], size};
            memcpy(field, &view, sizeof view);
            continue;
        }
        if (kind == RANDOM) hostile_random(h, field, size);
        if (kind == EXTREMES) memset(field, 0xff, size);
    }
}

// Each type with fields of nothing, of extremes and of noise; well formed, so that it reaches whoever it is for. Types
// `seed`, `seed` + `count`, .. of the table, so that several members can share it: one is let go after 16 strikes.
static void fields(struct hostile *h)
{
    struct hostile_link link = {0};
    const struct message_info *info;
    for (uint32_t i = (uint32_t)h->seed; (info = message_info_at(i)) != NULL; i += h->count) {
        if (info->type <= MESSAGE_REFUSED || info->type == MESSAGE_BYE || info->lane == LANE_BULK) continue;
        for (int kind = 0; kind < NONSENSE; kind++) {
            struct message m;
            fill(h, info, (enum nonsense)kind, &m);
            if ((!link.socket || link.closed) && !hostile_enter(h, &link, LANE_CONTROL)) return;
            hostile_send(h, &link, &m);
            hostile_listen(h, &link, 10);
            if (link.closed) hostile_close(&link);
        }
    }
    if (link.socket) hostile_listen(h, &link, 300);
    hostile_close(&link);
}

// A right header of a type of the table, and a body that is no msgpack array of its fields: ends the link at once.
static void body(struct hostile *h)
{
    uint32_t types = 0;
    while (message_info_at(types)) types++;
    const struct message_info *info = message_info_at((uint32_t)(h->seed % types));
    uint8_t head[HEADER + 64] = {'M', 'Y', MESSAGE_VERSION, 0, (uint8_t)info->type, (uint8_t)(info->type >> 8)};
    memcpy(head + 6, h->charter.id.bytes, 4);
    hostile_random(h, head + HEADER, 64);
    struct hostile_link link = {0};
    if (!hostile_enter(h, &link, LANE_CONTROL)) return;
    hostile_send_frames(h, &link, &(struct slice){head, sizeof head}, 1);
    hostile_listen(h, &link, 1000 * h->seconds);
    hostile_close(&link);
}

// A type that there is not.
static void unknown_type(struct hostile *h)
{
    uint8_t head[HEADER + 1] = {'M', 'Y', MESSAGE_VERSION, 0, 0xee, 0x0e};
    memcpy(head + 6, h->charter.id.bytes, 4);
    head[HEADER] = 0x90;
    struct hostile_link link = {0};
    if (!hostile_enter(h, &link, LANE_CONTROL)) return;
    hostile_send_frames(h, &link, &(struct slice){head, sizeof head}, 1);
    hostile_listen(h, &link, 1000 * h->seconds);
    hostile_close(&link);
}

// A body above its type's limit.
static void too_large(struct hostile *h)
{
    static uint8_t head[128 << 10] = {'M', 'Y', MESSAGE_VERSION, 0, MESSAGE_PING, 0};
    memcpy(head + 6, h->charter.id.bytes, 4);
    struct hostile_link link = {0};
    if (!hostile_enter(h, &link, LANE_CONTROL)) return;
    hostile_send_frames(h, &link, &(struct slice){head, sizeof head}, 1);
    hostile_listen(h, &link, 1000 * h->seconds);
    hostile_close(&link);
}

const struct attack table_attacks[] = {
    {"fields", true, fields},       {"body", true, body}, {"unknown-type", true, unknown_type},
    {"too-large", true, too_large}, {NULL, false, NULL},
};
