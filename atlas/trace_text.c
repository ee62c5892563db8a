#include "atlas/trace_text.h"

#include <inttypes.h>
#include <string.h>

enum { LEAST_COLUMNS = 50, MOST_COLUMNS = 400, CELL = 9, LABEL_MOST = 16 };

static const struct look {
    const char *ascii, *utf8, *color;
} looks[PHASES] = {
    [PHASE_OTHER] = {"?", "?", "90"},    [PHASE_QUEUED] = {"q", "q", "90"},   [PHASE_FETCHING] = {"f", "▽", "35"},
    [PHASE_TRAINING] = {"#", "█", "32"}, [PHASE_SENDING] = {">", "▸", "36"},  [PHASE_WAITING] = {".", "·", "90"},
    [PHASE_SUMMING] = {"+", "▒", "34"},  [PHASE_APPLYING] = {"=", "▓", "33"}, [PHASE_AGREEING] = {":", "∶", "90"},
    [PHASE_PAUSED] = {"p", "p", "90"},   [PHASE_WATCHING] = {"w", "w", "90"},
};

const char *atlas_trace_time(char out[TRACE_TIME_SIZE], int64_t us)
{
    const double s = (double)us / 1e6;
    if (us < 1000)
        snprintf(out, TRACE_TIME_SIZE, "%" PRId64 " us", us);
    else if (us < 99500)
        snprintf(out, TRACE_TIME_SIZE, "%.*f ms", us < 9950, s * 1e3);
    else if (us < 999500)
        snprintf(out, TRACE_TIME_SIZE, "%.0f ms", s * 1e3);
    else if (us < 99500000)
        snprintf(out, TRACE_TIME_SIZE, "%.*f s", us < 9950000 ? 2 : 1, s);
    else
        snprintf(out, TRACE_TIME_SIZE, "%" PRId64 "m%02ds", us / 60000000, (int)(us / 1000000 % 60));
    return out;
}

// ---- the sentence ----

static const char *what_is_done(enum atlas_phase phase)
{
    switch (phase) {
    case PHASE_QUEUED: return "another run before it";
    case PHASE_FETCHING: return "fetching data or parameters";
    case PHASE_TRAINING: return "training";
    case PHASE_SENDING: return "sending its update";
    case PHASE_APPLYING: return "applying the outer step";
    default: return atlas_phase_name(phase);
    }
}

static const char *what_for(enum atlas_phase phase)
{
    switch (phase) {
    case PHASE_WAITING: return "its update";
    case PHASE_SENDING: return "its word that it has their updates";
    case PHASE_SUMMING: return "its sums";
    case PHASE_AGREEING: return "its vote";
    default: return "it";
    }
}

static uint32_t with_spans(const struct atlas_trace *t)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->peer_count; i++) count += t->peers[i].span_count > 0;
    return count;
}

static void add_silence(const struct atlas_trace *t, uint32_t peer, char *out, size_t size)
{
    uint32_t silent = 0;
    for (uint32_t i = 0; i < t->peer_count; i++) silent += !t->peers[i].answered;
    if (t->peers[peer].answered)
        snprintf(out, size, ".");
    else if (silent == 1)
        snprintf(out, size, "; it does not answer.");
    else
        snprintf(out, size, "; it and %" PRIu32 " more do not answer.", silent - 1);
}

void atlas_trace_say(const struct atlas_trace *t, char out[TRACE_SAY_SIZE])
{
    const struct atlas_verdict v = atlas_trace_judge(t);
    char name[ATLAS_LABEL_MAX + 1] = "", took[TRACE_TIME_SIZE], more[TRACE_TIME_SIZE];
    int size = 0;
    if (v.blame) atlas_label(name, t->peers[v.peer].name, ATLAS_LABEL_MAX);
    atlas_trace_time(took, v.took_us);
    atlas_trace_time(more, v.more_us);
    if (with_spans(t) == 0)
        snprintf(out, TRACE_SAY_SIZE, "Nobody who answers knows anything of round %" PRIu64 ".", t->round);
    else if (!v.blame)
        snprintf(out, TRACE_SAY_SIZE, "Nobody slows round %" PRIu64 " down.", t->round);
    else if (!v.matters && v.blame == BLAME_LONGER)
        snprintf(out, TRACE_SAY_SIZE, "Nobody slows round %" PRIu64 " down: the slowest, %s, takes %s more for %s.",
                 t->round, name, more, what_is_done(v.phase));
    else if (!v.matters)
        snprintf(out, TRACE_SAY_SIZE, "Nobody slows round %" PRIu64 " down: the slowest, %s, was waited for %s.",
                 t->round, name, more);
    else if (v.blame == BLAME_LONGER)
        snprintf(out, TRACE_SAY_SIZE, "%s slows round %" PRIu64 " down: %s takes it %s, %s more than the others.", name,
                 t->round, what_is_done(v.phase), took, more);
    else
        size = snprintf(out, TRACE_SAY_SIZE, "%s slows round %" PRIu64 " down: the others %s %s for %s", name, t->round,
                        t->open ? "have waited" : "waited", more, what_for(v.phase));
    if (size) add_silence(t, v.peer, out + size, TRACE_SAY_SIZE - (size_t)size);
}

// ---- the bars ----

struct page {
    const struct atlas_trace *t;
    const struct atlas_text_options *o;
    FILE *out;
    uint32_t columns, label, bar;
};

static void write_cell(const struct page *p, int phase)
{
    if (phase < 0) {
        fputc(' ', p->out);
        return;
    }
    const char *mark = p->o->utf8 ? looks[phase].utf8 : looks[phase].ascii;
    if (p->o->color)
        fprintf(p->out, "\033[%sm%s\033[0m", looks[phase].color, mark);
    else
        fputs(mark, p->out);
}

// The phase that fills most of the time from `from_us` to `to_us`; -1 for none.
static int phase_in(const struct atlas_trace_peer *p, double from_us, double to_us)
{
    double filled[PHASES] = {0};
    int most = -1;
    for (uint32_t i = 0; i < p->span_count; i++) {
        const struct atlas_span *s = &p->spans[i];
        const double from = (double)s->begin_us > from_us ? (double)s->begin_us : from_us;
        const double to = (double)s->end_us < to_us ? (double)s->end_us : to_us;
        if (to > from) filled[s->phase] += to - from;
    }
    for (int k = 0; k < PHASES; k++)
        if (filled[k] > (most < 0 ? 0 : filled[most])) most = k;
    return most;
}

static void write_label(const struct page *p, const char *name)
{
    char label[ATLAS_LABEL_MAX + 1];
    atlas_label(label, name, p->label);
    fprintf(p->out, "%-*s ", (int)p->label, label);
}

static void write_bars(const struct page *p)
{
    const double cell_us = (double)p->t->length_us / p->bar;
    for (uint32_t i = 0; i < p->t->peer_count; i++) {
        const struct atlas_trace_peer *peer = &p->t->peers[i];
        write_label(p, peer->name);
        uint32_t end = peer->span_count ? p->bar : 0;
        while (end && phase_in(peer, (end - 1) * cell_us, end * cell_us) < 0) end--;
        for (uint32_t x = 0; x < end; x++) write_cell(p, phase_in(peer, x * cell_us, (x + 1) * cell_us));
        if (peer->span_count == 0) fputs(peer->answered ? "keeps nothing of this round" : "does not answer", p->out);
        fputc('\n', p->out);
    }
}

// Times above the bars, a quarter apart, and marks where they are.
static void write_axis(const struct page *p)
{
    char times[MOST_COLUMNS + TRACE_TIME_SIZE], marks[MOST_COLUMNS + 1];
    memset(times, ' ', sizeof times);
    memset(marks, p->t->length_us ? '-' : ' ', sizeof marks);
    uint32_t used = 0;
    for (uint32_t k = 0; k <= 4 && p->t->length_us; k++) {
        char text[TRACE_TIME_SIZE] = "0";
        if (k) atlas_trace_time(text, p->t->length_us * k / 4);
        const uint32_t x = k * (p->bar - 1) / 4, size = (uint32_t)strlen(text);
        const uint32_t from = k == 0 ? 0 : k == 4 ? p->bar - size : x - size / 2;
        marks[x] = '+';
        if (k && k < 4 && (from <= used || from + size + TRACE_TIME_SIZE / 2 > p->bar)) continue;
        memcpy(times + from, text, size);
        used = from + size;
    }
    if (!used) return;
    fprintf(p->out, "%*s %.*s\n", (int)p->label, "", (int)used, times);
    fprintf(p->out, "%*s %.*s\n", (int)p->label, "", (int)p->bar, marks);
}

// ---- the numbers ----

static int64_t total(const struct atlas_trace_peer *p, int phase)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < p->span_count; i++)
        if ((int)p->spans[i].phase == phase) sum += p->spans[i].end_us - p->spans[i].begin_us;
    return sum;
}

// The phases that have columns: those that take longest where not all fit, in the order of a round.
static uint32_t choose(const struct page *p, uint32_t room, bool shown[PHASES])
{
    int64_t sums[PHASES] = {0};
    uint32_t count = 0;
    for (int k = 0; k < PHASES; k++) {
        for (uint32_t i = 0; i < p->t->peer_count; i++) sums[k] += total(&p->t->peers[i], k);
        shown[k] = sums[k] > 0;
        count += shown[k];
    }
    for (; count > room; count--) {
        int least = -1;
        for (int k = 0; k < PHASES; k++)
            if (shown[k] && (least < 0 || sums[k] < sums[least])) least = k;
        shown[least] = false;
    }
    return count;
}

static void write_heading(const struct page *p, const char *name)
{
    char upper[CELL];
    size_t size = 0;
    for (; name[size] && size < sizeof upper - 1; size++) upper[size] = (char)(name[size] - 'a' + 'A');
    fprintf(p->out, "%*.*s", CELL, (int)size, upper);
}

static void write_numbers(const struct page *p)
{
    bool shown[PHASES];
    char text[TRACE_TIME_SIZE];
    if (choose(p, (p->columns - p->label - 1) / CELL - 1, shown) == 0) return;
    fprintf(p->out, "\n%-*s ", (int)p->label, "PEER");
    for (int k = 0; k < PHASES; k++)
        if (shown[k]) write_heading(p, atlas_phase_name((enum atlas_phase)k));
    fprintf(p->out, "%*s\n", CELL, "CLOCK+-");
    for (uint32_t i = 0; i < p->t->peer_count; i++) {
        const struct atlas_trace_peer *peer = &p->t->peers[i];
        if (peer->span_count == 0) continue;
        write_label(p, peer->name);
        for (int k = 0; k < PHASES; k++)
            if (shown[k]) fprintf(p->out, "%*s", CELL, total(peer, k) ? atlas_trace_time(text, total(peer, k)) : "-");
        fprintf(p->out, "%*s\n", CELL, peer->self ? "-" : atlas_trace_time(text, (int64_t)peer->error_us));
    }
}

// ---- all of it ----

// Breaks at spaces; the later lines are indented by two.
static void write_wrapped(const struct page *p, const char *text)
{
    size_t at = 0;
    while (*text) {
        const char *end = strchr(text, ' ');
        const size_t word = end ? (size_t)(end - text) : strlen(text);
        if (at && at + 1 + word > p->columns)
            at = (size_t)fprintf(p->out, "\n  ") - 1;
        else if (at)
            at += (size_t)fprintf(p->out, " ");
        at += (size_t)fprintf(p->out, "%.*s", (int)word, text);
        text += word + (end ? 1 : 0);
    }
    fputc('\n', p->out);
}

static void write_head(const struct page *p)
{
    char said[TRACE_SAY_SIZE], mesh[ATLAS_LABEL_MAX + 1], run[ATLAS_LABEL_MAX + 1], length[TRACE_TIME_SIZE];
    uint32_t silent = 0;
    for (uint32_t i = 0; i < p->t->peer_count; i++) silent += !p->t->peers[i].answered;
    atlas_trace_say(p->t, said);
    write_wrapped(p, said);
    atlas_label(mesh, p->t->mesh, ATLAS_LABEL_MAX);
    atlas_label(run, p->t->run, ATLAS_LABEL_MAX);
    const int size =
        snprintf(said, sizeof said, "mesh %s, run %.8s, round %" PRIu64 " %s %s, %" PRIu32 " peer%s", mesh, run,
                 p->t->round, p->t->open ? "has gone on for" : "took", atlas_trace_time(length, p->t->length_us),
                 p->t->peer_count, p->t->peer_count == 1 ? "" : "s");
    if (silent) snprintf(said + size, sizeof said - (size_t)size, " (%" PRIu32 " silent)", silent);
    write_wrapped(p, said);
    fputc('\n', p->out);
}

static void write_legend(const struct page *p)
{
    bool shown[PHASES];
    uint32_t at = choose(p, PHASES, shown) ? p->label : 0;
    if (!at) return;
    fprintf(p->out, "%*s", (int)at, "");
    for (int k = 0; k < PHASES; k++) {
        if (!shown[k]) continue;
        const char *name = atlas_phase_name((enum atlas_phase)k);
        if (at + 3 + strlen(name) > p->columns) at = (uint32_t)fprintf(p->out, "\n%*s", (int)p->label, "") - 1;
        fputc(' ', p->out);
        write_cell(p, k);
        fprintf(p->out, " %s", name);
        at += 3 + (uint32_t)strlen(name);
    }
    fputc('\n', p->out);
}

void atlas_trace_text_write(const struct atlas_trace *t, const struct atlas_text_options *o, FILE *out)
{
    struct page p = {.t = t, .o = o, .out = out, .columns = o->columns, .label = 4};
    if (p.columns < LEAST_COLUMNS) p.columns = LEAST_COLUMNS;
    if (p.columns > MOST_COLUMNS) p.columns = MOST_COLUMNS;
    for (uint32_t i = 0; i < t->peer_count; i++) {
        char label[ATLAS_LABEL_MAX + 1];
        const uint32_t size = (uint32_t)atlas_label(label, t->peers[i].name, LABEL_MOST);
        if (size > p.label) p.label = size;
    }
    p.bar = p.columns - p.label - 1;
    write_head(&p);
    write_axis(&p);
    write_bars(&p);
    write_legend(&p);
    write_numbers(&p);
}
