#include "mesh/lan.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sodium.h>
#include <string.h>

#include "core/check.h"

static const char key_domain[] = "mycel lan key v1";
static const char sign_domain[] = "mycel lan v1";

enum {
    ADDRESS_SIZE = 18,                                                        // 16 of IPv6, u16 port
    PLAIN = CORE_ID_SIZE + 8 + 4 + 8 + 1 + LAN_ADDRESSES_MAX * ADDRESS_SIZE,  // what is signed, after the mesh id
    SIGNED = CORE_HASH_SIZE + PLAIN,
    REPLAY_WINDOW = 64,
    ALONE_STEPS = 5,  // 1 << 5 seconds is as slow as it gets alone
    LINKED_MS = 60000,
};
_Static_assert(PLAIN + CORE_SIG_SIZE <= LAN_BODY, "the body holds it");
_Static_assert(LAN_NONCE_SIZE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "the cipher's nonce");
_Static_assert(LAN_SIZE == 1 + LAN_NONCE_SIZE + LAN_BODY + crypto_aead_xchacha20poly1305_ietf_ABYTES, "its tag");

const char *lan_verdict_key(enum lan_verdict v)
{
    static const char *const keys[] = {
#define LAN_VERDICT_KEY(name, key) key,
        LAN_VERDICTS(LAN_VERDICT_KEY)
#undef LAN_VERDICT_KEY
    };
    check(v < LAN_VERDICT_COUNT);
    return keys[v];
}

struct core_hash lan_key(const struct charter *charter)
{
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, key_domain, sizeof key_domain);
    hash_add(&s, charter->nonce, sizeof charter->nonce);
    hash_add(&s, charter->id.bytes, sizeof charter->id.bytes);
    return hash_end(&s);
}

// ---- addresses: 16 bytes of IPv6 (IPv4 mapped into it, RFC 4291 2.5.5.2) and a port ----

static bool address_put(struct writer *w, const struct address *a)
{
    uint8_t raw[16] = {[10] = 0xff, [11] = 0xff};
    bool right = a->v6 ? inet_pton(AF_INET6, a->host, raw) == 1 : inet_pton(AF_INET, a->host, raw + 12) == 1;
    write_bytes(w, raw, sizeof raw);
    write_u16(w, a->port);
    return right;
}

// Only what a peer of a LAN can have: no loopback, multicast, link-local (its zone is missing) or "any" address.
static bool address_usable(const uint8_t raw[16])
{
    struct in6_addr v6;
    memcpy(&v6, raw, sizeof v6);
    if (!IN6_IS_ADDR_V4MAPPED(&v6))
        return !IN6_IS_ADDR_UNSPECIFIED(&v6) && !IN6_IS_ADDR_LOOPBACK(&v6) && !IN6_IS_ADDR_MULTICAST(&v6) &&
               !IN6_IS_ADDR_LINKLOCAL(&v6) && !IN6_IS_ADDR_V4COMPAT(&v6);
    return raw[12] != 0 && raw[12] != 127 && raw[12] < 224 && !(raw[12] == 169 && raw[13] == 254);
}

static bool address_get(struct reader *r, struct address *out)
{
    uint8_t raw[16];
    read_bytes(r, raw, sizeof raw);
    *out = (struct address){.port = read_u16(r)};
    if (r->failed || out->port == 0 || !address_usable(raw)) return false;
    struct in6_addr v6;
    memcpy(&v6, raw, sizeof v6);
    out->v6 = !IN6_IS_ADDR_V4MAPPED(&v6);
    return inet_ntop(out->v6 ? AF_INET6 : AF_INET, out->v6 ? raw : raw + 12, out->host, sizeof out->host) != NULL;
}

// ---- one announcement ----

void lan_encode(const struct core_hash *key, const struct core_hash *mesh, const struct core_key *author,
                const struct lan_announcement *a, const uint8_t nonce[LAN_NONCE_SIZE], uint8_t out[LAN_SIZE])
{
    check(a->count <= LAN_ADDRESSES_MAX && id_equal(&a->id, &author->id));
    uint8_t whole[CORE_HASH_SIZE + LAN_BODY] = {0};
    struct writer w = writer_over(whole, sizeof whole);
    write_bytes(&w, mesh->bytes, CORE_HASH_SIZE);
    write_bytes(&w, a->id.bytes, CORE_ID_SIZE);
    write_u64(&w, a->incarnation);
    write_u32(&w, a->sequence);
    write_u64(&w, a->time_s);
    write_u8(&w, (uint8_t)a->count);
    for (uint32_t i = 0; i < a->count; i++) check(address_put(&w, &a->addresses[i]));
    w.size = SIGNED;  // the places of addresses that there are not stay zero
    struct core_sig signature = sign_make(author, sign_domain, whole, SIGNED);
    write_bytes(&w, signature.bytes, CORE_SIG_SIZE);
    check(!w.overflowed);
    out[0] = LAN_VERSION;
    memcpy(out + 1, nonce, LAN_NONCE_SIZE);
    unsigned long long size;
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + 1 + LAN_NONCE_SIZE, &size, whole + CORE_HASH_SIZE, LAN_BODY, out,
                                               1, NULL, nonce, key->bytes);
    check(size == LAN_SIZE - 1 - LAN_NONCE_SIZE);
}

static bool zero(const uint8_t *bytes, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++) any |= bytes[i];
    return any == 0;
}

static bool take_body(const uint8_t body[LAN_BODY], struct lan_announcement *out, struct core_sig *signature)
{
    struct reader r = reader_over(body, LAN_BODY);
    *out = (struct lan_announcement){0};
    read_bytes(&r, out->id.bytes, CORE_ID_SIZE);
    out->incarnation = read_u64(&r);
    out->sequence = read_u32(&r);
    out->time_s = read_u64(&r);
    out->count = read_u8(&r);
    if (out->count == 0 || out->count > LAN_ADDRESSES_MAX) return false;
    for (uint32_t i = 0; i < out->count; i++)
        if (!address_get(&r, &out->addresses[i])) return false;
    if (!zero(body + r.at, PLAIN - r.at)) return false;
    r.at = PLAIN;
    read_bytes(&r, signature->bytes, CORE_SIG_SIZE);
    return !r.failed && zero(body + r.at, LAN_BODY - r.at);
}

enum core_err lan_decode(const struct core_hash *key, const struct core_hash *mesh, struct slice bytes,
                         struct lan_announcement *out)
{
    *out = (struct lan_announcement){0};
    if (bytes.size == 0) return CORE_ERR_MALFORMED;
    if (bytes.data[0] != LAN_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    if (bytes.size != LAN_SIZE) return CORE_ERR_MALFORMED;
    uint8_t whole[CORE_HASH_SIZE + LAN_BODY];
    const uint8_t *nonce = bytes.data + 1, *sealed = nonce + LAN_NONCE_SIZE;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(whole + CORE_HASH_SIZE, NULL, NULL, sealed,
                                                   LAN_SIZE - 1 - LAN_NONCE_SIZE, bytes.data, 1, nonce, key->bytes))
        return CORE_ERR_WRONG_MESH;
    struct core_sig signature;
    if (!take_body(whole + CORE_HASH_SIZE, out, &signature)) return CORE_ERR_MALFORMED;
    memcpy(whole, mesh->bytes, CORE_HASH_SIZE);
    return sign_valid(&out->id, sign_domain, whole, SIGNED, &signature) ? CORE_ERR_OK : CORE_ERR_BAD_SIGNATURE;
}

// ---- who was heard ----

void lan_open(struct lan *l, const struct charter *charter, const struct core_id *self, uint64_t now_ms)
{
    *l = (struct lan){.key = lan_key(charter),
                      .mesh = charter->id,
                      .self = *self,
                      .bucket_ms = LAN_BURST * 1000,
                      .filled_ms = now_ms,
                      .next_ms = now_ms};
}

// A datagram costs 1000, and a second brings 1000 for each of LAN_PER_S.
static bool take_token(struct lan *l, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms > l->filled_ms ? now_ms - l->filled_ms : 0;
    if (passed_ms > 10000) passed_ms = 10000;
    l->filled_ms = now_ms;
    l->bucket_ms += passed_ms * LAN_PER_S;
    if (l->bucket_ms > LAN_BURST * 1000) l->bucket_ms = LAN_BURST * 1000;
    if (l->bucket_ms < 1000) return false;
    l->bucket_ms -= 1000;
    return true;
}

struct lan_seen *lan_seen_find(struct lan *l, const struct core_id *id)
{
    for (uint32_t i = 0; i < LAN_SEEN_MAX; i++)
        if (l->seen[i].heard_ms && id_equal(&l->seen[i].id, id)) return &l->seen[i];
    return NULL;
}

static struct lan_seen *place_of(struct lan *l, const struct core_id *id)
{
    struct lan_seen *oldest = lan_seen_find(l, id);
    if (oldest) return oldest;
    oldest = &l->seen[0];
    for (uint32_t i = 1; i < LAN_SEEN_MAX; i++)
        if (l->seen[i].heard_ms < oldest->heard_ms) oldest = &l->seen[i];
    *oldest = (struct lan_seen){.id = *id};
    return oldest;
}

// Whether it is new, as in RFC 4303 3.4.3; `window` and `top` follow.
static bool newer(struct lan_seen *s, const struct lan_announcement *a)
{
    if (s->heard_ms == 0 || a->incarnation > s->incarnation) {
        s->incarnation = a->incarnation;
        s->top = a->sequence;
        s->window = 1;
        return true;
    }
    if (a->incarnation < s->incarnation) return false;
    if (a->sequence > s->top) {
        uint32_t ahead = a->sequence - s->top;
        s->window = ahead < REPLAY_WINDOW ? s->window << ahead | 1 : 1;
        s->top = a->sequence;
        return true;
    }
    uint32_t behind = s->top - a->sequence;
    if (behind >= REPLAY_WINDOW || (s->window >> behind & 1)) return false;
    s->window |= (uint64_t)1 << behind;
    return true;
}

static enum lan_verdict judge(struct lan *l, struct slice bytes, uint64_t now_ms, uint64_t now_s,
                              struct lan_announcement *out)
{
    if (!take_token(l, now_ms)) return LAN_LIMITED;
    switch (lan_decode(&l->key, &l->mesh, bytes, out)) {
    case CORE_ERR_OK: break;
    case CORE_ERR_WRONG_MESH: return LAN_FOREIGN;
    case CORE_ERR_BAD_SIGNATURE: return LAN_FORGED;
    default: return LAN_MALFORMED;
    }
    if (id_equal(&out->id, &l->self)) return LAN_OWN;
    if (out->time_s > now_s ? out->time_s - now_s > LAN_WINDOW_S : now_s - out->time_s > LAN_WINDOW_S) return LAN_STALE;
    struct lan_seen *s = place_of(l, &out->id);
    if (!newer(s, out)) return LAN_REPLAYED;
    s->heard_ms = now_ms ? now_ms : 1;
    s->count = out->count;
    memcpy(s->addresses, out->addresses, sizeof s->addresses);
    return LAN_HEARD;
}

enum lan_verdict lan_receive(struct lan *l, struct slice bytes, uint64_t now_ms, uint64_t now_s,
                             struct lan_announcement *out)
{
    enum lan_verdict v = judge(l, bytes, now_ms, now_s, out);
    l->verdicts[v]++;
    return v;
}

bool lan_heard(const struct lan *l, const struct core_id *id, uint64_t now_ms, struct address_list *out)
{
    *out = (struct address_list){0};
    for (uint32_t i = 0; i < LAN_SEEN_MAX; i++) {
        const struct lan_seen *s = &l->seen[i];
        if (!s->heard_ms || !id_equal(&s->id, id) || now_ms >= s->heard_ms + LAN_FRESH_MS) continue;
        for (uint32_t k = 0; k < s->count; k++)
            if (address_list_add(out, &s->addresses[k])) break;
    }
    return out->count > 0;
}

// ---- when to speak ----

bool lan_due(struct lan *l, bool alone, uint64_t now_ms, uint64_t random)
{
    if (now_ms < l->next_ms) return false;
    uint64_t wait_ms = alone ? (uint64_t)1000 << l->step : LINKED_MS;
    if (!alone)
        l->step = 0;
    else if (l->step < ALONE_STEPS)
        l->step++;
    l->next_ms = now_ms + wait_ms * 3 / 4 + random % (wait_ms / 2 + 1);
    return true;
}

void lan_hurry(struct lan *l, uint64_t now_ms)
{
    l->step = 0;
    l->next_ms = now_ms;
}

uint64_t lan_dial_at(bool linked, uint32_t members, uint64_t now_ms, uint64_t random)
{
    uint64_t most_ms = linked ? (uint64_t)members * LAN_HERD_MS : 0;
    if (most_ms > LAN_HERD_MOST_MS) most_ms = LAN_HERD_MOST_MS;
    return now_ms + random % (most_ms + 1);
}

bool lan_unknown_due(struct lan *l, uint64_t now_ms)
{
    if (l->unknown_ms && now_ms < l->unknown_ms + LAN_UNKNOWN_MS) return false;
    l->unknown_ms = now_ms;
    return true;
}
