#include "mesh/wire.h"

#include <msgpack.h>
#include <string.h>

#include "core/check.h"

static const uint8_t magic[2] = {'M', 'Y'};

enum {
    MESH_PREFIX = 4,
    FIELDS_MAX = 15,  // fits msgpack's one-byte array header
    ITEM_MAX = 9,     // bytes of msgpack's longest header here (uint 64); bin's is 5
};

#define LIMITS_FIT(number, NAME, name, lane, body_limit, bulk_limit)                                              \
    _Static_assert((body_limit) <= WIRE_BODY_MAX && (bulk_limit) <= WIRE_FRAME_MAX, #name);                       \
    _Static_assert((bulk_limit) == 0 || (body_limit) <= WIRE_BULK_HEAD_MAX - WIRE_HEADER_MAX, #name);             \
    _Static_assert(sizeof((struct message_field[]){FIELDS_##name(FIELD_COUNT)}) / sizeof(struct message_field) <= \
                       FIELDS_MAX,                                                                                \
                   #name);
#define FIELD_COUNT(owner, kind, name) {0},
MESSAGES(LIMITS_FIT)

static const uint8_t *field_at(const struct message *m, const struct message_field *f)
{
    return (const uint8_t *)m + f->offset;
}

static struct slice field_bytes(const struct message *m, const struct message_field *f)
{
    const uint8_t *at = field_at(m, f);
    struct slice s;
    switch (f->kind) {
    case MESSAGE_ID:
    case MESSAGE_HASH: return (struct slice){at, 32};
    case MESSAGE_SIG: return (struct slice){at, CORE_SIG_SIZE};
    default: memcpy(&s, at, sizeof s); return s;
    }
}

// ---- encode ----

static int pack_write(void *context, const char *data, size_t size)
{
    struct writer *w = context;
    write_bytes(w, data, size);
    return w->overflowed ? -1 : 0;
}

size_t wire_head_bound(const struct message *m)
{
    const struct message_info *info = message_info(m->type);
    if (!info) return 0;
    size_t bound = WIRE_HEADER_MAX + 1;
    for (uint32_t i = 0; i < info->count; i++)
        bound += ITEM_MAX + (info->fields[i].kind == MESSAGE_U64 ? 0 : field_bytes(m, &info->fields[i]).size);
    return bound;
}

static void pack_field(msgpack_packer *p, const struct message *m, const struct message_field *f)
{
    if (f->kind == MESSAGE_U64) {
        uint64_t value;
        memcpy(&value, field_at(m, f), sizeof value);
        msgpack_pack_uint64(p, value);
        return;
    }
    struct slice s = field_bytes(m, f);
    msgpack_pack_bin(p, s.size);
    if (s.size) msgpack_pack_bin_body(p, s.data, s.size);
}

enum core_err wire_encode(const struct message *m, const struct core_hash *mesh, uint8_t *head, size_t capacity,
                          size_t *size)
{
    const struct message_info *info = message_info(m->type);
    if (!info) return CORE_ERR_UNKNOWN_TYPE;
    if (m->bulk.size > info->bulk_limit) return CORE_ERR_TOO_LARGE;
    uint8_t flags = (uint8_t)((m->bulk.size ? WIRE_FLAG_BULK : 0) | (m->trace ? WIRE_FLAG_TRACE : 0));
    size_t limit = info->body_limit + (m->trace ? (size_t)WIRE_HEADER_MAX : WIRE_HEADER_MIN);
    struct writer w = writer_over(head, capacity < limit ? capacity : limit);
    write_bytes(&w, magic, sizeof magic);
    write_u8(&w, MESSAGE_VERSION);
    write_u8(&w, flags);
    write_u16(&w, (uint16_t)m->type);
    write_bytes(&w, mesh->bytes, MESH_PREFIX);
    if (m->trace) write_u64(&w, m->trace);
    msgpack_packer packer;
    msgpack_packer_init(&packer, &w, pack_write);
    msgpack_pack_array(&packer, info->count);
    for (uint32_t i = 0; i < info->count; i++) pack_field(&packer, m, &info->fields[i]);
    if (w.overflowed) return CORE_ERR_TOO_LARGE;
    *size = w.size;
    return CORE_ERR_OK;
}

// ---- decode ----

enum core_err wire_header_decode(struct slice head, const struct core_hash *mesh, struct wire_header *out)
{
    *out = (struct wire_header){0};
    if (head.size < WIRE_HEADER_MIN || memcmp(head.data, magic, sizeof magic) != 0) return CORE_ERR_MALFORMED;
    struct reader r = reader_over(head.data, head.size);
    uint8_t prefix[MESH_PREFIX];
    read_bytes(&r, prefix, sizeof magic);
    out->version = read_u8(&r);
    out->flags = read_u8(&r);
    out->type = read_u16(&r);
    read_bytes(&r, prefix, sizeof prefix);
    // The version comes first: a later one may mean something else by every other byte.
    if (out->version != MESSAGE_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    if (memcmp(prefix, mesh->bytes, sizeof prefix) != 0) return CORE_ERR_WRONG_MESH;
    const struct message_info *info = message_info(out->type);
    if (!info) return CORE_ERR_UNKNOWN_TYPE;
    if ((out->flags & ~(WIRE_FLAG_BULK | WIRE_FLAG_TRACE)) != 0) return CORE_ERR_MALFORMED;
    if (out->flags & WIRE_FLAG_TRACE) out->trace = read_u64(&r);
    // One way to write each message: no trace is no field.
    if (r.failed || ((out->flags & WIRE_FLAG_TRACE) != 0) != (out->trace != 0)) return CORE_ERR_MALFORMED;
    if ((out->flags & WIRE_FLAG_BULK) && info->bulk_limit == 0) return CORE_ERR_TOO_LARGE;
    out->body = (struct slice){head.data + r.at, head.size - r.at};
    return out->body.size > info->body_limit ? CORE_ERR_TOO_LARGE : CORE_ERR_OK;
}

// Walks the body without the library: exactly one array of `count` items, each an unsigned integer or a bin that lies
// within the bytes. After this msgpack-c allocates for `count` objects and no more, whatever the sender wrote.
static bool body_is_flat(struct slice body, uint32_t count)
{
    struct reader r = reader_over(body.data, body.size);
    if (read_u8(&r) != (0x90u | count)) return false;
    for (uint32_t i = 0; i < count && !r.failed; i++) {
        uint8_t head = read_u8(&r);
        uint32_t skip = 0;
        uint8_t be[4] = {0};
        switch (head) {
        case 0xcc: skip = 1; break;
        case 0xcd: skip = 2; break;
        case 0xce: skip = 4; break;
        case 0xcf: skip = 8; break;
        case 0xc4: skip = read_u8(&r); break;
        case 0xc5: read_bytes(&r, be + 2, 2); break;
        case 0xc6: read_bytes(&r, be, 4); break;
        default:
            if (head > 0x7f) return false;  // neither a small unsigned integer nor one of the above
        }
        if (head == 0xc5 || head == 0xc6)
            skip = (uint32_t)be[0] << 24 | (uint32_t)be[1] << 16 | (uint32_t)be[2] << 8 | be[3];
        if (skip > r.size - r.at) return false;
        r.at += skip;
    }
    return reader_finished(&r);
}

static bool unpack_field(const msgpack_object *o, struct message *m, const struct message_field *f)
{
    uint8_t *at = (uint8_t *)m + f->offset;
    if (f->kind == MESSAGE_U64) {
        if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER) return false;
        memcpy(at, &o->via.u64, sizeof o->via.u64);
        return true;
    }
    if (o->type != MSGPACK_OBJECT_BIN) return false;
    struct slice s = {(const uint8_t *)o->via.bin.ptr, o->via.bin.size};
    if (f->kind == MESSAGE_BYTES) {
        memcpy(at, &s, sizeof s);
        return true;
    }
    size_t size = f->kind == MESSAGE_SIG ? CORE_SIG_SIZE : 32;
    if (s.size != size) return false;
    memcpy(at, s.data, size);
    return true;
}

static enum core_err unpack_body(struct slice body, const struct message_info *info, struct message *m)
{
    if (!body_is_flat(body, info->count)) return CORE_ERR_MALFORMED;
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t at = 0;
    msgpack_unpack_return got = msgpack_unpack_next(&unpacked, (const char *)body.data, body.size, &at);
    bool ok = got == MSGPACK_UNPACK_SUCCESS && at == body.size && unpacked.data.type == MSGPACK_OBJECT_ARRAY &&
              unpacked.data.via.array.size == info->count;
    for (uint32_t i = 0; ok && i < info->count; i++)
        ok = unpack_field(&unpacked.data.via.array.ptr[i], m, &info->fields[i]);
    msgpack_unpacked_destroy(&unpacked);  // the views point into `body`, not into what is freed here
    if (got == MSGPACK_UNPACK_NOMEM_ERROR) return CORE_ERR_NO_MEMORY;
    return ok ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

enum core_err wire_decode(const struct slice *frames, size_t count, const struct core_hash *mesh, struct message *out)
{
    *out = (struct message){0};
    if (count < 1) return CORE_ERR_MALFORMED;
    struct wire_header header;
    enum core_err err = wire_header_decode(frames[0], mesh, &header);
    if (err) return err;
    const struct message_info *info = message_info(header.type);
    bool bulk = header.flags & WIRE_FLAG_BULK;
    if (count != (bulk ? 2 : 1) || (bulk && frames[1].size == 0)) return CORE_ERR_MALFORMED;
    if (bulk && frames[1].size > info->bulk_limit) return CORE_ERR_TOO_LARGE;
    out->type = (enum message_type)header.type;
    out->trace = header.trace;
    if (bulk) out->bulk = frames[1];
    return unpack_body(header.body, info, out);
}
