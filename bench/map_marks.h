// Where a picture's labels lie, ours or another program's, and what can be counted on that: which cover each other, and
// how far they move from one picture to the next. Pure.
#ifndef BENCH_MAP_MARKS_H
#define BENCH_MAP_MARKS_H

#include "atlas/layout.h"

struct map_mark {
    char name[ATLAS_LABEL_MAX + 1];
    double x, y;           // centre of the peer's mark
    double left, top;      // of its label
    double width, height;  // of its label
};

struct map_marks {
    struct map_mark *all;
    uint32_t count;
    double line;  // a label's height
};

// Of a layout made with atlas_metrics_svg: every peer that is drawn. The caller frees `all`; all of it NULL without
// memory.
struct map_marks map_marks_of(const struct atlas_snapshot *s, const struct atlas_layout *l);
// Of Graphviz's `-Tplain` (its "Output Formats", plain): inches, labels by their letters in 10 point monospace.
struct map_marks map_marks_plain(const char *text);
void map_marks_free(struct map_marks *m);

// Pairs of labels that lie on each other.
uint32_t map_marks_overlaps(const struct map_marks *m);

// How far who is on both pictures moves, once these are shifted onto each other by the median; in heights of a label.
struct map_moves {
    uint32_t count;
    double median, ninth, most;  // `ninth`: nine tenths move less
};

struct map_moves map_marks_moves(const struct map_marks *before, const struct map_marks *after);

#endif
