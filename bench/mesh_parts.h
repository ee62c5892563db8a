// Inside bench/mesh: what its parts share. One thread.
#ifndef BENCH_MESH_PARTS_H
#define BENCH_MESH_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/bench.h"
#include "bench/fleet.h"

enum { SERIES_MAX = 64, MESH_NOTE_MAX = 160 };

struct mesh_bench {
    struct bench *b;
    struct fleet_program ours, memberlist, gossipsub;
    bool has_memberlist, has_gossipsub;
    int status;  // the exit status, once something could not be measured
};

// Single runs of one figure.
struct series {
    double values[SERIES_MAX];
    uint32_t count;
    char note[MESH_NOTE_MAX];  // "1 of 5 runs incomplete"; "" for none
};

void series_add(struct series *s, double value);
void series_note(struct series *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
double series_median(const struct series *s);  // NAN where there are no values

// A figure that is better the less it is. `peer` may be NULL.
void mesh_report(struct mesh_bench *m, const char *name, const char *unit, const struct series *ours,
                 const struct fleet_program *peer, const struct series *theirs);
// One that is better the more it is.
void mesh_report_more(struct mesh_bench *m, const char *name, const char *unit, const struct series *ours,
                      const struct fleet_program *peer, const struct series *theirs);

// --nodes, or that many; --runs, or that many.
uint32_t mesh_nodes(const struct mesh_bench *m, uint32_t otherwise);
uint32_t mesh_runs(const struct mesh_bench *m, uint32_t otherwise);

// Starts a fleet and lets it join; false, and said, where that fails.
bool mesh_start(struct mesh_bench *m, struct fleet *f, const struct fleet_program *program, uint32_t nodes);
// Waits until neighbours, their watches and the broadcasts' tree stand: 8 s at 32 peers and more, less for fewer.
void mesh_settle(struct fleet *f);
uint32_t mesh_random(uint32_t below);
// With MYCEL_BENCH_VERBOSE set: the messages that ours have sent so far, by type, on stderr.
void mesh_talk(struct mesh_bench *m, struct fleet *f, const char *when);
uint32_t mesh_random_living(const struct fleet *f);

void mesh_join(struct mesh_bench *m);    // mesh_members.c
void mesh_kill(struct mesh_bench *m);    // mesh_faults.c
void mesh_silent(struct mesh_bench *m);  // mesh_faults.c
void mesh_split(struct mesh_bench *m);   // mesh_faults.c
void mesh_cast(struct mesh_bench *m);    // mesh_casts.c
void mesh_load(struct mesh_bench *m);    // mesh_casts.c
void mesh_large(struct mesh_bench *m);   // mesh_casts.c
void mesh_idle(struct mesh_bench *m);    // mesh_idle.c

#endif
