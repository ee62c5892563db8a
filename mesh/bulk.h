// Bulk lanes that are not libzmq's: through shared memory between peers of one host, sealed by an AEAD over TCP between
// hosts. CURVE's cipher in libzmq makes a stream several times slower than a plain one; AES-GCM in hardware does not.
// Two threads do all of it off the owner's loop: one connects, accepts, receives and opens, one seals and sends.
//
// How a lane comes about (mesh/links_bulk.c speaks LANE_* over the CURVE control link, whose two ends are proved)
//
//   dialler of the link                          listener of the link
//     | LANE_WANT (only where it is the listener that has bulk to send)
//     |<------------------------------------------|
//     | LANE_OPEN ticket, 32 random bytes, ways    |  bulk_expect: keys from both sides' bytes, EXPECTED
//     |------------------------------------------->|
//     | LANE_READY ticket, 32 random bytes, way,   |
//     |            port or socket name             |
//     |<------------------------------------------|
//   bulk_connect: the same keys, CONNECTING        |
//     | connection: ticket, dialler's proof        |  the ticket names an expected lane, the proof is its own:
//     |------------------------------------------->|  anything else is closed unread, nothing allocated
//     |                listener's proof            |  OPEN
//     |<------------------------------------------|
//   OPEN; both grant the first window (CREDIT on the control link), then messages go both ways
//
// States of a lane
//   EXPECTED -proved connection-> OPEN        CONNECTING -> PROVING -their proof-> OPEN
//   CONNECTING, PROVING -refused, late, wrong proof-> OVER (FAILED)        OPEN -closed, broken-> OVER (CLOSED)
//   any -bulk_drop-> OVER (silent)
//
// Invariants
//   1. a lane belongs to one link: its keys are bound to the mesh, both ids, who dialled, and a ticket that is used
//   once;
//   2. nothing of a message is allocated before its sealed first record opened (or, in shared memory, came over a
//   proved
//      socket of the same user), its sizes are within its type's limits and the receiver has granted the bytes;
//   3. what waits is bounded: to send by the other side's grant, received by our own;
//   4. messages of a lane arrive in order and once, or the lane is CLOSED; CLOSED comes after the last message;
//   5. one mutex guards lanes' lists, queues and events; a record is sealed, opened, sent and received outside of it;
//   6. who holds a lane (owner, receiving thread, sending thread, events) counts; its descriptor is closed by the last.
//
// Shared memory: a SOCK_SEQPACKET Unix socket in the abstract namespace, whose name is random and told over the control
// link; both sides check that the other runs as the same user. Bulk up to BULK_INLINE_MAX lies in the packet, larger
// bulk in a memfd that goes along: sealed against writing and resizing (checked, with its size, before it is mapped),
// mapped read-only, handed up without a copy. Between processes that share their namespaces, too, memory of a pool is
// lent instead and given back (bulk_slabs.c).
#ifndef MESH_BULK_H
#define MESH_BULK_H

#include "mesh/address.h"
#include "mesh/buffer.h"
#include "mesh/links.h"
#include "mesh/seal.h"

enum { BULK_INLINE_MAX = 32768, BULK_NAME_MAX = 64, BULK_ITEMS_MAX = 4096 };

struct bulk;
struct bulk_lane;

struct bulk_options {
    const struct core_hash *mesh;
    struct address listen;  // of sealed lanes; port 0: any free one
    bool no_listener;
    uint32_t ways;             // bit 1 << LINK_WAY_*
    size_t pool_bytes;         // free memory that is kept for messages to come
    int connect_ms;            // for a connection and its proof
    uint64_t records_a_key;    // 0: SEAL_RECORDS_MAX
    uint64_t longest_idle_ms;  // free memory is given back after this
};

// Opens listeners and threads. Where a listener cannot be had its way is not offered. CORE_ERR_NO_MEMORY, CORE_ERR_IO.
CORE_MUST_USE enum core_err bulk_open(const struct bulk_options *options, struct bulk **out);
// Waits for the threads. The owner has dropped its lanes.
void bulk_close(struct bulk *b);
// Readable while events wait.
int bulk_descriptor(const struct bulk *b);
uint16_t bulk_port(const struct bulk *b);     // 0: no sealed lanes are accepted
const char *bulk_name(const struct bulk *b);  // "": no shared ones

// ---- lanes; by the owner's thread ----

// A lane that the other side will connect: NULL without memory. `tag` is the owner's.
CORE_MUST_USE struct bulk_lane *bulk_expect(struct bulk *b, uint64_t tag, const struct seal_binding *binding,
                                            enum link_way way);
// A lane that we connect: SEALED to `host` (numeric) and `port`, SHARED to `name`.
CORE_MUST_USE struct bulk_lane *bulk_connect(struct bulk *b, uint64_t tag, const struct seal_binding *binding,
                                             enum link_way way, const char *host, uint16_t port, const char *name);
// The owner is done with it: closes it, and no event of it comes any more.
void bulk_drop(struct bulk_lane *lane);
// Queues a message of an open lane; keeps `bulk`. CORE_ERR_WOULD_BLOCK while BULK_ITEMS_MAX wait, CORE_ERR_NO_MEMORY.
CORE_MUST_USE enum core_err bulk_send(struct bulk_lane *lane, struct slice head, struct buffer *buffer,
                                      struct slice bulk);
// The other side may send so many more bytes. Before it is told.
void bulk_allow(struct bulk_lane *lane, uint64_t bytes);
void bulk_disallow(struct bulk_lane *lane, uint64_t bytes);  // it could not be told
uint64_t bulk_tag(const struct bulk_lane *lane);
enum link_way bulk_way(const struct bulk_lane *lane);
// Messages that wait to be sent, and all bytes that the system took from us so far: to tell a slow reader.
uint32_t bulk_waiting(struct bulk_lane *lane, uint64_t *taken_bytes);

// ---- events ----

enum bulk_event_kind { BULK_EVENT_OPENED, BULK_EVENT_FAILED, BULK_EVENT_CLOSED, BULK_EVENT_MESSAGE };

struct bulk_event {
    enum bulk_event_kind kind;
    struct bulk_lane *lane;
    enum link_reason reason;  // FAILED, CLOSED
    struct slice head;        // MESSAGE
    struct buffer *bulk;      // MESSAGE; may be NULL; keep it to have it longer than the event
};
// The oldest event; false when there is none. `out` is valid until bulk_event_done, which must follow.
bool bulk_next(struct bulk *b, struct bulk_event *out);
void bulk_event_done(struct bulk *b, struct bulk_event *event);

// Connections to our listeners that did not prove a lane.
uint64_t bulk_refused(const struct bulk *b);

#endif
