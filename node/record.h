// The append-only signed log of decisions (ledger/log): one file a run, HOME/record/RUN.log, and its signed head.
// Written behind the protocol's back, once a second; what a crash cuts off is appended again from the run's journal.
#ifndef NODE_RECORD_H
#define NODE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/hash.h"

struct node;
struct job;

enum { RECORD_RUNS_MAX = 64 };

struct record_run {
    struct core_hash run;
    uint64_t count, height, size;  // entries, height of the last, bytes; on disk or on their way
    struct core_hash last;
    uint8_t *waiting;  // entries to append
    size_t waiting_size, waiting_capacity;
};

struct record {
    struct record_run runs[RECORD_RUNS_MAX];
    uint32_t run_count;
    struct job *writing;
    uint64_t entries;  // over all runs
};

// Reads what is there and cuts torn tails; call before decisions come.
void record_open(struct node *n);
void record_close(struct node *n);
// A decided value; one of a height that is in already is passed over.
void record_add(struct node *n, const struct core_hash *run, uint64_t height, struct slice value,
                struct slice certificate);
// Hands what waits to the worker.
void record_tick(struct node *n);

#endif
