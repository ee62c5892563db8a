#include "gossip/record.h"

#include <string.h>

#include "core/check.h"
#include "gossip/gossip.h"

static const char RECORD_DOMAIN[] = "mycel member v1", ACCUSATION_DOMAIN[] = "mycel suspicion v1";

enum { RECORD_VERSION = 1, ACCUSATION_VERSION = 1, FLAG_LEFT = 1 };

_Static_assert(1 + 32 + 8 + 8 + 1 + 32 + 4 + GOSSIP_NAME_MAX + 4 + GOSSIP_ADDRESSES_MAX + 4 + GOSSIP_CERTIFICATE_MAX +
                       1 + RECORD_WATCHERS_MAX * CORE_ID_SIZE + CORE_SIG_SIZE <=
                   RECORD_MAX,
               "a record at its limits fits");
_Static_assert(1 + 32 + 32 + 8 + 8 + 1 + CORE_SIG_SIZE == ACCUSATION_SIZE, "an accusation's fields");

size_t record_write(uint8_t *out, const struct record *record, const struct core_key *key)
{
    struct writer w = writer_over(out, RECORD_MAX);
    write_u8(&w, RECORD_VERSION);
    write_bytes(&w, record->id.bytes, sizeof record->id.bytes);
    write_u64(&w, record->incarnation);
    write_u64(&w, record->seq);
    write_u8(&w, record->left ? FLAG_LEFT : 0);
    write_bytes(&w, record->host.bytes, sizeof record->host.bytes);
    write_slice(&w, record->name);
    write_slice(&w, record->addresses);
    write_slice(&w, record->certificate);
    check(record->watcher_count <= RECORD_WATCHERS_MAX);
    write_u8(&w, (uint8_t)record->watcher_count);
    for (uint32_t i = 0; i < record->watcher_count; i++)
        write_bytes(&w, record->watchers[i].bytes, sizeof record->watchers[i].bytes);
    check(!w.overflowed);
    const struct core_sig sig = sign_make(key, RECORD_DOMAIN, out, w.size);
    write_bytes(&w, sig.bytes, sizeof sig.bytes);
    check(!w.overflowed);
    return w.size;
}

// A name is shown on other people's terminals: no control characters.
static bool name_is_plain(struct slice name)
{
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] < 32 || name.data[i] == 127) return false;
    return true;
}

enum core_err record_read(struct record *record, struct slice bytes)
{
    *record = (struct record){0};
    if (bytes.size > RECORD_MAX) return CORE_ERR_TOO_LARGE;
    if (bytes.size < CORE_SIG_SIZE) return CORE_ERR_TRUNCATED;
    struct reader r = reader_over(bytes.data, bytes.size - CORE_SIG_SIZE);
    if (read_u8(&r) != RECORD_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    read_bytes(&r, record->id.bytes, sizeof record->id.bytes);
    record->incarnation = read_u64(&r);
    record->seq = read_u64(&r);
    const uint8_t flags = read_u8(&r);
    record->left = flags & FLAG_LEFT;
    read_bytes(&r, record->host.bytes, sizeof record->host.bytes);
    record->name = read_slice(&r, GOSSIP_NAME_MAX);
    record->addresses = read_slice(&r, GOSSIP_ADDRESSES_MAX);
    record->certificate = read_slice(&r, GOSSIP_CERTIFICATE_MAX);
    record->watcher_count = read_u8(&r);
    if (record->watcher_count > RECORD_WATCHERS_MAX || flags > FLAG_LEFT) return CORE_ERR_MALFORMED;
    for (uint32_t i = 0; i < record->watcher_count; i++)
        read_bytes(&r, record->watchers[i].bytes, sizeof record->watchers[i].bytes);
    // The largest incarnation could never be refuted.
    const bool ok = reader_finished(&r) && record->incarnation < UINT64_MAX && name_is_plain(record->name);
    return ok ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

static bool signed_by(const struct core_id *id, const char *domain, struct slice bytes)
{
    struct core_sig sig;
    const size_t size = bytes.size - CORE_SIG_SIZE;
    memcpy(sig.bytes, bytes.data + size, sizeof sig.bytes);
    return sign_valid(id, domain, bytes.data, size, &sig);
}

bool record_signed(const struct record *record, struct slice bytes)
{
    return signed_by(&record->id, RECORD_DOMAIN, bytes);
}

void accusation_write(uint8_t out[ACCUSATION_SIZE], const struct accusation *a, const struct core_key *key)
{
    struct writer w = writer_over(out, ACCUSATION_SIZE);
    write_u8(&w, ACCUSATION_VERSION);
    write_bytes(&w, a->accuser.bytes, sizeof a->accuser.bytes);
    write_bytes(&w, a->target.bytes, sizeof a->target.bytes);
    write_u64(&w, a->incarnation);
    write_u64(&w, a->serial);
    write_u8(&w, (uint8_t)a->rank);
    const struct core_sig sig = sign_make(key, ACCUSATION_DOMAIN, out, w.size);
    write_bytes(&w, sig.bytes, sizeof sig.bytes);
    check(!w.overflowed && w.size == ACCUSATION_SIZE);
}

enum core_err accusation_read(struct accusation *a, struct slice bytes)
{
    *a = (struct accusation){0};
    if (bytes.size != ACCUSATION_SIZE) return CORE_ERR_MALFORMED;
    struct reader r = reader_over(bytes.data, bytes.size - CORE_SIG_SIZE);
    if (read_u8(&r) != ACCUSATION_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    read_bytes(&r, a->accuser.bytes, sizeof a->accuser.bytes);
    read_bytes(&r, a->target.bytes, sizeof a->target.bytes);
    a->incarnation = read_u64(&r);
    a->serial = read_u64(&r);
    const uint8_t rank = read_u8(&r);
    if (rank != RANK_SUSPECT && rank != RANK_DEAD) return CORE_ERR_MALFORMED;
    a->rank = (enum accusation_rank)rank;
    return reader_finished(&r) && !id_equal(&a->accuser, &a->target) ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

bool accusation_signed(const struct accusation *a, struct slice bytes)
{
    return signed_by(&a->accuser, ACCUSATION_DOMAIN, bytes);
}
