#include "bench/gemm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/yardstick.h"
#include "core/check.h"
#include "hip/device.h"
#include "learn/config.h"
#include "learn/model.h"

enum { SHAPES_MAX = 96, THREADS_MAX = 2 };

struct shape {
    const char *part;  // of BENCH_GEMM_SHAPES
    char what[24];
    uint32_t m, n, k;
    bool ta, tb;
    uint32_t lda, ldb, ldc;
};

struct shapes {
    struct shape all[SHAPES_MAX];
    uint32_t count;
};

// The worst ratio to one library.
struct worst {
    double ratio;
    char what[96];
};

struct product {
    const struct yardstick *yardstick;
    struct hip_stream *stream;
    struct hip_gemm args;
    float *their_c;
};

struct stand {
    enum hip_isa isa;
    uint32_t threads;
    struct yardstick yardsticks[YARDSTICKS_MAX];
    uint32_t yardstick_count;
    struct worst worst[YARDSTICKS_MAX];
    struct hip_device *device;
    struct hip_stream *stream;
};

static void add_shape(struct shapes *s, const char *part, const char *what, struct shape shape)
{
    check(s->count < SHAPES_MAX);
    shape.part = part;
    snprintf(shape.what, sizeof shape.what, "%s", what);
    s->all[s->count++] = shape;
}

// y = x W^T, dx = dy W and dW = dy^T x of a layer from `in` to `out`, the rows of y and dy `ld` apart.
static void add_layer(struct shapes *s, const char *part, const char *preset, const char *layer, uint32_t rows,
                      uint32_t in, uint32_t out, uint32_t ld)
{
    char what[24];
    snprintf(what, sizeof what, "%s %s", preset, layer);
    add_shape(s, part, what, (struct shape){.m = rows, .n = out, .k = in, .tb = true, .lda = in, .ldb = in, .ldc = ld});
    add_shape(s, part, what, (struct shape){.m = rows, .n = in, .k = out, .lda = ld, .ldb = in, .ldc = in});
    add_shape(s, part, what, (struct shape){.m = out, .n = in, .k = rows, .ta = true, .lda = ld, .ldb = in, .ldc = in});
}

static void add_preset(struct shapes *s, const char *part, const struct model_config *c, uint32_t rows)
{
    add_layer(s, part, c->name, "qkv", rows, c->width, 3 * c->width, 3 * c->width);
    add_layer(s, part, c->name, "out", rows, c->width, c->width, c->width);
    add_layer(s, part, c->name, "gate+up", rows, c->width, 2 * c->inner, model_gate_up_ld(c));
    add_layer(s, part, c->name, "down", rows, c->inner, c->width, c->width);
    add_layer(s, part, c->name, "head", rows, c->width, c->vocab, c->vocab);
}

static void all_shapes(struct shapes *s)
{
    static const char *const presets[] = {"small", "baby"};
    s->count = 0;
    for (uint32_t side = 512; side <= 2048; side *= 2) {
        add_shape(s, "squares", "square",
                  (struct shape){.m = side, .n = side, .k = side, .lda = side, .ldb = side, .ldc = side});
    }
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        const struct model_config *c = config_preset(presets[i]);
        add_preset(s, presets[i], c, c->batch * c->context);
        if (c->batch * c->context > MODEL_PASS_ROWS) add_preset(s, "pass", c, MODEL_PASS_ROWS);
    }
}

static void ours(void *context)
{
    struct product *p = context;
    hip_gemm(p->stream, &p->args);
}

static void theirs(void *context)
{
    struct product *p = context;
    yardstick_product(p->yardstick, &p->args, p->their_c);
}

// Both results are the same product: a benchmark of a wrong one would be worth nothing.
static void compare(const struct product *p)
{
    const struct hip_gemm *g = &p->args;
    for (size_t i = 0; i < (size_t)g->m * g->ldc; i += 1009) {
        check(i % g->ldc >= g->n || fabsf(g->c[i] - p->their_c[i]) <= 1e-3f * (float)g->k);
    }
}

static void report(struct bench *b, struct stand *s, const struct shape *shape, const struct bench_time *times)
{
    double flops = 2.0 * shape->m * shape->n * shape->k * 1e-9;
    struct bench_row row = {.value = flops / times[0].median, .unit = "GF/s", .spread = times[0].spread};
    snprintf(row.name, sizeof row.name, "%ux%ux%u %c%c %s, %ut %s", shape->m, shape->n, shape->k, shape->ta ? 't' : 'n',
             shape->tb ? 't' : 'n', shape->what, s->threads, hip_isa_name(s->isa));
    for (uint32_t i = 0; i < s->yardstick_count; i++) {
        row.beside = s->yardsticks[i].name, row.beside_value = flops / times[i + 1].median;
        row.ratio = times[i + 1].ratio, row.ratio_spread = times[i + 1].ratio_spread;
        bench_report(b, &row);
        if (s->worst[i].ratio > 0 && s->worst[i].ratio <= row.ratio) continue;
        s->worst[i].ratio = row.ratio;
        memcpy(s->worst[i].what, row.name, sizeof s->worst[i].what);
    }
    if (!s->yardstick_count) bench_report(b, &row);
}

static void one_shape(struct bench *b, struct stand *s, const struct shape *shape)
{
    size_t c_size = (size_t)shape->m * shape->ldc;
    struct product p[YARDSTICKS_MAX + 1] = {{.stream = s->stream, .their_c = bench_floats(s->device, c_size)}};
    float *a = bench_floats(s->device, (size_t)(shape->ta ? shape->k : shape->m) * shape->lda);
    float *right = bench_floats(s->device, (size_t)(shape->tb ? shape->n : shape->k) * shape->ldb);
    p[0].args = (struct hip_gemm){.m = shape->m,
                                  .n = shape->n,
                                  .k = shape->k,
                                  .transpose_a = shape->ta,
                                  .transpose_b = shape->tb,
                                  .a = a,
                                  .b = right,
                                  .c = bench_floats(s->device, c_size),
                                  .lda = shape->lda,
                                  .ldb = shape->ldb,
                                  .ldc = shape->ldc};
    bench_work *works[YARDSTICKS_MAX + 1] = {ours};
    void *contexts[YARDSTICKS_MAX + 1] = {&p[0]};
    for (uint32_t i = 0; i < s->yardstick_count; i++) {
        p[i + 1] = p[0];
        p[i + 1].yardstick = &s->yardsticks[i];
        works[i + 1] = theirs;
        contexts[i + 1] = &p[i + 1];
    }
    struct bench_time times[YARDSTICKS_MAX + 1];
    bench_measure(b, works, contexts, s->yardstick_count + 1, s->threads == 1, times);
    if (s->yardstick_count) compare(&p[0]);
    report(b, s, shape, times);
    hip_free(s->device, a), hip_free(s->device, right);
    hip_free(s->device, p[0].args.c), hip_free(s->device, p[0].their_c);
}

// In a process of its own: one instruction set, one number of threads.
static int on_threads(struct bench *b, void *context)
{
    struct stand *s = context;
    static struct shapes shapes;
    (void)setenv("MYCEL_ISA", hip_isa_name(s->isa), 1);
    s->yardstick_count = yardstick_open(b, s->isa, s->threads, s->yardsticks);
    bench_device(s->threads, &s->device, &s->stream);
    all_shapes(&shapes);
    for (uint32_t i = 0; i < shapes.count; i++) {
        if (bench_wants_of(b, BENCH_GEMM_SHAPES, shapes.all[i].part)) one_shape(b, s, &shapes.all[i]);
    }
    for (uint32_t i = 0; i < s->yardstick_count; i++)
        bench_say(b, "worst beside %s: %.3f, %s", s->yardsticks[i].name, s->worst[i].ratio, s->worst[i].what);
    hip_stream_close(s->stream);
    hip_device_close(s->device);
    return 0;
}

int bench_gemm(struct bench *b)
{
    static const enum hip_isa sets[] = {HIP_ISA_AVX512, HIP_ISA_AVX2, HIP_ISA_NEON};
    uint32_t given = bench_threads(b), from = given ? given : 1, to = given ? given : THREADS_MAX;
    int status = 0;
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        if (!bench_wants_of(b, BENCH_GEMM_SETS, hip_isa_name(sets[i])) || !hip_isa_available(sets[i])) continue;
        for (uint32_t threads = from; threads <= to; threads++) {
            struct stand s = {.isa = sets[i], .threads = threads};
            int got = bench_apart(b, on_threads, &s);
            if (got) status = got;
        }
    }
    return status;
}
