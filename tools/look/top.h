// `top`: what a peer knows, on one screen, kept current.
//
//   a thread asks the daemon once a second --> struct top_data (top_data.c), under a mutex
//   the screen's thread: keys and resizes --> views as lines of text (top_views.c), a pure function --> ncurses (top.c)
//
// So keys answer at once also while the daemon is busy, stopped or gone; the header says for how long it has not
// answered. Texts of other peers go through atlas_label.
#ifndef TOOLS_LOOK_TOP_H
#define TOOLS_LOOK_TOP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/output.h"

enum top_tab { TOP_PEERS, TOP_LINKS, TOP_DEVICES, TOP_RUNS, TOP_EVENTS, TOP_TABS };
enum { TOP_EVENTS_MAX = 200, TOP_EVENT_SIZE = 160, TOP_RATES_MAX = 4096 };

struct top_event {
    uint64_t at_s;  // since 1970
    char text[TOP_EVENT_SIZE];
};

// One round of questions; NULL for what was not answered.
struct top_answers {
    json_t *status, *peers, *runs, *shown;  // `shown`: runs_show of the run that goes on, or of the newest
};

// Bytes of a link when they were last looked at, by the peer's id.
struct top_rate {
    char id[65];
    double tx, rx, tx_s, rx_s;
};

struct top_data {
    struct top_answers last;
    uint64_t answered_ms;  // monotonic; 0: never
    struct top_event events[TOP_EVENTS_MAX];
    uint32_t event_count;  // ever; the newest TOP_EVENTS_MAX are kept
    struct top_rate *rates;
    uint32_t rate_count;
    uint64_t rates_ms;
};

// Asks the daemon of `home` for everything once: seconds, where it is stopped.
void top_ask(const char *home, struct top_answers *out);
// Takes new answers over what was, noting what changed as events. Takes the references.
void top_data_take(struct top_data *d, const struct top_answers *answers, uint64_t now_ms);
void top_data_close(struct top_data *d);
const struct top_rate *top_data_rate(const struct top_data *d, const char *id);

// ---- lines ----

// A line's text holds marks: a byte of 1 and then a byte of 1 + enum tint say the tint from there on.
enum { TOP_MARK = 1 };

struct top_lines {
    char **lines;
    uint32_t count, capacity;
};

struct top_look {
    enum top_tab tab;
    uint32_t width, height;  // of the terminal
    bool utf8;
    bool help;
    uint64_t now_ms;
};

void top_lines_free(struct top_lines *l);
__attribute__((format(printf, 2, 3))) void top_lines_add(struct top_lines *l, const char *format, ...);
// The header (health, problems, tabs), and the tab's lines below it; out of memory they end early.
void top_header(const struct top_data *d, const struct top_look *look, struct top_lines *out);
void top_view(const struct top_data *d, const struct top_look *look, struct top_lines *out);
// How many columns a line takes, and its text without marks (at most `width` columns) into `out`.
size_t top_line_columns(const char *line);

#endif
