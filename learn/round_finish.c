// From the result to the next manifest: the outer step, held-out loss, the proposal.
#include <string.h>

#include "core/check.h"
#include "learn/round_parts.h"

// Held-out loss is due after this round, and this peer is the one to measure it: the first live proposer of its
// manifest.
static bool evaluation_due(const struct round *r, const struct turn *t, bool *mine)
{
    const uint64_t after = t->round + 1;
    *mine = false;
    if (!r->spec.val_every || (after % r->spec.val_every && after != r->spec.rounds)) return false;
    struct core_id ids[RUN_MEMBERS_MAX];
    uint8_t order[LEDGER_MEMBERS_MAX];
    const uint32_t count = t->manifest.member_count;
    for (uint32_t i = 0; i < count; i++) ids[i] = t->manifest.members[i].id;
    ledger_proposer_order(order, &r->run, t->cut_height + 1, ids, count);
    for (uint32_t i = 0; i < count; i++) {
        if (round_gone(r, &ids[order[i]])) continue;
        *mine = id_equal(&ids[order[i]], &r->options.key->id);
        break;
    }
    return true;
}

static void ask_apply(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out)
{
    if (t->apply != STEP_NONE || !t->params_here || !turn_results_here(r, t)) return;
    const bool counted = t->cut_slots & SLOT(t->self);
    // After a restart the own update is made again first: with it comes the inner state of the next round.
    const bool will_train = t == r->turn && t->train == STEP_NONE && !t->unfit && !t->train_retry_ms && !r->held &&
                            r->dataset_here && !r->options.observe;
    if (counted && (t->train == STEP_RUNNING || will_train)) return;
    if (now_ms < t->apply_retry_ms) {
        round_wake(r, t->apply_retry_ms);
        return;
    }
    struct work_apply work = {
        .top = turn_item_key(r, t, turn_top_level(t), 0, 0),
        .params_hash = t->manifest.params,
        .round = t->round,
        .elements = r->spec.elements,
        .weight = t->weight,
        .attempt = t->attempt,
        .shards = t->shards,
        .bits = turn_item(t, turn_top_level(t), 0, 0)->bits,
        .tensors = r->spec.tensors,
        .keep_inner = counted && t->train == STEP_DONE,
    };
    (void)evaluation_due(r, t, &work.evaluate);
    memcpy(work.exponents, t->manifest.exponents, work.tensors);
    t->apply = STEP_RUNNING;
    t->apply_kept_inner = work.keep_inner;
    outbox_work(out, WORK_APPLY, &work, sizeof work);
}

static void propose_manifest(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out)
{
    const uint64_t height = r->height;
    if (!t->rechecked) {
        t->rechecked = true;
        const size_t mark = out->count;
        consensus_recheck(r->consensus, now_ms, out);
        round_settle(r, mark, now_ms, out);
        if (r->height != height) return;
    }
    bool mine;
    const bool due = evaluation_due(r, t, &mine);
    if (due && !mine && !t->evaluated && now_ms < t->applied_ms + ROUND_EVALUATE_MS) {
        round_wake(r, t->applied_ms + ROUND_EVALUATE_MS);
        return;
    }
    round_offer_manifest(r, now_ms, out);
}

void round_finish(struct round *r, struct turn *t, uint64_t now_ms, struct outbox *out)
{
    if (t == r->turn) round_dispute(r, t);
    ask_apply(r, t, now_ms, out);
    if (t != r->turn) return;
    if (t->apply == STEP_DONE)
        propose_manifest(r, t, now_ms, out);
    else
        round_lost(r, t, now_ms, out);
}
