#include "learn/cut.h"

#include "core/check.h"
#include "learn/signed.h"

enum { CUT_VERSION = 2 };

void cut_encode(struct writer *w, const struct cut *c)
{
    check(c->count <= RUN_MEMBERS_MAX);
    write_u8(w, CUT_VERSION);
    write_u8(w, VALUE_CUT);
    write_hash(w, &c->run);
    write_u64(w, c->height);
    write_u64(w, c->round);
    write_u32(w, c->attempt);
    write_hash(w, &c->manifest);
    write_u8(w, (uint8_t)c->count);
    for (uint32_t i = 0; i < c->count; i++) write_slice(w, c->commits[i]);
}

enum core_err cut_decode(struct slice bytes, struct cut *c)
{
    *c = (struct cut){0};
    if (bytes.size < 2) return CORE_ERR_TRUNCATED;
    if (bytes.data[0] != CUT_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    if (bytes.data[1] != VALUE_CUT) return CORE_ERR_MALFORMED;
    struct reader r = reader_over(bytes.data + 2, bytes.size - 2);
    c->run = read_hash(&r);
    c->height = read_u64(&r);
    c->round = read_u64(&r);
    c->attempt = read_u32(&r);
    c->manifest = read_hash(&r);
    c->count = read_u8(&r);
    if (r.failed || c->count > RUN_MEMBERS_MAX) return CORE_ERR_MALFORMED;
    uint32_t last = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        c->commits[i] = read_slice(&r, COMMIT_LIMIT);
        struct commit commit;
        if (r.failed || commit_read(c->commits[i], &commit)) return CORE_ERR_MALFORMED;
        if (i > 0 && commit.slot <= last) return CORE_ERR_MALFORMED;
        last = commit.slot;
        c->slots |= UINT64_C(1) << commit.slot;
    }
    return signed_finished(&r);
}

enum value_kind value_kind_of(struct slice value)
{
    if (value.size < 2 || value.data[0] != CUT_VERSION) return 0;
    if (value.data[1] == VALUE_CUT || value.data[1] == VALUE_MANIFEST) return (enum value_kind)value.data[1];
    return 0;
}
