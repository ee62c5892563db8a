#include "bench/map_made.h"

#include <stdio.h>
#include <stdlib.h>

enum { PER_HOST = 2 };

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static double unit(uint64_t *state)  // [-0.5, 0.5)
{
    return (double)(next(state) >> 11) / 9007199254740992.0 - 0.5;
}

// Where a site lies: up to 120 ms from the middle, so that two are some 60 ms apart; without sites, where a host does.
static void place(uint64_t number, double at[3])
{
    uint64_t random = 0xa0761d6478bd642fu * (number + 1);
    for (int i = 0; i < 8; i++) next(&random);
    for (int d = 0; d < 3; d++) at[d] = unit(&random) * (d == 2 ? 20000 : 120000);
}

static void make_peer(struct atlas_peer *p, uint32_t number, uint32_t sites)
{
    const uint32_t host = number / PER_HOST, site = sites ? host % sites : host;
    uint64_t random = 0x9e3779b97f4a7c15u * (host + 1);
    place(site, p->at);
    for (int d = 0; d < 3 && sites; d++) p->at[d] += unit(&random) * 900;
    p->above = 200 + (unit(&random) + 0.5) * 500;
    p->host = next(&random);
    p->located = p->answered = true;
    p->self = number == 0;
    p->state = number % 97 == 5 ? ATLAS_DEAD : number % 89 == 7 ? ATLAS_SUSPECT : ATLAS_ALIVE;
    random = 0xd1b54a32d192ed03u * (number + 1);
    for (size_t i = 0; i < sizeof p->id.bytes; i++) p->id.bytes[i] = (uint8_t)(next(&random) >> 32);
    // (Short enough not to be cut: labels tell peers apart.)
    snprintf(p->name, sizeof p->name, number % 7 == 3 ? "station-%u" : "p%u", number);
    if (sites) snprintf(p->site, sizeof p->site, "site-%u", site);
}

enum core_err map_made(uint32_t count, uint32_t sites, uint32_t skip, uint32_t skip_end, struct atlas_snapshot *out)
{
    *out = (struct atlas_snapshot){.mesh = "made-up", .taken_s = 1700000000};
    uint32_t *place_of = calloc(count + 1, sizeof *place_of);
    out->peers = calloc(count + 1, sizeof *out->peers);
    out->links = calloc((size_t)count * MAP_MADE_LINKS + 1, sizeof *out->links);
    for (uint32_t i = 0; place_of && out->peers && i < count; i++) {
        place_of[i] = UINT32_MAX;
        if (i >= skip && i < skip_end) continue;
        place_of[i] = out->peer_count;
        make_peer(&out->peers[out->peer_count++], i, sites);
    }
    // Every second one goes to the host beside it on its site; the others anywhere.
    const uint32_t beside = PER_HOST * (sites ? sites : 1);
    for (uint32_t i = 0; place_of && out->links && i < count; i++) {
        uint64_t random = 0x8ebc6af09c88c6e3u * (i + 1);
        for (uint32_t k = 0; k < MAP_MADE_LINKS; k++) {
            const uint64_t any = next(&random), bytes_s = next(&random) % (1u << (8 + any % 14));
            const uint32_t to = (uint32_t)(k % 2 ? any % count : (i + beside * (k / 2 + 1)) % count);
            if (place_of[i] == UINT32_MAX || place_of[to] == UINT32_MAX) continue;
            out->links[out->link_count++] = (struct atlas_link){
                .a = place_of[i], .b = place_of[to], .rtt_us = 300 + next(&random) % 90000, .bytes_s = bytes_s};
        }
    }
    const bool made = place_of && out->peers && out->links;
    free(place_of);
    return made ? atlas_snapshot_settle(out) : CORE_ERR_NO_MEMORY;
}
