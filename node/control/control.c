// The client's half of the control socket, and where the socket lies.
#include "node/control/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/check.h"
#include "core/hash.h"
#include "node/machine.h"

// A folder that is ours alone: anybody may make names in /tmp.
static enum core_err own_folder(const char *path, bool make)
{
    if (make && mkdir(path, 0700) && errno != EEXIST) return core_error_from_errno(errno);
    struct stat st;
    if (lstat(path, &st)) return core_error_from_errno(errno);
    bool ours = S_ISDIR(st.st_mode) && st.st_uid == getuid() && (st.st_mode & 077) == 0;
    return ours ? CORE_ERR_OK : CORE_ERR_REFUSED;
}

static void socket_name(char name[17], const char *home)
{
    struct core_hash hash = hash_bytes(home, strlen(home));
    hex_encode(name, hash.bytes, 8);
}

// In /tmp; REFUSED where the folder there is somebody else's, NOT_FOUND where there is none and it is not to be made.
static enum core_err temporary_path(char out[CONTROL_PATH_SIZE], const char *home, bool make)
{
    char folder[64], name[17];
    socket_name(name, home);
    snprintf(folder, sizeof folder, "/tmp/mycel-%lu", (unsigned long)getuid());
    int n = snprintf(out, CONTROL_PATH_SIZE, "%s/%s.sock", folder, name);
    check(n > 0 && n < CONTROL_PATH_SIZE);
    return own_folder(folder, make);
}

static bool runtime_path(char out[CONTROL_PATH_SIZE], const char *runtime, const char *home)
{
    char name[17];
    socket_name(name, home);
    int n = snprintf(out, CONTROL_PATH_SIZE, "%s/mycel-%s.sock", runtime, name);
    return n > 0 && n < CONTROL_PATH_SIZE;
}

enum core_err control_path(char out[CONTROL_PATH_SIZE], const char *home)
{
    const char *machines = machine_runtime(home), *runtime = machines ? machines : getenv("XDG_RUNTIME_DIR");
    if (runtime && *runtime && runtime_path(out, runtime, home)) return CORE_ERR_OK;
    return temporary_path(out, home, true);
}

static enum core_err connect_at(struct control_client *c, const char path[CONTROL_PATH_SIZE])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, CONTROL_PATH_SIZE);
    *c = (struct control_client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (c->fd < 0) return core_error_from_errno(errno);
    // A stopped daemon takes no connection: once its backlog is full, connect would wait for as long as it is stopped.
    const struct timeval patience = {.tv_sec = 1}, forever = {0};
    (void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) {
        const enum core_err err = errno == ENOENT || errno == ECONNREFUSED ? CORE_ERR_NO_DAEMON
                                  : errno == EAGAIN                        ? CORE_ERR_TIMED_OUT
                                                                           : core_error_from_errno(errno);
        control_close(c);
        return err;
    }
    (void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof forever);
    return CORE_ERR_OK;
}

enum core_err control_connect(struct control_client *c, const char *home)
{
    *c = (struct control_client){.fd = -1};
    char path[CONTROL_PATH_SIZE] = "", user[64];
    enum core_err err = control_path(path, home);
    if (err) return err;
    err = connect_at(c, path);
    if (err != CORE_ERR_NO_DAEMON) return err;
    // A daemon that a session or a user's systemd started, asked by cron or over su, or the other way round.
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    snprintf(user, sizeof user, "/run/user/%lu", (unsigned long)getuid());
    memset(path, 0, sizeof path);
    const bool there =
        runtime && *runtime ? temporary_path(path, home, false) == CORE_ERR_OK : runtime_path(path, user, home);
    return there ? connect_at(c, path) : err;
}

static enum core_err send_all(struct control_client *c, const void *data, size_t size)
{
    const uint8_t *p = data;
    while (size) {
        ssize_t n = send(c->fd, p, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EPIPE || errno == ECONNRESET ? CORE_ERR_NO_DAEMON : core_error_from_errno(errno);
        p += n;
        size -= (size_t)n;
    }
    return CORE_ERR_OK;
}

enum core_err control_request(struct control_client *c, const char *json)
{
    size_t size = strlen(json);
    if (size >= CONTROL_REQUEST_LIMIT) return CORE_ERR_TOO_LARGE;
    enum core_err err = send_all(c, json, size);
    return err ? err : send_all(c, "\n", 1);
}

enum core_err control_stream(struct control_client *c, const void *data, size_t size)
{
    const uint8_t *p = data;
    do {
        size_t now = size < CONTROL_CHUNK_LIMIT ? size : CONTROL_CHUNK_LIMIT;
        uint8_t head[4];
        struct writer w = writer_over(head, sizeof head);
        write_u32(&w, (uint32_t)now);
        enum core_err err = send_all(c, head, sizeof head);
        if (!err) err = send_all(c, p, now);
        if (err) return err;
        if (now) p += now;  // data may be NULL for an end
        size -= now;
    } while (size);
    return CORE_ERR_OK;
}

// Reads once into the buffer, which grows up to the limit of a line.
static enum core_err receive(struct control_client *c, int timeout_ms)
{
    if (c->used + 4096 > c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 64 << 10;
        if (capacity > 2 * CONTROL_LINE_LIMIT) return CORE_ERR_TOO_LARGE;
        char *grown = realloc(c->buffer, capacity);
        if (!grown) return CORE_ERR_NO_MEMORY;
        c->buffer = grown;
        c->capacity = capacity;
    }
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    int ready = poll(&p, 1, timeout_ms);
    if (ready < 0) return errno == EINTR ? CORE_ERR_INTERRUPTED : core_error_from_errno(errno);
    if (ready == 0) return CORE_ERR_TIMED_OUT;
    ssize_t n = recv(c->fd, c->buffer + c->used, c->capacity - c->used, 0);
    if (n < 0 && errno == EINTR) return CORE_ERR_INTERRUPTED;
    if (n <= 0) return CORE_ERR_NO_DAEMON;
    c->used += (size_t)n;
    return CORE_ERR_OK;
}

enum core_err control_next_line(struct control_client *c, int timeout_ms, const char **line)
{
    if (c->given) {
        memmove(c->buffer, c->buffer + c->given, c->used - c->given);
        c->used -= c->given;
        c->given = 0;
    }
    for (;;) {
        char *end = c->used ? memchr(c->buffer, '\n', c->used) : NULL;
        if (end) {
            *end = 0;
            c->given = (size_t)(end - c->buffer) + 1;
            *line = c->buffer;
            return CORE_ERR_OK;
        }
        enum core_err err = receive(c, timeout_ms);
        if (err) return err;
    }
}

void control_close(struct control_client *c)
{
    if (c->fd >= 0) close(c->fd);
    free(c->buffer);
    *c = (struct control_client){.fd = -1};
}
