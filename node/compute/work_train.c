// WORK_TRAIN: this peer's inner steps of a round, on one of its lanes. The update's shards become blobs; the new
// inner state is pending, and is written to disk while the round goes on, so that the outer step need not wait for it.
#include <stdlib.h>
#include <string.h>

#include "gossip/tree.h"
#include "learn/compress.h"
#include "node/daemon.h"

struct train_job {
    struct lane_job lane_job;
    struct node *node;  // home only: the rest is the loop's
    struct work_train work;
    struct run_spec spec;
    struct dataset data;
    struct snapshot *from;  // held; NULL: load `from_name`
    char from_name[RUN_FILE_NAME];
    struct run_inner *inner;  // out
    int8_t *update;           // out
    struct blob *shards[TREE_SHARD_MAX];
    struct buffer_pool *slabs;  // where peers of this host can read the shards; NULL: none will
    struct compute *compute;    // while it runs
    struct work_result result;
};

static bool go_on(void *context, uint32_t step, uint32_t steps, double loss)
{
    struct train_job *j = context;
    if (step < steps) compute_pace(j->compute, &j->lane_job.job.cancelled);
    (void)loss;
    return !atomic_load(&j->lane_job.job.cancelled);
}

// The state that the steps start from.
static enum core_err begin_inner(struct train_job *j)
{
    enum core_err err = run_inner_new(&j->inner, &j->spec.model);
    if (err) return err;
    inner_state_reset(&j->inner->state);
    if (!j->work.fresh) {
        if (!j->from->inner) return CORE_ERR_NOT_FOUND;
        inner_state_copy(&j->inner->state, &j->from->inner->state);
        j->result.train.state_in = j->from->inner->hash;
    } else {
        j->result.train.state_in = inner_state_hash(&j->inner->state);
    }
    if (!j->spec.hyper.carry_state) inner_state_reset_moments(&j->inner->state);
    return CORE_ERR_OK;
}

static enum core_err cut_shards(struct train_job *j)
{
    for (uint32_t s = 0; s < j->work.shards; s++) {
        uint64_t first, count = tree_shard_range(j->work.elements, j->work.shards, s, &first);
        j->shards[s] = blob_new(count, j->slabs);
        if (!j->shards[s]) return CORE_ERR_NO_MEMORY;
        memcpy(j->shards[s]->data, j->update + first, count);
        j->result.train.shards[s] = hash_bytes(j->shards[s]->data, count);
    }
    return CORE_ERR_OK;
}

// MYCEL_FAULT=update: one element of the fourth tensor becomes wrong by one, as a cheat or a broken machine would have
// it.
static void spoil(const struct model_config *config, int8_t *update)
{
    struct tensor t = tensors_at(config, 3);
    update[t.offset] += update[t.offset] > 0 ? -1 : 1;
}

static enum core_err train(struct train_job *j, struct compute *compute)
{
    struct trainer *trainer;
    enum hip_profile profile;
    j->compute = compute;
    if (!hip_profile_of(&j->spec.kernel_spec, &profile)) return CORE_ERR_UNKNOWN_VERSION;
    enum core_err err = compute_trainer(compute, &j->spec.model, profile, &trainer);
    if (!err && !j->from)
        err = snapshot_load(&j->node->home, &j->work.run, j->from_name, &j->spec.model, !j->work.fresh, &j->from);
    if (!err) err = begin_inner(j);
    if (err) return err;
    j->update = malloc(j->work.elements);
    if (!j->update) return CORE_ERR_NO_MEMORY;
    struct train_task task = {.params = j->from->params,
                              .data = &j->data,
                              .seed = j->spec.seed,
                              .round = (uint32_t)j->work.round,
                              .slot = j->work.slot,
                              .steps = j->work.steps,
                              .first_step = j->work.first_step,
                              .total_steps = j->work.total_steps,
                              .hyper = &j->spec.hyper,
                              .exponents = j->work.exponents,
                              .hook = go_on,
                              .hook_context = j};
    struct train_result result;
    err = compute_judge(compute, trainer_train(trainer, &task, &j->inner->state, j->update, NULL, &result));
    if (err) return err;
    if (j->node->fault_update) spoil(&j->spec.model, j->update);
    j->result.train.update_root = tensors_hash_update(&j->spec.model, j->update, NULL);
    j->inner->hash = inner_state_hash(&j->inner->state);
    j->result.train.state_out = j->inner->hash;
    j->result.train.loss = result.loss;
    j->result.train.tokens = result.tokens;
    j->result.train.weight = result.weight;
    return cut_shards(j);
}

static void train_run(struct lane_job *lane_job, struct compute *compute)
{
    lane_job->job.err = train((struct train_job *)lane_job, compute);
}

// Steps on a device that failed leave nothing behind but the parameters that they started from.
static void train_undo(struct lane_job *lane_job)
{
    struct train_job *j = (struct train_job *)lane_job;
    run_inner_release(j->inner);
    j->inner = NULL;
    free(j->update);
    j->update = NULL;
    for (int s = 0; s < TREE_SHARD_MAX; s++) {
        blob_release(j->shards[s]);
        j->shards[s] = NULL;
    }
}

// ---- keeping what it made ----

struct keep_job {
    struct job job;
    const struct home *home;
    struct core_hash run;
    uint64_t round;
    struct run_inner *inner;  // held
    int8_t *update;
    uint64_t elements;
};

static void keep_run(struct job *job, struct worker *w)
{
    (void)w;
    struct keep_job *k = (struct keep_job *)job;
    job->err = run_inner_save(k->home, &k->run, k->round + 1, k->inner);
    char name[RUN_FILE_NAME];
    run_update_name(name, &k->run, k->round);
    // The update is for those who verify; without it a round is as good.
    if (k->update && !job->err)
        job->err = home_write(k->home, name, (struct slice){(const uint8_t *)k->update, k->elements});
}

static void keep_done(struct job *job, void *context)
{
    struct node *n = context;
    struct keep_job *k = (struct keep_job *)job;
    struct run_data *run = runs_find(&n->runs, &k->run);
    if (run && run->saving == job) run->saving = NULL;
    if (run && !job->err) {
        char name[RUN_FILE_NAME];
        runs_inner_saved(run, &k->inner->hash);
        run_inner_name(name, &run->id, k->round + 1, &k->inner->hash);
        catalog_add(&n->catalog, &run->id, &k->inner->hash, name, CATALOG_INNER, k->round + 1, &run->spec.model);
    }
    // The disk was slower than a round: the newer one is still to be written.
    if (run && !job->err && run->pending && !runs_inner_is_saved(run, &run->pending->hash))
        work_keep_inner(n, run, NULL);
    if (run && run->applied) work_apply_kept(n, run, job->err);
    if (job->err == CORE_ERR_NO_SPACE) node_disk_failed(n, job->err, "inner state");
    run_inner_release(k->inner);
    free(k->update);
    free(k);
}

void work_keep_inner(struct node *n, struct run_data *run, int8_t *update)
{
    struct keep_job *k = run->saving ? NULL : calloc(1, sizeof *k);
    if (!k) {
        free(update);
        return;
    }
    k->job = (struct job){.name = "keep", .priority = JOB_URGENT, .run = keep_run, .done = keep_done};
    k->home = &n->home;
    k->run = run->id;
    k->round = run->pending_round;
    k->inner = run_inner_hold(run->pending);
    k->update = update;
    k->elements = run->spec.elements;
    run->saving = &k->job;
    worker_submit(&n->io_worker, &k->job);
}

static void put_shards(struct node *n, struct train_job *j)
{
    for (uint32_t s = 0; s < j->work.shards; s++) {
        struct blob_key key = {.run = j->work.run,
                               .round = j->work.round,
                               .attempt = j->work.attempt,
                               .kind = ROUND_CONTRIBUTION,
                               .shard = s,
                               .slot = j->work.slot};
        if (blobs_put(&n->blobs, &key, j->shards[s])) j->lane_job.job.err = CORE_ERR_NO_MEMORY;
        j->shards[s] = NULL;
    }
}

static void train_done(struct job *job, void *context)
{
    struct node *n = context;
    struct train_job *j = (struct train_job *)job;
    struct run_data *run = runs_find(&n->runs, &j->work.run);
    if (run && run->training == job) {
        run->training = NULL;
        j->work.attempt = j->result.attempt = run->train_asked.attempt;
    }
    if (run) run->lane = j->lane_job.lane;
    if (job->err == CORE_ERR_NO_MEMORY && run) compute_why(&j->lane_job.lane->compute, run->trouble);
    if (!job->err) put_shards(n, j);
    if (!job->err && run) {
        char name[RUN_FILE_NAME];
        run->trouble[0] = 0;
        run_inner_release(run->pending);
        run->pending = j->inner;
        run->pending_round = j->work.round;
        j->inner = NULL;
        run->trained = true;
        run->train_asked = j->work;
        run->train_result = j->result;
        run_update_name(name, &run->id, j->work.round);
        catalog_add(&n->catalog, &run->id, &j->result.train.update_root, name, CATALOG_UPDATE, j->work.round,
                    &run->spec.model);
        work_keep_inner(n, run, j->update);
        j->update = NULL;
    }
    j->result.err = job->err;
    // Work is cancelled only when nobody wants it any more.
    if (job->err != CORE_ERR_INTERRUPTED) node_work_done(n, &j->result);
    snapshot_release(j->from);
    run_inner_release(j->inner);
    for (int s = 0; s < TREE_SHARD_MAX; s++) blob_release(j->shards[s]);
    free(j->update);
    free(j);
}

// The bits are those of an earlier question: at most their shards go by another attempt's name now.
static bool answered_before(struct node *n, struct run_data *run, const struct work_train *w)
{
    struct work_train *a = &run->train_asked;
    if (!run->trained || !run->pending || run->pending_round != w->round) return false;
    if (a->round != w->round || a->slot != w->slot || a->shards != w->shards || a->fresh != w->fresh ||
        !hash_equal(&a->params_hash, &w->params_hash))
        return false;
    for (uint32_t s = 0; s < w->shards; s++) {
        struct blob_key key = {.run = w->run,
                               .round = w->round,
                               .attempt = a->attempt,
                               .kind = ROUND_CONTRIBUTION,
                               .shard = s,
                               .slot = w->slot};
        struct blob *blob = blobs_find(&n->blobs, &key);
        if (!blob) return false;
        if (a->attempt == w->attempt) continue;
        key.attempt = w->attempt;
        if (blobs_put(&n->blobs, &key, blob_hold(blob))) return false;
    }
    a->attempt = run->train_result.attempt = w->attempt;
    return true;
}

void work_train_start(struct node *n, struct run_data *run, const struct work_train *w)
{
    if (answered_before(n, run, w)) {
        node_work_done(n, &run->train_result);
        return;
    }
    struct work_result failed = {.kind = WORK_TRAIN, .run = w->run, .round = w->round, .attempt = w->attempt};
    if (run->training) {
        // The same question is being answered; another one's answer is on its way and nobody wants it.
        if (run->train_asked.round == w->round && hash_equal(&run->train_asked.params_hash, &w->params_hash) &&
            run->train_asked.fresh == w->fresh && !atomic_load(&run->training->cancelled)) {
            run->train_asked.attempt = w->attempt;
            return;
        }
        atomic_store(&run->training->cancelled, true);
    }
    struct train_job *j = calloc(1, sizeof *j);
    failed.err = CORE_ERR_NO_MEMORY;
    if (!j || run->text.state != RUN_TEXT_READY) {
        if (j) failed.err = CORE_ERR_NOT_FOUND;
        free(j);
        node_work_done(n, &failed);
        return;
    }
    struct snapshot *from = runs_snapshot(run, w->round, &w->params_hash);
    if (from && !w->fresh && !from->inner) from = NULL;
    if (from)
        j->from = snapshot_hold(from);
    else if (!runs_snapshot_file(n, run, w->round, &w->params_hash, j->from_name)) {
        free(j);
        failed.err = CORE_ERR_NOT_FOUND;
        node_work_done(n, &failed);
        return;
    }
    j->lane_job = (struct lane_job){.job = {.name = "train"},
                                    .kind = SCHED_CLASS_TRAINING,
                                    .subject = run->id,
                                    .gflop = compute_gflop(&run->spec.model, w->steps),
                                    .memory_bytes = trainer_memory(&run->spec.model),
                                    .near = run->lane,
                                    .run = train_run,
                                    .undo = train_undo,
                                    .finished = train_done};
    j->node = n;
    j->work = *w;
    j->slabs = n->lanes.peers > 1 ? blobs_slabs(&n->blobs) : NULL;
    j->spec = run->spec;
    j->data = run->text.data;
    j->result = (struct work_result){.kind = WORK_TRAIN, .run = w->run, .round = w->round, .attempt = w->attempt};
    run->training = &j->lane_job.job;
    run->trained = false;
    run->train_asked = *w;
    lanes_submit(n, &j->lane_job);
}
