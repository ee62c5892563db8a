#include "learn/peer.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "learn/round.h"
#include "learn/tensors.h"

enum { PEER_RUNS = 64, PEER_FAILED = 64, PEER_PLACE_US = 1000 };

struct failed_record {
    uint32_t kind;
    struct slice payload;  // malloc'd
};

struct peer {
    struct peer_options options;
    struct core_key key;
    struct gossip *gossip;
    struct gossip_callbacks callbacks;  // the caller's
    struct round **runs;                // in the order in which they became known
    uint32_t run_count, runs_max;
    struct outbox box;  // of one step, before gossip has performed casts and this peer has heard deliveries
    bool started, halted, leaving;
    struct failed_record failed[PEER_FAILED];
    uint32_t failed_count;
    uint64_t opened_ms, now_ms;
    struct peer_counts counts;
};

bool peer_persist_lazy(uint32_t kind)
{
    return kind == RUN_PERSIST_DECISION;  // lost, it is pulled again; the votes for it are durable
}

// ---- what gossip asks, what rounds ask ----

// A description that passed run_spec_decode.
static bool spec_valid(const struct peer *p, const struct run_spec *spec)
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
    } *u = malloc(sizeof *u);
    struct core_hash run;
    bool ok = false;
    check(u);
    switch (topic) {
    case TOPIC_RUN: ok = !run_spec_decode(payload, &u->spec, &run) && spec_valid(p, &u->spec); break;
    case TOPIC_ENTER: ok = !run_enter_decode(payload, &u->enter); break;
    case TOPIC_RUN_COMMAND: ok = !run_command_decode(payload, &u->command); break;
    case TOPIC_COMMIT: ok = !commit_decode(payload, &u->commit); break;
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
static enum gossip_state state_of(void *context, const struct core_id *id)
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

static struct round *find_run(const struct peer *p, const struct core_hash *run)
{
    for (uint32_t i = 0; i < p->run_count; i++)
        if (hash_equal(round_run(p->runs[i]), run)) return p->runs[i];
    return NULL;
}

// OK when the run described by `bytes` is sound, new and has a place here; its id in `run`.
static enum core_err may_add_run(const struct peer *p, struct slice bytes, struct core_hash *run)
{
    struct run_spec *spec = malloc(sizeof *spec);
    if (!spec) return CORE_ERR_NO_MEMORY;
    enum core_err err = run_spec_decode(bytes, spec, run);
    if (!err && !spec_valid(p, spec)) err = CORE_ERR_REFUSED;
    free(spec);
    if (err) return err;
    if (find_run(p, run)) return CORE_ERR_EXISTS;
    if (p->run_count == p->runs_max) return CORE_ERR_LIMIT;
    return CORE_ERR_OK;
}

// A site's label as a number; 0 for none.
static uint64_t site_number(struct slice site)
{
    if (site.size == 0) return 0;
    const struct core_hash hash = hash_bytes(site.data, site.size);
    struct reader in = reader_over(hash.bytes, sizeof hash.bytes);
    return read_u64(&in);
}

static void place_of(void *context, uint64_t *site, int32_t at[TREE_AXES])
{
    const struct peer *p = context;
    struct coordinates_point point = {0};
    struct gossip_member self;
    *site = gossip_member_find(p->gossip, &p->key.id, &self) ? site_number(self.site) : 0;
    (void)gossip_coordinates(p->gossip, &point);
    for (uint32_t i = 0; i < TREE_AXES; i++) at[i] = point.at_us[i] / PEER_PLACE_US * PEER_PLACE_US;
}

static enum core_err add_run(struct peer *p, struct slice bytes, uint64_t now_ms, struct round **out)
{
    struct core_hash run;
    enum core_err err = may_add_run(p, bytes, &run);
    if (err) return err;
    const struct round_options options = {
        .key = &p->key,
        .host = p->options.gossip.host,
        .weight = p->options.weight,
        .dialable = p->options.gossip.addresses.size > 0,
        .observe = p->options.observe,
        .resend_ms = p->options.resend_ms,
        .head_ms = p->options.head_ms,
        .bytes_per_ms = p->options.bytes_per_ms,
        .state_of = state_of,
        .place_of = place_of,
        .context = p,
        .events = p->options.gossip.events,
        .counts = &p->counts,
    };
    err = round_open(out, &options, bytes, now_ms);
    if (!err) p->runs[p->run_count++] = *out;
    return err;
}

// ---- the queue ----

// The run that goes first of two unfinished ones: what has begun before what has not, then the older.
static bool goes_first(const struct round *a, const struct round *b)
{
    struct run_status x, y;
    round_status(a, &x);
    round_status(b, &y);
    const bool paused_x = x.head->state == RUN_PAUSED, paused_y = y.head->state == RUN_PAUSED;
    if (paused_x != paused_y) return paused_y;
    const bool begun_x = x.height > 1, begun_y = y.height > 1;
    if (begun_x != begun_y) return begun_x;
    if (x.spec->created_ms != y.spec->created_ms) return x.spec->created_ms < y.spec->created_ms;
    return hash_compare(&x.run, &y.run) < 0;
}

static void queue_runs(struct peer *p, uint64_t now_ms)
{
    struct round *first = NULL;
    for (uint32_t i = 0; i < p->run_count; i++)
        if (!round_ended(p->runs[i]) && (!first || goes_first(p->runs[i], first))) first = p->runs[i];
    for (uint32_t i = 0; i < p->run_count; i++)
        round_hold(p->runs[i], p->runs[i] != first && !round_ended(p->runs[i]), now_ms, &p->box);
}

// ---- one step: effects of the inner machines, performed among themselves until only the outside's are left ----

static void begin_run(struct peer *p, struct slice bytes, bool cast, uint64_t now_ms)
{
    struct round *r;
    if (add_run(p, bytes, now_ms, &r)) return;
    uint8_t *record = malloc(CORE_HASH_SIZE + bytes.size);
    check(record);
    memcpy(record, round_run(r)->bytes, CORE_HASH_SIZE);
    memcpy(record + CORE_HASH_SIZE, bytes.data, bytes.size);
    outbox_persist(&p->box, RUN_PERSIST_SPEC, (struct slice){record, CORE_HASH_SIZE + bytes.size});
    free(record);
    if (cast) outbox_cast(&p->box, TOPIC_RUN, bytes);
    queue_runs(p, now_ms);  // before it starts: a queued run starts held
    round_start(r, false, now_ms, &p->box);
}

static void heard(struct peer *p, const struct effect *e, uint64_t now_ms, struct outbox *out)
{
    struct round *r;
    if (e->kind_of == TOPIC_RUN) {
        if (!p->halted) begin_run(p, e->payload, false, now_ms);
    } else if (e->kind_of == TOPIC_COMMIT) {
        struct commit c;
        if (!commit_read(e->payload, &c) && (r = find_run(p, &c.run)))
            round_commit_heard(r, e->payload, now_ms, &p->box);
    } else if (e->kind_of == TOPIC_ENTER) {
        struct run_enter enter;
        if (!run_enter_decode(e->payload, &enter) && (r = find_run(p, &enter.run)))
            round_enter_heard(r, &enter, now_ms, &p->box);
    } else if (e->kind_of == TOPIC_RUN_COMMAND) {
        struct run_command command;
        if (!run_command_decode(e->payload, &command) && (r = find_run(p, &command.run)))
            round_command_heard(r, &command, now_ms, &p->box);
    } else {
        outbox_deliver(out, &e->to, e->kind_of, e->payload);
    }
}

static void forward(const struct effect *e, struct outbox *out)
{
    switch (e->kind) {
    case EFFECT_SEND: outbox_send(out, &e->to, &e->message); break;
    case EFFECT_DIAL: outbox_dial(out, &e->to, e->payload); break;
    case EFFECT_HANGUP: outbox_hangup(out, &e->to); break;
    case EFFECT_MEMBER: outbox_member(out, &e->to); break;
    case EFFECT_PERSIST: outbox_persist(out, e->kind_of, e->payload); break;
    case EFFECT_WORK: outbox_work(out, e->kind_of, e->payload.data, e->payload.size); break;
    case EFFECT_CAST:
    case EFFECT_DELIVER: break;
    }
}

static void finish(struct peer *p, uint64_t now_ms, struct outbox *out)
{
    for (size_t i = 0; i < p->box.count; i++) {  // grows while it is walked
        const struct effect *e = &p->box.effects[i];
        if (e->kind == EFFECT_CAST) {
            enum core_err err = gossip_cast(p->gossip, e->kind_of, e->payload, now_ms, &p->box);
            check(!err);
        } else if (e->kind == EFFECT_DELIVER) {
            heard(p, e, now_ms, out);
        } else {
            if (e->kind == EFFECT_MEMBER)
                for (uint32_t k = 0; k < p->run_count; k++) round_members_changed(p->runs[k], now_ms, &p->box);
            forward(e, out);
        }
        if (i + 1 == p->box.count && p->run_count > 1 && p->started) queue_runs(p, now_ms);
    }
    out->dropped += p->box.dropped;
    p->box.dropped = 0;
    outbox_reset(&p->box);
}

static struct outbox *begin(struct peer *p, uint64_t now_ms)
{
    p->now_ms = now_ms;
    check(p->box.count == 0);
    return &p->box;
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
    struct round *r = find_run(p, &run);
    if (kind == RUN_PERSIST_SPEC) {
        enum core_err err = r ? CORE_ERR_OK : add_run(p, payload, now_ms, &r);
        if (!err && !hash_equal(round_run(r), &run)) err = CORE_ERR_MALFORMED;
        return err;
    }
    return r ? round_restore(r, kind, payload, now_ms) : CORE_ERR_NOT_FOUND;
}

void peer_restore_params(struct peer *p, const struct core_hash *run, uint64_t round,
                         const struct core_hash *params_hash, bool inner)
{
    struct round *r = find_run(p, run);
    if (r) round_restore_params(r, round, params_hash, inner);
}

void peer_restore_dataset(struct peer *p, const struct core_hash *run)
{
    struct round *r = find_run(p, run);
    if (r) round_restore_dataset(r);
}

void peer_start(struct peer *p, uint64_t now_ms, struct outbox *out)
{
    check(!p->started);
    struct outbox *box = begin(p, now_ms);
    p->started = true;
    queue_runs(p, now_ms);
    for (uint32_t i = 0; i < p->run_count; i++) round_start(p->runs[i], true, now_ms, box);
    finish(p, now_ms, out);
}

// ---- events ----

void peer_link_up(struct peer *p, const struct core_id *other, uint64_t now_ms, struct outbox *out)
{
    struct outbox *box = begin(p, now_ms);
    gossip_link_up(p->gossip, other, now_ms, box);
    for (uint32_t i = 0; i < p->run_count; i++) round_link_up(p->runs[i], other, now_ms, box);
    finish(p, now_ms, out);
}

void peer_link_down(struct peer *p, const struct core_id *other, uint64_t now_ms, struct outbox *out)
{
    gossip_link_down(p->gossip, other, now_ms, begin(p, now_ms));
    finish(p, now_ms, out);
}

void peer_dial_failed(struct peer *p, const struct core_id *other, uint64_t now_ms, struct outbox *out)
{
    gossip_dial_failed(p->gossip, other, now_ms, begin(p, now_ms));
    finish(p, now_ms, out);
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
        begin_run(p, m->run_decision.value, false, now_ms);
        return find_run(p, run) || p->run_count == p->runs_max ? CORE_ERR_OK : CORE_ERR_MALFORMED;
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
    struct outbox *box = begin(p, now_ms);
    enum core_err err = CORE_ERR_OK;
    if (!gossip_message(p->gossip, from, m, now_ms, box, &err)) {
        gossip_heard(p->gossip, from, now_ms);
        const struct core_hash *run = run_of(m);
        struct round *r = run ? find_run(p, run) : NULL;
        if (r)
            err = round_message(r, from, m, now_ms, box);
        else if (run)
            err = unknown_run(p, from, run, m, now_ms);
        else
            err = CORE_ERR_UNKNOWN_TYPE;
    }
    if (err && err != CORE_ERR_UNKNOWN_TYPE) p->counts.refused++;
    finish(p, now_ms, out);
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
    struct outbox *box = begin(p, now_ms);
    if (now_ms >= gossip_next_ms(p->gossip)) gossip_tick(p->gossip, now_ms, box);
    for (uint32_t i = 0; i < p->run_count; i++)
        if (now_ms >= round_next_ms(p->runs[i])) round_tick(p->runs[i], now_ms, box);
    finish(p, now_ms, out);
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
    struct outbox *box = begin(p, now_ms);
    gossip_heard(p->gossip, from, now_ms);
    struct round *r = find_run(p, &m->run);
    *expected = (struct peer_expected){0};
    const enum peer_wanted wanted = r ? round_data(r, from, m, expected, now_ms, box) : PEER_UNWANTED;
    if (wanted == PEER_REFUSED) p->counts.refused++;
    finish(p, now_ms, out);
    return wanted;
}

void peer_stored(struct peer *p, const struct core_id *from, const struct message_data *m, uint64_t now_ms,
                 struct outbox *out)
{
    struct outbox *box = begin(p, now_ms);
    struct round *r = find_run(p, &m->run);
    if (r) round_stored(r, from, m, now_ms, box);
    finish(p, now_ms, out);
}

void peer_work_done(struct peer *p, const struct work_result *result, uint64_t now_ms, struct outbox *out)
{
    struct outbox *box = begin(p, now_ms);
    struct round *r = find_run(p, &result->run);
    if (r) round_work_done(r, result, now_ms, box);
    finish(p, now_ms, out);
}

// ---- a full disk ----

void peer_persist_failed(struct peer *p, uint32_t kind, struct slice payload, uint64_t now_ms)
{
    p->now_ms = now_ms;
    p->halted = true;
    for (uint32_t i = 0; i < p->run_count; i++) round_freeze(p->runs[i]);
    if (payload.size < CORE_HASH_SIZE + 8) return;
    if (kind == RUN_PERSIST_VOTE) {  // never sent: taken back
        struct reader in = reader_over(payload.data, payload.size);
        struct core_hash run;
        read_bytes(&in, run.bytes, sizeof run.bytes);
        const uint64_t height = read_u64(&in);
        struct round *r = find_run(p, &run);
        if (r) round_vote_lost(r, height, (struct slice){payload.data + in.at, payload.size - in.at});
        return;
    }
    check(p->failed_count < PEER_FAILED);
    uint8_t *copy = malloc(payload.size);
    check(copy);
    memcpy(copy, payload.data, payload.size);
    p->failed[p->failed_count++] = (struct failed_record){kind, {copy, payload.size}};
}

void peer_persist_ok(struct peer *p, uint64_t now_ms, struct outbox *out)
{
    if (!p->halted) return;
    struct outbox *box = begin(p, now_ms);
    p->halted = false;
    for (uint32_t i = 0; i < p->failed_count; i++) {
        outbox_persist(box, p->failed[i].kind, p->failed[i].payload);
        free((void *)(uintptr_t)p->failed[i].payload.data);
    }
    p->failed_count = 0;
    for (uint32_t i = 0; i < p->run_count; i++) round_thaw(p->runs[i], now_ms, box);
    finish(p, now_ms, out);
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
    enum core_err err = may_add_run(p, bytes, &run);
    if (err) return err;
    begin(p, now_ms);
    begin_run(p, bytes, true, now_ms);
    finish(p, now_ms, out);
    return find_run(p, &run) ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}

enum core_err peer_run_command(struct peer *p, const struct core_hash *run, enum run_command_kind kind, uint64_t now_ms,
                               struct outbox *out)
{
    struct round *r = find_run(p, run);
    if (!r) return CORE_ERR_NOT_FOUND;
    struct run_status status;
    round_status(r, &status);
    const enum run_state state = status.head->state;
    if (round_ended(r) || (kind == RUN_PAUSE && state == RUN_PAUSED) || (kind == RUN_RESUME && state == RUN_RUNNING))
        return CORE_ERR_REFUSED;
    struct outbox *box = begin(p, now_ms);
    struct run_command command = {.run = *run, .height = status.height, .kind = kind};
    uint8_t bytes[RUN_COMMAND_LIMIT];
    struct writer w = writer_over(bytes, sizeof bytes);
    run_command_encode(&w, &command, &p->key);
    outbox_cast(box, TOPIC_RUN_COMMAND, (struct slice){bytes, w.size});
    round_command_heard(r, &command, now_ms, box);
    finish(p, now_ms, out);
    return CORE_ERR_OK;
}

void peer_leave(struct peer *p, uint64_t now_ms, struct outbox *out)
{
    struct outbox *box = begin(p, now_ms);
    p->leaving = true;
    for (uint32_t i = 0; i < p->run_count; i++) round_leave(p->runs[i], now_ms, box);
    finish(p, now_ms, out);
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
    gossip_leave(p->gossip, now_ms, begin(p, now_ms));
    finish(p, now_ms, out);
}

enum core_err peer_addresses_set(struct peer *p, struct slice addresses, uint64_t now_ms, struct outbox *out)
{
    enum core_err err = gossip_addresses_set(p->gossip, addresses, now_ms, begin(p, now_ms));
    finish(p, now_ms, out);
    return err;
}

void peer_recheck(struct peer *p, uint64_t now_ms, struct outbox *out)
{
    gossip_recheck(p->gossip, now_ms, begin(p, now_ms));
    finish(p, now_ms, out);
}

enum core_err peer_cast(struct peer *p, enum cast_topic topic, struct slice payload, uint64_t now_ms,
                        struct outbox *out)
{
    enum core_err err = gossip_cast(p->gossip, topic, payload, now_ms, begin(p, now_ms));
    finish(p, now_ms, out);
    return err;
}

// ---- what it knows ----

const struct gossip *peer_gossip(const struct peer *p)
{
    return p->gossip;
}

uint32_t peer_electorate(const struct peer *p, struct run_member *members)
{
    uint32_t count = 0;
    members[count++] = (struct run_member){
        .id = p->key.id,
        .host = p->options.gossip.host,
        .weight = p->options.weight,
        .dialable = p->options.gossip.addresses.size > 0,
        .fresh = true,
    };
    place_of((void *)(uintptr_t)p, &members[0].site, members[0].at);
    for (uint32_t i = 0; i < gossip_member_count(p->gossip) && count < RUN_MEMBERS_MAX; i++) {
        struct gossip_member m;
        gossip_member_at(p->gossip, i, &m);
        if (m.self || m.state != GOSSIP_ALIVE) continue;
        members[count] =
            (struct run_member){.id = m.id, .host = m.host, .slot = count, .dialable = m.dialable, .fresh = true};
        members[count].site = site_number(m.site);
        for (uint32_t axis = 0; m.located && axis < TREE_AXES; axis++)
            members[count].at[axis] = m.coordinates.at_us[axis];
        count++;
    }
    return count;
}

uint32_t peer_run_count(const struct peer *p)
{
    return p->run_count;
}

void peer_run_at(const struct peer *p, uint32_t index, struct run_status *status)
{
    check(index < p->run_count);
    round_status(p->runs[index], status);
}

bool peer_run_find(const struct peer *p, const struct core_hash *run, struct run_status *status)
{
    const struct round *r = find_run(p, run);
    if (r) round_status(r, status);
    return r != NULL;
}

uint32_t peer_run_waiting(const struct peer *p, const struct core_hash *run, struct wait_entry *entries, uint32_t max)
{
    const struct round *r = find_run(p, run);
    return r ? round_waiting(r, entries, max) : 0;
}

bool peer_run_decision(const struct peer *p, const struct core_hash *run, uint64_t height, struct slice *value,
                       struct slice *certificate)
{
    const struct round *r = find_run(p, run);
    return r && round_decision(r, height, value, certificate);
}

bool peer_run_manifest(const struct peer *p, const struct core_hash *run, uint64_t round, struct manifest *manifest,
                       uint64_t *cut_height)
{
    const struct round *r = find_run(p, run);
    return r && round_manifest(r, round, manifest, cut_height);
}

void peer_counts_get(const struct peer *p, struct peer_counts *out)
{
    *out = p->counts;
}
