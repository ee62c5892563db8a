#include "atlas/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEAST_COLUMNS = 40,
    MOST_COLUMNS = 400,
    WAYS_SHOWN = 16,
    SUMS_SHOWN = 40,
    PEERS_WITH_LINKS = 12,
    LINES_MAX = 20000,
    DEVICE_INDENT = 4
};

// What may stand in a cell besides printable ASCII: these, drawn by name. The first four are the states.
enum sign { ALIVE, SUSPECT, DEAD, LEFT, SELF, ACROSS, DOWN, TOP_LEFT, TOP_RIGHT, LOW_LEFT, LOW_RIGHT, SIGNS };

static const char *const in_utf8[SIGNS] = {"●", "◐", "✕", "◌", "◉", "─", "│", "╭", "╮", "╰", "╯"};
static const char *const in_ascii[SIGNS] = {"o", "?", "x", ".", "@", "-", "|", "+", "+", "+", "+"};
static const char *const in_color[SIGNS] = {"32", "33", "31", "90", "32;1", "90", "90", "90", "90", "90", "90"};

struct canvas {
    uint8_t *cells;  // a printable letter, or 128 + a sign, or 0
    uint32_t columns, lines;
};

static void put(struct canvas *c, uint32_t x, uint32_t y, uint8_t cell)
{
    if (x < c->columns && y < c->lines) c->cells[(size_t)y * c->columns + x] = cell;
}

static void put_sign(struct canvas *c, uint32_t x, uint32_t y, enum sign sign)
{
    put(c, x, y, (uint8_t)(128 + sign));
}

static void put_text(struct canvas *c, uint32_t x, uint32_t y, const char *text)
{
    for (; *text; text++) put(c, x++, y, (uint8_t)*text);
}

static void put_box(struct canvas *c, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    for (uint32_t i = 1; i + 1 < width; i++) {
        put_sign(c, x + i, y, ACROSS);
        put_sign(c, x + i, y + height - 1, ACROSS);
    }
    for (uint32_t i = 1; i + 1 < height; i++) {
        put_sign(c, x, y + i, DOWN);
        put_sign(c, x + width - 1, y + i, DOWN);
    }
    put_sign(c, x, y, TOP_LEFT);
    put_sign(c, x + width - 1, y, TOP_RIGHT);
    put_sign(c, x, y + height - 1, LOW_LEFT);
    put_sign(c, x + width - 1, y + height - 1, LOW_RIGHT);
}

static void write_sign(const struct atlas_text_options *o, enum sign sign, FILE *out)
{
    const char *text = (o->utf8 ? in_utf8 : in_ascii)[sign];
    if (o->color)
        fprintf(out, "\033[%sm%s\033[0m", in_color[sign], text);
    else
        fputs(text, out);
}

static void write_canvas(const struct canvas *c, const struct atlas_text_options *o, FILE *out)
{
    for (uint32_t y = 0; y < c->lines; y++) {
        uint32_t end = c->columns;
        const uint8_t *row = c->cells + (size_t)y * c->columns;
        while (end && !row[end - 1]) end--;
        for (uint32_t x = 0; x < end; x++) {
            if (row[x] >= 128)
                write_sign(o, (enum sign)(row[x] - 128), out);
            else
                fputc(row[x] ? row[x] : ' ', out);
        }
        fputc('\n', out);
    }
}

// ---- a box a site ----

struct block {
    uint32_t site;
    uint32_t x, y, width, height;
    uint32_t cell, across;  // a peer's columns, and how many stand side by side
    double want_x, want_y;
};

struct map {
    const struct atlas_snapshot *s;
    const struct atlas_text_options *o;
    struct atlas_layout l;
    struct block *blocks;
    uint32_t *tops;  // of each column: the first free line
    uint32_t columns;
};

// Lines of a site's inside: its hosts' peers, a host of several on lines of its own.
static uint32_t host_lines(const struct block *b, const struct atlas_box *host)
{
    return (host->count + b->across - 1) / b->across;
}

static uint32_t peer_width(const struct map *m, uint32_t i)
{
    const struct atlas_peer *p = &m->s->peers[i];
    char label[ATLAS_LABEL_MAX + 1];
    uint32_t width = 2 + (uint32_t)atlas_label(label, p->name, atlas_metrics_text.label_columns);
    for (uint32_t k = 0; m->o->devices && k < p->device_count; k++) {
        const uint32_t w = DEVICE_INDENT + 5 + (uint32_t)atlas_label(label, p->devices[k].name, ATLAS_LABEL_MAX);
        if (w > width) width = w;
    }
    return width;
}

// One below the other, each with its devices.
static void size_with_devices(const struct map *m, struct block *b, uint32_t least)
{
    const struct atlas_box *site = &m->l.sites[b->site];
    b->across = 1;
    b->width = b->cell + 2 > least ? b->cell + 2 : least;
    b->height = 2;
    for (uint32_t i = site->first; i < site->first + site->count; i++) b->height += 1 + m->s->peers[i].device_count;
}

static void size_block(const struct map *m, struct block *b)
{
    const struct atlas_box *site = &m->l.sites[b->site];
    char label[ATLAS_LABEL_MAX + 1];
    b->want_x = site->x + site->width / 2;
    b->want_y = site->y + site->height / 2;
    b->cell = 0;
    if (site->folded) {
        b->width = (uint32_t)site->width + 2;
        b->height = 3;
        return;
    }
    for (uint32_t i = site->first; i < site->first + site->count; i++)
        if (peer_width(m, i) > b->cell) b->cell = peer_width(m, i);
    b->cell += 2;
    const uint32_t title = 5 + (uint32_t)atlas_label(label, m->s->peers[site->first].site, ATLAS_LABEL_MAX);
    const uint32_t least = site->drawn ? title : 0;
    if (m->o->devices) {
        size_with_devices(m, b, least);
        return;
    }
    uint32_t most = 1;
    for (uint32_t h = site->first_host; h < site->first_host + site->hosts; h++)
        if (m->l.hosts[h].count > most) most = m->l.hosts[h].count;
    if (!site->drawn && site->count == 1) {  // needs no frame
        b->across = 1;
        b->width = b->cell;
        b->height = 1;
        return;
    }
    // As many side by side as the largest host has, or as make it about as high as a third of its width.
    b->across = most;
    while (b->across * b->across * b->cell < site->count * 5) b->across++;
    while (b->across > 1 && b->across * b->cell + 2 > m->columns) b->across--;
    while (b->across > 4 && b->across * b->across * b->cell > site->count * 20) b->across--;
    b->width = b->across * b->cell + 2;
    if (b->width < least) b->width = least;
    uint32_t x = 0;
    b->height = 2;
    for (uint32_t h = site->first_host; h < site->first_host + site->hosts; h++) {
        const struct atlas_box *host = &m->l.hosts[h];
        if (host->count == 1 && x > 0 && x < b->across) {
            x++;
            continue;
        }
        b->height += host_lines(b, host);
        x = host->count == 1 ? 1 : b->across;
    }
}

static void draw_peer(const struct map *m, struct canvas *c, uint32_t i, uint32_t x, uint32_t y)
{
    const struct atlas_peer *p = &m->s->peers[i];
    char label[ATLAS_LABEL_MAX + 1];
    atlas_label(label, p->name, atlas_metrics_text.label_columns);
    put_sign(c, x, y, p->self && p->state == ATLAS_ALIVE ? SELF : (enum sign)p->state);
    put_text(c, x + 2, y, label);
    for (uint32_t k = 0; m->o->devices && k < p->device_count; k++) {
        char busy[8] = "";
        const size_t n = atlas_label(label, p->devices[k].name, ATLAS_LABEL_MAX);
        put_text(c, x + DEVICE_INDENT, y + 1 + k, label);
        if (p->devices[k].busy <= 100) snprintf(busy, sizeof busy, "%3u%%", p->devices[k].busy);
        put_text(c, x + DEVICE_INDENT + (uint32_t)n + 1, y + 1 + k, busy);
    }
}

static void draw_folded(const struct map *m, struct canvas *c, const struct block *b)
{
    const struct atlas_box *site = &m->l.sites[b->site];
    uint32_t alive = 0;
    for (uint32_t i = site->first; i < site->first + site->count; i++) alive += m->s->peers[i].state == ATLAS_ALIVE;
    char text[48];
    snprintf(text, sizeof text, "%" PRIu32 " peers, %" PRIu32 " up", site->count, alive);
    put_text(c, b->x + 2, b->y + 1, text);
}

static void draw_block(const struct map *m, struct canvas *c, const struct block *b)
{
    const struct atlas_box *site = &m->l.sites[b->site];
    if (b->height == 1) {
        draw_peer(m, c, site->first, b->x, b->y);
        return;
    }
    put_box(c, b->x, b->y, b->width, b->height);
    if (site->drawn) {
        char label[ATLAS_LABEL_MAX + 3];
        label[0] = ' ';
        size_t n = atlas_label(label + 1, m->s->peers[site->first].site, ATLAS_LABEL_MAX);
        memcpy(label + 1 + n, " ", 2);
        put_text(c, b->x + 2, b->y, label);
    }
    if (site->folded) {
        draw_folded(m, c, b);
        return;
    }
    uint32_t x = 0, y = b->y + 1;
    for (uint32_t i = site->first; m->o->devices && i < site->first + site->count; i++) {
        draw_peer(m, c, i, b->x + 2, y);
        y += 1 + m->s->peers[i].device_count;
    }
    if (m->o->devices) return;
    bool begun = false;
    for (uint32_t h = site->first_host; h < site->first_host + site->hosts; h++) {
        const struct atlas_box *host = &m->l.hosts[h];
        // Peers that are alone on their hosts share lines.
        if (begun && (host->count > 1 || x == b->across)) {
            y++;
            x = 0;
        }
        for (uint32_t i = 0; i < host->count; i++) {
            if (x == b->across) {
                y++;
                x = 0;
            }
            draw_peer(m, c, host->first + i, b->x + 2 + x * b->cell, y);
            x++;
        }
        if (host->count > 1) x = b->across;
        begun = true;
    }
}

// ---- where the boxes go ----

static int by_height(const void *a, const void *b)
{
    const struct block *x = a, *y = b;
    if (x->want_y != y->want_y) return x->want_y < y->want_y ? -1 : 1;
    return (x->site > y->site) - (x->site < y->site);
}

// From the top: each as near to its column as may be and up against what is above it.
static uint32_t drop(struct map *m, uint32_t count)
{
    uint32_t lines = 0;
    qsort(m->blocks, count, sizeof *m->blocks, by_height);
    for (uint32_t i = 0; i < count; i++) {
        struct block *b = &m->blocks[i];
        const uint32_t free = m->columns > b->width ? m->columns - b->width : 0;
        const double at = m->l.width > 0 ? b->want_x / m->l.width : 0;
        const uint32_t want =
            (uint32_t)(at * m->columns) > b->width / 2 ? (uint32_t)(at * m->columns) - b->width / 2 : 0;
        uint32_t best = 0, best_cost = UINT32_MAX;
        for (uint32_t x = 0; x <= free; x++) {
            uint32_t top = 0, away = x > want ? x - want : want - x;
            for (uint32_t k = x; k < x + b->width && k < m->columns; k++)
                if (m->tops[k] > top) top = m->tops[k];
            if (top * 4 + away < best_cost) {
                best_cost = top * 4 + away;
                best = x;
                b->y = top;
            }
        }
        b->x = best;
        for (uint32_t k = best; k < best + b->width + 1 && k < m->columns; k++) m->tops[k] = b->y + b->height;
        if (b->y + b->height > lines) lines = b->y + b->height;
    }
    return lines;
}

// ---- what lies between ----

struct way {
    char from[ATLAS_LABEL_MAX + 1], to[ATLAS_LABEL_MAX + 1];
    uint64_t rtt_us, bytes_s;
    uint32_t links;
};

static void rate_text(char out[16], uint64_t bytes_s)
{
    static const char *const units[] = {"B/s", "KB/s", "MB/s", "GB/s"};
    int unit = 0;
    uint64_t tenths = bytes_s * 10;
    for (; unit < 3 && tenths >= 10000; unit++) tenths /= 1000;
    if (unit && tenths < 100)
        snprintf(out, 16, "%u.%u %s", (unsigned)(tenths / 10), (unsigned)(tenths % 10), units[unit]);
    else
        snprintf(out, 16, "%u %s", (unsigned)(tenths / 10 % 100000), units[unit]);
}

static void write_way(const struct atlas_text_options *o, const struct way *w, FILE *out)
{
    char rtt[24] = "", rate[16] = "", links[24] = "";
    if (w->rtt_us) snprintf(rtt, sizeof rtt, "%" PRIu64 ".%u ms", w->rtt_us / 1000, (unsigned)(w->rtt_us / 100 % 10));
    if (w->bytes_s) rate_text(rate, w->bytes_s);
    if (w->links > 1) snprintf(links, sizeof links, "%" PRIu32 " links", w->links);
    fprintf(out, "  %*s ", 14, w->from);
    for (int i = 0; i < 2; i++) write_sign(o, ACROSS, out);
    char rest[96];
    int n = snprintf(rest, sizeof rest, " %-14s %12s %10s  %s", w->to, rtt, rate, links);
    while (n > 0 && rest[n - 1] == ' ') rest[--n] = 0;
    fprintf(out, "%s\n", rest);
}

static int by_traffic(const void *a, const void *b)
{
    const struct atlas_bundle *x = a, *y = b;
    if (x->bytes_s != y->bytes_s) return x->bytes_s > y->bytes_s ? -1 : 1;
    if (x->links != y->links) return x->links > y->links ? -1 : 1;
    return x->a != y->a ? (x->a > y->a) - (x->a < y->a) : (x->b > y->b) - (x->b < y->b);
}

static void name_site(const struct map *m, uint32_t site, char out[ATLAS_LABEL_MAX + 1])
{
    const struct atlas_peer *p = &m->s->peers[m->l.sites[site].first];
    atlas_label(out, p->site[0] ? p->site : p->name, 14);
}

static enum core_err write_ways(const struct map *m, FILE *out)
{
    struct atlas_bundle *list = malloc((m->s->link_count + 1) * sizeof *list);
    if (!list) return CORE_ERR_NO_MEMORY;
    const bool of_peers = m->s->peer_count <= PEERS_WITH_LINKS;
    uint32_t n = of_peers ? m->s->link_count : atlas_layout_bundles(m->s, &m->l, list);
    for (uint32_t i = 0; of_peers && i < n; i++) {
        const struct atlas_link *k = &m->s->links[i];
        list[i] = (struct atlas_bundle){k->a, k->b, 1, k->bytes_s, k->rtt_us};
    }
    if (n) qsort(list, n, sizeof *list, by_traffic);
    for (uint32_t i = 0; i < n && i < WAYS_SHOWN; i++) {
        struct way w = {.rtt_us = list[i].rtt_us, .bytes_s = list[i].bytes_s, .links = list[i].links};
        if (of_peers) {
            atlas_label(w.from, m->s->peers[list[i].a].name, 14);
            atlas_label(w.to, m->s->peers[list[i].b].name, 14);
        } else {
            name_site(m, list[i].a, w.from);
            name_site(m, list[i].b, w.to);
        }
        write_way(m->o, &w, out);
    }
    if (n > WAYS_SHOWN) fprintf(out, "  and %" PRIu32 " more\n", n - WAYS_SHOWN);
    free(list);
    return CORE_ERR_OK;
}

// ---- who sums for whom ----

static int by_sum(const void *a, const void *b)
{
    const struct atlas_flow *x = a, *y = b;
    if (x->level != y->level) return x->level < y->level ? -1 : 1;
    return x->to != y->to ? (x->to > y->to) - (x->to < y->to) : (x->from > y->from) - (x->from < y->from);
}

// "  level 0             p1 <- p2 p3 p4": flows [first, first + count) have one level and end at one peer.
static void write_sum(const struct map *m, const struct atlas_flow *flows, uint32_t count, bool new_level, FILE *out)
{
    char label[ATLAS_LABEL_MAX + 1], level[24] = "";
    const uint32_t room = m->columns - 10;  // for "and N more"
    if (new_level) snprintf(level, sizeof level, "level %" PRIu32, flows[0].level);
    atlas_label(label, m->s->peers[flows[0].to].name, 14);
    uint32_t column = (uint32_t)fprintf(out, "  %-9s %14s <-", level, label);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t width = 1 + (uint32_t)atlas_label(label, m->s->peers[flows[i].from].name, 14);
        if (column + width > room && i + 1 < count) {
            fprintf(out, " +%" PRIu32, count - i);
            break;
        }
        fprintf(out, " %s", label);
        column += width;
    }
    fputc('\n', out);
}

static enum core_err write_sums(const struct map *m, FILE *out)
{
    const uint32_t n = m->s->flow_count;
    struct atlas_flow *list = malloc((n + 1) * sizeof *list);
    if (!list) return CORE_ERR_NO_MEMORY;
    if (n) memcpy(list, m->s->flows, n * sizeof *list);
    if (n) qsort(list, n, sizeof *list, by_sum);
    if (n) fputs("sums of the round, who sends to whom:\n", out);
    uint32_t lines = 0, hidden = 0;
    for (uint32_t first = 0, end = 0; first < n; first = end) {
        while (end < n && list[end].level == list[first].level && list[end].to == list[first].to) end++;
        if (lines++ < SUMS_SHOWN)
            write_sum(m, &list[first], end - first, first == 0 || list[first - 1].level != list[first].level, out);
        else
            hidden++;
    }
    if (hidden) fprintf(out, "  and %" PRIu32 " more\n", hidden);
    free(list);
    return CORE_ERR_OK;
}

static void write_legend(const struct map *m, FILE *out)
{
    uint32_t of[ATLAS_STATES] = {0};
    for (uint32_t i = 0; i < m->s->peer_count; i++) of[m->s->peers[i].state]++;
    char name[ATLAS_LABEL_MAX + 1];
    atlas_label(name, m->s->mesh, ATLAS_LABEL_MAX);
    fprintf(out, "%s: %" PRIu32 " peer%s  ", name, m->s->peer_count, m->s->peer_count == 1 ? "" : "s");
    for (int k = 0; k < ATLAS_STATES; k++) {
        if (!of[k]) continue;
        fputs("  ", out);
        write_sign(m->o, (enum sign)k, out);
        fprintf(out, " %" PRIu32 " %s", of[k], atlas_state_name((enum atlas_state)k));
    }
    fputs("   ", out);
    write_sign(m->o, SELF, out);
    fputs(" here\n", out);
}

static enum core_err draw(struct map *m, FILE *out)
{
    for (uint32_t i = 0; i < m->l.site_count; i++) {
        m->blocks[i].site = i;
        size_block(m, &m->blocks[i]);
    }
    struct canvas c = {.columns = m->columns, .lines = drop(m, m->l.site_count)};
    if (c.lines > LINES_MAX) c.lines = LINES_MAX;
    c.cells = calloc((size_t)c.columns * c.lines + 1, 1);
    if (!c.cells) return CORE_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < m->l.site_count; i++) draw_block(m, &c, &m->blocks[i]);
    write_legend(m, out);
    write_canvas(&c, m->o, out);
    free(c.cells);
    enum core_err err = write_ways(m, out);
    return err ? err : write_sums(m, out);
}

enum core_err atlas_text_write(const struct atlas_snapshot *s, const struct atlas_text_options *o, FILE *out)
{
    struct map m = {.s = s, .o = o};
    m.columns = o->columns < LEAST_COLUMNS ? LEAST_COLUMNS : o->columns > MOST_COLUMNS ? MOST_COLUMNS : o->columns;
    struct atlas_metrics metrics = atlas_metrics_text;
    if (o->all) metrics.collapse_above = 0;
    enum core_err err = atlas_layout_make(s, &metrics, &m.l);
    m.blocks = calloc(m.l.site_count + 1, sizeof *m.blocks);
    m.tops = calloc(m.columns, sizeof *m.tops);
    if (!err && (!m.blocks || !m.tops)) err = CORE_ERR_NO_MEMORY;
    if (!err) err = draw(&m, out);
    free(m.blocks);
    free(m.tops);
    atlas_layout_free(&m.l);
    return err;
}
