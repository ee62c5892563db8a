#include "tools/sim/toy.h"

#include "core/philox.h"

struct core_hash toy_hash(const uint32_t *params, uint64_t elements)
{
    return hash_bytes(params, elements * sizeof *params);
}

void toy_first_params(uint64_t seed, uint32_t *params, uint64_t elements)
{
    struct rng rng = rng_from(seed, 1);
    for (uint64_t i = 0; i < elements; i++) params[i] = rng_u32(&rng);
}

uint64_t toy_weight(uint32_t slot)
{
    return 64 * (3 + slot % 5);
}

static uint64_t low64(const struct core_hash *h)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value = value << 8 | h->bytes[i];
    return value;
}

void toy_train(const struct work_train *work, uint64_t state, int8_t *update, uint64_t *next_state)
{
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, work->params_hash.bytes, sizeof work->params_hash.bytes);
    hash_add(&s, &work->round, sizeof work->round);
    hash_add(&s, &work->slot, sizeof work->slot);
    hash_add(&s, &state, sizeof state);
    hash_add(&s, work->exponents, work->tensors);
    const struct core_hash h = hash_end(&s);
    struct rng rng = rng_from(low64(&h), 2);
    for (uint64_t i = 0; i < work->elements; i++) update[i] = (int8_t)((int)rng_below(&rng, 255) - 127);
    *next_state = rng_u64(&rng) | 1;
}

struct core_hash toy_state_hash(uint64_t state)
{
    return hash_bytes(&state, sizeof state);
}

void toy_apply(uint32_t *params, uint64_t elements, const int64_t *sums, uint64_t weight, int8_t *exponents,
               uint32_t tensors)
{
    for (uint64_t i = 0; i < elements; i++) params[i] = params[i] * 1664525u + (uint32_t)sums[i] + (uint32_t)weight;
    const struct core_hash h = toy_hash(params, elements);
    for (uint32_t t = 0; t < tensors; t++) exponents[t] = (int8_t)(h.bytes[t % 32] % 20 - 10);
}

void toy_weights(uint32_t *weights, const uint64_t *raw, uint32_t count)
{
    uint64_t factor = 1, most = 1;
    for (uint64_t f = 2; f <= 4096; f++) {
        bool all = true;
        for (uint32_t i = 0; i < count; i++) all = all && raw[i] % f == 0;
        if (all) factor = f;
    }
    for (uint32_t i = 0; i < count; i++)
        if (raw[i] / factor > most) most = raw[i] / factor;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t w = raw[i] / factor;
        if (most > 63) w = (2 * w * 63 + most) / (2 * most);
        weights[i] = (uint32_t)(w ? w : 1);
    }
}
