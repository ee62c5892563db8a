#include "bench/aggregate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/aggregate_fleet.h"
#include "bench/aggregate_peers.h"
#include "bench/bench.h"

enum { ROUNDS_MAX = AGGREGATE_TIMES_MAX, TURNS = 3, TEN_MILLION = 10000000, MIB_64 = 16 << 20 };

struct times {
    double ms[ROUNDS_MAX];
    uint32_t count;
    struct aggregate_took last;
};

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double quantile(const struct times *t, double q)
{
    return t->ms[(uint32_t)(q * (t->count - 1) + 0.5)];
}

static void row_of(struct bench_row *row, const char *name, struct times *t)
{
    qsort(t->ms, t->count, sizeof *t->ms, by_value);
    *row = (struct bench_row){.value = quantile(t, 0.5), .unit = "ms", .less_is_better = true, .runs = t->count};
    snprintf(row->name, sizeof row->name, "%s", name);
    row->lowest = t->ms[0];
    row->highest = t->ms[t->count - 1];
    row->spread = row->value > 0 ? (quantile(t, 0.75) - quantile(t, 0.25)) / row->value : 0;
}

// The means of one set of processes, added to `t`; two that warm up don't count. The first and the last are checked.
static bool measure(struct bench *b, const struct aggregate_options *o, uint32_t rounds, struct times *t)
{
    struct aggregate_fleet f;
    bool ok = aggregate_fleet_open(&f, o);
    for (uint64_t round = 0; ok && round < rounds + 2; round++) {
        ok = aggregate_fleet_round(&f, round, UINT32_MAX, &t->last);
        if (ok && (round == 0 || round == rounds + 1)) ok = aggregate_fleet_right(&f);
        if (ok && round >= 2 && t->count < ROUNDS_MAX) t->ms[t->count++] = t->last.ms;
    }
    if (!ok) bench_say(b, "aggregate: %s\n", f.why);
    aggregate_fleet_close(&f);
    return ok;
}

// ---- on one machine ----

static const char *rates(char note[128], const struct times *t, uint64_t elements, uint32_t count)
{
    const double seconds = quantile(t, 0.5) / 1e3;
    snprintf(note, 128, "bus %.2f GB/s of fp32; %.1f MiB sent a peer; %.0f ms CPU of all",
             (double)elements * 4 * 2 * (count - 1) / count / seconds / 1e9, (double)t->last.sent_most / (1 << 20),
             t->last.cpu_ms);
    return note;
}

// Everybody's turn, one after the other: a few means each.
static bool turn(struct bench *b, uint64_t elements, uint32_t count, uint32_t rounds, struct times ours[2],
                 struct times theirs[AGGREGATE_PEERS], bool last)
{
    struct aggregate_options o = {.count = count, .machines = 1, .elements = elements};
    for (int i = 0; i < 2; i++) {
        o.bits = i ? 32 : 8;
        if (!measure(b, &o, rounds, &ours[i])) return false;
    }
    for (uint32_t peer = 0; bench_with_peers(b) && aggregate_peer_name(peer); peer++) {
        char why[256];
        struct times *t = &theirs[peer];
        const uint32_t room = ROUNDS_MAX - t->count < rounds ? ROUNDS_MAX - t->count : rounds;
        t->count += aggregate_peer_run(peer, count, elements, room, t->ms + t->count, why);
        if (last && !t->count) bench_say(b, "aggregate: %s: %s\n", aggregate_peer_name(peer), why);
    }
    return true;
}

// Turns rather than one set after the other: the machine changes from minute to minute.
static bool local(struct bench *b, uint64_t elements, uint32_t count, const char *size)
{
    const uint32_t rounds = bench_runs(b) ? bench_runs(b) : bench_full(b) ? 21 : 9;
    const uint32_t turns = rounds < TURNS ? rounds : TURNS;
    struct times ours[2] = {0}, theirs[AGGREGATE_PEERS] = {0};
    for (uint32_t i = 0; i < turns; i++)
        if (!turn(b, elements, count, (rounds + turns - 1) / turns, ours, theirs, i + 1 == turns)) return false;
    for (int i = 0; i < 2; i++) {
        char name[96], note[128];
        struct bench_row row;
        snprintf(name, sizeof name, "mean of %s, %u peers, %d bits", size, count, i ? 32 : 8);
        row_of(&row, name, &ours[i]);
        row.note = rates(note, &ours[i], elements, count);
        bench_report(b, &row);
        row.note = NULL;
        for (uint32_t peer = 0; peer < AGGREGATE_PEERS; peer++) {
            if (!theirs[peer].count) continue;
            struct bench_row other;
            row_of(&other, "", &theirs[peer]);
            row.beside = aggregate_peer_name(peer);
            row.beside_value = other.value;
            bench_report(b, &row);
        }
    }
    return true;
}

// ---- one of four is killed ----

static bool kill_one(struct bench *b)
{
    const uint32_t runs = bench_runs(b) ? bench_runs(b) : 5;
    const struct aggregate_options o = {.count = 4, .machines = 1, .elements = TEN_MILLION, .bits = 8, .copies = true};
    struct times t = {.count = 0};
    bool ok = true;
    for (uint32_t run = 0; ok && run < runs; run++) {
        struct aggregate_fleet f;
        ok = aggregate_fleet_open(&f, &o) && aggregate_fleet_round(&f, 0, run % o.count, &t.last) &&
             aggregate_fleet_right(&f);
        if (ok) t.ms[t.count++] = t.last.ms;
        if (!ok) bench_say(b, "aggregate: %s\n", f.why);
        aggregate_fleet_close(&f);
    }
    if (!ok) return false;
    struct bench_row row;
    row_of(&row, "10 M elements, one of 4 killed in the sum: done after", &t);
    row.note = "over all four contributions";
    bench_report(b, &row);
    return true;
}

// ---- across networks ----

static bool lab(const char *verb, const char *more)
{
    char command[256], self[200];
    const ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size <= 0) return false;
    self[size] = 0;
    snprintf(command, sizeof command, "'%s' lab hosts %s --tag agg %s >.cache/bench/hosts.log 2>&1", self, verb, more);
    return system(command) == 0;
}

struct wire {
    uint32_t count;
    const char *name;
    double bits_per_s, delay_ms;  // one way
};

// What the plan's bytes take at the least: every peer sends as much as the busiest one, in full TCP segments (1448
// bytes of 1514); the last contribution and the last sum then have their way to go.
static double least_ms(const struct wire *w, double sent)
{
    return sent * 8 * 1514 / 1448 / w->bits_per_s * 1e3 + 2 * w->delay_ms;
}

static bool across(struct bench *b, const struct wire *w)
{
    char more[96], name[96], note[128], delay[32] = "";
    snprintf(more, sizeof more, "%u --rate %s --delay %.0fms", w->count, w->name, w->delay_ms);
    (void)lab("down", "");
    if (!lab("up", more)) {
        bench_say(b, "aggregate: no hosts: .cache/bench/hosts.log\n");
        return false;
    }
    const struct aggregate_options o = {
        .count = w->count, .machines = w->count, .elements = MIB_64, .bits = 8, .tag = "agg"};
    struct times t = {.count = 0};
    const bool ok = measure(b, &o, bench_runs(b) ? bench_runs(b) : 3, &t);
    (void)lab("down", "");
    if (!ok) return false;
    struct bench_row row;
    if (w->delay_ms > 0) snprintf(delay, sizeof delay, " + %.0f ms", w->delay_ms);
    snprintf(name, sizeof name, "64 MiB, %u peers, %s%s", w->count, w->name, delay);
    row_of(&row, name, &t);
    row.note = note;
    const double sent = (double)t.last.sent_most;
    snprintf(note, sizeof note,
             "payload %.1f %% of the link's limit, %.1f %% of what is possible; %.1f MiB sent a peer",
             100 * sent * 8 / (row.value / 1e3) / w->bits_per_s, 100 * least_ms(w, sent) / row.value, sent / (1 << 20));
    bench_report(b, &row);
    return true;
}

// The last one is for machines that have not the processors for 800 Mbit/s through hosts, router and relay.
static const struct wire wires[] = {
    {2, "1gbit", 1e9, 0}, {4, "100mbit", 1e8, 20}, {8, "100mbit", 1e8, 20}, {8, "25mbit", 25e6, 20}};

int bench_aggregate(struct bench *b)
{
    bool ok = true;
    (void)!system("mkdir -p .cache/bench");
    if (bench_wants(b, "local")) {
        if (!bench_nodes(b) || bench_nodes(b) == 4) ok &= local(b, TEN_MILLION, 4, "10 M elements");
        if (!bench_nodes(b) || bench_nodes(b) == 4) ok &= local(b, MIB_64, 4, "64 MiB");
        if (!bench_nodes(b) || bench_nodes(b) == 8) ok &= local(b, MIB_64, 8, "64 MiB");
    }
    if (bench_wants(b, "kill")) ok &= kill_one(b);
    if (bench_wants(b, "hosts")) {
        for (size_t i = 0; i < sizeof wires / sizeof *wires; i++)
            if (!bench_nodes(b) || bench_nodes(b) == wires[i].count) ok &= across(b, &wires[i]);
    }
    return ok ? 0 : 1;
}
