// Keys of a bulk lane and the AEAD that seals its records. Pure; a `struct seal` belongs to one thread.
//
// The keys: both sides send 32 random bytes inside the CURVE control link, whose two ends are known to each other.
//   secret   = BLAKE2b-256("mycel bulk lane v1", cipher, mesh, dialler's id, listener's id, ticket, dialler's bytes,
//              listener's bytes)
//   each key = BLAKE2b-256 keyed with `secret` over a label of its own: two directions, two proofs
//   after SEAL_RECORDS_MAX records a direction's key becomes BLAKE2b-256 keyed with itself over "mycel bulk rekey v1",
//   and its counter 0; both sides count, so nobody says so
//
// A record: u32 size n of what is sealed (little-endian; authenticated), n bytes, 16 bytes of tag. The nonce is four
// zero bytes and the record's number under its key (u64, little-endian): never used twice, and a record that is left
// out, repeated, moved or cut does not open. AES-256-GCM where both sides have it in hardware, else ChaCha20-Poly1305;
// by libcrypto, or by what mesh/seal_wide.h says: the same bytes.
#ifndef MESH_SEAL_H
#define MESH_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/sign.h"

enum {
    SEAL_KEY_SIZE = 32,
    SEAL_TAG_SIZE = 16,
    SEAL_SIZE_SIZE = 4,
    SEAL_OVERHEAD = SEAL_SIZE_SIZE + SEAL_TAG_SIZE,
};
// Far below AES-GCM's 2^32 for one key.
#define SEAL_RECORDS_MAX ((uint64_t)1 << 31)

enum seal_cipher { SEAL_AES_256_GCM = 1, SEAL_CHACHA20_POLY1305 = 2 };

// Whether this machine does AES-GCM in hardware.
bool seal_has_aes(void);

// What a lane's keys are bound to.
struct seal_binding {
    enum seal_cipher cipher;
    struct core_hash mesh;
    struct core_id dialler, listener;
    struct core_hash ticket, dialler_bytes, listener_bytes;
};
struct seal_keys {
    struct core_hash to_listener, to_dialler;        // a direction each
    struct core_hash dialler_proof, listener_proof;  // shown once, to say that one holds the rest
};
void seal_derive(const struct seal_binding *binding, struct seal_keys *out);

struct seal;
// One direction. `records_a_key` is SEAL_RECORDS_MAX but for tests. NULL without memory.
CORE_MUST_USE struct seal *seal_new(enum seal_cipher cipher, const struct core_hash *key, uint64_t records_a_key,
                                    bool opens);
// The same by libcrypto alone: for tests and measurements.
CORE_MUST_USE struct seal *seal_new_libcrypto(enum seal_cipher cipher, const struct core_hash *key,
                                              uint64_t records_a_key, bool opens);
void seal_free(struct seal *s);  // forgets the key; NULL is fine

// Seals `count` parts as one record: writes their size + SEAL_OVERHEAD bytes to `out`, which overlaps no part.
void seal_record(struct seal *s, const struct slice *parts, size_t count, uint8_t *out);
// The size that the first SEAL_SIZE_SIZE bytes of a record say.
uint32_t seal_size(const uint8_t record[SEAL_SIZE_SIZE]);
// Opens a whole record of seal_size() + SEAL_OVERHEAD bytes into `out`. CORE_ERR_VERIFY_FAILED: nothing of `out` may
// be used, and nothing opens after it.
CORE_MUST_USE enum core_err seal_open(struct seal *s, const uint8_t *record, uint8_t *out);
// The same where the record lies in three places: its size, what is sealed (which may be `out`), its tag.
CORE_MUST_USE enum core_err seal_open_parts(struct seal *s, const uint8_t size[SEAL_SIZE_SIZE], const uint8_t *sealed,
                                            const uint8_t tag[SEAL_TAG_SIZE], uint8_t *out);

#endif
