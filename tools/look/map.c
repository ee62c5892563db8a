// map: the mesh as a picture, from the daemon or from a snapshot that was kept; the same snapshot gives the same bytes.
#include "atlas/dot.h"
#include "atlas/json.h"
#include "atlas/svg.h"
#include "atlas/text.h"
#include "tools/client.h"
#include "tools/look/picture.h"
#include "tools/look/png.h"
#include "tools/verbs.h"

enum { MAP_PATIENCE_MS = 15000, PNG_SCALE = 2 };

enum form { FORM_TEXT, FORM_SVG, FORM_PNG, FORM_DOT, FORM_JSON, FORMS };
static const char *const forms[FORMS] = {"ascii", "svg", "png", "dot", "json"};

static enum core_err draw(const struct call *call, const struct atlas_snapshot *s, enum form form, FILE *out, char *why)
{
    const bool devices = args_has(&call->args, "hw"), all = args_has(&call->args, "all");
    const struct atlas_text_options o = {.columns = picture_columns(call),
                                         .utf8 = output_utf8(),
                                         .color = call->out.color && !args_has(&call->args, "output"),
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

static int write_picture(struct call *call, const struct atlas_snapshot *s)
{
    const enum form form = (enum form)picture_form(call, forms, FORMS, FORM_JSON);
    FILE *out = picture_open(call);
    if (!out) return PICTURE_EXIT_BAD;
    char why[PNG_WHY_SIZE] = "";
    const enum core_err err = form == FORM_JSON ? picture_keep(atlas_json_make(s), out) : draw(call, s, form, out, why);
    return picture_close(call, out, err, "the picture", why);
}

static int read_file(struct call *call, const char *path, struct atlas_snapshot *s)
{
    char why[ATLAS_WHY_SIZE] = "";
    json_t *json = picture_load(path, why);
    enum core_err err = json ? atlas_json_read(json, s, why) : CORE_ERR_MALFORMED;
    json_decref(json);
    if (!err) return 0;
    atlas_snapshot_free(s);
    output_error(&call->out, core_error_name(err), "%s is no snapshot: %s; make one with `mycel map --as json -o FILE`",
                 path, why[0] ? why : core_error_text(err));
    return PICTURE_EXIT_BAD;
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
            status = PICTURE_EXIT_BAD;
        }
        json_decref(answer);
    }
    if (status == 0) status = write_picture(call, &s);
    atlas_snapshot_free(&s);
    return status;
}
