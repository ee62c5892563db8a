// Peers of one mesh on one LAN find each other: announcements by multicast, sealed for members and signed by their
// author. What is received gives addresses to dial and nothing else: a link authenticates as ever. Byte table and
// threats: docs/discovery.md. Pure: time, nonce and randomness are arguments; one owner. Sockets: mesh/lan_socket.h.
//
// Which secret: the charter's nonce. A charter is handed only to who is admitted (ADMITTED) and no tool prints it,
// while the mesh id is in every token, log and status. So the key is a hash over both. Without it an announcement is
// 233 bytes of noise: a stranger on the LAN learns that a peer of some mesh is at that address (as the open port tells
// anyway), not of which mesh, not who, and cannot tell whether two of them are of one mesh. Who was once a member keeps
// the key: it can still recognise the mesh's peers on its LAN, but not speak for one, for each is signed.
//
// Replays: a time within LAN_WINDOW_S, a window of 64 sequence numbers an author (as RFC 4303 3.4.3 does), and `node`
// takes nothing below the incarnation that it knows. What slips through costs one dial of an address that its author
// once had.
#ifndef MESH_LAN_H
#define MESH_LAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/sign.h"
#include "mesh/address.h"
#include "mesh/charter.h"

enum {
    LAN_VERSION = 1,
    LAN_NONCE_SIZE = 24,
    LAN_BODY = 192,
    LAN_SIZE = 1 + LAN_NONCE_SIZE + LAN_BODY + 16,  // every announcement: its length tells nothing
    LAN_ADDRESSES_MAX = 4,
    LAN_WINDOW_S = 600,     // how far its time may be from ours
    LAN_SEEN_MAX = 256,     // authors; the one that was silent for longest makes room
    LAN_PER_S = 64,         // datagrams opened a second, ..
    LAN_BURST = 128,        // .. and at once
    LAN_FRESH_MS = 120000,  // how long a heard address is dialled before others
    LAN_HERD_MS = 50,       // a member: how long those who have links spread their dials of one, ..
    LAN_HERD_MOST_MS = 10000,
    LAN_UNKNOWN_MS = 10000,  // between two dials of ids that are no known member's
};

struct lan_announcement {
    struct core_id id;  // the author
    uint64_t incarnation;
    uint32_t sequence;                            // grows by one with each that this incarnation sends
    uint64_t time_s;                              // since 1970
    struct address addresses[LAN_ADDRESSES_MAX];  // literals
    uint32_t count;
};

// What became of a datagram. X(name, its key in JSON)
#define LAN_VERDICTS(X)                                                                            \
    X(HEARD, "heard")                                                                              \
    X(OWN, "own")             /* this peer's own, which multicast gives back */                    \
    X(LIMITED, "limited")     /* more than LAN_PER_S: not opened */                                \
    X(MALFORMED, "malformed") /* no announcement by its length, version or content */              \
    X(FOREIGN, "foreign")     /* does not open: of another mesh, or made without the mesh's key */ \
    X(FORGED, "forged")       /* opens, but its author has not signed it */                        \
    X(STALE, "stale")         /* of another time: old, or a clock is off */                        \
    X(REPLAYED, "replayed")   /* was here before, or of an earlier incarnation than one that was */

enum lan_verdict {
#define LAN_VERDICT_ENUM(name, key) LAN_##name,
    LAN_VERDICTS(LAN_VERDICT_ENUM)
#undef LAN_VERDICT_ENUM
        LAN_VERDICT_COUNT
};
const char *lan_verdict_key(enum lan_verdict v);

// What seals the announcements of a mesh.
struct core_hash lan_key(const struct charter *charter);

// Seals what `author` says (`a->id` is its id; at most LAN_ADDRESSES_MAX literals, a check). `nonce` is random, never
// used twice.
void lan_encode(const struct core_hash *key, const struct core_hash *mesh, const struct core_key *author,
                const struct lan_announcement *a, const uint8_t nonce[LAN_NONCE_SIZE], uint8_t out[LAN_SIZE]);
// CORE_ERR_MALFORMED, CORE_ERR_UNKNOWN_VERSION, CORE_ERR_WRONG_MESH (does not open), CORE_ERR_BAD_SIGNATURE.
CORE_MUST_USE enum core_err lan_decode(const struct core_hash *key, const struct core_hash *mesh, struct slice bytes,
                                       struct lan_announcement *out);

// ---- who was heard, and when to speak ----

struct lan_seen {
    struct core_id id;
    uint64_t incarnation, heard_ms;  // heard_ms 0: a free place
    uint64_t window;                 // bit k: sequence `top - k` was here
    uint32_t top;
    uint32_t count;
    struct address addresses[LAN_ADDRESSES_MAX];
    uint64_t wanted_ms;  // the owner's: when it is to be dialled; 0: not at all
};

struct lan {
    struct core_hash key, mesh;
    struct core_id self;
    struct lan_seen seen[LAN_SEEN_MAX];
    uint64_t verdicts[LAN_VERDICT_COUNT];
    uint64_t bucket_ms;  // of the token bucket, in milliseconds' worth of datagrams
    uint64_t filled_ms;
    uint64_t next_ms;     // when to speak
    uint32_t step;        // how often it spoke alone, since something changed
    uint64_t unknown_ms;  // when an id that is no known member's was last let through; 0: never
};

void lan_open(struct lan *l, const struct charter *charter, const struct core_id *self, uint64_t now_ms);
// Judges and counts one datagram. LAN_HEARD fills `out`, and its addresses are kept under its author.
enum lan_verdict lan_receive(struct lan *l, struct slice bytes, uint64_t now_ms, uint64_t now_s,
                             struct lan_announcement *out);
// The addresses that were heard from a peer in the last LAN_FRESH_MS; false for none.
bool lan_heard(const struct lan *l, const struct core_id *id, uint64_t now_ms, struct address_list *out);
// What is kept of a peer, or NULL.
struct lan_seen *lan_seen_find(struct lan *l, const struct core_id *id);
// True when it is time to speak; then it fixes the next time: after 1, 2, 4 .. 32 s while `alone` (no link is up), else
// after a minute, and a random quarter more or less, so that peers started together don't speak together.
bool lan_due(struct lan *l, bool alone, uint64_t now_ms, uint64_t random);
// Something changed (own addresses, the last link went): speak at once, and often again.
void lan_hurry(struct lan *l, uint64_t now_ms);

// When to dial somebody missing who was heard. All of a large LAN hear a peer that came back, and one link is enough:
// who has links waits for a random part of a while that grows with the `members`, up to LAN_HERD_MOST_MS, and dials
// only if nobody was faster; who has none dials at once.
uint64_t lan_dial_at(bool linked, uint32_t members, uint64_t now_ms, uint64_t random);
// Whether an id that is no known member's may be dialled: once in LAN_UNKNOWN_MS, for who was a member once could make
// up any number of them. True fixes the next time.
bool lan_unknown_due(struct lan *l, uint64_t now_ms);

#endif
