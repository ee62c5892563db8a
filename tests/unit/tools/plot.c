// Curves as Braille: each dot where it has to be, by Unicode's table of the cells' bits.
#include "tools/look/plot.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void a_line_falls(void **state)
{
    (void)state;
    // Eight values from top to bottom over four columns of dots and two rows of cells: one dot a column.
    const double values[] = {7, 6, 5, 4, 3, 2, 1, 0};
    char lines[2][PLOT_LINE_SIZE];
    plot_curve(values, 8, 0, 7, 4, 2, true, lines);
    // Dots 1 and 5 (0x01 + 0x10), then 3 and 8 (0x04 + 0x80), on the first row; the same below.
    assert_string_equal(lines[0], "\xe2\xa0\x91\xe2\xa2\x84  ");
    assert_string_equal(lines[1], "  \xe2\xa0\x91\xe2\xa2\x84");
    plot_curve(values, 8, 0, 7, 4, 2, false, lines);
    assert_string_equal(lines[0], "**  ");
    assert_string_equal(lines[1], "  **");
}

static void steps_are_joined_and_gaps_stay(void **state)
{
    (void)state;
    char lines[1][PLOT_LINE_SIZE];
    const double level[] = {1, 1, 1, 1};
    plot_curve(level, 4, 1, 1, 2, 1, true, lines);
    assert_string_equal(lines[0], "\xe2\xa3\x80\xe2\xa3\x80");  // both lowest dots
    const double gap[] = {0, NAN, NAN, 0};
    plot_curve(gap, 4, 0, 1, 2, 1, true, lines);
    assert_string_equal(lines[0], "\xe2\xa1\x80\xe2\xa2\x80");
    const double jump[] = {0, 1};
    plot_curve(jump, 2, 0, 1, 1, 1, true, lines);
    assert_string_equal(lines[0], "\xe2\xa1\xb8");  // dot 7, then 6, 5 and 4 up to the top
    const double beyond[] = {-5, 5};
    plot_curve(beyond, 2, 0, 1, 1, 1, true, lines);
    assert_string_equal(lines[0], "\xe2\xa1\xb8");
    plot_curve(beyond, 0, 0, 1, 3, 1, true, lines);
    assert_string_equal(lines[0], "   ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_line_falls),
                                       cmocka_unit_test(steps_are_joined_and_gaps_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
