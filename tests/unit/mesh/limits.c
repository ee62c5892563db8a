// What bounds a peer: buckets on what it sends, a slow reader's end, tries per address, a stranger's bytes, twins.
#include "unit/mesh/peers.h"

#include "mesh/gate.h"
#include "mesh/identity.h"
#include "mesh/socket.h"

static const uint8_t payload[1024] = {1};

static enum core_err send_cast(int from, int to)
{
    struct message m = {.type = MESSAGE_CAST, .cast.payload = {payload, sizeof payload}};
    return links_send(peers[from].links, &peers[to].key.id, &m);
}

static struct link_stats stats_at(int at, int with)
{
    struct link_stats s = {0};
    (void)!links_stats_of(peers[at].links, &peers[with].key.id, &s);
    return s;
}

static void open_two(const struct links_options *o)
{
    open_peer(0);
    open_with(1, o);
    dial(0, 1);
    until(joined(0, 1));
}

// The defaults: three seconds of 1,000 casts of 1 KiB a second come as fast as they can.
static void honest_traffic_passes(void **state)
{
    (void)state;
    struct links_options o = options_of(&peers[1]);
    open_two(&o);
    for (uint32_t i = 0; i < 3000; i++) {
        until(send_cast(0, 1) == CORE_ERR_OK);
        if (i % 100 == 0) pump();
    }
    until(peers[1].messages == 3000);
    assert_int_equal(stats_at(1, 0).flooded[LINK_CLASS_CAST], 0);
}

// A burst passes, what is over it is dropped and counted, control goes on; a flood that goes on ends the link.
static void a_flood_is_dropped_and_let_go(void **state)
{
    (void)state;
    struct links_options o = options_of(&peers[1]);
    o.rates[LINK_CLASS_CAST] = (struct link_rate){1, 100};
    open_two(&o);
    for (int i = 0; i < 150; i++) assert_int_equal(send_cast(0, 1), CORE_ERR_OK);
    until(stats_at(1, 0).flooded[LINK_CLASS_CAST] > 0);
    assert_int_equal(send_ping(0, 1, 0), CORE_ERR_OK);
    until(peers[1].next_nonce == 1);
    struct link_stats s = stats_at(1, 0);
    assert_true(peers[1].messages >= 101 && peers[1].messages + s.flooded[LINK_CLASS_CAST] == 151);
    assert_int_equal(s.flooded[LINK_CLASS_CONTROL], 0);
    for (int i = 0; i < 400; i++) (void)!send_cast(0, 1);
    until(peers[1].down == 1);
    assert_int_equal(peers[1].last_down, LINK_FLOOD);
    struct links_stats all;
    links_stats(peers[1].links, &all);
    assert_int_equal(all.floods, 1);
    assert_int_equal(all.refused[LINK_FLOOD], 1);
    assert_true(all.flooded[LINK_CLASS_CAST] > 100);
    until(peers[0].down == 1);
    dial(0, 1);  // and it is kept out for a while
    until(peers[0].dial_failed == 1);
}

// A large message costs more than a small one.
static void bytes_count_too(void **state)
{
    (void)state;
    static const uint8_t large[15 * 1024];
    struct links_options o = options_of(&peers[1]);
    o.rates[LINK_CLASS_CAST] = (struct link_rate){1, 100};
    open_two(&o);
    struct message m = {.type = MESSAGE_CAST, .cast.payload = {large, sizeof large}};
    for (int i = 0; i < 30; i++) assert_int_equal(links_send(peers[0].links, &peers[1].key.id, &m), CORE_ERR_OK);
    until(peers[1].messages + stats_at(1, 0).flooded[LINK_CLASS_CAST] == 30);
    assert_true(peers[1].messages >= 25 && peers[1].messages <= 27);  // 4 tokens each, and the refill meanwhile
}

// A peer that reads nothing: the queue is bounded, drops are counted, and after a while it is let go.
static void a_slow_reader_is_let_go(void **state)
{
    (void)state;
    struct links_options o = options_of(&peers[0]);
    o.slow_ms = 500;
    o.cast_queue_bytes = 1 << 20;
    open_with(0, &o);
    open_peer(1);
    dial(0, 1);
    until(joined(0, 1));
    struct links *stopped = peers[1].links;
    peers[1].links = NULL;  // not pumped
    static const uint8_t large[15 * 1024];
    struct message m = {.type = MESSAGE_CAST, .cast.payload = {large, sizeof large}};
    while (links_send(peers[0].links, &peers[1].key.id, &m) == CORE_ERR_OK) pump();
    struct link_stats s = stats_at(0, 1);
    assert_int_equal(s.dropped[LINK_CLASS_CAST], 1);
    assert_true(s.waiting[LINK_CLASS_CAST] > 0 && s.queued_bytes[LANE_CONTROL] <= 1 << 20);
    until(peers[0].down == 1);
    assert_int_equal(peers[0].last_down, LINK_SLOW);
    struct links_stats all;
    links_stats(peers[0].links, &all);
    assert_int_equal(all.slow, 1);
    assert_int_equal(all.dropped[LINK_CLASS_CAST], 1);
    peers[1].links = stopped;
}

// Who is not granted any bulk for long is let go too: nothing waits for ever.
static void bulk_that_is_never_granted_ends(uint32_t ways)
{
    static uint8_t bulk[100000];
    struct links_options o = options_of(&peers[0]);
    o.slow_ms = 200;
    o.bulk_ways = ways;
    open_with(0, &o);
    o = options_of(&peers[1]);
    o.bulk_window_bytes = sizeof bulk;
    open_with(1, &o);
    dial(0, 1);
    until(joined(0, 1));
    links_bulk_hold(peers[1].links, true);
    struct message m = {.type = MESSAGE_DATA, .bulk = {bulk, sizeof bulk}};
    for (int i = 0; i < 5; i++) assert_int_equal(links_send(peers[0].links, &peers[1].key.id, &m), CORE_ERR_OK);
    until(peers[0].down == 1);
    assert_int_equal(peers[0].last_down, LINK_SLOW);
}

static void bulk_that_is_never_granted(void **state)
{
    (void)state;
    bulk_that_is_never_granted_ends(1u << LINK_WAY_SEALED);
}

// ---- addresses ----

static uint32_t accepted(struct gate *gate, const char *address, uint32_t tries)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < tries; i++) count += gate_accept(gate, address);
    return count;
}

static void tries_are_limited_by_address(void **state)
{
    (void)state;
    void *context = zmq_ctx_new();
    struct gate *gate, *second;
    assert_int_equal(gate_open(context, &gate), CORE_ERR_OK);
    uint32_t burst = accepted(gate, "192.0.2.1", 5000);
    assert_true(burst >= 400 && burst < 1000);
    assert_int_equal(accepted(gate, "192.0.2.2", 100), 100);  // another address is another's business
    // One machine has a whole /64 of IPv6 addresses.
    uint32_t v6 = accepted(gate, "2001:db8:0:1::1", 2500) + accepted(gate, "2001:db8:0:1:ffff::2", 2500);
    assert_true(v6 >= 400 && v6 < 1000);
    assert_int_equal(accepted(gate, "2001:db8:0:2::1", 100), 100);
    // A member gives its try back.
    const uint8_t key[GATE_KEY_SIZE] = {1};
    gate_know(gate, key, "192.0.2.1");
    assert_true(gate_accept(gate, "192.0.2.1"));
    // The table is bounded: thousands of addresses make room for each other.
    for (uint32_t i = 0; i < 5000; i++) {
        char address[32];
        snprintf(address, sizeof address, "10.%u.%u.1", i / 250, i % 250);
        assert_true(gate_accept(gate, address));
    }
    // Rubbish makes an address slow.
    gate_slow(gate, "192.0.2.3", 60000);
    assert_true(accepted(gate, "192.0.2.3", 400) >= 1);
    // Nobody else answers ZAP in this context: without its gate a listener does not open.
    assert_int_equal(gate_open(context, &second), CORE_ERR_IO);
    zmq_ctx_shutdown(context);
    gate_close(gate);
    zmq_ctx_term(context);
}

// ---- strangers ----

struct stranger {
    void *context, *socket;
};

static struct stranger stranger_open(const struct core_key *key)
{
    struct stranger s = {.context = zmq_ctx_new()};
    struct identity_curve curve;
    uint8_t server[IDENTITY_CURVE_SIZE];
    int zero = 0;
    s.socket = zmq_socket(s.context, ZMQ_DEALER);
    assert_int_equal(identity_curve_pair(key, &curve), CORE_ERR_OK);
    assert_int_equal(identity_curve_public(&peers[0].key.id, server), CORE_ERR_OK);
    zmq_setsockopt(s.socket, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(s.socket, ZMQ_CURVE_PUBLICKEY, curve.public_key, 32);
    zmq_setsockopt(s.socket, ZMQ_CURVE_SECRETKEY, curve.secret_key, 32);
    zmq_setsockopt(s.socket, ZMQ_CURVE_SERVERKEY, server, 32);
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", links_port(peers[0].links));
    assert_int_equal(zmq_connect(s.socket, endpoint), 0);
    return s;
}

static void stranger_close(struct stranger *s)
{
    zmq_close(s->socket);
    zmq_ctx_term(s->context);
}

// libzmq holds a frame, or a message of many, until it is whole: the connection is shut long before.
static void a_stranger_is_bounded_by_its_bytes(void **state)
{
    (void)state;
    enum { LARGE = 60 << 20 };
    open_peer(0);  // it waits 20 s for HELLO
    struct stranger s = stranger_open(&peers[1].key);
    uint8_t *large = calloc(1, LARGE);
    assert_non_null(large);
    assert_int_equal(zmq_send(s.socket, large, LARGE, 0), LARGE);
    free(large);
    struct links_stats all;
    until((links_stats(peers[0].links, &all), all.overfed) == 1);
    assert_int_equal(all.refused[LINK_TOO_LARGE], 1);
    assert_int_equal(all.refused[LINK_NO_HELLO], 0);
    stranger_close(&s);
    until((links_stats(peers[0].links, &all), all.strangers) == 0);
    open_peer(3);
    dial(3, 0);
    until(joined(0, 3));
}

static bool everybody_is_known(void *context, const struct core_id *id)
{
    memcpy(context, id->bytes, CORE_ID_SIZE);
    return true;
}

// Another member has the same X25519 key: its id differs in the sign bit alone.
static void a_twin_is_refused(void **state)
{
    (void)state;
    struct core_id asked;
    struct links_options o = options_of(&peers[0]);
    o.knows = everybody_is_known;
    o.knows_context = asked.bytes;
    open_with(0, &o);
    open_peer(1);
    dial(1, 0);
    until(peers[1].dial_failed == 1);
    assert_int_equal(peers[1].last_failed, LINK_WRONG_KEY);
    assert_int_equal(refused_of(0, LINK_WRONG_KEY), 1);
    asked.bytes[CORE_ID_SIZE - 1] ^= 0x80;
    assert_true(id_equal(&asked, &peers[1].key.id));
}

// Nobody gets to a listener that nobody guards: without a gate it does not even bind, with one it does.
static void a_listener_needs_its_gate(void **state)
{
    (void)state;
    struct identity_curve curve;
    struct address at, taken;
    void *context = zmq_ctx_new(), *socket = NULL, *monitor = NULL;
    uint16_t port = 0;
    assert_int_equal(identity_curve_pair(&peers[0].key, &curve), CORE_ERR_OK);
    const struct socket_options options = {.curve = &curve, .handshake_ms = 1000, .connect_ms = 1000};
    assert_int_equal(address_parse("127.0.0.1:0", &at), CORE_ERR_OK);
    assert_int_equal(socket_listen(context, &options, &at, "listener", &socket, &monitor, &port), CORE_ERR_REFUSED);
    assert_true(!socket && !monitor && port == 0);
    struct gate *gate;
    assert_int_equal(gate_open(context, &gate), CORE_ERR_OK);
    assert_int_equal(socket_listen(context, &options, &at, "listener", &socket, &monitor, &port), CORE_ERR_OK);
    assert_int_not_equal(port, 0);
    taken = at;
    taken.port = port;
    void *other = NULL, *other_monitor = NULL;  // the gate is found as often as it is asked for
    assert_int_equal(socket_listen(context, &options, &taken, "other", &other, &other_monitor, &port), CORE_ERR_IN_USE);
    socket_close(socket, monitor);
    zmq_ctx_shutdown(context);
    gate_close(gate);
    zmq_ctx_term(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_listener_needs_its_gate, setup, teardown),
        cmocka_unit_test_setup_teardown(honest_traffic_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood_is_dropped_and_let_go, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_count_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_reader_is_let_go, setup, teardown),
        cmocka_unit_test_setup_teardown(bulk_that_is_never_granted, setup, teardown),
        cmocka_unit_test_setup_teardown(tries_are_limited_by_address, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stranger_is_bounded_by_its_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_twin_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
