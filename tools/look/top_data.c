// What `top` knows, and what it saw change.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/client.h"
#include "tools/look/top.h"

enum { ASK_PATIENCE_MS = 2000 };

__attribute__((format(printf, 2, 3))) static void event(struct top_data *d, const char *format, ...)
{
    struct top_event *e = &d->events[d->event_count++ % TOP_EVENTS_MAX];
    e->at_s = (uint64_t)time(NULL);
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
}

// The object of `list` whose `key` is `value`; NULL without one.
static const json_t *find(const json_t *list, const char *key, const char *value)
{
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)list, i, item) if (strcmp(field_text(item, key, ""), value) == 0) return item;
    return NULL;
}

static void compare_peers(struct top_data *d, const json_t *before, const json_t *after)
{
    size_t i;
    json_t *peer;
    json_array_foreach((json_t *)after, i, peer)
    {
        const json_t *old = find(before, "id", field_text(peer, "id", ""));
        const char *name = field_text(peer, "name", "?"), *state = field_text(peer, "state", "?");
        if (!old)
            event(d, "%s is known: %s", name, state);
        else if (strcmp(field_text(old, "state", "?"), state) != 0)
            event(d, "%s is %s, was %s", name, state, field_text(old, "state", "?"));
    }
}

static void compare_runs(struct top_data *d, const json_t *before, const json_t *after)
{
    size_t i;
    json_t *run;
    json_array_foreach((json_t *)after, i, run)
    {
        const char *id = field_text(run, "id", ""), *state = field_text(run, "state", "?");
        const json_t *old = find(before, "id", id);
        char loss[TEXT_SIZE];
        if (!old)
            event(d, "run %.8s is known: %s", id, state);
        else if (strcmp(field_text(old, "state", "?"), state) != 0)
            event(d, "run %.8s is %s, was %s", id, state, field_text(old, "state", "?"));
        if (old && field_number(run, "round", 0) > field_number(old, "round", 0))
            event(d, "run %.8s closed round %.0f with %.0f peers, loss %s", id, field_number(run, "round", 0),
                  field_number(run, "peers", 0), text_loss(loss, field_number(run, "loss", -1)));
    }
}

static void compare_problems(struct top_data *d, const json_t *before, const json_t *after)
{
    size_t i;
    json_t *problem;
    json_array_foreach((json_t *)after, i, problem)
    {
        const char *peer = field_text(problem, "peer", ""), *cause = field_text(problem, "cause", "");
        if (!find(before, "peer", peer)) event(d, "problem: %s%s%s", peer, peer[0] ? ": " : "", cause);
    }
    json_array_foreach((json_t *)before, i, problem)
    {
        const char *peer = field_text(problem, "peer", "");
        if (!find(after, "peer", peer)) event(d, "no longer: %s", peer[0] ? peer : field_text(problem, "cause", ""));
    }
}

static void measure(struct top_data *d, const json_t *list, uint64_t now_ms)
{
    const double seconds = d->rates_ms ? (double)(now_ms - d->rates_ms) / 1000 : 0;
    const size_t count = json_array_size(list);
    if (d->rates_ms && seconds < 0.2) return;
    struct top_rate *rates = calloc(count + 1, sizeof *rates);
    if (!rates) return;
    uint32_t n = 0;
    for (size_t i = 0; i < count && n < TOP_RATES_MAX; i++) {
        const json_t *peer = json_array_get(list, i);
        struct top_rate *r = &rates[n++];
        snprintf(r->id, sizeof r->id, "%s", field_text(peer, "id", ""));
        r->tx = field_number(peer, "tx_bytes", 0);
        r->rx = field_number(peer, "rx_bytes", 0);
        const struct top_rate *old = top_data_rate(d, r->id);
        // A link that began anew counts from 0.
        if (!old || seconds <= 0 || r->tx < old->tx || r->rx < old->rx) continue;
        r->tx_s = (r->tx - old->tx) / seconds;
        r->rx_s = (r->rx - old->rx) / seconds;
    }
    free(d->rates);
    d->rates = rates;
    d->rate_count = n;
    d->rates_ms = now_ms;
}

const struct top_rate *top_data_rate(const struct top_data *d, const char *id)
{
    for (uint32_t i = 0; i < d->rate_count; i++)
        if (strcmp(d->rates[i].id, id) == 0) return &d->rates[i];
    return NULL;
}

static void replace(json_t **place, json_t *value)
{
    if (!value) return;
    json_decref(*place);
    *place = value;
}

void top_data_take(struct top_data *d, const struct top_answers *a, uint64_t now_ms)
{
    struct top_answers *last = &d->last;
    if (last->peers && a->peers)
        compare_peers(d, json_object_get(last->peers, "peers"), json_object_get(a->peers, "peers"));
    if (last->runs && a->runs) compare_runs(d, json_object_get(last->runs, "runs"), json_object_get(a->runs, "runs"));
    if (last->status && a->status)
        compare_problems(d, json_object_get(last->status, "problems"), json_object_get(a->status, "problems"));
    if (a->peers) measure(d, json_object_get(a->peers, "peers"), now_ms);
    if (a->status && !d->answered_ms) event(d, "looking at %s", field_text(a->status, "name", "?"));
    if (a->status) d->answered_ms = now_ms;
    replace(&last->status, a->status);
    replace(&last->peers, a->peers);
    replace(&last->runs, a->runs);
    replace(&last->shown, a->shown);
}

// The newest run that goes on, else the newest.
static void pick_run(char out[65], const json_t *runs)
{
    const json_t *list = json_object_get(runs, "runs");
    out[0] = 0;
    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *run = json_array_get(list, i);
        const bool goes_on = strcmp(field_text(run, "state", ""), "running") == 0;
        if (!out[0] || goes_on) snprintf(out, 65, "%s", field_text(run, "id", ""));
        if (goes_on) return;
    }
}

void top_ask(const char *home, struct top_answers *out)
{
    char run[65] = "";
    *out = (struct top_answers){0};
    out->status = client_ask_quietly(home, "status", NULL, ASK_PATIENCE_MS);
    if (out->status) out->peers = client_ask_quietly(home, "peers", NULL, ASK_PATIENCE_MS);
    if (out->peers) out->runs = client_ask_quietly(home, "runs", NULL, ASK_PATIENCE_MS);
    if (out->runs) pick_run(run, out->runs);
    if (run[0]) out->shown = client_ask_quietly(home, "runs_show", json_pack("{s:s}", "run", run), ASK_PATIENCE_MS);
}

void top_data_close(struct top_data *d)
{
    json_decref(d->last.status);
    json_decref(d->last.peers);
    json_decref(d->last.runs);
    json_decref(d->last.shown);
    free(d->rates);
}
