// Metrics as text: what Prometheus' format asks for, with labels that strangers chose.
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "node/look/metrics.h"

static void families_and_samples(void **state)
{
    (void)state;
    struct metrics m = {0};
    metrics_family(&m, "mycel_peers", "gauge", "Peers by state.");
    metrics_with(&m, "mycel_peers", 3, {"state", "alive"});
    metrics_with(&m, "mycel_peers", 0, {"state", "dead"}, {"site", ""});
    metrics_plain(&m, "mycel_x_total", 18446744073709551615.0);
    metrics_plain(&m, "mycel_bytes_total", 123456789012345.0);
    metrics_plain(&m, "mycel_rtt_seconds", 0.000625);
    metrics_plain(&m, "mycel_loss", NAN);
    metrics_plain(&m, "mycel_loss", -INFINITY);
    assert_false(m.failed);
    assert_string_equal(m.text, "# HELP mycel_peers Peers by state.\n"
                                "# TYPE mycel_peers gauge\n"
                                "mycel_peers{state=\"alive\"} 3\n"
                                "mycel_peers{state=\"dead\",site=\"\"} 0\n"
                                "mycel_x_total 1.84467441e+19\n"
                                "mycel_bytes_total 123456789012345\n"
                                "mycel_rtt_seconds 0.000625\n"
                                "mycel_loss NaN\n"
                                "mycel_loss -Inf\n");
    free(m.text);
}

static void check_label(const char *value, const char *shown)
{
    struct metrics m = {0};
    metrics_with(&m, "x", 1, {"l", value});
    assert_string_equal(m.text, shown);
    free(m.text);
}

// Quotes, backslashes and line ends are escaped; what is no UTF-8 (RFC 3629) becomes a question mark, byte by byte.
static void labels_of_strangers(void **state)
{
    (void)state;
    check_label("a\"} 9\nfake 1", "x{l=\"a\\\"} 9\\nfake 1\"} 1\n");
    check_label("c:\\d", "x{l=\"c:\\\\d\"} 1\n");
    check_label("\xc3\xb8 \xe2\x82\xac \xf0\x9f\x8d\x84", "x{l=\"\xc3\xb8 \xe2\x82\xac \xf0\x9f\x8d\x84\"} 1\n");
    check_label("\xff", "x{l=\"?\"} 1\n");
    check_label("\xc0\xaf", "x{l=\"??\"} 1\n");            // overlong
    check_label("\xed\xa0\x80", "x{l=\"???\"} 1\n");       // half of a surrogate pair
    check_label("\xf4\x90\x80\x80", "x{l=\"????\"} 1\n");  // beyond Unicode
    check_label("\xe2\x82", "x{l=\"??\"} 1\n");            // cut short
    check_label("\xe2\"\x82", "x{l=\"?\\\"?\"} 1\n");      // a quote where a letter should go on
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_and_samples),
        cmocka_unit_test(labels_of_strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
