// Who watches whom: neighbours' neighbours, the watchers that records name, and who steps in when there are none.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/monitor_parts.h"

enum {
    WATCH_MS = 1000,
    WATCH_FOR_MS = 30000,  // after a member was lost: longer than HEARD_MS
    UNWATCHED_MS = 3000,   // how long a record may stand without living watchers
    NEWCOMER_MS = 10000,   // or without any, at first
    UNCONFIRMED_MS = 1500,
    HEARD_MS = 20000,  // who was heard so lately is not looked for
    PROBERS = 2,
    TOLD_FIRST = 8,
    MASS_LINKS = 3,       // neighbours at least, most of which are silent
    MASS_SUSPECTS = 4,    // or so many suspects at least,
    MASS_SHARE = 8,       // and one in so many of the living
    MASS_FOR_MS = 10000,  // after it was last seen
    MASS_STEP_MS = 1000,  // twice as many look
};

// ---- what neighbours tell ----

void monitor_watchers_send(const struct monitor *m, struct outbox *out)
{
    uint8_t bytes[RECORD_WATCHERS_MAX * CORE_ID_SIZE];
    struct writer w = writer_over(bytes, sizeof bytes);
    for (uint32_t i = 0; i < m->links->count; i++)
        if (m->links->items[i].neighbor && w.size + CORE_ID_SIZE <= w.capacity)
            write_bytes(&w, m->links->items[i].id.bytes, CORE_ID_SIZE);
    struct message message = {.type = MESSAGE_MEMBERS_WATCHERS};
    message.members_watchers.ids = (struct slice){bytes, w.size};
    for (uint32_t i = 0; i < m->links->count; i++)
        if (m->links->items[i].neighbor) outbox_send(out, &m->links->items[i].id, &message);
}

static struct monitor_told *told_find(const struct monitor *m, const struct core_id *of)
{
    for (uint32_t i = 0; i < m->told_count; i++)
        if (id_equal(&m->told[i].of, of)) return &m->told[i];
    return NULL;
}

// A row for a neighbour: a new one, or that of one who no longer is.
static struct monitor_told *told_row(struct monitor *m, const struct core_id *of)
{
    struct monitor_told *row = told_find(m, of);
    if (row) return row;
    for (uint32_t i = 0; i < m->told_count; i++) {
        const struct link *link = link_table_find(m->links, &m->told[i].of);
        if (!link || !link->neighbor) return &m->told[i];
    }
    if (m->told_count == m->told_capacity) {
        const uint32_t capacity = m->told_capacity ? MONITOR_TOLD_MAX : TOLD_FIRST;
        struct monitor_told *told = realloc(m->told, capacity * sizeof *told);
        if (!told) return NULL;
        m->told = told;
        m->told_capacity = capacity;
        if (m->told_count == capacity) return NULL;
    }
    return &m->told[m->told_count++];
}

enum core_err monitor_told_received(struct monitor *m, const struct core_id *from, struct slice ids)
{
    if (ids.size % CORE_ID_SIZE != 0 || ids.size > RECORD_WATCHERS_MAX * CORE_ID_SIZE) return CORE_ERR_MALFORMED;
    const struct link *link = link_table_find(m->links, from);
    if (!link || !link->neighbor) return CORE_ERR_OK;
    struct monitor_told *row = told_row(m, from);
    if (!row) return CORE_ERR_OK;
    *row = (struct monitor_told){.of = *from, .count = (uint32_t)(ids.size / CORE_ID_SIZE)};
    if (ids.size) memcpy(row->watchers, ids.data, ids.size);
    return CORE_ERR_OK;
}

// The target's watchers as they are known best: as it told, or as its record names them.
static const struct core_id *watchers_of(const struct monitor *m, const struct core_id *target, uint32_t *count)
{
    const struct monitor_told *told = told_find(m, target);
    if (told && told->count > 0) {
        *count = told->count;
        return told->watchers;
    }
    const struct member *member = members_find(m->members, target);
    *count = member ? member->record->watcher_count : 0;
    return member ? member->record->watchers : NULL;
}

// ---- whom to ask ----

static uint64_t rendezvous(const struct core_id *target, const struct core_id *prober)
{
    uint64_t key, counter;
    memcpy(&key, target->bytes, sizeof key);
    memcpy(&counter, prober->bytes, sizeof counter);
    const struct philox_block block = philox(key, counter, 0x70726f62);
    return (uint64_t)block.word[0] << 32 | block.word[1];
}

static bool contains(const struct core_id *ids, uint32_t count, const struct core_id *id)
{
    for (uint32_t i = 0; i < count; i++)
        if (id_equal(&ids[i], id)) return true;
    return false;
}

// Alive, nobody whom this peer doubts itself, and linked or to be dialled.
static bool can_be_asked(const struct monitor *m, const struct core_id *id, const struct core_id *target, bool linked)
{
    const struct member *member = members_find(m->members, id);
    if (!member || id_equal(id, &m->members->self) || id_equal(id, target)) return false;
    if (members_state(member) != GOSSIP_ALIVE || monitor_doubt_find(m, id)) return false;
    const bool is_linked = link_table_find(m->links, id) != NULL;
    return is_linked == linked && (linked || member->record->addresses.size > 0);
}

// Those that come first in rendezvous order among the living, who are neither the target nor this peer.
static uint32_t first_in_order(const struct monitor *m, const struct core_id *target, struct core_id *ids,
                               uint32_t count, uint32_t max)
{
    while (count < max) {
        const struct core_id *best = NULL;
        uint64_t least = UINT64_MAX;
        for (uint32_t i = 0; i < m->members->count; i++) {
            const struct member *member = members_at(m->members, i);
            const struct core_id *id = &member->record->id;
            if (members_state(member) != GOSSIP_ALIVE || contains(ids, count, id)) continue;
            const uint64_t order = rendezvous(target, id);
            if (order >= least) continue;
            if (!can_be_asked(m, id, target, true) && !can_be_asked(m, id, target, false)) continue;
            least = order;
            best = id;
        }
        if (!best) break;
        ids[count++] = *best;
    }
    return count;
}

uint32_t monitor_watchers_pick(struct monitor *m, const struct core_id *target, bool in_order, struct core_id *ids,
                               uint32_t count, uint32_t max)
{
    if (in_order) return first_in_order(m, target, ids, count, max < count + PROBERS ? max : count + PROBERS);
    uint32_t n;
    const struct core_id *watchers = watchers_of(m, target, &n);
    const uint32_t first = n ? (uint32_t)rng_below(&m->rng, n) : 0;
    for (int linked = 1; linked >= 0; linked--) {
        for (uint32_t i = 0; i < n && count < max; i++) {
            const struct core_id *watcher = &watchers[(first + i) % n];
            if (!can_be_asked(m, watcher, target, linked) || contains(ids, count, watcher)) continue;
            ids[count++] = *watcher;
        }
    }
    return count;
}

uint32_t monitor_watchers_before(const struct monitor *m, const struct core_id *target)
{
    uint32_t n, before = 0;
    const struct core_id *watchers = watchers_of(m, target, &n);
    const uint64_t own = rendezvous(target, &m->members->self);
    for (uint32_t i = 0; i < n; i++) {
        const struct member *member = members_find(m->members, &watchers[i]);
        if (!member || members_state(member) != GOSSIP_ALIVE) continue;
        before += rendezvous(target, &watchers[i]) < own;
    }
    return before;
}

bool monitor_is_prober(const struct monitor *m, const struct core_id *target)
{
    const struct member *of = members_find(m->members, target);
    const uint64_t own = rendezvous(target, &m->members->self);
    uint32_t before = 0;
    for (uint32_t i = 0; i < m->members->count && before < PROBERS; i++) {
        const struct member *member = members_at(m->members, i);
        const struct core_id *id = &member->record->id;
        if (members_state(member) != GOSSIP_ALIVE || id_equal(id, target) || id_equal(id, &m->members->self)) continue;
        if (of && of->accusations[0] && id_equal(id, &of->accusations[0]->accuser)) continue;
        before += rendezvous(target, id) < own;
    }
    return before < PROBERS;
}

// ---- who is watched by nobody ----

void monitor_lost(struct monitor *m, uint64_t now_ms)
{
    m->watch_until_ms = now_ms + WATCH_FOR_MS;
    if (m->watch_ms == UINT64_MAX) m->watch_ms = now_ms + UNWATCHED_MS;
}

// Whether this peer is one of about PROBERS * 2^steps of the living.
static bool is_drawn(const struct monitor *m, const struct core_id *target, uint64_t steps)
{
    const uint64_t alive = members_alive(m->members);
    const uint64_t share = steps < 32 ? (uint64_t)PROBERS << steps : alive;
    return share >= alive || rendezvous(target, &m->members->self) < UINT64_MAX / alive * share;
}

static bool is_mass(const struct monitor *m, uint64_t now_ms)
{
    return now_ms < m->mass_until_ms;
}

// Whether it is up to this peer to look for the member, whose watchers it goes through.
static bool is_missed(const struct monitor *m, const struct member *member, uint64_t now_ms)
{
    const struct member_record *r = member->record;
    const uint64_t age_ms = now_ms - member->since_ms;
    if (members_state(member) == GOSSIP_SUSPECT) {  // those who should confirm it may be gone too
        if (age_ms < UNCONFIRMED_MS) return false;
        return monitor_is_prober(m, &r->id) || is_drawn(m, &r->id, age_ms / UNCONFIRMED_MS - 1);
    }
    const bool young = age_ms < UNWATCHED_MS;  // it came, or refuted: it was there a moment ago
    if (is_mass(m, now_ms) && !young && is_drawn(m, &r->id, (now_ms - m->mass_ms) / MASS_STEP_MS)) return true;
    if (young || (r->watcher_count == 0 && age_ms < NEWCOMER_MS)) return false;
    bool named = false, lost = false, living = false;
    for (uint32_t i = 0; i < r->watcher_count; i++) {
        const struct member *watcher = members_find(m->members, &r->watchers[i]);
        const bool is_self = id_equal(&r->watchers[i], &m->members->self);
        const bool lives = watcher && members_state(watcher) == GOSSIP_ALIVE;
        named |= is_self;
        living |= lives && !is_self;
        lost |= !lives;
    }
    // Named, and no neighbour any more: the others, who may have been the last, are gone.
    if (named) return lost;
    return !living && monitor_is_prober(m, &r->id);
}

static bool much_is_silent(const struct monitor *m)
{
    uint32_t neighbors = 0, silent = 0;
    for (uint32_t i = 0; i < m->links->count; i++) {
        const struct link *link = &m->links->items[i];
        if (!link->neighbor) continue;
        neighbors++;
        silent += (link->waiting_ms != 0 && link->pinged_again) || monitor_doubt_find(m, &link->id);
    }
    const uint32_t suspects = m->members->states[GOSSIP_SUSPECT];
    return (neighbors >= MASS_LINKS && 2 * silent > neighbors) ||
           (suspects >= MASS_SUSPECTS && suspects * MASS_SHARE >= members_alive(m->members));
}

void monitor_mass(struct monitor *m, uint64_t now_ms)
{
    if (!much_is_silent(m)) return;
    if (!is_mass(m, now_ms)) m->mass_ms = now_ms;
    m->mass_until_ms = now_ms + MASS_FOR_MS;
    if (m->watch_until_ms < m->mass_until_ms) m->watch_until_ms = m->mass_until_ms;
    if (m->watch_ms > now_ms + WATCH_MS) m->watch_ms = now_ms + WATCH_MS;
}

void monitor_watch(struct monitor *m, uint64_t now_ms, struct outbox *out)
{
    m->watch_ms = now_ms + WATCH_MS;
    bool open = false;
    for (uint32_t i = 0; i < m->members->count; i++) {
        const struct member *member = members_at(m->members, i);
        const struct core_id *id = &member->record->id;
        const enum gossip_state state = members_state(member);
        if (state >= GOSSIP_DEAD || id_equal(id, &m->members->self)) continue;
        open |= state == GOSSIP_SUSPECT;
        const struct link *link = link_table_find(m->links, id);
        if (link && link->neighbor) continue;
        const uint64_t heard_from_ms = is_mass(m, now_ms) ? m->mass_ms : now_ms < HEARD_MS ? 0 : now_ms - HEARD_MS;
        if (state == GOSSIP_ALIVE && member->heard_ms && member->heard_ms >= heard_from_ms) continue;
        if (monitor_doubt_find(m, id) || !is_missed(m, member, now_ms)) continue;
        monitor_doubt(m, id, state == GOSSIP_SUSPECT ? MONITOR_ACCUSED : MONITOR_UNWATCHED, now_ms, out);
    }
    if (!open && now_ms >= m->watch_until_ms) m->watch_ms = UINT64_MAX;
}
