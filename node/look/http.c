#include "node/look/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "node/daemon.h"
#include "node/look/http_library.h"
#include "node/look/http_page.h"
#include "node/look/http_views.h"
#include "node/look/metrics.h"

enum { BACKLOG = 512, IDLE_S = 10, BLOCK = 32 << 10, IDLE_WAIT_MS = 60000 };

struct request {
    struct request *next;  // of those that wait
    struct MHD_Connection *connection;
    enum http_view_kind kind;
    uint64_t answers;  // of its view when it began to wait
    bool waiting;
};

struct stream {
    struct stream *next;
    struct http *http;
    struct MHD_Connection *connection;
    uint64_t seen[VIEWS], seen_events;  // versions sent
    struct http_text *sending;
    size_t sent;
    bool suspended;
};

struct http {
    struct node *node;
    struct http_library library;
    struct MHD_Daemon *daemon;
    int epoll;
    uint16_t port;
    bool closing;
    struct http_views views;
    struct event_sink log;  // where events went before
    struct request *waiting;
    struct stream *streams;
    uint32_t stream_count;
};

static const char closed_policy[] = "default-src 'none'; frame-ancestors 'none'";
static const char type_json[] = "application/json; charset=utf-8", type_text[] = "text/plain; charset=utf-8";

// ---- answering ----

static int respond(struct http *h, struct MHD_Connection *c, unsigned status, const char *type, const char *policy,
                   struct MHD_Response *response)
{
    if (!response) return MHD_NO;
    const struct http_library *l = &h->library;
    l->add_response_header(response, "Content-Type", type);
    l->add_response_header(response, "Content-Security-Policy", policy);
    l->add_response_header(response, "X-Content-Type-Options", "nosniff");
    l->add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    l->add_response_header(response, "Referrer-Policy", "no-referrer");
    l->add_response_header(response, "Cache-Control", "no-store");
    if (status == 405) l->add_response_header(response, "Allow", "GET, HEAD");
    if (status >= 400) l->add_response_header(response, "Connection", "close");
    if (status == 503) l->add_response_header(response, "Retry-After", "10");
    const int queued = l->queue_response(c, status, response);
    l->destroy_response(response);
    return queued;
}

static int respond_text(struct http *h, struct MHD_Connection *c, unsigned status, const char *type, const char *text,
                        size_t size)
{
    return respond(h, c, status, type, closed_policy,
                   h->library.create_response_from_buffer(size, (void *)text, MHD_RESPMEM_MUST_COPY));
}

static int refuse(struct http *h, struct MHD_Connection *c, unsigned status, const char *why)
{
    char text[256];
    snprintf(text, sizeof text, "%s\n", why);
    return respond_text(h, c, status, type_text, text, strlen(text));
}

static ssize_t read_text(void *context, uint64_t at, char *out, size_t max)
{
    const struct http_text *t = context;
    const size_t left = t->json_size - (size_t)at, size = left < max ? left : max;
    memcpy(out, t->data + t->json + at, size);
    return (ssize_t)size;
}

static void drop_text(void *context)
{
    http_text_drop(context);
}

static int respond_view(struct http *h, struct MHD_Connection *c, const struct http_view *view)
{
    struct http_text *text = http_text_keep(view->text);
    struct MHD_Response *response =
        h->library.create_response_from_callback(text->json_size, BLOCK, read_text, text, drop_text);
    if (!response) http_text_drop(text);
    return respond(h, c,
                   !view->failed                       ? 200
                   : view->of->view + VIEW_RUN == view ? 404
                                                       : 503,
                   type_json, closed_policy, response);
}

// Who fetches the page opens its stream as soon as it is read: what that will tell is begun now.
static int respond_page(struct http *h, struct MHD_Connection *c)
{
    views_tick(&h->views, true);
    const bool packed = http_gzip_allowed(h->library.lookup_connection_value(c, MHD_HEADER_KIND, "Accept-Encoding"));
    struct MHD_Response *response = h->library.create_response_from_buffer(
        packed ? page_gzip_size : page_html_size, (void *)(packed ? page_gzip : page_html), MHD_RESPMEM_PERSISTENT);
    if (response && packed) h->library.add_response_header(response, "Content-Encoding", "gzip");
    if (response) h->library.add_response_header(response, "Vary", "Accept-Encoding");
    return respond(h, c, 200, "text/html; charset=utf-8", page_policy, response);
}

static int respond_metrics(struct http *h, struct MHD_Connection *c)
{
    struct metrics m = {0};
    const struct http_view *status = views_get(&h->views, VIEW_STATUS, "");
    metrics_of_node(&m, h->node, status ? h->views.problems : 0);
    const int queued =
        m.failed ? MHD_NO : respond_text(h, c, 200, "text/plain; version=0.0.4; charset=utf-8", m.text, m.size);
    free(m.text);
    return queued;
}

// Ready: it is a member that others see, and can vote.
static int respond_ready(struct http *h, struct MHD_Connection *c)
{
    const struct node *n = h->node;
    const struct gossip *g = peer_gossip(n->peer);
    uint32_t others = 0, alive = 0;
    for (uint32_t i = 0; i < gossip_member_count(g); i++) {
        struct gossip_member m;
        gossip_member_at(g, i, &m);
        others += !m.self && m.state != GOSSIP_LEFT;
        alive += !m.self && m.state == GOSSIP_ALIVE;
    }
    if (n->state != NODE_UP) return refuse(h, c, 503, "leaving");
    if (n->disk_full) return refuse(h, c, 503, "the disk refuses writes");
    if (!alive && (others || !id_is_zero(&n->sponsor))) return refuse(h, c, 503, "no other member answers");
    return respond_text(h, c, 200, type_text, "ready\n", 6);
}

// ---- streams ----

static struct http_text *next_text(struct stream *s)
{
    struct http_views *v = &s->http->views;
    for (int k = 0; k < VIEW_RUN; k++) {
        const struct http_view *view = &v->view[k];
        if (!view->text || view->failed || s->seen[k] == view->version) continue;
        s->seen[k] = view->version;
        return http_text_keep(view->text);
    }
    if (s->seen_events + VIEW_EVENTS < v->event_count) s->seen_events = v->event_count - VIEW_EVENTS;
    return s->seen_events < v->event_count ? http_text_keep(v->events[s->seen_events++ % VIEW_EVENTS]) : NULL;
}

static ssize_t read_stream(void *context, uint64_t at, char *out, size_t max)
{
    (void)at;
    struct stream *s = context;
    if (s->http->closing) return -1;  // the end
    if (!s->sending) {
        s->sending = next_text(s);
        s->sent = 0;
    }
    if (!s->sending) {
        s->suspended = true;
        s->http->library.suspend_connection(s->connection);
        return 0;
    }
    const size_t left = s->sending->size - s->sent, size = left < max ? left : max;
    memcpy(out, s->sending->data + s->sent, size);
    s->sent += size;
    if (s->sent == s->sending->size) {
        http_text_drop(s->sending);
        s->sending = NULL;
    }
    return (ssize_t)size;
}

static void stream_free(void *context)
{
    struct stream *s = context;
    for (struct stream **at = &s->http->streams; *at; at = &(*at)->next) {
        if (*at != s) continue;
        *at = s->next;
        break;
    }
    s->http->stream_count--;
    http_text_drop(s->sending);
    free(s);
}

static int respond_stream(struct http *h, struct MHD_Connection *c)
{
    if (h->stream_count >= HTTP_STREAMS) return refuse(h, c, 503, "too many pages are open; close one");
    struct stream *s = calloc(1, sizeof *s);
    if (!s) return MHD_NO;
    *s = (struct stream){.next = h->streams, .http = h, .connection = c};
    struct MHD_Response *response =
        h->library.create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_stream, s, stream_free);
    if (!response) {
        free(s);
        return MHD_NO;
    }
    h->streams = s;
    h->stream_count++;
    return respond(h, c, 200, "text/event-stream; charset=utf-8", closed_policy, response);
}

static bool stream_has_more(const struct stream *s)
{
    const struct http_views *v = &s->http->views;
    for (int k = 0; k < VIEW_RUN; k++)
        if (v->view[k].text && !v->view[k].failed && s->seen[k] != v->view[k].version) return true;
    return s->seen_events < v->event_count;
}

// ---- requests ----

static int respond_kept(struct http *h, struct request *r, enum http_view_kind kind, const char *run)
{
    const struct http_view *view = views_get(&h->views, kind, run);
    if (view) return respond_view(h, r->connection, view);
    if (!h->views.view[kind].making) return refuse(h, r->connection, 503, "no memory");
    r->kind = kind;
    r->answers = h->views.view[kind].answers;
    r->waiting = true;
    r->next = h->waiting;
    h->waiting = r;
    h->library.suspend_connection(r->connection);
    return MHD_YES;
}

static int serve(struct http *h, struct request *r, const char *url, const char *method)
{
    struct MHD_Connection *c = r->connection;
    char run[HTTP_RUN_SIZE] = "";
    if (!http_host_allowed(h->library.lookup_connection_value(c, MHD_HEADER_KIND, "Host"), h->port))
        return refuse(h, c, 403, "this page is for this machine only: use http://127.0.0.1, with the port");
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return refuse(h, c, 405, "for reading only: GET or HEAD");
    switch (http_target_of(url, run)) {
    case HTTP_PAGE: return respond_page(h, c);
    case HTTP_STATUS: return respond_kept(h, r, VIEW_STATUS, run);
    case HTTP_PEERS: return respond_kept(h, r, VIEW_PEERS, run);
    case HTTP_MAP: return respond_kept(h, r, VIEW_MAP, run);
    case HTTP_RUNS: return respond_kept(h, r, VIEW_RUNS, run);
    case HTTP_RUN: return respond_kept(h, r, VIEW_RUN, run);
    case HTTP_EVENTS: return respond_stream(h, c);
    case HTTP_HEALTHZ: return respond_text(h, c, 200, type_text, "ok\n", 3);
    case HTTP_READYZ: return respond_ready(h, c);
    case HTTP_METRICS: return respond_metrics(h, c);
    case HTTP_NOTHING: break;
    }
    return refuse(h, c, 404, "there is nothing here: try /, /metrics or /api/v1/status");
}

// Called with the headers, then for each piece of a body, then once more; again when a suspended one is resumed.
static int access_request(void *context, struct MHD_Connection *c, const char *url, const char *method,
                          const char *version, const char *upload, size_t *upload_size, void **kept)
{
    (void)version, (void)upload;
    struct http *h = context;
    struct request *r = *kept;
    if (!r) {
        r = calloc(1, sizeof *r);
        if (!r) return MHD_NO;
        r->connection = c;
        *kept = r;
        const bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
        return reads ? MHD_YES : serve(h, r, url, method);  // a body that nobody wants is not waited for
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    return h->closing ? MHD_NO : serve(h, r, url, method);
}

static void forget_waiting(struct http *h, struct request *r)
{
    for (struct request **at = &h->waiting; r->waiting && *at; at = &(*at)->next) {
        if (*at != r) continue;
        *at = r->next;
        break;
    }
    r->waiting = false;
}

static void completed(void *context, struct MHD_Connection *c, void **kept, int how)
{
    (void)c, (void)how;
    struct request *r = *kept;
    if (!r) return;
    forget_waiting(context, r);
    free(r);
    *kept = NULL;
}

// Those whose view is there, and streams that have something new. True if there were any.
static bool resume(struct http *h)
{
    bool any = false;
    for (struct request *r = h->waiting, *next; r; r = next) {
        next = r->next;
        if (!h->closing && h->views.view[r->kind].answers == r->answers) continue;
        forget_waiting(h, r);
        h->library.resume_connection(r->connection);
        any = true;
    }
    for (struct stream *s = h->streams; s; s = s->next) {
        if (!s->suspended || !(h->closing || stream_has_more(s))) continue;
        s->suspended = false;
        h->library.resume_connection(s->connection);
        any = true;
    }
    return any;
}

// ---- for the loop ----

static void take_event(void *context, const struct event *event)
{
    struct http *h = context;
    if (h->log.emit) h->log.emit(h->log.context, event);
    if (events_log_told(event->name)) views_event(&h->views, event);
}

static int listen_on(uint16_t *port, enum core_err *err)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) &&
        !bind(fd, (struct sockaddr *)&address, sizeof address) && !listen(fd, BACKLOG) &&
        !getsockname(fd, (struct sockaddr *)&address, &size)) {
        *port = ntohs(address.sin_port);
        return fd;
    }
    *err = errno == EADDRINUSE ? CORE_ERR_IN_USE : errno == EACCES ? CORE_ERR_REFUSED : core_error_from_errno(errno);
    if (fd >= 0) close(fd);
    return -1;
}

static enum core_err start(struct http *h, struct node_failure *why)
{
    enum core_err err = http_library_open(&h->library);
    if (err) {
        node_failure_set(why, "install it (Debian: libmicrohttpd12), or leave --http out",
                         "the page needs libmicrohttpd, which %s",
                         err == CORE_ERR_NOT_FOUND ? "is not installed" : "is of another version here");
        return err;
    }
    const uint16_t wanted = h->port;
    int fd = listen_on(&h->port, &err);
    if (fd < 0) {
        node_failure_set(why, "stop what listens there, or give another --http PORT", "port %u of 127.0.0.1: %s",
                         wanted, core_error_text(err));
        return err;
    }
    h->daemon = h->library.start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, access_request, h,
                                        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                                        (unsigned)HTTP_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
                                        MHD_OPTION_NOTIFY_COMPLETED, completed, h, MHD_OPTION_END);
    const int *info = h->daemon ? h->library.get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!h->daemon) close(fd);
    if (info) {
        h->epoll = *info;
        return CORE_ERR_OK;
    }
    node_failure_set(why, "free some memory and descriptors, or leave --http out", "the page's server does not start");
    return CORE_ERR_FAILED;
}

enum core_err http_open(struct http **out, struct node *n, uint16_t port, struct node_failure *why)
{
    struct http *h = calloc(1, sizeof *h);
    if (!h) return CORE_ERR_NO_MEMORY;
    *out = h;
    h->node = n;
    h->port = port;
    h->epoll = -1;
    h->log = n->events;
    views_open(&h->views, n);
    enum core_err err = start(h, why);
    if (err) return err;
    n->events = (struct event_sink){.emit = take_event, .context = h};
    event_emit(&n->events, "node.http", EV_U64("port", h->port));
    return CORE_ERR_OK;
}

void http_close(struct http *h)
{
    if (!h) return;
    h->closing = true;
    if (h->daemon) {
        resume(h);
        h->library.stop_daemon(h->daemon);
    }
    h->node->events = h->log;
    views_close(&h->views);
    http_library_close(&h->library);
    free(h);
}

uint16_t http_port(const struct http *h)
{
    return h ? h->port : 0;
}

uint32_t http_streams(const struct http *h)
{
    return h ? h->stream_count : 0;
}

size_t http_pollitems(const struct http *h, struct zmq_pollitem_t *items)
{
    if (!h) return 0;
    items[0] = (zmq_pollitem_t){.fd = h->epoll, .events = ZMQ_POLLIN};
    return 1;
}

void http_process(struct http *h, bool readable)
{
    if (!h) return;
    unsigned long long timeout_ms;
    views_tick(&h->views, h->stream_count > 0);
    const bool resumed = resume(h);
    const bool late = h->library.get_timeout(h->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0;
    if (readable || resumed || late) h->library.run(h->daemon);
}

uint64_t http_wait_ms(const struct http *h)
{
    if (!h) return IDLE_WAIT_MS;
    unsigned long long timeout_ms;
    const uint64_t views = views_wait_ms(&h->views, h->stream_count > 0);
    if (h->library.get_timeout(h->daemon, &timeout_ms) == MHD_NO || timeout_ms > views) return views;
    return timeout_ms;
}
