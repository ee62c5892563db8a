// Anti-entropy: two tables become equal, in few messages, and hostile nodes cost little.
#include "gossip/sync.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/philox.h"

enum { MANY = 3000, RECORD_SIZE = 400 };

static struct core_key self[2];
static struct gossip_options options[2];
static struct gossip_counts counts;
static struct record_pool *pool;

// One table's peer is the other.
struct side {
    struct members members;
    struct outbox out;
};

static struct side sides[2];

static bool always_valid(void *context, const struct core_id *id, const char *domain, struct slice bytes,
                         const struct core_sig *sig)
{
    (void)context, (void)id, (void)domain, (void)bytes, (void)sig;
    return true;
}

static void open_sides(uint32_t members_max)
{
    memset(&counts, 0, sizeof counts);
    for (uint32_t i = 0; i < 2; i++) {
        options[i] = (struct gossip_options){.key = self[i], .members_max = members_max, .pool = pool};
        options[i].signatures.valid = always_valid;  // of thousands of made-up members
        assert_int_equal(members_open(&sides[i].members, &options[i], NULL, &counts, 1), CORE_ERR_OK);
        const struct member_record r = {.id = self[i].id, .incarnation = 1, .seq = 1};
        members_self_put(&sides[i].members, &r, &self[i], 1);
        outbox_reset(&sides[i].out);
    }
}

static void close_sides(void)
{
    for (uint32_t i = 0; i < 2; i++) members_close(&sides[i].members);
}

static struct core_id id_of(uint32_t number)
{
    const struct core_hash hash = hash_bytes(&number, sizeof number);
    struct core_id id;
    memcpy(id.bytes, hash.bytes, sizeof id.bytes);
    return id;
}

static void put(uint32_t side, uint32_t number, uint64_t incarnation, uint64_t seq, const char *name)
{
    const struct member_record r = {
        .id = id_of(number), .incarnation = incarnation, .seq = seq, .name = {(const uint8_t *)name, strlen(name)}};
    uint8_t bytes[RECORD_MAX];
    struct members_change change;
    const size_t size = record_write(bytes, &r, &self[0]);
    assert_int_equal(members_record_put(&sides[side].members, (struct slice){bytes, size}, 5, &change), CORE_ERR_OK);
}

static bool accuse(uint32_t side, uint32_t accuser, uint32_t target, uint64_t incarnation)
{
    const struct accusation a = {.accuser = id_of(accuser), .target = id_of(target), .incarnation = incarnation};
    uint8_t bytes[ACCUSATION_SIZE];
    struct members_change change;
    accusation_write(bytes, &a, &self[0]);
    assert_int_equal(members_accusation_put(&sides[side].members, (struct slice){bytes, sizeof bytes}, 5, &change),
                     CORE_ERR_OK);
    return change.news;
}

static void records_take(struct members *m, struct slice records)
{
    struct reader r = reader_over(records.data, records.size);
    struct slice record, accusations;
    struct members_change change;
    while (sync_entry_next(&r, &record, &accusations)) {
        assert_int_equal(members_record_put(m, record, 5, &change), CORE_ERR_OK);
        for (size_t at = 0; at < accusations.size; at += ACCUSATION_SIZE)
            assert_int_equal(
                members_accusation_put(m, (struct slice){accusations.data + at, ACCUSATION_SIZE}, 5, &change),
                CORE_ERR_OK);
    }
    assert_false(r.failed);
}

struct traffic {
    uint32_t rounds, messages;
    size_t bytes;
};

// Hands messages to and fro until there are none.
static struct traffic exchange(void)
{
    struct traffic t = {0};
    for (; sides[0].out.count + sides[1].out.count > 0; t.rounds++) {
        assert_true(t.rounds < 100);
        for (uint32_t from = 0; from < 2; from++) {
            struct outbox sent = sides[from].out, *out = &sides[!from].out;
            assert_int_equal(outbox_open(&sides[from].out, 4096, 4 << 20), CORE_ERR_OK);
            struct members *m = &sides[!from].members;
            const struct core_id *peer = &self[from].id;
            t.messages += (uint32_t)sent.count;
            for (size_t i = 0; i < sent.count; i++) {
                const struct message *e = &sent.effects[i].message;
                enum core_err err = CORE_ERR_OK;
                t.bytes += e->type == MESSAGE_MEMBERS_NODES     ? e->members_nodes.nodes.size
                           : e->type == MESSAGE_MEMBERS_RECORDS ? e->members_records.records.size
                                                                : 32;
                switch (e->type) {
                case MESSAGE_MEMBERS_ROOT: err = sync_root_received(m, peer, &e->members_root, out); break;
                case MESSAGE_MEMBERS_NODES: err = sync_nodes_received(m, peer, &e->members_nodes, out); break;
                case MESSAGE_MEMBERS_WANT: err = sync_want_received(m, peer, &e->members_want, out); break;
                case MESSAGE_MEMBERS_RECORDS: records_take(m, e->members_records.records); break;
                default: fail();
                }
                assert_int_equal(err, CORE_ERR_OK);
            }
            outbox_close(&sent);
        }
    }
    return t;
}

static bool equal(void)
{
    return digest_equal(&sides[0].members.digest.root, &sides[1].members.digest.root);
}

// Both tell the other their root until they agree.
static struct traffic agree(void)
{
    struct traffic sum = {0};
    for (uint32_t turn = 0; !equal(); turn++) {
        assert_true(turn < 20);
        for (uint32_t i = 0; i < 2; i++) sync_root_send(&sides[i].members, &self[!i].id, &sides[i].out);
        const struct traffic t = exchange();
        sum.rounds += t.rounds;
        sum.messages += t.messages;
        sum.bytes += t.bytes;
    }
    return sum;
}

static void equal_tables_say_nothing(void **state)
{
    (void)state;
    open_sides(MANY);
    for (uint32_t i = 0; i < 100; i++)
        for (uint32_t k = 0; k < 2; k++) put(k, i, 1, 1, "");
    agree();
    for (uint32_t i = 0; i < 2; i++) sync_root_send(&sides[i].members, &self[!i].id, &sides[i].out);
    const struct traffic t = exchange();
    assert_int_equal(t.messages, 2);
    assert_false(sync_differs(&sides[0].members, sync_root(&sides[1].members)));
    close_sides();
}

static void what_each_lacks_is_found(void **state)
{
    (void)state;
    open_sides(64);
    put(0, 1, 1, 1, "");
    put(0, 2, 4, 1, "");
    put(1, 2, 3, 9, "");
    for (uint32_t k = 0; k < 2; k++) put(k, 3, 1, 1, "");
    put(1, 4, 1, 1, "");
    assert_true(accuse(1, 4, 3, 1));
    put(0, 5, 2, 2, "one story");
    put(1, 5, 2, 2, "another");
    agree();
    for (uint32_t k = 0; k < 2; k++) {
        const struct members *m = &sides[k].members;
        const struct core_id two = id_of(2), three = id_of(3);
        assert_int_equal(m->count, 7);
        assert_int_equal(members_find(m, &two)->record->incarnation, 4);
        assert_int_equal(members_state(members_find(m, &three)), GOSSIP_SUSPECT);
    }
    assert_true(counts.equivocations > 0);
    close_sides();
}

static void a_newcomer_gets_everything_at_once(void **state)
{
    (void)state;
    open_sides(MANY);
    for (uint32_t i = 0; i < 100; i++) put(1, i, 1, 1, "");
    const struct traffic t = agree();
    assert_int_equal(sides[0].members.count, 102);
    assert_true(t.rounds <= 4);
    close_sides();
}

// Of thousands few differ: some kilobytes find them, not a list of all.
static void few_differences_cost_little(void **state)
{
    (void)state;
    static const uint32_t differences[] = {1, 10, 100};
    for (uint32_t d = 0; d < 3; d++) {
        open_sides(2 * MANY);
        for (uint32_t i = 0; i < MANY; i++)
            for (uint32_t k = 0; k < 2; k++) put(k, i, 1, 1, "");
        agree();
        for (uint32_t i = 0; i < differences[d]; i++) put(i % 2, 17 * i, 1 + i % 3, 2, "");
        const struct traffic t = agree();
        print_message("%u of %u differ: %u messages, %zu bytes, %u rounds\n", differences[d], MANY, t.messages, t.bytes,
                      t.rounds);
        assert_true(t.bytes < 4000 + 2500 * differences[d]);
        assert_true(t.rounds <= 8);
        close_sides();
    }
}

// The root is what a recomputation from the members gives, however the table came to be.
static void the_digest_is_the_sum_of_its_members(void **state)
{
    (void)state;
    open_sides(1000);
    struct rng rng = rng_from(1, 2);
    for (uint32_t i = 0; i < 6000; i++) {
        const uint32_t number = (uint32_t)rng_below(&rng, 900);
        const struct core_id id = id_of(number);
        const struct member *member = members_find(&sides[0].members, &id);
        if (member && rng_below(&rng, 4) == 0) {
            members_remove(&sides[0].members, &id);
            continue;
        }
        if (!member || rng_below(&rng, 2))
            put(0, number, 1 + i % 3, i, "");
        else if (members_accusations(member) == 0)
            accuse(0, (number + 1) % 900, number, member->record->incarnation);
        else
            continue;
        if (i % 100 != 0) continue;
        struct pool_mark sum = {{0}};
        for (uint32_t k = 0; k < sides[0].members.count; k++) {
            const struct member *of = members_at(&sides[0].members, k);
            const struct pool_mark mark = members_mark(of);
            digest_xor(&sum, &mark);
        }
        assert_true(digest_equal(&sum, &sides[0].members.digest.root));
    }
    close_sides();
}

// Both sides know the same four.
static void open_four(void)
{
    open_sides(16);
    for (uint32_t k = 0; k < 2; k++)
        for (uint32_t i = 0; i < 4; i++) put(k, i, 1, 1, "");
    agree();
}

// Two members that exchange their states must not look like the same table.
static void marks_do_not_cancel_out(void **state)
{
    (void)state;
    open_four();
    assert_true(accuse(0, 2, 0, 1));
    assert_true(accuse(1, 2, 1, 1));
    assert_false(equal());
    close_sides();
}

// One accuser here and another there are two.
static void who_accuses_is_part_of_a_mark(void **state)
{
    (void)state;
    open_four();
    assert_true(accuse(0, 2, 0, 1));
    assert_true(accuse(1, 3, 0, 1));
    assert_false(equal());
    agree();
    const struct core_id id = id_of(0);
    for (uint32_t k = 0; k < 2; k++) assert_int_equal(members_accusations(members_find(&sides[k].members, &id)), 2);
    close_sides();
}

static void samples_are_told_a_few_at_a_time(void **state)
{
    (void)state;
    open_sides(200);
    for (uint32_t i = 0; i < 600; i++)
        for (uint32_t k = 0; k < 2; k++) put(k, i, 1, 1, "");
    assert_true(sides[0].members.sampled);
    assert_int_equal(sync_root(&sides[0].members).size, 0);
    uint32_t common = UINT32_MAX;
    for (uint32_t i = 0; i < 600 && common == UINT32_MAX; i++) {
        const struct core_id id = id_of(i);
        if (members_find(&sides[0].members, &id) && members_find(&sides[1].members, &id)) common = i;
    }
    put(0, common, 2, 1, "");
    for (uint32_t turn = 0; turn < 20; turn++) {
        for (uint32_t i = 0; i < 2; i++) sync_begin(&sides[i].members, &self[!i].id, &sides[i].out);
        const struct traffic t = exchange();
        assert_true(t.bytes < 40000);
    }
    const struct core_id id = id_of(common);
    assert_int_equal(members_find(&sides[1].members, &id)->record->incarnation, 2);
    assert_int_equal(sides[1].members.count, 200);
    close_sides();
}

// What a sample tells is what the other's sample would hold; a sample's root asks for nothing, a newcomer's for all.
static void samples_tell_what_the_other_would_hold(void **state)
{
    (void)state;
    open_sides(200);
    for (uint32_t i = 0; i < 1600; i++)
        for (uint32_t k = 0; k < 2; k++) put(k, i, 1, 1, "");
    uint32_t told = 0, held = 0;
    for (uint32_t turn = 0; turn < 20; turn++) {
        sync_begin(&sides[0].members, &self[1].id, &sides[0].out);
        assert_int_equal(sides[0].out.count, 1);
        const struct slice nodes = sides[0].out.effects[0].message.members_nodes.nodes;
        assert_int_equal((nodes.size - 12) % 37, 0);
        for (size_t at = 12; at < nodes.size; at += 37, told++)
            for (uint32_t i = 0; i < sides[1].members.count; i++)
                held += memcmp(members_at(&sides[1].members, i)->record->id.bytes, nodes.data + at, 16) == 0;
        outbox_reset(&sides[0].out);
    }
    assert_true(told >= 100);
    assert_true(held * 4 >= told * 3);  // one in eight, were they chosen at random
    sync_root_send(&sides[1].members, &self[0].id, &sides[1].out);
    struct traffic t = exchange();
    assert_int_equal(t.messages, 1);
    const struct message_members_root newcomer = {.count = 1, .mark = {(const uint8_t[16]){1}, 16}};
    assert_int_equal(sync_root_received(&sides[0].members, &self[1].id, &newcomer, &sides[0].out), CORE_ERR_OK);
    t = exchange();
    assert_true(t.bytes > 200 * 100);
    close_sides();
}

static void bad_nodes_are_refused(void **state)
{
    (void)state;
    open_sides(64);
    for (uint32_t i = 0; i < 50; i++) put(0, i, 1, 1, "");
    struct members *m = &sides[0].members;
    struct outbox *out = &sides[0].out;
    uint8_t bytes[1024] = {0};
    struct message_members_nodes nodes = {.nodes = {bytes, 0}};
    assert_int_equal(sync_nodes_received(m, &self[1].id, &nodes, out), CORE_ERR_MALFORMED);
    nodes.nodes.size = 10 + 256;
    static const uint8_t heads[][3] = {{0, 0, 0}, {1, 16, 0}, {1, 1, 1}, {4, 0, 0}, {3, 1, 0}};
    for (uint32_t i = 0; i < 5; i++) {  // kind, depth, last byte of the path
        bytes[0] = heads[i][0];
        bytes[1] = heads[i][1];
        bytes[2] = heads[i][2];
        assert_int_equal(sync_nodes_received(m, &self[1].id, &nodes, out), CORE_ERR_MALFORMED);
    }
    memset(bytes, 0, sizeof bytes);
    bytes[0] = 1;
    assert_int_equal(sync_nodes_received(m, &self[1].id, &nodes, out), CORE_ERR_OK);
    nodes.nodes.size--;
    assert_int_equal(sync_nodes_received(m, &self[1].id, &nodes, out), CORE_ERR_MALFORMED);
    bytes[0] = 2;  // a leaf that names one id twice
    bytes[10] = 2;
    nodes.nodes.size = 10 + 2 + 2 * 37;
    assert_int_equal(sync_nodes_received(m, &self[1].id, &nodes, out), CORE_ERR_MALFORMED);
    const struct message_members_want want = {.ids = {bytes, 17}};
    assert_int_equal(sync_want_received(m, &self[1].id, &want, out), CORE_ERR_MALFORMED);
    const struct message_members_root root = {.count = 1, .mark = {bytes, 15}};
    assert_int_equal(sync_root_received(m, &self[1].id, &root, out), CORE_ERR_MALFORMED);
    // However much is asked for, the answer is bounded.
    uint8_t all[SYNC_WANT_MAX * 16];
    for (uint32_t i = 0; i < SYNC_WANT_MAX; i++) {
        const struct core_id id = id_of(i % 50);
        memcpy(all + (size_t)16 * i, id.bytes, 16);
    }
    outbox_reset(out);
    const struct message_members_want much = {.ids = {all, sizeof all}};
    assert_int_equal(sync_want_received(m, &self[1].id, &much, out), CORE_ERR_OK);
    size_t size = 0;
    for (size_t i = 0; i < out->count; i++) size += out->effects[i].message.members_records.records.size;
    assert_in_range(size, 1, SYNC_RECORDS_BYTES + GOSSIP_ENTRY_MAX);
    close_sides();
}

static int set_up(void **state)
{
    (void)state;
    if (sign_start() != CORE_ERR_OK || record_pool_open(&pool)) return 1;
    for (uint8_t i = 0; i < 2; i++) {
        self[i] = sign_key_from_seed((uint8_t[CORE_SEED_SIZE]){i, 3});
        if (outbox_open(&sides[i].out, 4096, 4 << 20) != CORE_ERR_OK) return 1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) outbox_close(&sides[i].out);
    record_pool_close(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_tables_say_nothing),
        cmocka_unit_test(what_each_lacks_is_found),
        cmocka_unit_test(a_newcomer_gets_everything_at_once),
        cmocka_unit_test(few_differences_cost_little),
        cmocka_unit_test(the_digest_is_the_sum_of_its_members),
        cmocka_unit_test(marks_do_not_cancel_out),
        cmocka_unit_test(who_accuses_is_part_of_a_mark),
        cmocka_unit_test(samples_are_told_a_few_at_a_time),
        cmocka_unit_test(samples_tell_what_the_other_would_hold),
        cmocka_unit_test(bad_nodes_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
