// Both programs read a file, lay out and write an SVG file, each as a process, in turns: `mycel map --from` the
// snapshot, sfdp the DOT file that `map --as dot` makes of it. Times are of the processor (both use one thread), which
// other programs hardly touch. sfdp is measured as it comes, where labels may cover each other, and with the removal
// that it has (-Goverlap=prism): that is the picture that ours compares with. Above 500 peers `map` draws a site as one
// box; there it is measured with --all, which draws everybody, too.
#include "bench/map.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "atlas/dot.h"
#include "atlas/json.h"
#include "atlas/svg.h"
#include "bench/bench.h"
#include "bench/map_made.h"
#include "bench/map_marks.h"
#include "core/check.h"

enum { PATH_SIZE = 256, NAME_SIZE = 96, TURNS = 9, SLOW_TURNS = 1, SLOW_FULL_TURNS = 3, FULL_TURNS = 21, WAYS = 4 };
enum way { WAY_OURS, WAY_ALL, WAY_SFDP, WAY_PRISM };

extern char **environ;

static const struct size {
    const char *part;
    uint32_t peers, sites;  // sites 0: each peer by itself
    uint32_t joins;         // how many comings are tried
} sizes[] = {
    {"50", 50, 6, 12},   {"50", 50, 0, 12},     {"500", 500, 24, 12},
    {"500", 500, 0, 12}, {"5000", 5000, 60, 3}, {"5000", 5000, 0, 3},
};

// What lies in a folder of its own while it is measured.
struct mesh {
    struct bench *b;
    const struct size *size;
    struct atlas_snapshot s;
    char folder[64], json[PATH_SIZE], dot[PATH_SIZE], picture[PATH_SIZE];
    char name[NAME_SIZE];  // "500 peers on 24 sites"
    bool sfdp;
};

// ---- processes ----

// Processor seconds of a program that is waited for; negative where it failed. Its output goes to `out`.
static double seconds_of(char *const argv[], const char *out)
{
    posix_spawn_file_actions_t actions;
    struct rusage used;
    pid_t pid;
    int status = 0;
    check(posix_spawn_file_actions_init(&actions) == 0);
    posix_spawn_file_actions_addopen(&actions, 1, out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    const int wrong = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (wrong) return -1;
    while (wait4(pid, &status, 0, &used) < 0 && errno == EINTR) {}
    if (!WIFEXITED(status) || WEXITSTATUS(status)) return -1;
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static double draw_by(const struct mesh *m, enum way way)
{
    char *ours[] = {
        "/proc/self/exe", "map", "--from", (char *)m->json, "--as", "svg", way == WAY_ALL ? "--all" : NULL, NULL};
    char *theirs[] = {"sfdp", "-Tsvg", (char *)m->dot, way == WAY_PRISM ? "-Goverlap=prism" : NULL, NULL};
    return seconds_of(way < WAY_SFDP ? ours : theirs, m->picture);
}

static char *read_all(const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t size = 0;
    if (f) {
        FILE *to = open_memstream(&text, &size);
        check(to);
        for (int c; (c = fgetc(f)) != EOF;) fputc(c, to);
        fclose(to);
        fclose(f);
    }
    return text;
}

// Where sfdp puts everybody; no marks where it fails.
static struct map_marks marks_by_sfdp(const struct mesh *m, bool prism)
{
    char *argv[] = {"sfdp", "-Tplain", (char *)m->dot, prism ? "-Goverlap=prism" : NULL, NULL};
    char *text = seconds_of(argv, m->picture) < 0 ? NULL : read_all(m->picture);
    struct map_marks marks = map_marks_plain(text ? text : "");
    free(text);
    return marks;
}

// ---- a mesh and its files ----

static struct map_marks marks_by_us(const struct atlas_snapshot *s, bool all)
{
    struct atlas_metrics metrics = atlas_metrics_svg;
    struct atlas_layout l;
    if (all) metrics.collapse_above = 0;
    check(!atlas_layout_make(s, &metrics, &l));
    struct map_marks marks = map_marks_of(s, &l);
    atlas_layout_free(&l);
    return marks;
}

static void write_files(struct mesh *m)
{
    struct atlas_layout l;
    json_t *json = atlas_json_make(&m->s);
    check(json && !json_object_set_new(json, "schema", json_integer(ATLAS_JSON_SCHEMA)));
    check(!json_dump_file(json, m->json, JSON_COMPACT));
    json_decref(json);
    FILE *out = fopen(m->dot, "we");
    check(out && !atlas_layout_make(&m->s, &atlas_metrics_svg, &l));
    atlas_dot_write(&m->s, &l, out);
    atlas_layout_free(&l);
    fclose(out);
}

static void open_mesh(struct mesh *m, uint32_t skip, uint32_t skip_end)
{
    check(!map_made(m->size->peers, m->size->sites, skip, skip_end, &m->s));
    write_files(m);
}

// ---- rows ----

static uint32_t ways_of(const struct mesh *m, enum way ways[WAYS])
{
    uint32_t count = 0;
    ways[count++] = WAY_OURS;
    if (m->size->sites && m->size->peers > atlas_metrics_svg.collapse_above) ways[count++] = WAY_ALL;
    if (m->sfdp && m->size->peers <= 500) ways[count++] = WAY_SFDP;  // (of 5,000 it takes minutes)
    if (m->sfdp) ways[count++] = WAY_PRISM;
    return count;
}

// Twice the same snapshot: the same bytes.
static bool same_twice(const struct mesh *m)
{
    char *a = draw_by(m, WAY_OURS) < 0 ? NULL : read_all(m->picture);
    char *b = draw_by(m, WAY_OURS) < 0 ? NULL : read_all(m->picture);
    const bool same = a && b && strcmp(a, b) == 0;
    free(a);
    free(b);
    return same;
}

static uint32_t overlaps_of(const struct mesh *m, enum way way)
{
    struct map_marks marks = way < WAY_SFDP ? marks_by_us(&m->s, way == WAY_ALL) : marks_by_sfdp(m, way == WAY_PRISM);
    const uint32_t found = map_marks_overlaps(&marks);
    map_marks_free(&marks);
    return found;
}

static void report_drawing(const struct mesh *m, enum way ours, enum way theirs, const struct bench_time *a,
                           const struct bench_time *b)
{
    char note[NAME_SIZE], peer_note[NAME_SIZE];
    struct bench_row row = {
        .value = 1e3 * a->median, .unit = "ms", .spread = a->spread, .less_is_better = true, .note = note};
    snprintf(row.name, sizeof row.name, "map %s%s", m->name, ours == WAY_ALL ? ", all drawn" : "");
    snprintf(note, sizeof note, "%u labels on others; twice: %s", overlaps_of(m, ours),
             same_twice(m) ? "the same bytes" : "NOT the same bytes");
    if (b) {
        row.beside = theirs == WAY_PRISM ? "sfdp, overlaps removed" : "sfdp";
        row.beside_value = 1e3 * b->median;
        row.ratio = b->ratio / a->ratio;
        row.ratio_spread = fmax(a->ratio_spread, b->ratio_spread);
        const bool counted = m->size->peers <= 500;  // (it would draw for another minute)
        row.peer_note = counted ? peer_note : NULL;
        if (counted) snprintf(peer_note, sizeof peer_note, "%u labels on others", overlaps_of(m, theirs));
    }
    bench_report(m->b, &row);
}

static void measure_drawing(struct mesh *m)
{
    enum way ways[WAYS];
    double taken[WAYS][FULL_TURNS], *samples[WAYS];
    struct bench_time times[WAYS];
    const uint32_t count = ways_of(m, ways);
    const bool slow = m->size->peers > 1000 && m->sfdp;
    const uint32_t turns = bench_full(m->b) ? (slow ? SLOW_FULL_TURNS : FULL_TURNS) : slow ? SLOW_TURNS : TURNS;
    for (uint32_t i = 0; i < count; i++) samples[i] = taken[i];
    for (uint32_t t = 0; t < turns; t++) {
        for (uint32_t i = 0; i < count; i++) {
            taken[i][t] = draw_by(m, ways[i]);
            if (taken[i][t] <= 0) bench_say(m->b, "bench map: %s fails", ways[i] < WAY_SFDP ? "mycel map" : "sfdp");
            if (taken[i][t] <= 0) return;
        }
    }
    bench_summary(samples, count, turns, times);
    for (uint32_t i = 0; i < count && ways[i] < WAY_SFDP; i++) {
        if (!m->sfdp) report_drawing(m, ways[i], ways[i], &times[i], NULL);
        if (!m->sfdp) continue;
        if (ways[count - 2] == WAY_SFDP) report_drawing(m, ways[i], WAY_SFDP, &times[i], &times[count - 2]);
        report_drawing(m, ways[i], WAY_PRISM, &times[i], &times[count - 1]);
    }
}

static struct map_marks marks_without(struct mesh *m, uint32_t skip, bool theirs)
{
    open_mesh(m, skip, skip + 1);
    struct map_marks marks = theirs ? marks_by_sfdp(m, true) : marks_by_us(&m->s, true);
    atlas_snapshot_free(&m->s);
    return marks;
}

// The worst of the comings that were tried, each figure by itself.
static struct map_moves worst_moves(struct mesh *m, uint32_t tries, bool theirs)
{
    struct map_moves worst = {0};
    struct map_marks whole = marks_without(m, m->size->peers, theirs);
    for (uint32_t i = 0; i < tries; i++) {
        struct map_marks part = marks_without(m, 1 + i * (m->size->peers - 1) / tries, theirs);
        const struct map_moves now = map_marks_moves(&part, &whole);
        worst.count += now.count > 0;
        worst.median = fmax(worst.median, now.median);
        worst.ninth = fmax(worst.ninth, now.ninth);
        worst.most = fmax(worst.most, now.most);
        map_marks_free(&part);
    }
    map_marks_free(&whole);
    return worst;
}

static void measure_moves(struct mesh *m)
{
    char note[NAME_SIZE], peer_note[NAME_SIZE];
    const struct map_moves ours = worst_moves(m, m->size->joins, false);
    struct bench_row row = {.value = ours.median, .unit = "label heights", .less_is_better = true, .note = note};
    snprintf(row.name, sizeof row.name, "one joins or leaves %s", m->name);
    snprintf(note, sizeof note, "the median's way, the worst of %u; nine tenths %.2f, the furthest %.1f", ours.count,
             ours.ninth, ours.most);
    // (Of 5,000 it takes minutes.)
    const struct map_moves theirs = m->sfdp && m->size->peers <= 500 ? worst_moves(m, 3, true) : (struct map_moves){0};
    if (theirs.count) {
        row.beside = "sfdp, overlaps removed";
        row.beside_value = theirs.median;
        row.peer_note = peer_note;
        snprintf(peer_note, sizeof peer_note, "nine tenths %.2f, the furthest %.1f", theirs.ninth, theirs.most);
    }
    bench_report(m->b, &row);
}

static bool has_sfdp(struct bench *b)
{
    char *const argv[] = {"sfdp", "-V", NULL};
    if (!bench_with_peers(b)) return false;
    if (seconds_of(argv, "/dev/null") >= 0) return true;
    bench_say(b, "bench map: sfdp is left out: apt-get install graphviz");
    return false;
}

int bench_map(struct bench *b)
{
    struct mesh m = {.b = b, .folder = "/tmp/mycel-bench-map-XXXXXX", .sfdp = has_sfdp(b)};
    if (!mkdtemp(m.folder)) {
        bench_say(b, "bench map: cannot make a folder in /tmp: %s", strerror(errno));
        return 1;
    }
    snprintf(m.json, sizeof m.json, "%s/mesh.json", m.folder);
    snprintf(m.dot, sizeof m.dot, "%s/mesh.dot", m.folder);
    snprintf(m.picture, sizeof m.picture, "%s/picture", m.folder);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        m.size = &sizes[i];
        if (!bench_wants_of(b, "50 500 5000", m.size->part)) continue;
        snprintf(m.name, sizeof m.name, m.size->sites ? "%u peers on %u sites" : "%u peers without sites",
                 m.size->peers, m.size->sites);
        if (bench_wants_of(b, "draw move", "draw")) {
            open_mesh(&m, 0, 0);
            measure_drawing(&m);
            atlas_snapshot_free(&m.s);
        }
        if (bench_wants_of(b, "draw move", "move")) measure_moves(&m);
    }
    unlink(m.json);
    unlink(m.dot);
    unlink(m.picture);
    rmdir(m.folder);
    return 0;
}
