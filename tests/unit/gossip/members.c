// Records, accusations and the table that they converge in; what hostile bytes may not do.
#include "gossip/members.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/philox.h"

enum { KEYS = 8 };

static struct core_key keys[KEYS];
static struct outbox out;

static struct slice text(const char *s)
{
    return (struct slice){(const uint8_t *)s, strlen(s)};
}

static struct record record_of(uint32_t i, uint64_t incarnation, uint64_t seq)
{
    return (struct record){.id = keys[i].id,
                           .incarnation = incarnation,
                           .seq = seq,
                           .name = text("peer"),
                           .addresses = text("a:1"),
                           .certificate = text("certificate")};
}

struct object {
    uint8_t bytes[RECORD_MAX];
    size_t size;
    bool accusation;
};

static struct object signed_record(uint32_t i, uint64_t incarnation, uint64_t seq)
{
    const struct record r = record_of(i, incarnation, seq);
    struct object o = {.accusation = false};
    o.size = record_write(o.bytes, &r, &keys[i]);
    return o;
}

static struct object signed_accusation(uint32_t by, uint32_t of, uint64_t incarnation, enum accusation_rank rank)
{
    const struct accusation a = {keys[by].id, keys[of].id, incarnation, 1, rank};
    struct object o = {.size = ACCUSATION_SIZE, .accusation = true};
    accusation_write(o.bytes, &a, &keys[by]);
    return o;
}

static enum core_err put(struct members *m, const struct object *o, struct members_change *change)
{
    const struct slice bytes = {o->bytes, o->size};
    return o->accusation ? members_accusation_put(m, bytes, 5, change) : members_record_put(m, bytes, 5, change);
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
    assert_int_equal(members_open(&m, &keys[0].id, capacity, (struct gossip_callbacks){0}), CORE_ERR_OK);
    const struct record self = record_of(0, 1, 1);
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
    struct record r = record_of(1, 0x0102, 3);
    r.left = true;
    r.watcher_count = 1;
    r.watchers[0] = keys[2].id;
    uint8_t bytes[RECORD_MAX];
    const size_t size = record_write(bytes, &r, &keys[1]);
    assert_int_equal(size, 1 + 32 + 8 + 8 + 1 + 32 + (4 + 4) + (4 + 3) + (4 + 11) + 1 + 32 + 64);
    assert_int_equal(bytes[0], 1);
    assert_memory_equal(bytes + 1, keys[1].id.bytes, 32);
    assert_memory_equal(bytes + 33, "\2\1\0\0\0\0\0\0\3\0\0\0\0\0\0\0\1", 17);
    assert_memory_equal(bytes + 82, "\4\0\0\0peer\3\0\0\0a:1\13\0\0\0certificate\1", 31);
    assert_memory_equal(bytes + 113, keys[2].id.bytes, 32);
    struct record back;
    assert_int_equal(record_read(&back, (struct slice){bytes, size}), CORE_ERR_OK);
    assert_true(back.left && back.incarnation == 0x0102 && back.seq == 3 && back.watcher_count == 1);
    assert_true(record_signed(&back, (struct slice){bytes, size}));
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 4;
        const bool accepted = record_read(&back, (struct slice){bytes, size}) == CORE_ERR_OK &&
                              record_signed(&back, (struct slice){bytes, size});
        assert_false(accepted);
        bytes[i] ^= 4;
        assert_int_not_equal(record_read(&back, (struct slice){bytes, i}), CORE_ERR_OK);
    }
}

static void a_name_cannot_drive_a_terminal(void **state)
{
    (void)state;
    struct record r = record_of(1, 1, 1), back;
    r.name = text("a\x1b[2J");
    uint8_t bytes[RECORD_MAX];
    const size_t size = record_write(bytes, &r, &keys[1]);
    assert_int_equal(record_read(&back, (struct slice){bytes, size}), CORE_ERR_MALFORMED);
}

static void forgeries_are_refused(void **state)
{
    (void)state;
    struct members m = table(8);
    struct members_change change;
    // Signed by another than the member it speaks of.
    const struct record r = record_of(1, 5, 1);
    struct object forged = {.accusation = false};
    forged.size = record_write(forged.bytes, &r, &keys[2]);
    assert_int_equal(put(&m, &forged, &change), CORE_ERR_BAD_SIGNATURE);
    assert_int_equal(m.count, 1);
    put_ok(&m, signed_record(1, 5, 1), true);
    put_ok(&m, signed_record(2, 1, 1), true);
    const struct accusation a = {keys[2].id, keys[1].id, 5, 1, RANK_DEAD};
    struct object lie = {.size = ACCUSATION_SIZE, .accusation = true};
    accusation_write(lie.bytes, &a, &keys[3]);
    assert_int_equal(put(&m, &lie, &change), CORE_ERR_BAD_SIGNATURE);
    // By a stranger, ahead of the member's incarnation, behind it: void.
    put_ok(&m, signed_accusation(4, 1, 5, RANK_DEAD), false);
    put_ok(&m, signed_accusation(2, 1, 6, RANK_DEAD), false);
    put_ok(&m, signed_accusation(2, 1, 4, RANK_DEAD), false);
    assert_int_equal(state_of(&m, 1), GOSSIP_ALIVE);
    // The incarnation that nobody could outlive.
    const struct object last = signed_record(3, UINT64_MAX, 1);
    assert_int_equal(put(&m, &last, &change), CORE_ERR_MALFORMED);
    members_close(&m);
}

static void states_follow_incarnation_and_rank(void **state)
{
    (void)state;
    struct members m = table(8);
    put_ok(&m, signed_record(1, 1, 1), true);
    put_ok(&m, signed_record(2, 1, 1), true);
    put_ok(&m, signed_accusation(2, 1, 1, RANK_SUSPECT), true);
    assert_int_equal(state_of(&m, 1), GOSSIP_SUSPECT);
    put_ok(&m, signed_record(1, 1, 2), true);  // a newer record of the same life refutes nothing
    assert_int_equal(state_of(&m, 1), GOSSIP_SUSPECT);
    put_ok(&m, signed_accusation(2, 1, 1, RANK_DEAD), true);
    put_ok(&m, signed_accusation(2, 1, 1, RANK_SUSPECT), false);
    assert_int_equal(state_of(&m, 1), GOSSIP_DEAD);
    put_ok(&m, signed_record(1, 2, 0), true);
    assert_int_equal(state_of(&m, 1), GOSSIP_ALIVE);
    put_ok(&m, signed_record(1, 1, 9), false);
    struct members_change change;
    const struct object of_self = signed_accusation(2, 0, 1, RANK_SUSPECT);
    assert_int_equal(put(&m, &of_self, &change), CORE_ERR_OK);
    assert_true(change.self_behind && change.incarnation == 1);
    members_close(&m);
}

// Whatever the order in which the same objects come (accusations again at the end, since one that comes before its
// record is void and is repaired by anti-entropy), the table is the same.
static void tables_converge(void **state)
{
    (void)state;
    struct object objects[32];
    uint32_t count = 0;
    for (uint32_t i = 1; i < 6; i++)
        for (uint64_t seq = 1; seq < 4; seq++) objects[count++] = signed_record(i, 1 + seq / 3, seq);
    for (uint32_t i = 1; i < 6; i++) objects[count++] = signed_accusation(1 + i % 5, i, 2, 1 + (i & 1));
    struct rng rng = rng_from(3, 3);
    struct core_hash digest = {{0}};
    for (uint32_t turn = 0; turn < 50; turn++) {
        struct members m = table(8);
        struct members_change change;
        uint32_t order[32];
        for (uint32_t i = 0; i < count; i++) order[i] = i;
        for (uint32_t i = count; i > 1; i--) {
            const uint32_t k = (uint32_t)rng_below(&rng, i), swap = order[i - 1];
            order[i - 1] = order[k];
            order[k] = swap;
        }
        for (uint32_t i = 0; i < count; i++) assert_int_equal(put(&m, &objects[order[i]], &change), CORE_ERR_OK);
        for (uint32_t i = 15; i < count; i++) assert_int_equal(put(&m, &objects[i], &change), CORE_ERR_OK);
        if (turn == 0) digest = m.digest;
        assert_true(hash_equal(&digest, &m.digest));
        members_close(&m);
    }
}

// Applies to `to` what the outbox holds for it; its answers go to `next`.
static void deliver(struct members *to, struct outbox *from, struct outbox *next)
{
    const struct core_id peer = keys[7].id;
    for (size_t i = 0; i < from->count; i++) {
        const struct message *m = &from->effects[i].message;
        if (m->type == MESSAGE_MEMBERS_DIGEST)
            assert_int_equal(members_digest_received(to, &peer, &m->members_digest, next), CORE_ERR_OK);
        if (m->type == MESSAGE_MEMBERS_WANT)
            assert_int_equal(members_want_received(to, &peer, &m->members_want, next), CORE_ERR_OK);
        if (m->type != MESSAGE_MEMBERS_RECORDS) continue;
        struct reader r = reader_over(m->members_records.records.data, m->members_records.records.size);
        struct slice record, accusation;
        struct members_change change;
        while (members_entry_next(&r, &record, &accusation)) {
            assert_int_equal(members_record_put(to, record, 5, &change), CORE_ERR_OK);
            if (accusation.size) assert_int_equal(members_accusation_put(to, accusation, 5, &change), CORE_ERR_OK);
        }
        assert_false(r.failed);
    }
}

static void digests_repair_what_was_missed(void **state)
{
    (void)state;
    struct members a = table(8), b = table(8);
    put_ok(&a, signed_record(1, 1, 1), true);
    put_ok(&a, signed_record(2, 4, 1), true);
    put_ok(&a, signed_record(3, 1, 1), true);
    put_ok(&b, signed_record(2, 3, 9), true);
    put_ok(&b, signed_record(3, 1, 1), true);
    put_ok(&b, signed_record(4, 1, 1), true);
    put_ok(&b, signed_accusation(4, 3, 1, RANK_DEAD), true);
    struct outbox other;
    assert_int_equal(outbox_open(&other, 16, 1 << 20), CORE_ERR_OK);
    for (int round = 0; round < 2; round++) {  // the second for an accusation that came before its accuser's record
        outbox_reset(&out);
        members_digest_send(&a, &keys[7].id, &out);
        for (int turn = 0; turn < 4 && out.count > 0; turn++) {
            outbox_reset(&other);
            deliver(turn % 2 ? &a : &b, &out, &other);
            const struct outbox swap = out;
            out = other;
            other = swap;
        }
    }
    assert_true(hash_equal(&a.digest, &b.digest));
    assert_int_equal(a.count, 5);
    assert_int_equal(state_of(&a, 3), GOSSIP_DEAD);
    assert_true(members_find(&b, &keys[2].id)->record.incarnation == 4);
    outbox_reset(&out);
    members_digest_send(&a, &keys[7].id, &out);
    outbox_reset(&other);
    deliver(&b, &out, &other);
    assert_int_equal(other.count, 0);  // equal tables say nothing
    outbox_close(&other);
    members_close(&a);
    members_close(&b);
}

static void a_full_table_lets_go_of_the_longest_dead(void **state)
{
    (void)state;
    struct members m = table(3);
    struct members_change change;
    put_ok(&m, signed_record(1, 1, 1), true);
    put_ok(&m, signed_record(2, 1, 1), true);
    const struct object third = signed_record(3, 1, 1);
    assert_int_equal(put(&m, &third, &change), CORE_ERR_LIMIT);
    put_ok(&m, signed_accusation(1, 2, 1, RANK_DEAD), true);
    put_ok(&m, third, true);
    assert_null(members_find(&m, &keys[2].id));
    assert_int_equal(m.count, 3);
    for (uint32_t i = 1; i < m.count; i++)
        assert_true(id_compare(&members_at(&m, i - 1)->record.id, &members_at(&m, i)->record.id) < 0);
    members_close(&m);
}

static void bad_pages_are_refused(void **state)
{
    (void)state;
    struct members m = table(8);
    put_ok(&m, signed_record(1, 1, 1), true);
    uint8_t page[64 + 2 * 49] = {0};
    memset(page + 32, 0xff, 32);
    struct message_members_digest digest = {.count = 9, .entries = {page, 63}};
    outbox_reset(&out);
    assert_int_equal(members_digest_received(&m, &keys[1].id, &digest, &out), CORE_ERR_MALFORMED);
    digest.entries.size = 64 + 48;
    assert_int_equal(members_digest_received(&m, &keys[1].id, &digest, &out), CORE_ERR_MALFORMED);
    digest.entries.size = sizeof page;  // one id twice
    assert_int_equal(members_digest_received(&m, &keys[1].id, &digest, &out), CORE_ERR_MALFORMED);
    const struct message_members_want want = {.ids = {page, 33}};
    assert_int_equal(members_want_received(&m, &keys[1].id, &want, &out), CORE_ERR_MALFORMED);
    members_close(&m);
}

static int set_up(void **state)
{
    (void)state;
    if (sign_start() != CORE_ERR_OK) return 1;
    for (uint8_t i = 0; i < KEYS; i++) keys[i] = sign_key_from_seed((uint8_t[CORE_SEED_SIZE]){i, 9});
    return outbox_open(&out, 16, 1 << 20) != CORE_ERR_OK;
}

static int tear_down(void **state)
{
    (void)state;
    outbox_close(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_has_its_documented_bytes),
        cmocka_unit_test(a_name_cannot_drive_a_terminal),
        cmocka_unit_test(forgeries_are_refused),
        cmocka_unit_test(states_follow_incarnation_and_rank),
        cmocka_unit_test(tables_converge),
        cmocka_unit_test(digests_repair_what_was_missed),
        cmocka_unit_test(a_full_table_lets_go_of_the_longest_dead),
        cmocka_unit_test(bad_pages_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
