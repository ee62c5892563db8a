// What one peer did in one round, as spans of time, and how they travel (docs/wire-format.md, Spans): as times before
// the answer, so that no clock but the asker's is needed. Pure.
#ifndef ATLAS_TRACE_SPANS_H
#define ATLAS_TRACE_SPANS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/sign.h"

// Numbers are on the wire.
enum atlas_phase {
    PHASE_OTHER = 0,
    PHASE_QUEUED = 1,    // another run goes first
    PHASE_FETCHING = 2,  // decisions, dataset or parameters are on their way
    PHASE_TRAINING = 3,  // own inner steps
    PHASE_SENDING = 4,   // own update is handed over
    PHASE_WAITING = 5,   // for the others' updates, until the cut is decided
    PHASE_SUMMING = 6,   // sums are made and gathered
    PHASE_APPLYING = 7,  // the outer step
    PHASE_AGREEING = 8,  // on the next parameters
    PHASE_PAUSED = 9,
    PHASE_WATCHING = 10,  // not counted in
    PHASES,
};
const char *atlas_phase_name(enum atlas_phase phase);
// Whether it is the peer's own work, which it can be slow at; else it waits for others.
bool atlas_phase_works(enum atlas_phase phase);

enum { ATLAS_SPANS_MAX = 32, ATLAS_SPAN_SIZE = 57 };

struct atlas_span {
    enum atlas_phase phase;
    int64_t begin_us, end_us;
    struct core_id waited_for;  // whom longest, zero for nobody; ..
    uint64_t waited_us;         // .. so long
    uint32_t root;              // in a settled trace: the place of who held that one up in turn; UINT32_MAX: nobody
};

// Writes `spans` as seen at `now_us`, the moment of the answer, on the same clock as they.
void atlas_spans_write(struct writer *w, const struct atlas_span *spans, uint32_t count, int64_t now_us);
// Reads them as if the answer had been given at `now_us` of the reader's clock. `out` holds ATLAS_SPANS_MAX.
// CORE_ERR_MALFORMED: cut short, out of order, overlapping, older than 30 days, or longer waited for than they last. A
// phase that is not known comes out as PHASE_OTHER.
CORE_MUST_USE enum core_err atlas_spans_read(struct slice bytes, int64_t now_us, struct atlas_span *out,
                                             uint32_t *count);

#endif
