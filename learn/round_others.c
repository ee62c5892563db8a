// What this peer holds against the members of a run, each by itself: that its disk is full, that it spoke of heights
// that nobody could show, how many answers it has had lately. Nothing here is agreed on; it only says whom to wait for,
// whom to believe and when to answer.
#include "learn/round_parts.h"

// Its entry, made where it is missing; NULL for who is no member.
static struct other *find(struct round *r, const struct core_id *id)
{
    const bool member = run_members_find(r->head.members, r->head.member_count, id) != UINT32_MAX;
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < ROUND_OTHERS; i++) {
        if (id_equal(&r->others[i].id, id)) return &r->others[i];
        if (r->others[i].heard_ms < r->others[oldest].heard_ms) oldest = i;
    }
    if (!member) return NULL;
    r->others[oldest] = (struct other){.id = *id, .answers = ROUND_ANSWERS, .answers_ms = r->now_ms};
    return &r->others[oldest];
}

static const struct other *known(const struct round *r, const struct core_id *id)
{
    for (uint32_t i = 0; i < ROUND_OTHERS; i++)
        if (id_equal(&r->others[i].id, id)) return &r->others[i];
    return NULL;
}

bool round_halted(const struct round *r, const struct core_id *id)
{
    const struct other *o = known(r, id);
    return o && o->halted_until_ms > r->now_ms;
}

void round_note_halted(struct round *r, const struct core_id *from, bool halted, uint64_t now_ms)
{
    struct other *o = find(r, from);
    if (!o) return;
    o->heard_ms = now_ms;
    o->halted_until_ms = halted ? now_ms + ROUND_HALTED_MS : 0;
}

// A later height than this peer's own keeps it from working for a while; after that it must have come nearer.
void round_claimed(struct round *r, const struct core_id *from, uint64_t height, uint64_t now_ms)
{
    struct other *o = find(r, from);
    if (!o || o->doubted_until_ms > now_ms) return;
    if (!round_behind(r)) {
        r->ahead_ms = now_ms;
        r->ahead = 0;
    }
    if (height <= r->ahead) return;
    r->ahead = height;
    r->ahead_from = *from;
}

// Nothing came of it: whoever claimed it is not believed for a while, each time for longer.
void round_claims_check(struct round *r, uint64_t now_ms)
{
    if (r->ahead <= r->height || now_ms < r->ahead_ms + ROUND_AHEAD_MS) return;
    r->ahead = 0;
    struct other *o = find(r, &r->ahead_from);
    if (!o) return;
    o->doubted_until_ms = now_ms + (ROUND_DOUBT_MS << o->doubts);
    if (o->doubts < ROUND_DOUBTS) o->doubts++;
}

// Whether `from` is sent `count` more decisions, commits or votes: so many in reserve, the rest by time. Those that are
// no members share one allowance.
bool round_answers(struct round *r, const struct core_id *from, uint32_t count)
{
    struct other *o = find(r, from);
    if (!o) o = &r->stranger;
    const uint64_t since_ms = r->now_ms - o->answers_ms;
    const uint64_t more = since_ms * ROUND_ANSWERS / 1000;
    if (more) {
        o->answers = more < ROUND_ANSWERS - o->answers ? o->answers + (uint32_t)more : ROUND_ANSWERS;
        o->answers_ms = r->now_ms;
    }
    if (o->answers < count) {
        r->options.counts->limited++;
        return false;
    }
    o->answers -= count;
    return true;
}
