// Bulk lanes over real sockets: each way opens with the first bulk, falls back where it must, and proves who is there.
#include "unit/mesh/peers.h"

#include <arpa/inet.h>
#include <sched.h>
#include <unistd.h>

#include "mesh/buffer.h"
#include "mesh/bulk_internal.h"
#include "mesh/links_internal.h"

static void open_two(uint32_t ways_0, uint32_t ways_1, bool same_host)
{
    for (int i = 0; i < 2; i++) {
        struct links_options o = options_of(&peers[i]);
        o.bulk_ways = i == 0 ? ways_0 : ways_1;
        o.host.bytes[0] = same_host ? 1 : (uint8_t)(i + 1);
        open_with(i, &o);
    }
    dial(0, 1);
    until(joined(0, 1));
}

static enum link_way way_at(int at, int with)
{
    struct link_stats s;
    return links_stats_of(peers[at].links, &peers[with].key.id, &s) ? s.way : LINK_WAY_NONE;
}

enum { SIZE = 300000, ALL = 1u << LINK_WAY_CURVE | 1u << LINK_WAY_SEALED | 1u << LINK_WAY_SHARED };

static void send_bulk(int from, int to, struct buffer *b)
{
    struct message m = {.type = MESSAGE_DATA, .bulk = buffer_slice(b)};
    assert_int_equal(links_send_buffer(peers[from].links, &peers[to].key.id, &m, b), CORE_ERR_OK);
}

static struct buffer *some_bytes(size_t size, uint8_t value)
{
    struct buffer *b = buffer_new(size);
    assert_non_null(b);
    memset(buffer_data(b), value, size);
    return b;
}

// Bulk goes both ways, the first from `first`; small bodies, large ones and none.
static void lane_opens(uint32_t ways_0, uint32_t ways_1, bool same_host, int first, enum link_way expected)
{
    open_two(ways_0, ways_1, same_host);
    assert_int_equal(way_at(0, 1), LINK_WAY_NONE);
    assert_int_equal(way_at(1, 0), LINK_WAY_NONE);
    struct buffer *large = some_bytes(SIZE, 1), *small = some_bytes(100, 2);
    send_bulk(first, !first, large);
    until(peers[!first].bulk_bytes == SIZE);
    assert_int_equal(way_at(0, 1), expected);
    until(way_at(1, 0) == expected);
    for (int i = 0; i < 20; i++) {
        send_bulk(0, 1, i % 2 ? small : large);
        send_bulk(1, 0, i % 2 ? large : small);
    }
    struct message none = {.type = MESSAGE_CHUNK, .chunk.found = 0};
    assert_int_equal(links_send(peers[0].links, &peers[1].key.id, &none), CORE_ERR_OK);
    uint64_t total = 10 * (SIZE + 100);
    until(peers[!first].bulk_bytes == total + SIZE && peers[first].bulk_bytes == total);
    until(peers[1].messages == 21u + (first == 0));
    assert_int_equal(peers[0].down + peers[1].down, 0);
    assert_int_equal(peers[0].refused + peers[1].refused, 0);
    buffer_drop(large);
    buffer_drop(small);
}

static void a_sealed_lane_opens_for_the_dialler(void **state)
{
    (void)state;
    lane_opens(0, 0, false, 0, LINK_WAY_SEALED);
}

static void a_sealed_lane_opens_for_the_listener(void **state)
{
    (void)state;
    lane_opens(0, 0, false, 1, LINK_WAY_SEALED);
}

static void one_host_shares_memory(void **state)
{
    (void)state;
    lane_opens(0, 0, true, 1, LINK_WAY_SHARED);
}

static void one_host_without_sharing_seals(void **state)
{
    (void)state;
    lane_opens(0, ALL & ~(1u << LINK_WAY_SHARED), true, 0, LINK_WAY_SEALED);
}

static void curve_is_what_is_left(void **state)
{
    (void)state;
    lane_opens(0, 1u << LINK_WAY_CURVE, true, 0, LINK_WAY_CURVE);
}

static void curve_is_what_the_dialler_may(void **state)
{
    (void)state;
    lane_opens(1u << LINK_WAY_CURVE, 0, true, 1, LINK_WAY_CURVE);
}

// ---- ways that fail ----

// Peer 1 says a port and a name where nobody is; what it listened on before stays as it was for others.
static void first_ways_fail(bool same_host, bool port_too, enum link_way expected)
{
    for (int i = 0; i < 3; i++) {
        struct links_options o = options_of(&peers[i]);
        o.host.bytes[0] = same_host ? 1 : (uint8_t)(i + 1);
        open_with(i, &o);
    }
    struct buffer *b = some_bytes(SIZE, 1);
    dial(2, 1);
    until(joined(1, 2));
    send_bulk(2, 1, b);
    until(peers[1].bulk_bytes == SIZE);
    struct bulk *engine_1 = peers[1].links->bulk;
    snprintf(engine_1->name, sizeof engine_1->name, "mycel-nobody-has-this-name");
    if (port_too) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof a;
        assert_int_equal(bind(fd, (struct sockaddr *)&a, size), 0);  // bound, and nobody listens
        assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
        engine_1->port = ntohs(a.sin_port);
        close(fd);
    }
    dial(0, 1);
    until(joined(0, 1));
    for (int i = 0; i < 5; i++) send_bulk(0, 1, b);
    until(peers[1].bulk_bytes == 6 * SIZE);
    assert_int_equal(way_at(0, 1), expected);
    assert_int_equal(way_at(1, 0), expected);
    struct links_stats all;
    links_stats(peers[0].links, &all);
    assert_int_equal(all.fallbacks, expected == LINK_WAY_CURVE);
    assert_int_equal(peers[0].down + peers[1].down + peers[2].down, 0);
    buffer_drop(b);
}

static void sharing_that_fails_seals(void **state)
{
    (void)state;
    first_ways_fail(true, false, LINK_WAY_SEALED);
}

static void everything_that_fails_is_curve(void **state)
{
    (void)state;
    first_ways_fail(true, true, LINK_WAY_CURVE);
}

static void a_port_that_is_shut_is_curve(void **state)
{
    (void)state;
    first_ways_fail(false, true, LINK_WAY_CURVE);
}

// ---- what the owner keeps ----

static struct buffer *kept[4];
static uint32_t kept_count;

static void keep_bulk(void *context, const struct link_event *e)
{
    note(context, e);
    if (e->kind == LINK_EVENT_MESSAGE && e->bulk && kept_count < 4) kept[kept_count++] = buffer_keep(e->bulk);
}

static void kept_bulk_outlives_the_links(uint32_t ways)
{
    open_two(ways, ways, true);
    kept_count = 0;
    struct buffer *shared = buffer_new_shared(SIZE), *plain = some_bytes(SIZE, 4);
    memset(buffer_data(shared), 3, SIZE);
    assert_int_equal(buffer_seal(shared), CORE_ERR_OK);
    send_bulk(0, 1, shared);
    send_bulk(0, 1, plain);
    buffer_drop(shared);
    buffer_drop(plain);
    for (uint64_t end = mono_ms() + GUARD_MS; kept_count < 2;) {
        assert_true(mono_ms() < end);
        links_process(peers[0].links, note, &peers[0]);
        links_process(peers[1].links, keep_bulk, &peers[1]);
    }
    close_peer(0);
    close_peer(1);
    for (uint32_t i = 0; i < kept_count; i++) {
        assert_int_equal(buffer_size(kept[i]), SIZE);
        assert_int_equal(buffer_data(kept[i])[SIZE - 1], 3 + i);
        buffer_drop(kept[i]);
    }
}

// ---- slabs: memory that is lent and used again ----

static void turn_until_kept(uint32_t count)
{
    for (uint64_t end = mono_ms() + GUARD_MS; kept_count < count;) {
        assert_true(mono_ms() < end);
        links_process(peers[0].links, note, &peers[0]);
        links_process(peers[1].links, keep_bulk, &peers[1]);
    }
}

static struct buffer *slab_of(struct buffer_pool *pool, uint8_t value)
{
    struct buffer *b = buffer_pool_new_slab(pool, SIZE);
    assert_non_null(b);
    memset(buffer_data(b), value, SIZE);
    assert_int_equal(buffer_seal(b), CORE_ERR_OK);
    return b;
}

// Both are linked, and slabs are welcome at 1.
static void open_for_slabs(void)
{
    open_two(0, 0, true);
    kept_count = 0;
    struct buffer *plain = some_bytes(SIZE, 9);
    send_bulk(0, 1, plain);
    turn_until_kept(1);
    buffer_drop(kept[--kept_count]);
    buffer_drop(plain);
    const struct link *link = NULL;
    for (uint32_t i = 0; !link; i++)
        if (peers[0].links->links[i].bulk.lane) link = &peers[0].links->links[i];
    for (uint64_t end = mono_ms() + GUARD_MS; !atomic_load(&link->bulk.lane->slabs_welcome);)
        assert_true(mono_ms() < end);
}

// Whether the slab at `at` is the pool's next one by the time that it must be. The test's own pool: nobody else takes.
static bool comes_back(struct buffer_pool *pool, const uint8_t *at)
{
    for (uint64_t end = mono_ms() + GUARD_MS; mono_ms() < end;) {
        struct buffer *b = buffer_pool_new_slab(pool, SIZE);
        const bool same = buffer_data(b) == at;
        if (!same) buffer_spoil(b);  // not to be found again
        buffer_drop(b);
        if (same) return true;
    }
    return false;
}

static void a_slab_is_used_again_once_all_dropped_it(void **state)
{
    (void)state;
    open_for_slabs();
    struct buffer_pool *pool = buffer_pool_open(1 << 24);
    for (uint8_t round = 1; round < 5; round++) {
        struct buffer *slab = slab_of(pool, round);
        const uint8_t *at = buffer_data(slab);
        send_bulk(0, 1, slab);
        buffer_drop(slab);
        turn_until_kept(1);
        assert_int_equal(buffer_data(kept[0])[SIZE - 1], round);
        struct buffer *other = slab_of(pool, 77);  // while it is held it is not the pool's
        assert_ptr_not_equal(buffer_data(other), at);
        buffer_spoil(other);
        buffer_drop(other);
        assert_int_equal(buffer_data(kept[0])[0], round);
        buffer_drop(kept[--kept_count]);
        assert_true(comes_back(pool, at));
    }
    assert_int_equal(peers[1].links->bulk->map_count, 1);  // mapped once
    assert_int_equal(peers[0].down + peers[1].down, 0);
    close_peer(0);
    close_peer(1);
    buffer_pool_close(pool);
}

static void a_slab_that_is_held_outlives_the_lane(void **state)
{
    (void)state;
    open_for_slabs();
    struct buffer_pool *pool = buffer_pool_open(1 << 24);
    struct buffer *slab = slab_of(pool, 5);
    send_bulk(0, 1, slab);
    buffer_drop(slab);
    turn_until_kept(1);
    close_peer(0);
    struct buffer *next = slab_of(pool, 6);  // never the same memory: it is still read
    close_peer(1);
    assert_int_equal(buffer_data(kept[0])[0], 5);
    assert_int_equal(buffer_data(kept[0])[SIZE - 1], 5);
    buffer_drop(kept[--kept_count]);
    buffer_drop(next);
    buffer_pool_close(pool);
}

// Slabs that are not welcome yet, parts of slabs: copies.
static void a_slab_goes_any_way(void **state)
{
    (void)state;
    open_two(0, 0, true);
    struct buffer_pool *pool = buffer_pool_open(1 << 24);
    struct buffer *slab = slab_of(pool, 5);
    kept_count = 0;
    send_bulk(0, 1, slab);
    struct message m = {.type = MESSAGE_DATA, .bulk = {buffer_data(slab) + 1000, SIZE - 1000}};
    assert_int_equal(links_send_buffer(peers[0].links, &peers[1].key.id, &m, slab), CORE_ERR_OK);
    turn_until_kept(2);
    assert_int_equal(buffer_size(kept[0]), SIZE);
    assert_int_equal(buffer_size(kept[1]), SIZE - 1000);
    while (kept_count) {
        assert_int_equal(buffer_data(kept[--kept_count])[1000], 5);
        buffer_drop(kept[kept_count]);
    }
    buffer_drop(slab);
    close_peer(0);
    close_peer(1);
    buffer_pool_close(pool);
}

// ---- the engine by itself: proofs, credit, strangers ----

static struct bulk *engine(bool listens)
{
    static struct core_hash id;
    struct bulk *b;
    struct bulk_options o = {.mesh = &id, .no_listener = !listens, .ways = ALL, .connect_ms = 20000};
    assert_int_equal(address_parse("127.0.0.1:0", &o.listen), CORE_ERR_OK);
    assert_int_equal(bulk_open(&o, &b), CORE_ERR_OK);
    return b;
}

static struct seal_binding some_binding(uint8_t secret)
{
    struct seal_binding b = {.cipher = SEAL_AES_256_GCM};
    memset(b.ticket.bytes, 7, sizeof b.ticket.bytes);
    memset(b.dialler_bytes.bytes, secret, sizeof b.dialler_bytes.bytes);
    return b;
}

// The next event of an engine, of kind and reason.
static void expect_event(struct bulk *b, enum bulk_event_kind kind, enum link_reason reason)
{
    struct bulk_event e;
    for (uint64_t end = mono_ms() + GUARD_MS; !bulk_next(b, &e);) {
        assert_true(mono_ms() < end);
        zmq_pollitem_t item = {.fd = bulk_descriptor(b), .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, 100);
    }
    assert_int_equal(e.kind, kind);
    assert_int_equal(e.reason, reason);
    bulk_event_done(b, &e);
}

static struct bulk_lane *connect_to(struct bulk *from, struct bulk *to, enum link_way way, uint8_t secret)
{
    struct seal_binding b = some_binding(secret);
    struct bulk_lane *lane = bulk_connect(from, 0, &b, way, "127.0.0.1", bulk_port(to), bulk_name(to));
    assert_non_null(lane);
    return lane;
}

// Who does not hold the keys does not get the lane, and does not take it from who does.
static void proofs(enum link_way way)
{
    struct bulk *listener = engine(true), *dialler = engine(false);
    struct seal_binding b = some_binding(1);
    struct bulk_lane *expected = bulk_expect(listener, 0, &b, way);
    struct bulk_lane *wrong = connect_to(dialler, listener, way, 2);
    expect_event(dialler, BULK_EVENT_FAILED, LINK_CLOSED);
    bulk_drop(wrong);
    assert_int_equal(bulk_refused(listener), 1);
    struct bulk_lane *right = connect_to(dialler, listener, way, 1);
    expect_event(listener, BULK_EVENT_OPENED, LINK_NONE);
    expect_event(dialler, BULK_EVENT_OPENED, LINK_NONE);
    // The ticket is used up.
    struct bulk_lane *again = connect_to(dialler, listener, way, 1);
    expect_event(dialler, BULK_EVENT_FAILED, LINK_CLOSED);
    bulk_drop(again);
    bulk_drop(right);
    expect_event(listener, BULK_EVENT_CLOSED, LINK_CLOSED);
    bulk_drop(expected);
    bulk_close(dialler);
    bulk_close(listener);
}

static void sealed_lanes_prove_themselves(void **state)
{
    (void)state;
    proofs(LINK_WAY_SEALED);
}

static void shared_lanes_prove_themselves(void **state)
{
    (void)state;
    proofs(LINK_WAY_SHARED);
}

static void nobody_there_is_said(void **state)
{
    (void)state;
    struct bulk *listener = engine(true), *dialler = engine(false);
    uint16_t port = bulk_port(listener);
    bulk_close(listener);
    struct seal_binding b = some_binding(1);
    struct bulk_lane *lane = bulk_connect(dialler, 0, &b, LINK_WAY_SEALED, "127.0.0.1", port, "");
    expect_event(dialler, BULK_EVENT_FAILED, LINK_REFUSED_CONNECTION);
    bulk_drop(lane);
    lane = bulk_connect(dialler, 0, &b, LINK_WAY_SHARED, "", 0, "mycel-nobody-has-this-name");
    expect_event(dialler, BULK_EVENT_FAILED, LINK_REFUSED_CONNECTION);
    bulk_drop(lane);
    bulk_close(dialler);
}

// A member with the keys that sends more than it was granted.
static void credit(enum link_way way)
{
    struct bulk *listener = engine(true), *dialler = engine(false);
    struct seal_binding b = some_binding(1);
    struct bulk_lane *in = bulk_expect(listener, 0, &b, way), *out = connect_to(dialler, listener, way, 1);
    expect_event(listener, BULK_EVENT_OPENED, LINK_NONE);
    expect_event(dialler, BULK_EVENT_OPENED, LINK_NONE);
    struct core_hash id = {{0}};
    uint8_t head[WIRE_BULK_HEAD_MAX];
    size_t size;
    struct buffer *bulk = some_bytes(SIZE, 1);
    struct message m = {.type = MESSAGE_DATA, .bulk = buffer_slice(bulk)};
    assert_int_equal(wire_encode(&m, &id, head, sizeof head, &size), CORE_ERR_OK);
    bulk_allow(in, SIZE);  // the first goes a little over, as any message may; the second is refused
    for (int i = 0; i < 3; i++) assert_int_equal(bulk_send(out, (struct slice){head, size}, bulk, m.bulk), CORE_ERR_OK);
    expect_event(listener, BULK_EVENT_MESSAGE, LINK_NONE);
    expect_event(listener, BULK_EVENT_CLOSED, LINK_NO_CREDIT);
    expect_event(dialler, BULK_EVENT_CLOSED, LINK_CLOSED);
    bulk_drop(in);
    bulk_drop(out);
    bulk_close(dialler);
    bulk_close(listener);
    buffer_drop(bulk);
}

static void sealed_lanes_enforce_credit(void **state)
{
    (void)state;
    credit(LINK_WAY_SEALED);
}

static void shared_lanes_enforce_credit(void **state)
{
    (void)state;
    credit(LINK_WAY_SHARED);
}

// Giving back what was not lent ends the lane; so does lending where it isn't welcome.
static void slabs_that_lie(bool lends)
{
    struct bulk *listener = engine(true), *dialler = engine(false);
    struct seal_binding b = some_binding(1);
    struct bulk_lane *in = bulk_expect(listener, 0, &b, LINK_WAY_SHARED);
    struct bulk_lane *out = connect_to(dialler, listener, LINK_WAY_SHARED, 1);
    expect_event(listener, BULK_EVENT_OPENED, LINK_NONE);
    expect_event(dialler, BULK_EVENT_OPENED, LINK_NONE);
    uint8_t back[PACKET_SIZES + 8] = {PACKET_BACK, 0, 0, 0, 0, 8};
    struct core_hash id = {{0}};
    struct buffer_pool *pool = buffer_pool_open(0);
    struct buffer *slab = slab_of(pool, 1);
    struct message m = {.type = MESSAGE_DATA, .bulk = buffer_slice(slab)};
    uint8_t head[WIRE_BULK_HEAD_MAX];
    size_t size;
    if (lends) {
        while (!atomic_load(&out->slabs_welcome)) sched_yield();  // the sending thread is done with it
        pthread_mutex_lock(&listener->mutex);                     // as if the other side ran in other namespaces
        struct returns *r = in->returns;
        in->returns = NULL;
        pthread_mutex_unlock(&listener->mutex);
        bulk_returns_end(r);
        bulk_allow(in, 2 * SIZE);
        assert_int_equal(wire_encode(&m, &id, head, sizeof head, &size), CORE_ERR_OK);
        assert_int_equal(bulk_send(out, (struct slice){head, size}, slab, m.bulk), CORE_ERR_OK);
    } else {
        assert_int_equal(send(out->fd, back, sizeof back, MSG_NOSIGNAL), sizeof back);
    }
    expect_event(listener, BULK_EVENT_CLOSED, LINK_MALFORMED);
    expect_event(dialler, BULK_EVENT_CLOSED, LINK_CLOSED);
    bulk_drop(in);
    bulk_drop(out);
    bulk_close(dialler);
    bulk_close(listener);
    buffer_drop(slab);
    buffer_pool_close(pool);
}

static void what_was_not_lent_is_not_given_back(void **state)
{
    (void)state;
    slabs_that_lie(false);
}

static void slabs_come_only_where_welcome(void **state)
{
    (void)state;
    slabs_that_lie(true);
}

static int connect_port(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

// Rubbish is closed unread; the silent make room for each other, so a lane gets in among any number of them.
static void strangers_at_the_sealed_port(void **state)
{
    (void)state;
    enum { SILENT = 100 };
    struct bulk *listener = engine(true), *dialler = engine(false);
    uint8_t rubbish[64];
    memset(rubbish, 7, sizeof rubbish);  // even the right ticket
    int fd = connect_port(bulk_port(listener));
    assert_int_equal(send(fd, rubbish, sizeof rubbish, MSG_NOSIGNAL), sizeof rubbish);
    assert_int_equal(recv(fd, rubbish, 1, 0), 0);
    close(fd);
    assert_int_equal(bulk_refused(listener), 1);
    int silent[SILENT];
    for (int i = 0; i < SILENT; i++) silent[i] = connect_port(bulk_port(listener));
    struct seal_binding b = some_binding(1);
    struct bulk_lane *in = bulk_expect(listener, 0, &b, LINK_WAY_SEALED);
    struct bulk_lane *out = connect_to(dialler, listener, LINK_WAY_SEALED, 1);
    expect_event(dialler, BULK_EVENT_OPENED, LINK_NONE);
    expect_event(listener, BULK_EVENT_OPENED, LINK_NONE);
    for (int i = 0; i < SILENT; i++) close(silent[i]);
    bulk_drop(in);
    bulk_drop(out);
    bulk_close(dialler);
    bulk_close(listener);
}

static void kept_shared_memory(void **state)
{
    (void)state;
    kept_bulk_outlives_the_links(0);
}

static void kept_sealed_memory(void **state)
{
    (void)state;
    kept_bulk_outlives_the_links(1u << LINK_WAY_SEALED);
}

static void kept_curve_memory(void **state)
{
    (void)state;
    kept_bulk_outlives_the_links(1u << LINK_WAY_CURVE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sealed_lane_opens_for_the_dialler, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sealed_lane_opens_for_the_listener, setup, teardown),
        cmocka_unit_test_setup_teardown(one_host_shares_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(one_host_without_sharing_seals, setup, teardown),
        cmocka_unit_test_setup_teardown(curve_is_what_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(curve_is_what_the_dialler_may, setup, teardown),
        cmocka_unit_test_setup_teardown(sharing_that_fails_seals, setup, teardown),
        cmocka_unit_test_setup_teardown(everything_that_fails_is_curve, setup, teardown),
        cmocka_unit_test_setup_teardown(a_port_that_is_shut_is_curve, setup, teardown),
        cmocka_unit_test_setup_teardown(kept_shared_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(kept_sealed_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(kept_curve_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slab_is_used_again_once_all_dropped_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slab_that_is_held_outlives_the_lane, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slab_goes_any_way, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_not_lent_is_not_given_back, setup, teardown),
        cmocka_unit_test_setup_teardown(slabs_come_only_where_welcome, setup, teardown),
        cmocka_unit_test_setup_teardown(sealed_lanes_prove_themselves, setup, teardown),
        cmocka_unit_test_setup_teardown(shared_lanes_prove_themselves, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_there_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(sealed_lanes_enforce_credit, setup, teardown),
        cmocka_unit_test_setup_teardown(shared_lanes_enforce_credit, setup, teardown),
        cmocka_unit_test_setup_teardown(strangers_at_the_sealed_port, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
