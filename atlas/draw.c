#include "atlas/draw.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MARGIN = 24, HEAD = 32, FOOT = 44, LEAST_WIDTH = 480, DISC = 9, DISC_SELF = 12, CLOSING = 12 };

const uint32_t atlas_colors[PAINTS][2] = {
    [PAINT_GROUND] = {0xffffff, 0x12161b},  [PAINT_TEXT] = {0x1c2530, 0xe4e9ef}, [PAINT_DIM] = {0x6b7785, 0x93a0ad},
    [PAINT_SITE] = {0xf3f5f8, 0x1a2028},    [PAINT_HOST] = {0xffffff, 0x12161b}, [PAINT_RIM] = {0xcfd6de, 0x37424e},
    [PAINT_LINK] = {0x8d9aa8, 0x5b6875},    [PAINT_FLOW] = {0xc2571a, 0xf0894a}, [PAINT_ALIVE] = {0x1a8f4c, 0x3fc27a},
    [PAINT_SUSPECT] = {0xc98a00, 0xe6b33a}, [PAINT_DEAD] = {0xc5303a, 0xf0626b}, [PAINT_LEFT] = {0x8d9aa8, 0x6b7785},
};
const double atlas_faint_opacity = 0.45;
static const double link_opacity = 0.55, least_opacity = 0.2, least_width = 0.6;
static const double covered = 0.25;  // of the picture, by links, before they are drawn weaker
static const double sums_covered = 0.1, sums_width = 2, sums_least_width = 0.7, sums_least_opacity = 0.35;

struct drawing {
    const struct atlas_snapshot *s;
    const struct atlas_layout *l;
    const struct atlas_pen *pen;
};

// Layouts begin at (0, 0).
static const double left = MARGIN, top = MARGIN + HEAD;

static void text(const struct drawing *d, double x, double y, enum atlas_paint paint, bool bold, const char *what)
{
    d->pen->text(d->pen->context, x, y, paint, bold, what);
}

static void disc(const struct drawing *d, double x, double y, double size, enum atlas_paint paint, bool faint)
{
    d->pen->disc(d->pen->context, x, y, size / 2, paint, faint);
}

static void line(const struct drawing *d, struct atlas_place a, struct atlas_place b, double width, enum atlas_paint p)
{
    d->pen->line(d->pen->context, left + a.x, top + a.y, left + b.x, top + b.y, width, p);
}

static void box(const struct drawing *d, const struct atlas_box *b, double radius, enum atlas_paint paint)
{
    struct atlas_box moved = *b;
    moved.x += left;
    moved.y += top;
    d->pen->rectangle(d->pen->context, &moved, radius, paint);
}

static const struct atlas_box *site_of(const struct drawing *d, uint32_t peer)
{
    return &d->l->sites[atlas_layout_site(d->l, peer)];
}

// ---- what lies between ----

// 1 at rest, half a pixel more for each doubling above 1 KiB/s: 1 MiB/s is 6 wide; thinner where there is much of it.
static double link_width(const struct drawing *d, uint64_t bytes_s)
{
    double width = 1;
    for (; bytes_s > 1024 && width < 9; bytes_s /= 2) width += 0.5;
    width *= d->pen->ink;
    return width < least_width ? least_width : width;
}

static struct atlas_place middle(const struct atlas_box *b)
{
    return (struct atlas_place){.x = b->x + b->width / 2, .y = b->y + b->height / 2};
}

static enum core_err bundles(const struct drawing *d)
{
    struct atlas_bundle *list = malloc((d->s->link_count + 1) * sizeof *list);
    if (!list) return CORE_ERR_NO_MEMORY;
    const uint32_t n = atlas_layout_bundles(d->s, d->l, list);
    for (uint32_t i = 0; i < n; i++)
        line(d, middle(&d->l->sites[list[i].a]), middle(&d->l->sites[list[i].b]), link_width(d, list[i].bytes_s),
             PAINT_LINK);
    free(list);
    return CORE_ERR_OK;
}

static bool in_one_host(const struct drawing *d, const struct atlas_link *k)
{
    const struct atlas_peer *p = &d->s->peers[k->a], *q = &d->s->peers[k->b];
    return p->host == q->host && site_of(d, k->a) == site_of(d, k->b);
}

// Those between hosts of a site, and, where there are no bundles, between all: below the hosts. Those inside a host lie
// on it.
static void links(const struct drawing *d, bool bundled, bool inside)
{
    for (uint32_t i = 0; i < d->s->link_count; i++) {
        const struct atlas_link *k = &d->s->links[i];
        const struct atlas_box *a = site_of(d, k->a);
        if (in_one_host(d, k) != inside || (bundled && (a != site_of(d, k->b) || a->folded))) continue;
        line(d, d->l->peers[k->a], d->l->peers[k->b], link_width(d, k->bytes_s), PAINT_LINK);
    }
}

static void measure_line(void *context, double x, double y, double to_x, double to_y, double width,
                         enum atlas_paint stroke)
{
    (void)stroke;
    *(double *)context += width * sqrt((to_x - x) * (to_x - x) + (to_y - y) * (to_y - y));
}

double atlas_draw_ink(const struct atlas_snapshot *s, const struct atlas_layout *l)
{
    double all = 0;
    const struct atlas_pen pen = {.context = &all, .ink = 1, .line = measure_line};
    const struct drawing d = {s, l, &pen};
    const bool bundled = s->peer_count > ATLAS_BUNDLE_ABOVE;
    if (bundled && bundles(&d)) return 1;
    links(&d, bundled, false);
    links(&d, bundled, true);
    const double most = covered * l->width * l->height;
    return all > most ? sqrt(most / all) : 1;
}

double atlas_draw_sums_ink(const struct atlas_snapshot *s, const struct atlas_layout *l, uint32_t run)
{
    double all = 0;
    for (uint32_t i = 0; i < s->flow_count; i++) {
        const struct atlas_flow *f = &s->flows[i];
        const struct atlas_place *a = &l->peers[f->from], *b = &l->peers[f->to];
        if (f->run == run) all += sums_width * hypot(b->x - a->x, b->y - a->y);
    }
    const double most = sums_covered * l->width * l->height;
    return all > most ? sqrt(most / all) : 1;
}

double atlas_link_opacity(double ink)
{
    return link_opacity * ink < least_opacity ? least_opacity : link_opacity * ink;
}

double atlas_sums_width(double ink)
{
    return fmax(sums_width * ink, sums_least_width);
}

double atlas_sums_head(double ink)
{
    return fmax(10 * ink, 5);
}

double atlas_sums_opacity(double ink)
{
    return fmax(ink, sums_least_opacity);
}

static void flows(const struct drawing *d)
{
    const double width = atlas_sums_width(d->pen->sums_ink);
    for (uint32_t i = 0; i < d->s->flow_count; i++)
        line(d, d->l->peers[d->s->flows[i].from], d->l->peers[d->s->flows[i].to], width, PAINT_FLOW);
}

// ---- who is there ----

static void site(const struct drawing *d, const struct atlas_box *b)
{
    const struct atlas_metrics *m = &atlas_metrics_svg;
    char label[64];
    atlas_label(label, d->s->peers[b->first].site, m->label_columns);
    text(d, left + b->x + m->pad_x, top + b->y + m->line_height - 4, PAINT_DIM, false, label);
    if (!b->folded) return;
    uint32_t alive = 0;
    for (uint32_t i = b->first; i < b->first + b->count; i++) alive += d->s->peers[i].state == ATLAS_ALIVE;
    snprintf(label, sizeof label, "%" PRIu32 " peers, %" PRIu32 " up", b->count, alive);
    text(d, left + b->x + m->pad_x, top + b->y + 2 * m->line_height, PAINT_TEXT, false, label);
}

static void devices(const struct drawing *d, const struct atlas_peer *p, const struct atlas_place *at)
{
    const struct atlas_metrics *m = &atlas_metrics_svg;
    for (uint32_t i = 0; i < p->device_count; i++) {
        char label[ATLAS_LABEL_MAX + 1];
        const double y = top + at->y + (i + 1) * m->line_height;
        const struct atlas_box chip = {
            .x = at->x - 3, .y = at->y + (i + 1) * m->line_height - 4, .width = 8, .height = 8};
        box(d, &chip, 1, p->devices[i].gpu ? PAINT_FLOW : PAINT_LINK);
        atlas_label(label, p->devices[i].name, ATLAS_LABEL_MAX);
        text(d, left + at->x + m->mark / 2 + 2, y + 4, PAINT_DIM, false, label);
    }
}

static void peer(const struct drawing *d, uint32_t i)
{
    const struct atlas_peer *p = &d->s->peers[i];
    const struct atlas_place *at = &d->l->peers[i];
    char label[ATLAS_LABEL_MAX + 1];
    disc(d, left + at->x, top + at->y, p->self ? DISC_SELF : DISC, PAINT_ALIVE + p->state,
         !p->answered && p->state == ATLAS_ALIVE);
    atlas_label(label, p->name, atlas_metrics_svg.label_columns);
    text(d, left + at->x + atlas_metrics_svg.mark / 2 + 2, top + at->y + 4, PAINT_TEXT, p->self, label);
    if (d->l->devices) devices(d, p, at);
}

static void heading(const struct drawing *d)
{
    char name[ATLAS_LABEL_MAX + 1], label[64];
    atlas_label(name, d->s->mesh, ATLAS_LABEL_MAX);
    snprintf(label, sizeof label, "%s, %" PRIu32 " peer%s", name, d->s->peer_count, d->s->peer_count == 1 ? "" : "s");
    text(d, MARGIN, MARGIN + CLOSING, PAINT_TEXT, true, label);
}

// What the colours and lines say, with how many there are of each.
static void legend(const struct drawing *d)
{
    uint32_t of[ATLAS_STATES] = {0};
    for (uint32_t i = 0; i < d->s->peer_count; i++) of[d->s->peers[i].state]++;
    double x = MARGIN + DISC / 2.0;
    const double y = top + d->l->height + MARGIN;
    for (int k = 0; k < ATLAS_STATES; k++) {
        if (!of[k]) continue;
        char label[48];
        snprintf(label, sizeof label, "%" PRIu32 " %s", of[k], atlas_state_name((enum atlas_state)k));
        disc(d, x, y, DISC, PAINT_ALIVE + (enum atlas_paint)k, false);
        text(d, x + DISC, y + 4, PAINT_TEXT, false, label);
        x += 3 * DISC + atlas_metrics_svg.letter_width * (double)strlen(label);
    }
    text(d, MARGIN, y + 22, PAINT_DIM, false, "distance: square root of round trip; width: bytes a second");
    if (d->s->flow_count) text(d, x + DISC, y + 4, PAINT_FLOW, false, "arrows: sums of the round");
}

void atlas_draw_size(const struct atlas_layout *l, double *width, double *height)
{
    *width = l->width + 2 * MARGIN < LEAST_WIDTH ? LEAST_WIDTH : l->width + 2 * MARGIN;
    *height = top + l->height + FOOT + CLOSING;
}

enum core_err atlas_draw(const struct atlas_snapshot *s, const struct atlas_layout *l, const struct atlas_pen *pen)
{
    const struct drawing d = {s, l, pen};
    const bool bundled = s->peer_count > ATLAS_BUNDLE_ABOVE;
    heading(&d);
    enum core_err err = bundled ? bundles(&d) : CORE_ERR_OK;
    for (uint32_t i = 0; i < l->site_count; i++)
        if (l->sites[i].drawn) box(&d, &l->sites[i], 9, PAINT_SITE);
    links(&d, bundled, false);
    for (uint32_t i = 0; i < l->host_count; i++)
        if (l->hosts[i].drawn && !site_of(&d, l->hosts[i].first)->folded) box(&d, &l->hosts[i], 5, PAINT_HOST);
    links(&d, bundled, true);
    flows(&d);
    for (uint32_t i = 0; i < l->site_count; i++)
        if (l->sites[i].drawn) site(&d, &l->sites[i]);
    for (uint32_t i = 0; i < s->peer_count; i++)
        if (!site_of(&d, i)->folded) peer(&d, i);
    legend(&d);
    return err;
}
