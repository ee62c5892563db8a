// Runs and rounds as JSON (docs/json.md), and why a run waits.
#include <stdio.h>
#include <string.h>

#include "learn/cut.h"
#include "node/control/verbs.h"

const char *run_state_text(struct node *n, const struct run_data *run, const struct run_status *status)
{
    (void)n, (void)run;
    if (!status->head) return "waiting";
    switch (status->head->state) {
    case RUN_DONE: return "done";
    case RUN_CANCELLED: return "cancelled";
    case RUN_PAUSED: return "paused";
    case RUN_RUNNING: break;
    }
    return status->waiting || !status->active ? "waiting" : "running";
}

uint64_t node_sent_bytes(struct node *n)
{
    struct links_stats stats;
    links_stats(n->links, &stats);
    return stats.tx_bytes[LANE_CONTROL] + stats.tx_bytes[LANE_BULK];
}

json_t *baselines_json(const struct run_data *run)
{
    if (!run->has_baselines) return json_null();
    return json_pack("{s:f, s:f, s:f}", "unigram", run->baselines.unigram, "bigram", run->baselines.bigram, "trigram",
                     run->baselines.trigram);
}

static const char *wait_state_cause(const struct wait_entry *w)
{
    if (w->state == GOSSIP_DEAD && w->cause != WAIT_QUORUM) return "is dead";
    return wait_cause_text(w->cause);
}

json_t *run_waiting_json(struct node *n, const struct run_status *status, uint64_t after_ms)
{
    struct wait_entry entries[8];
    uint32_t count = peer_run_waiting(n->peer, &status->run, entries, 8);
    for (uint32_t i = 0; i < count && i < 8; i++) {
        const struct wait_entry *w = &entries[i];
        if (n->now_ms < w->since_ms + after_ms) continue;
        char name[64], cause[256];
        const char *who = id_equal(&w->peer, &n->key.id) ? n->own.name : member_name(n, &w->peer, name);
        struct run_data *run = runs_find(&n->runs, &status->run);
        const char *more = w->err && run && run->trouble[0] ? run->trouble : w->err ? core_error_text(w->err) : "";
        snprintf(cause, sizeof cause, "%s%s%s (%llu s)", wait_state_cause(w), *more ? ": " : "", more,
                 (unsigned long long)((n->now_ms - w->since_ms) / 1000));
        return json_pack("{s:s, s:s, s:s}", "peer", who, "cause", cause, "remedy", wait_remedy_text(w->cause));
    }
    return NULL;
}

// Over the rounds that were seen closing lately: training's pace, not the mean over pauses.
static double tokens_per_s(const struct run_data *run)
{
    if (run->note_count < 2) return 0;
    uint32_t back = run->note_count > 6 ? 5 : run->note_count - 1;
    const struct run_note *a = &run->notes[run->note_count - 1 - back], *b = &run->notes[run->note_count - 1];
    return b->closed_ms > a->closed_ms
               ? (double)(b->tokens - a->tokens) * 1000.0 / (double)(b->closed_ms - a->closed_ms)
               : 0;
}

static double seconds_a_round(const struct run_data *run)
{
    if (run->note_count < 2) return 0;
    uint32_t back = run->note_count > 6 ? 5 : run->note_count - 1;
    const struct run_note *a = &run->notes[run->note_count - 1 - back], *b = &run->notes[run->note_count - 1];
    return (double)(b->closed_ms - a->closed_ms) / 1000.0 / (double)(b->round - a->round ? b->round - a->round : 1);
}

// This peer's bytes from the run's first note to `note`.
static uint64_t sent_until(const struct run_data *run, const struct run_note *note)
{
    if (!note || run->note_count == 0) return 0;
    return note->sent_bytes - run->notes[0].sent_bytes;
}

static uint32_t commits_of(struct node *n, const struct run_data *run, uint64_t cut_height, struct cut *cut)
{
    struct slice value, certificate;
    if (!cut_height || !peer_run_decision(n->peer, &run->id, cut_height, &value, &certificate)) return 0;
    return cut_decode(value, cut) ? 0 : cut->count;
}

static void put(json_t *o, const char *key, json_t *value)
{
    json_object_set_new(o, key, value);
}

// Members that signed two words for one place; null where nobody did.
static json_t *liars_json(struct node *n, const struct core_hash *run)
{
    struct run_liar liar;
    json_t *list = NULL;
    for (uint32_t i = 0; peer_run_liar(n->peer, run, i, &liar); i++) {
        char name[64];
        const char *who = id_equal(&liar.id, &n->key.id) ? n->own.name : member_name(n, &liar.id, name);
        if (!list) list = json_array();
        json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:I}", "peer", who, "id", json_id(&liar.id), "what",
                                              evidence_kind_text(liar.kind), "at", (json_int_t)liar.at));
    }
    return list ? list : json_null();
}

json_t *run_json(struct node *n, const struct run_data *run, const struct run_status *status)
{
    const struct manifest *head = status->head;
    const struct run_spec *spec = &run->spec;
    json_t *o = json_object();
    struct cut cut;
    struct manifest manifest;
    uint64_t cut_height = 0, round = head ? head->round : 0;
    bool has = peer_run_manifest(n->peer, &run->id, round, &manifest, &cut_height);
    uint32_t contributed = has ? commits_of(n, run, cut_height, &cut) : 0;
    put(o, "id", json_hash(&run->id));
    put(o, "state", json_string(run_state_text(n, run, status)));
    json_t *waiting = run_waiting_json(n, status, 5000);
    put(o, "waiting", waiting ? waiting : json_null());
    put(o, "round", json_integer((json_int_t)round));
    put(o, "rounds", json_integer(spec->rounds));
    put(o, "loss", head && round ? json_number(head->loss) : json_null());
    put(o, "val_loss", head && head->val_round ? json_number(head->val_loss) : json_null());
    put(o, "tokens", json_integer(head ? (json_int_t)head->tokens : 0));
    put(o, "tokens_per_s", json_number(tokens_per_s(run)));
    put(o, "peers", json_integer(contributed ? contributed : head ? head->member_count : 0));
    put(o, "params_hash", head ? json_hash(&head->params) : json_null());
    put(o, "bytes_sent",
        json_integer((json_int_t)(run->note_count ? node_sent_bytes(n) - run->notes[0].sent_bytes : 0)));
    put(o, "model", json_string(spec->model.name));
    enum hip_profile profile;
    put(o, "profile",
        hip_profile_of(&spec->kernel_spec, &profile) ? json_string(hip_profile_name(profile)) : json_null());
    put(o, "parameters", json_integer((json_int_t)tensors_parameters(&spec->model)));
    put(o, "data", json_hash(&spec->dataset));
    put(o, "creator", json_id(&spec->creator));
    put(o, "created", json_time(spec->created_ms / 1000));
    uint64_t now_s = node_wall_s(), created_s = spec->created_ms / 1000;
    put(o, "age_s", json_integer(now_s > created_s ? (json_int_t)(now_s - created_s) : 0));
    put(o, "stage", json_string(round_stage_name(status->stage)));
    put(o, "baselines", baselines_json(run));
    put(o, "liars", liars_json(n, &run->id));
    put(o, "disputes", json_integer((json_int_t)status->disputes));
    return o;
}

json_t *round_json(struct node *n, const struct run_data *run, const struct run_status *status, uint64_t round)
{
    struct manifest m;
    uint64_t cut_height = 0;
    struct cut cut;
    if (!peer_run_manifest(n->peer, &run->id, round, &m, &cut_height)) return NULL;
    uint32_t contributed = commits_of(n, run, cut_height, &cut);
    const struct run_note *note = runs_note(run, round), *before = round ? runs_note(run, round - 1) : NULL;
    struct core_hash hash = manifest_hash(&m);
    json_t *o = json_object();
    put(o, "run", json_hash(&run->id));
    put(o, "round", json_integer((json_int_t)round));
    put(o, "attempt", json_integer(m.attempt));
    put(o, "loss", round ? json_number(m.loss) : json_null());
    put(o, "val_loss", m.val_round == round && round ? json_number(m.val_loss) : json_null());
    put(o, "tokens", json_integer((json_int_t)m.tokens));
    double seconds = note && before ? (double)(note->closed_ms - before->closed_ms) / 1000.0 : 0;
    put(o, "tokens_per_s", seconds > 0 ? json_number((double)(note->tokens - before->tokens) / seconds) : json_null());
    put(o, "peers", json_integer(contributed));
    put(o, "bytes_sent", json_integer((json_int_t)sent_until(run, note)));
    put(o, "round_bytes",
        note && before ? json_integer((json_int_t)(note->sent_bytes - before->sent_bytes)) : json_null());
    put(o, "params_hash", json_hash(&m.params));
    put(o, "manifest", json_hash(&hash));
    put(o, "state", json_string(run_state_text(n, run, status)));
    put(o, "seconds", seconds > 0 ? json_number(seconds) : json_null());
    double pace = seconds_a_round(run);
    uint64_t left = run->spec.rounds > round ? run->spec.rounds - round : 0;
    put(o, "eta_s", pace > 0 || left == 0 ? json_number(pace * (double)left) : json_null());
    put(o, "rounds", json_integer(run->spec.rounds));
    return o;
}
