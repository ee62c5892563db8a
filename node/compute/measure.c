#include "node/compute/measure.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SIDE_FIRST = 64,
    SIDE_MOST = 2048,
    STREAM_FIRST = 1 << 16,  // floats
    STREAM_MOST = 1 << 24,
    REPEATS = 5,
    RATES_LIMIT = 64 << 10,
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// ---- products ----

struct product {
    struct hip_stream *stream;
    float *a, *b, *c;  // the device's, side x side
    uint32_t side;
};

static enum core_err multiply(const struct product *p, double *seconds)
{
    const double begin = now_s();
    hip_gemm(p->stream, &(struct hip_gemm){.m = p->side,
                                           .n = p->side,
                                           .k = p->side,
                                           .a = p->a,
                                           .b = p->b,
                                           .c = p->c,
                                           .lda = p->side,
                                           .ldb = p->side,
                                           .ldc = p->side});
    enum core_err err = hip_stream_wait(p->stream);
    *seconds = now_s() - begin;
    return err;
}

// Whole numbers small enough that every order of summing gives the same sum exactly.
static float number_at(size_t i, uint32_t salt)
{
    return (float)((i * 7 + salt) % 5) - 2;
}

static void fill(float *x, size_t count, uint32_t salt)
{
    for (size_t i = 0; i < count; i++) x[i] = number_at(i, salt);
}

static bool right(const float *c, uint32_t side)
{
    for (uint32_t i = 0; i < side; i += 17) {
        const uint32_t j = (i * 31 + 5) % side;
        double sum = 0;
        for (uint32_t k = 0; k < side; k++)
            sum += (double)number_at((size_t)i * side + k, 1) * (double)number_at((size_t)k * side + j, 3);
        if ((double)c[(size_t)i * side + j] != sum) return false;
    }
    return true;
}

// One side: the fastest of some tries, of which the first, that may compile and page in, doesn't count.
static enum core_err measure_side(struct hip_device *d, struct hip_stream *s, uint32_t side, double budget,
                                  double *best)
{
    const size_t count = (size_t)side * side, bytes = count * sizeof(float);
    struct product p = {.stream = s, .side = side};
    void *memory = NULL;
    float *host = malloc(bytes);
    enum core_err err = host ? hip_alloc(d, 3 * bytes, &memory) : CORE_ERR_NO_MEMORY;
    if (!err) {
        p.a = memory;
        p.b = p.a + count;
        p.c = p.b + count;
        fill(host, count, 1);
        hip_upload(s, p.a, host, bytes);
        err = hip_stream_wait(s);
    }
    if (!err) {
        fill(host, count, 3);
        hip_upload(s, p.b, host, bytes);
        err = multiply(&p, best);
    }
    for (int i = 0; i < REPEATS && !err && *best < budget; i++) {
        double seconds;
        err = multiply(&p, &seconds);
        if (i == 0 || seconds < *best) *best = seconds;
    }
    if (!err) {
        hip_download(s, host, p.c, bytes);
        err = hip_stream_wait(s);
    }
    if (!err && !right(host, side)) err = CORE_ERR_VERIFY_FAILED;
    if (memory) hip_free(d, memory);
    free(host);
    return err;
}

static enum core_err measure_products(struct hip_device *d, struct hip_stream *s, double seconds, double *gflops)
{
    for (uint32_t side = SIDE_FIRST; side <= SIDE_MOST; side *= 2) {
        double best = 0;
        enum core_err err = measure_side(d, s, side, seconds / 4, &best);
        if (err == CORE_ERR_NO_MEMORY && *gflops > 0) return CORE_ERR_OK;  // the smaller one counts
        if (err) return err;
        *gflops = best > 0 ? 2e-9 * side * side * side / best : 0;
        // Eight times the work next: as long as all of the time that there is.
        if (best * 8 * REPEATS > seconds) break;
    }
    return CORE_ERR_OK;
}

// ---- memory ----

// y = 0 x + y: reads two, writes one.
static enum core_err measure_stream(struct hip_device *d, struct hip_stream *s, size_t count, double *best)
{
    void *memory = NULL;
    enum core_err err = hip_alloc(d, 2 * count * sizeof(float), &memory);
    float *x = memory, *y = err ? NULL : x + count;
    for (int i = 0; i < REPEATS && !err; i++) {
        const double begin = now_s();
        hip_axpy(s, &(struct hip_axpy){.x = x, .y = y, .alpha = 0, .count = count});
        err = hip_stream_wait(s);
        const double seconds = now_s() - begin;
        if (i == 0 || seconds < *best) *best = seconds;
    }
    if (memory) hip_free(d, memory);
    return err;
}

static enum core_err measure_memory(struct hip_device *d, struct hip_stream *s, double seconds, double *gbytes_per_s)
{
    for (size_t count = STREAM_FIRST; count <= STREAM_MOST; count *= 4) {
        double best = 0;
        enum core_err err = measure_stream(d, s, count, &best);
        if (err == CORE_ERR_NO_MEMORY && *gbytes_per_s > 0) return CORE_ERR_OK;
        if (err) return err;
        *gbytes_per_s = best > 0 ? 3e-9 * (double)(count * sizeof(float)) / best : 0;
        if (best * 4 * REPEATS > seconds) break;
    }
    return CORE_ERR_OK;
}

enum core_err measure_device(struct hip_device *d, double seconds, struct measure_rates *out)
{
    struct hip_stream *s;
    *out = (struct measure_rates){0};
    enum core_err err = hip_stream_open(d, &s);
    if (err) return err;
    err = measure_products(d, s, seconds * 0.7, &out->gflops);
    if (!err) err = measure_memory(d, s, seconds * 0.3, &out->gbytes_per_s);
    hip_stream_close(s);
    return err;
}

// ---- HOME/rates: {"rates": [{name, device, isa, driver, threads, gflops, gbytes_per_s}]} ----

static json_t *rates_read(const struct home *h)
{
    uint8_t *bytes;
    size_t size;
    if (home_read(h, "rates", RATES_LIMIT, &bytes, &size)) return NULL;
    json_t *all = json_loadb((const char *)bytes, size, 0, NULL);
    free(bytes);
    return all;
}

static bool same_text(const json_t *row, const char *key, const char *value)
{
    const char *there = json_string_value(json_object_get(row, key));
    return there && !strcmp(there, value);
}

static bool is_of(const json_t *row, const char *name, const struct hip_facts *f)
{
    return same_text(row, "name", name) && same_text(row, "device", f->name) && same_text(row, "isa", f->isa) &&
           same_text(row, "driver", f->driver) &&
           json_integer_value(json_object_get(row, "threads")) == (json_int_t)f->threads;
}

bool measure_recall(const struct home *h, const char *name, const struct hip_facts *facts, struct measure_rates *out)
{
    json_t *all = rates_read(h), *row;
    size_t i;
    bool found = false;
    json_array_foreach(json_object_get(all, "rates"), i, row)
    {
        if (found || !is_of(row, name, facts)) continue;
        out->gflops = json_number_value(json_object_get(row, "gflops"));
        out->gbytes_per_s = json_number_value(json_object_get(row, "gbytes_per_s"));
        found = out->gflops > 0;
    }
    json_decref(all);
    return found;
}

enum core_err measure_keep(const struct home *h, const char *name, const struct hip_facts *facts,
                           const struct measure_rates *rates)
{
    json_t *all = rates_read(h), *kept = json_array(), *row;
    size_t i;
    json_array_foreach(json_object_get(all, "rates"), i, row)
    {
        if (!is_of(row, name, facts)) json_array_append(kept, row);
    }
    json_decref(all);
    json_array_append_new(kept, json_pack("{s:s, s:s, s:s, s:s, s:i, s:f, s:f}", "name", name, "device", facts->name,
                                          "isa", facts->isa, "driver", facts->driver, "threads", (int)facts->threads,
                                          "gflops", rates->gflops, "gbytes_per_s", rates->gbytes_per_s));
    json_t *file = json_pack("{s:o}", "rates", kept);
    char *text = file ? json_dumps(file, JSON_INDENT(1)) : NULL;
    json_decref(file);
    if (!text) return CORE_ERR_NO_MEMORY;
    enum core_err err = home_write(h, "rates", (struct slice){(const uint8_t *)text, strlen(text)});
    free(text);
    return err;
}
