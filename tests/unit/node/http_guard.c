// Who may ask, and for what.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "node/look/http_guard.h"

static void hosts(void **state)
{
    (void)state;
    static const char *const good[] = {"localhost:6180", "LocalHost:6180", "127.0.0.1:6180", "[::1]:6180"};
    static const char *const bad[] = {"",
                                      "localhost",
                                      "localhost:6181",
                                      "localhost:61800",
                                      "127.0.0.1",
                                      "127.0.0.2:6180",
                                      "evil.example:6180",
                                      "localhost.:6180",
                                      "localhost:6180.evil",
                                      "::1:6180",
                                      "localhost:06180",
                                      "x@localhost:6180",
                                      " localhost:6180",
                                      "localhost:6180 ",
                                      "127.1:6180",
                                      "2130706433:6180",
                                      "localhost:6180,evil",
                                      "[::ffff:7f00:1]:6180"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(http_host_allowed(good[i], 6180));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(http_host_allowed(bad[i], 6180));
    assert_false(http_host_allowed(NULL, 6180));
    assert_true(http_host_allowed("localhost", 80));
    assert_false(http_host_allowed("evil.example", 80));
    char endless[70000];
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = 0;
    assert_false(http_host_allowed(endless, 6180));
}

static enum http_target target(const char *path, char run[HTTP_RUN_SIZE])
{
    memset(run, 'z', HTTP_RUN_SIZE);
    return http_target_of(path, run);
}

static void paths(void **state)
{
    (void)state;
    char run[HTTP_RUN_SIZE], path[128];
    assert_int_equal(target("/", run), HTTP_PAGE);
    assert_int_equal(target("/api/v1/status", run), HTTP_STATUS);
    assert_int_equal(target("/api/v1/peers", run), HTTP_PEERS);
    assert_int_equal(target("/api/v1/map", run), HTTP_MAP);
    assert_int_equal(target("/api/v1/runs", run), HTTP_RUNS);
    assert_int_equal(target("/api/v1/events", run), HTTP_EVENTS);
    assert_int_equal(target("/metrics", run), HTTP_METRICS);
    assert_int_equal(target("/healthz", run), HTTP_HEALTHZ);
    assert_int_equal(target("/readyz", run), HTTP_READYZ);
    static const char *const nothing[] = {"",
                                          "//",
                                          "/index.html",
                                          "/api/v1",
                                          "/api/v1/status/",
                                          "/api/v2/status",
                                          "/STATUS",
                                          "/api/v1/runs/",
                                          "/../etc/passwd",
                                          "/api/v1/runs/abc",
                                          "/api/v1/runs/abcg",
                                          "/api/v1/runs/ABCD",
                                          "/metrics?",
                                          "/api/v1/runs/abcd/",
                                          "/api/v1/runs/../status"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
        assert_int_equal(target(nothing[i], run), HTTP_NOTHING);
    assert_int_equal(target("/api/v1/runs/3f9a", run), HTTP_RUN);
    assert_string_equal(run, "3f9a");
    snprintf(path, sizeof path, "/api/v1/runs/%064d", 7);
    assert_int_equal(target(path, run), HTTP_RUN);
    assert_int_equal(strlen(run), 64);
    snprintf(path, sizeof path, "/api/v1/runs/%065d", 7);
    assert_int_equal(target(path, run), HTTP_NOTHING);
}

static void encodings(void **state)
{
    (void)state;
    assert_true(http_gzip_allowed("gzip"));
    assert_true(http_gzip_allowed("deflate, gzip, br"));
    assert_true(http_gzip_allowed("gzip;q=0.5, br"));
    assert_true(http_gzip_allowed("gzip; q=1"));
    assert_false(http_gzip_allowed(NULL));
    assert_false(http_gzip_allowed(""));
    assert_false(http_gzip_allowed("br"));
    assert_false(http_gzip_allowed("gzip;q=0"));
    assert_false(http_gzip_allowed("gzip; q=0.000, br"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts),
        cmocka_unit_test(paths),
        cmocka_unit_test(encodings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
