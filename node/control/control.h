// The control socket, between the command line and the daemon of one home.
//
// Where: $XDG_RUNTIME_DIR/mycel-HASH.sock, or, where that is unset, /tmp/mycel-UID/HASH.sock (folder 0700, its owner
// checked); /run/mycel has that of the machine's own peer (node/machine.h). A client that finds nobody there looks
// where the daemon would have put it with XDG_RUNTIME_DIR unset, or set as sessions have it. HASH is 16 hex digits
// of BLAKE2b over the home's absolute path, as socket paths end at 108 bytes.
//
// What is said: the client writes one line, a JSON object {"verb": "...", ...}. `train` with data goes on with a
// binary stream: for each part, chunks of u32 little-endian length and bytes, ended by a chunk of length 0. The daemon
// answers with JSON objects, one a line; every one starts with "schema": 1, and the last one has "exit" (the command
// line's exit status). A failure is {"schema":1,"exit":E,"error":NAME,"message":TEXT,"remedy":TEXT}. Closing the
// connection detaches from whatever it asked for; nothing is cancelled by it. docs/json.md lists each verb's fields.
//
// The client functions block and belong to one thread.
#ifndef NODE_CONTROL_CONTROL_H
#define NODE_CONTROL_CONTROL_H

#include <stddef.h>

#include "core/error.h"

enum {
    CONTROL_PATH_SIZE = 108,
    CONTROL_LINE_LIMIT = 4 << 20,
    CONTROL_REQUEST_LIMIT = 64 << 10,
    CONTROL_CHUNK_LIMIT = 1 << 20
};

struct control_client {
    int fd;
    char *buffer;  // received, not yet handed out
    size_t used;
    size_t capacity;
    size_t given;  // bytes of the line handed out last, dropped by the next call
};

// The socket's path for the home at `home` (absolute). Makes the folder under /tmp where it is needed.
// CORE_ERR_REFUSED when that folder belongs to somebody else or is open to others.
CORE_MUST_USE enum core_err control_path(char out[CONTROL_PATH_SIZE], const char *home);

// CORE_ERR_NO_DAEMON when nobody listens there, TIMED_OUT when the daemon has not taken connections for a second.
CORE_MUST_USE enum core_err control_connect(struct control_client *c, const char *home);
// Sends one request: `json` is an object's text without a line's end.
CORE_MUST_USE enum core_err control_request(struct control_client *c, const char *json);
// Sends a chunk of the binary stream, any size (it is split); `size` 0 ends the part.
CORE_MUST_USE enum core_err control_stream(struct control_client *c, const void *data, size_t size);
// The next reply, NUL-terminated, without its line's end; valid until the next call. Waits up to `timeout_ms` (-1: for
// ever). CORE_ERR_TIMED_OUT; CORE_ERR_NO_DAEMON when the daemon closed the connection; CORE_ERR_INTERRUPTED on a
// signal.
CORE_MUST_USE enum core_err control_next_line(struct control_client *c, int timeout_ms, const char **line);
void control_close(struct control_client *c);

#endif
