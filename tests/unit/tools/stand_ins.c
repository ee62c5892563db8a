// Stand-ins: what must not leave the machine does not, what helps stays, and one thing has one stand-in everywhere.
#include "tools/doctor/stand_ins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tsan_start.h"

#define ID_A "f985e06ed3fe4a292e52b29a307e651f7df0bc4eebc7b4f78a4bbdc8b3b89f41"
#define ID_B "66b8dc49cd6c9a7af10777d82707051695bf96ce3831268c978ca2f5f0862df6"

static struct stand_ins *made(void)
{
    struct stand_ins *s = stand_ins_open();
    assert_non_null(s);
    stand_ins_add(s, STAND_IN_HOME, 0, "/home/alice/.local/state/mycel");
    stand_ins_add(s, STAND_IN_USER, 0, "/home/alice");
    stand_ins_add(s, STAND_IN_USER, 0, "alice");
    const unsigned a = stand_ins_next(s, STAND_IN_PEER), b = stand_ins_next(s, STAND_IN_PEER);
    stand_ins_add(s, STAND_IN_PEER, a, "anna-laptop");
    stand_ins_add(s, STAND_IN_PEER, a, ID_A);
    stand_ins_add(s, STAND_IN_PEER, b, "p2");
    stand_ins_add(s, STAND_IN_PEER, b, ID_B);
    stand_ins_add(s, STAND_IN_PEER, stand_ins_next(s, STAND_IN_PEER), "7");
    stand_ins_add_new(s, STAND_IN_MESH, "greenhouse");
    return s;
}

static void becomes(struct stand_ins *s, const char *text, const char *expected)
{
    char *got = stand_ins_text(s, text);
    assert_string_equal(got, expected);
    free(got);
}

static void names_and_ids_are_one_peer(void **state)
{
    (void)state;
    struct stand_ins *s = made();
    becomes(s, "anna-laptop: it trains; p2's clock", "peer-1: it trains; peer-2's clock");
    becomes(s, "peer=f985e06e name=anna-laptop id=" ID_A, "peer=peer-1 name=peer-1 id=peer-1");
    becomes(s, "F985E06E and 66b8dc49cd6c.", "peer-1 and peer-2.");
    becomes(s, "p2. p2-x p2_y p22 ap2 p2", "peer-2. peer-2-x peer-2_y p22 ap2 peer-2");
    becomes(s, "anna-laptop2 anna-laptop.lan greenhouse-7", "anna-laptop2 peer-1.lan mesh-1-peer-3");
    becomes(s, "7 of 7.5 s, 2.7 and 77", "peer-3 of 7.5 s, 2.peer-3 and 77");
    becomes(s, "/home/alice/.local/state/mycel/log /home/alice/text alice", "HOME/log USER/text USER");
    stand_ins_close(s);
}

static void addresses_go_but_this_machines(void **state)
{
    (void)state;
    struct stand_ins *s = made();
    becomes(s, "203.0.113.7:6173 and 203.0.113.7", "address-1:6173 and address-1");
    becomes(s, "[2001:db8::1]:6173, fe80::1%eth0", "[address-2]:6173, address-3%eth0");
    becomes(s, "http://198.51.100.1:80/x", "http:/path-1");
    becomes(s, "127.0.0.1:6173 [::1]:6173 0.0.0.0:6173 [::]:1", "127.0.0.1:6173 [::1]:6173 0.0.0.0:6173 [::]:1");
    becomes(s, "host.example.org:6173 of 52:54:00:12:34:56.", "address-4:6173 of address-5.");
    becomes(s, "reaches 203.0.113.7. Then (10.0.0.8)", "reaches address-1. Then (address-6)");
    becomes(s, "2026-11-23T14:46:25.295Z libzmq 4.3.4, 12:34:56", "2026-11-23T14:46:25.295Z libzmq 4.3.4, 12:34:56");
    becomes(s, "mycel.conf:1: no key", "mycel.conf:1: no key");
    stand_ins_close(s);
}

static void hashes_tokens_and_paths(void **state)
{
    (void)state;
    struct stand_ins *s = made();
    becomes(s, "run 3f9a00112233445566778899aabbccddeeff00112233445566778899aabbccdd, run=3f9a0011.",
            "run hash-1, run=hash-1.");
    becomes(s, "12638255100 bytes, 20261123144625, 0.30000000000000004",
            "12638255100 bytes, 20261123144625, "
            "0.30000000000000004");
    becomes(s, "/run/mycel-0b.sock 0b9a00112233445 2026112314462500", "path-1 0b9a00112233445 2026112314462500");
    becomes(s, "0b9a001122334455", "hash-2");
    becomes(s, "mycel1abcdefghijklmnopqrstuvwxyz234567abcdefghij", "hash-3");
    becomes(s, "cannot open /data/secret plan", "cannot open path-2 plan");
    becomes(s, "'/srv/x/y.txt': No such file; in /usr/lib/x.so, 3 tok/s, and/or",
            "'path-3': No such file; in /usr/lib/x.so, 3 tok/s, and/or");
    becomes(s, "", "");
    stand_ins_close(s);
}

// Many peers, so that its tables grow, and each is still told from the others.
static void many(void **state)
{
    (void)state;
    struct stand_ins *s = stand_ins_open();
    char name[32], id[32], text[96], expected[64];
    for (unsigned i = 1; i <= 3000; i++) {
        const unsigned number = stand_ins_next(s, STAND_IN_PEER);
        snprintf(name, sizeof name, "node%u", i);
        snprintf(id, sizeof id, "%08xabcdef%010x", i * 2654435761u, i);
        stand_ins_add(s, STAND_IN_PEER, number, name);
        stand_ins_add(s, STAND_IN_PEER, number, id);
        stand_ins_add(s, STAND_IN_PEER, stand_ins_next(s, STAND_IN_SITE), name);  // known already
    }
    for (unsigned i = 1; i <= 3000; i += 7) {
        snprintf(text, sizeof text, "node%u %08x", i, i * 2654435761u);
        snprintf(expected, sizeof expected, "peer-%u peer-%u", i, i);
        becomes(s, text, expected);
    }
    stand_ins_close(s);
}

// Whatever they are strung together with, nobody's name, id or address is left.
static void nothing_slips_through(void **state)
{
    (void)state;
    static const char *const words[] = {"anna-laptop", "p2",        ID_A,   "66b8dc49",    "greenhouse", "203.0.113.7",
                                        "2001:db8::5", "alice",     "7",    "/home/alice", "/srv/plan",  "peer",
                                        "12:34:56",    "127.0.0.1", "1.25", "mycel.conf"};
    static const char *const joints[] = {" ", ", ", "=",  ":", ";",  "(",  ") ", "\"",
                                         "'", "[",  "]:", "/", ": ", "\n", "|"};
    static const char *const gone[] = {"anna",       "laptop",    "p2",       "f985e0", "66b8dc",
                                       "greenhouse", "203.0.113", "2001:db8", "alice",  "plan"};
    uint32_t draw = 1;
    for (int round = 0; round < 20000; round++) {
        struct stand_ins *s = made();
        char text[1024];
        size_t used = 0;
        for (int i = 0; i < 6; i++) {
            draw = draw * 1664525 + 1013904223;  // Knuth's, with the high bits used
            const char *word = words[(draw >> 16) % (sizeof words / sizeof *words)];
            draw = draw * 1664525 + 1013904223;
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", word,
                                     joints[(draw >> 16) % (sizeof joints / sizeof *joints)]);
        }
        char *out = stand_ins_text(s, text);
        for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
            if (strstr(out, gone[i])) fail_msg("'%s' of '%s' is in '%s'", gone[i], text, out);
        free(out);
        stand_ins_close(s);
    }
}

static void json_keeps_its_keys_and_numbers(void **state)
{
    (void)state;
    struct stand_ins *s = made();
    json_t *o =
        json_pack("{s:s, s:i, s:[s, {s:s}]}", "p2", "p2", "port", 6173, "list", "anna-laptop", "at", "10.1.2.3:99");
    stand_ins_json(s, o);
    char *text = json_dumps(o, JSON_COMPACT);
    assert_string_equal(text, "{\"p2\":\"peer-2\",\"port\":6173,\"list\":[\"peer-1\",{\"at\":\"address-1:99\"}]}");
    free(text);
    json_decref(o);
    stand_ins_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_ids_are_one_peer), cmocka_unit_test(addresses_go_but_this_machines),
        cmocka_unit_test(hashes_tokens_and_paths),    cmocka_unit_test(many),
        cmocka_unit_test(nothing_slips_through),      cmocka_unit_test(json_keeps_its_keys_and_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
