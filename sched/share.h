// How the peers of one machine share its cpus: a pure function of the topology, how many peers there are, and which of
// them asks, so that each finds its own part without talking to the others.
#ifndef SCHED_SHARE_H
#define SCHED_SHARE_H

#include "sched/topology.h"

struct sched_share {
    uint32_t threads;  // compute threads of this peer, at least 1
    bool bound;        // false: the machine is oversubscribed or shared unevenly, the kernel's scheduler balances
    uint32_t cpus[SCHED_MAX_CPUS];  // where bound: thread i runs on cpus[i % threads], the kernel's numbers
};

// Peer number `peer` of `peers` (peer < peers) on this machine; `limit` is the user's --cpus, 0 for none. With at least
// one cpu a peer each gets its own contiguous part and is bound to it; with fewer each gets one thread and stays
// unbound. A quota (cgroup cpu.max) counts like missing cpus and leaves all unbound.
void sched_share_plan(const struct sched_topology *t, uint32_t peer, uint32_t peers, uint32_t limit,
                      struct sched_share *out);

// Binds the calling thread to its cpu; nothing where the share is unbound. CORE_ERR_REFUSED when the kernel won't.
CORE_MUST_USE enum core_err sched_share_bind(const struct sched_share *share, uint32_t thread);

// As hip_options.bind wants it: context is the share. A refusal is ignored (slower, not wrong).
void sched_share_bind_callback(void *share, uint32_t thread);

#endif
