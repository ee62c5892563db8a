#include "hip/device.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "core/check.h"
#include "hip/cpu.h"

struct hip_device {
    enum hip_isa isa;
    cpu_kernel *const *kernels;
    struct pool *pool;  // NULL with one thread
    uint32_t threads;
    struct cpu_worker *workers;  // one a thread
    float *scratch;              // of all workers, then the shared part
};

// The CPU's stream has nothing to wait for: a launch is done when it returns.
struct hip_stream {
    struct hip_device *device;
};

struct hip_event {
    struct timespec at;
};

#define HIP_KERNEL_NAME(NAME, name) [HIP_KERNEL_##NAME] = #name,
static const char *const kernel_names[HIP_KERNEL_COUNT] = {HIP_KERNELS(HIP_KERNEL_NAME)};

// AUTO is settled here. HIP_ISA_AUTO as the result: the environment asks for what doesn't exist.
static enum hip_isa choose_isa(enum hip_isa wanted)
{
    const char *name = getenv("MYCEL_ISA");
    if (wanted != HIP_ISA_AUTO) return wanted;
    if (name && *name) {
        for (enum hip_isa i = HIP_ISA_PORTABLE; i <= HIP_ISA_AVX512; i++) {
            if (!strcmp(name, hip_isa_name(i))) return i;
        }
        return HIP_ISA_AUTO;
    }
    if (hip_isa_available(HIP_ISA_AVX512)) return HIP_ISA_AVX512;
    return hip_isa_available(HIP_ISA_AVX2) ? HIP_ISA_AVX2 : HIP_ISA_PORTABLE;
}

static cpu_kernel *const *kernels_of(enum hip_isa isa)
{
#if defined(__x86_64__)
    if (isa == HIP_ISA_AVX512) return cpu_kernels_avx512;
    if (isa == HIP_ISA_AVX2) return cpu_kernels_avx2;
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

static enum core_err open_workers(struct hip_device *d, const struct hip_options *options)
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

enum core_err hip_device_open(const char *name, const struct hip_options *options, struct hip_device **out)
{
    static const struct hip_options plain = {.threads = 1};
    *out = NULL;
    if (strcmp(name, "cpu")) return CORE_ERR_NOT_FOUND;
    if (!options) options = &plain;
    check(options->threads <= HIP_MAX_THREADS);
    enum hip_isa isa = choose_isa(options->isa);
    if (isa == HIP_ISA_AUTO || !hip_isa_available(isa)) return CORE_ERR_UNSUPPORTED;
    struct hip_device *d = calloc(1, sizeof *d);
    if (!d) return CORE_ERR_NO_MEMORY;
    d->isa = isa;
    d->kernels = kernels_of(isa);
    d->threads = options->threads ? options->threads : 1;
    enum core_err err = open_workers(d, options);
    if (err) {
        hip_device_close(d);
        return err;
    }
    *out = d;
    return CORE_ERR_OK;
}

void hip_device_close(struct hip_device *d)
{
    if (!d) return;
    pool_close(d->pool);
    if (d->scratch) munmap(d->scratch, (d->threads + (size_t)1) * CPU_SCRATCH * sizeof(float));
    free(d->workers);
    free(d);
}

void hip_device_facts(const struct hip_device *d, struct hip_facts *out)
{
    *out = (struct hip_facts){.name = "cpu", .threads = d->threads};
    strncpy(out->isa, hip_isa_name(d->isa), sizeof out->isa - 1);
}

enum core_err hip_alloc(struct hip_device *d, size_t size, void **out)
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

void hip_free(struct hip_device *d, void *address)
{
    (void)d;
    free(address);
}

enum core_err hip_stream_open(struct hip_device *d, struct hip_stream **out)
{
    struct hip_stream *s = calloc(1, sizeof *s);
    *out = s;
    if (!s) return CORE_ERR_NO_MEMORY;
    s->device = d;
    return CORE_ERR_OK;
}

void hip_stream_close(struct hip_stream *s)
{
    free(s);
}

enum core_err hip_stream_wait(struct hip_stream *s)
{
    (void)s;
    return CORE_ERR_OK;
}

void hip_copy(struct hip_stream *s, void *to, const void *from, size_t size)
{
    (void)s;
    if (size) memcpy(to, from, size);
}

void hip_upload(struct hip_stream *s, void *device, const void *host, size_t size)
{
    hip_copy(s, device, host, size);
}
void hip_download(struct hip_stream *s, void *host, const void *device, size_t size)
{
    hip_copy(s, host, device, size);
}

void hip_zero(struct hip_stream *s, void *device, size_t size)
{
    (void)s;
    if (size) memset(device, 0, size);
}

enum core_err hip_event_open(struct hip_device *d, struct hip_event **out)
{
    (void)d;
    *out = calloc(1, sizeof **out);
    return *out ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}

void hip_event_close(struct hip_event *e)
{
    free(e);
}

void hip_event_record(struct hip_event *e, struct hip_stream *s)
{
    (void)s;
    clock_gettime(CLOCK_MONOTONIC, &e->at);
}

void hip_event_wait(struct hip_event *e)
{
    (void)e;
}

double hip_event_seconds(const struct hip_event *from, const struct hip_event *to)
{
    return (double)(to->at.tv_sec - from->at.tv_sec) + 1e-9 * (double)(to->at.tv_nsec - from->at.tv_nsec);
}

struct launch {
    const struct hip_device *device;
    cpu_kernel *kernel;
    const void *args;
};

static void run_part(void *context, uint32_t thread)
{
    const struct launch *l = context;
    l->kernel(l->args, &l->device->workers[thread]);
}

void hip_launch(struct hip_stream *s, enum hip_kernel k, const void *args)
{
    check((unsigned)k < HIP_KERNEL_COUNT);
    struct hip_device *d = s->device;
    struct launch l = {d, d->kernels[k], args};
    if (d->pool)
        pool_run(d->pool, run_part, &l);
    else
        run_part(&l, 0);
}

const char *hip_kernel_name(enum hip_kernel k)
{
    check((unsigned)k < HIP_KERNEL_COUNT);
    return kernel_names[k];
}

// Change the number with any rule of hip/kernels.h or coefficient of hip/math.c: peers of unlike rules must not compare
// bits.
struct core_hash hip_spec_hash(void)
{
    static const char spec[] =
        "mycel repro-fp32 1: chunk 512, 32 partials, tensor rows 4096, cephes exp and log over fma";
    return hash_bytes(spec, sizeof spec - 1);
}
