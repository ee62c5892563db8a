#include "mesh/invitation.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/check.h"

// The token's bytes: u16 size of all of them, mesh, sponsor, secret, u64 expiry, u8 uses, address list, 4 bytes of
// their hash. The size at the front tells a token that was cut short from one that was mistyped.
enum { CHECKSUM = 4, BINARY_MAX = 2 + 32 + 32 + INVITATION_SECRET_SIZE + 8 + 1 + ADDRESS_LIST_BYTES + CHECKSUM };

static const char prefix[] = "mycel1";
static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

_Static_assert(sizeof prefix + (BINARY_MAX * 8 + 4) / 5 <= INVITATION_TEXT_MAX, "token text");

// ---- base32 (RFC 4648, lower case, no padding) ----

static size_t base32_encode(char *out, const uint8_t *data, size_t size)
{
    uint32_t bits = 0, held = 0;
    size_t at = 0;
    for (size_t i = 0; i < size; i++) {
        held = held << 8 | data[i];
        for (bits += 8; bits >= 5; bits -= 5) out[at++] = alphabet[held >> (bits - 5) & 31];
    }
    if (bits) out[at++] = alphabet[held << (5 - bits) & 31];
    out[at] = '\0';
    return at;
}

static int base32_value(char c)
{
    if (c >= 'a' && c <= 'z') return c - 'a';
    if (c >= 'A' && c <= 'Z') return c - 'A';  // a QR reader or a caps lock
    if (c >= '2' && c <= '7') return 26 + c - '2';
    return -1;
}

// Returns the number of whole bytes; `bad` is the index of the first wrong character, or `length`.
static size_t base32_decode(uint8_t *out, const char *text, size_t length, size_t *bad)
{
    uint32_t bits = 0, held = 0;
    size_t at = 0;
    for (*bad = 0; *bad < length; ++*bad) {
        int value = base32_value(text[*bad]);
        if (value < 0) break;
        held = (held << 5 | (uint32_t)value) & 0xfff;
        bits += 5;
        if (bits < 8) continue;
        bits -= 8;
        out[at++] = (uint8_t)(held >> bits);
    }
    return at;
}

// ---- the token ----

struct core_hash invitation_id(const uint8_t secret[INVITATION_SECRET_SIZE])
{
    static const char domain[] = "mycel invitation v1";
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, domain, sizeof domain);
    hash_add(&s, secret, INVITATION_SECRET_SIZE);
    return hash_end(&s);
}

size_t invitation_encode(const struct invitation *in, char out[INVITATION_TEXT_MAX])
{
    uint8_t raw[BINARY_MAX], list[ADDRESS_LIST_BYTES];
    check(in->uses > 0 && in->uses <= INVITATION_USES_MAX);
    size_t list_size = address_list_encode(&in->addresses, list);
    struct writer w = writer_over(raw, sizeof raw);
    write_u16(&w, (uint16_t)(2 + 32 + 32 + INVITATION_SECRET_SIZE + 8 + 1 + list_size + CHECKSUM));
    write_bytes(&w, in->mesh.bytes, CORE_HASH_SIZE);
    write_bytes(&w, in->sponsor.bytes, CORE_ID_SIZE);
    write_bytes(&w, in->secret, INVITATION_SECRET_SIZE);
    write_u64(&w, in->expires_s);
    write_u8(&w, (uint8_t)in->uses);
    write_bytes(&w, list, list_size);
    struct core_hash sum = hash_bytes(raw, w.size);
    write_bytes(&w, sum.bytes, CHECKSUM);
    check(!w.overflowed);
    memcpy(out, prefix, sizeof prefix - 1);
    size_t length = sizeof prefix - 1 + base32_encode(out + sizeof prefix - 1, raw, w.size);
    sodium_memzero(raw, sizeof raw);
    return length;
}

#define BECAUSE(err, ...) (snprintf(why, INVITATION_WHY_MAX, __VA_ARGS__), (err))

static enum core_err read_raw(const uint8_t *raw, size_t size, struct invitation *out)
{
    struct reader r = reader_over(raw, size - CHECKSUM);
    read_u16(&r);
    read_bytes(&r, out->mesh.bytes, CORE_HASH_SIZE);
    read_bytes(&r, out->sponsor.bytes, CORE_ID_SIZE);
    read_bytes(&r, out->secret, INVITATION_SECRET_SIZE);
    out->expires_s = read_u64(&r);
    out->uses = read_u8(&r);
    struct slice list = {raw + r.at, r.size - r.at};
    if (r.failed || out->uses == 0 || out->uses > INVITATION_USES_MAX) return CORE_ERR_MALFORMED;
    return address_list_decode(list, &out->addresses);
}

static enum core_err decode_body(const char *text, size_t length, struct invitation *out, char why[INVITATION_WHY_MAX])
{
    uint8_t raw[BINARY_MAX + 1];
    size_t bad, skipped = sizeof prefix - 1;
    if (length > (BINARY_MAX * 8 + 4) / 5)
        return BECAUSE(CORE_ERR_MALFORMED, "the token is too long (%zu characters)", length);
    size_t size = base32_decode(raw, text, length, &bad);
    if (bad < length)
        return BECAUSE(CORE_ERR_MALFORMED, "the token has a wrong character at place %zu (letters and 2 to 7 only)",
                       skipped + bad + 1);
    size_t whole = size < 2 ? 0 : (size_t)(raw[0] | raw[1] << 8);
    size_t characters = (whole * 8 + 4) / 5;
    // A wrong letter among the first four also lands here; the size it gives is then out of bounds, or the sum is
    // wrong.
    if (size < 2) return BECAUSE(CORE_ERR_TRUNCATED, "the token is cut short");
    if (whole <= CHECKSUM || whole > BINARY_MAX)
        return BECAUSE(CORE_ERR_MALFORMED, "the token's checksum is wrong: mistyped?");
    if (length < characters)
        return BECAUSE(CORE_ERR_TRUNCATED, "the token is cut short: %zu of %zu characters", skipped + length,
                       skipped + characters);
    if (length > characters)
        return BECAUSE(CORE_ERR_MALFORMED, "the token has %zu characters too many", length - characters);
    struct core_hash sum = hash_bytes(raw, whole - CHECKSUM);
    if (memcmp(sum.bytes, raw + whole - CHECKSUM, CHECKSUM) != 0)
        return BECAUSE(CORE_ERR_MALFORMED, "the token's checksum is wrong: mistyped?");
    enum core_err err = read_raw(raw, whole, out);
    sodium_memzero(raw, sizeof raw);
    return err ? BECAUSE(err, "the token is malformed") : CORE_ERR_OK;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

enum core_err invitation_decode(const char *text, struct invitation *out, char why[INVITATION_WHY_MAX])
{
    *out = (struct invitation){0};
    why[0] = '\0';
    while (is_space(*text)) text++;
    size_t length = strlen(text);
    while (length > 0 && is_space(text[length - 1])) length--;
    if (length == 0) return BECAUSE(CORE_ERR_TRUNCATED, "the token is empty");
    size_t head = sizeof prefix - 1;
    if (length < head && strncmp(text, prefix, length) == 0)
        return BECAUSE(CORE_ERR_TRUNCATED, "the token is cut short");
    // "mycel" and another digit: a later version of tokens.
    if (length >= head && strncmp(text, prefix, head - 1) == 0 && text[head - 1] >= '0' && text[head - 1] <= '9' &&
        text[head - 1] != prefix[head - 1])
        return BECAUSE(CORE_ERR_UNKNOWN_VERSION, "the token is of version %c; this mycel reads version 1",
                       text[head - 1]);
    if (length < head || strncmp(text, prefix, head) != 0)
        return BECAUSE(CORE_ERR_MALFORMED, "this is no token: one starts with \"%s\"", prefix);
    return decode_body(text + head, length - head, out, why);
}

enum core_err invitation_check(const struct invitation *in, uint64_t now_s, const struct core_hash *mesh,
                               char why[INVITATION_WHY_MAX])
{
    why[0] = '\0';
    if (mesh && !hash_equal(mesh, &in->mesh)) {
        char ours[2 * CORE_HASH_SIZE + 1], theirs[2 * CORE_HASH_SIZE + 1];
        hex_encode(ours, mesh->bytes, CORE_HASH_SIZE);
        hex_encode(theirs, in->mesh.bytes, CORE_HASH_SIZE);
        return BECAUSE(CORE_ERR_WRONG_MESH, "the token is for mesh %.8s; this home belongs to mesh %.8s", theirs, ours);
    }
    if (now_s >= in->expires_s) {
        const unsigned long long minutes = (now_s - in->expires_s) / 60, days = minutes / 1440;
        return BECAUSE(CORE_ERR_EXPIRED, "the token expired %llu %s ago", days ? days : minutes,
                       days ? "days" : "minutes");
    }
    return CORE_ERR_OK;
}

// ---- the sponsor's ledger ----

static bool entry_open(const struct invitation_entry *e, uint64_t now_s)
{
    return !e->revoked && e->used < e->uses && now_s < e->expires_s;
}

enum core_err invitations_add(struct invitations *ledger, const uint8_t secret[INVITATION_SECRET_SIZE], uint64_t now_s,
                              uint64_t ttl_s, uint32_t uses, uint32_t roles)
{
    if (uses == 0 || uses > INVITATION_USES_MAX || ttl_s == 0) return CORE_ERR_USAGE;
    uint32_t place = ledger->count;
    if (place == INVITATIONS_MAX) {
        for (place = 0; place < INVITATIONS_MAX && entry_open(&ledger->entries[place], now_s); place++) {}
        if (place == INVITATIONS_MAX) return CORE_ERR_LIMIT;
        memmove(&ledger->entries[place], &ledger->entries[place + 1],
                (INVITATIONS_MAX - 1 - place) * sizeof ledger->entries[0]);
        place = --ledger->count;
    }
    struct invitation_entry *e = &ledger->entries[place];
    *e = (struct invitation_entry){
        .id = invitation_id(secret), .created_s = now_s, .expires_s = now_s + ttl_s, .uses = uses, .roles = roles};
    memcpy(e->secret, secret, sizeof e->secret);
    ledger->count++;
    return CORE_ERR_OK;
}

bool invitations_open(const struct invitations *ledger, uint64_t now_s)
{
    for (uint32_t i = 0; i < ledger->count; i++)
        if (entry_open(&ledger->entries[i], now_s)) return true;
    return false;
}

struct invitation_entry *invitations_find(struct invitations *ledger, const struct core_hash *id)
{
    for (uint32_t i = 0; i < ledger->count; i++)
        if (hash_equal(&ledger->entries[i].id, id)) return &ledger->entries[i];
    return NULL;
}

enum core_err invitations_use(struct invitations *ledger, const struct core_hash *id, const struct core_id *joiner,
                              uint64_t now_s)
{
    struct invitation_entry *e = invitations_find(ledger, id);
    if (!e) return CORE_ERR_NOT_FOUND;
    if (e->revoked) return CORE_ERR_REVOKED;
    if (now_s >= e->expires_s) return CORE_ERR_EXPIRED;
    for (uint32_t i = 0; i < e->used; i++)
        if (id_equal(&e->joined[i], joiner)) return CORE_ERR_OK;
    if (e->used >= e->uses) return CORE_ERR_USED_UP;
    e->joined[e->used++] = *joiner;
    return CORE_ERR_OK;
}

enum { LEDGER_VERSION = 1 };

size_t invitations_encode(const struct invitations *ledger, uint8_t out[INVITATIONS_BYTES])
{
    struct writer w = writer_over(out, INVITATIONS_BYTES);
    write_u8(&w, LEDGER_VERSION);
    write_u32(&w, ledger->count);
    for (uint32_t i = 0; i < ledger->count; i++) {
        const struct invitation_entry *e = &ledger->entries[i];
        write_bytes(&w, e->secret, sizeof e->secret);
        write_u64(&w, e->created_s);
        write_u64(&w, e->expires_s);
        write_u32(&w, e->uses);
        write_u32(&w, e->used);
        write_u32(&w, e->roles);
        write_u8(&w, e->revoked);
        for (uint32_t j = 0; j < e->used; j++) write_bytes(&w, e->joined[j].bytes, CORE_ID_SIZE);
    }
    check(!w.overflowed);
    return w.size;
}

enum core_err invitations_decode(struct slice bytes, struct invitations *out)
{
    *out = (struct invitations){0};
    struct reader r = reader_over(bytes.data, bytes.size);
    if (read_u8(&r) != LEDGER_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    uint32_t count = read_u32(&r);
    if (count > INVITATIONS_MAX) return CORE_ERR_MALFORMED;
    for (; out->count < count; out->count++) {
        struct invitation_entry *e = &out->entries[out->count];
        read_bytes(&r, e->secret, sizeof e->secret);
        e->created_s = read_u64(&r);
        e->expires_s = read_u64(&r);
        e->uses = read_u32(&r);
        e->used = read_u32(&r);
        e->roles = read_u32(&r);
        uint8_t revoked = read_u8(&r);
        if (r.failed || e->uses > INVITATION_USES_MAX || e->used > e->uses || revoked > 1) return CORE_ERR_MALFORMED;
        e->revoked = revoked;
        for (uint32_t j = 0; j < e->used; j++) read_bytes(&r, e->joined[j].bytes, CORE_ID_SIZE);
        e->id = invitation_id(e->secret);
    }
    return reader_finished(&r) ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}
