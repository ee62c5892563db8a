#include "hip/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "hip/backend.h"

#define HIP_KERNEL_NAME(NAME, name) [HIP_KERNEL_##NAME] = #name,
static const char *const kernel_names[HIP_KERNEL_COUNT] = {HIP_KERNELS(HIP_KERNEL_NAME)};

static const struct {
    const char *name;
    bool amd;
} vendors[] = {{"nvidia", false}, {"amd", true}};

// "nvidia:1" is device 1 of NVIDIA's driver, "nvidia" its device 0. False for anything else.
static bool name_parse(const char *name, bool *amd, uint32_t *index)
{
    for (size_t i = 0; i < sizeof vendors / sizeof *vendors; i++) {
        const size_t length = strlen(vendors[i].name);
        if (strncmp(name, vendors[i].name, length)) continue;
        const char *rest = name + length;
        *amd = vendors[i].amd;
        *index = 0;
        if (!*rest) return true;
        char *end;
        if (*rest++ != ':' || *rest < '0' || *rest > '9') return false;
        unsigned long number = strtoul(rest, &end, 10);
        *index = (uint32_t)number;
        return !*end && number < HIP_MAX_DEVICES;
    }
    return false;
}

enum core_err hip_device_open_told(const char *name, const struct hip_options *options, struct hip_device **out,
                                   char *why, size_t why_size)
{
    static const struct hip_options plain = {.threads = 1};
    bool amd;
    uint32_t index;
    *out = NULL;
    if (why_size) *why = 0;
    if (!options) options = &plain;
    check(options->threads <= HIP_MAX_THREADS);
    if (!strcmp(name, "cpu")) return cpu_device_open(options, out);
    if (!name_parse(name, &amd, &index)) return CORE_ERR_NOT_FOUND;
    return gpu_device_open(amd, index, out, why, why_size);
}

enum core_err hip_device_open(const char *name, const struct hip_options *options, struct hip_device **out)
{
    return hip_device_open_told(name, options, out, NULL, 0);
}

uint32_t hip_devices_find(struct hip_found *found, uint32_t capacity)
{
    uint32_t count = 0;
    for (size_t v = 0; v < sizeof vendors / sizeof *vendors; v++) {
        char why[HIP_WHY_SIZE] = "";
        uint32_t devices = gpu_device_count(vendors[v].amd, why, sizeof why);
        if (!devices && *why && count < capacity) {  // a driver that does not work: said, not hidden
            struct hip_found *f = found + count++;
            *f = (struct hip_found){.usable = false};
            strncpy(f->name, vendors[v].name, sizeof f->name - 1);
            memcpy(f->why, why, sizeof f->why);
        }
        for (uint32_t i = 0; i < devices && count < capacity; i++) {
            struct hip_found *f = found + count++;
            struct hip_device *d;
            *f = (struct hip_found){.usable = true};
            snprintf(f->name, sizeof f->name, "%s:%u", vendors[v].name, i);
            if (hip_device_open_told(f->name, NULL, &d, f->why, sizeof f->why)) {
                f->usable = false;
                continue;
            }
            hip_device_facts(d, &f->facts);
            hip_device_close(d);
        }
    }
    return count;
}

void hip_device_close(struct hip_device *d)
{
    if (d) d->ops->close(d);
}

void hip_device_facts(const struct hip_device *d, struct hip_facts *out)
{
    d->ops->facts(d, out);
}

void hip_device_why(const struct hip_device *d, char *out, size_t size)
{
    if (size) out[0] = 0;
    if (d->ops->why) d->ops->why(d, out, size);
}

enum core_err hip_alloc(struct hip_device *d, size_t size, void **out)
{
    return d->ops->alloc(d, size, out);
}

void hip_free(struct hip_device *d, void *address)
{
    d->ops->free(d, address);
}

enum core_err hip_stream_open(struct hip_device *d, struct hip_stream **out)
{
    enum core_err err = d->ops->stream_open(d, out);
    if (!err) (*out)->device = d;
    return err;
}

void hip_stream_close(struct hip_stream *s)
{
    if (s) s->device->ops->stream_close(s);
}

enum core_err hip_stream_wait(struct hip_stream *s)
{
    return s->device->ops->stream_wait(s);
}

void hip_upload(struct hip_stream *s, void *device, const void *host, size_t size)
{
    s->device->ops->upload(s, device, host, size);
}

void hip_download(struct hip_stream *s, void *host, const void *device, size_t size)
{
    s->device->ops->download(s, host, device, size);
}

void hip_copy(struct hip_stream *s, void *to, const void *from, size_t size)
{
    s->device->ops->copy(s, to, from, size);
}

void hip_zero(struct hip_stream *s, void *device, size_t size)
{
    s->device->ops->zero(s, device, size);
}

enum core_err hip_event_open(struct hip_device *d, struct hip_event **out)
{
    enum core_err err = d->ops->event_open(d, out);
    if (!err) (*out)->device = d;
    return err;
}

void hip_event_close(struct hip_event *e)
{
    if (e) e->device->ops->event_close(e);
}

void hip_event_record(struct hip_event *e, struct hip_stream *s)
{
    e->device->ops->event_record(e, s);
}

void hip_event_wait(struct hip_event *e)
{
    e->device->ops->event_wait(e);
}

double hip_event_seconds(const struct hip_event *from, const struct hip_event *to)
{
    return from->device->ops->event_seconds(from, to);
}

void hip_launch(struct hip_stream *s, enum hip_kernel k, const void *args)
{
    check((unsigned)k < HIP_KERNEL_COUNT);
    s->device->ops->launch(s, k, args);
}

const char *hip_kernel_name(enum hip_kernel k)
{
    check((unsigned)k < HIP_KERNEL_COUNT);
    return kernel_names[k];
}

static const struct {
    const char *name;
    // Change the number with any rule of hip/kernels.h or coefficient of hip/math.c: peers of unlike rules must not
    // compare bits.
    const char *spec;
} profiles[HIP_PROFILE_COUNT] = {
    [HIP_PROFILE_REPRO_FP32] = {"repro-fp32", "mycel repro-fp32 1: chunk 512, 32 partials, tensor rows 4096, cephes "
                                              "exp and log over fma"},
    [HIP_PROFILE_FAST_BF16] = {"fast-bf16", "mycel fast-bf16 1: bits not fixed; bfloat16 products, fp32 sums and "
                                            "parameters"},
};

const char *hip_profile_name(enum hip_profile profile)
{
    check((unsigned)profile < HIP_PROFILE_COUNT);
    return profiles[profile].name;
}

bool hip_profile_named(const char *name, enum hip_profile *out)
{
    for (enum hip_profile p = 0; p < HIP_PROFILE_COUNT; p++) {
        if (strcmp(name, profiles[p].name)) continue;
        *out = p;
        return true;
    }
    return false;
}

struct core_hash hip_spec_hash(enum hip_profile profile)
{
    check((unsigned)profile < HIP_PROFILE_COUNT);
    return hash_bytes(profiles[profile].spec, strlen(profiles[profile].spec));
}

bool hip_profile_of(const struct core_hash *spec, enum hip_profile *out)
{
    for (enum hip_profile p = 0; p < HIP_PROFILE_COUNT; p++) {
        const struct core_hash own = hip_spec_hash(p);
        if (!hash_equal(&own, spec)) continue;
        *out = p;
        return true;
    }
    return false;
}

void hip_stream_profile(struct hip_stream *s, enum hip_profile profile)
{
    check((unsigned)profile < HIP_PROFILE_COUNT);
    s->profile = profile;
}
