#include "atlas/trace_spans.h"

static const int64_t oldest_us = INT64_C(30) * 24 * 3600 * 1000000;

const char *atlas_phase_name(enum atlas_phase phase)
{
    static const char *const names[PHASES] = {"other",   "queued",   "fetching", "training", "sending", "waiting",
                                              "summing", "applying", "agreeing", "paused",   "watching"};
    return phase < PHASES ? names[phase] : names[PHASE_OTHER];
}

bool atlas_phase_works(enum atlas_phase phase)
{
    return phase == PHASE_QUEUED || phase == PHASE_FETCHING || phase == PHASE_TRAINING || phase == PHASE_SENDING ||
           phase == PHASE_APPLYING;
}

void atlas_spans_write(struct writer *w, const struct atlas_span *spans, uint32_t count, int64_t now_us)
{
    for (uint32_t i = 0; i < count; i++) {
        write_u8(w, (uint8_t)spans[i].phase);
        write_u64(w, (uint64_t)(now_us - spans[i].begin_us));
        write_u64(w, (uint64_t)(spans[i].end_us - spans[i].begin_us));
        write_u64(w, spans[i].waited_us);
        write_bytes(w, spans[i].waited_for.bytes, CORE_ID_SIZE);
    }
}

enum core_err atlas_spans_read(struct slice bytes, int64_t now_us, struct atlas_span *out, uint32_t *count)
{
    *count = 0;
    if (bytes.size % ATLAS_SPAN_SIZE || bytes.size / ATLAS_SPAN_SIZE > ATLAS_SPANS_MAX) return CORE_ERR_MALFORMED;
    struct reader r = reader_over(bytes.data, bytes.size);
    uint64_t free_ago = (uint64_t)oldest_us;  // how long ago the one before ended
    for (uint32_t i = 0; i < bytes.size / ATLAS_SPAN_SIZE; i++) {
        const uint8_t phase = read_u8(&r);
        const uint64_t ago = read_u64(&r), lasted = read_u64(&r);
        struct atlas_span *s = &out[i];
        *s = (struct atlas_span){.phase = phase < PHASES ? (enum atlas_phase)phase : PHASE_OTHER};
        s->waited_us = read_u64(&r);
        read_bytes(&r, s->waited_for.bytes, CORE_ID_SIZE);
        if (ago > free_ago || lasted > ago || s->waited_us > lasted) return CORE_ERR_MALFORMED;
        s->begin_us = now_us - (int64_t)ago;
        s->end_us = s->begin_us + (int64_t)lasted;
        free_ago = ago - lasted;
    }
    if (!reader_finished(&r)) return CORE_ERR_MALFORMED;
    *count = (uint32_t)(bytes.size / ATLAS_SPAN_SIZE);
    return CORE_ERR_OK;
}
