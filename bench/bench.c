#include "bench/report.h"

#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/check.h"
#include "hip/device.h"
#include "sched/share.h"

enum { MAX_SAMPLES = 256, LEAST_SAMPLES = 5 };

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
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

void bench_say(struct bench *b, const char *format, ...)
{
    if (b->quiet) return;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static double once(bench_work *work, void *context, unsigned repeat)
{
    double from = bench_now();
    for (unsigned i = 0; i < repeat; i++) work(context);
    return (bench_now() - from) / repeat;
}

// How often to repeat so that a sample takes a millisecond.
static unsigned repeats(bench_work *work, void *context)
{
    work(context);
    double seconds = once(work, context, 1);
    return seconds >= 1e-3 ? 1 : seconds <= 1e-6 ? 1000 : (unsigned)(1e-3 / seconds) + 1;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct bench_time summary(double *samples, unsigned count)
{
    qsort(samples, count, sizeof *samples, ascending);
    double median = samples[count / 2];
    return (struct bench_time){median, (samples[count * 3 / 4] - samples[count / 4]) / median};
}

void bench_measure(struct bench *b, bench_work *ours, void *our_context, bench_work *peer, void *peer_context,
                   struct bench_time *our_time, struct bench_time *peer_time)
{
    double mine[MAX_SAMPLES], theirs[MAX_SAMPLES];
    unsigned my_repeat = repeats(ours, our_context), peer_repeat = peer ? repeats(peer, peer_context) : 0, n = 0;
    double end = bench_now() + b->seconds * (peer ? 2 : 1);
    while (n < MAX_SAMPLES && (n < LEAST_SAMPLES || bench_now() < end)) {
        mine[n] = once(ours, our_context, my_repeat);
        if (peer) theirs[n] = once(peer, peer_context, peer_repeat);
        n++;
    }
    *our_time = summary(mine, n);
    if (peer) *peer_time = summary(theirs, n);
}

void bench_hardware(char *line, size_t size)
{
    struct sched_topology *t;
    struct sched_facts f = {0};
    if (sched_topology_open(&t) == CORE_ERR_OK) {
        sched_topology_facts(t, &f);
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
        if (row->beside_value > 0 && row->value > 0) bad |= json_object_set_new(o, "ratio", json_real(ratio_of(row)));
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
    if (row->beside && row->beside_value > 0 && row->value > 0) printf("%.3g", ratio_of(row));
    printf(" |\n");
}

static void print_text(const struct bench_row *row)
{
    printf("%-44s %10.4g %-10s ", row->name, row->value, row->unit);
    if (row->runs)
        printf("%.4g to %.4g, %u run%s", row->lowest, row->highest, row->runs, row->runs == 1 ? "" : "s");
    else
        printf("+-%4.1f %%", 100 * row->spread);
    if (row->note) printf("; %s", row->note);
    if (row->beside && row->beside_value > 0 && row->value > 0)
        printf("   %s %.4g, ratio %.3g", row->beside, row->beside_value, ratio_of(row));
    if (row->peer_note) printf("   %s: %s", row->beside ? row->beside : "peer", row->peer_note);
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

void bench_device(uint32_t threads, struct hip_device **device, struct hip_stream **stream)
{
    static struct sched_share share;  // outlives the device's threads, which read it as they start
    struct sched_topology *t;
    struct hip_options options = {.threads = threads, .bind = sched_share_bind_callback, .bind_context = &share};
    cpu_set_t all;
    memset(&all, 0xff, sizeof all);
    (void)sched_setaffinity(0, sizeof all, &all);  // an earlier call bound this thread
    check(sched_topology_open(&t) == CORE_ERR_OK);
    sched_share_plan(t, 0, 1, threads, &share);
    sched_topology_close(t);
    if (share.threads < threads) share.bound = false;
    sched_share_bind_callback(&share, 0);
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
