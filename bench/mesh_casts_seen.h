// What a process of the mesh benchmark broadcasts and receives: numbered, stamped, signed payloads, and the latencies
// of those that came. One thread.
#ifndef BENCH_MESH_CASTS_SEEN_H
#define BENCH_MESH_CASTS_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/bytes.h"
#include "core/sign.h"

// u64 number, u64 time of sending in microseconds, filling, the origin's signature of all that.
enum { CAST_PAYLOAD_MIN = 16 + CORE_SIG_SIZE };

// Fills `out` (`size` bytes, at least CAST_PAYLOAD_MIN).
void cast_payload_make(const struct core_key *key, uint64_t number, uint64_t now_us, uint8_t *out, size_t size);
bool cast_payload_valid(const struct core_id *origin, struct slice payload);

struct casts_seen {
    uint64_t *numbers;  // delivered since the last report
    uint64_t *latencies_us;
    size_t count, capacity;
    uint8_t *bits;  // one a number ever delivered
    size_t bits_size;
    uint64_t received;  // copies of payloads since the last report, first ones included
};

// Takes a delivered payload; false for one that was delivered before, or that memory ran out for.
bool casts_seen_take(struct casts_seen *s, struct slice payload, uint64_t now_us);
// Writes LAT and STAT lines (bench/mesh_node.h) and begins anew.
void casts_seen_report(struct casts_seen *s, FILE *out);
void casts_seen_close(struct casts_seen *s);

#endif
