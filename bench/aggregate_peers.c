#include "bench/aggregate_peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIES = 2 };  // PCCL's peers wait for each other for ever now and then

// Each prints a line "TIME SECONDS" a round. %1: processes, %2: elements, %3: rounds.
static const struct {
    const char *name, *needs, *command;
} peers[] = {
    {"OpenMPI, shared memory", ".cache/bench/mpi_allreduce",
     "mpirun --allow-run-as-root --oversubscribe --mca btl vader,self -n %u .cache/bench/mpi_allreduce %llu %u"},
    {"OpenMPI, TCP", ".cache/bench/mpi_allreduce",
     "mpirun --allow-run-as-root --oversubscribe --mca btl tcp,self -n %u .cache/bench/mpi_allreduce %llu %u"},
    {"Gloo, ring", ".cache/bench/gloo/bin/python",
     ".cache/bench/gloo/bin/python bench/peers/gloo_allreduce.py %u %llu %u"},
    {"PCCL, fp32", ".cache/bench/pccl/bin/python",
     "env LD_PRELOAD=$PWD/.cache/bench/pccl/shim.so "
     "LD_LIBRARY_PATH=.cache/bench/pccl/lib/python3.12/site-packages/pccl "
     ".cache/bench/pccl/bin/python bench/peers/pccl_allreduce.py %u %llu %u none"},
    {"PCCL, 8-bit", ".cache/bench/pccl/bin/python",
     "env LD_PRELOAD=$PWD/.cache/bench/pccl/shim.so "
     "LD_LIBRARY_PATH=.cache/bench/pccl/lib/python3.12/site-packages/pccl "
     ".cache/bench/pccl/bin/python bench/peers/pccl_allreduce.py %u %llu %u quantised"},
};

const char *aggregate_peer_name(uint32_t peer)
{
    return peer < sizeof peers / sizeof *peers ? peers[peer].name : NULL;
}

static uint32_t try_run(uint32_t peer, uint32_t count, uint64_t elements, uint32_t rounds, double *ms, char why[256])
{
    char command[512], inner[400], line[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(inner, sizeof inner, peers[peer].command, count, (unsigned long long)elements, rounds);
#pragma GCC diagnostic pop
    snprintf(command, sizeof command, "timeout 25 %s 2>.cache/bench/peer.log", inner);
    FILE *out = popen(command, "r");
    if (!out) {
        snprintf(why, 256, "cannot be started");
        return 0;
    }
    uint32_t got = 0;
    double seconds;
    while (fgets(line, sizeof line, out))
        if (sscanf(line, "TIME %lf", &seconds) == 1 && got < rounds) ms[got++] = seconds * 1e3;
    const int status = pclose(out);
    if (got == 0) snprintf(why, 256, "failed with status %d (.cache/bench/peer.log)", WEXITSTATUS(status));
    return got;
}

uint32_t aggregate_peer_run(uint32_t peer, uint32_t count, uint64_t elements, uint32_t rounds, double *ms,
                            char why[256])
{
    if (access(peers[peer].needs, X_OK)) {
        snprintf(why, 256, "not installed: bench/peers/collectives.sh");
        return 0;
    }
    uint32_t got = 0;
    for (int i = 0; i < TRIES && !got; i++) got = try_run(peer, count, elements, rounds, ms, why);
    return got;
}
