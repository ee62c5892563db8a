// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): random numbers as a pure
// function of a key and a counter, so any device and any thread gets the same ones. Any thread.
#ifndef CORE_PHILOX_H
#define CORE_PHILOX_H

#include <stdint.h>

struct philox_block {
    uint32_t word[4];
};

struct philox_block philox(uint64_t key, uint64_t counter_low, uint64_t counter_high);

// A stream over one key, for pure code that needs randomness as an argument.
struct rng {
    uint64_t key;
    uint64_t stream;
    uint64_t at;
    struct philox_block block;
    uint32_t left;
};

struct rng rng_from(uint64_t key, uint64_t stream);
uint32_t rng_u32(struct rng *r);
uint64_t rng_u64(struct rng *r);
// Uniform in [0, bound), without bias (rejection). bound > 0.
uint64_t rng_below(struct rng *r, uint64_t bound);

#endif
