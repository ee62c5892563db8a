#include "node/look/trace_log.h"

static struct trace_round *newest(struct trace_log *log)
{
    return &log->rounds[log->newest];
}

static struct atlas_span *last(struct trace_log *log)
{
    return &newest(log)->spans[newest(log)->count - 1];
}

// The time since it was last looked at belongs to those who were waited for then.
static void account(struct trace_log *log, uint64_t now_us)
{
    struct atlas_span *s = last(log);
    if (now_us < log->seen_us) return;
    s->end_us = (int64_t)now_us;
    for (uint32_t i = 0; i < log->wait_count; i++) {
        struct trace_wait *w = &log->waits[i];
        if (w->now) w->us += now_us - log->seen_us;
        if (w->us <= s->waited_us) continue;
        s->waited_us = w->us;
        s->waited_for = w->peer;
    }
    log->seen_us = now_us;
}

static void begin(struct trace_log *log, uint64_t round, enum atlas_phase phase, uint64_t now_us)
{
    struct trace_round *r = newest(log);
    if (r->count && r->round != round) {
        log->newest = (log->newest + 1) % TRACE_ROUNDS;
        r = newest(log);
        r->count = 0;
    }
    if (now_us < log->seen_us) now_us = log->seen_us;
    r->round = round;
    log->going = true;
    log->seen_us = now_us;
    log->wait_count = 0;
    if (r->count == ATLAS_SPANS_MAX) return;
    r->spans[r->count++] = (struct atlas_span){.phase = phase, .begin_us = (int64_t)now_us, .end_us = (int64_t)now_us};
}

bool trace_log_at(struct trace_log *log, uint64_t round, enum atlas_phase phase, uint64_t now_us)
{
    if (log->going) account(log, now_us);
    const bool full = log->going && newest(log)->count == ATLAS_SPANS_MAX;
    const bool same = log->going && newest(log)->round == round;
    if (same && (full || last(log)->phase == phase)) return false;
    begin(log, round, phase, now_us);
    return true;
}

void trace_log_end(struct trace_log *log, uint64_t now_us)
{
    if (log->going) account(log, now_us);
    log->going = false;
}

void trace_log_waits(struct trace_log *log, const struct core_id *peers, uint32_t count)
{
    for (uint32_t i = 0; i < log->wait_count; i++) log->waits[i].now = false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t k = 0;
        while (k < log->wait_count && !id_equal(&log->waits[k].peer, &peers[i])) k++;
        if (k == TRACE_WAITS_MAX) continue;
        if (k == log->wait_count) log->waits[log->wait_count++] = (struct trace_wait){.peer = peers[i]};
        log->waits[k].now = true;
    }
}

const struct trace_round *trace_log_find(const struct trace_log *log, uint64_t round)
{
    for (uint32_t i = 0; i < TRACE_ROUNDS; i++) {
        const struct trace_round *r = &log->rounds[(log->newest + TRACE_ROUNDS - i) % TRACE_ROUNDS];
        if (r->count && r->round == round) return r;
    }
    return NULL;
}
