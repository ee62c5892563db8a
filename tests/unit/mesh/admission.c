// Admission from token to certificate, over real sockets: the joiner blocks in a thread of its own, the sponsor's links
// are pumped by the test.
#include "unit/mesh/peers.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mesh/identity.h"

struct joiner {
    pthread_t thread;
    struct invitation token;
    struct core_key key;
    const char *name;
    int timeout_ms;
    struct admission_result result;
    enum core_err err;
    uint32_t reports;
    char said[4][160];
    _Atomic bool done;
};

static struct admission_sponsor sponsor;
static struct invitations ledger;

static void report(void *context, const char *address, enum core_err err, const char *text)
{
    struct joiner *j = context;
    assert_non_null(strchr(address, ':'));
    assert_true((err == CORE_ERR_OK) == (strcmp(text, "admitted") == 0));
    snprintf(j->said[j->reports++], sizeof j->said[0], "%s", text);
}

static void *join_main(void *context)
{
    struct joiner *j = context;
    j->err = admission_join(&j->token, &j->key, j->name, j->timeout_ms, report, j, &j->result);
    atomic_store(&j->done, true);
    return NULL;
}

static void join(struct joiner *j)
{
    j->reports = 0;
    atomic_store(&j->done, false);
    assert_int_equal(pthread_create(&j->thread, NULL, join_main, j), 0);
    until(atomic_load(&j->done));
    pthread_join(j->thread, NULL);
}

// Peer 0 sponsors with one open invitation of `uses`.
static struct joiner open_sponsor(uint32_t uses)
{
    memset(&ledger, 0, sizeof ledger);
    // Peer 0 was delegated by the founder.
    struct certificate c = {
        .mesh = mesh.id, .key = peers[0].key.id, .name = "sponsor", .roles = ROLE_MEMBER | ROLE_SPONSOR, .issued_s = 1};
    assert_int_equal(
        certificate_issue(&mesh, &founder, bytes_of(NULL, 0), &c, peers[0].certificate, &peers[0].certificate_size),
        CORE_ERR_OK);
    open_peer(0);
    sponsor = (struct admission_sponsor){.charter = &mesh,
                                         .key = &peers[0].key,
                                         .certificate = {peers[0].certificate, peers[0].certificate_size},
                                         .revoked = &revoked,
                                         .ledger = &ledger};
    peers[0].sponsor = &sponsor;
    links_admit_open(peers[0].links, true);

    struct joiner j = {.key = key_of(200), .name = "newcomer", .timeout_ms = 30000};
    j.token = (struct invitation){.mesh = mesh.id, .sponsor = peers[0].key.id, .uses = uses};
    j.token.expires_s = real_s() + 1000;
    memcpy(j.token.secret, "sixteen bytes!!", 16);
    assert_int_equal(invitations_add(&ledger, j.token.secret, real_s(), 1000, uses, ROLE_MEMBER), CORE_ERR_OK);
    struct address at = {.host = "127.0.0.1", .port = links_port(peers[0].links)};
    assert_int_equal(address_list_add(&j.token.addresses, &at), CORE_ERR_OK);
    return j;
}

static void a_token_makes_a_member(void **state)
{
    (void)state;
    struct joiner j = open_sponsor(1);
    join(&j);
    assert_int_equal(j.err, CORE_ERR_OK);
    assert_int_equal(j.reports, 1);
    struct charter got;
    struct certificate own;
    assert_int_equal(charter_decode(bytes_of(j.result.charter, j.result.charter_size), &got), CORE_ERR_OK);
    assert_true(hash_equal(&got.id, &mesh.id));
    assert_int_equal(
        certificate_verify(bytes_of(j.result.certificate, j.result.certificate_size), &got, NULL, real_s(), &own),
        CORE_ERR_OK);
    assert_string_equal(own.name, "newcomer");
    assert_true(id_equal(&own.issuer, &peers[0].key.id));
    assert_int_equal(ledger.entries[0].used, 1);
    // With that certificate it links to its sponsor, and to others.
    peers[3].key = j.key;
    memcpy(peers[3].certificate, j.result.certificate, j.result.certificate_size);
    peers[3].certificate_size = j.result.certificate_size;
    open_peer(1);
    open_peer(3);
    dial(3, 0);
    dial(1, 3);
    until(joined(3, 0) && joined(1, 3));
}

static void a_used_token_is_refused_but_its_joiner_may_ask_again(void **state)
{
    (void)state;
    struct joiner j = open_sponsor(1);
    join(&j);
    assert_int_equal(j.err, CORE_ERR_OK);
    join(&j);  // the answer may have been lost
    assert_int_equal(j.err, CORE_ERR_OK);
    assert_int_equal(ledger.entries[0].used, 1);
    j.key = key_of(201);
    join(&j);
    assert_int_equal(j.err, CORE_ERR_USED_UP);
    assert_int_equal(j.result.refusal, CORE_ERR_USED_UP);
    assert_non_null(strstr(j.result.why, "used up"));
}

static void the_sponsor_refuses_and_says_why(void **state)
{
    (void)state;
    struct joiner j = open_sponsor(4);
    ledger.entries[0].expires_s = real_s() - 1;
    join(&j);
    assert_int_equal(j.err, CORE_ERR_EXPIRED);
    ledger.entries[0].expires_s = real_s() + 1000;
    ledger.entries[0].revoked = true;
    join(&j);
    assert_int_equal(j.err, CORE_ERR_REVOKED);
    ledger.entries[0].revoked = false;
    j.token.secret[3] ^= 1;  // another secret is another token
    join(&j);
    assert_int_equal(j.err, CORE_ERR_REFUSED);
    j.token.secret[3] ^= 1;
    j.token.mesh.bytes[31] ^= 1;  // another mesh with the same first bytes
    join(&j);
    assert_int_equal(j.err, CORE_ERR_WRONG_MESH);
    j.token.mesh.bytes[31] ^= 1;
    j.token.mesh.bytes[0] ^= 1;  // and one that differs in them: refused by the header
    join(&j);
    assert_int_not_equal(j.err, CORE_ERR_OK);
    j.token.mesh.bytes[0] ^= 1;
    assert_int_equal(ledger.entries[0].used, 0);
    sponsor.key = &peers[1].key;  // may not issue: no use is spent
    j.key = key_of(202);
    join(&j);
    assert_int_not_equal(j.err, CORE_ERR_OK);
    assert_int_equal(ledger.entries[0].used, 0);
}

static void without_an_open_invitation_nobody_is_asked(void **state)
{
    (void)state;
    struct joiner j = open_sponsor(1);
    links_admit_open(peers[0].links, false);
    join(&j);
    assert_int_equal(j.err, CORE_ERR_REFUSED);
    assert_non_null(strstr(j.result.why, "no invitation is open"));
    assert_int_equal(peers[0].admits, 0);
    assert_int_equal(refused_of(0, LINK_NO_INVITATION), 1);
}

static void join_tries_every_address_and_reports_each(void **state)
{
    (void)state;
    struct joiner j = open_sponsor(1);
    open_peer(1);
    open_peer(2);
    struct address good = j.token.addresses.items[0];
    uint16_t closed = links_port(peers[2].links);
    close_peer(2);
    j.token.addresses = (struct address_list){.items = {{.host = "127.0.0.1", .port = closed},
                                                        {.host = "127.0.0.1", .port = links_port(peers[1].links)},
                                                        good},
                                              .count = 3};
    join(&j);
    assert_int_equal(j.err, CORE_ERR_OK);
    assert_int_equal(j.reports, 3);
    assert_non_null(strstr(j.said[0], "connection refused"));
    assert_non_null(strstr(j.said[1], "another key answers there"));
    assert_int_equal(j.result.address.port, good.port);
    j.token.addresses.count = 2;
    join(&j);
    assert_int_equal(j.err, CORE_ERR_UNREACHABLE);
    assert_non_null(strstr(j.result.why, "none of the sponsor's 2 addresses"));
}

// Addresses that take a connection and say nothing don't hold up the one that answers, and none of them is waited for.
static void mute_addresses_do_not_hold_up_the_good_one(void **state)
{
    (void)state;
    struct joiner j = open_sponsor(1);
    struct address good = j.token.addresses.items[0];
    int mute[3];
    j.timeout_ms = GUARD_MS;
    j.token.addresses.count = 0;
    for (int i = 0; i < 3; i++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t size = sizeof at;
        mute[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(bind(mute[i], (struct sockaddr *)&at, sizeof at), 0);
        assert_int_equal(listen(mute[i], 8), 0);
        assert_int_equal(getsockname(mute[i], (struct sockaddr *)&at, &size), 0);
        struct address a = {.host = "127.0.0.1", .port = ntohs(at.sin_port)};
        assert_int_equal(address_list_add(&j.token.addresses, &a), CORE_ERR_OK);
    }
    assert_int_equal(address_list_add(&j.token.addresses, &good), CORE_ERR_OK);
    uint64_t begun_ms = mono_ms();
    join(&j);
    assert_int_equal(j.err, CORE_ERR_OK);
    assert_int_equal(j.reports, 1);
    assert_int_equal(j.result.address.port, good.port);
    assert_true(mono_ms() - begun_ms < GUARD_MS);  // not even one timeout
    // With mute ones alone: each is named, and the first one's answer is the answer.
    j.timeout_ms = 300;
    j.token.addresses.count = 3;
    join(&j);
    assert_int_equal(j.err, CORE_ERR_TIMED_OUT);
    assert_int_equal(j.reports, 3);
    assert_non_null(strstr(j.said[2], "handshake in time"));
    for (int i = 0; i < 3; i++) close(mute[i]);
}

// A listener that holds the sponsor's place but never answers.
static void a_sponsor_that_does_not_answer_times_out(void **state)
{
    (void)state;
    struct joiner j = open_sponsor(1);
    j.timeout_ms = 300;
    struct links *stopped = peers[0].links;
    peers[0].links = NULL;  // nobody reads
    join(&j);
    assert_int_equal(j.err, CORE_ERR_TIMED_OUT);
    assert_non_null(strstr(j.said[0], "did not answer"));
    peers[0].links = stopped;
}

// ADMIT is bound to the key that the connection proved and to its signature.
static void a_request_is_bound_to_its_key(void **state)
{
    (void)state;
    struct joiner j = open_sponsor(1);
    struct message m;
    struct admission_answer answer;
    uint8_t curve[32], other[32];
    struct core_key thief = key_of(203);
    assert_int_equal(identity_curve_public(&j.key.id, curve), CORE_ERR_OK);
    assert_int_equal(identity_curve_public(&thief.id, other), CORE_ERR_OK);
    admission_request(&j.token, &j.key, "newcomer", &m);
    admission_decide(&sponsor, &m, other, real_s(), &answer);
    assert_int_equal(answer.err, CORE_ERR_VERIFY_FAILED);
    m.admit.name.size--;
    admission_decide(&sponsor, &m, curve, real_s(), &answer);
    assert_int_equal(answer.err, CORE_ERR_BAD_SIGNATURE);
    m.admit.name.size++;
    // The proof is for this joiner: another key cannot use it, even under its own signature.
    struct message theirs;
    admission_request(&j.token, &thief, "newcomer", &theirs);
    theirs.admit.secret = m.admit.secret;
    admission_decide(&sponsor, &theirs, other, real_s(), &answer);
    assert_int_equal(answer.err, CORE_ERR_BAD_SIGNATURE);
    assert_int_equal(ledger.entries[0].used, 0);
    admission_decide(&sponsor, &m, curve, real_s(), &answer);
    assert_int_equal(answer.err, CORE_ERR_OK);
    assert_int_equal(answer.message.type, MESSAGE_ADMITTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_token_makes_a_member, setup, teardown),
        cmocka_unit_test_setup_teardown(a_used_token_is_refused_but_its_joiner_may_ask_again, setup, teardown),
        cmocka_unit_test_setup_teardown(the_sponsor_refuses_and_says_why, setup, teardown),
        cmocka_unit_test_setup_teardown(without_an_open_invitation_nobody_is_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(join_tries_every_address_and_reports_each, setup, teardown),
        cmocka_unit_test_setup_teardown(mute_addresses_do_not_hold_up_the_good_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sponsor_that_does_not_answer_times_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_is_bound_to_its_key, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
