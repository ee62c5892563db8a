// doctor: what is wrong with this peer and its machine, and what to do about it.
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "node/doctor/doctor.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/conf.h"
#include "tools/doctor/bundle.h"
#include "tools/verbs.h"

enum { CAUSE_INDENT = 20, LINE_SIZE = 2200 };

static enum tint tint_of(const char *state)
{
    if (strcmp(state, "pass") == 0) return TINT_GOOD;
    if (strcmp(state, "warn") == 0) return TINT_WARN;
    return strcmp(state, "fail") == 0 ? TINT_BAD : TINT_DIM;
}

static void print_line(const struct output *out, const json_t *line)
{
    const char *state = field_text(line, "state", "skip");
    const char *word = strcmp(state, "pass") == 0   ? "PASS"
                       : strcmp(state, "warn") == 0 ? "WARN"
                       : strcmp(state, "fail") == 0 ? "FAIL"
                                                    : "-";
    char lead[64], text[LINE_SIZE];
    snprintf(lead, sizeof lead, "  %s%-4s%s %-12s ", output_tint(out, tint_of(state)), word, output_plain(out),
             field_text(line, "check", ""));
    client_describe_wait(text, sizeof text, line);
    output_wrapped(stdout, CAUSE_INDENT, lead, text);
}

static size_t count_of(const json_t *lines, const char *state)
{
    size_t i, count = 0;
    json_t *line;
    json_array_foreach((json_t *)lines, i, line) count += strcmp(field_text(line, "state", ""), state) == 0;
    return count;
}

static void print_all(const struct output *out, const json_t *lines)
{
    static const char *const order[] = {"fail", "warn", "pass", "skip"};
    size_t fails = count_of(lines, "fail"), warnings = count_of(lines, "warn");
    printf("%s%s%s", output_tint(out, fails ? TINT_BAD : TINT_GOOD), fails ? "unhealthy" : "healthy",
           output_plain(out));
    if (fails) printf(", %zu trouble%s", fails, fails == 1 ? "" : "s");
    if (warnings) printf(", %zu warning%s", warnings, warnings == 1 ? "" : "s");
    printf("\n");
    for (size_t k = 0; k < sizeof order / sizeof order[0]; k++) {
        size_t i;
        json_t *line;
        json_array_foreach((json_t *)lines, i, line) if (strcmp(field_text(line, "state", ""), order[k]) == 0)
            print_line(out, line);
    }
}

static json_t *examine(const char *home)
{
    struct conf conf;
    char error[ARGS_ERROR_SIZE] = "";
    struct doctor_conf said = {0};
    conf_open(&conf, &command_table);
    if (conf_read(&conf, home, error)) said.wrong = error;
    for (size_t i = 0; !said.wrong && i < conf.key_count; i++) {
        const struct conf_line *line = conf_of(&conf, conf.keys[i], 0);
        if (line && line->value[0] && strcmp(conf.keys[i]->name, "listen") == 0) said.listen = line->value;
    }
    json_t *found = doctor_examine(home, &said);
    conf_close(&conf);
    return found;
}

int command_doctor(struct call *call)
{
    if (args_has(&call->args, "markdown")) {
        doctor_markdown(stdout);
        return 0;
    }
    const char *file = call->args.word_count ? call->args.words[0] : NULL;
    const bool bundle = args_has(&call->args, "bundle");
    if (file && !bundle) {
        output_error(&call->out, "USAGE", "a FILE goes with --bundle: 'mycel doctor --bundle %s'", file);
        return core_error_exit(CORE_ERR_USAGE);
    }
    if (file && access(file, F_OK) == 0) {
        output_error(&call->out, core_error_name(CORE_ERR_EXISTS), "%s is there already; give another name", file);
        return core_error_exit(CORE_ERR_EXISTS);
    }
    json_t *found = examine(call->home);
    if (!found) {
        output_error(&call->out, core_error_name(CORE_ERR_NO_MEMORY), "cannot look: no memory, or no libsodium");
        return core_error_exit(CORE_ERR_NO_MEMORY);
    }
    if (bundle) return bundle_make(call, file, found);
    bool healthy = field_true(found, "healthy"), daemon = field_true(found, "daemon");
    if (call->out.json) {
        output_json(found);
    } else {
        print_all(&call->out, json_object_get(found, "checks"));
        json_decref(found);
    }
    return !healthy ? core_error_exit(CORE_ERR_FAILED) : daemon ? 0 : core_error_exit(CORE_ERR_NO_DAEMON);
}
