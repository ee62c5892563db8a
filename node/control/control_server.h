// The daemon's half of the control socket: sessions of clients, each a request line, an optional binary stream, and
// answers, one JSON object a line (node/control/control.h says the protocol). Loop's thread; nothing here blocks:
// answers wait in a bounded buffer, and a client that doesn't read is closed.
//
//   session   READING (the request line) -> STREAMING (binary parts, where the verb asked for them) -> ANSWERING ->
//   closed
//
// A verb is handed the session and either ends it at once or attaches a `struct session_hooks` and goes on later.
#ifndef NODE_CONTROL_CONTROL_SERVER_H
#define NODE_CONTROL_CONTROL_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "node/control/control.h"

enum { CONTROL_SESSIONS_MAX = 32, CONTROL_OUTPUT_LIMIT = 16 << 20 };

struct session;
struct zmq_pollitem_t;

struct session_hooks {
    // Bytes of stream part `part`; `size` 0 ends that part. False: the verb failed the session already.
    bool (*stream)(struct session *s, uint32_t part, const void *data, size_t size);
    void (*tick)(struct session *s, uint64_t now_ms);  // about 10 times a second, while answering
    void (*closed)(struct session *s);                 // the session ends, by either side: free `state`
};

struct session {
    struct control_server *server;
    int fd;           // -1: free
    uint64_t serial;  // to recognise a session whose place was taken by another
    enum { SESSION_READING, SESSION_STREAMING, SESSION_ANSWERING, SESSION_ENDING } phase;
    json_t *request;
    uint32_t parts, part;  // of the stream
    uint32_t chunk_left;
    bool in_chunk;
    uint8_t *input;
    size_t input_used, input_capacity;
    char *output;
    size_t output_used, output_capacity;
    struct session_hooks hooks;
    void *state;                   // the verb's
    uint64_t started_ms, told_ms;  // told_ms: when a line was last sent
    // A session of the daemon's own (session_local): who gets its lines, which stay the session's.
    void (*answered)(void *context, const json_t *line);
    void (*answered_text)(void *context, int exit_status, const char *json);
    void *context;
};

struct control_server {
    int listener;
    char path[CONTROL_PATH_SIZE];
    struct session sessions[CONTROL_SESSIONS_MAX];
    uint64_t serial;
    uint64_t now_ms;
    // A request is complete. It belongs to the session.
    void (*handle)(void *context, struct session *s, const char *verb);
    void *context;
};

// Listens; a socket file that a dead daemon left behind is replaced (the home's lock is held by the caller).
CORE_MUST_USE enum core_err control_server_open(struct control_server *server, const char *home,
                                                void (*handle)(void *, struct session *, const char *), void *context);
void control_server_close(struct control_server *server);

// As links_pollitems: what to wait for, and what to do afterwards.
size_t control_server_pollitems(struct control_server *server, struct zmq_pollitem_t *items, size_t capacity);
void control_server_process(struct control_server *server, uint64_t now_ms);
// Calls the ticks; the loop does so about 10 times a second while control_server_busy.
void control_server_tick(struct control_server *server, uint64_t now_ms);
bool control_server_busy(const struct control_server *server);
bool control_server_serving(
    const struct control_server *server);  // a client is connected: process at least each second
// Writes what is buffered, waiting up to `timeout_ms`: before the daemon ends.
void control_server_drain(struct control_server *server, int timeout_ms);

// The session of `serial`, or NULL when it is gone.
struct session *control_session_find(struct control_server *server, uint64_t serial);

// A session without a client, for a part of the daemon that wants a verb's answer: `answered` gets each line in the
// client's place, the last one with "exit"; or `answered_text` gets that one as session_end_text was given it.
// `request` (taken over) has the verb. The caller ticks it while its phase
// isn't SESSION_ENDING, and ends it by session_local_close.
void session_local(struct session *s, struct control_server *server, json_t *request,
                   void (*answered)(void *context, const json_t *line),
                   void (*answered_text)(void *context, int exit_status, const char *json), void *context);
void session_local_tick(struct session *s, uint64_t now_ms);
void session_local_close(struct session *s);

// Asks for `parts` binary parts before answering.
void session_expect_stream(struct session *s, uint32_t parts);
// Sends a line: {"schema":1} and then `object`'s fields. Takes the reference.
void session_send(struct session *s, json_t *object);
// The same with "exit", and ends the session. `object` may be NULL.
void session_end(struct session *s, int exit_status, json_t *object);
// The same with a line that was written elsewhere: an object's text, not empty, without "exit".
void session_end_text(struct session *s, int exit_status, const char *json);
// Ends it with an error's line: `message` is printf's.
__attribute__((format(printf, 4, 5))) void session_fail(struct session *s, enum core_err err, const char *remedy,
                                                        const char *message, ...);
// A wait, told at once and again when cause or peer change; the caller decides when 5 s are over.
void session_wait(struct session *s, const char *peer, const char *cause, const char *remedy);

// Fields of the request: a text (NULL without one), a number (fallback without one), a flag.
const char *session_text(const struct session *s, const char *key);
double session_number(const struct session *s, const char *key, double fallback);
bool session_flag(const struct session *s, const char *key);

#endif
