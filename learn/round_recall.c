// What did I sign? A peer that comes back from its disk cannot know whether that disk is as new as its last word: a
// copy may have been put back. A peer that hears of a run cannot know that it never was in it: its disk may be a new
// one under an old key. Before it signs it asks the members for its own votes that they hold, and for its commit of the
// round in progress. Only who made the run need not ask.
//
// It asks at the height where its journal ends, and at each one after that up to the latest that the first answers
// name (where nobody can show it within ROUND_CLAIM_MS, somebody boasted). At each it is held (consensus_hold) until
// everyone who is not gone has answered, or after ROUND_LISTEN_MS a quorum with itself: without one nothing can be
// decided, so that nothing is lost by waiting on. With nothing on its disk it also waits, for ROUND_STRICT_MS at most,
// until so many have answered that every quorum which its forgotten votes may have made has one of them in it. Whoever
// is asked answers at once, also when it waits for answers itself, so that peers that all come back together help each
// other. What nobody who answers has seen cannot be known again.
#include <string.h>

#include "core/check.h"
#include "learn/round_parts.h"

static uint32_t own_index(const struct round *r)
{
    return run_members_find(r->head.members, r->head.member_count, &r->options.key->id);
}

void round_recall_start(struct round *r, bool empty, uint64_t now_ms, struct outbox *out)
{
    if (round_ended(r) || r->head.member_count == 1) return;
    r->recalling = true;
    r->recall_known = false;
    r->recall_height = r->height;
    r->recall_until_ms = now_ms + ROUND_LISTEN_MS;
    r->recall_strict_ms = empty ? now_ms + ROUND_STRICT_MS : 0;
    consensus_hold(r->consensus, true, now_ms, out);
}

// Before a height starts.
void round_recall_height(struct round *r, uint64_t now_ms, struct outbox *out)
{
    r->recalled = 0;
    r->recall_ms = r->recall_since_ms = 0;
    if (!r->recalling) return;
    r->recalling = !r->recall_known || r->height <= r->recall_height;
    consensus_hold(r->consensus, r->recalling, now_ms, out);
}

static bool recalled(const struct round *r)
{
    const uint32_t self = own_index(r);
    uint32_t heard = 0;
    bool all = true;
    for (uint32_t i = 0; i < r->head.member_count; i++) {
        if (r->recalled & SLOT(i))
            heard++;
        else if (i != self && !round_gone(r, &r->head.members[i].id))
            all = false;
    }
    const bool member = self != UINT32_MAX;
    if (heard + member < round_quorum(r)) return false;
    // A quorum with this peer has round_quorum - 1 of the others: these meet any of those.
    if (member && r->now_ms < r->recall_strict_ms && heard + round_quorum(r) < r->head.member_count + 1) return false;
    return all || r->now_ms >= r->recall_until_ms;
}

// Whether it may sign at this height. Not where a later one is known of: what comes next here is decided already.
static bool may_go_on(struct round *r, uint64_t now_ms)
{
    if (r->head.member_count == 1) return true;
    if (!recalled(r)) return false;
    r->recall_known = true;
    if (r->height >= r->recall_height) return true;
    if (!r->recall_since_ms) r->recall_since_ms = now_ms;
    if (now_ms < r->recall_since_ms + ROUND_CLAIM_MS) {
        round_wake(r, r->recall_since_ms + ROUND_CLAIM_MS);
        return false;
    }
    r->recall_height = r->height;
    return true;
}

bool round_recall_heard(const struct round *r, uint32_t index)
{
    return !r->recalling || index == own_index(r) || r->recalled & SLOT(index);
}

void round_recall(struct round *r, uint64_t now_ms, struct outbox *out)
{
    if (!r->recalling) return;
    if (may_go_on(r, now_ms)) {
        r->recalling = false;
        const size_t mark = out->count;
        consensus_hold(r->consensus, false, now_ms, out);
        round_settle(r, mark, now_ms, out);
        return;
    }
    if (now_ms >= r->recall_ms) {
        r->recall_ms = now_ms + r->options.resend_ms / 2;
        for (uint32_t i = 0; i < r->head.member_count; i++)
            if (!(r->recalled & SLOT(i))) round_send_recall(r, &r->head.members[i].id, true, out);
    }
    round_wake(r, r->recall_ms);
    if (now_ms < r->recall_until_ms) round_wake(r, r->recall_until_ms);
    if (now_ms < r->recall_strict_ms) round_wake(r, r->recall_strict_ms);
}

// The asking peer's own commit, then its votes. Who asks may have heard of the run just now, and can answer from now
// on.
void round_recall_asked(struct round *r, const struct core_id *from, uint64_t now_ms, struct outbox *out)
{
    const struct turn *t = r->turn;
    const uint32_t member = run_members_find(r->head.members, r->head.member_count, from);
    if (member != UINT32_MAX && !round_recall_heard(r, member) && now_ms >= r->recall_again_ms) {
        r->recall_again_ms = now_ms + 20;
        round_send_recall(r, from, true, out);
    }
    const uint32_t index = run_members_find(t->manifest.members, t->manifest.member_count, from);
    if (index != UINT32_MAX && t->known[t->manifest.members[index].slot].here) {
        const struct known *k = &t->known[t->manifest.members[index].slot];
        struct message m = {.type = MESSAGE_RUN_COMMIT};
        m.run_commit.run = r->run;
        m.run_commit.commit = (struct slice){k->bytes, k->size};
        outbox_send(out, from, &m);
    }
    round_send_recall(r, from, false, out);
}

static void take_votes(struct round *r, struct slice votes, uint64_t now_ms, struct outbox *out)
{
    struct reader in = reader_over(votes.data, votes.size);
    while (in.at < in.size) {
        struct ledger_vote v;
        if (ledger_vote_read(&in, &v)) return;
        if (!id_equal(&v.voter, &r->options.key->id) || !hash_equal(&v.run, &r->run) || !ledger_vote_signed(&v))
            continue;
        if (v.height > r->recall_height) r->recall_height = v.height;
        (void)!consensus_recall(r->consensus, &v, now_ms, out);  // of another height: asked for again there
    }
}

void round_recall_answered(struct round *r, const struct core_id *from, const struct message_run_head *head,
                           uint64_t now_ms, struct outbox *out)
{
    const uint32_t index = run_members_find(r->head.members, r->head.member_count, from);
    if (!r->recalling || index == UINT32_MAX) return;
    const uint64_t height = r->height;
    if (now_ms < r->recall_until_ms && head->height > r->recall_height) r->recall_height = head->height;
    const size_t mark = out->count;
    take_votes(r, head->votes, now_ms, out);
    round_settle(r, mark, now_ms, out);
    if (r->height == height) r->recalled |= SLOT(index);
}
