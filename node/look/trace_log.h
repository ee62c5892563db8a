// What this peer did in the last rounds of one run: a ring of rounds, each a bounded list of spans, and whom it waited
// for longest in each. Pure: the time is told, microseconds of one clock that should not go back; where it does, no
// time has passed. One thread.
#ifndef NODE_LOOK_TRACE_LOG_H
#define NODE_LOOK_TRACE_LOG_H

#include <stdbool.h>

#include "atlas/trace_spans.h"

enum { TRACE_ROUNDS = 8, TRACE_WAITS_MAX = 64 };

struct trace_round {
    uint64_t round;  // the manifest's that it starts from
    uint32_t count;  // 0: an empty place
    struct atlas_span spans[ATLAS_SPANS_MAX];
};

struct trace_wait {
    struct core_id peer;
    uint64_t us;  // waited for it in the span that goes on
    bool now;     // still
};

struct trace_log {
    struct trace_round rounds[TRACE_ROUNDS];  // a ring
    uint32_t newest;
    bool going;  // the newest's last span goes on
    uint64_t seen_us;
    struct trace_wait waits[TRACE_WAITS_MAX];
    uint32_t wait_count;
};

// The run stands in `phase` of `round` now. True where that is a new span. A round's spans beyond ATLAS_SPANS_MAX
// belong to its last.
bool trace_log_at(struct trace_log *log, uint64_t round, enum atlas_phase phase, uint64_t now_us);
// It stands nowhere any more: it has ended.
void trace_log_end(struct trace_log *log, uint64_t now_us);
// These are waited for from now on, and nobody else; those beyond TRACE_WAITS_MAX in one span are not counted.
void trace_log_waits(struct trace_log *log, const struct core_id *peers, uint32_t count);
// What was done in a round, the last time it was in it; NULL where nothing is kept.
const struct trace_round *trace_log_find(const struct trace_log *log, uint64_t round);

#endif
