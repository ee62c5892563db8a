// What the round asks of workers and of the blob store, and what they answer. The round never holds bulk bytes: whoever
// performs its effects (`node/`, the simulator) keeps blobs by key; the round names keys.
//
// EFFECT_WORK carries one of the structs below (kind_of says which). The same work may be asked again (after a full
// disk, after a restart): answer again, from what is there or by doing it again; the bits are the same. Work may finish
// in any order; a result for something that the round no longer wants is ignored.
#ifndef LEARN_WORK_H
#define LEARN_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/message.h"
#include "core/sign.h"
#include "gossip/tree.h"
#include "learn/config.h"

// A blob's kind: message.data.kind, data_pull.kind, data_ack.kind.
enum round_data {
    ROUND_CONTRIBUTION =
        1,              // shard `shard` of slot `slot`'s quantised update: int8; its commit's attempt; level, group 0
    ROUND_PARTIAL = 2,  // the sum (level, group, shard) of an attempt's cut; the last level's is the result; slot 0
};

enum { BLOB_ATTEMPT_MAX = 1 << 16 };

struct blob_key {
    struct core_hash run;
    uint64_t round;
    uint32_t attempt;
    uint32_t kind;  // enum round_data
    uint32_t level, group, shard, slot;
};

enum work_kind {
    WORK_TRAIN = 1,   // struct work_train
    WORK_REDUCE = 2,  // struct work_reduce
    WORK_APPLY = 3,   // struct work_apply
    WORK_FETCH = 4,   // struct work_fetch
    WORK_DROP = 5,    // struct work_drop; no result
};

// The round's inner steps from the parameters of manifest `round`. Afterwards each shard s of the update lies in the
// blob store under (run, round, attempt, ROUND_CONTRIBUTION, 0, 0, s, slot): elements tree_shard_range(elements,
// shards, s), int8. The new inner state is pending: kept apart, by round, until WORK_APPLY says whether it counts.
struct work_train {
    struct core_hash run;
    struct core_hash params_hash;
    uint64_t round;
    uint64_t elements;
    uint64_t first_step;   // of the run: round * steps
    uint64_t total_steps;  // of the run
    uint32_t slot;
    uint32_t attempt;  // that the round collects for; the bits do not depend on it
    uint32_t steps;
    uint32_t shards;
    uint32_t tensors;
    bool fresh;  // start from a fresh inner state; otherwise from the one kept for `round`
    int8_t exponents[CONFIG_TENSORS_MAX];
};

// out = sum of weight * input over the inputs, under `key` at `bits` (gossip/sum.h). An input: `weight` 1 and its own
// bits for a partial, the contribution's weight and 8 bits otherwise.
enum { WORK_INPUTS_MAX = 64 };

struct work_input {
    struct blob_key key;
    uint32_t bits;
    uint32_t weight;
};

struct work_reduce {
    struct blob_key key;
    uint64_t elements;  // of this shard
    uint32_t bits;
    uint32_t count;
    struct work_input inputs[WORK_INPUTS_MAX];
};

// The outer step: the result's shards (blobs `top` with shard 0 to shards - 1, `bits` wide) over the parameters of
// manifest `round` give those of `round` + 1. Report only when parameters, outer state and, with keep_inner, the
// pending inner state of `round` are durable (fsynced), filed under (round + 1, attempt, params_hash); those of `round`
// stay until a WORK_DROP names a later one. Asked again for what is filed already (the same params_hash comes out):
// nothing changes, the inner state that was kept stays. It need not wait for training that runs: without keep_inner
// that may be stopped.
struct work_apply {
    struct blob_key top;
    struct core_hash params_hash;  // of manifest `round`
    uint64_t round;
    uint64_t elements;
    uint64_t weight;  // total, for the mean
    uint32_t attempt;
    uint32_t shards;
    uint32_t bits;
    uint32_t tensors;
    bool keep_inner;  // the pending inner state counts; otherwise forget it
    bool evaluate;    // measure held-out loss too
    int8_t exponents[CONFIG_TENSORS_MAX];
};

enum work_fetched {
    FETCH_DATASET = 1,  // `object` is the spec's dataset; report once training could start
    FETCH_PARAMS = 2,   // `object` and `outer` are the head manifest's; durable before the report. Round 0: make them
                        // from the spec's seed instead, and check the hash. Filed without inner state, unless the same
                        // parameters came to be here by WORK_APPLY meanwhile: then nothing changes.
};

struct work_fetch {
    struct core_hash run;
    struct core_hash object;  // store's object root
    struct core_hash outer;   // outer state's hash (learn/outer.h)
    uint64_t round;
    uint32_t what;  // enum work_fetched
};

// Blobs, parameters and pending states of rounds below `before_round` are not needed any more; training for one of them
// may be stopped. UINT64_MAX: the run has ended; keep only the head's parameters.
struct work_drop {
    struct core_hash run;
    uint64_t before_round;
};

// Any work's result. Fill `kind`, `err`, and what identifies the work (run, round, attempt, and for a sum its key); the
// rest as the kind says. `err` other than OK: the round tries again later and names the error in its waiting list.
struct work_result {
    enum work_kind kind;
    enum core_err err;
    struct core_hash run;
    uint64_t round;
    uint32_t attempt;
    union {
        struct {
            struct core_hash update_root;  // tensors_hash_update
            struct core_hash state_in, state_out;
            struct core_hash shards[TREE_SHARD_MAX];  // hash_bytes of each shard's blob
            double loss;                              // mean, nats a token
            uint64_t tokens;                          // of the round
            uint64_t weight;                          // tokens a step
        } train;
        struct {
            struct blob_key key;
        } reduce;
        struct {
            struct core_hash params_hash, outer_hash;
            bool evaluated;
            double val_loss;                       // nats a token
            int8_t exponents[CONFIG_TENSORS_MAX];  // the next round's
        } apply;
        struct {
            uint32_t what;  // enum work_fetched
            struct core_hash object;
        } fetch;
    };
};

// The key that a DATA, DATA_PULL or DATA_ACK message names; a contribution's level and group come out as 0.
// MALFORMED when a number is out of any plan's range.
CORE_MUST_USE enum core_err blob_key_of_data(struct blob_key *key, const struct message_data *m);
CORE_MUST_USE enum core_err blob_key_of_pull(struct blob_key *key, const struct message_data_pull *m);
CORE_MUST_USE enum core_err blob_key_of_ack(struct blob_key *key, const struct message_data_ack *m);
bool blob_key_equal(const struct blob_key *a, const struct blob_key *b);

#endif
