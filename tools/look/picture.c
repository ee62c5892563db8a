#include "tools/look/picture.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *path_of(const struct call *call)
{
    return args_text(&call->args, "output", NULL);
}

size_t picture_form(const struct call *call, const char *const *forms, size_t count, size_t json)
{
    const char *path = path_of(call), *as = args_text(&call->args, "as", NULL);
    const char *end = path ? strrchr(path, '.') : NULL;
    if (call->out.json) return json;
    if (!as && end) as = end + 1;
    for (size_t k = 0; as && k < count; k++)
        if (strcmp(as, forms[k]) == 0) return k;
    return 0;
}

uint32_t picture_columns(const struct call *call)
{
    struct winsize size;
    if (!path_of(call) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return OUTPUT_WIDTH;
}

FILE *picture_open(struct call *call)
{
    const char *path = path_of(call);
    FILE *out = path ? fopen(path, "we") : stdout;
    if (!out)
        output_error(&call->out, "IO", "cannot write %s: %s; give -o a file that can be written", path,
                     strerror(errno));
    return out;
}

int picture_close(struct call *call, FILE *out, enum core_err err, const char *what, const char *why)
{
    const char *path = path_of(call);
    bool failed = ferror(out);
    failed = (path ? fclose(out) : fflush(out)) || failed;
    if (!err && !failed) return 0;
    const int number = errno;
    if (path) unlink(path);
    if (why[0])
        output_error(&call->out, core_error_name(err), "%s", why);
    else
        output_error(&call->out, core_error_name(err ? err : CORE_ERR_IO),
                     "cannot write %s: %s; free some space, or give -o", path ? path : what,
                     err ? core_error_text(err) : strerror(number));
    return err == CORE_ERR_UNSUPPORTED || err == CORE_ERR_LIMIT ? PICTURE_EXIT_BAD : 1;
}

enum core_err picture_dump(json_t *json, FILE *out)
{
    enum core_err err = json ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
    if (!err && json_dumpf(json, out, JSON_COMPACT)) err = CORE_ERR_IO;
    if (!err) fputc('\n', out);
    json_decref(json);
    return err;
}

enum core_err picture_keep(json_t *fields, FILE *out)
{
    json_t *o = json_pack("{s:i}", "schema", ATLAS_JSON_SCHEMA);
    const bool whole = o && fields && json_object_update(o, fields) == 0;
    json_decref(fields);
    if (whole) return picture_dump(o, out);
    json_decref(o);
    return CORE_ERR_NO_MEMORY;
}

json_t *picture_load(const char *path, char why[ATLAS_WHY_SIZE])
{
    json_error_t where;
    json_t *json = strcmp(path, "-") == 0 ? json_loadf(stdin, 0, &where) : json_load_file(path, 0, &where);
    if (!json) snprintf(why, ATLAS_WHY_SIZE, "%s, line %d", where.text, where.line);
    return json;
}
