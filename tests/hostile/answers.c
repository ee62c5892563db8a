// A member that answers the questions of `doctor`, `trace` and `map` as it should not: one way an attack, for as long
// as it is asked. It is alive otherwise: it has a record and answers pings.
#include <string.h>
#include <time.h>

#include "gossip/record.h"
#include "hostile.h"

enum { HEADER = 10, SPANS = 57, SPAN_COUNT = 32, LIE_S = 86400 };

// An escape for a terminal, HTML, a bell, a mark that turns what follows, and no UTF-8: as long as a device's name.
static const char unsafe[CORE_ID_SIZE] = "\x1b[2J<script>\x07\xe2\x80\xae\xff";
enum { UTF8 = 16 };  // bytes of it before what is none

// Body and all; wire_encode keeps to the type's limits.
static void send_too_large(struct hostile *h, struct hostile_link *link, enum message_type type)
{
    static uint8_t bytes[64 << 10] = {'M', 'Y', MESSAGE_VERSION, 0};
    bytes[4] = (uint8_t)type;
    memcpy(bytes + 6, h->charter.id.bytes, 4);
    hostile_send_frames(h, link, &(struct slice){bytes, sizeof bytes}, 1);
}

// The three answers to the one question: what is asked says which of them goes. `text` stands where texts and lists do.
static void answer(struct hostile *h, struct hostile_link *link, const struct message *asked, uint64_t more,
                   uint64_t clock_ms, struct slice text)
{
    struct message m = {0};
    if (asked->type == MESSAGE_CHECK_ASK) {
        m.type = MESSAGE_CHECK_TELL;
        m.check_tell = (struct message_check_tell){
            .nonce = asked->check_ask.nonce + more, .clock_ms = clock_ms, .last = 1, .reached = text};
    } else if (asked->type == MESSAGE_TRACE_ASK) {
        m.type = MESSAGE_TRACE_TELL;
        m.trace_tell = (struct message_trace_tell){.nonce = asked->trace_ask.nonce + more, .spans = text};
    } else if (asked->type == MESSAGE_LINKS_ASK) {
        m.type = MESSAGE_LINKS_TELL;
        m.links_tell.nonce = asked->links_ask.nonce + more;
        m.links_tell.devices = text;
    }
    if (m.type) hostile_send(h, link, &m);
}

static bool asks(const struct message *m)
{
    return m->type == MESSAGE_CHECK_ASK || m->type == MESSAGE_TRACE_ASK || m->type == MESSAGE_LINKS_ASK;
}

// ---- one way each ----

static void malformed(struct hostile *h, struct hostile_link *link, const struct message *m)
{
    static const uint8_t cut[] = {1, 0xff, 0xff, 0xff, 0xff, '1', '2', '7'};
    answer(h, link, m, 0, UINT64_MAX, (struct slice){cut, sizeof cut});
}

static void too_large(struct hostile *h, struct hostile_link *link, const struct message *m)
{
    if (asks(m)) send_too_large(h, link, (enum message_type)(m->type + 1));
}

// As the fields want them, but for what the texts say: an address that answers, a device's name, a phase that is not.
static void escapes(struct hostile *h, struct hostile_link *link, const struct message *m)
{
    uint8_t bytes[512];
    struct writer w = writer_over(bytes, sizeof bytes);
    if (m->type == MESSAGE_TRACE_ASK) {
        write_u8(&w, 0x1b);
        write_u64(&w, 1000000);
        write_u64(&w, 1000000);
        write_u64(&w, 0);
        write_bytes(&w, unsafe, CORE_ID_SIZE);
    } else {
        for (size_t size = UTF8; size <= UTF8 + 1; size++) {
            write_u8(&w, 1);  // "a peer answers" there, or a GPU
            if (m->type == MESSAGE_LINKS_ASK) write_u8(&w, 255);
            write_slice(&w, (struct slice){(const uint8_t *)unsafe, size});
        }
    }
    answer(h, link, m, 0, 1ull << 49, (struct slice){bytes, w.size});
}

// Answers to what nobody asked, then to what was asked of another: other numbers, and the question's own twice.
static void for_another(struct hostile *h, struct hostile_link *link, const struct message *m)
{
    for (uint64_t more = 1; more <= 4; more++) answer(h, link, m, more * more, 0, (struct slice){0});
    answer(h, link, m, UINT64_MAX, 0, (struct slice){0});
    answer(h, link, m, 0, 0, (struct slice){0});
    answer(h, link, m, 0, 0, (struct slice){0});
}

// Well formed and false: its clock is a day behind, nothing answers, it took a month for each span.
static void lies(struct hostile *h, struct hostile_link *link, const struct message *m)
{
    uint8_t bytes[SPAN_COUNT * SPANS] = {0};
    struct writer w = writer_over(bytes, sizeof bytes);
    const uint64_t us = 80000ull * 1000000;
    for (uint64_t i = SPAN_COUNT; m->type == MESSAGE_TRACE_ASK && i > 0; i--) {
        write_u8(&w, 3);
        write_u64(&w, i * us);
        write_u64(&w, us);
        write_u64(&w, 0);
        write_bytes(&w, h->target.bytes, CORE_ID_SIZE);
    }
    answer(h, link, m, 0, 1000 * ((uint64_t)time(NULL) - LIE_S), (struct slice){bytes, w.size});
}

static void never(struct hostile *h, struct hostile_link *link, const struct message *m)
{
    (void)link;
    h->sent += asks(m);  // so that who started it sees that it was asked
}

// ---- the member ----

static void say_alive(struct hostile *h, struct hostile_link *link)
{
    uint8_t record[RECORD_MAX], body[RECORD_MAX + 64];
    struct member_record r = {.id = h->key.id,
                              .incarnation = 1000 + h->seed,
                              .seq = 1,
                              .session = h->seed,
                              .host = {{9, 9, 9}},
                              .name = {(const uint8_t *)h->name, strlen(h->name)},
                              .certificate = {h->certificate, h->certificate_size}};
    struct writer w = writer_over(body, sizeof body);
    write_slice(&w, (struct slice){record, record_write(record, &r, &h->key)});
    write_slice(&w, (struct slice){0});
    struct message m = {.type = MESSAGE_MEMBERS_RECORDS};
    m.members_records.records = (struct slice){body, w.size};
    hostile_send(h, link, &m);
    h->sent = 0;
}

static void stay(struct hostile *h, hostile_asked *asked)
{
    const uint64_t end_ms = hostile_clock_ms() + 1000ull * h->seconds;
    while (hostile_clock_ms() < end_ms) {
        struct hostile_link link = {.asked = asked};
        if (!hostile_enter(h, &link, LANE_CONTROL)) return;
        say_alive(h, &link);
        while (hostile_clock_ms() < end_ms && hostile_listen(h, &link, 100)) continue;
        hostile_close(&link);
    }
}

#define ATTACK(way)                           \
    static void stay_##way(struct hostile *h) \
    {                                         \
        stay(h, way);                         \
    }
ATTACK(malformed)
ATTACK(too_large)
ATTACK(escapes)
ATTACK(for_another)
ATTACK(lies)
ATTACK(never)

const struct attack answer_attacks[] = {
    {"answer-malformed", true, stay_malformed},
    {"answer-too-large", true, stay_too_large},
    {"answer-escapes", true, stay_escapes},
    {"answer-for-another", true, stay_for_another},
    {"answer-lies", true, stay_lies},
    {"answer-never", true, stay_never},
    {NULL, false, NULL},
};
