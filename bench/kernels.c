#include "bench/kernels.h"

#include <math.h>
#include <string.h>

#include "core/check.h"
#include "hip/device.h"

// Preset small: 12 sequences of 64, width 128, 4 heads, inner width 344, vocabulary 256, 4 layers.
enum {
    BATCH = 12,
    CONTEXT = 64,
    ROWS = BATCH * CONTEXT,
    WIDTH = 128,
    HEADS = 4,
    INNER = 344,
    VOCAB = 256,
    PARAMS = 855040
};

struct work {
    struct hip_stream *stream;
    enum hip_kernel kernel;
    const void *args;
    void *restored;  // before each call from `saved`: what repeated calls would drive out of the usual range
    const void *saved;
    size_t size;
};

static void launch(void *context)
{
    struct work *w = context;
    if (w->restored) memcpy(w->restored, w->saved, w->size);
    hip_launch(w->stream, w->kernel, w->args);
}

static void measure(struct bench *b, struct work w, uint32_t threads)
{
    struct bench_time t;
    bench_measure(b, (bench_work *[]){launch}, (void *[]){&w}, 1, threads == 1, &t);
    struct bench_row r = {.value = 1e-3 / t.median, .unit = "kcalls/s", .spread = t.spread};
    snprintf(r.name, sizeof r.name, "%s (%.1f us), %u thread%s", hip_kernel_name(w.kernel), 1e6 * t.median, threads,
             threads > 1 ? "s" : "");
    bench_report(b, &r);
}

static void row(struct bench *b, struct hip_stream *s, uint32_t threads, enum hip_kernel k, const void *args)
{
    measure(b, (struct work){.stream = s, .kernel = k, .args = args}, threads);
}

static void on_threads(struct bench *b, uint32_t threads)
{
    struct hip_device *d;
    struct hip_stream *s;
    bench_device(threads, &d, &s);
    enum { BUFFERS = 8 };
    float *x[BUFFERS];
    for (int i = 0; i < BUFFERS; i++) x[i] = bench_floats(d, PARAMS);
    int32_t *tokens = (int32_t *)(void *)bench_floats(d, ROWS);
    for (int i = 0; i < ROWS; i++) tokens[i] = i * 7 % VOCAB;
    float scale = 1.0f / sqrtf(32);
    struct hip_attention attention = {x[0], x[0] + WIDTH, x[0] + 2 * WIDTH, 3 * WIDTH, 3 * WIDTH, x[1],
                                      x[2], BATCH,        CONTEXT,          HEADS,     HEADS,     WIDTH / HEADS,
                                      scale};
    struct hip_attention_grad attention_grad = {
        x[2],      x[0],      x[0] + WIDTH, x[0] + 2 * WIDTH, x[1],  x[3],  x[3] + WIDTH,  x[3] + 2 * WIDTH,
        3 * WIDTH, 3 * WIDTH, BATCH,        CONTEXT,          HEADS, HEADS, WIDTH / HEADS, scale,
        NULL};
    row(b, s, threads, HIP_KERNEL_EMBED, &(struct hip_embed){tokens, x[0], x[1], ROWS, WIDTH, VOCAB});
    row(b, s, threads, HIP_KERNEL_EMBED_GRAD, &(struct hip_embed_grad){tokens, x[0], x[1], ROWS, WIDTH, VOCAB});
    row(b, s, threads, HIP_KERNEL_NORM, &(struct hip_norm){x[0], x[1], x[2], x[3], ROWS, WIDTH, 1e-5f});
    row(b, s, threads, HIP_KERNEL_NORM_GRAD,
        &(struct hip_norm_grad){x[0], x[1], x[2], x[3], x[4], x[5], x[6], ROWS, WIDTH, 0});
    for (int i = 0; i < CONTEXT * 16; i++) x[6][i] = cosf((float)i), x[7][i] = sinf((float)i);
    row(b, s, threads, HIP_KERNEL_ROTATE,
        &(struct hip_rotate){x[5], 3 * WIDTH, x[6], x[7], ROWS, CONTEXT, 0, 2 * HEADS, 32, 0});
    row(b, s, threads, HIP_KERNEL_ATTENTION, &attention);
    float *probs = bench_floats(d, (size_t)BATCH * HEADS * CONTEXT * CONTEXT);
    memcpy(probs, x[1], (size_t)BATCH * HEADS * CONTEXT * CONTEXT * sizeof *probs);
    measure(b,
            (struct work){s, HIP_KERNEL_ATTENTION_GRAD, &attention_grad, x[1], probs,
                          (size_t)BATCH * HEADS * CONTEXT * CONTEXT * sizeof *probs},
            threads);
    hip_free(d, probs);
    row(b, s, threads, HIP_KERNEL_SWIGLU, &(struct hip_swiglu){x[0], x[0] + INNER, 2 * INNER, x[1], ROWS, INNER});
    row(b, s, threads, HIP_KERNEL_SWIGLU_GRAD,
        &(struct hip_swiglu_grad){x[2], x[0], x[0] + INNER, x[1], x[1] + INNER, 2 * INNER, ROWS, INNER});
    row(b, s, threads, HIP_KERNEL_CROSS_ENTROPY,
        &(struct hip_cross_entropy){x[0], tokens, x[1], x[2], ROWS, VOCAB, 1e-3f});
    memset(x[5], 0, PARAMS * sizeof(float));
    row(b, s, threads, HIP_KERNEL_SUM_SQUARES, &(struct hip_sum_squares){x[0], x[1], PARAMS});
    row(b, s, threads, HIP_KERNEL_ADAMW,
        &(struct hip_adamw){x[0], x[4], x[5], x[6], PARAMS, 1, 0.9f, 0.95f, 1e-8f, 1e-3f, 0.9999f, 1.5f, 2.5f});
    row(b, s, threads, HIP_KERNEL_QUANTISE,
        &(struct hip_quantise){x[0], x[6], x[7], (int8_t *)x[2], PARAMS, -8, 127, 0.95f});
    for (int i = 0; i < BUFFERS; i++) hip_free(d, x[i]);
    hip_free(d, tokens);
    hip_stream_close(s);
    hip_device_close(d);
}

int bench_kernels(struct bench *b)
{
    if (bench_threads(b)) {
        on_threads(b, bench_threads(b));
        return 0;
    }
    on_threads(b, 1);
    on_threads(b, 2);
    return 0;
}
