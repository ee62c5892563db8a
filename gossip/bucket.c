#include "gossip/bucket.h"

bool bucket_take(struct bucket *b, uint64_t tokens, uint64_t rate, uint64_t burst, uint64_t now_ms)
{
    const uint64_t back = now_ms > b->at_ms ? (now_ms - b->at_ms) * rate : 0;
    b->spent = back < b->spent ? b->spent - back : 0;
    b->at_ms = now_ms;
    if (b->spent + 1000 * tokens > 1000 * burst) return false;
    b->spent += 1000 * tokens;
    return true;
}
