// trace: one round of a run on a time line, from the daemon or from a file that was kept. The first line of its text
// says who slows the round down.
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "atlas/trace_json.h"
#include "atlas/trace_perfetto.h"
#include "atlas/trace_svg.h"
#include "atlas/trace_text.h"
#include "tools/client.h"
#include "tools/verbs.h"

enum { EXIT_BAD = 4 };

enum form { FORM_TEXT, FORM_ASCII, FORM_SVG, FORM_PERFETTO, FORM_JSON, FORMS };
static const char *const forms[FORMS] = {"text", "ascii", "svg", "perfetto", "json"};

// As --as says, else as the file's name ends, else for a terminal.
static enum form form_of(const struct call *call)
{
    const char *path = args_text(&call->args, "output", NULL), *as = args_text(&call->args, "as", NULL);
    const char *end = path ? strrchr(path, '.') : NULL;
    if (call->out.json) return FORM_JSON;
    if (!as && end) as = end + 1;
    for (int k = 0; as && k < FORMS; k++)
        if (strcmp(as, forms[k]) == 0) return (enum form)k;
    return FORM_TEXT;
}

static uint32_t columns_of(const char *path)
{
    struct winsize size;
    if (!path && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return OUTPUT_WIDTH;
}

static enum core_err dump(json_t *json, FILE *out)
{
    enum core_err err = json ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
    if (!err && json_dumpf(json, out, JSON_COMPACT)) err = CORE_ERR_IO;
    if (!err) fputc('\n', out);
    json_decref(json);
    return err;
}

static enum core_err write_json(const struct atlas_trace *t, FILE *out)
{
    json_t *o = json_pack("{s:i}", "schema", ATLAS_JSON_SCHEMA), *fields = atlas_trace_json_make(t);
    const bool whole = o && fields && json_object_update(o, fields) == 0;
    json_decref(fields);
    if (whole) return dump(o, out);
    json_decref(o);
    return CORE_ERR_NO_MEMORY;
}

static enum core_err write_form(const struct call *call, const struct atlas_trace *t, enum form form, FILE *out)
{
    const char *path = args_text(&call->args, "output", NULL);
    const struct atlas_text_options o = {
        .columns = columns_of(path), .utf8 = form == FORM_TEXT && output_utf8(), .color = call->out.color && !path};
    switch (form) {
    case FORM_JSON: return write_json(t, out);
    case FORM_PERFETTO: return dump(atlas_trace_perfetto_make(t), out);
    case FORM_SVG: atlas_trace_svg_write(t, out); break;
    default: atlas_trace_text_write(t, &o, out);
    }
    return CORE_ERR_OK;
}

static int write_trace(struct call *call, const struct atlas_trace *t)
{
    const char *path = args_text(&call->args, "output", NULL);
    FILE *out = path ? fopen(path, "we") : stdout;
    if (!out) {
        output_error(&call->out, "IO", "cannot write %s: %s; give -o a file that can be written", path,
                     strerror(errno));
        return EXIT_BAD;
    }
    const enum core_err err = write_form(call, t, form_of(call), out);
    bool failed = ferror(out);
    failed = (path ? fclose(out) : fflush(out)) || failed;
    if (!err && !failed) return 0;
    if (path) unlink(path);
    output_error(&call->out, core_error_name(err ? err : CORE_ERR_IO),
                 "cannot write %s: %s; free some space, or give -o", path ? path : "the time line",
                 err ? core_error_text(err) : strerror(errno));
    return 1;
}

static int read_file(struct call *call, const char *path, struct atlas_trace *t)
{
    json_error_t where;
    char why[ATLAS_WHY_SIZE] = "";
    json_t *json = strcmp(path, "-") == 0 ? json_loadf(stdin, 0, &where) : json_load_file(path, 0, &where);
    enum core_err err = json ? atlas_trace_json_read(json, t, why) : CORE_ERR_MALFORMED;
    if (!json) snprintf(why, sizeof why, "%s, line %d", where.text, where.line);
    json_decref(json);
    if (!err) return 0;
    output_error(&call->out, core_error_name(err), "%s is no trace: %s; make one with `mycel trace --as json -o FILE`",
                 path, why[0] ? why : core_error_text(err));
    return EXIT_BAD;
}

static int ask(struct call *call, struct atlas_trace *t)
{
    const struct args *args = &call->args;
    const char *run = args_text(args, "run", args->word_count ? args->words[0] : "");
    json_t *answer, *fields = json_pack("{s:s}", "run", run);
    char why[ATLAS_WHY_SIZE] = "";
    if (args_has(args, "round"))
        json_object_set_new(fields, "round", json_integer((json_int_t)args_number(args, "round", 0)));
    int status = client_ask_verbatim(call, "trace", fields, CLIENT_PATIENCE_MS, &answer);
    if (!answer) return status;
    if (atlas_trace_json_read(answer, t, why)) {
        output_error(&call->out, "MALFORMED", "the daemon's trace can't be read: %s; are both of one version?", why);
        status = EXIT_BAD;
    }
    json_decref(answer);
    return status;
}

int command_trace(struct call *call)
{
    struct atlas_trace t = {0};
    const char *from = args_text(&call->args, "from", NULL);
    int status = from ? read_file(call, from, &t) : ask(call, &t);
    if (status == 0) status = write_trace(call, &t);
    atlas_trace_free(&t);
    return status;
}
