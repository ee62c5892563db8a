#include "learn/signed.h"

#include <math.h>
#include <string.h>

void write_id(struct writer *w, const struct core_id *id)
{
    write_bytes(w, id->bytes, sizeof id->bytes);
}

void write_hash(struct writer *w, const struct core_hash *hash)
{
    write_bytes(w, hash->bytes, sizeof hash->bytes);
}

void write_f64(struct writer *w, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    write_u64(w, bits);
}

struct core_id read_id(struct reader *r)
{
    struct core_id id;
    read_bytes(r, id.bytes, sizeof id.bytes);
    return id;
}

struct core_hash read_hash(struct reader *r)
{
    struct core_hash hash;
    read_bytes(r, hash.bytes, sizeof hash.bytes);
    return hash;
}

double read_f64(struct reader *r)
{
    uint64_t bits = read_u64(r);
    double value;
    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value)) {
        r->failed = true;
        return 0;
    }
    return value;
}

bool read_bool(struct reader *r)
{
    uint8_t value = read_u8(r);
    if (value > 1) r->failed = true;
    return value == 1;
}

void signed_close(struct writer *w, size_t start, const char *domain, const struct core_key *key)
{
    if (w->overflowed) return;
    struct core_sig sig = sign_make(key, domain, w->data + start, w->size - start);
    write_bytes(w, sig.bytes, sizeof sig.bytes);
}

enum core_err signed_open(struct slice bytes, uint8_t version, struct reader *r)
{
    *r = (struct reader){.failed = true};
    if (bytes.size < 1 + CORE_SIG_SIZE) return CORE_ERR_TRUNCATED;
    if (bytes.data[0] != version) return CORE_ERR_UNKNOWN_VERSION;
    *r = reader_over(bytes.data, bytes.size - CORE_SIG_SIZE);
    (void)read_u8(r);
    return CORE_ERR_OK;
}

enum core_err signed_finished(const struct reader *r)
{
    return reader_finished(r) ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

enum core_err signed_check(struct slice bytes, const struct reader *r, const char *domain, const struct core_id *signer)
{
    enum core_err err = signed_finished(r);
    if (err) return err;
    struct core_sig sig;
    memcpy(sig.bytes, bytes.data + r->size, sizeof sig.bytes);
    return sign_valid(signer, domain, bytes.data, r->size, &sig) ? CORE_ERR_OK : CORE_ERR_BAD_SIGNATURE;
}
