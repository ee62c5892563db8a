#include <stdlib.h>
#include <string.h>

#include "bench/gemm.h"
#include "bench/kernels.h"
#include "bench/report.h"
#if __has_include("bench/step.h")
#include "bench/step.h"
#define HAS_STEP 1
#else
#define HAS_STEP 0
#endif
#if __has_include("bench/learn.h")
#include "bench/learn.h"
#define HAS_LEARN 1
#else
#define HAS_LEARN 0
#endif
#include "core/error.h"

struct entry {
    const char *name;
    int (*run)(struct bench *b);
    bool in_all;  // `learn` trains for many minutes: by name only
};

static const struct entry table[] = {
    {"gemm", bench_gemm, true},
    {"kernels", bench_kernels, true},
#if HAS_STEP
    {"step", bench_step, true},
#endif
#if HAS_LEARN
    {"learn", bench_learn, false},
#endif
};

#define ENTRIES (sizeof table / sizeof *table)

static int usage(const char *wrong)
{
    if (wrong) fprintf(stderr, "mycel bench: what is '%s'?\n", wrong);
    fprintf(stderr, "usage: mycel bench NAME... [--threads N] [--seconds S] [--full] [--seed N] [--data FILE] [--json] "
                    "[-q]\nnames: all");
    for (size_t i = 0; i < ENTRIES; i++) fprintf(stderr, " %s", table[i].name);
    fputc('\n', stderr);
    return core_error_exit(CORE_ERR_USAGE);
}

static bool is_name(const char *word)
{
    if (!strcmp(word, "all")) return true;
    for (size_t i = 0; i < ENTRIES; i++) {
        if (!strcmp(word, table[i].name)) return true;
    }
    return false;
}

static bool wanted(int argc, char **argv, const struct entry *e)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], e->name) || (e->in_all && !strcmp(argv[i], "all"))) return true;
    }
    return false;
}

// Options into *b; the exit status of a wrong one, or -1.
static int parse(int argc, char **argv, struct bench *b, bool *json)
{
    bool named = false;
    for (int i = 1; i < argc; i++) {
        char *end = NULL;
        if (!strcmp(argv[i], "--json"))
            *json = true;
        else if (!strcmp(argv[i], "-q"))
            b->quiet = true;
        else if (!strcmp(argv[i], "--full"))
            b->full = true;
        else if (!strcmp(argv[i], "--data") && i + 1 < argc)
            b->data = argv[++i];
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            b->seed = (uint32_t)strtoul(argv[++i], &end, 10);
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            b->threads = (uint32_t)strtoul(argv[++i], &end, 10);
        else if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
            b->seconds = strtod(argv[++i], &end);
        else if (is_name(argv[i]))
            named = true;
        else
            return usage(argv[i]);
        if (end && (*end || b->threads > 256 || !(b->seconds > 0))) return usage(argv[i]);
    }
    return named ? -1 : usage(NULL);
}

int bench_main(int argc, char **argv)
{
    struct bench b = {.seconds = 0.3};
    bool json = false;
    char hardware[256];
    int status = parse(argc, argv, &b, &json);
    if (status >= 0) return status;
    bench_hardware(hardware, sizeof hardware);
    if (json)
        b.rows = json_array();
    else
        printf("%s\n", hardware);
    status = 0;
    for (size_t i = 0; i < ENTRIES; i++) {
        if (!wanted(argc, argv, table + i)) continue;
        int got = table[i].run(&b);
        if (got) status = got;
    }
    if (json) {
        json_t *all = json_pack("{s:i, s:s, s:o}", "schema", 1, "hardware", hardware, "bench", b.rows);
        if (!all || json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)))
            status = core_error_exit(CORE_ERR_NO_MEMORY);
        putchar('\n');
        json_decref(all);
    }
    return status;
}
