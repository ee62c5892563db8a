// What people are told: where a run stands here, and whom it waits for and why.
#include <string.h>

#include "learn/round_parts.h"

const char *round_stage_name(enum round_stage stage)
{
    static const char *const names[] = {
        [ROUND_QUEUED] = "queued",         [ROUND_CATCHING] = "catching up", [ROUND_FETCHING] = "fetching",
        [ROUND_WATCHING] = "watching",     [ROUND_TRAINING] = "training",    [ROUND_HANDING] = "handing over",
        [ROUND_COLLECTING] = "collecting", [ROUND_SUMMING] = "summing",      [ROUND_APPLYING] = "applying",
        [ROUND_AGREEING] = "agreeing",     [ROUND_PAUSED] = "paused",        [ROUND_ENDED] = "ended",
    };
    return stage <= ROUND_ENDED ? names[stage] : "unknown";
}

const char *wait_cause_text(enum wait_cause cause)
{
    switch (cause) {
    case WAIT_QUORUM: return "is not reachable, and without it there is no quorum";
    case WAIT_COMMIT: return "has not sent its commit of this round";
    case WAIT_ACK: return "has not acknowledged a shard of this peer's update";
    case WAIT_DATA: return "has not sent a contribution or a sum";
    case WAIT_VOTE: return "has not voted yet";
    case WAIT_TRAIN: return "is training";
    case WAIT_WORK: return "is summing or taking the outer step";
    case WAIT_FETCH: return "is fetching the dataset or the parameters";
    case WAIT_QUEUE: return "runs another run first";
    case WAIT_ENTRY: return "waits to be counted in by the next manifest";
    case WAIT_RESUME: return "has the run paused";
    case WAIT_DISK: return "cannot write to its disk";
    case WAIT_RECALL: return "has not said what this peer signed before it came back or lost its disk";
    case WAIT_LIAR: return "signed two different words for one place, and is left out of the run for it";
    case WAIT_BROKEN: return "was shown two decisions for one height, or one that cannot be: the run stops here";
    }
    return "waits";
}

const char *wait_remedy_text(enum wait_cause cause)
{
    switch (cause) {
    case WAIT_QUORUM: return "start it again (mycel up), or check the network between it and the others";
    case WAIT_COMMIT: return "the round goes on without it at the deadline, or at once when it is found dead";
    case WAIT_ACK: return "the shard is offered to the next peer by itself";
    case WAIT_DATA: return "it is asked for again, then the next holder is";
    case WAIT_VOTE: return "votes are repeated; check the network between it and the others";
    case WAIT_TRAIN: return "wait; --cpus gives it more cores";
    case WAIT_WORK: return "wait; mycel status says if a device failed";
    case WAIT_FETCH: return "keep a peer that holds it reachable";
    case WAIT_QUEUE: return "wait for the run before it, or cancel that (mycel runs cancel)";
    case WAIT_ENTRY: return "wait for the end of the round";
    case WAIT_RESUME: return "mycel runs resume";
    case WAIT_DISK: return "free some space; the peer goes on by itself";
    case WAIT_RECALL: return "make it reachable: until a quorum has answered, this peer cannot sign";
    case WAIT_LIAR: return "was an old copy of its home put back, or does a second peer use its key?";
    case WAIT_BROKEN: return "too many members lied: see who under liars, and start the run again without them";
    }
    return "wait";
}

enum round_stage round_stage_now(const struct round *r)
{
    const struct turn *t = r->turn;
    if (round_ended(r)) return ROUND_ENDED;
    if (round_behind(r) || (r->started && r->now_ms < r->listen_until_ms)) return ROUND_CATCHING;
    if (r->head.state == RUN_PAUSED) return ROUND_PAUSED;
    if (r->held && !t->cut_valid) return ROUND_QUEUED;
    if (t->self == UINT32_MAX) return !r->dataset_here && !r->options.observe ? ROUND_FETCHING : ROUND_WATCHING;
    const struct turn *before = r->before;
    if (!r->params_here && before->valid && before->apply == STEP_RUNNING) return ROUND_APPLYING;
    if (!r->params_here || !r->dataset_here) return ROUND_FETCHING;
    if (t->cut_valid) {
        if (t->apply == STEP_DONE) return ROUND_AGREEING;
        if (t->apply == STEP_RUNNING) return ROUND_APPLYING;
        return ROUND_SUMMING;
    }
    if (t->train != STEP_DONE && !t->unfit) return ROUND_TRAINING;
    return t->acknowledged || t->unfit ? ROUND_COLLECTING : ROUND_HANDING;
}

static uint32_t alive(const struct round *r)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->head.member_count; i++) count += !round_gone(r, &r->head.members[i].id);
    return count;
}

static uint64_t owner_slots(const struct tree_plan *plan)
{
    uint64_t slots = 0;
    for (uint32_t level = 0; level < plan->levels; level++)
        for (uint32_t group = 0; group < plan->group_count[level]; group++)
            for (uint32_t shard = 0; shard < plan->shards; shard++)
                slots |= SLOT(tree_plan_owner(plan, level, group, shard));
    return slots;
}

void round_status(const struct round *r, struct run_status *status)
{
    const struct turn *t = r->turn;
    *status = (struct run_status){
        .run = r->run,
        .spec = &r->spec,
        .head = &r->head,
        .head_hash = r->head_hash,
        .height = r->height,
        .attempt = t->attempt,
        .stage = round_stage_now(r),
        .active = !r->held && !round_ended(r),
        .member = t->self != UINT32_MAX,
        .slot = t->self,
        .quorum = round_quorum(r),
        .committed = t->cut_valid ? t->cut_slots : turn_committed(t),
        .stage_since_ms = r->stage_ms,
        .round_since_ms = r->head_ms,
        .liars = r->liar_count,
        .disputes = r->disputes,
        .broken = r->broken,
    };
    status->waiting = !round_ended(r) && alive(r) < status->quorum;
    if (t->valid) {
        status->owners = owner_slots(&t->plan);
        status->plan = &t->plan;
    }
    const uint32_t proposer = consensus_status(r->consensus).proposer;
    if (proposer < r->head.member_count) status->proposer = r->head.members[proposer].id;
}

// ---- waiting ----

struct list {
    const struct round *round;
    struct wait_entry *entries;
    uint32_t count, max;
};

static void add(struct list *list, const struct core_id *peer, enum wait_cause cause, uint64_t since_ms)
{
    for (uint32_t i = 0; i < list->count && i < list->max; i++)
        if (list->entries[i].cause == cause && id_equal(&list->entries[i].peer, peer)) return;
    const struct round *r = list->round;
    const bool self = id_equal(peer, &r->options.key->id);
    if (list->count < list->max) {
        list->entries[list->count] = (struct wait_entry){
            .peer = *peer,
            .cause = cause,
            .err = self ? r->work_error : CORE_ERR_OK,
            .state = self ? GOSSIP_ALIVE : r->options.state_of(r->options.context, peer),
            .since_ms = since_ms,
        };
    }
    list->count++;
}

static void add_slot(struct list *list, const struct turn *t, uint32_t slot, enum wait_cause cause, uint64_t since_ms)
{
    const struct run_member *m = slot == UINT32_MAX ? NULL : turn_member(t, slot);
    if (m) add(list, &m->id, cause, since_ms);
}

static void add_commits(struct list *list, const struct turn *t)
{
    const uint64_t committed = turn_committed(t);
    for (uint32_t i = 0; i < t->manifest.member_count; i++) {
        const struct run_member *m = &t->manifest.members[i];
        if (!(committed & SLOT(m->slot)) && m->slot != t->self && !round_gone(list->round, &m->id))
            add(list, &m->id, WAIT_COMMIT, t->started_ms);
    }
}

static void add_handing(struct list *list, const struct turn *t)
{
    const struct round *r = list->round;
    for (uint32_t shard = 0; shard < t->shards; shard++) {
        if (t->acked[shard] || !turn_shard_elements(r, t, shard)) continue;
        const struct item *item = turn_item(t, 0, tree_plan_group_of(&t->plan, 0, t->self), shard);
        for (uint32_t i = 0; i < item->candidates; i++) {
            if (item->candidate[i] == t->self || round_slot_gone(r, t, item->candidate[i])) continue;
            add_slot(list, t, item->candidate[i], WAIT_ACK, t->hand[shard].since_ms);
            break;
        }
    }
}

static void add_sums(struct list *list, const struct turn *t)
{
    const struct round *r = list->round;
    const uint32_t top = t->plan.levels - 1;
    for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++)  // contributions that this peer should sum
        for (uint32_t shard = 0; t->cut_slots & SLOT(slot) && shard < t->shards; shard++)
            if (t->known[slot].pull[shard].tries && !(t->known[slot].holds & 1u << shard))
                add_slot(list, t, slot, WAIT_DATA, t->known[slot].pull[shard].since_ms);
    for (uint32_t shard = 0; shard < t->shards; shard++) {
        const struct item *item = turn_item(t, top, 0, shard);
        if (item->state == ITEM_HERE || !turn_shard_elements(r, t, shard)) continue;
        const uint32_t slot = turn_acting(r, t, item);
        if (slot != t->self)
            add_slot(list, t, slot, WAIT_DATA, t->cut_ms);
        else if (item->state == ITEM_BUSY)
            add(list, &r->options.key->id, WAIT_WORK, t->cut_ms);
    }
    if (turn_results_here(r, t)) add(list, &r->options.key->id, WAIT_WORK, t->cut_ms);
}

static void add_votes(struct list *list)
{
    const struct round *r = list->round;
    const struct consensus_status status = consensus_status(r->consensus);
    if (!status.offered) return;
    for (uint32_t i = 0; i < r->head.member_count; i++)
        if (!(status.heard & SLOT(i)) && !round_gone(r, &r->head.members[i].id))
            add(list, &r->head.members[i].id, WAIT_VOTE, r->stage_ms);
}

uint32_t round_waiting(const struct round *r, struct wait_entry *entries, uint32_t max)
{
    struct list list = {.round = r, .entries = entries, .max = max};
    const struct core_id *self = &r->options.key->id;
    const struct turn *t = r->turn;
    if (round_ended(r)) return 0;
    if (r->frozen) add(&list, self, r->broken ? WAIT_BROKEN : WAIT_DISK, r->stage_ms);
    if (round_liar(r, self)) add(&list, self, WAIT_LIAR, r->stage_ms);
    if (alive(r) < round_quorum(r))
        for (uint32_t i = 0; i < r->head.member_count; i++)
            if (round_gone(r, &r->head.members[i].id))
                add(&list, &r->head.members[i].id, round_halted(r, &r->head.members[i].id) ? WAIT_DISK : WAIT_QUORUM,
                    r->stage_ms);
    for (uint32_t i = 0; i < r->head.member_count; i++)
        if (!round_recall_heard(r, i)) add(&list, &r->head.members[i].id, WAIT_RECALL, r->stage_ms);
    switch (round_stage_now(r)) {
    case ROUND_QUEUED: add(&list, self, WAIT_QUEUE, r->stage_ms); break;
    case ROUND_CATCHING:
    case ROUND_FETCHING: add(&list, self, WAIT_FETCH, r->stage_ms); break;
    case ROUND_WATCHING:
        if (!r->options.observe) add(&list, self, WAIT_ENTRY, r->stage_ms);
        break;
    case ROUND_TRAINING: add(&list, self, WAIT_TRAIN, r->stage_ms); break;
    case ROUND_HANDING: add_handing(&list, t); break;
    case ROUND_COLLECTING:
        add_commits(&list, t);
        add_votes(&list);
        break;
    case ROUND_SUMMING: add_sums(&list, t); break;
    case ROUND_APPLYING: add(&list, self, WAIT_WORK, r->stage_ms); break;
    case ROUND_AGREEING: add_votes(&list); break;
    case ROUND_PAUSED: add(&list, self, WAIT_RESUME, r->head_ms); break;
    case ROUND_ENDED: break;
    }
    return list.count < max ? list.count : max;
}

// ---- what was decided ----

bool round_decision(const struct round *r, uint64_t height, struct slice *value, struct slice *certificate)
{
    if (height == 0 || height > r->log_count) return false;
    const struct decided *d = &r->log[height - 1];
    *value = (struct slice){d->value, d->value_size};
    *certificate = (struct slice){d->certificate, d->certificate_size};
    return true;
}

bool round_manifest(const struct round *r, uint64_t round, struct manifest *manifest, uint64_t *cut_height)
{
    *cut_height = 0;
    if (round > r->head.round) return false;
    uint64_t at = 0;
    for (uint64_t height = 1; height <= r->log_count; height++) {
        const struct decided *d = &r->log[height - 1];
        if (d->kind == VALUE_MANIFEST && d->round == round) at = height;
        if (d->kind == VALUE_CUT && d->round + 1 == round) *cut_height = height;
    }
    if (at) return !manifest_decode((struct slice){r->log[at - 1].value, r->log[at - 1].value_size}, manifest);
    manifest_genesis(manifest, &r->spec, &r->run);
    return round == 0;
}
