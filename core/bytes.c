#include "core/bytes.h"

#include <string.h>

struct writer writer_over(void *buffer, size_t capacity)
{
    return (struct writer){.data = buffer, .capacity = capacity};
}

void write_bytes(struct writer *w, const void *data, size_t size)
{
    if (w->overflowed || size > w->capacity - w->size) {
        w->overflowed = true;
        return;
    }
    if (size) memcpy(w->data + w->size, data, size);
    w->size += size;
}

static void write_little(struct writer *w, uint64_t value, size_t size)
{
    uint8_t raw[8];
    for (size_t i = 0; i < size; i++) raw[i] = (uint8_t)(value >> (8 * i));
    write_bytes(w, raw, size);
}

void write_u8(struct writer *w, uint8_t value)
{
    write_little(w, value, 1);
}
void write_u16(struct writer *w, uint16_t value)
{
    write_little(w, value, 2);
}
void write_u32(struct writer *w, uint32_t value)
{
    write_little(w, value, 4);
}
void write_u64(struct writer *w, uint64_t value)
{
    write_little(w, value, 8);
}

void write_f32(struct writer *w, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    write_u32(w, bits);
}

void write_slice(struct writer *w, struct slice s)
{
    if (s.size > UINT32_MAX) {
        w->overflowed = true;
        return;
    }
    write_u32(w, (uint32_t)s.size);
    write_bytes(w, s.data, s.size);
}

struct reader reader_over(const void *data, size_t size)
{
    return (struct reader){.data = data, .size = size};
}

static const uint8_t *take(struct reader *r, size_t size)
{
    if (r->failed || size > r->size - r->at) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->data + r->at;
    r->at += size;
    return p;
}

static uint64_t read_little(struct reader *r, size_t size)
{
    const uint8_t *p = take(r, size);
    uint64_t value = 0;
    for (size_t i = 0; p && i < size; i++) value |= (uint64_t)p[i] << (8 * i);
    return value;
}

uint8_t read_u8(struct reader *r)
{
    return (uint8_t)read_little(r, 1);
}
uint16_t read_u16(struct reader *r)
{
    return (uint16_t)read_little(r, 2);
}
uint32_t read_u32(struct reader *r)
{
    return (uint32_t)read_little(r, 4);
}
uint64_t read_u64(struct reader *r)
{
    return read_little(r, 8);
}

float read_f32(struct reader *r)
{
    uint32_t bits = read_u32(r);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void read_bytes(struct reader *r, void *out, size_t size)
{
    const uint8_t *p = take(r, size);
    if (p && size) memcpy(out, p, size);
    if (!p) memset(out, 0, size);
}

struct slice read_slice(struct reader *r, size_t limit)
{
    uint32_t size = read_u32(r);
    if (size > limit) r->failed = true;
    const uint8_t *p = take(r, size);
    return p ? (struct slice){p, size} : (struct slice){NULL, 0};
}

bool reader_finished(const struct reader *r)
{
    return !r->failed && r->at == r->size;
}

void hex_encode(char *out, const void *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < size; i++) {
        *out++ = digits[p[i] >> 4];
        *out++ = digits[p[i] & 15];
    }
    *out = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool hex_decode(void *out, size_t size, const char *text)
{
    uint8_t *p = out;
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text[2 * i]);
        if (high < 0) return false;
        int low = hex_digit(text[2 * i + 1]);
        if (low < 0) return false;
        p[i] = (uint8_t)(high * 16 + low);
    }
    return text[2 * size] == 0;
}
