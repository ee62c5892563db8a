#include "learn/streams.h"

#include "core/check.h"

struct philox_block stream_block(uint64_t seed, enum stream_purpose purpose, uint64_t low, uint64_t high)
{
    check(high >> 56 == 0);
    return philox(seed, low, high | (uint64_t)purpose << 56);
}
