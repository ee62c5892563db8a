// What this peer did in the last rounds of each run (node/look/trace_log.h), by its own monotonic clock, and the
// gathering of what the others did (the verb `trace`): every member of the round is asked (TRACE_ASK), TRACE_ASKS times
// each, since the answer with the shortest round trip places its clock best; after TRACE_MS whoever has not answered is
// named as such. Loop's thread.
//
//   verb_trace --> ASK to all --told--> ASK again --> ... --all have answered so often, or TRACE_MS--> the session ends
#ifndef NODE_LOOK_TRACE_H
#define NODE_LOOK_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/message.h"

struct node;
struct run_data;
struct run_status;
struct trace_state;
struct trace_kept;

enum { TRACE_MS = 900, TRACE_ASKS = 3, TRACE_ANSWERS_A_SECOND = 8 };

// Looks where the run stands now, and whom it waits for; call it after everything that may have changed that.
void trace_watch(struct node *n, struct run_data *run, const struct run_status *status);
void trace_free(struct trace_kept *kept);

// A member asks what this peer did. What is asked too often has no answer.
void trace_asked(struct node *n, const struct core_id *from, const struct message *m);
// CORE_ERR_MALFORMED where the spans can't be read; an answer that nobody waits for is passed over.
CORE_MUST_USE enum core_err trace_told(struct node *n, const struct core_id *from, const struct message *m);

#endif
