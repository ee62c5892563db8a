// What a model is (struct model_config) and how it is trained (struct hyper_parameters): presets, a model file's
// text, limits, and the canonical bytes that stand in a run's spec. Pure; any thread.
#ifndef LEARN_CONFIG_H
#define LEARN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"

enum {
    CONFIG_NAME_SIZE = 32,  // with its final NUL
    CONFIG_WHY_SIZE = 256,  // room for any message that these functions write
    CONFIG_LAYERS_MAX = 64,
    CONFIG_TENSORS_MAX = 3 + 6 * CONFIG_LAYERS_MAX,
    CONFIG_VOCAB = 256,       // bytes: the only vocabulary so far
    CONFIG_ENCODED_MAX = 96,  // bytes of config_encode
    HYPER_ENCODED_MAX = 64,   // bytes of hyper_encode
};

// A Llama-style transformer over bytes: RMSNorm, rotary positions, SwiGLU, causal attention.
struct model_config {
    char name[CONFIG_NAME_SIZE];
    uint32_t layers;
    uint32_t width;      // multiple of 2 * heads
    uint32_t heads;      // head width is width / heads, even, at most 128
    uint32_t inner;      // width of the gated feed-forward layer
    uint32_t vocab;      // CONFIG_VOCAB
    uint32_t context;    // tokens a sequence
    uint32_t batch;      // sequences a step and trainer
    bool tied;           // the head is the embedding
    float rope_base;     // 10000
    float norm_epsilon;  // 1e-5
};

struct hyper_parameters {
    uint32_t inner_steps;   // steps a round
    uint32_t warmup_steps;  // of the run, linear from 0
    float inner_rate;       // after the warm-up
    float final_fraction;   // the cosine ends at inner_rate times this, at the run's last step
    float weight_decay;     // on matrices, not on norms
    float beta1, beta2, epsilon;
    float clip;                        // of the gradient's global norm; 0: none
    bool carry_state;                  // inner moments go on from round to round
    uint8_t bits;                      // of an update's element, 2 to 8
    float residual_decay;              // error feedback
    float outer_rate, outer_momentum;  // Nesterov; momentum 0 is plain descent
};

// "small" or "baby"; NULL for any other name.
const struct model_config *config_preset(const char *name);

// The defaults that bench/learn.c measures with.
struct hyper_parameters hyper_defaults(void);

// CORE_ERR_OK, or USAGE with the reason in `why` (CONFIG_WHY_SIZE bytes): which field, its value, its limits.
CORE_MUST_USE enum core_err config_check(const struct model_config *config, char *why);
CORE_MUST_USE enum core_err hyper_check(const struct hyper_parameters *hyper, char *why);

// A model file: `key = value` lines, `#` and `;` comments; keys are the fields of struct model_config (`tied` is yes or
// no), and `preset = small|baby`, which must come first, to start from. USAGE with the line's number and reason in
// `why`.
CORE_MUST_USE enum core_err config_parse(const char *text, size_t size, struct model_config *config, char *why);

// Canonical bytes: u8 version 1, then the fields in the order of the struct; the name is a slice, a float its IEEE
// bits.
void config_encode(struct writer *w, const struct model_config *config);
void hyper_encode(struct writer *w, const struct hyper_parameters *hyper);
// For bytes from anyone: UNKNOWN_VERSION, TRUNCATED, or MALFORMED where config_check would refuse.
CORE_MUST_USE enum core_err config_decode(struct reader *r, struct model_config *config);
CORE_MUST_USE enum core_err hyper_decode(struct reader *r, struct hyper_parameters *hyper);

#endif
