// Broadcasts one after the other, measured as iroh-gossip's own simulation measures its: a message takes what was drawn
// for its pair of peers, 10 to 50 ms; 30 rounds. A round is one broadcast, and begins when everyone was handed the
// last, or after 5 s. No round is left out of the redundancy, not even the first, which floods: that is what makes the
// tree. (There all have joined through one contact a second before; here the mesh has stood for as long as in other
// runs.)
#include "tools/sim/mesh_world.h"

enum {
    ROUNDS = 30,
    ROUND_MS = 5000,
    LOOK_US = 2000,
    LATENCY_MIN_MS = 10,
    LATENCY_MAX_MS = 50,
};

void mesh_rounds_open(struct mesh_world *w)
{
    const enum mesh_scenario s = w->options.scenario;
    w->rounds.on = s == SCENARIO_ONE_ORIGIN || s == SCENARIO_ANY_ORIGIN;
}

double mesh_rounds_latency_ms(const struct mesh_world *w, uint32_t a, uint32_t b)
{
    const uint32_t low = a < b ? a : b, high = a < b ? b : a;
    struct rng rng = rng_from(w->options.seed, (uint64_t)low << 32 | high);
    const uint64_t range_us = 1000 * (LATENCY_MAX_MS - LATENCY_MIN_MS);
    return LATENCY_MIN_MS + (double)rng_below(&rng, range_us) / 1e3;
}

bool mesh_rounds_over(const struct mesh_world *w)
{
    const struct mesh_rounds *r = &w->rounds;
    if (r->made < ROUNDS) return false;
    return measure_is_everywhere(w, r->number) || w->now_us > r->began_us + ROUND_MS * 1000ull;
}

void mesh_rounds_next(struct mesh_world *w)
{
    struct mesh_rounds *r = &w->rounds;
    const bool done =
        r->made == 0 || measure_is_everywhere(w, r->number) || w->now_us > r->began_us + ROUND_MS * 1000ull;
    if (done && r->made == ROUNDS) return;
    if (done) {
        if (r->made == 0 || w->options.scenario == SCENARIO_ANY_ORIGIN) r->origin = mesh_chance(w, w->options.nodes);
        r->made++;
        r->began_us = w->now_us;
        r->number = mesh_node_cast(w, r->origin);
    }
    mesh_push(w, (struct mesh_event){.kind = MESH_CAST}, LOOK_US);
}
