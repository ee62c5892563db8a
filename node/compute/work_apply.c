// WORK_APPLY: the outer step, on one of the lanes: sums to new parameters, their hash, the next exponents, and, where
// asked, the held-out loss. Reported when parameters and the inner state that goes with them are durable.
#include <stdlib.h>
#include <string.h>

#include "gossip/sum.h"
#include "gossip/tree.h"
#include "learn/compress.h"
#include "learn/outer.h"
#include "node/daemon.h"

// Windows of the held-out text that an evaluation reads: while the run goes on, and after its last round.
enum { EVALUATE_WINDOWS = 192, EVALUATE_WINDOWS_LAST = 1024 };

struct apply_job {
    struct lane_job lane_job;
    struct node *node;  // home only
    struct work_apply work;
    struct run_spec spec;
    struct dataset data;
    struct snapshot *from;  // held; NULL: load `from_name`
    char from_name[RUN_FILE_NAME];
    struct run_inner *inner;            // held, with keep_inner
    struct blob *sums[TREE_SHARD_MAX];  // held
    struct snapshot *to;                // out
    struct compute *compute;            // while it runs
    struct work_result result;
};

static enum core_err step(struct apply_job *j, int64_t *largest)
{
    const struct work_apply *w = &j->work;
    struct outer_step outer = {.config = &j->spec.model,
                               .rate = j->spec.hyper.outer_rate,
                               .momentum = j->spec.hyper.outer_momentum,
                               .weight = w->weight,
                               .exponents = w->exponents};
    memcpy(j->to->params, j->from->params, w->elements * sizeof(float));
    if (j->to->momentum && j->from->momentum) memcpy(j->to->momentum, j->from->momentum, w->elements * sizeof(float));
    for (uint32_t s = 0; s < w->shards; s++) {
        uint64_t first, count = tree_shard_range(w->elements, w->shards, s, &first);
        if (j->sums[s]->size != sum_bytes(w->bits, count)) return CORE_ERR_MALFORMED;
        int64_t *sums = malloc((count ? count : 1) * sizeof *sums);
        if (!sums) return CORE_ERR_NO_MEMORY;
        enum core_err err = sum_unpack(sums, j->sums[s]->data, w->bits, count);
        if (!err) err = outer_apply(&outer, sums, first, count, j->to->params, j->to->momentum, largest);
        free(sums);
        if (err) return err;
    }
    return CORE_ERR_OK;
}

static bool go_on(void *context, uint32_t step, uint32_t steps, double loss)
{
    (void)step, (void)steps, (void)loss;
    struct apply_job *j = context;
    compute_pace(j->compute, &j->lane_job.job.cancelled);
    return !atomic_load(&j->lane_job.job.cancelled);
}

static enum core_err evaluate(struct apply_job *j)
{
    struct trainer *trainer;
    enum hip_profile profile;
    if (!hip_profile_of(&j->spec.kernel_spec, &profile)) return CORE_ERR_UNKNOWN_VERSION;
    enum core_err err = compute_trainer(j->compute, &j->spec.model, profile, &trainer);
    if (err) return err;
    bool last = j->work.round + 1 >= j->spec.rounds;
    uint64_t windows = data_held_out_windows(&j->data, &j->spec.model, last ? EVALUATE_WINDOWS_LAST : EVALUATE_WINDOWS);
    err = compute_judge(
        j->compute, trainer_evaluate(trainer, j->to->params, &j->data, windows, go_on, j, &j->result.apply.val_loss));
    j->result.apply.evaluated = !err;
    return err;
}

static enum core_err apply(struct apply_job *j)
{
    const struct work_apply *w = &j->work;
    enum core_err err = CORE_ERR_OK;
    if (!j->from) err = snapshot_load(&j->node->home, &w->top.run, j->from_name, &j->spec.model, false, &j->from);
    if (!err) err = snapshot_new(&j->to, w->elements, j->spec.hyper.outer_momentum > 0);
    if (err) return err;
    int64_t largest[CONFIG_TENSORS_MAX] = {0};
    err = step(j, largest);
    if (err) return err;
    j->to->round = w->round + 1;
    j->to->attempt = w->attempt;
    j->to->params_hash = tensors_hash(&j->spec.model, j->to->params, NULL);
    j->to->outer_hash = outer_hash(&j->spec.model, j->spec.hyper.outer_momentum, j->to->momentum);
    if (j->inner) {
        j->to->has_inner = true;
        j->to->inner_hash = j->inner->hash;
        j->to->inner = run_inner_hold(j->inner);
    }
    j->result.apply.params_hash = j->to->params_hash;
    j->result.apply.outer_hash = j->to->outer_hash;
    compress_next_exponents(&j->spec.model, j->spec.hyper.bits, w->exponents, largest, w->weight,
                            j->result.apply.exponents);
    err = snapshot_save(&j->node->home, &w->top.run, j->to);
    if (!err && w->evaluate) err = evaluate(j);
    return err;
}

static void apply_run(struct lane_job *lane_job, struct compute *compute)
{
    struct apply_job *j = (struct apply_job *)lane_job;
    j->compute = compute;
    lane_job->job.err = apply(j);
}

// The device failed in the evaluation: the step is taken again with it.
static void apply_undo(struct lane_job *lane_job)
{
    struct apply_job *j = (struct apply_job *)lane_job;
    snapshot_release(j->to);
    j->to = NULL;
}

static void finish(struct node *n, struct run_data *run, struct apply_job *j)
{
    if (!j->lane_job.job.err && run) {
        runs_snapshot_add(n, run, j->to);
        j->to = NULL;
    }
    j->result.err = j->lane_job.job.err;
    if (j->lane_job.job.err != CORE_ERR_INTERRUPTED) node_work_done(n, &j->result);
    snapshot_release(j->from);
    snapshot_release(j->to);
    run_inner_release(j->inner);
    for (int s = 0; s < TREE_SHARD_MAX; s++) blob_release(j->sums[s]);
    free(j);
}

void work_apply_kept(struct node *n, struct run_data *run, enum core_err err)
{
    struct apply_job *j = (struct apply_job *)run->applied;
    if (!err && !runs_inner_is_saved(run, &j->inner->hash)) return;  // that was another one's
    run->applied = NULL;
    j->lane_job.job.err = err;
    finish(n, run, j);
}

static void apply_done(struct job *job, void *context)
{
    struct node *n = context;
    struct apply_job *j = (struct apply_job *)job;
    struct run_data *run = runs_find(&n->runs, &j->work.top.run);
    bool wait = !job->err && run && j->inner && !runs_inner_is_saved(run, &j->inner->hash);
    if (!wait || run->applied) {
        finish(n, run, j);
        return;
    }
    run->applied = job;
    if (!run->saving && run->pending == j->inner) work_keep_inner(n, run, NULL);
    if (!run->saving) {  // nobody writes it: ask again later
        run->applied = NULL;
        job->err = CORE_ERR_IO;
        finish(n, run, j);
    }
}

void work_apply_start(struct node *n, struct run_data *run, const struct work_apply *w)
{
    struct work_result failed = {.kind = WORK_APPLY, .run = w->top.run, .round = w->round, .attempt = w->attempt};
    failed.err = CORE_ERR_NO_MEMORY;
    struct apply_job *j = calloc(1, sizeof *j);
    if (!j) {
        node_work_done(n, &failed);
        return;
    }
    j->lane_job = (struct lane_job){.job = {.name = "apply"},
                                    .kind = SCHED_CLASS_AGGREGATION,
                                    .subject = run->id,
                                    .memory_bytes = trainer_memory(&run->spec.model),
                                    .near = run->lane,
                                    .run = apply_run,
                                    .undo = apply_undo,
                                    .finished = apply_done};
    j->node = n;
    j->work = *w;
    j->spec = run->spec;
    j->data = run->text.data;
    j->result = (struct work_result){.kind = WORK_APPLY, .run = w->top.run, .round = w->round, .attempt = w->attempt};
    j->work.evaluate = w->evaluate && run->text.state == RUN_TEXT_READY;
    struct blob_key key = w->top;
    failed.err = CORE_ERR_OK;
    for (key.shard = 0; key.shard < w->shards && key.shard < TREE_SHARD_MAX; key.shard++) {
        struct blob *blob = blobs_find(&n->blobs, &key);
        if (!blob)
            failed.err = CORE_ERR_NOT_FOUND;
        else
            j->sums[key.shard] = blob_hold(blob);
    }
    struct snapshot *from = runs_snapshot(run, w->round, &w->params_hash);
    if (from)
        j->from = snapshot_hold(from);
    else if (!runs_snapshot_file(n, run, w->round, &w->params_hash, j->from_name))
        failed.err = CORE_ERR_NOT_FOUND;
    if (w->keep_inner) {
        if (run->pending && run->pending_round == w->round)
            j->inner = run_inner_hold(run->pending);
        else
            failed.err = CORE_ERR_NOT_FOUND;
    }
    if (failed.err) {
        j->lane_job.job.err = failed.err;
        finish(n, run, j);
        return;
    }
    lanes_submit(n, &j->lane_job);
}
