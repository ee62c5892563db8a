// A token bucket by the caller's clock: what one peer may cost this one. A zeroed one is full. Pure.
#ifndef GOSSIP_BUCKET_H
#define GOSSIP_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    uint64_t spent;  // thousandths of tokens that are not yet back
    uint64_t at_ms;
};

// Takes `tokens` if so many are left of `burst`; `rate` come back in a second.
bool bucket_take(struct bucket *b, uint64_t tokens, uint64_t rate, uint64_t burst, uint64_t now_ms);

#endif
