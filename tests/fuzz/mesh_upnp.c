// A router that answers anything: four texts, each with a u16 size before it, to the search, the description, the
// address and the mapping. Requests stay well formed: one blank line, no other host.
#include <string.h>

#include "core/check.h"
#include "mesh/upnp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request_is_sound(const struct upnp *u)
{
    char out[UPNP_REQUEST_MAX];
    size_t size = upnp_request(u, out);
    check(size == strlen(out) && size < sizeof out);
    const char *head = strstr(out, "\r\n"), *over = strstr(out, "\r\n\r\n");
    check(head && over && strncmp(head, "\r\nHost: 192.168.1.1:", 20) == 0);
    for (const char *c = out; c < over; c++) check(*c >= ' ' || *c == '\r' || *c == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t own[4] = {192, 168, 1, 20}, gateway[4] = {192, 168, 1, 1};
    struct reader r = reader_over(data, size);
    struct upnp u;
    upnp_start(&u, 6173, own, gateway);
    while (!r.failed && r.at < r.size && u.step < UPNP_DONE) {
        size_t length = read_u16(&r);
        if (length > r.size - r.at) length = r.size - r.at;
        struct slice said = {r.data + r.at, length};
        r.at += length;
        if (u.step == UPNP_SEARCH) {
            enum core_err err = upnp_found(&u, said);
            check(!err == (u.step == UPNP_DESCRIBE));
        } else {
            request_is_sound(&u);
            upnp_answer(&u, said);
        }
        check(u.tries <= UPNP_TRIES);
    }
    char out[UPNP_REQUEST_MAX];
    if (u.step == UPNP_DONE) check(upnp_release(&u, out) > 0 && u.external_port);
    if (u.step == UPNP_FAILED) check(u.why[0]);
    return 0;
}
