// The two signed objects of gossip: what a member says of itself, and what one member says of another's silence.
// Canonical little-endian bytes; format in docs/wire-format.md. Pure, any thread.
//
//   record      u8 1 | id 32 | u64 incarnation | u64 seq | u8 flags (1 left) | host 32 | slice name | slice addresses
//               | slice certificate | u8 watchers | watchers * 32 | signature 64 by id, "mycel member v1"
//   accusation  u8 1 | accuser 32 | target 32 | u64 incarnation | u64 serial | u8 rank | signature 64 by the accuser,
//               "mycel suspicion v1"
#ifndef GOSSIP_RECORD_H
#define GOSSIP_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/sign.h"

enum {
    RECORD_WATCHERS_MAX = 8,
    RECORD_MAX = 2048,      // bytes: name, addresses, certificate and watchers at their limits fit
    ACCUSATION_SIZE = 146,  // bytes, exactly
};

struct record {
    struct core_id id;
    uint64_t incarnation;
    uint64_t seq;
    bool left;
    struct core_hash host;
    struct slice name, addresses, certificate;  // views; no addresses: not dialable
    uint32_t watcher_count;
    struct core_id watchers[RECORD_WATCHERS_MAX];  // its neighbours: who is asked when one of them doubts it
};

// How bad what is said of a member is. At one incarnation the higher rank wins; only a higher incarnation lowers it.
enum accusation_rank { RANK_NONE, RANK_SUSPECT, RANK_DEAD };

struct accusation {
    struct core_id accuser;
    struct core_id target;
    uint64_t incarnation;  // of the target, as the accuser knew it
    uint64_t serial;       // makes a repeated accusation a new broadcast
    enum accusation_rank rank;
};

// Signed bytes into `out` (RECORD_MAX); returns their number. The fields must be within their limits.
size_t record_write(uint8_t *out, const struct record *record, const struct core_key *key);
// Fields without the signature's check, as views into `bytes`: to see cheaply whether the record is news.
CORE_MUST_USE enum core_err record_read(struct record *record, struct slice bytes);
// Whether bytes that record_read accepted were signed by the member itself.
bool record_signed(const struct record *record, struct slice bytes);

void accusation_write(uint8_t out[ACCUSATION_SIZE], const struct accusation *accusation, const struct core_key *key);
CORE_MUST_USE enum core_err accusation_read(struct accusation *accusation, struct slice bytes);
bool accusation_signed(const struct accusation *accusation, struct slice bytes);

#endif
