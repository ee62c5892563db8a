// A round's time line as one SVG file: fits light and dark, needs nothing else, and is the same bytes for the same
// trace. A bar tells its phase and time where the viewer shows titles.
#ifndef ATLAS_TRACE_SVG_H
#define ATLAS_TRACE_SVG_H

#include <stdio.h>

#include "atlas/trace.h"

// Errors of writing stay with `out`.
void atlas_trace_svg_write(const struct atlas_trace *t, FILE *out);

#endif
