// A GPU as a device: the vendor's driver (driver.h) and our kernels' image for it. The driver's calls only queue work;
// the first error of a stream is kept until somebody waits for it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "hip/gpu.h"

enum {
    ATTRIBUTE_UNITS = 16,  // CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
    UNITS_UNKNOWN = 64,    // AMD's driver has no stable number for this attribute: a middling one
    STREAM_APART = 1,      // does not wait for the default stream
    OUT_OF_MEMORY = 2,     // CUDA_ERROR_OUT_OF_MEMORY, hipErrorOutOfMemory
};

enum { NVIDIA_OLDEST = 10000 };  // CUDA 10.0 brought PTX 6.3

#define KERNEL_NAME(name, args) "mycel_" #name,
static const char *const function_names[GPU_KERNEL_COUNT] = {GPU_KERNELS(KERNEL_NAME)};

static struct gpu_device *gpu_of(const struct hip_stream *s)
{
    return (struct gpu_device *)s->device;
}

static enum core_err error_of(int error)
{
    if (!error) return CORE_ERR_OK;
    return error == OUT_OF_MEMORY ? CORE_ERR_NO_MEMORY : CORE_ERR_IO;
}

// The calling thread talks to this device from here on.
static int make_current(struct gpu_device *d)
{
    return d->driver.amd ? d->driver.device_set(d->number) : d->driver.context_set(d->context);
}

// Remembers in words what `what` ended with, and gives it as ours.
static enum core_err said(struct gpu_device *d, const char *what, int error)
{
    char text[32];
    if (error) {
        snprintf(d->why, sizeof d->why, "%s%s%s%s: %s: %s", d->facts.name, d->facts.pci[0] ? " (" : "", d->facts.pci,
                 d->facts.pci[0] ? ")" : "", what, driver_error(&d->driver, error, text));
    }
    return error_of(error);
}

// What follows a stream's first error only says it again.
static void note(struct gpu_stream *s, const char *what, int error)
{
    if (error && !s->err) s->err = said(gpu_of(&s->stream), what, error);
}

// ---- opening ----

static void gpu_close(struct hip_device *device)
{
    struct gpu_device *d = (struct gpu_device *)device;
    if (d->blas && !make_current(d)) blas_close(d->blas);
    if (d->module) (void)d->driver.module_close(d->module);
    if (d->context) (void)d->driver.context_release(d->number);
    driver_close(&d->driver);
    free(d);
}

static bool functions_find(struct gpu_device *d)
{
    for (uint32_t i = 0; i < GPU_KERNEL_COUNT; i++) {
        if (d->driver.function(&d->functions[i], d->module, function_names[i])) return false;
    }
    return true;
}

// Loads the image that fits: the driver knows best, so each of the vendor's is offered, the newest first. What it said
// of each goes into `why`.
static enum core_err image_load(struct gpu_device *d, char *why, size_t why_size)
{
    char refused[160] = "", text[32];
    size_t at = 0;
    for (uint32_t i = gpu_image_count; i-- > 0;) {
        const struct gpu_image *image = gpu_images + i;
        if (image->amd != d->driver.amd) continue;
        const int error = d->driver.module_open(&d->module, image->bytes);
        if (!error && functions_find(d)) {
            snprintf(d->facts.isa, sizeof d->facts.isa, "%s", image->target);
            return CORE_ERR_OK;
        }
        if (!error) (void)d->driver.module_close(d->module);
        d->module = NULL;
        const int more = snprintf(refused + at, sizeof refused - at, "%s%s %s", at ? ", " : "", image->target,
                                  error ? driver_error(&d->driver, error, text) : "lacks a kernel");
        at = at + (size_t)more < sizeof refused ? at + (size_t)more : sizeof refused - 1;
    }
    if (why)
        snprintf(why, why_size, "none of our kernels runs on %s with driver %s (%s): try a newer driver", d->facts.name,
                 d->facts.driver, refused);
    return CORE_ERR_UNSUPPORTED;
}

static void facts_fill(struct gpu_device *d, uint32_t index)
{
    size_t memory = 0;
    int units = 0;
    if (d->driver.name(d->facts.name, sizeof d->facts.name, d->number)) snprintf(d->facts.name, 64, "GPU %u", index);
    if (!d->driver.memory(&memory, d->number)) d->facts.memory_bytes = memory;
    if (d->driver.pci(d->facts.pci, sizeof d->facts.pci, d->number)) d->facts.pci[0] = 0;
    if (d->driver.version(&d->version)) d->version = 0;
    if (d->version) snprintf(d->facts.driver, sizeof d->facts.driver, "%d", d->version);
    if (!d->driver.amd && !d->driver.attribute(&units, ATTRIBUTE_UNITS, d->number) && units > 0)
        d->facts.units = (uint32_t)units;
    d->units = d->facts.units ? d->facts.units : UNITS_UNKNOWN;
}

static const struct hip_backend gpu_backend;

enum core_err gpu_device_open(bool amd, uint32_t index, struct hip_device **out, char *why, size_t why_size)
{
    const char *vendor = amd ? "AMD" : "NVIDIA";
    struct gpu_device *d = calloc(1, sizeof *d);
    if (!d) return CORE_ERR_NO_MEMORY;
    d->device.ops = &gpu_backend;
    enum core_err err = driver_open(amd, &d->driver, why, why_size);
    if (err) {
        if (err == CORE_ERR_NOT_FOUND && why) snprintf(why, why_size, "there is no %s GPU with a driver here", vendor);
        free(d);
        return err;
    }
    int count = 0, error = d->driver.count(&count);
    if (!error && index >= (uint32_t)count) {
        if (why)
            snprintf(why, why_size, "%s's driver shows %d devices, counted from 0: there is no %u", vendor, count,
                     index);
        gpu_close(&d->device);
        return CORE_ERR_NOT_FOUND;
    }
    if (!error) error = d->driver.get(&d->number, (int)index);
    if (!error && !amd) error = d->driver.context_hold(&d->context, d->number);
    if (!error) error = make_current(d);
    if (error) {
        char text[32];
        if (why)
            snprintf(why, why_size, "%s device %u does not open: %s; is another program holding it, or has it failed?",
                     vendor, index, driver_error(&d->driver, error, text));
        gpu_close(&d->device);
        return error_of(error);
    }
    facts_fill(d, index);
    err = !amd && d->version && d->version < NVIDIA_OLDEST ? CORE_ERR_UNSUPPORTED : CORE_ERR_OK;
    if (err && why)
        snprintf(why, why_size,
                 "%s's driver is too old: version %d, and %d is the first that takes our kernels; "
                 "install a newer one",
                 vendor, d->version, NVIDIA_OLDEST);
    if (!err) err = image_load(d, why, why_size);
    if (err) {
        gpu_close(&d->device);
        return err;
    }
    *out = &d->device;
    return CORE_ERR_OK;
}

uint32_t gpu_device_count(bool amd, char *why, size_t why_size)
{
    struct driver d;
    int count = 0;
    if (driver_open(amd, &d, why, why_size)) return 0;
    if (d.count(&count) || count < 0) count = 0;
    driver_close(&d);
    return count > HIP_MAX_DEVICES ? HIP_MAX_DEVICES : (uint32_t)count;
}

static void gpu_facts(const struct hip_device *device, struct hip_facts *out)
{
    *out = ((const struct gpu_device *)device)->facts;
}

static void gpu_why(const struct hip_device *device, char *out, size_t size)
{
    snprintf(out, size, "%s", ((const struct gpu_device *)device)->why);
}

// ---- memory ----

static enum core_err gpu_alloc(struct hip_device *device, size_t size, void **out)
{
    struct gpu_device *d = (struct gpu_device *)device;
    *out = NULL;
    int error = make_current(d);
    if (!error) error = d->driver.alloc(out, size ? size : 1);
    if (!error && size) error = d->driver.set(*out, 0, size, NULL);
    if (!error) error = d->driver.stream_wait(NULL);  // zeroed before any stream looks
    if (error && *out) {
        (void)d->driver.free(*out);
        *out = NULL;
    }
    return said(d, "taking memory", error);
}

static void gpu_free(struct hip_device *device, void *address)
{
    struct gpu_device *d = (struct gpu_device *)device;
    if (address && !make_current(d)) (void)d->driver.free(address);
}

void *gpu_scratch(struct gpu_stream *s, size_t size)
{
    struct gpu_device *d = gpu_of(&s->stream);
    if (size <= s->scratch_size) return s->scratch;
    if (s->err) return NULL;
    int error = make_current(d);
    if (!error) error = d->driver.stream_wait(s->handle);  // launches that use the old one
    if (!error && s->scratch) error = d->driver.free(s->scratch);
    s->scratch = NULL;
    s->scratch_size = 0;
    if (!error) error = d->driver.alloc(&s->scratch, size);
    note(s, "taking scratch memory", error);
    if (error) {
        s->scratch = NULL;
        return NULL;
    }
    s->scratch_size = size;
    return s->scratch;
}

// ---- streams ----

static enum core_err gpu_stream_open(struct hip_device *device, struct hip_stream **out)
{
    struct gpu_device *d = (struct gpu_device *)device;
    struct gpu_stream *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return CORE_ERR_NO_MEMORY;
    int error = make_current(d);
    if (!error) error = d->driver.stream_open(&s->handle, STREAM_APART);
    if (error) {
        free(s);
        return said(d, "opening a stream", error);
    }
    *out = &s->stream;
    return CORE_ERR_OK;
}

static void gpu_stream_close(struct hip_stream *stream)
{
    struct gpu_stream *s = (struct gpu_stream *)stream;
    struct gpu_device *d = gpu_of(stream);
    (void)make_current(d);
    (void)d->driver.stream_wait(s->handle);
    if (s->scratch) (void)d->driver.free(s->scratch);
    (void)d->driver.stream_close(s->handle);
    free(s);
}

static enum core_err gpu_stream_wait(struct hip_stream *stream)
{
    struct gpu_stream *s = (struct gpu_stream *)stream;
    struct gpu_device *d = gpu_of(stream);
    int error = make_current(d);
    if (!error) error = d->driver.stream_wait(s->handle);
    note(s, "waiting for what was launched", error);
    enum core_err err = s->err;
    s->err = CORE_ERR_OK;
    return err;
}

static bool ready(struct gpu_stream *s, size_t size)
{
    if (s->err || !size) return false;
    note(s, "turning to it", make_current(gpu_of(&s->stream)));
    return !s->err;
}

static void gpu_upload(struct hip_stream *stream, void *device, const void *host, size_t size)
{
    struct gpu_stream *s = (struct gpu_stream *)stream;
    if (ready(s, size)) note(s, "upload", gpu_of(stream)->driver.upload(device, host, size, s->handle));
}

static void gpu_download(struct hip_stream *stream, void *host, const void *device, size_t size)
{
    struct gpu_stream *s = (struct gpu_stream *)stream;
    if (ready(s, size)) note(s, "download", gpu_of(stream)->driver.download(host, device, size, s->handle));
}

static void gpu_copy(struct hip_stream *stream, void *to, const void *from, size_t size)
{
    struct gpu_stream *s = (struct gpu_stream *)stream;
    if (ready(s, size)) note(s, "copy", gpu_of(stream)->driver.copy(to, from, size, s->handle));
}

static void gpu_zero(struct hip_stream *stream, void *device, size_t size)
{
    struct gpu_stream *s = (struct gpu_stream *)stream;
    if (ready(s, size)) note(s, "zeroing", gpu_of(stream)->driver.set(device, 0, size, s->handle));
}

void gpu_run(struct gpu_stream *s, enum gpu_kernel kernel, uint32_t gx, uint32_t gy, uint32_t gz, void *args)
{
    struct gpu_device *d = gpu_of(&s->stream);
    void *list[] = {args};
    if (!ready(s, (size_t)gx * gy * gz)) return;
    const int error = d->driver.launch(d->functions[kernel], gx, gy, gz, GPU_BLOCK, 1, 1, 0, s->handle, list, NULL);
    note(s, function_names[kernel], error);
}

static void gpu_launch(struct hip_stream *stream, enum hip_kernel k, const void *args)
{
    struct gpu_stream *s = (struct gpu_stream *)stream;
    if (stream->profile == HIP_PROFILE_FAST_BF16 && gpu_plan_fast(s, k, args)) return;
    gpu_plan(s, k, args);
}

struct blas *gpu_blas(struct gpu_stream *s)
{
    struct gpu_device *d = gpu_of(&s->stream);
    if (d->blas_sought || !ready(s, 1)) return d->blas;
    d->blas_sought = true;
    if (blas_open(d->driver.amd, &d->blas)) d->blas = NULL;  // then the products are fp32's
    return d->blas;
}

// ---- events ----

struct gpu_event {
    struct hip_event event;
    void *handle;
};

static enum core_err gpu_event_open(struct hip_device *device, struct hip_event **out)
{
    struct gpu_device *d = (struct gpu_device *)device;
    struct gpu_event *e = calloc(1, sizeof *e);
    *out = NULL;
    if (!e) return CORE_ERR_NO_MEMORY;
    int error = make_current(d);
    if (!error) error = d->driver.event_open(&e->handle, 0);
    if (error) {
        free(e);
        return said(d, "opening an event", error);
    }
    *out = &e->event;
    return CORE_ERR_OK;
}

static void gpu_event_close(struct hip_event *event)
{
    struct gpu_device *d = (struct gpu_device *)event->device;
    if (!make_current(d)) (void)d->driver.event_close(((struct gpu_event *)event)->handle);
    free(event);
}

static void gpu_event_record(struct hip_event *event, struct hip_stream *stream)
{
    struct gpu_stream *s = (struct gpu_stream *)stream;
    if (ready(s, 1))
        note(s, "event", gpu_of(stream)->driver.event_record(((struct gpu_event *)event)->handle, s->handle));
}

static void gpu_event_wait(struct hip_event *event)
{
    struct gpu_device *d = (struct gpu_device *)event->device;
    if (!make_current(d)) (void)d->driver.event_wait(((struct gpu_event *)event)->handle);
}

static double gpu_event_seconds(const struct hip_event *from, const struct hip_event *to)
{
    struct gpu_device *d = (struct gpu_device *)from->device;
    const struct gpu_event *a = (const struct gpu_event *)from, *b = (const struct gpu_event *)to;
    float ms = 0;
    if (make_current(d) || d->driver.event_ms(&ms, a->handle, b->handle)) return 0;
    return (double)ms * 1e-3;
}

static const struct hip_backend gpu_backend = {
    .close = gpu_close,
    .facts = gpu_facts,
    .why = gpu_why,
    .alloc = gpu_alloc,
    .free = gpu_free,
    .stream_open = gpu_stream_open,
    .stream_close = gpu_stream_close,
    .stream_wait = gpu_stream_wait,
    .upload = gpu_upload,
    .download = gpu_download,
    .copy = gpu_copy,
    .zero = gpu_zero,
    .event_open = gpu_event_open,
    .event_close = gpu_event_close,
    .event_record = gpu_event_record,
    .event_wait = gpu_event_wait,
    .event_seconds = gpu_event_seconds,
    .launch = gpu_launch,
};
