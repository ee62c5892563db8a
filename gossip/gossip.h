// Gossip as one pure state machine: who is in the mesh and alive, and broadcasts that reach everyone. It composes the
// view (whom to be linked with), the broadcast, the members' table and the monitor; events in, effects out.
//
// Effects it writes:
//   EFFECT_SEND     to a linked peer, or, for a probe, to one that has yet to be dialled
//   EFFECT_DIAL     the view wants a link (payload: the addresses of the member's record). Answer it with
//                   gossip_link_up once the peer is authenticated, or with gossip_dial_failed
//   EFFECT_HANGUP   the view no longer needs this link: once nothing else has used it for a while, and if it has not
//                   become a neighbour's again (gossip_member.neighbor), close it, then gossip_link_down
//   EFFECT_DELIVER  a broadcast of another peer (never TOPIC_MEMBER, _SUSPICION, _NEWCOMERS, which end here)
//   EFFECT_MEMBER   what gossip_member_find says of this member changed (state, record or link)
//
// What it needs from its caller: gossip_link_up only for peers that are authenticated members (liveness is credited to
// nothing else); gossip_message with every PING, PONG, VIEW_*, CAST* (CAST_BULK comes over the bulk lane), MEMBERS_*,
// PROBE* message, and gossip_heard for any other message; gossip_measured after gossip_message was given a PONG, with
// the round trip of its ping in microseconds (stamp the nonce when the PING of an EFFECT_SEND goes out); gossip_tick
// when gossip_next_ms says. now_ms is any clock that never goes back. One call writes at most two payloads of
// GOSSIP_PAYLOAD_MAX into the outbox (one delivered, one answered); a message that could not be sent is repaired.
//
// What it costs where nothing happens, in messages that a peer with five neighbours sends in a minute:
//   150  PING and PONG, one of them to each neighbour in ping_ms: liveness, round trips, coordinates, table's root
//     3  MEMBERS_ROOT, against roots that were lost
//   0.2  VIEW_SHUFFLE of its own, and as many hops of others'; 2 once the table is a sample
//    <1  VIEW_NEIGHBOR to look for somebody nearer, where anybody is
// Nothing is announced or repaired where nothing was broadcast, and nobody is tried where nobody is dead.
//
// Memory is bounded by the options and taken at open. One owner, one thread.
#ifndef GOSSIP_GOSSIP_H
#define GOSSIP_GOSSIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/effect.h"
#include "core/error.h"
#include "core/event.h"
#include "core/hash.h"
#include "core/message.h"
#include "core/sign.h"
#include "gossip/coordinates.h"
#include "gossip/pool.h"

enum {
    GOSSIP_NAME_MAX = 64,        // bytes
    GOSSIP_SITE_MAX = 32,        // bytes
    GOSSIP_ADDRESSES_MAX = 512,  // bytes; their form is the caller's (mesh), opaque here
    GOSSIP_CERTIFICATE_MAX = 1024,
    GOSSIP_PAYLOAD_MAX = 4 << 20,  // bytes of a cast
    GOSSIP_PUSH_MAX = 16384,       // bytes of a cast that is pushed; larger ones are announced and pulled
    GOSSIP_ENTRY_MAX = 2560,       // bytes of a saved entry
};

enum gossip_state { GOSSIP_ALIVE, GOSSIP_SUSPECT, GOSSIP_DEAD, GOSSIP_LEFT };

// What this peer may be asked about others' signed bytes, since certificates and topics belong to siblings.
struct gossip_callbacks {
    // True if `certificate` makes `id` a member under `name` now. NULL: everyone is (tests, simulator).
    bool (*certificate_valid)(void *context, const struct core_id *id, struct slice name, struct slice certificate);
    // True if a broadcast may be kept and passed on (its signature verifies). NULL: all may.
    bool (*payload_valid)(void *context, const struct core_id *origin, enum cast_topic topic, struct slice payload);
    void *context;
};

// Zero means the default that stands beside each limit.
struct gossip_options {
    struct core_key key;  // this peer's; signs its record and its accusations
    uint64_t seed;        // of every random choice
    struct slice name;
    struct slice certificate;
    struct slice addresses;  // where others dial it; empty: not dialable
    struct slice site;       // a label that peers of one place share; empty: none
    struct core_hash host;
    uint64_t incarnation;  // at least 1 above every earlier start's (1 if unknown: the mesh corrects it)
    struct gossip_callbacks callbacks;
    struct event_sink events;
    struct record_pool *pool;           // shared with other peers of this process, outlives them; NULL: its own
    struct signature_check signatures;  // of records and accusations; `valid` NULL: sign_valid

    uint32_t members_max;      // 16384, taken as they come; beyond them the table is a sample (gossip/members.h)
    uint32_t active_size;      // 5   HyParView's active view
    uint32_t passive_size;     // 30  and passive view
    uint32_t walk_active;      // 6   ARWL
    uint32_t walk_passive;     // 3   PRWL
    uint32_t random_size;      // 2   neighbours at least that are never exchanged for nearer ones
    uint32_t near_ms;          // 10000  how often a nearer neighbour is looked for
    uint32_t shuffle_ms;       // 30000
    uint32_t dial_timeout_ms;  // 4000
    uint32_t retry_max_ms;     // 300000  how far the mesh's interval between tries of dead members grows
    uint32_t digest_ms;        // 20000  anti-entropy of members beside the roots in pongs
    uint32_t cast_count;       // 16384  broadcasts kept for those who missed them
    uint32_t cast_bytes;       // 32 MiB  and their payloads, taken as they come
    uint32_t graft_ms;         // 250    wait for an announced broadcast before asking for it
    uint32_t ping_ms;          // 2000   silence before a neighbour is pinged
    uint32_t silent_ms;        // 1000   and then before it is doubted (times local health)
    uint32_t probe_ms;         // 700    wait for others' answers about a doubted neighbour
    uint32_t refute_ms;        // 1000   how long a suspect has to refute before it is declared dead
};

struct gossip_member {
    struct core_id id;
    enum gossip_state state;
    bool self;
    bool linked;    // gossip_link_up holds
    bool neighbor;  // in the active view
    bool dialable;
    uint64_t incarnation;
    uint64_t seq;
    uint64_t heard_ms;  // when this peer last heard it over a link; 0: never
    uint64_t since_ms;  // when its state here last changed
    uint64_t rtt_us;    // measured over its link, moving average; 0: unknown
    struct core_hash host;
    bool located;                                     // it has said where it lies:
    struct coordinates_point coordinates;             // coordinates_distance_us to another's predicts their round trip
    struct slice name, addresses, certificate, site;  // views that live until the next call that changes gossip
};

// Why something that others said of members was not taken: GOSSIP_REFUSED_NAME and its name.
#define GOSSIP_REFUSALS(R)                                                                    \
    R(MALFORMED, malformed)     /* bytes that are no record or accusation */                  \
    R(SIGNATURE, signature)     /* not signed by whom it names */                             \
    R(CERTIFICATE, certificate) /* its member's certificate doesn't hold */                   \
    R(RATE, rate)               /* beyond its author's budget */                              \
    R(STALE, stale)             /* an accusation of an earlier life: outlived, or replayed */ \
    R(FORGOTTEN, forgotten)     /* a record older than its member's tombstone */              \
    R(STRANGER, stranger)       /* an accusation by or of nobody who is known */              \
    R(MUTED, muted)             /* an accusation by who was refuted too often */

enum gossip_refusal {
#define GOSSIP_REFUSAL_ENUM(NAME, name) GOSSIP_REFUSED_##NAME,
    GOSSIP_REFUSALS(GOSSIP_REFUSAL_ENUM)
#undef GOSSIP_REFUSAL_ENUM
        GOSSIP_REFUSED_COUNT
};

struct gossip_counts {
    uint64_t casts_sent, casts_received, casts_duplicate, casts_delivered;  // CAST and CAST_BULK messages
    uint64_t grafts;       // ids asked for, since they were announced and did not come
    uint64_t repaired;     // of those, what anti-entropy had found
    uint64_t refused;      // malformed or badly signed things that others sent
    uint64_t limited;      // messages beyond what a peer is given, not looked at
    uint64_t exchanges;    // neighbours given up for nearer ones
    uint64_t accusations;  // made by this peer
    uint64_t refutations;  // of this peer by itself
    uint64_t refusals[GOSSIP_REFUSED_COUNT];
    uint64_t equivocations;  // pairs of records that a member signed for one place in its order
    uint64_t muted;          // times that a member lost its right to accuse for a while
    uint64_t unsampled;      // records that this peer's sample has no place for
    uint64_t syncs;          // comparisons of tables that this peer began
};

struct gossip;

// CORE_ERR_TOO_LARGE: name, addresses or certificate above its limit. CORE_ERR_NO_MEMORY.
CORE_MUST_USE enum core_err gossip_open(struct gossip **out, const struct gossip_options *options, uint64_t now_ms);
void gossip_close(struct gossip *g);

// ---- events ----
void gossip_link_up(struct gossip *g, const struct core_id *peer, uint64_t now_ms, struct outbox *out);
// The link closed, whoever closed it. If it was a neighbour's that had not said goodbye, the neighbour is doubted at
// once.
void gossip_link_down(struct gossip *g, const struct core_id *peer, uint64_t now_ms, struct outbox *out);
// A dial that gossip or anyone else asked for came to nothing.
void gossip_dial_failed(struct gossip *g, const struct core_id *peer, uint64_t now_ms, struct outbox *out);
// A message of gossip's own from an authenticated peer. False if the type isn't gossip's. A malformed body is counted
// in `refused` and gives CORE_ERR_MALFORMED (or BAD_SIGNATURE) through `err`, for the sender's account.
bool gossip_message(struct gossip *g, const struct core_id *from, const struct message *m, uint64_t now_ms,
                    struct outbox *out, enum core_err *err);
// Any other message came from `peer` over its link: it lives.
void gossip_heard(struct gossip *g, const struct core_id *peer, uint64_t now_ms);
// A ping to `peer` came back after rtt_us (at least 1). Moves this peer's coordinates; nearer neighbours are preferred.
void gossip_measured(struct gossip *g, const struct core_id *peer, uint64_t rtt_us, uint64_t now_ms);
void gossip_tick(struct gossip *g, uint64_t now_ms, struct outbox *out);
// When gossip_tick must next be called: a peer that is called much later takes it that it was paused.
uint64_t gossip_next_ms(const struct gossip *g);

// ---- requests ----
// Broadcasts `payload` to everyone else. Each call is a new broadcast, also of a payload sent before (after a restart,
// or because it has had no effect): receivers may therefore be handed a payload more than once and must not mind.
// CORE_ERR_TOO_LARGE above GOSSIP_PAYLOAD_MAX.
CORE_MUST_USE enum core_err gossip_cast(struct gossip *g, enum cast_topic topic, struct slice payload, uint64_t now_ms,
                                        struct outbox *out);
// Says goodbye: a signed record that this peer left. Keep the links open until the outbox is sent.
void gossip_leave(struct gossip *g, uint64_t now_ms, struct outbox *out);
// New addresses of this peer (empty: not dialable); its record is renewed. CORE_ERR_TOO_LARGE.
CORE_MUST_USE enum core_err gossip_addresses_set(struct gossip *g, struct slice addresses, uint64_t now_ms,
                                                 struct outbox *out);
// Forgets members whose certificates no longer verify (after a revocation) and hangs up on them.
void gossip_recheck(struct gossip *g, uint64_t now_ms, struct outbox *out);

// ---- what it knows ----
// Members ascending by id, this peer among them.
uint32_t gossip_member_count(const struct gossip *g);
void gossip_member_at(const struct gossip *g, uint32_t index, struct gossip_member *out);
bool gossip_member_find(const struct gossip *g, const struct core_id *id, struct gossip_member *out);
enum gossip_state gossip_state_of(const struct gossip *g, const struct core_id *id);  // DEAD for a stranger
const char *gossip_state_name(enum gossip_state state);                               // "alive"
// Neighbours (the active view): fills at most `max` ids, returns how many there are.
uint32_t gossip_neighbors(const struct gossip *g, struct core_id *ids, uint32_t max);
uint64_t gossip_incarnation(const struct gossip *g);
// Where this peer lies; false while nothing was measured.
bool gossip_coordinates(const struct gossip *g, struct coordinates_point *out);
// This peer's local health multiplier (Lifeguard): 0 healthy, up to 4.
uint32_t gossip_health(const struct gossip *g);
void gossip_counts_get(const struct gossip *g, struct gossip_counts *out);
const char *gossip_refusal_name(enum gossip_refusal why);  // "malformed"
// The proof `index` that a member signed two records for one place in its order; false behind the last. Views as in
// gossip_member; each verifies by record_signed.
bool gossip_proof(const struct gossip *g, uint32_t index, struct core_id *member, struct slice records[2]);

// ---- keeping the table over a restart ----
// Entry `index` (< gossip_member_count) as bytes, at most GOSSIP_ENTRY_MAX; returns their number.
size_t gossip_entry_save(const struct gossip *g, uint32_t index, uint8_t *out);
// Feeds a saved entry back, right after gossip_open and before any link. This peer's own raises its incarnation above
// the saved one. Errors as from a peer's bytes; an entry that is refused can be skipped.
CORE_MUST_USE enum core_err gossip_entry_load(struct gossip *g, struct slice entry, uint64_t now_ms);

#endif
