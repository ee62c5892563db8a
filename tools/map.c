// map: the mesh as a picture, from the daemon or from a snapshot that was kept; the same snapshot gives the same bytes.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "atlas/dot.h"
#include "atlas/json.h"
#include "atlas/svg.h"
#include "atlas/text.h"
#include "tools/client.h"
#include "tools/png.h"
#include "tools/verbs.h"

enum { MAP_PATIENCE_MS = 15000, EXIT_BAD = 4, PNG_SCALE = 2 };

enum form { FORM_TEXT, FORM_SVG, FORM_PNG, FORM_DOT, FORM_JSON, FORMS };
static const char *const forms[FORMS] = {"ascii", "svg", "png", "dot", "json"};

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

static enum core_err draw(const struct call *call, const struct atlas_snapshot *s, enum form form, FILE *out, char *why)
{
    const char *path = args_text(&call->args, "output", NULL);
    const bool devices = args_has(&call->args, "hw"), all = args_has(&call->args, "all");
    const struct atlas_text_options o = {.columns = columns_of(path),
                                         .utf8 = output_utf8(),
                                         .color = call->out.color && !path,
                                         .devices = devices,
                                         .all = all};
    if (form == FORM_TEXT) return atlas_text_write(s, &o, out);
    struct atlas_metrics metrics = atlas_metrics_svg;
    struct atlas_layout l;
    metrics.devices = devices;
    if (all) metrics.collapse_above = 0;
    enum core_err err = atlas_layout_make(s, &metrics, &l);
    if (!err && form == FORM_SVG) err = atlas_svg_write(s, &l, out);
    if (!err && form == FORM_PNG) err = png_write(s, &l, PNG_SCALE, out, why);
    if (!err && form == FORM_DOT) atlas_dot_write(s, &l, out);
    atlas_layout_free(&l);
    return err;
}

static enum core_err write_json(const struct atlas_snapshot *s, FILE *out)
{
    json_t *o = json_pack("{s:i}", "schema", ATLAS_JSON_SCHEMA), *fields = atlas_json_make(s);
    enum core_err err = o && fields && json_object_update(o, fields) == 0 ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
    if (!err && json_dumpf(o, out, JSON_COMPACT)) err = CORE_ERR_IO;
    if (!err) fputc('\n', out);
    json_decref(fields);
    json_decref(o);
    return err;
}

static int write_picture(struct call *call, const struct atlas_snapshot *s)
{
    const char *path = args_text(&call->args, "output", NULL);
    const enum form form = form_of(call);
    FILE *out = path ? fopen(path, "we") : stdout;
    if (!out) {
        output_error(&call->out, "IO", "cannot write %s: %s; give -o a file that can be written", path,
                     strerror(errno));
        return EXIT_BAD;
    }
    char why[PNG_WHY_SIZE] = "";
    enum core_err err = form == FORM_JSON ? write_json(s, out) : draw(call, s, form, out, why);
    bool failed = ferror(out);
    failed = (path ? fclose(out) : fflush(out)) || failed;
    if (!err && !failed) return 0;
    if (err && path) unlink(path);
    if (why[0])
        output_error(&call->out, core_error_name(err), "%s", why);
    else
        output_error(&call->out, core_error_name(err ? err : CORE_ERR_IO),
                     "cannot write %s: %s; free some space, or give -o", path ? path : "the picture",
                     err ? core_error_text(err) : strerror(errno));
    return err == CORE_ERR_UNSUPPORTED || err == CORE_ERR_LIMIT ? EXIT_BAD : 1;
}

static int read_file(struct call *call, const char *path, struct atlas_snapshot *s)
{
    json_error_t where;
    char why[ATLAS_WHY_SIZE] = "";
    json_t *json = strcmp(path, "-") == 0 ? json_loadf(stdin, 0, &where) : json_load_file(path, 0, &where);
    enum core_err err = json ? atlas_json_read(json, s, why) : CORE_ERR_MALFORMED;
    if (!json) snprintf(why, sizeof why, "%s, line %d", where.text, where.line);
    json_decref(json);
    if (!err) return 0;
    atlas_snapshot_free(s);
    output_error(&call->out, core_error_name(err), "%s is no snapshot: %s; make one with `mycel map --as json -o FILE`",
                 path, why[0] ? why : core_error_text(err));
    return EXIT_BAD;
}

int command_map(struct call *call)
{
    struct atlas_snapshot s = {0};
    const char *from = args_text(&call->args, "from", NULL);
    int status;
    const char *run = args_text(&call->args, "run", NULL);
    if (from && run) {
        output_error(&call->out, "USAGE",
                     "--run asks the daemon, --from doesn't: a snapshot keeps what it was made with");
        return core_error_exit(CORE_ERR_USAGE);
    }
    if (from) {
        status = read_file(call, from, &s);
    } else {
        json_t *answer;
        char why[ATLAS_WHY_SIZE] = "";
        status =
            client_ask_verbatim(call, "map", run ? json_pack("{s:s}", "run", run) : NULL, MAP_PATIENCE_MS, &answer);
        if (!answer) return status;
        if (atlas_json_read(answer, &s, why)) {
            output_error(&call->out, "MALFORMED", "the daemon's map can't be read: %s; are both of one version?", why);
            status = EXIT_BAD;
        }
        json_decref(answer);
    }
    if (status == 0) status = write_picture(call, &s);
    atlas_snapshot_free(&s);
    return status;
}
