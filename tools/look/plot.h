// A curve in a few lines of text: Braille dots, two by four in a cell (Unicode U+2800), or stars where those can't be
// shown.
#ifndef TOOLS_LOOK_PLOT_H
#define TOOLS_LOOK_PLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PLOT_COLUMNS_MAX = 200, PLOT_LINE_SIZE = 3 * PLOT_COLUMNS_MAX + 1 };

// Draws `count` values, spread evenly over `columns` cells, from `low` at the bottom to `high` at the top of `rows`
// lines; what is not finite is left out. lines[0] is the top.
void plot_curve(const double *values, size_t count, double low, double high, uint32_t columns, uint32_t rows, bool utf8,
                char (*lines)[PLOT_LINE_SIZE]);

#endif
