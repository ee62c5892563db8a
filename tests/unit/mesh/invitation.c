// Tokens that are whole, cut, mistyped, foreign or late, and the sponsor's ledger of them.
#include "mesh/invitation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/certificate.h"

static struct invitation example(void)
{
    struct invitation in = {.expires_s = 1000, .uses = 3};
    memset(in.mesh.bytes, 0x11, sizeof in.mesh.bytes);
    memset(in.sponsor.bytes, 0x22, sizeof in.sponsor.bytes);
    memset(in.secret, 0x33, sizeof in.secret);
    struct address a;
    assert_int_equal(address_parse("10.0.0.1:6173", &a), CORE_ERR_OK);
    assert_int_equal(address_list_add(&in.addresses, &a), CORE_ERR_OK);
    return in;
}

static void tokens_round_trip(void **state)
{
    (void)state;
    char text[INVITATION_TEXT_MAX], padded[INVITATION_TEXT_MAX + 8], why[INVITATION_WHY_MAX];
    struct invitation in = example(), back;
    for (uint32_t i = 0; i < ADDRESS_LIST_MAX; i++) {
        assert_int_equal(invitation_encode(&in, text), strlen(text));
        assert_int_equal(invitation_decode(text, &back, why), CORE_ERR_OK);
        assert_memory_equal(back.secret, in.secret, sizeof in.secret);
        assert_true(hash_equal(&back.mesh, &in.mesh) && id_equal(&back.sponsor, &in.sponsor));
        assert_true(back.expires_s == 1000 && back.uses == 3);
        assert_int_equal(back.addresses.count, in.addresses.count);
        assert_true(address_equal(&back.addresses.items[0], &in.addresses.items[0]));
        struct address more = {.host = "a-host-with-quite-a-long-name.example.org", .port = (uint16_t)(i + 1)};
        if (in.addresses.count < ADDRESS_LIST_MAX)
            assert_int_equal(address_list_add(&in.addresses, &more), CORE_ERR_OK);
    }
    snprintf(padded, sizeof padded, " \n%s\r\n", text);
    assert_int_equal(invitation_decode(padded, &back, why), CORE_ERR_OK);
}

static void a_cut_token_says_so(void **state)
{
    (void)state;
    char text[INVITATION_TEXT_MAX], why[INVITATION_WHY_MAX];
    struct invitation in = example(), back;
    size_t length = invitation_encode(&in, text);
    for (size_t cut = 0; cut < length; cut++) {
        char part[INVITATION_TEXT_MAX] = "";
        memcpy(part, text, cut);
        assert_int_equal(invitation_decode(part, &back, why), CORE_ERR_TRUNCATED);
        assert_true(strlen(why) > 0);
    }
}

static void a_mistyped_token_says_so(void **state)
{
    (void)state;
    char text[INVITATION_TEXT_MAX], why[INVITATION_WHY_MAX];
    struct invitation in = example(), back;
    size_t length = invitation_encode(&in, text);
    for (size_t i = 6; i < length; i++) {
        char was = text[i];
        text[i] = was == 'a' ? 'b' : 'a';
        assert_int_not_equal(invitation_decode(text, &back, why), CORE_ERR_OK);
        text[i] = '1';  // no letter of base32
        assert_int_equal(invitation_decode(text, &back, why), CORE_ERR_MALFORMED);
        assert_non_null(strstr(why, "wrong character"));
        text[i] = was;
    }
    text[length] = 'a';
    text[length + 1] = '\0';
    assert_int_equal(invitation_decode(text, &back, why), CORE_ERR_MALFORMED);
    text[length] = '\0';
    text[5] = '2';
    assert_int_equal(invitation_decode(text, &back, why), CORE_ERR_UNKNOWN_VERSION);
    assert_int_equal(invitation_decode("hello", &back, why), CORE_ERR_MALFORMED);
    char *endless = malloc(100001);
    assert_non_null(endless);
    memset(endless, 'a', 100000);
    memcpy(endless, "mycel1", 6);
    endless[100000] = '\0';
    assert_int_equal(invitation_decode(endless, &back, why), CORE_ERR_MALFORMED);
    free(endless);
}

static void a_late_or_foreign_token_says_so(void **state)
{
    (void)state;
    char why[INVITATION_WHY_MAX];
    struct invitation in = example();
    struct core_hash other = in.mesh;
    other.bytes[31] ^= 1;
    assert_int_equal(invitation_check(&in, 999, &in.mesh, why), CORE_ERR_OK);
    assert_int_equal(invitation_check(&in, 999, NULL, why), CORE_ERR_OK);
    assert_int_equal(invitation_check(&in, 1000, NULL, why), CORE_ERR_EXPIRED);
    assert_non_null(strstr(why, "expired"));
    assert_int_equal(invitation_check(&in, 999, &other, why), CORE_ERR_WRONG_MESH);
    assert_non_null(strstr(why, "11111111"));
}

// ---- the ledger ----

static void uses_are_counted(void **state)
{
    (void)state;
    static struct invitations ledger;
    uint8_t secret[INVITATION_SECRET_SIZE] = {1};
    struct core_id joiners[3] = {{{1}}, {{2}}, {{3}}};
    memset(&ledger, 0, sizeof ledger);
    assert_false(invitations_open(&ledger, 10));
    assert_int_equal(invitations_add(&ledger, secret, 10, 90, 2, ROLE_MEMBER), CORE_ERR_OK);
    assert_int_equal(invitations_add(&ledger, secret, 10, 90, 0, ROLE_MEMBER), CORE_ERR_USAGE);
    assert_int_equal(invitations_add(&ledger, secret, 10, 90, INVITATION_USES_MAX + 1, ROLE_MEMBER), CORE_ERR_USAGE);
    struct core_hash id = invitation_id(secret), unknown = {{9}};
    assert_true(invitations_open(&ledger, 99));
    assert_false(invitations_open(&ledger, 100));
    assert_int_equal(invitations_use(&ledger, &unknown, &joiners[0], 50), CORE_ERR_NOT_FOUND);
    assert_int_equal(invitations_use(&ledger, &id, &joiners[0], 100), CORE_ERR_EXPIRED);
    assert_int_equal(invitations_use(&ledger, &id, &joiners[0], 50), CORE_ERR_OK);
    assert_int_equal(invitations_use(&ledger, &id, &joiners[0], 50), CORE_ERR_OK);
    assert_int_equal(invitations_use(&ledger, &id, &joiners[1], 50), CORE_ERR_OK);
    assert_int_equal(invitations_use(&ledger, &id, &joiners[2], 50), CORE_ERR_USED_UP);
    assert_int_equal(invitations_use(&ledger, &id, &joiners[1], 50), CORE_ERR_OK);
    assert_false(invitations_open(&ledger, 50));
    invitations_find(&ledger, &id)->revoked = true;
    assert_int_equal(invitations_use(&ledger, &id, &joiners[1], 50), CORE_ERR_REVOKED);
}

static void a_full_ledger_makes_room_where_it_can(void **state)
{
    (void)state;
    static struct invitations ledger, back;
    static uint8_t raw[INVITATIONS_BYTES];
    memset(&ledger, 0, sizeof ledger);
    uint8_t secret[INVITATION_SECRET_SIZE] = {0};
    for (uint8_t i = 0; i < INVITATIONS_MAX; i++) {
        secret[0] = i;
        assert_int_equal(invitations_add(&ledger, secret, 0, i == 20 ? 5 : 100, INVITATION_USES_MAX, ROLE_MEMBER),
                         CORE_ERR_OK);
    }
    secret[0] = 200;
    assert_int_equal(invitations_add(&ledger, secret, 4, 100, 1, ROLE_MEMBER), CORE_ERR_LIMIT);
    assert_int_equal(invitations_add(&ledger, secret, 6, 100, 1, ROLE_MEMBER),
                     CORE_ERR_OK);  // in place of the ended one
    assert_int_equal(ledger.count, INVITATIONS_MAX);
    secret[0] = 20;
    struct core_hash gone = invitation_id(secret);
    assert_null(invitations_find(&ledger, &gone));
    secret[0] = 21;
    struct core_hash kept = invitation_id(secret);
    for (uint8_t i = 1; i <= INVITATION_USES_MAX; i++) {
        struct core_id joiner = {{i}};
        assert_int_equal(invitations_use(&ledger, &kept, &joiner, 10), CORE_ERR_OK);
    }
    size_t size = invitations_encode(&ledger, raw);
    assert_int_equal(invitations_decode((struct slice){raw, size}, &back), CORE_ERR_OK);
    assert_memory_equal(&back, &ledger, sizeof ledger);
    for (size_t cut = 0; cut < size; cut += 7)
        assert_int_not_equal(invitations_decode((struct slice){raw, cut}, &back), CORE_ERR_OK);
    raw[0] = 9;
    assert_int_equal(invitations_decode((struct slice){raw, size}, &back), CORE_ERR_UNKNOWN_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_round_trip),        cmocka_unit_test(a_cut_token_says_so),
        cmocka_unit_test(a_mistyped_token_says_so), cmocka_unit_test(a_late_or_foreign_token_says_so),
        cmocka_unit_test(uses_are_counted),         cmocka_unit_test(a_full_ledger_makes_room_where_it_can),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
