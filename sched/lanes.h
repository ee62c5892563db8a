// Which lane a new piece of work goes to, and which lanes can be used at all. A pure state machine: the caller tells
// what began, what ended and after how long, what failed, and what time it is.
//
// States of a lane:   UP --failed--> LOST --probe_due--> PROBING --returned--> UP
//                                      ^                    |
//                                      +------- failed -----+   (waits 60 s, then twice as long each time, at most 1 h)
// Invariants: a lane that is not UP is never chosen; `queued` is the sum of what began and has not ended; a lane that
// is lost forgets what was queued on it (its owner hands that out anew); a lane that has been up for an hour since it
// returned waits 60 s again.
#ifndef SCHED_LANES_H
#define SCHED_LANES_H

#include "sched/placement.h"

#define SCHED_NO_LANE      UINT32_MAX
#define SCHED_PROBE_MS     ((uint64_t)60 * 1000)
#define SCHED_PROBE_MAX_MS ((uint64_t)60 * 60 * 1000)

enum sched_lane_state { SCHED_LANE_UP, SCHED_LANE_LOST, SCHED_LANE_PROBING };

struct sched_lane_load {
    enum sched_lane_state state;
    double rate;        // GFLOP/s, learned from what ended; 0: not known
    double move_rate;   // GB/s to bring data here from another lane's memory; 0: free (the CPU)
    double queued;      // GFLOP begun and not ended
    uint64_t probe_ms;  // when LOST: when to probe it
    uint64_t wait_ms;   // how long the last wait was
    uint64_t up_ms;     // since when UP
};

struct sched_lanes {
    uint32_t count;
    struct sched_lane_load lanes[SCHED_MAX_LANES];
};

struct sched_work {
    double gflop;
    double gbytes;    // of data that must be where the work runs
    uint32_t at;      // the lane whose memory holds them; SCHED_NO_LANE: nowhere yet (as far from all)
    uint32_t not_on;  // a lane that failed at it just now; SCHED_NO_LANE: none
};

void sched_lanes_open(struct sched_lanes *l, const struct sched_placement *p);
// The lane where it would end first: what is queued + moving its data + doing it. A lane whose rate is not known counts
// as fast as the fastest known, so that it gets measured. SCHED_NO_LANE when none is up.
uint32_t sched_lanes_choose(const struct sched_lanes *l, const struct sched_work *work);
// A lane that has nothing to do asks so for what waits on another: would `work` end earlier on `to` than where it
// waits, if everything that is queued there goes before it? Rates are learned, so what was handed out before may lie
// wrong.
bool sched_lanes_better(const struct sched_lanes *l, uint32_t from, uint32_t to, const struct sched_work *work);
void sched_lanes_begin(struct sched_lanes *l, uint32_t lane, double gflop);
// It ended well after `seconds` of the device's time; teaches the rate: a quarter of the new and three of the old,
// or the new alone where it is not within half and twice the old.
void sched_lanes_end(struct sched_lanes *l, uint32_t lane, double gflop, double seconds);
// Given up without a failure of the lane: no longer queued.
void sched_lanes_cancel(struct sched_lanes *l, uint32_t lane, double gflop);

void sched_lanes_failed(struct sched_lanes *l, uint32_t lane, uint64_t now_ms);
// A lost lane whose time has come is PROBING from now on and returned, else SCHED_NO_LANE. The caller tries it and says
// sched_lanes_returned or sched_lanes_failed.
uint32_t sched_lanes_probe_due(struct sched_lanes *l, uint64_t now_ms);
void sched_lanes_returned(struct sched_lanes *l, uint32_t lane, uint64_t now_ms);

#endif
