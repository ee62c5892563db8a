#include "mesh/seal_wide.h"

#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "core/check.h"

// Room for the library's own structs (1.3: 1,300 and 100 bytes), with its alignment.
enum { KEY_ROOM = 4096, CONTEXT_ROOM = 1024, ALIGN = 64, PROBE = 3000 };
#define WIDE_LIBCRYPTO 0x30200000ul  // versions from here on have these instructions themselves

typedef void prepare_key(const void *key, void *data);
typedef void run_text(const void *key, void *context, uint8_t *out, const uint8_t *in, uint64_t size,
                      const uint8_t *nonce, const uint8_t *beside, uint64_t beside_size, uint8_t *tag,
                      uint64_t tag_size);

struct library {
    prepare_key *prepare;
    run_text *seal, *open;
    bool usable;
};

struct seal_wide {
    _Alignas(ALIGN) uint8_t key[KEY_ROOM];
    _Alignas(ALIGN) uint8_t context[CONTEXT_ROOM];
    const struct library *library;
};

static struct library the_library;  // set once, by load()
static pthread_once_t loaded = PTHREAD_ONCE_INIT;

static bool has_instructions(void)
{
#if defined(__x86_64__)
    const unsigned xsave = 1u << 27, ebx_needs = 1u << 8 | 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // BMI2, AVX-512
    const unsigned ecx_needs = 1u << 8 | 1u << 9 | 1u << 10;  // GFNI, VAES, VPCLMULQDQ
    unsigned eax, ebx, ecx, edx, state, high;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & xsave)) return false;
    __asm__("xgetbv" : "=a"(state), "=d"(high) : "c"(0));
    if ((state & 0xe6) != 0xe6) return false;  // the system keeps the wide registers
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & ebx_needs) == ebx_needs &&
           (ecx & ecx_needs) == ecx_needs;
#else
    return false;
#endif
}

// Object pointers to function pointers, as POSIX has dlsym.
static bool find(void *handle, const char *name, void *to)
{
    void *found = dlsym(handle, name);
    memcpy(to, &found, sizeof found);
    return found != NULL;
}

static bool same_as_libcrypto(const struct library *l)
{
    static const uint8_t key[SEAL_WIDE_KEY] = "a key that everybody knows", nonce[SEAL_WIDE_NONCE] = "some nonce";
    uint8_t text[PROBE], ours[PROBE], theirs[PROBE], tags[2][SEAL_WIDE_TAG];
    struct seal_wide *w = aligned_alloc(ALIGN, sizeof *w);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int done = 0;
    for (size_t i = 0; i < PROBE; i++) text[i] = (uint8_t)(i * 7 + i / 256);
    bool same = w && c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
                EVP_EncryptUpdate(c, NULL, &done, text, 4) == 1 &&
                EVP_EncryptUpdate(c, theirs, &done, text, PROBE) == 1 && EVP_EncryptFinal_ex(c, theirs, &done) == 1 &&
                EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, SEAL_WIDE_TAG, tags[1]) == 1;
    if (same) {
        const struct seal_wide_text t = {nonce, text, 4, text, PROBE, ours}, back = {nonce, text, 4, ours, PROBE, ours};
        *w = (struct seal_wide){.library = l};
        seal_wide_key(w, key);
        seal_wide_seal(w, &t, tags[0]);
        same = memcmp(ours, theirs, PROBE) == 0 && memcmp(tags[0], tags[1], SEAL_WIDE_TAG) == 0 &&
               seal_wide_open(w, &back, tags[1]) && memcmp(ours, text, PROBE) == 0;
    }
    EVP_CIPHER_CTX_free(c);
    free(w);
    return same;
}

static void load(void)
{
    if (!has_instructions() || OpenSSL_version_num() >= WIDE_LIBCRYPTO) return;
    void *handle = dlopen("libIPSec_MB.so.1", RTLD_NOW | RTLD_LOCAL);  // stays for as long as we run
    struct library *l = &the_library;
    l->usable = handle && find(handle, "aes_gcm_pre_256_vaes_avx512", &l->prepare) &&
                find(handle, "aes_gcm_enc_256_vaes_avx512", &l->seal) &&
                find(handle, "aes_gcm_dec_256_vaes_avx512", &l->open) && same_as_libcrypto(l);
}

bool seal_wide_usable(void)
{
    check(pthread_once(&loaded, load) == 0);
    return the_library.usable;
}

struct seal_wide *seal_wide_new(void)
{
    check(seal_wide_usable());
    struct seal_wide *w = aligned_alloc(ALIGN, sizeof *w);
    if (w) *w = (struct seal_wide){.library = &the_library};
    return w;
}

void seal_wide_free(struct seal_wide *w)
{
    if (w) sodium_memzero(w, sizeof *w);
    free(w);
}

void seal_wide_key(struct seal_wide *w, const uint8_t key[SEAL_WIDE_KEY])
{
    w->library->prepare(key, w->key);
}

void seal_wide_seal(struct seal_wide *w, const struct seal_wide_text *t, uint8_t tag[SEAL_WIDE_TAG])
{
    w->library->seal(w->key, w->context, t->out, t->in, t->size, t->nonce, t->beside, t->beside_size, tag,
                     SEAL_WIDE_TAG);
}

bool seal_wide_open(struct seal_wide *w, const struct seal_wide_text *t, const uint8_t tag[SEAL_WIDE_TAG])
{
    uint8_t made[SEAL_WIDE_TAG];
    w->library->open(w->key, w->context, t->out, t->in, t->size, t->nonce, t->beside, t->beside_size, made,
                     SEAL_WIDE_TAG);
    return sodium_memcmp(made, tag, SEAL_WIDE_TAG) == 0;
}
