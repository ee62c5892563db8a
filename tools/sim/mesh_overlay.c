// The overlay as a graph: what the peers take for their neighbours, and whether that is one piece.
#include <stdlib.h>

#include "core/check.h"
#include "tools/sim/mesh_world.h"

enum { NEIGHBORS_MAX = 64, PAIRS = 2000 };

struct graph {
    uint32_t *ids;     // NEIGHBORS_MAX a peer
    uint32_t *counts;  // of honest running neighbours
    uint32_t *root;    // union-find
};

static bool counts_in(const struct mesh_node *n)
{
    return n->up && !n->hostile && !n->left;
}

static uint32_t root_of(uint32_t *root, uint32_t i)
{
    while (root[i] != i) i = root[i] = root[root[i]];
    return i;
}

static struct graph graph_of(const struct mesh_world *w)
{
    const uint32_t nodes = w->options.nodes;
    struct graph g = {
        .ids = malloc((size_t)nodes * NEIGHBORS_MAX * sizeof *g.ids),
        .counts = calloc(nodes, sizeof *g.counts),
        .root = malloc(nodes * sizeof *g.root),
    };
    check(g.ids && g.counts && g.root);
    for (uint32_t i = 0; i < nodes; i++) {
        g.root[i] = i;
        if (!counts_in(&w->nodes[i])) continue;
        struct core_id ids[NEIGHBORS_MAX];
        const uint32_t count = gossip_neighbors(w->nodes[i].gossip, ids, NEIGHBORS_MAX);
        for (uint32_t k = 0; k < count && k < NEIGHBORS_MAX; k++) {
            const uint32_t other = mesh_find(w, &ids[k]);
            if (other == MESH_NOBODY || !counts_in(&w->nodes[other])) continue;
            g.ids[(size_t)i * NEIGHBORS_MAX + g.counts[i]++] = other;
        }
    }
    return g;
}

static void graph_free(struct graph *g)
{
    free(g->ids);
    free(g->counts);
    free(g->root);
}

static bool names(const struct graph *g, uint32_t i, uint32_t other)
{
    for (uint32_t k = 0; k < g->counts[i]; k++)
        if (g->ids[(size_t)i * NEIGHBORS_MAX + k] == other) return true;
    return false;
}

// Only links that both sides take for a neighbour's hold it together.
static uint32_t pieces_of(const struct mesh_world *w, struct graph *g)
{
    uint32_t pieces = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        pieces += counts_in(&w->nodes[i]);
        for (uint32_t k = 0; k < g->counts[i]; k++) {
            const uint32_t other = g->ids[(size_t)i * NEIGHBORS_MAX + k];
            const uint32_t a = root_of(g->root, i), b = root_of(g->root, other);
            if (a == b || !names(g, other, i)) continue;
            g->root[a] = b;
            pieces--;
        }
    }
    return pieces;
}

uint32_t measure_pieces(struct mesh_world *w)
{
    struct graph g = graph_of(w);
    const uint32_t pieces = pieces_of(w, &g);
    graph_free(&g);
    return pieces;
}

void measure_overlay(struct mesh_world *w)
{
    struct mesh_report *r = w->report;
    struct graph g = graph_of(w);
    r->pieces = pieces_of(w, &g);
    r->degree_min = UINT32_MAX;
    double sum = 0;
    uint64_t links = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        if (!counts_in(&w->nodes[i])) continue;
        if (g.counts[i] > r->degree_max) r->degree_max = g.counts[i];
        if (g.counts[i] < r->degree_min) r->degree_min = g.counts[i];
        for (uint32_t k = 0; k < g.counts[i]; k++) {
            const uint32_t other = g.ids[(size_t)i * NEIGHBORS_MAX + k];
            sum += mesh_distance_ms(w, i, other);
            links++;
            r->asymmetric += !names(&g, other, i);
        }
    }
    graph_free(&g);
    if (links) r->link_ms = sum / (double)links;
    for (uint32_t i = 0; i < PAIRS; i++)
        r->random_ms += mesh_distance_ms(w, mesh_chance(w, w->options.nodes), mesh_chance(w, w->options.nodes)) / PAIRS;
}
