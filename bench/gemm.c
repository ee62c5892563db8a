#include "bench/gemm.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "hip/device.h"

struct shape {
    const char *what;
    uint32_t m, n, k;
    bool ta, tb;
};

// y = x W^T (nt), dx = dy W (nn), dW = dy^T x (tn) of each layer; small: 12 x 64 tokens, baby: 64 x 256.
static const struct shape shapes[] = {
    {"square", 512, 512, 512, false, false},          {"square", 1024, 1024, 1024, false, false},
    {"square", 2048, 2048, 2048, false, false},       {"small qkv", 768, 384, 128, false, true},
    {"small qkv", 768, 128, 384, false, false},       {"small qkv", 384, 128, 768, true, false},
    {"small out", 768, 128, 128, false, true},        {"small out", 768, 128, 128, false, false},
    {"small out", 128, 128, 768, true, false},        {"small gate+up", 768, 688, 128, false, true},
    {"small gate+up", 768, 128, 688, false, false},   {"small gate+up", 688, 128, 768, true, false},
    {"small down", 768, 128, 344, false, true},       {"small down", 768, 344, 128, false, false},
    {"small down", 128, 344, 768, true, false},       {"small head", 768, 256, 128, false, true},
    {"small head", 768, 128, 256, false, false},      {"small head", 256, 128, 768, true, false},
    {"baby qkv", 16384, 1152, 384, false, true},      {"baby qkv", 16384, 384, 1152, false, false},
    {"baby qkv", 1152, 384, 16384, true, false},      {"baby out", 16384, 384, 384, false, true},
    {"baby out", 384, 384, 16384, true, false},       {"baby gate+up", 16384, 2048, 384, false, true},
    {"baby gate+up", 16384, 384, 2048, false, false}, {"baby gate+up", 2048, 384, 16384, true, false},
    {"baby down", 16384, 384, 1024, false, true},     {"baby down", 16384, 1024, 384, false, false},
    {"baby down", 384, 1024, 16384, true, false},     {"baby head", 16384, 256, 384, false, true},
    {"baby head", 256, 384, 16384, true, false},
};

typedef void sgemm_function(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                            const float *b, int ldb, float beta, float *c, int ldc);

struct openblas {
    void *library;
    char name[48];  // with the kernels that it chose
    sgemm_function *sgemm;
    void (*set_threads)(int n);
};

struct product {
    const struct openblas *blas;
    struct hip_stream *stream;
    struct hip_gemm args;
    float *their_c;
};

static struct openblas openblas_open(struct bench *b)
{
    // An OpenBLAS older than the CPU falls back to its slowest kernels: tell it which ones the machine can run.
    const char *core = hip_isa_available(HIP_ISA_AVX512) ? "SkylakeX"
                       : hip_isa_available(HIP_ISA_AVX2) ? "Haswell"
                                                         : NULL;
    if (core) (void)setenv("OPENBLAS_CORETYPE", core, 0);
    struct openblas o = {.library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL), .name = "OpenBLAS"};
    if (o.library) {
        char *(*core_name)(void);
        void *sgemm = dlsym(o.library, "cblas_sgemm"), *threads = dlsym(o.library, "openblas_set_num_threads");
        void *name = dlsym(o.library, "openblas_get_corename");
        memcpy(&o.sgemm, &sgemm, sizeof sgemm);
        memcpy(&o.set_threads, &threads, sizeof threads);
        memcpy(&core_name, &name, sizeof name);
        if (core_name) snprintf(o.name, sizeof o.name, "OpenBLAS %.32s", core_name());
    }
    if (!o.sgemm || !o.set_threads) {
        o.sgemm = NULL;
        bench_say(b,
                  "NO YARDSTICK: libopenblas.so.0 is not here (apt-get install libopenblas0); our figures stand alone");
    }
    if (o.sgemm) o.set_threads(2);  // its threads are made here, before this one is bound: they would inherit that
    return o;
}

static void ours(void *context)
{
    struct product *p = context;
    hip_gemm(p->stream, &p->args);
}

static void theirs(void *context)
{
    enum { ROW_MAJOR = 101, AS_IT_IS = 111, TRANSPOSED = 112 };
    struct product *p = context;
    const struct hip_gemm *g = &p->args;
    p->blas->sgemm(ROW_MAJOR, g->transpose_a ? TRANSPOSED : AS_IT_IS, g->transpose_b ? TRANSPOSED : AS_IT_IS, (int)g->m,
                   (int)g->n, (int)g->k, 1, g->a, (int)g->lda, g->b, (int)g->ldb, 0, p->their_c, (int)g->ldc);
}

// Both results are the same product: a benchmark of a wrong one would be worth nothing.
static void compare(const struct product *p)
{
    const struct hip_gemm *g = &p->args;
    for (size_t i = 0; i < (size_t)g->m * g->n; i += 1009) {
        check(fabsf(g->c[i] - p->their_c[i]) <= 1e-3f * (float)g->k);
    }
}

static double one_shape(struct bench *b, const struct openblas *blas, struct hip_device *d, struct hip_stream *s,
                        const struct shape *shape, uint32_t threads)
{
    size_t m = shape->m, n = shape->n, k = shape->k;
    struct product p = {.blas = blas, .stream = s, .their_c = bench_floats(d, m * n)};
    p.args = (struct hip_gemm){
        .m = shape->m, .n = shape->n, .k = shape->k, .transpose_a = shape->ta, .transpose_b = shape->tb};
    float *a = bench_floats(d, m * k), *right = bench_floats(d, k * n), *c = bench_floats(d, m * n);
    p.args.a = a, p.args.b = right, p.args.c = c;
    p.args.lda = shape->ta ? m : k, p.args.ldb = shape->tb ? k : n, p.args.ldc = n;
    struct bench_time mine, other = {0};
    bench_measure(b, ours, &p, blas->sgemm ? theirs : NULL, &p, &mine, &other);
    if (blas->sgemm) compare(&p);
    double flops = 2.0 * (double)m * (double)n * (double)k * 1e-9;
    struct bench_row row = {.value = flops / mine.median, .unit = "GFLOP/s", .spread = mine.spread};
    snprintf(row.name, sizeof row.name, "gemm %zux%zux%zu %c%c %s, %u thread%s", m, n, k, shape->ta ? 't' : 'n',
             shape->tb ? 't' : 'n', shape->what, threads, threads > 1 ? "s" : "");
    if (blas->sgemm) row.beside = blas->name, row.beside_value = flops / other.median;
    bench_report(b, &row);
    hip_free(d, a), hip_free(d, right), hip_free(d, c), hip_free(d, p.their_c);
    return blas->sgemm ? other.median / mine.median : 0;
}

static int on_threads(struct bench *b, const struct openblas *blas, uint32_t threads)
{
    struct hip_device *d;
    struct hip_stream *s;
    double square = 9, preset = 9, small = 9;
    bench_device(threads, &d, &s);
    if (blas->sgemm) blas->set_threads((int)threads);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        double ratio = one_shape(b, blas, d, s, shapes + i, threads);
        double *worst = shapes[i].what[0] == 's' && shapes[i].what[1] == 'q' ? &square : &preset;
        if (ratio < *worst) *worst = ratio;
        if (shapes[i].what[0] == 's' && shapes[i].what[1] == 'm' && ratio < small) small = ratio;
    }
    if (blas->sgemm) {
        bench_say(b, "%u thread(s), worst ratio to OpenBLAS: squares %.2f, preset shapes %.2f (small's %.2f)", threads,
                  square, preset, small);
    }
    hip_stream_close(s);
    hip_device_close(d);
    return 0;
}

int bench_gemm(struct bench *b)
{
    struct openblas blas = openblas_open(b);
    uint32_t only = bench_threads(b);
    int status = only ? on_threads(b, &blas, only) : on_threads(b, &blas, 1) | on_threads(b, &blas, 2);
    if (blas.library) dlclose(blas.library);
    return status;
}
