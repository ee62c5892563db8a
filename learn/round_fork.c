// Two decisions for one height. Consensus rules that out as long as fewer members lie than its quorum can bear
// (docs/aggregation.md); where it happens all the same, everyone who sees both certificates stops: there are two runs
// now, and a person must choose.
#include <string.h>

#include "learn/round_parts.h"

void round_broken(struct round *r, const char *why)
{
    if (r->broken) return;
    r->broken = true;
    round_freeze(r);
    event_emit(&r->options.events, "round.broken", EV_HASH("run", &r->run), EV_U64("height", r->height),
               EV_TEXT("why", why));
}

// A member at the same height names another last decision: its decisions will show, or it lies.
void round_fork_look(struct round *r, const struct core_id *from, const struct message_run_head *head,
                     struct outbox *out)
{
    if (head->height != r->log_count + 1 || hash_equal(&head->decided, &r->last) || r->log_count == 0) return;
    if (run_members_find(r->head.members, r->head.member_count, from) == UINT32_MAX || !round_answers(r, from, 1))
        return;
    struct message m = {.type = MESSAGE_RUN_PULL};
    m.run_pull = (struct message_run_pull){.run = r->run, .from_height = 1, .limit = ROUND_PULL_LIMIT};
    if (r->log_count > ROUND_PULL_LIMIT) m.run_pull.from_height = r->log_count - ROUND_PULL_LIMIT + 1;
    outbox_send(out, from, &m);
}

// Who decided at `height`.
static void electorate(const struct round *r, uint64_t height, struct manifest *m)
{
    manifest_genesis(m, &r->spec, &r->run);
    for (uint64_t h = height; h-- > 1;) {
        const struct decided *d = &r->log[h - 1];
        if (d->kind != VALUE_MANIFEST) continue;
        if (manifest_decode((struct slice){d->value, d->value_size}, m)) continue;
        return;
    }
}

// Members that signed both decisions in one consensus round.
static void name_liars(struct round *r, const struct core_id *ids, uint64_t height, const struct core_hash *values,
                       const struct slice *certificates)
{
    struct ledger_certificate c[2];
    for (int i = 0; i < 2; i++)
        if (ledger_certificate_read(certificates[i], &c[i])) return;
    uint32_t at[2] = {0, 0};
    for (uint32_t member = 0; member < LEDGER_MEMBERS_MAX && c[0].round == c[1].round; member++) {
        struct ledger_vote v[2];
        for (int i = 0; i < 2; i++) {
            if (!(c[i].signers >> member & 1)) continue;
            v[i] = (struct ledger_vote){.run = r->run,
                                        .height = height,
                                        .round = c[i].round,
                                        .step = LEDGER_PRECOMMIT,
                                        .valid_round = -1,
                                        .value = values[i],
                                        .voter = ids[member]};
            memcpy(v[i].signature.bytes, c[i].signatures + (size_t)at[i]++ * CORE_SIG_SIZE, CORE_SIG_SIZE);
        }
        if (c[0].signers & c[1].signers & SLOT(member)) round_votes_conflict(r, &v[0], &v[1]);
    }
}

void round_fork_check(struct round *r, const struct core_id *from, const struct message_run_decision *m,
                      struct outbox *out)
{
    if (m->height == 0 || m->height > r->log_count) return;
    const struct decided *d = &r->log[m->height - 1];
    if (d->value_size == m->value.size && memcmp(d->value, m->value.data, m->value.size) == 0) return;
    if (!round_answers(r, from, ROUND_CHECKS)) return;
    struct manifest before;
    electorate(r, m->height, &before);
    struct core_id ids[RUN_MEMBERS_MAX];
    for (uint32_t i = 0; i < before.member_count; i++) ids[i] = before.members[i].id;
    const struct core_hash hash = hash_bytes(m->value.data, m->value.size);
    if (!ledger_certificate_valid(m->certificate, LEDGER_PRECOMMIT, &r->run, m->height, &hash, ids, before.member_count,
                                  ledger_quorum(r->spec.fault_model, before.member_count)))
        return;
    const struct core_hash values[2] = {hash_bytes(d->value, d->value_size), hash};
    const struct slice certificates[2] = {{d->certificate, d->certificate_size}, m->certificate};
    name_liars(r, ids, m->height, values, certificates);
    round_evidence_tell(r, out);
    round_broken(r, "two decisions for one height");
}
