#include "mesh/seal.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

#include "core/check.h"
#include "mesh/seal_wide.h"

enum { NONCE_SIZE = 12 };

struct seal {
    struct seal_wide *wide;  // or else libcrypto's:
    EVP_CIPHER_CTX *context;
    const EVP_CIPHER *cipher;
    struct core_hash key;
    uint64_t number, records_a_key;
    bool opens, broken;
};

bool seal_has_aes(void)
{
#if defined(__x86_64__)
    const unsigned pclmul = 1u << 1, aes = 1u << 25;
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & pclmul) && (ecx & aes);
#elif defined(__aarch64__)
    const unsigned long hwcap_aes = 1ul << 3, hwcap_pmull = 1ul << 4;
    unsigned long has = getauxval(AT_HWCAP);
    return (has & hwcap_aes) && (has & hwcap_pmull);
#else
    return false;
#endif
}

// ---- keys ----

static struct core_hash derived(const struct core_hash *key, const char *label)
{
    struct core_hash out;
    check(crypto_generichash(out.bytes, sizeof out.bytes, (const uint8_t *)label, strlen(label), key->bytes,
                             sizeof key->bytes) == 0);
    return out;
}

void seal_derive(const struct seal_binding *binding, struct seal_keys *out)
{
    static const char domain[] = "mycel bulk lane v1";
    uint8_t cipher = (uint8_t)binding->cipher;
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, domain, sizeof domain);
    hash_add(&s, &cipher, 1);
    hash_add(&s, binding->mesh.bytes, CORE_HASH_SIZE);
    hash_add(&s, binding->dialler.bytes, CORE_ID_SIZE);
    hash_add(&s, binding->listener.bytes, CORE_ID_SIZE);
    hash_add(&s, binding->ticket.bytes, CORE_HASH_SIZE);
    hash_add(&s, binding->dialler_bytes.bytes, CORE_HASH_SIZE);
    hash_add(&s, binding->listener_bytes.bytes, CORE_HASH_SIZE);
    struct core_hash secret = hash_end(&s);
    out->to_listener = derived(&secret, "mycel bulk to the listener");
    out->to_dialler = derived(&secret, "mycel bulk to the dialler");
    out->dialler_proof = derived(&secret, "mycel bulk proof of the dialler");
    out->listener_proof = derived(&secret, "mycel bulk proof of the listener");
    sodium_memzero(&secret, sizeof secret);
    sodium_memzero(&s, sizeof s);
}

static bool set_key(struct seal *s)
{
    s->number = 0;
    if (!s->wide) return EVP_CipherInit_ex(s->context, s->cipher, NULL, s->key.bytes, NULL, !s->opens) == 1;
    seal_wide_key(s->wide, s->key.bytes);
    return true;
}

static struct seal *make(enum seal_cipher cipher, const struct core_hash *key, uint64_t records_a_key, bool opens,
                         bool wide)
{
    struct seal *s = malloc(sizeof *s);
    if (!s) return NULL;
    *s = (struct seal){.key = *key, .records_a_key = records_a_key, .opens = opens};
    s->cipher = cipher == SEAL_AES_256_GCM ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
    if (wide)
        s->wide = seal_wide_new();
    else
        s->context = EVP_CIPHER_CTX_new();
    if ((s->wide || s->context) && set_key(s)) return s;
    seal_free(s);
    return NULL;
}

struct seal *seal_new(enum seal_cipher cipher, const struct core_hash *key, uint64_t records_a_key, bool opens)
{
    return make(cipher, key, records_a_key, opens, cipher == SEAL_AES_256_GCM && seal_wide_usable());
}

struct seal *seal_new_libcrypto(enum seal_cipher cipher, const struct core_hash *key, uint64_t records_a_key,
                                bool opens)
{
    return make(cipher, key, records_a_key, opens, false);
}

void seal_free(struct seal *s)
{
    if (!s) return;
    seal_wide_free(s->wide);
    EVP_CIPHER_CTX_free(s->context);
    sodium_memzero(s, sizeof *s);
    free(s);
}

// ---- records ----

uint32_t seal_size(const uint8_t record[SEAL_SIZE_SIZE])
{
    struct reader r = reader_over(record, SEAL_SIZE_SIZE);
    return read_u32(&r);
}

// The next record's nonce.
static bool begin(struct seal *s, uint8_t nonce[NONCE_SIZE])
{
    if (s->number == s->records_a_key) {
        s->key = derived(&s->key, "mycel bulk rekey v1");
        if (!set_key(s)) return false;
    }
    memset(nonce, 0, NONCE_SIZE);
    struct writer w = writer_over(nonce + 4, 8);
    write_u64(&w, s->number++);
    return true;
}

// The record's size is authenticated beside what is sealed.
static bool begin_evp(struct seal *s, const uint8_t nonce[NONCE_SIZE], const uint8_t size[SEAL_SIZE_SIZE])
{
    int done;
    return EVP_CipherInit_ex(s->context, NULL, NULL, NULL, nonce, !s->opens) == 1 &&
           EVP_CipherUpdate(s->context, NULL, &done, size, SEAL_SIZE_SIZE) == 1;
}

static void seal_evp(struct seal *s, const uint8_t nonce[NONCE_SIZE], const struct slice *parts, size_t count,
                     uint8_t *out)
{
    uint8_t *at = out + SEAL_SIZE_SIZE;
    int done = 0;
    check(begin_evp(s, nonce, out));
    for (size_t i = 0; i < count; i++, at += done)
        check(EVP_CipherUpdate(s->context, at, &done, parts[i].data, (int)parts[i].size) == 1);
    check(EVP_CipherFinal_ex(s->context, at, &done) == 1 && done == 0);
    check(EVP_CIPHER_CTX_ctrl(s->context, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_SIZE, at) == 1);
}

// Several parts are short ones: put together first, then sealed in place.
static void seal_by_wide(struct seal *s, const uint8_t nonce[NONCE_SIZE], const struct slice *parts, size_t count,
                         size_t size, uint8_t *out)
{
    uint8_t *at = out + SEAL_SIZE_SIZE;
    for (size_t i = 0; count > 1 && i < count; at += parts[i++].size)
        if (parts[i].size) memcpy(at, parts[i].data, parts[i].size);
    const struct seal_wide_text t = {.nonce = nonce,
                                     .beside = out,
                                     .beside_size = SEAL_SIZE_SIZE,
                                     .in = count > 1 ? out + SEAL_SIZE_SIZE : parts[0].data,
                                     .size = size,
                                     .out = out + SEAL_SIZE_SIZE};
    seal_wide_seal(s->wide, &t, out + SEAL_SIZE_SIZE + size);
}

void seal_record(struct seal *s, const struct slice *parts, size_t count, uint8_t *out)
{
    size_t size = 0;
    uint8_t nonce[NONCE_SIZE];
    for (size_t i = 0; i < count; i++) size += parts[i].size;
    check(count > 0 && size <= INT32_MAX && !s->opens);
    struct writer w = writer_over(out, SEAL_SIZE_SIZE);
    write_u32(&w, (uint32_t)size);
    check(begin(s, nonce));
    if (s->wide)
        seal_by_wide(s, nonce, parts, count, size, out);
    else
        seal_evp(s, nonce, parts, count, out);
}

// A record as it came: the bytes of its size, what is sealed, its tag.
struct sealed {
    const uint8_t *size_bytes, *bytes, *tag;
    uint32_t size;
};

static bool open_wide(struct seal *s, const uint8_t nonce[NONCE_SIZE], const struct sealed *in, uint8_t *out)
{
    const struct seal_wide_text t = {.nonce = nonce,
                                     .beside = in->size_bytes,
                                     .beside_size = SEAL_SIZE_SIZE,
                                     .in = in->bytes,
                                     .size = in->size,
                                     .out = out};
    return seal_wide_open(s->wide, &t, in->tag);
}

static bool open_evp(struct seal *s, const uint8_t nonce[NONCE_SIZE], const struct sealed *in, uint8_t *out)
{
    int done = 0, rest = 0;
    return begin_evp(s, nonce, in->size_bytes) &&
           EVP_CipherUpdate(s->context, out, &done, in->bytes, (int)in->size) == 1 &&
           EVP_CIPHER_CTX_ctrl(s->context, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_SIZE, (void *)(uintptr_t)in->tag) == 1 &&
           EVP_CipherFinal_ex(s->context, out + done, &rest) == 1;
}

enum core_err seal_open_parts(struct seal *s, const uint8_t size[SEAL_SIZE_SIZE], const uint8_t *sealed,
                              const uint8_t tag[SEAL_TAG_SIZE], uint8_t *out)
{
    check(s->opens);
    uint8_t nonce[NONCE_SIZE];
    const struct sealed in = {size, sealed, tag, seal_size(size)};
    const bool ok = !s->broken && in.size <= INT32_MAX && begin(s, nonce) &&
                    (s->wide ? open_wide(s, nonce, &in, out) : open_evp(s, nonce, &in, out));
    s->broken = !ok;
    return ok ? CORE_ERR_OK : CORE_ERR_VERIFY_FAILED;
}

enum core_err seal_open(struct seal *s, const uint8_t *record, uint8_t *out)
{
    const uint8_t *sealed = record + SEAL_SIZE_SIZE;
    return seal_open_parts(s, record, sealed, sealed + seal_size(record), out);
}
