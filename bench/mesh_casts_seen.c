#include "bench/mesh_casts_seen.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"

enum { NUMBERS_MAX = 1 << 24, LINE_PAIRS = 128 };
static const char domain[] = "mycel bench cast v1";

void cast_payload_make(const struct core_key *key, uint64_t number, uint64_t now_us, uint8_t *out, size_t size)
{
    check(size >= CAST_PAYLOAD_MIN);
    size_t body = size - CORE_SIG_SIZE;
    struct writer w = writer_over(out, size);
    write_u64(&w, number);
    write_u64(&w, now_us);
    for (size_t i = w.size; i < body; i++) out[i] = (uint8_t)(number * 31 + i * 7);
    struct core_sig sig = sign_make(key, domain, out, body);
    memcpy(out + body, sig.bytes, sizeof sig.bytes);
}

bool cast_payload_valid(const struct core_id *origin, struct slice payload)
{
    if (payload.size < CAST_PAYLOAD_MIN) return false;
    struct core_sig sig;
    size_t body = payload.size - CORE_SIG_SIZE;
    memcpy(sig.bytes, payload.data + body, sizeof sig.bytes);
    return sign_valid(origin, domain, payload.data, body, &sig);
}

// True when `number` was not marked before.
static bool mark(struct casts_seen *s, uint64_t number)
{
    if (number >= NUMBERS_MAX) return false;
    size_t byte = (size_t)number / 8;
    if (byte >= s->bits_size) {
        size_t size = (byte + 4096) & ~(size_t)4095;
        uint8_t *bits = realloc(s->bits, size);
        if (!bits) return false;
        memset(bits + s->bits_size, 0, size - s->bits_size);
        s->bits = bits;
        s->bits_size = size;
    }
    uint8_t bit = (uint8_t)(1u << number % 8);
    bool fresh = !(s->bits[byte] & bit);
    s->bits[byte] |= bit;
    return fresh;
}

static bool make_room(struct casts_seen *s)
{
    if (s->count < s->capacity) return true;
    size_t capacity = s->capacity ? 2 * s->capacity : 1024;
    uint64_t *numbers = realloc(s->numbers, capacity * sizeof *numbers);
    if (numbers) s->numbers = numbers;
    uint64_t *latencies = realloc(s->latencies_us, capacity * sizeof *latencies);
    if (latencies) s->latencies_us = latencies;
    if (!numbers || !latencies) return false;
    s->capacity = capacity;
    return true;
}

bool casts_seen_take(struct casts_seen *s, struct slice payload, uint64_t now_us)
{
    struct reader r = reader_over(payload.data, payload.size);
    uint64_t number = read_u64(&r), sent_us = read_u64(&r);
    if (r.failed || !make_room(s) || !mark(s, number)) return false;
    s->numbers[s->count] = number;
    s->latencies_us[s->count++] = now_us > sent_us ? now_us - sent_us : 0;
    return true;
}

void casts_seen_report(struct casts_seen *s, FILE *out)
{
    for (size_t i = 0; i < s->count; i++) {
        fprintf(out, "%s%" PRIu64 " %" PRIu64, i % LINE_PAIRS ? " " : "LAT ", s->numbers[i], s->latencies_us[i]);
        if (i % LINE_PAIRS == LINE_PAIRS - 1 || i + 1 == s->count) fputc('\n', out);
    }
    uint64_t duplicate = s->received > s->count ? s->received - s->count : 0;
    fprintf(out, "STAT %zu %" PRIu64 "\n", s->count, duplicate);
    s->count = 0;
    s->received = 0;
}

void casts_seen_close(struct casts_seen *s)
{
    free(s->numbers);
    free(s->latencies_us);
    free(s->bits);
}
