#include "sched/share.h"

#include <sched.h>
#include <string.h>

#include "core/check.h"

void sched_share_plan(const struct sched_topology *t, uint32_t peer, uint32_t peers, uint32_t limit,
                      struct sched_share *out)
{
    check(peers > 0 && peer < peers);
    uint32_t count = t->cpus_count;
    memset(out, 0, sizeof *out);
    bool limited = t->facts.cpus_quota && t->facts.cpus_quota < count;
    uint32_t whole = limited ? t->facts.cpus_quota : count;
    uint32_t from = (uint32_t)((uint64_t)whole * peer / peers), to = (uint32_t)((uint64_t)whole * (peer + 1) / peers);
    out->bound = !limited && whole >= peers;
    out->threads = whole >= peers ? to - from : 1;
    if (limit && limit < out->threads) out->threads = limit;
    for (uint32_t i = 0; out->bound && i < out->threads; i++) out->cpus[i] = t->cpus[from + i].os_index;
}

enum core_err sched_share_bind(const struct sched_share *share, uint32_t thread)
{
    if (!share->bound) return CORE_ERR_OK;
    uint32_t cpu = share->cpus[thread % share->threads];
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu >= CPU_SETSIZE) return CORE_ERR_LIMIT;
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) ? CORE_ERR_REFUSED : CORE_ERR_OK;
}

void sched_share_bind_callback(void *share, uint32_t thread)
{
    enum core_err err = sched_share_bind(share, thread);
    (void)err;
}
