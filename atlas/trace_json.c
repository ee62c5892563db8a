#include "atlas/trace_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

enum { TIME_BITS = 50 };  // microseconds in a file: 35 years either way

// ---- writing ----

static json_t *id_json(const struct core_id *id)
{
    char hex[2 * CORE_ID_SIZE + 1];
    if (id_is_zero(id)) return json_null();
    hex_encode(hex, id->bytes, CORE_ID_SIZE);
    return json_string(hex);
}

static json_t *spans_json(const struct atlas_trace_peer *p)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < p->span_count; i++) {
        const struct atlas_span *s = &p->spans[i];
        json_array_append_new(list, json_pack("{s:s,s:I,s:I,s:o,s:I}", "phase", atlas_phase_name(s->phase), "begin_us",
                                              (json_int_t)s->begin_us, "end_us", (json_int_t)s->end_us, "waited_for",
                                              id_json(&s->waited_for), "waited_us", (json_int_t)s->waited_us));
    }
    return list;
}

static json_t *peer_json(const struct atlas_trace_peer *p)
{
    return json_pack("{s:o,s:s,s:s,s:b,s:b,s:b,s:I,s:o}", "id", id_json(&p->id), "name", p->name, "site", p->site,
                     "self", (int)p->self, "answered", (int)p->answered, "cut", (int)p->cut, "clock_error_us",
                     (json_int_t)p->error_us, "spans", spans_json(p));
}

static json_t *slowest_json(const struct atlas_trace *t)
{
    const struct atlas_verdict v = atlas_trace_judge(t);
    if (!v.blame) return json_null();
    const struct atlas_trace_peer *p = &t->peers[v.peer];
    return json_pack("{s:s,s:o,s:s,s:s,s:o,s:I,s:b}", "peer", p->name, "id", id_json(&p->id), "why",
                     v.blame == BLAME_LONGER ? "longer" : "waited_for", "phase", atlas_phase_name(v.phase), "took_us",
                     v.blame == BLAME_LONGER ? json_integer((json_int_t)v.took_us) : json_null(), "more_us",
                     (json_int_t)v.more_us, "matters", (int)v.matters);
}

json_t *atlas_trace_json_make(const struct atlas_trace *t)
{
    json_t *peers = json_array();
    for (uint32_t i = 0; i < t->peer_count; i++) json_array_append_new(peers, peer_json(&t->peers[i]));
    return json_pack("{s:s,s:s,s:I,s:b,s:I,s:I,s:o,s:o}", "mesh", t->mesh, "run", t->run, "round", (json_int_t)t->round,
                     "open", (int)t->open, "taken_s", (json_int_t)t->taken_s, "length_us", (json_int_t)t->length_us,
                     "slowest", slowest_json(t), "peers", peers);
}

// ---- reading ----

static bool say(char *why, const char *what, size_t at)
{
    snprintf(why, ATLAS_WHY_SIZE, "%s (number %zu)", what, at + 1);
    return false;
}

static void text(char *out, size_t size, const json_t *from, const char *key)
{
    const char *value = json_string_value(json_object_get(from, key));
    snprintf(out, size, "%s", value ? value : "");
}

static uint64_t number(const json_t *from, const char *key)
{
    const json_int_t value = json_integer_value(json_object_get(from, key));
    return value > 0 ? (uint64_t)value : 0;
}

static bool id_of(const json_t *value, struct core_id *out)
{
    const char *hex = json_string_value(value);
    return hex && hex_decode(out->bytes, CORE_ID_SIZE, hex);
}

static enum atlas_phase phase_of(const char *name)
{
    int k = 0;
    while (k < PHASES && (!name || strcmp(name, atlas_phase_name((enum atlas_phase)k)))) k++;
    return k < PHASES ? (enum atlas_phase)k : PHASE_OTHER;
}

static bool time_of(const json_t *from, const char *key, int64_t *out)
{
    const json_t *value = json_object_get(from, key);
    *out = json_integer_value(value);
    return json_is_integer(value) && *out < INT64_C(1) << TIME_BITS && *out > -(INT64_C(1) << TIME_BITS);
}

static bool read_spans(struct atlas_trace_peer *p, const json_t *list, char *why)
{
    const size_t count = json_array_size(list);
    if (count > ATLAS_SPANS_MAX) return say(why, "a peer has too many spans", count - 1);
    for (size_t i = 0; i < count; i++) {
        const json_t *from = json_array_get(list, i);
        struct atlas_span *s = &p->spans[i];
        s->phase = phase_of(json_string_value(json_object_get(from, "phase")));
        if (!time_of(from, "begin_us", &s->begin_us) || !time_of(from, "end_us", &s->end_us))
            return say(why, "a span has no begin_us and end_us", i);
        if (s->end_us < s->begin_us || (i > 0 && s->begin_us < s[-1].end_us))
            return say(why, "a span ends before it begins, or before the one before it has ended", i);
        if (!id_of(json_object_get(from, "waited_for"), &s->waited_for)) s->waited_for = (struct core_id){0};
        s->waited_us = number(from, "waited_us");
        p->span_count++;
    }
    return true;
}

static bool read_peer(struct atlas_trace *t, size_t at, const json_t *from, char *why)
{
    struct atlas_trace_peer *p = &t->peers[at];
    if (!id_of(json_object_get(from, "id"), &p->id)) return say(why, "a peer has no id of 64 hex digits", at);
    for (size_t i = 0; i < at; i++)
        if (id_equal(&t->peers[i].id, &p->id)) return say(why, "two peers have one id", at);
    text(p->name, sizeof p->name, from, "name");
    text(p->site, sizeof p->site, from, "site");
    p->self = json_is_true(json_object_get(from, "self"));
    p->answered = json_is_true(json_object_get(from, "answered"));
    p->cut = json_is_true(json_object_get(from, "cut"));
    p->error_us = number(from, "clock_error_us");
    return read_spans(p, json_object_get(from, "spans"), why);
}

static enum core_err read_peers(struct atlas_trace *t, const json_t *peers, char *why)
{
    const size_t count = json_array_size(peers);
    t->peers = calloc(count + 1, sizeof *t->peers);
    if (!t->peers) return CORE_ERR_NO_MEMORY;
    t->peer_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        t->peers[i].spans = calloc(ATLAS_SPANS_MAX, sizeof *t->peers[i].spans);
        if (!t->peers[i].spans) return CORE_ERR_NO_MEMORY;
        if (!read_peer(t, i, json_array_get(peers, i), why)) return CORE_ERR_MALFORMED;
    }
    return CORE_ERR_OK;
}

enum core_err atlas_trace_json_read(const json_t *json, struct atlas_trace *out, char why[ATLAS_WHY_SIZE])
{
    *out = (struct atlas_trace){0};
    if (!atlas_json_schema_known(json, why)) return CORE_ERR_UNKNOWN_VERSION;
    const json_t *peers = json_object_get(json, "peers");
    if (!json_is_array(peers) || !json_is_string(json_object_get(json, "run"))) {
        snprintf(why, ATLAS_WHY_SIZE, "it has no \"run\" and no list \"peers\"");
        return CORE_ERR_MALFORMED;
    }
    if (json_array_size(peers) > ATLAS_TRACE_PEERS_MAX) {
        snprintf(why, ATLAS_WHY_SIZE, "it has over %d peers", ATLAS_TRACE_PEERS_MAX);
        return CORE_ERR_LIMIT;
    }
    text(out->mesh, sizeof out->mesh, json, "mesh");
    text(out->run, sizeof out->run, json, "run");
    out->round = number(json, "round");
    out->open = json_is_true(json_object_get(json, "open"));
    out->taken_s = number(json, "taken_s");
    enum core_err err = read_peers(out, peers, why);
    if (!err) atlas_trace_settle(out);
    return err;
}
