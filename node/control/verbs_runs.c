// runs, runs show, runs pause|resume|cancel.
#include <stdlib.h>

#include "learn/cut.h"
#include "node/control/verbs.h"

// Rounds of a run's history in one answer.
enum { HISTORY_MAX = 1000 };

void verb_runs(struct node *n, struct session *s)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < peer_run_count(n->peer); i++) {
        struct run_status status;
        peer_run_at(n->peer, i, &status);
        struct run_data *run = runs_find(&n->runs, &status.run);
        if (run && run->has_spec) json_array_append_new(list, run_json(n, run, &status));
    }
    session_end(s, 0, json_pack("{s:o}", "runs", list));
}

static json_t *commits_json(struct node *n, const struct run_data *run, uint64_t cut_height)
{
    json_t *list = json_array();
    struct slice value, certificate;
    struct cut *cut = malloc(sizeof *cut);
    if (cut && cut_height && peer_run_decision(n->peer, &run->id, cut_height, &value, &certificate) &&
        !cut_decode(value, cut)) {
        for (uint32_t i = 0; i < cut->count; i++) {
            struct commit c;
            if (commit_read(cut->commits[i], &c)) continue;
            char name[64];
            json_array_append_new(list, json_pack("{s:i, s:s, s:o, s:I, s:I, s:o, s:b, s:o, s:o, s:o}", "slot",
                                                  (int)c.slot, "peer", member_name(n, &c.trainer, name), "id",
                                                  json_id(&c.trainer), "tokens", (json_int_t)c.tokens, "weight",
                                                  (json_int_t)c.weight, "loss", json_number(c.loss), "fresh", c.fresh,
                                                  "update_root", json_hash(&c.update_root), "state_in",
                                                  json_hash(&c.state_in), "state_out", json_hash(&c.state_out)));
        }
    }
    free(cut);
    return list;
}

static json_t *spec_json(const struct run_data *run)
{
    const struct run_spec *spec = &run->spec;
    const struct hyper_parameters *h = &spec->hyper;
    json_t *o = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:b}", "name", spec->model.name, "layers",
                          (int)spec->model.layers, "width", (int)spec->model.width, "heads", (int)spec->model.heads,
                          "inner_width", (int)spec->model.inner, "context", (int)spec->model.context, "batch",
                          (int)spec->model.batch, "tied", spec->model.tied);
    return json_pack("{s:o, s:I, s:i, s:i, s:i, s:f, s:i, s:f, s:f, s:f, s:i, s:f, s:i, s:o}", "model", o, "seed",
                     (json_int_t)spec->seed, "rounds", (int)spec->rounds, "inner_steps", (int)h->inner_steps,
                     "val_every", (int)spec->val_every, "deadline_s", spec->deadline_ms / 1000.0, "bits", (int)h->bits,
                     "inner_rate", (double)h->inner_rate, "outer_rate", (double)h->outer_rate, "outer_momentum",
                     (double)h->outer_momentum, "warmup_steps", (int)h->warmup_steps, "residual_decay",
                     (double)h->residual_decay, "members", (int)spec->member_count, "kernel_spec",
                     json_hash(&spec->kernel_spec));
}

static json_t *slots_json(struct node *n, const struct run_status *status)
{
    json_t *list = json_array();
    for (uint32_t i = 0; status->head && i < status->head->member_count; i++) {
        const struct run_member *m = &status->head->members[i];
        char name[64];
        const char *state =
            id_equal(&m->id, &n->key.id) ? "alive" : gossip_state_name(gossip_state_of(peer_gossip(n->peer), &m->id));
        json_array_append_new(list, json_pack("{s:i, s:s, s:o, s:s, s:b, s:i}", "slot", (int)m->slot, "peer",
                                              member_name(n, &m->id, name), "id", json_id(&m->id), "state", state,
                                              "fresh", m->fresh, "absent", (int)m->absent));
    }
    return list;
}

// Names of those who own a shard in the round in progress.
static json_t *owners_json(struct node *n, const struct run_status *status)
{
    json_t *list = json_array();
    for (uint32_t i = 0; status->head && i < status->head->member_count; i++) {
        const struct run_member *m = &status->head->members[i];
        char name[64];
        if (status->owners >> m->slot & 1) json_array_append_new(list, json_string(member_name(n, &m->id, name)));
    }
    return list;
}

void verb_runs_show(struct node *n, struct session *s)
{
    struct run_data *run;
    struct run_status status;
    if (!run_resolve(n, s, &run, &status)) return;
    double asked = session_number(s, "round", -1);
    if (asked >= 0) {
        uint64_t round = (uint64_t)asked, cut_height = 0;
        struct manifest m;
        json_t *o = round_json(n, run, &status, round);
        if (!o) {
            session_fail(s, CORE_ERR_NOT_FOUND, "give a closed round",
                         "round %llu isn't here: the newest closed is %llu", (unsigned long long)round,
                         (unsigned long long)(status.head ? status.head->round : 0));
            return;
        }
        json_object_set_new(o, "id", json_hash(&run->id));
        if (peer_run_manifest(n->peer, &run->id, round, &m, &cut_height))
            json_object_set_new(o, "commits", commits_json(n, run, cut_height));
        session_end(s, 0, o);
        return;
    }
    json_t *o = run_json(n, run, &status), *history = json_array();
    uint64_t newest = status.head ? status.head->round : 0, first = newest > HISTORY_MAX ? newest - HISTORY_MAX + 1 : 1;
    for (uint64_t r = first; r <= newest; r++) {
        json_t *line = round_json(n, run, &status, r);
        if (line) json_array_append_new(history, line);
    }
    json_object_set_new(o, "spec", spec_json(run));
    char name[64];
    bool ended = !status.head || status.head->state == RUN_DONE || status.head->state == RUN_CANCELLED;
    json_object_set_new(o, "proposer", ended ? json_null() : json_string(member_name(n, &status.proposer, name)));
    json_object_set_new(o, "owners", owners_json(n, &status));
    json_object_set_new(o, "slots", slots_json(n, &status));
    json_object_set_new(o, "history", history);
    session_end(s, 0, o);
}

static void command(struct node *n, struct session *s, enum run_command_kind kind, const char *state)
{
    struct run_data *run;
    struct run_status status;
    if (!run_resolve(n, s, &run, &status)) return;
    enum core_err err = peer_run_command(n->peer, &run->id, kind, n->now_ms, &n->out);
    if (err) {
        session_fail(s, err, "`mycel runs` shows its state", "the run is %s", run_state_text(n, run, &status));
        return;
    }
    node_perform(n);
    session_end(s, 0, json_pack("{s:o, s:s}", "id", json_hash(&run->id), "state", state));
}

void verb_runs_pause(struct node *n, struct session *s)
{
    command(n, s, RUN_PAUSE, "paused");
}

void verb_runs_resume(struct node *n, struct session *s)
{
    command(n, s, RUN_RESUME, "running");
}

void verb_runs_cancel(struct node *n, struct session *s)
{
    command(n, s, RUN_CANCEL, "cancelled");
}
