#include "learn/tensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/check.h"
#include "hip/math.h"
#include "learn/streams.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "parameters are hashed as they lie in memory");

enum { LAYER_TENSORS = 6 };

struct shape {
    const char *name;
    uint32_t rows, columns;
    bool norm;
    bool residual;  // writes to the residual stream
};

static struct shape layer_shape(const struct model_config *c, uint32_t which)
{
    switch (which) {
    case 0: return (struct shape){"attention_norm", 1, c->width, true, false};
    case 1: return (struct shape){"attention_qkv", 3 * c->width, c->width, false, false};
    case 2: return (struct shape){"attention_out", c->width, c->width, false, true};
    case 3: return (struct shape){"feed_norm", 1, c->width, true, false};
    case 4: return (struct shape){"feed_gate_up", 2 * c->inner, c->width, false, false};
    default: return (struct shape){"feed_down", c->width, c->inner, false, true};
    }
}

static uint64_t aligned(uint64_t count)
{
    return (count + TENSORS_ALIGN - 1) / TENSORS_ALIGN * TENSORS_ALIGN;
}

static uint64_t shape_count(struct shape s)
{
    return (uint64_t)s.rows * s.columns;
}

static struct shape embedding_shape(const struct model_config *c)
{
    return (struct shape){"embedding", c->vocab, c->width, false, false};
}

static uint64_t layer_elements(const struct model_config *c)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < LAYER_TENSORS; i++) sum += aligned(shape_count(layer_shape(c, i)));
    return sum;
}

uint32_t tensors_count(const struct model_config *config)
{
    return 2 + LAYER_TENSORS * config->layers + (config->tied ? 0 : 1);
}

static struct shape shape_at(const struct model_config *c, uint32_t index, uint64_t *offset)
{
    struct shape embedding = embedding_shape(c);
    uint64_t base = aligned(shape_count(embedding));
    check(index < tensors_count(c));
    *offset = 0;
    if (index == 0) return embedding;
    uint32_t layer = (index - 1) / LAYER_TENSORS, which = (index - 1) % LAYER_TENSORS;
    *offset = base + layer * layer_elements(c);
    if (layer < c->layers) {
        for (uint32_t i = 0; i < which; i++) *offset += aligned(shape_count(layer_shape(c, i)));
        return layer_shape(c, which);
    }
    if (which == 0) return (struct shape){"final_norm", 1, c->width, true, false};
    *offset += aligned(c->width);
    return (struct shape){"head", c->vocab, c->width, false, false};
}

struct tensor tensors_at(const struct model_config *config, uint32_t index)
{
    struct tensor t = {0};
    struct shape s = shape_at(config, index, &t.offset);
    bool in_layer = index > 0 && (index - 1) / LAYER_TENSORS < config->layers;
    if (in_layer)
        snprintf(t.name, sizeof t.name, "layers.%u.%s", (index - 1) / LAYER_TENSORS, s.name);
    else
        snprintf(t.name, sizeof t.name, "%s", s.name);
    t.rows = s.rows;
    t.columns = s.columns;
    t.count = shape_count(s);
    t.decays = !s.norm;
    t.ones = s.norm;
    return t;
}

uint64_t tensors_elements(const struct model_config *config)
{
    uint64_t offset;
    struct shape last = shape_at(config, tensors_count(config) - 1, &offset);
    return offset + aligned(shape_count(last));
}

uint64_t tensors_parameters(const struct model_config *config)
{
    uint64_t sum = 0, offset;
    for (uint32_t i = 0; i < tensors_count(config); i++) sum += shape_count(shape_at(config, i, &offset));
    return sum;
}

uint32_t tensors_find(const struct model_config *config, uint64_t element)
{
    check(element < tensors_elements(config));
    uint32_t low = 0, high = tensors_count(config) - 1;
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        uint64_t offset;
        shape_at(config, middle, &offset);
        if (offset <= element)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

// A standard normal for each counter, by Box and Muller (1958) from one Philox block: two of 24 bits in (0, 1].
static float normal_at(uint64_t seed, uint32_t tensor, uint64_t index)
{
    struct philox_block block = stream_block(seed, STREAM_INIT, index, tensor);
    float u = ((float)(block.word[0] >> 8) + 1.0f) * 0x1p-24f;
    float angle = ((float)(block.word[1] >> 8) + 0.5f) * 0x1p-24f * 6.283185307f;
    return sqrtf(-2.0f * hip_math_log(u)) * hip_math_cos(angle);
}

void tensors_init(const struct model_config *config, uint64_t seed, float *params)
{
    memset(params, 0, tensors_elements(config) * sizeof *params);
    for (uint32_t i = 0; i < tensors_count(config); i++) {
        uint64_t offset;
        struct shape s = shape_at(config, i, &offset);
        float deviation = 0.02f;
        if (s.residual) deviation = deviation / sqrtf(2.0f * (float)config->layers);
        for (uint64_t k = 0; k < shape_count(s); k++)
            params[offset + k] = s.norm ? 1.0f : normal_at(seed, i, k) * deviation;
    }
}

// The Merkle root of the bytes' chunks, without holding all leaves: `pending[h]` is the root of a full subtree of 2^h
// leaves that waits for its right neighbour. Equal to hash_merkle_root over the leaves (RFC 9162's shape).
static struct core_hash part_root(const uint8_t *bytes, uint64_t size)
{
    struct core_hash pending[44];
    uint64_t leaves = 0;
    for (uint64_t at = 0; at < size; at += TENSORS_CHUNK) {
        struct core_hash h = hash_leaf(bytes + at, size - at < TENSORS_CHUNK ? size - at : TENSORS_CHUNK);
        uint32_t height = 0;
        for (; leaves >> height & 1; height++) h = hash_node(&pending[height], &h);
        pending[height] = h;
        leaves++;
    }
    uint32_t height = leaves ? (uint32_t)__builtin_ctzll(leaves) : 0;
    struct core_hash root = leaves ? pending[height] : hash_merkle_root(NULL, 0);
    for (height++; height < 44; height++)
        if (leaves >> height & 1) root = hash_node(&pending[height], &root);
    return hash_part(size, &root);
}

struct core_hash tensors_hash_part(const void *bytes, uint64_t size)
{
    return part_root(bytes, size);
}

static struct core_hash root_of(const struct model_config *config, const uint8_t *base, size_t element_size,
                                struct core_hash *roots)
{
    struct core_hash own[CONFIG_TENSORS_MAX];
    struct core_hash *out = roots ? roots : own;
    uint32_t count = tensors_count(config);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t offset;
        struct shape s = shape_at(config, i, &offset);
        out[i] = part_root(base + offset * element_size, shape_count(s) * element_size);
    }
    return hash_merkle_root(out, count);
}

struct core_hash tensors_hash(const struct model_config *config, const float *params, struct core_hash *roots)
{
    return root_of(config, (const uint8_t *)params, sizeof *params, roots);
}

struct core_hash tensors_hash_update(const struct model_config *config, const int8_t *update, struct core_hash *roots)
{
    return root_of(config, (const uint8_t *)update, sizeof *update, roots);
}

uint32_t tensors_first_difference(const struct model_config *config, const struct core_hash *a,
                                  const struct core_hash *b)
{
    for (uint32_t i = 0; i < tensors_count(config); i++)
        if (!hash_equal(&a[i], &b[i])) return i;
    return UINT32_MAX;
}
