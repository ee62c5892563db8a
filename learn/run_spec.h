// A run's description, written once by the peer that starts it and signed: everything that the trajectory depends on.
// The run's id is the hash of these bytes. Pure; any thread.
#ifndef LEARN_RUN_SPEC_H
#define LEARN_RUN_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "core/sign.h"
#include "ledger/vote.h"
#include "gossip/tree.h"
#include "learn/config.h"

enum {
    RUN_MEMBERS_MAX = 64,        // a run's electorate; a set of slots is a uint64_t, so slots are below 64
    RUN_SPEC_LIMIT = 16 * 1024,  // bytes, signature included
    RUN_DEADLINE_MS = 60000,
};

// One trainer. Canonical order: ascending by slot.
struct run_member {
    struct core_id id;
    struct core_hash host;  // equal for peers of one machine
    uint64_t site;          // equal for peers of one place; 0: not known
    int32_t at[TREE_AXES];  // round-trip coordinates for the aggregation plan, microseconds
    uint32_t slot;          // given on entry; picks its data
    uint32_t weight;        // bandwidth class for the aggregation plan, to 65535; 0: not known yet
    uint32_t absent;        // rounds in a row that the cut went without it
    bool dialable;
    bool fresh;  // starts this round without inner state
};

struct run_spec {
    struct core_id creator;
    uint64_t created_ms;  // Unix time, for showing and queueing; nothing else reads it
    uint64_t seed;
    struct core_hash dataset;      // store's object root: part 0 trains, part 1 is held out
    struct core_hash params;       // params_hash of round 0 (tensors_init with `seed`)
    struct core_hash outer;        // outer_hash of round 0
    struct core_hash kernel_spec;  // which numerics
    struct model_config model;
    struct hyper_parameters hyper;
    uint64_t elements;  // tensors_elements(model)
    uint32_t tensors;   // tensors_count(model)
    uint32_t rounds;
    uint32_t deadline_ms;  // of rounds 1 to 3; an upper bound later. 0: wait for everyone who is alive
    uint32_t val_every;    // held-out loss each so many rounds and after the last; 0: never
    enum ledger_fault_model fault_model;
    uint32_t member_count;
    struct run_member members[RUN_MEMBERS_MAX];  // absent 0, fresh true
    int8_t exponents[CONFIG_TENSORS_MAX];        // of round 0
};

// Sorts members by slot, signs with the creator's key (spec->creator is set to it) and writes the canonical bytes
// (at most RUN_SPEC_LIMIT); `run` receives the id.
void run_spec_encode(struct writer *w, struct run_spec *spec, const struct core_key *creator, struct core_hash *run);
// For bytes from anyone: UNKNOWN_VERSION, TRUNCATED, MALFORMED, BAD_SIGNATURE. `run` receives the id.
CORE_MUST_USE enum core_err run_spec_decode(struct slice bytes, struct run_spec *spec, struct core_hash *run);

// A member's site and coordinates, as members, enters and commits hold them.
void run_place_write(struct writer *w, uint64_t site, const int32_t at[TREE_AXES]);
void run_place_read(struct reader *r, uint64_t *site, int32_t at[TREE_AXES]);
// Used by manifests too. MALFORMED unless ascending by slot, slots below 64, ids distinct.
void run_members_write(struct writer *w, const struct run_member *members, uint32_t count);
CORE_MUST_USE enum core_err run_members_read(struct reader *r, struct run_member *members, uint32_t *count);
// The member's index, or UINT32_MAX.
uint32_t run_members_find(const struct run_member *members, uint32_t count, const struct core_id *id);
uint32_t run_members_slot(const struct run_member *members, uint32_t count, uint32_t slot);

// ---- what members say about a run, spread by broadcast ----

// TOPIC_ENTER: asks to train from the next manifest on, or to leave by it.
struct run_enter {
    struct core_hash run;
    struct core_id id;
    struct core_hash host;
    uint64_t site;
    int32_t at[TREE_AXES];
    uint64_t height;  // the head it knew: later words of the same peer replace earlier ones
    uint32_t weight;
    bool dialable;
    bool leaving;
};

// TOPIC_RUN_COMMAND
enum run_command_kind { RUN_PAUSE = 1, RUN_RESUME = 2, RUN_CANCEL = 3 };
enum { RUN_COMMAND_HEIGHTS = 4 };

struct run_command {
    struct core_hash run;
    struct core_id author;
    uint64_t height;  // the head it knew: void once the run is RUN_COMMAND_HEIGHTS further
    enum run_command_kind kind;
};

enum { RUN_ENTER_LIMIT = 256, RUN_COMMAND_LIMIT = 256 };  // bytes

void run_enter_encode(struct writer *w, struct run_enter *e, const struct core_key *key);
CORE_MUST_USE enum core_err run_enter_decode(struct slice bytes, struct run_enter *e);
void run_command_encode(struct writer *w, struct run_command *c, const struct core_key *key);
CORE_MUST_USE enum core_err run_command_decode(struct slice bytes, struct run_command *c);

#endif
