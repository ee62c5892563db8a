// Who lied: two signed words for one place are proof for everyone. The pair is kept in the journal, cast to all, named
// in the status, and its member is left out by the next manifest of whoever holds the proof (round_values.c), for the
// rest of the run.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "learn/round_parts.h"

bool round_liar(const struct round *r, const struct core_id *id)
{
    for (uint32_t i = 0; i < r->liar_count; i++)
        if (id_equal(&r->liars[i].id, id)) return true;
    return false;
}

// One proof a member, of those that are or were in the electorate: so many fit always.
static bool take(struct round *r, struct slice bytes)
{
    struct evidence e;
    if (r->liar_count == ROUND_LIARS || evidence_decode(bytes, &e) || !hash_equal(&e.run, &r->run)) return false;
    const bool member = run_members_find(r->head.members, r->head.member_count, &e.liar) != UINT32_MAX ||
                        run_members_find(r->spec.members, r->spec.member_count, &e.liar) != UINT32_MAX;
    if (!member || round_liar(r, &e.liar)) return false;
    uint8_t *copy = malloc(bytes.size);
    if (!copy) return false;
    memcpy(copy, bytes.data, bytes.size);
    r->liars[r->liar_count++] = (struct run_liar){e.liar, e.kind, e.at, {copy, bytes.size}};
    event_emit(&r->options.events, "round.liar", EV_HASH("run", &r->run), EV_ID("member", &e.liar),
               EV_TEXT("what", evidence_kind_text(e.kind)), EV_U64("at", e.at));
    return true;
}

static void persist(struct round *r, struct slice bytes, struct outbox *out)
{
    uint8_t record[CORE_HASH_SIZE + EVIDENCE_LIMIT];
    struct writer w = writer_over(record, sizeof record);
    write_bytes(&w, r->run.bytes, CORE_HASH_SIZE);
    write_bytes(&w, bytes.data, bytes.size);
    check(!w.overflowed);
    outbox_persist(out, RUN_PERSIST_EVIDENCE, (struct slice){record, w.size});
}

void round_evidence_restore(struct round *r, struct slice bytes)
{
    (void)take(r, bytes);
}

void round_evidence_heard(struct round *r, struct slice bytes, struct outbox *out)
{
    if (!r->started || (r->frozen && !r->broken) || !take(r, bytes)) return;
    persist(r, bytes, out);
}

// Found here: everyone is told at the end of the step (round_evidence_tell), as this may lie within a callback.
static void found(struct round *r, struct slice bytes)
{
    if (!r->mute && take(r, bytes)) r->liars_untold++;
}

void round_votes_conflict(void *context, const struct ledger_vote *first, const struct ledger_vote *second)
{
    uint8_t bytes[EVIDENCE_LIMIT];
    struct writer w = writer_over(bytes, sizeof bytes);
    evidence_of_votes(&w, first, second);
    check(!w.overflowed);
    found(context, (struct slice){bytes, w.size});
}

void round_commits_conflict(struct round *r, struct slice first, struct slice second)
{
    uint8_t bytes[EVIDENCE_LIMIT];
    struct writer w = writer_over(bytes, sizeof bytes);
    evidence_of_commits(&w, first, second);
    check(!w.overflowed);
    found(r, (struct slice){bytes, w.size});
}

void round_evidence_tell(struct round *r, struct outbox *out)
{
    for (; r->liars_untold > 0; r->liars_untold--) {
        const struct slice bytes = r->liars[r->liar_count - r->liars_untold].evidence;
        persist(r, bytes, out);
        outbox_cast(out, TOPIC_EVIDENCE, bytes);
    }
}

void round_evidence_forget(struct round *r)
{
    for (uint32_t i = 0; i < r->liar_count; i++) free((void *)(uintptr_t)r->liars[i].evidence.data);
    r->liar_count = 0;
}

bool round_liar_at(const struct round *r, uint32_t index, struct run_liar *liar)
{
    if (index >= r->liar_count) return false;
    *liar = r->liars[index];
    return true;
}
