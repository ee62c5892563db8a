#include "learn/inner_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"

enum { STATE_VERSION = 1, STATE_HEAD = 1 + 8 };

enum core_err inner_state_open(struct inner_state *state, const struct model_config *config)
{
    uint64_t elements = tensors_elements(config);
    memset(state, 0, sizeof *state);
    state->m = calloc(3 * elements, sizeof *state->m);
    if (!state->m) return CORE_ERR_NO_MEMORY;
    state->elements = elements;
    state->v = state->m + elements;
    state->residual = state->v + elements;
    return CORE_ERR_OK;
}

void inner_state_close(struct inner_state *state)
{
    free(state->m);
    memset(state, 0, sizeof *state);
}

void inner_state_reset(struct inner_state *state)
{
    state->steps = 0;
    memset(state->m, 0, 3 * state->elements * sizeof *state->m);
}

void inner_state_reset_moments(struct inner_state *state)
{
    state->steps = 0;
    memset(state->m, 0, 2 * state->elements * sizeof *state->m);
}

void inner_state_copy(struct inner_state *to, const struct inner_state *from)
{
    check(to->elements == from->elements);
    to->steps = from->steps;
    memcpy(to->m, from->m, 3 * from->elements * sizeof *from->m);
}

uint64_t inner_state_size(const struct model_config *config)
{
    return STATE_HEAD + 3 * tensors_elements(config) * sizeof(float);
}

static struct writer encode_head(uint8_t *head, const struct inner_state *state)
{
    struct writer w = writer_over(head, STATE_HEAD);
    write_u8(&w, STATE_VERSION);
    write_u64(&w, state->steps);
    return w;
}

void inner_state_encode(struct writer *w, const struct inner_state *state)
{
    uint8_t head[STATE_HEAD];
    encode_head(head, state);
    write_bytes(w, head, sizeof head);
    write_bytes(w, state->m, 3 * state->elements * sizeof *state->m);
}

enum core_err inner_state_decode(struct slice blob, struct inner_state *state)
{
    struct reader r = reader_over(blob.data, blob.size);
    uint8_t version = read_u8(&r);
    uint64_t steps = read_u64(&r);
    uint64_t count = 3 * state->elements;
    inner_state_reset(state);
    if (r.failed) return CORE_ERR_TRUNCATED;
    if (version != STATE_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    if (blob.size - STATE_HEAD < count * sizeof(float)) return CORE_ERR_TRUNCATED;
    read_bytes(&r, state->m, count * sizeof(float));
    bool fine = reader_finished(&r);
    for (uint64_t i = 0; fine && i < count; i++) fine = isfinite(state->m[i]);
    // v is a mean of squares: its root is taken.
    for (uint64_t i = 0; fine && i < state->elements; i++) fine = state->v[i] >= 0;
    state->steps = steps;
    if (fine) return CORE_ERR_OK;
    inner_state_reset(state);
    return CORE_ERR_MALFORMED;
}

struct core_hash inner_state_hash(const struct inner_state *state)
{
    uint8_t head[STATE_HEAD];
    encode_head(head, state);
    struct core_hash parts[4];
    parts[0] = tensors_hash_part(head, sizeof head);
    parts[1] = tensors_hash_part(state->m, state->elements * sizeof *state->m);
    parts[2] = tensors_hash_part(state->v, state->elements * sizeof *state->v);
    parts[3] = tensors_hash_part(state->residual, state->elements * sizeof *state->residual);
    return hash_merkle_root(parts, 4);
}
