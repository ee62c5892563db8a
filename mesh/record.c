#include "mesh/record.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"

enum { STAGING = RECORD_FIRST_MAX + RECORD_BULK_MAX + 2 * SEAL_OVERHEAD };

// ---- writing ----

bool record_writer_open(struct record_writer *w, enum seal_cipher cipher, const struct core_hash *key,
                        uint64_t records_a_key)
{
    *w = (struct record_writer){.seal = seal_new(cipher, key, records_a_key, false), .staging = malloc(STAGING)};
    if (w->seal && w->staging) return true;
    record_writer_close(w);
    return false;
}

void record_writer_close(struct record_writer *w)
{
    seal_free(w->seal);
    free(w->staging);
    *w = (struct record_writer){0};
}

void record_writer_begin(struct record_writer *w, struct slice head, struct slice bulk)
{
    check(w->at == w->size && head.size <= WIRE_BULK_HEAD_MAX);
    w->head = head;
    w->bulk = bulk;
    w->bulk_at = 0;
    w->begun = false;
}

struct slice record_writer_next(struct record_writer *w)
{
    if (w->at < w->size) return (struct slice){w->staging + w->at, w->size - w->at};
    w->at = w->size = 0;
    if (!w->begun) {
        uint8_t sizes[RECORD_SIZES];
        struct writer s = writer_over(sizes, sizeof sizes);
        write_u32(&s, (uint32_t)w->head.size);
        write_u32(&s, (uint32_t)w->bulk.size);
        struct slice parts[2] = {{sizes, sizeof sizes}, w->head};
        seal_record(w->seal, parts, 2, w->staging);
        w->size = RECORD_SIZES + w->head.size + SEAL_OVERHEAD;
        w->begun = true;
    }
    size_t left = w->bulk.size - w->bulk_at, size = left < RECORD_BULK_MAX ? left : RECORD_BULK_MAX;
    if (size) {
        struct slice part = {w->bulk.data + w->bulk_at, size};
        seal_record(w->seal, &part, 1, w->staging + w->size);
        w->size += size + SEAL_OVERHEAD;
        w->bulk_at += size;
    }
    return (struct slice){w->staging, w->size};
}

void record_writer_took(struct record_writer *w, size_t size)
{
    check(size <= w->size - w->at);
    w->at += size;
}

// ---- reading ----

bool record_reader_open(struct record_reader *r, enum seal_cipher cipher, const struct core_hash *key,
                        uint64_t records_a_key, struct buffer_pool *pool, const struct core_hash *mesh,
                        record_allow *allow, void *context)
{
    *r = (struct record_reader){.seal = seal_new(cipher, key, records_a_key, true),
                                .staging = malloc(RECORD_FIRST_MAX + SEAL_OVERHEAD + SEAL_SIZE_SIZE),
                                .head = malloc(RECORD_FIRST_MAX),
                                .pool = pool,
                                .mesh = *mesh,
                                .allow = allow,
                                .allow_context = context,
                                .need = SEAL_SIZE_SIZE};
    if (r->seal && r->staging && r->head) return true;
    record_reader_close(r);
    return false;
}

void record_reader_close(struct record_reader *r)
{
    seal_free(r->seal);
    free(r->staging);
    free(r->head);
    buffer_drop(r->bulk);
    *r = (struct record_reader){0};
}

static size_t bulk_left(const struct record_reader *r)
{
    return r->bulk ? buffer_size(r->bulk) - r->bulk_at : 0;
}

int record_reader_room(struct record_reader *r, struct iovec parts[RECORD_PARTS_MAX])
{
    if (r->need == SEAL_SIZE_SIZE || bulk_left(r) == 0) {
        // With the record's last bytes come the next one's size.
        const size_t more = r->need > SEAL_SIZE_SIZE ? SEAL_SIZE_SIZE : 0;
        parts[0] = (struct iovec){r->staging + r->have, r->need - r->have + more};
        return 1;
    }
    const size_t body_end = r->need - SEAL_TAG_SIZE;
    if (r->have >= body_end) {
        const size_t in_tail = r->have - body_end;
        parts[0] = (struct iovec){r->tail + in_tail, sizeof r->tail - in_tail};
        return 1;
    }
    parts[0] = (struct iovec){buffer_data(r->bulk) + r->bulk_at + (r->have - SEAL_SIZE_SIZE), body_end - r->have};
    parts[1] = (struct iovec){r->tail, sizeof r->tail};
    return 2;
}

size_t record_reader_wants(const struct record_reader *r)
{
    size_t wants = r->need - r->have, left = bulk_left(r);
    if (r->need > SEAL_SIZE_SIZE && left) left -= r->need - SEAL_OVERHEAD;  // this record is a part of it
    size_t records = (left + RECORD_BULK_MAX - 1) / RECORD_BULK_MAX;
    // With a record's size read but not its first bytes, as at the beginning of a message, only it is sure.
    return wants + left + records * SEAL_OVERHEAD - (r->need == SEAL_SIZE_SIZE && left ? SEAL_SIZE_SIZE : 0);
}

// How long the record is that begins now; a size that cannot be is found before its bytes come.
static enum core_err take_size(struct record_reader *r)
{
    size_t size = seal_size(r->staging), left = bulk_left(r);
    size_t expected = left < RECORD_BULK_MAX ? left : RECORD_BULK_MAX;
    if (left ? size != expected : size < RECORD_SIZES || size > RECORD_FIRST_MAX) return CORE_ERR_MALFORMED;
    r->need = size + SEAL_OVERHEAD;
    return CORE_ERR_OK;
}

static enum core_err take_first(struct record_reader *r, size_t size)
{
    struct reader in = reader_over(r->head, RECORD_SIZES);
    size_t head_size = read_u32(&in), bulk_size = read_u32(&in);
    if (head_size == 0 || head_size != size - RECORD_SIZES) return CORE_ERR_MALFORMED;
    struct slice head = {r->head + RECORD_SIZES, head_size};
    struct wire_header header;
    enum core_err err = wire_header_decode(head, &r->mesh, &header);
    if (err) return err;
    if (((header.flags & WIRE_FLAG_BULK) != 0) != (bulk_size != 0)) return CORE_ERR_MALFORMED;
    if (bulk_size > message_info(header.type)->bulk_limit) return CORE_ERR_TOO_LARGE;
    if (!r->allow(r->allow_context, head_size + bulk_size)) return CORE_ERR_LIMIT;
    if (bulk_size) {
        r->bulk = buffer_pool_new(r->pool, bulk_size);
        if (!r->bulk) return CORE_ERR_NO_MEMORY;
    }
    r->bulk_at = 0;
    r->head_size = head_size;
    return CORE_ERR_OK;
}

static enum core_err take_record(struct record_reader *r)
{
    const size_t size = r->need - SEAL_OVERHEAD;
    const bool first = bulk_left(r) == 0;
    uint8_t *body = first ? r->staging + SEAL_SIZE_SIZE : buffer_data(r->bulk) + r->bulk_at;
    const uint8_t *tag = first ? body + size : r->tail;
    enum core_err err = seal_open_parts(r->seal, r->staging, body, tag, first ? r->head : body);
    if (err) return err;
    if (!first) r->bulk_at += size;
    r->have -= r->need;
    memmove(r->staging, tag + SEAL_TAG_SIZE, r->have);
    r->need = SEAL_SIZE_SIZE;
    return first ? take_first(r, size) : CORE_ERR_OK;
}

enum core_err record_reader_put(struct record_reader *r, size_t size)
{
    check(r->head_size == 0 || bulk_left(r) > 0);  // a whole message was taken
    r->have += size;
    // At most a record's end and the next one's size are here.
    while (r->have >= r->need) {
        enum core_err err = r->need == SEAL_SIZE_SIZE ? take_size(r) : take_record(r);
        if (err) return err;
    }
    return CORE_ERR_OK;
}

bool record_reader_take(struct record_reader *r, struct slice *head, struct buffer **bulk)
{
    if (r->head_size == 0 || bulk_left(r) > 0) return false;
    *head = (struct slice){r->head + RECORD_SIZES, r->head_size};
    *bulk = r->bulk;
    r->bulk = NULL;
    r->head_size = 0;
    return true;
}
