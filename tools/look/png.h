// The map as PNG, drawn by cairo. The library is opened when it is wanted, so that nothing else carries its weight.
#ifndef TOOLS_LOOK_PNG_H
#define TOOLS_LOOK_PNG_H

#include <stdio.h>

#include "atlas/draw.h"

enum { PNG_WHY_SIZE = 200 };

// `scale`: pixels for one of the layout's. CORE_ERR_UNSUPPORTED where cairo isn't there, LIMIT for a picture too large,
// NO_MEMORY, IO; with a sentence in `why`. Errors of `out` stay with it.
CORE_MUST_USE enum core_err png_write(const struct atlas_snapshot *s, const struct atlas_layout *l, double scale,
                                      FILE *out, char why[PNG_WHY_SIZE]);

#endif
