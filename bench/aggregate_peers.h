// Other people's all-reduce, measured as ours: bench/peers/{mpi,gloo,pccl}_allreduce, installed by
// bench/peers/collectives.sh. One thread.
#ifndef BENCH_AGGREGATE_PEERS_H
#define BENCH_AGGREGATE_PEERS_H

#include <stdbool.h>
#include <stdint.h>

enum { AGGREGATE_PEERS = 6, AGGREGATE_TIMES_MAX = 64 };

// "OpenMPI, shared memory"; NULL past the last.
const char *aggregate_peer_name(uint32_t peer);
// Runs `rounds` all-reduces of fp32 among `count` processes after two that don't count; fills `ms` (room for as many),
// returns how many. 0 with `why` where it isn't installed or failed.
uint32_t aggregate_peer_run(uint32_t peer, uint32_t count, uint64_t elements, uint32_t rounds, double *ms,
                            char why[256]);

#endif
