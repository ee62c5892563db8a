// Doubts about members, and the questions that are put to others about them.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/monitor_parts.h"

enum answer { ANSWER_SILENT, ANSWER_REACHABLE, ANSWER_STRANGER };

enum {
    FIRST = 4,
    OTHERS_MS = 150,   // for the other answers, once one confirms
    STAGGER_MS = 100,  // each watcher accuses so much after the one before it in rendezvous order
};

struct monitor_doubt *monitor_doubt_find(const struct monitor *m, const struct core_id *target)
{
    for (uint32_t i = 0; i < m->doubt_count; i++)
        if (id_equal(&m->doubts[i].target, target)) return &m->doubts[i];
    return NULL;
}

static void doubt_drop(struct monitor *m, struct monitor_doubt *doubt)
{
    *doubt = m->doubts[--m->doubt_count];
}

void monitor_settled(struct monitor *m, const struct core_id *target)
{
    struct monitor_doubt *doubt = monitor_doubt_find(m, target);
    if (doubt) doubt_drop(m, doubt);
}

// Room for one more in an array that doubles up to `max`.
static bool more(void **items, uint32_t count, uint32_t *capacity, uint32_t max, size_t size)
{
    if (count < *capacity) return true;
    if (count >= max) return false;
    const uint32_t wanted = *capacity ? 2 * *capacity : FIRST;
    void *bigger = realloc(*items, (wanted < max ? wanted : max) * size);
    if (!bigger) return false;
    *items = bigger;
    *capacity = wanted < max ? wanted : max;
    return true;
}

static struct monitor_doubt *doubt_add(struct monitor *m)
{
    void *items = m->doubts;
    const bool ok = more(&items, m->doubt_count, &m->doubt_capacity, MONITOR_DOUBTS_MAX, sizeof *m->doubts);
    m->doubts = items;
    return ok ? &m->doubts[m->doubt_count++] : NULL;
}

static void ask(const struct monitor_doubt *doubt, struct outbox *out)
{
    struct message probe = {.type = MESSAGE_PROBE};
    probe.probe.target = doubt->target;
    probe.probe.nonce = doubt->nonce;
    for (uint32_t i = 0; i < doubt->asked_count; i++) outbox_send(out, &doubt->asked[i], &probe);
}

// Just awake, this peer may have been hung up on, and everyone first has a full interval to be heard.
static bool is_dazed(const struct monitor *m, uint64_t now_ms)
{
    return now_ms < m->woke_ms + monitor_grace(m, WAKE_GRACE_MS) && m->health > 0;
}

static bool accused_by_self(const struct monitor *m, const struct member *member)
{
    for (uint32_t i = 0; i < MEMBERS_ACCUSERS && member->accusations[i]; i++)
        if (id_equal(&member->accusations[i]->accuser, &m->members->self)) return true;
    return false;
}

static bool can_be_doubted(const struct monitor *m, const struct member *member)
{
    return !m->quiet && member && members_state(member) < GOSSIP_DEAD &&
           members_accusations(member) < MEMBERS_ACCUSERS && !accused_by_self(m, member) &&
           !id_equal(&member->record->id, &m->members->self);
}

void monitor_doubt(struct monitor *m, const struct core_id *target, enum monitor_reason reason, uint64_t now_ms,
                   struct outbox *out)
{
    const struct member *member = members_find(m->members, target);
    if (!can_be_doubted(m, member) || monitor_doubt_find(m, target)) return;
    if (is_dazed(m, now_ms)) return;
    struct monitor_doubt *doubt = doubt_add(m);
    if (!doubt) return;
    *doubt = (struct monitor_doubt){.target = member->record->id, .reason = reason, .nonce = rng_u64(&m->rng)};
    doubt->deadline_ms = now_ms + monitor_stretched(m, m->options->probe_ms);
    const bool looks_itself = reason == MONITOR_UNWATCHED || reason == MONITOR_ACCUSED;
    if (looks_itself) {
        const struct link *link = link_table_find(m->links, target);
        // Over a new link, or none, it takes longer; and who can't be dialled has this time to refute.
        if (!link) doubt->deadline_ms = now_ms + monitor_stretched(m, 3 * m->options->silent_ms);
        if (link || member->record->addresses.size > 0) monitor_ping(m, &doubt->target, out);
        return;
    }
    if (members_accusations(member) > 0) {  // the accuser asked others already
        doubt->deadline_ms = now_ms;
        return;
    }
    doubt->asked_count = monitor_watchers_pick(m, target, false, doubt->asked, 0, MONITOR_ASKED_MAX);
    if (doubt->asked_count == 0) {
        doubt->again = true;
        doubt->asked_count = monitor_watchers_pick(m, target, true, doubt->asked, 0, MONITOR_ASKED_MAX);
    }
    if (doubt->asked_count == 0) doubt->deadline_ms = now_ms;
    if (link_table_find(m->links, target)) monitor_ping(m, &doubt->target, out);  // while others do
    ask(doubt, out);
}

void monitor_accused(struct monitor *m, const struct core_id *target, uint64_t now_ms, struct outbox *out)
{
    const struct member *member = members_find(m->members, target);
    struct monitor_doubt *doubt = monitor_doubt_find(m, target);
    if (doubt && doubt->reason <= MONITOR_CLOSED) {  // this peer found the same
        doubt->deadline_ms = now_ms + monitor_watchers_before(m, target) * STAGGER_MS;
        return;
    }
    if (doubt || !can_be_doubted(m, member)) return;
    const struct link *link = link_table_find(m->links, target);
    if ((link && link->neighbor) || monitor_is_prober(m, target))
        monitor_doubt(m, target, MONITOR_ACCUSED, now_ms, out);
}

// ---- others' questions ----

static void answer_send(const struct monitor *m, const struct core_id *asker, const struct core_id *target,
                        uint64_t nonce, enum answer value, struct outbox *out)
{
    struct message answer = {.type = MESSAGE_PROBE_ANSWER};
    answer.probe_answer.target = *target;
    answer.probe_answer.nonce = nonce;
    answer.probe_answer.reachable = value;
    uint8_t bytes[ACCUSATION_SIZE];
    const struct member *member = members_find(m->members, target);
    if (value == ANSWER_SILENT && member && !m->quiet) {
        const struct accusation own = {
            .accuser = m->members->self, .target = *target, .incarnation = member->record->incarnation};
        accusation_write(bytes, &own, &m->options->key);
        answer.probe_answer.accusation = (struct slice){bytes, sizeof bytes};
    }
    outbox_send(out, asker, &answer);
}

void monitor_probe_received(struct monitor *m, const struct core_id *from, const struct message_probe *probe,
                            uint64_t now_ms, struct outbox *out)
{
    const struct core_id *target = &probe->target;
    const struct member *member = members_find(m->members, target);
    const struct link *link = link_table_find(m->links, target);
    const struct monitor_doubt *doubt = monitor_doubt_find(m, target);
    const bool is_self = id_equal(target, &m->members->self);
    if (is_self || !member || members_state(member) == GOSSIP_LEFT || m->quiet) {
        answer_send(m, from, target, probe->nonce, is_self ? ANSWER_REACHABLE : ANSWER_STRANGER, out);
        return;
    }
    const bool found_silent = doubt && doubt->reason == (link ? MONITOR_SILENT : MONITOR_CLOSED);
    if (found_silent || (!link && members_state(member) == GOSSIP_DEAD)) {
        answer_send(m, from, target, probe->nonce, ANSWER_SILENT, out);
        return;
    }
    const bool can_reach = link || member->record->addresses.size > 0;
    void *items = m->inquiries;
    const bool room =
        can_reach && more(&items, m->inquiry_count, &m->inquiry_capacity, MONITOR_INQUIRIES_MAX, sizeof *m->inquiries);
    m->inquiries = items;
    if (!room) {
        answer_send(m, from, target, probe->nonce, ANSWER_STRANGER, out);
        return;
    }
    // The answer must be back within probe_ms; a ping that is out already says as much as a new one.
    uint64_t deadline_ms = now_ms + m->options->probe_ms * 3 / 4;
    if (link && link->waiting_ms && link->waiting_ms + m->options->silent_ms < deadline_ms)
        deadline_ms = link->waiting_ms + m->options->silent_ms;
    m->inquiries[m->inquiry_count++] = (struct monitor_inquiry){.asker = *from,
                                                                .target = member->record->id,
                                                                .nonce = probe->nonce,
                                                                .linked = link != NULL,
                                                                .deadline_ms = deadline_ms};
    monitor_ping(m, &m->inquiries[m->inquiry_count - 1].target, out);
}

void monitor_answer(struct monitor *m, uint64_t now_ms, struct outbox *out)
{
    for (uint32_t i = m->inquiry_count; i-- > 0;) {
        const struct monitor_inquiry inquiry = m->inquiries[i];
        if (!inquiry.heard && !inquiry.failed && inquiry.deadline_ms > now_ms) continue;
        m->inquiries[i] = m->inquiries[--m->inquiry_count];
        const bool silent = inquiry.linked || inquiry.failed;
        const enum answer value = inquiry.heard ? ANSWER_REACHABLE : silent ? ANSWER_SILENT : ANSWER_STRANGER;
        answer_send(m, &inquiry.asker, &inquiry.target, inquiry.nonce, value, out);
    }
}

static void inquiries_fail(struct monitor *m, const struct core_id *peer, struct outbox *out)
{
    for (uint32_t i = 0; i < m->inquiry_count; i++)
        if (id_equal(&m->inquiries[i].target, peer)) m->inquiries[i].failed = true;
    monitor_answer(m, 0, out);
}

void monitor_link_down(struct monitor *m, const struct core_id *peer, struct outbox *out)
{
    inquiries_fail(m, peer, out);
}

void monitor_dial_failed(struct monitor *m, const struct core_id *peer, uint64_t now_ms, struct outbox *out)
{
    if (link_table_find(m->links, peer)) return;
    inquiries_fail(m, peer, out);
    struct monitor_doubt *doubt = monitor_doubt_find(m, peer);
    if (doubt && doubt->reason >= MONITOR_UNWATCHED && !is_dazed(m, now_ms)) {
        doubt->deadline_ms = now_ms;
        return;
    }
    monitor_doubt(m, peer, MONITOR_DIAL_FAILED, now_ms, out);
}

// ---- answers ----

static bool all_answered(const struct monitor_doubt *doubt)
{
    return doubt->answered + 1 == 1u << doubt->asked_count;
}

enum core_err monitor_answer_received(struct monitor *m, const struct core_id *from,
                                      const struct message_probe_answer *answer, uint64_t now_ms)
{
    struct monitor_doubt *doubt = monitor_doubt_find(m, &answer->target);
    if (!doubt || doubt->nonce != answer->nonce) return CORE_ERR_OK;
    uint32_t asked = 0;
    while (asked < doubt->asked_count && !id_equal(&doubt->asked[asked], from)) asked++;
    if (asked == doubt->asked_count) return CORE_ERR_OK;
    doubt->answered |= 1u << asked;
    if (answer->reachable == ANSWER_REACHABLE) {
        // The link is at fault, or this peer: the target has another interval.
        struct link *link = link_table_find(m->links, &doubt->target);
        if (link) {
            link->heard_ms = now_ms;
            link->waiting_ms = 0;
            link->vouched++;
        }
        if (doubt->reason == MONITOR_SILENT) monitor_health_add(m, 1);
        doubt_drop(m, doubt);
        return CORE_ERR_OK;
    }
    if (answer->reachable == ANSWER_SILENT) {
        doubt->knew |= 1u << asked;
        struct accusation a;
        const struct member *member = members_find(m->members, &doubt->target);
        if (answer->accusation.size > 0 && accusation_read(&a, answer->accusation)) return CORE_ERR_MALFORMED;
        const bool fits = answer->accusation.size > 0 && member && id_equal(&a.accuser, from) &&
                          id_equal(&a.target, &doubt->target) && a.incarnation == member->record->incarnation;
        if (fits && !accusation_signed(&a, &m->options->signatures)) return CORE_ERR_BAD_SIGNATURE;
        if (fits) {
            doubt->confirmed = true;
            memcpy(doubt->accusation, answer->accusation.data, sizeof doubt->accusation);
        }
    }
    const bool all = all_answered(doubt);
    if (!all && !doubt->confirmed) return CORE_ERR_OK;
    // Who reaches it says so at once, who doesn't only after a while: there is not much to wait for.
    const uint64_t stagger_ms = monitor_watchers_before(m, &doubt->target) * STAGGER_MS;
    const uint64_t ready_ms = now_ms + (all || stagger_ms > OTHERS_MS ? stagger_ms : OTHERS_MS);
    if (ready_ms < doubt->deadline_ms) doubt->deadline_ms = ready_ms;
    return CORE_ERR_OK;
}

// Nobody who was asked knew: others are asked, once. That nobody answered at all is a sign against this peer.
static bool ask_again(struct monitor *m, struct monitor_doubt *doubt, uint64_t now_ms, struct outbox *out)
{
    if (doubt->confirmed || doubt->again || doubt->asked_count == 0) return false;
    doubt->again = true;
    if (doubt->answered == 0) monitor_health_add(m, 1);
    struct core_id old[MONITOR_ASKED_MAX];
    const uint32_t old_count = doubt->asked_count;
    memcpy(old, doubt->asked, sizeof old);
    struct core_id ids[2 * MONITOR_ASKED_MAX];
    memcpy(ids, old, sizeof old);
    const uint32_t count = monitor_watchers_pick(m, &doubt->target, true, ids, old_count, old_count + 2);
    if (count == old_count) return false;
    doubt->asked_count = count - old_count;
    memcpy(doubt->asked, ids + old_count, doubt->asked_count * sizeof *ids);
    doubt->answered = doubt->knew = 0;
    doubt->deadline_ms = now_ms + monitor_stretched(m, m->options->probe_ms);
    if (link_table_find(m->links, &doubt->target)) monitor_ping(m, &doubt->target, out);
    ask(doubt, out);
    return true;
}

bool monitor_next_verdict(struct monitor *m, uint64_t now_ms, struct outbox *out, struct monitor_verdict *verdict)
{
    for (uint32_t i = m->doubt_count; i-- > 0;) {
        struct monitor_doubt *doubt = &m->doubts[i];
        const struct member *member = members_find(m->members, &doubt->target);
        if (!can_be_doubted(m, member)) {
            doubt_drop(m, doubt);
            continue;
        }
        if (doubt->deadline_ms > now_ms) continue;
        if (members_accusations(member) == 0 && ask_again(m, doubt, now_ms, out)) continue;
        *verdict = (struct monitor_verdict){.target = doubt->target,
                                            .incarnation = member->record->incarnation,
                                            .reason = doubt->reason,
                                            .confirmed = doubt->confirmed};
        memcpy(verdict->accusation, doubt->accusation, sizeof verdict->accusation);
        doubt_drop(m, doubt);
        return true;
    }
    return false;
}
