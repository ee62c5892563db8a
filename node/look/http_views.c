#include "node/look/http_views.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/daemon.h"

enum { FRESH_MS = 1000, TICK_MS = 100, EARLY_TICK_MS = 10, MAP_PEER_MS = 200, FIRST_MAP_MS = 50, WHOLE_MAP_MS = 500 };

// The least time between two answers of one kind while somebody watches.
static const struct {
    const char *name, *verb;
    uint64_t every_ms;  // 0: only when asked for
} kinds[VIEWS] = {
    [VIEW_STATUS] = {"status", "status", 1000}, [VIEW_PEERS] = {"peers", "peers", 2000},
    [VIEW_MAP] = {"map", "map", 5000},          [VIEW_RUNS] = {"runs", "runs", 1000},
    [VIEW_RUN] = {"run", "runs_show", 0},
};

// ---- texts ----

struct http_text *http_text_make(const char *name, const char *json, size_t size)
{
    const size_t head = strlen("event: \ndata: ") + strlen(name);
    struct http_text *t = malloc(sizeof *t + head + size + 3);
    if (!t) return NULL;
    *t = (struct http_text){.references = 1, .size = head + size + 2, .json = head, .json_size = size};
    snprintf(t->data, head + 1, "event: %s\ndata: ", name);
    memcpy(t->data + head, json, size);
    memcpy(t->data + head + size, "\n\n", 3);
    return t;
}

struct http_text *http_text_keep(struct http_text *text)
{
    text->references++;
    return text;
}

void http_text_drop(struct http_text *text)
{
    if (text && --text->references == 0) free(text);
}

// ---- making ----

static enum http_view_kind kind_of(const struct http_view *view)
{
    return (enum http_view_kind)(view - view->of->view);
}

static void keep(struct http_view *view, int exit_status, bool failed, const char *json)
{
    struct http_text *text = json ? http_text_make(kinds[kind_of(view)].name, json, strlen(json)) : NULL;
    view->making = false;
    view->answers++;
    if (!text) return;
    view->exit = exit_status;
    view->failed = failed;
    const bool same =
        view->text && view->text->size == text->size && memcmp(view->text->data, text->data, text->size) == 0;
    if (!same) view->version++;
    http_text_drop(view->text);
    view->text = text;
}

static void answered(void *context, const json_t *line)
{
    struct http_view *view = context;
    const json_t *status = json_object_get(line, "exit");
    if (!status || !view->making) return;  // a wait, or said twice
    json_t *shown = json_copy((json_t *)line);
    json_object_del(shown, "exit");
    char *json = shown ? json_dumps(shown, JSON_COMPACT | JSON_REAL_PRECISION(10)) : NULL;
    json_decref(shown);
    if (json && kind_of(view) == VIEW_STATUS) view->of->problems = json_array_size(json_object_get(line, "problems"));
    keep(view, (int)json_integer_value(status), json_object_get(line, "error") != NULL, json);
    free(json);
}

static void answered_text(void *context, int exit_status, const char *json)
{
    struct http_view *view = context;
    if (view->making) keep(view, exit_status, false, json);
}

// Who looks at a map makes others answer and, where there is no link, be dialled: the larger the mesh, the seldomer.
static uint64_t every_ms(const struct http_view *view)
{
    const uint64_t least = kinds[kind_of(view)].every_ms;
    if (kind_of(view) != VIEW_MAP) return least;
    const uint64_t all = (uint64_t)gossip_member_count(peer_gossip(view->of->node->peer)) * MAP_PEER_MS;
    return all > least ? all : least;
}

static void set_due(struct http_view *view, uint64_t took_us)
{
    const uint64_t rest = took_us * VIEW_REST / 1000, every = every_ms(view);
    view->made_ms = view->of->node->now_ms;
    view->due_ms = view->made_ms + (rest > every ? rest : every);
}

// `early`: who waits for a first picture gets one soon, with those who have answered, and the whole one after it.
static void begin(struct http_view *view, bool early)
{
    struct node *n = view->of->node;
    const enum http_view_kind kind = kind_of(view);
    json_t *request = json_pack("{s:s}", "verb", kinds[kind].verb);
    if (!request) return;
    early = early && kind == VIEW_MAP && !view->text;
    if (kind == VIEW_MAP) json_object_set_new(request, "layout", json_true());
    if (early) json_object_set_new(request, "patience_ms", json_integer(FIRST_MAP_MS));
    if (kind == VIEW_RUN) json_object_set_new(request, "run", json_string(view->of->run));
    const uint64_t began_us = node_clock_us();
    view->making = true;
    session_local(&view->session, &n->control, request, answered, answered_text, view);
    set_due(view, node_clock_us() - began_us);
    view->early = early;
}

// Its session ends outside of it: the verb may still use it when it has answered.
static void go_on(struct http_view *view)
{
    if (!view->session.request) return;
    const uint64_t began_us = node_clock_us();
    session_local_tick(&view->session, view->of->node->now_ms);
    const bool idle = view->session.phase == SESSION_ANSWERING && !view->session.hooks.tick;  // no memory, and no word
    if (view->session.phase != SESSION_ENDING && !idle) return;
    if (view->making) view->answers++;
    view->making = false;
    session_local_close(&view->session);
    const uint64_t took_us = node_clock_us() - began_us;
    if (kind_of(view) == VIEW_MAP) set_due(view, took_us);
    if (view->early) view->due_ms = view->of->node->now_ms + WHOLE_MAP_MS;
    view->early = false;
}

// ---- for the server ----

void views_open(struct http_views *v, struct node *n)
{
    *v = (struct http_views){.node = n};
    for (int k = 0; k < VIEWS; k++) v->view[k].of = v;
}

void views_close(struct http_views *v)
{
    for (int k = 0; k < VIEWS; k++) {
        if (v->view[k].session.request) session_local_close(&v->view[k].session);
        http_text_drop(v->view[k].text);
    }
    for (int i = 0; i < VIEW_EVENTS; i++) http_text_drop(v->events[i]);
    *v = (struct http_views){0};
}

const struct http_view *views_get(struct http_views *v, enum http_view_kind kind, const char *run)
{
    struct http_view *view = &v->view[kind];
    const bool other = kind == VIEW_RUN && strcmp(run, v->run) != 0;
    if (view->text && !view->making && !other && v->node->now_ms < view->made_ms + FRESH_MS) return view;
    if (other) {
        http_text_drop(view->text);
        view->text = NULL;
        snprintf(v->run, sizeof v->run, "%s", run);
    }
    if (!view->session.request) begin(view, false);
    go_on(view);
    return view->making || !view->text ? NULL : view;
}

bool views_tick(struct http_views *v, bool watched)
{
    uint64_t before = 0, after = 0;
    for (int k = 0; k < VIEWS; k++) {
        struct http_view *view = &v->view[k];
        before += view->answers;
        go_on(view);
        if (watched && kinds[k].every_ms && !view->session.request && v->node->now_ms >= view->due_ms)
            begin(view, true);
        go_on(view);
        after += view->answers;
    }
    return after != before;
}

uint64_t views_wait_ms(const struct http_views *v, bool watched)
{
    const uint64_t now_ms = v->node->now_ms;
    uint64_t wait = FRESH_MS;
    for (int k = 0; k < VIEWS; k++) {
        const struct http_view *view = &v->view[k];
        uint64_t own = wait;
        if (view->session.request)
            own = view->early ? EARLY_TICK_MS : TICK_MS;
        else if (watched && kinds[k].every_ms)
            own = view->due_ms > now_ms ? view->due_ms - now_ms : 0;
        if (own < wait) wait = own;
    }
    return wait;
}

void views_event(struct http_views *v, const struct event *event)
{
    char when[40], line[1024], json[1100];
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &parts);
    const size_t size = event_format_json(line, sizeof line, event);
    if (size < 2 || line[size - 1] != '}') return;  // cut short: no JSON
    const int all = snprintf(json, sizeof json, "{\"time\":\"%s\",%s", when, line + 1);
    struct http_text *text = http_text_make("log", json, (size_t)all);
    if (!text) return;
    struct http_text **place = &v->events[v->event_count % VIEW_EVENTS];
    http_text_drop(*place);
    *place = text;
    v->event_count++;
}
