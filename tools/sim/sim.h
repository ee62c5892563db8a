// The simulator: the peers of a mesh (learn/peer.h: gossip, rounds, consensus) in virtual time, over a network, clock
// and disk made of one seed. The same seed gives the same run, event for event.
#ifndef TOOLS_SIM_SIM_H
#define TOOLS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"

enum sim_fault {
    FAULT_DROP = 1 << 0,
    FAULT_DELAY = 1 << 1,
    FAULT_REORDER = 1 << 2,
    FAULT_DUPLICATE = 1 << 3,
    FAULT_PARTITION = 1 << 4,
    FAULT_CRASH = 1 << 5,    // at any effect's boundary, down for long
    FAULT_RESTART = 1 << 6,  // the same, back at once
    FAULT_DISK = 1 << 7,     // no space
    FAULT_PAUSE = 1 << 8,    // a peer stops for seconds and goes on
    FAULT_CLOCK = 1 << 9,    // a peer's clock jumps ahead
    FAULT_LOSS = 1 << 10,    // with a crash, the state of the inner optimizer is lost
    // The end of the journal is gone when a crashed peer comes back, votes that were sent among it: as much of it as
    // the others can tell it again (learn/round_recall.c), who are all there and left alone meanwhile.
    FAULT_STALE = 1 << 11,
    FAULT_EMPTY = 1 << 12,  // the same with the whole disk: it comes back with its key and nothing else
    FAULT_ALL = (1 << 13) - 1,
    FAULT_HOSTILE = 1 << 13,  // a member of the run lies to the others, to each something else (traitor.c)
};
enum { FAULT_COUNT = 14, FAULT_DRAWN = 12 };

// What a member that lies does (traitor.c).
enum traitor_lie {
    LIE_VOTES = 1 << 0,      // one vote to some, another to others
    LIE_PROPOSALS = 1 << 1,  // two proposals, each with votes for it; manifests that leave out or make up members
    LIE_COMMITS = 1 << 2,    // two commits, absurd numbers in them
    LIE_SUMS = 1 << 3,       // partial sums with other bytes
    LIE_BLOBS = 1 << 4,      // contributions with other bytes
    LIE_SILENCE = 1 << 5,    // some kinds of messages are not sent
    LIE_HEADS = 1 << 6,      // heights that nobody reached, lost contributions that aren't
    LIE_ROUNDS = 1 << 7,     // votes for consensus rounds that nobody is in
    LIE_REPLAYS = 1 << 8,    // what anybody said before, altered or not
    LIE_FLOODS = 1 << 9,     // by the hundred
    LIE_NAMES = 1 << 10,     // made-up peers ask to train
    LIE_KINDS = 11,
};

// Each breaks one invariant on purpose, so that a test sees its checker find it.
enum sim_break {
    BREAK_NOTHING,
    BREAK_SUM,       // one contribution is added twice
    BREAK_APPLY,     // one peer's outer step differs
    BREAK_PERSIST,   // votes are said to be durable and are not
    BREAK_FORGET,    // they are durable, but not given back after a restart, nor told by others
    BREAK_TRAINING,  // training after a restart differs, and what was announced before is forgotten
    BREAK_PROGRESS,  // after the faults most messages are still lost
    BREAK_RECORD,    // a peer's decisions change on its disk
    BREAK_ACK,       // shards are acknowledged without being kept
    BREAK_COMMIT,    // own commits are said to be durable and are not
    BREAK_RECALL,    // who comes back is not told what it signed
};

struct sim_options {
    uint32_t nodes;  // 1 to 64
    uint32_t hosts;  // they lie on; 0: each on its own
    uint32_t rounds;
    uint64_t seed;
    uint32_t faults;  // set of enum sim_fault
    bool hostile;     // a member that is not in the run sends garbage, forged votes and shards
    bool byzantine;   // the run's fault model, else trusted
    uint32_t lies;    // set of enum traitor_lie that a hostile member tells all the time; 0: drawn
    enum sim_break broken;
    bool verbose;  // events of every peer on stderr
};

enum { SIM_STAGES = 12 };

struct sim_report {
    bool failed;
    char what[256];          // which invariant, where
    struct core_hash trace;  // of every event in order
    uint64_t events, messages, virtual_ms;
    uint64_t rounds;  // reached by all
    uint64_t faults[FAULT_COUNT];
    uint64_t stages[SIM_STAGES][SIM_STAGES];  // transitions seen
    uint64_t attempts, commands, joins, fetches, unfit, leaves, refused;
    uint64_t lies, convicted, disputes, forks;  // of a hostile member; honest peers that named it; runs that it split
    uint64_t round_ms_median;                   // virtual time a round took
};

// Runs one seed. False when an invariant broke (report->what).
bool sim_run(const struct sim_options *options, struct sim_report *report);

// Options drawn from the seed: 3 to 8 peers, few rounds, some faults.
void sim_vary(struct sim_options *options, uint64_t seed);

// `mycel sim ...`: the exit status.
int sim_main(int argc, char **argv);

#endif
