// What the files of `bulk` share; see bulk.h.
#ifndef MESH_BULK_INTERNAL_H
#define MESH_BULK_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "mesh/bulk.h"
#include "mesh/record.h"

enum {
    STRANGERS_MAX = 32,  // connections that have not proved a lane
    PREFACE_SIZE = 2 * CORE_HASH_SIZE,
    TURN = 16,  // records or packets of one lane before the next lane has its turn
    PACKET_SIZES = 9,
    PACKET_MAX = PACKET_SIZES + WIRE_BULK_HEAD_MAX + BULK_INLINE_MAX,
    LENT_MAX = 256,  // slabs of a lane that are lent at once
};
#define LENT_BYTES ((uint64_t)1 << 29)

// What epoll points to.
enum source_kind { SOURCE_WAKE, SOURCE_TCP, SOURCE_UNIX, SOURCE_STRANGER, SOURCE_LANE };
struct source {
    enum source_kind kind;
};

enum lane_step { STEP_EXPECTED, STEP_CONNECTING, STEP_PROVING, STEP_OPEN, STEP_OVER };

struct item {
    struct item *next;
    struct buffer *buffer;
    struct slice bulk;
    size_t head_size;
    uint8_t head[];
};

// Slabs that the other side may be reading, by the number of their packet. Guarded by the mutex.
struct lent {
    uint64_t next, bytes;
    uint32_t count;
    struct {
        uint64_t number;
        struct buffer *buffer;
    } items[LENT_MAX];
};

struct returns;  // bulk_slabs.c
struct slab_map;

struct bulk_lane {
    struct source source;
    struct bulk *bulk;
    atomic_uint holders;
    uint64_t tag;
    enum link_way way;
    enum seal_cipher cipher;
    struct core_hash ticket;
    struct seal_keys keys;
    bool dialled;
    char host[64];  // to be dialled
    uint16_t port;
    char name[BULK_NAME_MAX];
    int fd;

    // Guarded by the mutex.
    struct bulk_lane *next;
    enum lane_step step;
    bool dropped;         // by the owner
    bool ended;           // FAILED or CLOSED was said
    bool rx_has, tx_has;  // the threads hold it
    bool tx_wants;        // OPEN, and the sending thread has not taken it yet
    bool writable;
    struct item *first, *last;
    uint32_t items;
    struct lent lent;

    // Shared memory: what we read of theirs; NULL where we may not. The sending thread tells of what is given back.
    struct returns *returns;
    bool welcomed;              // the sending thread's: they were told that slabs are welcome
    atomic_bool slabs_welcome;  // theirs said so

    // The receiving thread's.
    uint64_t borrowed;  // slabs so far
    uint64_t deadline_ms;
    struct record_reader reader;
    int least;  // bytes that it is woken for
    uint8_t *packet;

    // The sending thread's.
    struct record_writer writer;
    struct item *item;  // being sent

    atomic_int_fast64_t allowance;
    atomic_uint_fast64_t taken;
};

struct stranger {
    struct source source;
    int fd;  // -1: free
    enum link_way way;
    size_t have;
    uint8_t preface[PREFACE_SIZE];
    uint64_t deadline_ms;
};

struct event_node {
    struct event_node *next;
    struct bulk_event event;
    uint8_t head[];
};

struct bulk {
    struct bulk_options options;
    struct core_hash mesh;
    struct buffer_pool *pool;
    struct source rx_wake_source, tx_wake_source, tcp_source, unix_source;
    int rx_epoll, tx_epoll, rx_wake, tx_wake, ready, tcp, local;
    uint16_t port;
    char name[BULK_NAME_MAX];
    pthread_t rx, tx;
    bool rx_runs, tx_runs;
    atomic_uint_fast64_t refused;

    // The receiving thread's.
    struct stranger strangers[STRANGERS_MAX];
    struct slab_map *maps;
    uint32_t map_count;
    uint64_t used_ms;
    bool pool_used;

    pthread_mutex_t mutex;
    struct bulk_lane *lanes;
    struct event_node *first, *last;
    bool stopping, tx_sleeps;
};

uint64_t bulk_clock_ms(void);
void bulk_wake(int descriptor);
void bulk_hold(struct bulk_lane *lane);
void bulk_release(struct bulk_lane *lane);
// A thread is done with a lane; `has` is its flag in it.
void bulk_let_go(struct bulk_lane *lane, bool *has);
// Says FAILED or CLOSED once, and shuts the connection down. Any thread.
void bulk_end(struct bulk_lane *lane, enum link_reason reason);
// Takes both views over by copying the head and keeping the count of `buffer`. False without memory.
bool bulk_post(struct bulk_lane *lane, enum bulk_event_kind kind, enum link_reason reason, struct slice head,
               struct buffer *buffer);
bool bulk_allowed(void *lane, size_t bytes);
enum link_reason bulk_reason(enum core_err err);

// ---- receiving (bulk_receive.c) ----
void *bulk_receive_main(void *bulk);
// Opens the listeners that the options allow.
void bulk_listen(struct bulk *b);

// ---- sending (bulk_send.c) ----
void *bulk_send_main(void *bulk);

// ---- slabs of shared memory (bulk_slabs.c) ----

// Lends a slab to the lane's other side: false where it isn't welcome, or too much is lent. Keeps it.
bool bulk_lend(struct bulk_lane *lane, struct buffer *buffer);
void bulk_lend_not(struct bulk_lane *lane);  // the last one was not sent after all
void bulk_lend_end(struct bulk_lane *lane);  // what is still lent never comes back
// Numbers came back. CORE_ERR_MALFORMED: one that was not lent.
CORE_MUST_USE enum core_err bulk_came_back(struct bulk_lane *lane, struct slice numbers);

// Whether the process at the other end could write to our memory anyway.
bool bulk_may_borrow(int fd);
// A slab's first `size` bytes, given back when the last holder drops them; takes `fd` over. CORE_ERR_MALFORMED,
// CORE_ERR_LIMIT (more than LENT_MAX), CORE_ERR_NO_MEMORY.
CORE_MUST_USE enum core_err bulk_borrow(struct bulk_lane *lane, int fd, size_t size, struct buffer **out);
// Forgets mappings that nobody holds, or all; what is held stays mapped. Whether some are left.
bool bulk_maps_trim(struct bulk *b, bool all);
CORE_MUST_USE struct returns *bulk_returns_new(int wake);
void bulk_returns_end(struct returns *r);  // nothing is told any more; NULL is fine
bool bulk_returns_wait(const struct returns *r);
// Numbers to be told; those that were, by their bytes, are struck off after.
size_t bulk_returns_take(struct returns *r, uint8_t out[LENT_MAX * 8]);
void bulk_returns_told(struct returns *r, size_t size);

// ---- packets of shared memory (bulk_shared.c) ----

// What a packet says: a message with its bulk in it or in a descriptor beside it, or something of slabs.
enum packet_kind { PACKET_INLINE, PACKET_SEALED, PACKET_SLAB, PACKET_WELCOME, PACKET_BACK, PACKET_KINDS };
struct packet {
    enum packet_kind kind;
    struct slice head;  // of a message
    struct slice bulk;  // INLINE; BACK: the numbers
    size_t bulk_size;
};
// CORE_ERR_MALFORMED, CORE_ERR_TOO_LARGE or another of wire_header_decode.
CORE_MUST_USE enum core_err packet_decode(struct slice bytes, const struct core_hash *mesh, struct packet *out);
// One packet in, of a lane that is readable. CORE_ERR_WOULD_BLOCK: nothing there; CORE_ERR_NOT_FOUND: closed.
CORE_MUST_USE enum core_err packet_receive(struct bulk_lane *lane);
// One item out: CORE_ERR_WOULD_BLOCK (there is no room), CORE_ERR_LIMIT (try again soon).
CORE_MUST_USE enum core_err packet_send(struct bulk_lane *lane, struct item *item);
// Whether something of slabs waits to be told, and telling it: as packet_send.
bool packet_tells(const struct bulk_lane *lane);
CORE_MUST_USE enum core_err packet_tell(struct bulk_lane *lane);

#endif
