// WORK_REDUCE: one sum of the aggregation plan, on the sums' worker, so that it never waits for training.
#include <stdlib.h>
#include <string.h>

#include "gossip/sum.h"
#include "node/daemon.h"

struct reduce_job {
    struct job job;
    struct work_reduce work;
    struct blob *inputs[WORK_INPUTS_MAX];  // held
    struct blob *out;
    struct buffer_pool *slabs;  // where peers of this host can read it; NULL: none will
};

static enum core_err reduce(struct reduce_job *j)
{
    struct sum_input inputs[WORK_INPUTS_MAX];
    for (uint32_t i = 0; i < j->work.count; i++) {
        const struct work_input *in = &j->work.inputs[i];
        if (j->inputs[i]->size != sum_bytes(in->bits, j->work.elements)) return CORE_ERR_MALFORMED;
        inputs[i] = (struct sum_input){.data = j->inputs[i]->data, .bits = in->bits, .weight = in->weight};
    }
    j->out = blob_new(sum_bytes(j->work.bits, j->work.elements), j->slabs);
    if (!j->out) return CORE_ERR_NO_MEMORY;
    return sum_reduce(j->out->data, j->work.bits, inputs, j->work.count, j->work.elements);
}

static void reduce_run(struct job *job, struct worker *w)
{
    (void)w;
    job->err = reduce((struct reduce_job *)job);
}

static void report(struct node *n, const struct work_reduce *w, enum core_err err)
{
    struct work_result result = {
        .kind = WORK_REDUCE, .err = err, .run = w->key.run, .round = w->key.round, .attempt = w->key.attempt};
    result.reduce.key = w->key;
    node_work_done(n, &result);
}

static void reduce_done(struct job *job, void *context)
{
    struct node *n = context;
    struct reduce_job *j = (struct reduce_job *)job;
    if (!job->err) {
        job->err = blobs_put(&n->blobs, &j->work.key, j->out);
        j->out = NULL;
    }
    if (job->err != CORE_ERR_INTERRUPTED) report(n, &j->work, job->err);
    for (int i = 0; i < WORK_INPUTS_MAX; i++) blob_release(j->inputs[i]);
    blob_release(j->out);
    free(j);
}

void work_reduce_start(struct node *n, const struct work_reduce *w)
{
    if (blobs_find(&n->blobs, &w->key)) {
        report(n, w, CORE_ERR_OK);
        return;
    }
    struct reduce_job *j = calloc(1, sizeof *j);
    if (!j) {
        report(n, w, CORE_ERR_NO_MEMORY);
        return;
    }
    j->job = (struct job){.name = "reduce", .priority = JOB_URGENT, .run = reduce_run, .done = reduce_done};
    j->work = *w;
    j->slabs = n->lanes.peers > 1 ? blobs_slabs(&n->blobs) : NULL;
    bool missing = w->count > WORK_INPUTS_MAX;
    for (uint32_t i = 0; i < w->count && !missing; i++) {
        struct blob *blob = blobs_find(&n->blobs, &w->inputs[i].key);
        if (blob)
            j->inputs[i] = blob_hold(blob);
        else
            missing = true;
    }
    if (!missing) {
        worker_submit(&n->sums_worker, &j->job);
        return;
    }
    for (int i = 0; i < WORK_INPUTS_MAX; i++) blob_release(j->inputs[i]);
    free(j);
    report(n, w, CORE_ERR_NOT_FOUND);
}
