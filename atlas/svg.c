#include "atlas/svg.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MARGIN = 24, HEAD = 44, FOOT = 40, LEAST_WIDTH = 420 };

// Colours are said twice rather than by variables, which many viewers of pictures do not know.
static const char style[] =
    "<style>"
    "svg{background:#fff}text{font:12px "
    "ui-monospace,Menlo,Consolas,monospace;fill:#1c2530;paint-order:stroke;stroke:#fff;stroke-width:2.5px;stroke-"
    "linejoin:round}"
    ".t{font-size:15px;font-weight:600}.b{font-weight:700}.d{fill:#6b7785}.s{fill:#f3f5f8;stroke:#cfd6de}.h{fill:#fff;"
    "stroke:#cfd6de}"
    ".l{stroke:#8d9aa8;fill:none;stroke-opacity:.55}.f{stroke:#c2571a;fill:none;stroke-width:2;marker-end:url(#a)}"
    ".m{fill:#c2571a}.alive{fill:#1a8f4c}.suspect{fill:#c98a00}.dead{fill:#c5303a}.left{fill:#8d9aa8}.u{opacity:.45}"
    "@media(prefers-color-scheme:dark){svg{background:#12161b}text{fill:#e4e9ef;stroke:#12161b}.d{fill:#93a0ad}"
    ".s{fill:#1a2028;stroke:#37424e}.h{fill:#12161b;stroke:#37424e}.l{stroke:#5b6875}.f{stroke:#f0894a}"
    ".m{fill:#f0894a}.alive{fill:#3fc27a}.suspect{fill:#e6b33a}.dead{fill:#f0626b}.left{fill:#6b7785}}"
    "</style>";

struct drawing {
    const struct atlas_snapshot *s;
    const struct atlas_layout *l;
    FILE *out;
};

// Tenths of a pixel, written without the locale's help.
static void number(FILE *out, double value)
{
    long tenths = (long)(value * 10 + (value < 0 ? -0.5 : 0.5));
    if (tenths < 0) fputc('-', out);
    if (tenths < 0) tenths = -tenths;
    fprintf(out, tenths % 10 ? "%ld.%ld" : "%ld", tenths / 10, tenths % 10);
}

static void attribute(FILE *out, const char *name, double value)
{
    fprintf(out, " %s=\"", name);
    number(out, value);
    fputc('"', out);
}

static void escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '>')
            fputs("&gt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '"')
            fputs("&quot;", out);
        else
            fputc(*text, out);
    }
}

static void label(const struct drawing *d, double x, double y, const char *class, const char *text)
{
    fputs("<text", d->out);
    attribute(d->out, "x", x);
    attribute(d->out, "y", y);
    if (class) fprintf(d->out, " class=\"%s\"", class);
    fputc('>', d->out);
    escaped(d->out, text);
    fputs("</text>\n", d->out);
}

static void rectangle(const struct drawing *d, const struct atlas_box *b, const char *class, int radius)
{
    fprintf(d->out, "<rect class=\"%s\" rx=\"%d\"", class, radius);
    attribute(d->out, "x", b->x);
    attribute(d->out, "y", b->y);
    attribute(d->out, "width", b->width);
    attribute(d->out, "height", b->height);
    fputs("/>\n", d->out);
}

static void line(const struct drawing *d, const char *class, struct atlas_place p, struct atlas_place q, double width)
{
    fprintf(d->out, "<path class=\"%s\"", class);
    if (width > 0) attribute(d->out, "stroke-width", width);
    fputs(" d=\"M", d->out);
    number(d->out, p.x);
    fputc(' ', d->out);
    number(d->out, p.y);
    fputc('L', d->out);
    number(d->out, q.x);
    fputc(' ', d->out);
    number(d->out, q.y);
    fputs("\"/>\n", d->out);
}

// 1 at rest, half a pixel more for each doubling above 1 KiB/s: 1 MiB/s is 6 wide.
static double link_width(uint64_t bytes_s)
{
    double width = 1;
    for (; bytes_s > 1024 && width < 9; bytes_s /= 2) width += 0.5;
    return width;
}

static const struct atlas_box *site_of(const struct drawing *d, uint32_t peer)
{
    return &d->l->sites[atlas_layout_site(d->l, peer)];
}

static struct atlas_place middle(const struct atlas_box *b)
{
    return (struct atlas_place){b->x + b->width / 2, b->y + b->height / 2, 0};
}

static enum core_err bundles(const struct drawing *d)
{
    struct atlas_bundle *list = malloc((d->s->link_count + 1) * sizeof *list);
    if (!list) return CORE_ERR_NO_MEMORY;
    const uint32_t n = atlas_layout_bundles(d->s, d->l, list);
    for (uint32_t i = 0; i < n; i++)
        line(d, "l", middle(&d->l->sites[list[i].a]), middle(&d->l->sites[list[i].b]), link_width(list[i].bytes_s));
    free(list);
    return CORE_ERR_OK;
}

// Within sites, and, where there are no bundles, everywhere.
static void links(const struct drawing *d, bool bundled)
{
    for (uint32_t i = 0; i < d->s->link_count; i++) {
        const struct atlas_link *k = &d->s->links[i];
        const struct atlas_box *a = site_of(d, k->a);
        if (bundled && (a != site_of(d, k->b) || a->folded)) continue;
        line(d, "l", d->l->peers[k->a], d->l->peers[k->b], link_width(k->bytes_s));
    }
    for (uint32_t i = 0; i < d->s->flow_count; i++)
        line(d, "f", d->l->peers[d->s->flows[i].from], d->l->peers[d->s->flows[i].to], 0);
}

static void folded(const struct drawing *d, const struct atlas_box *site)
{
    uint32_t alive = 0;
    for (uint32_t i = site->first; i < site->first + site->count; i++) alive += d->s->peers[i].state == ATLAS_ALIVE;
    char text[64];
    snprintf(text, sizeof text, "%" PRIu32 " peers, %" PRIu32 " up", site->count, alive);
    label(d, site->x + atlas_metrics_svg.pad_x, site->y + 2 * atlas_metrics_svg.line_height, "d", text);
}

static void sites(const struct drawing *d)
{
    for (uint32_t i = 0; i < d->l->site_count; i++)
        if (d->l->sites[i].drawn) rectangle(d, &d->l->sites[i], "s", 9);
}

static void hosts(const struct drawing *d)
{
    for (uint32_t i = 0; i < d->l->host_count; i++)
        if (d->l->hosts[i].drawn && !site_of(d, d->l->hosts[i].first)->folded) rectangle(d, &d->l->hosts[i], "h", 5);
}

static void names(const struct drawing *d)
{
    const struct atlas_metrics *m = &atlas_metrics_svg;
    char text[ATLAS_LABEL_MAX + 1];
    for (uint32_t i = 0; i < d->l->site_count; i++) {
        const struct atlas_box *site = &d->l->sites[i];
        if (!site->drawn) continue;
        atlas_label(text, d->s->peers[site->first].site, m->label_columns);
        label(d, site->x + m->pad_x, site->y + 14, "d", text);
        if (site->folded) folded(d, site);
    }
    for (uint32_t i = 0; i < d->s->peer_count; i++) {
        const struct atlas_peer *p = &d->s->peers[i];
        const struct atlas_place *at = &d->l->peers[i];
        if (site_of(d, i)->folded) continue;
        fprintf(d->out, "<circle r=\"%s\" class=\"%s%s\"", p->self ? "6" : "4.5", atlas_state_name(p->state),
                p->answered || p->state != ATLAS_ALIVE ? "" : " u");
        attribute(d->out, "cx", at->x);
        attribute(d->out, "cy", at->y);
        fputs("/>", d->out);
        atlas_label(text, p->name, m->label_columns);
        label(d, at->x + m->mark / 2 + 2, at->y + 4, p->self ? "b" : NULL, text);
    }
}

// What the colours and lines say, with how many there are of each.
static void legend(const struct drawing *d, double y)
{
    uint32_t of[ATLAS_STATES] = {0};
    for (uint32_t i = 0; i < d->s->peer_count; i++) of[d->s->peers[i].state]++;
    double x = MARGIN;
    for (int k = 0; k < ATLAS_STATES; k++) {
        if (!of[k]) continue;
        char text[48];
        snprintf(text, sizeof text, "%" PRIu32 " %s", of[k], atlas_state_name((enum atlas_state)k));
        fprintf(d->out, "<circle r=\"4.5\" class=\"%s\"", atlas_state_name((enum atlas_state)k));
        attribute(d->out, "cx", x);
        attribute(d->out, "cy", y);
        fputs("/>", d->out);
        label(d, x + 9, y + 4, NULL, text);
        x += 24 + atlas_metrics_svg.letter_width * (double)strlen(text);
    }
    label(d, MARGIN, y + 20, "d", "distance: square root of round trip; width: bytes a second");
}

enum core_err atlas_svg_write(const struct atlas_snapshot *s, const struct atlas_layout *l, FILE *out)
{
    const struct drawing d = {s, l, out};
    double width = l->width + 2 * MARGIN, height = l->height + 2 * MARGIN + HEAD + FOOT;
    if (width < LEAST_WIDTH) width = LEAST_WIDTH;
    fputs("<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\"", out);
    attribute(out, "width", width);
    attribute(out, "height", height);
    fputs(" viewBox=\"0 0 ", out);
    number(out, width);
    fputc(' ', out);
    number(out, height);
    fputs("\">\n<title>mesh ", out);
    char name[ATLAS_LABEL_MAX + 1];
    atlas_label(name, s->mesh, ATLAS_LABEL_MAX);
    escaped(out, name);
    fprintf(out, ", %" PRIu32 " peers</title>\n", s->peer_count);
    fputs(style, out);
    fputs("<defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"13\" refY=\"4\" markerWidth=\"5\" markerHeight=\"5\" "
          "orient=\"auto\"><path class=\"m\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n",
          out);
    label(&d, MARGIN, MARGIN + 8, "t", name);
    fprintf(out, "<g transform=\"translate(%d %d)\">\n", MARGIN, MARGIN + HEAD - 12);
    const bool bundled = s->peer_count > ATLAS_BUNDLE_ABOVE;
    enum core_err err = bundled ? bundles(&d) : CORE_ERR_OK;
    sites(&d);
    links(&d, bundled);
    hosts(&d);
    names(&d);
    fputs("</g>\n", out);
    legend(&d, height - MARGIN - 16);
    fputs("</svg>\n", out);
    return err;
}
