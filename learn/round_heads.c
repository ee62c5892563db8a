// Catching up and coming in: heads are told to each other, decisions are pulled by height, commits that a broadcast
// lost are sent again; who wants to enter, leave or command says so until it has happened.
#include <string.h>

#include "core/check.h"
#include "learn/round_parts.h"

static uint64_t told_slots(const struct turn *t)
{
    return t->lost ? t->cut_slots & ~t->lost : turn_committed(t);
}

static struct message head_now(const struct round *r)
{
    const struct turn *t = r->turn;
    struct message m = {.type = MESSAGE_RUN_HEAD};
    m.run_head = (struct message_run_head){
        .run = r->run,
        .height = r->log_count + 1,
        .round = r->head.round,
        .attempt = t->attempt + (t->lost ? 1 : 0),
        .decided = r->last,
        .commits = told_slots(t),
        .halted = r->frozen,
    };
    return m;
}

void round_send_head(struct round *r, const struct core_id *to, struct outbox *out)
{
    if (r->mute || id_equal(to, &r->options.key->id)) return;
    const struct message m = head_now(r);
    outbox_send(out, to, &m);
}

void round_send_recall(struct round *r, const struct core_id *to, bool asks, struct outbox *out)
{
    if (r->mute || id_equal(to, &r->options.key->id)) return;
    uint8_t votes[CONSENSUS_VOTES_LIMIT];
    struct writer w = writer_over(votes, sizeof votes);
    struct message m = head_now(r);
    if (!asks) consensus_votes_of(r->consensus, to, &w);
    check(!w.overflowed);
    m.run_head.asks = asks;
    m.run_head.answers = !asks;
    m.run_head.votes = (struct slice){votes, w.size};
    outbox_send(out, to, &m);
}

// To every member of a small electorate, to some in turn of a large one.
void round_send_heads(struct round *r, struct outbox *out)
{
    const uint32_t count = r->head.member_count < ROUND_HEADS ? r->head.member_count : ROUND_HEADS;
    for (uint32_t i = 0; i < count; i++)
        round_send_head(r, &r->head.members[r->head_turn++ % r->head.member_count].id, out);
}

void round_send_decision(struct round *r, const struct core_id *to, uint64_t height, struct outbox *out)
{
    if (height > r->log_count) return;
    struct message m = {.type = MESSAGE_RUN_DECISION};
    m.run_decision.run = r->run;
    m.run_decision.height = height;
    if (height == 0) {
        m.run_decision.value = (struct slice){r->spec_bytes, r->spec_size};
    } else {
        const struct decided *d = &r->log[height - 1];
        m.run_decision.value = (struct slice){d->value, d->value_size};
        m.run_decision.certificate = (struct slice){d->certificate, d->certificate_size};
    }
    r->options.counts->decisions_sent++;
    outbox_send(out, to, &m);
}

static void send_decisions(struct round *r, const struct core_id *to, uint64_t from, uint64_t limit, struct outbox *out)
{
    if (limit > ROUND_PULL_LIMIT) limit = ROUND_PULL_LIMIT;
    for (uint64_t i = 0; i < limit && from <= r->log_count && round_answers(r, to, 1); i++, from++)
        round_send_decision(r, to, from, out);
}

// Asks for what comes next here; not more often than answers can come.
void round_pull(struct round *r, const struct core_id *from, uint64_t now_ms, struct outbox *out)
{
    if (r->mute || round_ended(r) || now_ms < r->pull_ms) return;
    r->pull_ms = now_ms + r->options.resend_ms / 2;
    r->pull_until = r->height + ROUND_PULL_LIMIT;
    struct message m = {.type = MESSAGE_RUN_PULL};
    m.run_pull = (struct message_run_pull){.run = r->run, .from_height = r->height, .limit = ROUND_PULL_LIMIT};
    outbox_send(out, from, &m);
}

// ---- heads ----

static void same_height(struct round *r, const struct core_id *from, const struct message_run_head *head,
                        struct outbox *out)
{
    struct turn *t = r->turn;
    if (run_members_find(r->head.members, r->head.member_count, from) == UINT32_MAX || round_ended(r)) return;
    if (!t->cut_valid) {
        const uint64_t missing = turn_committed(t) & ~head->commits;
        for (uint32_t slot = 0; slot < RUN_MEMBERS_MAX; slot++) {
            if (!(missing & SLOT(slot)) || !round_answers(r, from, 1)) continue;
            struct message m = {.type = MESSAGE_RUN_COMMIT};
            m.run_commit.run = r->run;
            m.run_commit.commit = (struct slice){t->known[slot].bytes, t->known[slot].size};
            outbox_send(out, from, &m);
        }
    } else if (head->attempt == t->attempt + 1 && !(head->commits & ~t->cut_slots)) {
        turn_doubt(t, ~head->commits);
    }
}

void round_halted_tick(struct round *r, uint64_t now_ms, struct outbox *out)
{
    r->now_ms = now_ms;
    if ((round_ended(r) && !r->broken) || now_ms < r->next_head_ms) return;
    r->next_head_ms = now_ms + ROUND_HALTED_SAY_MS;
    for (uint32_t i = 0; i < r->head.member_count; i++) round_send_head(r, &r->head.members[i].id, out);
}

static void heard_head(struct round *r, const struct core_id *from, const struct message_run_head *head,
                       uint64_t now_ms, struct outbox *out)
{
    const uint64_t height = r->log_count + 1;
    if (head->asks && round_answers(r, from, 2)) round_recall_asked(r, from, now_ms, out);
    if (head->answers) round_recall_answered(r, from, head, now_ms, out);
    round_note_halted(r, from, head->halted, now_ms);
    round_fork_look(r, from, head, out);
    if (head->height < height) {
        send_decisions(r, from, head->height, ROUND_PULL_LIMIT, out);
        return;
    }
    if (run_members_find(r->head.members, r->head.member_count, from) != UINT32_MAX) r->listen_until_ms = 0;
    if (head->height == height) {
        same_height(r, from, head, out);
        return;
    }
    if (round_ended(r)) return;
    round_claimed(r, from, head->height, now_ms);
    round_pull(r, from, now_ms, out);
}

static enum core_err heard_decision(struct round *r, const struct core_id *from, const struct message_run_decision *m,
                                    uint64_t now_ms, struct outbox *out)
{
    if (round_ended(r) || m->height < r->height) {
        round_fork_check(r, from, m, out);
        return CORE_ERR_OK;
    }
    if (m->height > r->height) {
        round_pull(r, from, now_ms, out);
        return CORE_ERR_OK;
    }
    enum core_err err = consensus_adopt(r->consensus, m->value, m->certificate);
    if (err) return err;
    r->options.counts->decisions_adopted++;
    r->listen_until_ms = 0;
    round_take(r, now_ms, out);
    if (r->ahead > r->height) {
        r->ahead_ms = now_ms;  // it gets nearer
        if (r->height >= r->pull_until) {
            r->pull_ms = 0;
            round_pull(r, from, now_ms, out);
        }
    }
    return CORE_ERR_OK;
}

enum core_err round_heads_message(struct round *r, const struct core_id *from, const struct message *m, uint64_t now_ms,
                                  struct outbox *out)
{
    switch (m->type) {
    case MESSAGE_RUN_HEAD: heard_head(r, from, &m->run_head, now_ms, out); return CORE_ERR_OK;
    case MESSAGE_RUN_PULL: send_decisions(r, from, m->run_pull.from_height, m->run_pull.limit, out); return CORE_ERR_OK;
    case MESSAGE_RUN_DECISION: return heard_decision(r, from, &m->run_decision, now_ms, out);
    default: return CORE_ERR_UNKNOWN_TYPE;
    }
}

// ---- entering, leaving, commanding ----

void round_enter_heard(struct round *r, const struct run_enter *enter, uint64_t now_ms, struct outbox *out)
{
    (void)out;
    uint32_t at = 0;
    for (uint32_t i = 0; i < RUN_MEMBERS_MAX; i++) {
        if (r->enters[i].used && id_equal(&r->enters[i].enter.id, &enter->id)) {
            if (r->enters[i].enter.height > enter->height) return;  // an old word came late
            at = i;
            break;
        }
        if (!r->enters[i].used || (r->enters[at].used && r->enters[i].heard_ms < r->enters[at].heard_ms)) at = i;
    }
    r->enters[at].enter = *enter;
    r->enters[at].heard_ms = now_ms;
    r->enters[at].used = true;
}

// A split run's proof is with whoever saw it, also after it stopped.
void round_broken_message(struct round *r, const struct core_id *from, const struct message *m, struct outbox *out)
{
    if (m->type == MESSAGE_RUN_PULL) send_decisions(r, from, m->run_pull.from_height, m->run_pull.limit, out);
    if (m->type == MESSAGE_RUN_HEAD && m->run_head.height <= r->log_count)
        send_decisions(r, from, m->run_head.height, ROUND_PULL_LIMIT, out);
}

static void say_enter(struct round *r, bool leaving, uint64_t now_ms, struct outbox *out)
{
    struct run_enter enter = {
        .run = r->run,
        .host = r->options.host,
        .height = r->height,
        .weight = r->options.weight,
        .dialable = r->options.dialable,
        .leaving = leaving,
    };
    r->options.place_of(r->options.context, &enter.site, enter.at);
    uint8_t bytes[RUN_ENTER_LIMIT];
    struct writer w = writer_over(bytes, sizeof bytes);
    run_enter_encode(&w, &enter, r->options.key);
    check(!w.overflowed);
    round_enter_heard(r, &enter, now_ms, out);  // this peer proposes manifests too
    outbox_cast(out, TOPIC_ENTER, (struct slice){bytes, w.size});
}

void round_leave(struct round *r, uint64_t now_ms, struct outbox *out)
{
    if (r->leaving) return;
    r->leaving = true;
    r->next_enter_ms = 0;
    if (r->started) round_heads_tick(r, now_ms, out);
}

static void wish(struct round *r, uint64_t now_ms, struct outbox *out)
{
    const bool member = r->turn->self != UINT32_MAX;
    const bool enter = !member && !round_liar(r, &r->options.key->id) && !r->leaving && !r->options.observe &&
                       !r->held && r->dataset_here && !round_behind(r);
    const bool leave = member && r->leaving;
    if (!enter && !leave) return;
    if (now_ms >= r->next_enter_ms) {
        say_enter(r, leave, now_ms, out);
        r->next_enter_ms = now_ms + ROUND_ENTER_MS;
    }
}

// A broadcast can be lost: who gave the command repeats it until it is done or void.
static void repeat_command(struct round *r, uint64_t now_ms, struct outbox *out)
{
    if (!r->wanted_valid) return;
    static const enum run_state states[] = {
        [RUN_PAUSE] = RUN_PAUSED, [RUN_RESUME] = RUN_RUNNING, [RUN_CANCEL] = RUN_CANCELLED};
    if (r->head.state == states[r->wanted.kind] || r->wanted.height + RUN_COMMAND_HEIGHTS < r->height) {
        r->wanted_valid = false;
        return;
    }
    if (!r->wanted_mine || now_ms < r->next_command_ms) return;
    r->next_command_ms = now_ms + ROUND_ENTER_MS;
    uint8_t bytes[RUN_COMMAND_LIMIT];
    struct writer w = writer_over(bytes, sizeof bytes);
    run_command_encode(&w, &r->wanted, r->options.key);
    check(!w.overflowed);
    outbox_cast(out, TOPIC_RUN_COMMAND, (struct slice){bytes, w.size});
}

void round_heads_tick(struct round *r, uint64_t now_ms, struct outbox *out)
{
    if (!round_ended(r)) {
        wish(r, now_ms, out);
        repeat_command(r, now_ms, out);
    }
    if (now_ms < r->next_head_ms) return;
    // After the end it is told ever more rarely: somebody may have missed it.
    const uint64_t slower = round_ended(r) ? 10 : 1;
    r->next_head_ms = now_ms + slower * r->options.head_ms;
    round_send_heads(r, out);
}
