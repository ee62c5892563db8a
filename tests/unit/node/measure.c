// What a device reaches: measured on the CPU, kept in the home, and recalled for that very device alone.
#include "node/compute/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tsan_start.h"

static int make_home(void **state)
{
    struct home *h = calloc(1, sizeof *h);
    if (!h) return -1;
    h->lock = -1;
    snprintf(h->path, sizeof h->path, "/tmp/mycel-test-measure-XXXXXX");
    *state = h;
    return mkdtemp(h->path) ? 0 : -1;
}

static int remove_home(void **state)
{
    struct home *h = *state;
    char command[64 + sizeof h->path];
    snprintf(command, sizeof command, "rm -r %s", h->path);
    int failed = system(command);
    free(h);
    return failed;
}

static const struct hip_facts facts = {.name = "Some GPU", .isa = "sm_90", .driver = "12.4", .threads = 0};

static void keeps_what_is_of_the_device(void **state)
{
    const struct home *h = *state;
    struct measure_rates got = {0};
    assert_false(measure_recall(h, "nvidia:0", &facts, &got));
    assert_int_equal(measure_keep(h, "nvidia:0", &facts, &(struct measure_rates){1000.5, 20.25}), CORE_ERR_OK);
    assert_int_equal(measure_keep(h, "nvidia:1", &facts, &(struct measure_rates){2, 3}), CORE_ERR_OK);
    assert_int_equal(measure_keep(h, "nvidia:0", &facts, &(struct measure_rates){2000.5, 40.25}), CORE_ERR_OK);
    assert_true(measure_recall(h, "nvidia:0", &facts, &got));
    assert_true(got.gflops == 2000.5 && got.gbytes_per_s == 40.25);
    assert_true(measure_recall(h, "nvidia:1", &facts, &got));
    assert_true(got.gflops == 2);
}

static void another_device_is_not_it(void **state)
{
    const struct home *h = *state;
    struct measure_rates got;
    assert_int_equal(measure_keep(h, "nvidia:0", &facts, &(struct measure_rates){1, 1}), CORE_ERR_OK);
    struct hip_facts other = facts;
    snprintf(other.driver, sizeof other.driver, "12.5");
    assert_false(measure_recall(h, "nvidia:0", &other, &got));
    other = facts;
    other.threads = 2;
    assert_false(measure_recall(h, "nvidia:0", &other, &got));
    assert_false(measure_recall(h, "nvidia:2", &facts, &got));
}

static void a_spoilt_file_is_no_rate(void **state)
{
    const struct home *h = *state;
    static const char row[] = "{\"rates\": [{\"name\": \"nvidia:0\", \"device\": \"Some GPU\", \"isa\": \"sm_90\", "
                              "\"driver\": \"12.4\", \"threads\": 0, \"gflops\": \"many\"}]}";
    const char *const texts[] = {"", "{", "[]", "{\"rates\": 3}", "{\"rates\": [1, {\"name\": 2}, null]}", row};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct measure_rates got;
        struct slice text = {(const uint8_t *)texts[i], strlen(texts[i])};
        assert_int_equal(home_write(h, "rates", text), CORE_ERR_OK);
        assert_false(measure_recall(h, "nvidia:0", &facts, &got));
        assert_int_equal(measure_keep(h, "nvidia:0", &facts, &(struct measure_rates){7, 8}), CORE_ERR_OK);
        assert_true(measure_recall(h, "nvidia:0", &facts, &got));
    }
}

static void the_cpu_reaches_something(void **state)
{
    (void)state;
    struct hip_device *d;
    struct measure_rates got;
    assert_int_equal(hip_device_open("cpu", NULL, &d), CORE_ERR_OK);
    assert_int_equal(measure_device(d, 0.02, &got), CORE_ERR_OK);
    assert_true(got.gflops > 0 && got.gbytes_per_s > 0);
    hip_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_what_is_of_the_device, make_home, remove_home),
        cmocka_unit_test_setup_teardown(another_device_is_not_it, make_home, remove_home),
        cmocka_unit_test_setup_teardown(a_spoilt_file_is_no_rate, make_home, remove_home),
        cmocka_unit_test(the_cpu_reaches_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
