#include "gossip/monitor.h"

#include <string.h>

#include "core/check.h"

enum {
    WATCH_MS = 1000,
    UNWATCHED_MS = 8000,  // how long a record without living watchers, or an open suspicion, may stand
    UNWATCHED_PROBERS = 2,
    MASS_SILENCE_HEALTH = 2,  // no worse for it alone: a real split is to be seen too
};

enum answer { ANSWER_SILENT, ANSWER_REACHABLE, ANSWER_STRANGER };

void monitor_open(struct monitor *m, const struct gossip_options *options, struct link_table *links,
                  struct members *members, struct gossip_counts *counts, uint64_t now_ms)
{
    *m = (struct monitor){.options = options, .links = links, .members = members, .counts = counts};
    m->rng = rng_from(options->seed, 0x6d6f6e69);
    m->last_ms = now_ms;
    m->woke_ms = now_ms;
    m->ping_ms = now_ms + rng_below(&m->rng, options->ping_ms);
    m->watch_ms = now_ms + WATCH_MS;
}

// A wait, stretched by the local health: 1, 1.5, 2, 2.5 or 3 times.
static uint64_t stretched(const struct monitor *m, uint64_t ms)
{
    return ms * (2 + m->health) / 2;
}

static void health_add(struct monitor *m, int by)
{
    if (by > 0 && m->health < MONITOR_HEALTH_MAX) m->health++;
    if (by < 0 && m->health > 0) m->health--;
}

void monitor_clock(struct monitor *m, uint64_t now_ms)
{
    const uint64_t gap = now_ms > m->last_ms ? now_ms - m->last_ms : 0;
    m->last_ms = now_ms;
    if (gap < 3 * (uint64_t)m->options->ping_ms) return;
    m->woke_ms = now_ms;
    m->doubt_count = 0;
    m->inquiry_count = 0;
    for (uint32_t i = 0; i < m->links->count; i++) {
        m->links->items[i].heard_ms = now_ms;
        m->links->items[i].nonce = 0;
    }
    m->ping_ms = now_ms;
    health_add(m, 1);
}

// ---- doubts ----

static struct monitor_doubt *doubt_find(struct monitor *m, const struct core_id *target)
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
    struct monitor_doubt *doubt = doubt_find(m, target);
    if (doubt) doubt_drop(m, doubt);
}

void monitor_refuted(struct monitor *m)
{
    health_add(m, 1);
}

// Up to three of the target's other watchers that live, those linked first; the rest can be dialled.
static void pick_asked(struct monitor *m, struct monitor_doubt *doubt, const struct member_record *record)
{
    for (int linked = 1; linked >= 0; linked--) {
        const uint32_t n = record->watcher_count, first = n ? (uint32_t)rng_below(&m->rng, n) : 0;
        for (uint32_t i = 0; i < n && doubt->asked_count < MONITOR_ASKED_MAX; i++) {
            const struct core_id *watcher = &record->watchers[(first + i) % n];
            const struct member *member = members_find(m->members, watcher);
            if (!member || id_equal(watcher, &m->members->self) || id_equal(watcher, &doubt->target)) continue;
            if (members_state(member) != GOSSIP_ALIVE || doubt_find(m, watcher)) continue;
            const bool is_linked = link_table_find(m->links, watcher) != NULL;
            if (is_linked != (linked == 1) || (!is_linked && member->record->addresses.size == 0)) continue;
            doubt->asked[doubt->asked_count++] = *watcher;
        }
    }
}

void monitor_doubt(struct monitor *m, const struct core_id *target, enum monitor_reason reason, uint64_t now_ms,
                   struct outbox *out)
{
    const struct member *member = members_find(m->members, target);
    if (m->quiet || !member || id_equal(target, &m->members->self)) return;
    if (members_state(member) >= GOSSIP_DEAD || doubt_find(m, target) || m->doubt_count == MONITOR_DOUBTS_MAX) return;
    struct monitor_doubt *doubt = &m->doubts[m->doubt_count];
    *doubt = (struct monitor_doubt){.target = *target, .reason = reason, .since_ms = now_ms};
    doubt->nonce = rng_u64(&m->rng);
    doubt->deadline_ms = now_ms + stretched(m, m->options->probe_ms);
    // Just awake, what closed may have closed while this peer slept: everyone first has a full interval to be heard.
    const uint64_t grace = m->woke_ms + m->options->silent_ms;
    if (reason != MONITOR_SILENT && doubt->deadline_ms < grace) doubt->deadline_ms = grace;
    pick_asked(m, doubt, member->record);
    m->doubt_count++;
    struct message probe = {.type = MESSAGE_PROBE};
    probe.probe.target = *target;
    probe.probe.nonce = doubt->nonce;
    for (uint32_t i = 0; i < doubt->asked_count; i++) outbox_send(out, &doubt->asked[i], &probe);
}

void monitor_heard(struct monitor *m, struct link *link, uint64_t now_ms)
{
    link->heard_ms = now_ms;
    link->vouched = 0;
    monitor_settled(m, &link->id);
    for (uint32_t i = 0; i < m->inquiry_count; i++)
        if (id_equal(&m->inquiries[i].target, &link->id)) m->inquiries[i].heard = true;
}

// ---- messages ----

static void pong_received(struct link *link, uint64_t nonce)
{
    if (nonce == link->nonce) link->nonce = 0;
}

static void answer_send(const struct core_id *asker, const struct core_id *target, uint64_t nonce, enum answer value,
                        struct outbox *out)
{
    struct message answer = {.type = MESSAGE_PROBE_ANSWER};
    answer.probe_answer.target = *target;
    answer.probe_answer.nonce = nonce;
    answer.probe_answer.reachable = value;
    outbox_send(out, asker, &answer);
}

static void ping(struct monitor *m, struct link *link, uint64_t now_ms, struct outbox *out)
{
    link->nonce = rng_u64(&m->rng) | 1;
    link->pinged_ms = now_ms;
    struct message message = {.type = MESSAGE_PING};
    message.ping.nonce = link->nonce;
    outbox_send(out, &link->id, &message);
}

static void probe_received(struct monitor *m, const struct core_id *from, const struct message *message,
                           uint64_t now_ms, struct outbox *out)
{
    const struct core_id *target = &message->probe.target;
    const uint64_t nonce = message->probe.nonce;
    struct link *link = link_table_find(m->links, target);
    if (!link) {
        // No link: if it was lost just now that is an answer, otherwise this peer can't tell.
        const struct monitor_doubt *doubt = doubt_find(m, target);
        const struct member *member = members_find(m->members, target);
        const bool gone = doubt || (member && members_state(member) >= GOSSIP_DEAD);
        answer_send(from, target, nonce, gone ? ANSWER_SILENT : ANSWER_STRANGER, out);
        return;
    }
    if (m->inquiry_count == MONITOR_INQUIRIES_MAX) return;
    m->inquiries[m->inquiry_count++] = (struct monitor_inquiry){
        .asker = *from,
        .target = *target,
        .nonce = nonce,
        .deadline_ms = now_ms + m->options->probe_ms * 3 / 4};  // the answer must be back within probe_ms
    ping(m, link, now_ms, out);
}

static void answer_received(struct monitor *m, const struct core_id *from, const struct message *message,
                            uint64_t now_ms)
{
    struct monitor_doubt *doubt = doubt_find(m, &message->probe_answer.target);
    if (!doubt || doubt->nonce != message->probe_answer.nonce || doubt->stage != MONITOR_PROBING) return;
    for (uint32_t i = 0; i < doubt->asked_count; i++)
        if (id_equal(&doubt->asked[i], from)) doubt->answered |= 1u << i;
    if (message->probe_answer.reachable == ANSWER_REACHABLE) {
        // The link is at fault, or this peer: the target has another interval.
        struct link *link = link_table_find(m->links, &doubt->target);
        if (link) {
            link->heard_ms = now_ms;
            link->vouched++;
        }
        if (doubt->reason == MONITOR_SILENT) health_add(m, 1);
        doubt_drop(m, doubt);
        return;
    }
    if (doubt->answered + 1 == 1u << doubt->asked_count && m->woke_ms + m->options->silent_ms <= now_ms)
        doubt->deadline_ms = now_ms;
}

bool monitor_message(struct monitor *m, const struct core_id *from, const struct message *message, uint64_t now_ms,
                     struct outbox *out)
{
    struct link *link = link_table_find(m->links, from);
    check(link);
    switch (message->type) {
    case MESSAGE_PING: {
        struct message pong = {.type = MESSAGE_PONG};
        pong.pong.nonce = message->ping.nonce;
        outbox_send(out, from, &pong);
        return true;
    }
    case MESSAGE_PONG: pong_received(link, message->pong.nonce); return true;
    case MESSAGE_PROBE: probe_received(m, from, message, now_ms, out); return true;
    case MESSAGE_PROBE_ANSWER: answer_received(m, from, message, now_ms); return true;
    default: return false;
    }
}

// ---- timers ----

// One round: whoever was silent too long is doubted, everyone is pinged. When most neighbours went silent at once, it
// is this peer that is slow: its health worsens; a round in which all were heard mends it.
static void ping_round(struct monitor *m, uint64_t now_ms, struct outbox *out)
{
    m->ping_ms = now_ms + m->options->ping_ms;
    uint32_t neighbors = 0, late = 0;
    for (uint32_t i = 0; i < m->links->count; i++) {
        const struct link *link = &m->links->items[i];
        if (!link->neighbor) continue;
        neighbors++;
        late += now_ms - link->heard_ms >= 2 * (uint64_t)m->options->ping_ms;
    }
    if (neighbors >= 3 && 2 * late > neighbors && m->health < MASS_SILENCE_HEALTH) health_add(m, 1);
    if (late == 0) health_add(m, -1);
    for (uint32_t i = 0; i < m->links->count; i++) {
        struct link *link = &m->links->items[i];
        if (link->neighbor) ping(m, link, now_ms, out);
    }
}

static void doubt_silent(struct monitor *m, uint64_t now_ms, struct outbox *out)
{
    const uint64_t silent = stretched(m, m->options->silent_ms);
    for (uint32_t i = 0; i < m->links->count; i++) {
        const struct link *link = &m->links->items[i];
        if (link->neighbor && now_ms - link->heard_ms >= silent)
            monitor_doubt(m, &link->id, MONITOR_SILENT, now_ms, out);
    }
}

static bool has_living_watcher(const struct monitor *m, const struct member_record *record)
{
    for (uint32_t i = 0; i < record->watcher_count; i++) {
        const struct member *watcher = members_find(m->members, &record->watchers[i]);
        if (watcher && members_state(watcher) <= GOSSIP_SUSPECT) return true;
    }
    return false;
}

static uint64_t rendezvous(const struct core_id *target, const struct core_id *prober)
{
    uint64_t key, counter;
    memcpy(&key, target->bytes, sizeof key);
    memcpy(&counter, prober->bytes, sizeof counter);
    const struct philox_block block = philox(key, counter, 0x70726f62);
    return (uint64_t)block.word[0] << 32 | block.word[1];
}

static bool is_prober(const struct monitor *m, const struct core_id *target)
{
    const uint64_t own = rendezvous(target, &m->members->self);
    uint32_t before = 0;
    for (uint32_t i = 0; i < m->members->count && before < UNWATCHED_PROBERS; i++) {
        const struct member *member = members_at(m->members, i);
        const struct core_id *id = &member->record->id;
        if (members_state(member) != GOSSIP_ALIVE || id_equal(id, target) || id_equal(id, &m->members->self)) continue;
        before += rendezvous(target, id) < own;
    }
    return before < UNWATCHED_PROBERS;
}

// Members whose watchers are all gone, and suspicions that nobody brought to an end.
static void watch_unwatched(struct monitor *m, uint64_t now_ms, struct outbox *out)
{
    m->watch_ms = now_ms + WATCH_MS;
    for (uint32_t i = 0; i < m->members->count; i++) {
        const struct member *member = members_at(m->members, i);
        const enum gossip_state state = members_state(member);
        const struct core_id *id = &member->record->id;
        if (state >= GOSSIP_DEAD || id_equal(id, &m->members->self)) continue;
        if (now_ms - member->since_ms < UNWATCHED_MS || now_ms - m->woke_ms < UNWATCHED_MS) continue;
        const struct link *link = link_table_find(m->links, id);
        if (link && link->neighbor) continue;
        if (state == GOSSIP_ALIVE && has_living_watcher(m, member->record)) continue;
        if (doubt_find(m, id) || !is_prober(m, id)) continue;
        monitor_doubt(m, id, MONITOR_UNWATCHED, now_ms, out);
        if (!doubt_find(m, id)) continue;
        // Its watchers can't be asked: it is pinged itself, dialled where there is no link.
        struct message message = {.type = MESSAGE_PING};
        if (link || member->record->addresses.size > 0) outbox_send(out, id, &message);
        doubt_find(m, id)->deadline_ms = now_ms + stretched(m, m->options->silent_ms);
    }
}

void monitor_answer(struct monitor *m, uint64_t now_ms, struct outbox *out)
{
    for (uint32_t i = m->inquiry_count; i-- > 0;) {
        struct monitor_inquiry *inquiry = &m->inquiries[i];
        if (!inquiry->heard && inquiry->deadline_ms > now_ms) continue;
        const enum answer value = inquiry->heard ? ANSWER_REACHABLE : ANSWER_SILENT;
        answer_send(&inquiry->asker, &inquiry->target, inquiry->nonce, value, out);
        *inquiry = m->inquiries[--m->inquiry_count];
    }
}

void monitor_link_down(struct monitor *m, const struct core_id *peer, struct outbox *out)
{
    for (uint32_t i = 0; i < m->inquiry_count; i++)
        if (id_equal(&m->inquiries[i].target, peer)) m->inquiries[i].deadline_ms = 0;
    monitor_answer(m, 0, out);
}

void monitor_tick(struct monitor *m, uint64_t now_ms, struct outbox *out)
{
    if (m->quiet) return;
    doubt_silent(m, now_ms, out);
    if (m->ping_ms <= now_ms) ping_round(m, now_ms, out);
    if (m->watch_ms <= now_ms) watch_unwatched(m, now_ms, out);
    monitor_answer(m, now_ms, out);
}

bool monitor_next_verdict(struct monitor *m, uint64_t now_ms, struct monitor_verdict *verdict)
{
    for (uint32_t i = m->doubt_count; i-- > 0;) {
        struct monitor_doubt *doubt = &m->doubts[i];
        const struct member *member = members_find(m->members, &doubt->target);
        if (!member || members_state(member) >= GOSSIP_DEAD ||
            (doubt->stage == MONITOR_ACCUSED && member->record->incarnation != doubt->incarnation)) {
            doubt_drop(m, doubt);
            continue;
        }
        if (doubt->deadline_ms > now_ms) continue;
        *verdict = (struct monitor_verdict){
            .target = doubt->target, .incarnation = member->record->incarnation, .reason = doubt->reason};
        doubt_drop(m, doubt);
        return true;
    }
    return false;
}

uint64_t monitor_next_ms(const struct monitor *m)
{
    uint64_t next = m->ping_ms < m->watch_ms ? m->ping_ms : m->watch_ms;
    const uint64_t silent = stretched(m, m->options->silent_ms);
    for (uint32_t i = 0; i < m->doubt_count; i++)
        if (m->doubts[i].deadline_ms < next) next = m->doubts[i].deadline_ms;
    for (uint32_t i = 0; i < m->inquiry_count; i++)
        if (m->inquiries[i].deadline_ms < next) next = m->inquiries[i].deadline_ms;
    for (uint32_t i = 0; i < m->links->count; i++) {
        const struct link *link = &m->links->items[i];
        // A doubt about it has its own deadline.
        if (!link->neighbor || link->heard_ms + silent >= next) continue;
        bool doubted = false;
        for (uint32_t k = 0; k < m->doubt_count; k++) doubted |= id_equal(&m->doubts[k].target, &link->id);
        if (!doubted) next = link->heard_ms + silent;
    }
    return next;
}
