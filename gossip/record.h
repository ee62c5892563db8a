// The two signed objects of gossip: what a member says of itself, and what one member says of another's silence.
// Canonical little-endian bytes; format in docs/wire-format.md. Pure, any thread.
//
//   record      u8 2 | id 32 | u64 incarnation | u64 seq | u64 session | u8 flags (1 left, 2 located) | host 32
//               | slice name | slice site | coordinates 20 | slice addresses | slice certificate
//               | u8 watchers | watchers * 32 | signature 64 by id, "mycel member v2"
//   accusation  u8 2 | accuser 32 | target 32 | u64 incarnation | signature 64 by the accuser, "mycel suspicion v2"
//
// Records of one member are ordered by (incarnation, seq); of two that differ at one (incarnation, seq) the one with
// the lower hash counts. If they also share their session, their member has signed two stories: a proof against it.
#ifndef GOSSIP_RECORD_H
#define GOSSIP_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/sign.h"
#include "gossip/coordinates.h"

enum {
    RECORD_WATCHERS_MAX = 8,
    RECORD_MAX = 2176,      // bytes: name, site, addresses, certificate and watchers at their limits fit
    ACCUSATION_SIZE = 137,  // bytes, exactly
};
// Higher incarnations are refused: each must leave room to be outlived, and casts' ids are made from them.
#define RECORD_INCARNATION_MAX ((UINT64_C(1) << 40) - 2)

struct signature_check;

struct member_record {
    struct core_id id;
    uint64_t incarnation;
    uint64_t seq;
    uint64_t session;  // drawn at every start, so that a peer that lost its disk isn't taken for a liar
    bool left;
    bool located;  // `coordinates` count
    struct core_hash host;
    struct coordinates_point coordinates;
    struct slice name, site, addresses, certificate;  // views; no addresses: not dialable
    const struct core_id *watchers;                   // its neighbours: who is asked when one of them doubts it
    uint32_t watcher_count;
    struct slice bytes;  // the whole record as it was signed (record_read)
};

// That its accuser finds the target silent. Two of distinct accusers that stand for a while make a member dead.
struct accusation {
    struct core_id accuser;
    struct core_id target;
    uint64_t incarnation;  // of the target, as the accuser knew it
    struct slice bytes;    // as it was signed (accusation_read)
};

// Signed bytes into `out` (RECORD_MAX); returns their number. The fields must be within their limits.
size_t record_write(uint8_t *out, const struct member_record *record, const struct core_key *key);
// Fields without the signature's check, as views into `bytes`: to see cheaply whether the record is news.
CORE_MUST_USE enum core_err record_read(struct member_record *record, struct slice bytes);
// Whether bytes that record_read accepted were signed by the member itself.
bool record_signed(const struct member_record *record, const struct signature_check *check);

void accusation_write(uint8_t out[ACCUSATION_SIZE], const struct accusation *accusation, const struct core_key *key);
CORE_MUST_USE enum core_err accusation_read(struct accusation *accusation, struct slice bytes);
bool accusation_signed(const struct accusation *accusation, const struct signature_check *check);

#endif
