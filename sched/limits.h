// The owner's limits as words, checked against what there is.
#ifndef SCHED_LIMITS_H
#define SCHED_LIMITS_H

#include "sched/placement.h"

// `--gpus`: "all", "none", a count, or names with commas ("nvidia:0,amd:1"), among `devices`. USAGE with one sentence
// in `why` (SCHED_WHY_SIZE bytes) that names what there is.
CORE_MUST_USE enum core_err sched_limits_gpus(const char *text, const struct sched_device *devices, uint32_t count,
                                              struct sched_limits *limits, char *why);
// Are cpus, memory and share within the machine (0: not limited)? USAGE and a sentence otherwise.
CORE_MUST_USE enum core_err sched_limits_check(const struct sched_limits *limits, const struct sched_topology *t,
                                               char *why);

#endif
