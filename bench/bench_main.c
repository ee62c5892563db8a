#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "bench/gemm.h"
#include "bench/kernels.h"
#include "bench/map.h"
#include "bench/mesh.h"
#include "bench/mesh_node.h"
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
#if __has_include("bench/link.h")
#include "bench/link.h"
#define HAS_LINK 1
#else
#define HAS_LINK 0
#endif
#if __has_include("bench/aggregate.h")
#include "bench/aggregate.h"
#include "bench/aggregate_node.h"
#define HAS_AGGREGATE 1
#else
#define HAS_AGGREGATE 0
#endif
#include "core/error.h"

struct entry {
    const char *name;
    int (*run)(struct bench *b);
    bool in_all;        // `learn` trains for many minutes: by name only
    const char *parts;  // words that may follow its name, separated by spaces; NULL: none
};

static const struct entry table[] = {
    {"gemm", bench_gemm, true, BENCH_GEMM_PARTS},
    {"kernels", bench_kernels, true, NULL},
#if HAS_STEP
    {"step", bench_step, true, BENCH_STEP_PARTS},
#endif
#if HAS_LEARN
    {"learn", bench_learn, false, NULL},
#endif
    {"map", bench_map, false, BENCH_MAP_PARTS},
    {"mesh", bench_mesh, false, BENCH_MESH_PARTS},
#if HAS_LINK
    {"link", bench_link, false, BENCH_LINK_PARTS},
#endif
#if HAS_AGGREGATE
    {"aggregate", bench_aggregate, false, BENCH_AGGREGATE_PARTS},
#endif
};

#define ENTRIES (sizeof table / sizeof *table)

static int usage(const char *wrong)
{
    if (wrong) fprintf(stderr, "mycel bench: what is '%s'?\n", wrong);
    fprintf(stderr, "usage: mycel bench NAME [PART...] [--threads N] [--seconds S] [--full] [--seed N] [--data FILE]\n"
                    "       [--nodes N] [--runs R] [--with-peers] [--table] [--json] [-q]\nnames: all");
    for (size_t i = 0; i < ENTRIES; i++) fprintf(stderr, " %s", table[i].name);
    fputc('\n', stderr);
    for (size_t i = 0; i < ENTRIES; i++)
        if (table[i].parts) fprintf(stderr, "parts of %s: %s\n", table[i].name, table[i].parts);
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

// Whether `word` is a part of one of the benchmarks named.
static bool is_part(int argc, char **argv, const char *word)
{
    size_t length = strlen(word);
    for (size_t i = 0; i < ENTRIES; i++) {
        if (!table[i].parts || !wanted(argc, argv, table + i)) continue;
        for (const char *at = table[i].parts; (at = strstr(at, word)); at += length)
            if ((at == table[i].parts || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
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
        else if (!strcmp(argv[i], "--with-peers"))
            b->with_peers = true;
        else if (!strcmp(argv[i], "--table"))
            b->table = true;
        else if (!strcmp(argv[i], "--nodes") && i + 1 < argc)
            b->nodes = (uint32_t)strtoul(argv[++i], &end, 10);
        else if (!strcmp(argv[i], "--runs") && i + 1 < argc)
            b->runs = (uint32_t)strtoul(argv[++i], &end, 10);
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
        else if (b->word_count < BENCH_WORDS_MAX && *argv[i] && is_part(argc, argv, argv[i]))
            b->words[b->word_count++] = argv[i];
        else
            return usage(argv[i]);
        if (end && (*end || b->threads > 256 || !(b->seconds > 0))) return usage(argv[i]);
    }
    return named ? -1 : usage(NULL);
}

// Held for as long as this process runs. Two at once take each other's processors: neither's figures are worth much.
static void look_for_others(struct bench *b)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/mycel-bench-%u.lock", (unsigned)getuid());
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0)
        bench_say(b, "bench: another benchmark of this user runs: both will be slow\n");
}

int bench_main(int argc, char **argv)
{
    struct bench b = {.seconds = 0.3};
    bool json = false;
    char hardware[256];
    // Not in the usage: `mesh` and `aggregate` start their processes so.
    if (argc > 1 && !strcmp(argv[1], "mesh-node")) return mesh_node_main(argc - 2, argv + 2);
#if HAS_AGGREGATE
    if (argc > 1 && !strcmp(argv[1], "aggregate-node")) return aggregate_node_main(argc - 2, argv + 2);
#endif
    int status = parse(argc, argv, &b, &json);
    if (status >= 0) return status;
    look_for_others(&b);
    bench_hardware(hardware, sizeof hardware);
    if (json)
        b.rows = json_array();
    else
        printf("%s\n", hardware);
    if (!b.table && !json) printf("%6s %5s %-40s %s\n", "ratio", "+-", "what", "here, and beside it");
    if (b.table && !json) printf("\n| figure | here | beside it | ratio |\n|---|---|---|---|\n");
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
