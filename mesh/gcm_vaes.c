#include "mesh/gcm_vaes.h"

#include <string.h>

#include "core/check.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sodium.h>

// clang 18 to 21 want to be told that the registers may be 512 bits wide.
#if defined(__clang__) && __clang_major__ >= 18 && __clang_major__ <= 21
#define WIDTH ",evex512"
#else
#define WIDTH ""
#endif
#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,vaes,vpclmulqdq,aes,pclmul" WIDTH)))

enum { BLOCK = 16, LANES = 8, STRIDE = LANES * 4 * BLOCK };  // 8 registers of 4 blocks

bool gcm_vaes_works(void)
{
    unsigned eax, ebx, ecx, edx, low, high;
    const unsigned osxsave = 1u << 27, aes = 1u << 25, pclmul = 1u << 1;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & (osxsave | aes | pclmul)) != (osxsave | aes | pclmul))
        return false;
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
    const unsigned wide = 1u << 9 | 1u << 10;                           // VAES, VPCLMULQDQ
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || (ebx & avx512) != avx512 || (ecx & wide) != wide)
        return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 0xe6) == 0xe6;  // the system saves the registers
}

// ---- the hash: values are byte-reversed; of each product one factor was multiplied by x ----

WIDE static inline __m128i reversed(__m128i v)
{
    return _mm_shuffle_epi8(v, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

WIDE static inline __m128i multiply(__m128i a, __m128i b)
{
    const __m128i poly = _mm_set_epi64x((long long)0xc200000000000000, 1);
    __m128i lo = _mm_clmulepi64_si128(a, b, 0x00), hi = _mm_clmulepi64_si128(a, b, 0x11);
    __m128i mi = _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10));
    mi = _mm_xor_si128(mi, _mm_xor_si128(_mm_clmulepi64_si128(poly, lo, 0x01), _mm_shuffle_epi32(lo, 0x4e)));
    return _mm_xor_si128(hi, _mm_xor_si128(_mm_clmulepi64_si128(poly, mi, 0x01), _mm_shuffle_epi32(mi, 0x4e)));
}

WIDE static inline __m512i reversed4(__m512i v)
{
    return _mm512_shuffle_epi8(
        v, _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
}

// The sums of the products of 32 blocks with the 32 powers, reduced once.
WIDE static inline __m128i hash_stride(const struct gcm_vaes *g, __m128i sum, const __m512i blocks[LANES])
{
    const __m512i poly = _mm512_broadcast_i32x4(_mm_set_epi64x((long long)0xc200000000000000, 1));
    __m512i lo = _mm512_setzero_si512(), mi = lo, hi = lo;
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i++) {
        __m512i a = reversed4(blocks[i]), b = _mm512_load_si512(g->powers[4 * i]);
        if (i == 0) a = _mm512_xor_si512(a, _mm512_zextsi128_si512(sum));
        lo = _mm512_xor_si512(lo, _mm512_clmulepi64_epi128(a, b, 0x00));
        hi = _mm512_xor_si512(hi, _mm512_clmulepi64_epi128(a, b, 0x11));
        mi = _mm512_ternarylogic_epi64(mi, _mm512_clmulepi64_epi128(a, b, 0x01), _mm512_clmulepi64_epi128(a, b, 0x10),
                                       0x96);
    }
    mi = _mm512_ternarylogic_epi64(mi, _mm512_clmulepi64_epi128(poly, lo, 0x01), _mm512_shuffle_epi32(lo, 0x4e), 0x96);
    hi = _mm512_ternarylogic_epi64(hi, _mm512_clmulepi64_epi128(poly, mi, 0x01), _mm512_shuffle_epi32(mi, 0x4e), 0x96);
    __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(hi), _mm512_extracti64x4_epi64(hi, 1));
    return _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

WIDE static inline __m128i hash_block(const struct gcm_vaes *g, __m128i sum, __m128i block)
{
    return multiply(_mm_xor_si128(sum, reversed(block)),
                    _mm_load_si128((const __m128i *)(const void *)g->powers[GCM_VAES_POWERS - 1]));
}

// ---- the cipher ----

WIDE static inline __m128i round_key(const struct gcm_vaes *g, int i)
{
    return _mm_load_si128((const __m128i *)(const void *)g->round_keys[i]);
}

WIDE static inline __m128i encrypt(const struct gcm_vaes *g, __m128i block)
{
    block = _mm_xor_si128(block, round_key(g, 0));
    for (int i = 1; i < GCM_VAES_ROUND_KEYS - 1; i++) block = _mm_aesenc_si128(block, round_key(g, i));
    return _mm_aesenclast_si128(block, round_key(g, GCM_VAES_ROUND_KEYS - 1));
}

// 32 blocks of key stream from the byte-reversed counter on.
WIDE static inline void stream_stride(const struct gcm_vaes *g, __m512i counter, __m512i out[LANES])
{
    const __m512i four = _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4);
    __m512i key = _mm512_broadcast_i32x4(round_key(g, 0));
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i++) {
        out[i] = _mm512_xor_si512(reversed4(counter), key);
        counter = _mm512_add_epi32(counter, four);
    }
#pragma GCC unroll 13
    for (int r = 1; r < GCM_VAES_ROUND_KEYS - 1; r++) {
        key = _mm512_broadcast_i32x4(round_key(g, r));
#pragma GCC unroll 8
        for (int i = 0; i < LANES; i++) out[i] = _mm512_aesenc_epi128(out[i], key);
    }
    key = _mm512_broadcast_i32x4(round_key(g, GCM_VAES_ROUND_KEYS - 1));
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i++) out[i] = _mm512_aesenclast_epi128(out[i], key);
}

WIDE static inline __m128i expand(__m128i key, __m128i assist)
{
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, assist);
}

// FIPS 197's schedule: the instruction takes its constant at compile time only.
#define EVEN(k, i, constant) \
    k[i] = expand(k[(i)-2], _mm_shuffle_epi32(_mm_aeskeygenassist_si128(k[(i)-1], constant), 0xff))
#define ODD(k, i) k[i] = expand(k[(i)-2], _mm_shuffle_epi32(_mm_aeskeygenassist_si128(k[(i)-1], 0), 0xaa))

WIDE void gcm_vaes_set_key(struct gcm_vaes *g, const uint8_t key[32])
{
    __m128i k[GCM_VAES_ROUND_KEYS];
    k[0] = _mm_loadu_si128((const __m128i *)(const void *)key);
    k[1] = _mm_loadu_si128((const __m128i *)(const void *)(key + BLOCK));
    EVEN(k, 2, 0x01);
    ODD(k, 3);
    EVEN(k, 4, 0x02);
    ODD(k, 5);
    EVEN(k, 6, 0x04);
    ODD(k, 7);
    EVEN(k, 8, 0x08);
    ODD(k, 9);
    EVEN(k, 10, 0x10);
    ODD(k, 11);
    EVEN(k, 12, 0x20);
    ODD(k, 13);
    EVEN(k, 14, 0x40);
    memcpy(g->round_keys, k, sizeof g->round_keys);
    sodium_memzero(k, sizeof k);
    uint64_t h[2];
    __m128i zero = reversed(encrypt(g, _mm_setzero_si128()));
    memcpy(h, &zero, sizeof h);
    uint64_t carry = 0 - (h[1] >> 63);
    h[1] = (h[1] << 1 | h[0] >> 63) ^ (carry & 0xc200000000000000);
    h[0] = h[0] << 1 ^ (carry & 1);
    __m128i first = _mm_set_epi64x((long long)h[1], (long long)h[0]), power = first;
    for (int i = GCM_VAES_POWERS - 1; i >= 0; i--) {
        _mm_store_si128((__m128i *)(void *)g->powers[i], power);
        power = multiply(power, first);
    }
}

// ---- both together ----

// The rest that fills no stride, block by block; `seals`: the hash is over what comes out.
WIDE static __m128i rest(const struct gcm_vaes *g, __m128i counter, __m128i sum, const uint8_t *in, size_t size,
                         uint8_t *out, bool seals)
{
    while (size) {
        size_t part = size < BLOCK ? size : BLOCK;
        uint8_t from[BLOCK] = {0}, to[BLOCK];
        memcpy(from, in, part);
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)from);
        __m128i done = _mm_xor_si128(block, encrypt(g, reversed(counter)));
        _mm_storeu_si128((__m128i *)(void *)to, done);
        memcpy(out, to, part);
        memset(to + part, 0, BLOCK - part);
        sum = hash_block(g, sum, seals ? _mm_loadu_si128((const __m128i *)(const void *)to) : block);
        counter = _mm_add_epi32(counter, _mm_set_epi32(0, 0, 0, 1));
        in += part;
        out += part;
        size -= part;
    }
    return sum;
}

WIDE static void run(const struct gcm_vaes *g, const uint8_t nonce[12], const uint8_t *aad, size_t aad_size,
                     const uint8_t *in, size_t size, uint8_t *out, bool seals, uint8_t tag[16])
{
    check(aad_size <= BLOCK);
    uint8_t first[BLOCK] = {0}, padded[BLOCK] = {0};
    memcpy(first, nonce, 12);
    first[15] = 1;
    if (aad_size) memcpy(padded, aad, aad_size);
    __m128i start = _mm_loadu_si128((const __m128i *)(const void *)first), sum = _mm_setzero_si128();
    if (aad_size) sum = hash_block(g, sum, _mm_loadu_si128((const __m128i *)(const void *)padded));
    __m128i counter = _mm_add_epi32(reversed(start), _mm_set_epi32(0, 0, 0, 1));
    const __m512i ahead = _mm512_set_epi32(0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0);
    size_t left = size;
    for (; left >= STRIDE; left -= STRIDE, in += STRIDE, out += STRIDE) {
        __m512i stream[LANES], sealed[LANES];
        stream_stride(g, _mm512_add_epi32(_mm512_broadcast_i32x4(counter), ahead), stream);
#pragma GCC unroll 8
        for (int i = 0; i < LANES; i++) {
            __m512i block = _mm512_loadu_si512(in + 64 * i), done = _mm512_xor_si512(block, stream[i]);
            _mm512_storeu_si512(out + 64 * i, done);
            sealed[i] = seals ? done : block;
        }
        sum = hash_stride(g, sum, sealed);
        counter = _mm_add_epi32(counter, _mm_set_epi32(0, 0, 0, LANES * 4));
    }
    sum = rest(g, counter, sum, in, left, out, seals);
    __m128i sizes = _mm_set_epi64x((long long)(aad_size * 8), (long long)(size * 8));
    sum = hash_block(g, sum, reversed(sizes));
    _mm_storeu_si128((__m128i *)(void *)tag, _mm_xor_si128(reversed(sum), encrypt(g, start)));
}

void gcm_vaes_seal(const struct gcm_vaes *g, const uint8_t nonce[12], const uint8_t *aad, size_t aad_size,
                   const uint8_t *in, size_t size, uint8_t *out, uint8_t tag[16])
{
    run(g, nonce, aad, aad_size, in, size, out, true, tag);
}

bool gcm_vaes_open(const struct gcm_vaes *g, const uint8_t nonce[12], const uint8_t *aad, size_t aad_size,
                   const uint8_t *in, size_t size, uint8_t *out, const uint8_t tag[16])
{
    uint8_t own[16];
    run(g, nonce, aad, aad_size, in, size, out, false, own);
    return sodium_memcmp(own, tag, sizeof own) == 0;
}

#else

bool gcm_vaes_works(void)
{
    return false;
}

void gcm_vaes_set_key(struct gcm_vaes *g, const uint8_t key[32])
{
    (void)g;
    (void)key;
    check(false);
}

void gcm_vaes_seal(const struct gcm_vaes *g, const uint8_t nonce[12], const uint8_t *aad, size_t aad_size,
                   const uint8_t *in, size_t size, uint8_t *out, uint8_t tag[16])
{
    (void)g, (void)nonce, (void)aad, (void)aad_size, (void)in, (void)size, (void)out, (void)tag;
    check(false);
}

bool gcm_vaes_open(const struct gcm_vaes *g, const uint8_t nonce[12], const uint8_t *aad, size_t aad_size,
                   const uint8_t *in, size_t size, uint8_t *out, const uint8_t tag[16])
{
    (void)g, (void)nonce, (void)aad, (void)aad_size, (void)in, (void)size, (void)out, (void)tag;
    check(false);
    return false;
}

#endif
