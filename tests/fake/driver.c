// The driver: NVIDIA's and AMD's calls (hip/driver.h) over the host's memory. Any thread; one call at a time.
#include "hip/driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fake/emulator.h"
#include "tests/fake/fake.h"
#include "tests/fake/run.h"

enum {
    INVALID = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    BAD_IMAGE = 200,
    NOT_FOUND = 500,
    LOST = 719,
    BROKEN = 999,
    UNITS = 2,
    DEVICES_MAX = 16,
};

static const size_t arena_size = (size_t)8 << 30;

struct fake_control fake_control = {.devices = 2, .memory = (size_t)2 << 30, .version = 12040};

// Which device this thread talks to, and as which vendor's: NVIDIA takes PTX, AMD code objects.
static __thread struct {
    int device;
    bool amd;
} current;

static bool spoiled[DEVICES_MAX];  // was lost: its context fails until it is given back (AMD: until it is back itself)

// ---- what the environment says (fake.h) ----

// "launch:500" or "launch:500:once".
static void read_fail(const char *text)
{
    static char call[32];
    char once[8] = "";
    if (sscanf(text, "%31[a-z_]:%u:%7s", call, &fake_control.fail_after, once) < 1) return;
    fake_control.fail = call;
    fake_control.fail_once = !strcmp(once, "once");
}

__attribute__((constructor)) static void read_environment(void)
{
    const char *devices = getenv("MYCEL_FAKE_DEVICES"), *memory = getenv("MYCEL_FAKE_MEMORY");
    const char *version = getenv("MYCEL_FAKE_VERSION"), *fail = getenv("MYCEL_FAKE_FAIL");
    if (devices) fake_control.devices = (int)strtol(devices, NULL, 10);
    if (fake_control.devices > DEVICES_MAX) fake_control.devices = DEVICES_MAX;
    if (memory) fake_control.memory = strtoull(memory, NULL, 10);
    if (version) fake_control.version = (int)strtol(version, NULL, 10);
    if (fail) read_fail(fail);
    fake_control.lost = getenv("MYCEL_FAKE_LOST");
}

static bool gone(int device)
{
    char path[4096];
    if (!fake_control.lost) return false;
    snprintf(path, sizeof path, "%s.%d", fake_control.lost, device);
    return access(path, F_OK) == 0;
}

// Is this device lost to the calling thread?
static bool lost(int device)
{
    if (device < 0 || device >= DEVICES_MAX) return false;
    const bool now = gone(device);
    if (now) spoiled[device] = true;
    if (!now && current.amd) spoiled[device] = false;
    return spoiled[device];
}

// ---- device memory: taken from one range, which `guard` makes untouchable ----

struct block {
    char *at;
    size_t size;
    int device;
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

static void block_remove(struct block **b)
{
    struct block *found = *b;
    *b = found->next;
    fake_control.live -= found->size;
    free(found);
    if (arena.blocks) return;
    guard(false);
    arena.used = 0;
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

enum job_kind { JOB_COPY, JOB_SET, JOB_LAUNCH, JOB_PRODUCT };

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
    case JOB_PRODUCT: blas_product((const struct blas_call *)(const void *)j->args); break;
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

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static int enter(void)
{
    pthread_mutex_lock(&one_at_a_time);
    return 0;
}

static void leave(const int *entered)
{
    (void)entered;
    pthread_mutex_unlock(&one_at_a_time);
}

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

// A call's first line: the driver's own, and one that a lost device answers with its error.
#define CALL(name)                                                        \
    __attribute__((cleanup(leave), unused)) const int entered_ = enter(); \
    const int broken_ = call(name);                                       \
    if (broken_) return broken_
#define CALL_ON(name, device) \
    CALL(name);               \
    if (lost(device)) return LOST

static int fake_init(unsigned flags)
{
    CALL("init");
    return flags ? INVALID : 0;
}

static int fake_version(int *version)
{
    CALL("version");
    *version = fake_control.version;
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
    CALL_ON("name", device);
    snprintf(name, (size_t)size, "Emulated device %d", device);
    return 0;
}

static int fake_memory(size_t *bytes, int device)
{
    CALL_ON("memory", device);
    *bytes = fake_control.memory;
    return 0;
}

static int fake_pci(char *text, int size, int device)
{
    CALL_ON("pci", device);
    snprintf(text, (size_t)size, "0000:%02x:00.0", device + 1);
    return 0;
}

static int fake_alloc(void **address, size_t size)
{
    CALL_ON("alloc", current.device);
    arena_open();
    const size_t whole = (size + 4095) / 4096 * 4096;
    if (!size || whole > fake_control.memory - fake_control.live || arena.used + whole > arena_size)
        return OUT_OF_MEMORY;
    struct block *b = malloc(sizeof *b);
    if (!b) return OUT_OF_MEMORY;
    *b = (struct block){arena.base + arena.used, whole, current.device, arena.blocks};
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
    CALL_ON("free", current.device);
    jobs_run();
    for (struct block **b = &arena.blocks; *b; b = &(*b)->next) {
        if ((*b)->at != address) continue;
        block_remove(b);
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
    CALL_ON("upload", current.device);
    return transfer(to, from, size);
}

static int fake_download(void *to, const void *from, size_t size, void *stream)
{
    (void)stream;
    CALL_ON("download", current.device);
    return transfer(to, from, size);
}

static int fake_copy(void *to, const void *from, size_t size, void *stream)
{
    (void)stream;
    CALL_ON("copy", current.device);
    return transfer(to, from, size);
}

static int fake_set(void *to, unsigned char value, size_t size, void *stream)
{
    (void)stream;
    CALL_ON("set", current.device);
    if (!addressable(to, size)) return INVALID;
    struct job j = {.kind = JOB_SET, .to = to, .value = value, .size = size};
    job_add(&j);
    return 0;
}

static int fake_stream_open(void **stream, unsigned flags)
{
    (void)flags;
    CALL_ON("stream_open", current.device);
    *stream = malloc(1);
    return *stream ? 0 : OUT_OF_MEMORY;
}

static int fake_stream_close(void *stream)
{
    CALL_ON("stream_close", current.device);
    free(stream);
    return 0;
}

static int fake_stream_wait(void *stream)
{
    (void)stream;
    CALL_ON("stream_wait", current.device);
    jobs_run();
    return 0;
}

static int fake_event_open(void **event, unsigned flags)
{
    (void)flags;
    CALL_ON("event_open", current.device);
    *event = malloc(1);
    return *event ? 0 : OUT_OF_MEMORY;
}

static int fake_event_close(void *event)
{
    CALL_ON("event_close", current.device);
    free(event);
    return 0;
}

static int fake_event_record(void *event, void *stream)
{
    (void)event;
    (void)stream;
    CALL_ON("event_record", current.device);
    return 0;
}

static int fake_event_wait(void *event)
{
    (void)event;
    CALL_ON("event_wait", current.device);
    jobs_run();
    return 0;
}

static int fake_event_ms(float *ms, void *from, void *to)
{
    (void)from;
    (void)to;
    CALL_ON("event_ms", current.device);
    *ms = 1;
    return 0;
}

static bool is_elf(const void *image)
{
    return !memcmp(image, "\177ELF", 4);
}

static int fake_module_open(void **module, const void *image)
{
    CALL_ON("module_open", current.device);
    if (is_elf(image) != current.amd) return BAD_IMAGE;
    *module = malloc(1);
    return *module ? 0 : OUT_OF_MEMORY;
}

static int fake_module_close(void *module)
{
    CALL_ON("module_close", current.device);
    free(module);
    return 0;
}

static int fake_function(void **function, void *module, const char *name)
{
    (void)module;
    CALL_ON("function", current.device);
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
    CALL_ON("launch", current.device);
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
    CALL_ON("attribute", device);
    if (attribute != 16) return INVALID;  // multiprocessors: all that is asked for
    *value = UNITS;
    return 0;
}

static int fake_context_hold(void **context, int device)
{
    CALL_ON("context_hold", device);
    *context = (void *)(size_t)(device + 1);
    return 0;
}

// With its context a lost device's memory and errors go.
static int fake_context_release(int device)
{
    CALL("context_release");
    if (device < 0 || device >= DEVICES_MAX || !spoiled[device]) return 0;
    for (struct block **b = &arena.blocks; *b;) {
        if ((*b)->device == device)
            block_remove(b);
        else
            b = &(*b)->next;
    }
    spoiled[device] = false;
    return 0;
}

static int fake_context_set(void *context)
{
    CALL("context_set");
    current.device = (int)(size_t)context - 1;
    current.amd = false;
    return 0;
}

static int fake_error_text(int error, const char **text)
{
    *text = error == BROKEN ? "FAKE_ERROR_BROKEN" : error == LOST ? "FAKE_ERROR_LOST" : "FAKE_ERROR";
    return 0;
}

static int fake_device_set(int device)
{
    CALL("device_set");
    current.device = device;
    current.amd = true;
    return 0;
}

int driver_product(const struct blas_call *product)
{
    CALL_ON("product", current.device);
    struct job j = {.kind = JOB_PRODUCT};
    memcpy(j.args, product, sizeof *product);
    fake_control.products++;
    job_add(&j);
    return 0;
}

#define EXPORT_BOTH(field, nvidia, amd, arguments)               \
    int nvidia arguments __attribute__((alias("fake_" #field))); \
    int amd arguments __attribute__((alias("fake_" #field)));
#define EXPORT(field, symbol, arguments) int symbol arguments __attribute__((alias("fake_" #field)));
DRIVER_CALLS(EXPORT_BOTH)
DRIVER_CALLS_NVIDIA(EXPORT)
DRIVER_CALLS_AMD(EXPORT)
