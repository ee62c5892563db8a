// What the mesh benchmark makes of its processes' lines, and the payloads that they send each other. No process is
// started here: tests/e2e does that.
#include "bench/fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/fleet_lines.h"
#include "bench/mesh_casts_seen.h"
#include "bench/mesh_parts.h"

enum { COUNT = 3 };

static struct fleet_node nodes[COUNT];
static bool sees[COUNT * COUNT];
static uint64_t changed_us[COUNT * COUNT];
static uint32_t doubts[COUNT * COUNT], losses[COUNT * COUNT];

static struct fleet whole_fleet(void)
{
    struct fleet f = {
        .count = COUNT, .nodes = nodes, .sees = sees, .changed_us = changed_us, .doubts = doubts, .losses = losses};
    memset(nodes, 0, sizeof nodes);
    fleet_clear(&f);
    for (uint32_t i = 0; i < COUNT; i++) nodes[i].alive = true;
    return f;
}

static void say(struct fleet *f, uint32_t index, const char *text)
{
    char line[256];
    snprintf(line, sizeof line, "%s", text);
    fleet_line(f, index, line);
}

static void who_sees_whom_follows_the_lines(void **state)
{
    (void)state;
    struct fleet f = whole_fleet();
    uint64_t last_us;
    say(&f, 0, "READY 127.0.1.1:6173");
    assert_string_equal(nodes[0].address, "127.0.1.1:6173");
    say(&f, 0, "FULL 1000");
    say(&f, 1, "FULL 2000");
    assert_int_equal(fleet_full(&f), 2);
    assert_false(fleet_all_see_all(&f));
    say(&f, 2, "FULL 3000");
    assert_true(fleet_all_see_all(&f));
    // 2 dies: 0 knows, then 1; and 1 is wrong about 0 for a while.
    nodes[2].alive = false;
    say(&f, 0, "GONE 5000 2");
    assert_int_equal(fleet_still_see(&f, 2, &last_us), 1);
    say(&f, 1, "DOUBT 5500 0");
    say(&f, 1, "GONE 6000 0");
    say(&f, 1, "GONE 7000 2");
    assert_int_equal(fleet_still_see(&f, 2, &last_us), 0);
    assert_int_equal(last_us, 7000);
    assert_int_equal(fleet_unseen(&f), 1);
    assert_int_equal(fleet_false_losses(&f, UINT32_MAX), 1);
    assert_int_equal(fleet_false_doubts(&f, UINT32_MAX), 1);
    assert_int_equal(fleet_false_losses(&f, 0), 0);
    say(&f, 1, "BACK 8000 0");
    assert_true(fleet_all_see_all(&f));
    assert_int_equal(f.errors, 0);
}

static void what_makes_no_sense_is_an_error(void **state)
{
    (void)state;
    struct fleet f = whole_fleet();
    say(&f, 1, "ERR no room");
    assert_int_equal(f.errors, 1);
    assert_string_equal(f.error, "process 1: no room");
    say(&f, 1, "GONE 5000 3");  // there is no process 3
    say(&f, 1, "GONE");
    say(&f, 1, "");
    assert_int_equal(f.errors, 4);
}

static void deliveries_and_counts_are_taken(void **state)
{
    (void)state;
    struct fleet f = whole_fleet();
    say(&f, 0, "LAT 7 1500 8 2500");
    say(&f, 0, "STAT 2 5");
    assert_int_equal(f.delivery_count, 2);
    assert_int_equal(f.deliveries[1].number, 8);
    assert_int_equal(f.deliveries[1].latency_us, 2500);
    assert_true(nodes[0].told);
    assert_int_equal(nodes[0].duplicate, 5);
    free(f.deliveries);
}

static void a_payload_counts_once_and_is_signed(void **state)
{
    (void)state;
    uint8_t seed[CORE_SEED_SIZE] = {1}, bytes[200];
    struct core_key key = sign_key_from_seed(seed);
    cast_payload_make(&key, 12345, 1000, bytes, sizeof bytes);
    struct slice payload = {bytes, sizeof bytes};
    assert_true(cast_payload_valid(&key.id, payload));
    struct casts_seen seen = {.received = 3};
    assert_true(casts_seen_take(&seen, payload, 4000));
    assert_false(casts_seen_take(&seen, payload, 5000));
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    casts_seen_report(&seen, out);
    casts_seen_report(&seen, out);
    fclose(out);
    assert_string_equal(text, "LAT 12345 3000\nSTAT 1 2\nSTAT 0 0\n");
    free(text);
    casts_seen_close(&seen);
    bytes[100] ^= 1;
    assert_false(cast_payload_valid(&key.id, payload));
    assert_false(cast_payload_valid(&key.id, (struct slice){bytes, 20}));
}

static void a_series_has_a_median_and_notes(void **state)
{
    (void)state;
    struct series s = {0};
    series_add(&s, 3);
    series_add(&s, 1);
    assert_true(series_median(&s) == 2);
    series_add(&s, 10);
    assert_true(series_median(&s) == 3);
    series_note(&s, "%u lost", 4);
    series_note(&s, "late");
    assert_string_equal(s.note, "4 lost, late");
}

int main(void)
{
    if (sign_start()) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_sees_whom_follows_the_lines), cmocka_unit_test(what_makes_no_sense_is_an_error),
        cmocka_unit_test(deliveries_and_counts_are_taken), cmocka_unit_test(a_payload_counts_once_and_is_signed),
        cmocka_unit_test(a_series_has_a_median_and_notes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
