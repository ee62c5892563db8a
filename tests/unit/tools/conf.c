// mycel.conf: what a line may be, who wins, what a refusal says.
#include "tools/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tsan_start.h"

#include "tools/commands.h"

struct world {
    struct conf conf;
    char error[ARGS_ERROR_SIZE];
    char home[64];
};

static int make(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->home, sizeof w->home, "/tmp/mycel-conf-XXXXXX");
    if (!mkdtemp(w->home)) return -1;
    conf_open(&w->conf, &command_table);
    setenv("MYCEL_CONF", "", 1);
    *state = w;
    return 0;
}

static int drop(void **state)
{
    struct world *w = *state;
    char path[128];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", w->home, i ? "mycel.conf" : "system.conf");
        unlink(path);
    }
    rmdir(w->home);
    conf_close(&w->conf);
    free(w);
    return 0;
}

static enum core_err parse(struct world *w, enum conf_from from, const char *text)
{
    w->conf.text[from] = strdup(text);
    return conf_parse(&w->conf, from, "F", w->conf.text[from], w->error);
}

static const char *value_of(const struct world *w, const char *key, size_t n)
{
    for (size_t i = 0; i < w->conf.key_count; i++) {
        if (strcmp(w->conf.keys[i]->name, key) != 0) continue;
        const struct conf_line *line = conf_of(&w->conf, w->conf.keys[i], n);
        return line ? line->value : "-";
    }
    fail_msg("no key %s", key);
    return NULL;
}

static void lines_are_read(void **state)
{
    struct world *w = *state;
    const char *text =
        "# a comment\n\n  cpus=2\t# two\r\nadvertise = a:1\nadvertise = [::1]:2\n\tsite = x#y \nquiet = no\n"
        "share = 50%\nhttp =\nlisten = # none\nlog-format = json";
    assert_int_equal(parse(w, CONF_HOME, text), CORE_ERR_OK);
    assert_string_equal(value_of(w, "cpus", 0), "2");
    assert_string_equal(value_of(w, "cpus", 1), "-");
    assert_string_equal(value_of(w, "advertise", 0), "a:1");
    assert_string_equal(value_of(w, "advertise", 1), "[::1]:2");
    assert_string_equal(value_of(w, "site", 0), "x#y");
    assert_string_equal(value_of(w, "http", 0), "-");
    assert_string_equal(value_of(w, "listen", 0), "-");
    assert_string_equal(value_of(w, "log-format", 0), "json");
}

static void refuses(const char *text, const char *with)
{
    void *state;
    assert_int_equal(make(&state), 0);
    struct world *w = state;
    if (parse(w, CONF_SYSTEM, text) != CORE_ERR_USAGE) fail_msg("'%s' is accepted", text);
    if (!strstr(w->error, with)) fail_msg("'%s' is refused without '%s': %s", text, with, w->error);
    for (const char *p = w->error; *p; p++) assert_in_range(*p, 32, 126);
    drop(&state);
}

static void refusals_name_line_and_remedy(void **state)
{
    (void)state;
    refuses("cpus = 1\ncpu = 2\n", "F:2: there is no key 'cpu'; did you mean cpus?");
    refuses("log_format = json", "did you mean log-format?");
    refuses("zzzzzzzzzz = 1", "'mycel conf --example' lists them");
    refuses("cpus = many", "F:1: cpus many is not a whole number from 1");
    refuses("memory = 4", "F:1: memory 4 is no size above 0; write it as 4GB");
    refuses("quiet = true", "F:1: quiet 'true' is neither yes nor no");
    refuses("cpus = 1\n\ncpus = 2", "F:3: cpus stands in line 1 already");
    refuses("[peer]", "F:1: '[peer]' is no 'key = value'");
    refuses("= 3", "there is no key ''");
    refuses("detach = yes", "belongs on the command line");
    refuses("site = a\x1b[2Jb", "F:1: site 'a?[2Jb' holds bytes");
    refuses("\x1b[2J\xff = 1", "there is no key '?[2J?'");
    refuses("site = \xe2\x80\xae", "holds bytes");
}

static void write_file(const struct world *w, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", w->home, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

// Command line, environment, home, system: each hides the ones after it, key by key.
static void first_who_says_wins(void **state)
{
    struct world *w = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/system.conf", w->home);
    setenv("MYCEL_CONF", path, 1);
    setenv("MYCEL_SHARE", "30", 1);
    setenv("MYCEL_ADVERTISE", "e:1 e:2", 1);
    write_file(w, "mycel.conf", "cpus = 2\nshare = 20\ngpus = none\nhttp =\nquiet = no\nadvertise = h:1\n");
    write_file(w, "system.conf", "cpus = 1\nshare = 10\ngpus = all\nhttp = 80\nquiet = yes\nsite = attic\n");
    assert_int_equal(conf_read(&w->conf, w->home, w->error), CORE_ERR_OK);
    struct args args;
    char *argv[] = {"mycel", "up", "--gpus", "1"};
    assert_int_equal(args_parse(&args, &command_table, 4, argv), CORE_ERR_OK);
    assert_int_equal(conf_apply(&w->conf, &command_table, &args), CORE_ERR_OK);
    unsetenv("MYCEL_SHARE");
    unsetenv("MYCEL_ADVERTISE");
    assert_string_equal(args_text(&args, "gpus", "-"), "1");
    assert_int_equal(args_share(&args, "share", 0), 30);
    assert_int_equal(args_number(&args, "cpus", 0), 2);
    assert_false(args_has(&args, "http"));
    assert_false(args_has(&args, "quiet"));
    assert_string_equal(args_text(&args, "site", "-"), "attic");
    assert_string_equal(args_nth(&args, "advertise", 0), "e:1");
    assert_string_equal(args_nth(&args, "advertise", 1), "e:2");
    assert_null(args_nth(&args, "advertise", 2));
}

static void files_that_are_no_such_file(void **state)
{
    struct world *w = *state;
    assert_int_equal(conf_read(&w->conf, w->home, w->error), CORE_ERR_OK);  // none at all
    conf_close(&w->conf);
    conf_open(&w->conf, &command_table);
    setenv("MYCEL_CONF", "/nowhere/at/all", 1);
    assert_int_equal(conf_read(&w->conf, w->home, w->error), CORE_ERR_USAGE);
    assert_non_null(strstr(w->error, "unset MYCEL_CONF"));
    conf_close(&w->conf);
    conf_open(&w->conf, &command_table);
    setenv("MYCEL_CONF", w->home, 1);  // a folder
    assert_int_equal(conf_read(&w->conf, w->home, w->error), CORE_ERR_USAGE);
    assert_non_null(strstr(w->error, "is it a file?"));
}

// What the example says is a file that parses once its marks are off, key by key.
static void example_holds_every_key(void **state)
{
    struct world *w = *state;
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    conf_example(file, &w->conf);
    fclose(file);
    assert_int_equal(parse(w, CONF_HOME, text), CORE_ERR_OK);
    assert_int_equal(w->conf.line_count, 0);  // comments alone
    for (size_t i = 0; i < w->conf.key_count; i++) {
        char line[64];
        snprintf(line, sizeof line, "\n#%s = ", w->conf.keys[i]->name);
        assert_non_null(strstr(text, line));
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_are_read, make, drop),
        cmocka_unit_test(refusals_name_line_and_remedy),
        cmocka_unit_test_setup_teardown(first_who_says_wins, make, drop),
        cmocka_unit_test_setup_teardown(files_that_are_no_such_file, make, drop),
        cmocka_unit_test_setup_teardown(example_holds_every_key, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
