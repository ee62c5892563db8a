// Where rectangles lie so that their distances tell round trips and none covers another. Pure, no allocation kept, any
// thread; only + - * / and square roots, so the same items give the same bits on every machine.
//
// 1. Each item starts at a fixed projection of its network coordinates (or, without any, at a place drawn from its
//    key), so that a small change of the mesh is a small change of the picture.
// 2. Stress majorization (Gansner, Koren, North, "Graph drawing by stress majorization", 2004) against at most
//    ARRANGE_PIVOTS items moves them to distances as the square root of round trips: a line of 100 ms is ten times as
//    long as one of 1 ms, and neighbours in a rack can still be told from each other.
// 3. All is scaled to the items' sizes, and who overlaps is pushed apart, the shorter way, until nobody does.
#ifndef ATLAS_ARRANGE_H
#define ATLAS_ARRANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum { ARRANGE_PIVOTS = 96 };

struct arrange_item {
    double width, height;  // with the gap that it wants around it
    double at[3], above;   // network coordinates and height (gossip/coordinates.h), microseconds
    bool located;          // these are known
    uint64_t key;          // who it is: places what is not located, and breaks ties
    double x, y;           // out: its centre
};

// Places `count` items; the picture's upper left corner comes to be (0, 0), its size goes to `width` and `height`.
// `aspect` is how much longer than high a picture should be that fits its medium (1.6; for characters, that are about
// twice as high as wide, 3.2). CORE_ERR_NO_MEMORY.
CORE_MUST_USE enum core_err arrange(struct arrange_item *items, uint32_t count, double aspect, double *width,
                                    double *height);
// Round trip between two, microseconds.
double arrange_distance(const struct arrange_item *a, const struct arrange_item *b);

#endif
