// The map as one SVG file: fits light and dark, needs nothing else, and is the same bytes for the same snapshot.
#ifndef ATLAS_SVG_H
#define ATLAS_SVG_H

#include <stdio.h>

#include "atlas/draw.h"

// CORE_ERR_NO_MEMORY; errors of writing stay with `out`.
CORE_MUST_USE enum core_err atlas_svg_write(const struct atlas_snapshot *s, const struct atlas_layout *l, FILE *out);

#endif
