// Keys in their other forms, charters, certificates, revocations, addresses.
#include "mesh/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zmq.h>

#include "tsan_start.h"

#include "mesh/address.h"
#include "mesh/certificate.h"
#include "mesh/charter.h"

static struct slice bytes_of(const void *data, size_t size)
{
    return (struct slice){data, size};
}

static struct core_key key_of(uint8_t n)
{
    uint8_t seed[CORE_SEED_SIZE];
    memset(seed, n, sizeof seed);
    return sign_key_from_seed(seed);
}

// ---- identity ----

// The two halves fit each other by libzmq's own count, and the public half follows from the id alone.
static void curve_keys_fit(void **state)
{
    (void)state;
    struct core_key key = key_of(7);
    struct identity_curve pair;
    uint8_t from_id[IDENTITY_CURVE_SIZE], derived[IDENTITY_CURVE_SIZE];
    assert_int_equal(identity_curve_pair(&key, &pair), CORE_ERR_OK);
    assert_int_equal(identity_curve_public(&key.id, from_id), CORE_ERR_OK);
    assert_memory_equal(pair.public_key, from_id, sizeof from_id);
    char secret[41], public[41];
    zmq_z85_encode(secret, pair.secret_key, sizeof pair.secret_key);
    assert_int_equal(zmq_curve_public(public, secret), 0);
    zmq_z85_decode(derived, public);
    assert_memory_equal(derived, from_id, sizeof derived);
    // Neither on the curve nor of large order.
    struct core_id bad = {{0}};
    assert_int_equal(identity_curve_public(&bad, from_id), CORE_ERR_MALFORMED);
    bad.bytes[0] = 1;  // the neutral element
    assert_int_equal(identity_curve_public(&bad, from_id), CORE_ERR_MALFORMED);
}

// RFC 8032, test 1: the key file holds the published seed and id.
static void key_file_round_trip(void **state)
{
    (void)state;
    static const char file[] = "mycel key v1\n"
                               "id d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\n"
                               "seed 9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\n";
    struct core_key key;
    assert_int_equal(identity_decode(file, sizeof file - 1, &key), CORE_ERR_OK);
    char text[IDENTITY_FILE_MAX];
    assert_int_equal(identity_encode(&key, text), sizeof file - 1);
    assert_string_equal(text, file);
    for (size_t size = 0; size < sizeof file - 2; size++)
        assert_int_equal(identity_decode(file, size, &key), CORE_ERR_MALFORMED);
    text[20] = text[20] == 'a' ? 'b' : 'a';
    assert_int_equal(identity_decode(text, sizeof file - 1, &key), CORE_ERR_VERIFY_FAILED);
    text[20] = 'g';
    assert_int_equal(identity_decode(text, sizeof file - 1, &key), CORE_ERR_MALFORMED);
}

static void key_file_must_be_private(void **state)
{
    (void)state;
    char folder[] = "/tmp/mycel-identity-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/key", folder);
    struct core_key key = key_of(9), loaded;
    struct stat st;
    assert_int_equal(identity_load(path, &loaded), CORE_ERR_NOT_FOUND);
    assert_int_equal(identity_save(path, &key), CORE_ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(identity_save(path, &key), CORE_ERR_EXISTS);
    assert_int_equal(identity_load(path, &loaded), CORE_ERR_OK);
    assert_memory_equal(&loaded, &key, sizeof key);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(identity_load(path, &loaded), CORE_ERR_REFUSED);
    unlink(path);
    rmdir(folder);
}

// ---- charter ----

static struct charter charter_of(const struct core_key *founder)
{
    struct charter c;
    assert_int_equal(
        charter_create(founder, "garden", FAULT_TRUSTED, 1700000000, (const uint8_t *)"0123456789abcdef", &c),
        CORE_ERR_OK);
    return c;
}

static void charter_round_trip(void **state)
{
    (void)state;
    struct core_key founder = key_of(1);
    struct charter c = charter_of(&founder), back;
    uint8_t raw[CHARTER_MAX];
    size_t size = charter_encode(&c, raw);
    assert_int_equal(charter_decode(bytes_of(raw, size), &back), CORE_ERR_OK);
    assert_memory_equal(&back, &c, sizeof c);
    assert_true(charter_is_founder(&back, &founder.id));
    struct core_hash id = hash_bytes(raw, size - CORE_SIG_SIZE);
    assert_true(hash_equal(&id, &back.id));
    // Cut anywhere, one byte more, any bit of it changed: never a charter.
    for (size_t cut = 0; cut < size; cut++)
        assert_int_not_equal(charter_decode(bytes_of(raw, cut), &back), CORE_ERR_OK);
    raw[size] = 0;
    assert_int_equal(charter_decode(bytes_of(raw, size + 1), &back), CORE_ERR_MALFORMED);
    for (size_t i = 0; i < size; i++) {
        raw[i] ^= 1;
        assert_int_not_equal(charter_decode(bytes_of(raw, size), &back), CORE_ERR_OK);
        raw[i] ^= 1;
    }
    raw[0] = 2;
    assert_int_equal(charter_decode(bytes_of(raw, size), &back), CORE_ERR_UNKNOWN_VERSION);
}

static void names_are_checked(void **state)
{
    (void)state;
    assert_true(charter_name_valid("p2"));
    assert_true(charter_name_valid("Alpha_1.local-x"));
    static const char *const bad[] = {
        "",         "-x",        ".x",
        "a b",      "a/b",       "a\n",
        "\xc3\xa9", "x\x1b[31m", "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(charter_name_valid(bad[i]));
    struct core_key founder = key_of(1);
    struct charter c;
    assert_int_equal(charter_create(&founder, "a b", FAULT_TRUSTED, 1, (const uint8_t *)"0123456789abcdef", &c),
                     CORE_ERR_USAGE);
}

// ---- certificates ----

static enum core_err issue(const struct charter *charter, const struct core_key *issuer, struct slice chain,
                           const struct core_id *key, uint32_t roles, uint8_t *out, size_t *size)
{
    struct certificate c = {
        .mesh = charter->id, .key = *key, .name = "p", .roles = roles, .issued_s = 10, .expires_s = 100};
    return certificate_issue(charter, issuer, chain, &c, out, size);
}

static void a_founder_signs_a_member(void **state)
{
    (void)state;
    struct core_key founder = key_of(1), member = key_of(2);
    struct charter charter = charter_of(&founder);
    uint8_t raw[CERTIFICATE_MAX];
    size_t size;
    struct certificate c;
    assert_int_equal(issue(&charter, &founder, bytes_of(NULL, 0), &member.id, ROLE_MEMBER, raw, &size), CORE_ERR_OK);
    assert_int_equal(certificate_verify(bytes_of(raw, size), &charter, NULL, 99, &c), CORE_ERR_OK);
    assert_true(id_equal(&c.key, &member.id) && id_equal(&c.issuer, &founder.id));
    assert_int_equal(certificate_verify(bytes_of(raw, size), &charter, NULL, 100, &c), CORE_ERR_EXPIRED);
    for (size_t i = 0; i < size; i++) {
        raw[i] ^= 4;
        assert_int_not_equal(certificate_verify(bytes_of(raw, size), &charter, NULL, 50, &c), CORE_ERR_OK);
        raw[i] ^= 4;
        assert_int_not_equal(certificate_verify(bytes_of(raw, i), &charter, NULL, 50, &c), CORE_ERR_OK);
    }
    struct charter other;
    assert_int_equal(charter_create(&founder, "garden", FAULT_TRUSTED, 1700000001, charter.nonce, &other), CORE_ERR_OK);
    assert_int_equal(certificate_verify(bytes_of(raw, size), &other, NULL, 50, &c), CORE_ERR_WRONG_MESH);
}

static void a_delegate_signs_members_and_no_more(void **state)
{
    (void)state;
    struct core_key founder = key_of(1), sponsor = key_of(2), member = key_of(3);
    struct charter charter = charter_of(&founder);
    uint8_t chain[CERTIFICATE_MAX], raw[CERTIFICATE_MAX], deeper[CERTIFICATE_MAX];
    size_t chain_size, size, deeper_size;
    struct certificate c;
    assert_int_equal(
        issue(&charter, &founder, bytes_of(NULL, 0), &sponsor.id, ROLE_MEMBER | ROLE_SPONSOR, chain, &chain_size),
        CORE_ERR_OK);
    struct slice own = {chain, chain_size};
    assert_int_equal(issue(&charter, &sponsor, own, &member.id, ROLE_MEMBER, raw, &size), CORE_ERR_OK);
    assert_int_equal(certificate_verify(bytes_of(raw, size), &charter, NULL, 50, &c), CORE_ERR_OK);
    // A delegate does not delegate, a plain member does not sign, nobody becomes a founder.
    assert_int_equal(issue(&charter, &sponsor, own, &member.id, ROLE_MEMBER | ROLE_SPONSOR, deeper, &deeper_size),
                     CORE_ERR_REFUSED);
    assert_int_equal(issue(&charter, &member, bytes_of(raw, size), &sponsor.id, ROLE_MEMBER, deeper, &deeper_size),
                     CORE_ERR_REFUSED);
    assert_int_equal(issue(&charter, &founder, own, &member.id, ROLE_MEMBER | ROLE_FOUNDER, deeper, &deeper_size),
                     CORE_ERR_REFUSED);
    // Nor does it help to write such bytes oneself: a member's certificate as the chain of another.
    struct charter fake = charter;
    fake.founders[0] = member.id;  // as if the member could sign anything
    assert_int_equal(issue(&fake, &member, bytes_of(NULL, 0), &sponsor.id, ROLE_MEMBER, deeper, &deeper_size),
                     CORE_ERR_OK);
    assert_int_equal(certificate_verify(bytes_of(deeper, deeper_size), &charter, NULL, 50, &c), CORE_ERR_REFUSED);
    // The sponsor's end is the end of what it signed.
    struct revocations revoked = {0};
    assert_int_equal(revocations_add(&revoked, &sponsor.id), CORE_ERR_OK);
    assert_int_equal(certificate_verify(bytes_of(raw, size), &charter, &revoked, 50, &c), CORE_ERR_REVOKED);
}

static void revocations_are_signed(void **state)
{
    (void)state;
    struct core_key founder = key_of(1), sponsor = key_of(2), member = key_of(3);
    struct charter charter = charter_of(&founder);
    uint8_t chain[CERTIFICATE_MAX], raw[REVOCATION_MAX], certificate[CERTIFICATE_MAX];
    size_t chain_size, size, certificate_size;
    struct revocation r;
    struct certificate c;
    assert_int_equal(
        issue(&charter, &founder, bytes_of(NULL, 0), &sponsor.id, ROLE_MEMBER | ROLE_SPONSOR, chain, &chain_size),
        CORE_ERR_OK);
    struct slice own = {chain, chain_size};
    assert_int_equal(revocation_issue(&charter, &sponsor, own, &member.id, 50, raw, &size), CORE_ERR_OK);
    assert_int_equal(revocation_verify(bytes_of(raw, size), &charter, NULL, 60, &r), CORE_ERR_OK);
    assert_true(id_equal(&r.key, &member.id));
    for (size_t i = 0; i < size; i++) {
        raw[i] ^= 1;
        assert_int_not_equal(revocation_verify(bytes_of(raw, size), &charter, NULL, 60, &r), CORE_ERR_OK);
        raw[i] ^= 1;
    }
    struct revocations revoked = {0};
    assert_int_equal(revocations_add(&revoked, &member.id), CORE_ERR_OK);
    assert_int_equal(revocations_add(&revoked, &member.id), CORE_ERR_EXISTS);
    assert_int_equal(
        issue(&charter, &founder, bytes_of(NULL, 0), &member.id, ROLE_MEMBER, certificate, &certificate_size),
        CORE_ERR_OK);
    assert_int_equal(certificate_verify(bytes_of(certificate, certificate_size), &charter, &revoked, 50, &c),
                     CORE_ERR_REVOKED);
    assert_int_equal(revocation_issue(&charter, &sponsor, own, &founder.id, 50, raw, &size), CORE_ERR_REFUSED);
    assert_int_equal(revocation_issue(&charter, &member, bytes_of(NULL, 0), &sponsor.id, 50, raw, &size),
                     CORE_ERR_REFUSED);
}

// ---- addresses ----

static void addresses_are_parsed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
        bool v6, ok;
    } cases[] = {
        {"10.0.0.1:80", "10.0.0.1", 80, false, true},
        {"host.example", "host.example", 6173, false, true},
        {"[::1]:7000", "::1", 7000, true, true},
        {"[2001:db8::1]", "2001:db8::1", 6173, true, true},
        {"*:0", "*", 0, false, true},
        {"", NULL, 0, false, false},
        {":80", NULL, 0, false, false},
        {"host:", NULL, 0, false, false},
        {"host:65536", NULL, 0, false, false},
        {"host:8x", NULL, 0, false, false},
        {"::1:80", NULL, 0, false, false},
        {"[::1", NULL, 0, false, false},
        {"[::1]80", NULL, 0, false, false},
        {"[host]:80", NULL, 0, false, false},
        {"ho st:80", NULL, 0, false, false},
        {"tcp://x:80", NULL, 0, false, false},
        {"a;b:80", NULL, 0, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address a;
        assert_int_equal(address_parse(cases[i].text, &a), cases[i].ok ? CORE_ERR_OK : CORE_ERR_MALFORMED);
        if (!cases[i].ok) continue;
        assert_string_equal(a.host, cases[i].host);
        assert_int_equal(a.port, cases[i].port);
        assert_int_equal(a.v6, cases[i].v6);
    }
}

static void address_lists_round_trip(void **state)
{
    (void)state;
    struct address_list list = {0}, back;
    struct address a;
    static const char *const texts[] = {"10.0.0.1:80", "[::1]:6173", "host:1", "10.0.0.1:80"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(address_parse(texts[i], &a), CORE_ERR_OK);
        assert_int_equal(address_list_add(&list, &a), CORE_ERR_OK);
    }
    assert_int_equal(list.count, 3);
    uint8_t raw[ADDRESS_LIST_BYTES];
    size_t size = address_list_encode(&list, raw);
    assert_int_equal(address_list_decode(bytes_of(raw, size), &back), CORE_ERR_OK);
    assert_int_equal(back.count, 3);
    for (uint32_t i = 0; i < 3; i++) assert_true(address_equal(&back.items[i], &list.items[i]));
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(address_list_decode(bytes_of(raw, cut), &back), CORE_ERR_MALFORMED);
    static const uint8_t nobody[] = {1, 9, '0', '.', '0', '.', '0', '.', '0', ':', '1'};
    assert_int_equal(address_list_decode(bytes_of(nobody, sizeof nobody), &back), CORE_ERR_MALFORMED);
    list.count = 0;
    assert_int_equal(address_list_local(&list, 6173), CORE_ERR_OK);
    assert_true(list.count >= 1);
    for (uint32_t i = 0; i < list.count; i++)
        assert_int_equal(address_is_loopback(&list.items[i]), i + 1 == list.count);
}

static int start(void **state)
{
    (void)state;
    return sign_start() != CORE_ERR_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(curve_keys_fit),
        cmocka_unit_test(key_file_round_trip),
        cmocka_unit_test(key_file_must_be_private),
        cmocka_unit_test(charter_round_trip),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(a_founder_signs_a_member),
        cmocka_unit_test(a_delegate_signs_members_and_no_more),
        cmocka_unit_test(revocations_are_signed),
        cmocka_unit_test(addresses_are_parsed),
        cmocka_unit_test(address_lists_round_trip),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
