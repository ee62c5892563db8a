// What `top` shows, as lines of text: a function of what it knows and of how large the screen is.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "atlas/snapshot.h"
#include "tools/client.h"
#include "tools/look/plot.h"
#include "tools/look/top.h"

enum { LINE_SIZE = 2048, CURVE_MAX = 1000, SILENT_MS = 3000 };

#define MARK(tint) "\001" tint
#define PLAIN      MARK("\001")
#define BOLD       MARK("\002")
#define DIM        MARK("\003")
#define GOOD       MARK("\004")
#define WARN       MARK("\005")
#define BAD        MARK("\006")

static const char *const tab_names[TOP_TABS] = {"peers", "links", "devices", "runs", "events"};

// ---- lines ----

void top_lines_free(struct top_lines *l)
{
    for (uint32_t i = 0; i < l->count; i++) free(l->lines[i]);
    free(l->lines);
    *l = (struct top_lines){0};
}

void top_lines_add(struct top_lines *l, const char *format, ...)
{
    char text[LINE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (l->count == l->capacity) {
        const uint32_t capacity = l->capacity ? 2 * l->capacity : 64;
        char **larger = realloc(l->lines, capacity * sizeof *larger);
        if (!larger) return;
        l->lines = larger;
        l->capacity = capacity;
    }
    char *copy = strdup(text);
    if (copy) l->lines[l->count++] = copy;
}

size_t top_line_columns(const char *line)
{
    size_t n = 0;
    for (const char *p = line; *p; p++) {
        if (*p == TOP_MARK && p[1])
            p++;
        else
            n += (*p & 0xc0) != 0x80;
    }
    return n;
}

// ---- pieces ----

static const char *state_mark(const char *state)
{
    static const struct {
        const char *state, *mark;
    } marks[] = {{"alive", GOOD},   {"up", GOOD},      {"running", GOOD}, {"done", GOOD},
                 {"suspect", WARN}, {"waiting", WARN}, {"paused", WARN},  {"probing", WARN},
                 {"dead", BAD},     {"lost", BAD},     {"failed", BAD},   {"left", DIM}};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strcmp(marks[i].state, state) == 0) return marks[i].mark;
    return PLAIN;
}

// A stranger's text as it may be shown.
static const char *safe(char out[ATLAS_LABEL_MAX + 1], const json_t *object, const char *key, const char *otherwise)
{
    atlas_label(out, field_text(object, key, otherwise), ATLAS_LABEL_MAX);
    return out;
}

static void problems(const struct top_data *d, struct top_lines *out)
{
    size_t i;
    json_t *problem;
    json_array_foreach(json_object_get(d->last.status, "problems"), i, problem)
    {
        char peer[ATLAS_LABEL_MAX + 1];
        safe(peer, problem, "peer", "");
        top_lines_add(out, BAD "! " PLAIN "%s%s%s; " DIM "%s", peer, peer[0] ? ": " : "",
                      field_text(problem, "cause", ""), field_text(problem, "remedy", ""));
        if (i == 4) return;
    }
}

static void tabs(const struct top_look *look, struct top_lines *out)
{
    char text[256] = "";
    for (int k = 0; k < TOP_TABS; k++) {
        const size_t used = strlen(text);
        const bool here = (int)look->tab == k;
        snprintf(text + used, sizeof text - used, "%s%s%d %s%s" PLAIN "  ", here ? BOLD : DIM, here ? "[" : " ", k + 1,
                 tab_names[k], here ? "]" : " ");
    }
    top_lines_add(out, "%s", text);
}

void top_header(const struct top_data *d, const struct top_look *look, struct top_lines *out)
{
    const json_t *s = d->last.status;
    if (!s) {
        top_lines_add(out, WARN "the daemon does not answer yet" PLAIN "; `mycel up --detach` starts it");
        tabs(look, out);
        return;
    }
    char uptime[TEXT_SIZE], tx[TEXT_SIZE], rx[TEXT_SIZE], name[ATLAS_LABEL_MAX + 1], mesh[ATLAS_LABEL_MAX + 1];
    const bool healthy = field_true(s, "healthy");
    top_lines_add(out, BOLD "%s" PLAIN " in %s  %s%s" PLAIN "  up %s  %.0f of %.0f peers up",
                  safe(name, s, "name", "?"), safe(mesh, s, "mesh_name", "?"), healthy ? GOOD : BAD,
                  healthy ? "healthy" : "unhealthy", text_seconds(uptime, field_number(s, "uptime_s", 0)),
                  field_number(s, "peers_up", 0), field_number(s, "peers_known", 0));
    top_lines_add(out, DIM "sent %s  received %s  %.0f refused  record %.0f" PLAIN,
                  text_bytes(tx, field_number(s, "tx_bytes", 0)), text_bytes(rx, field_number(s, "rx_bytes", 0)),
                  field_number(s, "refused", 0), field_number(s, "record_height", 0));
    if (look->now_ms > d->answered_ms + SILENT_MS)
        top_lines_add(out, WARN "the daemon has not answered for %.0f s: what is below is from then",
                      (double)(look->now_ms - d->answered_ms) / 1000);
    problems(d, out);
    tabs(look, out);
}

// ---- tabs ----

static void peers(const struct top_data *d, struct top_lines *out)
{
    size_t i;
    json_t *peer;
    top_lines_add(out, BOLD "%-16s %-8s %-8s %-12s %8s %9s %9s" PLAIN, "NAME", "ID", "STATE", "SITE", "RTT", "TX/S",
                  "RX/S");
    json_array_foreach(json_object_get(d->last.peers, "peers"), i, peer)
    {
        char name[ATLAS_LABEL_MAX + 1], site[ATLAS_LABEL_MAX + 1], rtt[24] = "", tx[TEXT_SIZE] = "", rx[TEXT_SIZE] = "";
        const char *state = field_text(peer, "state", "?");
        const struct top_rate *r = top_data_rate(d, field_text(peer, "id", ""));
        const double ms = field_number(peer, "rtt_ms", -1);
        if (ms >= 0) snprintf(rtt, sizeof rtt, "%.1f ms", ms);
        if (field_true(peer, "self")) snprintf(rtt, sizeof rtt, "self");
        if (r && r->tx_s > 0) text_bytes(tx, r->tx_s);
        if (r && r->rx_s > 0) text_bytes(rx, r->rx_s);
        top_lines_add(out, "%-16.16s %.8s %s%-8s" PLAIN " %-12.12s %8s %9s %9s", safe(name, peer, "name", "?"),
                      field_text(peer, "id", ""), state_mark(state), state, safe(site, peer, "site", ""), rtt, tx, rx);
    }
}

static void links(const struct top_data *d, struct top_lines *out)
{
    size_t i;
    json_t *peer;
    top_lines_add(out, BOLD "%-16s %-21s %-8s %8s %9s %9s" PLAIN, "PEER", "ADDRESS", "BULK", "RTT", "SENT", "RECEIVED");
    json_array_foreach(json_object_get(d->last.peers, "peers"), i, peer)
    {
        const json_t *link = json_object_get(peer, "link");
        if (!json_is_object(link)) continue;
        char name[ATLAS_LABEL_MAX + 1], rtt[24] = "", tx[TEXT_SIZE], rx[TEXT_SIZE];
        const double ms = field_number(peer, "rtt_ms", -1);
        if (ms >= 0) snprintf(rtt, sizeof rtt, "%.1f ms", ms);
        top_lines_add(
            out, "%-16.16s %-21.21s %-8s %8s %9s %9s%s", safe(name, peer, "name", "?"), field_text(link, "address", ""),
            field_text(link, "bulk_lane", ""), rtt, text_bytes(tx, field_number(peer, "tx_bytes", 0)),
            text_bytes(rx, field_number(peer, "rx_bytes", 0)), field_true(peer, "neighbor") ? "  neighbour" : "");
    }
}

static void bar(char *out, size_t size, double part, uint32_t width)
{
    size_t n = 0;
    const uint32_t full = (uint32_t)((part < 0 ? 0 : part > 1 ? 1 : part) * width + 0.5);
    for (uint32_t i = 0; i < width && n + 1 < size; i++) out[n++] = i < full ? '|' : '.';
    out[n] = 0;
}

static void devices(const struct top_data *d, struct top_lines *out)
{
    size_t i;
    json_t *lane;
    top_lines_add(out, BOLD "%-10s %-20s %-8s %-16s %5s  %-9s %s" PLAIN, "DEVICE", "MODEL", "STATE", "BUSY", "",
                  "DOING", "QUEUE");
    json_array_foreach(json_object_get(d->last.status, "lanes"), i, lane)
    {
        char model[ATLAS_LABEL_MAX + 1], load[24];
        const char *state = field_text(lane, "state", "?"), *why = field_text(lane, "why", "");
        const double busy = field_number(lane, "busy", 0);
        bar(load, sizeof load, busy, 16);
        top_lines_add(out, "%-10.10s %-20s %s%-8s" PLAIN " %-16s %4.0f%%  %-9s %.0f", field_text(lane, "device", "?"),
                      safe(model, lane, "model", ""), state_mark(state), state, load, busy * 100,
                      field_text(lane, "doing", "-"), field_number(lane, "waiting", 0));
        if (why[0]) top_lines_add(out, "           " BAD "%s", why);
    }
}

static void curve(const struct top_data *d, const struct top_look *look, struct top_lines *out)
{
    static double values[CURVE_MAX];
    size_t i, n = 0;
    double low = INFINITY, high = -INFINITY;
    json_t *round;
    json_array_foreach(json_object_get(d->last.shown, "history"), i, round)
    {
        const double loss = field_number(round, "loss", NAN);
        if (n == CURVE_MAX || !isfinite(loss)) continue;
        values[n++] = loss;
        if (loss < low) low = loss;
        if (loss > high) high = loss;
    }
    if (n < 2) return;
    enum { ROWS = 8 };
    char lines[ROWS][PLOT_LINE_SIZE];
    uint32_t columns = look->width > 24 ? look->width - 14 : 10;
    if (columns > 100) columns = 100;
    plot_curve(values, n, low, high, columns, ROWS, look->utf8, lines);
    top_lines_add(out, "%s", "");
    top_lines_add(out, BOLD "loss of run %.8s, %zu rounds" PLAIN, field_text(d->last.shown, "id", "?"), n);
    for (int r = 0; r < ROWS; r++) {
        char scale[16] = "";
        if (r == 0 || r == ROWS - 1) snprintf(scale, sizeof scale, "%.3f", r == 0 ? high : low);
        top_lines_add(out, DIM "%8s " PLAIN "%s", scale, lines[r]);
    }
}

static void runs(const struct top_data *d, const struct top_look *look, struct top_lines *out)
{
    size_t i;
    json_t *run;
    top_lines_add(out, BOLD "%-8s %-8s %-8s %10s %8s %8s %8s %6s %8s" PLAIN, "ID", "STATE", "MODEL", "ROUND", "LOSS",
                  "VAL", "TOK/S", "PEERS", "SENT");
    json_array_foreach(json_object_get(d->last.runs, "runs"), i, run)
    {
        char model[ATLAS_LABEL_MAX + 1], rounds[32], loss[TEXT_SIZE], val[TEXT_SIZE], rate[TEXT_SIZE], sent[TEXT_SIZE];
        const char *state = field_text(run, "state", "?");
        snprintf(rounds, sizeof rounds, "%.0f/%.0f", field_number(run, "round", 0), field_number(run, "rounds", 0));
        top_lines_add(out, "%.8s %s%-8s" PLAIN " %-8.8s %10s %8s %8s %8s %6.0f %8s", field_text(run, "id", ""),
                      state_mark(state), state, safe(model, run, "model", ""), rounds,
                      text_loss(loss, field_number(run, "loss", -1)), text_loss(val, field_number(run, "val_loss", -1)),
                      text_count(rate, field_number(run, "tokens_per_s", 0)), field_number(run, "peers", 0),
                      text_bytes(sent, field_number(run, "bytes_sent", 0)));
        const json_t *wait = json_object_get(run, "waiting");
        char text[512];
        if (!json_is_object(wait)) continue;
        client_describe_wait(text, sizeof text, wait);
        top_lines_add(out, "         " WARN "waits for %s", text);
    }
    if (i == 0) top_lines_add(out, DIM "no runs yet; 'mycel train --data FILE' starts one");
    curve(d, look, out);
}

static void events(const struct top_data *d, struct top_lines *out)
{
    const uint32_t kept = d->event_count < TOP_EVENTS_MAX ? d->event_count : TOP_EVENTS_MAX;
    for (uint32_t i = 0; i < kept; i++) {
        const struct top_event *e = &d->events[(d->event_count - 1 - i) % TOP_EVENTS_MAX];
        const time_t at = (time_t)e->at_s;
        struct tm tm;
        char clock[16] = "";
        if (localtime_r(&at, &tm)) strftime(clock, sizeof clock, "%H:%M:%S", &tm);
        top_lines_add(out, DIM "%s" PLAIN "  %s", clock, e->text);
    }
}

static void help(struct top_lines *out)
{
    static const struct {
        const char *keys, *what;
    } rows[] = {{"1 .. 5", "a tab"},
                {"Tab, right, left", "the next tab, the one before"},
                {"down, up, j, k", "a line; Page Down and Up a screen, Home and End all the way"},
                {"?, h", "this help"},
                {"q, Ctrl-C", "out"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        top_lines_add(out, "  " BOLD "%-18s" PLAIN " %s", rows[i].keys, rows[i].what);
}

void top_view(const struct top_data *d, const struct top_look *look, struct top_lines *out)
{
    if (look->help) {
        help(out);
        return;
    }
    switch (look->tab) {
    case TOP_PEERS: peers(d, out); break;
    case TOP_LINKS: links(d, out); break;
    case TOP_DEVICES: devices(d, out); break;
    case TOP_RUNS: runs(d, look, out); break;
    case TOP_EVENTS: events(d, out); break;
    case TOP_TABS: break;
    }
}
