// Announcements: docs/discovery.md's example, every byte changed, strangers, forgers, replays, and when to speak.
#include "mesh/lan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NOW_S = 1750000000 };

static struct charter garden;
static struct core_key member;

// The block "```hex NAME" of a page, decoded; its size.
static size_t hex_block(const char *path, const char *name, uint8_t *out, size_t capacity)
{
    static char page[1 << 16];
    char head[64], text[4096];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    page[fread(page, 1, sizeof page - 1, f)] = '\0';
    fclose(f);
    snprintf(head, sizeof head, "```hex %s\n", name);
    const char *at = strstr(page, head);
    if (!at) fail_msg("%s has no block %s", path, name);
    size_t size = 0;
    for (at += strlen(head); *at && strncmp(at, "```", 3) != 0; at++)
        if (*at != '\n' && size + 1 < sizeof text) text[size++] = *at;
    text[size] = '\0';
    assert_true(size / 2 <= capacity && hex_decode(out, size / 2, text));
    return size / 2;
}

static int setup(void **state)
{
    (void)state;
    uint8_t raw[CHARTER_MAX], seed[CORE_SEED_SIZE];
    assert_int_equal(sign_start(), CORE_ERR_OK);
    size_t size = hex_block("docs/wire-format.md", "charter", raw, sizeof raw);
    assert_int_equal(charter_decode((struct slice){raw, size}, &garden), CORE_ERR_OK);
    memset(seed, 2, sizeof seed);
    member = sign_key_from_seed(seed);
    return 0;
}

static struct lan_announcement example(void)
{
    struct lan_announcement a = {.id = member.id, .incarnation = 7, .sequence = 3, .time_s = NOW_S, .count = 2};
    assert_int_equal(address_parse("192.168.1.20:6173", &a.addresses[0]), CORE_ERR_OK);
    assert_int_equal(address_parse("[fd00::20]:6173", &a.addresses[1]), CORE_ERR_OK);
    return a;
}

static struct slice sealed(const struct lan_announcement *a, uint8_t out[LAN_SIZE])
{
    struct core_hash key = lan_key(&garden);
    uint8_t nonce[LAN_NONCE_SIZE];
    for (size_t i = 0; i < sizeof nonce; i++) nonce[i] = (uint8_t)i;
    lan_encode(&key, &garden.id, &member, a, nonce, out);
    return (struct slice){out, LAN_SIZE};
}

static void the_pages_example(void **state)
{
    (void)state;
    uint8_t wanted[LAN_SIZE], got[LAN_SIZE], key_bytes[CORE_HASH_SIZE];
    struct core_hash key = lan_key(&garden);
    assert_int_equal(hex_block("docs/discovery.md", "lan-key", key_bytes, sizeof key_bytes), CORE_HASH_SIZE);
    assert_memory_equal(key.bytes, key_bytes, sizeof key_bytes);
    assert_int_equal(hex_block("docs/discovery.md", "announcement", wanted, sizeof wanted), LAN_SIZE);
    struct lan_announcement a = example(), back;
    sealed(&a, got);
    assert_memory_equal(got, wanted, sizeof wanted);
    assert_int_equal(lan_decode(&key, &garden.id, (struct slice){wanted, LAN_SIZE}, &back), CORE_ERR_OK);
    assert_true(id_equal(&back.id, &member.id) && back.incarnation == 7 && back.sequence == 3);
    assert_true(back.time_s == NOW_S && back.count == 2);
    assert_true(address_equal(&back.addresses[0], &a.addresses[0]));
    assert_true(address_equal(&back.addresses[1], &a.addresses[1]));
}

static void a_changed_byte_is_no_announcement(void **state)
{
    (void)state;
    struct core_hash key = lan_key(&garden);
    struct lan_announcement a = example(), back;
    uint8_t bytes[LAN_SIZE + 1] = {0};
    struct slice all = sealed(&a, bytes);
    for (size_t i = 0; i < LAN_SIZE; i++) {
        bytes[i] ^= 0x10;
        enum core_err err = lan_decode(&key, &garden.id, all, &back);
        assert_int_equal(err, i == 0 ? CORE_ERR_UNKNOWN_VERSION : CORE_ERR_WRONG_MESH);
        bytes[i] ^= 0x10;
    }
    for (size_t size = 0; size <= LAN_SIZE + 1; size++) {
        if (size == LAN_SIZE) continue;
        assert_int_equal(lan_decode(&key, &garden.id, (struct slice){bytes, size}, &back), CORE_ERR_MALFORMED);
    }
}

static void who_lacks_the_nonce_or_the_key_says_nothing(void **state)
{
    (void)state;
    struct core_hash key = lan_key(&garden), foreign;
    struct charter other = garden;
    struct lan_announcement a = example(), back;
    uint8_t bytes[LAN_SIZE], nonce[LAN_NONCE_SIZE] = {9};
    other.nonce[0] ^= 1;  // the mesh id alone, which every token shows, is not enough
    foreign = lan_key(&other);
    lan_encode(&foreign, &garden.id, &member, &a, nonce, bytes);
    assert_int_equal(lan_decode(&key, &garden.id, (struct slice){bytes, LAN_SIZE}, &back), CORE_ERR_WRONG_MESH);
    // Made by a member of the mesh in another's name: signed by the wrong key.
    struct core_key liar = member;
    uint8_t seed[CORE_SEED_SIZE] = {3};
    struct core_key own = sign_key_from_seed(seed);
    memcpy(liar.secret, own.secret, sizeof liar.secret);
    lan_encode(&key, &garden.id, &liar, &a, nonce, bytes);
    assert_int_equal(lan_decode(&key, &garden.id, (struct slice){bytes, LAN_SIZE}, &back), CORE_ERR_BAD_SIGNATURE);
    // Signed for another mesh that has this key by some accident.
    struct core_hash elsewhere = garden.id;
    elsewhere.bytes[0] ^= 1;
    lan_encode(&key, &elsewhere, &member, &a, nonce, bytes);
    assert_int_equal(lan_decode(&key, &garden.id, (struct slice){bytes, LAN_SIZE}, &back), CORE_ERR_BAD_SIGNATURE);
}

static void addresses_that_no_lan_has_are_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"127.0.0.1:1",   "0.0.0.0:1",  "224.0.0.1:1", "255.255.255.255:1",
                                      "169.254.1.1:1", "[::1]:1",    "[fe80::1]:1", "[ff02::1]:1",
                                      "[::]:1",        "10.0.0.1:0", "0.1.2.3:1",   "[::127.0.0.1]:1"};
    struct core_hash key = lan_key(&garden);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lan_announcement a = example(), back;
        uint8_t bytes[LAN_SIZE];
        assert_int_equal(address_parse(bad[i], &a.addresses[1]), CORE_ERR_OK);
        enum core_err err = lan_decode(&key, &garden.id, sealed(&a, bytes), &back);
        if (err != CORE_ERR_MALFORMED) fail_msg("%s: %s", bad[i], core_error_name(err));
    }
    struct lan_announcement none = example(), back;
    uint8_t bytes[LAN_SIZE];
    none.count = 0;
    assert_int_equal(lan_decode(&key, &garden.id, sealed(&none, bytes), &back), CORE_ERR_MALFORMED);
}

// ---- judging ----

static enum lan_verdict hear(struct lan *l, uint64_t incarnation, uint32_t sequence, uint64_t time_s, uint64_t now_ms)
{
    struct lan_announcement a = example(), back;
    uint8_t bytes[LAN_SIZE];
    a.incarnation = incarnation;
    a.sequence = sequence;
    a.time_s = time_s;
    return lan_receive(l, sealed(&a, bytes), now_ms, NOW_S, &back);
}

static struct lan *fresh(void)
{
    static struct lan l;
    struct core_id self = garden.founders[0];
    lan_open(&l, &garden, &self, 1000);
    return &l;
}

static void each_sequence_number_passes_once(void **state)
{
    (void)state;
    struct lan *l = fresh();
    assert_int_equal(hear(l, 7, 100, NOW_S, 1000), LAN_HEARD);
    assert_int_equal(hear(l, 7, 100, NOW_S, 1000), LAN_REPLAYED);
    assert_int_equal(hear(l, 7, 99, NOW_S, 1000), LAN_HEARD);  // two interfaces may pass each other
    assert_int_equal(hear(l, 7, 99, NOW_S, 1000), LAN_REPLAYED);
    assert_int_equal(hear(l, 7, 37, NOW_S, 1000), LAN_HEARD);  // 63 behind
    assert_int_equal(hear(l, 7, 36, NOW_S, 1000), LAN_REPLAYED);
    assert_int_equal(hear(l, 7, 101, NOW_S, 1000), LAN_HEARD);
    assert_int_equal(hear(l, 7, 100, NOW_S, 1000), LAN_REPLAYED);
    assert_int_equal(hear(l, 7, 1000, NOW_S, 1000), LAN_HEARD);
    assert_int_equal(hear(l, 7, 101, NOW_S, 1000), LAN_REPLAYED);
    assert_int_equal(hear(l, 7, UINT32_MAX, NOW_S, 1000), LAN_HEARD);
    assert_int_equal(hear(l, 8, 0, NOW_S, 1000), LAN_HEARD);  // it was restarted
    assert_int_equal(hear(l, 7, UINT32_MAX, NOW_S, 1000), LAN_REPLAYED);
    assert_int_equal(l->verdicts[LAN_HEARD], 7);
    assert_int_equal(l->verdicts[LAN_REPLAYED], 6);
}

static void another_time_is_stale(void **state)
{
    (void)state;
    struct lan *l = fresh();
    assert_int_equal(hear(l, 7, 1, NOW_S - LAN_WINDOW_S - 1, 1000), LAN_STALE);
    assert_int_equal(hear(l, 7, 2, NOW_S + LAN_WINDOW_S + 1, 1000), LAN_STALE);
    assert_int_equal(hear(l, 7, 3, UINT64_MAX, 1000), LAN_STALE);
    assert_int_equal(hear(l, 7, 4, 0, 1000), LAN_STALE);
    assert_int_equal(hear(l, 7, 1, NOW_S - LAN_WINDOW_S, 1000), LAN_HEARD);
    assert_int_equal(hear(l, 7, 2, NOW_S + LAN_WINDOW_S, 1000), LAN_HEARD);
}

static void our_own_comes_back(void **state)
{
    (void)state;
    struct lan *l = fresh();
    l->self = member.id;
    assert_int_equal(hear(l, 7, 1, NOW_S, 1000), LAN_OWN);
    struct address_list list;
    assert_false(lan_heard(l, &member.id, 1000, &list));
}

static void a_flood_is_limited(void **state)
{
    (void)state;
    struct lan *l = fresh();
    struct lan_announcement back;
    uint8_t noise[LAN_SIZE] = {LAN_VERSION};
    for (int i = 0; i < 1000; i++) {
        enum lan_verdict v = lan_receive(l, (struct slice){noise, sizeof noise}, 1000, NOW_S, &back);
        assert_int_equal(v, i < LAN_BURST ? LAN_FOREIGN : LAN_LIMITED);
    }
    assert_int_equal(hear(l, 7, 1, NOW_S, 1000), LAN_LIMITED);
    for (int i = 0; i < LAN_PER_S; i++) assert_int_equal(hear(l, 7, (uint32_t)i, NOW_S, 2000), LAN_HEARD);
    assert_int_equal(hear(l, 7, LAN_PER_S, NOW_S, 2000), LAN_LIMITED);
}

static void what_was_heard_is_kept_for_a_while(void **state)
{
    (void)state;
    struct lan *l = fresh();
    struct address_list list;
    struct lan_announcement a = example();
    assert_int_equal(hear(l, 7, 1, NOW_S, 1000), LAN_HEARD);
    assert_true(lan_heard(l, &member.id, 1000 + LAN_FRESH_MS - 1, &list));
    assert_int_equal(list.count, 2);
    assert_true(address_equal(&list.items[0], &a.addresses[0]) && address_equal(&list.items[1], &a.addresses[1]));
    assert_false(lan_heard(l, &member.id, 1000 + LAN_FRESH_MS, &list));
    assert_false(lan_heard(l, &garden.founders[0], 1000, &list));
}

// More authors than places: the one silent for longest makes room.
static void the_longest_silent_makes_room(void **state)
{
    (void)state;
    struct lan *l = fresh();
    struct core_hash key = lan_key(&garden);
    uint8_t seed[CORE_SEED_SIZE] = {0}, nonce[LAN_NONCE_SIZE] = {0}, bytes[LAN_SIZE];
    struct lan_announcement a = example(), back;
    struct core_id ids[LAN_SEEN_MAX + 1];
    uint64_t now_ms = 1000;
    for (uint32_t i = 0; i <= LAN_SEEN_MAX; i++) {
        memcpy(seed, &i, sizeof i);
        seed[31] = 1;
        struct core_key author = sign_key_from_seed(seed);
        a.id = ids[i] = author.id;
        lan_encode(&key, &garden.id, &author, &a, nonce, bytes);
        assert_int_equal(lan_receive(l, (struct slice){bytes, LAN_SIZE}, now_ms += 20, NOW_S, &back), LAN_HEARD);
    }
    assert_null(lan_seen_find(l, &ids[0]));
    for (uint32_t i = 1; i <= LAN_SEEN_MAX; i++) assert_non_null(lan_seen_find(l, &ids[i]));
}

static void it_speaks_often_while_alone_then_seldom(void **state)
{
    (void)state;
    struct lan *l = fresh();
    static const uint64_t alone_s[] = {1, 2, 4, 8, 16, 32, 32, 32};
    uint64_t now_ms = 1000;
    for (size_t i = 0; i < sizeof alone_s / sizeof *alone_s; i++) {
        uint64_t random = i % 2 ? UINT64_MAX : 0;
        assert_true(lan_due(l, true, now_ms, random));
        assert_false(lan_due(l, true, now_ms, random));
        uint64_t wait_ms = l->next_ms - now_ms;
        assert_in_range(wait_ms, alone_s[i] * 750, alone_s[i] * 1250);
        assert_false(lan_due(l, true, l->next_ms - 1, random));
        now_ms = l->next_ms;
    }
    assert_true(lan_due(l, false, now_ms, 0));
    assert_int_equal(l->next_ms, now_ms + 45000);
    lan_hurry(l, now_ms + 5);
    assert_true(lan_due(l, true, now_ms + 5, 0));
    assert_int_equal(l->next_ms, now_ms + 5 + 750);
}

// Who is alone dials at once; in a mesh of 64 all waits up to 64 * 50 ms are as likely; none is longer than 10 s,
// however many there are.
static void a_herd_spreads_its_dials(void **state)
{
    (void)state;
    uint64_t first_ms = UINT64_MAX, sum_ms = 0, last_ms = 0;
    for (uint64_t random = 0; random < 30000; random++) assert_int_equal(lan_dial_at(false, 64, 500, random), 500);
    for (uint64_t i = 0; i < 3201; i++) {
        const uint64_t at_ms = lan_dial_at(true, 64, 500, i * 7919);
        if (at_ms < first_ms) first_ms = at_ms;
        if (at_ms > last_ms) last_ms = at_ms;
        sum_ms += at_ms;
    }
    assert_int_equal(first_ms, 500);
    assert_int_equal(last_ms, 500 + 3200);
    assert_int_equal(sum_ms / 3201, 500 + 1600);  // evenly: 7919 is a prime, so each wait came once
    assert_int_equal(lan_dial_at(true, 0, 500, UINT64_MAX), 500);
    for (uint64_t random = 0; random < 30000; random++)
        assert_true(lan_dial_at(true, UINT32_MAX, 500, random) <= 500 + 10000);
    assert_int_equal(lan_dial_at(true, UINT32_MAX, 500, 10000), 500 + 10000);
}

// A thousand made-up ids a second for a minute, from the clock's first millisecond on: one dial in ten seconds.
static void ids_that_nobody_knows_are_dialled_seldom(void **state)
{
    (void)state;
    struct lan *l = fresh();
    uint32_t dials = 0;
    for (uint64_t now_ms = 1; now_ms <= 60000; now_ms++) dials += lan_unknown_due(l, now_ms);
    assert_int_equal(dials, 6);
    assert_false(lan_unknown_due(l, 60000));
    assert_true(lan_unknown_due(l, 60001));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pages_example),
        cmocka_unit_test(a_changed_byte_is_no_announcement),
        cmocka_unit_test(who_lacks_the_nonce_or_the_key_says_nothing),
        cmocka_unit_test(addresses_that_no_lan_has_are_malformed),
        cmocka_unit_test(each_sequence_number_passes_once),
        cmocka_unit_test(another_time_is_stale),
        cmocka_unit_test(our_own_comes_back),
        cmocka_unit_test(a_flood_is_limited),
        cmocka_unit_test(what_was_heard_is_kept_for_a_while),
        cmocka_unit_test(the_longest_silent_makes_room),
        cmocka_unit_test(it_speaks_often_while_alone_then_seldom),
        cmocka_unit_test(a_herd_spreads_its_dials),
        cmocka_unit_test(ids_that_nobody_knows_are_dialled_seldom),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
