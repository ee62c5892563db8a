#include "sched/transport.h"

#include <stdbool.h>
#include <string.h>

#include "core/check.h"

enum { FAR_AWAY = INT32_MAX / 2, NOBODY = TRANSPORT_MAX };

// Shortest ways from one source in the residual graph. A step from a source to a sink adds a unit, a step from a sink
// back to a source takes one of that source's units away from it.
struct ways {
    int32_t to_source[TRANSPORT_MAX], to_sink[TRANSPORT_MAX];
    uint32_t source_by[TRANSPORT_MAX], sink_by[TRANSPORT_MAX];  // the sink, the source before it
};

static bool relax(const struct transport *t, struct ways *w)
{
    bool changed = false;
    for (uint32_t i = 0; i < t->sources; i++) {
        for (uint32_t j = 0; w->to_source[i] < FAR_AWAY && j < t->sinks; j++) {
            if (w->to_source[i] + t->cost[i][j] >= w->to_sink[j]) continue;
            w->to_sink[j] = w->to_source[i] + t->cost[i][j];
            w->sink_by[j] = i;
            changed = true;
        }
        for (uint32_t j = 0; j < t->sinks; j++) {
            if (!t->flow[i][j] || w->to_sink[j] >= FAR_AWAY || w->to_sink[j] - t->cost[i][j] >= w->to_source[i])
                continue;
            w->to_source[i] = w->to_sink[j] - t->cost[i][j];
            w->source_by[i] = j;
            changed = true;
        }
    }
    return changed;
}

static void find_ways(const struct transport *t, uint32_t from, struct ways *w)
{
    for (uint32_t i = 0; i < TRANSPORT_MAX; i++) {
        w->to_source[i] = w->to_sink[i] = FAR_AWAY;
        w->source_by[i] = w->sink_by[i] = NOBODY;
    }
    w->to_source[from] = 0;
    while (relax(t, w)) {}
}

// As many units as the way bears, along it.
static uint32_t push(struct transport *t, const struct ways *w, uint32_t from, uint32_t sink, uint32_t most)
{
    for (uint32_t i = w->sink_by[sink]; i != from; i = w->sink_by[w->source_by[i]]) {
        uint32_t there = t->flow[i][w->source_by[i]];
        if (there < most) most = there;
    }
    for (uint32_t i = w->sink_by[sink], j = sink;; j = w->source_by[i], i = w->sink_by[j]) {
        t->flow[i][j] = (uint16_t)(t->flow[i][j] + most);
        if (i == from) return most;
        t->flow[i][w->source_by[i]] = (uint16_t)(t->flow[i][w->source_by[i]] - most);
    }
}

void transport_solve(struct transport *t)
{
    check(t->sources <= TRANSPORT_MAX && t->sinks <= TRANSPORT_MAX);
    uint32_t left[TRANSPORT_MAX];
    memcpy(left, t->capacity, sizeof left);
    memset(t->flow, 0, sizeof t->flow);
    for (uint32_t i = 0; i < t->sources; i++) {
        for (uint32_t supply = t->supply[i]; supply;) {
            struct ways w;
            find_ways(t, i, &w);
            uint32_t best = NOBODY;
            for (uint32_t j = 0; j < t->sinks; j++)
                if (left[j] && (best == NOBODY || w.to_sink[j] < w.to_sink[best])) best = j;
            check(best != NOBODY);
            uint32_t pushed = push(t, &w, i, best, supply < left[best] ? supply : left[best]);
            supply -= pushed;
            left[best] -= pushed;
        }
    }
}
