// A peer that means harm, for tests/e2e/cases_attacks.py: one attack a run, through the real port of a real daemon. As
// a stranger it knows an address and an id; as a member gone bad it has a home that was admitted.
//
//   hostile ATTACK --port N --id HEX [--home HOME] [--from 127.0.0.9] [--about HEX] [--count N] [--seconds S] [--seed
//   N]
//
// One line of JSON tells what became of it: {"attack","sent","answers","closed"}; `closed` counts connections that the
// other side ended. The exit status is 0 where the attack was carried out, whatever came of it.
#ifndef TESTS_HOSTILE_HOSTILE_H
#define TESTS_HOSTILE_HOSTILE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/message.h"
#include "core/philox.h"
#include "mesh/certificate.h"
#include "mesh/charter.h"
#include "mesh/identity.h"

struct hostile {
    const char *attack, *from;  // from: the address that strangers come from, so that honest peers' is not limited
    uint16_t port;
    struct core_id target, about;
    bool member;  // --home was given: key, charter and certificate are its
    struct core_key key;
    struct charter charter;
    char name[CHARTER_NAME_MAX + 1];  // as its certificate says
    uint8_t certificate[CERTIFICATE_MAX];
    size_t certificate_size;
    struct core_hash host;  // that we say we are on
    uint32_t count, seconds;
    uint64_t seed, end_ms;  // end_ms: when even who is not read gives up
    struct rng rng;
    void *context;  // libzmq's
    uint64_t sent, answers, closed;
};

uint64_t hostile_clock_ms(void);
void hostile_random(struct hostile *h, void *out, size_t size);

// ---- link.c: a connection past CURVE, spoken by hand ----

struct hostile_link;
// A message that is neither HELLO nor PING came; its views live until it returns.
typedef void hostile_asked(struct hostile *h, struct hostile_link *link, const struct message *m);

struct hostile_link {
    void *socket, *monitor;
    bool secured, closed;
    bool deaf;             // never reads, so never grants anything either
    bool silent;           // answers no ping
    hostile_asked *asked;  // NULL: nobody looks
    // What the other has said: its host, and how it takes our bulk lane.
    struct core_hash host;
    struct message_lane_ready ready;  // `name` is in `name`, which ends with 0
    char name[64];
};

// Connects with `key` as the CURVE key. False where no handshake came about within 3 s.
bool hostile_connect(struct hostile *h, struct hostile_link *link, const struct core_key *key);
// Our HELLO for `lane`, then theirs. False where it was refused.
bool hostile_greet(struct hostile *h, struct hostile_link *link, enum message_lane lane);
// connect and greet, tried again for `seconds`: a member that was shut out comes back as soon as it may.
bool hostile_enter(struct hostile *h, struct hostile_link *link, enum message_lane lane);
// A message as it should be, or frames as they are. False once the link is closed.
bool hostile_send(struct hostile *h, struct hostile_link *link, const struct message *m);
bool hostile_send_frames(struct hostile *h, struct hostile_link *link, const struct slice *frames, uint32_t count);
// The bytes that hostile_send would send: header and body. `out` holds 300 KiB.
size_t hostile_encode(const struct hostile *h, const struct message *m, uint8_t *out);
// Reads what comes for `ms` and answers pings, unless deaf or silent. False once the link is closed.
bool hostile_listen(struct hostile *h, struct hostile_link *link, uint32_t ms);
void hostile_close(struct hostile_link *link);
// A HELLO made with `key`, for `to`. Its views live in `h`.
void hostile_hello(struct hostile *h, const struct core_key *key, const struct core_id *to, enum message_lane lane,
                   struct message *out);

// ---- the attacks ----

struct attack {
    const char *name;
    bool member;  // needs --home
    void (*run)(struct hostile *h);
};

extern const struct attack stranger_attacks[], member_attacks[], table_attacks[], bulk_attacks[], lane_attacks[],
    answer_attacks[];  // end: NULL name

#endif
