// What a listener does with those who don't belong: rubbish, other programs, other meshes, wrong keys, lies. Each is
// refused and counted by its reason, the connection closes, and an honest peer gets in afterwards.
#include "unit/mesh/peers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mesh/hello.h"
#include "mesh/identity.h"
#include "mesh/wire.h"

// ---- a client that says what it likes ----

struct stranger {
    struct core_key key;
    struct identity_curve curve;
    void *context, *socket;
    uint8_t head[WIRE_HEAD_MAX];
    size_t head_size;
};

static struct stranger *stranger_open(int server, const struct core_key *key, const char *routing_id)
{
    struct stranger *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->key = *key;
    uint8_t pinned[32];
    assert_int_equal(identity_curve_pair(key, &s->curve), CORE_ERR_OK);
    assert_int_equal(identity_curve_public(&peers[server].key.id, pinned), CORE_ERR_OK);
    s->context = zmq_ctx_new();
    s->socket = zmq_socket(s->context, ZMQ_DEALER);
    int zero = 0;
    zmq_setsockopt(s->socket, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(s->socket, ZMQ_CURVE_PUBLICKEY, s->curve.public_key, 32);
    zmq_setsockopt(s->socket, ZMQ_CURVE_SECRETKEY, s->curve.secret_key, 32);
    zmq_setsockopt(s->socket, ZMQ_CURVE_SERVERKEY, pinned, 32);
    if (routing_id) zmq_setsockopt(s->socket, ZMQ_ROUTING_ID, routing_id, strlen(routing_id));
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", links_port(peers[server].links));
    assert_int_equal(zmq_connect(s->socket, endpoint), 0);
    return s;
}

static void stranger_close(struct stranger *s)
{
    zmq_close(s->socket);
    zmq_ctx_term(s->context);
    free(s);
}

static void stranger_encode(struct stranger *s, const struct message *m, const struct core_hash *mesh_id)
{
    assert_int_equal(wire_encode(m, mesh_id, s->head, sizeof s->head, &s->head_size), CORE_ERR_OK);
}

static void stranger_send(struct stranger *s)
{
    assert_true(zmq_send(s->socket, s->head, s->head_size, 0) >= 0);
}

static struct hello_self self_of(const struct stranger *s, const uint8_t *certificate, size_t size)
{
    return (struct hello_self){.key = &s->key, .charter = &mesh, .certificate = {certificate, size}};
}

// Waits for the REFUSED that a named refusal sends, and gives its error.
static enum core_err stranger_answer(struct stranger *s)
{
    zmq_msg_t part;
    zmq_msg_init(&part);
    until(zmq_msg_recv(&part, s->socket, ZMQ_DONTWAIT) >= 0);
    struct slice head = {zmq_msg_data(&part), zmq_msg_size(&part)};
    struct message m;
    assert_int_equal(wire_decode(&head, 1, &mesh.id, &m), CORE_ERR_OK);
    assert_int_equal(m.type, MESSAGE_REFUSED);
    assert_true(m.refused.why.size > 0);
    enum core_err err = (enum core_err)m.refused.error;
    zmq_msg_close(&part);
    return err;
}

// After whatever happened: a peer with a good certificate gets in and talks.
static void an_honest_peer_gets_in(int server)
{
    open_peer(3);
    dial(3, server);
    until(joined(3, server));
    uint32_t before = peers[server].messages;
    assert_int_equal(send_ping(3, server, 0), CORE_ERR_OK);
    until(peers[server].messages > before);
}

static uint32_t strangers_at(int i)
{
    struct links_stats s;
    links_stats(peers[i].links, &s);
    return s.strangers;
}

// ---- other programs ----

static void say_to_port(const void *data, size_t size)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(links_port(peers[0].links)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    uint64_t before = refused_of(0, LINK_HANDSHAKE);
    assert_int_equal(send(fd, data, size, MSG_NOSIGNAL), (ssize_t)size);
    until(refused_of(0, LINK_HANDSHAKE) == before + 1);
    // The connection was closed from the other side.
    char answer[512];
    ssize_t got;
    do got = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
    while (got > 0 || (got < 0 && errno == EAGAIN));
    close(fd);
}

static void rubbish_and_http_are_counted(void **state)
{
    (void)state;
    open_peer(0);
    static const char http[] = "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const uint8_t null_mechanism[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    uint8_t rubbish[1000];
    say_to_port(http, sizeof http - 1);
    for (size_t i = 0; i < sizeof rubbish; i++) rubbish[i] = (uint8_t)(i * 37 + 1);
    say_to_port(rubbish, sizeof rubbish);
    memset(rubbish, 0xff, sizeof rubbish);
    say_to_port(rubbish, sizeof rubbish);
    say_to_port(null_mechanism, sizeof null_mechanism);  // ZMTP without CURVE
    assert_int_equal(refused_of(0, LINK_HANDSHAKE), 4);
    assert_int_equal(peers[0].refused, 4);
    an_honest_peer_gets_in(0);
}

static void a_silent_connection_is_shut(void **state)
{
    (void)state;
    struct links_options o = options_of(&peers[0]);
    o.hello_timeout_ms = 200;
    open_with(0, &o);
    // Through CURVE, and then nothing.
    struct stranger *s = stranger_open(0, &peers[1].key, NULL);
    until(refused_of(0, LINK_NO_HELLO) == 1);
    until(strangers_at(0) == 0);
    stranger_close(s);
}

// ---- HELLOs that don't verify ----

static void refuse_hello(const struct core_key *key, const struct core_id *to, const uint8_t *certificate, size_t size,
                         enum link_reason reason, enum core_err answer)
{
    struct stranger *s = stranger_open(0, key, NULL);
    struct hello_self self = self_of(s, certificate, size);
    struct message m;
    uint64_t before = refused_of(0, reason);
    hello_make(&self, to, LANE_CONTROL, 1, &m);
    stranger_encode(s, &m, &mesh.id);
    stranger_send(s);
    until(refused_of(0, reason) == before + 1);
    assert_int_equal(stranger_answer(s), answer);
    until(strangers_at(0) == 0);
    stranger_close(s);
}

static void wrong_certificates_are_refused(void **state)
{
    (void)state;
    open_peer(0);
    const struct core_id *self = &peers[0].key.id;
    uint8_t certificate[CERTIFICATE_MAX];
    size_t size;
    struct core_key key = key_of(50);
    certify(&mesh, &founder, &key.id, real_s() - 1, certificate, &size);
    refuse_hello(&key, self, certificate, size, LINK_EXPIRED, CORE_ERR_EXPIRED);

    key = key_of(51);
    certify(&mesh, &founder, &key.id, 0, certificate, &size);
    assert_int_equal(revocations_add(&revoked, &key.id), CORE_ERR_OK);
    refuse_hello(&key, self, certificate, size, LINK_REVOKED, CORE_ERR_REVOKED);

    key = key_of(52);  // somebody else's certificate
    refuse_hello(&key, self, peers[1].certificate, peers[1].certificate_size, LINK_WRONG_KEY, CORE_ERR_VERIFY_FAILED);

    key = key_of(53);  // meant for another
    certify(&mesh, &founder, &key.id, 0, certificate, &size);
    refuse_hello(&key, &peers[1].key.id, certificate, size, LINK_WRONG_KEY, CORE_ERR_VERIFY_FAILED);

    key = key_of(54);  // changed by one bit
    certify(&mesh, &founder, &key.id, 0, certificate, &size);
    certificate[40] ^= 1;
    refuse_hello(&key, self, certificate, size, LINK_BAD_SIGNATURE, CORE_ERR_BAD_SIGNATURE);

    struct charter other;
    struct core_key other_founder = key_of(101);
    assert_int_equal(charter_create(&other_founder, "other", FAULT_TRUSTED, 1, mesh.nonce, &other), CORE_ERR_OK);
    key = key_of(55);  // a certificate of another mesh
    certify(&other, &other_founder, &key.id, 0, certificate, &size);
    refuse_hello(&key, self, certificate, size, LINK_WRONG_MESH, CORE_ERR_WRONG_MESH);

    an_honest_peer_gets_in(0);
}

static void a_hello_that_was_tampered_with_is_refused(void **state)
{
    (void)state;
    open_peer(0);
    struct stranger *s = stranger_open(0, &peers[1].key, NULL);
    struct hello_self self = self_of(s, peers[1].certificate, peers[1].certificate_size);
    struct message m;
    hello_make(&self, &peers[0].key.id, LANE_CONTROL, 1, &m);
    m.hello.incarnation++;
    stranger_encode(s, &m, &mesh.id);
    stranger_send(s);
    until(refused_of(0, LINK_BAD_SIGNATURE) == 1);
    stranger_close(s);
}

// ---- frames that lie ----

// Changes one byte of a good HELLO's header.
static void refuse_header(uint8_t seed, size_t at, uint8_t value, enum link_reason reason)
{
    struct core_key key = key_of(seed);
    uint8_t certificate[CERTIFICATE_MAX];
    size_t size;
    certify(&mesh, &founder, &key.id, 0, certificate, &size);
    struct stranger *s = stranger_open(0, &key, NULL);
    struct hello_self self = self_of(s, certificate, size);
    struct message m;
    hello_make(&self, &peers[0].key.id, LANE_CONTROL, 1, &m);
    stranger_encode(s, &m, &mesh.id);
    s->head[at] = value;
    uint64_t before = refused_of(0, reason);
    stranger_send(s);
    until(refused_of(0, reason) == before + 1);
    assert_int_equal(stranger_answer(s), link_reason_error(reason));
    until(strangers_at(0) == 0);
    // The key is kept out for a while; the same one, with a good HELLO, is turned away.
    uint64_t banned = refused_of(0, LINK_BANNED);
    struct stranger *again = stranger_open(0, &key, NULL);
    until(refused_of(0, LINK_BANNED) > banned);
    stranger_close(again);
    stranger_close(s);
}

static void lying_headers_are_refused_by_name(void **state)
{
    (void)state;
    open_peer(0);
    refuse_header(60, 0, 'X', LINK_MALFORMED);                   // magic
    refuse_header(61, 2, 9, LINK_UNKNOWN_VERSION);               // version
    refuse_header(62, 4, 0xee, LINK_UNKNOWN_TYPE);               // type
    refuse_header(63, 3, 0x80, LINK_MALFORMED);                  // a flag that does not exist
    refuse_header(64, 3, WIRE_FLAG_BULK, LINK_TOO_LARGE);        // bulk where the type has none
    refuse_header(65, 6, 0, LINK_WRONG_MESH);                    // mesh (its first byte is not 0, see below)
    refuse_header(66, 4, MESSAGE_PING, LINK_TOO_LARGE);          // a limit of another type
    refuse_header(67, 4, MESSAGE_MEMBERS_WANT, LINK_MALFORMED);  // another type's body
    assert_int_not_equal(mesh.id.bytes[0], 0);
    an_honest_peer_gets_in(0);
}

static void only_hello_and_admit_are_read_first(void **state)
{
    (void)state;
    open_peer(0);
    struct stranger *s = stranger_open(0, &peers[1].key, NULL);
    struct message m = {.type = MESSAGE_PING};
    stranger_encode(s, &m, &mesh.id);
    stranger_send(s);
    until(refused_of(0, LINK_NOT_ALLOWED) == 1);
    assert_int_equal(peers[0].messages, 0);
    stranger_close(s);
}

static void a_routing_id_of_ones_own_is_refused(void **state)
{
    (void)state;
    open_peer(0);
    open_peer(2);
    dial(2, 0);
    until(joined(0, 2));
    struct stranger *s = stranger_open(0, &peers[1].key, "squat");  // as long as libzmq's own
    struct hello_self self = self_of(s, peers[1].certificate, peers[1].certificate_size);
    struct message m;
    hello_make(&self, &peers[0].key.id, LANE_CONTROL, 1, &m);
    stranger_encode(s, &m, &mesh.id);
    stranger_send(s);
    until(refused_of(0, LINK_NOT_ALLOWED) == 1);
    assert_false(links_is_up(peers[0].links, &peers[1].key.id));
    assert_true(links_is_up(peers[0].links, &peers[2].key.id));
    stranger_close(s);
}

// A member whose link is up sends a message with a byte too many: its link ends, it is kept out, the others go on.
static void a_member_that_lies_loses_its_link(void **state)
{
    (void)state;
    open_peer(0);
    open_peer(2);
    dial(2, 0);
    until(joined(0, 2));
    struct stranger *s = stranger_open(0, &peers[1].key, NULL);
    struct hello_self self = self_of(s, peers[1].certificate, peers[1].certificate_size);
    struct message m;
    hello_make(&self, &peers[0].key.id, LANE_CONTROL, 1, &m);
    stranger_encode(s, &m, &mesh.id);
    stranger_send(s);
    until(links_is_up(peers[0].links, &peers[1].key.id));
    m = (struct message){.type = MESSAGE_PING};
    stranger_encode(s, &m, &mesh.id);
    s->head_size++;  // a byte behind the body
    stranger_send(s);
    until(peers[0].down == 1);
    assert_int_equal(peers[0].last_down, LINK_MALFORMED);
    assert_int_equal(refused_of(0, LINK_MALFORMED), 1);
    assert_true(links_is_up(peers[0].links, &peers[2].key.id));
    stranger_close(s);
    s = stranger_open(0, &peers[1].key, NULL);
    until(refused_of(0, LINK_BANNED) == 1);
    stranger_close(s);
    an_honest_peer_gets_in(0);
}

// Fifty tries with one key: the gate lets a burst through and then no more.
static void tries_are_limited(void **state)
{
    (void)state;
    open_peer(0);
    struct stranger *tries[50];
    for (int i = 0; i < 50; i++) tries[i] = stranger_open(0, &peers[1].key, NULL);
    until(refused_of(0, LINK_TOO_FAST) > 0);
    for (int i = 0; i < 50; i++) stranger_close(tries[i]);
    an_honest_peer_gets_in(0);
}

static void a_banned_member_is_turned_away(void **state)
{
    (void)state;
    open_peer(0);
    open_peer(1);
    dial(1, 0);
    until(joined(0, 1));
    links_ban(peers[0].links, &peers[1].key.id, 0);
    until(peers[1].down == 1 && peers[0].down == 1);
    dial(1, 0);
    until(peers[1].dial_failed == 1);
    assert_int_equal(peers[1].last_failed, LINK_TURNED_AWAY);
    until(peers[0].by_reason[LINK_BANNED] == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rubbish_and_http_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_silent_connection_is_shut, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_certificates_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hello_that_was_tampered_with_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(lying_headers_are_refused_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(only_hello_and_admit_are_read_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_routing_id_of_ones_own_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_member_that_lies_loses_its_link, setup, teardown),
        cmocka_unit_test_setup_teardown(tries_are_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(a_banned_member_is_turned_away, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
