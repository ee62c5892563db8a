#include "learn/ngram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Bytes that the text uses get numbers 0 .. symbols - 1, so that the trigram table is symbols^3, not 256^3.
struct counts {
    uint16_t symbol[256];
    uint32_t symbols;
    uint32_t *one, *two, *three;  // [symbols], [symbols^2], [symbols^3]
};

static uint32_t number_symbols(struct counts *c, const struct dataset *data)
{
    bool used[256] = {false};
    for (uint64_t i = 0; i < data->train_size; i++) used[data->train[i]] = true;
    for (uint64_t i = 0; i < data->held_out_size; i++) used[data->held_out[i]] = true;
    for (int i = 0; i < 256; i++)
        if (used[i]) c->symbol[i] = (uint16_t)c->symbols++;
    return c->symbols;
}

static void count_text(struct counts *c, const uint8_t *text, uint64_t size)
{
    size_t n = c->symbols, a = 0, b = 0;
    for (uint64_t i = 0; i < size; i++) {
        size_t s = c->symbol[text[i]];
        c->one[s]++;
        if (i >= 1) c->two[b * n + s]++;
        if (i >= 2) c->three[(a * n + b) * n + s]++;
        a = b;
        b = s;
    }
}

// How often the context came and how many different symbols followed it.
struct context {
    uint64_t total, kinds;
};

static struct context context_of(const uint32_t *followers, uint32_t symbols)
{
    struct context c = {0, 0};
    for (uint32_t i = 0; i < symbols; i++) {
        c.total += followers[i];
        c.kinds += followers[i] > 0;
    }
    return c;
}

// Method C: (count + kinds * lower) / (total + kinds); an unseen context leaves it to the lower order.
static double witten_bell(struct context c, uint32_t count, double lower)
{
    if (c.total == 0) return lower;
    return ((double)count + (double)c.kinds * lower) / (double)(c.total + c.kinds);
}

static void score_text(const struct counts *c, struct context *pairs, const struct dataset *data,
                       struct ngram_losses *out)
{
    size_t n = c->symbols, a = 0, b = 0;
    struct context all = context_of(c->one, c->symbols);
    struct context singles[256];
    for (size_t i = 0; i < n; i++) singles[i] = context_of(c->two + i * n, c->symbols);
    for (size_t i = 0; i < n * n; i++) pairs[i] = context_of(c->three + i * n, c->symbols);
    double sums[3] = {0, 0, 0};
    for (uint64_t i = 0; i < data->held_out_size; i++) {
        size_t s = c->symbol[data->held_out[i]];
        double p1 = witten_bell(all, c->one[s], 1.0 / CONFIG_VOCAB);
        double p2 = i >= 1 ? witten_bell(singles[b], c->two[b * n + s], p1) : p1;
        double p3 = i >= 2 ? witten_bell(pairs[a * n + b], c->three[(a * n + b) * n + s], p2) : p2;
        sums[0] -= log(p1);
        sums[1] -= log(p2);
        sums[2] -= log(p3);
        a = b;
        b = s;
    }
    double size = (double)data->held_out_size;
    *out = (struct ngram_losses){sums[0] / size, sums[1] / size, sums[2] / size};
}

enum core_err ngram_measure(const struct dataset *data, struct ngram_losses *losses)
{
    struct counts c = {.symbols = 0};
    if (data->train_size < 3 || data->held_out_size < 3) return CORE_ERR_TOO_SHORT;
    size_t n = number_symbols(&c, data);
    c.one = calloc(n + n * n + n * n * n, sizeof *c.one);
    struct context *pairs = calloc(n * n, sizeof *pairs);
    enum core_err err = c.one && pairs ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
    if (!err) {
        c.two = c.one + n;
        c.three = c.two + n * n;
        count_text(&c, data->train, data->train_size);
        score_text(&c, pairs, data, losses);
    }
    free(pairs);
    free(c.one);
    return err;
}
