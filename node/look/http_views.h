// What the page's server gives out: the answers of the control socket's verbs, kept as text for all who look, and the
// latest events. Loop's thread.
//
//   view   nothing --views_get, or somebody watches--> making (a session of the daemon's own) --its answer--> kept
//          kept --as old as allowed, and wanted again--> making
//
// A view that took t to make is made again VIEW_REST times t later at the earliest, so that being watched costs a
// hundredth of a processor at most, however large the mesh. Texts are counted: a slow reader keeps the one that it is
// reading, and skips those that came in between.
#ifndef NODE_LOOK_HTTP_VIEWS_H
#define NODE_LOOK_HTTP_VIEWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/event.h"
#include "node/control/control_server.h"
#include "node/look/http_guard.h"

enum http_view_kind { VIEW_STATUS, VIEW_PEERS, VIEW_MAP, VIEW_RUNS, VIEW_RUN, VIEWS };
enum { VIEW_REST = 500, VIEW_EVENTS = 64 };

// An event of the stream: "event: NAME\ndata: JSON\n\n", where the JSON lies between `json` and `json + json_size`.
struct http_text {
    uint32_t references;
    size_t size, json, json_size;
    char data[];
};

struct http_view {
    struct http_views *of;
    struct http_text *text;  // newest; NULL: none yet
    uint64_t version;        // counts the texts that differ from the one before
    uint64_t answers;        // counts the answers, failures too
    int exit;                // of the verb: 0, or an error's and `text` says which (`status`: 1 when unhealthy)
    bool failed;             // the text is an error's
    uint64_t made_ms, due_ms;
    bool making, early;  // early: it does not wait for all
    struct session session;
};

struct http_views {
    struct node *node;
    struct http_view view[VIEWS];
    char run[HTTP_RUN_SIZE];                // whose VIEW_RUN is
    size_t problems;                        // in the newest status
    struct http_text *events[VIEW_EVENTS];  // a ring; the newest is number event_count - 1
    uint64_t event_count;
};

void views_open(struct http_views *v, struct node *n);
void views_close(struct http_views *v);
// The view as it is now, made anew where it is over a second old; NULL while it is being made (`answers` counts up when
// it is there) or without memory. `run` for VIEW_RUN.
const struct http_view *views_get(struct http_views *v, enum http_view_kind kind, const char *run);
// Goes on with what is being made, and, for who watches, makes what is due. True if something is new.
bool views_tick(struct http_views *v, bool watched);
// Milliseconds until views_tick has something to do.
uint64_t views_wait_ms(const struct http_views *v, bool watched);
void views_event(struct http_views *v, const struct event *event);

struct http_text *http_text_make(const char *name, const char *json, size_t size);
struct http_text *http_text_keep(struct http_text *text);
void http_text_drop(struct http_text *text);  // may be NULL

#endif
