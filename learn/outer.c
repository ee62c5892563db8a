#include "learn/outer.h"

#include <math.h>

#include "core/check.h"

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

static bool apply_span(const struct outer_step *step, struct span s, const int64_t *sums, float *params,
                       float *momentum, int64_t *largest)
{
    double weight = (double)step->weight, scale = ldexp(1, step->exponents[s.tensor]);
    int64_t most = *largest;
    bool finite = true;
    for (uint64_t i = s.first; i < s.end; i++, sums++) {
        int64_t magnitude = *sums < 0 ? -*sums : *sums;
        if (magnitude > most) most = magnitude;
        float u = (float)((double)*sums / weight * scale);
        if (step->momentum > 0) {
            momentum[i] = fmaf(step->momentum, momentum[i], u);
            u = fmaf(step->momentum, momentum[i], u);
        }
        params[i] = fmaf(-step->rate, u, params[i]);
        finite &= isfinite(params[i]) != 0;
    }
    *largest = most;
    return finite;
}

enum core_err outer_apply(const struct outer_step *step, const int64_t *sums, uint64_t first, uint64_t count,
                          float *params, float *momentum, int64_t *largest)
{
    check(step->weight > 0 && first % TENSORS_ALIGN == 0 && count % TENSORS_ALIGN == 0);
    check(first + count <= tensors_elements(step->config) && (momentum || !(step->momentum > 0)));
    bool finite = true;
    struct span s = {.first = first, .end = first};
    while (next_span(step->config, first + count, &s))
        finite &= apply_span(step, s, sums + (s.first - first), params, momentum, &largest[s.tensor]);
    return finite ? CORE_ERR_OK : CORE_ERR_NON_FINITE;
}

struct core_hash outer_hash(const struct model_config *config, float momentum_rate, const float *momentum)
{
    if (!(momentum_rate > 0)) return hash_bytes(NULL, 0);
    return tensors_hash(config, momentum, NULL);
}
