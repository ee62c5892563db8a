// The event log: pure code says what happened as a name and typed fields; `node/` prints `name key=value`, the
// simulator and the traces read the same events. Never put keys, tokens or other people's data in a field.
#ifndef CORE_EVENT_H
#define CORE_EVENT_H

#include <stddef.h>
#include <stdint.h>

#include "core/hash.h"
#include "core/sign.h"

enum event_kind { EVENT_U64, EVENT_I64, EVENT_TEXT, EVENT_ID, EVENT_HASH, EVENT_F64 };

struct event_field {
    const char *key;
    enum event_kind kind;
    union {
        uint64_t u64;
        int64_t i64;
        double f64;
        const char *text;
        const struct core_id *id;
        const struct core_hash *hash;
    };
};

// Everything a field points to lives only as long as the call of `emit`.
struct event {
    const char *name;  // "round.cut.decided"
    const struct event_field *fields;
    size_t count;
};

struct event_sink {
    void (*emit)(void *context, const struct event *event);
    void *context;
};

#define EV_U64(k, v)  ((struct event_field){.key = (k), .kind = EVENT_U64, .u64 = (v)})
#define EV_I64(k, v)  ((struct event_field){.key = (k), .kind = EVENT_I64, .i64 = (v)})
#define EV_F64(k, v)  ((struct event_field){.key = (k), .kind = EVENT_F64, .f64 = (v)})
#define EV_TEXT(k, v) ((struct event_field){.key = (k), .kind = EVENT_TEXT, .text = (v)})
#define EV_ID(k, v)   ((struct event_field){.key = (k), .kind = EVENT_ID, .id = (v)})
#define EV_HASH(k, v) ((struct event_field){.key = (k), .kind = EVENT_HASH, .hash = (v)})

// event_emit(sink, "link.up", EV_ID("peer", &id), EV_U64("rtt_us", 400)); a sink without `emit` drops the event.
#define event_emit(sink, event_name, ...)                                                                             \
    do {                                                                                                              \
        const struct event_sink *event_sink_ = (sink);                                                                \
        if (event_sink_ && event_sink_->emit) {                                                                       \
            const struct event_field event_fields_[] = {__VA_ARGS__};                                                 \
            event_sink_->emit(event_sink_->context, &(struct event){(event_name), event_fields_,                      \
                                                                    sizeof event_fields_ / sizeof event_fields_[0]}); \
        }                                                                                                             \
    } while (0)

// "name key=value key=value": ids and hashes cut to 8 hex digits, text with spaces quoted and control characters
// escaped. Returns the length, cut to fit; always ends with NUL.
size_t event_format(char *out, size_t size, const struct event *event);
// One JSON object without a line's end: {"event":"name","key":...}, ids and hashes in full.
size_t event_format_json(char *out, size_t size, const struct event *event);

#endif
