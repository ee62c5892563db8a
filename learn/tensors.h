// The documented tensor order: where each parameter lies in the flat fp32 vector, how it starts, how it is hashed.
//
//   embedding [vocab, width]
//   layer N, N from 0:  layers.N.attention_norm [width]      layers.N.attention_qkv [3 width, width] (q, k, v rows)
//                       layers.N.attention_out [width, width] layers.N.feed_norm [width]
//                       layers.N.feed_gate_up [2 inner, width] (gate rows, then up) layers.N.feed_down [width, inner]
//   final_norm [width]
//   head [vocab, width], unless tied
//
// Matrices are row-major [out, in]. Each tensor starts at a multiple of TENSORS_ALIGN elements; what lies between two
// is zero, is summed as zero and is never hashed. So a block of 64 aligned elements belongs to one tensor.
// Pure; any thread.
#ifndef LEARN_TENSORS_H
#define LEARN_TENSORS_H

#include "core/hash.h"
#include "learn/config.h"

enum {
    TENSORS_ALIGN = 64,  // elements
    TENSORS_NAME_SIZE = 40,
    TENSORS_CHUNK = 1 << 20,  // bytes of a hashed chunk, the store's
};

struct tensor {
    char name[TENSORS_NAME_SIZE];
    uint64_t offset;         // elements, into the flat vector
    uint64_t count;          // elements, without padding
    uint32_t rows, columns;  // rows 1 for a norm
    bool decays;             // weight decay applies
    bool ones;               // starts as ones (norms)
};

// Number of tensors, at most CONFIG_TENSORS_MAX. `config` has passed config_check.
uint32_t tensors_count(const struct model_config *config);
struct tensor tensors_at(const struct model_config *config, uint32_t index);
// Length of the flat vector in elements, padding included: a multiple of TENSORS_ALIGN. An update's length in bytes.
uint64_t tensors_elements(const struct model_config *config);
// Parameters without padding.
uint64_t tensors_parameters(const struct model_config *config);
// The tensor whose block holds `element` (padding counts to the tensor before it).
uint32_t tensors_find(const struct model_config *config, uint64_t element);

// The first parameters of a run, from its seed alone: norms 1, matrices normal with deviation 0.02, those that write
// to the residual stream divided by sqrt(2 layers). `params`: tensors_elements floats.
void tensors_init(const struct model_config *config, uint64_t seed, float *params);

// params_hash: the object root of the store, each tensor a part (1 MiB chunks of little-endian fp32, hash_leaf; Merkle
// root of the chunks; Merkle root of the parts). `roots` (tensors_count hashes) receives the parts' roots, or NULL.
struct core_hash tensors_hash(const struct model_config *config, const float *params, struct core_hash *roots);

// The same over an update's int8 elements: `roots` receives one hash a tensor; the result is update_root.
struct core_hash tensors_hash_update(const struct model_config *config, const int8_t *update, struct core_hash *roots);

// The root of one part: `size` bytes in chunks of TENSORS_CHUNK.
struct core_hash tensors_hash_part(const void *bytes, uint64_t size);

// The first tensor whose roots differ, or UINT32_MAX when all are equal.
uint32_t tensors_first_difference(const struct model_config *config, const struct core_hash *a,
                                  const struct core_hash *b);

#endif
