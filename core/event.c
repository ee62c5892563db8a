#include "core/event.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "core/bytes.h"

struct text_out {
    char *at;
    size_t left;
};

__attribute__((format(printf, 2, 3))) static void put(struct text_out *o, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(o->at, o->left, format, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n < o->left ? (size_t)n : o->left - 1;
    o->at += used;
    o->left -= used;
}

static void put_hex(struct text_out *o, const uint8_t *data, size_t size)
{
    char hex[2 * CORE_HASH_SIZE + 1];
    hex_encode(hex, data, size);
    put(o, "%s", hex);
}

static void put_escaped(struct text_out *o, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            put(o, "\\%c", *p);
        else if (*p < 32 || *p == 127)
            put(o, "\\u%04x", *p);
        else
            put(o, "%c", *p);
    }
}

static bool is_plain(const char *text)
{
    if (!*text) return false;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p <= 32 || *p == 127 || *p == '"' || *p == '\\' || *p == '=') return false;
    return true;
}

static void put_text(struct text_out *o, const char *text, bool quoted)
{
    if (quoted) put(o, "\"");
    put_escaped(o, text);
    if (quoted) put(o, "\"");
}

size_t event_format(char *out, size_t size, const struct event *event)
{
    struct text_out o = {out, size};
    put(&o, "%s", event->name);
    for (size_t i = 0; i < event->count; i++) {
        const struct event_field *f = &event->fields[i];
        put(&o, " %s=", f->key);
        switch (f->kind) {
        case EVENT_U64: put(&o, "%" PRIu64, f->u64); break;
        case EVENT_I64: put(&o, "%" PRId64, f->i64); break;
        case EVENT_F64: put(&o, "%.4g", f->f64); break;
        case EVENT_TEXT: put_text(&o, f->text ? f->text : "", !f->text || !is_plain(f->text)); break;
        case EVENT_ID: put_hex(&o, f->id->bytes, 4); break;
        case EVENT_HASH: put_hex(&o, f->hash->bytes, 4); break;
        }
    }
    return (size_t)(o.at - out);
}

size_t event_format_json(char *out, size_t size, const struct event *event)
{
    struct text_out o = {out, size};
    put(&o, "{\"event\":");
    put_text(&o, event->name, true);
    for (size_t i = 0; i < event->count; i++) {
        const struct event_field *f = &event->fields[i];
        put(&o, ",\"%s\":", f->key);
        switch (f->kind) {
        case EVENT_U64: put(&o, "%" PRIu64, f->u64); break;
        case EVENT_I64: put(&o, "%" PRId64, f->i64); break;
        case EVENT_F64:
            if (isfinite(f->f64))
                put(&o, "%.9g", f->f64);
            else
                put(&o, "null");
            break;
        case EVENT_TEXT: put_text(&o, f->text ? f->text : "", true); break;
        case EVENT_ID:
            put(&o, "\"");
            put_hex(&o, f->id->bytes, sizeof f->id->bytes);
            put(&o, "\"");
            break;
        case EVENT_HASH:
            put(&o, "\"");
            put_hex(&o, f->hash->bytes, sizeof f->hash->bytes);
            put(&o, "\"");
            break;
        }
    }
    put(&o, "}");
    return (size_t)(o.at - out);
}
