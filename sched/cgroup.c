#include "sched/cgroup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 4096, LINE_SIZE = 4096 };

static bool read_line(const char *folder, const char *file, char *out, size_t size)
{
    char path[PATH_SIZE + 64];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    bool got = fgets(out, (int)size, f) != NULL;
    fclose(f);
    return got;
}

static void at_most_cpus(struct sched_cgroup *out, unsigned long long quota, unsigned long long period)
{
    if (!quota || !period || quota > ULLONG_MAX - period) return;
    unsigned long long cpus = (quota + period - 1) / period;
    if (cpus < UINT32_MAX && (!out->cpus || cpus < out->cpus)) out->cpus = (uint32_t)cpus;
}

// Version 1 says "no limit" by a number beyond any memory.
static void at_most_memory(struct sched_cgroup *out, unsigned long long bytes)
{
    if (bytes && bytes < (1ull << 60) && (!out->memory_bytes || bytes < out->memory_bytes)) out->memory_bytes = bytes;
}

static void read_group(const char *folder, struct sched_cgroup *out)
{
    char line[128];
    unsigned long long a, b;
    long long signed_quota;
    if (read_line(folder, "cpu.max", line, sizeof line) && sscanf(line, "%llu %llu", &a, &b) == 2)
        at_most_cpus(out, a, b);
    if (read_line(folder, "memory.max", line, sizeof line) && sscanf(line, "%llu", &a) == 1) at_most_memory(out, a);
    if (read_line(folder, "cpu.cfs_quota_us", line, sizeof line) && sscanf(line, "%lld", &signed_quota) == 1 &&
        signed_quota > 0 && read_line(folder, "cpu.cfs_period_us", line, sizeof line) && sscanf(line, "%llu", &b) == 1)
        at_most_cpus(out, (unsigned long long)signed_quota, b);
    if (read_line(folder, "memory.limit_in_bytes", line, sizeof line) && sscanf(line, "%llu", &a) == 1)
        at_most_memory(out, a);
}

// The group at `path` under `mount` and all above it. In a container the path is often the host's, which is not there:
// the mount's own root is the container's then.
static void read_branch(const char *mount, const char *path, struct sched_cgroup *out)
{
    char folder[PATH_SIZE];
    size_t start = strlen(mount);
    if (start + strlen(path) >= sizeof folder) return;
    snprintf(folder, sizeof folder, "%s%s", mount, path);
    for (;;) {
        read_group(folder, out);
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < start || strlen(folder) <= start) return;
        *slash = 0;
    }
}

static bool names(const char *controllers, const char *one)
{
    size_t size = strlen(one);
    for (const char *at = controllers; (at = strstr(at, one)) != NULL; at += size) {
        bool begins = at == controllers || at[-1] == ',';
        if (begins && (at[size] == 0 || at[size] == ',')) return true;
    }
    return false;
}

// "0::/path" is version 2, "4:cpu,cpuacct:/path" version 1.
static void read_entry(const char *root, char *line, struct sched_cgroup *out)
{
    char mount[PATH_SIZE];
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) return;
    *path++ = 0;
    controllers++;
    if (!*controllers) {
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
        read_branch(mount, path, out);
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/unified", root);
        read_branch(mount, path, out);
        return;
    }
    static const char *const used[] = {"cpu", "memory"};
    for (int i = 0; i < 2; i++) {
        if (!names(controllers, used[i])) continue;
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/%s", root, used[i]);
        read_branch(mount, path, out);
        if (!strcmp(controllers, used[i])) continue;
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/%.1000s", root, controllers);
        read_branch(mount, path, out);
    }
}

void sched_cgroup_read(const char *root, struct sched_cgroup *out)
{
    sched_cgroup_read_of(root, 0, out);
}

void sched_cgroup_read_of(const char *root, int pid, struct sched_cgroup *out)
{
    *out = (struct sched_cgroup){0};
    char path[PATH_SIZE], line[LINE_SIZE], process[16] = "self";
    if (pid) snprintf(process, sizeof process, "%d", pid);
    snprintf(path, sizeof path, "%s/proc/%s/cgroup", root, process);
    FILE *f = fopen(path, "re");
    if (!f) return;
    while (fgets(line, sizeof line, f)) read_entry(root, line, out);
    fclose(f);
}
