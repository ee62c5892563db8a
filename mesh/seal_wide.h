// AES-256-GCM at the width of newer processors (VAES and VPCLMULQDQ on 512 bits), by Intel's libIPSec_MB where it is
// installed: the same cipher as libcrypto's at 2.5 times the rate of version 3.0, which has no code for these
// instructions (later ones have). The library is loaded when it is first asked for, and used only if it seals and opens
// a text just as libcrypto does. An object belongs to one thread.
#ifndef MESH_SEAL_WIDE_H
#define MESH_SEAL_WIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SEAL_WIDE_KEY = 32, SEAL_WIDE_NONCE = 12, SEAL_WIDE_TAG = 16 };

struct seal_wide;

// Any thread. False where the processor or the library isn't there, or libcrypto is as fast.
bool seal_wide_usable(void);
// Only where it is usable. NULL without memory.
struct seal_wide *seal_wide_new(void);
void seal_wide_free(struct seal_wide *w);  // forgets the key; NULL is fine
void seal_wide_key(struct seal_wide *w, const uint8_t key[SEAL_WIDE_KEY]);

struct seal_wide_text {
    const uint8_t *nonce;   // SEAL_WIDE_NONCE bytes
    const uint8_t *beside;  // authenticated, not sealed
    size_t beside_size;
    const uint8_t *in;
    size_t size;
    uint8_t *out;  // as many; may be `in`
};
void seal_wide_seal(struct seal_wide *w, const struct seal_wide_text *t, uint8_t tag[SEAL_WIDE_TAG]);
// False: not what was sealed; nothing of `out` may be used.
bool seal_wide_open(struct seal_wide *w, const struct seal_wide_text *t, const uint8_t tag[SEAL_WIDE_TAG]);

#endif
