// Some peers of one mesh on loopback, pumped by hand in one thread: what the tests of links and admission share.
#ifndef TESTS_UNIT_MESH_PEERS_H
#define TESTS_UNIT_MESH_PEERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <zmq.h>

#include "tsan_start.h"

#include "mesh/admission.h"
#include "mesh/links.h"

enum { PEERS_MAX = 4, GUARD_MS = 60000 };

struct peer {
    struct core_key key;
    uint8_t certificate[CERTIFICATE_MAX];
    size_t certificate_size;
    struct links *links;
    // What its events said.
    uint32_t up, down, dial_failed, address_failed, refused, messages;
    enum link_reason last_down, last_failed, last_refused;
    uint32_t by_reason[LINK_REASON_COUNT];
    char text[160];
    bool dialled;
    struct core_id last_up;
    uint64_t bulk_bytes, next_nonce;  // DATA and PING received
    bool out_of_order;
    // Answers ADMIT when set.
    struct admission_sponsor *sponsor;
    uint32_t admits;
};

static struct charter mesh;
static struct core_key founder;
static struct peer peers[PEERS_MAX];
static struct revocations revoked;

static inline struct slice bytes_of(const void *data, size_t size)
{
    return (struct slice){data, size};
}

static inline uint64_t real_s(void)
{
    return (uint64_t)time(NULL);
}

static inline uint64_t mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline struct core_key key_of(uint8_t n)
{
    uint8_t seed[CORE_SEED_SIZE];
    memset(seed, n, sizeof seed);
    return sign_key_from_seed(seed);
}

static inline void certify(const struct charter *charter, const struct core_key *issuer, const struct core_id *key,
                           uint64_t expires_s, uint8_t *out, size_t *size)
{
    struct certificate c = {
        .mesh = charter->id, .key = *key, .name = "p", .roles = ROLE_MEMBER, .issued_s = 1, .expires_s = expires_s};
    assert_int_equal(certificate_issue(charter, issuer, bytes_of(NULL, 0), &c, out, size), CORE_ERR_OK);
}

static inline void answer_admit(struct peer *p, const struct link_event *e)
{
    struct admission_answer answer;
    p->admits++;
    if (!p->sponsor) return;
    admission_decide(p->sponsor, e->message, e->curve, real_s(), &answer);
    assert_int_equal(links_answer(p->links, e->ticket, &answer.message), CORE_ERR_OK);
}

static inline void note(void *context, const struct link_event *e)
{
    struct peer *p = context;
    switch (e->kind) {
    case LINK_EVENT_UP:
        p->up++;
        p->dialled = e->dialled_by_us;
        p->last_up = e->id;
        assert_non_null(e->certificate);
        assert_true(id_equal(&e->certificate->key, &e->id));
        break;
    case LINK_EVENT_DOWN:
        p->down++;
        p->last_down = e->reason;
        snprintf(p->text, sizeof p->text, "%s", e->text);
        break;
    case LINK_EVENT_DIAL_FAILED:
        p->dial_failed++;
        p->last_failed = e->reason;
        snprintf(p->text, sizeof p->text, "%s", e->text);
        break;
    case LINK_EVENT_ADDRESS_FAILED: p->address_failed++; break;
    case LINK_EVENT_REFUSED:
        p->refused++;
        p->last_refused = e->reason;
        p->by_reason[e->reason]++;
        break;
    case LINK_EVENT_ADMIT: answer_admit(p, e); break;
    case LINK_EVENT_MESSAGE:
        p->messages++;
        if (e->message->type == MESSAGE_DATA) p->bulk_bytes += e->message->bulk.size;
        if (e->message->type == MESSAGE_PING && e->message->ping.nonce != p->next_nonce++) p->out_of_order = true;
        break;
    }
}

// One look at every open peer; waits a little for anything to happen on the first of them.
static inline void pump(void)
{
    zmq_pollitem_t items[1024];
    for (int i = 0; i < PEERS_MAX; i++) {
        struct links *l = peers[i].links;
        if (!l) continue;
        size_t count = links_pollitems(l, items, 1024);
        int wait = links_timeout_ms(l);
        zmq_poll(items, (int)count, wait >= 0 && wait < 2 ? wait : 2);
        links_process(l, note, &peers[i]);
    }
}

// Pumps until `condition`; fails the test when it does not come true within a time that no machine is too slow for.
#define until(condition)                                             \
    do {                                                             \
        uint64_t end_ = mono_ms() + GUARD_MS;                        \
        while (!(condition)) {                                       \
            if (mono_ms() > end_) fail_msg("never: %s", #condition); \
            pump();                                                  \
        }                                                            \
    } while (0)

static inline struct links_options options_of(struct peer *p)
{
    struct links_options o = {.key = &p->key,
                              .charter = &mesh,
                              .revoked = &revoked,
                              .certificate = {p->certificate, p->certificate_size},
                              .max_links = 8,
                              .dial_timeout_ms = 20000,
                              .hello_timeout_ms = 20000};
    assert_int_equal(address_parse("127.0.0.1:0", &o.listen), CORE_ERR_OK);
    return o;
}

static inline void open_with(int i, const struct links_options *o)
{
    assert_int_equal(links_open(&peers[i].links, o), CORE_ERR_OK);
    if (!o->no_listener) assert_true(links_port(peers[i].links) > 0);
}

// Peer i with key `seed` and a certificate; the lower the id, the lower the peer's number.
static inline void open_peer(int i)
{
    struct links_options o = options_of(&peers[i]);
    open_with(i, &o);
}

static inline int by_id(const void *a, const void *b)
{
    return id_compare(&((const struct peer *)a)->key.id, &((const struct peer *)b)->key.id);
}

static inline int setup(void **state)
{
    (void)state;
    if (sign_start()) return 1;
    memset(peers, 0, sizeof peers);
    memset(&revoked, 0, sizeof revoked);
    founder = key_of(100);
    if (charter_create(&founder, "test", FAULT_TRUSTED, 1, (const uint8_t *)"0123456789abcdef", &mesh)) return 1;
    for (int i = 0; i < PEERS_MAX; i++) peers[i].key = key_of((uint8_t)(i + 1));
    qsort(peers, PEERS_MAX, sizeof peers[0], by_id);
    for (int i = 0; i < PEERS_MAX; i++)
        certify(&mesh, &founder, &peers[i].key.id, 0, peers[i].certificate, &peers[i].certificate_size);
    return 0;
}

static inline void close_peer(int i)
{
    links_close(peers[i].links);
    peers[i].links = NULL;
}

static inline int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < PEERS_MAX; i++) close_peer(i);
    return 0;
}

static inline struct slice address_bytes(uint16_t port, uint8_t out[ADDRESS_LIST_BYTES])
{
    struct address_list list = {.items = {{.host = "127.0.0.1", .port = port}}, .count = 1};
    return bytes_of(out, address_list_encode(&list, out));
}

static inline void dial_port(int from, int to, uint16_t port)
{
    uint8_t raw[ADDRESS_LIST_BYTES];
    assert_int_equal(links_dial(peers[from].links, &peers[to].key.id, address_bytes(port, raw)), CORE_ERR_OK);
}

static inline void dial(int from, int to)
{
    dial_port(from, to, links_port(peers[to].links));
}

static inline bool joined(int a, int b)
{
    return links_is_up(peers[a].links, &peers[b].key.id) && links_is_up(peers[b].links, &peers[a].key.id);
}

static inline enum core_err send_ping(int from, int to, uint64_t nonce)
{
    struct message m = {.type = MESSAGE_PING, .ping.nonce = nonce};
    return links_send(peers[from].links, &peers[to].key.id, &m);
}

static inline uint64_t refused_of(int i, enum link_reason reason)
{
    struct links_stats s;
    links_stats(peers[i].links, &s);
    return s.refused[reason];
}

#endif
