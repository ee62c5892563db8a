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
};

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

    // The receiving thread's.
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

// ---- packets of shared memory (bulk_shared.c) ----

// What a packet says: its head, and bulk in it or in a descriptor beside it.
struct packet {
    struct slice head;
    struct slice bulk;  // inline
    size_t bulk_size;
    bool by_descriptor;
};
// CORE_ERR_MALFORMED, CORE_ERR_TOO_LARGE or another of wire_header_decode.
CORE_MUST_USE enum core_err packet_decode(struct slice bytes, const struct core_hash *mesh, struct packet *out);
// One packet in, of a lane that is readable. CORE_ERR_WOULD_BLOCK: nothing there; CORE_ERR_NOT_FOUND: closed.
CORE_MUST_USE enum core_err packet_receive(struct bulk_lane *lane);
// One item out: CORE_ERR_WOULD_BLOCK (there is no room), CORE_ERR_LIMIT (try again soon).
CORE_MUST_USE enum core_err packet_send(struct bulk_lane *lane, struct item *item);

#endif
