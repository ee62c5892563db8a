// PCP and NAT-PMP against a gateway played here: bytes as RFC 6887 (7, 11) and RFC 6886 (3) lay them out, tries, what
// is refused, renewal, release, and garbage.
#include "mesh/portmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t own[4] = {192, 168, 1, 20};
static const uint8_t nonce[PORTMAP_NONCE_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

// 6173 is 0x181d, 7200 s 0x1c20.
static const uint8_t pcp_request[60] = {2, 1, 0, 0,    0,    0,   0x1c, 0x20, 0,  0,    0,    0,    0,    0,    0,
                                        0, 0, 0, 0xff, 0xff, 192, 168,  1,    20, 1,    2,    3,    4,    5,    6,
                                        7, 8, 9, 10,   11,   12,  6,    0,    0,  0,    0x18, 0x1d, 0x18, 0x1d, 0,
                                        0, 0, 0, 0,    0,    0,   0,    0,    0,  0xff, 0xff, 0,    0,    0,    0};
// 203.0.113.7, port 40000 (0x9c40), for 3600 s (0x0e10).
static const uint8_t pcp_answer[60] = {2, 0x81, 0, 0,  0,  0,  0x0e, 0x10, 0, 0,    0,    9,    0,    0,    0,
                                       0, 0,    0, 0,  0,  0,  0,    0,    0, 1,    2,    3,    4,    5,    6,
                                       7, 8,    9, 10, 11, 12, 6,    0,    0, 0,    0x18, 0x1d, 0x9c, 0x40, 0,
                                       0, 0,    0, 0,  0,  0,  0,    0,    0, 0xff, 0xff, 203,  0,    113,  7};
static const uint8_t natpmp_unsupported[8] = {0, 0x81, 0, 1, 0, 0, 0, 9};
static const uint8_t natpmp_address[12] = {0, 0x80, 0, 0, 0, 0, 0, 9, 203, 0, 113, 7};
static const uint8_t natpmp_map[16] = {0, 0x82, 0, 0, 0, 0, 0, 9, 0x18, 0x1d, 0x9c, 0x40, 0, 0, 0x0e, 0x10};

static struct portmap started(void)
{
    struct portmap p;
    portmap_start(&p, 6173, own, nonce, 1000);
    assert_int_equal(portmap_next_ms(&p), 1000);
    return p;
}

static void asks(struct portmap *p, uint64_t now_ms, const uint8_t *wanted, size_t size)
{
    uint8_t out[PORTMAP_REQUEST_MAX];
    assert_int_equal(portmap_tick(p, now_ms, out), size);
    assert_memory_equal(out, wanted, size);
    assert_int_equal(portmap_tick(p, now_ms, out), 0);  // once
}

static enum core_err says(struct portmap *p, uint64_t now_ms, const uint8_t *bytes, size_t size)
{
    return portmap_receive(p, (struct slice){bytes, size}, now_ms);
}

static struct portmap mapped_by_pcp(void)
{
    struct portmap p = started();
    asks(&p, 1000, pcp_request, sizeof pcp_request);
    assert_int_equal(says(&p, 1100, pcp_answer, sizeof pcp_answer), CORE_ERR_OK);
    return p;
}

static void pcp_gives_a_port(void **state)
{
    (void)state;
    struct portmap p = mapped_by_pcp();
    assert_int_equal(p.state, PORTMAP_MAPPED);
    assert_true(portmap_reachable(&p) && p.external_port == 40000 && p.lifetime_s == 3600);
    static const uint8_t outer[4] = {203, 0, 113, 7};
    assert_memory_equal(p.external, outer, 4);
    // Asked for again after 10 minutes, the same port suggested; and given back for a lifetime of 0.
    assert_int_equal(portmap_next_ms(&p), 1100 + 600000);
    uint8_t again[60];
    memcpy(again, pcp_request, sizeof again);
    again[42] = 0x9c, again[43] = 0x40;
    memcpy(again + 56, outer, 4);
    asks(&p, 601100, again, sizeof again);
    assert_int_equal(p.state, PORTMAP_MAPPED);
    memset(again + 4, 0, 4);
    uint8_t out[PORTMAP_REQUEST_MAX];
    assert_int_equal(portmap_release(&p, out), sizeof again);
    assert_memory_equal(out, again, sizeof again);
    assert_int_equal(p.state, PORTMAP_OFF);
    assert_int_equal(portmap_release(&p, out), 0);
    assert_true(portmap_next_ms(&p) == UINT64_MAX && portmap_tick(&p, 1u << 30, out) == 0);
}

static void a_gateway_of_natpmp_alone(void **state)
{
    (void)state;
    static const uint8_t address[2] = {0, 0};
    static const uint8_t map[12] = {0, 2, 0, 0, 0x18, 0x1d, 0x18, 0x1d, 0, 0, 0x1c, 0x20};
    static const uint8_t map_again[12] = {0, 2, 0, 0, 0x18, 0x1d, 0x9c, 0x40, 0, 0, 0x1c, 0x20};
    static const uint8_t give_back[12] = {0, 2, 0, 0, 0x18, 0x1d, 0, 0, 0, 0, 0, 0};
    struct portmap p = started();
    asks(&p, 1000, pcp_request, sizeof pcp_request);
    assert_int_equal(says(&p, 1100, natpmp_unsupported, sizeof natpmp_unsupported), CORE_ERR_OK);
    asks(&p, 1100, address, sizeof address);
    assert_int_equal(says(&p, 1100, natpmp_map, sizeof natpmp_map), CORE_ERR_MALFORMED);  // not asked for yet
    assert_int_equal(says(&p, 1200, natpmp_address, sizeof natpmp_address), CORE_ERR_OK);
    assert_int_equal(p.state, PORTMAP_ASKING);
    asks(&p, 1200, map, sizeof map);
    assert_int_equal(says(&p, 1300, natpmp_map, sizeof natpmp_map), CORE_ERR_OK);
    assert_true(p.state == PORTMAP_MAPPED && portmap_reachable(&p) && p.external_port == 40000);
    assert_string_equal(portmap_way_name(p.way), "nat-pmp");
    asks(&p, 601300, address, sizeof address);
    assert_int_equal(says(&p, 601300, natpmp_address, sizeof natpmp_address), CORE_ERR_OK);
    asks(&p, 601300, map_again, sizeof map_again);
    uint8_t out[PORTMAP_REQUEST_MAX];
    assert_int_equal(portmap_release(&p, out), sizeof give_back);
    assert_memory_equal(out, give_back, sizeof give_back);
    assert_int_equal(p.refused, 1);
}

// Four tries of PCP after 0, 250, 750 and 1750 ms, the same of NAT-PMP, then nothing for 5 minutes.
static void a_silent_gateway_is_given_up(void **state)
{
    (void)state;
    struct portmap p = started();
    uint8_t out[PORTMAP_REQUEST_MAX];
    static const uint64_t at_ms[] = {0, 250, 750, 1750, 3750, 4000, 4500, 5500};
    for (size_t i = 0; i < sizeof at_ms / sizeof *at_ms; i++) {
        assert_int_equal(portmap_next_ms(&p), 1000 + at_ms[i]);
        assert_int_equal(portmap_tick(&p, 1000 + at_ms[i], out), i < 4 ? 60 : 2);
        assert_int_equal(p.state, PORTMAP_ASKING);
    }
    assert_false(portmap_wants_upnp(&p));
    assert_int_equal(portmap_tick(&p, 1000 + 7500, out), 0);
    assert_true(p.state == PORTMAP_ASKING && portmap_wants_upnp(&p));
    assert_int_equal(portmap_next_ms(&p), 8500 + PORTMAP_UPNP_MS);
    assert_int_equal(says(&p, 8600, natpmp_map, sizeof natpmp_map), CORE_ERR_MALFORMED);  // late
    uint64_t over_ms = 8500 + PORTMAP_UPNP_MS;
    assert_int_equal(portmap_tick(&p, over_ms, out), 0);
    assert_int_equal(p.state, PORTMAP_FAILED);
    assert_non_null(strstr(p.why, "no answer"));
    assert_int_equal(portmap_next_ms(&p), over_ms + PORTMAP_AGAIN_MS);
    asks(&p, over_ms + PORTMAP_AGAIN_MS, pcp_request, sizeof pcp_request);
    assert_int_equal(p.state, PORTMAP_ASKING);
}

static void upnp_is_the_last_resort(void **state)
{
    (void)state;
    static const uint8_t outer[4] = {203, 0, 113, 7};
    struct portmap p = started();
    uint8_t out[PORTMAP_REQUEST_MAX];
    portmap_given(&p, outer, 1, 1, 1000);  // not asked for
    assert_int_equal(p.state, PORTMAP_ASKING);
    for (int i = 0; i < 2; i++) {
        assert_true(portmap_tick(&p, 1000, out) > 0);
        portmap_unreachable(&p, 1000);
    }
    assert_int_equal(portmap_tick(&p, 1000, out), 0);
    assert_true(portmap_wants_upnp(&p));
    portmap_given(&p, outer, 6173, 3600, 2000);
    assert_true(p.state == PORTMAP_MAPPED && portmap_reachable(&p) && !portmap_wants_upnp(&p));
    assert_string_equal(portmap_way_name(p.way), "upnp");
    // Renewed by the same way; without luck it stays until it expires.
    assert_int_equal(portmap_tick(&p, 2000 + PORTMAP_RENEW_MS, out), 0);
    assert_true(portmap_wants_upnp(&p));
    portmap_not_given(&p, "no", 2000 + PORTMAP_RENEW_MS);
    assert_int_equal(p.state, PORTMAP_MAPPED);
    assert_int_equal(portmap_tick(&p, 2000 + 3600000, out), 0);
    portmap_not_given(&p, "the gateway refuses (upnp 606)", 2000 + 3600000);
    assert_int_equal(p.state, PORTMAP_FAILED);
    assert_string_equal(p.why, "the gateway refuses (upnp 606)");
}

static void nobody_listens_there(void **state)
{
    (void)state;
    struct portmap p = started();
    uint8_t out[PORTMAP_REQUEST_MAX];
    assert_int_equal(portmap_tick(&p, 1000, out), 60);
    portmap_unreachable(&p, 1001);
    assert_int_equal(portmap_tick(&p, 1001, out), 2);
    portmap_unreachable(&p, 1002);
    assert_int_equal(portmap_tick(&p, 1002, out), 0);
    portmap_unreachable(&p, 1003);  // late, of nothing asked
    assert_true(portmap_wants_upnp(&p));
    portmap_not_given(&p, "", 1004);
    assert_int_equal(p.state, PORTMAP_FAILED);
    assert_non_null(strstr(p.why, "nothing listens"));
    assert_int_equal(portmap_next_ms(&p), 1004 + PORTMAP_AGAIN_MS);
}

static void a_refusal_says_why(void **state)
{
    (void)state;
    struct portmap p = started();
    uint8_t no[60];
    asks(&p, 1000, pcp_request, sizeof pcp_request);
    memcpy(no, pcp_answer, sizeof no);
    no[3] = 2;  // NOT_AUTHORIZED
    assert_int_equal(says(&p, 1100, no, sizeof no), CORE_ERR_OK);
    static const uint8_t address[2] = {0, 0}, refused[12] = {0, 0x80, 0, 2};
    asks(&p, 1100, address, sizeof address);
    assert_int_equal(says(&p, 1200, refused, sizeof refused), CORE_ERR_OK);
    uint8_t out[PORTMAP_REQUEST_MAX];
    assert_int_equal(portmap_tick(&p, 1200, out), 0);
    portmap_not_given(&p, "", 1300);
    assert_int_equal(p.state, PORTMAP_FAILED);
    assert_string_equal(p.why, "the gateway refuses (nat-pmp 2): not allowed there");
}

static void a_private_outer_address_is_not_reachable(void **state)
{
    (void)state;
    static const uint8_t outer[][4] = {{10, 0, 0, 1},   {172, 16, 0, 1},  {172, 31, 9, 9},  {192, 168, 0, 1},
                                       {100, 64, 0, 1}, {100, 127, 1, 1}, {169, 254, 1, 1}, {127, 0, 0, 1},
                                       {0, 0, 0, 0},    {224, 0, 0, 1}};
    struct portmap p = mapped_by_pcp();
    for (size_t i = 0; i < sizeof outer / sizeof *outer; i++) {
        memcpy(p.external, outer[i], 4);
        assert_false(portmap_reachable(&p));
    }
    static const uint8_t public[][4] = {
        {172, 32, 0, 1}, {100, 63, 0, 1}, {100, 128, 0, 1}, {8, 8, 8, 8}, {11, 0, 0, 1}};
    for (size_t i = 0; i < sizeof public / sizeof *public; i++) {
        memcpy(p.external, public[i], 4);
        assert_true(portmap_reachable(&p));
    }
}

// A mapping stays through a gateway's silence until it expires.
static void silence_at_renewal(void **state)
{
    (void)state;
    struct portmap p = mapped_by_pcp();
    uint8_t out[PORTMAP_REQUEST_MAX];
    uint64_t now_ms = 1100;
    while (p.state == PORTMAP_MAPPED && now_ms < 10000000) {
        now_ms = portmap_next_ms(&p);
        portmap_tick(&p, now_ms, out);
        assert_true(p.state == PORTMAP_MAPPED || now_ms >= 1100 + 3600000);
    }
    assert_int_equal(p.state, PORTMAP_FAILED);
    assert_in_range(now_ms, 1100 + 3600000, 1100 + 3600000 + 40000);
}

static void garbage_changes_nothing(void **state)
{
    (void)state;
    struct portmap p = started();
    asks(&p, 1000, pcp_request, sizeof pcp_request);
    uint8_t bad[1200];
    uint64_t refused = 0;
    static const uint8_t places[] = {0, 1, 24, 35, 36, 40, 41};  // version, opcode, nonce, protocol, our port
    for (size_t i = 0; i < sizeof places; i++) {
        memcpy(bad, pcp_answer, 60);
        bad[places[i]] ^= 0x40;
        assert_int_equal(says(&p, 1001, bad, 60), CORE_ERR_MALFORMED);
        refused++;
    }
    memcpy(bad, pcp_answer, 60);
    for (size_t size = 0; size < 60; size++, refused++) assert_int_equal(says(&p, 1001, bad, size), CORE_ERR_MALFORMED);
    memset(bad + 60, 0, sizeof bad - 60);
    assert_int_equal(says(&p, 1001, bad, 1104), CORE_ERR_MALFORMED);
    memset(bad + 42, 0, 2);  // port 0
    assert_int_equal(says(&p, 1001, bad, 60), CORE_ERR_MALFORMED);
    memcpy(bad, pcp_answer, 60);
    memset(bad + 4, 0, 4);  // for no time
    assert_int_equal(says(&p, 1001, bad, 60), CORE_ERR_MALFORMED);
    memcpy(bad, pcp_answer, 60);
    bad[44] = 0x20;  // an outer address of IPv6
    assert_int_equal(says(&p, 1001, bad, 60), CORE_ERR_MALFORMED);
    assert_int_equal(p.refused, refused + 4);
    assert_int_equal(p.state, PORTMAP_ASKING);
    assert_int_equal(says(&p, 1001, pcp_answer, 60), CORE_ERR_OK);
    assert_int_equal(says(&p, 1001, pcp_answer, 60), CORE_ERR_MALFORMED);  // nothing is asked any more
    // A lifetime of a second doesn't make us ask each half second; one of centuries is no reason to trust.
    p = mapped_by_pcp();
    memcpy(bad, pcp_answer, 60);
    memset(bad + 4, 0, 3);
    bad[7] = 1;
    portmap_tick(&p, 601100, bad + 100);
    assert_int_equal(says(&p, 601100, bad, 60), CORE_ERR_OK);
    assert_int_equal(portmap_next_ms(&p), 601100 + 30000);
    memset(bad + 4, 0xff, 4);
    portmap_tick(&p, 631100, bad + 100);
    assert_int_equal(says(&p, 631100, bad, 60), CORE_ERR_OK);
    assert_int_equal(p.lifetime_s, 86400);
}

static void the_default_route_names_the_gateway(void **state)
{
    (void)state;
    // As the kernel prints it on a little-endian machine, which is what runs this test.
    static const char routes[] = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
                                 "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
                                 "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
                                 "eth0\t00000000\t0200000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
                                 "tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0\n";
    uint8_t gateway[4];
    char device[16];
    assert_true(portmap_gateway(routes, gateway, device));
    static const uint8_t wanted[4] = {10, 0, 0, 2};
    assert_memory_equal(gateway, wanted, 4);
    assert_string_equal(device, "eth0");
    assert_false(portmap_gateway("", gateway, device));
    assert_false(portmap_gateway("Iface\n", gateway, device));
    assert_false(portmap_gateway("Iface\nrubbish\n\n\n", gateway, device));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pcp_gives_a_port),
        cmocka_unit_test(a_gateway_of_natpmp_alone),
        cmocka_unit_test(a_silent_gateway_is_given_up),
        cmocka_unit_test(upnp_is_the_last_resort),
        cmocka_unit_test(nobody_listens_there),
        cmocka_unit_test(a_refusal_says_why),
        cmocka_unit_test(a_private_outer_address_is_not_reachable),
        cmocka_unit_test(silence_at_renewal),
        cmocka_unit_test(garbage_changes_nothing),
        cmocka_unit_test(the_default_route_names_the_gateway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
