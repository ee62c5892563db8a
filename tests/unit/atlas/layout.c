// What every layout has to hold: nothing covers another, all is inside, distances follow round trips, the same snapshot
// in any order gives the same bits, and little moves when little changes.
#include "atlas/layout.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "atlas/arrange.h"
#include "made.h"

static struct atlas_layout laid_out(struct atlas_snapshot *s, const struct atlas_metrics *m)
{
    struct atlas_layout l;
    assert_int_equal(atlas_snapshot_settle(s), CORE_ERR_OK);
    assert_int_equal(atlas_layout_make(s, m, &l), CORE_ERR_OK);
    return l;
}

static bool overlap(const struct atlas_box *a, const struct atlas_box *b)
{
    const double slack = 1e-6;
    return a->x + a->width > b->x + slack && b->x + b->width > a->x + slack && a->y + a->height > b->y + slack &&
           b->y + b->height > a->y + slack;
}

static struct atlas_box label_box(const struct atlas_layout *l, const struct atlas_metrics *m, uint32_t i)
{
    const struct atlas_place *p = &l->peers[i];
    return (struct atlas_box){
        .x = p->x - m->mark / 2, .y = p->y - m->line_height / 2, .width = p->width, .height = m->line_height};
}

static void check_boxes(const struct atlas_snapshot *s, const struct atlas_layout *l, const struct atlas_metrics *m)
{
    for (uint32_t i = 0; i < l->site_count; i++) {
        const struct atlas_box *site = &l->sites[i];
        assert_true(site->x >= -1e-6 && site->y >= -1e-6);
        assert_true(site->x + site->width <= l->width + 1e-6 && site->y + site->height <= l->height + 1e-6);
        for (uint32_t k = i + 1; k < l->site_count; k++) assert_false(overlap(site, &l->sites[k]));
        for (uint32_t h = site->first_host; h < site->first_host + site->hosts && !site->folded; h++) {
            const struct atlas_box *host = &l->hosts[h];
            assert_true(host->x >= site->x - 1e-6 && host->y >= site->y - 1e-6);
            assert_true(host->x + host->width <= site->x + site->width + 1e-6);
            assert_true(host->y + host->height <= site->y + site->height + 1e-6);
        }
    }
    for (uint32_t i = 0; i < s->peer_count; i++) {
        if (l->sites[atlas_layout_site(l, i)].folded) continue;
        const struct atlas_box a = label_box(l, m, i);
        for (uint32_t k = i + 1; k < s->peer_count; k++) {
            if (l->sites[atlas_layout_site(l, k)].folded) continue;
            const struct atlas_box b = label_box(l, m, k);
            assert_false(overlap(&a, &b));
        }
    }
}

static void nothing_covers_another(void **state)
{
    (void)state;
    static const struct {
        uint32_t peers, sites, per_host;
    } cases[] = {{0, 0, 1},  {1, 0, 1},   {2, 0, 2},   {5, 2, 2},  {50, 6, 2},
                 {50, 0, 1}, {50, 1, 50}, {500, 8, 3}, {500, 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct atlas_metrics *const all[] = {&atlas_metrics_svg, &atlas_metrics_text};
        for (int k = 0; k < 2; k++) {
            struct atlas_snapshot s = made(cases[i].peers, cases[i].sites, cases[i].per_host);
            struct atlas_layout l = laid_out(&s, all[k]);
            check_boxes(&s, &l, all[k]);
            atlas_layout_free(&l);
            atlas_snapshot_free(&s);
        }
    }
}

// All at one point, or nobody located: it is a picture all the same.
static void nobody_knows_where(void **state)
{
    (void)state;
    for (int located = 0; located < 2; located++) {
        struct atlas_snapshot s = made(60, 0, 1);
        for (uint32_t i = 0; i < s.peer_count; i++) {
            memset(s.peers[i].at, 0, sizeof s.peers[i].at);
            s.peers[i].above = 0;
            s.peers[i].located = located;
        }
        struct atlas_layout l = laid_out(&s, &atlas_metrics_svg);
        check_boxes(&s, &l, &atlas_metrics_svg);
        atlas_layout_free(&l);
        atlas_snapshot_free(&s);
    }
}

// Rank correlation (Spearman's) of drawn distances with the square roots of round trips.
static double told(const struct atlas_snapshot *s, const struct atlas_layout *l)
{
    double n = 0, sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
    for (uint32_t i = 0; i < l->site_count; i++) {
        for (uint32_t k = i + 1; k < l->site_count; k++) {
            const struct atlas_peer *p = &s->peers[l->sites[i].first], *q = &s->peers[l->sites[k].first];
            double far = 0;
            if (!p->located || !q->located) continue;
            for (int d = 0; d < 3; d++) far += (p->at[d] - q->at[d]) * (p->at[d] - q->at[d]);
            const double x = sqrt(sqrt(far) + p->above + q->above);
            const double y = hypot(l->sites[i].x - l->sites[k].x, (l->sites[i].y - l->sites[k].y) * 1.4);
            n++, sx += x, sy += y, sxx += x * x, syy += y * y, sxy += x * y;
        }
    }
    return (n * sxy - sx * sy) / sqrt((n * sxx - sx * sx) * (n * syy - sy * sy));
}

static void distances_tell_round_trips(void **state)
{
    (void)state;
    struct atlas_snapshot s = made(64, MADE_SITES, 2);
    struct atlas_layout l = laid_out(&s, &atlas_metrics_svg);
    assert_true(told(&s, &l) > 0.85);
    atlas_layout_free(&l);
    atlas_snapshot_free(&s);
    s = made(200, 0, 1);
    l = laid_out(&s, &atlas_metrics_svg);
    assert_true(told(&s, &l) > 0.7);
    atlas_layout_free(&l);
    atlas_snapshot_free(&s);
}

static void any_order_gives_the_same(void **state)
{
    (void)state;
    struct atlas_snapshot a = made(100, 5, 3), b = made(100, 5, 3);
    for (uint32_t i = 0; i < 50; i++) {  // mirrored
        struct atlas_peer p = b.peers[i];
        b.peers[i] = b.peers[99 - i];
        b.peers[99 - i] = p;
    }
    for (uint32_t i = 0; i < b.link_count; i++) {
        const struct atlas_link k = b.links[i];
        b.links[i].a = 99 - k.b;
        b.links[i].b = 99 - k.a;
    }
    struct atlas_layout l = laid_out(&a, &atlas_metrics_svg), m = laid_out(&b, &atlas_metrics_svg);
    assert_int_equal(a.link_count, b.link_count);
    assert_memory_equal(a.links, b.links, a.link_count * sizeof *a.links);
    assert_memory_equal(l.peers, m.peers, 100 * sizeof *l.peers);
    assert_memory_equal(l.sites, m.sites, l.site_count * sizeof *l.sites);
    atlas_layout_free(&l);
    atlas_layout_free(&m);
    atlas_snapshot_free(&a);
    atlas_snapshot_free(&b);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// One of fifty comes: the others' median way is small beside the picture.
static void small_changes_move_little(void **state)
{
    (void)state;
    struct atlas_snapshot a = made(50, 0, 1), b = made(51, 0, 1);
    struct atlas_layout l = laid_out(&a, &atlas_metrics_svg), m = laid_out(&b, &atlas_metrics_svg);
    double moved[50], ax = 0, ay = 0, bx = 0, by = 0;
    uint32_t pair[50];
    for (uint32_t i = 0; i < 50; i++) {
        pair[i] = 0;
        while (!id_equal(&a.peers[i].id, &b.peers[pair[i]].id)) pair[i]++;
        ax += l.peers[i].x / 50, ay += l.peers[i].y / 50;
        bx += m.peers[pair[i]].x / 50, by += m.peers[pair[i]].y / 50;
    }
    for (uint32_t i = 0; i < 50; i++)
        moved[i] = hypot(l.peers[i].x - ax - m.peers[pair[i]].x + bx, l.peers[i].y - ay - m.peers[pair[i]].y + by);
    qsort(moved, 50, sizeof *moved, ascending);
    assert_true(moved[25] < 0.03 * l.width);
    assert_true(moved[45] < 0.10 * l.width);
    atlas_layout_free(&l);
    atlas_layout_free(&m);
    atlas_snapshot_free(&a);
    atlas_snapshot_free(&b);
}

static void labels_are_safe(void **state)
{
    (void)state;
    char out[ATLAS_LABEL_MAX + 1];
    assert_int_equal(atlas_label(out, "p1", 12), 2);
    assert_string_equal(out, "p1");
    atlas_label(out, "workstation-17", 12);
    assert_string_equal(out, "workst~on-17");
    const char *const cut[] = {"", "~", "a~", "a~i", "ab~i", "ab~hi", "abc~hi", "abc~ghi", "abcd~ghi", "abcdefghi"};
    for (size_t columns = 0; columns < 10; columns++) {
        assert_int_equal(atlas_label(out, "abcdefghi", columns), columns);
        assert_string_equal(out, cut[columns]);
    }
    atlas_label(out, "a\033[31mb\nc\x7f", 20);
    assert_string_equal(out, "a?[31mb?c?");
    atlas_label(out,
                "\xd7\xa9\xe2\x80\xae"
                "x",
                20);  // a Hebrew letter and a right-to-left override
    assert_string_equal(out, "??x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_covers_another),     cmocka_unit_test(nobody_knows_where),
        cmocka_unit_test(distances_tell_round_trips), cmocka_unit_test(any_order_gives_the_same),
        cmocka_unit_test(small_changes_move_little),  cmocka_unit_test(labels_are_safe)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
