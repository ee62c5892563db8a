// Invitations. The token is one line of text: "mycel1" and base32 (RFC 4648, lower case, no padding) of mesh id,
// sponsor's id and addresses, secret, expiry, uses and a checksum. The sponsor keeps what it handed out in a ledger of
// fixed size that `node` persists. Pure; one owner a ledger.
#ifndef MESH_INVITATION_H
#define MESH_INVITATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/sign.h"
#include "mesh/address.h"

enum {
    INVITATION_SECRET_SIZE = 16,
    INVITATION_TEXT_MAX = 2560,  // with NUL
    INVITATION_USES_MAX = 16,
    INVITATIONS_MAX = 64,
    INVITATION_TTL_S = 24 * 3600,
    INVITATIONS_BYTES = 8 + INVITATIONS_MAX * (128 + INVITATION_USES_MAX * 32),
};

struct invitation {
    struct core_hash mesh;
    struct core_id sponsor;
    struct address_list addresses;
    uint8_t secret[INVITATION_SECRET_SIZE];  // never logged
    uint64_t expires_s;
    uint32_t uses;
};

// What a token is called where its secret must not appear: a hash of the secret.
struct core_hash invitation_id(const uint8_t secret[INVITATION_SECRET_SIZE]);

// The token's text, NUL at its end; returns its length.
size_t invitation_encode(const struct invitation *in, char out[INVITATION_TEXT_MAX]);

// Why a token is no good, for a person: "cut short: 190 of 214 characters". Never holds the token's text.
enum { INVITATION_WHY_MAX = 160 };
// Space around the text is ignored. CORE_ERR_MALFORMED (not a token, a character that can't be, checksum),
// CORE_ERR_TRUNCATED (cut short), CORE_ERR_UNKNOWN_VERSION; `why` gets a sentence on an error.
CORE_MUST_USE enum core_err invitation_decode(const char *text, struct invitation *out, char why[INVITATION_WHY_MAX]);
// CORE_ERR_EXPIRED; CORE_ERR_WRONG_MESH where `mesh` (the mesh of this home, or NULL) is another.
CORE_MUST_USE enum core_err invitation_check(const struct invitation *in, uint64_t now_s, const struct core_hash *mesh,
                                             char why[INVITATION_WHY_MAX]);

// ---- the sponsor's ledger ----
struct invitation_entry {
    struct core_hash id;
    uint8_t secret[INVITATION_SECRET_SIZE];
    uint64_t created_s;
    uint64_t expires_s;
    uint32_t uses;   // how many may join with it
    uint32_t used;   // how many did
    uint32_t roles;  // of the certificates that it gives
    bool revoked;
    struct core_id joined[INVITATION_USES_MAX];
};

struct invitations {
    struct invitation_entry entries[INVITATIONS_MAX];
    uint32_t count;
};

// A new open invitation. CORE_ERR_LIMIT when full of open ones (closed ones make room), CORE_ERR_USAGE for uses.
CORE_MUST_USE enum core_err invitations_add(struct invitations *ledger, const uint8_t secret[INVITATION_SECRET_SIZE],
                                            uint64_t now_s, uint64_t ttl_s, uint32_t uses, uint32_t roles);
// True while any invitation is open at `now_s`: only then is ADMIT answered.
bool invitations_open(const struct invitations *ledger, uint64_t now_s);
// Spends a use for `joiner`: CORE_ERR_NOT_FOUND, CORE_ERR_REVOKED, CORE_ERR_EXPIRED, CORE_ERR_USED_UP. A joiner that
// was admitted with it before gets OK again without spending another (its answer may have been lost).
CORE_MUST_USE enum core_err invitations_use(struct invitations *ledger, const struct core_hash *id,
                                            const struct core_id *joiner, uint64_t now_s);
// The entry, or NULL.
struct invitation_entry *invitations_find(struct invitations *ledger, const struct core_hash *id);
size_t invitations_encode(const struct invitations *ledger, uint8_t out[INVITATIONS_BYTES]);
CORE_MUST_USE enum core_err invitations_decode(struct slice bytes, struct invitations *out);

#endif
