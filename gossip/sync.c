#include "gossip/sync.h"

#include <string.h>

#include "core/check.h"

// MEMBERS_NODES is a list of: u8 kind | u8 depth | u64 path, whose first `depth` hex digits count | then
//   KIND_CHILDREN  16 marks of the children
//   KIND_LEAF      u16 count | count * (16 first bytes of an id | u64 incarnation | u64 seq | u8 accusations | u32
//   tag),
//                  ascending: all the members under the node
//   KIND_SAMPLE    the same, but only some of them; depth 0
enum {
    KIND_CHILDREN = 1,
    KIND_LEAF = 2,
    KIND_SAMPLE = 3,
    KEY_SIZE = 16,  // of an id, in leaves and wants
    ENTRY_SIZE = KEY_SIZE + 8 + 8 + 1 + 4,
    NODES_SIZE = 40000,  // bytes of one MEMBERS_NODES
    ITEM_MAX = 10 + 2 + SYNC_LEAF_MAX * ENTRY_SIZE,
    PATH_MAX = 16,  // hex digits of a path
};

_Static_assert(10 + DIGEST_WAYS * POOL_MARK_SIZE <= ITEM_MAX, "any item fits");
_Static_assert(GOSSIP_ENTRY_MAX <= SYNC_RECORDS_SIZE, "an entry fits");

struct slice sync_root(const struct members *m)
{
    if (m->sampled) return (struct slice){0};
    return (struct slice){m->digest.root.bytes, sizeof m->digest.root.bytes};
}

bool sync_differs(const struct members *m, struct slice root)
{
    if (m->sampled || root.size != POOL_MARK_SIZE) return false;
    return memcmp(root.data, m->digest.root.bytes, POOL_MARK_SIZE) != 0;
}

void sync_root_send(const struct members *m, const struct core_id *peer, struct outbox *out)
{
    struct message message = {.type = MESSAGE_MEMBERS_ROOT};
    message.members_root.count = m->count;
    message.members_root.mark = sync_root(m);
    outbox_send(out, peer, &message);
}

// ---- records and wants ----

void sync_entry_write(struct writer *w, const struct member *member)
{
    write_slice(w, member->record->bytes);
    write_u32(w, members_accusations(member) * ACCUSATION_SIZE);
    for (uint32_t i = 0; i < MEMBERS_ACCUSERS && member->accusations[i]; i++)
        write_bytes(w, member->accusations[i]->bytes.data, ACCUSATION_SIZE);
}

bool sync_entry_next(struct reader *r, struct slice *record, struct slice *accusations)
{
    if (r->failed || r->at == r->size) return false;
    *record = read_slice(r, RECORD_MAX);
    *accusations = read_slice(r, MEMBERS_ACCUSATIONS_MAX);
    if (accusations->size % ACCUSATION_SIZE != 0) r->failed = true;
    return !r->failed;
}

static void records_send(const struct core_id *peer, const struct writer *w, struct outbox *out)
{
    if (w->size == 0) return;
    struct message message = {.type = MESSAGE_MEMBERS_RECORDS};
    message.members_records.records = (struct slice){w->data, w->size};
    outbox_send(out, peer, &message);
}

void sync_entry_send(const struct member *member, const struct core_id *peer, struct outbox *out)
{
    uint8_t bytes[GOSSIP_ENTRY_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    sync_entry_write(&w, member);
    check(!w.overflowed);
    records_send(peer, &w, out);
}

// What answers one message: records and wants gathered for one peer.
struct answer {
    const struct core_id *peer;
    struct outbox *out;
    size_t records_bytes;
    struct writer records, want;
    uint8_t record_bytes[SYNC_RECORDS_SIZE];
    uint8_t ids[SYNC_WANT_MAX * KEY_SIZE];
};

static void answer_begin(struct answer *a, const struct core_id *peer, struct outbox *out)
{
    a->peer = peer;
    a->out = out;
    a->records_bytes = 0;
    a->records = writer_over(a->record_bytes, sizeof a->record_bytes);
    a->want = writer_over(a->ids, sizeof a->ids);
}

static void give(struct answer *a, const struct member *member)
{
    if (a->records_bytes >= SYNC_RECORDS_BYTES) return;
    if (a->records.size + GOSSIP_ENTRY_MAX > a->records.capacity) {
        records_send(a->peer, &a->records, a->out);
        a->records.size = 0;
    }
    const size_t before = a->records.size;
    sync_entry_write(&a->records, member);
    a->records_bytes += a->records.size - before;
}

static void want(struct answer *a, const uint8_t key[KEY_SIZE])
{
    if (a->want.size + KEY_SIZE <= a->want.capacity) write_bytes(&a->want, key, KEY_SIZE);
}

static void answer_end(struct answer *a)
{
    check(!a->records.overflowed);
    records_send(a->peer, &a->records, a->out);
    if (a->want.size == 0) return;
    struct message message = {.type = MESSAGE_MEMBERS_WANT};
    message.members_want.ids = (struct slice){a->want.data, a->want.size};
    outbox_send(a->out, a->peer, &message);
}

static uint64_t key_prefix(const uint8_t key[KEY_SIZE])
{
    uint64_t prefix = 0;
    for (uint32_t i = 0; i < 8; i++) prefix = prefix << 8 | key[i];
    return prefix;
}

static struct member *find(const struct members *m, const uint8_t key[KEY_SIZE])
{
    const uint64_t prefix = key_prefix(key);
    for (uint32_t at = members_from(m, prefix); at < m->count && members_at(m, at)->prefix == prefix; at++)
        if (memcmp(members_at(m, at)->record->id.bytes, key, KEY_SIZE) == 0) return members_at(m, at);
    return NULL;
}

enum core_err sync_want_received(struct members *m, const struct core_id *from,
                                 const struct message_members_want *message, struct outbox *out)
{
    const struct slice ids = message->ids;
    if (ids.size % KEY_SIZE != 0 || ids.size > SYNC_WANT_MAX * KEY_SIZE) return CORE_ERR_MALFORMED;
    struct answer a;
    answer_begin(&a, from, out);
    for (size_t at = 0; at < ids.size; at += KEY_SIZE) {
        const struct member *member = find(m, ids.data + at);
        if (member) give(&a, member);
    }
    answer_end(&a);
    return CORE_ERR_OK;
}

// ---- nodes ----

struct node {
    uint32_t depth;
    uint64_t path;
};

static uint64_t span(uint32_t depth)  // how many prefixes lie under a node, less one
{
    return depth == 0 ? UINT64_MAX : (UINT64_C(1) << (64 - 4 * depth)) - 1;
}

static struct node child_of(struct node n, uint32_t digit)
{
    return (struct node){n.depth + 1, n.path | (uint64_t)digit << (60 - 4 * n.depth)};
}

// The members under a node: `order` indexes from *first to before *end.
static void range_of(const struct members *m, struct node n, uint32_t *first, uint32_t *end)
{
    *first = members_from(m, n.path);
    const uint64_t last = n.path + span(n.depth);
    *end = last == UINT64_MAX ? m->count : members_from(m, last + 1);
}

static struct pool_mark mark_of(const struct members *m, struct node n)
{
    if (n.depth <= m->digest.depth) return digest_node(&m->digest, n.path, n.depth);
    struct pool_mark mark = {{0}};
    uint32_t first, end;
    for (range_of(m, n, &first, &end); first < end; first++) {
        const struct member *member = members_at(m, first);
        if (member->quiet) continue;
        const struct pool_mark one = members_mark(member);
        digest_xor(&mark, &one);
    }
    return mark;
}

static uint32_t tag_of(const struct member *member)
{
    const struct pool_mark mark = members_mark(member);
    uint32_t tag;
    memcpy(&tag, mark.bytes + 8, sizeof tag);
    return tag;
}

static void head_write(struct writer *w, uint8_t kind, struct node n)
{
    write_u8(w, kind);
    write_u8(w, (uint8_t)n.depth);
    write_u64(w, n.path);
}

static void entry_write(struct writer *w, const struct member *member)
{
    write_bytes(w, member->record->id.bytes, KEY_SIZE);
    write_u64(w, member->record->incarnation);
    write_u64(w, member->record->seq);
    write_u8(w, (uint8_t)members_accusations(member));
    write_u32(w, tag_of(member));
}

// The node as this table has it: a leaf if it has few members, else its children.
static void node_write(struct writer *w, const struct members *m, struct node n)
{
    uint32_t first, end;
    range_of(m, n, &first, &end);
    const bool is_leaf = end - first <= SYNC_LEAF_MAX;
    if (!is_leaf && n.depth == PATH_MAX) return;  // that many ids with one prefix: nobody's mesh
    head_write(w, is_leaf ? KIND_LEAF : KIND_CHILDREN, n);
    if (!is_leaf) {
        for (uint32_t i = 0; i < DIGEST_WAYS; i++) {
            const struct pool_mark mark = mark_of(m, child_of(n, i));
            write_bytes(w, mark.bytes, sizeof mark.bytes);
        }
        return;
    }
    uint16_t count = 0;
    for (uint32_t i = first; i < end; i++) count = (uint16_t)(count + !members_at(m, i)->quiet);
    write_u16(w, count);
    for (uint32_t i = first; i < end; i++)
        if (!members_at(m, i)->quiet) entry_write(w, members_at(m, i));
}

static void nodes_send(const struct core_id *peer, const struct writer *w, struct outbox *out)
{
    if (w->size == 0) return;
    check(!w->overflowed);
    struct message message = {.type = MESSAGE_MEMBERS_NODES};
    message.members_nodes.nodes = (struct slice){w->data, w->size};
    outbox_send(out, peer, &message);
}

// Some of those that the other would keep too: two samples of a large mesh have little else in common.
static void sample_send(struct members *m, const struct core_id *peer, struct outbox *out)
{
    uint8_t bytes[ITEM_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    const struct member *chosen[SYNC_SAMPLE];
    uint16_t count = 0;
    for (uint32_t i = 0; i < m->count && count < SYNC_SAMPLE; i++) {
        if (m->sample_at >= m->count) m->sample_at = 0;
        const struct member *member = members_at(m, m->sample_at++);
        if (!member->quiet && members_wanted_by(m, peer, member->prefix)) chosen[count++] = member;
    }
    if (count == 0) return;
    head_write(&w, KIND_SAMPLE, (struct node){0, 0});
    write_u16(&w, count);
    for (uint16_t i = 0; i < count; i++) entry_write(&w, chosen[i]);
    nodes_send(peer, &w, out);
}

void sync_begin(struct members *m, const struct core_id *peer, struct outbox *out)
{
    m->counts->syncs++;
    if (m->sampled) {
        sample_send(m, peer, out);
        return;
    }
    uint8_t bytes[ITEM_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    node_write(&w, m, (struct node){0, 0});
    nodes_send(peer, &w, out);
}

// Who knows more begins; a newcomer that knows only itself is given everything at once.
enum core_err sync_root_received(struct members *m, const struct core_id *from, const struct message_members_root *root,
                                 struct outbox *out)
{
    if (root->mark.size != 0 && root->mark.size != POOL_MARK_SIZE) return CORE_ERR_MALFORMED;
    if (root->mark.size == 0) return CORE_ERR_OK;  // a sample, which tells what it has by itself
    if (m->sampled && root->count > 1) {
        sample_send(m, from, out);
        return CORE_ERR_OK;
    }
    if (!m->sampled && (!sync_differs(m, root->mark) || root->count > m->count)) return CORE_ERR_OK;
    if (root->count == m->count && id_compare(from, &m->self) < 0) return CORE_ERR_OK;
    if (root->count > 1) {
        sync_begin(m, from, out);
        return CORE_ERR_OK;
    }
    struct answer a;
    answer_begin(&a, from, out);
    for (uint32_t i = 0; i < m->count; i++)
        if (!members_at(m, i)->quiet) give(&a, members_at(m, i));
    answer_end(&a);
    return CORE_ERR_OK;
}

// ---- comparing ----

static void children_compare(struct members *m, struct node n, struct reader *r, struct writer *w, uint32_t *left,
                             struct answer *a)
{
    static const struct pool_mark none = {{0}};
    for (uint32_t i = 0; i < DIGEST_WAYS; i++) {
        struct pool_mark theirs;
        read_bytes(r, theirs.bytes, sizeof theirs.bytes);
        if (r->failed) return;
        if (m->sampled) continue;  // nothing that could be compared
        const struct node child = child_of(n, i);
        const struct pool_mark mine = mark_of(m, child);
        if (digest_equal(&mine, &theirs)) continue;
        uint32_t first, end;
        range_of(m, child, &first, &end);
        if (digest_equal(&theirs, &none)) {  // it has nobody there
            for (; first < end; first++)
                if (!members_at(m, first)->quiet) give(a, members_at(m, first));
            continue;
        }
        if (*left == 0 || w->size + ITEM_MAX > w->capacity) continue;
        --*left;
        node_write(w, m, child);
    }
}

// One entry of the other's against this table's.
static void entry_compare(const struct members *m, struct reader *r, const struct member *mine,
                          const uint8_t key[KEY_SIZE], struct answer *a)
{
    const uint64_t incarnation = read_u64(r), seq = read_u64(r);
    const uint8_t accusations = read_u8(r);
    const uint32_t tag = read_u32(r);
    if (r->failed) return;
    if (!mine) {
        if (members_wanted(m, key_prefix(key))) want(a, key);
        return;
    }
    const struct member_record *record = mine->record;
    const bool one_life = incarnation == record->incarnation, same = one_life && seq == record->seq;
    if (same && tag == tag_of(mine) && accusations == members_accusations(mine) && !mine->quiet) return;
    const bool behind = incarnation < record->incarnation || (one_life && seq < record->seq);
    // Of two records at one place in the order, each side shows its own, and both keep the same one; of two accusers,
    // both keep both.
    if (!behind || (one_life && accusations > members_accusations(mine))) want(a, key);
    if (behind || same || (one_life && accusations < members_accusations(mine))) give(a, mine);
}

// Walks this table's members under the node and the other's, both ascending.
static bool leaf_compare(struct members *m, uint8_t kind, struct node n, struct reader *r, struct answer *a)
{
    const uint16_t count = read_u16(r);
    if (count > SYNC_LEAF_MAX) return false;
    uint32_t at, end;
    range_of(m, n, &at, &end);
    uint8_t last[KEY_SIZE], key[KEY_SIZE];
    for (uint16_t i = 0; i < count; i++) {
        read_bytes(r, key, sizeof key);
        if (r->failed) return false;
        const uint64_t prefix = key_prefix(key);
        if (prefix < n.path || prefix > n.path + span(n.depth)) return false;
        if (kind == KIND_SAMPLE) {
            entry_compare(m, r, find(m, key), key, a);
            continue;
        }
        if (i > 0 && memcmp(last, key, sizeof key) >= 0) return false;
        memcpy(last, key, sizeof key);
        for (; at < end && memcmp(members_at(m, at)->record->id.bytes, key, sizeof key) < 0; at++)
            if (!members_at(m, at)->quiet) give(a, members_at(m, at));
        const bool have = at < end && memcmp(members_at(m, at)->record->id.bytes, key, sizeof key) == 0;
        entry_compare(m, r, have ? members_at(m, at) : NULL, key, a);
        at += have;
    }
    for (; kind == KIND_LEAF && at < end; at++)
        if (!members_at(m, at)->quiet) give(a, members_at(m, at));
    return !r->failed;
}

enum core_err sync_nodes_received(struct members *m, const struct core_id *from,
                                  const struct message_members_nodes *message, struct outbox *out)
{
    struct answer a;
    uint8_t bytes[NODES_SIZE];
    struct writer w = writer_over(bytes, sizeof bytes);
    answer_begin(&a, from, out);
    struct reader r = reader_over(message->nodes.data, message->nodes.size);
    uint32_t left = SYNC_NODES_MAX;
    bool ok = message->nodes.size > 0;
    for (uint32_t items = 0; ok && r.at < r.size; items++) {
        const uint8_t kind = read_u8(&r);
        struct node n = {.depth = read_u8(&r)};
        n.path = read_u64(&r);
        ok = !r.failed && items < SYNC_NODES_MAX && n.depth < PATH_MAX && (n.path & span(n.depth)) == 0 &&
             (kind != KIND_SAMPLE || n.depth == 0);
        if (!ok) break;
        if (kind == KIND_CHILDREN)
            children_compare(m, n, &r, &w, &left, &a);
        else
            ok = (kind == KIND_LEAF || kind == KIND_SAMPLE) &&
                 leaf_compare(m, m->sampled ? KIND_SAMPLE : kind, n, &r, &a);
        ok = ok && !r.failed;
    }
    if (!ok) return CORE_ERR_MALFORMED;
    nodes_send(from, &w, out);
    answer_end(&a);
    return CORE_ERR_OK;
}
