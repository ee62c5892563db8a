// The training state of a run at one round: parameters, outer momentum, and this peer's inner state for the round that
// follows. Immutable once made and counted by references, so that workers read it while the loop goes on.
//
// On disk, in the run's folder (byte tables at the top of snapshot.c):
//   params-ROUND-ATTEMPT   head, parameters, momentum: after ROUND closed rounds
//   inner-ROUND-HASH16     the inner state that round ROUND starts from (learn/inner_state's blob)
//   update-ROUND           this peer's own update of that round, int8, kept for others who verify it
// Any thread.
#ifndef NODE_SNAPSHOT_H
#define NODE_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"
#include "learn/inner_state.h"
#include "learn/tensors.h"
#include "node/home.h"

enum { SNAPSHOT_HEAD = 256, RUN_FILE_NAME = 160 };

struct run_inner {
    _Atomic uint32_t references;
    struct core_hash hash;  // inner_state_hash
    struct inner_state state;
};

struct snapshot {
    _Atomic uint32_t references;
    uint64_t round, elements;
    uint32_t attempt;
    struct core_hash params_hash, outer_hash;
    bool has_inner;               // an inner state belongs to it ..
    struct core_hash inner_hash;  // .. with this hash ..
    struct run_inner *inner;      // .. which is here, or NULL: not loaded
    float *params;
    float *momentum;  // NULL where the run has none
};

CORE_MUST_USE enum core_err run_inner_new(struct run_inner **out, const struct model_config *config);
struct run_inner *run_inner_hold(struct run_inner *inner);
void run_inner_release(struct run_inner *inner);

// Zeroed vectors. NO_MEMORY.
CORE_MUST_USE enum core_err snapshot_new(struct snapshot **out, uint64_t elements, bool momentum);
struct snapshot *snapshot_hold(struct snapshot *s);
void snapshot_release(struct snapshot *s);

// Names under the home, at most RUN_FILE_NAME bytes.
void run_folder_name(char out[RUN_FILE_NAME], const struct core_hash *run);
// Any other file of the run's folder.
void run_file_name(char out[RUN_FILE_NAME], const struct core_hash *run, const char *file);
void run_params_name(char out[RUN_FILE_NAME], const struct core_hash *run, uint64_t round, uint32_t attempt);
void run_inner_name(char out[RUN_FILE_NAME], const struct core_hash *run, uint64_t round, const struct core_hash *hash);
void run_update_name(char out[RUN_FILE_NAME], const struct core_hash *run, uint64_t round);

// Durable when they return OK.
CORE_MUST_USE enum core_err snapshot_save(const struct home *h, const struct core_hash *run, const struct snapshot *s);
CORE_MUST_USE enum core_err run_inner_save(const struct home *h, const struct core_hash *run, uint64_t round,
                                           const struct run_inner *inner);

// The head alone: which parameters a file holds. MALFORMED for one that isn't whole.
struct snapshot_head {
    uint64_t round, elements;
    uint32_t attempt;
    struct core_hash params_hash, outer_hash, inner_hash;
    bool has_inner, has_momentum;
};
CORE_MUST_USE enum core_err snapshot_peek(const struct home *h, const char *name, struct snapshot_head *head);
// Loads and checks every hash; with `inner`, its inner state too, where it has one (has_inner is false if that is
// spoilt or missing). VERIFY_FAILED for spoilt parameters.
CORE_MUST_USE enum core_err snapshot_load(const struct home *h, const struct core_hash *run, const char *name,
                                          const struct model_config *config, bool inner, struct snapshot **out);

// Calls `each` with every file of the run's folder that is a params-, inner- or update- file, and its round.
void run_files_each(const struct home *h, const struct core_hash *run,
                    void (*each)(void *context, const char *name, const char *kind, uint64_t round), void *context);

#endif
