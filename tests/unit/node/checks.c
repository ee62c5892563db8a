// Facts in, lines out: what doctor says of each trouble, where each begins, and that the page of troubles is the table.
#include "node/doctor/checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tsan_start.h"

#include "node/doctor/checks_text.h"

static bool seen[TROUBLE_COUNT];  // by any test of this file

static struct checks *start(void **state)
{
    struct checks *c = *state;
    *c = (struct checks){0};
    return c;
}

// The line of `trouble`, which holds `word` in its cause or remedy.
static const struct checks_line *has(const struct checks *c, enum trouble trouble, const char *word)
{
    seen[trouble] = true;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct checks_line *line = &c->lines[i];
        if (line->trouble != trouble) continue;
        assert_null(strpbrk(line->cause, "{}"));
        assert_null(strpbrk(line->remedy, "{}"));
        assert_true(line->cause[0] && line->remedy[0]);
        if (!strstr(line->cause, word) && !strstr(line->remedy, word))
            fail_msg("no \"%s\" in: %s; %s", word, line->cause, line->remedy);
        return line;
    }
    fail_msg("%s is not named", trouble_name(trouble));
    return NULL;
}

static uint32_t troubles(const struct checks *c)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->count; i++) count += c->lines[i].trouble != TROUBLE_NONE;
    return count;
}

// ---- the home ----

static const struct checks_home_facts sound = {.home = "/h",
                                               .there = true,
                                               .mode = 0700,
                                               .key_mode = 0600,
                                               .certificate_decoded = true,
                                               .now_s = 1000000000,
                                               .issued_s = 999999000,
                                               .founded_s = 999990000};

static struct checks *judge_home(void **state, struct checks_home_facts f)
{
    struct checks *c = start(state);
    checks_home(c, &f);
    return c;
}

static void homes(void **state)
{
    struct checks_home_facts f = sound;
    assert_int_equal(troubles(judge_home(state, f)), 0);
    assert_int_equal(checks_worst(*state), CHECKS_PASS);
    f.there = false;
    has(judge_home(state, f), TROUBLE_HOME_NONE, "/h");
    assert_int_equal(troubles(*state), 1);
    f = sound;
    f.closed = "Permission denied";
    has(judge_home(state, f), TROUBLE_HOME_CLOSED, "Permission denied");
    f = sound;
    f.mode = 0755;  // others may look at names, no more
    assert_int_equal(troubles(judge_home(state, f)), 0);
    f.mode = 0770;
    has(judge_home(state, f), TROUBLE_HOME_OPEN, "0770");
    f = sound;
    f.key = CORE_ERR_REFUSED;
    f.key_mode = 0640;
    has(judge_home(state, f), TROUBLE_KEY_OPEN, "chmod 600 /h/key");
    f.key = CORE_ERR_MALFORMED;
    has(judge_home(state, f), TROUBLE_HOME_DAMAGED, "key in /h");
    f = sound;
    f.charter = CORE_ERR_TRUNCATED;
    has(judge_home(state, f), TROUBLE_HOME_DAMAGED, "charter in /h");
    assert_false(checks_has(*state, CHECK_CERTIFICATE));  // nobody can tell without it
}

static void certificates(void **state)
{
    struct checks_home_facts f = sound;
    f.certificate = CORE_ERR_EXPIRED;
    f.expires_s = f.now_s - 90;
    has(judge_home(state, f), TROUBLE_CERTIFICATE_EXPIRED, "90 s ago");
    f = sound;
    f.expires_s = f.now_s + 7 * 86400;
    assert_int_equal(troubles(judge_home(state, f)), 0);
    f.expires_s--;
    has(judge_home(state, f), TROUBLE_CERTIFICATE_EXPIRING, "6 days");
    f.revoked = true;
    has(judge_home(state, f), TROUBLE_CERTIFICATE_REVOKED, "its own list");
    f = sound;
    f.certificate = CORE_ERR_WRONG_MESH;
    has(judge_home(state, f), TROUBLE_CERTIFICATE_OTHER, "another mesh");
    f.certificate = CORE_ERR_OK;
    f.other_key = true;
    has(judge_home(state, f), TROUBLE_CERTIFICATE_OTHER, "another key");
    f = sound;
    f.issued_s = f.now_s + 60;  // within what clocks of a mesh may differ
    assert_int_equal(troubles(judge_home(state, f)), 0);
    f.issued_s = f.now_s + 7200;
    has(judge_home(state, f), TROUBLE_CLOCK_BEHIND, "2 h behind: its certificate");
    f = sound;
    f.founded_s = f.now_s + 300;
    has(judge_home(state, f), TROUBLE_CLOCK_BEHIND, "the mesh's charter");
}

static void daemons(void **state)
{
    struct checks_daemon_facts f = {.home = "/h", .socket = "/run/s", .process_state = 'S'};
    struct checks *c = start(state);
    checks_daemon(c, &f);
    has(c, TROUBLE_DAEMON_NONE, "mycel up --detach");
    f.pid = 42;
    checks_daemon(start(state), &f);
    has(c, TROUBLE_DAEMON_APART, "/run/s");
    f.found = true;
    checks_daemon(start(state), &f);
    has(c, TROUBLE_DAEMON_SILENT, "kill 42");
    f.process_state = 'D';
    checks_daemon(start(state), &f);
    has(c, TROUBLE_DAEMON_SILENT, "waits for a disk");
    f.process_state = 'T';
    checks_daemon(start(state), &f);
    has(c, TROUBLE_DAEMON_STOPPED, "kill -CONT 42");
    f.answers = true;
    checks_daemon(start(state), &f);
    assert_int_equal(troubles(c), 0);
}

// ---- the machine ----

static void ports(void **state)
{
    static const struct {
        enum checks_port state;
        enum trouble trouble;
        const char *word;
    } rows[] = {{PORT_FREE, TROUBLE_NONE, ""},
                {PORT_ANSWERS, TROUBLE_NONE, ""},
                {PORT_UNKNOWN, TROUBLE_NONE, ""},
                {PORT_TAKEN, TROUBLE_PORT_IN_USE, "another process"},
                {PORT_ELSEWHERE, TROUBLE_PORT_NOT_HERE, "1.2.3.4:6173"},
                {PORT_DENIED, TROUBLE_PORT_FORBIDDEN, "not permitted"},
                {PORT_MUTE, TROUBLE_PORT_CLOSED, "not permitted"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct checks_port_facts f = {
            .state = rows[i].state, .listen = "1.2.3.4:6173", .port = 6173, .who = "", .why = "not permitted"};
        struct checks *c = start(state);
        checks_port(c, &f);
        assert_int_equal(c->count, 1);
        if (rows[i].trouble)
            has(c, rows[i].trouble, rows[i].word);
        else
            assert_int_equal(troubles(c), 0);
    }
}

static struct checks *judge_disk(void **state, uint64_t free_bytes, uint64_t size, uint64_t files_free, uint64_t files)
{
    struct checks *c = start(state);
    checks_disk(c, &(struct checks_disk_facts){"/h", free_bytes, size, files_free, files});
    return c;
}

static void disks(void **state)
{
    const uint64_t mb = 1000000, gb = 1000 * mb;
    assert_int_equal(troubles(judge_disk(state, 50 * gb, 100 * gb, 1000, 2000)), 0);
    assert_int_equal(troubles(judge_disk(state, 40 * mb, 100 * mb, 0, 0)), 0);  // small, but not low
    has(judge_disk(state, 500 * mb, 100 * gb, 1000, 2000), TROUBLE_DISK_LOW, "500 MB free of 100 GB");
    has(judge_disk(state, 10 * mb, 100 * gb, 1000, 2000), TROUBLE_DISK_FULL, "10 MB free");
    has(judge_disk(state, 0, 0, 1000, 2000), TROUBLE_DISK_FULL, "0 B free of 0 B");
    has(judge_disk(state, 50 * gb, 100 * gb, 3, 2000), TROUBLE_DISK_FULL, "3 files free");
}

static void limits(void **state)
{
    const struct checks_limits_facts none = {UINT64_MAX, UINT64_MAX, UINT64_MAX, 8, 8};
    struct checks_limits_facts f = none;
    struct checks *c = start(state);
    checks_limits(c, &f);
    assert_int_equal(troubles(c), 0);
    f = (struct checks_limits_facts){1023, 65535, (256u << 20) - 1, 1, 8};
    checks_limits(start(state), &f);
    has(c, TROUBLE_LIMIT_FILES, "only 1023");
    has(c, TROUBLE_LIMIT_LOCKED, "66 kB");
    has(c, TROUBLE_LIMIT_MEMORY, "268 MB");
    has(c, TROUBLE_LIMIT_CPUS, "only 1 of 8");
    f = (struct checks_limits_facts){1024, 65536, 256u << 20, 1, 1};  // a machine of one cpu is what it is
    checks_limits(start(state), &f);
    assert_int_equal(troubles(c), 0);
}

static struct checks *judge_devices(void **state, const char *devices, const char *pci, uint32_t silent_s)
{
    struct checks *c = start(state);
    json_t *list = json_loads(devices, JSON_DECODE_ANY, NULL), *cards = json_loads(pci, JSON_DECODE_ANY, NULL);
    assert_non_null(list);
    assert_non_null(cards);
    checks_devices(c, list, cards, silent_s);
    json_decref(list);
    json_decref(cards);
    return c;
}

static void device_lines(void **state)
{
    const char *cpu = "[{\"name\": \"cpu\", \"usable\": true}]", *card = "[{\"name\": \"NVIDIA 10de:2335\"}]";
    const char *dead =
        "[{\"name\": \"cpu\", \"usable\": true}, {\"name\": \"nvidia\", \"usable\": false, \"why\": \"too old\"}]";
    assert_int_equal(troubles(judge_devices(state, cpu, "[]", 0)), 0);
    has(judge_devices(state, dead, card, 0), TROUBLE_DRIVER_BROKEN, "GPU nvidia cannot be used: too old");
    assert_int_equal(troubles(*state), 1);
    has(judge_devices(state, cpu, card, 0), TROUBLE_DRIVER_MISSING, "NVIDIA 10de:2335");
    has(judge_devices(state, "null", "null", 4), TROUBLE_DRIVER_SILENT, "4 s");
    judge_devices(state, "null", "null", 0);
    assert_int_equal(((struct checks *)*state)->lines[0].state, CHECKS_SKIP);
    // Whatever a daemon of another version says.
    assert_int_equal(troubles(judge_devices(state, "[1, null, {}, {\"name\": 3}]", "{}", 0)), 0);
}

// ---- the mesh ----

static struct checks_member member(const char *name, int state, uint64_t for_ms)
{
    struct checks_member m = {.for_ms = for_ms};
    m.state = state ? MEMBER_IS_DEAD : MEMBER_IS_SUSPECT;
    snprintf(m.name, sizeof m.name, "%s", name);
    return m;
}

static struct checks *judge_members(void **state, uint32_t known, const struct checks_member *list, uint32_t count)
{
    struct checks *c = start(state);
    checks_members(
        c, &(struct checks_members_facts){.known = known, .up = known - count, .members = list, .count = count});
    return c;
}

static void members(void **state)
{
    assert_int_equal(troubles(judge_members(state, 0, NULL, 0)), 0);
    checks_members(start(state), &(struct checks_members_facts){.sponsor_unmet = true, .up_ms = 5000});
    has(*state, TROUBLE_MESH_NOBODY, "sponsor");
    // Who has just joined is well: `join --detach` comes back before the first link is up.
    struct checks *c = start(state);
    checks_members(c, &(struct checks_members_facts){.sponsor_unmet = true, .up_ms = 4999});
    assert_int_equal(troubles(c), 0);
    struct checks_member list[] = {member("a", 1, 20000), member("b", 0, 1500), member("c", 1, 21000),
                                   member("d", 1, 400000)};
    assert_string_equal(has(judge_members(state, 9, list, 2), TROUBLE_MEMBER_DEAD, "dead for 20 s")->peer, "a");
    assert_string_equal(has(*state, TROUBLE_MEMBER_SUSPECT, "suspect for 1 s")->peer, "b");
    assert_int_equal(troubles(*state), 2);
    // Two within a second of 9 are two; of 6 they are a split; with the first long ago they are not.
    judge_members(state, 9, list, 3);
    assert_int_equal(troubles(*state), 3);
    has(judge_members(state, 6, list, 3), TROUBLE_MESH_SPLIT, "2 of 6 peers were lost within 2 s (a, c), 20 s ago");
    assert_int_equal(troubles(*state), 2);
    list[2].for_ms = list[0].for_ms + 30001;
    judge_members(state, 6, list, 3);
    assert_int_equal(troubles(*state), 3);
    // Dead for over five minutes, alone: an old story.
    assert_int_equal(troubles(judge_members(state, 6, &list[3], 1)), 0);
    struct checks_member many[20];
    for (int i = 0; i < 20; i++) {
        many[i] = member("x", 1, 400000);
        snprintf(many[i].site, sizeof many[i].site, "north");
    }
    has(judge_members(state, 40, many, 20), TROUBLE_MESH_SPLIT, "all are at north");
    assert_int_equal(troubles(*state), 1);
    many[7].site[0] = 0;
    has(judge_members(state, 40, many, 20), TROUBLE_MESH_SPLIT, "...), 6 min ago; all are on other hosts");
}

static void dials(void **state)
{
    struct checks *c = start(state);
    struct checks_dial_facts f = {.name = "p1", .address = "1.2.3.4:6173", .told = true};
    for (int reason = 0; reason < LINK_REASON_COUNT; reason++) {
        f.reason = (enum link_reason)reason;
        checks_dial(c, &f);
    }
    has(c, TROUBLE_MESH_WRONG, "p1 at 1.2.3.4:6173");
    has(c, TROUBLE_MESH_STRANGER, "at 1.2.3.4:6173 not p1");
    has(c, TROUBLE_CERTIFICATE_REVOKED, "p1 says so");
    has(c, TROUBLE_CERTIFICATE_DISPUTED, "p1 says");
    assert_int_equal(troubles(c), 5);  // a handshake and a key are both a stranger's
    f.told = false;                    // it is the other one's certificate
    f.reason = LINK_REVOKED;
    checks_dial(start(state), &f);
    assert_int_equal(troubles(c), 0);
    f.reason = LINK_EXPIRED;
    checks_dial(start(state), &f);
    assert_string_equal(has(c, TROUBLE_MEMBER_EXPIRED, "shut out")->peer, "p1");
}

static struct checks *judge_clocks(void **state, uint32_t count, const int *ahead_s)
{
    struct checks *c = start(state);
    struct checks_clock clocks[8] = {0};
    for (uint32_t i = 0; i < count; i++) {
        clocks[i].ahead_ms = (int64_t)ahead_s[i] * 1000;
        snprintf(clocks[i].name, sizeof clocks[i].name, "p%u", i);
    }
    checks_clocks(c, clocks, count);
    return c;
}

static void clocks(void **state)
{
    judge_clocks(state, 0, NULL);
    assert_int_equal(((struct checks *)*state)->lines[0].state, CHECKS_SKIP);
    assert_int_equal(troubles(judge_clocks(state, 3, (int[]){5, -5, 0})), 0);
    has(judge_clocks(state, 1, (int[]){70}), TROUBLE_CLOCK_DIFFERS, "70 s ahead of the one of p0");
    has(judge_clocks(state, 1, (int[]){-70}), TROUBLE_CLOCK_DIFFERS, "70 s behind the one of p0");
    has(judge_clocks(state, 3, (int[]){70, 71, 0}), TROUBLE_CLOCK_OFF, "70 s ahead of those of 3 peers");
    assert_int_equal(troubles(*state), 1);
    const struct checks_line *line =
        has(judge_clocks(state, 3, (int[]){0, -9000, 1}), TROUBLE_CLOCK_PEER, "2 h ahead of");
    assert_string_equal(line->peer, "p1");
    assert_int_equal(troubles(*state), 1);
    // One of two: the third, this machine, decides.
    has(judge_clocks(state, 2, (int[]){9000, 0}), TROUBLE_CLOCK_PEER, "2 h behind this machine's, with which 1 more");
    // Nobody agrees with anybody.
    judge_clocks(state, 2, (int[]){9000, -9000});
    assert_int_equal(troubles(*state), 2);
}

static void reach(void **state)
{
    struct checks *c = start(state);
    struct checks_reach said[3] = {{"p1", "10.0.0.1:6173", DIALBACK_REFUSED},
                                   {"p1", "10.0.0.2:6173", DIALBACK_SILENT},
                                   {"p2", "10.0.0.1:6173", DIALBACK_SILENT}};
    checks_reach(c, said, 0, 6173);
    assert_int_equal(c->lines[0].state, CHECKS_SKIP);
    checks_reach(start(state), said, 3, 6173);
    has(c, TROUBLE_ADDRESS_CLOSED, "at 10.0.0.1:6173, 10.0.0.2:6173: no answer in time");
    said[1].result = DIALBACK_ANSWERS;
    checks_reach(start(state), said, 3, 6173);
    assert_int_equal(troubles(c), 0);
    said[0].result = DIALBACK_NOT_TRIED;
    checks_reach(start(state), said, 1, 6173);
    assert_int_equal(c->lines[0].state, CHECKS_SKIP);
}

// ---- texts ----

static void what_the_daemon_names(void **state)
{
    struct checks *c = start(state);
    checks_add(c, TROUBLE_RUN_STALLED, "p3", "run", "3f9a12ab", "cause", "has not voted yet (9 s)", "remedy", "wait",
               NULL);
    has(c, TROUBLE_RUN_STALLED, "run 3f9a12ab waits for it: it has not voted yet (9 s)");
    checks_add(c, TROUBLE_CONF_WRONG, NULL, "why", "/h/mycel.conf:3: what?", NULL);
    has(c, TROUBLE_CONF_WRONG, "/h/mycel.conf:3");
    checks_add(c, TROUBLE_GATEWAY_REFUSES, NULL, "why", "there is no gateway", "port", "6173", NULL);
    has(c, TROUBLE_GATEWAY_REFUSES, "no gateway");
    checks_add(c, TROUBLE_DISK_REFUSES, "p1", "why", "no space left", NULL);
    has(c, TROUBLE_DISK_REFUSES, "no space left");
    checks_add(c, TROUBLE_DEVICE_LOST, "p1", "device", "nvidia:0", "why", "fell off the bus", "when", "now", NULL);
    has(c, TROUBLE_DEVICE_LOST, "nvidia:0 is lost: fell off the bus");
}

static void more_than_fits(void **state)
{
    struct checks *c = start(state);
    char lengthy[4 * CHECKS_TEXT_MAX];
    memset(lengthy, 'x', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = 0;
    for (int i = 0; i < CHECKS_LINES_MAX + 5; i++)
        checks_add(c, TROUBLE_HOME_CLOSED, lengthy, "home", lengthy, "why", lengthy, NULL);
    assert_int_equal(c->count, CHECKS_LINES_MAX);
    assert_int_equal(c->left_out, 5);
    assert_int_equal(strlen(c->lines[0].cause), CHECKS_TEXT_MAX - 1);
    assert_int_equal(strlen(c->lines[0].peer), CHECKS_NAME_MAX - 1);
}

static void numbers(void **state)
{
    (void)state;
    char t[CHECKS_SHORT];
    assert_string_equal(checks_span(t, 119), "119 s");
    assert_string_equal(checks_span(t, 120), "2 min");
    assert_string_equal(checks_span(t, 7200), "2 h");
    assert_string_equal(checks_span(t, 172800), "2 days");
    assert_string_equal(checks_size(t, 999), "999 B");
    assert_string_equal(checks_size(t, 1500), "1.5 kB");
    assert_string_equal(checks_size(t, 47000000000), "47 GB");
    assert_string_equal(checks_size(t, UINT64_MAX), "no limit");
    assert_string_equal(checks_number(t, UINT64_MAX), "no limit");
    assert_string_equal(checks_offset(t, INT64_MIN + 1), "106751991167 da behind");
}

// Run last: a trouble without a test is one that nobody has seen.
static void every_trouble_was_named(void **state)
{
    (void)state;
    for (int t = TROUBLE_NONE + 1; t < TROUBLE_COUNT; t++)
        if (!seen[t]) fail_msg("no test names %s", trouble_name((enum trouble)t));
}

static void the_page_is_the_table(void **state)
{
    (void)state;
    char *made = NULL, have[65536];
    size_t size = 0;
    FILE *out = open_memstream(&made, &size), *page = fopen("docs/troubles.md", "rb");
    assert_non_null(out);
    assert_non_null(page);
    checks_markdown(out);
    fclose(out);
    size_t got = fread(have, 1, sizeof have, page);
    fclose(page);
    assert_int_equal(got, size);
    assert_memory_equal(have, made, size);
    free(made);
}

static int make(void **state)
{
    *state = calloc(1, sizeof(struct checks));
    return *state ? 0 : -1;
}

static int drop(void **state)
{
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(homes),
        cmocka_unit_test(certificates),
        cmocka_unit_test(daemons),
        cmocka_unit_test(ports),
        cmocka_unit_test(disks),
        cmocka_unit_test(limits),
        cmocka_unit_test(device_lines),
        cmocka_unit_test(members),
        cmocka_unit_test(dials),
        cmocka_unit_test(clocks),
        cmocka_unit_test(reach),
        cmocka_unit_test(what_the_daemon_names),
        cmocka_unit_test(more_than_fits),
        cmocka_unit_test(numbers),
        cmocka_unit_test(every_trouble_was_named),
        cmocka_unit_test(the_page_is_the_table),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
