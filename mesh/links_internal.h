// What the files of `links` share. See links.h for what it is; this page is its states.
//
//   an accepted connection (struct conn)          a link (struct link)
//   FREE -accepted-> STRANGER                     FREE -links_dial-> DIALLING -their HELLO-> UP
//   STRANGER -HELLO, verified-> LANE or PARKED    FREE -a stranger's HELLO-> UP
//   STRANGER -ADMIT while open-> JOINER           DIALLING -address failed-> next address, or FREE (DIAL_FAILED)
//   PARKED -our dial failed-> LANE                DIALLING -HELLO of a lower id-> UP (our dial is given up)
//   any -refused, dropped-> SHUNNED               UP -a lane closed, hangup, replaced-> FREE (DOWN)
//   any -TCP closed-> FREE
//
// Invariants
//   1. a routing id is libzmq's own and belongs to one conn, whose key never changes;
//   2. a conn in state LANE belongs to exactly one lane of one link that is UP, and its key is that link's;
//   3. a link that is UP has an open control lane; its bulk lane opens after it, over a connection that the same side
//      dialled, and the link ends when either closes;
//   4. of two peers that dial each other, the lower id parks the other's HELLO while its own dial is on its way, the
//      higher gives its own dial up: one connection stays, the one that the lower dialled, if it can be made;
//   5. callbacks only set flags, fill queues and take free links: no link or conn is freed under a caller.
#ifndef MESH_LINKS_INTERNAL_H
#define MESH_LINKS_INTERNAL_H

#include "mesh/buffer.h"
#include "mesh/bulk.h"
#include "mesh/gate.h"
#include "mesh/hello.h"
#include "mesh/links.h"
#include "mesh/socket.h"
#include "mesh/wire.h"

enum {
    NO_CONN = UINT32_MAX,
    ROUTING_ID_SIZE = 5,  // of the ids that libzmq makes: a zero byte and a number
    QUEUE_FRAMES_LEAST = 16,
    QUEUE_FRAMES_MAX = 8192,
    MESSAGES_A_CALL = 64,  // from one socket in one links_process
    CLOSE_DELAY_MS = 200,  // for a REFUSED to go out before its connection is shut down
    JOINER_MS = 5000,
    RETRY_MS = 5,  // while libzmq takes no more from a queue
    // Of a connection that has not said HELLO or ADMIT: CURVE's handshake and either fit in a fifth of this. Looked at
    // so often, for a stranger wakes nobody.
    STRANGER_BYTES_MAX = 65536,
    STRANGER_LOOK_MS = 20,
};

// ---- queues (links_queue.c) ----

struct frame {
    zmq_msg_t head;
    struct buffer *bulk;      // NULL: none
    struct slice bulk_bytes;  // in `bulk`
    size_t bytes;
};

struct queue {
    struct frame *frames;  // a ring
    uint32_t capacity, first, count;
    uint64_t bytes;
    uint64_t since_ms;  // nothing was taken from it since, while it isn't empty
};

// ---- connections and links ----

enum conn_state { CONN_FREE, CONN_STRANGER, CONN_PARKED, CONN_LANE, CONN_JOINER, CONN_SHUNNED };

struct conn {
    enum conn_state state;
    int fd;       // libzmq's, as its monitor and ZMQ_SRCFD name it
    bool closed;  // TCP closed; freed once its last messages are read
    bool named;   // routing id and key are known, from its first message
    uint8_t routing_id[ROUTING_ID_SIZE];
    uint8_t curve[IDENTITY_CURVE_SIZE];
    char host[GATE_ADDRESS_MAX];
    uint16_t port;
    uint32_t link;  // LANE, PARKED: which
    uint32_t lane;
    uint64_t ticket;              // JOINER
    uint64_t deadline_ms;         // STRANGER, JOINER, SHUNNED: shut down then; 0: none
    struct socket_message hello;  // PARKED: kept for when our own dial fails
};

enum lane_state { LANE_CLOSED, LANE_GREETING, LANE_OPEN };

struct lane {
    enum lane_state state;
    void *dealer, *monitor;   // where we dialled
    int fd;                   // of that connection, as its monitor names it
    uint32_t conn;            // where they did
    bool connected, secured;  // TCP, CURVE: of a lane that we dialled
    bool ended;               // its connection is gone
    enum link_reason why;
    bool blocked;  // libzmq took no more
    uint64_t tx_bytes, rx_bytes, tx_messages, rx_messages, would_block;
};

// What a peer may still send of a class (links_limits.c), in thousandths of a token.
struct limit {
    uint64_t milli;
    uint64_t over;  // what it sent too much since the bucket was last full
    uint64_t at_ms;
};

// How far a link's bulk lane is (links_bulk.c).
enum bulk_step {
    BULK_NONE,      // nobody has asked for it
    BULK_WANTED,    // we asked the dialler to open it
    BULK_OFFERED,   // dialler: LANE_OPEN is on its way
    BULK_EXPECTED,  // listener: LANE_READY was said; a connection, or HELLO over CURVE, is to come
    BULK_DIALLED,   // dialler: connecting
    BULK_CURVE,     // over libzmq, as a lane like the control lane
    BULK_OPEN,
};
struct bulk_attempt {
    enum bulk_step step;
    struct bulk_lane *lane;
    uint32_t ways;  // dialler: what was not tried yet, bit 1 << LINK_WAY_*
    struct core_hash ticket, our_bytes;
    uint64_t taken, since_ms;  // bytes that the system took, and since when no more
};

enum link_state { LINK_STATE_FREE, LINK_STATE_DIALLING, LINK_STATE_UP };

struct link {
    enum link_state state;
    struct core_id id;
    uint8_t curve[IDENTITY_CURVE_SIZE];
    bool ours;     // we dialled
    bool waiting;  // links_dial was called, links_process has not begun yet
    bool closing;  // hang up at the end of this, or in the next, links_process
    enum link_reason closing_reason;
    struct lane lanes[LANE_COUNT];
    struct queue queues[LINK_CLASS_COUNT];
    uint64_t dropped[LINK_CLASS_COUNT], flooded[LINK_CLASS_COUNT];
    struct limit limits[LINK_CLASS_COUNT];
    struct bulk_attempt bulk;
    bool same_host;
    char peer_host[GATE_ADDRESS_MAX];  // numeric, of a connection that we dialled
    int64_t credit;                    // bulk bytes that we may send; may end below zero by one message
    int64_t allowance;                 // the same for the other side, over CURVE (mesh/bulk.h counts for itself)
    uint64_t ungranted;                // bulk bytes read that we have not granted again
    uint64_t nonce;                    // of our HELLO, the same on both lanes
    uint64_t their_incarnation, their_nonce;
    struct address_list addresses;  // being dialled
    uint32_t next_address;
    struct address at;
    char address[ADDRESS_TEXT_MAX];
    uint64_t dialled_ms, deadline_ms;
    uint32_t parked;  // their conn, while our dial is on its way
    uint64_t up_since_ms;
};

struct links {
    void *context;
    struct gate *gate;
    struct identity_curve curve;
    struct links_options options;
    struct hello_self self;
    uint8_t addresses[ADDRESS_LIST_BYTES];
    struct socket_options sockets;
    void *router, *monitor;
    uint16_t port;
    struct link *links;
    struct conn *conns;
    uint32_t conn_count;
    uint8_t *scratch;  // WIRE_BODY_MAX, for encoding
    bool admit_open, hold;
    bool more;                   // links_process left something
    struct socket_event before;  // the listener's last event
    uint32_t turned_away;        // handshakes that the gate refused, whose closing is still to come
    uint32_t shaken;             // handshakes that succeeded, whose first message is still to come
    struct bulk *bulk;           // opened for the first bulk lane
    uint64_t now_ms, next_nonce, next_ticket, next_name;
    uint64_t looked_ms;  // for mute connections
    links_handle *handle;
    void *handle_context;
    struct links_stats totals;
};

uint64_t links_clock_ms(void);  // monotonic
uint64_t links_clock_s(void);   // seconds since 1970
void links_emit(struct links *l, const struct link_event *event);
struct link *links_find(const struct links *l, const struct core_id *id);
struct link *links_take(struct links *l, const struct core_id *id);  // a free one, or NULL
// Counts somebody's refused bytes and tells the owner; penalises key and address where the reason is hostile.
void links_refuse(struct links *l, enum link_reason reason, const uint8_t *curve, const char *address);
enum link_reason links_reason_of(enum core_err err);
enum { REFUSAL_TEXT = 128 };
// REFUSED for that reason; and what a REFUSED said, its sentence made fit for a terminal.
void links_refusal(enum link_reason reason, struct message *out);
enum link_reason links_refusal_read(const struct message *m, char text[REFUSAL_TEXT]);
// Ends a link: frees it, then tells the owner (DOWN or DIAL_FAILED). Do not touch `link` afterwards.
void links_down(struct links *l, struct link *link, enum link_reason reason, const char *text);
// Their HELLO verified on the control lane (and `conn` accepted, or our own dialled lane): the link is UP.
void links_up(struct links *l, struct link *link, const struct message *hello, const struct certificate *certificate);
// Both sides grant the first window.
void links_bulk_opened(struct links *l, struct link *link);
// One message of an open lane over libzmq, whose first parts are its routing id.
void links_receive(struct links *l, struct link *link, uint32_t lane, struct socket_message *m, size_t first_part);
// One message of an open lane; `bulk` holds frames[1].
void links_message(struct links *l, struct link *link, uint32_t lane, const struct slice *frames, size_t count,
                   struct buffer *bulk);
void links_drop_lanes(struct links *l, struct link *link);

// ---- queues ----
enum link_class links_class_of(enum message_type type);
void frames_close(struct queue *q);
// `bulk` holds m->bulk, and is kept; NULL: the bulk is copied.
CORE_MUST_USE enum core_err frame_make(struct links *l, const struct message *m, struct buffer *bulk,
                                       struct frame *out);
void frame_close(struct frame *f);
// Takes the frame.
enum core_err lane_send(struct links *l, struct link *link, enum link_class class, struct frame *f);
// A message, and our HELLO, on a lane that we dialled, past the queue and the credit.
bool lane_say(struct links *l, struct link *link, uint32_t lane, const struct message *m);
CORE_MUST_USE bool lane_greet(struct links *l, struct link *link, uint32_t lane);
void lane_flush(struct links *l, struct link *link, enum link_class class);
// When a queue of `link` from which nothing is taken makes it a slow reader; 0: none waits.
uint64_t lane_slow_at(const struct links *l, const struct link *link);
// Straight to an accepted connection, whatever its state; lost where libzmq takes no more.
void conn_send(struct links *l, struct conn *c, const struct message *m);

// ---- bulk lanes (links_bulk.c) ----
// There is bulk to send: opens the lane, or asks the other side to, unless that has begun.
void bulk_begin(struct links *l, struct link *link);
// LANE_WANT, LANE_OPEN, LANE_READY.
void bulk_message(struct links *l, struct link *link, const struct message *m);
void bulk_events(struct links *l);
// Ends an attempt or a lane that is not libzmq's.
void bulk_forget(struct link *link);
// One frame to such a lane; CORE_ERR_WOULD_BLOCK leaves it with the caller.
enum core_err bulk_push(struct link *link, struct frame *f);
// When a lane of which nothing is taken makes its peer a slow reader; 0: nothing waits.
uint64_t bulk_slow_at(struct links *l, struct link *link);

// ---- limits (links_limits.c) ----
void limits_defaults(struct links_options *o);
void limits_begin(const struct links *l, struct link *link);
enum limit_verdict { LIMIT_FITS, LIMIT_OVER, LIMIT_FLOOD };
// Counts one message of theirs. OVER: drop it; FLOOD: let the peer go.
enum limit_verdict limits_take(struct links *l, struct link *link, enum link_class class, size_t bytes);

// ---- accepted connections (links_accept.c) ----
void accept_process(struct links *l);
void accept_timers(struct links *l);
void conn_shun(struct links *l, struct conn *c, uint64_t delay_ms);
// The parked HELLO of `link` is taken after all, once our own dial failed. True where the link is UP.
bool accept_parked(struct links *l, struct link *link);

// ---- dialled connections (links_dial.c) ----
void dial_start(struct links *l, struct link *link);
void dial_process(struct links *l, struct link *link);
void dial_timers(struct links *l, struct link *link);
void dial_bulk(struct links *l, struct link *link);
void lane_close_dealer(struct lane *lane);

#endif
