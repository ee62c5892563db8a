// train: text in, a run's spec out, then a line a closed round. Also attach.
//
//   STREAMING -> storing (I/O worker: the dataset goes into the store, round 0's parameters are made and hashed)
//             -> started (the spec is spread) -> FOLLOWING until the run ends or the client goes
//   beside it, on the side worker: the losses of counting (n-grams)
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/tree.h"
#include "hip/device.h"
#include "learn/compress.h"
#include "learn/outer.h"
#include "node/control/verbs.h"
#include "store/object.h"

enum { ROUNDS_DEFAULT = 150, VAL_EVERY_DEFAULT = 10, WAIT_TOLD_MS = 5000 };

struct train_state {
    struct node *node;
    struct run_data *run;  // once started
    uint64_t told_round;
    bool told_baselines;
    // The stream.
    uint8_t *bytes[2];
    size_t size[2], capacity[2];
    uint32_t parts;
    bool preparing;
};

// ---- following ----

static void follow_end(struct session *s, struct run_status *status)
{
    struct train_state *t = s->state;
    const struct manifest *head = status->head;
    const char *state = run_state_text(t->node, t->run, status);
    session_end(s, strcmp(state, "done") ? 1 : 0,
                json_pack("{s:o, s:s, s:I, s:o, s:o}", "run", json_hash(&t->run->id), "state", state, "round",
                          (json_int_t)head->round, "val_loss",
                          head->val_round ? json_number(head->val_loss) : json_null(), "params_hash",
                          json_hash(&head->params)));
}

static void follow(struct session *s, uint64_t now_ms)
{
    struct train_state *t = s->state;
    struct node *n = t->node;
    struct run_status status;
    if (!t->run || !peer_run_find(n->peer, &t->run->id, &status) || !status.head) return;
    while (t->told_round < status.head->round && s->phase == SESSION_ANSWERING) {
        json_t *line = round_json(n, t->run, &status, ++t->told_round);
        if (line) session_send(s, line);
    }
    if (t->run->has_baselines && !t->told_baselines) {
        t->told_baselines = true;
        session_send(s, json_pack("{s:o}", "baselines", baselines_json(t->run)));
    }
    if (s->phase != SESSION_ANSWERING) return;
    if (status.head->state == RUN_DONE || status.head->state == RUN_CANCELLED) {
        follow_end(s, &status);
        return;
    }
    if (now_ms < s->told_ms + WAIT_TOLD_MS) return;
    json_t *waiting = run_waiting_json(n, &status, WAIT_TOLD_MS);
    if (waiting) session_send(s, json_pack("{s:o}", "waiting", waiting));
}

void verbs_round_closed(struct node *n, struct run_data *run)
{
    for (int i = 0; i < CONTROL_SESSIONS_MAX; i++) {
        struct session *s = &n->control.sessions[i];
        if (s->fd < 0 || s->phase != SESSION_ANSWERING || s->hooks.tick != follow) continue;
        if (((struct train_state *)s->state)->run == run) follow(s, n->now_ms);
    }
}

static void train_closed(struct session *s)
{
    struct train_state *t = s->state;
    free(t->bytes[0]);
    free(t->bytes[1]);
    free(t);
}

void verb_attach(struct node *n, struct session *s)
{
    struct run_data *run;
    struct run_status status;
    if (!run_resolve(n, s, &run, &status)) return;
    struct train_state *t = calloc(1, sizeof *t);
    if (!t) return;
    t->node = n;
    t->run = run;
    s->state = t;
    s->hooks = (struct session_hooks){.tick = follow, .closed = train_closed};
    follow(s, n->now_ms);
}

// ---- the losses of counting ----

struct ngram_job {
    struct job job;
    const struct home *home;
    struct core_hash run;
    struct dataset data;
    struct ngram_losses losses;
    char data_name[RUN_DATA_NAME];
};

static void ngram_run(struct job *job, struct worker *w)
{
    (void)w;
    struct ngram_job *j = (struct ngram_job *)job;
    job->err = ngram_measure(&j->data, &j->losses);
    if (job->err) return;
    uint8_t bytes[256];
    struct writer out = writer_over(bytes, sizeof bytes);
    const double values[] = {j->losses.unigram, j->losses.bigram, j->losses.trigram};
    for (int i = 0; i < 3; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        write_u64(&out, bits);
    }
    write_slice(&out, (struct slice){(const uint8_t *)j->data_name, strlen(j->data_name)});
    char name[RUN_FILE_NAME];
    run_file_name(name, &j->run, "baselines");
    // Only for showing: without the file they are shown until the next start.
    if (home_write(j->home, name, (struct slice){bytes, out.size})) return;
}

static void ngram_done(struct job *job, void *context)
{
    struct node *n = context;
    struct ngram_job *j = (struct ngram_job *)job;
    struct run_data *run = runs_find(&n->runs, &j->run);
    if (run && !job->err) {
        run->baselines = j->losses;
        run->has_baselines = true;
    }
    free(j);
}

static void ask_baselines(struct node *n, struct run_data *run)
{
    if (run->baselines_asked || run->has_baselines || run->text.state != RUN_TEXT_READY) return;
    struct ngram_job *j = calloc(1, sizeof *j);
    if (!j) return;
    run->baselines_asked = true;
    j->job = (struct job){.name = "ngram", .priority = JOB_NORMAL, .run = ngram_run, .done = ngram_done};
    j->home = &n->home;
    j->run = run->id;
    j->data = run->text.data;
    memcpy(j->data_name, run->data_name, sizeof j->data_name);
    worker_submit(&n->lanes.aside.worker, &j->job);
}

// ---- starting ----

struct prepare_job {
    struct job job;
    struct node *node;  // store only
    uint64_t session;
    struct run_spec spec;
    uint8_t *bytes[2];
    size_t size[2];
    uint32_t parts;  // 0: the dataset is in the store already
    struct run_text text;
    char data_name[RUN_DATA_NAME], why[CONFIG_WHY_SIZE];
    bool detach;
};

static enum core_err store_text(struct prepare_job *j)
{
    if (j->parts == 0) return runs_text_load(j->node, &j->spec.dataset, &j->text);
    struct dataset data = {
        .train = j->bytes[0], .train_size = j->size[0], .held_out = j->bytes[1], .held_out_size = j->size[1]};
    if (j->parts == 1) data = data_split(j->bytes[0], j->size[0]);
    enum core_err err = data_check(&data, &j->spec.model, j->why);
    if (err) return err;
    const struct slice parts[2] = {{data.train, data.train_size}, {data.held_out, data.held_out_size}};
    pthread_mutex_lock(&j->node->store.mutex);
    err = object_put(j->node->store.store, parts, 2, &j->spec.dataset);
    if (!err) err = object_pin(j->node->store.store, &j->spec.dataset);
    if (!err) err = store_sync(j->node->store.store);
    pthread_mutex_unlock(&j->node->store.mutex);
    if (err) return err;
    uint8_t *bytes = malloc(data.train_size + data.held_out_size + 1);
    if (!bytes) return CORE_ERR_NO_MEMORY;
    memcpy(bytes, data.train, data.train_size);
    memcpy(bytes + data.train_size, data.held_out, data.held_out_size);
    j->text.bytes = bytes;
    j->text.data = (struct dataset){.train = bytes,
                                    .train_size = data.train_size,
                                    .held_out = bytes + data.train_size,
                                    .held_out_size = data.held_out_size};
    j->text.state = RUN_TEXT_READY;
    return CORE_ERR_OK;
}

static void prepare_run(struct job *job, struct worker *w)
{
    (void)w;
    struct prepare_job *j = (struct prepare_job *)job;
    job->err = store_text(j);
    if (!job->err) job->err = data_check(&j->text.data, &j->spec.model, j->why);
    if (job->err) return;
    struct run_spec *spec = &j->spec;
    spec->elements = tensors_elements(&spec->model);
    spec->tensors = tensors_count(&spec->model);
    float *params = calloc(spec->elements, sizeof *params);
    if (!params) {
        job->err = CORE_ERR_NO_MEMORY;
        return;
    }
    tensors_init(&spec->model, spec->seed, params);
    spec->params = tensors_hash(&spec->model, params, NULL);
    memset(params, 0, spec->elements * sizeof *params);
    spec->outer = outer_hash(&spec->model, spec->hyper.outer_momentum, spec->hyper.outer_momentum > 0 ? params : NULL);
    free(params);
    compress_first_exponents(&spec->model, &spec->hyper, (uint64_t)spec->rounds * spec->hyper.inner_steps,
                             spec->exponents);
}

static json_t *plan_json(const struct run_data *run)
{
    const struct run_spec *spec = &run->spec;
    const struct dataset *data = &run->text.data;
    return json_pack("{s:{s:o, s:o, s:s, s:I, s:I, s:s, s:I, s:I, s:i, s:i, s:i, s:o}}", "plan", "run",
                     json_hash(&run->id), "data", json_hash(&spec->dataset), "data_name", run->data_name, "bytes",
                     (json_int_t)data->train_size, "held_out_bytes", (json_int_t)data->held_out_size, "model",
                     spec->model.name, "parameters", (json_int_t)tensors_parameters(&spec->model), "memory_bytes",
                     (json_int_t)(trainer_memory(&spec->model) + 6 * spec->elements * sizeof(float)), "rounds",
                     (int)spec->rounds, "inner_steps", (int)spec->hyper.inner_steps, "peers", (int)spec->member_count,
                     "baselines", baselines_json(run));
}

static enum core_err start(struct node *n, struct prepare_job *j, struct run_data **run)
{
    struct run_spec *spec = &j->spec;
    spec->created_ms = node_wall_s() * 1000;
    spec->fault_model = n->charter.fault_model == FAULT_BYZANTINE ? LEDGER_BYZANTINE : LEDGER_TRUSTED;
    spec->member_count = peer_electorate(n->peer, spec->members);
    uint8_t *bytes = malloc(RUN_SPEC_LIMIT);
    if (!bytes) return CORE_ERR_NO_MEMORY;
    struct writer w = writer_over(bytes, RUN_SPEC_LIMIT);
    struct core_hash id;
    run_spec_encode(&w, spec, &n->key, &id);
    enum core_err err;
    *run = runs_get(n, &id, &err);
    if (*run && !err) {
        // The dataset is here before the round asks for it.
        if (!(*run)->text.bytes) {
            (*run)->text = j->text;
            j->text = (struct run_text){0};
        }
        memcpy((*run)->data_name, j->data_name, sizeof j->data_name);
        err = peer_run_start(n->peer, (struct slice){bytes, w.size}, n->now_ms, &n->out);
    }
    free(bytes);
    if (err) return err;
    node_perform(n);
    return (*run)->has_spec ? CORE_ERR_OK : n->disk_full ? CORE_ERR_NO_SPACE : CORE_ERR_FAILED;
}

static void answer_started(struct node *n, struct session *s, struct run_data *run, bool detach)
{
    struct train_state *t = s->state;
    t->run = run;
    session_send(s, plan_json(run));
    if (detach) {
        session_end(s, 0, json_pack("{s:o}", "run", json_hash(&run->id)));
        return;
    }
    follow(s, n->now_ms);
}

static void prepare_done(struct job *job, void *context)
{
    struct node *n = context;
    struct prepare_job *j = (struct prepare_job *)job;
    struct session *s = control_session_find(&n->control, j->session);
    struct run_data *run = NULL;
    if (s) ((struct train_state *)s->state)->preparing = false;
    // Without its client nothing was promised yet.
    if (s && !job->err) job->err = start(n, j, &run);
    if (s && job->err)
        session_fail(s, job->err,
                     job->err == CORE_ERR_TOO_SHORT   ? "give a longer text"
                     : job->err == CORE_ERR_NO_SPACE  ? "free some space where the home lies"
                     : job->err == CORE_ERR_NOT_FOUND ? "give --data FILE"
                     : job->err == CORE_ERR_LIMIT     ? "wait for other runs, or cancel some"
                                                      : "look at the daemon's log",
                     "the run cannot start: %s", j->why[0] ? j->why : core_error_text(job->err));
    if (s && run && !job->err) {
        ask_baselines(n, run);
        answer_started(n, s, run, j->detach);
    }
    free(j->text.bytes);
    free(j->bytes[0]);
    free(j->bytes[1]);
    free(j);
}

// ---- the request ----

static bool read_model(struct node *n, struct session *s, struct run_spec *spec, char *why)
{
    const char *text = session_text(s, "model_text"), *name = session_text(s, "model");
    if (text) {
        if (config_parse(text, strlen(text), &spec->model, why)) {
            session_fail(s, CORE_ERR_USAGE, "correct the model file", "%s", why);
            return false;
        }
    } else {
        const struct model_config *preset = config_preset(name ? name : "small");
        if (!preset) {
            session_fail(s, CORE_ERR_USAGE, "small, baby, or a model file", "there is no preset '%s'", name);
            return false;
        }
        spec->model = *preset;
    }
    if (config_check(&spec->model, why)) {
        session_fail(s, CORE_ERR_USAGE, "correct the model", "%s", why);
        return false;
    }
    // The trainer, and what lies beside it: parameters, momentum, inner state twice, update and sums.
    uint64_t need = trainer_memory(&spec->model) + 12 * tensors_elements(&spec->model) * sizeof(float);
    if (need <= n->memory_bytes) return true;
    session_fail(s, CORE_ERR_NO_MEMORY, "take a smaller model, or run the peers with more --memory",
                 "the model needs %.0f MB of memory, this peer's budget is %.0f MB", (double)need / 1e6,
                 (double)n->memory_bytes / 1e6);
    return false;
}

static bool read_spec(struct node *n, struct session *s, struct run_spec *spec)
{
    char why[CONFIG_WHY_SIZE] = "";
    if (!read_model(n, s, spec, why)) return false;
    struct hyper_parameters h = hyper_defaults();
    h.inner_steps = (uint32_t)session_number(s, "inner_steps", h.inner_steps);
    h.warmup_steps = (uint32_t)session_number(s, "warmup_steps", h.warmup_steps);
    h.inner_rate = (float)session_number(s, "inner_rate", (double)h.inner_rate);
    h.outer_rate = (float)session_number(s, "outer_rate", (double)h.outer_rate);
    h.outer_momentum = (float)session_number(s, "outer_momentum", (double)h.outer_momentum);
    h.bits = (uint8_t)session_number(s, "bits", h.bits);
    if (hyper_check(&h, why)) {
        session_fail(s, CORE_ERR_USAGE, "correct the number", "%s", why);
        return false;
    }
    spec->hyper = h;
    double rounds = session_number(s, "rounds", ROUNDS_DEFAULT),
           deadline_s = session_number(s, "deadline_s", RUN_DEADLINE_MS / 1000.0);
    if (rounds < 1 || rounds > 1e6 || deadline_s < 0 || deadline_s > 86400) {
        session_fail(s, CORE_ERR_USAGE, "1 to 1000000 rounds, a deadline of 0 to 86400 s",
                     "rounds or deadline are out of range");
        return false;
    }
    spec->rounds = (uint32_t)rounds;
    spec->deadline_ms = (uint32_t)(deadline_s * 1000);
    spec->val_every = (uint32_t)session_number(s, "val_every", VAL_EVERY_DEFAULT);
    const char *named = session_text(s, "profile");
    enum hip_profile profile = HIP_PROFILE_REPRO_FP32;
    if (named && !hip_profile_named(named, &profile)) {
        session_fail(s, CORE_ERR_USAGE, "repro-fp32 or fast-bf16", "there is no profile '%s'", named);
        return false;
    }
    spec->kernel_spec = hip_spec_hash(profile);
    const json_t *seed = json_object_get(s->request, "seed");
    spec->seed = json_is_integer(seed) ? (uint64_t)json_integer_value(seed) : 1;
    return true;
}

static void submit(struct node *n, struct session *s)
{
    struct train_state *t = s->state;
    struct prepare_job *j = calloc(1, sizeof *j);
    if (!j) {
        session_fail(s, CORE_ERR_NO_MEMORY, "free some memory", "the run cannot start");
        return;
    }
    if (!read_spec(n, s, &j->spec)) {
        free(j);
        return;
    }
    const char *data = session_text(s, "data"), *name = session_text(s, "data_name");
    if (t->parts == 0 && (!data || !hex_decode(j->spec.dataset.bytes, CORE_HASH_SIZE, data))) {
        free(j);
        session_fail(s, CORE_ERR_USAGE, "give --data FILE", "there is no data to train on");
        return;
    }
    j->job = (struct job){.name = "prepare", .priority = JOB_NORMAL, .run = prepare_run, .done = prepare_done};
    j->node = n;
    j->session = s->serial;
    j->parts = t->parts;
    j->detach = session_flag(s, "detach");
    snprintf(j->data_name, sizeof j->data_name, "%s", name ? name : "");
    for (int i = 0; i < 2; i++) {
        j->bytes[i] = t->bytes[i];
        j->size[i] = t->size[i];
        t->bytes[i] = NULL;
    }
    t->preparing = true;
    worker_submit(&n->io_worker, &j->job);
}

static bool train_stream(struct session *s, uint32_t part, const void *data, size_t size)
{
    struct train_state *t = s->state;
    struct node *n = t->node;
    if (size == 0) {
        if (part + 1 == t->parts) submit(n, s);
        return true;
    }
    if (t->size[0] + t->size[1] + size > n->memory_bytes / 4) {
        session_fail(s, CORE_ERR_TOO_LARGE, "run the peer with more --memory, or give less text",
                     "the text is larger than a quarter of the memory budget (%.0f MB)", (double)n->memory_bytes / 1e6);
        return false;
    }
    if (t->size[part] + size > t->capacity[part]) {
        size_t capacity = 2 * (t->size[part] + size);
        uint8_t *grown = realloc(t->bytes[part], capacity);
        if (!grown) {
            session_fail(s, CORE_ERR_NO_MEMORY, "give less text", "the text does not fit into memory");
            return false;
        }
        t->bytes[part] = grown;
        t->capacity[part] = capacity;
    }
    memcpy(t->bytes[part] + t->size[part], data, size);
    t->size[part] += size;
    return true;
}

void verb_train(struct node *n, struct session *s)
{
    struct train_state *t = calloc(1, sizeof *t);
    if (!t) return;
    t->node = n;
    s->state = t;
    s->hooks = (struct session_hooks){.stream = train_stream, .tick = follow, .closed = train_closed};
    // Refuse before megabytes are sent.
    struct run_spec *spec = calloc(1, sizeof *spec);
    bool good = spec && read_spec(n, s, spec);
    free(spec);
    if (!good) return;
    double parts = session_number(s, "parts", 0);
    if (parts < 0 || parts > 2) {
        session_fail(s, CORE_ERR_USAGE, "1 or 2 parts", "a dataset cannot have so many parts");
        return;
    }
    t->parts = (uint32_t)parts;
    if (t->parts)
        session_expect_stream(s, t->parts);
    else
        submit(n, s);
}
