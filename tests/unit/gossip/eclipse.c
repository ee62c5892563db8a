// Attackers with many identities and no manners: they want all of a peer's neighbours, its passive view, its time.
#include "gossip/gossip_parts.h"
#include "unit/gossip/world.h"

enum { HONEST = 24, SYBILS = 20 };  // peers HONEST to HONEST + SYBILS - 1 are one attacker's, all on one machine

static struct world world;

static struct gossip *victim(void)
{
    return world.peers[0].gossip;
}

// A message from attacker `i` at the victim's door.
static enum core_err attack(uint32_t i, struct message *m)
{
    enum core_err err;
    assert_true(gossip_message(victim(), &world.peers[i].key.id, m, world.now_ms, &world.out, &err));
    world_perform(&world, 0);
    return err;
}

// Links to the victim and shows a valid record.
static void enter(uint32_t i)
{
    world.linked[0][i] = world.linked[i][0] = true;
    gossip_link_up(victim(), &world.peers[i].key.id, world.now_ms, &world.out);
    world_perform(&world, 0);
    struct member_record record = {.id = world.peers[i].key.id, .incarnation = 1, .seq = 1, .session = i};
    memset(record.host.bytes, 0xee, sizeof record.host.bytes);
    record.addresses = (struct slice){(const uint8_t *)"evil:1", 6};
    uint8_t raw[RECORD_MAX], entry[GOSSIP_ENTRY_MAX];
    struct writer w = writer_over(entry, sizeof entry);
    write_slice(&w, (struct slice){raw, record_write(raw, &record, &world.peers[i].key)});
    write_slice(&w, (struct slice){0});
    struct message m = {.type = MESSAGE_MEMBERS_RECORDS};
    m.members_records.records = (struct slice){entry, w.size};
    assert_int_equal(attack(i, &m), CORE_ERR_OK);
}

static void open_world(uint64_t seed)
{
    world_open(&world, HONEST + SYBILS, seed);
    for (uint32_t i = 0; i < HONEST; i++) world_start(&world, i, 1);
    for (uint32_t i = 1; i < HONEST; i++) world_dial(&world, i, 0);
    world_run(&world, 20000);
    for (uint32_t i = HONEST; i < world.count; i++) enter(i);
}

static uint32_t honest_neighbors(void)
{
    struct core_id ids[8];
    const uint32_t n = gossip_neighbors(victim(), ids, 8);
    uint32_t honest = 0;
    for (uint32_t i = 0; i < n; i++) honest += world_number(&world, &ids[i]) < HONEST;
    return honest;
}

static void urgent_wishes_do_not_surround_a_peer(void **state)
{
    (void)state;
    for (uint64_t seed = 800; seed < 803; seed++) {
        open_world(seed);
        uint32_t least = 5;
        for (uint32_t t = 0; t < 600; t++) {
            for (uint32_t i = HONEST; i < world.count; i++) {
                struct message wish = {.type = MESSAGE_VIEW_NEIGHBOR}, join = {.type = MESSAGE_VIEW_JOIN};
                wish.view_neighbor.urgent = t % 8;
                join.view_join.addresses = (struct slice){(const uint8_t *)"evil:1", 6};
                attack(i, t % 10 == 9 ? &join : &wish);
                struct message ping = {.type = MESSAGE_PING};
                ping.ping.nonce = t + 1;
                attack(i, &ping);  // alive as anybody
            }
            world_run(&world, 100);
            if (t > 10 && honest_neighbors() < least) least = honest_neighbors();
        }
        struct gossip_counts counts;
        gossip_counts_get(victim(), &counts);
        print_message("at least %u honest neighbours; %llu messages not looked at\n", least,
                      (unsigned long long)counts.limited);
        assert_true(least >= 2);
        world_close(&world);
    }
}

static void nobody_fills_the_passive_view_alone(void **state)
{
    (void)state;
    open_world(810);
    struct passive *passive = &victim()->view.passive;
    struct rng rng = rng_from(1, 1);
    for (uint32_t t = 0; t < 200; t++) {
        uint8_t raw[16 * (CORE_ID_SIZE + 4 + 6)];
        struct writer w = writer_over(raw, sizeof raw);
        for (uint32_t k = 0; k < 16; k++) {
            struct core_id id;
            for (uint32_t b = 0; b < sizeof id.bytes; b++) id.bytes[b] = (uint8_t)rng_u32(&rng);
            write_bytes(&w, id.bytes, sizeof id.bytes);
            write_slice(&w, (struct slice){(const uint8_t *)"evil:1", 6});
        }
        struct message m = {.type = t % 2 ? MESSAGE_VIEW_SHUFFLED : MESSAGE_VIEW_SHUFFLE};
        if (t % 2) {
            m.view_shuffled.peers = (struct slice){raw, w.size};
        } else {
            m.view_shuffle.peers = (struct slice){raw, w.size};
            m.view_shuffle.origin = world.peers[HONEST].key.id;
        }
        attack(HONEST + t % 2, &m);
    }
    uint32_t fed = 0;
    for (uint32_t i = 0; i < passive->count; i++) fed += passive->items[i].feeder != 0;
    print_message("two feeders hold %u of %u places\n", fed, passive->count);
    assert_true(fed <= passive->capacity / 2);
    // The table fills the rest.
    for (uint32_t t = 0; t < 20; t++) passive_refill(passive, world.now_ms);
    uint32_t own = 0;
    for (uint32_t i = 0; i < passive->count; i++) own += passive->items[i].feeder == 0;
    assert_true(own >= passive->capacity / 2);
    world_close(&world);
}

static void a_flood_is_not_looked_at(void **state)
{
    (void)state;
    open_world(820);
    struct gossip_counts before, after;
    gossip_counts_get(victim(), &before);
    const uint64_t sent = world.sent;
    struct message m = {.type = MESSAGE_VIEW_FORWARD};
    m.view_forward.addresses = (struct slice){(const uint8_t *)"host-5:6173", 11};
    for (uint32_t t = 0; t < 10000; t++) {
        m.view_forward.joiner = world.peers[HONEST + 1 + t % (SYBILS - 1)].key.id;
        m.view_forward.hops_left = 6;
        attack(HONEST, &m);
    }
    gossip_counts_get(victim(), &after);
    assert_true(after.limited - before.limited >= 9500);
    assert_true(world.sent - sent <= 500);
    world_close(&world);
}

// Passed on, it would be charged to whoever passes it on.
static void a_list_that_cannot_be_read_goes_no_further(void **state)
{
    (void)state;
    open_world(840);
    const uint64_t sent = world.sent_of[MESSAGE_VIEW_SHUFFLE];
    struct message m = {.type = MESSAGE_VIEW_SHUFFLE};
    m.view_shuffle.origin = world.peers[HONEST].key.id;
    m.view_shuffle.hops_left = 6;
    uint8_t raw[17 * (CORE_ID_SIZE + 4 + 6)] = {0};
    m.view_shuffle.peers = (struct slice){raw, CORE_ID_SIZE + 3};  // ends too early
    assert_int_equal(attack(HONEST, &m), CORE_ERR_MALFORMED);
    struct writer w = writer_over(raw, sizeof raw);
    for (uint8_t k = 0; k < 17; k++) {  // more than there may be
        write_bytes(&w, world.peers[HONEST + k].key.id.bytes, CORE_ID_SIZE);
        write_slice(&w, (struct slice){(const uint8_t *)"evil:1", 6});
    }
    m.view_shuffle.peers = (struct slice){raw, w.size};
    assert_int_equal(attack(HONEST, &m), CORE_ERR_MALFORMED);
    assert_int_equal(world.sent_of[MESSAGE_VIEW_SHUFFLE], sent);
    m.view_shuffle.peers = (struct slice){raw, w.size / 17 * 16};
    assert_int_equal(attack(HONEST, &m), CORE_ERR_OK);
    assert_int_equal(world.sent_of[MESSAGE_VIEW_SHUFFLE], sent + 1);
    world_close(&world);
}

// Announcements of what does not exist, and grafts of what does, cost the attacker more than the victim.
static void lies_about_broadcasts_are_bounded(void **state)
{
    (void)state;
    open_world(830);
    struct message wish = {.type = MESSAGE_VIEW_NEIGHBOR};
    wish.view_neighbor.urgent = VIEW_URGENT;
    attack(HONEST, &wish);
    assert_true(gossip_neighbors(victim(), NULL, 0) == 5);
    uint8_t raw[1024 * 9];
    struct rng rng = rng_from(2, 2);
    for (uint32_t t = 0; t < 50; t++) {
        for (size_t b = 0; b < sizeof raw; b++) raw[b] = (uint8_t)rng_u32(&rng);
        struct message m = {.type = MESSAGE_CAST_HAVE};
        m.cast_have.ids = (struct slice){raw, sizeof raw};
        assert_int_equal(attack(HONEST, &m), CORE_ERR_OK);
    }
    assert_in_range(victim()->broadcast.missing_count, 1, 2048);
    struct message m = {.type = MESSAGE_CAST_HAVE};
    m.cast_have.ids = (struct slice){raw, 8};
    assert_int_equal(attack(HONEST, &m), CORE_ERR_MALFORMED);
    m.cast_have.ids = (struct slice){raw, 18};
    m.cast_have.size = 1 << 20;  // large ones come one by one
    assert_int_equal(attack(HONEST, &m), CORE_ERR_MALFORMED);
    m.cast_have.ids = (struct slice){raw, 9};
    m.cast_have.size = GOSSIP_PAYLOAD_MAX + 1;
    assert_int_equal(attack(HONEST, &m), CORE_ERR_MALFORMED);
    // Others' broadcasts still come.
    world_run(&world, 1000);
    for (uint8_t k = 0; k < 20; k++) {
        world_cast(&world, 5, k);
        world_run(&world, 100);
    }
    world_run(&world, 3000);
    for (uint32_t k = 0; k < 20; k++) assert_int_equal(world.peers[0].got[k], 1);
    // A megabyte that is asked for again and again is given 32 times at once, then 16 times a second.
    static uint8_t payload[1 << 20];
    assert_int_equal(
        gossip_cast(victim(), TOPIC_RUN, (struct slice){payload, sizeof payload}, world.now_ms, &world.out),
        CORE_ERR_OK);
    world_perform(&world, 0);
    struct cast_store *store = &victim()->broadcast.store;
    const struct core_hash id = cast_store_at(store, store->next - 1)->id;
    const uint64_t before = world.sent_of[MESSAGE_CAST_BULK];
    for (uint32_t t = 0; t < 200; t++) {
        struct message graft = {.type = MESSAGE_CAST_GRAFT};
        graft.cast_graft.ids = (struct slice){id.bytes, 8};
        attack(HONEST + 1, &graft);
    }
    assert_in_range(world.sent_of[MESSAGE_CAST_BULK] - before, 1, 32);
    // Forged: another's id, and a payload that came the wrong way for its size.
    struct message forged = {.type = MESSAGE_CAST};
    forged.cast.origin = world.peers[5].key.id;
    forged.cast.topic = TOPIC_RUN;
    forged.cast.payload = (struct slice){payload, 100};
    assert_int_equal(attack(HONEST, &forged), CORE_ERR_MALFORMED);
    forged.cast.payload.size = GOSSIP_PUSH_MAX + 1;
    forged.cast.id = cast_id_of(&forged.cast);
    assert_int_equal(attack(HONEST, &forged), CORE_ERR_MALFORMED);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urgent_wishes_do_not_surround_a_peer),
        cmocka_unit_test(nobody_fills_the_passive_view_alone),
        cmocka_unit_test(a_flood_is_not_looked_at),
        cmocka_unit_test(a_list_that_cannot_be_read_goes_no_further),
        cmocka_unit_test(lies_about_broadcasts_are_bounded),
    };
    if (sign_start() != CORE_ERR_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
