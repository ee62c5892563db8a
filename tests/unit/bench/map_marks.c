// What `bench map` counts: labels on each other, and ways between two pictures, beside numbers worked out by hand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bench/map_made.h"
#include "bench/map_marks.h"

// Three of which the first two overlap by a point; the labels are 12 high.
static const char plain[] = "graph 1 10 10\n"
                            "node p0 1 1 0.75 0.5 abcdef solid box black lightgrey\n"
                            "node p1 1.4861111 1.1 0.75 0.5 \"a-b de\" solid box black lightgrey\n"
                            "node p2 1 2 0.75 0.5 far solid box black lightgrey\n"
                            "edge p0 p1 4 1 1 1 1 1 1 1 1 solid black\nstop\n";

static void plain_is_read(void **state)
{
    (void)state;
    struct map_marks m = map_marks_plain(plain);
    assert_int_equal(m.count, 3);
    assert_string_equal(m.all[1].name, "a-b de");
    assert_true(m.all[0].x == 72 && m.all[2].y == 144);
    assert_true(m.all[0].left == 72 - 18 && m.all[0].width == 36 && m.all[0].top == 66);
    map_marks_free(&m);
}

static void overlaps_are_counted(void **state)
{
    (void)state;
    struct map_marks m = map_marks_plain(plain);
    assert_int_equal(map_marks_overlaps(&m), 1);
    for (uint32_t i = 0; i < m.count; i++)
        if (m.all[i].name[1] == '-') m.all[i].left += 1.1;
    assert_int_equal(map_marks_overlaps(&m), 0);
    map_marks_free(&m);
}

static void ways_are_measured(void **state)
{
    (void)state;
    struct map_marks a = map_marks_plain(plain), b = map_marks_plain(plain);
    for (uint32_t i = 0; i < 3; i++) b.all[i].x += 500;  // all of it: no way at all
    b.all[2].y += 24;
    struct map_moves moves = map_marks_moves(&a, &b);
    assert_int_equal(moves.count, 3);
    assert_true(moves.median < 1e-9 && moves.most > 1.999 && moves.most < 2.001);
    b.all[0].name[0] = 'X';  // somebody else
    assert_int_equal(map_marks_moves(&a, &b).count, 2);
    map_marks_free(&a);
    map_marks_free(&b);
}

// The mesh before somebody joined is the same but for them.
static void one_is_left_out(void **state)
{
    (void)state;
    struct atlas_snapshot all, without;
    assert_int_equal(map_made(50, 6, 0, 0, &all), CORE_ERR_OK);
    assert_int_equal(map_made(50, 6, 7, 8, &without), CORE_ERR_OK);
    assert_int_equal(all.peer_count, 50);
    assert_int_equal(without.peer_count, 49);
    uint32_t same = 0;
    for (uint32_t i = 0; i < 49; i++)
        for (uint32_t k = 0; k < 50; k++)
            same += id_equal(&without.peers[i].id, &all.peers[k].id) && without.peers[i].host == all.peers[k].host;
    assert_int_equal(same, 49);
    assert_true(without.link_count < all.link_count && without.link_count > all.link_count - 20);
    atlas_snapshot_free(&all);
    atlas_snapshot_free(&without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain_is_read), cmocka_unit_test(overlaps_are_counted),
                                       cmocka_unit_test(ways_are_measured), cmocka_unit_test(one_is_left_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
