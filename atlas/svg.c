#include "atlas/svg.h"

#include <inttypes.h>

#include "atlas/svg_parts.h"

// Classes of the paints. Colours are said by class rather than by variables, which many viewers don't know.
static const char *const classes[PAINTS] = {"g", "t", "d", "s", "h", "r", "l", "f", "alive", "suspect", "dead", "left"};

static void rectangle(void *context, const struct atlas_box *b, double radius, enum atlas_paint fill)
{
    FILE *out = context;
    fprintf(out, "<rect class=\"%s r\"", classes[fill]);
    atlas_svg_attribute(out, "rx", radius);
    atlas_svg_attribute(out, "x", b->x);
    atlas_svg_attribute(out, "y", b->y);
    atlas_svg_attribute(out, "width", b->width);
    atlas_svg_attribute(out, "height", b->height);
    fputs("/>\n", out);
}

static void disc(void *context, double x, double y, double radius, enum atlas_paint fill, bool faint)
{
    FILE *out = context;
    fprintf(out, "<circle class=\"%s%s\"", classes[fill], faint ? " u" : "");
    atlas_svg_attribute(out, "r", radius);
    atlas_svg_attribute(out, "cx", x);
    atlas_svg_attribute(out, "cy", y);
    fputs("/>\n", out);
}

static void line(void *context, double x, double y, double to_x, double to_y, double width, enum atlas_paint stroke)
{
    FILE *out = context;
    fprintf(out, "<path class=\"%s\"", classes[stroke]);
    atlas_svg_attribute(out, "stroke-width", width);
    fputs(" d=\"M", out);
    atlas_svg_number(out, x);
    fputc(' ', out);
    atlas_svg_number(out, y);
    fputc('L', out);
    atlas_svg_number(out, to_x);
    fputc(' ', out);
    atlas_svg_number(out, to_y);
    fputs("\"/>\n", out);
}

static void text(void *context, double x, double y, enum atlas_paint fill, bool bold, const char *what)
{
    FILE *out = context;
    fprintf(out, "<text class=\"%s%s\"", classes[fill], bold ? " b" : "");
    atlas_svg_attribute(out, "x", x);
    atlas_svg_attribute(out, "y", y);
    fputc('>', out);
    atlas_svg_escaped(out, what);
    fputs("</text>\n", out);
}

static void palette(FILE *out, int dark)
{
    fprintf(out, "svg{background:#%06x}text{stroke:#%06x}", atlas_colors[PAINT_GROUND][dark],
            atlas_colors[PAINT_GROUND][dark]);
    for (int p = PAINT_TEXT; p < PAINTS; p++) {
        const bool is_line = p == PAINT_RIM || p == PAINT_LINK;
        fprintf(out, ".%s{%s:#%06x}", classes[p], is_line ? "stroke" : "fill", atlas_colors[p][dark]);
    }
    fprintf(out, "path.f{stroke:#%06x}rect.l{fill:#%06x}", atlas_colors[PAINT_FLOW][dark],
            atlas_colors[PAINT_LINK][dark]);
}

static void style(FILE *out, double ink, double sums_ink)
{
    fputs("<style>text{font:12px ui-monospace,Menlo,Consolas,monospace;paint-order:stroke;stroke-width:2.5px;"
          "stroke-linejoin:round}.b{font-weight:700}",
          out);
    fprintf(out, "path{fill:none;stroke-opacity:.%02d}path.f{stroke-opacity:%.2g;marker-end:url(#a)}.u{opacity:.%02d}",
            (int)(atlas_link_opacity(ink) * 100), atlas_sums_opacity(sums_ink), (int)(atlas_faint_opacity * 100));
    palette(out, 0);
    fputs("@media(prefers-color-scheme:dark){", out);
    palette(out, 1);
    fputs("}</style>\n", out);
}

enum core_err atlas_svg_write(const struct atlas_snapshot *s, const struct atlas_layout *l, FILE *out)
{
    const struct atlas_pen pen = {out, atlas_draw_ink(s, l), atlas_draw_sums_ink(s, l, 0), rectangle, disc, line, text};
    char name[ATLAS_LABEL_MAX + 1];
    double width, height;
    atlas_draw_size(l, &width, &height);
    atlas_svg_open(out, width, height);
    fputs("<title>mesh ", out);
    atlas_label(name, s->mesh, ATLAS_LABEL_MAX);
    atlas_svg_escaped(out, name);
    fprintf(out, ", %" PRIu32 " peers</title>\n", s->peer_count);
    style(out, pen.ink, pen.sums_ink);
    // Its tip lies where the peer's mark begins, 6 pixels before the line's end, however large it is.
    const double head = atlas_sums_head(pen.sums_ink);
    fputs("<defs><marker id=\"a\" viewBox=\"0 0 8 8\" refY=\"4\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"", out);
    atlas_svg_attribute(out, "refX", 8 + 48 / head);
    atlas_svg_attribute(out, "markerWidth", head);
    atlas_svg_attribute(out, "markerHeight", head);
    fputs("><path class=\"f\" style=\"stroke:none;marker:none\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n", out);
    enum core_err err = atlas_draw(s, l, &pen);
    fputs("</svg>\n", out);
    return err;
}
