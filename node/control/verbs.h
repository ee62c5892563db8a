// The verbs of the control socket (docs/json.md), one function each; node/control/verbs.c holds their table. Loop's
// thread.
#ifndef NODE_CONTROL_VERBS_H
#define NODE_CONTROL_VERBS_H

#include <jansson.h>

#include "node/daemon.h"

void verb_status(struct node *n, struct session *s);
void verb_peers(struct node *n, struct session *s);
void verb_ping(struct node *n, struct session *s);
void verb_map(struct node *n, struct session *s);    // node/look/map.c
void verb_trace(struct node *n, struct session *s);  // node/look/trace.c
void verb_invite(struct node *n, struct session *s);
void verb_train(struct node *n, struct session *s);
void verb_attach(struct node *n, struct session *s);
void verb_runs(struct node *n, struct session *s);
void verb_runs_show(struct node *n, struct session *s);
void verb_runs_verify(struct node *n, struct session *s);
void verb_runs_pause(struct node *n, struct session *s);
void verb_runs_resume(struct node *n, struct session *s);
void verb_runs_cancel(struct node *n, struct session *s);
void verb_generate(struct node *n, struct session *s);
void verb_leave(struct node *n, struct session *s);
void verb_hw(struct node *n, struct session *s);
void verb_down(struct node *n, struct session *s);

void verb_doctor(struct node *n, struct session *s);  // node/control/verbs_doctor.c
// A peer's answer to a question of `doctor`. MALFORMED.
CORE_MUST_USE enum core_err doctor_told(struct node *n, const struct core_id *from, const struct message *m);

// True if the nonce was one of `ping`'s.
bool verb_ping_answered(struct node *n, const struct core_id *from, uint64_t nonce);
// `leave` in progress: looks whether it is done.
void verb_leave_tick(struct node *n);

// ---- what verbs share (verbs.c, run_json.c) ----
json_t *json_hash(const struct core_hash *h);
json_t *json_id(const struct core_id *id);
json_t *json_time(uint64_t seconds);  // RFC 3339
json_t *json_number(double value);    // null where it isn't finite
// A member's name, or its id's first 8 digits. `out` holds 64 bytes.
const char *member_name(struct node *n, const struct core_id *id, char out[64]);
// By name, id or unique prefix of one; fails the session otherwise.
bool member_resolve(struct node *n, struct session *s, const char *text, struct core_id *out);
// The run that the request names, by id or unique prefix, or the only one; fails the session otherwise.
bool run_resolve(struct node *n, struct session *s, struct run_data **run, struct run_status *status);

const char *run_state_text(struct node *n, const struct run_data *run, const struct run_status *status);
json_t *run_json(struct node *n, const struct run_data *run, const struct run_status *status);
// The line of a closed round; NULL where its manifest isn't here.
json_t *round_json(struct node *n, const struct run_data *run, const struct run_status *status, uint64_t round);
json_t *baselines_json(const struct run_data *run);
// Why the run waits, as {peer, cause, remedy} where it has for over `after_ms`; NULL otherwise.
json_t *run_waiting_json(struct node *n, const struct run_status *status, uint64_t after_ms);
uint64_t node_sent_bytes(struct node *n);

// ---- counters (counts_json.c) ----
uint64_t refused_total(struct node *n, const struct links_stats *stats);
json_t *refused_json(struct node *n, const struct links_stats *stats);
json_t *dropped_json(struct node *n, const struct links_stats *stats);
json_t *links_json(const struct links_stats *stats);
json_t *link_json(const struct link_stats *stats);
json_t *gossip_json(struct node *n);
json_t *coordinates_json(const struct coordinates_point *p);
json_t *process_json(void);

#endif
