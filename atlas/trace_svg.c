#include "atlas/trace_svg.h"

#include <inttypes.h>

#include "atlas/draw.h"
#include "atlas/svg_parts.h"
#include "atlas/trace_text.h"

enum { MARGIN = 24, LABEL = 150, BAR = 780, ROW = 24, THICK = 16, HEAD = 78, FOOT = 56, TICKS = 6, LEGEND_STEP = 100 };

static const struct {
    const char *class;
    uint32_t color[2];  // 0xRRGGBB, on light and on dark
} looks[PHASES] = {
    [PHASE_OTHER] = {"p0", {0x8d9aa8, 0x6b7785}},     [PHASE_QUEUED] = {"p1", {0xb7a58d, 0x7d6f5c}},
    [PHASE_FETCHING] = {"p2", {0xb0479b, 0xe07fcb}},  [PHASE_TRAINING] = {"p3", {0x1a8f4c, 0x3fc27a}},
    [PHASE_SENDING] = {"p4", {0x1f7fb5, 0x4fb3e8}},   [PHASE_WAITING] = {"p5", {0xdde2e8, 0x2b343e}},
    [PHASE_SUMMING] = {"p6", {0x5b57c9, 0x9a96f5}},   [PHASE_APPLYING] = {"p7", {0xc98a00, 0xe6b33a}},
    [PHASE_AGREEING] = {"p8", {0xb4bfca, 0x55626f}},  [PHASE_PAUSED] = {"p9", {0xcfd6de, 0x37424e}},
    [PHASE_WATCHING] = {"p10", {0xcfd6de, 0x37424e}},
};

static void palette(FILE *out, int dark)
{
    fprintf(out, "svg{background:#%06x}.t{fill:#%06x}.d{fill:#%06x}.r{stroke:#%06x}.dead{fill:#%06x}",
            atlas_colors[PAINT_GROUND][dark], atlas_colors[PAINT_TEXT][dark], atlas_colors[PAINT_DIM][dark],
            atlas_colors[PAINT_RIM][dark], atlas_colors[PAINT_DEAD][dark]);
    for (int k = 0; k < PHASES; k++) fprintf(out, ".%s{fill:#%06x}", looks[k].class, looks[k].color[dark]);
}

static void style(FILE *out)
{
    fputs("<style>text{font:12px ui-monospace,Menlo,Consolas,monospace}.b{font-weight:700}.e{text-anchor:end}"
          ".m{text-anchor:middle}path{fill:none}",
          out);
    palette(out, 0);
    fputs("@media(prefers-color-scheme:dark){", out);
    palette(out, 1);
    fputs("}</style>\n", out);
}

static void text(FILE *out, const char *classes, double x, double y, const char *what)
{
    fprintf(out, "<text class=\"%s\"", classes);
    atlas_svg_attribute(out, "x", x);
    atlas_svg_attribute(out, "y", y);
    fputc('>', out);
    atlas_svg_escaped(out, what);
    fputs("</text>\n", out);
}

static void rectangle(FILE *out, const char *class, double x, double y, double width, double height)
{
    fprintf(out, "<rect class=\"%s\"", class);
    atlas_svg_attribute(out, "x", x);
    atlas_svg_attribute(out, "y", y);
    atlas_svg_attribute(out, "width", width);
    atlas_svg_attribute(out, "height", height);
}

static double place(const struct atlas_trace *t, int64_t us)
{
    return MARGIN + LABEL + (t->length_us ? (double)us / (double)t->length_us * BAR : 0);
}

static void draw_axis(const struct atlas_trace *t, double bottom, FILE *out)
{
    for (int k = 0; k <= TICKS && t->length_us; k++) {
        const int64_t us = t->length_us * k / TICKS;
        const double x = place(t, us);
        char time[TRACE_TIME_SIZE] = "0";
        if (k) atlas_trace_time(time, us);
        text(out, k == TICKS ? "d e" : k ? "d m" : "d", x, HEAD - 8, time);
        fputs("<path class=\"r\" d=\"M", out);
        atlas_svg_number(out, x);
        fprintf(out, " %dV", HEAD);
        atlas_svg_number(out, bottom);
        fputs("\"/>\n", out);
    }
}

static void draw_span(const struct atlas_trace *t, const struct atlas_span *s, double y, FILE *out)
{
    const double from = place(t, s->begin_us), to = place(t, s->end_us);
    char time[TRACE_TIME_SIZE], name[ATLAS_LABEL_MAX + 1];
    rectangle(out, looks[s->phase].class, from, y, to - from < 0.5 ? 0.5 : to - from, THICK);
    fprintf(out, "><title>%s %s", atlas_phase_name(s->phase), atlas_trace_time(time, s->end_us - s->begin_us));
    for (uint32_t i = 0; i < t->peer_count && s->waited_us; i++) {
        if (!id_equal(&t->peers[i].id, &s->waited_for)) continue;
        atlas_label(name, t->peers[i].name, ATLAS_LABEL_MAX);
        fprintf(out, ", %s of it for ", atlas_trace_time(time, (int64_t)s->waited_us));
        atlas_svg_escaped(out, name);
    }
    fputs("</title></rect>\n", out);
}

static void draw_peer(const struct atlas_trace *t, uint32_t index, bool slowest, FILE *out)
{
    const struct atlas_trace_peer *p = &t->peers[index];
    const double y = HEAD + 6 + (double)index * ROW;
    char name[ATLAS_LABEL_MAX + 1];
    atlas_label(name, p->name, ATLAS_LABEL_MAX);
    text(out, slowest ? "t b" : p->span_count ? "t" : "d", MARGIN, y + THICK - 4, name);
    for (uint32_t i = 0; i < p->span_count; i++) draw_span(t, &p->spans[i], y, out);
    if (p->span_count == 0)
        text(out, p->answered ? "d" : "dead", MARGIN + LABEL + 6, y + THICK - 4,
             p->answered ? "keeps nothing of this round" : "does not answer");
}

static void draw_legend(const struct atlas_trace *t, double y, FILE *out)
{
    uint32_t shown = 0, phases = 0;
    for (uint32_t i = 0; i < t->peer_count; i++)
        for (uint32_t k = 0; k < t->peers[i].span_count; k++) phases |= 1u << t->peers[i].spans[k].phase;
    for (int k = 0; k < PHASES; k++) {
        if (!(phases >> k & 1)) continue;
        const double x = MARGIN + LABEL + LEGEND_STEP * (double)shown++;
        rectangle(out, looks[k].class, x, y - 10, 12, 12);
        fputs("/>\n", out);
        text(out, "d", x + 18, y, atlas_phase_name((enum atlas_phase)k));
    }
}

static void draw_head(const struct atlas_trace *t, FILE *out)
{
    char said[TRACE_SAY_SIZE], line[160], mesh[ATLAS_LABEL_MAX + 1], run[ATLAS_LABEL_MAX + 1], time[TRACE_TIME_SIZE];
    uint64_t error_us = 0;
    for (uint32_t i = 0; i < t->peer_count; i++)
        if (t->peers[i].answered && t->peers[i].error_us > error_us) error_us = t->peers[i].error_us;
    atlas_trace_say(t, said);
    text(out, "t b", MARGIN, MARGIN + 4, said);
    atlas_label(mesh, t->mesh, ATLAS_LABEL_MAX);
    atlas_label(run, t->run, ATLAS_LABEL_MAX);
    snprintf(line, sizeof line, "mesh %s, run %.8s, round %" PRIu64 ", %" PRIu32 " peer%s, clocks within %s", mesh, run,
             t->round, t->peer_count, t->peer_count == 1 ? "" : "s", atlas_trace_time(time, (int64_t)error_us));
    text(out, "d", MARGIN, MARGIN + 22, line);
}

void atlas_trace_svg_write(const struct atlas_trace *t, FILE *out)
{
    const double width = 2 * MARGIN + LABEL + BAR, bottom = HEAD + 6 + (double)t->peer_count * ROW;
    const double height = bottom + FOOT;
    const struct atlas_verdict v = atlas_trace_judge(t);
    char said[TRACE_SAY_SIZE];
    atlas_svg_open(out, width, height);
    fputs("<title>", out);
    atlas_trace_say(t, said);
    atlas_svg_escaped(out, said);
    fputs("</title>\n", out);
    style(out);
    draw_head(t, out);
    draw_axis(t, bottom, out);
    for (uint32_t i = 0; i < t->peer_count; i++) draw_peer(t, i, v.blame && v.matters && v.peer == i, out);
    draw_legend(t, bottom + 28, out);
    fputs("</svg>\n", out);
}
