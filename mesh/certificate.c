#include "mesh/certificate.h"

#include <string.h>

#include "core/check.h"

static const char domain[] = "mycel certificate v1";
static const char revocation_domain[] = "mycel revocation v1";

static const uint32_t all_roles = ROLE_MEMBER | ROLE_SPONSOR | ROLE_FOUNDER;

// ---- certificates ----

static void write_body(struct writer *w, const struct certificate *c)
{
    size_t length = strlen(c->name);
    write_u8(w, CERTIFICATE_VERSION);
    write_bytes(w, c->mesh.bytes, CORE_HASH_SIZE);
    write_bytes(w, c->key.bytes, CORE_ID_SIZE);
    write_u8(w, (uint8_t)length);
    write_bytes(w, c->name, length);
    write_u32(w, c->roles);
    write_u64(w, c->issued_s);
    write_u64(w, c->expires_s);
    write_bytes(w, c->issuer.bytes, CORE_ID_SIZE);
}

// May `issuer` give these roles? A sponsor gives membership only; a founder's role only to a founder.
static bool may_issue(const struct charter *charter, const struct core_id *issuer, const struct core_id *key,
                      uint32_t roles)
{
    if ((roles & ROLE_MEMBER) == 0 || (roles & ~all_roles) != 0) return false;
    if ((roles & ROLE_FOUNDER) && !charter_is_founder(charter, key)) return false;
    return charter_is_founder(charter, issuer) || roles == ROLE_MEMBER;
}

enum core_err certificate_issue(const struct charter *charter, const struct core_key *issuer, struct slice chain,
                                const struct certificate *what, uint8_t out[CERTIFICATE_MAX], size_t *size)
{
    if (!charter_name_valid(what->name)) return CORE_ERR_USAGE;
    if (!may_issue(charter, &issuer->id, &what->key, what->roles)) return CORE_ERR_REFUSED;
    struct certificate c = *what;
    c.issuer = issuer->id;
    if (charter_is_founder(charter, &issuer->id)) {
        chain = (struct slice){0};
    } else {
        struct certificate own;
        enum core_err err = certificate_decode(chain, &own);
        if (err) return err;
        if (!id_equal(&own.key, &issuer->id) || !(own.roles & ROLE_SPONSOR)) return CORE_ERR_REFUSED;
    }
    struct writer w = writer_over(out, CERTIFICATE_MAX);
    write_body(&w, &c);
    check(!w.overflowed);
    struct core_sig signature = sign_make(issuer, domain, out, w.size);
    write_bytes(&w, signature.bytes, CORE_SIG_SIZE);
    write_slice(&w, chain);
    if (w.overflowed) return CORE_ERR_TOO_LARGE;
    *size = w.size;
    return CORE_ERR_OK;
}

// Also says how many bytes the signature is over.
static enum core_err decode(struct slice bytes, struct certificate *out, size_t *body)
{
    *out = (struct certificate){0};
    if (bytes.size == 0 || bytes.size > CERTIFICATE_MAX) return CORE_ERR_MALFORMED;
    struct reader r = reader_over(bytes.data, bytes.size);
    if (read_u8(&r) != CERTIFICATE_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    read_bytes(&r, out->mesh.bytes, CORE_HASH_SIZE);
    read_bytes(&r, out->key.bytes, CORE_ID_SIZE);
    uint32_t length = read_u8(&r);
    if (length > CHARTER_NAME_MAX) return CORE_ERR_MALFORMED;
    read_bytes(&r, out->name, length);
    out->roles = read_u32(&r);
    out->issued_s = read_u64(&r);
    out->expires_s = read_u64(&r);
    read_bytes(&r, out->issuer.bytes, CORE_ID_SIZE);
    *body = r.at;
    read_bytes(&r, out->signature.bytes, CORE_SIG_SIZE);
    out->issuer_certificate = read_slice(&r, CERTIFICATE_MAX);
    if (!reader_finished(&r)) return CORE_ERR_MALFORMED;
    if (strlen(out->name) != length || !charter_name_valid(out->name)) return CORE_ERR_MALFORMED;
    return CORE_ERR_OK;
}

enum core_err certificate_decode(struct slice bytes, struct certificate *out)
{
    size_t body;
    return decode(bytes, out, &body);
}

// One link of the chain: everything but who signed the signer's.
static enum core_err verify_one(struct slice bytes, const struct charter *charter, const struct revocations *revoked,
                                uint64_t now_s, struct certificate *out)
{
    size_t body;
    enum core_err err = decode(bytes, out, &body);
    if (err) return err;
    if (!hash_equal(&out->mesh, &charter->id)) return CORE_ERR_WRONG_MESH;
    if (!may_issue(charter, &out->issuer, &out->key, out->roles)) return CORE_ERR_REFUSED;
    if (!sign_valid(&out->issuer, domain, bytes.data, body, &out->signature)) return CORE_ERR_BAD_SIGNATURE;
    if (revoked && revocations_has(revoked, &out->key)) return CORE_ERR_REVOKED;
    if (out->expires_s != 0 && now_s >= out->expires_s) return CORE_ERR_EXPIRED;
    return CORE_ERR_OK;
}

// Was `issuer` allowed to sign: a founder without a chain, or the key of a sponsor's certificate that a founder signed.
static enum core_err verify_signer(const struct core_id *issuer, struct slice chain, const struct charter *charter,
                                   const struct revocations *revoked, uint64_t now_s)
{
    if (charter_is_founder(charter, issuer)) return chain.size == 0 ? CORE_ERR_OK : CORE_ERR_MALFORMED;
    if (chain.size == 0) return CORE_ERR_REFUSED;
    struct certificate signer;
    enum core_err err = verify_one(chain, charter, revoked, now_s, &signer);
    if (err) return err;
    if (signer.issuer_certificate.size != 0) return CORE_ERR_MALFORMED;  // a chain has two links at most
    if (!id_equal(&signer.key, issuer) || !(signer.roles & ROLE_SPONSOR)) return CORE_ERR_REFUSED;
    return charter_is_founder(charter, &signer.issuer) ? CORE_ERR_OK : CORE_ERR_REFUSED;
}

enum core_err certificate_verify(struct slice bytes, const struct charter *charter, const struct revocations *revoked,
                                 uint64_t now_s, struct certificate *out)
{
    enum core_err err = verify_one(bytes, charter, revoked, now_s, out);
    if (err) return err;
    return verify_signer(&out->issuer, out->issuer_certificate, charter, revoked, now_s);
}

// ---- revocations ----

enum core_err revocation_issue(const struct charter *charter, const struct core_key *issuer, struct slice chain,
                               const struct core_id *key, uint64_t at_s, uint8_t out[REVOCATION_MAX], size_t *size)
{
    if (charter_is_founder(charter, key)) return CORE_ERR_REFUSED;
    if (charter_is_founder(charter, &issuer->id)) chain = (struct slice){0};
    enum core_err err = verify_signer(&issuer->id, chain, charter, NULL, at_s);
    if (err) return err;
    struct writer w = writer_over(out, REVOCATION_MAX);
    write_u8(&w, REVOCATION_VERSION);
    write_bytes(&w, charter->id.bytes, CORE_HASH_SIZE);
    write_bytes(&w, key->bytes, CORE_ID_SIZE);
    write_u64(&w, at_s);
    write_bytes(&w, issuer->id.bytes, CORE_ID_SIZE);
    struct core_sig signature = sign_make(issuer, revocation_domain, out, w.size);
    write_bytes(&w, signature.bytes, CORE_SIG_SIZE);
    write_slice(&w, chain);
    if (w.overflowed) return CORE_ERR_TOO_LARGE;
    *size = w.size;
    return CORE_ERR_OK;
}

enum core_err revocation_verify(struct slice bytes, const struct charter *charter, const struct revocations *revoked,
                                uint64_t now_s, struct revocation *out)
{
    *out = (struct revocation){0};
    if (bytes.size == 0 || bytes.size > REVOCATION_MAX) return CORE_ERR_MALFORMED;
    struct reader r = reader_over(bytes.data, bytes.size);
    if (read_u8(&r) != REVOCATION_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    read_bytes(&r, out->mesh.bytes, CORE_HASH_SIZE);
    read_bytes(&r, out->key.bytes, CORE_ID_SIZE);
    out->at_s = read_u64(&r);
    read_bytes(&r, out->issuer.bytes, CORE_ID_SIZE);
    size_t body = r.at;
    read_bytes(&r, out->signature.bytes, CORE_SIG_SIZE);
    out->issuer_certificate = read_slice(&r, CERTIFICATE_MAX);
    if (!reader_finished(&r)) return CORE_ERR_MALFORMED;
    if (!hash_equal(&out->mesh, &charter->id)) return CORE_ERR_WRONG_MESH;
    if (charter_is_founder(charter, &out->key)) return CORE_ERR_REFUSED;
    if (!sign_valid(&out->issuer, revocation_domain, bytes.data, body, &out->signature)) return CORE_ERR_BAD_SIGNATURE;
    return verify_signer(&out->issuer, out->issuer_certificate, charter, revoked, now_s);
}

bool revocations_has(const struct revocations *revoked, const struct core_id *key)
{
    for (uint32_t i = 0; i < revoked->count; i++)
        if (id_equal(&revoked->keys[i], key)) return true;
    return false;
}

enum core_err revocations_add(struct revocations *revoked, const struct core_id *key)
{
    if (revocations_has(revoked, key)) return CORE_ERR_EXISTS;
    if (revoked->count == REVOCATIONS_MAX) return CORE_ERR_LIMIT;
    revoked->keys[revoked->count++] = *key;
    return CORE_ERR_OK;
}
