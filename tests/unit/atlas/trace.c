// Time lines of made-up rounds: the one who slows the others down is named, whatever a single one of them says; the
// pictures are the golden ones (tests/golden/atlas/trace-*; MYCEL_GOLDEN=write makes them anew, for somebody to look
// at); what strangers call themselves is safe in them; what travels comes back; what is hostile is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "atlas/trace_json.h"
#include "atlas/trace_perfetto.h"
#include "atlas/trace_svg.h"
#include "atlas/trace_text.h"
#include "golden.h"

// ---- made-up rounds: milliseconds ----

static struct core_id id_of(uint32_t number)
{
    struct core_id id;
    memset(id.bytes, (int)(0x10 + number), sizeof id.bytes);
    return id;
}

static struct atlas_trace empty(uint32_t peers)
{
    struct atlas_trace t = {.mesh = "garden", .round = 7, .taken_s = 1700000000, .peer_count = peers};
    snprintf(t.run, sizeof t.run, "3f9a12cd%056d", 0);
    t.peers = calloc(peers + 1, sizeof *t.peers);
    for (uint32_t i = 0; i < peers; i++) {
        struct atlas_trace_peer *p = &t.peers[i];
        p->id = id_of(i);
        snprintf(p->name, sizeof p->name, "p%u", i + 1);
        p->self = i == 0;
        p->answered = true;
        p->error_us = i * 130;
        p->spans = calloc(ATLAS_SPANS_MAX, sizeof *p->spans);
    }
    return t;
}

// `ms` more in `phase`; `waited` of it for peer `whom` (from 0; -1: nobody).
static void add(struct atlas_trace *t, uint32_t peer, enum atlas_phase phase, double ms, int whom, double waited)
{
    struct atlas_trace_peer *p = &t->peers[peer];
    const int64_t begin = p->span_count ? p->spans[p->span_count - 1].end_us : 5000000 + 700 * (int64_t)peer;
    struct atlas_span *s = &p->spans[p->span_count++];
    *s = (struct atlas_span){.phase = phase, .begin_us = begin, .end_us = begin + (int64_t)(ms * 1000)};
    if (whom >= 0) s->waited_for = id_of((uint32_t)whom);
    if (whom >= 0) s->waited_us = (uint64_t)(waited * 1000);
}

// A whole round: everybody trains for 1,000 ms but `slow`, which takes `slow_ms`.
static struct atlas_trace round_of(uint32_t peers, uint32_t slow, double slow_ms)
{
    struct atlas_trace t = empty(peers);
    const double longest = slow_ms > 1000 ? slow_ms : 1000;
    for (uint32_t i = 0; i < peers; i++) {
        const double train = i == slow ? slow_ms : 1000 + 10 * i, left = longest + 90 - train;
        add(&t, i, PHASE_TRAINING, train, -1, 0);
        add(&t, i, PHASE_SENDING, 12, -1, 0);
        add(&t, i, PHASE_WAITING, left, i == slow ? -1 : (int)slow, left - 60);
        add(&t, i, PHASE_SUMMING, 240, -1, 0);
        add(&t, i, PHASE_APPLYING, 310, -1, 0);
        add(&t, i, PHASE_AGREEING, 35, -1, 0);
    }
    return t;
}

// One that is stopped while the others wait: it says nothing.
static struct atlas_trace stopped(void)
{
    struct atlas_trace t = empty(4);
    t.open = true;
    for (uint32_t i = 0; i < 4; i++) {
        if (i == 2) continue;
        add(&t, i, PHASE_TRAINING, 800 + 20 * i, -1, 0);
        add(&t, i, PHASE_SENDING, 9, -1, 0);
        add(&t, i, PHASE_WAITING, 6200 - 20 * i, 2, 6100);
    }
    t.peers[2].answered = false;
    return t;
}

// ---- the verdict ----

static void the_slow_one_is_named(void **state)
{
    (void)state;
    char said[TRACE_SAY_SIZE];
    struct atlas_trace t = round_of(4, 2, 5200);
    atlas_trace_settle(&t);
    const struct atlas_verdict v = atlas_trace_judge(&t);
    assert_int_equal(v.blame, BLAME_LONGER);
    assert_int_equal(v.peer, 2);
    assert_int_equal(v.phase, PHASE_TRAINING);
    assert_int_equal(v.took_us, 5200000);
    assert_int_equal(v.more_us, 4190000);  // the others take 1,000, 1,010 and 1,030 ms
    assert_true(v.matters);
    atlas_trace_say(&t, said);
    assert_string_equal(said, "p3 slows round 7 down: training takes it 5.20 s, 4.19 s more than the others.");
    atlas_trace_free(&t);
}

static void one_that_is_stopped_is_named(void **state)
{
    (void)state;
    char said[TRACE_SAY_SIZE];
    struct atlas_trace t = stopped();
    atlas_trace_settle(&t);
    const struct atlas_verdict v = atlas_trace_judge(&t);
    assert_int_equal(v.blame, BLAME_WAITED);
    assert_int_equal(v.peer, 2);
    assert_int_equal(v.phase, PHASE_WAITING);
    atlas_trace_say(&t, said);
    assert_string_equal(said,
                        "p3 slows round 7 down: the others have waited 6.10 s for its update; it does not answer.");
    atlas_trace_free(&t);
}

// p3 and p4 are stopped; p1 names the one, p2 the other.
static void two_that_are_stopped_are_told(void **state)
{
    (void)state;
    char said[TRACE_SAY_SIZE];
    struct atlas_trace t = empty(4);
    t.open = true;
    for (uint32_t i = 0; i < 2; i++) {
        add(&t, i, PHASE_TRAINING, 500, -1, 0);
        add(&t, i, PHASE_WAITING, 3000, (int)i + 2, 2000 + 100 * i);
        t.peers[i + 2].answered = false;
    }
    atlas_trace_settle(&t);
    const struct atlas_verdict v = atlas_trace_judge(&t);
    assert_int_equal(v.blame, BLAME_WAITED);
    assert_int_equal(v.peer, 3);  // p2 waited longer for p4 than p1 for p3
    assert_true(v.matters && v.more_us == 2000000);
    atlas_trace_say(&t, said);
    assert_string_equal(
        said, "p4 slows round 7 down: the others have waited 2.00 s for its update; it and 1 more do not answer.");
    atlas_trace_free(&t);
}

static void nobody_is_named_where_all_are_alike(void **state)
{
    (void)state;
    char said[TRACE_SAY_SIZE];
    struct atlas_trace t = round_of(4, 3, 1050);
    atlas_trace_settle(&t);
    assert_false(atlas_trace_judge(&t).matters);
    atlas_trace_say(&t, said);
    assert_string_equal(said, "Nobody slows round 7 down: the slowest, p4, takes 40 ms more for training.");
    atlas_trace_free(&t);
    t = empty(1);
    add(&t, 0, PHASE_TRAINING, 700, -1, 0);
    atlas_trace_settle(&t);
    assert_int_equal(atlas_trace_judge(&t).blame, BLAME_NOBODY);
    atlas_trace_free(&t);
    t = empty(0);
    atlas_trace_settle(&t);
    assert_int_equal(atlas_trace_judge(&t).blame, BLAME_NOBODY);
    atlas_trace_free(&t);
}

// p1 waits for p2's sum, p2 for p3's, p3 for p4's shard: p4 it is.
static void waits_are_passed_on(void **state)
{
    (void)state;
    struct atlas_trace t = empty(4);
    for (uint32_t i = 0; i < 4; i++) {
        add(&t, i, PHASE_TRAINING, 1000, -1, 0);
        add(&t, i, PHASE_SUMMING, 3000, i < 3 ? (int)i + 1 : -1, 2800 - 100 * i);
    }
    atlas_trace_settle(&t);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(t.peers[i].spans[1].root, 3);
    const struct atlas_verdict v = atlas_trace_judge(&t);
    assert_int_equal(v.peer, 3);
    assert_int_equal(v.blame, BLAME_WAITED);
    assert_int_equal(v.phase, PHASE_SUMMING);
    assert_int_equal(v.more_us, 2700000);
    atlas_trace_free(&t);
    t = empty(3);  // a ring: it ends
    for (uint32_t i = 0; i < 3; i++) add(&t, i, PHASE_SUMMING, 3000, (int)(i + 1) % 3, 2800);
    atlas_trace_settle(&t);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(t.peers[i].spans[0].root, (i + 1) % 3);
    atlas_trace_free(&t);
}

// p2 lies: that it waited for p4 all the time, that it took no time itself, or a month of it.
static void a_single_liar_accuses_nobody(void **state)
{
    (void)state;
    struct atlas_trace t = round_of(4, 2, 3000);
    for (uint32_t k = 0; k < t.peers[1].span_count; k++) {
        struct atlas_span *s = &t.peers[1].spans[k];
        s->waited_for = id_of(3);
        s->waited_us = (uint64_t)(s->end_us - s->begin_us);
    }
    atlas_trace_settle(&t);
    assert_int_equal(atlas_trace_judge(&t).peer, 2);
    atlas_trace_free(&t);
    t = round_of(4, 2, 3000);
    t.peers[1].spans[0].begin_us -= INT64_C(2592000000000);
    atlas_trace_settle(&t);
    assert_true(t.peers[1].cut);
    assert_false(t.peers[0].cut || t.peers[2].cut);
    assert_true(t.length_us < 3 * 3700000);
    atlas_trace_free(&t);
}

// ---- pictures ----

enum kind { TEXT, ASCII, COLOR, SVG, PERFETTO, JSON, KINDS };

static char *draw(const struct atlas_trace *t, enum kind kind, uint32_t columns)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    const struct atlas_text_options o = {.columns = columns, .utf8 = kind == TEXT, .color = kind == COLOR};
    if (kind <= COLOR) atlas_trace_text_write(t, &o, out);
    if (kind == SVG) atlas_trace_svg_write(t, out);
    json_t *json = kind == PERFETTO ? atlas_trace_perfetto_make(t) : kind == JSON ? atlas_trace_json_make(t) : NULL;
    if (kind >= PERFETTO) assert_int_equal(json_dumpf(json, out, JSON_INDENT(1)), 0);
    if (kind >= PERFETTO) fputc('\n', out);
    json_decref(json);
    fclose(out);
    return text;
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

static void pictures_are_the_golden_ones(void **state)
{
    (void)state;
    static const char *const ends[KINDS] = {"txt", "ascii", "", "svg", "perfetto.json", "json"};
    for (int which = 0; which < 3; which++) {
        static const char *const names[] = {"slow", "stopped", "even"};
        struct atlas_trace t = which == 0 ? round_of(4, 2, 5200) : which == 1 ? stopped() : round_of(6, 5, 1050);
        atlas_trace_settle(&t);
        for (int k = 0; k < KINDS; k++) {
            if (k == COLOR) continue;
            char name[64], *picture = draw(&t, (enum kind)k, 80);
            snprintf(name, sizeof name, "trace-%s.%s", names[which], ends[k]);
            golden_compare(name, picture);
            if (k <= ASCII) assert_true(widest(picture) <= 80);
            free(picture);
        }
        atlas_trace_free(&t);
    }
}

static void a_terminal_is_never_overrun(void **state)
{
    (void)state;
    static const uint32_t widths[] = {0, 20, 50, 60, 80, 132, 100000};
    struct atlas_trace t = round_of(5, 2, 95000);
    snprintf(t.peers[2].name, sizeof t.peers[2].name, "workstation-17-behind-the-stairs");
    add(&t, 1, PHASE_FETCHING, 10, -1, 0);
    add(&t, 1, PHASE_PAUSED, 10, -1, 0);
    add(&t, 1, PHASE_QUEUED, 10, -1, 0);
    add(&t, 1, PHASE_WATCHING, 10, -1, 0);
    atlas_trace_settle(&t);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        char *picture = draw(&t, i % 2 ? TEXT : ASCII, widths[i]);
        const size_t allowed = widths[i] < 50 ? 50 : widths[i];
        if (widest(picture) > allowed && i) fail_msg("%zu of %u columns\n%s", widest(picture), widths[i], picture);
        free(picture);
    }
    atlas_trace_free(&t);
}

static void strangers_names_are_safe(void **state)
{
    (void)state;
    struct atlas_trace t = round_of(4, 2, 5200);
    for (uint32_t i = 0; i < 4; i++) {
        snprintf(t.peers[i].name, sizeof t.peers[i].name, "<script>\"&\033[2J\n");
        snprintf(t.peers[i].site, sizeof t.peers[i].site, "]]>\"\\\xe2\x80\xae</text>");
    }
    snprintf(t.mesh, sizeof t.mesh, "<svg onload=x>\033");
    snprintf(t.run, sizeof t.run, "\033]0;x\"<b>");
    atlas_trace_settle(&t);
    for (int k = 0; k < KINDS; k++) {
        if (k == COLOR) continue;
        char *picture = draw(&t, (enum kind)k, 80);
        assert_null(strchr(picture, '\033'));
        if (k == SVG) assert_null(strstr(picture, "<script"));
        if (k == SVG) assert_null(strstr(picture, "<svg on"));
        if (k == SVG) assert_null(strstr(picture, "<b>"));
        if (k <= SVG) assert_null(strstr(picture, "\xe2\x80\xae"));
        free(picture);
    }
    atlas_trace_free(&t);
}

// ---- what travels ----

static void traces_survive_json(void **state)
{
    (void)state;
    struct atlas_trace t = stopped(), back;
    char why[ATLAS_WHY_SIZE];
    atlas_trace_settle(&t);
    json_t *json = atlas_trace_json_make(&t);
    assert_int_equal(atlas_trace_json_read(json, &back, why), CORE_ERR_OK);
    for (int k = 0; k < KINDS; k++) {
        char *before = draw(&t, (enum kind)k, 80), *after = draw(&back, (enum kind)k, 80);
        assert_string_equal(before, after);
        free(before);
        free(after);
    }
    json_decref(json);
    atlas_trace_free(&back);
    atlas_trace_free(&t);
}

static void bad_traces_are_refused(void **state)
{
    (void)state;
    static const char id[] = "1010101010101010101010101010101010101010101010101010101010101010";
    const struct {
        const char *spans;
        enum core_err err;
    } cases[] = {
        {"[]", CORE_ERR_OK},
        {"7", CORE_ERR_OK},
        {"[{\"phase\":\"training\",\"begin_us\":5,\"end_us\":9}]", CORE_ERR_OK},
        {"[{\"phase\":7,\"begin_us\":5,\"end_us\":9,\"waited_us\":-4}]", CORE_ERR_OK},
        {"[7]", CORE_ERR_MALFORMED},
        {"[{\"begin_us\":5}]", CORE_ERR_MALFORMED},
        {"[{\"begin_us\":5,\"end_us\":4}]", CORE_ERR_MALFORMED},
        {"[{\"begin_us\":0,\"end_us\":9223372036854775807}]", CORE_ERR_MALFORMED},
        {"[{\"begin_us\":5,\"end_us\":9},{\"begin_us\":8,\"end_us\":9}]", CORE_ERR_MALFORMED},
    };
    struct atlas_trace t;
    char text[512], why[ATLAS_WHY_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "{\"run\":\"00\",\"peers\":[{\"id\":\"%s\",\"spans\":%s}]}", id, cases[i].spans);
        json_t *json = json_loads(text, 0, NULL);
        assert_non_null(json);
        why[0] = 0;
        assert_int_equal(atlas_trace_json_read(json, &t, why), cases[i].err);
        assert_true(!cases[i].err || why[0]);
        atlas_trace_free(&t);
        json_decref(json);
    }
    static const char *const others[] = {"{}", "[1]", "{\"run\":\"0\",\"peers\":{}}", "{\"run\":\"0\",\"peers\":[7]}",
                                         "{\"schema\":2,\"run\":\"0\",\"peers\":[]}"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        json_t *json = json_loads(others[i], 0, NULL);
        assert_int_not_equal(atlas_trace_json_read(json, &t, why), CORE_ERR_OK);
        atlas_trace_free(&t);
        json_decref(json);
    }
}

// The bytes are those of docs/wire-format.md, section Spans.
static void spans_travel(void **state)
{
    (void)state;
    const struct atlas_span spans[2] = {
        {.phase = PHASE_TRAINING, .begin_us = 1000000, .end_us = 3500000},
        {.phase = PHASE_WAITING, .begin_us = 3500000, .end_us = 4000000, .waited_us = 400000, .waited_for = id_of(2)}};
    uint8_t bytes[2 * ATLAS_SPAN_SIZE];
    struct writer w = writer_over(bytes, sizeof bytes);
    atlas_spans_write(&w, spans, 2, 5000000);
    assert_int_equal(w.size, sizeof bytes);
    char hex[2 * sizeof bytes + 1], lines[2 * sizeof bytes + 8] = "";
    hex_encode(hex, bytes, sizeof bytes);
    for (size_t at = 0; at < strlen(hex); at += 64) snprintf(lines + strlen(lines), 66, "%.64s\n", hex + at);
    static char page[1 << 16];
    FILE *f = fopen("docs/wire-format.md", "r");
    assert_non_null(f);
    page[fread(page, 1, sizeof page - 1, f)] = 0;
    fclose(f);
    const char *block = strstr(page, "```hex spans\n");
    assert_non_null(block);
    if (strncmp(block + strlen("```hex spans\n"), lines, strlen(lines)) != 0) fail_msg("not on the page:\n%s", lines);
    struct atlas_span back[ATLAS_SPANS_MAX];
    uint32_t count;
    assert_int_equal(atlas_spans_read((struct slice){bytes, sizeof bytes}, 7000000, back, &count), CORE_ERR_OK);
    assert_int_equal(count, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(back[i].phase, spans[i].phase);
        assert_int_equal(back[i].begin_us, spans[i].begin_us + 2000000);
        assert_int_equal(back[i].end_us, spans[i].end_us + 2000000);
        assert_int_equal(back[i].waited_us, spans[i].waited_us);
        assert_true(id_equal(&back[i].waited_for, &spans[i].waited_for));
    }
}

static void hostile_spans_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t ago, lasted, waited;
        enum core_err err;
    } cases[] = {
        {1000, 1000, 1000, CORE_ERR_OK},
        {1000, 0, 0, CORE_ERR_OK},
        {1000, 1001, 0, CORE_ERR_MALFORMED},                 // ends after the answer
        {1000, 10, 11, CORE_ERR_MALFORMED},                  // waited longer than it lasts
        {UINT64_MAX, 0, 0, CORE_ERR_MALFORMED},              // before time began
        {UINT64_MAX, UINT64_MAX, 0, CORE_ERR_MALFORMED},     // a sum that overflows
        {UINT64_C(2592000000001), 0, 0, CORE_ERR_MALFORMED}  // over a month ago
    };
    struct atlas_span out[ATLAS_SPANS_MAX];
    uint8_t bytes[(ATLAS_SPANS_MAX + 1) * ATLAS_SPAN_SIZE] = {0};
    uint32_t count;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct writer w = writer_over(bytes, sizeof bytes);
        write_u8(&w, 200);  // of a newer version
        write_u64(&w, cases[i].ago);
        write_u64(&w, cases[i].lasted);
        write_u64(&w, cases[i].waited);
        assert_int_equal(atlas_spans_read((struct slice){bytes, ATLAS_SPAN_SIZE}, 7000000, out, &count), cases[i].err);
        assert_int_equal(count, cases[i].err ? 0 : 1);
        if (!cases[i].err) assert_int_equal(out[0].phase, PHASE_OTHER);
    }
    memset(bytes, 0, sizeof bytes);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        const bool whole = size % ATLAS_SPAN_SIZE == 0 && size / ATLAS_SPAN_SIZE <= ATLAS_SPANS_MAX;
        assert_int_equal(atlas_spans_read((struct slice){bytes, size}, 7000000, out, &count) == CORE_ERR_OK, whole);
    }
    const struct atlas_span twice[2] = {{.begin_us = 10, .end_us = 20}, {.begin_us = 19, .end_us = 30}};
    struct writer w = writer_over(bytes, sizeof bytes);
    atlas_spans_write(&w, twice, 2, 100);
    assert_int_equal(atlas_spans_read((struct slice){bytes, w.size}, 100, out, &count), CORE_ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_slow_one_is_named),         cmocka_unit_test(one_that_is_stopped_is_named),
        cmocka_unit_test(two_that_are_stopped_are_told), cmocka_unit_test(nobody_is_named_where_all_are_alike),
        cmocka_unit_test(waits_are_passed_on),           cmocka_unit_test(a_single_liar_accuses_nobody),
        cmocka_unit_test(pictures_are_the_golden_ones),  cmocka_unit_test(a_terminal_is_never_overrun),
        cmocka_unit_test(strangers_names_are_safe),      cmocka_unit_test(traces_survive_json),
        cmocka_unit_test(bad_traces_are_refused),        cmocka_unit_test(spans_travel),
        cmocka_unit_test(hostile_spans_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
