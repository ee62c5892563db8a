// Which Philox stream serves what: one key (the run's seed) and a purpose never share numbers with another purpose.
#ifndef LEARN_STREAMS_H
#define LEARN_STREAMS_H

#include "core/philox.h"

enum stream_purpose {
    STREAM_INIT = 1,      // tensors.c: low the element, high the tensor
    STREAM_DATA = 2,      // data.c: low round and step, high slot and index
    STREAM_GENERATE = 3,  // generate.c: low the byte's number
};

// The block at (low, high) of a purpose; `high` below 2^56.
struct philox_block stream_block(uint64_t seed, enum stream_purpose purpose, uint64_t low, uint64_t high);

#endif
