// The running peer, as its parts see it. Everything here belongs to the loop's thread, unless a part's header says
// otherwise.
#ifndef NODE_DAEMON_H
#define NODE_DAEMON_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/effect.h"
#include "core/event.h"
#include "learn/peer.h"
#include "mesh/admission.h"
#include "mesh/links.h"
#include "node/blobs.h"
#include "node/catalog.h"
#include "node/compute/lanes.h"
#include "node/compute/worker.h"
#include "node/control/control_server.h"
#include "node/dials.h"
#include "node/discovery.h"
#include "node/doctor/dialback.h"
#include "node/events_log.h"
#include "node/home.h"
#include "node/incoming.h"
#include "node/look/http.h"
#include "node/node.h"
#include "node/outbound.h"
#include "node/record.h"
#include "node/runs.h"
#include "node/settings.h"
#include "node/transfers.h"
#include "sched/topology.h"
#include "store/chunks.h"

enum { NODE_LINKS_MAX = 128, NODE_STRIKES_MAX = 16, NODE_PINGS_MAX = 64, NODE_TYPES = 128 };

// The store is used by the loop and by workers.
struct shared_store {
    pthread_mutex_t mutex;
    struct store *store;
};

// Answers to one member's questions of a kind, in the second that began at `since_ms`.
struct node_answers {
    uint64_t since_ms;
    uint32_t count;
};

struct node_link {
    struct core_id id;
    bool used;
    bool unwanted;     // gossip hung up; it stays while something else uses it
    bool worked;       // rounds or data went over it, and will again
    uint64_t used_ms;  // last message of ours but gossip's
    uint32_t strikes;
    uint64_t ping_nonce, ping_us;  // gossip's last ping over it
    // Bytes a second when a map last wanted to know, and of when (node/look/map.c).
    uint64_t rate, rate_bytes, rate_ms;
    // To its questions (node/look/map.c, node/doctor/dialback.c, node/look/trace.c).
    struct node_answers map, check, trace;
    struct core_hash host;
};

struct node_ping {
    uint64_t nonce, session, sent_us;
    struct core_id peer;
    uint32_t seq;
};

// What did not fit where this peer keeps things for others. All of it is asked for or sent again.
struct node_dropped {
    uint64_t outbox;    // effects of one step
    uint64_t outbound;  // messages waiting for a dial
    uint64_t blobs;     // bulk of a round
    uint64_t chunks;    // answers to who has too many under way
    uint64_t waiters;   // who asked for an index that is being made
};

struct node {
    // ---- who it is ----
    const struct node_options *options;
    struct home home;
    struct settings settings;
    struct core_key key;
    struct charter charter;
    struct certificate own;
    uint8_t *certificate;
    size_t certificate_size;
    struct revocations revoked;
    struct invitations invitations;
    struct core_hash host;
    uint64_t incarnation, saved_incarnation;
    struct address_list addresses;
    bool fault_update;           // MYCEL_FAULT=update: what this peer trains is wrong on purpose, to see it found
                                 // (CONTRIBUTING.md)
    uint64_t certificate_ttl_s;  // of those that it issues; 0: for ever. MYCEL_FAULT=brief: seconds, to see one expire
    uint8_t address_bytes[ADDRESS_LIST_BYTES];
    size_t address_size;
    uint16_t port;
    struct core_id sponsor;  // whom to dial while no other member is known; zero for none
    uint8_t sponsor_addresses[ADDRESS_LIST_BYTES];
    size_t sponsor_addresses_size;

    // ---- protocol ----
    struct peer *peer;
    struct outbox out;
    bool performing;

    // ---- the outside ----
    struct links *links;
    struct node_link link[NODE_LINKS_MAX];
    struct outbound outbound;
    struct discovery discovery;
    struct control_server control;
    struct http *http;  // the live page; NULL for none
    struct node_ping pings[NODE_PINGS_MAX];
    struct map_state *maps;        // that are being gathered
    struct doctor_state *doctors;  // the same of `doctor`
    struct dialback dialback;
    struct dials dials;
    struct trace_state *traces;
    uint64_t refused;  // by this node and its protocols: lying data, malformed messages, joiners; ..
    uint64_t refused_by[NODE_TYPES][CORE_ERR_COUNT];  // .. by type of message and error
    struct node_dropped dropped;
    struct incoming incoming;
    uint64_t started_ms, started_s, now_ms;

    // ---- work and data ----
    struct inbox inbox;
    struct worker sums_worker, io_worker;
    struct lanes lanes;
    struct sched_topology *topology;
    uint64_t memory_bytes;
    struct shared_store store;
    struct blobs blobs;
    struct runs runs;
    struct catalog catalog;
    struct transfers transfers;
    struct record record;

    // ---- how it fares ----
    struct events_log log;
    struct event_sink events;
    bool disk_full;
    enum core_err disk_err;
    uint64_t disk_retry_ms, second_ms, members_saved_ms, sponsor_dial_ms, trim_ms;
    bool members_changed, members_saving;
    enum { NODE_UP, NODE_LEAVING, NODE_STOPPING } state;
    uint64_t leave_since_ms, leave_session;
    bool left_for_good;
};

// ---- loop.c ----
uint64_t node_clock_ms(void);  // monotonic
uint64_t node_clock_us(void);
uint64_t node_wall_s(void);

// ---- effects.c ----
// Performs what the outbox holds, and what that leads to, then resets it. Call after every event.
void node_perform(struct node *n);
// Tells the protocol of finished work, and performs.
void node_work_done(struct node *n, const struct work_result *result);
void node_disk_failed(struct node *n, enum core_err err, const char *what);
void node_disk_retry(struct node *n);

// ---- network.c ----
void node_link_event(void *context, const struct link_event *event);
struct node_link *node_link_find(struct node *n, const struct core_id *id);
// Whether one more answer is within `most` a second; it is counted.
bool node_answer_due(struct node_answers *answers, uint64_t now_ms, uint32_t most);
void node_link_works(struct node *n, struct node_link *link);  // something other than gossip goes over it
// Counts what was refused of a type of message; a strike is one that costs a linked peer, which is let go in the end.
void node_refused(struct node *n, enum message_type type, enum core_err err);
void node_strike(struct node *n, const struct core_id *id, enum message_type type, enum core_err err);
void node_links_tick(struct node *n);
CORE_MUST_USE enum core_err node_invitations_save(struct node *n);

// ---- work_*.c: one EFFECT_WORK ----
void node_work_start(struct node *n, uint32_t kind, struct slice payload);
void work_train_start(struct node *n, struct run_data *run, const struct work_train *w);
void work_reduce_start(struct node *n, const struct work_reduce *w);
void work_apply_start(struct node *n, struct run_data *run, const struct work_apply *w);
// Writes the pending inner state (and the update, taken over; may be NULL) on the I/O worker.
void work_keep_inner(struct node *n, struct run_data *run, int8_t *update);
// That is done, and an outer step waited for it.
void work_apply_kept(struct node *n, struct run_data *run, enum core_err err);
void work_fetch_start(struct node *n, struct run_data *run, const struct work_fetch *w);

// ---- verbs.c ----
void node_handle_request(void *context, struct session *s, const char *verb);
void verbs_round_closed(struct node *n, struct run_data *run);

#endif
