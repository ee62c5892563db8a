#include "core/sign.h"

#include <sodium.h>
#include <string.h>

#include "core/check.h"
#include "core/hash.h"

_Static_assert(CORE_SECRET_SIZE == crypto_sign_SECRETKEYBYTES, "Ed25519 secret size");
_Static_assert(CORE_SIG_SIZE == crypto_sign_BYTES, "Ed25519 signature size");

enum core_err sign_start(void)
{
    return sodium_init() < 0 ? CORE_ERR_FAILED : CORE_ERR_OK;
}

struct core_key sign_key_from_seed(const uint8_t seed[CORE_SEED_SIZE])
{
    struct core_key key;
    check(crypto_sign_seed_keypair(key.id.bytes, key.secret, seed) == 0);
    return key;
}

struct core_key sign_key_random(void)
{
    struct core_key key;
    check(crypto_sign_keypair(key.id.bytes, key.secret) == 0);
    return key;
}

static struct core_hash digest_of(const char *domain, const void *data, size_t size)
{
    size_t length = strlen(domain);
    check(length > 0 && length < 256);
    uint8_t first = (uint8_t)length;
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, &first, 1);
    hash_add(&s, domain, length);
    hash_add(&s, data, size);
    return hash_end(&s);
}

struct core_sig sign_make(const struct core_key *key, const char *domain, const void *data, size_t size)
{
    struct core_hash digest = digest_of(domain, data, size);
    struct core_sig sig;
    check(crypto_sign_detached(sig.bytes, NULL, digest.bytes, sizeof digest.bytes, key->secret) == 0);
    return sig;
}

bool sign_valid(const struct core_id *id, const char *domain, const void *data, size_t size, const struct core_sig *sig)
{
    struct core_hash digest = digest_of(domain, data, size);
    return crypto_sign_verify_detached(sig->bytes, digest.bytes, sizeof digest.bytes, id->bytes) == 0;
}

bool id_equal(const struct core_id *a, const struct core_id *b)
{
    return id_compare(a, b) == 0;
}

int id_compare(const struct core_id *a, const struct core_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

bool id_is_zero(const struct core_id *id)
{
    static const struct core_id zero;
    return id_equal(id, &zero);
}

void random_bytes(void *out, size_t size)
{
    randombytes_buf(out, size);
}
