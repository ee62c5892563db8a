// conf: what a peer's next start takes, and who says so.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "tools/commands.h"
#include "tools/conf.h"
#include "tools/verbs.h"

// Where a line stands, as a person looks for it.
static const char *place_of(const struct conf *conf, const struct conf_line *line, char *out, size_t size)
{
    char name[64];
    if (!line)
        snprintf(out, size, "-");
    else if (line->from == CONF_ENVIRONMENT)
        snprintf(out, size, "%s", conf_variable(name, line->key));
    else
        snprintf(out, size, "%s:%u", conf->path[line->from], line->line);
    return out;
}

// What the home fixed when it was made (its name) no file changes.
static const struct conf_line *nth_of(const struct conf *conf, const struct flag *key, size_t n)
{
    static const struct command none = {.verb = "up"};
    const struct command *up = &none;
    for (size_t i = 0; i < command_table.count; i++)
        if (strcmp(command_table.commands[i].verb, "up") == 0) up = &command_table.commands[i];
    for (size_t i = 0; i < conf->line_count && !args_flag(&command_table, up, key->name); i++)
        if (conf->lines[i].from == CONF_SETTINGS && conf->lines[i].key == key) return n ? NULL : &conf->lines[i];
    return conf_of(conf, key, n);
}

static json_t *row_of(const struct conf *conf, const struct flag *key, const struct conf_line *line)
{
    static const char *const names[] = {"environment", "home", "system", "settings"};
    bool in_file = line && line->from != CONF_ENVIRONMENT;
    return json_pack("{s:s,s:s?,s:s,s:s?,s:i}", "key", key->name, "value", line ? line->value : NULL, "from",
                     line ? names[line->from] : "default", "file", in_file ? conf->path[line->from] : NULL, "line",
                     line ? (int)line->line : 0);
}

static void print(struct call *call, const struct conf *conf)
{
    static const struct table_column columns[] = {{"KEY", false, 0}, {"VALUE", false, 30}, {"FROM", false, 0}};
    json_t *list = json_array();
    struct table table;
    table_open(&table, columns, 3);
    for (size_t i = 0; i < conf->key_count; i++) {
        for (size_t n = 0;; n++) {
            const struct conf_line *line = nth_of(conf, conf->keys[i], n);
            char place[TABLE_CELL_MAX];
            if (n > 0 && !line) break;
            json_array_append_new(list, row_of(conf, conf->keys[i], line));
            table_add(&table, line ? TINT_BOLD : TINT_NONE, "%s", conf->keys[i]->name);
            table_add(&table, TINT_NONE, "%s", line ? line->value : "-");
            table_add(&table, TINT_NONE, "%s", place_of(conf, line, place, sizeof place));
            if (!line) break;
        }
    }
    if (call->out.json)
        output_json(json_pack("{s:s,s:o}", "home", call->home, "conf", list));
    else
        json_decref(list);
    if (!call->out.json) {
        table_print(&table, &call->out);
        output_note(
            &call->out,
            "\n- means what 'mycel help up' has in brackets. To set a key write it into\n%s/mycel.conf, or, for every "
            "peer of this machine, into\n/etc/mycel/mycel.conf; 'mycel conf --example' prints one to begin with.",
            call->home);
    }
}

int command_conf(struct call *call)
{
    struct conf *conf = calloc(1, sizeof *conf);
    check(conf);
    char error[ARGS_ERROR_SIZE];
    conf_open(conf, &command_table);
    enum core_err err = CORE_ERR_OK;
    if (args_has(&call->args, "example")) {
        conf_example(stdout, conf);
    } else {
        err = conf_read(conf, call->home, error);
        if (!err) err = conf_read_settings(conf, call->home, error);
        if (!err) print(call, conf);
    }
    if (err) output_error(&call->out, core_error_name(err), "%s", error);
    conf_close(conf);
    free(conf);
    return err ? core_error_exit(err) : 0;
}
