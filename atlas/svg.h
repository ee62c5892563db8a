// The map as one SVG file: fits light and dark, needs nothing else, and is the same bytes for the same snapshot.
#ifndef ATLAS_SVG_H
#define ATLAS_SVG_H

#include <stdio.h>

#include "atlas/layout.h"

enum { ATLAS_BUNDLE_ABOVE = 60 };

// Draws `s` as laid out in `l` (with atlas_metrics_svg). Above ATLAS_BUNDLE_ABOVE peers the links between two sites
// are one line. CORE_ERR_NO_MEMORY; errors of writing stay with `out`.
CORE_MUST_USE enum core_err atlas_svg_write(const struct atlas_snapshot *s, const struct atlas_layout *l, FILE *out);

#endif
