// Virtual time: events by (time, order of their making), in a 4-ary heap of small keys over a pool of events, so that
// a hundred thousand pending ones stay cheap. What an event means is its owner's: it keeps them by number.
#ifndef TOOLS_SIM_QUEUE_H
#define TOOLS_SIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue_key {
    uint64_t at_us, order;
    uint32_t place;  // the event's, in its owner's pool
};

struct queue {
    struct queue_key *keys;
    size_t count, capacity;
    uint64_t order;
};

void queue_close(struct queue *q);
void queue_push(struct queue *q, uint64_t at_us, uint32_t place);
// The earliest, or false when none is left.
bool queue_pop(struct queue *q, struct queue_key *key);

#endif
