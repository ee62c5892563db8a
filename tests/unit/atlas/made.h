// Snapshots that tests make up: sites of the world with round trips as they are between them, from a seed.
#ifndef TESTS_UNIT_ATLAS_MADE_H
#define TESTS_UNIT_ATLAS_MADE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "atlas/snapshot.h"

static inline uint64_t made_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static inline double made_unit(uint64_t *state)
{
    return (double)(made_random(state) >> 11) / 9007199254740992.0;
}

enum { MADE_SITES = 8 };
static const struct {
    const char *name;
    double at[3];
} made_sites[MADE_SITES] = {
    {"frankfurt", {0, 0, 0}},           {"oslo", {9000, 6000, 1000}},
    {"virginia", {-45000, 5000, 3000}}, {"sydney", {120000, -60000, 20000}},
    {"tokyo", {110000, 20000, -9000}},  {"sao-paulo", {-60000, -70000, 5000}},
    {"mumbai", {60000, -20000, 9000}},  {"lab-3", {1000, -1500, 100}},
};

// `count` peers, `per_host` on each host, hosts over `sites` sites in turn (0: no sites, spread at random); three links
// a peer. A peer's own numbers depend on its place only, so that a smaller mesh is a part of a larger one.
static inline struct atlas_snapshot made(uint32_t count, uint32_t sites, uint32_t per_host)
{
    struct atlas_snapshot s = {.mesh = "garden", .taken_s = 1700000000, .peer_count = count};
    s.peers = calloc(count + 1, sizeof *s.peers);
    s.links = calloc(3 * (size_t)count + 1, sizeof *s.links);
    for (uint32_t i = 0; i < count; i++) {
        struct atlas_peer *p = &s.peers[i];
        const uint32_t host = i / per_host, site = sites ? host % sites : 0;
        uint64_t random = 0x9e3779b97f4a7c15u * (host + 1);
        for (int k = 0; k < 3; k++) {
            const double unit = made_unit(&random) - 0.5;
            p->at[k] = sites ? made_sites[site].at[k] + unit * 900 : unit * 80000;
        }
        p->above = 200 + made_unit(&random) * 500;
        p->host = made_random(&random);
        random = 0xd1b54a32d192ed03u * (i + 1);
        for (size_t k = 0; k < sizeof p->id.bytes; k++) p->id.bytes[k] = (uint8_t)(made_random(&random) >> 32);
        if (sites) snprintf(p->site, sizeof p->site, "%s", made_sites[site].name);
        snprintf(p->name, sizeof p->name, i % 7 == 3 ? "workstation-%u" : "p%u", i);
        p->state = i % 19 == 5 ? ATLAS_DEAD : i % 23 == 7 ? ATLAS_SUSPECT : ATLAS_ALIVE;
        p->answered = i % 11 != 2;
        p->self = i == 0;
        p->located = i % 13 != 12;
        for (uint32_t k = 0; k < 3 && count > 1; k++) {
            const uint32_t to = k ? (uint32_t)(made_random(&random) % count) : (i + 1) % count;
            const uint64_t bytes_s = made_random(&random) % (1u << (8 + made_random(&random) % 14));
            s.links[s.link_count++] = (struct atlas_link){i, to, 300 + made_random(&random) % 90000, bytes_s};
        }
    }
    return s;
}

#endif
