// Inside mesh mode: the peers, the network between them, virtual time. Everything random comes from one stream, drawn
// in the order of events.
//
// The network: a peer lies in a site, a site on a plane; a message takes base + distance + both peers' access + jitter,
// in order over a link. Links are rows of their peers (a few each), so nothing grows with the square of the peers. A
// cut loses messages and says nothing; a process that dies closes its links, a machine that dies closes none.
#ifndef TOOLS_SIM_MESH_WORLD_H
#define TOOLS_SIM_MESH_WORLD_H

#include "core/philox.h"
#include "gossip/gossip.h"
#include "tools/sim/mesh.h"
#include "tools/sim/queue.h"
#include "tools/sim/wire.h"

#define MESH_NOBODY   UINT32_MAX
#define MESH_FOREVER  UINT64_MAX
#define MESH_STORM_US 1000000  // when a storm begins

enum {
    MESH_PENDING = 16,  // messages kept for a link that is being dialled
    MESH_GROUPS = 8,    // sides of a cut
    MESH_CONTACTS = 3,  // whom a storm joins through
    MESH_HEARD = 32,    // messages that a hostile peer keeps to replay
};

enum mesh_event_kind {
    MESH_MESSAGE = 1,
    MESH_TICK,
    MESH_LINK_DOWN,
    MESH_DIALED,
    MESH_CLOSE,  // a link that was hung up on may close
    MESH_BOOT,
    MESH_LOOK,     // a peer without links dials a contact
    MESH_FAULT,    // the next fault
    MESH_RESTORE,  // one ends: `number` says which
    MESH_CAST,     // the next broadcast
    MESH_MISCHIEF,
};

struct mesh_event {
    uint8_t kind;
    uint32_t node, other;
    uint32_t life;        // of the node
    uint32_t connection;  // of the link
    uint64_t number;
    struct wire *wire;  // owned
    uint32_t next_free;
};

// One direction of a link, at its sender.
struct mesh_side {
    uint32_t other;
    uint32_t connection;  // of both directions; 0: none
    bool up, dialing;
    bool unwanted;  // hung up on
    bool open;      // a MESH_CLOSE is under way
    uint64_t used_us;
    uint64_t last_us;  // arrival of the last message, for order
    uint64_t ping_nonce, ping_us;
    struct wire *pending[MESH_PENDING];
    uint32_t pending_count;
};

struct mesh_world;

struct mesh_snapshot {
    uint8_t *bytes;  // u32 size, entry, ...
    size_t size;
    uint64_t incarnation;
};

struct mesh_node {
    struct mesh_world *world;
    struct core_key key;
    struct core_hash certificate;
    struct gossip *gossip;
    struct mesh_side *sides;
    uint32_t side_count, side_capacity;
    uint32_t life, moves;  // of its address
    uint32_t site, group;  // group: its side of a cut
    float x_ms, y_ms, access_ms;
    bool up, left, hostile, slow, silent, gone;  // gone: for ever
    uint64_t down_us;                            // when it last went
    uint64_t paused_us;                          // until then; MESH_FOREVER for a machine that is gone
    uint64_t busy_us;                            // until then, for a slow one
    uint64_t uplink_us;                          // until then its uplink is taken
    uint64_t upset_us;                           // what befell it may show until then
    uint64_t booted_us;
    uint64_t turned_us;           // when its clock last jumped
    uint64_t tick_us;             // world's time of the next tick
    uint64_t clock_ms, clock_us;  // its clock read clock_ms at clock_us
    uint32_t clock_rate;          // of a million
    struct mesh_snapshot saved;
    uint64_t incarnation;  // of the last life
    struct wire **heard;   // hostile: ring of MESH_HEARD
    uint32_t heard_count;
};

struct mesh_measure;
struct mesh_verify;

struct mesh_pair {
    uint32_t from, to;
    bool both;
};

struct mesh_rounds {
    bool on;
    uint32_t origin, made;
    uint64_t number;  // the broadcast of this one
    uint64_t began_us;
};

struct mesh_world {
    struct mesh_options options;
    struct mesh_report *report;
    struct rng rng;
    uint64_t now_us;
    struct queue queue;
    struct mesh_event *events;
    uint32_t event_count, event_capacity, event_free;
    struct mesh_node *nodes;
    uint32_t *index;  // of ids: open addressing, place + 1
    uint32_t index_mask;
    uint32_t connections;
    struct outbox out;
    struct hash_state trace;
    struct mesh_measure *measure;
    struct mesh_verify *verify;
    bool cut[MESH_GROUPS][MESH_GROUPS];  // what group says is lost to group
    bool any_cut;
    struct mesh_pair *pairs;
    uint32_t pair_count, pair_capacity;
    uint32_t drop, delay, reorder, duplicate;  // of 1000 messages
    bool hushed, heard_all;                    // a large mesh forms: see mesh_world.c
    bool acting, calm;
    uint64_t act_us, calm_us;
    struct mesh_rounds rounds;
    struct wire *last_made;      // by mesh_send; one reference
    const struct wire *handled;  // the message that is being handled, or NULL
    uint32_t handler;
    uint32_t hops;
    uint64_t cast_number;
};

// ---- mesh_world.c: time, random choices, who is who ----
void mesh_push(struct mesh_world *w, struct mesh_event e, uint64_t in_us);
uint32_t mesh_chance(struct mesh_world *w, uint32_t below);
bool mesh_odds(struct mesh_world *w, uint32_t of_1000);
void mesh_fail(struct mesh_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mesh_say(const struct mesh_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));  // with -v
uint32_t mesh_find(const struct mesh_world *w, const struct core_id *id);
uint64_t mesh_clock(const struct mesh_world *w, const struct mesh_node *n);  // the peer's now_ms
uint32_t mesh_number(const struct mesh_world *w, const struct mesh_node *n);
bool mesh_running(const struct mesh_world *w, const struct mesh_node *n);  // up, and its machine too

// ---- mesh_net.c: links and messages ----
struct mesh_side *mesh_side_find(struct mesh_node *n, uint32_t other);
bool mesh_blocked(const struct mesh_world *w, uint32_t from, uint32_t to);
double mesh_distance_ms(const struct mesh_world *w, uint32_t a, uint32_t b);  // one way, without jitter
void mesh_send(struct mesh_world *w, uint32_t from, uint32_t to, const struct message *m);
// Over a link that is up, past the peer's own machine.
void mesh_transmit(struct mesh_world *w, uint32_t from, struct mesh_side *side, struct wire *wire);
void mesh_dial(struct mesh_world *w, uint32_t from, uint32_t to, struct slice addresses);
void mesh_dialed(struct mesh_world *w, const struct mesh_event *e);
void mesh_hangup(struct mesh_world *w, uint32_t from, uint32_t to);
void mesh_close_due(struct mesh_world *w, const struct mesh_event *e);
void mesh_link_down(struct mesh_world *w, const struct mesh_event *e);
// A message came over a connection that is no more: its sender is told so.
void mesh_reset(struct mesh_world *w, const struct mesh_event *e);
void mesh_links_cut(struct mesh_world *w, uint32_t node, bool told);  // its process is gone; told: the others hear it
void mesh_links_free(struct mesh_node *n);

// ---- mesh_node.c: one peer's life ----
void mesh_node_boot(struct mesh_world *w, uint32_t index);
void mesh_node_stop(struct mesh_world *w, uint32_t index, bool told);
void mesh_node_save(struct mesh_world *w, uint32_t index);
void mesh_node_finish(struct mesh_world *w, uint32_t index);
void mesh_node_message(struct mesh_world *w, uint32_t index, uint32_t from, const struct wire *wire);
void mesh_node_tick(struct mesh_world *w, uint32_t index, uint64_t at_us);
void mesh_node_look(struct mesh_world *w, uint32_t index);
uint64_t mesh_node_cast(struct mesh_world *w, uint32_t index);
size_t mesh_node_address(const struct mesh_world *w, uint32_t index, char *out, size_t size);
// Every peer's table as in a mesh that has stood for long: all, or a random sample where tables are smaller.
void mesh_tables_load(struct mesh_world *w);

// ---- mesh_rounds.c: broadcasts one after the other ----
void mesh_rounds_open(struct mesh_world *w);
// One way, of a pair of peers.
double mesh_rounds_latency_ms(const struct mesh_world *w, uint32_t a, uint32_t b);
void mesh_rounds_next(struct mesh_world *w);
bool mesh_rounds_over(const struct mesh_world *w);

// ---- mesh_faults.c ----
void mesh_faults_begin(struct mesh_world *w);
void mesh_faults_next(struct mesh_world *w);
void mesh_faults_restore(struct mesh_world *w, const struct mesh_event *e);
void mesh_faults_end(struct mesh_world *w);

// ---- mesh_hostile.c ----
void mesh_hostile_begin(struct mesh_world *w);
void mesh_hostile_act(struct mesh_world *w, uint32_t index);
void mesh_hostile_heard(struct mesh_world *w, uint32_t index, const struct wire *wire);
bool mesh_hostile_keeps(const struct mesh_world *w, const struct mesh_node *n, const struct message *m);

// ---- mesh_measure.c: what is looked at, and what must hold ----
void measure_open(struct mesh_world *w);
void measure_close(struct mesh_world *w);
void measure_sent(struct mesh_world *w, uint32_t from, const struct wire *wire);
void measure_accused(struct mesh_world *w, uint32_t accuser, const struct message *m);
void measure_received(struct mesh_world *w, uint32_t index, const struct wire *wire);
uint64_t measure_cast(struct mesh_world *w, uint32_t origin);             // its number
bool measure_is_everywhere(const struct mesh_world *w, uint64_t number);  // everyone up was handed it
void measure_delivered(struct mesh_world *w, uint32_t index, struct slice payload);
void measure_believed(struct mesh_world *w, uint32_t index, uint32_t of, enum gossip_state state);
void measure_died(struct mesh_world *w, uint32_t index);
void measure_back(struct mesh_world *w, uint32_t index);
void measure_poll(struct mesh_world *w);                           // from time to time
bool measure_whole(struct mesh_world *w, char *why, size_t size);  // everybody sees what is
void measure_rest(struct mesh_world *w);                           // the idle window begins
void measure_end(struct mesh_world *w);

// ---- mesh_overlay.c: the graph of the neighbours ----
uint32_t measure_pieces(struct mesh_world *w);  // of the honest overlay
void measure_overlay(struct mesh_world *w);     // into the report

// ---- mesh_verify.c: each signature is verified once a run, whoever asks ----
void mesh_verify_open(struct mesh_world *w);
void mesh_verify_close(struct mesh_world *w);
void mesh_verify_options(struct mesh_world *w, struct mesh_node *n, struct gossip_options *options);

#endif
