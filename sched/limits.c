#include "sched/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static enum core_err refuse(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, SCHED_WHY_SIZE, format, args);
    va_end(args);
    return CORE_ERR_USAGE;
}

// "2 GPUs: nvidia:0, nvidia:1"; cut where it doesn't fit.
static void list_devices(const struct sched_device *devices, uint32_t count, char *out, size_t size)
{
    if (count == 0) {
        snprintf(out, size, "no GPU that works");
        return;
    }
    size_t used = (size_t)snprintf(out, size, "%u GPU%s:", count, count == 1 ? "" : "s");
    for (uint32_t i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s %s", i ? "," : "", devices[i].name);
}

// A number of 1 to 9 digits and nothing else.
static bool read_count(const char *text, uint32_t *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits]) return false;
    *out = (uint32_t)strtoul(text, NULL, 10);
    return true;
}

static bool take_name(const char *name, size_t size, const struct sched_device *devices, uint32_t count,
                      struct sched_limits *limits)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strlen(devices[i].name) != size || memcmp(devices[i].name, name, size) != 0) continue;
        limits->gpu_named[i] = true;
        return true;
    }
    return false;
}

enum core_err sched_limits_gpus(const char *text, const struct sched_device *devices, uint32_t count,
                                struct sched_limits *limits, char *why)
{
    char there[160];
    uint32_t number = 0;
    list_devices(devices, count, there, sizeof there);
    limits->gpus_limited = limits->gpus_named = false;
    limits->gpus = 0;
    memset(limits->gpu_named, 0, sizeof limits->gpu_named);
    if (!strcmp(text, "all")) return CORE_ERR_OK;
    limits->gpus_limited = true;
    if (!strcmp(text, "none")) return CORE_ERR_OK;
    if (read_count(text, &number)) {
        if (number == 0) return refuse(why, "--gpus 0: say `--gpus none` for no GPU");
        if (number > count) return refuse(why, "--gpus %u: this machine has %s", number, there);
        limits->gpus = number;
        return CORE_ERR_OK;
    }
    limits->gpus_named = true;
    for (const char *at = text;; at++) {
        size_t size = strcspn(at, ",");
        if (!take_name(at, size, devices, count, limits))
            return refuse(why, "--gpus %.*s: no such GPU, this machine has %s", size > 32 ? 32 : (int)size, at, there);
        at += size;
        if (!*at) return CORE_ERR_OK;
    }
}

enum core_err sched_limits_check(const struct sched_limits *limits, const struct sched_topology *t, char *why)
{
    uint64_t memory = sched_topology_memory(t);
    if (limits->cpus > t->cpus_count)
        return refuse(why, "--cpus %u: %u cpu%s may be used here", limits->cpus, t->cpus_count,
                      t->cpus_count == 1 ? "" : "s");
    if (memory && limits->memory_bytes > memory)
        return refuse(why, "--memory %llu MiB: %llu MiB may be used here",
                      (unsigned long long)(limits->memory_bytes >> 20), (unsigned long long)(memory >> 20));
    if (limits->share_percent > 100)
        return refuse(why, "--share %u: it is a percentage, 1 to 100", limits->share_percent);
    return CORE_ERR_OK;
}
