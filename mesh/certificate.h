// Certificates and revocations. A certificate says that a key is a member: signed by a founder, or by a member whom a
// founder delegated (ROLE_SPONSOR); in the second case it carries the signer's own certificate, so that it verifies
// from the charter alone. A chain has at most two links. Byte tables: docs/wire-format.md. Pure; any thread.
#ifndef MESH_CERTIFICATE_H
#define MESH_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/sign.h"
#include "mesh/charter.h"

enum {
    CERTIFICATE_VERSION = 1,
    CERTIFICATE_MAX = 1024,  // bytes, with the issuer's inside
    REVOCATION_VERSION = 1,
    REVOCATION_MAX = 1280,
};

enum certificate_role {
    ROLE_MEMBER = 1u << 0,
    ROLE_SPONSOR = 1u << 1,  // may issue certificates and revoke; only founders give it
    ROLE_FOUNDER = 1u << 2,  // is named in the charter
};

struct certificate {
    struct core_hash mesh;
    struct core_id key;
    char name[CHARTER_NAME_MAX + 1];
    uint32_t roles;
    uint64_t issued_s;   // seconds since 1970
    uint64_t expires_s;  // valid before this second; 0: never expires
    struct core_id issuer;
    struct core_sig signature;
    struct slice issuer_certificate;  // decode: a view into the bytes; empty where a founder signed
};

struct revocation {
    struct core_hash mesh;
    struct core_id key;  // whose certificates count no more, those that it issued included
    uint64_t at_s;
    struct core_id issuer;
    struct core_sig signature;
    struct slice issuer_certificate;
};

// What is revoked, in a table of fixed size kept by the owner (`node`). One thread.
enum { REVOCATIONS_MAX = 1024 };
struct revocations {
    struct core_id keys[REVOCATIONS_MAX];
    uint32_t count;
};

// Signs `what` (mesh, key, name, roles, times; issuer, signature and chain are filled in) as `issuer`, whose own
// certificate is `chain` (ignored for a founder). CORE_ERR_REFUSED where the issuer may not issue these roles,
// CORE_ERR_USAGE for a bad name.
CORE_MUST_USE enum core_err certificate_issue(const struct charter *charter, const struct core_key *issuer,
                                              struct slice chain, const struct certificate *what,
                                              uint8_t out[CERTIFICATE_MAX], size_t *size);
// Reads without verifying. CORE_ERR_MALFORMED, CORE_ERR_UNKNOWN_VERSION.
CORE_MUST_USE enum core_err certificate_decode(struct slice bytes, struct certificate *out);
// Reads and verifies the whole chain: also CORE_ERR_WRONG_MESH, CORE_ERR_BAD_SIGNATURE, CORE_ERR_EXPIRED,
// CORE_ERR_REVOKED, CORE_ERR_REFUSED (the signer may not). `revoked` may be NULL.
CORE_MUST_USE enum core_err certificate_verify(struct slice bytes, const struct charter *charter,
                                               const struct revocations *revoked, uint64_t now_s,
                                               struct certificate *out);

// A founder or sponsor revokes a key; a founder's key is never revoked (CORE_ERR_REFUSED).
CORE_MUST_USE enum core_err revocation_issue(const struct charter *charter, const struct core_key *issuer,
                                             struct slice chain, const struct core_id *key, uint64_t at_s,
                                             uint8_t out[REVOCATION_MAX], size_t *size);
CORE_MUST_USE enum core_err revocation_verify(struct slice bytes, const struct charter *charter,
                                              const struct revocations *revoked, uint64_t now_s,
                                              struct revocation *out);
bool revocations_has(const struct revocations *revoked, const struct core_id *key);
// CORE_ERR_EXISTS for one known already, CORE_ERR_LIMIT when the table is full.
CORE_MUST_USE enum core_err revocations_add(struct revocations *revoked, const struct core_id *key);

#endif
