#include "mesh/portmap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"

enum {
    TCP = 6,  // IANA's protocol number, in PCP
    PCP_VERSION = 2,
    PCP_MAP = 1,
    PCP_MAP_SIZE = 60,  // RFC 6887 7.1 and 11.1: header of 24, MAP of 36
    PCP_SIZE_MAX = 1100,
    NATPMP_VERSION = 0,
    NATPMP_ADDRESS = 0,
    NATPMP_TCP = 2,
    ANSWER = 128,  // the bit of an answer's opcode, in both
    UNSUPPORTED_VERSION = 1,
    FIRST_WAIT_MS = 250,
    RENEW_LEAST_MS = 30000,
    LIFETIME_MOST_S = 86400,
};

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)get_u16(p) << 16 | get_u16(p + 2);
}

static void put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put_u32(uint8_t *p, uint32_t v)
{
    put_u16(p, (uint16_t)(v >> 16));
    put_u16(p + 2, (uint16_t)v);
}

const char *portmap_way_name(enum portmap_way way)
{
    return way == PORTMAP_PCP ? "pcp" : way == PORTMAP_UPNP ? "upnp" : "nat-pmp";
}

// ---- states ----

static void ask(struct portmap *p, enum portmap_way way, uint64_t now_ms)
{
    p->way = way;
    p->waiting = false;
    p->tries = 0;
    p->due_ms = now_ms;
}

static void failed(struct portmap *p, const char *why, uint64_t now_ms)
{
    p->state = PORTMAP_FAILED;
    p->waiting = false;
    p->tries = 0;
    p->due_ms = now_ms + PORTMAP_AGAIN_MS;
    snprintf(p->why, sizeof p->why, "%s", why);
}

// What to begin a renewal with.
static enum portmap_way renewal(const struct portmap *p)
{
    return p->way == PORTMAP_NATPMP_MAP ? PORTMAP_NATPMP_ADDRESS : p->way;
}

// No answer in all the tries: the older protocol may do; a mapping is good until it expires.
static void gave_up(struct portmap *p, const char *why, uint64_t now_ms)
{
    if (p->state == PORTMAP_MAPPED && now_ms < p->expires_ms) {
        ask(p, renewal(p), now_ms + RENEW_LEAST_MS);
        return;
    }
    if (p->state == PORTMAP_ASKING && p->way == PORTMAP_PCP) {
        ask(p, PORTMAP_NATPMP_ADDRESS, now_ms);
    } else if (p->state == PORTMAP_ASKING && p->way != PORTMAP_UPNP) {
        snprintf(p->why, sizeof p->why, "%s", why);  // stays, where nobody answers by UPnP
        ask(p, PORTMAP_UPNP, now_ms);
    } else {
        failed(p, why, now_ms);
    }
}

static void mapped(struct portmap *p, const uint8_t external[4], uint16_t port, uint32_t lifetime_s, uint64_t now_ms)
{
    if (lifetime_s > LIFETIME_MOST_S) lifetime_s = LIFETIME_MOST_S;
    memcpy(p->external, external, sizeof p->external);
    p->external_port = port;
    p->lifetime_s = lifetime_s;
    p->expires_ms = now_ms + (uint64_t)lifetime_s * 1000;
    p->state = PORTMAP_MAPPED;
    p->why[0] = '\0';
    uint64_t renew_ms = (uint64_t)lifetime_s * 500;
    if (renew_ms > PORTMAP_RENEW_MS) renew_ms = PORTMAP_RENEW_MS;
    if (renew_ms < RENEW_LEAST_MS) renew_ms = RENEW_LEAST_MS;  // a gateway doesn't make us ask without pause
    ask(p, renewal(p), now_ms + renew_ms);
}

void portmap_start(struct portmap *p, uint16_t port, const uint8_t own[4], const uint8_t nonce[PORTMAP_NONCE_SIZE],
                   uint64_t now_ms)
{
    *p = (struct portmap){.state = PORTMAP_ASKING, .port = port};
    memcpy(p->own, own, sizeof p->own);
    memcpy(p->nonce, nonce, sizeof p->nonce);
    ask(p, PORTMAP_PCP, now_ms);
}

uint64_t portmap_next_ms(const struct portmap *p)
{
    return p->state == PORTMAP_OFF ? UINT64_MAX : p->due_ms;
}

bool portmap_reachable(const struct portmap *p)
{
    const uint8_t *a = p->external;
    bool private = a[0] == 0 || a[0] == 10 || a[0] == 127 || a[0] >= 224 || (a[0] == 172 && a[1] >> 4 == 1) ||
                   (a[0] == 192 && a[1] == 168) || (a[0] == 100 && a[1] >> 6 == 1) || (a[0] == 169 && a[1] == 254);
    return p->state == PORTMAP_MAPPED && !private;
}

// ---- requests ----

// ::ffff:a.b.c.d
static void put_mapped(uint8_t *p, const uint8_t v4[4])
{
    memset(p, 0, 10);
    p[10] = p[11] = 0xff;
    memcpy(p + 12, v4, 4);
}

static size_t pcp_request(const struct portmap *p, uint32_t lifetime_s, uint8_t out[PORTMAP_REQUEST_MAX])
{
    memset(out, 0, PCP_MAP_SIZE);
    out[0] = PCP_VERSION;
    out[1] = PCP_MAP;
    put_u32(out + 4, lifetime_s);
    put_mapped(out + 8, p->own);
    memcpy(out + 24, p->nonce, sizeof p->nonce);
    out[36] = TCP;
    put_u16(out + 40, p->port);
    put_u16(out + 42, p->external_port ? p->external_port : p->port);
    put_mapped(out + 44, p->external);  // zeros: any
    return PCP_MAP_SIZE;
}

static size_t natpmp_request(const struct portmap *p, uint16_t external_port, uint32_t lifetime_s, uint8_t *out)
{
    memset(out, 0, 12);
    out[1] = NATPMP_TCP;
    put_u16(out + 4, p->port);
    put_u16(out + 6, external_port);
    put_u32(out + 8, lifetime_s);
    return 12;
}

static size_t request(const struct portmap *p, uint8_t out[PORTMAP_REQUEST_MAX])
{
    switch (p->way) {
    case PORTMAP_PCP: return pcp_request(p, PORTMAP_LIFETIME_S, out);
    case PORTMAP_NATPMP_ADDRESS:
        out[0] = NATPMP_VERSION;
        out[1] = NATPMP_ADDRESS;
        return 2;
    case PORTMAP_NATPMP_MAP:
        return natpmp_request(p, p->external_port ? p->external_port : p->port, PORTMAP_LIFETIME_S, out);
    case PORTMAP_UPNP: break;
    }
    return 0;
}

size_t portmap_tick(struct portmap *p, uint64_t now_ms, uint8_t out[PORTMAP_REQUEST_MAX])
{
    if (p->state == PORTMAP_OFF || now_ms < p->due_ms) return 0;
    if (p->state == PORTMAP_FAILED) {
        p->state = PORTMAP_ASKING;
        ask(p, PORTMAP_PCP, now_ms);
    }
    if (p->waiting && p->way == PORTMAP_UPNP) {
        portmap_not_given(p, "", now_ms);
        return 0;
    }
    if (p->waiting && p->tries >= PORTMAP_TRIES) {
        gave_up(p, "the gateway speaks neither PCP nor NAT-PMP: no answer", now_ms);
        if (now_ms < p->due_ms) return 0;
    }
    p->waiting = true;
    p->due_ms = now_ms + (p->way == PORTMAP_UPNP ? PORTMAP_UPNP_MS : (uint64_t)FIRST_WAIT_MS << p->tries++);
    return request(p, out);
}

size_t portmap_release(struct portmap *p, uint8_t out[PORTMAP_REQUEST_MAX])
{
    bool held = p->state == PORTMAP_MAPPED;
    p->state = PORTMAP_OFF;
    if (!held || p->way == PORTMAP_UPNP) return 0;
    return p->way == PORTMAP_PCP ? pcp_request(p, 0, out) : natpmp_request(p, 0, 0, out);
}

// ---- answers ----

static void refused_by(struct portmap *p, unsigned code, uint64_t now_ms)
{
    static const char *const pcp[] = {"",
                                      "",
                                      "not allowed there",
                                      "it calls the request malformed",
                                      "it maps no ports",
                                      "it lacks an option",
                                      "it calls an option malformed",
                                      "its own network is down",
                                      "it has no ports left",
                                      "it maps no TCP ports",
                                      "too many of this machine's ports are mapped",
                                      "it has no such outer address",
                                      "another NAT lies between it and this machine"};
    static const char *const natpmp[] = {
        "", "", "not allowed there", "its own network is down", "it has no ports left", "it maps no ports"};
    const char *text = "for a reason of its own";
    if (p->way == PORTMAP_PCP && code < sizeof pcp / sizeof *pcp) text = pcp[code];
    if (p->way != PORTMAP_PCP && code < sizeof natpmp / sizeof *natpmp) text = natpmp[code];
    char why[sizeof p->why];
    snprintf(why, sizeof why, "the gateway refuses (%s %u): %s", portmap_way_name(p->way), code, text);
    gave_up(p, why, now_ms);
}

static enum core_err take_pcp(struct portmap *p, const uint8_t *b, size_t size, uint64_t now_ms)
{
    // A gateway of NAT-PMP alone answers with its own version (RFC 6887 appendix A).
    bool older = b[0] == NATPMP_VERSION && size >= 8 && b[1] >= ANSWER && get_u16(b + 2) == UNSUPPORTED_VERSION;
    bool other = b[0] != NATPMP_VERSION && b[1] == (ANSWER | PCP_MAP) && size >= 24 && b[3] == UNSUPPORTED_VERSION;
    if (older || other) {
        if (p->state == PORTMAP_ASKING || older) ask(p, PORTMAP_NATPMP_ADDRESS, now_ms);
        return CORE_ERR_OK;
    }
    if (size < PCP_MAP_SIZE || size > PCP_SIZE_MAX || size % 4 || b[0] != PCP_VERSION || b[1] != (ANSWER | PCP_MAP))
        return CORE_ERR_MALFORMED;
    if (memcmp(b + 24, p->nonce, sizeof p->nonce) || b[36] != TCP || get_u16(b + 40) != p->port)
        return CORE_ERR_MALFORMED;
    if (b[3]) {
        refused_by(p, b[3], now_ms);
        return CORE_ERR_OK;
    }
    static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(b + 44, v4, sizeof v4) || get_u16(b + 42) == 0 || get_u32(b + 4) == 0) return CORE_ERR_MALFORMED;
    mapped(p, b + 56, get_u16(b + 42), get_u32(b + 4), now_ms);
    return CORE_ERR_OK;
}

static enum core_err take_natpmp(struct portmap *p, const uint8_t *b, size_t size, uint64_t now_ms)
{
    bool map = p->way == PORTMAP_NATPMP_MAP;
    if (size < 8 || b[0] != NATPMP_VERSION || b[1] != (ANSWER | (map ? NATPMP_TCP : NATPMP_ADDRESS)))
        return CORE_ERR_MALFORMED;
    if (get_u16(b + 2)) {
        refused_by(p, get_u16(b + 2), now_ms);
        return CORE_ERR_OK;
    }
    if (!map) {
        if (size != 12) return CORE_ERR_MALFORMED;
        memcpy(p->external, b + 8, sizeof p->external);
        ask(p, PORTMAP_NATPMP_MAP, now_ms);
        return CORE_ERR_OK;
    }
    if (size != 16 || get_u16(b + 8) != p->port || get_u16(b + 10) == 0 || get_u32(b + 12) == 0)
        return CORE_ERR_MALFORMED;
    uint8_t external[4];
    memcpy(external, p->external, sizeof external);
    mapped(p, external, get_u16(b + 10), get_u32(b + 12), now_ms);
    return CORE_ERR_OK;
}

enum core_err portmap_receive(struct portmap *p, struct slice bytes, uint64_t now_ms)
{
    enum core_err err = CORE_ERR_MALFORMED;
    if (p->waiting && p->way != PORTMAP_UPNP && bytes.size >= 4)
        err = p->way == PORTMAP_PCP ? take_pcp(p, bytes.data, bytes.size, now_ms)
                                    : take_natpmp(p, bytes.data, bytes.size, now_ms);
    if (err) p->refused++;
    return err;
}

void portmap_unreachable(struct portmap *p, uint64_t now_ms)
{
    if (p->waiting && p->way != PORTMAP_UPNP)
        gave_up(p, "the gateway maps no ports: nothing listens there for PCP or NAT-PMP", now_ms);
}

bool portmap_wants_upnp(const struct portmap *p)
{
    return p->waiting && p->way == PORTMAP_UPNP && (p->state == PORTMAP_ASKING || p->state == PORTMAP_MAPPED);
}

void portmap_given(struct portmap *p, const uint8_t external[4], uint16_t port, uint32_t lifetime_s, uint64_t now_ms)
{
    if (portmap_wants_upnp(p) && port && lifetime_s) mapped(p, external, port, lifetime_s, now_ms);
}

void portmap_not_given(struct portmap *p, const char *why, uint64_t now_ms)
{
    char text[sizeof p->why];
    snprintf(text, sizeof text, "%s", *why ? why : p->why[0] ? p->why : "the gateway doesn't answer by UPnP");
    if (portmap_wants_upnp(p)) gave_up(p, text, now_ms);
}

// ---- the gateway ----

bool portmap_gateway(const char *routes, uint8_t gateway[4], char device[16])
{
    unsigned long best = 0;
    bool found = false;
    for (const char *line = strchr(routes, '\n'); line; line = strchr(line + 1, '\n')) {
        char name[16];
        unsigned to, by, flags, mask, metric;
        if (sscanf(line + 1, "%15s %8x %8x %4x %*d %*d %u %8x", name, &to, &by, &flags, &metric, &mask) != 6) continue;
        const unsigned up = 1, has_gateway = 2;  // RTF_UP, RTF_GATEWAY
        if (to || mask || (flags & (up | has_gateway)) != (up | has_gateway) || (found && metric >= best)) continue;
        found = true;
        best = metric;
        memcpy(gateway, &by, 4);  // the kernel prints the four bytes as a native number
        memcpy(device, name, sizeof name);
    }
    return found;
}
