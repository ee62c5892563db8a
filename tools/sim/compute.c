// The work of simulated peers: it takes virtual time, then toy training and the mesh's real sums.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/sum.h"
#include "tools/sim/toy.h"
#include "tools/sim/watch.h"

static uint64_t duration_us(struct node *n, uint32_t kind)
{
    struct world *w = n->world;
    switch (kind) {
    case WORK_TRAIN: return 1000 * (150 + n->slowness + world_chance(w, 60));
    case WORK_REDUCE: return 200 + world_chance(w, 2000);
    case WORK_APPLY: return 2000 + world_chance(w, 8000);
    default: return 5000 + world_chance(w, 60000);
    }
}

static void done(struct node *n, struct work_result *result)
{
    struct world *w = n->world;
    result->run = w->run;
    if (result->err == CORE_ERR_NO_SPACE) peer_disk_full(n->peer, node_ms(n));
    peer_work_done(n->peer, result, node_ms(n), &w->out);
    node_finish(n);
}

void node_work(struct node *n, uint32_t kind, struct slice work)
{
    struct world *w = n->world;
    if (kind == WORK_DROP) {
        const struct work_drop *drop = (const void *)work.data;
        disk_drop(&n->disk, drop->before_round);
        return;
    }
    if (kind == WORK_FETCH && ((const struct work_fetch *)(const void *)work.data)->what == FETCH_PARAMS)
        w->report->fetches++;
    struct world_event e = {.kind = WORLD_WORK, .node = n->index, .life = n->life, .number = kind, .size = work.size};
    e.data = malloc(work.size);
    check(e.data);
    memcpy(e.data, work.data, work.size);
    world_push(w, e, duration_us(n, kind));
}

static void train(struct node *n, const struct work_train *work)
{
    struct world *w = n->world;
    const struct stored_params *p = disk_params_get(&n->disk, work->round, &work->params_hash);
    struct work_result result = {.kind = WORK_TRAIN, .round = work->round, .attempt = work->attempt};
    if (!p || (!work->fresh && !p->inner)) {
        // Dropped meanwhile is fine; asked for without being there is not.
        if (!p && watch_round(w->watch) > work->round)
            result.err = CORE_ERR_NOT_FOUND;
        else
            world_fail(w, "restart: peer %u trains round %llu from what it does not have", n->index,
                       (unsigned long long)work->round);
        if (result.err) done(n, &result);
        return;
    }
    const uint64_t state = work->fresh ? 0 : p->state;
    int8_t *update = malloc(work->elements);
    check(update);
    uint64_t next_state;
    toy_train(work, state, update, &next_state);
    if (w->options.broken == BREAK_TRAINING && n->life > 1) update[0] ^= 1;
    // The training of a round that was left behind meanwhile would have been stopped.
    if (!n->pending[work->round % 2].here || n->pending[work->round % 2].round <= work->round) {
        n->pending[work->round % 2].here = true;
        n->pending[work->round % 2].round = work->round;
        n->pending[work->round % 2].state = next_state;
    }
    for (uint32_t shard = 0; shard < work->shards; shard++) {
        uint64_t first;
        const uint64_t count = tree_shard_range(work->elements, work->shards, shard, &first);
        const struct blob_key key = {.run = w->run,
                                     .round = work->round,
                                     .attempt = work->attempt,
                                     .kind = ROUND_CONTRIBUTION,
                                     .shard = shard,
                                     .slot = work->slot};
        disk_put(&n->disk, &key, update + first, count);
        watch_stored(w->watch, n, &key);
        result.train.shards[shard] = hash_bytes(update + first, count);
    }
    watch_trained(w->watch, n, work, update);
    result.train.update_root = hash_bytes(update, work->elements);
    result.train.state_in = toy_state_hash(state);
    result.train.state_out = toy_state_hash(next_state);
    result.train.weight = toy_weight(work->slot);
    result.train.tokens = result.train.weight * work->steps;
    result.train.loss = 1.0 + result.train.update_root.bytes[0] / 256.0;
    free(update);
    done(n, &result);
}

static void reduce(struct node *n, const struct work_reduce *work)
{
    struct world *w = n->world;
    struct work_result result = {.kind = WORK_REDUCE, .round = work->key.round, .attempt = work->key.attempt};
    result.reduce.key = work->key;
    struct sum_input inputs[WORK_INPUTS_MAX + 1];
    uint32_t count = work->count;
    for (uint32_t i = 0; i < count; i++) {
        const struct blob *b = disk_get(&n->disk, &work->inputs[i].key);
        if (!b || b->size != sum_bytes(work->inputs[i].bits, work->elements)) {
            result.err = CORE_ERR_NOT_FOUND;
            if (watch_round(w->watch) <= work->key.round) world_fail(w, "peer %u sums what it does not have", n->index);
            done(n, &result);
            return;
        }
        inputs[i] = (struct sum_input){b->data, work->inputs[i].bits, work->inputs[i].weight};
    }
    if (w->options.broken == BREAK_SUM && n->index == 1) inputs[count++] = inputs[0];
    const size_t size = sum_bytes(work->bits, work->elements);
    uint8_t *out = malloc(size + 1);
    check(out);
    result.err = sum_reduce(out, work->bits, inputs, count, work->elements);
    if (result.err && w->options.broken == BREAK_SUM)
        result.err = sum_reduce(out, work->bits, inputs, work->count, work->elements);
    if (result.err == CORE_ERR_TOO_LARGE && w->traitor)
        w->report->disputes++;
    else if (result.err)
        world_fail(w, "peer %u cannot sum: %s", n->index, core_error_text(result.err));
    else
        disk_put(&n->disk, &work->key, out, size);
    free(out);
    done(n, &result);
}

static bool gather(const struct node *n, const struct work_apply *work, int64_t *sums)
{
    for (uint32_t shard = 0; shard < work->shards; shard++) {
        uint64_t first;
        const uint64_t count = tree_shard_range(work->elements, work->shards, shard, &first);
        struct blob_key key = work->top;
        key.shard = shard;
        if (!count) continue;
        const struct blob *b = disk_get(&n->disk, &key);
        if (!b || b->size != sum_bytes(work->bits, count)) return false;
        if (sum_unpack(sums + first, b->data, work->bits, count)) return false;
    }
    return true;
}

static void apply(struct node *n, const struct work_apply *work)
{
    struct world *w = n->world;
    struct work_result result = {.kind = WORK_APPLY, .round = work->round, .attempt = work->attempt};
    const struct stored_params *p = disk_params_get(&n->disk, work->round, &work->params_hash);
    int64_t *sums = calloc(work->elements, sizeof *sums);
    uint32_t *params = malloc(work->elements * sizeof *params);
    check(sums && params);
    if (n->disk.full) {
        result.err = CORE_ERR_NO_SPACE;
    } else if (!p || !gather(n, work, sums)) {
        result.err = CORE_ERR_NOT_FOUND;
        if (watch_round(w->watch) <= work->round) world_fail(w, "peer %u applies what it does not have", n->index);
    } else {
        memcpy(params, p->params, work->elements * sizeof *params);
        memcpy(result.apply.exponents, work->exponents, work->tensors);
        toy_apply(params, work->elements, sums, work->weight, result.apply.exponents, work->tensors);
        if (w->options.broken == BREAK_APPLY && n->index == 2) params[0] ^= 1;
        const struct core_hash hash = toy_hash(params, work->elements);
        watch_applied(w->watch, n, work, sums, &hash);
        const bool pending = n->pending[work->round % 2].here && n->pending[work->round % 2].round == work->round;
        const struct stored_params *filed = disk_params_get(&n->disk, work->round + 1, &hash);
        if (!filed || !filed->inner) {
            if (work->keep_inner && !pending)
                world_fail(w, "restart: peer %u keeps an inner state that it does not have", n->index);
            disk_params_put(&n->disk, work->round + 1, &hash, params, work->elements, work->keep_inner,
                            n->pending[work->round % 2].state);
        }
        result.apply.params_hash = hash;
        result.apply.outer_hash = hash_bytes(hash.bytes, sizeof hash.bytes);
        result.apply.evaluated = work->evaluate;
        result.apply.val_loss = 1.5;
    }
    free(sums);
    free(params);
    done(n, &result);
}

static void fetch(struct node *n, const struct work_fetch *work)
{
    struct world *w = n->world;
    struct work_result result = {.kind = WORK_FETCH, .round = work->round};
    result.fetch.what = work->what;
    result.fetch.object = work->object;
    if (n->disk.full) {
        result.err = CORE_ERR_NO_SPACE;
    } else if (work->what == FETCH_DATASET) {
        n->disk.dataset = true;
    } else if (disk_params_get(&n->disk, work->round, &work->object)) {
        result.err = CORE_ERR_OK;
    } else if (work->round == 0) {
        uint32_t *params = malloc(w->spec.elements * sizeof *params);
        check(params);
        toy_first_params(w->spec.seed, params, w->spec.elements);
        disk_params_put(&n->disk, 0, &work->object, params, w->spec.elements, false, 0);
        free(params);
    } else {
        result.err = CORE_ERR_UNREACHABLE;
        for (uint32_t i = 0; i < w->options.nodes && result.err; i++) {
            const struct node *other = &w->nodes[i];
            if (!other->up || i == n->index || w->blocked[i][n->index] || w->blocked[n->index][i]) continue;
            const struct stored_params *p = disk_params_get(&other->disk, work->round, &work->object);
            if (!p) continue;
            disk_params_put(&n->disk, work->round, &work->object, p->params, w->spec.elements, false, 0);
            result.err = CORE_ERR_OK;
        }
    }
    done(n, &result);
}

void node_work_due(struct node *n, uint32_t kind, const void *work)
{
    switch (kind) {
    case WORK_TRAIN: train(n, work); break;
    case WORK_REDUCE: reduce(n, work); break;
    case WORK_APPLY: apply(n, work); break;
    case WORK_FETCH: fetch(n, work); break;
    default: check(false);
    }
}
