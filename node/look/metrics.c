#include "node/look/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(struct metrics *m, const char *data, size_t size)
{
    if (m->size + size + 1 > m->capacity && !m->failed) {
        const size_t capacity = 2 * (m->size + size) + 4096;
        char *grown = realloc(m->text, capacity);
        m->failed = !grown;
        if (grown) {
            m->text = grown;
            m->capacity = capacity;
        }
    }
    if (m->failed) return;
    memcpy(m->text + m->size, data, size);
    m->size += size;
    m->text[m->size] = 0;
}

static void puts_to(struct metrics *m, const char *text)
{
    put(m, text, strlen(text));
}

void metrics_family(struct metrics *m, const char *name, const char *type, const char *help)
{
    puts_to(m, "# HELP ");
    puts_to(m, name);
    puts_to(m, " ");
    puts_to(m, help);
    puts_to(m, "\n# TYPE ");
    puts_to(m, name);
    puts_to(m, " ");
    puts_to(m, type);
    puts_to(m, "\n");
}

// How many bytes the UTF-8 letter at `at` has; 0 for what is none (RFC 3629).
static size_t letter_size(const unsigned char *at)
{
    const unsigned char a = at[0];
    if (a < 0x80) return 1;
    const size_t size = a >= 0xc2 && a < 0xe0 ? 2 : a >= 0xe0 && a < 0xf0 ? 3 : a >= 0xf0 && a < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    const bool overlong = (a == 0xe0 && at[1] < 0xa0) || (a == 0xf0 && at[1] < 0x90);
    const bool outside = (a == 0xed && at[1] > 0x9f) || (a == 0xf4 && at[1] > 0x8f);
    return overlong || outside ? 0 : size;
}

static void put_escaped(struct metrics *m, const char *text)
{
    while (*text) {
        const size_t size = letter_size((const unsigned char *)text);
        if (*text == '\\')
            puts_to(m, "\\\\");
        else if (*text == '"')
            puts_to(m, "\\\"");
        else if (*text == '\n')
            puts_to(m, "\\n");
        else if (size == 0)
            puts_to(m, "?");
        else
            put(m, text, size);
        text += size ? size : 1;
    }
}

void metrics_sample(struct metrics *m, const char *name, double value, const struct metrics_label *labels, size_t count)
{
    char number[40];
    puts_to(m, name);
    for (size_t i = 0; i < count; i++) {
        puts_to(m, i ? "," : "{");
        puts_to(m, labels[i].name);
        puts_to(m, "=\"");
        put_escaped(m, labels[i].value);
        puts_to(m, "\"");
    }
    if (count) puts_to(m, "}");
    if (isfinite(value))
        snprintf(number, sizeof number, value == floor(value) && fabs(value) < 1e15 ? " %.0f\n" : " %.9g\n", value);
    else
        snprintf(number, sizeof number, " %s\n", isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
    puts_to(m, number);
}
