#include "tools/conf.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char system_file[] = "/etc/mycel/mycel.conf";

// ---- keys ----

static const struct flag *find_key(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->key_count; i++)
        if (strcmp(conf->keys[i]->name, name) == 0) return conf->keys[i];
    return NULL;
}

// What is said of one call, or of a mesh at its birth, belongs into no file.
static bool is_of_one_call(const char *name)
{
    return strcmp(name, "detach") == 0 || strcmp(name, "fault-model") == 0;
}

static void add_key(struct conf *conf, const struct flag *flag)
{
    if (conf->key_count < CONF_KEYS_MAX && !is_of_one_call(flag->name) && !find_key(conf, flag->name))
        conf->keys[conf->key_count++] = flag;
}

void conf_open(struct conf *conf, const struct command_table *table)
{
    static const char *const verbs[] = {"up", "join", "init"};
    *conf = (struct conf){0};
    for (size_t v = 0; v < sizeof verbs / sizeof verbs[0]; v++)
        for (size_t i = 0; i < table->count; i++) {
            const struct command *c = &table->commands[i];
            if (c->sub || strcmp(c->verb, verbs[v]) != 0) continue;
            for (size_t f = 0; f < c->flag_count; f++) add_key(conf, &c->flags[f]);
        }
    for (size_t i = 0; i < table->common_count; i++)
        if (strcmp(table->common[i].name, "quiet") == 0 || strcmp(table->common[i].name, "verbose") == 0)
            add_key(conf, &table->common[i]);
}

void conf_close(struct conf *conf)
{
    for (int i = 0; i < CONF_FROM_COUNT; i++) free(conf->text[i]);
    *conf = (struct conf){0};
}

char *conf_variable(char out[64], const struct flag *key)
{
    snprintf(out, 64, "MYCEL_%s", key->name);
    for (char *p = out; *p; p++) *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return out;
}

// ---- lines ----

// A value goes to a terminal only as far as it is plain ASCII.
static char *shown(char out[64], const char *text)
{
    snprintf(out, 64, "%s", text);
    for (char *p = out; *p; p++)
        if (*p < 32 || *p > 126) *p = '?';
    return out;
}

static enum core_err check_key(const char *where, const struct flag *key, const char *value,
                               char error[ARGS_ERROR_SIZE])
{
    char label[400], safe[64];
    snprintf(label, sizeof label, "%s%s", where, key->name);
    if (!*value) return CORE_ERR_OK;
    if (strcmp(shown(safe, value), value) != 0 && strlen(value) < sizeof safe)
        return args_refuse(error, "%s '%s' holds bytes that are no plain text; write it anew", label, safe);
    if (key->kind != FLAG_SWITCH) return args_check_value(error, label, key, value);
    if (strcmp(value, "yes") == 0 || strcmp(value, "no") == 0) return CORE_ERR_OK;
    return args_refuse(error, "%s '%s' is neither yes nor no", label, safe);
}

static enum core_err add_line(struct conf *conf, struct conf_line line, const char *where, char error[ARGS_ERROR_SIZE])
{
    enum core_err err = check_key(where, line.key, line.value, error);
    if (err) return err;
    for (size_t i = 0; i < conf->line_count && !line.key->repeat; i++)
        if (conf->lines[i].key == line.key && conf->lines[i].from == line.from)
            return args_refuse(error, "%s%s stands in line %u already; keep one of them", where, line.key->name,
                               conf->lines[i].line);
    if (conf->line_count == CONF_LINES_MAX)
        return args_refuse(error, "%smore than %d lines with values; leave some out", where, CONF_LINES_MAX);
    conf->lines[conf->line_count++] = line;
    return CORE_ERR_OK;
}

static char *trimmed(char *text)
{
    while (isspace((unsigned char)*text)) text++;
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1])) text[--length] = '\0';
    return text;
}

static enum core_err unknown_key(const struct conf *conf, const char *where, const char *name,
                                 char error[ARGS_ERROR_SIZE])
{
    const char *names[CONF_KEYS_MAX];
    char bare[32], safe[64];
    for (size_t i = 0; i < conf->key_count; i++) names[i] = conf->keys[i]->name;
    snprintf(bare, sizeof bare, "%s", name);
    const char *near = args_nearest(bare, names, conf->key_count);
    shown(safe, name);
    if (is_of_one_call(name))
        return args_refuse(error, "%s'%s' belongs on the command line, not into a file; remove the line", where, safe);
    if (near) return args_refuse(error, "%sthere is no key '%s'; did you mean %s?", where, safe, near);
    return args_refuse(error, "%sthere is no key '%s'; 'mycel conf --example' lists them", where, safe);
}

static enum core_err take_line(struct conf *conf, enum conf_from from, const char *where, unsigned number, char *line,
                               char error[ARGS_ERROR_SIZE])
{
    char safe[64];
    line = trimmed(line);
    if (*line == '\0' || *line == '#') return CORE_ERR_OK;
    char *equals = strchr(line, '=');
    if (!equals)
        return args_refuse(error, "%s'%s' is no 'key = value'; write it so, or begin the line with #", where,
                           shown(safe, line));
    *equals = '\0';
    const char *name = trimmed(line);
    char *value = equals + 1;
    for (char *p = value; *p; p++) {
        if (*p != '#' || (p > value && !isspace((unsigned char)p[-1]))) continue;
        *p = '\0';
        break;
    }
    const struct flag *key = find_key(conf, name);
    if (!key) return unknown_key(conf, where, name, error);
    struct conf_line taken = {.key = key, .value = trimmed(value), .from = from, .line = number};
    return add_line(conf, taken, where, error);
}

enum core_err conf_parse(struct conf *conf, enum conf_from from, const char *path, char *text,
                         char error[ARGS_ERROR_SIZE])
{
    char where[320];
    enum core_err err = CORE_ERR_OK;
    unsigned number = 0;
    for (char *line; !err && (line = strsep(&text, "\n"));) {
        snprintf(where, sizeof where, "%.300s:%u: ", path, ++number);
        err = take_line(conf, from, where, number, line, error);
    }
    return err;
}

// ---- where they stand ----

static enum core_err read_file(struct conf *conf, enum conf_from from, const char *path, bool must_be,
                               char error[ARGS_ERROR_SIZE])
{
    FILE *file = fopen(path, "re");
    if (!file && errno == ENOENT && !must_be) return CORE_ERR_OK;
    if (!file)
        return args_refuse(error, "cannot read %.200s: %s; %s", path, strerror(errno),
                           errno == ENOENT ? "make it, or unset MYCEL_CONF" : "give it to this user, or remove it");
    char *text = calloc(1, CONF_TEXT_MAX + 1);
    size_t size = text ? fread(text, 1, CONF_TEXT_MAX, file) : 0;
    bool failed = !text || ferror(file), more = !failed && fgetc(file) != EOF;
    fclose(file);
    conf->text[from] = text;
    snprintf(conf->path[from], sizeof conf->path[from], "%s", path);
    if (failed) return args_refuse(error, "cannot read %.200s: %s; is it a file?", path, strerror(errno));
    if (more || memchr(text, '\0', size))
        return args_refuse(error, "%.200s is no mycel.conf: %s; remove it, or write it anew", path,
                           more ? "it is above 64 KiB" : "it holds bytes that are no text");
    return conf_parse(conf, from, path, text, error);
}

// Several values of one key stand in one variable, between spaces.
static enum core_err read_environment(struct conf *conf, char error[ARGS_ERROR_SIZE])
{
    char *text = conf->text[CONF_ENVIRONMENT] = calloc(1, CONF_TEXT_MAX);
    if (!text) return args_refuse(error, "no memory is left; free some");
    size_t used = 0;
    for (size_t i = 0; i < conf->key_count; i++) {
        char name[64], where[80];
        const char *value = getenv(conf_variable(name, conf->keys[i]));
        size_t size = value ? strlen(value) + 1 : 0;
        if (size <= 1) continue;
        if (size > CONF_TEXT_MAX - used) return args_refuse(error, "%s is too long; unset it", name);
        char *rest = memcpy(text + used, value, size), *part;
        used += size;
        snprintf(where, sizeof where, "%s: ", name);
        while ((part = conf->keys[i]->repeat ? strsep(&rest, " ") : rest)) {
            if (!conf->keys[i]->repeat) rest = NULL;
            struct conf_line line = {.key = conf->keys[i], .value = part, .from = CONF_ENVIRONMENT};
            enum core_err err = *part ? add_line(conf, line, where, error) : CORE_ERR_OK;
            if (err) return err;
        }
    }
    return CORE_ERR_OK;
}

enum core_err conf_read(struct conf *conf, const char *home, char error[ARGS_ERROR_SIZE])
{
    char path[HOME_PATH_SIZE + 32];
    const char *named = getenv("MYCEL_CONF");
    enum core_err err = read_environment(conf, error);
    snprintf(path, sizeof path, "%s/mycel.conf", home);
    // A home that this user cannot enter, or that is no folder, is told by what the command does with it.
    char inside[HOME_PATH_SIZE + 8];
    snprintf(inside, sizeof inside, "%s/.", home);
    if (!err && access(inside, X_OK) == 0) err = read_file(conf, CONF_HOME, path, false, error);
    if (!err && (!named || *named)) err = read_file(conf, CONF_SYSTEM, named ? named : system_file, named, error);
    return err;
}

enum core_err conf_read_settings(struct conf *conf, const char *home, char error[ARGS_ERROR_SIZE])
{
    char path[HOME_PATH_SIZE + 32];
    snprintf(path, sizeof path, "%s/settings", home);
    return read_file(conf, CONF_SETTINGS, path, false, error);
}

// ---- what they come to ----

const struct conf_line *conf_of(const struct conf *conf, const struct flag *key, size_t index)
{
    for (int from = 0; from < CONF_FROM_COUNT; from++) {
        bool said = false;
        size_t nth = index;
        for (size_t i = 0; i < conf->line_count; i++) {
            const struct conf_line *line = &conf->lines[i];
            if (line->from != (enum conf_from)from || line->key != key) continue;
            said = true;
            if (*line->value && nth-- == 0) return line;
        }
        if (said) return NULL;
    }
    return NULL;
}

enum core_err conf_apply(const struct conf *conf, const struct command_table *table, struct args *args)
{
    for (size_t i = 0; i < conf->key_count; i++) {
        const struct flag *flag = args_flag(table, args->command, conf->keys[i]->name);
        if (!flag || args_has(args, flag->name)) continue;
        const struct conf_line *line;
        for (size_t n = 0; (line = conf_of(conf, conf->keys[i], n)); n++) {
            bool is_switch = flag->kind == FLAG_SWITCH;
            if (is_switch && strcmp(line->value, "yes") != 0) continue;
            args->from_conf = true;
            if (args_add(args, flag, is_switch ? "" : line->value))
                return args_refuse(args->error, "more than %d flags with those of mycel.conf; leave some out",
                                   ARGS_SET_MAX);
        }
    }
    return CORE_ERR_OK;
}

void conf_example(FILE *file, const struct conf *conf)
{
    fputs("# What peers on this machine do, unless a flag or the environment says otherwise: mycel.conf(5).\n"
          "# 'mycel conf' shows what holds, and where it stands.\n",
          file);
    for (size_t i = 0; i < conf->key_count; i++) {
        const struct flag *key = conf->keys[i];
        fprintf(file, "\n# %s\n#%s = %s\n", key->about, key->name, key->kind == FLAG_SWITCH ? "yes|no" : key->value);
    }
}
