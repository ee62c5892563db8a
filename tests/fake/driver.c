// The driver: NVIDIA's and AMD's calls (hip/driver.h) over the host's memory. One thread.
#include "hip/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/fake/emulator.h"
#include "tests/fake/fake.h"
#include "tests/fake/run.h"

enum {
    INVALID = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    BAD_IMAGE = 200,
    NOT_FOUND = 500,
    BROKEN = 999,
    UNITS = 2,
};

static const size_t arena_size = (size_t)8 << 30;

struct fake_control fake_control = {.devices = 2, .memory = (size_t)2 << 30};

// ---- device memory: taken from one range, which `guard` makes untouchable ----

struct block {
    char *at;
    size_t size;
    struct block *next;
};

static struct {
    char *base;
    size_t used;
    struct block *blocks;
} arena;

static void arena_open(void)
{
    if (arena.base) return;
    arena.base = mmap(NULL, arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena.base == MAP_FAILED) abort();
}

static void guard(bool on)
{
    if (!fake_control.guard || !arena.used) return;
    if (mprotect(arena.base, arena.used, on ? PROT_NONE : PROT_READ | PROT_WRITE)) abort();
}

// True if [p, p + size) was allocated, or lies outside the arena altogether (the host's memory, as kernel tests use
// it).
static bool addressable(const void *p, size_t size)
{
    const char *c = p;
    if (!arena.base || c < arena.base || c >= arena.base + arena_size) return true;
    for (const struct block *b = arena.blocks; b; b = b->next) {
        if (c >= b->at && c + size <= b->at + b->size) return true;
    }
    return false;
}

// ---- work, done at once or when somebody waits ----

enum job_kind { JOB_COPY, JOB_SET, JOB_LAUNCH };

struct job {
    enum job_kind kind;
    void *to;
    const void *from;
    size_t size;
    unsigned char value;
    uint32_t kernel;
    unsigned grid[3], block;
    _Alignas(16) unsigned char args[512];
};

static struct job *jobs;
static size_t job_count, job_capacity;

static void job_run(const struct job *j)
{
    switch (j->kind) {
    case JOB_COPY: memmove(j->to, j->from, j->size); break;
    case JOB_SET: memset(j->to, j->value, j->size); break;
    case JOB_LAUNCH: emulator_launch(j->kernel, j->args, j->grid, j->block); break;
    }
}

static void jobs_run(void)
{
    guard(false);
    for (size_t i = 0; i < job_count; i++) job_run(jobs + i);
    job_count = 0;
    guard(true);
}

static void job_add(const struct job *j)
{
    if (job_count == job_capacity) {
        job_capacity = job_capacity ? job_capacity * 2 : 64;
        jobs = realloc(jobs, job_capacity * sizeof *jobs);
        if (!jobs) abort();
    }
    jobs[job_count++] = *j;
    if (!fake_control.late) jobs_run();
}

// ---- the calls ----

static int call(const char *name)
{
    struct fake_control *c = &fake_control;
    c->calls++;
    c->last = name;
    if (!c->fail || strcmp(c->fail, name)) return 0;
    if (c->fail_after) {
        c->fail_after--;
        return 0;
    }
    if (c->fail_once) c->fail = NULL;
    return BROKEN;
}

#define CALL(name)                   \
    do {                             \
        int broken_ = call(name);    \
        if (broken_) return broken_; \
    } while (0)

static int fake_init(unsigned flags)
{
    CALL("init");
    return flags ? INVALID : 0;
}

static int fake_version(int *version)
{
    CALL("version");
    *version = 12040;
    return 0;
}

static int fake_count(int *count)
{
    CALL("count");
    *count = fake_control.devices;
    return fake_control.devices ? 0 : NO_DEVICE;
}

static int fake_get(int *device, int index)
{
    CALL("get");
    if (index < 0 || index >= fake_control.devices) return INVALID;
    *device = index;
    return 0;
}

static int fake_name(char *name, int size, int device)
{
    CALL("name");
    snprintf(name, (size_t)size, "Emulated device %d", device);
    return 0;
}

static int fake_memory(size_t *bytes, int device)
{
    (void)device;
    CALL("memory");
    *bytes = fake_control.memory;
    return 0;
}

static int fake_pci(char *text, int size, int device)
{
    CALL("pci");
    snprintf(text, (size_t)size, "0000:%02x:00.0", device + 1);
    return 0;
}

static int fake_alloc(void **address, size_t size)
{
    CALL("alloc");
    arena_open();
    const size_t whole = (size + 4095) / 4096 * 4096;
    if (!size || whole > fake_control.memory - fake_control.live || arena.used + whole > arena_size)
        return OUT_OF_MEMORY;
    struct block *b = malloc(sizeof *b);
    if (!b) return OUT_OF_MEMORY;
    *b = (struct block){arena.base + arena.used, whole, arena.blocks};
    arena.blocks = b;
    arena.used += whole;
    fake_control.live += whole;
    guard(false);
    memset(b->at, 0xa5, whole);  // nobody may count on zeros
    guard(true);
    *address = b->at;
    return 0;
}

static int fake_free(void *address)
{
    CALL("free");
    jobs_run();
    for (struct block **b = &arena.blocks; *b; b = &(*b)->next) {
        struct block *found = *b;
        if (found->at != address) continue;
        *b = found->next;
        fake_control.live -= found->size;
        free(found);
        if (!arena.blocks) {
            guard(false);
            arena.used = 0;
        }
        return 0;
    }
    return INVALID;
}

static int transfer(void *to, const void *from, size_t size)
{
    if (!addressable(to, size) || !addressable(from, size)) return INVALID;
    struct job j = {.kind = JOB_COPY, .to = to, .from = from, .size = size};
    job_add(&j);
    return 0;
}

static int fake_upload(void *to, const void *from, size_t size, void *stream)
{
    (void)stream;
    CALL("upload");
    return transfer(to, from, size);
}

static int fake_download(void *to, const void *from, size_t size, void *stream)
{
    (void)stream;
    CALL("download");
    return transfer(to, from, size);
}

static int fake_copy(void *to, const void *from, size_t size, void *stream)
{
    (void)stream;
    CALL("copy");
    return transfer(to, from, size);
}

static int fake_set(void *to, unsigned char value, size_t size, void *stream)
{
    (void)stream;
    CALL("set");
    if (!addressable(to, size)) return INVALID;
    struct job j = {.kind = JOB_SET, .to = to, .value = value, .size = size};
    job_add(&j);
    return 0;
}

static int fake_stream_open(void **stream, unsigned flags)
{
    (void)flags;
    CALL("stream_open");
    *stream = malloc(1);
    return *stream ? 0 : OUT_OF_MEMORY;
}

static int fake_stream_close(void *stream)
{
    CALL("stream_close");
    free(stream);
    return 0;
}

static int fake_stream_wait(void *stream)
{
    (void)stream;
    CALL("stream_wait");
    jobs_run();
    return 0;
}

static int fake_event_open(void **event, unsigned flags)
{
    (void)flags;
    CALL("event_open");
    *event = malloc(1);
    return *event ? 0 : OUT_OF_MEMORY;
}

static int fake_event_close(void *event)
{
    CALL("event_close");
    free(event);
    return 0;
}

static int fake_event_record(void *event, void *stream)
{
    (void)event;
    (void)stream;
    CALL("event_record");
    return 0;
}

static int fake_event_wait(void *event)
{
    (void)event;
    CALL("event_wait");
    jobs_run();
    return 0;
}

static int fake_event_ms(float *ms, void *from, void *to)
{
    (void)from;
    (void)to;
    CALL("event_ms");
    *ms = 1;
    return 0;
}

static bool is_elf(const void *image)
{
    return !memcmp(image, "\177ELF", 4);
}

// NVIDIA takes PTX, AMD code objects; which vendor is asked follows from the call that came before.
static bool asked_as_amd;

static int fake_module_open(void **module, const void *image)
{
    CALL("module_open");
    if (is_elf(image) != asked_as_amd) return BAD_IMAGE;
    *module = malloc(1);
    return *module ? 0 : OUT_OF_MEMORY;
}

static int fake_module_close(void *module)
{
    CALL("module_close");
    free(module);
    return 0;
}

static int fake_function(void **function, void *module, const char *name)
{
    (void)module;
    CALL("function");
    for (uint32_t i = 0; emulated_names[i]; i++) {
        if (strcmp(emulated_names[i], name)) continue;
        *function = (void *)(size_t)(i + 1);
        return 0;
    }
    return NOT_FOUND;
}

static int fake_launch(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, void *stream, void **args, void **extra)
{
    (void)stream;
    CALL("launch");
    if (!function || !gx || !gy || !gz || gy > 65535 || gz > 65535 || by != 1 || bz != 1 || shared || extra)
        return INVALID;
    struct job j = {.kind = JOB_LAUNCH, .kernel = (uint32_t)(size_t)function - 1, .grid = {gx, gy, gz}, .block = bx};
    if (emulated_args_size[j.kernel] > sizeof j.args) return INVALID;
    memcpy(j.args, args[0], emulated_args_size[j.kernel]);
    fake_control.launches++;
    job_add(&j);
    return 0;
}

static int fake_attribute(int *value, int attribute, int device)
{
    (void)device;
    CALL("attribute");
    if (attribute != 16) return INVALID;  // multiprocessors: all that is asked for
    *value = UNITS;
    return 0;
}

static int fake_context_hold(void **context, int device)
{
    (void)device;
    CALL("context_hold");
    *context = malloc(1);
    asked_as_amd = false;
    return 0;
}

static int fake_context_release(int device)
{
    (void)device;
    CALL("context_release");
    return 0;
}

static int fake_context_set(void *context)
{
    (void)context;
    CALL("context_set");
    return 0;
}

static int fake_error_text(int error, const char **text)
{
    *text = error == BROKEN ? "FAKE_ERROR_BROKEN" : "FAKE_ERROR";
    return 0;
}

static int fake_device_set(int device)
{
    (void)device;
    CALL("device_set");
    asked_as_amd = true;
    return 0;
}

#define EXPORT_BOTH(field, nvidia, amd, arguments)               \
    int nvidia arguments __attribute__((alias("fake_" #field))); \
    int amd arguments __attribute__((alias("fake_" #field)));
#define EXPORT(field, symbol, arguments) int symbol arguments __attribute__((alias("fake_" #field)));
DRIVER_CALLS(EXPORT_BOTH)
DRIVER_CALLS_NVIDIA(EXPORT)
DRIVER_CALLS_AMD(EXPORT)
