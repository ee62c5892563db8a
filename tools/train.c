// train: the files are opened here, with the caller's rights, and streamed to the daemon.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/check.h"
#include "core/hash.h"
#include "tools/look/follow.h"
#include "tools/verbs.h"

enum { CHUNK_SIZE = 1 << 20, MODEL_FILE_MAX = 16 << 10, PARTS_MAX = 2 };

struct source {
    const char *name;
    int fd;
    uint64_t size;  // bytes
};

struct order {
    struct source parts[PARTS_MAX];
    size_t count;
    json_t *request;
};

// Opens a file that has something in it; prints why not.
static int open_source(struct call *call, const char *name, const char *what, struct source *s)
{
    const struct output *out = &call->out;
    *s = (struct source){.name = name, .fd = open(name, O_RDONLY | O_CLOEXEC)};
    struct stat st;
    if (s->fd < 0 || fstat(s->fd, &st) != 0) {
        enum core_err err = core_error_from_errno(errno);
        output_error(out, core_error_name(err), "cannot read the %s %s: %s; --%s names a text file", what, name,
                     strerror(errno),
                     strcmp(what, "model") == 0  ? "model"
                     : strcmp(what, "data") == 0 ? "data"
                                                 : "held-out");
        return core_error_exit(err);
    }
    if (S_ISDIR(st.st_mode)) {
        output_error(out, "FAILED",
                     "cannot read the %s %s: it is a folder; name one text file, 'cat %s/* > all.txt' joins several",
                     what, name, name);
        return core_error_exit(CORE_ERR_FAILED);
    }
    if (S_ISREG(st.st_mode) && st.st_size == 0) {
        output_error(out, "TOO_SHORT", "the %s %s is empty; name a file with text in it", what, name);
        return core_error_exit(CORE_ERR_TOO_SHORT);
    }
    s->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    return 0;
}

static int open_part(struct call *call, struct order *order, const char *name, const char *what)
{
    return open_source(call, name, what, &order->parts[order->count++]);
}

static bool is_hash(const char *text)
{
    uint8_t bytes[CORE_HASH_SIZE];
    return hex_decode(bytes, sizeof bytes, text) && access(text, F_OK) != 0;
}

static void put(json_t *request, const char *key, json_t *value)
{
    check(json_object_set_new(request, key, value) == 0);
}

// --model names a preset unless it looks like a file; the daemon reads the text and answers for its lines.
static int set_model(struct call *call, json_t *request)
{
    const char *model = args_text(&call->args, "model", "small");
    if (!strpbrk(model, "./") && access(model, F_OK) != 0) {
        put(request, "model", json_string(model));
        return 0;
    }
    struct source file;
    int status = open_source(call, model, "model", &file);
    char text[MODEL_FILE_MAX + 1];
    ssize_t size = status ? -1 : read(file.fd, text, sizeof text);
    if (file.fd >= 0) close(file.fd);
    if (status) return status;
    if (size < 0 || size > MODEL_FILE_MAX) {
        output_error(&call->out, "TOO_LARGE", "the model %s is over %d kB; a model file holds lines of key = value",
                     model, MODEL_FILE_MAX >> 10);
        return core_error_exit(CORE_ERR_TOO_LARGE);
    }
    json_t *string = json_stringn(text, (size_t)size);
    if (!string) {
        output_error(&call->out, "MALFORMED", "the model %s isn't UTF-8 text; a model file holds lines of key = value",
                     model);
        return core_error_exit(CORE_ERR_MALFORMED);
    }
    put(request, "model_text", string);
    return 0;
}

static int prepare(struct call *call, struct order *order)
{
    const struct args *args = &call->args;
    const char *data = args_text(args, "data", NULL), *held_out = args_text(args, "held-out", NULL);
    int status;
    if (!data) {
        output_error(&call->out, "USAGE", "'train' needs a text to train on: --data FILE");
        return core_error_exit(CORE_ERR_USAGE);
    }
    if (is_hash(data) && held_out) {
        output_error(&call->out, "USAGE",
                     "--held-out goes with a file; a data set of the mesh has its held-out part already");
        return core_error_exit(CORE_ERR_USAGE);
    }
    order->request = json_object();
    check(order->request);
    if (is_hash(data)) {
        put(order->request, "data", json_string(data));
    } else {
        const char *slash = strrchr(data, '/');
        if ((status = open_part(call, order, data, "data")) != 0) return status;
        if (held_out && (status = open_part(call, order, held_out, "held-out text")) != 0) return status;
        put(order->request, "parts", json_integer((json_int_t)order->count));
        put(order->request, "data_name", json_string(slash ? slash + 1 : data));
    }
    if ((status = set_model(call, order->request)) != 0) return status;
    static const struct {
        const char *flag, *field;
        bool seconds;
    } numbers[] = {{"rounds", "rounds", false},
                   {"inner-steps", "inner_steps", false},
                   {"seed", "seed", false},
                   {"deadline", "deadline_s", true}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (!args_has(args, numbers[i].flag)) continue;
        uint64_t value =
            numbers[i].seconds ? args_seconds(args, numbers[i].flag, 0) : args_number(args, numbers[i].flag, 0);
        if (value > INT64_MAX) {
            output_error(&call->out, "USAGE", "--%s %s is too large", numbers[i].flag,
                         args_text(args, numbers[i].flag, ""));
            return core_error_exit(CORE_ERR_USAGE);
        }
        put(order->request, numbers[i].field, json_integer((json_int_t)value));
    }
    if (args_has(args, "profile")) put(order->request, "profile", json_string(args_text(args, "profile", "")));
    put(order->request, "detach", json_boolean(args_has(args, "detach")));
    return 0;
}

// True when the whole part is sent. False: the file failed (printed, in *status), or the daemon stopped reading, whose
// answer says why (*status 0).
static bool stream(struct client *c, const struct source *part, uint8_t *chunk, int *status)
{
    uint64_t sent = 0;
    const struct output *out = &c->call->out;
    for (;;) {
        if (client_interrupted()) {
            *status = core_error_exit(CORE_ERR_INTERRUPTED);
            return false;
        }
        ssize_t size = read(part->fd, chunk, CHUNK_SIZE);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) {
            output_error(out, "IO", "reading %s failed: %s; nothing was started", part->name, strerror(errno));
            *status = core_error_exit(CORE_ERR_IO);
            return false;
        }
        if (control_stream(&c->control, chunk, (size_t)size) != CORE_ERR_OK) return false;
        if (size == 0) break;
        sent += (uint64_t)size;
        if (out->progress && part->size > 16u << 20)
            fprintf(stderr, "\r%s: %3.0f %% sent", part->name, 100.0 * (double)sent / (double)part->size);
    }
    if (out->progress && part->size > 16u << 20) fputs("\r\033[K", stderr);
    return true;
}

static int start(struct call *call, struct order *order)
{
    struct client c;
    int status = client_open(&c, call);
    if (status) return status;
    uint8_t *chunk = malloc(CHUNK_SIZE);
    check(chunk);
    status = client_send(&c, "train", json_incref(order->request));
    bool whole = true;
    for (size_t i = 0; status == 0 && whole && i < order->count; i++)
        whole = stream(&c, &order->parts[i], chunk, &status);
    free(chunk);
    char run[65];
    if (status == 0) status = follow_run(&c, args_has(&call->args, "detach"), run);
    client_close(&c);
    return status;
}

int command_train(struct call *call)
{
    struct order order = {0};
    client_catch_interrupts();
    int status = prepare(call, &order);
    if (status == 0) status = start(call, &order);
    for (size_t i = 0; i < order.count; i++)
        if (order.parts[i].fd >= 0) close(order.parts[i].fd);
    json_decref(order.request);
    return status;
}
