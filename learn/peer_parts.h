// The inside of a peer, shared by peer*.c only: peer.c takes what comes in, peer_runs.c keeps the table of runs,
// peer_step.c performs among the machines what one step wrote.
#ifndef LEARN_PEER_PARTS_H
#define LEARN_PEER_PARTS_H

#include "learn/peer.h"
#include "learn/round.h"

enum { PEER_RUNS = 64, PEER_FAILED = 64, PEER_PLACE_US = 1000 };

struct failed_record {
    uint32_t kind;
    struct slice payload;  // malloc'd
};

struct peer {
    struct peer_options options;
    struct core_key key;
    struct gossip *gossip;
    struct gossip_callbacks callbacks;  // the caller's
    struct round **runs;                // in the order in which they became known
    uint32_t run_count, runs_max;
    struct outbox box;  // of one step, before gossip has performed casts and this peer has heard deliveries
    bool started, halted, leaving;
    struct failed_record failed[PEER_FAILED];
    uint32_t failed_count;
    uint64_t opened_ms, now_ms;
    struct peer_counts counts;
};

// ---- peer.c: what gossip and rounds ask ----
// Of a description that passed run_spec_decode.
bool peer_spec_valid(const struct peer *p, const struct run_spec *spec);
enum gossip_state peer_state_of(void *context, const struct core_id *id);

// ---- peer_runs.c ----
struct round *peer_round_find(const struct peer *p, const struct core_hash *run);  // NULL: not known
// OK when the run described by `bytes` is sound, new and has a place here; its id in `run`.
enum core_err peer_run_may_add(const struct peer *p, struct slice bytes, struct core_hash *run);
enum core_err peer_round_add(struct peer *p, struct slice bytes, uint64_t now_ms, struct round **out);
void peer_place_of(void *context, uint64_t *site, int32_t at[TREE_AXES]);
void peer_runs_queue(struct peer *p, uint64_t now_ms);

// ---- peer_step.c ----
// The outbox of a step's inner machines; peer_step_finish moves what is left of it to the caller's.
struct outbox *peer_step_begin(struct peer *p, uint64_t now_ms);
void peer_step_finish(struct peer *p, uint64_t now_ms, struct outbox *out);
void peer_run_begin(struct peer *p, struct slice bytes, bool cast, uint64_t now_ms);

#endif
