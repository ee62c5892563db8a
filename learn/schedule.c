#include "learn/schedule.h"

#include "hip/math.h"

float schedule_rate(const struct hyper_parameters *hyper, uint64_t step, uint64_t total)
{
    float rate = hyper->inner_rate;
    if (step < hyper->warmup_steps) return rate * ((float)(step + 1) / (float)hyper->warmup_steps);
    float last = rate * hyper->final_fraction;
    if (step >= total || total <= hyper->warmup_steps) return step >= total ? last : rate;
    float angle = 3.14159265f * ((float)(step - hyper->warmup_steps) / (float)(total - hyper->warmup_steps));
    return last + (rate - last) * (0.5f * (1.0f + hip_math_cos(angle)));
}

double schedule_bias_correction(float beta, uint64_t step)
{
    double power = 1, square = (double)beta;
    for (; step; step >>= 1) {
        if (step & 1) power *= square;
        square *= square;
    }
    return 1 - power;
}
