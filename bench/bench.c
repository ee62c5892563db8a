#include "bench/report.h"

#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/check.h"
#include "hip/device.h"
#include "sched/placement.h"

enum { MAX_SAMPLES = 256, LEAST_SAMPLES = 5 };

static double clock_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double bench_now(void)
{
    return clock_seconds(CLOCK_MONOTONIC);
}

uint32_t bench_threads(const struct bench *b)
{
    return b->threads;
}
double bench_seconds(const struct bench *b)
{
    return b->seconds;
}
uint32_t bench_seed(const struct bench *b)
{
    return b->seed;
}

bool bench_full(const struct bench *b)
{
    return b->full;
}
const char *bench_data(const struct bench *b)
{
    return b->data;
}

uint32_t bench_nodes(const struct bench *b)
{
    return b->nodes;
}
uint32_t bench_runs(const struct bench *b)
{
    return b->runs;
}

bool bench_with_peers(const struct bench *b)
{
    return b->with_peers;
}
bool bench_table(const struct bench *b)
{
    return b->table;
}

bool bench_wants(const struct bench *b, const char *part)
{
    for (size_t i = 0; i < b->word_count; i++)
        if (!strcmp(b->words[i], part)) return true;
    return b->word_count == 0;
}

bool bench_wants_of(const struct bench *b, const char *kind, const char *part)
{
    bool named = false;
    for (size_t i = 0; i < b->word_count; i++) {
        if (!strcmp(b->words[i], part)) return true;
        const char *at = strstr(kind, b->words[i]);
        if (at && (at == kind || at[-1] == ' ') && strchr(" ", at[strlen(b->words[i])])) named = true;
    }
    return !named;
}

void bench_say(struct bench *b, const char *format, ...)
{
    if (b->quiet) return;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static double once(bench_work *work, void *context, unsigned repeat, bool alone)
{
    const clockid_t clock = alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    double from = clock_seconds(clock);
    for (unsigned i = 0; i < repeat; i++) work(context);
    return (clock_seconds(clock) - from) / repeat;
}

// How often to repeat so that a sample takes a millisecond.
static unsigned repeats(bench_work *work, void *context)
{
    work(context);
    double seconds = once(work, context, 1, true);
    return seconds >= 1e-3 ? 1 : seconds <= 1e-6 ? 1000 : (unsigned)(1e-3 / seconds) + 1;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The median and the distance between the quartiles over it.
static void summary(double *samples, uint32_t count, double *median, double *spread)
{
    qsort(samples, count, sizeof *samples, ascending);
    *median = samples[count / 2];
    *spread = (samples[count * 3 / 4] - samples[count / 4]) / *median;
}

void bench_summary(double *const *samples, uint32_t count, uint32_t turns, struct bench_time *times)
{
    double ratios[MAX_SAMPLES];
    check(turns > 0 && turns <= MAX_SAMPLES);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < turns; k++) ratios[k] = samples[i][k] / samples[0][k];
        summary(ratios, turns, &times[i].ratio, &times[i].ratio_spread);
    }
    for (uint32_t i = 0; i < count; i++) summary(samples[i], turns, &times[i].median, &times[i].spread);
}

void bench_measure(struct bench *b, bench_work *const *works, void *const *contexts, uint32_t count, bool alone,
                   struct bench_time *times)
{
    double taken[BENCH_TURNS_MAX][MAX_SAMPLES], *samples[BENCH_TURNS_MAX];
    unsigned repeat[BENCH_TURNS_MAX];
    uint32_t turns = 0;
    check(count > 0 && count <= BENCH_TURNS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        samples[i] = taken[i];
        repeat[i] = repeats(works[i], contexts[i]);
    }
    double end = bench_now() + b->seconds * count;
    for (; turns < MAX_SAMPLES && (turns < LEAST_SAMPLES || bench_now() < end); turns++) {
        for (uint32_t i = 0; i < count; i++) taken[i][turns] = once(works[i], contexts[i], repeat[i], alone);
    }
    bench_summary(samples, count, turns, times);
}

int bench_apart(struct bench *b, int (*run)(struct bench *b, void *context), void *context)
{
    int ends[2];
    fflush(stdout);
    check(pipe(ends) == 0);
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        if (b->rows) b->rows = json_array();
        int status = run(b, context);
        if (b->rows && json_dumpfd(b->rows, ends[1], JSON_COMPACT | JSON_REAL_PRECISION(6))) status = 1;
        fflush(stdout);
        _exit(status);
    }
    close(ends[1]);
    json_t *rows = b->rows ? json_loadfd(ends[0], 0, NULL) : NULL;
    if (rows) {
        check(json_array_extend(b->rows, rows) == 0);
        json_decref(rows);
    }
    close(ends[0]);
    int status = 0;
    check(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

void bench_hardware(char *line, size_t size)
{
    struct sched_topology *t;
    struct sched_facts f = {0};
    if (sched_topology_open(&t) == CORE_ERR_OK) {
        f = t->facts;
        sched_topology_close(t);
    }
    struct hip_device *d;
    struct hip_facts h = {0};
    if (hip_device_open("cpu", NULL, &d) == CORE_ERR_OK) {
        hip_device_facts(d, &h);
        hip_device_close(d);
    }
    snprintf(line, size, "%s, %u cpus usable of %u, L2 %llu KiB, L3 %llu MiB, memory %llu GiB, kernels %s", f.model,
             f.cpus_usable, f.cpus, (unsigned long long)f.l2_bytes >> 10, (unsigned long long)f.l3_bytes >> 20,
             (unsigned long long)f.memory_bytes >> 30, h.isa);
}

static double ratio_of(const struct bench_row *row)
{
    if (row->ratio > 0) return row->ratio;
    if (!row->beside || !(row->beside_value > 0) || !(row->value > 0)) return 0;
    return row->less_is_better ? row->beside_value / row->value : row->value / row->beside_value;
}

static json_t *row_json(const struct bench_row *row)
{
    json_t *o = json_object();
    check(o);
    int bad = json_object_set_new(o, "name", json_string(row->name)) |
              json_object_set_new(o, "value", json_real(row->value)) |
              json_object_set_new(o, "unit", json_string(row->unit)) |
              json_object_set_new(o, "spread", json_real(row->spread));
    if (row->runs) {
        bad |= json_object_set_new(o, "runs", json_integer(row->runs));
        bad |= json_object_set_new(o, "lowest", json_real(row->lowest));
        bad |= json_object_set_new(o, "highest", json_real(row->highest));
    }
    if (row->note) bad |= json_object_set_new(o, "note", json_string(row->note));
    if (row->beside) {
        bad |= json_object_set_new(o, "beside", json_string(row->beside));
        bad |= json_object_set_new(o, "beside_value", json_real(row->beside_value));
        if (ratio_of(row) > 0) bad |= json_object_set_new(o, "ratio", json_real(ratio_of(row)));
        if (row->ratio_spread > 0) bad |= json_object_set_new(o, "ratio_spread", json_real(row->ratio_spread));
    }
    if (row->peer_note) bad |= json_object_set_new(o, "beside_note", json_string(row->peer_note));
    check(!bad);
    return o;
}

static void print_markdown(const struct bench_row *row)
{
    printf("| %s | %.4g %s", row->name, row->value, row->unit);
    if (row->runs > 1) printf(" (%.4g to %.4g, %u runs)", row->lowest, row->highest, row->runs);
    if (row->note) printf("; %s", row->note);
    printf(" | ");
    if (row->beside) printf("%s", row->beside);
    if (row->beside && row->beside_value > 0) printf(" %.4g", row->beside_value);
    if (row->peer_note) printf("%s%s", row->beside ? "; " : "", row->peer_note);
    printf(" | ");
    if (ratio_of(row) > 0) printf("%.3g", ratio_of(row));
    if (row->ratio_spread > 0) printf(" +-%.0f %%", 100 * row->ratio_spread);
    printf(" |\n");
}

// The ratio first, then its spread (the value's where there is no peer), what it is, ours and theirs.
static void print_text(const struct bench_row *row)
{
    double ratio = ratio_of(row), spread = row->ratio_spread > 0 ? row->ratio_spread : row->spread;
    if (ratio > 0)
        printf("%6.3g ", ratio);
    else
        printf("%6s ", "");
    if (row->runs)
        printf("%5s", "");
    else
        printf("%4.0f%%", 100 * spread);
    printf(" %-40s %6.4g %s", row->name, row->value, row->unit);
    if (row->beside && row->beside_value > 0) printf("  %.4g %s", row->beside_value, row->beside);
    if (row->runs)
        printf("\n%12s %.4g to %.4g, %u run%s", "", row->lowest, row->highest, row->runs, row->runs == 1 ? "" : "s");
    if (row->note) printf("\n%12s %s", "", row->note);
    if (row->peer_note) printf("\n%12s %s: %s", "", row->beside ? row->beside : "peer", row->peer_note);
    putchar('\n');
}

void bench_report(struct bench *b, const struct bench_row *row)
{
    if (b->rows) {
        check(!json_array_append_new(b->rows, row_json(row)));
        return;
    }
    if (b->table)
        print_markdown(row);
    else
        print_text(row);
    fflush(stdout);
}

// Threads on as many cpus, cores before their second threads; unbound where there are fewer.
static void bench_place(uint32_t threads, const struct sched_topology *t, struct sched_lane *lane)
{
    *lane = (struct sched_lane){.threads = threads, .each_to_one = true};
    for (uint32_t i = 0; threads <= t->cpus_count && i < threads; i++) sched_cpus_add(&lane->cpus, t->cpus[i].os_index);
}

void bench_device(uint32_t threads, struct hip_device **device, struct hip_stream **stream)
{
    // They outlive the device's threads, which read them as they start.
    static struct sched_topology *topology;
    static struct sched_lane lane;
    static struct sched_lane_binding binding = {.lane = &lane};
    struct hip_options options = {.threads = threads, .bind = sched_lane_bind_callback, .bind_context = &binding};
    cpu_set_t all;
    memset(&all, 0xff, sizeof all);
    (void)sched_setaffinity(0, sizeof all, &all);  // an earlier call bound this thread
    if (!topology) check(sched_topology_open(&topology) == CORE_ERR_OK);
    binding.topology = topology;
    bench_place(threads, topology, &lane);
    sched_lane_bind_callback(&binding, 0);
    check(hip_device_open("cpu", &options, device) == CORE_ERR_OK);
    check(hip_stream_open(*device, stream) == CORE_ERR_OK);
}

float *bench_floats(struct hip_device *device, size_t count)
{
    void *p;
    check(hip_alloc(device, count * sizeof(float), &p) == CORE_ERR_OK);
    float *x = p;
    for (size_t i = 0; i < count; i++) x[i] = (float)((i * 2654435761u >> 8) & 0xffff) * 0x1p-15f - 1.0f;
    return x;
}
