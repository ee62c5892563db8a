#include "tools/doctor/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "core/check.h"
#include "core/error.h"
#include "node/doctor/doctor_known.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/conf.h"
#include "tools/doctor/bundle_names.h"
#include "tools/doctor/stand_ins.h"
#include "tools/doctor/tar.h"
#include "tools/version.h"

enum { PART_MS = 1000, LOG_MAX = 256 << 10, PARTS_MAX = 16, ABOUT_SIZE = 96 };

#define FOLDER "mycel-bundle/"

struct part {
    const char *name, *about;
    json_t *json;  // one of the two; both NULL: it is not there, and `missing` says why
    char *text;    // owned
    char missing[ABOUT_SIZE];
    size_t bytes;  // as written
};

struct bundle {
    struct call *call;
    struct stand_ins *names;
    struct part parts[PARTS_MAX];
    size_t count;
    uint64_t now_s;
};

static struct part *add(struct bundle *b, const char *name, const char *about)
{
    check(b->count < PARTS_MAX);
    struct part *p = &b->parts[b->count++];
    *p = (struct part){.name = name, .about = about};
    return p;
}

// ---- the parts ----

static void add_answer(struct bundle *b, bool daemon, const char *verb, const char *name, const char *about)
{
    struct part *p = add(b, name, about);
    if (daemon) p->json = client_ask_quietly(b->call->home, verb, NULL, PART_MS);
    if (!p->json) snprintf(p->missing, sizeof p->missing, "%s", daemon ? "no answer within 1 s" : "no daemon answers");
    bundle_names_of_json(b->names, p->json);
}

static void add_conf(struct bundle *b)
{
    static const char *const from[CONF_FROM_COUNT] = {"environment", "home", "system", "settings"};
    struct part *p = add(b, "conf.json", "settings, and who says so");
    struct conf *conf = calloc(1, sizeof *conf);
    char error[ARGS_ERROR_SIZE] = "";
    check(conf);
    conf_open(conf, &command_table);
    enum core_err err = conf_read(conf, b->call->home, error);
    if (!err) err = conf_read_settings(conf, b->call->home, error);
    if (err) snprintf(p->missing, sizeof p->missing, "cannot be taken, as doctor.json says");
    p->json = err ? NULL : json_array();
    for (size_t i = 0; !err && i < conf->line_count; i++) {
        const struct conf_line *line = &conf->lines[i];
        json_t *said = json_pack("{s:s}", line->key->name, line->value);
        bundle_names_of_json(b->names, said);
        json_decref(said);
        json_array_append_new(p->json, json_pack("{s:s, s:s, s:s}", "key", line->key->name, "value", line->value,
                                                 "from", from[line->from]));
    }
    conf_close(conf);
    free(conf);
}

// What /etc/os-release calls this system.
static void system_name(char *out, size_t size)
{
    char line[256], name[128];
    FILE *file = fopen("/etc/os-release", "re");
    snprintf(out, size, "unknown");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "PRETTY_NAME=\"%127[^\"\n]", name) == 1) snprintf(out, size, "%s", name);
    if (file) fclose(file);
}

static void add_version(struct bundle *b)
{
    struct utsname u;
    char system[128];
    json_t *o = version_json();
    system_name(system, sizeof system);
    json_object_set_new(o, "system", json_string(system));
    if (uname(&u) == 0) json_object_set_new(o, "kernel", json_pack("[s, s, s]", u.sysname, u.release, u.machine));
    add(b, "version.json", "this program, its libraries, the system")->json = o;
}

// The log's end, from a line's begin on.
static char *read_tail(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file) return NULL;
    char *text = malloc(LOG_MAX + 1), *begin = text;
    long size = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
    check(text);
    size_t n = 0;
    if (size >= 0 && !fseek(file, size > LOG_MAX ? size - LOG_MAX : 0, SEEK_SET)) n = fread(text, 1, LOG_MAX, file);
    fclose(file);
    for (size_t i = 0; i < n; i++)
        if (!text[i]) text[i] = '?';
    text[n] = '\0';
    if (size > LOG_MAX && (begin = strchr(text, '\n'))) memmove(text, begin + 1, strlen(begin));
    output_safe(text);
    return text;
}

static void add_log(struct bundle *b)
{
    char path[HOME_PATH_SIZE + 8];
    struct part *p = add(b, "log.txt", "the end of the peer's log");
    snprintf(path, sizeof path, "%s/log", b->call->home);
    p->text = read_tail(path);
    if (p->text)
        bundle_names_of_log(b->names, p->text);
    else
        snprintf(p->missing, sizeof p->missing, "no log there; a service's is in `journalctl -u mycel`");
}

static void collect(struct bundle *b, json_t *found)
{
    const bool daemon = field_true(found, "daemon");
    json_t *known = doctor_known(b->call->home);
    bundle_names_of_machine(b->names, b->call->home);
    bundle_names_of_json(b->names, known);
    json_decref(known);
    bundle_names_of_json(b->names, found);
    add(b, "doctor.json", "what doctor finds")->json = found;
    add_answer(b, daemon, "peers", "peers.json", "the peers that this one knows");
    add_answer(b, daemon, "status", "status.json", "what this peer does");
    add_answer(b, daemon, "runs", "runs.json", "the runs");
    add_answer(b, daemon, "hw", "hw.json", "the machine and its devices");
    add_conf(b);
    add_version(b);
    add_log(b);
}

// ---- the file ----

static char *contents_of(struct bundle *b, struct part *p)
{
    if (p->text) {
        char *text = stand_ins_text(b->names, p->text);
        free(p->text);
        p->text = NULL;
        return text;
    }
    if (!p->json) return NULL;
    stand_ins_json(b->names, p->json);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    check(out && json_dumpf(p->json, out, JSON_INDENT(1)) == 0 && fputc('\n', out) == '\n' && fclose(out) == 0);
    return text;
}

static void describe(FILE *out, const struct bundle *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct part *p = &b->parts[i];
        fprintf(out, "  %-13s %s%s\n", p->name, p->missing[0] ? "missing: " : "",
                p->missing[0] ? p->missing : p->about);
    }
}

static void add_readme(struct bundle *b, FILE *tar)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    check(out);
    fputs("Made by `mycel doctor --bundle`, to be attached to the report of a trouble.\n\n", out);
    describe(out, b);
    fputs("\nNo key, token, certificate or data of a run was read into it. Names, ids, addresses, hashes and paths\n"
          "became stand-ins, the same one for the same thing in every file here: peer-1 (a name and its id), mesh-1,\n"
          "site-1, address-1, hash-1 (a run, a token's id, ..), path-1, HOME (the peer's), USER, this-host. Loopback\n"
          "addresses, ports, times, counts and the system's own paths stayed. Read it before you send it.\n",
          out);
    check(fclose(out) == 0);
    tar_add(tar, FOLDER "README.txt", text, size, b->now_s);
    free(text);
}

static void pack(struct bundle *b, char **bytes, size_t *size)
{
    FILE *tar = open_memstream(bytes, size);
    check(tar);
    add_readme(b, tar);
    for (size_t i = 0; i < b->count; i++) {
        struct part *p = &b->parts[i];
        char name[64], *text = contents_of(b, p);
        if (!text) continue;
        snprintf(name, sizeof name, FOLDER "%s", p->name);
        p->bytes = strlen(text);
        tar_add(tar, name, text, p->bytes, b->now_s);
        free(text);
    }
    tar_end(tar);
    check(fclose(tar) == 0);
}

// All of it, or nothing, and never over what is there.
static int write_whole(const char *path, const char *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), why = 0;
    if (fd < 0) return errno;
    for (size_t at = 0; at < size && !why;) {
        ssize_t n = write(fd, bytes + at, size - at);
        if (n < 0 && errno != EINTR) why = errno;
        if (n > 0) at += (size_t)n;
    }
    if (!why && fsync(fd) && errno != EINVAL) why = errno;
    if (close(fd) && !why) why = errno;
    if (why) unlink(path);
    return why;
}

static int refuse(const struct call *call, const char *path, int why)
{
    enum core_err err = core_error_from_errno(why);
    if (err == CORE_ERR_EXISTS)
        output_error(&call->out, core_error_name(err), "%s is there already; give another name", path);
    else
        output_error(&call->out, core_error_name(err), "cannot write %s: %s; name a file on another disk", path,
                     strerror(why));
    return core_error_exit(err);
}

static void tell(const struct bundle *b, const char *path, size_t size)
{
    char bytes[TEXT_SIZE];
    if (b->call->out.json) {
        json_t *list = json_array();
        for (size_t i = 0; i < b->count; i++) {
            const struct part *p = &b->parts[i];
            json_array_append_new(list, json_pack("{s:s, s:I, s:s?}", "name", p->name, "bytes", (json_int_t)p->bytes,
                                                  "missing", p->missing[0] ? p->missing : NULL));
        }
        output_json(json_pack("{s:s, s:I, s:o}", "bundle", path, "bytes", (json_int_t)size, "parts", list));
        return;
    }
    printf("%s  %s\n", path, text_bytes(bytes, (double)size));
    describe(stdout, b);
    output_note(&b->call->out,
                "\nNo keys and no tokens are in it; names, ids, addresses and paths became stand-ins\nsuch as peer-1. "
                "Read it before you send it: tar xOf %s",
                path);
}

int bundle_make(struct call *call, const char *path, json_t *found)
{
    struct bundle b = {.call = call, .names = stand_ins_open(), .now_s = (uint64_t)time(NULL)};
    char usual[64], *bytes = NULL;
    size_t size = 0;
    struct tm parts;
    time_t now = (time_t)b.now_s;
    check(b.names && gmtime_r(&now, &parts));
    strftime(usual, sizeof usual, "mycel-bundle-%Y%m%dT%H%M%SZ.tar", &parts);
    if (!path) path = usual;
    collect(&b, found);
    pack(&b, &bytes, &size);
    int why = write_whole(path, bytes, size);
    if (!why) tell(&b, path, size);
    for (size_t i = 0; i < b.count; i++) json_decref(b.parts[i].json);
    stand_ins_close(b.names);
    free(bytes);
    return why ? refuse(call, path, why) : 0;
}
