// A gateway that answers with anything at any time: u8 how much time passes in 16 ms, u8 size, then a datagram, again
// and again; and a routing table of any text.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "mesh/portmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void routes(const uint8_t *data, size_t size)
{
    uint8_t gateway[4];
    char device[16], *text = malloc(size + 1);
    if (!text) return;
    memcpy(text, data, size);
    text[size] = '\0';
    if (portmap_gateway(text, gateway, device)) check(strlen(device) > 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t own[4] = {192, 168, 1, 20}, nonce[PORTMAP_NONCE_SIZE] = {1, 2, 3};
    uint8_t out[PORTMAP_REQUEST_MAX];
    struct portmap p;
    uint64_t now_ms = 1000;
    portmap_start(&p, 6173, own, nonce, now_ms);
    struct reader r = reader_over(data, size);
    while (!r.failed && r.at < r.size) {
        now_ms += (uint64_t)read_u8(&r) * 16;
        check(portmap_tick(&p, now_ms, out) <= sizeof out);
        check(p.state != PORTMAP_OFF && p.tries <= PORTMAP_TRIES);
        size_t length = read_u8(&r);
        if (length > r.size - r.at) length = r.size - r.at;
        enum portmap_state before = p.state;
        enum core_err err = portmap_receive(&p, (struct slice){r.data + r.at, length}, now_ms);
        r.at += length;
        check(!err || p.state == before);
        if (p.state == PORTMAP_MAPPED) check(p.external_port && p.lifetime_s && p.lifetime_s <= 86400);
        check(portmap_next_ms(&p) <= now_ms + PORTMAP_RENEW_MS);
    }
    check(portmap_release(&p, out) <= sizeof out);
    routes(data, size);
    return 0;
}
