// Records, accusations and the table that they converge in; what hostile bytes may not do.
#include "gossip/members.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/philox.h"

enum { KEYS = 12 };

static struct core_key keys[KEYS];
static struct gossip_options options;
static struct gossip_counts counts;

static struct slice text(const char *s)
{
    return (struct slice){(const uint8_t *)s, strlen(s)};
}

static struct member_record record_of(uint32_t i, uint64_t incarnation, uint64_t seq)
{
    return (struct member_record){.id = keys[i].id,
                                  .incarnation = incarnation,
                                  .seq = seq,
                                  .session = 9,
                                  .name = text("peer"),
                                  .addresses = text("a:1"),
                                  .certificate = text("certificate")};
}

struct object {
    uint8_t bytes[RECORD_MAX];
    size_t size;
    bool accusation;
};

static struct object sign(const struct member_record *r, uint32_t signer)
{
    struct object o = {.accusation = false};
    o.size = record_write(o.bytes, r, &keys[signer]);
    return o;
}

static struct object signed_record(uint32_t i, uint64_t incarnation, uint64_t seq)
{
    const struct member_record r = record_of(i, incarnation, seq);
    return sign(&r, i);
}

static struct object signed_accusation(uint32_t accuser, uint32_t target, uint64_t incarnation)
{
    struct object o = {.size = ACCUSATION_SIZE, .accusation = true};
    const struct accusation a = {.accuser = keys[accuser].id, .target = keys[target].id, .incarnation = incarnation};
    accusation_write(o.bytes, &a, &keys[accuser]);
    return o;
}

static enum core_err put_at(struct members *m, const struct object *o, uint64_t now_ms, struct members_change *change)
{
    const struct slice bytes = {o->bytes, o->size};
    return o->accusation ? members_accusation_put(m, bytes, now_ms, change)
                         : members_record_put(m, bytes, now_ms, change);
}

static enum core_err put(struct members *m, const struct object *o, struct members_change *change)
{
    return put_at(m, o, 5, change);
}

static void put_ok(struct members *m, struct object o, bool news)
{
    struct members_change change;
    assert_int_equal(put(m, &o, &change), CORE_ERR_OK);
    assert_int_equal(change.news, news);
}

static struct members table(uint32_t capacity)
{
    struct members m;
    memset(&counts, 0, sizeof counts);
    options = (struct gossip_options){.key = keys[0], .members_max = capacity};
    assert_int_equal(members_open(&m, &options, NULL, &counts, 1), CORE_ERR_OK);
    const struct member_record self = record_of(0, 1, 1);
    members_self_put(&m, &self, &keys[0], 1);
    return m;
}

static enum gossip_state state_of(const struct members *m, uint32_t i)
{
    const struct member *member = members_find(m, &keys[i].id);
    assert_non_null(member);
    return members_state(member);
}

// docs/wire-format.md's layout, byte by byte.
static void a_record_has_its_documented_bytes(void **state)
{
    (void)state;
    struct member_record r = record_of(1, 0x0102, 3);
    r.left = r.located = true;
    r.site = text("hh");
    r.coordinates = (struct coordinates_point){{1, -1, 256}, 7, 1000};
    r.watcher_count = 1;
    r.watchers = &keys[2].id;
    uint8_t bytes[RECORD_MAX];
    const size_t size = record_write(bytes, &r, &keys[1]);
    assert_int_equal(size, 1 + 32 + 8 + 8 + 8 + 1 + 32 + (4 + 4) + (4 + 2) + 20 + (4 + 3) + (4 + 11) + 1 + 32 + 64);
    assert_int_equal(bytes[0], 2);
    assert_memory_equal(bytes + 1, keys[1].id.bytes, 32);
    assert_memory_equal(bytes + 33, "\2\1\0\0\0\0\0\0\3\0\0\0\0\0\0\0\11\0\0\0\0\0\0\0\3", 25);
    assert_memory_equal(bytes + 90, "\4\0\0\0peer\2\0\0\0hh\1\0\0\0\377\377\377\377\0\1\0\0\7\0\0\0\350\3\0\0", 34);
    assert_memory_equal(bytes + 124, "\3\0\0\0a:1\13\0\0\0certificate\1", 23);
    assert_memory_equal(bytes + 147, keys[2].id.bytes, 32);
    struct member_record back;
    assert_int_equal(record_read(&back, (struct slice){bytes, size}), CORE_ERR_OK);
    assert_true(back.left && back.located && back.incarnation == 0x0102 && back.seq == 3 && back.session == 9);
    assert_true(back.watcher_count == 1 && id_equal(&back.watchers[0], &keys[2].id));
    assert_int_equal(back.coordinates.at_us[1], -1);
    assert_true(record_signed(&back, NULL));
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 4;
        const bool accepted =
            record_read(&back, (struct slice){bytes, size}) == CORE_ERR_OK && record_signed(&back, NULL);
        assert_false(accepted);
        bytes[i] ^= 4;
        assert_int_not_equal(record_read(&back, (struct slice){bytes, i}), CORE_ERR_OK);
    }
}

static void an_accusation_has_its_documented_bytes(void **state)
{
    (void)state;
    struct object o = signed_accusation(1, 2, 0x0304);
    assert_int_equal(o.bytes[0], 2);
    assert_memory_equal(o.bytes + 1, keys[1].id.bytes, 32);
    assert_memory_equal(o.bytes + 33, keys[2].id.bytes, 32);
    assert_memory_equal(o.bytes + 65, "\4\3\0\0\0\0\0\0", 8);
    for (size_t i = 0; i < o.size; i++) {
        struct accusation a;
        o.bytes[i] ^= 4;
        const bool accepted =
            accusation_read(&a, (struct slice){o.bytes, o.size}) == CORE_ERR_OK && accusation_signed(&a, NULL);
        assert_false(accepted);
        o.bytes[i] ^= 4;
    }
}

// The block "```hex NAME" of docs/wire-format.md.
static size_t example(const char *name, uint8_t *out, size_t capacity)
{
    static char page[1 << 17];
    FILE *f = fopen("docs/wire-format.md", "rb");
    assert_non_null(f);
    page[fread(page, 1, sizeof page - 1, f)] = 0;
    fclose(f);
    char head[64], digits[2 * RECORD_MAX];
    snprintf(head, sizeof head, "```hex %s\n", name);
    const char *at = strstr(page, head);
    assert_non_null(at);
    size_t count = 0;
    for (at += strlen(head); *at != '`'; at++) {
        assert_true(count < sizeof digits - 1);
        if (*at != '\n') digits[count++] = *at;
    }
    digits[count] = 0;
    assert_true(count / 2 <= capacity && hex_decode(out, count / 2, digits));
    return count / 2;
}

// They were made by Python's struct, hashlib and cryptography.
static void the_documented_examples_are_read(void **state)
{
    (void)state;
    const struct core_key founder = sign_key_from_seed((uint8_t[CORE_SEED_SIZE]){
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
    uint8_t bytes[RECORD_MAX];
    struct member_record r;
    size_t size = example("member record", bytes, sizeof bytes);
    assert_int_equal(record_read(&r, (struct slice){bytes, size}), CORE_ERR_OK);
    assert_true(record_signed(&r, NULL));
    assert_true(r.incarnation == 3 && r.seq == 1 && r.session == 0x1122334455667788 && r.located && !r.left);
    assert_true(r.name.size == 3 && memcmp(r.name.data, "bob", 3) == 0);
    assert_true(r.site.size == 5 && memcmp(r.site.data, "attic", 5) == 0);
    assert_true(r.coordinates.at_us[1] == -2000 && r.coordinates.height_us == 500 && r.coordinates.error == 200);
    assert_true(r.watcher_count == 1 && id_equal(&r.watchers[0], &founder.id));
    struct accusation a;
    uint8_t statement[ACCUSATION_SIZE];
    size = example("accusation", statement, sizeof statement);
    assert_int_equal(accusation_read(&a, (struct slice){statement, size}), CORE_ERR_OK);
    assert_true(accusation_signed(&a, NULL) && a.incarnation == 3);
    assert_true(id_equal(&a.target, &r.id) && id_equal(&a.accuser, &founder.id));
}

static void a_name_cannot_drive_a_terminal(void **state)
{
    (void)state;
    struct member_record r = record_of(1, 1, 1), back;
    r.name = text("a\x1b[2J");
    uint8_t bytes[RECORD_MAX];
    size_t size = record_write(bytes, &r, &keys[1]);
    assert_int_equal(record_read(&back, (struct slice){bytes, size}), CORE_ERR_MALFORMED);
    r.name = text("a");
    r.site = text("\r");
    size = record_write(bytes, &r, &keys[1]);
    assert_int_equal(record_read(&back, (struct slice){bytes, size}), CORE_ERR_MALFORMED);
}

static void forgeries_are_refused(void **state)
{
    (void)state;
    struct members m = table(8);
    struct members_change change;
    // Signed by another than the member it speaks of.
    const struct member_record r = record_of(1, 5, 1);
    const struct object forged = sign(&r, 2);
    assert_int_equal(put(&m, &forged, &change), CORE_ERR_BAD_SIGNATURE);
    assert_int_equal(m.count, 1);
    assert_int_equal(counts.refusals[GOSSIP_REFUSED_SIGNATURE], 1);
    put_ok(&m, signed_record(1, 5, 1), true);
    put_ok(&m, signed_record(2, 1, 1), true);
    const struct accusation a = {.accuser = keys[2].id, .target = keys[1].id, .incarnation = 5};
    struct object lie = {.size = ACCUSATION_SIZE, .accusation = true};
    accusation_write(lie.bytes, &a, &keys[3]);
    assert_int_equal(put(&m, &lie, &change), CORE_ERR_BAD_SIGNATURE);
    // By a stranger, ahead of the member's incarnation, behind it: void.
    put_ok(&m, signed_accusation(4, 1, 5), false);
    assert_int_equal(counts.refusals[GOSSIP_REFUSED_STRANGER], 1);
    put_ok(&m, signed_accusation(2, 1, 6), false);
    put_ok(&m, signed_accusation(2, 1, 4), false);
    assert_int_equal(counts.refusals[GOSSIP_REFUSED_STALE], 1);
    assert_int_equal(state_of(&m, 1), GOSSIP_ALIVE);
    // Incarnations that leave no room to be outlived.
    static const uint64_t absurd[] = {UINT64_MAX, UINT64_C(1) << 63, RECORD_INCARNATION_MAX + 1};
    for (uint32_t i = 0; i < 3; i++) {
        const struct object last = signed_record(3, absurd[i], 1);
        assert_int_equal(put(&m, &last, &change), CORE_ERR_MALFORMED);
    }
    assert_int_equal(counts.refusals[GOSSIP_REFUSED_MALFORMED], 3);
    members_close(&m);
}

static uint32_t deaths(struct members *m, uint64_t now_ms)
{
    struct members_change change;
    uint32_t count = 0;
    while (members_next_dead(m, now_ms, 1000, 0, &change)) count++;
    return count;
}

static void states_follow_incarnation_and_accusers(void **state)
{
    (void)state;
    struct members m = table(8);
    for (uint32_t i = 1; i < 5; i++) put_ok(&m, signed_record(i, 1, 1), true);
    put_ok(&m, signed_accusation(2, 1, 1), true);
    put_ok(&m, signed_accusation(2, 1, 1), false);
    assert_int_equal(state_of(&m, 1), GOSSIP_SUSPECT);
    put_ok(&m, signed_record(1, 1, 2), true);  // a newer record of the same life refutes nothing
    assert_int_equal(state_of(&m, 1), GOSSIP_SUSPECT);
    assert_int_equal(deaths(&m, 100000), 0);  // one accuser is not enough
    put_ok(&m, signed_accusation(3, 1, 1), true);
    put_ok(&m, signed_accusation(4, 1, 1), false);
    assert_int_equal(state_of(&m, 1), GOSSIP_SUSPECT);
    assert_int_equal(deaths(&m, 1004), 0);  // accused at 5
    assert_int_equal(members_next_ms(&m, 1000, 0), 1005);
    assert_int_equal(deaths(&m, 1005), 1);
    assert_int_equal(state_of(&m, 1), GOSSIP_DEAD);
    put_ok(&m, signed_record(1, 2, 0), true);
    assert_int_equal(state_of(&m, 1), GOSSIP_ALIVE);
    put_ok(&m, signed_record(1, 1, 9), false);
    // Of this peer itself: nothing to believe, but to be outlived.
    struct members_change change;
    const struct object of_self = signed_accusation(2, 0, 1);
    assert_int_equal(put(&m, &of_self, &change), CORE_ERR_OK);
    assert_true(change.self_behind && change.incarnation == 1 && !change.news);
    const struct object older = signed_record(0, 1, 0), newer = signed_record(0, 7, 0);
    assert_int_equal(put(&m, &older, &change), CORE_ERR_OK);
    assert_false(change.self_behind);
    assert_int_equal(put(&m, &newer, &change), CORE_ERR_OK);
    assert_true(change.self_behind && change.incarnation == 7);
    members_close(&m);
}

// With nobody else alive, one accuser must do.
static void the_last_one_decides_alone(void **state)
{
    (void)state;
    struct members m = table(8);
    put_ok(&m, signed_record(1, 1, 1), true);
    put_ok(&m, signed_record(2, 1, 1), true);
    put_ok(&m, signed_accusation(0, 1, 1), true);
    assert_int_equal(deaths(&m, 5000), 0);  // the other could still say something
    put_ok(&m, signed_accusation(0, 2, 1), true);
    assert_int_equal(deaths(&m, 5000), 2);
    members_close(&m);
}

// Whatever the order in which the same objects come (accusations again at the end, since one that comes before its
// record is void and is repaired by anti-entropy), the table is the same.
static void tables_converge(void **state)
{
    (void)state;
    struct object objects[40];
    uint32_t count = 0;
    for (uint32_t i = 1; i < 6; i++)
        for (uint64_t seq = 1; seq < 4; seq++) objects[count++] = signed_record(i, 1 + seq / 3, seq);
    // Two stories of one member: all keep the same one.
    struct member_record other = record_of(4, 2, 3);
    other.name = text("other");
    objects[count++] = sign(&other, 4);
    const uint32_t accusations = count;
    for (uint32_t i = 1; i < 6; i++) objects[count++] = signed_accusation(1 + i % 5, i, 2);
    objects[count++] = signed_accusation(3, 1, 2);
    struct rng rng = rng_from(3, 3);
    struct pool_mark root = {{0}};
    for (uint32_t turn = 0; turn < 50; turn++) {
        struct members m = table(8);
        struct members_change change;
        uint32_t order[40];
        for (uint32_t i = 0; i < count; i++) order[i] = i;
        for (uint32_t i = count; i > 1; i--) {
            const uint32_t k = (uint32_t)rng_below(&rng, i), swap = order[i - 1];
            order[i - 1] = order[k];
            order[k] = swap;
        }
        for (uint32_t i = 0; i < count; i++) assert_int_equal(put(&m, &objects[order[i]], &change), CORE_ERR_OK);
        for (uint32_t i = accusations; i < count; i++) assert_int_equal(put(&m, &objects[i], &change), CORE_ERR_OK);
        if (turn == 0) root = m.digest.root;
        assert_true(digest_equal(&root, &m.digest.root));
        members_close(&m);
    }
}

static void two_stories_are_a_proof(void **state)
{
    (void)state;
    struct members m = table(8);
    struct members_change change;
    put_ok(&m, signed_record(1, 3, 4), true);
    struct member_record r = record_of(1, 3, 4);
    r.addresses = text("b:2");
    const struct object second = sign(&r, 1);
    assert_int_equal(put(&m, &second, &change), CORE_ERR_OK);
    assert_int_equal(counts.equivocations, 1);
    assert_int_equal(m.proof_count, 1);
    for (uint32_t i = 0; i < 2; i++) assert_true(record_signed(m.proofs[0].records[i], NULL));
    assert_int_not_equal(members_order(m.proofs[0].records[0], m.proofs[0].records[1]), 0);
    // Again, or from a peer that lost its disk and began anew: no further proof.
    assert_int_equal(put(&m, &second, &change), CORE_ERR_OK);
    struct member_record restarted = record_of(2, 1, 1);
    put_ok(&m, sign(&restarted, 2), true);
    restarted.session = 10;
    restarted.name = text("again");
    const struct object anew = sign(&restarted, 2);
    assert_int_equal(put(&m, &anew, &change), CORE_ERR_OK);
    assert_int_equal(m.proof_count, 1);
    members_close(&m);
}

static void a_full_table_lets_go_of_the_longest_dead(void **state)
{
    (void)state;
    struct members m = table(4);
    for (uint32_t i = 1; i < 4; i++) put_ok(&m, signed_record(i, 1, 1), true);
    put_ok(&m, signed_accusation(1, 2, 1), true);
    put_ok(&m, signed_accusation(3, 2, 1), true);
    assert_int_equal(deaths(&m, 2000), 1);
    put_ok(&m, signed_record(4, 1, 1), true);
    assert_null(members_find(&m, &keys[2].id));
    assert_false(m.sampled);
    assert_int_equal(m.count, 4);
    for (uint32_t i = 1; i < m.count; i++)
        assert_true(id_compare(&members_at(&m, i - 1)->record->id, &members_at(&m, i)->record->id) < 0);
    // What it knew of the one it let go of, replayed, does not bring it back; a new life does.
    struct members_change change;
    const struct object old = signed_record(2, 1, 1);
    assert_int_equal(put(&m, &old, &change), CORE_ERR_REFUSED);
    assert_int_equal(counts.refusals[GOSSIP_REFUSED_FORGOTTEN], 1);
    members_close(&m);
}

// Full of the living: a uniform sample, the same whatever the order, and the same members every time.
static void a_table_beyond_its_size_is_a_sample(void **state)
{
    (void)state;
    struct rng rng = rng_from(5, 5);
    enum { MANY = 400, MAX = 100 };
    static struct core_key many[MANY];
    static struct object objects[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        many[i] = sign_key_from_seed((uint8_t[CORE_SEED_SIZE]){(uint8_t)i, (uint8_t)(i >> 8), 77});
        struct member_record r = record_of(0, 1, 1);
        r.id = many[i].id;
        objects[i].size = record_write(objects[i].bytes, &r, &many[i]);
    }
    bool kept[MANY] = {false};
    for (uint32_t turn = 0; turn < 3; turn++) {
        struct members m = table(MAX);
        struct members_change change;
        for (uint32_t i = 0; i < 3 * MANY; i++) {
            const uint32_t k = turn == 0 ? i % MANY : (uint32_t)rng_below(&rng, MANY);
            assert_int_equal(put_at(&m, &objects[k], 5, &change), CORE_ERR_OK);
        }
        for (uint32_t i = 0; i < MANY; i++) assert_int_equal(put_at(&m, &objects[i], 5, &change), CORE_ERR_OK);
        assert_true(m.sampled);
        assert_int_equal(m.count, MAX);
        for (uint32_t i = 0; i < MANY; i++) {
            const bool here = members_find(&m, &many[i].id) != NULL;
            if (turn == 0) kept[i] = here;
            assert_int_equal(here, kept[i]);
        }
        members_close(&m);
    }
}

static struct object signed_goodbye(uint32_t i)
{
    struct member_record r = record_of(i, 1, 2);
    r.left = true;
    return sign(&r, i);
}

static bool outlives(struct members *m, uint32_t accuser, uint64_t incarnation)
{
    struct members_change change;
    const struct object o = signed_accusation(accuser, 0, incarnation);
    const enum core_err err = put(m, &o, &change);
    assert_true((err == CORE_ERR_OK || err == CORE_ERR_REFUSED) && !change.news);
    assert_true(!change.self_behind || change.incarnation == incarnation);
    return change.self_behind;
}

// Its words may be believed elsewhere, where this peer is dead by them: they are outlived, and tables agree on them.
static void what_was_said_before_leaving_counts(void **state)
{
    (void)state;
    struct members m = table(8), other = table(8);
    for (uint32_t i = 1; i < 5; i++) put_ok(&m, signed_record(i, 1, 1), true);
    for (uint32_t i = 1; i < 5; i++) put_ok(&other, signed_record(i, 1, 1), true);
    for (uint32_t i = 3; i < 5; i++) put_ok(&m, signed_accusation(i, 2, 1), true);
    for (uint32_t i = 3; i < 5; i++) put_ok(&m, signed_goodbye(i), true);
    for (uint32_t i = 3; i < 5; i++) put_ok(&other, signed_goodbye(i), true);
    assert_false(digest_equal(&m.digest.root, &other.digest.root));
    for (uint32_t i = 3; i < 5; i++) put_ok(&other, signed_accusation(i, 2, 1), true);
    assert_true(digest_equal(&m.digest.root, &other.digest.root));
    assert_int_equal(deaths(&other, 5000), 1);
    assert_true(outlives(&m, 3, 1));
    // Long after, when they are forgotten.
    members_age(&m, 5 + MEMBERS_LEFT_KEEP_MS + MEMBERS_AGE_MS);
    assert_null(members_find(&m, &keys[3].id));
    assert_true(outlives(&m, 3, 1));
    members_close(&m);
    members_close(&other);
}

// Who came and left while a split lasted is a stranger to the other side. Keys are free: it is outlived, but seldom.
static void a_stranger_is_outlived_within_a_budget(void **state)
{
    (void)state;
    struct members m = table(8);
    assert_true(outlives(&m, 5, 1));
    assert_false(outlives(&m, 5, 2));  // ahead of this peer: no stranger drives its incarnation
    assert_false(outlives(&m, 5, 0));
    uint32_t taken = 0;
    for (uint32_t i = 0; i < 100; i++) taken += outlives(&m, 1 + i % (KEYS - 1), 1);
    assert_true(taken > 0 && taken < 10);
    members_close(&m);
}

static void who_is_gone_is_forgotten_in_time(void **state)
{
    (void)state;
    struct members m = table(8);
    for (uint32_t i = 1; i < 5; i++) put_ok(&m, signed_record(i, 1, 1), true);
    const struct pool_mark all = m.digest.root;
    struct member_record goodbye = record_of(1, 1, 2);
    goodbye.left = true;
    put_ok(&m, sign(&goodbye, 1), true);
    put_ok(&m, signed_accusation(3, 2, 1), true);
    put_ok(&m, signed_accusation(4, 2, 1), true);
    assert_int_equal(deaths(&m, 2000), 1);
    const struct pool_mark with_both = m.digest.root;
    members_age(&m, 5 + MEMBERS_LEFT_QUIET_MS - 1);
    assert_true(digest_equal(&m.digest.root, &with_both));
    members_age(&m, 5 + MEMBERS_LEFT_QUIET_MS + MEMBERS_AGE_MS);
    assert_false(digest_equal(&m.digest.root, &with_both));
    assert_int_equal(state_of(&m, 1), GOSSIP_LEFT);
    members_age(&m, 5 + MEMBERS_LEFT_KEEP_MS + MEMBERS_AGE_MS);
    assert_null(members_find(&m, &keys[1].id));
    members_age(&m, 2000 + MEMBERS_DEAD_QUIET_MS);
    assert_int_equal(state_of(&m, 2), GOSSIP_DEAD);  // still tried
    // Its mark is gone, and back when somebody tells of it.
    const struct pool_mark without = m.digest.root;
    put_ok(&m, signed_record(2, 1, 1), false);
    assert_false(digest_equal(&m.digest.root, &without));
    // Records from before it left don't bring the first one back; its next life does.
    struct members_change change;
    const struct object stale = signed_record(1, 1, 1);
    assert_int_equal(put(&m, &stale, &change), CORE_ERR_REFUSED);
    put_ok(&m, signed_record(1, 2, 1), true);
    put_ok(&m, signed_record(2, 2, 1), true);
    assert_int_equal(m.states[GOSSIP_ALIVE], 5);
    assert_false(digest_equal(&m.digest.root, &all));
    members_age(&m, 2 * MEMBERS_DEAD_KEEP_MS);
    assert_int_equal(m.count, 5);
    members_close(&m);
}

static void an_author_has_a_budget(void **state)
{
    (void)state;
    struct members m = table(8);
    struct members_change change;
    uint32_t taken = 0;
    for (uint64_t seq = 1; seq <= 1000; seq++) {
        const struct object o = signed_record(1, 1, seq);
        const enum core_err err = put(&m, &o, &change);
        assert_true(err == CORE_ERR_OK || err == CORE_ERR_REFUSED);
        taken += change.news;
    }
    assert_int_equal(taken, CONDUCT_RECORDS);
    assert_int_equal(counts.refusals[GOSSIP_REFUSED_RATE], 1000 - CONDUCT_RECORDS);
    put_ok(&m, signed_record(2, 1, 1), true);  // others are not touched by it
    const struct object later = signed_record(1, 1, 1001);
    assert_int_equal(put_at(&m, &later, 5 + CONDUCT_RECORD_MS, &change), CORE_ERR_OK);
    assert_true(change.news);
    members_close(&m);
}

// Who accuses the healthy again and again is not listened to for a while; who plays dead silences nobody.
static void false_accusers_are_muted(void **state)
{
    (void)state;
    struct members m = table(16);
    struct members_change change;
    for (uint32_t i = 1; i < KEYS; i++) put_ok(&m, signed_record(i, 1, 1), true);
    // One enemy lets itself be accused by 2, refutes, and so on.
    for (uint64_t life = 1; life < 10; life++) {
        put_ok(&m, signed_accusation(2, 3, life), true);
        put_ok(&m, signed_record(3, life + 1, 1), true);
    }
    assert_int_equal(counts.muted, 0);
    // Two members that agree are believed, also where the accused lives.
    put_ok(&m, signed_accusation(4, 5, 1), true);
    for (uint32_t target = 6; target < 6 + CONDUCT_REFUTED; target++) {
        put_ok(&m, signed_accusation(1, target, 1), true);
        put_ok(&m, signed_record(target, 2, 1), true);
    }
    assert_int_equal(counts.muted, 1);
    const struct object lie = signed_accusation(1, 10, 1);
    assert_int_equal(put(&m, &lie, &change), CORE_ERR_REFUSED);
    assert_int_equal(counts.refusals[GOSSIP_REFUSED_MUTED], 1);
    assert_int_equal(state_of(&m, 10), GOSSIP_ALIVE);
    assert_int_equal(put_at(&m, &lie, 5 + CONDUCT_MUTED_MS, &change), CORE_ERR_OK);
    assert_int_equal(state_of(&m, 10), GOSSIP_SUSPECT);
    members_close(&m);
}

static bool always_valid(void *context, const struct core_id *id, const char *domain, struct slice bytes,
                         const struct core_sig *sig)
{
    (void)id, (void)domain, (void)bytes, (void)sig;
    ++*(uint32_t *)context;
    return true;
}

// Tables that share a pool hold each record once, and check each signature once.
static void a_pool_is_shared(void **state)
{
    (void)state;
    struct record_pool *pool;
    assert_int_equal(record_pool_open(&pool), CORE_ERR_OK);
    memset(&counts, 0, sizeof counts);
    uint32_t checks = 0;
    struct gossip_options o[2];
    struct members m[2];
    for (uint32_t i = 0; i < 2; i++) {
        o[i] = (struct gossip_options){.key = keys[i], .members_max = 16, .pool = pool};
        o[i].signatures = (struct signature_check){always_valid, &checks};
        assert_int_equal(members_open(&m[i], &o[i], NULL, &counts, 1), CORE_ERR_OK);
    }
    for (uint32_t i = 2; i < KEYS; i++)
        for (uint32_t k = 0; k < 2; k++) put_ok(&m[k], signed_record(i, 1, 1), true);
    assert_int_equal(checks, KEYS - 2);
    assert_int_equal(record_pool_count(pool), KEYS - 2);
    assert_ptr_equal(members_find(&m[0], &keys[5].id)->record, members_find(&m[1], &keys[5].id)->record);
    put_ok(&m[0], signed_record(5, 2, 1), true);
    assert_int_equal(record_pool_count(pool), KEYS - 1);
    put_ok(&m[1], signed_record(5, 2, 1), true);
    assert_int_equal(record_pool_count(pool), KEYS - 2);
    members_close(&m[0]);
    members_close(&m[1]);
    assert_int_equal(record_pool_count(pool), 0);
    assert_int_equal(record_pool_bytes(pool), 0);
    record_pool_close(pool);
}

static int set_up(void **state)
{
    (void)state;
    if (sign_start() != CORE_ERR_OK) return 1;
    for (uint8_t i = 0; i < KEYS; i++) keys[i] = sign_key_from_seed((uint8_t[CORE_SEED_SIZE]){i, 9});
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_has_its_documented_bytes),
        cmocka_unit_test(an_accusation_has_its_documented_bytes),
        cmocka_unit_test(the_documented_examples_are_read),
        cmocka_unit_test(a_name_cannot_drive_a_terminal),
        cmocka_unit_test(forgeries_are_refused),
        cmocka_unit_test(states_follow_incarnation_and_accusers),
        cmocka_unit_test(the_last_one_decides_alone),
        cmocka_unit_test(tables_converge),
        cmocka_unit_test(two_stories_are_a_proof),
        cmocka_unit_test(a_full_table_lets_go_of_the_longest_dead),
        cmocka_unit_test(a_table_beyond_its_size_is_a_sample),
        cmocka_unit_test(what_was_said_before_leaving_counts),
        cmocka_unit_test(a_stranger_is_outlived_within_a_budget),
        cmocka_unit_test(who_is_gone_is_forgotten_in_time),
        cmocka_unit_test(an_author_has_a_budget),
        cmocka_unit_test(false_accusers_are_muted),
        cmocka_unit_test(a_pool_is_shared),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
