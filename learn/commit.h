// A trainer's signed word for one round: what its update is (by hash), from what state, at what loss. Announced while
// its shards are handed over (it proves them), acknowledged when each shard lies on two peers.
// It binds for its round and attempt: once a cut of nobody has closed an attempt, another word may follow for the next.
// Pure; any thread.
#ifndef LEARN_COMMIT_H
#define LEARN_COMMIT_H

#include "learn/run_spec.h"
#include "learn/work.h"

enum { COMMIT_LIMIT = 800 };  // bytes; 64 of them fit a cut
#define COMMIT_LOSS_MAX 1e9   // what means of it are made of stays finite

enum commit_phase { COMMIT_ANNOUNCED = 1, COMMIT_ACKNOWLEDGED = 2 };

struct commit {
    struct core_hash run;
    uint64_t round;
    uint32_t attempt;  // that it is collected for: 0, or the empty cut's before it + 1
    struct core_id trainer;
    uint32_t slot;
    uint64_t tokens;                       // of the round
    uint64_t weight;                       // tokens a step
    uint32_t bandwidth;                    // the trainer's class from its earlier transfers; 0: not measured yet
    uint64_t site;                         // where it is now, for the next plan
    int32_t at[TREE_AXES];                 // (as in run_member)
    double loss;                           // mean over the round, nats a token; within +-COMMIT_LOSS_MAX
    bool fresh;                            // started without inner state
    struct core_hash state_in, state_out;  // inner state before and after
    struct core_hash update_root;          // tensors_hash_update of the quantised update
    uint32_t shard_count;
    struct core_hash shards[TREE_SHARD_MAX];  // hash_bytes of each shard
    enum commit_phase phase;
};

// Signs with the trainer's key and writes the canonical bytes.
void commit_encode(struct writer *w, const struct commit *c, const struct core_key *trainer);
// Form and signature. UNKNOWN_VERSION, TRUNCATED, MALFORMED, BAD_SIGNATURE.
CORE_MUST_USE enum core_err commit_decode(struct slice bytes, struct commit *c);
// The same without the signature's check: for bytes that were checked before.
CORE_MUST_USE enum core_err commit_read(struct slice bytes, struct commit *c);
// Equal but for the phase.
bool commit_same_work(const struct commit *a, const struct commit *b);
// Two words of one trainer for one round and attempt that differ in more than the phase: with both signatures, proof
// that it lied.
bool commits_conflict(const struct commit *a, const struct commit *b);

#endif
