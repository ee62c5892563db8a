// What this peer keeps of each run beside the protocol's state machine: journal, training states, the dataset in
// memory, pending results, and what was seen of each closed round. Loop's thread; workers get counted references.
#ifndef NODE_RUNS_H
#define NODE_RUNS_H

#include <stdbool.h>
#include <stdint.h>

#include "learn/data.h"
#include "learn/ngram.h"
#include "learn/peer.h"
#include "node/journal.h"
#include "node/snapshot.h"

struct node;
struct job;
struct trace_kept;
struct lane;

enum {
    RUNS_MAX = 64,
    RUN_STATES = 3,         // kept in memory
    RUN_RETAIN_ROUNDS = 6,  // kept on disk for verifying and for late peers
    RUN_SAVED_MAX = 8,
    RUN_DATA_NAME = 64,
};

// Seen when a round closed while this peer ran.
struct run_note {
    uint64_t round;
    uint64_t closed_ms;   // of the loop's clock
    uint64_t closed_s;    // since 1970
    uint64_t tokens;      // trained so far
    uint64_t sent_bytes;  // by this peer since it started, both lanes
};

struct run_text {
    uint8_t *bytes;  // both parts, one after the other
    struct dataset data;
    enum { RUN_TEXT_ABSENT, RUN_TEXT_LOADING, RUN_TEXT_READY } state;
};

struct run_data {
    struct core_hash id;
    bool has_spec;
    struct run_spec spec;
    struct journal journal;
    struct run_text text;

    struct snapshot *states[RUN_STATES];  // newest first
    // This peer's training of `pending_round`: its inner state waits for the round's outcome.
    struct run_inner *pending;
    uint64_t pending_round;
    struct core_hash saved_inner[RUN_SAVED_MAX];  // inner states that are durable; a ring
    uint32_t saved_next;
    struct job *saving;       // writes `pending`
    struct job *training;     // on a lane
    const struct lane *lane;  // where it trained last, NULL for nowhere yet
    struct job *applied;      // done but for `pending` becoming durable
    bool trained;             // `train_result` answers the same question again
    struct work_train train_asked;
    struct work_result train_result;

    struct run_note *notes;
    uint32_t note_count, note_capacity;
    uint64_t sent_at_start;
    uint64_t seen_round;
    enum run_state seen_state;

    bool has_baselines, baselines_asked;
    struct ngram_losses baselines;
    char data_name[RUN_DATA_NAME];
    struct trace_kept *trace;       // what it did in the last rounds (node/look/trace.c)
    char trouble[CONFIG_WHY_SIZE];  // why this peer cannot take part, "" for nothing
};

struct runs {
    struct run_data *items[RUNS_MAX];
    uint32_t count;
};

struct run_data *runs_find(struct runs *runs, const struct core_hash *run);
// Finds or makes it, its folder and journal. NULL with `err` set where that fails.
struct run_data *runs_get(struct node *n, const struct core_hash *run, enum core_err *err);
void runs_close(struct runs *runs);

// After peer_open: gives back what the home holds of every run.
void runs_restore(struct node *n);
// EFFECT_PERSIST.
CORE_MUST_USE enum core_err runs_persist(struct node *n, uint32_t kind, struct slice payload);
// Looks for rounds that closed since the last look; cheap.
void runs_watch(struct node *n);

// The state at `round` with these parameters if it is in memory, else NULL; borrowed.
struct snapshot *runs_snapshot(const struct run_data *run, uint64_t round, const struct core_hash *params_hash);
// The name of its file where there is one on disk.
bool runs_snapshot_file(struct node *n, const struct run_data *run, uint64_t round, const struct core_hash *params_hash,
                        char name[RUN_FILE_NAME]);
// Takes over the reference; the oldest in memory goes.
void runs_snapshot_add(struct node *n, struct run_data *run, struct snapshot *state);
void runs_inner_saved(struct run_data *run, const struct core_hash *hash);
bool runs_inner_is_saved(const struct run_data *run, const struct core_hash *hash);
// Frees what rounds below `before_round` needed, and files older than the retention.
void runs_drop(struct node *n, struct run_data *run, uint64_t before_round);
// Whole dataset from the store into memory (blocks; workers or start-up). `bytes` is the caller's to free.
CORE_MUST_USE enum core_err runs_text_load(struct node *n, const struct core_hash *object, struct run_text *out);

// A vector of tensors (an object with a part each) out of the store into `vector`; any thread, as the next.
CORE_MUST_USE enum core_err runs_vector_load(struct node *n, const struct core_hash *root,
                                             const struct model_config *config, float *vector);
// An object's parts one after the other; the caller frees `bytes`.
CORE_MUST_USE enum core_err runs_blob_load(struct node *n, const struct core_hash *root, size_t limit, uint8_t **bytes,
                                           size_t *size);

const struct run_note *runs_note(const struct run_data *run, uint64_t round);

#endif
