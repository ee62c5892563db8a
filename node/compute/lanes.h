// A peer's lanes: each of its devices with the thread that drives it, and the CPU, which is always there. A piece of
// work is handed in once; which lane does it, that a lost device's work moves to another, and that a device comes back,
// is decided here (by sched/lanes, sched/fair and sched/placement) on the loop's thread.
//
//   lanes_submit --> the lane where it ends first --> its queue, one a class --> its thread: run --> loop: finished
//                         ^                                                            |
//                         +-- the device failed: lane LOST, undo, all its work again --+
//
// Invariants: lane 0 is the CPU and never lost; a lane's thread has at most one job; work that began on a device that
// failed leaves no trace (`undo`), so a result's bits don't tell where it was made; `finished` is called exactly once.
#ifndef NODE_COMPUTE_LANES_H
#define NODE_COMPUTE_LANES_H

#include "core/event.h"
#include "node/compute/compute.h"
#include "node/compute/measure.h"
#include "node/compute/worker.h"
#include "sched/fair.h"
#include "sched/lanes.h"
#include "sched/limits.h"

struct node;

enum { LANE_CPU = 0 };

struct lane;

struct lane_job {
    struct job job;  // `run` and `done` are the lanes' own; `cancelled`, `err` and `name` as ever
    enum sched_class kind;
    struct core_hash subject;  // the run that it is for, zero for none
    double gflop;              // about how much it computes
    uint64_t memory_bytes;     // of the device's
    bool aside;                // what the CPU does of it, it does beside the rest, at low priority
    bool stay;                 // handed in again, it goes to the lane it was on, unless that is lost
    const struct lane *near;   // where its data lies; NULL: nowhere
    // The lane's thread.
    void (*run)(struct lane_job *j, struct compute *c);
    // Loop: takes back what a run on a failed device left behind, so that it can be run again. NULL: the lane's own.
    void (*undo)(struct lane_job *j);
    // Loop: it has ended; frees it. As job.done.
    void (*finished)(struct job *job, void *context);
    // ---- the lanes' own ----
    struct lane *lane;
    uint32_t not_on;
    bool device_failed;
    uint64_t took_us;
};

struct lane {
    char name[16];           // "cpu", "nvidia:0"
    struct hip_facts facts;  // of a GPU, as found
    struct worker worker;    // started with its first job
    struct compute compute;
    uint32_t number;  // in placement and load; SCHED_NO_LANE: another peer's part
    struct sched_fair fair;
    struct lane_job *first[SCHED_CLASSES], *last[SCHED_CLASSES];
    struct lane_job *current;
    uint64_t current_since_us;
    bool trying, tried;  // a measurement or probe of it is under way; has been
    char why[CONFIG_WHY_SIZE];
    uint64_t losses;
    struct measure_rates rates;  // zero: not measured
    uint64_t busy_us;            // of jobs that ended
    uint64_t seen_busy_us, seen_us;
    double busy;  // part of the time lately, 0 to 1
};

struct lanes {
    struct lane lane[SCHED_MAX_LANES];  // the CPU first, then the GPUs that work, in the order they were found
    uint32_t count;
    struct lane aside;        // the CPU again, at low priority, beside its other work
    struct hip_found *found;  // all that the drivers showed, usable or not
    uint32_t found_count;
    enum { LANES_NOT_LOOKED, LANES_LOOKING, LANES_LOOKED } looked;
    struct sched_limits limits;
    struct sched_placement placement;
    struct sched_lanes load;
    uint32_t peers, index;  // of this host
    bool closing;
};

// Checks the owner's limits, opens the CPU's lane and begins to look for GPUs, aside; where the limits name or count
// them it looks at once. USAGE, NO_MEMORY and the system's errors, with a sentence in `why` (SCHED_WHY_SIZE bytes).
CORE_MUST_USE enum core_err lanes_open(struct node *n, char *why);
// Ends all threads; what waited comes to its `finished` as INTERRUPTED with the next inbox_take, or here.
void lanes_stop(struct node *n);
void lanes_close(struct node *n);

// This peer is number `index` of `peers` on its host from now on.
void lanes_share(struct node *n, uint32_t index, uint32_t peers);
void lanes_submit(struct node *n, struct lane_job *j);
// Once a second: probes what is lost, counts how busy lanes are.
void lanes_tick(struct node *n);
// Jobs that wait or run.
uint32_t lanes_load(struct node *n);

enum lane_state { LANE_UP, LANE_LOST, LANE_PROBING, LANE_ELSEWHERE };
enum lane_state lane_state(const struct node *n, const struct lane *l);
const char *lane_state_name(enum lane_state s);
// Seconds until a lost lane is tried again.
uint32_t lane_waiting(const struct lane *l);  // jobs in its queue
uint64_t lane_retry_s(const struct node *n, const struct lane *l);

// Measures this peer's lane, or tries it again where it is lost; `trying` until that is done.
void lane_try(struct node *n, struct lane *l);

// ---- between lanes.c and lanes_devices.c ----
void lane_open(struct node *n, struct lane *l, const char *name, const struct sched_lane *place, bool aside);
CORE_MUST_USE enum core_err lane_start(struct node *n, struct lane *l);  // its thread
void lane_submit_to(struct node *n, struct lane *l, struct lane_job *j);
void lane_lose(struct node *n, struct lane *l, const char *why);
void lane_evacuate(struct node *n, struct lane *l);  // what waits there goes to others

#endif
