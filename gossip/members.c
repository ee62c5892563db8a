#include "gossip/members.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"

enum {
    ENTRY_SIZE = CORE_ID_SIZE + 8 + 8 + 1,  // of a page: id, incarnation, seq, rank
    PAGE_ENTRIES = 1024,
    PAGE_HEAD = 2 * CORE_ID_SIZE,  // the range that the page covers, both ends included
    BUFFER_SIZE = 120000,          // below the limits of MEMBERS_DIGEST and MEMBERS_RECORDS with their other fields
    WANT_MAX = 1024,               // ids
};

_Static_assert(PAGE_HEAD + PAGE_ENTRIES * ENTRY_SIZE <= BUFFER_SIZE, "a page fits a message");
_Static_assert(4 + RECORD_MAX + 4 + ACCUSATION_SIZE <= GOSSIP_ENTRY_MAX, "an entry fits its bound");

enum core_err members_open(struct members *m, const struct core_id *self, uint32_t capacity,
                           struct gossip_callbacks callbacks)
{
    *m = (struct members){.capacity = capacity, .self = *self, .callbacks = callbacks};
    m->items = calloc(capacity, sizeof *m->items);
    m->order = calloc(capacity, sizeof *m->order);
    m->buffer = malloc(BUFFER_SIZE);
    if (!m->items || !m->order || !m->buffer) {
        members_close(m);
        return CORE_ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < capacity; i++) m->order[i] = i;
    return CORE_ERR_OK;
}

void members_close(struct members *m)
{
    free(m->items);
    free(m->order);
    free(m->buffer);
    *m = (struct members){0};
}

// The first index in `order` whose id is not below `id`.
static uint32_t lower_bound(const struct members *m, const struct core_id *id)
{
    uint32_t low = 0, high = m->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (id_compare(&members_at(m, middle)->record.id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct member *members_at(const struct members *m, uint32_t index)
{
    check(index < m->count);
    return &m->items[m->order[index]];
}

struct member *members_find(const struct members *m, const struct core_id *id)
{
    const uint32_t at = lower_bound(m, id);
    if (at == m->count) return NULL;
    struct member *member = members_at(m, at);
    return id_equal(&member->record.id, id) ? member : NULL;
}

enum gossip_state members_state(const struct member *member)
{
    if (member->record.left) return GOSSIP_LEFT;
    if (member->rank == RANK_DEAD) return GOSSIP_DEAD;
    return member->rank == RANK_SUSPECT ? GOSSIP_SUSPECT : GOSSIP_ALIVE;
}

uint32_t members_alive(const struct members *m)
{
    uint32_t alive = 0;
    for (uint32_t i = 0; i < m->count; i++) alive += members_state(members_at(m, i)) <= GOSSIP_SUSPECT;
    return alive;
}

// Takes the entry's old mark out of the digest and puts the new one in.
static void remark(struct members *m, struct member *member, bool present)
{
    for (size_t i = 0; i < sizeof m->digest.bytes; i++) m->digest.bytes[i] ^= member->mark.bytes[i];
    member->mark = (struct core_hash){{0}};
    if (!present) return;
    uint8_t raw[ENTRY_SIZE];
    struct writer w = writer_over(raw, sizeof raw);
    write_bytes(&w, member->record.id.bytes, CORE_ID_SIZE);
    write_u64(&w, member->record.incarnation);
    write_u64(&w, member->record.seq);
    write_u8(&w, (uint8_t)member->rank);
    member->mark = hash_bytes(raw, w.size);
    for (size_t i = 0; i < sizeof m->digest.bytes; i++) m->digest.bytes[i] ^= member->mark.bytes[i];
}

static void remove_at(struct members *m, uint32_t index)
{
    const uint32_t place = m->order[index];
    remark(m, &m->items[place], false);
    memmove(&m->order[index], &m->order[index + 1], (m->count - index - 1) * sizeof *m->order);
    m->order[--m->count] = place;
}

void members_remove(struct members *m, const struct core_id *id)
{
    const uint32_t at = lower_bound(m, id);
    if (at < m->count && id_equal(&members_at(m, at)->record.id, id)) remove_at(m, at);
}

// Room for one more: lets go of the member that has been dead or gone longest.
static bool make_room(struct members *m)
{
    if (m->count < m->capacity) return true;
    uint32_t oldest = m->count;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct member *member = members_at(m, i);
        if (members_state(member) < GOSSIP_DEAD || id_equal(&member->record.id, &m->self)) continue;
        if (oldest == m->count || member->since_ms < members_at(m, oldest)->since_ms) oldest = i;
    }
    if (oldest == m->count) return false;
    remove_at(m, oldest);
    return true;
}

static struct member *insert(struct members *m, const struct core_id *id)
{
    if (!make_room(m)) return NULL;
    const uint32_t at = lower_bound(m, id), place = m->order[m->count];
    memmove(&m->order[at + 1], &m->order[at], (m->count - at) * sizeof *m->order);
    m->order[at] = place;
    m->count++;
    struct member *member = &m->items[place];
    *member = (struct member){.record.id = *id};
    return member;
}

// -1, 0, 1: whether what is known as (incarnation, seq) comes before the record.
static int compare(uint64_t incarnation, uint64_t seq, const struct record *record)
{
    if (incarnation != record->incarnation) return incarnation < record->incarnation ? -1 : 1;
    return seq < record->seq ? -1 : seq > record->seq;
}

static void store(struct members *m, struct member *member, struct slice bytes, uint64_t now_ms)
{
    const enum gossip_state before = members_state(member);
    const uint64_t incarnation = member->record.incarnation;
    memcpy(member->bytes, bytes.data, bytes.size);
    member->size = (uint32_t)bytes.size;
    const enum core_err err = record_read(&member->record, (struct slice){member->bytes, bytes.size});
    check(err == CORE_ERR_OK);
    if (member->record.incarnation != incarnation) member->rank = RANK_NONE;
    if (members_state(member) != before || member->since_ms == 0) member->since_ms = now_ms;
    remark(m, member, true);
}

void members_self_put(struct members *m, const struct record *record, const struct core_key *key, uint64_t now_ms)
{
    uint8_t bytes[RECORD_MAX];
    const size_t size = record_write(bytes, record, key);
    struct member *member = members_find(m, &m->self);
    if (!member) member = insert(m, &m->self);
    check(member);
    store(m, member, (struct slice){bytes, size}, now_ms);
}

static bool same_bytes(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static bool only_watchers_differ(const struct record *a, const struct record *b)
{
    return a->incarnation == b->incarnation && a->left == b->left && hash_equal(&a->host, &b->host) &&
           same_bytes(a->name, b->name) && same_bytes(a->addresses, b->addresses) &&
           same_bytes(a->certificate, b->certificate);
}

enum core_err members_record_put(struct members *m, struct slice bytes, uint64_t now_ms, struct members_change *change)
{
    *change = (struct members_change){0};
    struct record record;
    const enum core_err err = record_read(&record, bytes);
    if (err) return err;
    change->id = record.id;
    struct member *member = members_find(m, &record.id);
    if (member && compare(member->record.incarnation, member->record.seq, &record) >= 0) return CORE_ERR_OK;
    if (!record_signed(&record, bytes)) return CORE_ERR_BAD_SIGNATURE;
    if (id_equal(&record.id, &m->self)) {
        change->self_behind = true;
        change->incarnation = record.incarnation;
        return CORE_ERR_OK;
    }
    const struct gossip_callbacks *c = &m->callbacks;
    if (c->certificate_valid && !c->certificate_valid(c->context, &record.id, record.name, record.certificate))
        return CORE_ERR_REFUSED;
    const bool fresh = member == NULL;
    if (fresh) member = insert(m, &record.id);
    if (!member) return CORE_ERR_LIMIT;
    const enum gossip_state before = fresh ? GOSSIP_ALIVE : members_state(member);
    change->notable = fresh || !only_watchers_differ(&member->record, &record);
    store(m, member, bytes, now_ms);
    change->news = true;
    change->revived = before != GOSSIP_ALIVE && members_state(member) == GOSSIP_ALIVE;
    return CORE_ERR_OK;
}

enum core_err members_accusation_put(struct members *m, struct slice bytes, uint64_t now_ms,
                                     struct members_change *change)
{
    *change = (struct members_change){0};
    struct accusation accusation;
    const enum core_err err = accusation_read(&accusation, bytes);
    if (err) return err;
    change->id = accusation.target;
    struct member *member = members_find(m, &accusation.target);
    // Strangers' words count for nothing, and what was said of an earlier life is settled.
    if (!member || !members_find(m, &accusation.accuser)) return CORE_ERR_OK;
    if (accusation.incarnation != member->record.incarnation || accusation.rank <= member->rank) return CORE_ERR_OK;
    if (!accusation_signed(&accusation, bytes)) return CORE_ERR_BAD_SIGNATURE;
    if (id_equal(&accusation.target, &m->self)) {
        change->self_behind = true;
        change->incarnation = accusation.incarnation;
        return CORE_ERR_OK;
    }
    memcpy(member->accusation, bytes.data, ACCUSATION_SIZE);
    member->rank = accusation.rank;
    member->since_ms = now_ms;
    remark(m, member, true);
    change->news = true;
    change->notable = true;
    return CORE_ERR_OK;
}

// ---- anti-entropy ----

void members_digest_send(const struct members *m, const struct core_id *peer, struct outbox *out)
{
    struct message message = {.type = MESSAGE_MEMBERS_DIGEST};
    message.members_digest.count = m->count;
    message.members_digest.digest = m->digest;
    outbox_send(out, peer, &message);
}

void members_entry_write(struct writer *w, const struct member *member)
{
    write_slice(w, (struct slice){member->bytes, member->size});
    write_slice(w, (struct slice){member->accusation, member->rank == RANK_NONE ? 0 : ACCUSATION_SIZE});
}

bool members_entry_next(struct reader *r, struct slice *record, struct slice *accusation)
{
    if (r->failed || r->at == r->size) return false;
    *record = read_slice(r, RECORD_MAX);
    *accusation = read_slice(r, ACCUSATION_SIZE);
    return !r->failed;
}

static void records_send(const struct core_id *peer, const struct writer *w, struct outbox *out)
{
    if (w->size == 0) return;
    struct message message = {.type = MESSAGE_MEMBERS_RECORDS};
    message.members_records.records = (struct slice){w->data, w->size};
    outbox_send(out, peer, &message);
}

void members_entry_send(struct members *m, const struct member *member, const struct core_id *peer, struct outbox *out)
{
    struct writer w = writer_over(m->buffer, BUFFER_SIZE);
    members_entry_write(&w, member);
    records_send(peer, &w, out);
}

// Entries from `page` on, wrapping at the end; a table of up to PAGE_ENTRIES is one page, all of it.
static void page_send(struct members *m, const struct core_id *peer, struct outbox *out)
{
    if (m->page >= m->count) m->page = 0;  // the table has shrunk
    const uint32_t first = m->page, left = m->count - first, n = left < PAGE_ENTRIES ? left : PAGE_ENTRIES;
    struct core_id from = {{0}}, to;
    memset(to.bytes, 0xff, sizeof to.bytes);
    if (first > 0) from = members_at(m, first)->record.id;
    if (first + n < m->count) to = members_at(m, first + n - 1)->record.id;
    m->page = first + n < m->count ? first + n : 0;

    struct writer w = writer_over(m->buffer, BUFFER_SIZE);
    write_bytes(&w, from.bytes, sizeof from.bytes);
    write_bytes(&w, to.bytes, sizeof to.bytes);
    for (uint32_t i = first; i < first + n; i++) {
        const struct member *member = members_at(m, i);
        write_bytes(&w, member->record.id.bytes, CORE_ID_SIZE);
        write_u64(&w, member->record.incarnation);
        write_u64(&w, member->record.seq);
        write_u8(&w, (uint8_t)member->rank);
    }
    check(!w.overflowed);
    struct message message = {.type = MESSAGE_MEMBERS_DIGEST};
    message.members_digest.count = m->count;
    message.members_digest.digest = m->digest;
    message.members_digest.entries = (struct slice){w.data, w.size};
    outbox_send(out, peer, &message);
}

// A sync under way: what `from` lacks goes into one writer, what it has newer into another.
struct sync {
    struct writer records;
    struct writer want;
    uint8_t ids[WANT_MAX * CORE_ID_SIZE];
};

static void want(struct sync *sync, const struct core_id *id)
{
    if (sync->want.size + CORE_ID_SIZE <= sync->want.capacity) write_bytes(&sync->want, id->bytes, CORE_ID_SIZE);
}

static void give(struct sync *sync, const struct member *member)
{
    if (sync->records.size + GOSSIP_ENTRY_MAX <= sync->records.capacity) members_entry_write(&sync->records, member);
}

// Walks this table's entries in [from, to] and the page's, both ascending.
static enum core_err page_compare(struct members *m, struct slice page, struct sync *sync)
{
    if (page.size < PAGE_HEAD || (page.size - PAGE_HEAD) % ENTRY_SIZE != 0) return CORE_ERR_MALFORMED;
    struct reader r = reader_over(page.data, page.size);
    struct core_id from, to, last = {{0}};
    read_bytes(&r, from.bytes, sizeof from.bytes);
    read_bytes(&r, to.bytes, sizeof to.bytes);
    uint32_t at = lower_bound(m, &from);
    for (bool first = true; r.at < r.size; first = false) {
        struct core_id id;
        read_bytes(&r, id.bytes, sizeof id.bytes);
        const uint64_t incarnation = read_u64(&r), seq = read_u64(&r);
        const uint8_t rank = read_u8(&r);
        if (id_compare(&id, &from) < 0 || id_compare(&id, &to) > 0 || (!first && id_compare(&id, &last) <= 0))
            return CORE_ERR_MALFORMED;
        last = id;
        for (; at < m->count && id_compare(&members_at(m, at)->record.id, &id) < 0; at++) give(sync, members_at(m, at));
        if (at == m->count || !id_equal(&members_at(m, at)->record.id, &id)) {
            want(sync, &id);
            continue;
        }
        const struct member *mine = members_at(m, at++);
        const int order = compare(incarnation, seq, &mine->record);
        const bool one_life = incarnation == mine->record.incarnation;
        if (order > 0 || (one_life && rank > mine->rank)) want(sync, &id);
        if (order < 0 || (one_life && rank < mine->rank)) give(sync, mine);
    }
    for (; at < m->count && id_compare(&members_at(m, at)->record.id, &to) <= 0; at++) give(sync, members_at(m, at));
    return r.failed ? CORE_ERR_MALFORMED : CORE_ERR_OK;
}

enum core_err members_digest_received(struct members *m, const struct core_id *from,
                                      const struct message_members_digest *digest, struct outbox *out)
{
    if (digest->count == m->count && hash_equal(&digest->digest, &m->digest)) return CORE_ERR_OK;
    if (digest->entries.size == 0) {
        page_send(m, from, out);
        return CORE_ERR_OK;
    }
    struct sync sync = {.records = writer_over(m->buffer, BUFFER_SIZE)};
    sync.want = writer_over(sync.ids, sizeof sync.ids);
    const enum core_err err = page_compare(m, digest->entries, &sync);
    if (err) return err;
    records_send(from, &sync.records, out);
    if (sync.want.size > 0) {
        struct message message = {.type = MESSAGE_MEMBERS_WANT};
        message.members_want.ids = (struct slice){sync.want.data, sync.want.size};
        outbox_send(out, from, &message);
    }
    return CORE_ERR_OK;
}

enum core_err members_want_received(struct members *m, const struct core_id *from,
                                    const struct message_members_want *message, struct outbox *out)
{
    const struct slice ids = message->ids;
    if (ids.size % CORE_ID_SIZE != 0) return CORE_ERR_MALFORMED;
    struct writer w = writer_over(m->buffer, BUFFER_SIZE);
    for (size_t at = 0; at < ids.size && w.size + GOSSIP_ENTRY_MAX <= w.capacity; at += CORE_ID_SIZE) {
        struct core_id id;
        memcpy(id.bytes, ids.data + at, sizeof id.bytes);
        const struct member *member = members_find(m, &id);
        if (member) members_entry_write(&w, member);
    }
    records_send(from, &w, out);
    return CORE_ERR_OK;
}
