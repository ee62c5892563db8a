// `mycel sim`: seeds one after the other, coverage at the end, and for a failure the line that replays it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "learn/peer.h"
#include "tools/sim/jobs.h"
#include "tools/sim/mesh.h"
#include "tools/sim/parse.h"
#include "tools/sim/sim.h"

// In the order of enum sim_fault's bits.
static const char *const fault_names[FAULT_COUNT] = {
    "drop", "delay", "reorder", "duplicate", "partition", "crash", "restart",
    "disk", "pause", "clock",   "loss",      "stale",     "empty", "hostile",
};

struct arguments {
    struct sim_options options;
    uint64_t seeds, jobs;
    bool json, vary;
    char faults[128];
};

struct totals {
    const struct arguments *a;
    struct sim_report sum;
    struct hash_state traces;
    uint64_t seeds, failures, round_ms;
};

static int usage(const char *what, const char *value)
{
    fprintf(
        stderr,
        "mycel sim: %s%s%s\n"
        "usage: mycel sim [--nodes 7] [--hosts 0] [--seed 1] [--seeds 1] [--jobs 1] [--rounds 20] [--vary]\n"
        "                 [--faults none|all|drop,delay,reorder,duplicate,partition,crash,restart,disk,pause,clock,\n"
        "                           loss,stale,empty,hostile] [--stranger] [--byzantine] [--json] [-v]\n"
        "       mycel sim mesh ...   (mycel sim mesh --help)\n",
        what, value ? ": " : "", value ? value : "");
    return core_error_exit(CORE_ERR_USAGE);
}

// OK, or the exit status of a usage error.
static int parse(struct arguments *a, int argc, char **argv)
{
    *a = (struct arguments){
        .options = {.nodes = 7, .rounds = 20, .seed = 1, .faults = FAULT_ALL}, .seeds = 1, .jobs = 1};
    snprintf(a->faults, sizeof a->faults, "all");
    for (int i = 0; i < argc; i++) {
        const char *flag = argv[i];
        if (strcmp(flag, "sim") == 0 && i == 0) continue;
        if (strcmp(flag, "--json") == 0) {
            a->json = true;
            continue;
        }
        if (strcmp(flag, "--vary") == 0) {
            a->vary = true;
            continue;
        }
        if (strcmp(flag, "--stranger") == 0) {
            a->options.hostile = true;
            continue;
        }
        if (strcmp(flag, "--byzantine") == 0) {
            a->options.byzantine = true;
            continue;
        }
        if (strcmp(flag, "-v") == 0) {
            a->options.verbose = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[++i] : NULL;
        uint64_t n = 0;
        bool ok = value != NULL;
        if (strcmp(flag, "--nodes") == 0)
            ok = ok && sim_parse_number(value, 1, 64, &n), a->options.nodes = (uint32_t)n;
        else if (strcmp(flag, "--hosts") == 0)
            ok = ok && sim_parse_number(value, 0, 64, &n), a->options.hosts = (uint32_t)n;
        else if (strcmp(flag, "--rounds") == 0)
            ok = ok && sim_parse_number(value, 1, 10000, &n), a->options.rounds = (uint32_t)n;
        else if (strcmp(flag, "--seed") == 0)
            ok = ok && sim_parse_number(value, 0, UINT64_MAX, &a->options.seed);
        else if (strcmp(flag, "--seeds") == 0)
            ok = ok && sim_parse_number(value, 1, 1000000, &a->seeds);
        else if (strcmp(flag, "--jobs") == 0)
            ok = ok && sim_parse_number(value, 1, JOBS_WORKERS_MAX, &a->jobs);
        else if (strcmp(flag, "--faults") == 0) {
            ok = ok && strlen(value) < sizeof a->faults &&
                 sim_parse_set(value, fault_names, FAULT_COUNT, FAULT_ALL, &a->options.faults);
            if (ok) snprintf(a->faults, sizeof a->faults, "%s", value);
        } else
            return usage("no such flag", flag);
        if (!ok) return usage(value ? "not a value for this flag" : "this flag wants a value", value ? value : flag);
    }
    return 0;
}

static void print_replay(const struct arguments *a, uint64_t seed, const struct sim_report *r, FILE *to)
{
    fprintf(to, "FAIL seed %llu: %s\n", (unsigned long long)seed, r->what);
    if (a->vary)
        fprintf(to, "replay: mycel sim --vary --seed %llu -v\n", (unsigned long long)seed);
    else
        fprintf(to, "replay: mycel sim --nodes %u --hosts %u --rounds %u --faults %s%s%s --seed %llu -v\n",
                a->options.nodes, a->options.hosts, a->options.rounds, a->faults,
                a->options.hostile ? " --stranger" : "", a->options.byzantine ? " --byzantine" : "",
                (unsigned long long)seed);
}

static void add(struct totals *t, const struct sim_report *r)
{
    t->seeds++;
    t->failures += r->failed;
    t->sum.events += r->events;
    t->sum.messages += r->messages;
    t->sum.virtual_ms += r->virtual_ms;
    t->sum.rounds += r->rounds;
    t->round_ms += r->round_ms_median;
    for (int i = 0; i < FAULT_COUNT; i++) t->sum.faults[i] += r->faults[i];
    for (int i = 0; i < SIM_STAGES; i++)
        for (int k = 0; k < SIM_STAGES; k++) t->sum.stages[i][k] += r->stages[i][k];
    t->sum.attempts += r->attempts;
    t->sum.commands += r->commands;
    t->sum.joins += r->joins;
    t->sum.leaves += r->leaves;
    t->sum.fetches += r->fetches;
    t->sum.unfit += r->unfit;
    t->sum.refused += r->refused;
    t->sum.lies += r->lies;
    t->sum.convicted += r->convicted;
    t->sum.disputes += r->disputes;
    t->sum.forks += r->forks;
}

static void print_text(const struct totals *t, const struct core_hash *trace)
{
    const struct sim_report *s = &t->sum;
    char hex[2 * CORE_HASH_SIZE + 1];
    hex_encode(hex, trace->bytes, CORE_HASH_SIZE);
    printf(
        "%llu seeds, %llu failed; %llu rounds, %llu events, %llu messages, %.0f s of virtual time, a round %.0f ms\n",
        (unsigned long long)t->seeds, (unsigned long long)t->failures, (unsigned long long)s->rounds,
        (unsigned long long)s->events, (unsigned long long)s->messages, (double)s->virtual_ms / 1e3,
        t->seeds ? (double)t->round_ms / (double)t->seeds : 0);
    printf("faults:");
    for (int i = 0; i < FAULT_COUNT; i++) printf(" %s %llu", fault_names[i], (unsigned long long)s->faults[i]);
    printf("\nseen: attempts %llu, commands %llu, joins %llu, leaves %llu, fetches %llu, unfit %llu, refused "
           "%llu, lies %llu, convictions %llu, disputes %llu, forks %llu\ntransitions:\n",
           (unsigned long long)s->attempts, (unsigned long long)s->commands, (unsigned long long)s->joins,
           (unsigned long long)s->leaves, (unsigned long long)s->fetches, (unsigned long long)s->unfit,
           (unsigned long long)s->refused, (unsigned long long)s->lies, (unsigned long long)s->convicted,
           (unsigned long long)s->disputes, (unsigned long long)s->forks);
    for (int i = 0; i < SIM_STAGES; i++) {
        bool any = false;
        for (int k = 0; k < SIM_STAGES; k++) {
            if (!s->stages[i][k]) continue;
            if (!any) printf("  %-13s ->", round_stage_name((enum round_stage)i));
            printf("%s %s %llu", any ? "," : "", round_stage_name((enum round_stage)k),
                   (unsigned long long)s->stages[i][k]);
            any = true;
        }
        if (any) printf("\n");
    }
    printf("trace %s\n", hex);
}

static void print_json(const struct totals *t, const struct core_hash *trace)
{
    const struct sim_report *s = &t->sum;
    char hex[2 * CORE_HASH_SIZE + 1];
    hex_encode(hex, trace->bytes, CORE_HASH_SIZE);
    printf("{\"schema\":1,\"seeds\":%llu,\"failed\":%llu,\"rounds\":%llu,\"events\":%llu,\"messages\":%llu,"
           "\"virtual_ms\":%llu,\"attempts\":%llu,\"fetches\":%llu,\"faults\":{",
           (unsigned long long)t->seeds, (unsigned long long)t->failures, (unsigned long long)s->rounds,
           (unsigned long long)s->events, (unsigned long long)s->messages, (unsigned long long)s->virtual_ms,
           (unsigned long long)s->attempts, (unsigned long long)s->fetches);
    for (int i = 0; i < FAULT_COUNT; i++)
        printf("%s\"%s\":%llu", i ? "," : "", fault_names[i], (unsigned long long)s->faults[i]);
    printf("},\"transitions\":[");
    bool any = false;
    for (int i = 0; i < SIM_STAGES; i++) {
        for (int k = 0; k < SIM_STAGES; k++) {
            if (!s->stages[i][k]) continue;
            printf("%s{\"from\":\"%s\",\"to\":\"%s\",\"count\":%llu}", any ? "," : "",
                   round_stage_name((enum round_stage)i), round_stage_name((enum round_stage)k),
                   (unsigned long long)s->stages[i][k]);
            any = true;
        }
    }
    printf("],\"trace\":\"%s\"}\n", hex);
}

static void run_one(void *context, uint64_t index, void *result)
{
    const struct totals *t = context;
    struct sim_options options = t->a->options;
    options.seed += index;
    if (t->a->vary) sim_vary(&options, options.seed);
    (void)sim_run(&options, result);
}

static void take(void *context, uint64_t index, const void *result)
{
    struct totals *t = context;
    const struct arguments *a = t->a;
    static const struct sim_report died = {.failed = true, .what = "the process died"};
    const struct sim_report *r = result ? result : &died;
    if (r->failed) print_replay(a, a->options.seed + index, r, stderr);
    hash_add(&t->traces, r->trace.bytes, sizeof r->trace.bytes);
    add(t, r);
    if (!a->json && a->seeds >= 20 && t->seeds % (a->seeds / 10) == 0)
        fprintf(stderr, "%llu of %llu seeds\n", (unsigned long long)t->seeds, (unsigned long long)a->seeds);
}

int sim_main(int argc, char **argv)
{
    const int skip = argc > 0 && strcmp(argv[0], "sim") == 0;
    if (argc > skip && strcmp(argv[skip], "mesh") == 0) return mesh_main(argc - skip - 1, argv + skip + 1);
    struct arguments a;
    const int bad = parse(&a, argc, argv);
    if (bad) return bad;
    if (sign_start()) return core_error_exit(CORE_ERR_FAILED);
    struct totals totals = {.a = &a};
    hash_begin(&totals.traces);
    jobs_run(&(struct jobs){.count = a.seeds,
                            .workers = a.seeds < a.jobs ? (uint32_t)a.seeds : (uint32_t)a.jobs,
                            .size = sizeof(struct sim_report),
                            .run = run_one,
                            .take = take,
                            .context = &totals});
    const struct core_hash trace = hash_end(&totals.traces);
    if (a.json)
        print_json(&totals, &trace);
    else
        print_text(&totals, &trace);
    return totals.failures ? core_error_exit(CORE_ERR_FAILED) : 0;
}
