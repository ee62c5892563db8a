#include "tools/look/plot.h"

#include <math.h>
#include <string.h>

enum { ROWS_MAX = 32 };

// The bit of a Braille cell's dot, by column and row (Unicode's order).
static const uint8_t dots[2][4] = {{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}};

// The value at `at`, between two of them in a straight line.
static double between(const double *values, size_t count, double at)
{
    const size_t i = (size_t)at;
    if (i + 1 >= count) return values[count - 1];
    if (at - (double)i < 1e-9) return values[i];  // whatever comes after it
    return values[i] + (values[i + 1] - values[i]) * (at - (double)i);
}

static void fill(uint8_t (*cells)[PLOT_COLUMNS_MAX], const double *values, size_t count, double low, double high,
                 uint32_t columns, uint32_t rows)
{
    const double span = high > low ? high - low : 1;
    const long across = 2 * (long)columns, down = 4 * (long)rows;
    long before = -1;
    for (long x = 0; x < across && count; x++) {
        const double value = between(values, count, (double)x * (double)(count - 1) / (double)(across - 1));
        if (!isfinite(value)) {
            before = -1;
            continue;
        }
        double part = (value - low) / span;
        part = part < 0 ? 0 : part > 1 ? 1 : part;
        const long y = (long)((1 - part) * (double)(down - 1) + 0.5);
        // Steep parts are joined.
        const long from = before >= 0 && before < y ? before + 1 : y, to = before > y ? before - 1 : y;
        for (long k = from; k <= to; k++) cells[k / 4][x / 2] |= dots[x % 2][k % 4];
        before = y;
    }
}

void plot_curve(const double *values, size_t count, double low, double high, uint32_t columns, uint32_t rows, bool utf8,
                char (*lines)[PLOT_LINE_SIZE])
{
    uint8_t cells[ROWS_MAX][PLOT_COLUMNS_MAX] = {{0}};
    if (columns > PLOT_COLUMNS_MAX) columns = PLOT_COLUMNS_MAX;
    if (rows > ROWS_MAX) rows = ROWS_MAX;
    fill(cells, values, count, low, high, columns, rows);
    for (uint32_t r = 0; r < rows; r++) {
        char *out = lines[r];
        for (uint32_t c = 0; c < columns; c++) {
            const uint8_t cell = cells[r][c];
            if (!utf8 || !cell) {
                *out++ = cell ? '*' : ' ';
                continue;
            }
            *out++ = (char)0xe2;
            *out++ = (char)(0xa0 | cell >> 6);
            *out++ = (char)(0x80 | (cell & 0x3f));
        }
        *out = 0;
    }
}
