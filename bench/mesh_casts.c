// Broadcasts: latency at a low rate, the highest rate at which everything arrives, and large ones.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/mesh_parts.h"

enum {
    SIZE = 1024,
    LARGE = 1 << 20,
    PUBLISHERS = 4,
    QUIET_MS = 3000,  // nothing more arrived for so long: it won't
};

struct casts {
    struct fleet fleet;
    uint64_t next;  // number of the next broadcast
    uint64_t delivered, duplicate;
};

static bool all_told(struct fleet *f, void *context)
{
    (void)context;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->nodes[i].alive && !f->nodes[i].told) return false;
    return true;
}

static bool all_done(struct fleet *f, void *context)
{
    (void)context;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->nodes[i].alive && !f->nodes[i].done) return false;
    return true;
}

static void ask(struct casts *c)
{
    struct fleet *f = &c->fleet;
    for (uint32_t i = 0; i < f->count; i++) {
        f->nodes[i].told = false;
        fleet_tell(f, i, "STAT");
    }
    (void)fleet_until(f, all_told, NULL, 30000);
    for (uint32_t i = 0; i < f->count; i++) {
        c->delivered += f->nodes[i].delivered;
        c->duplicate += f->nodes[i].duplicate;
        f->nodes[i].delivered = f->nodes[i].duplicate = 0;
    }
}

// Asks until `expected` deliveries are in, or no more come.
static void drain(struct casts *c, uint64_t expected)
{
    double quiet_since = bench_now();
    uint64_t before = 0;
    do {
        fleet_wait(&c->fleet, 250);
        ask(c);
        if (c->delivered > before) quiet_since = bench_now();
        before = c->delivered;
    } while (c->delivered < expected && bench_now() < quiet_since + QUIET_MS * 1e-3);
}

static void forget(struct casts *c)
{
    c->fleet.delivery_count = 0;
    c->delivered = c->duplicate = 0;
    for (uint32_t i = 0; i < c->fleet.count; i++) c->fleet.nodes[i].done = true;
}

static bool open_casts(struct mesh_bench *m, struct casts *c, const struct fleet_program *program, uint32_t nodes)
{
    *c = (struct casts){.next = 1};
    if (!mesh_start(m, &c->fleet, program, nodes)) return false;
    mesh_settle(&c->fleet);
    return true;
}

static void publish(struct casts *c, uint32_t from, uint32_t size, uint64_t count, double rate)
{
    c->fleet.nodes[from].done = false;
    fleet_tell(&c->fleet, from, "PUB %llu %u %llu %g", (unsigned long long)c->next, size, (unsigned long long)count,
               rate);
    c->next += count;
}

static int by_latency(const void *a, const void *b)
{
    uint64_t x = ((const struct fleet_delivery *)a)->latency_us, y = ((const struct fleet_delivery *)b)->latency_us;
    return (x > y) - (x < y);
}

static double percentile_ms(struct fleet *f, double p)
{
    if (f->delivery_count == 0) return 0;
    qsort(f->deliveries, f->delivery_count, sizeof *f->deliveries, by_latency);
    return (double)f->deliveries[(size_t)(p * (double)(f->delivery_count - 1))].latency_us * 1e-3;
}

// ---- a few a second ----

struct cast_figures {
    struct series p50, p99, redundancy;
};

static void cast_some(struct mesh_bench *m, const struct fleet_program *program, uint32_t nodes, uint32_t runs,
                      struct cast_figures *out)
{
    struct casts c;
    if (!open_casts(m, &c, program, nodes)) return;
    double seconds = bench_seconds(m->b) >= 1 ? bench_seconds(m->b) : 10;
    for (uint32_t r = 0; r < runs; r++) {
        forget(&c);
        uint32_t count = (uint32_t)(seconds * 10);
        for (uint32_t i = 0; i < count; i++) {
            publish(&c, mesh_random_living(&c.fleet), SIZE, 1, 0);
            fleet_wait(&c.fleet, 100);
        }
        uint64_t expected = (uint64_t)count * (nodes - 1);
        drain(&c, expected);
        series_add(&out->p50, percentile_ms(&c.fleet, 0.5));
        series_add(&out->p99, percentile_ms(&c.fleet, 0.99));
        if (c.delivered) series_add(&out->redundancy, (double)c.duplicate / (double)c.delivered);
        mesh_talk(m, &c.fleet, "casts done");
        if (c.delivered < expected)
            series_note(&out->p99, "%llu of %llu missed", (unsigned long long)(expected - c.delivered),
                        (unsigned long long)expected);
    }
    if (c.fleet.errors) bench_say(m->b, "%s: %s", program->name, c.fleet.error);
    fleet_close(&c.fleet);
}

void mesh_cast(struct mesh_bench *m)
{
    uint32_t nodes = mesh_nodes(m, 32), runs = mesh_runs(m, 2);
    struct cast_figures ours = {0};
    cast_some(m, &m->ours, nodes, runs, &ours);
    const struct fleet_program *const peers[] = {m->has_gossipsub ? &m->gossipsub : NULL,
                                                 m->has_memberlist ? &m->memberlist : NULL};
    bool any = false;
    for (size_t k = 0; k < 2; k++) {
        if (!peers[k] && (k == 0 || any)) continue;
        struct cast_figures theirs = {0};
        if (peers[k]) cast_some(m, peers[k], nodes, 1, &theirs);
        any = true;
        char name[96];
        snprintf(name, sizeof name, "cast: 1 KiB at 10/s, p50, %u peers", nodes);
        mesh_report(m, name, "ms", &ours.p50, peers[k], &theirs.p50);
        snprintf(name, sizeof name, "cast: 1 KiB at 10/s, p99, %u peers", nodes);
        mesh_report(m, name, "ms", &ours.p99, peers[k], &theirs.p99);
        snprintf(name, sizeof name, "cast: 1 KiB at 10/s, redundancy, %u peers", nodes);
        mesh_report(m, name, "copies", &ours.redundancy, peers[k], &theirs.redundancy);
    }
}

// ---- as many as go ----

static const uint32_t rates[] = {100, 200, 500, 1000, 1500, 2000};
enum { RATES = sizeof rates / sizeof rates[0], LOAD_SECONDS = 5 };

// The highest rate at which all is delivered and the publishers keep up.
static double load_ramp(struct mesh_bench *m, const struct fleet_program *program, uint32_t nodes, struct series *s)
{
    struct casts c;
    double best = 0;
    if (!open_casts(m, &c, program, nodes)) return 0;
    for (size_t k = 0; k < RATES; k++) {
        forget(&c);
        uint64_t each = rates[k] * LOAD_SECONDS / PUBLISHERS, expected = each * PUBLISHERS * (nodes - 1);
        double from = bench_now();
        for (uint32_t p = 0; p < PUBLISHERS; p++)
            publish(&c, p * nodes / PUBLISHERS, SIZE, each, (double)rates[k] / PUBLISHERS);
        (void)fleet_until(&c.fleet, all_done, NULL, 1e3 * 4 * LOAD_SECONDS);
        double took = bench_now() - from;
        drain(&c, expected);
        double p50 = percentile_ms(&c.fleet, 0.5), p99 = percentile_ms(&c.fleet, 0.99);
        bench_say(m->b, "%s: %u/s in %.1f s: %llu of %llu delivered, p50 %.3g ms, p99 %.3g ms, %.2f copies",
                  program->name, rates[k], took, (unsigned long long)c.delivered, (unsigned long long)expected, p50,
                  p99, c.delivered ? (double)c.duplicate / (double)c.delivered : 0);
        bool kept_up = took < 1.2 * LOAD_SECONDS;
        if (c.delivered < expected || !kept_up) {
            series_note(s, "at %u/s %.3g %% delivered%s", rates[k], 100.0 * (double)c.delivered / (double)expected,
                        kept_up ? "" : " late");
            break;
        }
        best = rates[k];
    }
    if (c.fleet.errors) bench_say(m->b, "%s: %s", program->name, c.fleet.error);
    fleet_close(&c.fleet);
    series_add(s, best);
    return best;
}

void mesh_load(struct mesh_bench *m)
{
    uint32_t nodes = mesh_nodes(m, 32), runs = mesh_runs(m, 1);
    struct series ours = {0}, theirs = {0};
    for (uint32_t r = 0; r < runs; r++) load_ramp(m, &m->ours, nodes, &ours);
    if (m->has_gossipsub) load_ramp(m, &m->gossipsub, nodes, &theirs);
    char name[96];
    snprintf(name, sizeof name, "load: 1 KiB, all delivered, %u peers", nodes);
    mesh_report_more(m, name, "a second", &ours, m->has_gossipsub ? &m->gossipsub : NULL, &theirs);
}

// ---- large ones ----

static void large_some(struct mesh_bench *m, const struct fleet_program *program, uint32_t nodes, uint32_t runs,
                       struct series *s)
{
    struct casts c;
    if (!open_casts(m, &c, program, nodes)) return;
    for (uint32_t r = 0; r < runs; r++) {
        forget(&c);
        publish(&c, mesh_random_living(&c.fleet), LARGE, 1, 0);
        drain(&c, nodes - 1);
        if (c.delivered == nodes - 1)
            series_add(s, percentile_ms(&c.fleet, 1));
        else
            series_note(s, "%u of %u reached", (unsigned)c.delivered, nodes - 1);
    }
    if (c.fleet.errors) bench_say(m->b, "%s: %s", program->name, c.fleet.error);
    fleet_close(&c.fleet);
}

void mesh_large(struct mesh_bench *m)
{
    uint32_t nodes = mesh_nodes(m, 32), runs = mesh_runs(m, 10);
    struct series ours = {0}, theirs = {0};
    large_some(m, &m->ours, nodes, runs, &ours);
    if (m->has_gossipsub) large_some(m, &m->gossipsub, nodes, runs, &theirs);
    char name[96];
    snprintf(name, sizeof name, "large: 1 MiB to all, %u peers", nodes);
    mesh_report(m, name, "ms", &ours, m->has_gossipsub ? &m->gossipsub : NULL, &theirs);
}
