// What all benchmarks share: options, timing with median and spread, and rows as text or as the JSON of the command
// line's contract. A benchmark is a function in its own file; bench_main.c lists them. To add one: bench/NAME.c and
// bench/NAME.h with `int bench_NAME(struct bench *b)`, and a row in bench_main.c's table, with the words that name its
// parts where it has any. Single thread.
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct bench;

// `mycel bench NAME [PART...] [--threads N] [--seconds S] [--full] [--seed N] [--data FILE] [--nodes N] [--runs R]
// [--with-peers] [--table] [--json] [-q]`; argv[0] is "bench". Returns the exit status.
int bench_main(int argc, char **argv);

struct bench_row {
    char name[96];       // "gemm 768x384x128 nt, 1 thread"
    double value;        // the median
    const char *unit;    // "GFLOP/s"; kept by reference
    double spread;       // distance between the quartiles over the median
    const char *beside;  // the peer's name, or NULL
    double beside_value;
    // Of pairs measured in turns: the ratio's median, and the distance between its quartiles over it. 0: the values'
    // quotient says it.
    double ratio, ratio_spread;
    // Where single runs are counted rather than samples: how many, and the lowest and highest of them.
    uint32_t runs;  // 0: not said
    double lowest, highest;
    bool less_is_better;    // a time, bytes: the ratio is then beside_value / value
    const char *note;       // "2 of 5 runs incomplete"; NULL: nothing to say
    const char *peer_note;  // the same of the peer's value
};

// Prints the row at once (text; a row of Markdown with --table) or keeps it for the end (JSON). A ratio above 1 is
// ours being better.
void bench_report(struct bench *b, const struct bench_row *row);
// A line of explanation on stderr, unless -q.
void bench_say(struct bench *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

uint32_t bench_threads(const struct bench *b);  // --threads, 0 where not given
double bench_seconds(const struct bench *b);    // time to spend on one measurement
bool bench_full(const struct bench *b);         // --full: as long as the published figures take
uint32_t bench_seed(const struct bench *b);     // --seed N: this seed alone, 0 where not given
const char *bench_data(const struct bench *b);  // --data FILE: a text to train on; NULL where not given
uint32_t bench_nodes(const struct bench *b);    // --nodes N, 0 where not given
uint32_t bench_runs(const struct bench *b);     // --runs R, 0 where not given
bool bench_with_peers(const struct bench *b);   // --with-peers: other people's programs beside ours
bool bench_table(const struct bench *b);        // --table: Markdown
// Whether this part of the benchmark is to be measured: it was named, or none was.
bool bench_wants(const struct bench *b, const char *part);
// The same of a part that is one of a kind: it was named, or none of its kind ("avx512 avx2") was.
bool bench_wants_of(const struct bench *b, const char *kind, const char *part);

// Seconds of one call, over all samples: the median, and the distance between the quartiles over it. `ratio` is this
// one's time over the first's in the same turn, likewise; of the first itself 1.
struct bench_time {
    double median, spread;
    double ratio, ratio_spread;
};

enum { BENCH_TURNS_MAX = 4 };  // programs that are measured in turns

typedef void bench_work(void *context);

// Calls `count` programs in turns until the time for one measurement is spent on each, so that all see the same
// machine. Each sample is repeated until it takes at least a millisecond; the first, cold one is dropped. `alone`: they
// run on this thread only, and its processor time is taken, which other programs hardly touch.
void bench_measure(struct bench *b, bench_work *const *works, void *const *contexts, uint32_t count, bool alone,
                   struct bench_time *times);
// What bench_measure gives, of samples that were taken elsewhere: samples[i][turn] is program i's. They are sorted.
void bench_summary(double *const *samples, uint32_t count, uint32_t turns, struct bench_time *times);

// Runs it in a process of its own and keeps its rows: for what a process can choose only once, as libraries choose
// their instruction set when they are opened. Returns its exit status.
int bench_apart(struct bench *b, int (*run)(struct bench *b, void *context), void *context);

double bench_now(void);  // seconds, monotonic

struct hip_device;
struct hip_stream;

// The CPU with `threads` threads, each bound to a cpu of its own where there are as many (the calling thread too: the
// kernel may leave two on one for seconds). Close both after use.
void bench_device(uint32_t threads, struct hip_device **device, struct hip_stream **stream);

// `count` floats in [-1, 1) on the device, to be given to hip_free.
float *bench_floats(struct hip_device *device, size_t count);

#endif
