// Pictures of made-up snapshots are these very files, byte by byte (tests/golden/atlas; MYCEL_GOLDEN=write makes them
// anew, for somebody to look at), whatever strangers call themselves is safe in them, and a snapshot survives JSON.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "atlas/dot.h"
#include "atlas/draw.h"
#include "atlas/json.h"
#include "atlas/svg.h"
#include "atlas/text.h"
#include "golden.h"
#include "made.h"

enum kind { SVG, DOT, TEXT, ASCII };

static char *draw(const struct atlas_snapshot *s, enum kind kind, uint32_t columns)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct atlas_layout l;
    assert_non_null(out);
    assert_int_equal(atlas_layout_make(s, &atlas_metrics_svg, &l), CORE_ERR_OK);
    const struct atlas_text_options o = {.columns = columns, .utf8 = kind == TEXT};
    if (kind == SVG) assert_int_equal(atlas_svg_write(s, &l, out), CORE_ERR_OK);
    if (kind == DOT) atlas_dot_write(s, &l, out);
    if (kind >= TEXT) assert_int_equal(atlas_text_write(s, &o, out), CORE_ERR_OK);
    atlas_layout_free(&l);
    fclose(out);
    return text;
}

// Two trees over the whole mesh: groups of five peers in a row send to their first two, those to the first two of all.
static void add_sums(struct atlas_snapshot *s)
{
    s->flows = calloc(4 * (size_t)s->peer_count, sizeof *s->flows);
    for (uint32_t i = 0; i < s->peer_count; i++) {
        for (uint32_t k = 0; k < 2; k++) {
            const uint32_t owner = i - i % 5 + k;
            if (owner != i) s->flows[s->flow_count++] = (struct atlas_flow){i, owner, 0, 0};
            if (owner == i && i != k) s->flows[s->flow_count++] = (struct atlas_flow){i, k, 1, 0};
        }
    }
}

static void pictures_are_the_golden_ones(void **state)
{
    (void)state;
    static const struct {
        uint32_t peers, sites, per_host;
        const char *name;
        bool sums;
    } cases[] = {{5, 2, 2, "5", false},
                 {50, 6, 2, "50", false},
                 {20, 0, 4, "20-no-sites", false},
                 {20, 4, 5, "20-sums", true},
                 {500, 8, 3, "500", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct atlas_snapshot s = made(cases[i].peers, cases[i].sites, cases[i].per_host);
        if (cases[i].sums) add_sums(&s);
        assert_int_equal(atlas_snapshot_settle(&s), CORE_ERR_OK);
        static const char *const ends[] = {"svg", "dot", "txt", "ascii"};
        for (int k = 0; k < 4; k++) {
            if (cases[i].peers == 500 && k == DOT) continue;
            char name[64], *picture = draw(&s, (enum kind)k, 80);
            snprintf(name, sizeof name, "%s.%s", cases[i].name, ends[k]);
            golden_compare(name, picture);
            free(picture);
        }
        atlas_snapshot_free(&s);
    }
}

// The more of them, the weaker, and another run's don't count.
static void many_sums_are_drawn_weaker(void **state)
{
    (void)state;
    struct atlas_snapshot s = made(50, 1, 50);
    struct atlas_layout l;
    s.flows = calloc(50 * 49, sizeof *s.flows);
    for (uint32_t i = 0; i < 50; i++)
        for (uint32_t k = 0; k < 50; k++)
            if (i != k) s.flows[s.flow_count++] = (struct atlas_flow){i, k, 0, i > 1};
    assert_int_equal(atlas_snapshot_settle(&s), CORE_ERR_OK);
    assert_int_equal(atlas_layout_make(&s, &atlas_metrics_svg, &l), CORE_ERR_OK);
    const double many = atlas_draw_sums_ink(&s, &l, 1), few = atlas_draw_sums_ink(&s, &l, 0);
    assert_true(many < 0.5 && few > many && atlas_draw_sums_ink(&s, &l, 2) == 1);
    assert_true(atlas_sums_width(many) < atlas_sums_width(1) && atlas_sums_opacity(many) < atlas_sums_opacity(1));
    assert_true(atlas_sums_width(0) > 0.5 && atlas_sums_opacity(0) > 0.3 && atlas_sums_head(0) > 4);
    atlas_layout_free(&l);
    atlas_snapshot_free(&s);
}

static size_t widest(const char *text)
{
    size_t most = 0, n = 0;
    for (; *text; text++) {
        if (*text == '\n') {
            most = n > most ? n : most;
            n = 0;
        } else if ((*text & 0xc0) != 0x80) {
            n++;
        }
    }
    return most;
}

static void a_terminal_is_never_overrun(void **state)
{
    (void)state;
    static const uint32_t widths[] = {0, 20, 40, 60, 80, 132, 100000};
    struct atlas_snapshot s = made(50, 6, 2);
    assert_int_equal(atlas_snapshot_settle(&s), CORE_ERR_OK);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        char *picture = draw(&s, i % 2 ? TEXT : ASCII, widths[i]);
        const size_t allowed = widths[i] < 72 ? 72 : widths[i];  // the list below has its columns
        if (widest(picture) > allowed) fail_msg("%zu of %u columns", widest(picture), widths[i]);
        free(picture);
    }
    atlas_snapshot_free(&s);
}

static void strangers_names_are_safe(void **state)
{
    (void)state;
    struct atlas_snapshot s = made(6, 2, 2);
    for (uint32_t i = 0; i < s.peer_count; i++) {
        snprintf(s.peers[i].name, sizeof s.peers[i].name, "<script>\"&\033[2J\n");
        snprintf(s.peers[i].site, sizeof s.peers[i].site, "]]>\"\\\xe2\x80\xae</text>");
    }
    snprintf(s.mesh, sizeof s.mesh, "<svg onload=x>\033");
    assert_int_equal(atlas_snapshot_settle(&s), CORE_ERR_OK);
    for (int k = 0; k < 4; k++) {
        char *picture = draw(&s, (enum kind)k, 80);
        assert_null(strchr(picture, '\033'));
        if (k == SVG) assert_null(strstr(picture, "<script"));
        if (k == SVG) assert_null(strstr(picture, "<svg on"));
        if (k == DOT) assert_null(strstr(picture, "\"\"&"));
        free(picture);
    }
    atlas_snapshot_free(&s);
}

static void snapshots_survive_json(void **state)
{
    (void)state;
    struct atlas_snapshot s = made(50, 6, 2), back;
    snprintf(s.peers[3].devices[0].name, sizeof s.peers[3].devices[0].name, "NVIDIA H100");
    s.peers[3].devices[0].gpu = true;
    s.peers[3].devices[0].busy = 40;
    s.peers[3].device_count = 1;
    for (uint32_t i = 0; i < s.peer_count; i++) {  // JSON has whole microseconds
        for (int d = 0; d < 3; d++) s.peers[i].at[d] = (double)(long)s.peers[i].at[d];
        s.peers[i].above = (double)(long)s.peers[i].above;
    }
    assert_int_equal(atlas_snapshot_settle(&s), CORE_ERR_OK);
    s.flows = calloc(1, sizeof *s.flows);
    s.flows[s.flow_count++] = (struct atlas_flow){4, 9, 1, 0};
    json_t *json = atlas_json_make(&s);
    char why[ATLAS_WHY_SIZE];
    assert_int_equal(atlas_json_read(json, &back, why), CORE_ERR_OK);
    for (int k = 0; k < 4; k++) {
        char *before = draw(&s, (enum kind)k, 80), *after = draw(&back, (enum kind)k, 80);
        assert_string_equal(before, after);
        free(before);
        free(after);
    }
    json_t *again = atlas_json_make(&back);
    assert_true(json_equal(json, again));
    json_decref(again);
    json_decref(json);
    atlas_snapshot_free(&back);
    atlas_snapshot_free(&s);
}

static void bad_snapshots_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *text;
        enum core_err err;
    } cases[] = {
        {"{}", CORE_ERR_MALFORMED},
        {"{\"schema\":2,\"peers\":[],\"links\":[]}", CORE_ERR_UNKNOWN_VERSION},
        {"{\"schema\":1,\"peers\":[],\"links\":[]}", CORE_ERR_OK},
        {"{\"peers\":[{}],\"links\":[]}", CORE_ERR_MALFORMED},
        {"{\"peers\":[7],\"links\":[]}", CORE_ERR_MALFORMED},
        {"{\"peers\":[],\"links\":[{\"a\":\"00\",\"b\":1}]}", CORE_ERR_MALFORMED},
        {"{\"peers\":{},\"links\":[]}", CORE_ERR_MALFORMED},
        {"[1]", CORE_ERR_MALFORMED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct atlas_snapshot s;
        char why[ATLAS_WHY_SIZE] = "";
        json_t *json = json_loads(cases[i].text, 0, NULL);
        assert_non_null(json);
        assert_int_equal(atlas_json_read(json, &s, why), cases[i].err);
        assert_true(cases[i].err == CORE_ERR_OK || why[0]);
        atlas_snapshot_free(&s);
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_the_golden_ones), cmocka_unit_test(many_sums_are_drawn_weaker),
        cmocka_unit_test(a_terminal_is_never_overrun),  cmocka_unit_test(strangers_names_are_safe),
        cmocka_unit_test(snapshots_survive_json),       cmocka_unit_test(bad_snapshots_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
