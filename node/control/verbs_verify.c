// runs verify: one trainer's part of a closed round, done again here.
//
//   PARAMS -> STATE -> TEXT -> REPLAY -> equal: end
//                                     -> not: UPDATE (the committed update is fetched, to name the first tensor) -> end
// What is missing here is fetched by hash: parameters and dataset from anyone, the inner state and the update from
// their trainer. The replay runs on a lane that has time, or beside the CPU's other work.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "learn/compress.h"
#include "learn/cut.h"
#include "node/control/verbs.h"
#include "store/object.h"

enum verify_stage { VERIFY_PARAMS, VERIFY_STATE, VERIFY_TEXT, VERIFY_REPLAY, VERIFY_UPDATE, VERIFY_STAGES };

struct replay_job {
    struct lane_job lane_job;
    struct node *node;  // home and store only
    uint64_t session;
    struct core_hash run;
    struct run_spec spec;
    struct manifest manifest;
    struct commit commit;
    struct dataset data;
    char params_name[RUN_FILE_NAME];                     // "": from the store
    bool inner_here;                                     // in the run's folder; otherwise from the store
    struct core_hash root, tensors[CONFIG_TENSORS_MAX];  // out
    struct core_hash state_out;                          // out
    double loss;
    char why[CONFIG_WHY_SIZE];
    struct compute *compute;  // while it runs
};

struct verify_state {
    struct node *node;
    uint64_t serial;
    struct run_data *run;
    struct manifest manifest;  // that the round started from
    struct commit commit;
    enum verify_stage stage;
    bool waiting;                 // for a transfer
    bool fetched[VERIFY_STAGES];  // into the store, to be taken out again
    char params_name[RUN_FILE_NAME];
    bool inner_here;
    uint64_t since_ms;
    struct core_hash root, tensors[CONFIG_TENSORS_MAX];
};

static void go_on(struct session *s);

static void tell(struct session *s, const char *stage, const char *detail)
{
    session_send(s, json_pack("{s:s, s:s}", "stage", stage, "detail", detail));
}

// ---- the replay ----

static enum core_err load_params(struct replay_job *j, float *params)
{
    if (!j->params_name[0]) {
        enum core_err err = runs_vector_load(j->node, &j->manifest.params, &j->spec.model, params);
        if (err) return err;
        struct core_hash hash = tensors_hash(&j->spec.model, params, NULL);
        return hash_equal(&hash, &j->manifest.params) ? CORE_ERR_OK : CORE_ERR_VERIFY_FAILED;
    }
    struct snapshot *s;
    enum core_err err = snapshot_load(&j->node->home, &j->run, j->params_name, &j->spec.model, false, &s);
    if (err) return err;
    memcpy(params, s->params, j->spec.elements * sizeof *params);
    snapshot_release(s);
    return CORE_ERR_OK;
}

static enum core_err load_inner(struct replay_job *j, struct inner_state *state)
{
    inner_state_reset(state);
    if (j->commit.fresh) return CORE_ERR_OK;
    uint8_t *bytes = NULL;
    size_t size = 0, limit = (size_t)inner_state_size(&j->spec.model);
    char name[RUN_FILE_NAME];
    run_inner_name(name, &j->run, j->commit.round, &j->commit.state_in);
    enum core_err err = j->inner_here ? home_read(&j->node->home, name, limit, &bytes, &size)
                                      : runs_blob_load(j->node, &j->commit.state_in, limit, &bytes, &size);
    if (!err) err = inner_state_decode((struct slice){bytes, size}, state);
    free(bytes);
    if (err) return err;
    struct core_hash hash = inner_state_hash(state);
    return hash_equal(&hash, &j->commit.state_in) ? CORE_ERR_OK : CORE_ERR_VERIFY_FAILED;
}

static bool not_cancelled(void *context, uint32_t step, uint32_t steps, double loss)
{
    struct replay_job *j = context;
    if (step < steps) compute_pace(j->compute, &j->lane_job.job.cancelled);
    (void)loss;
    return !atomic_load(&j->lane_job.job.cancelled);
}

static enum core_err replay(struct replay_job *j, struct compute *compute)
{
    struct trainer *trainer;
    j->compute = compute;
    struct inner_state state = {0};
    float *params = calloc(j->spec.elements, sizeof *params);
    int8_t *update = malloc(j->spec.elements);
    enum core_err err = params && update ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
    if (!err) err = inner_state_open(&state, &j->spec.model);
    if (!err) err = load_params(j, params);
    if (!err) err = load_inner(j, &state);
    if (!err) err = compute_trainer(compute, &j->spec.model, HIP_PROFILE_REPRO_FP32, &trainer);
    if (!err) {
        if (!j->spec.hyper.carry_state) inner_state_reset_moments(&state);
        uint32_t steps = j->spec.hyper.inner_steps;
        struct train_task task = {.params = params,
                                  .data = &j->data,
                                  .seed = j->spec.seed,
                                  .round = (uint32_t)j->commit.round,
                                  .slot = j->commit.slot,
                                  .steps = steps,
                                  .first_step = j->commit.round * steps,
                                  .total_steps = (uint64_t)j->spec.rounds * steps,
                                  .hyper = &j->spec.hyper,
                                  .exponents = j->manifest.exponents,
                                  .hook = not_cancelled,
                                  .hook_context = j};
        struct train_result result;
        err = compute_judge(compute, trainer_train(trainer, &task, &state, update, NULL, &result));
        j->loss = result.loss;
    }
    if (!err) {
        j->root = tensors_hash_update(&j->spec.model, update, j->tensors);
        j->state_out = inner_state_hash(&state);
    }
    if (state.m) inner_state_close(&state);
    free(params);
    free(update);
    return err;
}

static void replay_run(struct lane_job *lane_job, struct compute *compute)
{
    struct replay_job *j = (struct replay_job *)lane_job;
    lane_job->job.err = replay(j, compute);
    if (lane_job->job.err == CORE_ERR_NO_MEMORY) compute_why(compute, j->why);
    // Nobody trains beside the CPU's other work: the memory is better given back.
    if (!compute->place.gpu) compute_shut(compute);
}

static void replay_undo(struct lane_job *lane_job)
{
    ((struct replay_job *)lane_job)->why[0] = 0;
}

// ---- the answer ----

static json_t *verdict(const struct verify_state *v, bool equal)
{
    char name[64];
    json_t *o =
        json_pack("{s:o, s:I, s:i, s:s, s:o, s:b, s:o, s:o, s:i, s:f}", "run", json_hash(&v->run->id), "round",
                  (json_int_t)v->commit.round + 1, "slot", (int)v->commit.slot, "peer",
                  member_name(v->node, &v->commit.trainer, name), "id", json_id(&v->commit.trainer), "equal", equal,
                  "update_root", json_hash(&v->commit.update_root), "replayed_root", json_hash(&v->root), "tensors",
                  (int)v->run->spec.tensors, "seconds", (double)(v->node->now_ms - v->since_ms) / 1000.0);
    return o;
}

// The committed update is here: its parts' roots name the first tensor that differs.
static void name_difference(struct session *s, enum core_err err)
{
    struct verify_state *v = s->state;
    struct node *n = v->node;
    json_t *o = verdict(v, false);
    struct object_index index;
    pthread_mutex_lock(&n->store.mutex);
    if (!err) err = object_open(n->store.store, &v->commit.update_root, &index);
    pthread_mutex_unlock(&n->store.mutex);
    const char *tensor = "unknown: the committed update can no longer be fetched";
    if (!err) {
        for (uint32_t i = 0; i < index.part_count && i < v->run->spec.tensors; i++) {
            const struct object_part *part = &index.parts[i];
            struct core_hash chunks = hash_merkle_root(index.chunks + part->first, part->count);
            struct core_hash root = hash_part(part->size, &chunks);
            if (hash_equal(&root, &v->tensors[i])) continue;
            struct tensor t = tensors_at(&v->run->spec.model, i);
            json_object_set_new(o, "tensor", json_string(t.name));
            json_object_set_new(o, "tensor_hash", json_hash(&root));
            json_object_set_new(o, "replayed_hash", json_hash(&v->tensors[i]));
            tensor = NULL;
            break;
        }
        object_index_free(&index);
    }
    if (tensor) json_object_set_new(o, "tensor", json_string(tensor));
    session_end(s, core_error_exit(CORE_ERR_VERIFY_FAILED), o);
}

static void replay_done(struct job *job, void *context)
{
    struct node *n = context;
    struct replay_job *j = (struct replay_job *)job;
    struct session *s = control_session_find(&n->control, j->session);
    if (s && job->err)
        session_fail(s, job->err, "look at the daemon's log", "the replay failed: %s",
                     j->why[0] ? j->why : core_error_text(job->err));
    if (s && !job->err) {
        struct verify_state *v = s->state;
        v->root = j->root;
        memcpy(v->tensors, j->tensors, sizeof v->tensors);
        if (hash_equal(&j->root, &v->commit.update_root)) {
            session_end(s, 0, verdict(v, true));
        } else {
            v->stage = VERIFY_UPDATE;
            go_on(s);
        }
    }
    free(j);
}

static void submit_replay(struct session *s)
{
    struct verify_state *v = s->state;
    struct replay_job *j = calloc(1, sizeof *j);
    if (!j) {
        session_fail(s, CORE_ERR_NO_MEMORY, "free some memory", "the replay cannot start");
        return;
    }
    j->lane_job = (struct lane_job){.job = {.name = "replay"},
                                    .kind = SCHED_CLASS_OTHER,
                                    .subject = v->run->id,
                                    .gflop = compute_gflop(&v->run->spec.model, v->run->spec.hyper.inner_steps),
                                    .memory_bytes = trainer_memory(&v->run->spec.model),
                                    .aside = true,
                                    .run = replay_run,
                                    .undo = replay_undo,
                                    .finished = replay_done};
    j->node = v->node;
    j->session = s->serial;
    j->run = v->run->id;
    j->spec = v->run->spec;
    j->manifest = v->manifest;
    j->commit = v->commit;
    j->data = v->run->text.data;
    j->inner_here = v->inner_here;
    memcpy(j->params_name, v->params_name, sizeof j->params_name);
    tell(s, "replay", "the same steps on this peer");
    lanes_submit(v->node, &j->lane_job);
}

// ---- fetching what is missing ----

static void fetched(struct node *n, void *context, enum core_err err)
{
    struct verify_state *v = context;
    struct session *s = control_session_find(&n->control, v->serial);
    v->waiting = false;
    v->fetched[v->stage] = true;
    if (!s) return;
    if (v->stage == VERIFY_UPDATE) {
        name_difference(s, err);
        return;
    }
    if (err) {
        char name[64];
        session_fail(s, err == CORE_ERR_NOT_FOUND ? CORE_ERR_NOT_FOUND : CORE_ERR_UNREACHABLE,
                     "verify one of the newest rounds, while the peer that trained is up",
                     "%s of round %llu (%s) cannot be fetched: %s",
                     v->stage == VERIFY_PARAMS  ? "the parameters"
                     : v->stage == VERIFY_STATE ? "the trainer's state"
                                                : "the dataset",
                     (unsigned long long)v->commit.round + 1, member_name(n, &v->commit.trainer, name),
                     core_error_text(err));
        return;
    }
    v->stage++;
    go_on(s);
}

static void fetch(struct session *s, const struct core_hash *root, const struct core_id *from)
{
    struct verify_state *v = s->state;
    enum core_err err = transfers_start(v->node, root, from, fetched, v);
    if (err) {
        session_fail(s, err, "try again", "fetching cannot start: %s", core_error_text(err));
        return;
    }
    v->waiting = true;
}

static void go_on(struct session *s)
{
    struct verify_state *v = s->state;
    struct node *n = v->node;
    struct run_data *run = v->run;
    bool own = id_equal(&v->commit.trainer, &n->key.id);
    char name[RUN_FILE_NAME];
    if (v->stage == VERIFY_PARAMS) {
        bool here = runs_snapshot_file(n, run, v->commit.round, &v->manifest.params, v->params_name);
        tell(s, "parameters", here ? "here" : "fetched by hash");
        if (!here) {
            v->params_name[0] = 0;
            fetch(s, &v->manifest.params, NULL);
            return;
        }
        v->stage = VERIFY_STATE;
    }
    if (v->stage == VERIFY_STATE) {
        run_inner_name(name, &run->id, v->commit.round, &v->commit.state_in);
        v->inner_here = home_has(&n->home, name);
        bool here = v->commit.fresh || v->inner_here;
        tell(s, "state", v->commit.fresh ? "fresh" : here ? "here" : "fetched by hash from its trainer");
        if (!here) {
            fetch(s, &v->commit.state_in, own ? NULL : &v->commit.trainer);
            return;
        }
        v->stage = VERIFY_TEXT;
    }
    if (v->stage == VERIFY_TEXT) {
        tell(s, "dataset", run->text.state == RUN_TEXT_READY ? "here" : "fetched by hash");
        if (run->text.state != RUN_TEXT_READY) {
            fetch(s, &run->spec.dataset, NULL);
            return;
        }
        v->stage = VERIFY_REPLAY;
    }
    if (v->stage == VERIFY_REPLAY) {
        if (run->text.state != RUN_TEXT_READY && runs_text_load(n, &run->spec.dataset, &run->text)) {
            session_fail(s, CORE_ERR_NOT_FOUND, "try again", "the dataset cannot be read");
            return;
        }
        submit_replay(s);
        return;
    }
    tell(s, "update", "it differs: the committed update is fetched");
    fetch(s, &v->commit.update_root, own ? NULL : &v->commit.trainer);
}

static void verify_tick(struct session *s, uint64_t now_ms)
{
    struct verify_state *v = s->state;
    if (!v->waiting || now_ms < s->told_ms + 5000) return;
    char name[64];
    session_wait(s, member_name(v->node, &v->commit.trainer, name), "what the replay needs has not arrived",
                 "check that the peer is up (`mycel peers`)");
}

static void verify_closed(struct session *s)
{
    struct verify_state *v = s->state;
    struct node *n = v->node;
    transfers_cancel(n, v);
    const struct core_hash *const roots[VERIFY_STAGES] = {[VERIFY_PARAMS] = &v->manifest.params,
                                                          [VERIFY_STATE] = &v->commit.state_in,
                                                          [VERIFY_UPDATE] = &v->commit.update_root};
    pthread_mutex_lock(&n->store.mutex);
    for (int i = 0; i < VERIFY_STAGES; i++) {
        bool spare = !roots[i] || !v->fetched[i] || object_pinned(n->store.store, roots[i]);
        if (!spare && object_remove(n->store.store, roots[i]) != CORE_ERR_OK)
            event_emit(&n->events, "problem.store", EV_HASH("object", roots[i]));
    }
    pthread_mutex_unlock(&n->store.mutex);
    free(v);
}

// The commit of the slot that is asked for; without one, of another peer where there is one.
static bool choose(struct node *n, struct session *s, const struct cut *cut, struct commit *out)
{
    double slot = session_number(s, "slot", -1);
    bool found = false;
    for (uint32_t i = 0; i < cut->count; i++) {
        struct commit c;
        if (commit_read(cut->commits[i], &c)) continue;
        if (slot >= 0 ? c.slot != (uint32_t)slot : found && (!id_equal(&out->trainer, &n->key.id))) continue;
        *out = c;
        found = true;
    }
    return found;
}

// Only repro-fp32 fixes the bits that a replay compares.
static bool replayable(struct session *s, const struct run_data *run)
{
    enum hip_profile profile;
    if (!hip_profile_of(&run->spec.kernel_spec, &profile)) {
        session_fail(s, CORE_ERR_UNKNOWN_VERSION, "run the same version as the peers that trained",
                     "the run computes by rules that this program does not know");
        return false;
    }
    if (profile == HIP_PROFILE_REPRO_FP32) return true;
    session_fail(s, CORE_ERR_UNSUPPORTED, "train with --profile repro-fp32 to verify bit by bit",
                 "a run of profile %s cannot be replayed: its bits depend on the device", hip_profile_name(profile));
    return false;
}

void verb_runs_verify(struct node *n, struct session *s)
{
    struct run_data *run;
    struct run_status status;
    if (!run_resolve(n, s, &run, &status) || !replayable(s, run)) return;
    struct verify_state *v = calloc(1, sizeof *v);
    struct cut *cut = malloc(sizeof *cut);
    if (!v || !cut) {
        free(v);
        free(cut);
        session_fail(s, CORE_ERR_NO_MEMORY, "free some memory", "the replay cannot start");
        return;
    }
    double head = status.head ? (double)status.head->round : 0, asked = session_number(s, "round", head);
    uint64_t round = asked > 0 ? (uint64_t)asked : 0, cut_height = 0;
    struct manifest after;
    struct slice value, certificate;
    bool known = round > 0 && peer_run_manifest(n->peer, &run->id, round, &after, &cut_height) && cut_height &&
                 peer_run_decision(n->peer, &run->id, cut_height, &value, &certificate) && !cut_decode(value, cut) &&
                 peer_run_manifest(n->peer, &run->id, round - 1, &v->manifest, &(uint64_t){0});
    bool chosen = known && choose(n, s, cut, &v->commit);
    free(cut);
    if (!chosen) {
        free(v);
        if (known)
            session_fail(s, CORE_ERR_NOT_FOUND, "`mycel runs show ID --round R` lists them",
                         "nobody trained slot %d in round %llu", (int)session_number(s, "slot", -1),
                         (unsigned long long)round);
        else
            session_fail(s, CORE_ERR_NOT_FOUND, "give a closed round",
                         "round %llu isn't here: the newest closed is %.0f", (unsigned long long)round, head);
        return;
    }
    v->node = n;
    v->serial = s->serial;
    v->run = run;
    v->since_ms = n->now_ms;
    s->state = v;
    s->hooks = (struct session_hooks){.tick = verify_tick, .closed = verify_closed};
    go_on(s);
}
