// AES-256-GCM (NIST SP 800-38D) with 512-bit AES and carry-less multiplication, for machines that have them: OpenSSL
// before 3.1 uses neither, and opening is then what limits a bulk lane (bench/link.c). The same bytes as libcrypto's,
// which the tests compare; without branches or loads that depend on secrets. Nonces of 12 bytes, at most 16 of AAD.
//
// Method: S. Gueron, M. Kounavis, "Intel Carry-Less Multiplication Instruction and its Usage for Computing the GCM
// Mode": blocks byte-reversed, the hash key times x beforehand, 32 blocks to a reduction.
#ifndef MESH_GCM_VAES_H
#define MESH_GCM_VAES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GCM_VAES_ROUND_KEYS = 15, GCM_VAES_POWERS = 32 };

struct gcm_vaes {
    _Alignas(64) uint8_t powers[GCM_VAES_POWERS][16];  // H^32 first, H^1 last
    _Alignas(64) uint8_t round_keys[GCM_VAES_ROUND_KEYS][16];
};

// Whether this machine can; nothing else may be called where not.
bool gcm_vaes_works(void);
void gcm_vaes_set_key(struct gcm_vaes *g, const uint8_t key[32]);
// `out` may be `in`.
void gcm_vaes_seal(const struct gcm_vaes *g, const uint8_t nonce[12], const uint8_t *aad, size_t aad_size,
                   const uint8_t *in, size_t size, uint8_t *out, uint8_t tag[16]);
// False where the tag is wrong; `out` then holds rubbish.
bool gcm_vaes_open(const struct gcm_vaes *g, const uint8_t nonce[12], const uint8_t *aad, size_t aad_size,
                   const uint8_t *in, size_t size, uint8_t *out, const uint8_t tag[16]);

#endif
