#include "gossip/members.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/members_parts.h"

enum { CAPACITY_FIRST = 16, TOMBSTONES_FIRST = 8 };

// Thousands of peers with thousands of members each fit one simulator's process.
_Static_assert(sizeof(struct member) <= 64, "a member is small");
_Static_assert(4 + RECORD_MAX + 4 + MEMBERS_ACCUSATIONS_MAX <= GOSSIP_ENTRY_MAX, "an entry fits its bound");

static uint64_t prefix_of(const struct core_id *id)
{
    uint64_t prefix = 0;
    for (uint32_t i = 0; i < 8; i++) prefix = prefix << 8 | id->bytes[i];
    return prefix;
}

void members_refuse(struct members *m, enum gossip_refusal why)
{
    m->counts->refusals[why]++;
}

enum core_err members_open(struct members *m, const struct gossip_options *options, const struct link_table *links,
                           struct gossip_counts *counts, uint64_t now_ms)
{
    *m = (struct members){.options = options, .links = links, .counts = counts, .self = options->key.id};
    m->sample_below = m->suspect_ms = UINT64_MAX;
    m->age_ms = now_ms + MEMBERS_AGE_MS;
    enum core_err err = digest_open(&m->digest);
    m->pool = options->pool;
    if (!err && !m->pool) {
        err = record_pool_open(&m->pool);
        m->pool_is_own = !err;
    }
    if (err) members_close(m);
    return err;
}

static void accusations_drop(struct members *m, struct member *member)
{
    for (uint32_t i = 0; i < MEMBERS_ACCUSERS; i++) {
        record_pool_release_accusation(m->pool, member->accusations[i]);
        member->accusations[i] = NULL;
    }
    member->dead = false;
}

void members_close(struct members *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct member *member = members_at(m, i);
        accusations_drop(m, member);
        record_pool_release_record(m->pool, member->record);
    }
    for (uint32_t i = 0; i < m->tombstone_count; i++) record_pool_release_record(m->pool, m->tombstones[i]);
    for (uint32_t i = 0; i < m->proof_count; i++)
        for (uint32_t k = 0; k < 2; k++) record_pool_release_record(m->pool, m->proofs[i].records[k]);
    if (m->pool_is_own) record_pool_close(m->pool);
    digest_close(&m->digest);
    conduct_close(&m->conduct);
    free(m->tombstones);
    free(m->items);
    free(m->order);
    free(m->prefixes);
    *m = (struct members){0};
}

// ---- looking ----

// Ids are keys' bytes, spread evenly: the search begins near where the id would lie, and widens from there.
uint32_t members_from(const struct members *m, uint64_t prefix)
{
    uint32_t low = 0, high = m->count;
    uint32_t at = (uint32_t)((prefix >> 32) * high >> 32);
    for (uint32_t step = 8; at < high && m->prefixes[at] < prefix; step *= 4) {
        low = at + 1;
        at = high - low > step ? low + step : high;
    }
    if (at < high) high = at;
    for (uint32_t step = 8; high > low + step && m->prefixes[high - step] >= prefix; step *= 4) high -= step;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (m->prefixes[middle] < prefix)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// The first index in `order` whose id is not below `id`.
static uint32_t lower_bound(const struct members *m, const struct core_id *id)
{
    const uint64_t prefix = prefix_of(id);
    uint32_t at = members_from(m, prefix);
    while (at < m->count && m->prefixes[at] == prefix && id_compare(&members_at(m, at)->record->id, id) < 0) at++;
    return at;
}

struct member *members_at(const struct members *m, uint32_t index)
{
    check(index < m->count);
    return &m->items[m->order[index]];
}

struct member *members_find(const struct members *m, const struct core_id *id)
{
    const uint32_t at = lower_bound(m, id);
    if (at == m->count || m->prefixes[at] != prefix_of(id)) return NULL;
    struct member *member = members_at(m, at);
    return id_equal(&member->record->id, id) ? member : NULL;
}

uint32_t members_accusations(const struct member *member)
{
    return (member->accusations[0] != NULL) + (member->accusations[1] != NULL);
}

enum gossip_state members_state(const struct member *member)
{
    if (member->record->left) return GOSSIP_LEFT;
    if (!member->accusations[0]) return GOSSIP_ALIVE;
    return member->dead ? GOSSIP_DEAD : GOSSIP_SUSPECT;
}

uint32_t members_alive(const struct members *m)
{
    return m->states[GOSSIP_ALIVE] + m->states[GOSSIP_SUSPECT];
}

int members_order(const struct member_record *a, const struct member_record *b)
{
    if (a->incarnation != b->incarnation) return a->incarnation < b->incarnation ? -1 : 1;
    if (a->seq != b->seq) return a->seq < b->seq ? -1 : 1;
    if (a->bytes.size == b->bytes.size && memcmp(a->bytes.data, b->bytes.data, a->bytes.size) == 0) return 0;
    const struct core_hash of_a = hash_bytes(a->bytes.data, a->bytes.size);
    const struct core_hash of_b = hash_bytes(b->bytes.data, b->bytes.size);
    return hash_compare(&of_a, &of_b) > 0 ? -1 : 1;
}

// ---- the digest ----

static bool is_marked(const struct member *member)
{
    return !member->quiet;
}

struct pool_mark members_mark(const struct member *member)
{
    const struct accusation *first = member->accusations[0];
    return digest_mark(member->record, members_accusations(member), first ? &first->accuser : NULL);
}

void members_toggle(struct members *m, const struct member *member)
{
    if (!is_marked(member)) return;
    const struct pool_mark mark = members_mark(member);
    digest_toggle(&m->digest, member->prefix, &mark);
}

static void deepen(struct members *m)
{
    if (!digest_is_shallow(&m->digest, m->count) || !digest_deepen(&m->digest)) return;
    for (uint32_t i = 0; i < m->count; i++) members_toggle(m, members_at(m, i));
}

static void set_quiet(struct members *m, struct member *member, bool quiet)
{
    if (member->quiet == quiet) return;
    members_toggle(m, member);
    member->quiet = quiet;
    members_toggle(m, member);
}

// ---- entries ----

static void tombstone_add(struct members *m, const struct member_record *record)
{
    if (m->tombstone_count == m->tombstone_capacity && m->tombstone_capacity < MEMBERS_TOMBSTONES_MAX) {
        const uint32_t capacity = m->tombstone_capacity ? 2 * m->tombstone_capacity : TOMBSTONES_FIRST;
        const struct member_record **tombstones = realloc(m->tombstones, capacity * sizeof *tombstones);
        if (tombstones) {
            m->tombstones = tombstones;
            m->tombstone_capacity = capacity;
        }
    }
    if (m->tombstone_count < m->tombstone_capacity) {
        m->tombstones[m->tombstone_count++] = record;
        return;
    }
    if (m->tombstone_capacity == 0) {
        record_pool_release_record(m->pool, record);
        return;
    }
    if (m->tombstone_next == m->tombstone_capacity) m->tombstone_next = 0;
    record_pool_release_record(m->pool, m->tombstones[m->tombstone_next]);
    m->tombstones[m->tombstone_next++] = record;
}

static const struct member_record **tombstone_find(const struct members *m, const struct core_id *id)
{
    for (uint32_t i = 0; i < m->tombstone_count; i++)
        if (id_equal(&m->tombstones[i]->id, id)) return &m->tombstones[i];
    return NULL;
}

bool members_known(const struct members *m, const struct core_id *id)
{
    return members_find(m, id) || tombstone_find(m, id);
}

static void tombstone_remove(struct members *m, const struct core_id *id)
{
    const struct member_record **at = tombstone_find(m, id);
    if (!at) return;
    record_pool_release_record(m->pool, *at);
    *at = m->tombstones[--m->tombstone_count];
}

static void remove_at(struct members *m, uint32_t index, bool bury)
{
    const uint32_t place = m->order[index];
    struct member *member = &m->items[place];
    members_toggle(m, member);
    m->states[members_state(member)]--;
    accusations_drop(m, member);
    if (bury)
        tombstone_add(m, member->record);
    else
        record_pool_release_record(m->pool, member->record);
    *member = (struct member){0};
    const uint32_t behind = m->count - index - 1;
    memmove(&m->order[index], &m->order[index + 1], behind * sizeof *m->order);
    memmove(&m->prefixes[index], &m->prefixes[index + 1], behind * sizeof *m->prefixes);
    m->order[--m->count] = place;
}

void members_remove(struct members *m, const struct core_id *id)
{
    const uint32_t at = lower_bound(m, id);
    if (at < m->count && id_equal(&members_at(m, at)->record->id, id)) remove_at(m, at, false);
}

static uint64_t sample_hash(const struct core_id *of, uint64_t prefix)
{
    const struct philox_block block = philox(prefix_of(of), prefix, 0x73616d70);
    return (uint64_t)block.word[0] << 32 | block.word[1];
}

bool members_wanted(const struct members *m, uint64_t prefix)
{
    return members_wanted_by(m, &m->self, prefix);
}

bool members_wanted_by(const struct members *m, const struct core_id *neighbor, uint64_t prefix)
{
    return !m->sampled || sample_hash(neighbor, prefix) < m->sample_below;
}

static bool is_linked(const struct members *m, const struct core_id *id)
{
    for (uint32_t i = 0; m->links && i < m->links->count; i++)
        if (id_equal(&m->links->items[i].id, id)) return true;
    return false;
}

// Who has been dead or gone longest; `count` if everyone lives.
static uint32_t longest_gone(const struct members *m)
{
    uint32_t oldest = m->count;
    if (m->states[GOSSIP_DEAD] + m->states[GOSSIP_LEFT] == 0) return oldest;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct member *member = members_at(m, i);
        if (members_state(member) < GOSSIP_DEAD || id_equal(&member->record->id, &m->self)) continue;
        if (oldest == m->count || member->since_ms < members_at(m, oldest)->since_ms) oldest = i;
    }
    return oldest;
}

// Of those not linked with, the one with the highest hash; `count` if all are.
static uint32_t least_wanted(const struct members *m, uint64_t *hash)
{
    uint32_t least = m->count;
    *hash = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct member *member = members_at(m, i);
        if (least < m->count && member->hash <= *hash) continue;
        if (id_equal(&member->record->id, &m->self) || is_linked(m, &member->record->id)) continue;
        *hash = member->hash;
        least = i;
    }
    return least;
}

// Room for one more; false if the table is full and the newcomer is not for its sample.
static bool make_room(struct members *m, const struct core_id *id)
{
    if (m->count < m->options->members_max) return true;
    const uint32_t gone = longest_gone(m);
    if (gone < m->count) {
        remove_at(m, gone, true);
        return true;
    }
    const bool linked = is_linked(m, id);
    const uint64_t own = sample_hash(&m->self, prefix_of(id));
    m->sampled = true;
    if (!linked && own >= m->sample_below) return false;
    uint64_t hash;
    const uint32_t least = least_wanted(m, &hash);
    if (least == m->count || (!linked && own >= hash)) {
        if (least < m->count && hash < m->sample_below) m->sample_below = hash;
        return false;
    }
    if (hash < m->sample_below) m->sample_below = hash;
    remove_at(m, least, false);
    return true;
}

static bool grow(struct members *m)
{
    if (m->count < m->capacity) return true;
    const uint32_t max = m->options->members_max;
    uint32_t capacity = m->capacity ? m->capacity + m->capacity / 2 : CAPACITY_FIRST;
    if (capacity > max) capacity = max;
    if (capacity <= m->count) return false;
    struct member *items = realloc(m->items, capacity * sizeof *items);
    if (items) m->items = items;
    uint32_t *order = realloc(m->order, capacity * sizeof *order);
    if (order) m->order = order;
    uint64_t *prefixes = realloc(m->prefixes, capacity * sizeof *prefixes);
    if (prefixes) m->prefixes = prefixes;
    if (!items || !order || !prefixes) return false;
    for (uint32_t i = m->capacity; i < capacity; i++) m->order[i] = i;
    m->capacity = capacity;
    return true;
}

// An entry without a record yet; NULL if there is no room.
static struct member *insert(struct members *m, const struct core_id *id)
{
    if (!make_room(m, id) || !grow(m)) return NULL;
    const uint32_t at = lower_bound(m, id), place = m->order[m->count];
    memmove(&m->order[at + 1], &m->order[at], (m->count - at) * sizeof *m->order);
    memmove(&m->prefixes[at + 1], &m->prefixes[at], (m->count - at) * sizeof *m->prefixes);
    m->order[at] = place;
    m->prefixes[at] = prefix_of(id);
    m->count++;
    struct member *member = &m->items[place];
    *member = (struct member){.prefix = prefix_of(id), .hash = sample_hash(&m->self, prefix_of(id))};
    return member;
}

// `record` is interned, and its reference goes to the entry.
static void store(struct members *m, struct member *member, const struct member_record *record, uint64_t now_ms)
{
    const bool fresh = member->record == NULL;
    const enum gossip_state before = fresh ? GOSSIP_ALIVE : members_state(member);
    if (!fresh) {
        members_toggle(m, member);
        m->states[before]--;
        if (member->record->incarnation != record->incarnation) accusations_drop(m, member);
        record_pool_release_record(m->pool, member->record);
    }
    member->record = record;
    member->quiet = false;
    if (fresh || members_state(member) != before) member->since_ms = now_ms;
    m->states[members_state(member)]++;
    members_toggle(m, member);
    if (fresh) deepen(m);
}

void members_self_put(struct members *m, const struct member_record *record, const struct core_key *key,
                      uint64_t now_ms)
{
    uint8_t bytes[RECORD_MAX];
    const size_t size = record_write(bytes, record, key);
    struct member_record own;
    const enum core_err err = record_read(&own, (struct slice){bytes, size});
    check(err == CORE_ERR_OK);
    const struct member_record *interned = record_pool_add_record(m->pool, &own);
    struct member *member = members_find(m, &m->self);
    if (!member) member = insert(m, &m->self);
    check(interned && member);
    store(m, member, interned, now_ms);
}

static bool same_bytes(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static bool is_notable(const struct member_record *a, const struct member_record *b)
{
    return a->incarnation != b->incarnation || a->left != b->left || !hash_equal(&a->host, &b->host) ||
           a->located != b->located || memcmp(&a->coordinates, &b->coordinates, sizeof a->coordinates) != 0 ||
           !same_bytes(a->name, b->name) || !same_bytes(a->site, b->site) || !same_bytes(a->addresses, b->addresses) ||
           !same_bytes(a->certificate, b->certificate);
}

// Takes what was signed, once: what others of this process know was checked by them.
static const struct member_record *intern(struct members *m, const struct member_record *record)
{
    const struct member_record *known = record_pool_find_record(m->pool, record);
    if (known) return known;
    if (!record_signed(record, &m->options->signatures)) return NULL;
    return record_pool_add_record(m->pool, record);
}

// Both were signed by their member.
static void proof_add(struct members *m, const struct member_record *a, const struct member_record *b)
{
    m->counts->equivocations++;
    for (uint32_t i = 0; i < m->proof_count; i++)
        if (id_equal(&m->proofs[i].records[0]->id, &a->id)) return;
    if (m->proof_count == MEMBERS_PROOFS_MAX) return;
    struct members_proof *proof = &m->proofs[m->proof_count++];
    proof->records[0] = record_pool_find_record(m->pool, a);
    proof->records[1] = record_pool_find_record(m->pool, b);
    check(proof->records[0] && proof->records[1]);
}

static bool is_twofold(const struct member_record *a, const struct member_record *b)
{
    return a->session == b->session && a->incarnation == b->incarnation && a->seq == b->seq;
}

// A member outlived what was said of it before it was given up: single accusers are remembered for it.
static void blame(struct members *m, const struct member *member, uint64_t now_ms)
{
    if (members_state(member) != GOSSIP_SUSPECT || members_accusations(member) != 1) return;
    const struct core_id *accuser = &member->accusations[0]->accuser;
    if (id_equal(accuser, &m->self)) return;
    if (conduct_refuted(&m->conduct, accuser, &member->record->id, now_ms)) m->counts->muted++;
}

static enum core_err place(struct members *m, struct member *member, const struct member_record *record,
                           uint64_t now_ms, struct members_change *change)
{
    const struct gossip_callbacks *c = &m->options->callbacks;
    if (c->certificate_valid && !c->certificate_valid(c->context, &record->id, record->name, record->certificate)) {
        members_refuse(m, GOSSIP_REFUSED_CERTIFICATE);
        return CORE_ERR_REFUSED;
    }
    if (!conduct_record(&m->conduct, &record->id, now_ms)) {
        members_refuse(m, GOSSIP_REFUSED_RATE);
        return CORE_ERR_REFUSED;
    }
    const bool fresh = member == NULL;
    if (fresh) member = insert(m, &record->id);
    change->pass = true;
    if (!member) {
        m->counts->unsampled++;
        record_pool_release_record(m->pool, record);
        return CORE_ERR_OK;
    }
    const enum gossip_state before = fresh ? GOSSIP_ALIVE : members_state(member);
    if (!fresh && record->incarnation > member->record->incarnation) blame(m, member, now_ms);
    change->notable = fresh || is_notable(member->record, record);
    store(m, member, record, now_ms);
    tombstone_remove(m, &record->id);
    change->news = true;
    change->revived = before != GOSSIP_ALIVE && members_state(member) == GOSSIP_ALIVE;
    return CORE_ERR_OK;
}

enum core_err members_record_put(struct members *m, struct slice bytes, uint64_t now_ms, struct members_change *change)
{
    *change = (struct members_change){0};
    struct member_record record;
    enum core_err err = record_read(&record, bytes);
    if (err) {
        members_refuse(m, GOSSIP_REFUSED_MALFORMED);
        return err;
    }
    change->id = record.id;
    struct member *member = members_find(m, &record.id);
    const int order = member ? members_order(member->record, &record) : -1;
    if (order == 0) {
        set_quiet(m, member, false);  // somebody believes that it lives
        change->pass = true;
        return CORE_ERR_OK;
    }
    const bool twofold = member && is_twofold(member->record, &record);
    if (order > 0 && !twofold) {
        change->stale = true;
        return CORE_ERR_OK;
    }
    const struct member_record **tombstone = member ? NULL : tombstone_find(m, &record.id);
    if (tombstone && members_order(*tombstone, &record) >= 0) {
        members_refuse(m, GOSSIP_REFUSED_FORGOTTEN);
        return CORE_ERR_REFUSED;
    }
    const struct member_record *interned = intern(m, &record);
    if (!interned) {
        members_refuse(m, GOSSIP_REFUSED_SIGNATURE);
        return CORE_ERR_BAD_SIGNATURE;
    }
    const bool is_self = id_equal(&record.id, &m->self);
    if (twofold && !is_self) proof_add(m, member->record, interned);
    if (is_self) {
        change->self_behind = true;
        change->incarnation = record.incarnation;
    } else if (order < 0) {
        err = place(m, member, interned, now_ms, change);
        if (!err) return CORE_ERR_OK;
    }
    record_pool_release_record(m->pool, interned);
    return err;
}

// ---- time ----

void members_age(struct members *m, uint64_t now_ms)
{
    if (now_ms < m->age_ms) return;
    m->age_ms = now_ms + MEMBERS_AGE_MS;
    for (uint32_t i = m->count; i-- > 0;) {
        struct member *member = members_at(m, i);
        const enum gossip_state state = members_state(member);
        if (state < GOSSIP_DEAD || id_equal(&member->record->id, &m->self)) continue;
        const uint64_t age = now_ms - member->since_ms;
        if (age >= (state == GOSSIP_LEFT ? MEMBERS_LEFT_KEEP_MS : MEMBERS_DEAD_KEEP_MS))
            remove_at(m, i, true);
        else if (age >= (state == GOSSIP_LEFT ? MEMBERS_LEFT_QUIET_MS : MEMBERS_DEAD_QUIET_MS))
            set_quiet(m, member, true);
    }
}
