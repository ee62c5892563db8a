// The processes of one aggregation: started here or in the hosts of `mycel lab hosts`, told to take means, timed by
// what they say. One thread.
#ifndef BENCH_AGGREGATE_FLEET_H
#define BENCH_AGGREGATE_FLEET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { AGGREGATE_FLEET_MAX = 16 };

struct aggregate_fleet {
    uint32_t count;
    struct {
        pid_t pid;
        FILE *in, *out;
        bool dead;
    } nodes[AGGREGATE_FLEET_MAX];
    char why[256];
};

struct aggregate_options {
    uint32_t count, machines;
    uint64_t elements;
    uint32_t bits;
    bool copies;
    const char *tag;  // of the hosts; NULL: all on this machine's loopback. Peer I lies on host I % machines + 1
};

struct aggregate_took {
    double ms;           // from the first that began to the last that had the whole mean
    uint64_t sent_most;  // payload bytes of the peer that sent most
    double cpu_ms;       // of all processes together
};

// Starts them and links all with all. False with `why`.
bool aggregate_fleet_open(struct aggregate_fleet *f, const struct aggregate_options *options);
void aggregate_fleet_close(struct aggregate_fleet *f);
// One mean, the `round`-th (from 0 on). With `kill` below the count: everybody sums only when all contributions are
// handed over, and at that moment this peer is killed; the time counts from there.
bool aggregate_fleet_round(struct aggregate_fleet *f, uint64_t round, uint32_t kill, struct aggregate_took *took);

// Whether everybody came to the same bits in the last round and, after round 0, a sample of the elements is exact.
bool aggregate_fleet_right(struct aggregate_fleet *f);

#endif
