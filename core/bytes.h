// Little-endian codecs over a bounded buffer, without struct casts: every signed object and every disk format is
// written and read with these. A reader or writer that runs out remembers it; ask once at the end.
#ifndef CORE_BYTES_H
#define CORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A view of somebody else's bytes. Whoever hands one out says how long it lives.
struct slice {
    const uint8_t *data;
    size_t size;
};

struct writer {
    uint8_t *data;
    size_t capacity;
    size_t size;      // bytes written
    bool overflowed;  // something did not fit; `size` is then meaningless
};

struct reader {
    const uint8_t *data;
    size_t size;
    size_t at;
    bool failed;  // read past the end, or a caller's check failed; every later read gives 0
};

struct writer writer_over(void *buffer, size_t capacity);
void write_u8(struct writer *w, uint8_t value);
void write_u16(struct writer *w, uint16_t value);
void write_u32(struct writer *w, uint32_t value);
void write_u64(struct writer *w, uint64_t value);
void write_f32(struct writer *w, float value);
void write_bytes(struct writer *w, const void *data, size_t size);  // as they are
void write_slice(struct writer *w, struct slice s);                 // u32 size, then the bytes

struct reader reader_over(const void *data, size_t size);
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
float read_f32(struct reader *r);
void read_bytes(struct reader *r, void *out, size_t size);  // zeros after a failure
// u32 size, then a view into the reader's bytes; fails above `limit`.
struct slice read_slice(struct reader *r, size_t limit);
// True when nothing failed and every byte was read: trailing bytes are malformed.
bool reader_finished(const struct reader *r);

// Lower-case hex with a final NUL: `out` holds 2 * size + 1 bytes.
void hex_encode(char *out, const void *data, size_t size);
// False unless `text` is exactly 2 * size hex digits.
bool hex_decode(void *out, size_t size, const char *text);

#endif
