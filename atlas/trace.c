#include "atlas/trace.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_SLACK_US = 1000000, CHAIN_MAX = 8 };

void atlas_trace_free(struct atlas_trace *t)
{
    for (uint32_t i = 0; t->peers && i < t->peer_count; i++) free(t->peers[i].spans);
    free(t->peers);
    *t = (struct atlas_trace){0};
}

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// The lower of the two in the middle. 0 of nothing.
static int64_t median(int64_t *values, uint32_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return count ? values[(count - 1) / 2] : 0;
}

// ---- settling ----

static int by_name(const void *a, const void *b)
{
    const struct atlas_trace_peer *x = a, *y = b;
    int order = strcmp(x->site, y->site);
    if (!order) order = strcmp(x->name, y->name);
    return order ? order : id_compare(&x->id, &y->id);
}

// What the median peer's round leaves room for.
static bool window(const struct atlas_trace *t, int64_t *from_us, int64_t *to_us)
{
    int64_t begins[ATLAS_TRACE_PEERS_MAX], ends[ATLAS_TRACE_PEERS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->peer_count; i++) {
        const struct atlas_trace_peer *p = &t->peers[i];
        if (p->span_count == 0) continue;
        begins[count] = p->spans[0].begin_us;
        ends[count++] = -p->spans[p->span_count - 1].end_us;  // the upper median
    }
    *from_us = median(begins, count);
    *to_us = -median(ends, count);
    int64_t slack = *to_us - *from_us;
    if (slack < LEAST_SLACK_US) slack = LEAST_SLACK_US;
    *from_us -= slack;
    *to_us += slack;
    return count > 0;
}

static void cut(struct atlas_trace_peer *p, int64_t from_us, int64_t to_us)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->span_count; i++) {
        struct atlas_span s = p->spans[i];
        if (s.begin_us < from_us) s.begin_us = from_us;
        if (s.end_us > to_us) s.end_us = to_us;
        p->cut |= s.begin_us != p->spans[i].begin_us || s.end_us != p->spans[i].end_us;
        if (s.end_us < s.begin_us) continue;
        if (s.waited_us > (uint64_t)(s.end_us - s.begin_us)) s.waited_us = (uint64_t)(s.end_us - s.begin_us);
        p->spans[kept++] = s;
    }
    p->span_count = kept;
}

static void begin_at_zero(struct atlas_trace *t)
{
    int64_t first = INT64_MAX, last = INT64_MIN;
    for (uint32_t i = 0; i < t->peer_count; i++) {
        const struct atlas_trace_peer *p = &t->peers[i];
        if (p->span_count == 0) continue;
        if (p->spans[0].begin_us < first) first = p->spans[0].begin_us;
        if (p->spans[p->span_count - 1].end_us > last) last = p->spans[p->span_count - 1].end_us;
    }
    t->length_us = last > first ? last - first : 0;
    for (uint32_t i = 0; i < t->peer_count; i++) {
        for (uint32_t k = 0; k < t->peers[i].span_count; k++) {
            t->peers[i].spans[k].begin_us -= first;
            t->peers[i].spans[k].end_us -= first;
        }
    }
}

static uint32_t find(const struct atlas_trace *t, const struct core_id *id)
{
    for (uint32_t i = 0; i < t->peer_count; i++)
        if (id_equal(&t->peers[i].id, id)) return i;
    return UINT32_MAX;
}

// The span of `phase` in which `p` waited for another half of `least_us` at least, the longest.
static const struct atlas_span *held_up(const struct atlas_trace_peer *p, enum atlas_phase phase, uint64_t least_us)
{
    const struct atlas_span *most = NULL;
    for (uint32_t i = 0; i < p->span_count; i++) {
        const struct atlas_span *s = &p->spans[i];
        if (s->phase != phase || id_is_zero(&s->waited_for) || s->waited_us < least_us / 2) continue;
        if (!most || s->waited_us > most->waited_us) most = s;
    }
    return most;
}

// Whom it waited for may have waited itself. Where they wait in a ring, the first is to blame as well as any.
static uint32_t root_of(const struct atlas_trace *t, uint32_t waiter, const struct atlas_span *s)
{
    if (id_is_zero(&s->waited_for) || s->waited_us == 0) return UINT32_MAX;
    const uint32_t first = find(t, &s->waited_for);
    uint32_t at = first == waiter ? UINT32_MAX : first;
    for (int step = 0; at != UINT32_MAX && step < CHAIN_MAX; step++) {
        const struct atlas_span *next = held_up(&t->peers[at], s->phase, s->waited_us);
        const uint32_t to = next ? find(t, &next->waited_for) : UINT32_MAX;
        if (to == UINT32_MAX || to == at) return at;
        if (to == waiter || to == first) return first;
        at = to;
    }
    return at;
}

void atlas_trace_settle(struct atlas_trace *t)
{
    int64_t from_us, to_us;
    qsort(t->peers, t->peer_count, sizeof *t->peers, by_name);
    if (window(t, &from_us, &to_us))
        for (uint32_t i = 0; i < t->peer_count; i++) cut(&t->peers[i], from_us, to_us);
    begin_at_zero(t);
    for (uint32_t i = 0; i < t->peer_count; i++)
        for (uint32_t k = 0; k < t->peers[i].span_count; k++)
            t->peers[i].spans[k].root = root_of(t, i, &t->peers[i].spans[k]);
}

// ---- who slows the others down ----

static int64_t phase_us(const struct atlas_trace_peer *p, enum atlas_phase phase)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < p->span_count; i++)
        if (p->spans[i].phase == phase) sum += p->spans[i].end_us - p->spans[i].begin_us;
    return sum;
}

static int64_t others_us(const struct atlas_trace *t, uint32_t peer, enum atlas_phase phase)
{
    int64_t values[ATLAS_TRACE_PEERS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->peer_count; i++)
        if (i != peer && t->peers[i].span_count) values[count++] = phase_us(&t->peers[i], phase);
    return count ? median(values, count) : -1;
}

static struct atlas_verdict own_work(const struct atlas_trace *t, uint32_t peer)
{
    struct atlas_verdict most = {.blame = BLAME_NOBODY, .peer = peer};
    for (int k = 0; t->peers[peer].span_count && k < PHASES; k++) {
        const enum atlas_phase phase = (enum atlas_phase)k;
        if (!atlas_phase_works(phase)) continue;
        const int64_t took = phase_us(&t->peers[peer], phase), others = others_us(t, peer, phase);
        if (others < 0 || took <= others) continue;
        if (most.blame && took - others <= most.more_us) continue;
        most = (struct atlas_verdict){BLAME_LONGER, peer, phase, took, took - others, false};
    }
    return most;
}

// Those who say nothing are one to whoever waits: each names another of them.
static bool blames(const struct atlas_trace *t, uint32_t root, uint32_t peer)
{
    if (root == peer || root == UINT32_MAX) return root == peer;
    return t->peers[root].span_count == 0 && t->peers[peer].span_count == 0;
}

static struct atlas_verdict waits(const struct atlas_trace *t, uint32_t peer)
{
    int64_t values[ATLAS_TRACE_PEERS_MAX], phases[PHASES] = {0};
    uint32_t count = 0;
    struct atlas_verdict v = {.blame = BLAME_NOBODY, .peer = peer};
    for (uint32_t i = 0; i < t->peer_count; i++) {
        const struct atlas_trace_peer *p = &t->peers[i];
        if (i == peer || p->span_count == 0) continue;
        values[count] = 0;
        for (uint32_t k = 0; k < p->span_count; k++) {
            const struct atlas_span *s = &p->spans[k];
            if (!blames(t, s->root, peer)) continue;
            values[count] += (int64_t)s->waited_us;
            phases[s->phase] += (int64_t)s->waited_us;
            if (s->root == peer) v.took_us += (int64_t)s->waited_us;
        }
        count++;
    }
    v.more_us = median(values, count);
    if (v.more_us <= 0) return v;
    v.blame = BLAME_WAITED;
    for (int k = 0; k < PHASES; k++)
        if (phases[k] > phases[v.phase]) v.phase = (enum atlas_phase)k;
    return v;
}

struct atlas_verdict atlas_trace_judge(const struct atlas_trace *t)
{
    struct atlas_verdict worst = {.blame = BLAME_NOBODY};
    int64_t most = 0;
    for (uint32_t i = 0; i < t->peer_count; i++) {
        const struct atlas_verdict own = own_work(t, i), waited = waits(t, i);
        const int64_t amount = own.more_us > waited.more_us ? own.more_us : waited.more_us;
        if (amount == 0 || amount < most || (amount == most && waited.took_us <= worst.took_us)) continue;
        most = amount;
        // Its own words say which work it was; where they don't explain what the others saw, theirs count.
        worst = own.blame && 2 * own.more_us >= waited.more_us ? own : waited;
    }
    worst.matters = worst.blame && worst.more_us * 10 >= t->length_us;
    return worst;
}
