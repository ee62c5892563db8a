#include "bench/map_marks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double POINTS = 72, LETTER = 6, LINE = 12;  // an inch's; of 10 point monospace

static struct map_marks room_for(uint32_t count, double line)
{
    struct map_marks m = {.line = line};
    m.all = calloc((size_t)count + 1, sizeof *m.all);
    return m;
}

struct map_marks map_marks_of(const struct atlas_snapshot *s, const struct atlas_layout *l)
{
    const struct atlas_metrics *metrics = &atlas_metrics_svg;
    struct map_marks m = room_for(s->peer_count, metrics->line_height);
    for (uint32_t i = 0; m.all && i < s->peer_count; i++) {
        if (l->sites[atlas_layout_site(l, i)].folded) continue;
        struct map_mark *k = &m.all[m.count++];
        const size_t letters = atlas_label(k->name, s->peers[i].name, metrics->label_columns);
        k->x = l->peers[i].x;
        k->y = l->peers[i].y;
        k->width = (double)letters * metrics->letter_width;
        k->height = metrics->line_height;
        k->left = k->x + metrics->mark / 2;
        k->top = k->y - k->height / 2;
    }
    return m;
}

// "node NAME X Y WIDTH HEIGHT LABEL ..."; a label with anything but letters and digits stands in quotes.
static bool read_node(const char *line, struct map_mark *k)
{
    double x, y;
    if (sscanf(line, "node %*s %lf %lf %*f %*f \"%20[^\"]", &x, &y, k->name) != 3 &&
        sscanf(line, "node %*s %lf %lf %*f %*f %20[^ \n]", &x, &y, k->name) != 3)
        return false;
    k->x = x * POINTS;
    k->y = y * POINTS;
    k->width = (double)strlen(k->name) * LETTER;
    k->height = LINE;
    k->left = k->x - k->width / 2;
    k->top = k->y - k->height / 2;
    return true;
}

struct map_marks map_marks_plain(const char *text)
{
    uint32_t lines = 1;
    for (const char *p = text; *p; p++) lines += *p == '\n';
    struct map_marks m = room_for(lines, LINE);
    for (const char *p = text; m.all && p && *p; p = strchr(p, '\n')) {
        if (*p == '\n') p++;
        if (strncmp(p, "node ", 5) == 0 && read_node(p, &m.all[m.count])) m.count++;
    }
    return m;
}

void map_marks_free(struct map_marks *m)
{
    free(m->all);
    *m = (struct map_marks){0};
}

static int by_left(const void *a, const void *b)
{
    const double x = ((const struct map_mark *)a)->left, y = ((const struct map_mark *)b)->left;
    return (x > y) - (x < y);
}

uint32_t map_marks_overlaps(const struct map_marks *m)
{
    uint32_t found = 0;
    qsort(m->all, m->count, sizeof *m->all, by_left);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct map_mark *a = &m->all[i];
        for (uint32_t k = i + 1; k < m->count && m->all[k].left < a->left + a->width - 1e-6; k++) {
            const double from = a->top > m->all[k].top ? a->top : m->all[k].top;
            const double a_end = a->top + a->height, k_end = m->all[k].top + m->all[k].height;
            found += (a_end < k_end ? a_end : k_end) > from + 1e-6;
        }
    }
    return found;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct map_mark *)a)->name, ((const struct map_mark *)b)->name);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(double *values, const double *from, uint32_t count)
{
    memcpy(values, from, count * sizeof *values);
    qsort(values, count, sizeof *values, ascending);
    return values[count / 2];
}

struct map_moves map_marks_moves(const struct map_marks *before, const struct map_marks *after)
{
    struct map_moves moves = {0};
    double *x = calloc((size_t)before->count + 1, sizeof *x), *y = calloc((size_t)before->count + 1, sizeof *y);
    double *sorted = calloc((size_t)before->count + 1, sizeof *sorted);
    if (x && y && sorted) {
        qsort(before->all, before->count, sizeof *before->all, by_name);
        qsort(after->all, after->count, sizeof *after->all, by_name);
        for (uint32_t i = 0; i < before->count; i++) {
            const struct map_mark *b = &before->all[i];
            const struct map_mark *a = bsearch(b, after->all, after->count, sizeof *after->all, by_name);
            if (!a) continue;
            x[moves.count] = a->x - b->x;
            y[moves.count++] = a->y - b->y;
        }
    }
    if (moves.count) {
        const double by_x = middle(sorted, x, moves.count), by_y = middle(sorted, y, moves.count);
        for (uint32_t i = 0; i < moves.count; i++) x[i] = hypot(x[i] - by_x, y[i] - by_y) / before->line;
        moves.median = middle(sorted, x, moves.count);
        moves.ninth = sorted[moves.count * 9 / 10];
        moves.most = sorted[moves.count - 1];
    }
    free(x);
    free(y);
    free(sorted);
    return moves;
}
