// The simulated world: peers, virtual time, links and messages between them. Everything random comes from one stream.
#ifndef TOOLS_SIM_WORLD_H
#define TOOLS_SIM_WORLD_H

#include "core/philox.h"
#include "learn/peer.h"
#include "tools/sim/disk.h"
#include "tools/sim/sim.h"

enum { WORLD_NODES = 64, WORLD_PENDING = 64, WORLD_HEARD = 64 };
#define WORLD_FOR_EVER UINT32_MAX  // of down_ms

enum world_event_kind {
    WORLD_MESSAGE = 1,
    WORLD_TICK,
    WORLD_WORK,
    WORLD_LINK_DOWN,
    WORLD_DIALED,
    WORLD_BOOT,
    WORLD_LOOK,      // a peer with few links dials
    WORLD_FAULT,     // the next fault
    WORLD_HEAL,      // a partition ends
    WORLD_SPACE,     // a disk is free again
    WORLD_START,     // the run starts
    WORLD_COMMAND,   // somebody pauses, resumes or leaves
    WORLD_MISCHIEF,  // of the hostile ones
};

struct world_event {
    uint64_t at_us, order;
    enum world_event_kind kind;
    uint32_t node, other;
    uint64_t life;  // of the node (a crash ends one), or the connection
    uint64_t connection;
    uint32_t number;
    void *data;  // owned
    size_t size;
};

struct side {
    bool up, dialing;
    uint64_t connection;
    uint64_t last_us;  // arrival of the last message sent, for order
    struct message *pending[WORLD_PENDING];
    uint32_t pending_count;
};

struct world;
struct watch;
struct traitor;

struct node {
    struct world *world;
    uint32_t index;
    struct core_key key;
    struct core_hash host;
    struct peer *peer;
    bool up;
    uint64_t life;
    uint64_t tick_us;
    uint32_t slowness;    // of its training
    uint32_t crash_in;    // effects until it crashes; 0: never
    uint32_t down_ms;     // then it stays down for so long
    uint64_t paused_us;   // stopped until then
    uint64_t ahead_ms;    // its clock, of the world's
    bool hostile;         // nothing that it says is checked: the stranger, or the member that lies
    bool stale, empty;    // its disk comes back older, or empty, if the others can tell what it loses
    bool persist_broken;  // of this outbox
    struct disk disk;
    struct {
        bool here;
        uint64_t round, state;
    } pending[2];  // inner state that waits for its cut, by round % 2
    enum round_stage stage;
};

struct world {
    struct sim_options options;
    struct sim_report *report;
    struct rng rng;
    uint64_t now_us, order, connections;
    struct world_event *heap;
    size_t count, capacity;
    struct node nodes[WORLD_NODES];
    struct side sides[WORLD_NODES][WORLD_NODES];
    bool blocked[WORLD_NODES][WORLD_NODES];  // messages from, to
    struct outbox out;
    struct hash_state trace;
    struct watch *watch;

    uint8_t spec_bytes[RUN_SPEC_LIMIT];
    size_t spec_size;
    struct run_spec spec;
    struct core_hash run;
    bool running;  // the run was started
    bool calm;     // faults are over
    uint64_t calm_us;
    uint64_t spared_us;                        // until then nothing else goes wrong
    uint32_t drop, duplicate, delay, reorder;  // of 1000 messages
    uint32_t joiner, leaver, victim, hostile;  // node, or UINT32_MAX
    struct traitor *traitor;                   // NULL: nobody lies
    bool forked;  // it has split the run where the quorum cannot bear it: every honest peer must see that and stop
    struct message *heard[WORLD_HEARD];  // some that anybody sent, for the hostile one
    uint32_t heard_count;
};

// ---- world.c: time and network ----
void world_push(struct world *w, struct world_event e, uint64_t in_us);
bool world_pop(struct world *w, struct world_event *e);
uint64_t world_ms(const struct world *w);
uint64_t node_ms(const struct node *n);  // by its own clock
uint32_t world_chance(struct world *w, uint32_t below);
bool world_odds(struct world *w, uint32_t of_1000);
void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint32_t world_find(const struct world *w, const struct core_id *id);
struct message *message_clone(const struct message *m);
void world_send(struct world *w, uint32_t from, uint32_t to, const struct message *m);
void world_dial(struct world *w, uint32_t from, uint32_t to);
void world_dialed(struct world *w, const struct world_event *e);
void world_link_down(struct world *w, const struct world_event *e);
void world_links_cut(struct world *w, uint32_t node);

// ---- node.c: one peer's life ----
void node_boot(struct node *n);
void node_crash(struct node *n);
void node_finish(struct node *n);  // performs what the peer's last step wrote
void node_message(struct node *n, uint32_t from, const struct message *m);
void node_tick(struct node *n);
void node_space(struct node *n);

// ---- compute.c: its work ----
void node_work(struct node *n, uint32_t kind, struct slice work);
void node_work_due(struct node *n, uint32_t kind, const void *work);

// ---- faults.c ----
void faults_begin(struct world *w);
void faults_next(struct world *w);
void faults_heal(struct world *w);
void faults_end(struct world *w);
void faults_command(struct world *w, uint32_t which);
void faults_at_crash(struct node *n);
void faults_at_boot(struct node *n);

// ---- traitor.c: a member of the run that lies ----
void traitor_begin(struct world *w, uint32_t node);
void traitor_end(struct world *w);
uint32_t traitor_node(const struct world *w);  // UINT32_MAX: none
void traitor_send(struct node *n, uint32_t to, const struct message *m);
void traitor_act(struct world *w);

// ---- hostile.c: a member outside the run ----
void hostile_begin(struct world *w);
void hostile_hears(struct world *w, const struct message *m);
void hostile_act(struct world *w);
// The numbers and bytes of a message, some of them others; `body` has HOSTILE_BODY bytes for them.
enum { HOSTILE_BODY = 16384 };
void hostile_change(struct world *w, struct message *m, uint8_t *body);
void hostile_end(struct world *w);

#endif
