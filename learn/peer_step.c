// One step: effects of the inner machines, performed among themselves until only the outside's are left.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "learn/peer_parts.h"

void peer_run_begin(struct peer *p, struct slice bytes, bool cast, uint64_t now_ms)
{
    struct round *r;
    if (peer_round_add(p, bytes, now_ms, &r)) return;
    uint8_t *record = malloc(CORE_HASH_SIZE + bytes.size);
    check(record);
    memcpy(record, round_run(r)->bytes, CORE_HASH_SIZE);
    memcpy(record + CORE_HASH_SIZE, bytes.data, bytes.size);
    outbox_persist(&p->box, RUN_PERSIST_SPEC, (struct slice){record, CORE_HASH_SIZE + bytes.size});
    free(record);
    if (cast) outbox_cast(&p->box, TOPIC_RUN, bytes);
    peer_runs_queue(p, now_ms);  // before it starts: a queued run starts held
    round_start(r, cast ? ROUND_MADE : ROUND_HEARD, now_ms, &p->box);
}

static void heard(struct peer *p, const struct effect *e, uint64_t now_ms, struct outbox *out)
{
    struct round *r;
    if (e->kind_of == TOPIC_RUN) {
        if (!p->halted) peer_run_begin(p, e->payload, false, now_ms);
    } else if (e->kind_of == TOPIC_COMMIT) {
        struct commit c;
        if (!commit_read(e->payload, &c) && (r = peer_round_find(p, &c.run)))
            round_commit_heard(r, e->payload, now_ms, &p->box);
    } else if (e->kind_of == TOPIC_EVIDENCE) {
        struct evidence evidence;
        if (!evidence_decode(e->payload, &evidence) && (r = peer_round_find(p, &evidence.run)))
            round_evidence_heard(r, e->payload, &p->box);
    } else if (e->kind_of == TOPIC_ENTER) {
        struct run_enter enter;
        if (!run_enter_decode(e->payload, &enter) && (r = peer_round_find(p, &enter.run)))
            round_enter_heard(r, &enter, now_ms, &p->box);
    } else if (e->kind_of == TOPIC_RUN_COMMAND) {
        struct run_command command;
        if (!run_command_decode(e->payload, &command) && (r = peer_round_find(p, &command.run)))
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

void peer_step_finish(struct peer *p, uint64_t now_ms, struct outbox *out)
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
        if (i + 1 == p->box.count && p->run_count > 1 && p->started) peer_runs_queue(p, now_ms);
    }
    out->dropped += p->box.dropped;
    p->box.dropped = 0;
    outbox_reset(&p->box);
}

struct outbox *peer_step_begin(struct peer *p, uint64_t now_ms)
{
    p->now_ms = now_ms;
    check(p->box.count == 0);
    return &p->box;
}
