#include "sched/lanes.h"

#include "core/check.h"

enum { PCIE_GBYTES_PER_S = 20 };  // PCI Express 4.0 x16 in practice; only compared with whole tasks

void sched_lanes_open(struct sched_lanes *l, const struct sched_placement *p)
{
    *l = (struct sched_lanes){.count = p->lanes_count};
    for (uint32_t i = 0; i < l->count; i++) {
        l->lanes[i] = (struct sched_lane_load){
            .state = SCHED_LANE_UP, .rate = p->lanes[i].rate, .move_rate = p->lanes[i].gpu ? PCIE_GBYTES_PER_S : 0};
    }
}

static double fastest(const struct sched_lanes *l)
{
    double most = 0;
    for (uint32_t i = 0; i < l->count; i++)
        if (l->lanes[i].state == SCHED_LANE_UP && l->lanes[i].rate > most) most = l->lanes[i].rate;
    return most > 0 ? most : 1;
}

static double move_seconds(const struct sched_lanes *l, const struct sched_work *work, uint32_t to)
{
    if (work->at == to || work->gbytes <= 0) return 0;
    double seconds = l->lanes[to].move_rate > 0 ? work->gbytes / l->lanes[to].move_rate : 0;
    if (work->at != SCHED_NO_LANE && l->lanes[work->at].move_rate > 0)
        seconds += work->gbytes / l->lanes[work->at].move_rate;
    return seconds;
}

uint32_t sched_lanes_choose(const struct sched_lanes *l, const struct sched_work *work)
{
    check(work->at == SCHED_NO_LANE || work->at < l->count);
    double best = 0, unknown = fastest(l);
    uint32_t chosen = SCHED_NO_LANE;
    for (uint32_t i = 0; i < l->count; i++) {
        const struct sched_lane_load *lane = &l->lanes[i];
        if (lane->state != SCHED_LANE_UP || i == work->not_on) continue;
        double rate = lane->rate > 0 ? lane->rate : unknown;
        double seconds = (lane->queued + work->gflop) / rate + move_seconds(l, work, i);
        if (chosen != SCHED_NO_LANE && seconds >= best) continue;
        best = seconds;
        chosen = i;
    }
    return chosen;
}

bool sched_lanes_better(const struct sched_lanes *l, uint32_t from, uint32_t to, const struct sched_work *work)
{
    check(from < l->count && to < l->count);
    const struct sched_lane_load *here = &l->lanes[from], *there = &l->lanes[to];
    if (from == to || there->state != SCHED_LANE_UP || to == work->not_on) return false;
    double unknown = fastest(l);
    double stay = here->queued / (here->rate > 0 ? here->rate : unknown);
    double go = (there->queued + work->gflop) / (there->rate > 0 ? there->rate : unknown) + move_seconds(l, work, to);
    return go < stay;
}

void sched_lanes_begin(struct sched_lanes *l, uint32_t lane, double gflop)
{
    check(lane < l->count && gflop >= 0);
    l->lanes[lane].queued += gflop;
}

void sched_lanes_cancel(struct sched_lanes *l, uint32_t lane, double gflop)
{
    check(lane < l->count);
    struct sched_lane_load *is = &l->lanes[lane];
    is->queued = is->queued > gflop ? is->queued - gflop : 0;
}

void sched_lanes_end(struct sched_lanes *l, uint32_t lane, double gflop, double seconds)
{
    sched_lanes_cancel(l, lane, gflop);
    if (gflop <= 0 || seconds <= 0) return;
    struct sched_lane_load *is = &l->lanes[lane];
    double rate = gflop / seconds;
    bool far_off = rate > 2 * is->rate || rate < is->rate / 2;
    is->rate = far_off ? rate : is->rate * 0.75 + rate * 0.25;
}

void sched_lanes_failed(struct sched_lanes *l, uint32_t lane, uint64_t now_ms)
{
    check(lane < l->count);
    struct sched_lane_load *is = &l->lanes[lane];
    if (is->state == SCHED_LANE_LOST) return;
    bool well = is->state == SCHED_LANE_UP && now_ms - is->up_ms >= SCHED_PROBE_MAX_MS;
    is->wait_ms = is->wait_ms == 0 || well ? SCHED_PROBE_MS : is->wait_ms * 2;
    if (is->wait_ms > SCHED_PROBE_MAX_MS) is->wait_ms = SCHED_PROBE_MAX_MS;
    is->probe_ms = now_ms + is->wait_ms;
    is->state = SCHED_LANE_LOST;
    is->queued = 0;
}

uint32_t sched_lanes_probe_due(struct sched_lanes *l, uint64_t now_ms)
{
    for (uint32_t i = 0; i < l->count; i++) {
        if (l->lanes[i].state != SCHED_LANE_LOST || l->lanes[i].probe_ms > now_ms) continue;
        l->lanes[i].state = SCHED_LANE_PROBING;
        return i;
    }
    return SCHED_NO_LANE;
}

void sched_lanes_returned(struct sched_lanes *l, uint32_t lane, uint64_t now_ms)
{
    check(lane < l->count && l->lanes[lane].state == SCHED_LANE_PROBING);
    l->lanes[lane].state = SCHED_LANE_UP;
    l->lanes[lane].up_ms = now_ms;
}
