// The command line's parser over the real command table: what is accepted, what is refused, and what the refusal says.
#include "tools/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tsan_start.h"

#include "tools/commands.h"
#include "tools/help.h"

enum { ARGV_MAX = 16 };

// Parses "mycel " + line, split at single spaces. `storage` holds the words that the result points into.
static enum core_err parse(struct args *args, char storage[256], const char *line)
{
    char *argv[ARGV_MAX] = {"mycel"};
    int argc = 1;
    snprintf(storage, 256, "%s", line);
    for (char *rest = storage, *word; (word = strsep(&rest, " ")) && argc < ARGV_MAX;)
        if (word[0] != '\0') argv[argc++] = word;
    return args_parse(args, &command_table, argc, argv);
}

static void accepts(const char *line, const char *verb, const char *sub)
{
    struct args args;
    char storage[256];
    if (parse(&args, storage, line)) fail_msg("'%s' is refused: %s", line, args.error);
    assert_string_equal(args.command->verb, verb);
    if (sub)
        assert_string_equal(args.command->sub, sub);
    else
        assert_null(args.command->sub);
}

static void refuses(const char *line, const char *with)
{
    struct args args;
    char storage[256];
    if (parse(&args, storage, line) != CORE_ERR_USAGE) fail_msg("'%s' is accepted", line);
    if (!strstr(args.error, with)) fail_msg("'%s' is refused without '%s': %s", line, with, args.error);
}

static void finds_verbs_and_sub_verbs(void **state)
{
    (void)state;
    accepts("status", "status", NULL);
    accepts("--home /x status --json", "status", NULL);
    accepts("invite", "invite", NULL);
    accepts("invite --ttl 2h", "invite", NULL);
    accepts("invite ls", "invite", "ls");
    accepts("runs show ab", "runs", "show");
    accepts("lab up 4", "lab", "up");
    accepts("--json lab status", "lab", "status");
    accepts("lab hosts up 3 --rate 100mbit", "lab", "hosts up");
    accepts("--json lab hosts cut 3->5 --tag x", "lab", "hosts cut");
    accepts("lab hosts --help", "lab", "hosts");
    accepts("join -", "join", NULL);
    accepts("--help", "mycel", NULL);
    accepts("train --help", "train", NULL);
    accepts("--version", "mycel", NULL);
    accepts("-V", "mycel", NULL);
}

static void refuses_with_a_next_step(void **state)
{
    (void)state;
    refuses("", "mycel help");
    refuses("statsu", "did you mean 'mycel status'");
    refuses("pers", "did you mean 'mycel peers'");
    refuses("qqqqqqqq", "mycel help");
    refuses("runs shwo x", "did you mean 'mycel runs show'");
    refuses("lab", "mycel help lab");
    refuses("lab upp 4", "did you mean 'mycel lab up'");
    refuses("join", "needs TOKEN");
    refuses("join a b", "does not know what to do with 'b'");
    refuses("train --dtaa x", "did you mean --data");
    refuses("train --rounds", "needs a value");
    refuses("train --rounds 0", "whole number from 1");
    refuses("train --rounds 3x", "whole number from 1");
    refuses("train --rounds 1 --rounds 2", "given twice");
    refuses("train --json=yes", "takes no value");
    refuses("init m --fault-model lies", "not one of trusted");
    refuses("up --listen 6173", "HOST:PORT");
    refuses("up --listen ::1:6173", "HOST:PORT");
    refuses("invite --ttl soon", "not a duration");
    refuses("lab run --peer 1", "command after --");
    refuses("lab hosts", "needs one of its commands");
    refuses("lab hosts upp", "did you mean 'mycel lab hosts up'");
    refuses("lab hosts up 3 --delay 20", "20ms, 500us or 1s");
    refuses("lab hosts up 3 --loss 101%", "0% to 100%");
    refuses("lab hosts up 3 --rate fast", "100mbit");
    refuses("status -qz", "takes no flag -qz");
}

static void verbs_not_built_are_unknown(void **state)
{
    (void)state;
    refuses("task", "there is no command 'task'");
    refuses("credits", "there is no command 'credits'");
    refuses("up --tunnel 80", "takes no flag --tunnel");
}

static void values_are_read_whole(void **state)
{
    (void)state;
    struct args args;
    char storage[256];
    assert_int_equal(parse(&args, storage, "train --data a.txt --rounds=7 --deadline 2m --seed 0 -qv"), CORE_ERR_OK);
    assert_string_equal(args_text(&args, "data", NULL), "a.txt");
    assert_int_equal(args_number(&args, "rounds", 1), 7);
    assert_int_equal(args_seconds(&args, "deadline", 1), 120);
    assert_int_equal(args_number(&args, "seed", 5), 0);
    assert_int_equal(args_number(&args, "inner-steps", 10), 10);
    assert_true(args_has(&args, "quiet") && args_has(&args, "verbose"));
    assert_int_equal(parse(&args, storage, "ping p2 -c 3"), CORE_ERR_OK);
    assert_int_equal(args_number(&args, "count", 4), 3);
    assert_int_equal(parse(&args, storage, "ping -c3 p2"), CORE_ERR_OK);
    assert_int_equal(args_number(&args, "count", 4), 3);
    assert_int_equal(parse(&args, storage, "up --advertise a:1 --advertise b:2"), CORE_ERR_OK);
    assert_string_equal(args_nth(&args, "advertise", 1), "b:2");
    assert_null(args_nth(&args, "advertise", 2));
}

static void the_rest_is_left_alone(void **state)
{
    (void)state;
    struct args args;
    char storage[256];
    assert_int_equal(parse(&args, storage, "lab run --peer 2 -- ls --json -l"), CORE_ERR_OK);
    assert_int_equal(args.rest_count, 3);
    assert_string_equal(args.rest[1], "--json");
    assert_false(args_has(&args, "json"));
    assert_int_equal(args_number(&args, "peer", 1), 2);
}

static void numbers_and_times(void **state)
{
    (void)state;
    uint64_t n;
    double real;
    unsigned port;
    assert_true(args_read_number("18446744073709551615", &n) && n == UINT64_MAX);
    assert_false(args_read_number("18446744073709551616", &n));
    assert_false(args_read_number("-1", &n));
    assert_false(args_read_number(" 1", &n));
    assert_true(args_read_duration("1d", &n) && n == 86400);
    assert_true(args_read_duration("90", &n) && n == 90);
    assert_false(args_read_duration("1w", &n));
    assert_false(args_read_duration("99999999999d", &n));
    assert_true(args_read_real("0.8", &real) && real == 0.8);
    assert_false(args_read_real("nan", &real));
    assert_true(args_read_address("[::1]:80", &port) && port == 80);
    assert_false(args_read_address("host:70000", &port));
    assert_false(args_read_address(":80", &port));
}

// Each row of the table is reachable, and its flags do not clash with the common ones.
static void the_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < command_table.count; i++) {
        const struct command *command = &command_table.commands[i];
        assert_true(command->min_words <= command->max_words && command->max_words <= ARGS_WORDS_MAX);
        assert_true(strlen(command->about) <= 64);
        for (size_t j = 0; j < command->flag_count; j++) {
            for (size_t k = 0; k < command_table.common_count; k++) {
                assert_string_not_equal(command->flags[j].name, command_table.common[k].name);
                if (command->flags[j].letter)
                    assert_int_not_equal(command->flags[j].letter, command_table.common[k].letter);
            }
            for (size_t k = 0; k < j; k++) assert_string_not_equal(command->flags[j].name, command->flags[k].name);
        }
    }
}

// Help fits a terminal of 80 columns, for every command.
static void help_fits_the_terminal(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    help_overview(file, &command_table);
    for (size_t i = 0; i < command_table.count; i++)
        assert_true(help_command(file, &command_table, command_table.commands[i].verb, command_table.commands[i].sub));
    assert_false(help_command(file, &command_table, "no-such-verb", NULL));
    fclose(file);
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
        if (strlen(line) > 80) fail_msg("%zu columns: %s", strlen(line), line);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_verbs_and_sub_verbs),   cmocka_unit_test(refuses_with_a_next_step),
        cmocka_unit_test(verbs_not_built_are_unknown), cmocka_unit_test(values_are_read_whole),
        cmocka_unit_test(the_rest_is_left_alone),      cmocka_unit_test(numbers_and_times),
        cmocka_unit_test(the_table_is_sound),          cmocka_unit_test(help_fits_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
