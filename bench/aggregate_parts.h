// Inside the aggregation benchmark's process: aggregate_node.c (links, lines) and aggregate_round.c (one round). One
// thread.
#ifndef BENCH_AGGREGATE_PARTS_H
#define BENCH_AGGREGATE_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/sign.h"
#include "gossip/tree.h"
#include "hip/device.h"
#include "mesh/buffer.h"
#include "mesh/links.h"

enum { AGGREGATE_NODES_MAX = 16 };

// A sum (level, group, shard) as far as this peer has to do with it.
struct aggregate_item {
    struct buffer *inputs[AGGREGATE_NODES_MAX];  // by the slot of a contribution, or the place of a child
    struct buffer *sum;
    uint32_t have;
};

struct aggregate_node {
    uint32_t index, count, machines, bits;
    uint64_t elements;
    bool copies;
    struct core_key key;
    struct core_id ids[AGGREGATE_NODES_MAX];
    bool dead[AGGREGATE_NODES_MAX];
    struct links *links;
    struct buffer_pool *pool;
    uint32_t up;

    struct hip_device *device;
    struct hip_stream *stream;
    float *x, *residual, *mean, *zeros;

    // the round
    struct core_hash run;
    uint64_t round;
    bool any, begun, hold, done, held_said;
    struct tree_plan plan;
    struct aggregate_item *items;  // [group's place in the plan * TREE_SHARD_MAX + shard]
    struct buffer *own[TREE_SHARD_MAX];
    bool here[TREE_SHARD_MAX];  // the result's shards
    uint32_t results;
    uint64_t start_us, end_us, cpu_us, sent;
};

uint64_t aggregate_clock_us(void);
void aggregate_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Element `e` of peer `index`'s vector, in (-1, 1).
float aggregate_element(uint32_t index, uint64_t e);

// Opens round `round`'s plan if that is a later one than the present.
void aggregate_open(struct aggregate_node *n, uint64_t round);
void aggregate_begin(struct aggregate_node *n, void (*between)(struct aggregate_node *n));
void aggregate_go(struct aggregate_node *n);
void aggregate_take(struct aggregate_node *n, const struct core_id *from, const struct message_data *m,
                    struct buffer *bulk);
void aggregate_lost(struct aggregate_node *n, uint32_t index);
void aggregate_clear(struct aggregate_node *n);
// Elements of a sample that are not the exact mean of the quantised inputs; for the first round alone.
uint32_t aggregate_wrong(const struct aggregate_node *n);

#endif
