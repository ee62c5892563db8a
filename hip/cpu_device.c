// The CPU as a device: a launch is run by the pool at once, so there is never anything to wait for.
#include "hip/backend.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "hip/cpu.h"

struct cpu_device {
    struct hip_device device;
    enum hip_isa isa;
    cpu_kernel *const *kernels;
    struct pool *pool;  // NULL with one thread
    uint32_t threads;
    struct cpu_worker *workers;  // one a thread
    float *scratch;              // of all workers, then the shared part
};

struct cpu_event {
    struct hip_event event;
    struct timespec at;
};

// AUTO is settled here. HIP_ISA_AUTO as the result: the environment asks for what doesn't exist.
static enum hip_isa choose_isa(enum hip_isa wanted)
{
    const char *name = getenv("MYCEL_ISA");
    if (wanted != HIP_ISA_AUTO) return wanted;
    if (name && *name) {
        for (enum hip_isa i = HIP_ISA_PORTABLE; i < HIP_ISA_COUNT; i++) {
            if (!strcmp(name, hip_isa_name(i))) return i;
        }
        return HIP_ISA_AUTO;
    }
    static const enum hip_isa best[] = {HIP_ISA_AVX512, HIP_ISA_AVX2, HIP_ISA_NEON};
    for (size_t i = 0; i < sizeof best / sizeof *best; i++) {
        if (hip_isa_available(best[i])) return best[i];
    }
    return HIP_ISA_PORTABLE;
}

static cpu_kernel *const *kernels_of(enum hip_isa isa)
{
#if defined(__x86_64__)
    if (isa == HIP_ISA_AVX512) return cpu_kernels_avx512;
    if (isa == HIP_ISA_AVX2) return cpu_kernels_avx2;
#elif defined(__aarch64__)
    if (isa == HIP_ISA_NEON) return cpu_kernels_neon;
#endif
    return cpu_kernels_portable;
}

// Address space only: a page costs memory once it is touched.
static float *reserve(size_t floats)
{
    void *p =
        mmap(NULL, floats * sizeof(float), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static enum core_err open_workers(struct cpu_device *d, const struct hip_options *options)
{
    d->workers = calloc(d->threads, sizeof *d->workers);
    d->scratch = reserve((d->threads + (size_t)1) * CPU_SCRATCH);
    if (!d->workers || !d->scratch) return CORE_ERR_NO_MEMORY;
    if (d->threads > 1) {
        enum core_err err = pool_open(d->threads, options->bind, options->bind_context, &d->pool);
        if (err) return err;
    }
    float *shared = d->scratch + d->threads * CPU_SCRATCH;
    for (uint32_t i = 0; i < d->threads; i++) {
        d->workers[i] = (struct cpu_worker){i, d->threads, d->pool, d->scratch + i * CPU_SCRATCH, shared};
    }
    return CORE_ERR_OK;
}

static void cpu_close(struct hip_device *device)
{
    struct cpu_device *d = (struct cpu_device *)device;
    pool_close(d->pool);
    if (d->scratch) munmap(d->scratch, (d->threads + (size_t)1) * CPU_SCRATCH * sizeof(float));
    free(d->workers);
    free(d);
}

static void cpu_facts(const struct hip_device *device, struct hip_facts *out)
{
    const struct cpu_device *d = (const struct cpu_device *)device;
    *out = (struct hip_facts){.name = "cpu", .threads = d->threads};
    strncpy(out->isa, hip_isa_name(d->isa), sizeof out->isa - 1);
}

static enum core_err cpu_alloc(struct hip_device *d, size_t size, void **out)
{
    (void)d;
    const size_t huge = (size_t)2 << 20;
    *out = NULL;
    if (size > SIZE_MAX - huge) return CORE_ERR_NO_MEMORY;
    // Big buffers in big pages: a product walks whole columns, and each 4 KiB page would miss the TLB.
    size_t align = size >= 2 * huge ? huge : 64, whole = (size + align) / align * align;
    void *p = aligned_alloc(align, whole);
    if (!p) return CORE_ERR_NO_MEMORY;
    if (align == huge) (void)madvise(p, whole, MADV_HUGEPAGE);
    memset(p, 0, whole);
    *out = p;
    return CORE_ERR_OK;
}

static void cpu_free(struct hip_device *d, void *address)
{
    (void)d;
    free(address);
}

static enum core_err cpu_stream_open(struct hip_device *d, struct hip_stream **out)
{
    (void)d;
    *out = calloc(1, sizeof **out);
    return *out ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}

static void cpu_stream_close(struct hip_stream *s)
{
    free(s);
}

static enum core_err cpu_stream_wait(struct hip_stream *s)
{
    (void)s;
    return CORE_ERR_OK;
}

static void cpu_copy(struct hip_stream *s, void *to, const void *from, size_t size)
{
    (void)s;
    if (size) memcpy(to, from, size);
}

static void cpu_zero(struct hip_stream *s, void *device, size_t size)
{
    (void)s;
    if (size) memset(device, 0, size);
}

static enum core_err cpu_event_open(struct hip_device *d, struct hip_event **out)
{
    (void)d;
    struct cpu_event *e = calloc(1, sizeof *e);
    *out = &e->event;
    return e ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}

static void cpu_event_close(struct hip_event *e)
{
    free(e);
}

static void cpu_event_record(struct hip_event *e, struct hip_stream *s)
{
    (void)s;
    clock_gettime(CLOCK_MONOTONIC, &((struct cpu_event *)e)->at);
}

static void cpu_event_wait(struct hip_event *e)
{
    (void)e;
}

static double cpu_event_seconds(const struct hip_event *from, const struct hip_event *to)
{
    const struct timespec *a = &((const struct cpu_event *)from)->at, *b = &((const struct cpu_event *)to)->at;
    return (double)(b->tv_sec - a->tv_sec) + 1e-9 * (double)(b->tv_nsec - a->tv_nsec);
}

struct launch {
    const struct cpu_device *device;
    cpu_kernel *kernel;
    const void *args;
};

static void run_part(void *context, uint32_t thread)
{
    const struct launch *l = context;
    l->kernel(l->args, &l->device->workers[thread]);
}

static void cpu_launch(struct hip_stream *s, enum hip_kernel k, const void *args)
{
    struct cpu_device *d = (struct cpu_device *)s->device;
    struct launch l = {d, d->kernels[k], args};
    if (d->pool)
        pool_run(d->pool, run_part, &l);
    else
        run_part(&l, 0);
}

static const struct hip_backend cpu_backend = {
    .close = cpu_close,
    .facts = cpu_facts,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .stream_open = cpu_stream_open,
    .stream_close = cpu_stream_close,
    .stream_wait = cpu_stream_wait,
    .upload = cpu_copy,
    .download = cpu_copy,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .event_open = cpu_event_open,
    .event_close = cpu_event_close,
    .event_record = cpu_event_record,
    .event_wait = cpu_event_wait,
    .event_seconds = cpu_event_seconds,
    .launch = cpu_launch,
};

enum core_err cpu_device_open(const struct hip_options *options, struct hip_device **out)
{
    enum hip_isa isa = choose_isa(options->isa);
    if (isa == HIP_ISA_AUTO || !hip_isa_available(isa)) return CORE_ERR_UNSUPPORTED;
    struct cpu_device *d = calloc(1, sizeof *d);
    if (!d) return CORE_ERR_NO_MEMORY;
    d->device.ops = &cpu_backend;
    d->isa = isa;
    d->kernels = kernels_of(isa);
    d->threads = options->threads ? options->threads : 1;
    enum core_err err = open_workers(d, options);
    if (err) {
        cpu_close(&d->device);
        return err;
    }
    *out = &d->device;
    return CORE_ERR_OK;
}
