// A peer's key in its other forms: the X25519 key that CURVE uses, and the key file. libsodium converts Ed25519 to
// X25519 (RFC 7748's birational map); a sign bit is lost, so two ids can share one X25519 key: see `links`.
// Pure except for load and save; any thread.
#ifndef MESH_IDENTITY_H
#define MESH_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/sign.h"

enum { IDENTITY_CURVE_SIZE = 32, IDENTITY_FILE_MAX = 160 };

// What a CURVE socket is given (32 raw bytes each; libzmq takes them as they are).
struct identity_curve {
    uint8_t public_key[IDENTITY_CURVE_SIZE];
    uint8_t secret_key[IDENTITY_CURVE_SIZE];  // never logged
};

// The X25519 form of a peer's id: knowing an id is enough to dial it and to know who answers. CORE_ERR_MALFORMED where
// the 32 bytes are no key (not on the curve, of small order).
CORE_MUST_USE enum core_err identity_curve_public(const struct core_id *id, uint8_t out[IDENTITY_CURVE_SIZE]);
// Both halves of our own key.
CORE_MUST_USE enum core_err identity_curve_pair(const struct core_key *key, struct identity_curve *out);
// Zeroes a secret in a way that the compiler keeps.
void identity_forget(void *secret, size_t size);

// The key file: "mycel key v1\nid HEX\nseed HEX\n". Returns its length; `out` ends with NUL.
size_t identity_encode(const struct core_key *key, char out[IDENTITY_FILE_MAX]);
// CORE_ERR_MALFORMED, or CORE_ERR_VERIFY_FAILED where the id isn't the seed's.
CORE_MUST_USE enum core_err identity_decode(const char *text, size_t size, struct core_key *key);

// Reads a key file: CORE_ERR_NOT_FOUND, CORE_ERR_REFUSED where its mode is looser than 0600 or it belongs to another
// user, and decode's errors.
CORE_MUST_USE enum core_err identity_load(const char *path, struct core_key *key);
// Writes it with mode 0600 and syncs it; CORE_ERR_EXISTS where there is a file already.
CORE_MUST_USE enum core_err identity_save(const char *path, const struct core_key *key);

#endif
