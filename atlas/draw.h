// What a picture of a layout consists of, told to a pen: rectangles, discs, lines, texts, in the order they lie on each
// other. SVG is one pen (atlas/svg.c), PNG another (tools/look/png.c); both show the same.
#ifndef ATLAS_DRAW_H
#define ATLAS_DRAW_H

#include "atlas/layout.h"

enum { ATLAS_BUNDLE_ABOVE = 24 };  // with more peers, the links between two sites are one line

enum atlas_paint {
    PAINT_GROUND,
    PAINT_TEXT,
    PAINT_DIM,
    PAINT_SITE,
    PAINT_HOST,
    PAINT_RIM,  // of sites and hosts
    PAINT_LINK,
    PAINT_FLOW,
    PAINT_ALIVE,  // the states, in the order of enum atlas_state
    PAINT_SUSPECT,
    PAINT_DEAD,
    PAINT_LEFT,
    PAINTS,
};

// 0xRRGGBB, on light and on dark.
extern const uint32_t atlas_colors[PAINTS][2];
extern const double atlas_faint_opacity;

struct atlas_pen {
    void *context;
    double ink, sums_ink;  // atlas_draw_ink, atlas_draw_sums_ink
    void (*rectangle)(void *context, const struct atlas_box *box, double radius, enum atlas_paint fill);  // rim: RIM
    void (*disc)(void *context, double x, double y, double radius, enum atlas_paint fill, bool faint);
    void (*line)(void *context, double x, double y, double to_x, double to_y, double width, enum atlas_paint stroke);
    // `y` is the text's base line; it is printable ASCII.
    void (*text)(void *context, double x, double y, enum atlas_paint fill, bool bold, const char *text);
};

// How strong links are drawn: 1, or less where they would cover too much of the picture; their width and opacity go by
// it. 1 without memory.
double atlas_draw_ink(const struct atlas_snapshot *s, const struct atlas_layout *l);
// The same of the sums of one run (atlas_flow).
double atlas_draw_sums_ink(const struct atlas_snapshot *s, const struct atlas_layout *l, uint32_t run);
// Opacity of links, and width, opacity and size of the arrows' heads of sums, in a picture of such ink.
double atlas_link_opacity(double ink);
double atlas_sums_width(double ink);
double atlas_sums_opacity(double ink);
double atlas_sums_head(double ink);
// How large the picture comes to be, with its margins, heading and legend; pixels.
void atlas_draw_size(const struct atlas_layout *l, double *width, double *height);
// Draws `s` as laid out in `l` with atlas_metrics_svg. CORE_ERR_NO_MEMORY, with the picture incomplete.
CORE_MUST_USE enum core_err atlas_draw(const struct atlas_snapshot *s, const struct atlas_layout *l,
                                       const struct atlas_pen *pen);

#endif
