#include "sched/fair.h"

#include "core/check.h"

void sched_fair_open(struct sched_fair *f)
{
    *f = (struct sched_fair){
        .weight = {[SCHED_CLASS_AGGREGATION] = 4, [SCHED_CLASS_TRAINING] = 4, [SCHED_CLASS_OTHER] = 1}};
}

void sched_fair_ready(struct sched_fair *f, enum sched_class c, bool ready)
{
    check(c < SCHED_CLASSES);
    if (ready && !f->ready[c] && f->virtual_s[c] < f->now) f->virtual_s[c] = f->now;
    f->ready[c] = ready;
}

enum sched_class sched_fair_next(struct sched_fair *f)
{
    enum sched_class best = SCHED_CLASSES;
    for (unsigned c = 0; c < SCHED_CLASSES; c++)
        if (f->ready[c] && (best == SCHED_CLASSES || f->virtual_s[c] < f->virtual_s[best])) best = (enum sched_class)c;
    if (best != SCHED_CLASSES && f->virtual_s[best] > f->now) f->now = f->virtual_s[best];
    return best;
}

void sched_fair_used(struct sched_fair *f, enum sched_class c, double seconds)
{
    check(c < SCHED_CLASSES);
    if (seconds > 0) f->virtual_s[c] += seconds / f->weight[c];
}
