// The transformer on a device: a step's losses and gradients from parameters and tokens, in the profile repro-fp32.
//
// A step of more than `pass_rows` tokens runs in passes of whole sequences whose rows are a multiple of HIP_CHUNK,
// so that the sums over tokens break where one pass would break them: the split never shows in a bit. What would show
// (the embedding's gradient comes after the head's, tokens ascending) waits until all passes are done.
//
// One owner, one thread. Device buffers are taken at model_open.
#ifndef LEARN_MODEL_H
#define LEARN_MODEL_H

#include "hip/device.h"
#include "learn/tensors.h"

enum {
    MODEL_PASS_ROWS = 1024,       // what a CPU's caches like
    MODEL_PASS_ROWS_GPU = 32768,  // what fills a GPU, where its memory allows
};

// What a layer's forward pass leaves for its backward pass; rows are those of one pass. Device addresses.
struct model_layer {
    float *x;                           // [rows, width], the residual stream that enters
    float *attention_rstd, *feed_rstd;  // [rows]
    float *attention_in, *feed_in;      // [rows, width], after the norms
    float *qkv;                         // [rows, 3 width], q and k rotated
    float *probs;                       // [sequences, heads, context, context]
    float *attended;                    // [rows, width]
    float *middle;                      // [rows, width], the stream between attention and feed-forward
    float *gate_up;                     // [rows, 2 inner at model_gate_up_ld]
    float *gated;                       // [rows, inner]
};

struct model {
    struct model_config config;
    struct hip_device *device;
    struct hip_stream *stream;
    uint32_t sequences;  // of one pass
    void *memory;        // the one device allocation that all of these lie in
    struct model_layer *layers;
    int32_t *tokens, *targets;    // [batch * context]
    float *losses;                // [batch * context]
    float *embedding_grad;        // [batch * context, width]
    float *cosines, *sines;       // [context, head width / 2]
    float *x, *rstd, *normed;     // after the last layer: [rows, width], [rows], [rows, width]
    float *logits;                // [rows, vocab], then their gradient
    float *dx, *dnarrow, *dwide;  // [rows, width], the same, [rows, max(3 width, inner)]
    int32_t *host_tokens;         // 2 * [batch * context]
};

// The distance between rows of gate and up side by side, in elements. A multiple of 4 KiB would put a column's elements
// into one set of the cache: the weight gradient, which reads by columns, lost 10 % so.
uint32_t model_gate_up_ld(const struct model_config *config);

// Bytes that model_open takes on the device.
uint64_t model_memory(const struct model_config *config, uint32_t pass_rows);

// `device` and `stream` outlive the model. NO_MEMORY.
CORE_MUST_USE enum core_err model_open(struct model *model, struct hip_device *device, struct hip_stream *stream,
                                       const struct model_config *config, uint32_t pass_rows);
void model_close(struct model *model);

// Losses of `sequences` (at most batch) windows: `tokens` [sequences, context + 1] and `losses` [sequences * context]
// are the host's, `params` the device's. Nats.
CORE_MUST_USE enum core_err model_losses(struct model *model, const float *params, const uint8_t *tokens,
                                         uint32_t sequences, float *losses);

// The same with the gradient of the mean loss: `grads` (device, flat vector) is overwritten, its padding left alone.
CORE_MUST_USE enum core_err model_gradient(struct model *model, const float *params, const uint8_t *tokens,
                                           uint32_t sequences, float *grads, float *losses);

// The rotary tables, [context, head width / 2] each, on the host: cos and sin of position * rope_base^(-2j / head
// width).
void model_rotary_tables(const struct model_config *config, float *cosines, float *sines);

#endif
