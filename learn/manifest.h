// A run's manifest: what its members agreed on after each round. Decided by consensus as bytes whose hash names it.
// Pure; any thread.
#ifndef LEARN_MANIFEST_H
#define LEARN_MANIFEST_H

#include "learn/run_spec.h"

enum { MANIFEST_LIMIT = 16 * 1024 };  // bytes

enum run_state { RUN_RUNNING = 1, RUN_PAUSED = 2, RUN_DONE = 3, RUN_CANCELLED = 4 };

// What a decided value is: its second byte.
enum value_kind { VALUE_CUT = 1, VALUE_MANIFEST = 2 };

struct manifest {
    struct core_hash run;
    uint64_t height;            // at which it is decided; 0 for the genesis, which the spec implies
    uint64_t round;             // parameters after so many rounds; a change of state keeps it
    uint32_t attempt;           // of the cut that made it
    struct core_hash previous;  // hash of the previous manifest's bytes; zero for the genesis
    struct core_hash cut;       // hash of the cut's bytes; zero for the genesis
    struct core_hash params;    // params_hash
    struct core_hash outer;     // outer state's hash
    uint64_t tokens;            // trained on so far
    double loss;                // mean training loss of the last round, nats a token; 0 for the genesis
    uint64_t val_round;         // round after which held-out loss was last measured; 0: never
    double val_loss;
    enum run_state state;
    uint32_t tensors;
    uint32_t member_count;
    struct run_member members[RUN_MEMBERS_MAX];  // the electorate, ascending by slot
    int8_t exponents[CONFIG_TENSORS_MAX];        // of each tensor's power-of-two scale for the round that follows
};

// The manifest of round 0.
void manifest_genesis(struct manifest *m, const struct run_spec *spec, const struct core_hash *run);

void manifest_encode(struct writer *w, const struct manifest *m);
// UNKNOWN_VERSION, TRUNCATED, MALFORMED.
CORE_MUST_USE enum core_err manifest_decode(struct slice bytes, struct manifest *m);
// Hash of its canonical bytes: what the next one names as `previous`.
struct core_hash manifest_hash(const struct manifest *m);
const char *run_state_name(enum run_state state);

#endif
