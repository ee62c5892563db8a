// Links between peers of one mesh, over real sockets on loopback: handshake, crossing, credit, closing.
#include "unit/mesh/peers.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mesh/links_internal.h"

static void two_peers_meet_and_talk(void **state)
{
    (void)state;
    open_peer(0);
    open_peer(1);
    dial(0, 1);
    until(joined(0, 1));
    assert_int_equal(peers[0].up, 1);
    assert_int_equal(peers[1].up, 1);
    assert_true(peers[0].dialled);
    assert_false(peers[1].dialled);
    assert_true(id_equal(&peers[1].last_up, &peers[0].key.id));
    for (uint64_t i = 0; i < 500; i++) {
        assert_int_equal(send_ping(0, 1, i), CORE_ERR_OK);
        assert_int_equal(send_ping(1, 0, i), CORE_ERR_OK);
    }
    until(peers[0].messages == 500 && peers[1].messages == 500);
    assert_false(peers[0].out_of_order || peers[1].out_of_order);
    struct link_stats a, b;
    assert_true(links_stats_of(peers[0].links, &peers[1].key.id, &a));
    assert_true(links_stats_of(peers[1].links, &peers[0].key.id, &b));
    assert_true(a.tx_bytes[LANE_CONTROL] == b.rx_bytes[LANE_CONTROL]);
    assert_true(a.tx_messages[LANE_CONTROL] == 500);
    assert_false(a.bulk_open);  // there was no bulk
}

// docs/wire-format.md says what an idle link costs: the bytes that TCP carries for one PING.
static void a_ping_is_as_short_as_the_page_says(void **state)
{
    (void)state;
    enum { COUNT = 50, PING_BYTES = 55 };
    open_peer(0);
    open_peer(1);
    dial(0, 1);
    until(joined(0, 1));
    const struct conn *c = peers[1].links->conns;
    while (c->state != CONN_LANE) c++;
    uint64_t before = socket_received(c->fd, c->host, c->port), now_us = 0x123456789abc;
    peers[1].next_nonce = now_us;
    for (uint64_t i = 0; i < COUNT; i++) assert_int_equal(send_ping(0, 1, now_us + i), CORE_ERR_OK);
    until(peers[1].messages == COUNT);
    assert_int_equal(socket_received(c->fd, c->host, c->port) - before, COUNT * PING_BYTES);
}

static void hangup_ends_both_sides(void **state)
{
    (void)state;
    open_peer(0);
    open_peer(1);
    dial(0, 1);
    until(joined(0, 1));
    links_hangup(peers[1].links, &peers[0].key.id);
    assert_int_equal(send_ping(1, 0, 0), CORE_ERR_UNREACHABLE);
    until(peers[0].down == 1 && peers[1].down == 1);
    assert_int_equal(peers[1].last_down, LINK_HANGUP);
    assert_int_equal(peers[0].last_down, LINK_GOODBYE);
    dial(1, 0);  // and back, the other way round
    until(joined(0, 1));
    assert_int_equal(peers[0].up, 2);
}

// A closed peer is down at once, on the side that dialled and on the side that was dialled.
static void a_peer_that_goes_is_seen(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) open_peer(i);
    dial(0, 1);
    dial(1, 2);
    until(joined(0, 1) && joined(1, 2));
    close_peer(1);
    until(peers[0].down == 1 && peers[2].down == 1);
    memset(&peers[1].up, 0, sizeof peers[1].up);
    open_peer(1);
    dial(1, 0);
    dial(2, 1);
    until(joined(0, 1) && joined(1, 2));
}

// A process that dies by SIGKILL says nothing; its TCP connections do. Both sides of a dial see it.
static void end_process_with_links(bool it_dials, int with)
{
    int to_parent[2], to_child[2];
    uint16_t port;
    assert_int_equal(pipe(to_parent) | pipe(to_child), 0);
    pid_t child = fork();  // no thread runs now: each test closes its links
    assert_true(child >= 0);
    int me = child == 0;
    struct links_options o = options_of(&peers[me]);
    if (with == SIGSTOP) o.heartbeat_ms = 500;
    open_with(me, &o);
    port = links_port(peers[me].links);
    int out = me ? to_parent[1] : to_child[1], in = me ? to_child[0] : to_parent[0];
    bool exchanged = write(out, &port, sizeof port) == sizeof port && read(in, &port, sizeof port) == sizeof port;
    if (exchanged && (bool)me == it_dials) dial_port(me, !me, port);
    if (me) {
        for (uint64_t end = mono_ms() + GUARD_MS; exchanged && mono_ms() < end;) pump();
        _exit(1);
    }
    assert_true(exchanged);
    until(links_is_up(peers[0].links, &peers[1].key.id));
    assert_int_equal(kill(child, with), 0);
    until(peers[0].down == 1);
    assert_int_equal(peers[0].last_down, LINK_CLOSED);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    for (int i = 0; i < 2; i++) {
        close(to_parent[i]);
        close(to_child[i]);
    }
}

static void a_killed_process_that_we_dialled_is_seen(void **state)
{
    (void)state;
    end_process_with_links(false, SIGKILL);
}

static void a_killed_process_that_dialled_us_is_seen(void **state)
{
    (void)state;
    end_process_with_links(true, SIGKILL);
}

// A stopped one keeps its connections: the heartbeat finds it, on both sides of a dial.
static void a_stopped_process_that_we_dialled_is_seen(void **state)
{
    (void)state;
    end_process_with_links(false, SIGSTOP);
}

static void a_stopped_process_that_dialled_us_is_seen(void **state)
{
    (void)state;
    end_process_with_links(true, SIGSTOP);
}

static void crossing_dials_leave_the_lower_ones(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        open_peer(0);
        open_peer(1);
        peers[0].up = peers[1].up = peers[0].down = peers[1].down = 0;
        dial(0, 1);
        dial(1, 0);
        until(joined(0, 1));
        assert_true(peers[0].dialled);  // peer 0 has the lower id
        assert_false(peers[1].dialled);
        // Nothing that was overtaken disturbs it.
        peers[0].messages = peers[1].messages = 0;
        peers[0].next_nonce = peers[1].next_nonce = 0;
        for (uint64_t i = 0; i < 50; i++) {
            assert_int_equal(send_ping(0, 1, i), CORE_ERR_OK);
            assert_int_equal(send_ping(1, 0, i), CORE_ERR_OK);
            pump();
        }
        until(peers[0].messages == 50 && peers[1].messages == 50);
        assert_int_equal(peers[0].up + peers[1].up, 2);
        assert_int_equal(peers[0].down + peers[1].down, 0);
        close_peer(0);
        close_peer(1);
    }
}

static uint32_t parked_at(int i)
{
    struct links_stats s;
    links_stats(peers[i].links, &s);
    return s.parked;
}

// The lower one cannot reach the higher: the higher's dial, parked meanwhile, is taken.
static void a_parked_hello_is_taken_when_our_dial_fails(void **state)
{
    (void)state;
    open_peer(0);
    open_peer(1);
    // A socket that listens and never answers: the handshake of peer 0 hangs.
    void *context = zmq_ctx_new(), *mute = zmq_socket(context, ZMQ_STREAM);
    char endpoint[64];
    size_t size = sizeof endpoint;
    unsigned port;
    assert_int_equal(zmq_bind(mute, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(mute, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    assert_int_equal(sscanf(endpoint, "tcp://127.0.0.1:%u", &port), 1);
    dial_port(0, 1, (uint16_t)port);
    pump();
    dial(1, 0);
    until(parked_at(0) == 1);
    assert_false(links_is_up(peers[1].links, &peers[0].key.id));
    int zero = 0;
    zmq_setsockopt(mute, ZMQ_LINGER, &zero, sizeof zero);
    zmq_close(mute);
    zmq_ctx_term(context);
    until(joined(0, 1));
    assert_false(peers[0].dialled);
    assert_int_equal(peers[0].address_failed, 1);
    assert_int_equal(peers[0].dial_failed, 0);
}

static void a_dial_says_why_it_failed(void **state)
{
    (void)state;
    open_peer(0);
    open_peer(1);
    open_peer(2);
    uint16_t port = links_port(peers[1].links);
    // Another key answers there.
    dial_port(0, 2, port);
    until(peers[0].dial_failed == 1);
    assert_int_equal(peers[0].last_failed, LINK_HANDSHAKE);
    until(refused_of(1, LINK_HANDSHAKE) == 1);
    // Nobody does.
    close_peer(1);
    dial_port(0, 1, port);
    until(peers[0].dial_failed == 2);
    assert_int_equal(peers[0].last_failed, LINK_REFUSED_CONNECTION);
    assert_int_equal(peers[0].address_failed, 2);
    assert_int_equal(links_dial(peers[0].links, &peers[0].key.id, bytes_of("\0", 1)), CORE_ERR_REFUSED);
    assert_int_equal(links_dial(peers[0].links, &peers[1].key.id, bytes_of("\7", 1)), CORE_ERR_MALFORMED);
}

// Whoever is dialled with a certificate that is no good hears why: its link was up already, by its own light.
static void who_is_refused_by_a_dialler_is_told(void **state)
{
    (void)state;
    static const struct {
        enum link_reason reason;
        const char *text;
    } cases[] = {{LINK_EXPIRED, "its certificate expired"}, {LINK_REVOKED, "its certificate was revoked"}};
    certify(&mesh, &founder, &peers[1].key.id, 10, peers[1].certificate, &peers[1].certificate_size);
    assert_int_equal(revocations_add(&revoked, &peers[2].key.id), CORE_ERR_OK);
    for (int i = 0; i < 3; i++) open_peer(i);
    for (int i = 1; i <= 2; i++) {
        // The list is the dialler's; that of the one who is dialled would keep it from dialling.
        uint8_t raw[ADDRESS_LIST_BYTES];
        revoked.count = 0;
        assert_int_equal(links_dial(peers[0].links, &peers[i].key.id, address_bytes(links_port(peers[i].links), raw)),
                         CORE_ERR_OK);
        assert_int_equal(revocations_add(&revoked, &peers[2].key.id), CORE_ERR_OK);
        until(peers[0].dial_failed == (uint32_t)i && peers[i].down == 1);
        assert_int_equal(peers[0].last_failed, cases[i - 1].reason);
        assert_string_equal(peers[0].text, "");  // nobody told it
        assert_int_equal(peers[i].last_down, cases[i - 1].reason);
        assert_string_equal(peers[i].text, cases[i - 1].text);
        assert_int_equal(peers[0].up, 0);
    }
}

// What a REFUSED may say: an error that there is not is a refusal, letters of no terminal's are '?', and it has an end.
static void a_refusal_is_read_safely(void **state)
{
    (void)state;
    char text[REFUSAL_TEXT], longer[2 * REFUSAL_TEXT];
    struct message m;
    for (int reason = 1; reason < LINK_REASON_COUNT; reason++) {
        links_refusal((enum link_reason)reason, &m);
        const enum link_reason back = links_refusal_read(&m, text);
        assert_string_equal(text, link_reason_text((enum link_reason)reason));
        assert_true(back != LINK_NONE && link_reason_error(back) == link_reason_error((enum link_reason)reason));
    }
    m.refused.error = UINT64_MAX;
    m.refused.why = bytes_of("\x1b[2J\r\xff", 6);
    assert_int_equal(links_refusal_read(&m, text), LINK_NOT_ALLOWED);
    assert_string_equal(text, "?[2J??");
    memset(longer, 'a', sizeof longer);
    m.refused.why = bytes_of(longer, sizeof longer);
    (void)links_refusal_read(&m, text);
    assert_int_equal(strlen(text), REFUSAL_TEXT - 1);
}

// The second address answers where the first does not.
static void a_dial_tries_every_address(void **state)
{
    (void)state;
    open_peer(0);
    open_peer(1);
    open_peer(2);
    uint16_t port = links_port(peers[2].links);
    close_peer(2);
    struct address_list list = {
        .items = {{.host = "127.0.0.1", .port = port}, {.host = "127.0.0.1", .port = links_port(peers[1].links)}},
        .count = 2};
    uint8_t raw[ADDRESS_LIST_BYTES];
    size_t size = address_list_encode(&list, raw);
    assert_int_equal(links_dial(peers[0].links, &peers[1].key.id, bytes_of(raw, size)), CORE_ERR_OK);
    assert_int_equal(links_dial(peers[0].links, &peers[1].key.id, bytes_of(raw, size)), CORE_ERR_EXISTS);
    until(joined(0, 1));
    assert_int_equal(peers[0].address_failed, 1);
}

static void a_port_in_use_is_said(void **state)
{
    (void)state;
    open_peer(0);
    struct links_options o = options_of(&peers[1]);
    o.listen.port = links_port(peers[0].links);
    struct links *l;
    assert_int_equal(links_open(&l, &o), CORE_ERR_IN_USE);
    assert_int_equal(address_parse("192.0.2.1:0", &o.listen), CORE_ERR_OK);  // TEST-NET-1: nobody's
    assert_int_equal(links_open(&l, &o), CORE_ERR_UNREACHABLE);
}

// ---- bulk ----

static struct message data_of(const uint8_t *bulk, size_t size)
{
    return (struct message){.type = MESSAGE_DATA, .bulk = {bulk, size}};
}

static void bulk_waits_for_credit(void **state)
{
    (void)state;
    enum { SIZE = 100000, WINDOW = 4 * SIZE, QUEUE = 10 * SIZE };
    static uint8_t bulk[SIZE];
    struct links_options o = options_of(&peers[0]);
    o.bulk_queue_bytes = QUEUE;
    open_with(0, &o);
    o = options_of(&peers[1]);
    o.bulk_window_bytes = WINDOW;
    open_with(1, &o);
    dial(0, 1);
    until(joined(0, 1));
    links_bulk_hold(peers[1].links, true);  // a slow reader: it grants nothing more
    struct message m = data_of(bulk, SIZE);
    uint32_t sent = 0;
    enum core_err err;
    while ((err = links_send(peers[0].links, &peers[1].key.id, &m)) == CORE_ERR_OK) sent++;
    assert_int_equal(err, CORE_ERR_WOULD_BLOCK);
    struct link_stats s;
    assert_true(links_stats_of(peers[0].links, &peers[1].key.id, &s));
    assert_int_equal(s.would_block[LANE_BULK], 1);
    assert_true(s.queued_bytes[LANE_BULK] <= QUEUE);
    assert_true(s.bulk_credit <= 0);
    // What was granted arrives, one message over at most; control is not held up by what waits.
    until(peers[1].bulk_bytes >= WINDOW);
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(send_ping(0, 1, i), CORE_ERR_OK);
        until(peers[1].next_nonce == i + 1);
        assert_int_equal(send_ping(1, 0, i), CORE_ERR_OK);
        until(peers[0].next_nonce == i + 1);
    }
    assert_true(peers[1].bulk_bytes <= WINDOW + SIZE);
    assert_true(sent * (uint64_t)SIZE > WINDOW + SIZE);
    links_bulk_hold(peers[1].links, false);
    until(peers[1].bulk_bytes == sent * (uint64_t)SIZE);
    assert_int_equal(links_send(peers[0].links, &peers[1].key.id, &m), CORE_ERR_OK);
    until(peers[1].bulk_bytes == (sent + 1) * (uint64_t)SIZE);
}

static void bulk_both_ways_arrives_whole(void **state)
{
    (void)state;
    enum { SIZE = 3000000, COUNT = 12 };
    uint8_t *bulk = malloc(SIZE);
    assert_non_null(bulk);
    memset(bulk, 7, SIZE);
    struct links_options o = options_of(&peers[0]);
    o.bulk_window_bytes = 2 * SIZE;
    open_with(0, &o);
    o = options_of(&peers[1]);
    o.bulk_window_bytes = SIZE / 2;  // smaller than a message: one goes whenever any credit is left
    open_with(1, &o);
    dial(1, 0);
    until(joined(0, 1));
    struct message m = data_of(bulk, SIZE);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(links_send(peers[0].links, &peers[1].key.id, &m), CORE_ERR_OK);
        assert_int_equal(links_send(peers[1].links, &peers[0].key.id, &m), CORE_ERR_OK);
    }
    until(peers[0].bulk_bytes == (uint64_t)SIZE * COUNT && peers[1].bulk_bytes == (uint64_t)SIZE * COUNT);
    free(bulk);
}

static void a_message_above_its_limit_is_not_sent(void **state)
{
    (void)state;
    open_peer(0);
    open_peer(1);
    dial(0, 1);
    until(joined(0, 1));
    static uint8_t long_text[2000];
    struct message m = {.type = MESSAGE_REFUSED, .refused.why = {long_text, sizeof long_text}};
    assert_int_equal(links_send(peers[0].links, &peers[1].key.id, &m), CORE_ERR_TOO_LARGE);
    m = (struct message){.type = MESSAGE_PING, .bulk = {long_text, 1}};
    assert_int_equal(links_send(peers[0].links, &peers[1].key.id, &m), CORE_ERR_TOO_LARGE);
    assert_int_equal(send_ping(0, 2, 0), CORE_ERR_UNREACHABLE);
}

// A peer that reads nothing: our queue fills to its bound and says so, nothing is dropped in silence.
static void a_stopped_reader_fills_a_bounded_queue(void **state)
{
    (void)state;
    struct links_options o = options_of(&peers[0]);
    o.cast_queue_bytes = 1u << 20;
    open_with(0, &o);
    open_peer(1);
    dial(0, 1);
    until(joined(0, 1));
    static uint8_t payload[15000];
    struct message m = {.type = MESSAGE_CAST, .cast.payload = {payload, sizeof payload}};
    struct links *stopped = peers[1].links;
    peers[1].links = NULL;  // not pumped
    uint32_t sent = 0;
    enum core_err err;
    while ((err = links_send(peers[0].links, &peers[1].key.id, &m)) == CORE_ERR_OK) {
        sent++;
        pump();
        assert_true(sent < 100000);
    }
    assert_int_equal(err, CORE_ERR_WOULD_BLOCK);
    peers[1].links = stopped;
    until(peers[1].messages == sent);
}

static void many_links_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < PEERS_MAX; i++) open_peer(i);
    for (int i = 0; i < PEERS_MAX; i++)
        for (int j = 0; j < PEERS_MAX; j++)
            if (i != j) dial(i, j);
    for (int i = 0; i < PEERS_MAX; i++)
        for (int j = 0; j < i; j++) until(joined(i, j));
    struct links_stats s;
    links_stats(peers[0].links, &s);
    assert_int_equal(s.up, PEERS_MAX - 1);
    assert_int_equal(s.refused_total, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_peers_meet_and_talk, setup, teardown),
        cmocka_unit_test_setup_teardown(a_ping_is_as_short_as_the_page_says, setup, teardown),
        cmocka_unit_test_setup_teardown(hangup_ends_both_sides, setup, teardown),
        cmocka_unit_test_setup_teardown(a_peer_that_goes_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(a_killed_process_that_we_dialled_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(a_killed_process_that_dialled_us_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopped_process_that_we_dialled_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopped_process_that_dialled_us_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(crossing_dials_leave_the_lower_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(a_parked_hello_is_taken_when_our_dial_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dial_says_why_it_failed, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_refused_by_a_dialler_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refusal_is_read_safely, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dial_tries_every_address, setup, teardown),
        cmocka_unit_test_setup_teardown(a_port_in_use_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(bulk_waits_for_credit, setup, teardown),
        cmocka_unit_test_setup_teardown(bulk_both_ways_arrives_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_above_its_limit_is_not_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopped_reader_fills_a_bounded_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(many_links_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
