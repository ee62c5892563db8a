#include "ledger/log.h"

#include "core/check.h"

enum { ENTRY_VERSION = 1, HEAD_VERSION = 1 };

static const char head_domain[] = "mycel log head v1";

size_t ledger_entry_size(size_t value, size_t certificate)
{
    return LEDGER_ENTRY_HEAD + 4 + value + 4 + certificate + CORE_HASH_SIZE;
}

struct core_hash ledger_entry_write(struct writer *w, const struct ledger_entry *e)
{
    check(e->value.size <= LEDGER_VALUE_LIMIT && e->certificate.size <= LEDGER_CERTIFICATE_LIMIT);
    size_t start = w->size;
    size_t size = ledger_entry_size(e->value.size, e->certificate.size);
    struct core_hash value_hash = hash_bytes(e->value.data, e->value.size);
    write_u32(w, (uint32_t)size);
    write_u8(w, ENTRY_VERSION);
    write_u8(w, e->kind);
    write_u64(w, e->number);
    write_u64(w, e->height);
    write_bytes(w, value_hash.bytes, CORE_HASH_SIZE);
    write_bytes(w, e->previous.bytes, CORE_HASH_SIZE);
    write_slice(w, e->value);
    write_slice(w, e->certificate);
    struct core_hash hash = {{0}};
    if (w->overflowed) return hash;
    hash = hash_bytes(w->data + start, w->size - start);
    write_bytes(w, hash.bytes, CORE_HASH_SIZE);
    check(w->overflowed || w->size - start == size);
    return hash;
}

struct ledger_reader ledger_reader_over(struct slice log)
{
    return (struct ledger_reader){.log = log};
}

// What a crash can leave after the last whole entry: fewer bytes than announced, or bytes that the file system
// lengthened the file by and never filled in.
static bool is_torn(struct slice rest, uint32_t size)
{
    bool plausible = size >= ledger_entry_size(0, 0) && size <= LEDGER_ENTRY_LIMIT;
    if (rest.size < 4 || (plausible && size > rest.size)) return true;
    for (size_t i = rest.size; i > 0; i--) {
        if (rest.data[i - 1] != 0) return i <= 4;
    }
    return true;
}

enum core_err ledger_reader_next(struct ledger_reader *r, struct ledger_entry *e)
{
    struct slice rest = {r->log.data + r->at, r->log.size - r->at};
    if (rest.size == 0) return CORE_ERR_NOT_FOUND;
    struct reader in = reader_over(rest.data, rest.size);
    uint32_t size = read_u32(&in);
    if (is_torn(rest, size)) return CORE_ERR_TRUNCATED;
    if (size < ledger_entry_size(0, 0) || size > LEDGER_ENTRY_LIMIT) return CORE_ERR_MALFORMED;
    struct core_hash hash = hash_bytes(rest.data, size - CORE_HASH_SIZE), said, value_hash;
    in = reader_over(rest.data, size);
    read_u32(&in);
    uint8_t version = read_u8(&in);
    e->kind = read_u8(&in);
    e->number = read_u64(&in);
    e->height = read_u64(&in);
    read_bytes(&in, e->value_hash.bytes, CORE_HASH_SIZE);
    read_bytes(&in, e->previous.bytes, CORE_HASH_SIZE);
    e->value = read_slice(&in, LEDGER_VALUE_LIMIT);
    e->certificate = read_slice(&in, LEDGER_CERTIFICATE_LIMIT);
    read_bytes(&in, said.bytes, CORE_HASH_SIZE);
    if (!hash_equal(&hash, &said)) {
        // The last entry may have been cut out of order by a crash: its bytes are all there, some never written.
        return size == rest.size ? CORE_ERR_TRUNCATED : CORE_ERR_VERIFY_FAILED;
    }
    if (version != ENTRY_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    if (!reader_finished(&in)) return CORE_ERR_MALFORMED;
    value_hash = hash_bytes(e->value.data, e->value.size);
    bool follows = e->number == r->count && hash_equal(&e->previous, &r->last) &&
                   (r->count == 0 || e->height > r->height) && hash_equal(&value_hash, &e->value_hash);
    if (!follows) return CORE_ERR_VERIFY_FAILED;
    r->at += size;
    r->count++;
    r->height = e->height;
    r->last = hash;
    return CORE_ERR_OK;
}

// What a head's signature covers is all of it but the signature.
static void write_head_body(struct writer *w, const struct ledger_head *h)
{
    write_u8(w, HEAD_VERSION);
    write_bytes(w, h->run.bytes, CORE_HASH_SIZE);
    write_u64(w, h->count);
    write_u64(w, h->height);
    write_bytes(w, h->last.bytes, CORE_HASH_SIZE);
    write_bytes(w, h->owner.bytes, CORE_ID_SIZE);
}

void ledger_head_write(struct writer *w, struct ledger_head *head, const struct core_key *key)
{
    uint8_t body[LEDGER_HEAD_SIZE];
    struct writer b = writer_over(body, sizeof body);
    head->owner = key->id;
    write_head_body(&b, head);
    check(!b.overflowed && b.size == LEDGER_HEAD_SIZE - CORE_SIG_SIZE);
    head->signature = sign_make(key, head_domain, body, b.size);
    write_bytes(w, body, b.size);
    write_bytes(w, head->signature.bytes, CORE_SIG_SIZE);
}

enum core_err ledger_head_read(struct slice bytes, struct ledger_head *h)
{
    struct reader r = reader_over(bytes.data, bytes.size);
    uint8_t version = read_u8(&r);
    if (!r.failed && version != HEAD_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    read_bytes(&r, h->run.bytes, CORE_HASH_SIZE);
    h->count = read_u64(&r);
    h->height = read_u64(&r);
    read_bytes(&r, h->last.bytes, CORE_HASH_SIZE);
    read_bytes(&r, h->owner.bytes, CORE_ID_SIZE);
    read_bytes(&r, h->signature.bytes, CORE_SIG_SIZE);
    if (!reader_finished(&r)) return CORE_ERR_MALFORMED;
    bool valid = sign_valid(&h->owner, head_domain, bytes.data, LEDGER_HEAD_SIZE - CORE_SIG_SIZE, &h->signature);
    return valid ? CORE_ERR_OK : CORE_ERR_BAD_SIGNATURE;
}

enum core_err ledger_log_check(struct ledger_reader *r, const struct ledger_head *head)
{
    struct ledger_entry e;
    enum core_err err = CORE_ERR_OK;
    if (head && head->count == 0 && !hash_is_zero(&head->last)) return CORE_ERR_VERIFY_FAILED;
    while (!(err = ledger_reader_next(r, &e))) {
        if (head && r->count == head->count && !hash_equal(&r->last, &head->last)) {
            // Name the entry that the head disagrees with, not the one after it.
            r->count--;
            r->at -= ledger_entry_size(e.value.size, e.certificate.size);
            return CORE_ERR_VERIFY_FAILED;
        }
    }
    if (err != CORE_ERR_NOT_FOUND && err != CORE_ERR_TRUNCATED) return err;
    if (head && r->count < head->count) return CORE_ERR_VERIFY_FAILED;
    return err == CORE_ERR_TRUNCATED ? CORE_ERR_TRUNCATED : CORE_ERR_OK;
}
