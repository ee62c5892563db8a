#include "ledger/tally.h"

#include <string.h>

#include "core/check.h"

enum { SLACK = 64 };  // the arena's rounding

size_t tally_memory(uint32_t value_limit)
{
    return TALLY_ROUNDS * ((size_t)value_limit + LEDGER_CERTIFICATE_LIMIT + SLACK);
}

void tally_open(struct tally *t, uint32_t value_limit, struct arena *arena)
{
    *t = (struct tally){.value_limit = value_limit};
    for (uint32_t i = 0; i < TALLY_ROUNDS; i++) {
        t->rounds[i].value = arena_alloc(arena, value_limit ? value_limit : 1);
        t->rounds[i].certificate = arena_alloc(arena, LEDGER_CERTIFICATE_LIMIT);
        check(t->rounds[i].value && t->rounds[i].certificate);
    }
}

void tally_clear(struct tally *t)
{
    t->current = 0;
    for (uint32_t i = 0; i < TALLY_ROUNDS; i++) t->rounds[i].used = false;
}

void tally_move(struct tally *t, uint32_t current)
{
    check(current >= t->current);
    t->current = current;
}

bool tally_in_window(const struct tally *t, uint32_t round)
{
    uint32_t first = t->current > TALLY_PAST ? t->current - TALLY_PAST : 0;
    return round >= first && round - first < TALLY_ROUNDS;
}

struct tally_round *tally_find(struct tally *t, uint32_t round)
{
    struct tally_round *r = &t->rounds[round % TALLY_ROUNDS];
    return r->used && r->round == round && tally_in_window(t, round) ? r : NULL;
}

struct tally_round *tally_claim(struct tally *t, uint32_t round)
{
    check(tally_in_window(t, round));
    struct tally_round *r = &t->rounds[round % TALLY_ROUNDS];
    if (r->used && r->round == round) return r;
    // Whatever else lies here has left the window, which is no wider than the table.
    r->used = true;
    r->round = round;
    r->proposed = false;
    r->judged = false;
    r->shown = 0;
    r->prevotes.voters = 0;
    r->precommits.voters = 0;
    return r;
}

struct tally_step *tally_votes(struct tally_round *r, enum ledger_step step)
{
    check(step != LEDGER_PROPOSE);
    return step == LEDGER_PREVOTE ? &r->prevotes : &r->precommits;
}

void tally_propose(struct tally_round *r, const struct ledger_proposal *p)
{
    check(!r->proposed && p->certificate.size <= LEDGER_CERTIFICATE_LIMIT);
    r->proposed = true;
    r->judged = false;
    r->proposal = p->vote;
    if (p->value.size) memcpy(r->value, p->value.data, p->value.size);
    r->value_size = (uint32_t)p->value.size;
    if (p->certificate.size) memcpy(r->certificate, p->certificate.data, p->certificate.size);
    r->certificate_size = (uint32_t)p->certificate.size;
}

void tally_vote(struct tally_step *s, uint32_t member, const struct ledger_vote *v)
{
    check(member < LEDGER_MEMBERS_MAX && !(s->voters >> member & 1));
    s->voters |= 1ull << member;
    s->value[member] = v->value;
    s->signature[member] = v->signature;
}

uint64_t tally_for(const struct tally_step *s, const struct core_hash *value)
{
    uint64_t members = 0;
    for (uint32_t i = 0; i < LEDGER_MEMBERS_MAX; i++) {
        if (s->voters >> i & 1 && hash_equal(&s->value[i], value)) members |= 1ull << i;
    }
    return members;
}

uint32_t tally_count(uint64_t members)
{
    return (uint32_t)__builtin_popcountll(members);
}

bool tally_majority(const struct tally_step *s, uint32_t quorum, struct core_hash *value)
{
    if (tally_count(s->voters) < quorum) return false;
    uint64_t left = s->voters;
    while (tally_count(left) >= quorum) {
        uint32_t first = (uint32_t)__builtin_ctzll(left);
        uint64_t same = tally_for(s, &s->value[first]);
        if (tally_count(same) >= quorum) {
            *value = s->value[first];
            return true;
        }
        left &= ~same;
    }
    return false;
}
