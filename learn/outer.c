#include "learn/outer.h"

#include <math.h>

#include "core/check.h"
#include "hip/fma.h"

// The elements of one tensor within a range: its first and the one after its last.
struct span {
    uint32_t tensor;
    uint64_t first, end;
};

static bool next_span(const struct model_config *config, uint64_t end, struct span *s)
{
    if (s->end >= end) return false;
    s->tensor = s->first == s->end ? tensors_find(config, s->end) : s->tensor + 1;
    s->first = s->end;
    s->end =
        s->tensor + 1 < tensors_count(config) ? tensors_at(config, s->tensor + 1).offset : tensors_elements(config);
    if (s->end > end) s->end = end;
    return true;
}

static enum core_err apply_span(const struct outer_step *step, struct span s, const int64_t *sums, float *params,
                                float *momentum, int64_t *largest)
{
    double weight = (double)step->weight, scale = ldexp(1, step->exponents[s.tensor]);
    uint64_t most = (uint64_t)*largest;
    bool finite = true;
    for (uint64_t i = s.first; i < s.end; i++, sums++) {
        uint64_t magnitude = *sums < 0 ? 0 - (uint64_t)*sums : (uint64_t)*sums;
        if (magnitude > most) most = magnitude;
        float u = (float)((double)*sums / weight * scale);
        if (step->momentum > 0) {
            momentum[i] = hip_fma(step->momentum, momentum[i], u);
            u = hip_fma(step->momentum, momentum[i], u);
        }
        params[i] = hip_fma(-step->rate, u, params[i]);
        finite &= isfinite(params[i]) != 0;
    }
    // Beyond it a sum is no double; no honest one comes near.
    if (most >= 1ull << 53) return CORE_ERR_MALFORMED;
    *largest = (int64_t)most;
    return finite ? CORE_ERR_OK : CORE_ERR_NON_FINITE;
}

enum core_err outer_apply(const struct outer_step *step, const int64_t *sums, uint64_t first, uint64_t count,
                          float *params, float *momentum, int64_t *largest)
{
    check(step->weight > 0 && first % TENSORS_ALIGN == 0 && count % TENSORS_ALIGN == 0);
    check(first + count <= tensors_elements(step->config) && (momentum || !(step->momentum > 0)));
    enum core_err err = CORE_ERR_OK;
    struct span s = {.first = first, .end = first};
    while (!err && next_span(step->config, first + count, &s))
        err = apply_span(step, s, sums + (s.first - first), params, momentum, &largest[s.tensor]);
    return err;
}

struct core_hash outer_hash(const struct model_config *config, float momentum_rate, const float *momentum)
{
    if (!(momentum_rate > 0)) return hash_bytes(NULL, 0);
    return tensors_hash(config, momentum, NULL);
}
