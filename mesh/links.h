// Links to other peers over libzmq: one listening port (ROUTER), a DEALER for each lane that we dialled, CURVE on all.
// A link has two lanes, control and bulk, each a connection of its own, so that a large state never delays a heartbeat.
// The bulk lane opens with the first bulk message: through shared memory between peers of one host, sealed by an AEAD
// over a TCP connection of its own (mesh/bulk.h) otherwise, and over CURVE where neither can be made.
//
//   who      CURVE pins the key we dial; ZAP (mesh/gate.h) says whose key dialled us; the first message must be a HELLO
//            whose certificate verifies and is for that very key. Routing ids are libzmq's own, bound to that key.
//   crossing of two connections between two peers the one that the lower id dialled stays.
//   bulk     the receiver grants bytes (CREDIT); the sender keeps the rest in a bounded queue and says WOULD_BLOCK.
//   classes  control, casts and bulk have queues of their own, so that control never waits behind casts; all are
//            bounded. What a peer sends of a class is bounded by a token bucket: a flood is dropped and counted, and
//            let go when it goes on. A peer that takes nothing of what we queue for it is let go: LINK_SLOW.
//   down     a closed TCP connection is LINK_DOWN at once (socket monitors); a silent peer is for gossip's monitor to
//            find, ZMTP's heartbeat is only the last resort.
//
// One thread owns it (the node's loop); libzmq's I/O thread and the gate's thread do the rest. No call blocks.
#ifndef MESH_LINKS_H
#define MESH_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/message.h"
#include "core/sign.h"
#include "mesh/address.h"
#include "mesh/certificate.h"
#include "mesh/charter.h"

struct buffer;  // mesh/buffer.h
struct links;
struct zmq_pollitem_t;  // <zmq.h>

// Why a link went down, a dial failed or bytes were refused. X(name, text for a person)
#define LINK_REASONS(X)                                                                           \
    X(NONE, "no reason")                                                                          \
    X(CLOSED, "the connection closed")                                                            \
    X(SILENT, "no sign of life")                                                                  \
    X(HANGUP, "we hung up")                                                                       \
    X(GOODBYE, "the peer said goodbye")                                                           \
    X(REPLACED, "a newer connection took its place")                                              \
    X(REFUSED_CONNECTION, "connection refused or no route")                                       \
    X(TIMED_OUT, "no answer in time")                                                             \
    X(HANDSHAKE, "the handshake failed: another key answers there, or it is no mycel peer")       \
    X(TURNED_AWAY, "it turned our key away (banned or too many tries)")                           \
    X(NO_HELLO, "it did not introduce itself in time")                                            \
    X(MALFORMED, "malformed bytes")                                                               \
    X(UNKNOWN_VERSION, "an unknown version")                                                      \
    X(UNKNOWN_TYPE, "an unknown type of message")                                                 \
    X(TOO_LARGE, "more bytes than allowed")                                                       \
    X(WRONG_MESH, "another mesh")                                                                 \
    X(WRONG_KEY, "its certificate is for another key")                                            \
    X(BAD_SIGNATURE, "a signature does not verify")                                               \
    X(EXPIRED, "its certificate expired")                                                         \
    X(REVOKED, "its certificate was revoked")                                                     \
    X(NOT_ALLOWED, "not allowed")                                                                 \
    X(NO_INVITATION, "no invitation is open here: the token was used up, expired or was revoked") \
    X(BANNED, "banned")                                                                           \
    X(TOO_FAST, "too many tries")                                                                 \
    X(LIMIT, "a limit is reached")                                                                \
    X(SLOW, "it took nothing of what we sent for too long")                                       \
    X(FLOOD, "it went on sending more than allowed")                                              \
    X(NO_CREDIT, "more bulk bytes than we granted")                                               \
    X(LANE, "its bulk lane broke")

enum link_reason {
#define LINK_REASON_ENUM(name, text) LINK_##name,
    LINK_REASONS(LINK_REASON_ENUM)
#undef LINK_REASON_ENUM
        LINK_REASON_COUNT
};

const char *link_reason_text(enum link_reason reason);
const char *link_reason_name(enum link_reason reason);  // "WRONG_KEY"
enum core_err link_reason_error(enum link_reason reason);

// How messages are queued, limited and counted.
enum link_class { LINK_CLASS_CONTROL, LINK_CLASS_CAST, LINK_CLASS_BULK, LINK_CLASS_COUNT };
const char *link_class_name(enum link_class c);  // "control", "cast", "bulk"

// What a bulk lane goes over.
enum link_way { LINK_WAY_NONE, LINK_WAY_CURVE, LINK_WAY_SEALED, LINK_WAY_SHARED, LINK_WAY_COUNT };
const char *link_way_name(enum link_way way);  // "none", "curve", "sealed", "shared"

// A token bucket: a message costs one token, and one more for each 4 KiB.
struct link_rate {
    uint32_t per_s;
    uint32_t burst;
};

struct links_options {
    const struct core_key *key;  // outlives the links, as do the next three
    const struct charter *charter;
    const struct revocations *revoked;         // may be NULL
    struct slice certificate;                  // our own
    struct address listen;                     // port 0: any free one
    bool no_listener;                          // dial only
    struct slice addresses;                    // an encoded address list that HELLO carries; copied
    struct core_hash host;                     // same value, same machine
    uint64_t incarnation;                      // HELLO carries it
    uint32_t max_links;                        // 0: 64
    uint32_t max_strangers;                    // connections that have not said who they are; 0: 128
    uint64_t control_queue_bytes;              // a link, on top of libzmq's; 0: 4 MiB
    uint64_t bulk_queue_bytes;                 // a link; 0: 128 MiB
    uint64_t bulk_window_bytes;                // what we grant a peer; 0: 32 MiB
    int dial_timeout_ms;                       // an address; 0: 3000
    int hello_timeout_ms;                      // 0: 5000
    int heartbeat_ms;                          // ZMTP's, on the control lane; 0: 60000; silent for 4 times that is down
    int penalty_ms;                            // how long a key that sent hostile bytes is kept out; 0: 30000
    uint64_t cast_queue_bytes;                 // a link; 0: 8 MiB
    int slow_ms;                               // something waits and nothing was taken for so long: LINK_SLOW; 0: 20000
    struct link_rate rates[LINK_CLASS_COUNT];  // of one peer's messages to us; {0}: 4,000 control, 8,000 casts, 20,000
                                               // bulk a second and four
    // seconds of that at once
    uint32_t bulk_ways;  // bit 1 << LINK_WAY_*: the ways allowed; 0: all
    uint16_t bulk_port;  // where sealed bulk lanes are accepted; 0: any free
    // May be NULL. Whether an id is a member's as far as the owner knows. An Ed25519 id and its twin (the sign bit
    // flipped) have one X25519 key: a HELLO whose id's twin is known is refused (LINK_WRONG_KEY).
    bool (*knows)(void *context, const struct core_id *id);
    void *knows_context;
};

enum link_event_kind {
    LINK_EVENT_UP,              // id, certificate, addresses, host, incarnation, address, dialled_by_us
    LINK_EVENT_DOWN,            // id, reason
    LINK_EVENT_MESSAGE,         // id, message (views live during the call)
    LINK_EVENT_ADMIT,           // ticket, curve, message, address: answer with links_answer, now or within 5 s
    LINK_EVENT_ADDRESS_FAILED,  // id, address, reason: one address of a dial
    LINK_EVENT_DIAL_FAILED,     // id, reason (of the last address)
    LINK_EVENT_REFUSED,         // address and, where known, curve; reason: somebody's bytes were refused
};

struct link_event {
    enum link_event_kind kind;
    struct core_id id;
    enum link_reason reason;
    const char *text;     // more of the reason: what the peer's REFUSED said; "" for none
    const char *address;  // "127.0.0.1" of who dialled us, "host:port" of whom we dialled; "" where unknown
    bool dialled_by_us;
    const struct certificate *certificate;
    struct slice certificate_bytes;
    struct slice addresses;  // as HELLO says
    struct core_hash host;
    uint64_t incarnation;
    const struct message *message;
    // MESSAGE with bulk: what holds the bulk bytes. Keep it (buffer_keep) to use message->bulk after the call without a
    // copy, drop it later from any thread. NULL where there is no bulk.
    struct buffer *bulk;
    uint64_t ticket;
    const uint8_t *curve;  // 32 bytes, or NULL
};

// Called from links_process. Everything that the event points to lives during the call. It may call links_send,
// links_dial, links_hangup, links_ban and links_answer, not links_process or links_close.
typedef void links_handle(void *context, const struct link_event *event);

// Opens the context, the gate (before the listener) and the listener. CORE_ERR_IN_USE where the port is taken,
// CORE_ERR_UNREACHABLE where the address isn't ours, CORE_ERR_NO_MEMORY, CORE_ERR_IO.
CORE_MUST_USE enum core_err links_open(struct links **out, const struct links_options *options);
// Says goodbye, closes all. No events.
void links_close(struct links *links);
uint16_t links_port(const struct links *links);  // that listens; 0 without a listener

// What to wait for with zmq_poll, filled in anew for each wait; returns the count (at most `capacity`; needs
// links_pollitems_max()). Then call links_process whether or not anything was ready: it is cheap.
size_t links_pollitems(struct links *links, struct zmq_pollitem_t *items, size_t capacity);
size_t links_pollitems_max(const struct links *links);
// How long a poll may wait before links_process must run again; -1: as long as it likes.
int links_timeout_ms(struct links *links);
// Handles what has happened. A bounded amount a call: where more is waiting, links_timeout_ms is 0.
void links_process(struct links *links, links_handle *handle, void *context);

// Dials every address in turn until one answers as `id`; the outcome is LINK_EVENT_UP or DIAL_FAILED. CORE_ERR_EXISTS
// where a link is up or being dialled (harmless), CORE_ERR_LIMIT, CORE_ERR_MALFORMED (id or list), CORE_ERR_REFUSED
// (banned, revoked or ourselves).
CORE_MUST_USE enum core_err links_dial(struct links *links, const struct core_id *id, struct slice addresses);
// Closes a link or gives up a dial; LINK_EVENT_DOWN with LINK_HANGUP comes from the next links_process where it was up.
void links_hangup(struct links *links, const struct core_id *id);
// Queues a message (copies it). CORE_ERR_UNREACHABLE where no link is up, CORE_ERR_WOULD_BLOCK when the lane's queue is
// full (counted), CORE_ERR_TOO_LARGE. Messages of one class arrive in
// order, once, or the link goes down.
CORE_MUST_USE enum core_err links_send(struct links *links, const struct core_id *id, const struct message *m);
// As links_send, for a message whose bulk lies in `bulk`: keeps the buffer in place of a copy until it is sent. A
// buffer made by buffer_new_shared and sealed is not copied on its way to a peer of the same host.
CORE_MUST_USE enum core_err links_send_buffer(struct links *links, const struct core_id *id, const struct message *m,
                                              struct buffer *bulk);
// Answers a LINK_EVENT_ADMIT; the connection closes after it. CORE_ERR_NOT_FOUND where it is gone.
CORE_MUST_USE enum core_err links_answer(struct links *links, uint64_t ticket, const struct message *m);
// ADMIT is passed on only while this is true (default false); otherwise it is refused: LINK_NO_INVITATION.
void links_admit_open(struct links *links, bool open);
// While held, no peer is granted more bulk bytes than it has: for a node whose disk or workers are behind.
void links_bulk_hold(struct links *links, bool hold);
// Keeps a key out for `ms` (0: for as long as we run) and closes its link.
void links_ban(struct links *links, const struct core_id *id, uint64_t ms);
// Our own HELLO from now on.
void links_set_addresses(struct links *links, struct slice addresses);
void links_set_incarnation(struct links *links, uint64_t incarnation);

bool links_is_up(const struct links *links, const struct core_id *id);

struct link_stats {
    struct core_id id;
    bool up;
    bool dialled_by_us;
    bool bulk_open;
    char address[ADDRESS_TEXT_MAX];
    uint64_t up_since_ms;  // CLOCK_MONOTONIC
    uint64_t tx_bytes[LANE_COUNT];
    uint64_t rx_bytes[LANE_COUNT];
    uint64_t tx_messages[LANE_COUNT];
    uint64_t rx_messages[LANE_COUNT];
    uint64_t queued_bytes[LANE_COUNT];
    uint64_t would_block[LANE_COUNT];    // messages that found the queue full
    enum link_way way;                   // of the bulk lane
    uint64_t waiting[LINK_CLASS_COUNT];  // messages in our queue
    uint64_t dropped[LINK_CLASS_COUNT];  // ours that found the queue full
    uint64_t flooded[LINK_CLASS_COUNT];  // theirs that were over the limit
    int64_t bulk_credit;                 // bytes we may still send
};

struct links_stats {
    uint64_t refused[LINK_REASON_COUNT];  // bytes and connections of others that were refused, by reason
    uint64_t refused_total;
    uint32_t up;
    uint32_t dialling;
    uint32_t strangers;             // connections that have not said who they are
    uint32_t parked;                // dials of others that wait for how ours to them goes
    uint64_t tx_bytes[LANE_COUNT];  // since open, over all links that were
    uint64_t rx_bytes[LANE_COUNT];
    uint64_t dropped[LINK_CLASS_COUNT];  // since open, over all links, as the next
    uint64_t flooded[LINK_CLASS_COUNT];
    uint64_t handshakes_refused;    // CURVE handshakes that the gate turned away: banned or too many
    uint64_t slow;                  // links let go because they took nothing
    uint64_t floods;                // links let go because they went on flooding
    uint64_t overfed;               // strangers shut down because of how many bytes they sent unannounced
    uint32_t ways[LINK_WAY_COUNT];  // bulk lanes open now, by way
    uint64_t fallbacks;             // bulk lanes that fell back to CURVE
};

void links_stats(const struct links *links, struct links_stats *out);
// The `index`-th link (up or dialling); false past the last.
bool links_stats_at(const struct links *links, uint32_t index, struct link_stats *out);
bool links_stats_of(const struct links *links, const struct core_id *id, struct link_stats *out);

#endif
