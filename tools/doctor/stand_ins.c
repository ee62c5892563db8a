#include "tools/doctor/stand_ins.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/check.h"

enum {
    HEX_CUT_LEAST = 8,  // as the log cuts ids
    HEX_LEAST = 16,
    HEX_DIGITS_LEAST = 32,  // where there is no letter in it: less may be a number
    LONG_LEAST = 40,
    ADDRESS_MAX = 64,
    LITERALS_MAX = 8,
};

struct known {
    char *text;
    size_t size;
    enum stand_in kind;
    unsigned number;
    bool hex;
};

// Places in `known` by a hash, plus one; 0 is empty. A power of two, never more than half full.
struct places {
    uint32_t *at;
    size_t capacity, count;
};

struct stand_ins {
    struct known *known;
    size_t count, capacity;
    struct places whole, hex;       // by the whole text; hex by its first HEX_CUT_LEAST digits
    size_t literals[LITERALS_MAX];  // of `known`: folders that the user told, found anywhere
    size_t literal_count;
    unsigned last[STAND_IN_KINDS];
};

static const char *const labels[STAND_IN_KINDS] = {"peer", "mesh", "site", "address",  "hash",
                                                   "path", "HOME", "USER", "this-host"};

struct stand_ins *stand_ins_open(void)
{
    return calloc(1, sizeof(struct stand_ins));
}

void stand_ins_close(struct stand_ins *s)
{
    for (size_t i = 0; i < s->count; i++) free(s->known[i].text);
    free(s->known);
    free(s->whole.at);
    free(s->hex.at);
    free(s);
}

unsigned stand_ins_next(struct stand_ins *s, enum stand_in kind)
{
    return ++s->last[kind];
}

// FNV-1a of letters in lower case.
static size_t hash_of(const char *text, size_t size)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) h = (h ^ (uint64_t)tolower((unsigned char)text[i])) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 32);
}

static void place(struct places *p, size_t hash, uint32_t index)
{
    size_t at = hash & (p->capacity - 1);
    while (p->at[at]) at = (at + 1) & (p->capacity - 1);
    p->at[at] = index + 1;
    p->count++;
}

static void place_known(struct stand_ins *s, struct places *p, size_t index)
{
    const bool hex = p == &s->hex;
    if (2 * (p->count + 1) > p->capacity) {
        free(p->at);
        p->capacity = p->capacity ? 2 * p->capacity : 64;
        p->count = 0;
        p->at = calloc(p->capacity, sizeof *p->at);
        check(p->at);
        for (size_t i = 0; i < index; i++)
            if (!hex || s->known[i].hex)
                place(p, hash_of(s->known[i].text, hex ? HEX_CUT_LEAST : s->known[i].size), (uint32_t)i);
    }
    place(p, hash_of(s->known[index].text, hex ? HEX_CUT_LEAST : s->known[index].size), (uint32_t)index);
}

static const struct known *find(const struct stand_ins *s, const char *text, size_t size)
{
    const struct places *p = &s->whole;
    for (size_t at = hash_of(text, size); p->count; at++) {
        const uint32_t index = p->at[at & (p->capacity - 1)];
        if (!index) break;
        const struct known *k = &s->known[index - 1];
        if (k->size == size && memcmp(k->text, text, size) == 0) return k;
    }
    return NULL;
}

// An id or hash, whole or cut short; `size` is HEX_CUT_LEAST or more.
static const struct known *find_hex(const struct stand_ins *s, const char *text, size_t size)
{
    const struct places *p = &s->hex;
    for (size_t at = hash_of(text, HEX_CUT_LEAST); p->count; at++) {
        const uint32_t index = p->at[at & (p->capacity - 1)];
        if (!index) break;
        const struct known *k = &s->known[index - 1];
        if (strncasecmp(k->text, text, size < k->size ? size : k->size) == 0) return k;
    }
    return NULL;
}

static size_t span_hex(const char *text)
{
    return strspn(text, "0123456789abcdefABCDEF");
}

static const struct known *add(struct stand_ins *s, enum stand_in kind, unsigned number, const char *text, size_t size)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 64;
        s->known = realloc(s->known, s->capacity * sizeof *s->known);
        check(s->known);
    }
    struct known *k = &s->known[s->count];
    *k = (struct known){.text = strndup(text, size), .size = size, .kind = kind, .number = number};
    check(k->text);
    k->hex = size >= HEX_CUT_LEAST && span_hex(k->text) == size;
    place_known(s, &s->whole, s->count);
    if (k->hex) place_known(s, &s->hex, s->count);
    if (kind >= STAND_IN_HOME && memchr(text, '/', size) && s->literal_count < LITERALS_MAX)
        s->literals[s->literal_count++] = s->count;
    s->count++;
    return k;
}

unsigned stand_ins_number(const struct stand_ins *s, enum stand_in kind, const char *text)
{
    const size_t size = strlen(text);
    const struct known *k = find(s, text, size);
    if (!k && size >= HEX_CUT_LEAST && span_hex(text) == size) k = find_hex(s, text, size);
    return k && k->kind == kind ? k->number : 0;
}

void stand_ins_add(struct stand_ins *s, enum stand_in kind, unsigned number, const char *text)
{
    if (text[0] && !find(s, text, strlen(text))) add(s, kind, number, text, strlen(text));
}

void stand_ins_add_new(struct stand_ins *s, enum stand_in kind, const char *text)
{
    if (text[0] && !find(s, text, strlen(text))) add(s, kind, stand_ins_next(s, kind), text, strlen(text));
}

// ---- what shows by its form ----

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("._-", c));
}

static const struct known *known_or_new(struct stand_ins *s, enum stand_in kind, const char *text, size_t size)
{
    const struct known *k = find(s, text, size);
    return k ? k : add(s, kind, stand_ins_next(s, kind), text, size);
}

static bool is_own_address(const char *text)
{
    return strncmp(text, "127.", 4) == 0 || strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::1") == 0 ||
           strcmp(text, "::") == 0;
}

// The length of an address that begins here, 0 for none.
static size_t span_address(const char *text)
{
    uint8_t bytes[16];
    char part[ADDRESS_MAX];
    unsigned mac[6];
    int taken = 0;
    size_t size = strspn(text, "0123456789abcdefABCDEF:.");
    if (size >= sizeof part) size = sizeof part - 1;
    for (size_t n = size; n >= 2; n--) {
        if (isalnum((unsigned char)text[n])) continue;
        memcpy(part, text, n);
        part[n] = '\0';
        if (inet_pton(AF_INET, part, bytes) == 1 || inet_pton(AF_INET6, part, bytes) == 1) return n;
    }
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5], &taken) == 6 &&
        taken == 17 && !isalnum((unsigned char)text[taken]))
        return 17;
    return 0;
}

static size_t span_word(const char *text)
{
    size_t size = 0;
    while (is_word(text[size])) size++;
    return size;
}

// HOST.DOMAIN, with a port behind it; "mycel.conf:3" is a line of a file.
static bool is_host(const char *word, size_t size)
{
    static const char *const files[] = {".conf", ".c", ".h", ".json", ".so"};
    size_t digits = word[size] == ':' ? strspn(word + size + 1, "0123456789") : 0;
    if (digits == 0 || digits > 5 || !memchr(word, '.', size)) return false;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t n = strlen(files[i]);
        if (size > n && memcmp(word + size - n, files[i], n) == 0) return false;
    }
    return strspn(word, "0123456789.") < size;
}

// A path's length; the system's own say nothing about anybody.
static size_t span_path(const char *text)
{
    static const char *const plain[] = {"/usr/", "/lib", "/proc/", "/sys/", "/dev/", "/etc/", "/bin/", "/sbin/"};
    size_t size = strcspn(text, " \t\n\"'`,;)");
    if (size < 2 || !is_word(text[1])) return 0;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strncmp(text, plain[i], strlen(plain[i])) == 0) return 0;
    while (text[size - 1] == ':' || text[size - 1] == '.') size--;
    return size;
}

// ---- a text ----

// What begins at `at` and is to be replaced, its length in `*size`; NULL: `*size` bytes are to be copied.

static const struct known *literal_here(const struct stand_ins *s, const char *at, size_t *size)
{
    for (size_t i = 0; i < s->literal_count; i++) {
        const struct known *k = &s->known[s->literals[i]];
        if (strncmp(at, k->text, k->size) != 0) continue;
        *size = k->size;
        return k;
    }
    return NULL;
}

// The longest known text that begins a word here and ends with it, or with a part of it.
static const struct known *word_here(const struct stand_ins *s, const char *at, size_t *size)
{
    for (size_t n = span_word(at); n > 0; n--) {
        if (isalnum((unsigned char)at[n]) && isalnum((unsigned char)at[n - 1])) continue;
        const struct known *k = find(s, at, n);
        // A number may be part of one with a fraction.
        if (!k || (strspn(k->text, "0123456789.") == n && is_word(at[n]))) continue;
        *size = n;
        return k;
    }
    return NULL;
}

static const struct known *hex_here(struct stand_ins *s, const char *at, size_t *size)
{
    const size_t n = span_hex(at);
    if (n < HEX_CUT_LEAST || isalnum((unsigned char)at[n])) return NULL;
    const struct known *k = find_hex(s, at, n);
    const bool letters = strspn(at, "0123456789") < n;
    if (!k && (n >= HEX_DIGITS_LEAST || (n >= HEX_LEAST && letters))) k = known_or_new(s, STAND_IN_HASH, at, n);
    if (k) *size = n;
    return k;
}

static const struct known *formed_here(struct stand_ins *s, const char *at, size_t *size)
{
    size_t n = span_address(at);
    if (n) {
        char part[ADDRESS_MAX];
        snprintf(part, sizeof part, "%.*s", (int)n, at);
        *size = n;
        return is_own_address(part) ? NULL : known_or_new(s, STAND_IN_ADDRESS, at, n);
    }
    const struct known *k = hex_here(s, at, size);
    if (k) return k;
    enum stand_in kind = STAND_IN_PATH;
    if (at[0] == '/') {
        n = span_path(at);
    } else {
        n = span_word(at);
        kind = is_host(at, n) ? STAND_IN_ADDRESS : STAND_IN_HASH;
        if (kind == STAND_IN_HASH && n < LONG_LEAST) n = 0;  // a token is longer
    }
    if (n == 0) return NULL;
    *size = n;
    return known_or_new(s, kind, at, n);
}

char *stand_ins_text(struct stand_ins *s, const char *text)
{
    char *out = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&out, &size);
    check(file);
    for (const char *at = text; *at;) {
        size_t n = 1;
        const bool part = at > text && isalnum((unsigned char)at[-1]);  // of a word that has begun
        const struct known *k = literal_here(s, at, &n);
        if (!k && !part) k = word_here(s, at, &n);
        if (!k && !part) k = formed_here(s, at, &n);
        if (k && k->kind >= STAND_IN_HOME)
            fputs(labels[k->kind], file);
        else if (k)
            fprintf(file, "%s-%u", labels[k->kind], k->number);
        else
            fwrite(at, 1, n, file);
        at += n;
    }
    check(fclose(file) == 0);
    return out;
}

void stand_ins_json(struct stand_ins *s, json_t *json)
{
    size_t i;
    const char *key;
    json_t *item;
    if (json_is_string(json)) {
        char *text = stand_ins_text(s, json_string_value(json));
        check(json_string_set(json, text) == 0);
        free(text);
    }
    json_array_foreach(json, i, item) stand_ins_json(s, item);
    json_object_foreach(json, key, item) stand_ins_json(s, item);
}
