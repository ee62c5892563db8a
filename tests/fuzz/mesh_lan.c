// Any datagram against lan_receive; and a body of any content, rightly sealed, against lan_decode: what is taken for
// right is written again to the same bytes by who signed it.
#include <sodium.h>
#include <string.h>

#include "core/check.h"
#include "mesh/lan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Seals a body as any member could.
static void seal(const struct core_hash *key, const uint8_t body[LAN_BODY], uint8_t out[LAN_SIZE])
{
    unsigned long long sealed;
    memset(out, 0, LAN_SIZE);
    out[0] = LAN_VERSION;
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + 1 + LAN_NONCE_SIZE, &sealed, body, LAN_BODY, out, 1, NULL, out + 1,
                                               key->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { PLAIN = 125 };
    static struct lan lan;
    struct charter charter = {.nonce = {1}};
    struct lan_announcement a, back;
    uint8_t seed[CORE_SEED_SIZE] = {5}, body[LAN_BODY] = {0}, bytes[LAN_SIZE], again[LAN_SIZE],
            signed_bytes[32 + PLAIN];
    if (sign_start()) return 0;
    struct core_key author = sign_key_from_seed(seed);
    lan_open(&lan, &charter, &(struct core_id){{0}}, 0);
    for (uint64_t now_ms = 1; now_ms < 4; now_ms++) (void)!lan_receive(&lan, (struct slice){data, size}, now_ms, 5, &a);
    memcpy(body, data, size < LAN_BODY ? size : LAN_BODY);
    seal(&lan.key, body, bytes);
    (void)!lan_decode(&lan.key, &lan.mesh, (struct slice){bytes, LAN_SIZE}, &a);
    // Signed, too: only then is a body of any content looked at to its end.
    memcpy(body, author.id.bytes, sizeof author.id.bytes);
    memcpy(signed_bytes, lan.mesh.bytes, 32);
    memcpy(signed_bytes + 32, body, PLAIN);
    struct core_sig signature = sign_make(&author, "mycel lan v1", signed_bytes, sizeof signed_bytes);
    memcpy(body + PLAIN, signature.bytes, sizeof signature.bytes);
    memset(body + PLAIN + sizeof signature.bytes, 0, LAN_BODY - PLAIN - sizeof signature.bytes);
    seal(&lan.key, body, bytes);
    if (lan_decode(&lan.key, &lan.mesh, (struct slice){bytes, LAN_SIZE}, &a)) return 0;
    lan_encode(&lan.key, &lan.mesh, &author, &a, bytes + 1, again);
    check(memcmp(again, bytes, LAN_SIZE) == 0);
    check(lan_receive(&lan, (struct slice){bytes, LAN_SIZE}, 4, a.time_s, &back) == LAN_HEARD);
    check(lan_receive(&lan, (struct slice){bytes, LAN_SIZE}, 4, a.time_s, &back) == LAN_REPLAYED);
    return 0;
}
