#include "tools/output.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"

struct output output_choose(bool json, bool quiet, bool verbose, const char *color)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    bool dumb = term && strcmp(term, "dumb") == 0;
    bool refused = strcmp(color, "never") == 0 || (no_color && no_color[0] != '\0') || dumb;
    return (struct output){
        .json = json,
        .quiet = quiet,
        .verbose = verbose,
        .color = !json && !refused && isatty(STDOUT_FILENO),
        .progress = !quiet && !dumb && isatty(STDERR_FILENO),
    };
}

bool output_utf8(void)
{
    const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0]) return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "UTF8");
    }
    return false;
}

const char *output_tint(const struct output *out, enum tint tint)
{
    static const char *const escapes[] = {"", "\033[1m", "\033[2m", "\033[32m", "\033[33m", "\033[31m"};
    return out->color ? escapes[tint] : "";
}

const char *output_plain(const struct output *out)
{
    return out->color ? "\033[0m" : "";
}

// The character at `p` and how many bytes it has; 0 where it is no UTF-8 (RFC 3629), then 1.
static uint32_t letter_at(const unsigned char *p, size_t *size)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    *size = *p < 0x80 ? 1 : *p >= 0xf0 && *p < 0xf5 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc2 ? 2 : 0;
    uint32_t letter = *size == 1 ? *p : *p & (0xffu >> (*size + 1));
    for (size_t i = 1; i < *size; i++) {
        if ((p[i] & 0xc0) != 0x80) *size = 0;
        letter = letter << 6 | (p[i] & 0x3f);
    }
    if (*size && *p < 0xf5 && letter >= least[*size] && letter <= 0x10ffff && letter >> 11 != 0x1b) return letter;
    *size = 1;
    return 0;
}

// Unicode's controls, and its marks for direction, joining and width (UAX 9; general category Cf).
static bool is_harmless(uint32_t letter)
{
    if (letter == '\n') return true;
    if (letter < 0x20 || (letter >= 0x7f && letter < 0xa0) || letter == 0xad || letter == 0x61c) return false;
    if ((letter >= 0x200b && letter <= 0x200f) || (letter >= 0x2028 && letter <= 0x202e)) return false;
    return !((letter >= 0x2060 && letter <= 0x206f) || letter == 0xfeff || letter >> 8 == 0xe00);
}

void output_safe(char *text)
{
    char *to = text;
    size_t size;
    for (const char *p = text; *p != '\0'; p += size) {
        if (!is_harmless(letter_at((const unsigned char *)p, &size))) {
            *to++ = '?';
            continue;
        }
        memmove(to, p, size);
        to += size;
    }
    *to = '\0';
}

void output_error(const struct output *out, const char *name, const char *format, ...)
{
    char text[1536];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    output_safe(text);
    fflush(stdout);
    fprintf(stderr, "mycel: %s\n", text);
    if (out->json) output_json(json_pack("{s:s,s:s}", "error", name, "message", text));
}

void output_note(const struct output *out, const char *format, ...)
{
    if (out->quiet) return;
    va_list list;
    va_start(list, format);
    fflush(stdout);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

void output_wrapped(FILE *file, unsigned indent, const char *lead, const char *text)
{
    size_t column = indent;
    bool first = true;  // in its line
    fputs(lead, file);
    while (*text != '\0') {
        size_t length = strcspn(text, " \n");
        if (!first && column + 1 + length > OUTPUT_WIDTH) {
            fprintf(file, "\n%*s", (int)indent, "");
            column = indent;
            first = true;
        }
        fprintf(file, "%s%.*s", first ? "" : " ", (int)length, text);
        column += length + !first;
        first = false;
        text += length;
        if (*text == '\n') {
            fprintf(file, "\n%*s", (int)indent, "");
            column = indent;
            first = true;
        }
        if (*text != '\0') text++;
    }
    fputc('\n', file);
}

void output_json(json_t *object)
{
    check(object);
    json_t *whole = json_pack("{s:i}", "schema", 1);
    check(whole);
    json_object_del(object, "schema");
    check(json_object_update(whole, object) == 0);
    char *text = json_dumps(whole, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(10));
    check(text);
    puts(text);
    fflush(stdout);
    free(text);
    json_decref(whole);
    json_decref(object);
}

void table_open(struct table *t, const struct table_column *columns, size_t count)
{
    check(count > 0 && count <= TABLE_COLUMNS_MAX);
    *t = (struct table){.columns = columns, .count = count};
}

void table_add(struct table *t, enum tint tint, const char *format, ...)
{
    if (t->used == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 64;
        t->cells = realloc(t->cells, t->capacity * sizeof *t->cells);
        t->tints = realloc(t->tints, t->capacity * sizeof *t->tints);
        check(t->cells && t->tints);
    }
    char *cell = t->cells[t->used];
    va_list list;
    va_start(list, format);
    vsnprintf(cell, TABLE_CELL_MAX, format, list);
    va_end(list);
    // A cell is other people's text (a peer's name): no control character reaches the terminal.
    output_safe(cell);
    for (char *c = cell; *c != '\0'; c++)
        if (*c == '\n') *c = '?';
    unsigned limit = t->columns[t->used % t->count].limit;
    if (limit && strlen(cell) > limit) memcpy(cell + limit - 2, "..", 3);
    t->tints[t->used++] = tint;
}

static void print_cell(const struct table *t, size_t column, const char *text, const size_t *widths, const char *before,
                       const char *after)
{
    bool last = column + 1 == t->count;
    int width = (int)widths[column];
    int padding = width - (int)strlen(text);
    if (t->columns[column].right) printf("%*s", padding, "");
    printf("%s%s%s", before, text, after);
    if (!last && !t->columns[column].right) printf("%*s", padding, "");
    fputs(last ? "\n" : "  ", stdout);
}

void table_print(struct table *t, const struct output *out)
{
    check(t->used % t->count == 0);
    size_t widths[TABLE_COLUMNS_MAX];
    for (size_t c = 0; c < t->count; c++) widths[c] = strlen(t->columns[c].heading);
    for (size_t i = 0; i < t->used; i++) {
        size_t length = strlen(t->cells[i]);
        if (length > widths[i % t->count]) widths[i % t->count] = length;
    }
    for (size_t c = 0; c < t->count; c++)
        print_cell(t, c, t->columns[c].heading, widths, output_tint(out, TINT_DIM), output_plain(out));
    for (size_t i = 0; i < t->used; i++)
        print_cell(t, i % t->count, t->cells[i], widths, output_tint(out, t->tints[i]), output_plain(out));
    fflush(stdout);
    free(t->cells);
    free(t->tints);
    *t = (struct table){0};
}

// `value` with three digits and the unit of its size.
static char *scaled(char *out, double value, const char *gap, const char *const *units, size_t count)
{
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < count) {
        value /= 1000;
        unit++;
    }
    int digits = unit == 0 ? 0 : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(out, TEXT_SIZE, "%.*f%s%s", digits, value, unit || gap[0] ? gap : "", units[unit]);
    return out;
}

char *text_bytes(char *out, double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    return scaled(out, bytes, " ", units, 6);
}

char *text_count(char *out, double count)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    return scaled(out, count, "", units, 5);
}

char *text_seconds(char *out, double seconds)
{
    unsigned long whole = seconds > 0 ? (unsigned long)(seconds + 0.5) : 0;
    if (!(seconds >= 0))
        snprintf(out, TEXT_SIZE, "-");
    else if (seconds < 9.95)
        snprintf(out, TEXT_SIZE, "%.1fs", seconds);
    else if (whole < 60)
        snprintf(out, TEXT_SIZE, "%lus", whole);
    else if (whole < 3600)
        snprintf(out, TEXT_SIZE, "%lum%02lus", whole / 60, whole % 60);
    else if (whole < 86400)
        snprintf(out, TEXT_SIZE, "%luh%02lum", whole / 3600, whole / 60 % 60);
    else
        snprintf(out, TEXT_SIZE, "%lud%02luh", whole / 86400, whole / 3600 % 24);
    return out;
}

char *text_loss(char *out, double nats)
{
    if (isnan(nats) || nats < 0)
        snprintf(out, TEXT_SIZE, "-");
    else
        snprintf(out, TEXT_SIZE, "%.4f", nats);
    return out;
}

char *text_id(char *out, const char *hex)
{
    snprintf(out, TEXT_SIZE, "%.8s", hex);
    return out;
}
