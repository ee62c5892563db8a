// A member that lies: what it says of others and of itself, through its links, and what the mesh makes of it.
#include "gossip/members.h"
#include "gossip/record.h"
#include "unit/gossip/world.h"

enum { COUNT = 16, LIAR = 1 };

static struct world world;

static struct core_id *id_of(uint32_t i)
{
    return &world.peers[i].key.id;
}

static void open_mesh(uint64_t seed)
{
    world_open(&world, COUNT, seed);
    world_join_all(&world);
    world_run(&world, 12000);
}

static bool all_see(uint32_t of, enum gossip_state state)
{
    for (uint32_t i = 0; i < COUNT; i++)
        if (i != of && world.peers[i].gossip && gossip_state_of(world.peers[i].gossip, id_of(of)) != state)
            return false;
    return true;
}

static bool anyone_sees(uint32_t of, enum gossip_state state)
{
    for (uint32_t i = 0; i < COUNT; i++)
        if (i != of && world.peers[i].gossip && gossip_state_of(world.peers[i].gossip, id_of(of)) == state) return true;
    return false;
}

// Steps, and checks at each that no honest peer is believed dead.
static void run_without_deaths(uint64_t for_ms)
{
    const uint64_t until = world.now_ms + for_ms;
    uint32_t turn = 0;
    while (world_step(&world, until))
        for (uint32_t i = 0; turn++ % 8 == 0 && i < COUNT; i++) assert_false(anyone_sees(i, GOSSIP_DEAD));
}

static struct gossip_counts sum_of_counts(void)
{
    struct gossip_counts sum = {0}, one;
    for (uint32_t i = 0; i < COUNT; i++) {
        if (!world.peers[i].gossip) continue;
        gossip_counts_get(world.peers[i].gossip, &one);
        for (uint32_t k = 0; k < GOSSIP_REFUSED_COUNT; k++) sum.refusals[k] += one.refusals[k];
        sum.muted += one.muted;
        sum.equivocations += one.equivocations;
        sum.refutations += one.refutations;
    }
    return sum;
}

static uint64_t refused(enum gossip_refusal why)
{
    return sum_of_counts().refusals[why];
}

// What the liar's neighbours say to a message of its; the first error.
static enum core_err tell(uint32_t liar, const struct message *m)
{
    enum core_err first = CORE_ERR_OK;
    struct core_id ids[8];
    const uint32_t n = gossip_neighbors(world.peers[liar].gossip, ids, 8);
    assert_true(n > 0);
    for (uint32_t i = 0; i < n && i < 8; i++) {
        const uint32_t to = world_number(&world, &ids[i]);
        enum core_err err;
        if (!world.peers[to].gossip) continue;
        assert_true(gossip_message(world.peers[to].gossip, id_of(liar), m, world.now_ms, &world.out, &err));
        world_perform(&world, to);
        if (!first) first = err;
    }
    return first;
}

static enum core_err tell_cast(uint32_t liar, enum cast_topic topic, struct slice payload)
{
    static uint64_t repeat = 1u << 30;
    struct message m = {.type = MESSAGE_CAST};
    m.cast.origin = *id_of(liar);
    m.cast.topic = topic;
    m.cast.repeat = ++repeat;
    m.cast.payload = payload;
    uint8_t head[CORE_ID_SIZE + 16];
    struct writer w = writer_over(head, sizeof head);
    write_bytes(&w, m.cast.origin.bytes, CORE_ID_SIZE);
    write_u64(&w, m.cast.topic);
    write_u64(&w, m.cast.repeat);
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, head, w.size);
    hash_add(&s, payload.data, payload.size);
    m.cast.id = hash_end(&s);
    return tell(liar, &m);
}

static uint64_t incarnation_of(uint32_t i)
{
    return gossip_incarnation(world.peers[i].gossip);
}

static void accusation_of(uint8_t out[ACCUSATION_SIZE], uint32_t accuser, uint32_t target)
{
    const struct accusation a = {
        .accuser = *id_of(accuser), .target = *id_of(target), .incarnation = incarnation_of(target)};
    accusation_write(out, &a, &world.peers[accuser].key);
}

static void one_liar_kills_nobody(void **state)
{
    (void)state;
    open_mesh(600);
    for (uint32_t turn = 0; turn < 40; turn++) {
        uint8_t lie[ACCUSATION_SIZE];
        accusation_of(lie, LIAR, 2 + turn % (COUNT - 2));
        tell_cast(LIAR, TOPIC_SUSPICION, (struct slice){lie, sizeof lie});
        run_without_deaths(500);
    }
    run_without_deaths(10000);
    const struct gossip_counts sum = sum_of_counts();
    assert_true(sum.refutations >= CONDUCT_REFUTED);
    // It lost its right to accuse, and most of its lies nobody heard.
    assert_true(sum.muted >= COUNT / 2);
    assert_true(sum.refusals[GOSSIP_REFUSED_MUTED] > 0);
    assert_true(sum.refutations < 40);
    for (uint32_t i = 0; i < COUNT; i++) assert_true(all_see(i, GOSSIP_ALIVE));
    world_close(&world);
}

static void two_liars_kill_nobody_who_refutes(void **state)
{
    (void)state;
    open_mesh(610);
    for (uint32_t turn = 0; turn < 20; turn++) {
        uint8_t lies[2 * ACCUSATION_SIZE];
        const uint32_t target = 3 + turn % (COUNT - 3);
        accusation_of(lies, LIAR, target);
        accusation_of(lies + ACCUSATION_SIZE, 2, target);
        tell_cast(LIAR, TOPIC_SUSPICION, (struct slice){lies, sizeof lies});
        run_without_deaths(1500);
    }
    for (uint32_t i = 0; i < COUNT; i++) assert_true(all_see(i, GOSSIP_ALIVE));
    world_close(&world);
}

// One name on both accusations, a stranger's, a broken one: no second witness.
static void witnesses_are_distinct_members(void **state)
{
    (void)state;
    open_mesh(620);
    world.kills_are_silent = true;
    world_kill(&world, 5);  // nobody can refute for it; only the liar speaks, and only for a moment
    uint8_t lies[2 * ACCUSATION_SIZE];
    const struct core_key stranger = sign_key_from_seed((uint8_t[CORE_SEED_SIZE]){9, 9, 9});
    struct accusation a = {.accuser = *id_of(LIAR), .target = *id_of(5), .incarnation = 1};
    accusation_write(lies, &a, &world.peers[LIAR].key);
    accusation_write(lies + ACCUSATION_SIZE, &a, &world.peers[LIAR].key);
    assert_int_equal(tell_cast(LIAR, TOPIC_SUSPICION, (struct slice){lies, sizeof lies}), CORE_ERR_OK);
    a.accuser = stranger.id;
    accusation_write(lies + ACCUSATION_SIZE, &a, &stranger);
    assert_int_equal(tell_cast(LIAR, TOPIC_SUSPICION, (struct slice){lies, sizeof lies}), CORE_ERR_OK);
    assert_true(refused(GOSSIP_REFUSED_STRANGER) > 0);
    a.accuser = *id_of(7);
    accusation_write(lies + ACCUSATION_SIZE, &a, &world.peers[LIAR].key);
    assert_int_equal(tell_cast(LIAR, TOPIC_SUSPICION, (struct slice){lies, sizeof lies}), CORE_ERR_BAD_SIGNATURE);
    assert_true(refused(GOSSIP_REFUSED_SIGNATURE) > 0);
    assert_int_equal(tell_cast(LIAR, TOPIC_SUSPICION, (struct slice){lies, sizeof lies - 1}), CORE_ERR_MALFORMED);
    struct gossip_member m;
    assert_true(gossip_member_find(world.peers[9].gossip, id_of(5), &m));
    assert_int_not_equal(m.state, GOSSIP_DEAD);
    world_close(&world);
}

static void replays_are_void(void **state)
{
    (void)state;
    open_mesh(630);
    uint8_t first[ACCUSATION_SIZE], old_record[RECORD_MAX];
    struct gossip_member before;
    assert_true(gossip_member_find(world.peers[LIAR].gossip, id_of(6), &before));
    const struct member_record r = {.id = *id_of(6), .incarnation = 1, .seq = 0, .addresses = before.addresses};
    const size_t size = record_write(old_record, &r, &world.peers[6].key);
    accusation_of(first, LIAR, 6);
    tell_cast(LIAR, TOPIC_SUSPICION, (struct slice){first, sizeof first});
    run_without_deaths(3000);
    assert_int_equal(incarnation_of(6), 2);
    const uint64_t stale = refused(GOSSIP_REFUSED_STALE);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(tell_cast(LIAR, TOPIC_SUSPICION, (struct slice){first, sizeof first}), CORE_ERR_OK);
        assert_int_equal(tell_cast(LIAR, TOPIC_MEMBER, (struct slice){old_record, size}), CORE_ERR_OK);
        run_without_deaths(200);
    }
    assert_true(refused(GOSSIP_REFUSED_STALE) > stale);
    assert_int_equal(incarnation_of(6), 2);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct gossip_member m;
        assert_true(gossip_member_find(world.peers[i].gossip, id_of(6), &m));
        assert_true(m.incarnation == 2 && m.state == GOSSIP_ALIVE);
    }
    world_close(&world);
}

static void forged_and_absurd_records_are_refused(void **state)
{
    (void)state;
    open_mesh(640);
    struct member_record r = {.id = *id_of(6), .incarnation = 50, .seq = 1, .left = true};
    uint8_t bytes[RECORD_MAX];
    size_t size = record_write(bytes, &r, &world.peers[LIAR].key);
    assert_int_equal(tell_cast(LIAR, TOPIC_MEMBER, (struct slice){bytes, size}), CORE_ERR_BAD_SIGNATURE);
    r = (struct member_record){.id = *id_of(LIAR), .incarnation = UINT64_MAX, .seq = UINT64_MAX};
    size = record_write(bytes, &r, &world.peers[LIAR].key);
    assert_int_equal(tell_cast(LIAR, TOPIC_MEMBER, (struct slice){bytes, size}), CORE_ERR_MALFORMED);
    // The highest there is harms nobody but itself: it can be accused, and cannot refute any more.
    r.incarnation = RECORD_INCARNATION_MAX;
    size = record_write(bytes, &r, &world.peers[LIAR].key);
    assert_int_equal(tell_cast(LIAR, TOPIC_MEMBER, (struct slice){bytes, size}), CORE_ERR_OK);
    world_run(&world, 5000);
    for (uint32_t i = 0; i < COUNT; i++)
        if (i != LIAR) assert_true(all_see(i, GOSSIP_ALIVE));
    world_close(&world);
}

static void floods_stay_where_they_are(void **state)
{
    (void)state;
    open_mesh(650);
    const uint64_t before = world.sent;
    uint8_t bytes[RECORD_MAX];
    for (uint64_t seq = 1; seq <= 2000; seq++) {
        const struct member_record r = {
            .id = *id_of(LIAR), .incarnation = incarnation_of(LIAR), .seq = 1000 + seq, .session = 5};
        const size_t size = record_write(bytes, &r, &world.peers[LIAR].key);
        tell_cast(LIAR, TOPIC_MEMBER, (struct slice){bytes, size});
        if (seq % 100 == 0) world_run(&world, 100);
    }
    run_without_deaths(3000);
    assert_true(refused(GOSSIP_REFUSED_RATE) > 2000);
    // Far fewer than the 2,000 went on to the 15 others.
    assert_true(world.sent - before < 2000 * 15 / 4);
    for (uint32_t i = 0; i < COUNT; i++)
        if (i != LIAR) assert_true(all_see(i, GOSSIP_ALIVE));
    world_close(&world);
}

// Each neighbour is told another story: everyone ends with the same one, and with a proof.
static void two_stories_become_one_and_a_proof(void **state)
{
    (void)state;
    open_mesh(660);
    struct gossip_member self;
    assert_true(gossip_member_find(world.peers[LIAR].gossip, id_of(LIAR), &self));
    struct core_id ids[8];
    const uint32_t n = gossip_neighbors(world.peers[LIAR].gossip, ids, 8);
    assert_true(n >= 2);
    world_kill(&world, LIAR);  // it says this, and goes; its honest part must not correct it
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t to = world_number(&world, &ids[i]);
        uint8_t name = (uint8_t)('a' + i), bytes[RECORD_MAX];
        const struct member_record r = {.id = *id_of(LIAR),
                                        .incarnation = 1,
                                        .seq = self.seq + 1,
                                        .session = 7,
                                        .name = {&name, 1},
                                        .addresses = self.addresses};
        uint8_t entry[GOSSIP_ENTRY_MAX];
        struct writer w = writer_over(entry, sizeof entry);
        const size_t size = record_write(bytes, &r, &world.peers[LIAR].key);
        write_slice(&w, (struct slice){bytes, size});
        write_slice(&w, (struct slice){0});
        struct message m = {.type = MESSAGE_MEMBERS_RECORDS};
        m.members_records.records = (struct slice){entry, w.size};
        enum core_err err;
        assert_true(gossip_message(world.peers[to].gossip, id_of(LIAR), &m, world.now_ms, &world.out, &err));
        assert_int_equal(err, CORE_ERR_OK);
        world_perform(&world, to);
    }
    world_run(&world, 60000);
    struct gossip_member first, m;
    assert_true(gossip_member_find(world.peers[0].gossip, id_of(LIAR), &first));
    uint32_t proofs = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        if (i == LIAR) continue;
        assert_true(gossip_member_find(world.peers[i].gossip, id_of(LIAR), &m));
        assert_memory_equal(m.name.data, first.name.data, 1);
        struct core_id of;
        struct slice records[2];
        if (!gossip_proof(world.peers[i].gossip, 0, &of, records)) continue;
        proofs++;
        assert_true(id_equal(&of, id_of(LIAR)));
        for (uint32_t k = 0; k < 2; k++) {
            struct member_record r;
            assert_int_equal(record_read(&r, records[k]), CORE_ERR_OK);
            assert_true(record_signed(&r, NULL) && id_equal(&r.id, &of) && r.seq == self.seq + 1);
        }
    }
    assert_true(proofs > 0);
    assert_true(sum_of_counts().equivocations > 0);
    world_close(&world);
}

static int set_up(void **state)
{
    (void)state;
    return sign_start() != CORE_ERR_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_liar_kills_nobody),
        cmocka_unit_test(two_liars_kill_nobody_who_refutes),
        cmocka_unit_test(witnesses_are_distinct_members),
        cmocka_unit_test(replays_are_void),
        cmocka_unit_test(forged_and_absurd_records_are_refused),
        cmocka_unit_test(floods_stay_where_they_are),
        cmocka_unit_test(two_stories_become_one_and_a_proof),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
