#include "node/control/control_server.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "core/bytes.h"
#include "core/check.h"

enum { READ_AT_ONCE = 256 << 10, READS_A_CALL = 16, REQUEST_MS = 10000, LAST_WORD_MS = 30000 };

enum core_err control_server_open(struct control_server *server, const char *home,
                                  void (*handle)(void *, struct session *, const char *), void *context)
{
    *server = (struct control_server){.listener = -1, .handle = handle, .context = context};
    for (int i = 0; i < CONTROL_SESSIONS_MAX; i++) server->sessions[i].fd = -1;
    enum core_err err = control_path(server->path, home);
    if (err) return err;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, server->path, sizeof server->path);
    server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->listener < 0) return core_error_from_errno(errno);
    unlink(server->path);
    mode_t old = umask(0177);
    bool failed = bind(server->listener, (struct sockaddr *)&address, sizeof address) || listen(server->listener, 16);
    int number = errno;
    umask(old);
    if (!failed) return CORE_ERR_OK;
    close(server->listener);
    server->listener = -1;
    return core_error_from_errno(number);
}

static void release(struct session *s)
{
    if (s->hooks.closed) s->hooks.closed(s);
    if (s->request) json_decref(s->request);
    free(s->input);
    free(s->output);
    *s = (struct session){.fd = -1, .server = s->server};
}

static void session_close(struct session *s)
{
    if (s->fd < 0) return;
    close(s->fd);
    s->fd = -1;
    release(s);
}

void control_server_close(struct control_server *server)
{
    for (int i = 0; i < CONTROL_SESSIONS_MAX; i++) session_close(&server->sessions[i]);
    if (server->listener < 0) return;
    close(server->listener);
    unlink(server->path);
    server->listener = -1;
}

size_t control_server_pollitems(struct control_server *server, struct zmq_pollitem_t *items, size_t capacity)
{
    size_t count = 0;
    if (server->listener >= 0 && count < capacity)
        items[count++] = (zmq_pollitem_t){.fd = server->listener, .events = ZMQ_POLLIN};
    for (int i = 0; i < CONTROL_SESSIONS_MAX && count < capacity; i++) {
        const struct session *s = &server->sessions[i];
        if (s->fd < 0) continue;
        int reads = s->phase == SESSION_ENDING ? 0 : ZMQ_POLLIN, writes = s->output_used ? ZMQ_POLLOUT : 0;
        items[count++] = (zmq_pollitem_t){.fd = s->fd, .events = (short)(reads | writes)};
    }
    return count;
}

bool control_server_serving(const struct control_server *server)
{
    for (int i = 0; i < CONTROL_SESSIONS_MAX; i++)
        if (server->sessions[i].fd >= 0) return true;
    return false;
}

bool control_server_busy(const struct control_server *server)
{
    for (int i = 0; i < CONTROL_SESSIONS_MAX; i++)
        if (server->sessions[i].fd >= 0 && server->sessions[i].hooks.tick) return true;
    return false;
}

struct session *control_session_find(struct control_server *server, uint64_t serial)
{
    for (int i = 0; i < CONTROL_SESSIONS_MAX; i++)
        if (server->sessions[i].fd >= 0 && server->sessions[i].serial == serial) return &server->sessions[i];
    return NULL;
}

static void accept_client(struct control_server *server)
{
    int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    struct ucred peer;
    socklen_t size = sizeof peer;
    bool ours = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == getuid() || peer.uid == 0);
    for (int i = 0; ours && i < CONTROL_SESSIONS_MAX; i++) {
        struct session *s = &server->sessions[i];
        if (s->fd >= 0) continue;
        *s = (struct session){.server = server,
                              .fd = fd,
                              .serial = ++server->serial,
                              .started_ms = server->now_ms,
                              .told_ms = server->now_ms};
        return;
    }
    close(fd);
}

static void flush(struct session *s)
{
    size_t sent = 0;
    while (sent < s->output_used) {
        ssize_t n = send(s->fd, s->output + sent, s->output_used - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) {
            s->phase = SESSION_ENDING;
            s->output_used = sent = 0;
            break;
        }
        sent += (size_t)n;
    }
    memmove(s->output, s->output + sent, s->output_used - sent);
    s->output_used -= sent;
}

static void send_text(struct session *s, const char *text, size_t size)
{
    if (s->output_used + size > s->output_capacity) {
        size_t capacity = 2 * (s->output_used + size);
        const bool fits = s->output_used + size <= CONTROL_OUTPUT_LIMIT;
        if (capacity > CONTROL_OUTPUT_LIMIT) capacity = CONTROL_OUTPUT_LIMIT;
        char *grown = fits ? realloc(s->output, capacity) : NULL;
        if (!grown) {  // a client that doesn't read
            s->phase = SESSION_ENDING;
            s->output_used = 0;
            return;
        }
        s->output = grown;
        s->output_capacity = capacity;
    }
    memcpy(s->output + s->output_used, text, size);
    s->output_used += size;
    s->told_ms = s->server->now_ms;
}

void session_send(struct session *s, json_t *object)
{
    json_t *line = json_pack("{s:i}", "schema", 1);
    if (line && object) json_object_update(line, object);
    json_decref(object);
    if (s->answered) {
        if (line) s->answered(s->context, line);
        json_decref(line);
        return;
    }
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    if (!text || s->fd < 0) {
        free(text);
        return;
    }
    size_t size = strlen(text);
    text[size++] = '\n';
    send_text(s, text, size);
    free(text);
    flush(s);
}

void session_end(struct session *s, int exit_status, json_t *object)
{
    json_t *line = object ? object : json_object();
    json_object_set_new(line, "exit", json_integer(exit_status));
    session_send(s, line);
    s->phase = SESSION_ENDING;
}

void session_end_text(struct session *s, int exit_status, const char *json)
{
    const size_t size = strlen(json);
    char end[32];
    check(size > 2 && json[size - 1] == '}');
    if (s->answered) {
        s->answered_text(s->context, exit_status, json);
    } else if (s->fd >= 0) {
        send_text(s, json, size - 1);
        send_text(s, end, (size_t)snprintf(end, sizeof end, ",\"exit\":%d}\n", exit_status));
        flush(s);
    }
    s->phase = SESSION_ENDING;
}

void session_fail(struct session *s, enum core_err err, const char *remedy, const char *message, ...)
{
    char text[1024];
    va_list args;
    va_start(args, message);
    vsnprintf(text, sizeof text, message, args);
    va_end(args);
    session_end(
        s, core_error_exit(err),
        json_pack("{s:s, s:s, s:s}", "error", core_error_name(err), "message", text, "remedy", remedy ? remedy : ""));
}

void session_wait(struct session *s, const char *peer, const char *cause, const char *remedy)
{
    session_send(s, json_pack("{s:{s:s, s:s, s:s}}", "waiting", "peer", peer ? peer : "", "cause", cause, "remedy",
                              remedy ? remedy : ""));
}

const char *session_text(const struct session *s, const char *key)
{
    return json_string_value(json_object_get(s->request, key));
}

double session_number(const struct session *s, const char *key, double fallback)
{
    const json_t *value = json_object_get(s->request, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

bool session_flag(const struct session *s, const char *key)
{
    return json_is_true(json_object_get(s->request, key));
}

void session_expect_stream(struct session *s, uint32_t parts)
{
    check(s->hooks.stream && parts > 0);
    s->parts = parts;
    s->phase = SESSION_STREAMING;
}

static void take_request(struct session *s, const char *line, size_t size)
{
    json_error_t error;
    s->phase = SESSION_ANSWERING;
    s->request = json_loadb(line, size, 0, &error);
    const char *verb = session_text(s, "verb");
    if (!verb)
        session_fail(s, CORE_ERR_USAGE, "update the command line", "the request is no JSON object with a verb");
    else
        s->server->handle(s->server->context, s, verb);
}

void session_local(struct session *s, struct control_server *server, json_t *request,
                   void (*answered)(void *context, const json_t *line),
                   void (*answered_text)(void *context, int exit_status, const char *json), void *context)
{
    *s = (struct session){.server = server,
                          .fd = -1,
                          .phase = SESSION_ANSWERING,
                          .request = request,
                          .started_ms = server->now_ms,
                          .told_ms = server->now_ms,
                          .answered = answered,
                          .answered_text = answered_text,
                          .context = context};
    const char *verb = session_text(s, "verb");
    check(verb);
    server->handle(server->context, s, verb);
}

void session_local_tick(struct session *s, uint64_t now_ms)
{
    if (s->phase == SESSION_ANSWERING && s->hooks.tick) s->hooks.tick(s, now_ms);
}

void session_local_close(struct session *s)
{
    release(s);
}

// Takes what it can from `data`; returns the bytes used. Bytes that wait for more stay.
static size_t take_stream(struct session *s, const uint8_t *data, size_t size)
{
    size_t used = 0;
    while (s->phase == SESSION_STREAMING) {
        if (!s->in_chunk) {
            if (size - used < 4) break;
            struct reader r = reader_over(data + used, 4);
            s->chunk_left = read_u32(&r);
            used += 4;
            if (s->chunk_left > CONTROL_CHUNK_LIMIT) {
                session_fail(s, CORE_ERR_TOO_LARGE, "update the command line", "a chunk of the stream is too large");
                break;
            }
            s->in_chunk = s->chunk_left > 0;
            if (s->in_chunk) continue;
            bool last = s->part + 1 == s->parts;
            if (last) s->phase = SESSION_ANSWERING;
            if (!s->hooks.stream(s, s->part++, NULL, 0)) break;
            continue;
        }
        size_t now = size - used < s->chunk_left ? size - used : s->chunk_left;
        if (now == 0) break;
        if (!s->hooks.stream(s, s->part, data + used, now)) return used + now;
        used += now;
        s->chunk_left -= (uint32_t)now;
        s->in_chunk = s->chunk_left > 0;
    }
    return used;
}

static void take_input(struct session *s)
{
    size_t used = 0;
    if (s->phase == SESSION_READING) {
        const uint8_t *end = memchr(s->input, '\n', s->input_used);
        if (!end && s->input_used > CONTROL_REQUEST_LIMIT) {
            s->phase = SESSION_ANSWERING;
            session_fail(s, CORE_ERR_TOO_LARGE, "", "the request is longer than %d bytes", CONTROL_REQUEST_LIMIT);
        }
        if (!end) return;
        used = (size_t)(end - s->input) + 1;
        take_request(s, (const char *)s->input, used - 1);
    }
    if (s->phase == SESSION_STREAMING)
        used += take_stream(s, s->input + used, s->input_used - used);
    else
        used = s->input_used;  // nothing more is expected
    memmove(s->input, s->input + used, s->input_used - used);
    s->input_used -= used;
}

static void receive(struct session *s)
{
    for (int i = 0; i < READS_A_CALL && s->fd >= 0 && s->phase != SESSION_ENDING; i++) {
        if (s->input_capacity - s->input_used < READ_AT_ONCE / 2) {
            size_t capacity = s->input_used + READ_AT_ONCE;
            uint8_t *grown = realloc(s->input, capacity);
            if (!grown) return;
            s->input = grown;
            s->input_capacity = capacity;
        }
        ssize_t n = recv(s->fd, s->input + s->input_used, s->input_capacity - s->input_used, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) {
            session_close(s);
            return;
        }
        s->input_used += (size_t)n;
        take_input(s);
    }
}

// A client that has not said what it wants, or doesn't take its last answer, must not keep its place for ever.
static bool stuck(const struct session *s, uint64_t now_ms)
{
    if (s->phase == SESSION_READING) return now_ms >= s->started_ms + REQUEST_MS;
    return s->phase == SESSION_ENDING && now_ms >= s->told_ms + LAST_WORD_MS;
}

void control_server_process(struct control_server *server, uint64_t now_ms)
{
    server->now_ms = now_ms;
    if (server->listener >= 0) accept_client(server);
    for (int i = 0; i < CONTROL_SESSIONS_MAX; i++) {
        struct session *s = &server->sessions[i];
        if (s->fd < 0) continue;
        if (s->phase != SESSION_ENDING) receive(s);
        if (s->fd >= 0 && s->output_used) flush(s);
        if (s->fd >= 0 && ((s->phase == SESSION_ENDING && !s->output_used) || stuck(s, now_ms))) session_close(s);
    }
}

void control_server_tick(struct control_server *server, uint64_t now_ms)
{
    server->now_ms = now_ms;
    for (int i = 0; i < CONTROL_SESSIONS_MAX; i++) {
        struct session *s = &server->sessions[i];
        if (s->fd >= 0 && s->phase == SESSION_ANSWERING && s->hooks.tick) s->hooks.tick(s, now_ms);
    }
}

void control_server_drain(struct control_server *server, int timeout_ms)
{
    for (int i = 0; i < CONTROL_SESSIONS_MAX; i++) {
        struct session *s = &server->sessions[i];
        while (s->fd >= 0 && s->output_used) {
            struct pollfd p = {.fd = s->fd, .events = POLLOUT};
            if (poll(&p, 1, timeout_ms) <= 0) break;
            flush(s);
        }
        session_close(s);
    }
}
