// Ed25519 keys and signatures (RFC 8032, libsodium). A peer is its public key. Any thread, after `sign_start`.
#ifndef CORE_SIGN_H
#define CORE_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum { CORE_ID_SIZE = 32, CORE_SIG_SIZE = 64, CORE_SECRET_SIZE = 64, CORE_SEED_SIZE = 32, CORE_ID_HEX = 65 };

// A peer's id: its Ed25519 public key.
struct core_id {
    uint8_t bytes[CORE_ID_SIZE];
};

struct core_sig {
    uint8_t bytes[CORE_SIG_SIZE];
};

struct core_key {
    struct core_id id;
    uint8_t secret[CORE_SECRET_SIZE];  // never logged, never sent
};

// Readies libsodium; call once before anything else here. CORE_ERR_FAILED if it cannot be used.
CORE_MUST_USE enum core_err sign_start(void);

struct core_key sign_key_from_seed(const uint8_t seed[CORE_SEED_SIZE]);
struct core_key sign_key_random(void);

// Signatures are over a domain ("mycel commit v1") so that bytes of one kind never verify as another:
// Ed25519 over BLAKE2b-256(u8 length of domain || domain || data).
struct core_sig sign_make(const struct core_key *key, const char *domain, const void *data, size_t size);
bool sign_valid(const struct core_id *id, const char *domain, const void *data, size_t size,
                const struct core_sig *sig);

bool id_equal(const struct core_id *a, const struct core_id *b);
int id_compare(const struct core_id *a, const struct core_id *b);  // as memcmp
bool id_is_zero(const struct core_id *id);

// Random bytes from the operating system, for keys, secrets and seeds; pure code gets its randomness as an argument.
void random_bytes(void *out, size_t size);

#endif
