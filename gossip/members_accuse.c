// Accusations in the members' table: what one says here, and the time in which a suspect can refute.
#include "gossip/members.h"
#include "gossip/members_parts.h"

uint32_t members_accusers_needed(const struct members *m, const struct member *member)
{
    const uint32_t alive = m->states[GOSSIP_ALIVE] - (members_state(member) == GOSSIP_ALIVE);
    return alive >= MEMBERS_ACCUSERS ? MEMBERS_ACCUSERS : 1;
}

static const struct accusation *intern_accusation(struct members *m, const struct accusation *accusation)
{
    const struct accusation *known = record_pool_find_accusation(m->pool, accusation);
    if (known) return known;
    if (!accusation_signed(accusation, &m->options->signatures)) return NULL;
    return record_pool_add_accusation(m->pool, accusation);
}

enum relevance { VOID, KNOWN, ELSEWHERE, NEWS };

// What the accusation says here. Strangers' words count for nothing, except that a sample can't tell who is one; and
// what was said of an earlier life is settled. Who left since was no stranger when it spoke: others may still believe
// it, and whoever is accused must outlive it.
static enum relevance relevance_of(struct members *m, const struct member *member, const struct accusation *a)
{
    if (!member || !members_known(m, &a->accuser)) {
        if (m->sampled) return ELSEWHERE;
        members_refuse(m, GOSSIP_REFUSED_STRANGER);
        return VOID;
    }
    if (a->incarnation > member->record->incarnation) return ELSEWHERE;  // its record is on the way
    if (a->incarnation < member->record->incarnation || member->record->left) {
        members_refuse(m, GOSSIP_REFUSED_STALE);
        return VOID;
    }
    for (uint32_t i = 0; i < MEMBERS_ACCUSERS && member->accusations[i]; i++)
        if (id_equal(&member->accusations[i]->accuser, &a->accuser)) return KNOWN;
    // Two are enough here; whoever hears of it first by this broadcast still needs it.
    if (members_accusations(member) == MEMBERS_ACCUSERS) return member->dead ? VOID : KNOWN;
    return NEWS;
}

static void accuse(struct members *m, struct member *member, const struct accusation *interned, uint64_t now_ms,
                   struct members_change *change)
{
    const bool first = !member->accusations[0];
    members_toggle(m, member);
    m->states[members_state(member)]--;
    member->quiet = false;
    member->accusations[first ? 0 : 1] = interned;
    if (first) member->since_ms = now_ms;
    m->states[members_state(member)]++;
    members_toggle(m, member);
    if (member->since_ms < m->suspect_ms) m->suspect_ms = member->since_ms;
    change->news = true;
    change->notable = first;
}

enum core_err members_accusation_put(struct members *m, struct slice bytes, uint64_t now_ms,
                                     struct members_change *change)
{
    *change = (struct members_change){0};
    struct accusation accusation;
    const enum core_err err = accusation_read(&accusation, bytes);
    if (err) {
        members_refuse(m, GOSSIP_REFUSED_MALFORMED);
        return err;
    }
    change->id = accusation.target;
    struct member *member = members_find(m, &accusation.target);
    const bool is_own = id_equal(&accusation.accuser, &m->self), of_self = id_equal(&accusation.target, &m->self);
    const enum relevance relevance = relevance_of(m, member, &accusation);
    // It may have been a member where this peer was not: it came while a split lasted, and was gone before it healed.
    const bool strange = relevance == VOID && of_self && member && !member->record->left &&
                         accusation.incarnation == member->record->incarnation;
    change->pass = relevance != VOID;
    if ((relevance == VOID && !strange) || relevance == KNOWN) return CORE_ERR_OK;
    // Others may not know yet that it is muted: who is accused outlives it all the same.
    const bool muted = !is_own && conduct_muted(&m->conduct, &accusation.accuser, now_ms);
    if (muted && !of_self) {
        members_refuse(m, GOSSIP_REFUSED_MUTED);
        return CORE_ERR_REFUSED;
    }
    const struct accusation *interned = intern_accusation(m, &accusation);
    if (!interned) {
        members_refuse(m, GOSSIP_REFUSED_SIGNATURE);
        return CORE_ERR_BAD_SIGNATURE;
    }
    // All strangers share one budget: a key costs them nothing.
    static const struct core_id strangers = {{0}};
    const uint32_t cost = muted || strange ? CONDUCT_MUTED_COST : 1;
    const struct core_id *author = strange ? &strangers : &accusation.accuser;
    if (!is_own && !conduct_accusation(&m->conduct, author, cost, now_ms)) {
        members_refuse(m, GOSSIP_REFUSED_RATE);
        record_pool_release_accusation(m->pool, interned);
        return CORE_ERR_REFUSED;
    }
    if (of_self) {
        change->self_behind = true;
        change->incarnation = accusation.incarnation;
        record_pool_release_accusation(m->pool, interned);
        return CORE_ERR_OK;
    }
    if (relevance == ELSEWHERE) {
        record_pool_release_accusation(m->pool, interned);
        return CORE_ERR_OK;
    }
    accuse(m, member, interned, now_ms, change);
    return CORE_ERR_OK;
}

bool members_next_dead(struct members *m, uint64_t now_ms, uint64_t wait_ms, uint64_t not_before_ms,
                       struct members_change *change)
{
    *change = (struct members_change){0};
    if (now_ms < members_next_ms(m, wait_ms, not_before_ms)) return false;
    m->suspect_ms = UINT64_MAX;
    for (uint32_t i = 0; i < m->count; i++) {
        struct member *member = members_at(m, i);
        if (members_state(member) != GOSSIP_SUSPECT) continue;
        if (members_accusations(member) < members_accusers_needed(m, member)) continue;
        if (now_ms < member->since_ms + wait_ms) {
            if (member->since_ms < m->suspect_ms) m->suspect_ms = member->since_ms;
            continue;
        }
        m->suspect_ms = 0;  // there may be more
        m->states[GOSSIP_SUSPECT]--;
        m->states[GOSSIP_DEAD]++;
        member->dead = true;
        member->since_ms = now_ms;
        *change = (struct members_change){.id = member->record->id, .news = true, .notable = true};
        return true;
    }
    return false;
}

uint64_t members_next_ms(const struct members *m, uint64_t wait_ms, uint64_t not_before_ms)
{
    if (m->suspect_ms == UINT64_MAX) return UINT64_MAX;
    return m->suspect_ms + wait_ms > not_before_ms ? m->suspect_ms + wait_ms : not_before_ms;
}
