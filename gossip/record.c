#include "gossip/record.h"

#include <string.h>

#include "core/check.h"
#include "gossip/gossip.h"
#include "gossip/pool.h"

static const char RECORD_DOMAIN[] = "mycel member v2", ACCUSATION_DOMAIN[] = "mycel suspicion v2";

enum { RECORD_VERSION = 2, ACCUSATION_VERSION = 2, FLAG_LEFT = 1, FLAG_LOCATED = 2 };

_Static_assert(1 + 32 + 8 + 8 + 8 + 1 + 32 + 4 + GOSSIP_NAME_MAX + 4 + GOSSIP_SITE_MAX + COORDINATES_SIZE + 4 +
                       GOSSIP_ADDRESSES_MAX + 4 + GOSSIP_CERTIFICATE_MAX + 1 + RECORD_WATCHERS_MAX * CORE_ID_SIZE +
                       CORE_SIG_SIZE <=
                   RECORD_MAX,
               "a record at its limits fits");
_Static_assert(1 + 32 + 32 + 8 + CORE_SIG_SIZE == ACCUSATION_SIZE, "an accusation's fields");

size_t record_write(uint8_t *out, const struct member_record *record, const struct core_key *key)
{
    struct writer w = writer_over(out, RECORD_MAX);
    write_u8(&w, RECORD_VERSION);
    write_bytes(&w, record->id.bytes, sizeof record->id.bytes);
    write_u64(&w, record->incarnation);
    write_u64(&w, record->seq);
    write_u64(&w, record->session);
    write_u8(&w, (uint8_t)((record->left ? FLAG_LEFT : 0) | (record->located ? FLAG_LOCATED : 0)));
    write_bytes(&w, record->host.bytes, sizeof record->host.bytes);
    write_slice(&w, record->name);
    write_slice(&w, record->site);
    uint8_t point[COORDINATES_SIZE];
    coordinates_write(point, &record->coordinates);
    write_bytes(&w, point, sizeof point);
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

// A name or site is shown on other people's terminals: no control characters.
static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < 32 || text.data[i] == 127) return false;
    return true;
}

enum core_err record_read(struct member_record *record, struct slice bytes)
{
    *record = (struct member_record){.bytes = bytes};
    if (bytes.size > RECORD_MAX) return CORE_ERR_TOO_LARGE;
    if (bytes.size < CORE_SIG_SIZE) return CORE_ERR_TRUNCATED;
    struct reader r = reader_over(bytes.data, bytes.size - CORE_SIG_SIZE);
    if (read_u8(&r) != RECORD_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    read_bytes(&r, record->id.bytes, sizeof record->id.bytes);
    record->incarnation = read_u64(&r);
    record->seq = read_u64(&r);
    record->session = read_u64(&r);
    const uint8_t flags = read_u8(&r);
    record->left = flags & FLAG_LEFT;
    record->located = flags & FLAG_LOCATED;
    read_bytes(&r, record->host.bytes, sizeof record->host.bytes);
    record->name = read_slice(&r, GOSSIP_NAME_MAX);
    record->site = read_slice(&r, GOSSIP_SITE_MAX);
    uint8_t point[COORDINATES_SIZE];
    read_bytes(&r, point, sizeof point);
    if (coordinates_read(&record->coordinates, (struct slice){point, sizeof point})) return CORE_ERR_MALFORMED;
    record->addresses = read_slice(&r, GOSSIP_ADDRESSES_MAX);
    record->certificate = read_slice(&r, GOSSIP_CERTIFICATE_MAX);
    record->watcher_count = read_u8(&r);
    if (record->watcher_count > RECORD_WATCHERS_MAX || flags > (FLAG_LEFT | FLAG_LOCATED)) return CORE_ERR_MALFORMED;
    if (r.failed || r.size - r.at != record->watcher_count * sizeof *record->watchers) return CORE_ERR_MALFORMED;
    // An id is 32 bytes without alignment: a view is as good as a copy.
    record->watchers = (const struct core_id *)(const void *)(r.data + r.at);
    const bool ok = record->incarnation <= RECORD_INCARNATION_MAX && is_plain(record->name) && is_plain(record->site);
    return ok ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

static bool signed_by(const struct core_id *id, const char *domain, struct slice bytes,
                      const struct signature_check *check)
{
    struct core_sig sig;
    const struct slice body = {bytes.data, bytes.size - CORE_SIG_SIZE};
    memcpy(sig.bytes, bytes.data + body.size, sizeof sig.bytes);
    if (check && check->valid) return check->valid(check->context, id, domain, body, &sig);
    return sign_valid(id, domain, body.data, body.size, &sig);
}

bool record_signed(const struct member_record *record, const struct signature_check *check)
{
    return signed_by(&record->id, RECORD_DOMAIN, record->bytes, check);
}

void accusation_write(uint8_t out[ACCUSATION_SIZE], const struct accusation *a, const struct core_key *key)
{
    struct writer w = writer_over(out, ACCUSATION_SIZE);
    write_u8(&w, ACCUSATION_VERSION);
    write_bytes(&w, a->accuser.bytes, sizeof a->accuser.bytes);
    write_bytes(&w, a->target.bytes, sizeof a->target.bytes);
    write_u64(&w, a->incarnation);
    const struct core_sig sig = sign_make(key, ACCUSATION_DOMAIN, out, w.size);
    write_bytes(&w, sig.bytes, sizeof sig.bytes);
    check(!w.overflowed && w.size == ACCUSATION_SIZE);
}

enum core_err accusation_read(struct accusation *a, struct slice bytes)
{
    *a = (struct accusation){.bytes = bytes};
    if (bytes.size != ACCUSATION_SIZE) return CORE_ERR_MALFORMED;
    struct reader r = reader_over(bytes.data, bytes.size - CORE_SIG_SIZE);
    if (read_u8(&r) != ACCUSATION_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    read_bytes(&r, a->accuser.bytes, sizeof a->accuser.bytes);
    read_bytes(&r, a->target.bytes, sizeof a->target.bytes);
    a->incarnation = read_u64(&r);
    return reader_finished(&r) && !id_equal(&a->accuser, &a->target) ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

bool accusation_signed(const struct accusation *a, const struct signature_check *check)
{
    return signed_by(&a->accuser, ACCUSATION_DOMAIN, a->bytes, check);
}
