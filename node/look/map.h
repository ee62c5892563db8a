// The whole mesh on one picture: `map` asks every member for its links (LINKS_ASK), gathers what comes within a second,
// and answers with a snapshot (atlas/snapshot.h). Who does not answer in time is in it all the same, as not having
// answered. Loop's thread.
//
//   verb_map --> ASK to at most MAP_ASKS_MAX at a time, those with links first --told | MAP_ANSWER_MS--> the next
//            --nobody left, or MAP_MS are over--> drawing (node/look/map_draw.h) --done--> the session ends with it
#ifndef NODE_LOOK_MAP_H
#define NODE_LOOK_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "atlas/snapshot.h"
#include "core/message.h"

struct node;
struct map_state;
struct run_status;

enum { MAP_LINKS_MAX = 256, MAP_LINK_SIZE = 44, MAP_ANSWERS_A_SECOND = 4, MAP_RUNS_MAX = 8 };

// Whose sums are drawn: the one that was asked for, or, with the layout, the newest of those that go on.
struct map_runs {
    struct core_hash run[MAP_RUNS_MAX];
    uint32_t count;
};

// A member asks for this peer's links. What is asked too often has no answer.
void map_asked(struct node *n, const struct core_id *from, uint64_t nonce);
// CORE_ERR_MALFORMED where the lists can't be read; an answer that nobody waits for is passed over.
CORE_MUST_USE enum core_err map_told(struct node *n, const struct core_id *from, const struct message *m);

// Whether there is a round to draw: somebody sums, or waits to.
bool map_run_goes_on(const struct run_status *status);
void map_runs_going_on(const struct node *n, struct map_runs *runs);
// `s` gets the flows of these runs' rounds in progress (their plans, by who is there); none of those that are not
// known. The snapshot is not settled yet. CORE_ERR_NO_MEMORY.
CORE_MUST_USE enum core_err map_flows(const struct node *n, const struct map_runs *runs, struct atlas_snapshot *s);

#endif
