#include "atlas/snapshot.h"

#include <stdlib.h>
#include <string.h>

void atlas_snapshot_free(struct atlas_snapshot *s)
{
    free(s->peers);
    free(s->links);
    free(s->flows);
    *s = (struct atlas_snapshot){0};
}

static int by_place(const void *a, const void *b)
{
    const struct atlas_peer *x = *(const struct atlas_peer *const *)a, *y = *(const struct atlas_peer *const *)b;
    int order = strcmp(x->site, y->site);
    if (!order) order = (x->host > y->host) - (x->host < y->host);
    if (!order) order = strverscmp(x->name, y->name);  // p2 before p10
    return order ? order : id_compare(&x->id, &y->id);
}

static int by_ends(const void *a, const void *b)
{
    const struct atlas_link *x = a, *y = b;
    return x->a != y->a ? (x->a > y->a) - (x->a < y->a) : (x->b > y->b) - (x->b < y->b);
}

static int by_flow(const void *a, const void *b)
{
    const struct atlas_flow *x = a, *y = b;
    if (x->run != y->run) return (x->run > y->run) - (x->run < y->run);
    if (x->level != y->level) return (x->level > y->level) - (x->level < y->level);
    return x->from != y->from ? (x->from > y->from) - (x->from < y->from) : (x->to > y->to) - (x->to < y->to);
}

static void settle_links(struct atlas_snapshot *s, const uint32_t *now)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->link_count; i++) {
        struct atlas_link l = s->links[i];
        if (l.a >= s->peer_count || l.b >= s->peer_count || l.a == l.b) continue;
        uint32_t a = now[l.a], b = now[l.b];
        l.a = a < b ? a : b;
        l.b = a < b ? b : a;
        s->links[kept++] = l;
    }
    if (kept) qsort(s->links, kept, sizeof *s->links, by_ends);
    s->link_count = 0;
    for (uint32_t i = 0; i < kept; i++) {
        struct atlas_link *last = s->link_count ? &s->links[s->link_count - 1] : NULL;
        if (!last || by_ends(last, &s->links[i])) {
            s->links[s->link_count++] = s->links[i];
            continue;
        }
        if (s->links[i].rtt_us > last->rtt_us) last->rtt_us = s->links[i].rtt_us;
        if (s->links[i].bytes_s > last->bytes_s) last->bytes_s = s->links[i].bytes_s;
    }
}

static void settle_flows(struct atlas_snapshot *s, const uint32_t *now)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->flow_count; i++) {
        struct atlas_flow f = s->flows[i];
        if (f.from >= s->peer_count || f.to >= s->peer_count || f.from == f.to) continue;
        f.from = now[f.from];
        f.to = now[f.to];
        s->flows[kept++] = f;
    }
    if (kept) qsort(s->flows, kept, sizeof *s->flows, by_flow);
    s->flow_count = 0;
    for (uint32_t i = 0; i < kept; i++)
        if (!s->flow_count || by_flow(&s->flows[s->flow_count - 1], &s->flows[i]))
            s->flows[s->flow_count++] = s->flows[i];
}

enum core_err atlas_snapshot_settle(struct atlas_snapshot *s)
{
    if (s->peer_count == 0) {
        s->link_count = s->flow_count = 0;
        return CORE_ERR_OK;
    }
    struct atlas_peer **sorted = malloc(s->peer_count * sizeof *sorted), *peers = malloc(s->peer_count * sizeof *peers);
    uint32_t *now = malloc(s->peer_count * sizeof *now);
    if (sorted && peers && now) {
        for (uint32_t i = 0; i < s->peer_count; i++) sorted[i] = &s->peers[i];
        qsort(sorted, s->peer_count, sizeof(struct atlas_peer *), by_place);
        for (uint32_t i = 0; i < s->peer_count; i++) {
            peers[i] = *sorted[i];
            now[sorted[i] - s->peers] = i;
        }
        memcpy(s->peers, peers, s->peer_count * sizeof *peers);
        settle_links(s, now);
        settle_flows(s, now);
    }
    const bool done = sorted && peers && now;
    free(sorted);
    free(peers);
    free(now);
    return done ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}

// Of a character that is shown as one '?'.
static bool rest_of_character(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

size_t atlas_label(char out[ATLAS_LABEL_MAX + 1], const char *text, size_t columns)
{
    if (columns > ATLAS_LABEL_MAX) columns = ATLAS_LABEL_MAX;
    size_t all = 0, at = 0, n = 0;
    for (const char *p = text; *p; p++) all += !rest_of_character(*p);
    const size_t kept = columns ? columns - 1 : 0, head = kept - kept / 2;
    for (const char *p = text; *p && n < columns; p++) {
        if (rest_of_character(*p)) continue;
        const bool cut = all > columns && at >= head && at + kept / 2 < all;
        if (!cut || at == head) out[n++] = cut ? '~' : *p >= 0x20 && *p < 0x7f ? *p : '?';
        at++;
    }
    out[n] = 0;
    return n;
}

const char *atlas_state_name(enum atlas_state state)
{
    static const char *const names[] = {"alive", "suspect", "dead", "left"};
    return state < ATLAS_STATES ? names[state] : "unknown";
}
