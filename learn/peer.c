#include "learn/peer.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "learn/peer_parts.h"
#include "learn/tensors.h"

bool peer_persist_lazy(uint32_t kind)
{
    // A lost decision is pulled again: the votes for it are durable. Evidence is with everyone.
    return kind == RUN_PERSIST_DECISION || kind == RUN_PERSIST_EVIDENCE;
}

// ---- what gossip asks, what rounds ask ----

// A description that passed run_spec_decode.
bool peer_spec_valid(const struct peer *p, const struct run_spec *spec)
{
    if (p->options.spec_valid) return p->options.spec_valid(p->options.context, spec);
    return spec->elements == tensors_elements(&spec->model) && spec->tensors == tensors_count(&spec->model);
}

static bool payload_valid(void *context, const struct core_id *origin, enum cast_topic topic, struct slice payload)
{
    struct peer *p = context;
    union {
        struct run_spec spec;
        struct run_enter enter;
        struct run_command command;
        struct commit commit;
        struct evidence evidence;
    } *u = malloc(sizeof *u);
    struct core_hash run;
    bool ok = false;
    check(u);
    switch (topic) {
    case TOPIC_RUN: ok = !run_spec_decode(payload, &u->spec, &run) && peer_spec_valid(p, &u->spec); break;
    case TOPIC_ENTER: ok = !run_enter_decode(payload, &u->enter); break;
    case TOPIC_RUN_COMMAND: ok = !run_command_decode(payload, &u->command); break;
    case TOPIC_COMMIT: ok = !commit_decode(payload, &u->commit); break;
    case TOPIC_EVIDENCE: ok = !evidence_decode(payload, &u->evidence); break;
    default:
        ok = !p->callbacks.payload_valid || p->callbacks.payload_valid(p->callbacks.context, origin, topic, payload);
    }
    free(u);
    return ok;
}

static bool certificate_valid(void *context, const struct core_id *id, struct slice name, struct slice certificate)
{
    struct peer *p = context;
    return !p->callbacks.certificate_valid ||
           p->callbacks.certificate_valid(p->callbacks.context, id, name, certificate);
}

// A stranger counts as suspect at first: gossip may not have heard of it yet.
enum gossip_state peer_state_of(void *context, const struct core_id *id)
{
    struct peer *p = context;
    struct gossip_member m;
    if (gossip_member_find(p->gossip, id, &m)) return m.state;
    return p->now_ms < p->opened_ms + 10000 ? GOSSIP_SUSPECT : GOSSIP_DEAD;
}

enum core_err peer_open(struct peer **out, const struct peer_options *options, uint64_t now_ms)
{
    struct peer *p = calloc(1, sizeof *p);
    if (!p) return CORE_ERR_NO_MEMORY;
    p->options = *options;
    p->key = options->gossip.key;
    p->callbacks = options->gossip.callbacks;
    p->opened_ms = p->now_ms = now_ms;
    p->runs_max = options->runs_max ? options->runs_max : PEER_RUNS;
    if (!p->options.resend_ms) p->options.resend_ms = 500;
    if (!p->options.head_ms) p->options.head_ms = 1000;
    if (!p->options.bytes_per_ms) p->options.bytes_per_ms = 10000;
    struct gossip_options gossip = options->gossip;
    gossip.callbacks = (struct gossip_callbacks){certificate_valid, payload_valid, p};
    enum core_err err = gossip_open(&p->gossip, &gossip, now_ms);
    if (!err) err = outbox_open(&p->box, PEER_OUTBOX_EFFECTS, PEER_OUTBOX_BYTES);
    p->runs = calloc(p->runs_max, sizeof *p->runs);
    if (!err && !p->runs) err = CORE_ERR_NO_MEMORY;
    if (err) {
        peer_close(p);
        return err;
    }
    *out = p;
    return CORE_ERR_OK;
}

void peer_close(struct peer *p)
{
    if (!p) return;
    for (uint32_t i = 0; i < p->run_count; i++) round_close(p->runs[i]);
    for (uint32_t i = 0; i < p->failed_count; i++) free((void *)(uintptr_t)p->failed[i].payload.data);
    free(p->runs);
    if (p->gossip) gossip_close(p->gossip);
    outbox_close(&p->box);
    free(p);
}

// ---- coming back ----

enum core_err peer_restore_member(struct peer *p, struct slice entry, uint64_t now_ms)
{
    return gossip_entry_load(p->gossip, entry, now_ms);
}

enum core_err peer_restore(struct peer *p, uint32_t kind, struct slice payload, uint64_t now_ms)
{
    check(!p->started);
    if (payload.size < CORE_HASH_SIZE) return CORE_ERR_TRUNCATED;
    struct core_hash run;
    memcpy(run.bytes, payload.data, CORE_HASH_SIZE);
    payload = (struct slice){payload.data + CORE_HASH_SIZE, payload.size - CORE_HASH_SIZE};
    struct round *r = peer_round_find(p, &run);
    if (kind == RUN_PERSIST_SPEC) {
        enum core_err err = r ? CORE_ERR_OK : peer_round_add(p, payload, now_ms, &r);
        if (!err && !hash_equal(round_run(r), &run)) err = CORE_ERR_MALFORMED;
        return err;
    }
    return r ? round_restore(r, kind, payload, now_ms) : CORE_ERR_NOT_FOUND;
}

void peer_restore_params(struct peer *p, const struct core_hash *run, uint64_t round,
                         const struct core_hash *params_hash, bool inner)
{
    struct round *r = peer_round_find(p, run);
    if (r) round_restore_params(r, round, params_hash, inner);
}

void peer_restore_dataset(struct peer *p, const struct core_hash *run)
{
    struct round *r = peer_round_find(p, run);
    if (r) round_restore_dataset(r);
}

void peer_start(struct peer *p, uint64_t now_ms, struct outbox *out)
{
    check(!p->started);
    struct outbox *box = peer_step_begin(p, now_ms);
    p->started = true;
    peer_runs_queue(p, now_ms);
    for (uint32_t i = 0; i < p->run_count; i++) round_start(p->runs[i], ROUND_RESTORED, now_ms, box);
    peer_step_finish(p, now_ms, out);
}

// ---- events ----

void peer_link_up(struct peer *p, const struct core_id *other, uint64_t now_ms, struct outbox *out)
{
    struct outbox *box = peer_step_begin(p, now_ms);
    gossip_link_up(p->gossip, other, now_ms, box);
    for (uint32_t i = 0; i < p->run_count; i++) round_link_up(p->runs[i], other, now_ms, box);
    peer_step_finish(p, now_ms, out);
}

void peer_link_down(struct peer *p, const struct core_id *other, uint64_t now_ms, struct outbox *out)
{
    gossip_link_down(p->gossip, other, now_ms, peer_step_begin(p, now_ms));
    peer_step_finish(p, now_ms, out);
}

void peer_dial_failed(struct peer *p, const struct core_id *other, uint64_t now_ms, struct outbox *out)
{
    gossip_dial_failed(p->gossip, other, now_ms, peer_step_begin(p, now_ms));
    peer_step_finish(p, now_ms, out);
}

static const struct core_hash *run_of(const struct message *m)
{
    switch (m->type) {
    case MESSAGE_DATA_PULL: return &m->data_pull.run;
    case MESSAGE_DATA_ACK: return &m->data_ack.run;
    case MESSAGE_RUN_HEAD: return &m->run_head.run;
    case MESSAGE_RUN_VOTE: return &m->run_vote.run;
    case MESSAGE_RUN_PROPOSAL: return &m->run_proposal.run;
    case MESSAGE_RUN_PULL: return &m->run_pull.run;
    case MESSAGE_RUN_DECISION: return &m->run_decision.run;
    case MESSAGE_RUN_COMMIT: return &m->run_commit.run;
    default: return NULL;
    }
}

// A run that isn't known here: its description is its decision 0.
static enum core_err unknown_run(struct peer *p, const struct core_id *from, const struct core_hash *run,
                                 const struct message *m, uint64_t now_ms)
{
    if (m->type == MESSAGE_RUN_DECISION && m->run_decision.height == 0) {
        if (p->halted) return CORE_ERR_OK;
        peer_run_begin(p, m->run_decision.value, false, now_ms);
        return peer_round_find(p, run) || p->run_count == p->runs_max ? CORE_ERR_OK : CORE_ERR_MALFORMED;
    }
    if (m->type != MESSAGE_RUN_HEAD || p->run_count == p->runs_max) return CORE_ERR_OK;
    struct message pull = {.type = MESSAGE_RUN_PULL};
    pull.run_pull = (struct message_run_pull){.run = *run, .limit = 1};
    outbox_send(&p->box, from, &pull);
    return CORE_ERR_OK;
}

enum core_err peer_message(struct peer *p, const struct core_id *from, const struct message *m, uint64_t now_ms,
                           struct outbox *out)
{
    struct outbox *box = peer_step_begin(p, now_ms);
    enum core_err err = CORE_ERR_OK;
    if (!gossip_message(p->gossip, from, m, now_ms, box, &err)) {
        gossip_heard(p->gossip, from, now_ms);
        const struct core_hash *run = run_of(m);
        struct round *r = run ? peer_round_find(p, run) : NULL;
        if (r)
            err = round_message(r, from, m, now_ms, box);
        else if (run)
            err = unknown_run(p, from, run, m, now_ms);
        else
            err = CORE_ERR_UNKNOWN_TYPE;
    }
    if (err && err != CORE_ERR_UNKNOWN_TYPE) p->counts.refused++;
    peer_step_finish(p, now_ms, out);
    return err;
}

void peer_heard(struct peer *p, const struct core_id *other, uint64_t now_ms)
{
    gossip_heard(p->gossip, other, now_ms);
}

void peer_measured(struct peer *p, const struct core_id *other, uint64_t rtt_us, uint64_t now_ms)
{
    gossip_measured(p->gossip, other, rtt_us, now_ms);
}

void peer_tick(struct peer *p, uint64_t now_ms, struct outbox *out)
{
    struct outbox *box = peer_step_begin(p, now_ms);
    if (now_ms >= gossip_next_ms(p->gossip)) gossip_tick(p->gossip, now_ms, box);
    for (uint32_t i = 0; i < p->run_count; i++)
        if (now_ms >= round_next_ms(p->runs[i])) round_tick(p->runs[i], now_ms, box);
    peer_step_finish(p, now_ms, out);
}

uint64_t peer_next_ms(const struct peer *p)
{
    uint64_t next = gossip_next_ms(p->gossip);
    for (uint32_t i = 0; i < p->run_count; i++) {
        const uint64_t at = round_next_ms(p->runs[i]);
        if (at < next) next = at;
    }
    return next;
}

enum peer_wanted peer_data(struct peer *p, const struct core_id *from, const struct message_data *m,
                           struct peer_expected *expected, uint64_t now_ms, struct outbox *out)
{
    struct outbox *box = peer_step_begin(p, now_ms);
    gossip_heard(p->gossip, from, now_ms);
    struct round *r = peer_round_find(p, &m->run);
    *expected = (struct peer_expected){0};
    const enum peer_wanted wanted = r ? round_data(r, from, m, expected, now_ms, box) : PEER_UNWANTED;
    if (wanted == PEER_REFUSED) p->counts.refused++;
    peer_step_finish(p, now_ms, out);
    return wanted;
}

void peer_stored(struct peer *p, const struct core_id *from, const struct message_data *m, uint64_t now_ms,
                 struct outbox *out)
{
    struct outbox *box = peer_step_begin(p, now_ms);
    struct round *r = peer_round_find(p, &m->run);
    if (r) round_stored(r, from, m, now_ms, box);
    peer_step_finish(p, now_ms, out);
}

void peer_work_done(struct peer *p, const struct work_result *result, uint64_t now_ms, struct outbox *out)
{
    struct outbox *box = peer_step_begin(p, now_ms);
    struct round *r = peer_round_find(p, &result->run);
    if (r) round_work_done(r, result, now_ms, box);
    peer_step_finish(p, now_ms, out);
}

// ---- a full disk ----

void peer_disk_full(struct peer *p, uint64_t now_ms)
{
    p->now_ms = now_ms;
    p->halted = true;
    for (uint32_t i = 0; i < p->run_count; i++) round_freeze(p->runs[i]);
}

void peer_persist_failed(struct peer *p, uint32_t kind, struct slice payload, uint64_t now_ms)
{
    peer_disk_full(p, now_ms);
    if (payload.size < CORE_HASH_SIZE + 8) return;
    if (kind == RUN_PERSIST_VOTE) {  // never sent: taken back
        struct reader in = reader_over(payload.data, payload.size);
        struct core_hash run;
        read_bytes(&in, run.bytes, sizeof run.bytes);
        const uint64_t height = read_u64(&in);
        struct round *r = peer_round_find(p, &run);
        if (r) round_vote_lost(r, height, (struct slice){payload.data + in.at, payload.size - in.at});
        return;
    }
    if (kind == RUN_PERSIST_EVIDENCE) return;  // the others keep it
    check(p->failed_count < PEER_FAILED);
    uint8_t *copy = malloc(payload.size);
    check(copy);
    memcpy(copy, payload.data, payload.size);
    p->failed[p->failed_count++] = (struct failed_record){kind, {copy, payload.size}};
}

void peer_persist_ok(struct peer *p, uint64_t now_ms, struct outbox *out)
{
    if (!p->halted) return;
    struct outbox *box = peer_step_begin(p, now_ms);
    p->halted = false;
    for (uint32_t i = 0; i < p->failed_count; i++) {
        outbox_persist(box, p->failed[i].kind, p->failed[i].payload);
        free((void *)(uintptr_t)p->failed[i].payload.data);
    }
    p->failed_count = 0;
    for (uint32_t i = 0; i < p->run_count; i++) round_thaw(p->runs[i], now_ms, box);
    peer_step_finish(p, now_ms, out);
}

bool peer_persist_halted(const struct peer *p)
{
    return p->halted;
}

// ---- requests ----

enum core_err peer_run_start(struct peer *p, struct slice bytes, uint64_t now_ms, struct outbox *out)
{
    if (p->halted) return CORE_ERR_NO_SPACE;
    struct core_hash run;
    enum core_err err = peer_run_may_add(p, bytes, &run);
    if (err) return err;
    peer_step_begin(p, now_ms);
    peer_run_begin(p, bytes, true, now_ms);
    peer_step_finish(p, now_ms, out);
    return peer_round_find(p, &run) ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}

enum core_err peer_run_command(struct peer *p, const struct core_hash *run, enum run_command_kind kind, uint64_t now_ms,
                               struct outbox *out)
{
    struct round *r = peer_round_find(p, run);
    if (!r) return CORE_ERR_NOT_FOUND;
    struct run_status status;
    round_status(r, &status);
    const enum run_state state = status.head->state;
    if (round_ended(r) || (kind == RUN_PAUSE && state == RUN_PAUSED) || (kind == RUN_RESUME && state == RUN_RUNNING))
        return CORE_ERR_REFUSED;
    struct outbox *box = peer_step_begin(p, now_ms);
    struct run_command command = {.run = *run, .height = status.height, .kind = kind};
    uint8_t bytes[RUN_COMMAND_LIMIT];
    struct writer w = writer_over(bytes, sizeof bytes);
    run_command_encode(&w, &command, &p->key);
    outbox_cast(box, TOPIC_RUN_COMMAND, (struct slice){bytes, w.size});
    round_command_heard(r, &command, now_ms, box);
    peer_step_finish(p, now_ms, out);
    return CORE_ERR_OK;
}

void peer_leave(struct peer *p, uint64_t now_ms, struct outbox *out)
{
    struct outbox *box = peer_step_begin(p, now_ms);
    p->leaving = true;
    for (uint32_t i = 0; i < p->run_count; i++) round_leave(p->runs[i], now_ms, box);
    peer_step_finish(p, now_ms, out);
}

bool peer_left(const struct peer *p)
{
    for (uint32_t i = 0; i < p->run_count; i++) {
        struct run_status status;
        round_status(p->runs[i], &status);
        if (status.member && !round_ended(p->runs[i]) && status.head->member_count > 1) return false;
    }
    return true;
}

void peer_goodbye(struct peer *p, uint64_t now_ms, struct outbox *out)
{
    gossip_leave(p->gossip, now_ms, peer_step_begin(p, now_ms));
    peer_step_finish(p, now_ms, out);
}

enum core_err peer_addresses_set(struct peer *p, struct slice addresses, uint64_t now_ms, struct outbox *out)
{
    enum core_err err = gossip_addresses_set(p->gossip, addresses, now_ms, peer_step_begin(p, now_ms));
    peer_step_finish(p, now_ms, out);
    return err;
}

void peer_recheck(struct peer *p, uint64_t now_ms, struct outbox *out)
{
    gossip_recheck(p->gossip, now_ms, peer_step_begin(p, now_ms));
    peer_step_finish(p, now_ms, out);
}

enum core_err peer_cast(struct peer *p, enum cast_topic topic, struct slice payload, uint64_t now_ms,
                        struct outbox *out)
{
    enum core_err err = gossip_cast(p->gossip, topic, payload, now_ms, peer_step_begin(p, now_ms));
    peer_step_finish(p, now_ms, out);
    return err;
}
