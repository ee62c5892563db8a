// Output: data on stdout, everything else on stderr; tables that fit 80 columns; numbers a person can read.
// One thread.
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

enum tint { TINT_NONE, TINT_BOLD, TINT_DIM, TINT_GOOD, TINT_WARN, TINT_BAD };

// How this call writes. `color` and `progress` say what the terminals at the ends can show.
struct output {
    bool json;
    bool quiet;  // no progress and no hints; errors stay
    bool verbose;
    bool color;     // stdout is a terminal and nobody objects
    bool progress;  // stderr is a terminal: lines may be drawn over
};

// `color`: "auto" or "never". Reads NO_COLOR and TERM.
struct output output_choose(bool json, bool quiet, bool verbose, const char *color);

// Whether the user's locale has letters beyond ASCII (LC_ALL, LC_CTYPE, LANG).
bool output_utf8(void);

// The escape that begins `tint` on stdout, or "" without colours; output_plain() ends it.
const char *output_tint(const struct output *out, enum tint tint);
const char *output_plain(const struct output *out);

// Makes a stranger's text (a peer's name, what a daemon says) fit for a terminal, in place: control characters but line
// ends, what is no UTF-8, and the marks that turn, join or hide what follows become '?'.
void output_safe(char *text);

// "mycel: what failed: why; what to do next" on stderr, or {"schema":1,"error":...} on stdout too with --json.
__attribute__((format(printf, 3, 4))) void output_error(const struct output *out, const char *name, const char *format,
                                                        ...);
// Progress and hints on stderr; nothing with -q.
__attribute__((format(printf, 2, 3))) void output_note(const struct output *out, const char *format, ...);

// Prints `lead`, then `text` broken at spaces to lines of 80 columns, the later ones indented by `indent`. A line's end
// in the text stays one. `lead` may hold colours: its width is taken to be `indent`.
void output_wrapped(FILE *file, unsigned indent, const char *lead, const char *text);

// Prints `object` with "schema": 1 as its first field, on one line, and releases it. Its fields keep their order.
void output_json(json_t *object);

// ---- tables ----

enum { OUTPUT_WIDTH = 80, TABLE_COLUMNS_MAX = 16, TABLE_CELL_MAX = 160 };

struct table_column {
    const char *heading;
    bool right;      // numbers
    unsigned limit;  // longest cell shown, cut with "..."; 0: as long as it is
};

// Rows are collected first, since widths come from all of them.
struct table {
    const struct table_column *columns;
    size_t count;
    char (*cells)[TABLE_CELL_MAX];
    enum tint *tints;
    size_t used;
    size_t capacity;
};

void table_open(struct table *t, const struct table_column *columns, size_t count);
// Cells fill rows from left to right.
__attribute__((format(printf, 3, 4))) void table_add(struct table *t, enum tint tint, const char *format, ...);
// Writes the headings and the rows to stdout, then releases the table.
void table_print(struct table *t, const struct output *out);

// ---- numbers ----

enum { TEXT_SIZE = 32 };

// Each writes into `out` of TEXT_SIZE bytes and returns it.
char *text_bytes(char *out, double bytes);      // "1.2 MB" (powers of 1000)
char *text_count(char *out, double count);      // "1.2k"
char *text_seconds(char *out, double seconds);  // "4.2s", "1m40s", "3h05m", "2d04h"
char *text_loss(char *out, double nats);        // "1.7432", "-" where it isn't known (NaN or negative)
char *text_id(char *out, const char *hex);      // first 8 digits

#endif
