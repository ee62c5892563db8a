// One round of a run over all its peers on one time line: who did what when, and who slows the others down. Plain
// values, gathered by whoever asks the peers (node/look/trace.c) or read from a file; the same values give the same
// pictures, byte by byte. Texts may come from strangers: whoever draws passes them through atlas_label.
//
// Times are microseconds. What a peer said was moved to the asker's clock by the round trip of question and answer, and
// so is right within half of it (`error_us`). Settled, the line begins at 0.
#ifndef ATLAS_TRACE_H
#define ATLAS_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "atlas/snapshot.h"
#include "atlas/trace_spans.h"

enum { ATLAS_TRACE_PEERS_MAX = 256, ATLAS_RUN_MAX = 64 };

struct atlas_trace_peer {
    struct core_id id;
    char name[ATLAS_NAME_MAX + 1];
    char site[ATLAS_SITE_MAX + 1];  // "" for none
    bool self;                      // who asked
    bool answered;                  // within the time that it was given
    bool cut;                       // it said more than the others' times leave room for
    uint64_t error_us;              // of its clock beside the asker's
    struct atlas_span *spans;       // ascending, apart; empty where it keeps nothing of the round
    uint32_t span_count;
};

struct atlas_trace {
    char mesh[ATLAS_NAME_MAX + 1];
    char run[ATLAS_RUN_MAX + 1];  // hex
    uint64_t round;               // as `runs show` counts: the one that it closes
    bool open;                    // not closed yet
    uint64_t taken_s;             // since 1970
    int64_t length_us;            // settled: from the first begin to the last end
    struct atlas_trace_peer *peers;
    uint32_t peer_count;
};

void atlas_trace_free(struct atlas_trace *t);
// Peers by site, name, id; spans cut to what the median peer's begin and end leave room for (its length, a second at
// least, on each side), so that no single one can stretch the line; times from the first begin on.
void atlas_trace_settle(struct atlas_trace *t);

// Who slows the others down.
enum atlas_blame {
    BLAME_NOBODY,  // nothing is known of anybody
    BLAME_LONGER,  // its `phase` took `took_us`, `more_us` more than the others' median
    BLAME_WAITED,  // more than half of the others waited for it for `more_us` at least, mostly in their `phase`; all
                   // together for `took_us`. Who says nothing answers for all who say nothing.
};

struct atlas_verdict {
    enum atlas_blame blame;
    uint32_t peer;  // its place in `peers`
    enum atlas_phase phase;
    int64_t took_us, more_us;
    bool matters;  // it is a tenth of the round or more; else everybody is about as fast
};

// Of a settled trace. A peer's own work counts where it takes longer than the median of the others' same work; what
// others waited for counts by the median of the others, and is passed on by whom they waited for to whom that one
// waited for. So a single liar hides or accuses nobody but itself, among four who answer or more.
struct atlas_verdict atlas_trace_judge(const struct atlas_trace *t);

#endif
