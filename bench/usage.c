#include "bench/usage.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool read_first(const char *path, uint64_t *value)
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool ok = fscanf(file, "%" SCNu64, value) == 1;
    fclose(file);
    return ok;
}

static uint64_t read_wakeups(const char *path)
{
    FILE *file = fopen(path, "re");
    uint64_t value = 0;
    char line[256];
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "voluntary_ctxt_switches: %" SCNu64, &value) == 1) break;
    if (file) fclose(file);
    return value;
}

bool usage_of(pid_t pid, struct usage *out)
{
    *out = (struct usage){0};
    char path[384];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (!tasks) return false;
    for (struct dirent *d; (d = readdir(tasks));) {
        if (*d->d_name == '.') continue;
        uint64_t ns = 0;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, d->d_name);
        if (read_first(path, &ns)) out->cpu_ns += ns;
        snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)pid, d->d_name);
        out->wakeups += read_wakeups(path);
    }
    closedir(tasks);
    uint64_t pages = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    bool ok = file && fscanf(file, "%" SCNu64 " %" SCNu64, &pages, &resident) == 2;
    if (file) fclose(file);
    out->rss_bytes = resident * (uint64_t)sysconf(_SC_PAGESIZE);
    return ok;
}
