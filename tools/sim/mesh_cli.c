// `mycel sim mesh`: seeds of mesh mode, a report of one or the sum of many, and for a failure the line that replays it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "core/check.h"
#include "core/error.h"
#include "core/message.h"
#include "core/sign.h"
#include "tools/sim/jobs.h"
#include "tools/sim/mesh.h"
#include "tools/sim/parse.h"

const char *const mesh_fault_names[MESH_FAULT_COUNT] = {
    "drop",   "delay", "reorder", "duplicate", "split", "oneway", "pair",  "site", "crash",
    "silent", "pause", "clock",   "stale",     "move",  "slow",   "leave", "mass",
};
const char *const mesh_attack_names[ATTACK_COUNT] = {
    "forge", "accuse", "replay", "equivocate", "absurd", "flood", "eclipse", "mute",
};
const char *const mesh_scenario_names[SCENARIO_COUNT] = {
    "random", "broadcast", "kill", "black-hole", "stop", "split", "site", "mass", "one-origin", "any-origin",
};

struct arguments {
    struct mesh_options options;
    uint64_t seeds;
    uint64_t jobs;
    bool json, vary;
    char line[512];  // as given, for the line that replays
};

struct totals {
    const struct arguments *a;
    uint64_t failed, taken;
    struct mesh_report sum;
    struct mesh_report last;
    struct hash_state traces;
};

static int usage(const char *what, const char *value)
{
    fprintf(
        stderr,
        "mycel sim mesh: %s%s%s\n"
        "usage: mycel sim mesh [--nodes 32] [--sites N] [--seed 1] [--seeds 1] [--jobs 1] [--vary]\n"
        "                      [--scenario random|broadcast|kill|black-hole|stop|split|site|mass|one-origin|\n"
        "                                  any-origin] [--seconds N]\n"
        "                      [--faults all|none|drop,delay,reorder,duplicate,split,oneway,pair,site,crash,silent,\n"
        "                                pause,clock,stale,move,slow,leave,mass]\n"
        "                      [--hostile N] [--attacks all|forge,accuse,replay,equivocate,absurd,flood,eclipse,mute]\n"
        "                      [--storm] [--safety] [--members-max N] [--casts 2] [--cast-bytes 1024]\n"
        "                      [--bandwidth BYTES] [--json] [-v]\n",
        what, value ? ": " : "", value ? value : "");
    return core_error_exit(CORE_ERR_USAGE);
}

static bool parse_value(struct arguments *a, const char *flag, const char *value)
{
    static const struct {
        const char *flag;
        uint64_t low, high;
        size_t offset;
    } numbers[] = {
        {"--nodes", 2, 200000, offsetof(struct mesh_options, nodes)},
        {"--sites", 0, 4096, offsetof(struct mesh_options, sites)},
        {"--hostile", 0, 100000, offsetof(struct mesh_options, hostile)},
        {"--members-max", 0, 1 << 20, offsetof(struct mesh_options, members_max)},
        {"--seconds", 0, 100000, offsetof(struct mesh_options, seconds)},
        {"--casts", 0, 10000, offsetof(struct mesh_options, casts)},
        {"--cast-bytes", 8, 16384, offsetof(struct mesh_options, cast_bytes)},
        {"--bandwidth", 0, UINT32_MAX, offsetof(struct mesh_options, bandwidth)},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uint64_t n;
        if (strcmp(flag, numbers[i].flag) != 0) continue;
        if (!sim_parse_number(value, numbers[i].low, numbers[i].high, &n)) return false;
        *(uint32_t *)(void *)((uint8_t *)&a->options + numbers[i].offset) = (uint32_t)n;
        return true;
    }
    if (strcmp(flag, "--seed") == 0) return sim_parse_number(value, 0, UINT64_MAX, &a->options.seed);
    if (strcmp(flag, "--seeds") == 0) return sim_parse_number(value, 1, 1000000, &a->seeds);
    if (strcmp(flag, "--jobs") == 0) return sim_parse_number(value, 1, JOBS_WORKERS_MAX, &a->jobs);
    if (strcmp(flag, "--faults") == 0)
        return sim_parse_set(value, mesh_fault_names, MESH_FAULT_COUNT, MESH_ALL, &a->options.faults);
    if (strcmp(flag, "--attacks") == 0)
        return sim_parse_set(value, mesh_attack_names, ATTACK_COUNT, ATTACK_ALL, &a->options.attacks);
    if (strcmp(flag, "--scenario") != 0) return false;
    for (uint32_t i = 0; i < SCENARIO_COUNT; i++) {
        if (strcmp(value, mesh_scenario_names[i]) != 0) continue;
        a->options.scenario = (enum mesh_scenario)i;
        return true;
    }
    return false;
}

// Of the flags as given, all but those of seeds and output.
static void keep_line(struct arguments *a, const char *flag, const char *value)
{
    static const char *const skip[] = {"--seed", "--seeds", "--jobs", "--json", "-v"};
    for (size_t i = 0; i < sizeof skip / sizeof *skip; i++)
        if (strcmp(flag, skip[i]) == 0) return;
    const size_t used = strlen(a->line);
    snprintf(a->line + used, sizeof a->line - used, " %s%s%s", flag, value ? " " : "", value ? value : "");
}

static int parse(struct arguments *a, int argc, char **argv)
{
    *a = (struct arguments){.options = {.nodes = 32, .seed = 1, .casts = 2, .cast_bytes = 1024}, .seeds = 1, .jobs = 1};
    a->options.attacks = ATTACK_ALL;
    for (int i = 0; i < argc; i++) {
        const char *flag = argv[i];
        bool *const flags[] = {&a->json, &a->options.verbose, &a->options.storm, &a->options.safety, &a->vary};
        static const char *const names[] = {"--json", "-v", "--storm", "--safety", "--vary"};
        bool known = false;
        for (size_t k = 0; k < 5; k++) {
            if (strcmp(flag, names[k]) != 0) continue;
            known = *flags[k] = true;
            keep_line(a, flag, NULL);
        }
        if (known) continue;
        const char *value = i + 1 < argc ? argv[++i] : NULL;
        if (!value) return usage("this flag wants a value, or is none", flag);
        if (!parse_value(a, flag, value)) return usage("no such flag, or not a value for it", flag);
        keep_line(a, flag, value);
    }
    if (a->options.hostile + 4 > a->options.nodes && a->options.hostile) return usage("too many are hostile", NULL);
    return 0;
}

static struct mesh_options options_of(const struct arguments *a, uint64_t index)
{
    struct mesh_options o = a->options;
    o.seed += index;
    if (!a->vary) return o;
    struct mesh_options varied;
    mesh_vary(&varied, o.seed);
    varied.verbose = o.verbose;
    return varied;
}

static void run_one(void *context, uint64_t index, void *result)
{
    const struct totals *t = context;
    const struct mesh_options o = options_of(t->a, index);
    (void)mesh_run(&o, result);
}

static void add(struct mesh_report *sum, const struct mesh_report *r)
{
    sum->events += r->events;
    sum->messages += r->messages;
    sum->virtual_ms += r->virtual_ms;
    sum->casts += r->casts;
    sum->missed += r->missed;
    sum->suspicions += r->suspicions;
    sum->suspicions_false += r->suspicions_false;
    sum->deaths += r->deaths;
    sum->deaths_false += r->deaths_false;
    sum->refused += r->refused;
    sum->eclipsed += r->eclipsed;
    sum->detected += r->detected;
    if (r->detect_ms_max > sum->detect_ms_max) sum->detect_ms_max = r->detect_ms_max;
    if (r->heal_ms > sum->heal_ms) sum->heal_ms = r->heal_ms;
    for (uint32_t i = 0; i < MESH_FAULT_COUNT; i++) sum->faults[i] += r->faults[i];
    for (uint32_t i = 0; i < ATTACK_COUNT; i++) sum->attacks[i] += r->attacks[i];
}

static void take(void *context, uint64_t index, const void *result)
{
    struct totals *t = context;
    const struct arguments *a = t->a;
    const unsigned long long seed = a->options.seed + index;
    static const struct mesh_report died = {.failed = true, .what = "the process died"};
    const struct mesh_report *r = result ? result : &died;
    if (r->failed) {
        t->failed++;
        fprintf(stderr, "FAIL seed %llu: %s\nreplay: mycel sim mesh%s --seed %llu -v\n", seed, r->what, a->line, seed);
    }
    hash_add(&t->traces, r->trace.bytes, sizeof r->trace.bytes);
    add(&t->sum, r);
    t->last = *r;
    t->taken++;
    if (!a->json && a->seeds >= 100 && t->taken % (a->seeds / 10) == 0)
        fprintf(stderr, "%llu of %llu seeds\n", (unsigned long long)t->taken, (unsigned long long)a->seeds);
}

static double seconds_used(double *megabytes)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    *megabytes = (double)u.ru_maxrss / 1024;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print_one(const struct mesh_options *o, const struct mesh_report *r)
{
    double megabytes;
    const double seconds = seconds_used(&megabytes);
    printf("%u peers, %s, seed %llu: %.1f s of virtual time in %.1f s of processor time, %.0f MiB\n", o->nodes,
           mesh_scenario_names[o->scenario], (unsigned long long)o->seed, (double)r->virtual_ms / 1e3, seconds,
           megabytes);
    printf("%llu events, %llu messages\n", (unsigned long long)r->events, (unsigned long long)r->messages);
    if (r->formed_ms) printf("formed after %.2f s\n", (double)r->formed_ms / 1e3);
    printf("broadcasts: %llu, missed %llu, redundancy %.3f, last hop %.1f (most %u), ms p50 %.1f p99 %.1f max %.1f\n",
           (unsigned long long)r->casts, (unsigned long long)r->missed, r->redundancy, r->last_hop_mean, r->last_hop,
           r->delivery_ms_p50, r->delivery_ms_p99, r->delivery_ms_max);
    printf("suspicions %llu (false %llu), seen as dead %llu times (false %llu)\n", (unsigned long long)r->suspicions,
           (unsigned long long)r->suspicions_false, (unsigned long long)r->deaths, (unsigned long long)r->deaths_false);
    if (r->detected)
        printf("deaths seen by all: %u, median %.0f ms, slowest %.0f ms\n", r->detected, r->detect_ms_median,
               r->detect_ms_max);
    printf("whole %.2f s after the last fault\n", r->heal_ms / 1e3);
    printf("idle, a peer: %.2f messages/s, %.0f bytes/s\n", r->idle_messages, r->idle_bytes);
    printf("overlay: pieces %u, neighbours %u to %u, one-sided %u, a link %.1f ms, a random pair %.1f ms\n", r->pieces,
           r->degree_min, r->degree_max, r->asymmetric, r->link_ms, r->random_ms);
    if (o->hostile)
        printf("hostile: %u, refused %llu, eclipsed at most %u at a time\n", o->hostile, (unsigned long long)r->refused,
               r->eclipsed);
    printf("sent:");
    for (uint32_t i = 0; i < MESH_TYPES; i++)
        if (r->by_type[i]) printf(" %s %llu", message_info(i)->name, (unsigned long long)r->by_type[i]);
    printf("\n");
}

static void print_counts(const char *what, const char *const *names, const uint64_t *counts, uint32_t count)
{
    printf("%s:", what);
    for (uint32_t i = 0; i < count; i++)
        if (counts[i]) printf(" %s %llu", names[i], (unsigned long long)counts[i]);
    printf("\n");
}

static void print_json(const struct totals *t, const char *trace)
{
    const struct arguments *a = t->a;
    const struct mesh_report *r = a->seeds == 1 ? &t->last : &t->sum;
    double megabytes;
    const double seconds = seconds_used(&megabytes);
    printf("{\"schema\":1,\"nodes\":%u,\"scenario\":\"%s\",\"seed\":%llu,\"seeds\":%llu,\"failed\":%llu,"
           "\"virtual_ms\":%llu,\"cpu_s\":%.2f,\"rss_mib\":%.0f,\"events\":%llu,\"messages\":%llu,\"formed_ms\":%llu,",
           a->options.nodes, mesh_scenario_names[a->options.scenario], (unsigned long long)a->options.seed,
           (unsigned long long)a->seeds, (unsigned long long)t->failed, (unsigned long long)r->virtual_ms, seconds,
           megabytes, (unsigned long long)r->events, (unsigned long long)r->messages, (unsigned long long)r->formed_ms);
    printf("\"casts\":%llu,\"missed\":%llu,\"redundancy\":%.4f,\"last_hop_mean\":%.2f,\"last_hop\":%u,"
           "\"delivery_ms\":{\"p50\":%.2f,\"p99\":%.2f,\"max\":%.2f},",
           (unsigned long long)r->casts, (unsigned long long)r->missed, r->redundancy, r->last_hop_mean, r->last_hop,
           r->delivery_ms_p50, r->delivery_ms_p99, r->delivery_ms_max);
    printf("\"suspicions\":%llu,\"suspicions_false\":%llu,\"seen_dead\":%llu,\"seen_dead_false\":%llu,"
           "\"detected\":%u,\"detect_ms\":{\"median\":%.0f,\"max\":%.0f},\"heal_ms\":%.0f,",
           (unsigned long long)r->suspicions, (unsigned long long)r->suspicions_false, (unsigned long long)r->deaths,
           (unsigned long long)r->deaths_false, r->detected, r->detect_ms_median, r->detect_ms_max, r->heal_ms);
    printf("\"idle\":{\"messages\":%.3f,\"bytes\":%.1f},\"overlay\":{\"pieces\":%u,\"degree_min\":%u,\"degree_max\":%u,"
           "\"asymmetric\":%u,\"link_ms\":%.2f,\"random_ms\":%.2f},\"refused\":%llu,\"eclipsed\":%u,\"sent\":{",
           r->idle_messages, r->idle_bytes, r->pieces, r->degree_min, r->degree_max, r->asymmetric, r->link_ms,
           r->random_ms, (unsigned long long)r->refused, r->eclipsed);
    bool any = false;
    for (uint32_t i = 0; i < MESH_TYPES; i++) {
        if (!r->by_type[i]) continue;
        printf("%s\"%s\":%llu", any ? "," : "", message_info(i)->name, (unsigned long long)r->by_type[i]);
        any = true;
    }
    printf("},\"faults\":{");
    for (uint32_t i = 0; i < MESH_FAULT_COUNT; i++)
        printf("%s\"%s\":%llu", i ? "," : "", mesh_fault_names[i], (unsigned long long)r->faults[i]);
    printf("},\"trace\":\"%s\"}\n", trace);
}

int mesh_main(int argc, char **argv)
{
    struct arguments a;
    const int bad = parse(&a, argc, argv);
    if (bad) return bad;
    if (sign_start()) return core_error_exit(CORE_ERR_FAILED);
    struct totals t = {.a = &a};
    hash_begin(&t.traces);
    jobs_run(&(struct jobs){.count = a.seeds,
                            .workers = a.seeds < a.jobs ? (uint32_t)a.seeds : (uint32_t)a.jobs,
                            .size = sizeof(struct mesh_report),
                            .run = run_one,
                            .take = take,
                            .context = &t});
    const struct core_hash trace = hash_end(&t.traces);
    char hex[2 * CORE_HASH_SIZE + 1];
    hex_encode(hex, trace.bytes, CORE_HASH_SIZE);
    if (a.json) {
        print_json(&t, hex);
    } else {
        if (a.seeds == 1) {
            const struct mesh_options o = options_of(&a, 0);
            print_one(&o, &t.last);
        } else {
            printf("%llu seeds, %llu failed; %llu events, %llu messages, %.0f s of virtual time\n",
                   (unsigned long long)a.seeds, (unsigned long long)t.failed, (unsigned long long)t.sum.events,
                   (unsigned long long)t.sum.messages, (double)t.sum.virtual_ms / 1e3);
            printf("broadcasts %llu, missed %llu; deaths seen by all %u, slowest %.0f ms; slowest heal %.1f s\n",
                   (unsigned long long)t.sum.casts, (unsigned long long)t.sum.missed, t.sum.detected,
                   t.sum.detect_ms_max, t.sum.heal_ms / 1e3);
        }
        print_counts("faults", mesh_fault_names, t.sum.faults, MESH_FAULT_COUNT);
        print_counts("attacks", mesh_attack_names, t.sum.attacks, ATTACK_COUNT);
        printf("trace %s\n", hex);
    }
    return t.failed ? core_error_exit(CORE_ERR_FAILED) : 0;
}
