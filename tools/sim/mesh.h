// The simulator's mesh mode: peers that only gossip (gossip/gossip.h), from a handful to a hundred thousand, in virtual
// time over a network with distances. One seed is one run, event for event.
//
// A run has three parts:
//   form    the peers boot, from tables saved in a formed mesh or, in a storm, knowing one contact; until MESH_SETTLE
//   act     the scenario's and the drawn faults happen, hostile members do mischief, peers broadcast
//   calm    faults, mischief and broadcasts are over. Within a stated time everything must be whole again (liveness
//   mode);
//           in safety mode nothing is waited for
//
// What is checked always (safety): nothing honest is refused as malformed or badly signed; no table holds a member that
// never was, nor has an honest one as gone that never left; no broadcast is handed up twice under one id by one peer's
// life; an outbox never overflows. What is checked at the end of the calm (liveness): every peer sees the living
// as alive and the dead as dead, the overlay of the honest is one piece, every broadcast reached all who were there.
#ifndef TOOLS_SIM_MESH_H
#define TOOLS_SIM_MESH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"

enum mesh_fault {
    MESH_DROP = 1 << 0,
    MESH_DELAY = 1 << 1,
    MESH_REORDER = 1 << 2,
    MESH_DUPLICATE = 1 << 3,
    MESH_SPLIT = 1 << 4,       // two sides, both ways
    MESH_ONEWAY = 1 << 5,      // what one side says is lost to the other
    MESH_PAIR = 1 << 6,        // the link of two peers, one way or both
    MESH_SITE = 1 << 7,        // a site is cut off
    MESH_CRASH = 1 << 8,       // a process is gone, its sockets close; it comes back, from what it had saved
    MESH_SILENT = 1 << 9,      // a machine is gone: nobody is told
    MESH_PAUSE = 1 << 10,      // stops for seconds and goes on
    MESH_CLOCK = 1 << 11,      // a peer's clock jumps ahead, or runs at another rate
    MESH_STALE = 1 << 12,      // comes back from an older saved state, or from none
    MESH_MOVE = 1 << 13,       // comes back under a new address
    MESH_SLOW = 1 << 14,       // takes milliseconds for each message
    MESH_LEAVE = 1 << 15,      // says goodbye
    MESH_MASS = 1 << 16,       // most die at once
    MESH_ALL = (1 << 16) - 1,  // but the last
};
enum { MESH_FAULT_COUNT = 17 };

enum mesh_attack {
    ATTACK_FORGE = 1 << 0,       // records of others, and of nobody, that they did not sign
    ATTACK_ACCUSE = 1 << 1,      // its own word that healthy members are dead
    ATTACK_REPLAY = 1 << 2,      // what was sent before, once more
    ATTACK_EQUIVOCATE = 1 << 3,  // different records of itself under one number
    ATTACK_ABSURD = 1 << 4,      // any message with any values, and real ones with bytes changed
    ATTACK_FLOOD = 1 << 5,       // more of everything than anybody needs
    ATTACK_ECLIPSE = 1 << 6,     // pushes itself and its own into views
    ATTACK_MUTE = 1 << 7,        // takes broadcasts and passes nothing on
    ATTACK_ALL = (1 << 8) - 1,
};
enum { ATTACK_COUNT = 8 };

enum mesh_scenario {
    SCENARIO_RANDOM,      // faults are drawn from `faults`
    SCENARIO_BROADCAST,   // nothing happens but broadcasts
    SCENARIO_KILL,        // kill -9 of one in a hundred (at least one)
    SCENARIO_BLACK_HOLE,  // one in a hundred falls silent for ever
    SCENARIO_STOP,        // one peer stops for 15 s
    SCENARIO_SPLIT,       // half and half for 60 s
    SCENARIO_SITE_CUT,    // a site is cut off for 30 s
    SCENARIO_MASS_DEATH,  // 80 of 100 die at once
    SCENARIO_ONE_ORIGIN,  // mesh_rounds.c: one peer broadcasts, round after round,
    SCENARIO_ANY_ORIGIN,  // or any does
    SCENARIO_COUNT,
    SCENARIO_VARIED = SCENARIO_ONE_ORIGIN,  // below it: mesh_vary draws them
};

// Each breaks one thing on purpose, so that a test sees its checker find it.
enum mesh_break {
    MESH_BREAK_NOTHING,
    MESH_BREAK_DEAF,   // one peer is never given a broadcast
    MESH_BREAK_FORGE,  // signatures always verify
    MESH_BREAK_HEAL,   // a split never ends
};

struct mesh_options {
    uint32_t nodes;  // 2 to 200,000
    uint32_t sites;  // places they lie in; 0: one for each 16 peers, 64 at most
    uint64_t seed;
    enum mesh_scenario scenario;
    uint32_t faults;       // set of enum mesh_fault, for SCENARIO_RANDOM
    uint32_t hostile;      // how many are
    uint32_t attacks;      // set of enum mesh_attack
    bool storm;            // all join at once, knowing a contact
    bool safety;           // judge safety alone: faults until the end
    uint32_t members_max;  // of a peer's table; 0: all, or 256 where there are more than 1,024
    uint32_t seconds;      // of acting; 0: by the scenario
    uint32_t casts;        // a second, over all peers
    uint32_t cast_bytes;
    uint32_t bandwidth;  // bytes a second that a peer can send; 0: any
    enum mesh_break broken;
    bool verbose;
};

enum { MESH_TYPES = 0x60 };

struct mesh_report {
    bool failed;
    char what[256];
    struct core_hash trace;
    uint64_t events, messages, bytes, virtual_ms;
    uint64_t by_type[MESH_TYPES];  // messages sent, by enum message_type
    uint64_t faults[MESH_FAULT_COUNT];
    uint64_t attacks[ATTACK_COUNT];

    uint64_t formed_ms;      // all see all (or, with sampled tables, the overlay is one piece); 0: not before acting
    uint64_t casts, missed;  // broadcasts, and deliveries that never came
    double redundancy;       // payloads received / (deliveries) - 1: Plumtree's relative message redundancy
    uint32_t last_hop;       // greatest of any delivery
    double last_hop_mean;    // of each broadcast's last
    double delivery_ms_p50, delivery_ms_p99, delivery_ms_max;
    uint64_t suspicions, suspicions_false, deaths, deaths_false;  // accusations signed by honest members
    uint32_t detected;                                            // peers that died and were seen dead by all
    double detect_ms_median, detect_ms_max;                       // death to seen by all
    double heal_ms;                                               // end of faults to whole
    double idle_messages, idle_bytes;         // a peer and second at rest, sent: bodies, headers and packets
    uint32_t degree_max, degree_min, pieces;  // of the overlay at the end
    uint32_t asymmetric;                      // links that one side alone takes for a neighbour's
    double link_ms, random_ms;                // mean one-way latency of the overlay's links; of any pair
    uint32_t eclipsed;                        // most honest peers at a time with hostile neighbours only
    uint64_t refused;                         // what honest peers refused, from hostile ones
    uint64_t dropped;                         // effects
};

// Runs one seed. False when something did not hold (report->what).
bool mesh_run(const struct mesh_options *options, struct mesh_report *report);
// Options drawn from the seed: 8 to 64 peers, some faults, sometimes hostile members.
void mesh_vary(struct mesh_options *options, uint64_t seed);

extern const char *const mesh_fault_names[MESH_FAULT_COUNT];
extern const char *const mesh_attack_names[ATTACK_COUNT];
extern const char *const mesh_scenario_names[SCENARIO_COUNT];

// `mycel sim mesh ...`: the exit status.
int mesh_main(int argc, char **argv);

#endif
