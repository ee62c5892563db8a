#include "tools/lab/lab_conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "tools/commands.h"
#include "tools/conf.h"

enum { PATH_SIZE = HOME_PATH_SIZE + 32, PORTS_END = 65536 };

// HOME/lab/mycel.conf (number 0) or that of peer `number`; makes its folders where `make` is set.
static void path_of(char out[PATH_SIZE], const char *home, unsigned number, bool make)
{
    char folder[PATH_SIZE];
    int n = snprintf(folder, sizeof folder, "%.*s/lab", HOME_PATH_SIZE - 32, home);
    if (number) n += snprintf(folder + n, sizeof folder - (size_t)n, "/%u", number);
    if (make) (void)home_create(folder);  // a failure shows where the file is written
    snprintf(out, PATH_SIZE, "%.*s/mycel.conf", n, folder);
}

// What the file at `path` says; a file that isn't there says nothing. To be closed and freed.
static struct conf *read_conf(const char *path, char error[ARGS_ERROR_SIZE])
{
    struct conf *conf = calloc(1, sizeof *conf);
    check(conf);
    conf_open(conf, &command_table);
    error[0] = '\0';
    FILE *file = fopen(path, "re");
    if (!file) return conf;
    char *text = conf->text[CONF_HOME] = calloc(1, CONF_TEXT_MAX);
    size_t size = text ? fread(text, 1, CONF_TEXT_MAX - 1, file) : 0;
    fclose(file);
    if (size) (void)conf_parse(conf, CONF_HOME, path, text, error);
    return conf;
}

static void forget(struct conf *conf)
{
    conf_close(conf);
    free(conf);
}

// The file at `path` with `values` of `keys` in place of its own; a value of NULL leaves its own.
static int rewrite(const struct call *call, const char *path, const char *const *keys, const char *const *values,
                   size_t count)
{
    char error[ARGS_ERROR_SIZE];
    struct conf *conf = read_conf(path, error);
    FILE *file = error[0] ? NULL : fopen(path, "we");
    if (!file && !error[0]) snprintf(error, sizeof error, "cannot write %.200s: %s", path, strerror(errno));
    if (file) fputs("# Kept by 'mycel lab up'; change it as you like (mycel.conf(5)).\n", file);
    for (size_t i = 0; file && i < conf->key_count; i++) {
        const struct conf_line *line;
        const char *anew = NULL;
        for (size_t k = 0; k < count; k++)
            if (strcmp(keys[k], conf->keys[i]->name) == 0 && values[k]) anew = values[k];
        if (anew) fprintf(file, "%s = %s\n", conf->keys[i]->name, anew);
        for (size_t n = 0; !anew && (line = conf_of(conf, conf->keys[i], n)); n++)
            fprintf(file, "%s = %s\n", line->key->name, line->value);
    }
    if (file && fclose(file)) snprintf(error, sizeof error, "cannot write %.200s: %s", path, strerror(errno));
    forget(conf);
    if (!error[0]) return 0;
    output_error(&call->out, "FAILED", "%s", error);
    return core_error_exit(CORE_ERR_FAILED);
}

int lab_conf_keep(const struct call *call, unsigned count)
{
    static const char *const limits[] = {"cpus", "memory", "gpus", "share"}, *const http[] = {"http"};
    const char *values[4];
    char path[PATH_SIZE], port[16];
    bool any = false;
    int status = 0;
    for (size_t i = 0; i < 4; i++) {
        values[i] = args_text(&call->args, limits[i], NULL);
        any = any || values[i];
    }
    uint64_t first = args_number(&call->args, "http", 0);
    if (first + count > PORTS_END) {
        output_error(&call->out, "USAGE", "--http %llu leaves no ports for %u peers; they end at 65535",
                     (unsigned long long)first, count);
        return core_error_exit(CORE_ERR_USAGE);
    }
    path_of(path, call->home, 0, any);
    if (any) status = rewrite(call, path, limits, values, 4);
    for (unsigned k = 1; status == 0 && args_has(&call->args, "http") && k <= count; k++) {
        snprintf(port, sizeof port, "%llu", (unsigned long long)(first ? first + k - 1 : 0));
        values[0] = port;
        path_of(path, call->home, k, true);
        status = rewrite(call, path, http, values, 1);
    }
    return status;
}

void lab_conf_enter(const char *home)
{
    char path[PATH_SIZE], name[64];
    struct conf conf;
    conf_open(&conf, &command_table);
    for (size_t i = 0; i < conf.key_count; i++) unsetenv(conf_variable(name, conf.keys[i]));
    path_of(path, home, 0, false);
    setenv("MYCEL_CONF", access(path, F_OK) == 0 ? path : "", 1);
}

bool lab_conf_has_cpus(const char *home)
{
    char path[PATH_SIZE], error[ARGS_ERROR_SIZE];
    path_of(path, home, 0, false);
    struct conf *conf = read_conf(path, error);
    bool has = false;
    for (size_t i = 0; i < conf->line_count; i++)
        has = has || (strcmp(conf->lines[i].key->name, "cpus") == 0 && *conf->lines[i].value);
    forget(conf);
    return has;
}
