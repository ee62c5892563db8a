// UPnP's texts: a router's, as UDA 1.0 and WANIPConnection:1 show them; answers that point elsewhere, errors, garbage.
#include "mesh/upnp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t own[4] = {192, 168, 1, 20}, gateway[4] = {192, 168, 1, 1};

#define SERVICE "urn:schemas-upnp-org:service:WANIPConnection:1"
#define DESCRIPTION(control)                                                                                         \
    "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n<?xml version=\"1.0\"?><root><device><serviceList><service>"   \
    "<serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType><controlURL>/wrong</controlURL>"      \
    "</service></serviceList><deviceList><device><serviceList><service>\r\n <serviceType>" SERVICE                   \
    "</serviceType>\r\n"                                                                                             \
    " <SCPDURL>/x.xml</SCPDURL><controlURL> " control " </controlURL></service></serviceList></device></deviceList>" \
    "</device></root>"

static struct slice text(const char *s)
{
    return (struct slice){(const uint8_t *)s, strlen(s)};
}

static enum core_err found(struct upnp *u, const char *location)
{
    char answer[1024];
    snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nST: x\r\nLocation: %s\r\nUSN: y\r\n\r\n", location);
    return upnp_found(u, text(answer));
}

static struct upnp at_description(void)
{
    struct upnp u;
    upnp_start(&u, 6173, own, gateway);
    assert_int_equal(found(&u, "http://192.168.1.1:5000/rootDesc.xml"), CORE_ERR_OK);
    assert_int_equal(u.step, UPNP_DESCRIBE);
    return u;
}

static struct upnp at_map(void)
{
    struct upnp u = at_description();
    upnp_answer(&u, text(DESCRIPTION("/ctl/IPConn")));
    assert_int_equal(u.step, UPNP_ADDRESS);
    upnp_answer(&u, text("HTTP/1.1 200 OK\r\n\r\n<s:Envelope><s:Body><u:GetExternalIPAddressResponse>"
                         "<NewExternalIPAddress>203.0.113.7</NewExternalIPAddress></u:GetExternalIPAddressResponse>"));
    assert_int_equal(u.step, UPNP_MAP);
    return u;
}

static void a_router_gives_a_port(void **state)
{
    (void)state;
    char out[UPNP_REQUEST_MAX];
    assert_int_equal(upnp_search(out), strlen(out));
    assert_memory_equal(out, "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n", 48);
    struct upnp u = at_description();
    assert_int_equal(upnp_request(&u, out), strlen(out));
    assert_string_equal(out, "GET /rootDesc.xml HTTP/1.0\r\nHost: 192.168.1.1:5000\r\nConnection: close\r\n\r\n");
    u = at_map();
    assert_int_equal(upnp_request(&u, out), strlen(out));
    assert_memory_equal(out, "POST /ctl/IPConn HTTP/1.0\r\n", 27);
    assert_non_null(strstr(out, "SOAPAction: \"" SERVICE "#AddPortMapping\"\r\n"));
    assert_non_null(strstr(out, "<NewExternalPort>6173</NewExternalPort><NewProtocol>TCP</NewProtocol>"
                                "<NewInternalPort>6173</NewInternalPort>"
                                "<NewInternalClient>192.168.1.20</NewInternalClient>"));
    unsigned long length;
    const char *body = strstr(out, "\r\n\r\n");
    assert_int_equal(sscanf(strstr(out, "Content-Length: "), "Content-Length: %lu", &length), 1);
    assert_int_equal(strlen(body + 4), length);
    upnp_answer(&u, text("HTTP/1.1 200 OK\r\n\r\n<u:AddPortMappingResponse/>"));
    assert_int_equal(u.step, UPNP_DONE);
    assert_true(u.external_port == 6173 && u.external[0] == 203 && u.external[3] == 7);
    assert_int_equal(upnp_release(&u, out), strlen(out));
    assert_non_null(strstr(out, "#DeletePortMapping\""));
}

// A description elsewhere would make us ask others; a path with a line's end would write our headers.
static void nobody_but_the_gateway_is_asked(void **state)
{
    (void)state;
    static const char *const bad[] = {"http://192.168.1.2:5000/x",
                                      "http://192.168.1.10/x",
                                      "https://192.168.1.1/x",
                                      "http://192.168.1.1:0/x",
                                      "http://192.168.1.1:65536/x",
                                      "http://192.168.1.1:/x",
                                      "http://192.168.1.1@evil/x",
                                      "http://192.168.1.1.evil/x",
                                      "http://192.168.1.1:80evil/x",
                                      "http://192.168.1.1:5000/a<b",
                                      "/x",
                                      "",
                                      "http://"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct upnp u;
        upnp_start(&u, 6173, own, gateway);
        if (found(&u, bad[i]) != CORE_ERR_MALFORMED) fail_msg("%s is taken", bad[i]);
        assert_int_equal(u.step, UPNP_SEARCH);
    }
    static const char *const controls[] = {DESCRIPTION("http://10.0.0.1:5000/ctl"),
                                           DESCRIPTION("http://192.168.1.1:22/ctl"), DESCRIPTION("/a\r\nX: y"),
                                           DESCRIPTION("/a b"), DESCRIPTION("")};
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
        struct upnp u = at_description();
        upnp_answer(&u, text(controls[i]));
        assert_int_equal(u.step, UPNP_FAILED);
    }
    struct upnp u = at_description();
    upnp_answer(&u, text(DESCRIPTION("http://192.168.1.1:5000/ctl")));
    assert_string_equal(u.control, "/ctl");
}

static void conflicts_and_leases(void **state)
{
    (void)state;
    struct upnp u = at_map();
    upnp_answer(&u, text("HTTP/1.1 500 x\r\n\r\n<errorCode>718</errorCode>"));
    assert_true(u.step == UPNP_MAP && u.external_port != 6173 && u.external_port >= 20000);
    upnp_answer(&u, text("HTTP/1.1 500 x\r\n\r\n<errorCode>725</errorCode>"));
    assert_true(u.step == UPNP_MAP && u.lease_s == 0);
    for (int i = 0; i < 2; i++) upnp_answer(&u, text("HTTP/1.1 500 x\r\n\r\n<errorCode>718</errorCode>"));
    assert_int_equal(u.step, UPNP_FAILED);
    u = at_map();
    upnp_answer(&u, text("HTTP/1.1 500 x\r\n\r\n<errorCode>606</errorCode>"));
    assert_string_equal(u.why, "the gateway refuses (upnp 606)");
}

static void garbage_fails(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "HTTP",
                                      "HTTP/1.1 200 OK",
                                      "HTTP/1.1 200 OK\r\n\r\n",
                                      "HTTP/1.1 404 no\r\n\r\n",
                                      "HTTP/1.1 -5 x\r\n\r\n",
                                      "\r\n\r\n",
                                      "SSH-2.0-x\r\n\r\n",
                                      "HTTP/1.1 200 OK\r\n\r\n<service><serviceType>" SERVICE "</serviceType>",
                                      "HTTP/1.1 200 OK\r\n\r\n<service><controlURL>/a</service></controlURL>"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct upnp u = at_description();
        upnp_answer(&u, text(bad[i]));
        assert_int_equal(u.step, UPNP_FAILED);
        assert_true(u.why[0] != '\0');
    }
    struct upnp u = at_description();
    upnp_answer(&u, text(DESCRIPTION("/c")));
    upnp_answer(&u, text("HTTP/1.1 200 OK\r\n\r\n<NewExternalIPAddress>1.2.3.4.5</NewExternalIPAddress>"));
    assert_int_equal(u.step, UPNP_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_router_gives_a_port),
        cmocka_unit_test(nobody_but_the_gateway_is_asked),
        cmocka_unit_test(conflicts_and_leases),
        cmocka_unit_test(garbage_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
