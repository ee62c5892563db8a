// Rates on a real GPU, as ratios of one run: the product beside cuBLAS in fp32 without TF32, the sums and the
// compression beside a copy of memory, and the training step of a model of 100 million parameters in both profiles. No
// figure makes a test fail; each line gives the median of the rounds and their spread.
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "device/mirror.h"

#include <cmocka.h>

#include "device/parts.h"
#include "hip/gpu.h"
#include "learn/trainer.h"

enum { ROUNDS = 7, ROUND_MS = 10, STEPS = 12, BLAS_TRANSPOSE = 1 };

struct place {
    const struct hip_found *found;
    struct hip_device *device;
    struct hip_stream *stream;
    struct hip_event *from, *to;
    bool emulated;
};

// What is timed: one launch, or one call of the peer's.
typedef void timed(struct place *p, void *what);

static double seconds_of(struct place *p, timed *call, void *what, unsigned times)
{
    hip_event_record(p->from, p->stream);
    for (unsigned i = 0; i < times; i++) call(p, what);
    hip_event_record(p->to, p->stream);
    assert_int_equal(hip_stream_wait(p->stream), CORE_ERR_OK);
    return hip_event_seconds(p->from, p->to);
}

// So many that a round takes ROUND_MS.
static unsigned times_for(struct place *p, timed *call, void *what)
{
    (void)seconds_of(p, call, what, 1);
    const double once = seconds_of(p, call, what, p->emulated ? 1 : 4) / (p->emulated ? 1 : 4);
    if (p->emulated || once * 1e3 >= ROUND_MS) return 1;
    return once > 0 ? (unsigned)(ROUND_MS / (once * 1e3)) + 1 : 1000;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void line(const char *what, double rate, const char *unit, double *ratios, const char *beside)
{
    qsort(ratios, ROUNDS, sizeof *ratios, by_size);
    printf("%-38s %10.1f %-7s %6.3f of %s (%.3f to %.3f)\n", what, rate, unit, ratios[ROUNDS / 2], beside, ratios[0],
           ratios[ROUNDS - 1]);
}

static void *take(struct place *p, size_t size)
{
    void *at;
    assert_int_equal(hip_alloc(p->device, size, &at), CORE_ERR_OK);
    return at;
}

// ---- products ----

struct cublas {
    void *handle;
    int (*create)(void **handle);
    int (*stream_set)(void *handle, void *stream);
    int (*mode_set)(void *handle, int mode);
    int (*sgemm)(void *handle, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda,
                 const float *b, int ldb, const float *beta, float *c, int ldc);
};

static bool cublas_open(struct place *p, struct cublas *b)
{
    static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"};
    const char *given = getenv("MYCEL_CUBLAS_LIBRARY");
    void *library = given && *given ? dlopen(given, RTLD_NOW) : NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++) library = dlopen(names[i], RTLD_NOW);
    static const char *const calls[] = {"cublasCreate_v2", "cublasSetStream_v2", "cublasSetMathMode", "cublasSgemm_v2"};
    void *found[4] = {0};
    for (int i = 0; i < 4 && library; i++) found[i] = dlsym(library, calls[i]);
    if (!found[0] || !found[1] || !found[2] || !found[3]) {
        printf("SKIPPED: no cuBLAS (%s): the product's ratio was NOT measured\n", library ? "a call lacks" : dlerror());
        return false;
    }
    memcpy(&b->create, found, sizeof(void *)), memcpy(&b->stream_set, found + 1, sizeof(void *));
    memcpy(&b->mode_set, found + 2, sizeof(void *)), memcpy(&b->sgemm, found + 3, sizeof(void *));
    const int fp32 = 0;  // CUBLAS_DEFAULT_MATH: no TF32
    return !b->create(&b->handle) && !b->stream_set(b->handle, ((struct gpu_stream *)p->stream)->handle) &&
           !b->mode_set(b->handle, fp32);
}

struct product {
    struct hip_gemm g;
    struct cublas *blas;
};

static void ours(struct place *p, void *what)
{
    hip_gemm(p->stream, &((struct product *)what)->g);
}

static void theirs(struct place *p, void *what)
{
    const struct product *x = what;
    const struct hip_gemm *g = &x->g;
    const float one = 1, zero = 0;
    (void)p;
    if (x->blas->sgemm(x->blas->handle, g->transpose_b ? BLAS_TRANSPOSE : 0, g->transpose_a ? BLAS_TRANSPOSE : 0,
                       (int)g->n, (int)g->m, (int)g->k, &one, g->b, (int)g->ldb, g->a, (int)g->lda, &zero, g->c,
                       (int)g->ldc))
        fail_msg("cublasSgemm");
}

static void products(struct place *p)
{
    // Those of the presets' steps, and of a model of 100 million parameters; forward, to the input, to the weights.
    static const struct {
        uint32_t m, n, k;
        bool ta, tb;
    } shapes[] = {
        {768, 384, 128, false, true},     {16384, 1152, 384, false, true},  {16384, 384, 1024, false, true},
        {16384, 384, 1152, false, false}, {1152, 384, 16384, true, false},  {8192, 2304, 768, false, true},
        {8192, 768, 2304, false, false},  {2304, 768, 8192, true, false},   {8192, 4096, 768, false, true},
        {8192, 768, 2048, false, true},   {4096, 4096, 4096, false, false}, {8192, 8192, 8192, false, true},
    };
    struct cublas blas = {0};
    const bool beside = cublas_open(p, &blas);
    const size_t largest = (size_t)8192 * 8192;
    float *a = take(p, largest * 4), *b = take(p, largest * 4), *c = take(p, largest * 4);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct product x = {.blas = &blas};
        x.g = (struct hip_gemm){.m = shapes[i].m, .n = shapes[i].n, .k = shapes[i].k, .a = a, .b = b, .c = c};
        if (p->emulated) x.g.m = x.g.n = x.g.k = 64;
        x.g.transpose_a = shapes[i].ta, x.g.transpose_b = shapes[i].tb;
        x.g.lda = x.g.transpose_a ? x.g.m : x.g.k, x.g.ldb = x.g.transpose_b ? x.g.k : x.g.n, x.g.ldc = x.g.n;
        const unsigned n = times_for(p, ours, &x), peer = beside ? times_for(p, theirs, &x) : 1;
        double ratios[ROUNDS] = {0}, best = 1e30;
        for (int r = 0; r < ROUNDS; r++) {
            const double own = seconds_of(p, ours, &x, n) / n;
            if (own < best) best = own;
            if (beside) ratios[r] = seconds_of(p, theirs, &x, peer) / peer / own;
        }
        char what[64];
        snprintf(what, sizeof what, "product %u x %u x %u %c%c", x.g.m, x.g.n, x.g.k, x.g.transpose_a ? 't' : 'n',
                 x.g.transpose_b ? 't' : 'n');
        line(what, 2.0 * x.g.m * x.g.n * x.g.k / best * 1e-9, "GFLOP/s", ratios, "cuBLAS fp32");
    }
    hip_free(p->device, a), hip_free(p->device, b), hip_free(p->device, c);
}

// ---- memory ----

struct moved {
    enum hip_kernel kernel;
    const void *args;
    double bytes;  // read and written
};

static void launch(struct place *p, void *what)
{
    const struct moved *m = what;
    mirror_launch(p->stream, m->kernel, m->args);
}

struct copied {
    void *to;
    const void *from;
    size_t size;
};

static void copy(struct place *p, void *what)
{
    const struct copied *c = what;
    hip_copy(p->stream, c->to, c->from, c->size);
}

static void memory(struct place *p)
{
    const size_t n = p->emulated ? 1 << 16 : 1 << 26;
    uint8_t *at = take(p, n * 28);
    float *f[6];
    for (int i = 0; i < 6; i++) f[i] = (float *)(void *)(at + (size_t)i * 4 * n);
    int64_t *sums = (int64_t *)(void *)at;
    uint8_t *narrow = at + 24 * n;
    const struct hip_accumulate accumulate = {(int8_t *)narrow, sums, n, 3};
    const struct hip_widen_add widen8 = {narrow, sums, n, 8}, widen16 = {narrow, sums, n, 16},
                               widen24 = {narrow, sums, n, 24};
    const struct hip_narrow narrow16 = {sums, narrow, n, 16};
    const struct hip_quantise quantise = {f[0], f[1], f[2], (int8_t *)narrow, n, -8, 127, 0.95f};
    const struct hip_outer_step outer = {sums, f[2], f[3], f[4], n, 7, -8, 0.7f, 0.9f};
    const struct hip_max_abs max_abs = {f[0], f[5], n};
    const struct hip_sum sum = {f[0], f[5], n};
    const struct hip_adamw adamw = {f[0], f[1], f[2], f[3], n, 1, 0.9f, 0.95f, 1e-8f, 1e-3f, 1, 1, 1};
    const struct {
        const char *name;
        struct moved m;
    } all[] = {
        {"exact sum of int8", {HIP_KERNEL_ACCUMULATE, &accumulate, 17.0 * (double)n}},
        {"exact sum of 8 bits", {HIP_KERNEL_WIDEN_ADD, &widen8, 17.0 * (double)n}},
        {"exact sum of 16 bits", {HIP_KERNEL_WIDEN_ADD, &widen16, 18.0 * (double)n}},
        {"exact sum of 24 bits", {HIP_KERNEL_WIDEN_ADD, &widen24, 19.0 * (double)n}},
        {"sum to 16 bits", {HIP_KERNEL_NARROW, &narrow16, 10.0 * (double)n}},
        {"compression to 8 bits", {HIP_KERNEL_QUANTISE, &quantise, 17.0 * (double)n}},
        {"outer step", {HIP_KERNEL_OUTER_STEP, &outer, 28.0 * (double)n}},
        {"largest", {HIP_KERNEL_MAX_ABS, &max_abs, 4.0 * (double)n}},
        {"sum in rows of 4096", {HIP_KERNEL_SUM, &sum, 4.0 * (double)n}},
        {"AdamW", {HIP_KERNEL_ADAMW, &adamw, 28.0 * (double)n}},
    };
    struct copied c = {at, at + 12 * n, 12 * n};
    const unsigned peer = times_for(p, copy, &c);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct moved m = all[i].m;
        const unsigned times = times_for(p, launch, &m);
        double ratios[ROUNDS], best = 0;
        for (int r = 0; r < ROUNDS; r++) {
            const double own = m.bytes * times / seconds_of(p, launch, &m, times);
            ratios[r] = own / (2.0 * (double)c.size * peer / seconds_of(p, copy, &c, peer));
            if (own > best) best = own;
        }
        line(all[i].name, best * 1e-9, "GB/s", ratios, "a copy");
    }
    hip_free(p->device, at);
}

// ---- a training step ----

struct step_clock {
    double at[STEPS];
};

static bool tick(void *context, uint32_t step, uint32_t steps, double loss)
{
    struct timespec now;
    (void)steps, (void)loss;
    clock_gettime(CLOCK_MONOTONIC, &now);
    ((struct step_clock *)context)->at[step - 1] = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    return true;
}

static void step(struct place *p)
{
    // 12 layers of 768: the peer's script has the same (bench/peers).
    static const struct model_config large = {"100m", 12, 768, 12, 2560, CONFIG_VOCAB, 1024, 16, true, 10000, 1e-5f};
    static const struct model_config tiny = {"tiny", 1, 16, 2, 24, CONFIG_VOCAB, 16, 2, true, 10000, 1e-5f};
    const struct model_config *config = p->emulated ? &tiny : &large;
    struct hyper_parameters hyper = hyper_defaults();
    struct trainer *trainer;
    struct inner_state state;
    char why[CONFIG_WHY_SIZE];
    const uint64_t n = tensors_elements(config);
    const size_t size = 1 << 20;
    uint8_t *text = malloc(size);
    float *params = malloc(n * sizeof *params);
    assert_true(text && params);
    for (size_t i = 0; i < size; i++) text[i] = (uint8_t)("the quick brown fox "[i % 20] + (i % 7 == 0));
    struct dataset data = data_split(text, size);
    assert_int_equal(inner_state_open(&state, config), CORE_ERR_OK);
    if (trainer_open(&trainer, p->device, config, UINT64_MAX, why)) fail_msg("%s", why);
    for (enum hip_profile profile = 0; profile < HIP_PROFILE_COUNT; profile++) {
        struct step_clock clock;
        struct train_result result;
        struct train_task task = {.data = &data, .seed = 1, .round = 1, .steps = STEPS, .total_steps = 1000};
        task.hyper = &hyper, task.hook = tick, task.hook_context = &clock;
        inner_state_reset(&state);
        tensors_init(config, 1, params);
        trainer_set_profile(trainer, profile);
        assert_int_equal(trainer_train_local(trainer, &task, &state, params, &result), CORE_ERR_OK);
        double times[STEPS - 1];
        for (int i = 0; i < STEPS - 1; i++) times[i] = clock.at[i + 1] - clock.at[i];
        qsort(times, STEPS - 1, sizeof *times, by_size);
        const double median = times[(STEPS - 1) / 2];
        printf("step of %s, %-24s %10.2f ms (%.2f to %.2f), %.0f tokens/s, loss %.4f\n", config->name,
               hip_profile_name(profile), median * 1e3, times[0] * 1e3, times[STEPS - 2] * 1e3,
               config->batch * config->context / median, result.loss);
    }
    trainer_close(trainer);
    inner_state_close(&state);
    free(text), free(params);
}

static void each(void (*part)(struct place *p))
{
    struct place p = {0};
    const uint32_t count = mirror_devices(&p.found);
    if (!count) skip();
    for (uint32_t i = 0; i < count; i++, p.found++) {
        p.emulated = !strncmp(p.found->facts.name, "Emulated", 8);
        assert_int_equal(hip_device_open(p.found->name, NULL, &p.device), CORE_ERR_OK);
        assert_int_equal(hip_stream_open(p.device, &p.stream), CORE_ERR_OK);
        assert_int_equal(hip_event_open(p.device, &p.from), CORE_ERR_OK);
        assert_int_equal(hip_event_open(p.device, &p.to), CORE_ERR_OK);
        printf("%s, %s%s\n", p.found->facts.name, p.found->facts.isa, p.emulated ? ": EMULATED, not a rate" : "");
        part(&p);
        fflush(stdout);
        hip_event_close(p.from), hip_event_close(p.to);
        hip_stream_close(p.stream);
        hip_device_close(p.device);
    }
}

static void product_rates(void **state)
{
    (void)state, each(products);
}
static void memory_rates(void **state)
{
    (void)state, each(memory);
}
static void step_rates(void **state)
{
    (void)state, each(step);
}

int rates_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product_rates),
        cmocka_unit_test(memory_rates),
        cmocka_unit_test(step_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
