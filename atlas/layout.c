#include "atlas/layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "atlas/arrange.h"

const struct atlas_metrics atlas_metrics_svg = {.letter_width = 7.25,
                                                .line_height = 18,
                                                .mark = 14,
                                                .pad_x = 8,
                                                .pad_y = 5,
                                                .gap_x = 26,
                                                .gap_y = 22,
                                                .aspect = 1.6,
                                                .label_columns = 14,
                                                .collapse_above = 500};
const struct atlas_metrics atlas_metrics_text = {.letter_width = 1,
                                                 .line_height = 1,
                                                 .mark = 2,
                                                 .pad_x = 2,
                                                 .pad_y = 1,
                                                 .gap_x = 4,
                                                 .gap_y = 1,
                                                 .aspect = 3.2,
                                                 .label_columns = 14,
                                                 .collapse_above = 60};

enum { FOLDED_COLUMNS = 22 };  // "12345 peers, 12345 up"

struct making {
    const struct atlas_snapshot *s;
    const struct atlas_metrics *m;
    struct atlas_layout *out;
    struct arrange_item *items;  // one a site
};

static uint64_t key_of(const struct core_id *id)
{
    uint64_t key;
    memcpy(&key, id->bytes, sizeof key);
    return key;
}

// ---- who belongs together ----

static bool same_host(const struct atlas_peer *a, const struct atlas_peer *b)
{
    return a->host == b->host && strcmp(a->site, b->site) == 0;
}

// A peer without a site stands for itself, with whoever shares its host.
static bool same_site(const struct atlas_peer *a, const struct atlas_peer *b)
{
    return a->site[0] ? strcmp(a->site, b->site) == 0 : same_host(a, b);
}

static uint32_t group(const struct atlas_snapshot *s,
                      bool (*same)(const struct atlas_peer *, const struct atlas_peer *), struct atlas_box *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->peer_count; i++) {
        if (i == 0 || !same(&s->peers[i - 1], &s->peers[i])) out[n++] = (struct atlas_box){.first = i};
        out[n - 1].count++;
    }
    return n;
}

// ---- one host ----

static double label_width(const struct atlas_metrics *m, const char *text)
{
    char label[ATLAS_LABEL_MAX + 1];
    return (double)atlas_label(label, text, m->label_columns) * m->letter_width;
}

// A peer's mark and label, and its devices below.
static void size_peer(const struct making *k, uint32_t peer)
{
    const struct atlas_peer *p = &k->s->peers[peer];
    struct atlas_place *place = &k->out->peers[peer];
    char label[ATLAS_LABEL_MAX + 1];
    place->width = k->m->mark + label_width(k->m, p->name);
    place->height = k->m->line_height * (k->m->devices ? 1 + p->device_count : 1);
    for (uint32_t i = 0; k->m->devices && i < p->device_count; i++) {
        double w = k->m->mark + (double)atlas_label(label, p->devices[i].name, ATLAS_LABEL_MAX) * k->m->letter_width;
        if (w > place->width) place->width = w;
    }
}

// Its peers in a grid about as wide as the medium wants; their places are from the host's corner.
static void arrange_host(struct making *k, struct atlas_box *host)
{
    const struct atlas_metrics *m = k->m;
    struct atlas_place *peers = &k->out->peers[host->first];
    double cell = 0, line = m->line_height;
    for (uint32_t i = 0; i < host->count; i++) {
        size_peer(k, host->first + i);
        if (peers[i].width > cell) cell = peers[i].width;
        if (peers[i].height > line) line = peers[i].height;
    }
    const double across = cell + m->pad_x;
    uint32_t columns = 1;
    while (columns < host->count && columns * columns * across < host->count * line * m->aspect) columns++;
    const uint32_t rows = (host->count + columns - 1) / columns;
    host->drawn = host->count > 1 || m->devices;
    const double rim_x = host->drawn ? m->pad_x : 0, rim_y = host->drawn ? m->pad_y : 0;
    host->width = columns * across - m->pad_x + 2 * rim_x;
    host->height = rows * line + 2 * rim_y;
    for (uint32_t i = 0; i < host->count; i++) {
        peers[i].x = rim_x + (i % columns) * across + m->mark / 2;
        peers[i].y = rim_y + (i / columns) * line + m->line_height / 2;
    }
}

// ---- boxes at their distances ----

// What a box is to arrange(): its size, and the mean of its peers' coordinates.
static struct arrange_item item_of(const struct making *k, const struct atlas_box *box)
{
    struct arrange_item t = {.width = box->width + k->m->gap_x,
                             .height = box->height + k->m->gap_y,
                             .key = key_of(&k->s->peers[box->first].id)};
    uint32_t known = 0;
    for (uint32_t i = box->first; i < box->first + box->count; i++) {
        const struct atlas_peer *p = &k->s->peers[i];
        if (!p->located) continue;
        known++;
        for (int d = 0; d < 3; d++) t.at[d] += (p->at[d] - t.at[d]) / known;
        t.above += (p->above - t.above) / known;
    }
    t.located = known > 0;
    return t;
}

static void move_peers(struct making *k, const struct atlas_box *box, double x, double y)
{
    for (uint32_t i = box->first; i < box->first + box->count; i++) {
        k->out->peers[i].x += x;
        k->out->peers[i].y += y;
    }
}

static void move_site(struct making *k, struct atlas_box *site, double x, double y)
{
    site->x = x;
    site->y = y;
    for (uint32_t h = site->first_host; h < site->first_host + site->hosts; h++) {
        k->out->hosts[h].x += x;
        k->out->hosts[h].y += y;
    }
    move_peers(k, site, x, y);
}

// A site of many peers, drawn as one box with its name and how many there are.
static void fold(struct making *k, struct atlas_box *site)
{
    const struct atlas_metrics *m = k->m;
    site->folded = true;
    site->width = FOLDED_COLUMNS * m->letter_width + 2 * m->pad_x;
    site->height = 2 * m->line_height + 2 * m->pad_y;
    for (uint32_t i = site->first; i < site->first + site->count; i++)
        k->out->peers[i] = (struct atlas_place){.x = site->width / 2, .y = site->height / 2};
}

// Puts hosts in rows at most `full` wide, their corners from (0, 0); what they take goes to `width` and `height`.
static void pack(const struct atlas_metrics *m, struct atlas_box *hosts, uint32_t count, double full, double *width,
                 double *height)
{
    double x = 0, y = 0, row = 0;
    *width = 0;
    for (uint32_t h = 0; h < count; h++) {
        if (x > 0 && x + hosts[h].width > full) {
            x = 0;
            y += row + m->pad_y;
            row = 0;
        }
        hosts[h].x = x;
        hosts[h].y = y;
        x += hosts[h].width;
        if (x > *width) *width = x;
        if (hosts[h].height > row) row = hosts[h].height;
        x += m->pad_x;
    }
    *height = y + row;
}

// As wide as its first hosts side by side, so many of them that it comes nearest to the medium's aspect.
static void pack_well(const struct atlas_metrics *m, struct atlas_box *hosts, uint32_t count, double *width,
                      double *height)
{
    double full = 0, best = 0, best_cost = 0;
    for (uint32_t k = 0; k < count && (double)k * k < 9.0 * count + 9; k++) {
        full += hosts[k].width + (k ? m->pad_x : 0);
        pack(m, hosts, count, full, width, height);
        const double cost = *width > *height * m->aspect ? *width : *height * m->aspect;
        if (k && cost >= best_cost) continue;
        best_cost = cost;
        best = full;
    }
    pack(m, hosts, count, best, width, height);
}

static void arrange_site(struct making *k, struct atlas_box *site)
{
    const struct atlas_metrics *m = k->m;
    const char *name = k->s->peers[site->first].site;
    struct atlas_box *hosts = &k->out->hosts[site->first_host];
    site->drawn = name[0] != 0;
    if (m->collapse_above && k->s->peer_count > m->collapse_above && site->drawn && site->count > ATLAS_FOLD) {
        fold(k, site);
        return;
    }
    const double rim_x = site->drawn ? m->pad_x : 0, rim_y = site->drawn ? m->pad_y : 0;
    const double head = site->drawn ? m->line_height : 0;
    pack_well(m, hosts, site->hosts, &site->width, &site->height);
    for (uint32_t h = 0; h < site->hosts; h++) {
        hosts[h].x += rim_x;
        hosts[h].y += head + rim_y;
        move_peers(k, &hosts[h], hosts[h].x, hosts[h].y);
    }
    site->width += 2 * rim_x;
    site->height += head + 2 * rim_y;
    const double least = site->drawn ? label_width(m, name) + 2 * m->pad_x : 0;
    if (site->width < least) site->width = least;
}

static enum core_err arrange_all(struct making *k)
{
    struct atlas_layout *l = k->out;
    uint32_t host = 0;
    for (uint32_t h = 0; h < l->host_count; h++) arrange_host(k, &l->hosts[h]);
    for (uint32_t s = 0; s < l->site_count; s++) {
        struct atlas_box *site = &l->sites[s];
        site->first_host = host;
        while (host < l->host_count && l->hosts[host].first < site->first + site->count) host++;
        site->hosts = host - site->first_host;
        arrange_site(k, site);
    }
    for (uint32_t s = 0; s < l->site_count; s++) k->items[s] = item_of(k, &l->sites[s]);
    enum core_err err = arrange(k->items, l->site_count, k->m->aspect, &l->width, &l->height);
    if (err) return err;
    for (uint32_t s = 0; s < l->site_count; s++) {
        struct atlas_box *site = &l->sites[s];
        move_site(k, site, k->items[s].x - site->width / 2, k->items[s].y - site->height / 2);
    }
    return CORE_ERR_OK;
}

enum core_err atlas_layout_make(const struct atlas_snapshot *s, const struct atlas_metrics *m, struct atlas_layout *out)
{
    *out = (struct atlas_layout){.devices = m->devices};
    const uint32_t n = s->peer_count ? s->peer_count : 1;
    struct making k = {.s = s, .m = m, .out = out, .items = calloc(n, sizeof *k.items)};
    out->peers = calloc(n, sizeof *out->peers);
    out->hosts = calloc(n, sizeof *out->hosts);
    out->sites = calloc(n, sizeof *out->sites);
    enum core_err err = CORE_ERR_NO_MEMORY;
    if (k.items && out->peers && out->hosts && out->sites) {
        out->host_count = group(s, same_host, out->hosts);
        out->site_count = group(s, same_site, out->sites);
        err = arrange_all(&k);
    }
    free(k.items);
    return err;
}

void atlas_layout_free(struct atlas_layout *l)
{
    free(l->peers);
    free(l->hosts);
    free(l->sites);
    *l = (struct atlas_layout){0};
}

uint32_t atlas_layout_site(const struct atlas_layout *l, uint32_t peer)
{
    uint32_t low = 0, high = l->site_count;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (l->sites[middle].first <= peer)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static int by_sites(const void *a, const void *b)
{
    const struct atlas_bundle *x = a, *y = b;
    return x->a != y->a ? (x->a > y->a) - (x->a < y->a) : (x->b > y->b) - (x->b < y->b);
}

uint32_t atlas_layout_bundles(const struct atlas_snapshot *s, const struct atlas_layout *l, struct atlas_bundle *out)
{
    uint32_t n = 0, kept = 0;
    for (uint32_t i = 0; i < s->link_count; i++) {
        const struct atlas_link *k = &s->links[i];
        uint32_t a = atlas_layout_site(l, k->a), b = atlas_layout_site(l, k->b);
        if (a != b) out[n++] = (struct atlas_bundle){a < b ? a : b, a < b ? b : a, 1, k->bytes_s, k->rtt_us};
    }
    if (n) qsort(out, n, sizeof *out, by_sites);
    for (uint32_t i = 0; i < n; i++) {
        struct atlas_bundle *last = kept ? &out[kept - 1] : NULL;
        if (!last || by_sites(last, &out[i])) {
            out[kept++] = out[i];
            continue;
        }
        last->links++;
        last->bytes_s += out[i].bytes_s;
        if (out[i].rtt_us && (!last->rtt_us || out[i].rtt_us < last->rtt_us)) last->rtt_us = out[i].rtt_us;
    }
    return kept;
}
