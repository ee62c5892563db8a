// WORK_FETCH and WORK_DROP, and the table of works. A dataset goes from the members into the store and from there into
// memory; parameters go through the store into the run's own file, as every training state lies.
//
//   dataset   in the store? else transfer -> load (I/O worker) -> report
//   params    on disk? report. Round 0: make from the seed (I/O worker). Else transfer [-> transfer momentum] ->
//             assemble and save (I/O worker) -> report
#include <stdlib.h>
#include <string.h>

#include "learn/outer.h"
#include "node/daemon.h"
#include "store/object.h"

struct fetch_job {
    struct job job;
    struct node *node;  // home and store only, on the worker
    struct work_fetch work;
    struct run_spec spec;
    struct run_text text;    // out, of a dataset
    struct snapshot *state;  // out, of parameters
    bool outer_too;          // the momentum has yet to be fetched
};

static void report(struct node *n, struct fetch_job *j, enum core_err err)
{
    struct work_result result = {.kind = WORK_FETCH, .err = err, .run = j->work.run, .round = j->work.round};
    result.fetch.what = j->work.what;
    result.fetch.object = j->work.object;
    node_work_done(n, &result);
    free(j->text.bytes);
    snapshot_release(j->state);
    free(j);
}

// ---- on the worker ----

static enum core_err make_params(struct fetch_job *j)
{
    enum core_err err = snapshot_new(&j->state, j->spec.elements, j->spec.hyper.outer_momentum > 0);
    if (err) return err;
    struct snapshot *s = j->state;
    if (j->work.round == 0)
        tensors_init(&j->spec.model, j->spec.seed, s->params);
    else
        err = runs_vector_load(j->node, &j->work.object, &j->spec.model, s->params);
    if (!err && j->work.round > 0 && s->momentum)
        err = runs_vector_load(j->node, &j->work.outer, &j->spec.model, s->momentum);
    if (err) return err;
    s->round = j->work.round;
    s->params_hash = tensors_hash(&j->spec.model, s->params, NULL);
    s->outer_hash = outer_hash(&j->spec.model, j->spec.hyper.outer_momentum, s->momentum);
    if (!hash_equal(&s->params_hash, &j->work.object) || !hash_equal(&s->outer_hash, &j->work.outer))
        return CORE_ERR_VERIFY_FAILED;
    err = snapshot_save(&j->node->home, &j->work.run, s);
    if (j->work.round == 0) return err;
    // They lie in the run's file now; the store's copy has served.
    pthread_mutex_lock(&j->node->store.mutex);
    enum core_err removed = object_remove(j->node->store.store, &j->work.object);
    if (!removed && s->momentum) removed = object_remove(j->node->store.store, &j->work.outer);
    pthread_mutex_unlock(&j->node->store.mutex);
    return err ? err : removed;
}

static enum core_err load_dataset(struct fetch_job *j)
{
    struct node *n = j->node;
    pthread_mutex_lock(&n->store.mutex);
    enum core_err err = object_pin(n->store.store, &j->work.object);
    if (!err) err = store_sync(n->store.store);
    pthread_mutex_unlock(&n->store.mutex);
    return err ? err : runs_text_load(n, &j->work.object, &j->text);
}

static void fetch_run(struct job *job, struct worker *w)
{
    (void)w;
    struct fetch_job *j = (struct fetch_job *)job;
    job->err = j->work.what == FETCH_DATASET ? load_dataset(j) : make_params(j);
}

// ---- on the loop ----

static void fetch_done(struct job *job, void *context)
{
    struct node *n = context;
    struct fetch_job *j = (struct fetch_job *)job;
    struct run_data *run = runs_find(&n->runs, &j->work.run);
    if (run && j->work.what == FETCH_DATASET) {
        run->text.state = RUN_TEXT_ABSENT;
        if (!job->err && !run->text.bytes) {
            run->text = j->text;
            j->text = (struct run_text){0};
        }
        if (run->text.bytes) run->text.state = RUN_TEXT_READY;
    }
    if (run && j->state && !job->err) {
        runs_snapshot_add(n, run, j->state);
        j->state = NULL;
    }
    if (job->err != CORE_ERR_INTERRUPTED) {
        report(n, j, job->err);
    } else {
        snapshot_release(j->state);
        free(j->text.bytes);
        free(j);
    }
}

static void submit(struct node *n, struct fetch_job *j)
{
    j->job = (struct job){.name = "fetch", .priority = JOB_NORMAL, .run = fetch_run, .done = fetch_done};
    worker_submit(&n->io_worker, &j->job);
}

static void transferred(struct node *n, void *context, enum core_err err)
{
    struct fetch_job *j = context;
    if (!err && j->outer_too) {
        j->outer_too = false;
        err = transfers_start(n, &j->work.outer, NULL, transferred, j);
        if (!err) return;
    }
    if (!err) {
        submit(n, j);
        return;
    }
    struct run_data *run = runs_find(&n->runs, &j->work.run);
    if (run && j->work.what == FETCH_DATASET) run->text.state = RUN_TEXT_ABSENT;
    report(n, j, err);
}

static bool in_store(struct node *n, const struct core_hash *root)
{
    struct object_index index;
    pthread_mutex_lock(&n->store.mutex);
    bool there = object_open(n->store.store, root, &index) == CORE_ERR_OK;
    if (there) {
        there = object_missing(n->store.store, &index) == 0;
        object_index_free(&index);
    }
    pthread_mutex_unlock(&n->store.mutex);
    return there;
}

void work_fetch_start(struct node *n, struct run_data *run, const struct work_fetch *w)
{
    struct fetch_job *j = calloc(1, sizeof *j);
    if (!j) return;  // asked again later
    j->node = n;
    j->work = *w;
    j->spec = run->spec;
    if (w->what == FETCH_DATASET) {
        if (run->text.state == RUN_TEXT_READY) {
            report(n, j, CORE_ERR_OK);
            return;
        }
        if (run->text.state == RUN_TEXT_LOADING) {
            free(j);
            return;
        }
        run->text.state = RUN_TEXT_LOADING;
    }
    char name[RUN_FILE_NAME];
    bool local = w->what == FETCH_PARAMS &&
                 (runs_snapshot(run, w->round, &w->object) || runs_snapshot_file(n, run, w->round, &w->object, name));
    if (local) {
        report(n, j, CORE_ERR_OK);
        return;
    }
    if ((w->what == FETCH_PARAMS && w->round == 0) || (w->what == FETCH_DATASET && in_store(n, &w->object))) {
        submit(n, j);
        return;
    }
    j->outer_too = w->what == FETCH_PARAMS && run->spec.hyper.outer_momentum > 0;
    enum core_err err = transfers_start(n, &w->object, NULL, transferred, j);
    if (err) transferred(n, j, err);
}

void node_work_start(struct node *n, uint32_t kind, struct slice payload)
{
    // The outbox aligns payloads to 16 bytes, and each is the struct that learn/work.h names for its kind.
    const void *args = payload.data;
    const struct core_hash *id = kind == WORK_REDUCE  ? &((const struct work_reduce *)args)->key.run
                                 : kind == WORK_APPLY ? &((const struct work_apply *)args)->top.run
                                                      : args;
    struct run_data *run = runs_find(&n->runs, id);
    if (!run || !run->has_spec) {
        event_emit(&n->events, "problem.work_without_run", EV_HASH("run", id), EV_U64("kind", kind));
        return;
    }
    switch ((enum work_kind)kind) {
    case WORK_TRAIN: work_train_start(n, run, args); break;
    case WORK_REDUCE: work_reduce_start(n, args); break;
    case WORK_APPLY: work_apply_start(n, run, args); break;
    case WORK_FETCH: work_fetch_start(n, run, args); break;
    case WORK_DROP: runs_drop(n, run, ((const struct work_drop *)args)->before_round); break;
    }
}
