// Who may use a lane next: training, aggregation and other work share it fairly over time. Start-time fair queueing
// (Goyal, Vin, Cheng 1996): each class has a virtual time that runs as its seconds of the device divided by its
// weight; the ready class with the least runs next. A class that was idle starts at the present virtual time, so it
// gets no credit for not asking. Pure; one of these a lane.
//
// Invariant: of two classes that are both always ready, seconds divided by weight differ by no more than the longest
// pieces of both, divided by their weights.
#ifndef SCHED_FAIR_H
#define SCHED_FAIR_H

#include <stdbool.h>
#include <stdint.h>

enum sched_class {
    SCHED_CLASS_AGGREGATION,  // others wait for it: weight 4
    SCHED_CLASS_TRAINING,     // weight 4
    SCHED_CLASS_OTHER,        // verification, evaluation, generation: weight 1
    SCHED_CLASSES,
};

struct sched_fair {
    double weight[SCHED_CLASSES];
    double virtual_s[SCHED_CLASSES];
    bool ready[SCHED_CLASSES];
    double now;  // virtual time: the start of what ran last
};

void sched_fair_open(struct sched_fair *f);
// Is there work of this class? Call it when that changes (again with the same is fine).
void sched_fair_ready(struct sched_fair *f, enum sched_class c, bool ready);
// The class to run next; SCHED_CLASSES when none is ready.
enum sched_class sched_fair_next(struct sched_fair *f);
// `c` used the device for `seconds`.
void sched_fair_used(struct sched_fair *f, enum sched_class c, double seconds);

#endif
