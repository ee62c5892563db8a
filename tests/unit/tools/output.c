// Numbers and tables as people read them.
#include "tools/output.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tsan_start.h"

#include "tools/client.h"

static void numbers_have_three_digits(void **state)
{
    (void)state;
    char text[TEXT_SIZE];
    assert_string_equal(text_bytes(text, 0), "0 B");
    assert_string_equal(text_bytes(text, 999), "999 B");
    assert_string_equal(text_bytes(text, 1000), "1.00 kB");
    assert_string_equal(text_bytes(text, 1234567), "1.23 MB");
    assert_string_equal(text_bytes(text, 99960), "100 kB");
    assert_string_equal(text_bytes(text, 999900), "1.00 MB");
    assert_string_equal(text_count(text, 512), "512");
    assert_string_equal(text_count(text, 51200), "51.2k");
    assert_string_equal(text_seconds(text, 4.24), "4.2s");
    assert_string_equal(text_seconds(text, 59.4), "59s");
    assert_string_equal(text_seconds(text, 100), "1m40s");
    assert_string_equal(text_seconds(text, 3600 * 27), "1d03h");
    assert_string_equal(text_seconds(text, NAN), "-");
    assert_string_equal(text_loss(text, 1.75), "1.7500");
    assert_string_equal(text_loss(text, NAN), "-");
    assert_string_equal(text_loss(text, -1), "-");
}

// What `print` writes to standard output; the caller frees it.
static char *captured(void (*print)(void))
{
    fflush(stdout);
    FILE *file = tmpfile();
    int saved = dup(STDOUT_FILENO);
    assert_true(file && saved >= 0 && dup2(fileno(file), STDOUT_FILENO) >= 0);
    print();
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    char *text = calloc(1, (size_t)size + 1);
    rewind(file);
    assert_true(fread(text, 1, (size_t)size, file) == (size_t)size);
    fclose(file);
    return text;
}

static void print_two_rows(void)
{
    static const struct table_column columns[] = {{"NAME", false, 8}, {"N", true, 0}};
    struct output out = {0};
    struct table table;
    table_open(&table, columns, 2);
    table_add(&table, TINT_GOOD, "a\033[31m");  // a name that would paint the terminal
    table_add(&table, TINT_NONE, "%d", 5);
    table_add(&table, TINT_NONE, "a-very-long-name");
    table_add(&table, TINT_NONE, "%d", 1234);
    table_print(&table, &out);
}

static void tables_align_and_disarm(void **state)
{
    (void)state;
    char *text = captured(print_two_rows);
    assert_string_equal(text, "NAME         N\n"
                              "a?[31m       5\n"
                              "a-very..  1234\n");
    free(text);
}

static void print_object(void)
{
    output_json(json_pack("{s:i,s:s,s:i}", "z", 1, "a", "x\n", "schema", 1));
}

static void json_starts_with_its_schema(void **state)
{
    (void)state;
    char *text = captured(print_object);
    assert_string_equal(text, "{\"schema\":1,\"z\":1,\"a\":\"x\\n\"}\n");
    free(text);
}

static void print_wrapped(void)
{
    output_wrapped(stdout, 4, "  ! ",
                   "a word and a second one that makes the line exactly eighty columns: 01234567 next\nline");
    output_wrapped(stdout, 0, "", "");
}

static void text_is_wrapped_at_eighty(void **state)
{
    (void)state;
    char *text = captured(print_wrapped);
    assert_string_equal(text, "  ! a word and a second one that makes the line exactly eighty columns: 01234567\n"
                              "    next\n"
                              "    line\n"
                              "\n");
    free(text);
}

static void fields_have_stand_ins(void **state)
{
    (void)state;
    json_t *o = json_pack("{s:s,s:n,s:f,s:i,s:b}", "text", "t", "nothing", "real", 0.5, "whole", 7, "yes", 1);
    assert_string_equal(field_text(o, "text", "-"), "t");
    assert_string_equal(field_text(o, "nothing", "-"), "-");
    assert_string_equal(field_text(o, "whole", "-"), "-");
    assert_true(field_number(o, "real", 0) == 0.5 && field_number(o, "whole", 0) == 7 &&
                field_number(o, "nothing", -1) == -1);
    assert_true(field_true(o, "yes") && !field_true(o, "absent") && !field_true(NULL, "yes"));
    json_decref(o);
    json_t *wait = json_pack("{s:s,s:s,s:s}", "peer", "p3", "cause", "no answer", "remedy", "start it");
    char line[128];
    client_describe_wait(line, sizeof line, wait);
    assert_string_equal(line, "p3: no answer; start it");
    client_describe_wait(line, 10, wait);
    assert_int_equal(strlen(line), 9);
    json_decref(wait);
}

// Beside what Unicode's tables say of each: letters stay, what commands a terminal or a line doesn't.
static void strangers_texts_are_disarmed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *safe;
    } cases[] = {
        {"caf\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x8c\xb1\nnext", "caf\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x8c\xb1\nnext"},
        {"a\033[2Jb\r\t\x7f", "a?[2Jb???"},
        {"\xc2\x9b"
         "31m",
         "?31m"},                                               // CSI as one character
        {"\x9b", "?"},                                          // and as one byte
        {"x\xe2\x80\xaey\xe2\x81\xa6z\xe2\x80\x8b", "x?y?z?"},  // override, isolate, no width
        {"\xef\xbb\xbf", "?"},
        {"\xc0\x80\xed\xa0\x80\xf5\x80", "???????"},  // too long, half of a pair, beyond the last
        {"cut \xe6\x97", "cut ??"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", cases[i].text);
        output_safe(text);
        assert_string_equal(text, cases[i].safe);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_three_digits),   cmocka_unit_test(tables_align_and_disarm),
        cmocka_unit_test(json_starts_with_its_schema), cmocka_unit_test(text_is_wrapped_at_eighty),
        cmocka_unit_test(fields_have_stand_ins),       cmocka_unit_test(strangers_texts_are_disarmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
