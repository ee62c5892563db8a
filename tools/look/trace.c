// trace: one round of a run on a time line, from the daemon or from a file that was kept. The first line of its text
// says who slows the round down.
#include "atlas/trace_json.h"
#include "atlas/trace_perfetto.h"
#include "atlas/trace_svg.h"
#include "atlas/trace_text.h"
#include "tools/client.h"
#include "tools/look/picture.h"
#include "tools/verbs.h"

enum form { FORM_TEXT, FORM_ASCII, FORM_SVG, FORM_PERFETTO, FORM_JSON, FORMS };
static const char *const forms[FORMS] = {"text", "ascii", "svg", "perfetto", "json"};

static enum core_err write_form(const struct call *call, const struct atlas_trace *t, enum form form, FILE *out)
{
    const struct atlas_text_options o = {.columns = picture_columns(call),
                                         .utf8 = form == FORM_TEXT && output_utf8(),
                                         .color = call->out.color && !args_has(&call->args, "output")};
    switch (form) {
    case FORM_JSON: return picture_keep(atlas_trace_json_make(t), out);
    case FORM_PERFETTO: return picture_dump(atlas_trace_perfetto_make(t), out);
    case FORM_SVG: atlas_trace_svg_write(t, out); break;
    default: atlas_trace_text_write(t, &o, out);
    }
    return CORE_ERR_OK;
}

static int write_trace(struct call *call, const struct atlas_trace *t)
{
    FILE *out = picture_open(call);
    if (!out) return PICTURE_EXIT_BAD;
    const enum form form = (enum form)picture_form(call, forms, FORMS, FORM_JSON);
    return picture_close(call, out, write_form(call, t, form, out), "the time line", "");
}

static int read_file(struct call *call, const char *path, struct atlas_trace *t)
{
    char why[ATLAS_WHY_SIZE] = "";
    json_t *json = picture_load(path, why);
    enum core_err err = json ? atlas_trace_json_read(json, t, why) : CORE_ERR_MALFORMED;
    json_decref(json);
    if (!err) return 0;
    output_error(&call->out, core_error_name(err), "%s is no trace: %s; make one with `mycel trace --as json -o FILE`",
                 path, why[0] ? why : core_error_text(err));
    return PICTURE_EXIT_BAD;
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
        status = PICTURE_EXIT_BAD;
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
