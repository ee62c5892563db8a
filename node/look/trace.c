#include "node/look/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "atlas/trace_json.h"
#include "node/control/verbs.h"
#include "node/daemon.h"
#include "node/look/trace_log.h"

enum { ROUND_ASKED_MAX = 1 << 30 };

// ---- what this peer did ----

// Of a run.
struct trace_kept {
    struct trace_log log;
    uint64_t asked_ms;  // whom it waits for
};

void trace_free(struct trace_kept *kept)
{
    free(kept);
}

static enum atlas_phase phase_of(enum round_stage stage)
{
    switch (stage) {
    case ROUND_QUEUED: return PHASE_QUEUED;
    case ROUND_CATCHING:
    case ROUND_FETCHING: return PHASE_FETCHING;
    case ROUND_WATCHING: return PHASE_WATCHING;
    case ROUND_TRAINING: return PHASE_TRAINING;
    case ROUND_HANDING: return PHASE_SENDING;
    case ROUND_COLLECTING: return PHASE_WAITING;
    case ROUND_SUMMING: return PHASE_SUMMING;
    case ROUND_APPLYING: return PHASE_APPLYING;
    case ROUND_AGREEING: return PHASE_AGREEING;
    case ROUND_PAUSED: return PHASE_PAUSED;
    case ROUND_ENDED: break;
    }
    return PHASE_OTHER;
}

// Where a peer goes on only once others have done something.
static bool waits_in(enum atlas_phase phase)
{
    return phase == PHASE_FETCHING || phase == PHASE_SENDING || phase == PHASE_WAITING || phase == PHASE_SUMMING ||
           phase == PHASE_AGREEING;
}

static void note_waits(struct node *n, const struct core_hash *run, struct trace_log *log)
{
    struct wait_entry entries[RUN_MEMBERS_MAX];
    struct core_id others[RUN_MEMBERS_MAX];
    uint32_t other_count = 0;
    const uint32_t count = peer_run_waiting(n->peer, run, entries, RUN_MEMBERS_MAX);
    for (uint32_t i = 0; i < count; i++)
        if (!id_equal(&entries[i].peer, &n->key.id)) others[other_count++] = entries[i].peer;
    trace_log_waits(log, others, other_count);
}

void trace_watch(struct node *n, struct run_data *run, const struct run_status *status)
{
    if (!status->head) return;
    const bool ended = status->stage == ROUND_ENDED;
    if (!run->trace && !ended) run->trace = calloc(1, sizeof *run->trace);
    struct trace_kept *kept = run->trace;
    if (!kept) return;
    const uint64_t now_us = node_clock_us();
    const enum atlas_phase phase = phase_of(status->stage);
    if (ended) {
        trace_log_end(&kept->log, now_us);
        return;
    }
    if (trace_log_at(&kept->log, status->head->round, phase, now_us)) kept->asked_ms = 0;
    if (!waits_in(phase) || kept->asked_ms == n->now_ms) return;  // once a millisecond is enough
    kept->asked_ms = n->now_ms;
    note_waits(n, &run->id, &kept->log);
}

// The spans of a round, up to now; NULL where nothing is kept of it.
static const struct trace_round *look_up(struct node *n, const struct core_hash *id, uint64_t round)
{
    struct run_status status;
    struct run_data *run = runs_find(&n->runs, id);
    if (!run || !peer_run_find(n->peer, id, &status)) return NULL;
    trace_watch(n, run, &status);
    return run->trace ? trace_log_find(&run->trace->log, round) : NULL;
}

void trace_asked(struct node *n, const struct core_id *from, const struct message *m)
{
    struct node_link *link = node_link_find(n, from);
    if (!link || !node_answer_due(&link->trace, n->now_ms, TRACE_ANSWERS_A_SECOND)) return;
    uint8_t spans[ATLAS_SPANS_MAX * ATLAS_SPAN_SIZE];
    struct writer w = writer_over(spans, sizeof spans);
    const struct trace_round *r = look_up(n, &m->trace_ask.run, m->trace_ask.round);
    if (r) atlas_spans_write(&w, r->spans, r->count, (int64_t)node_clock_us());
    struct message answer = {.type = MESSAGE_TRACE_TELL};
    answer.trace_tell.nonce = m->trace_ask.nonce;
    answer.trace_tell.spans = (struct slice){spans, w.size};
    outbound_send(n, from, &answer);
}

// ---- what the others did ----

struct trace_member {
    uint64_t asked_us;
    uint32_t asked;    // so often
    uint64_t best_us;  // the shortest round trip; 0: no answer yet
    bool waiting;
};

struct trace_state {
    struct trace_state *next;  // of all that are under way
    struct node *node;
    struct session *session;
    uint64_t nonce, began_ms;
    struct core_hash run;
    uint64_t round;  // the manifest's that it starts from
    struct atlas_trace t;
    struct trace_member members[RUN_MEMBERS_MAX];  // as t.peers, until it is settled
};

static void closed(struct session *s)
{
    struct trace_state *t = s->state;
    for (struct trace_state **at = &t->node->traces; *at; at = &(*at)->next) {
        if (*at != t) continue;
        *at = t->next;
        break;
    }
    atlas_trace_free(&t->t);
    free(t);
}

static void finish(struct trace_state *t)
{
    uint32_t known = 0;
    for (uint32_t i = 0; i < t->t.peer_count; i++) known += t->t.peers[i].span_count > 0;
    if (!known) {
        session_fail(t->session, CORE_ERR_NOT_FOUND, "give one of the last rounds, with --round",
                     "nobody who answers keeps round %llu: peers keep the last %d rounds since they started",
                     (unsigned long long)t->t.round, TRACE_ROUNDS);
        return;
    }
    atlas_trace_settle(&t->t);
    json_t *json = atlas_trace_json_make(&t->t);
    if (json)
        session_end(t->session, 0, json);
    else
        session_fail(t->session, CORE_ERR_NO_MEMORY, "give the daemon more memory", "no memory for the time line");
}

static void ask(struct trace_state *t, uint32_t index)
{
    struct trace_member *member = &t->members[index];
    struct message m = {.type = MESSAGE_TRACE_ASK};
    member->waiting = true;
    member->asked++;
    member->asked_us = node_clock_us();
    m.trace_ask.nonce = t->nonce + member->asked;
    m.trace_ask.run = t->run;
    m.trace_ask.round = t->round;
    outbound_send(t->node, &t->t.peers[index].id, &m);
}

// Ends the session when there is nobody left to wait for.
static void go_on(struct trace_state *t)
{
    bool waiting = false;
    for (uint32_t i = 0; i < t->t.peer_count; i++) waiting |= t->members[i].waiting;
    if (!waiting || t->node->now_ms >= t->began_ms + TRACE_MS) finish(t);
}

static void tick(struct session *s, uint64_t now_ms)
{
    (void)now_ms;
    go_on(s->state);
}

// The answer was given in the middle of the round trip, give or take half of it.
static enum core_err take(struct trace_state *t, uint32_t index, struct slice bytes)
{
    struct trace_member *member = &t->members[index];
    struct atlas_trace_peer *p = &t->t.peers[index];
    struct atlas_span spans[ATLAS_SPANS_MAX];
    uint32_t count;
    const uint64_t now_us = node_clock_us(), took_us = now_us - member->asked_us + 1;
    member->waiting = false;
    enum core_err err = atlas_spans_read(bytes, (int64_t)(now_us - took_us / 2), spans, &count);
    if (err) return err;
    if (!member->best_us || took_us < member->best_us) {
        member->best_us = took_us;
        p->answered = true;
        p->error_us = took_us / 2;
        p->span_count = count;
        memcpy(p->spans, spans, count * sizeof *spans);
    }
    if (member->asked < TRACE_ASKS) ask(t, index);
    return CORE_ERR_OK;
}

enum core_err trace_told(struct node *n, const struct core_id *from, const struct message *m)
{
    for (struct trace_state *t = n->traces; t; t = t->next) {
        for (uint32_t i = 0; i < t->t.peer_count; i++) {
            if (!t->members[i].waiting || m->trace_tell.nonce != t->nonce + t->members[i].asked ||
                !id_equal(&t->t.peers[i].id, from))
                continue;
            enum core_err err = take(t, i, m->trace_tell.spans);
            go_on(t);
            return err;
        }
    }
    return CORE_ERR_OK;
}

// ---- the verb ----

static void note_self(struct trace_state *t, struct atlas_trace_peer *p)
{
    const struct trace_round *r = look_up(t->node, &t->run, t->round);
    p->self = p->answered = true;
    if (!r) return;
    memcpy(p->spans, r->spans, r->count * sizeof *r->spans);
    p->span_count = r->count;
}

static enum core_err note_members(struct trace_state *t, const struct manifest *manifest)
{
    struct node *n = t->node;
    t->t.peers = calloc(manifest->member_count + 1, sizeof *t->t.peers);
    if (!t->t.peers) return CORE_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < manifest->member_count; i++) {
        struct atlas_trace_peer *p = &t->t.peers[i];
        struct gossip_member member;
        char name[64];
        p->spans = calloc(ATLAS_SPANS_MAX, sizeof *p->spans);
        t->t.peer_count = i + 1;
        if (!p->spans) return CORE_ERR_NO_MEMORY;
        p->id = manifest->members[i].id;
        snprintf(p->name, sizeof p->name, "%s", member_name(n, &p->id, name));
        if (gossip_member_find(peer_gossip(n->peer), &p->id, &member))
            snprintf(p->site, sizeof p->site, "%.*s", (int)(member.site.size < 31 ? member.site.size : 31),
                     member.site.size ? (const char *)member.site.data : "");
        if (id_equal(&p->id, &n->key.id)) note_self(t, p);
    }
    return CORE_ERR_OK;
}

static void ask_all(struct trace_state *t)
{
    for (uint32_t i = 0; i < t->t.peer_count; i++) {
        const struct atlas_trace_peer *p = &t->t.peers[i];
        if (!p->self && gossip_state_of(peer_gossip(t->node->peer), &p->id) <= GOSSIP_SUSPECT) ask(t, i);
    }
}

static int64_t length_us(const struct trace_round *r)
{
    return r && r->count ? r->spans[r->count - 1].end_us - r->spans[0].begin_us : -1;
}

// As people count: round R is closed by manifest R. The last one that is closed, unless the one that goes on takes
// longer already.
static uint64_t choose_round(struct node *n, const struct run_data *run, const struct run_status *status)
{
    const uint64_t head = status->head->round;
    const int64_t before_us = head ? length_us(look_up(n, &run->id, head - 1)) : -1;
    const int64_t now_us = length_us(look_up(n, &run->id, head));
    return head == 0 || (status->stage != ROUND_ENDED && now_us > before_us && before_us >= 0) ? head + 1 : head;
}

// The run that the request names; of none, the newest that goes on, else the newest.
static bool choose_run(struct node *n, struct session *s, struct run_data **run, struct run_status *status)
{
    const char *text = session_text(s, "run");
    struct run_status one;
    bool goes_on = false;
    *run = NULL;
    for (uint32_t i = peer_run_count(n->peer); i-- > 0 && !goes_on && !(text && *text);) {
        peer_run_at(n->peer, i, &one);
        struct run_data *data = runs_find(&n->runs, &one.run);
        if (!data || !data->has_spec) continue;
        goes_on = one.stage != ROUND_ENDED;
        if (*run && !goes_on) continue;
        *run = data;
        *status = one;
    }
    return *run || run_resolve(n, s, run, status);
}

void verb_trace(struct node *n, struct session *s)
{
    struct run_data *run;
    struct run_status status;
    struct manifest manifest;
    uint64_t cut_height;
    if (!choose_run(n, s, &run, &status)) return;
    const double asked = session_number(s, "round", -1);
    const uint64_t round = asked < 0 || asked > ROUND_ASKED_MAX ? 0 : (uint64_t)asked;
    const uint64_t wanted = asked < 0 && status.head ? choose_round(n, run, &status) : round;
    if (wanted == 0 || !status.head || wanted > status.head->round + 1 ||
        !peer_run_manifest(n->peer, &run->id, wanted - 1, &manifest, &cut_height)) {
        session_fail(s, CORE_ERR_NOT_FOUND, "rounds count from 1; `mycel runs` shows the last one that is closed",
                     "round %.0f isn't here", asked < 0 ? 0 : asked);
        return;
    }
    struct trace_state *t = calloc(1, sizeof *t);
    if (t) {
        *t = (struct trace_state){.node = n, .session = s, .began_ms = n->now_ms, .next = n->traces};
        random_bytes(&t->nonce, sizeof t->nonce);
        t->run = run->id;
        t->round = wanted - 1;
        t->t.round = wanted;
        t->t.open = wanted > status.head->round && status.stage != ROUND_ENDED;
        t->t.taken_s = node_wall_s();
        hex_encode(t->t.run, run->id.bytes, CORE_HASH_SIZE);
        snprintf(t->t.mesh, sizeof t->t.mesh, "%s", n->charter.name);
        n->traces = t;
        s->state = t;
        s->hooks = (struct session_hooks){.tick = tick, .closed = closed};
    }
    if (!t || note_members(t, &manifest)) {
        session_fail(s, CORE_ERR_NO_MEMORY, "give the daemon more memory", "no memory for the time line");
        return;
    }
    ask_all(t);
    go_on(t);
}
