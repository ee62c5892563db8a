#include "atlas/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

// ---- writing ----

static json_t *id_json(const struct core_id *id)
{
    char hex[2 * CORE_ID_SIZE + 1];
    hex_encode(hex, id->bytes, CORE_ID_SIZE);
    return json_string(hex);
}

static json_t *coordinates(const struct atlas_peer *p)
{
    if (!p->located) return json_null();
    return json_pack("{s:[I,I,I],s:I}", "at_us", (json_int_t)p->at[0], (json_int_t)p->at[1], (json_int_t)p->at[2],
                     "height_us", (json_int_t)p->above);
}

static json_t *devices(const struct atlas_peer *p)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < p->device_count; i++) {
        const struct atlas_device *d = &p->devices[i];
        json_array_append_new(list, json_pack("{s:s,s:b,s:o}", "name", d->name, "gpu", (int)d->gpu, "busy_percent",
                                              d->busy == UINT32_MAX ? json_null() : json_integer((json_int_t)d->busy)));
    }
    return list;
}

static json_t *peer_json(const struct atlas_peer *p)
{
    char host[20];
    snprintf(host, sizeof host, "%016" PRIx64, p->host);
    return json_pack("{s:o,s:s,s:s,s:s,s:s,s:b,s:b,s:o,s:o}", "id", id_json(&p->id), "name", p->name, "site", p->site,
                     "host", host, "state", atlas_state_name(p->state), "self", (int)p->self, "answered",
                     (int)p->answered, "coordinates", coordinates(p), "devices", devices(p));
}

static json_t *number_or_null(uint64_t value)
{
    return value ? json_integer((json_int_t)value) : json_null();
}

json_t *atlas_json_make(const struct atlas_snapshot *s)
{
    json_t *peers = json_array(), *links = json_array(), *flows = json_array();
    for (uint32_t i = 0; i < s->peer_count; i++) json_array_append_new(peers, peer_json(&s->peers[i]));
    for (uint32_t i = 0; i < s->link_count; i++) {
        const struct atlas_link *k = &s->links[i];
        json_array_append_new(links, json_pack("{s:o,s:o,s:o,s:I}", "a", id_json(&s->peers[k->a].id), "b",
                                               id_json(&s->peers[k->b].id), "rtt_us", number_or_null(k->rtt_us),
                                               "bytes_s", (json_int_t)k->bytes_s));
    }
    for (uint32_t i = 0; i < s->flow_count; i++) {
        const struct atlas_flow *f = &s->flows[i];
        json_array_append_new(flows, json_pack("{s:o,s:o,s:i}", "from", id_json(&s->peers[f->from].id), "to",
                                               id_json(&s->peers[f->to].id), "level", (int)f->level));
    }
    return json_pack("{s:s,s:I,s:o,s:o,s:o}", "mesh", s->mesh, "taken_s", (json_int_t)s->taken_s, "peers", peers,
                     "links", links, "flows", flows);
}

// ---- reading ----

struct reading {
    struct atlas_snapshot *s;
    uint32_t *by_id;  // places in peers, sorted by id
    char *why;
};

static bool say(struct reading *r, const char *what, size_t at)
{
    snprintf(r->why, ATLAS_WHY_SIZE, "%s (number %zu)", what, at + 1);
    return false;
}

static void text(char *out, size_t size, const json_t *from, const char *key)
{
    const char *value = json_string_value(json_object_get(from, key));
    snprintf(out, size, "%s", value ? value : "");
}

static bool id_of(const json_t *value, struct core_id *out)
{
    const char *hex = json_string_value(value);
    return hex && hex_decode(out->bytes, CORE_ID_SIZE, hex);
}

static uint64_t number(const json_t *from, const char *key)
{
    const json_int_t value = json_integer_value(json_object_get(from, key));
    return value > 0 ? (uint64_t)value : 0;
}

static void read_coordinates(struct atlas_peer *p, const json_t *from)
{
    const json_t *at = json_object_get(from, "at_us");
    if (json_array_size(at) != 3) return;
    for (size_t i = 0; i < 3; i++) {
        double value = json_number_value(json_array_get(at, i));
        if (value > 1e9 || value < -1e9) return;  // a quarter of an hour: nonsense
        p->at[i] = value;
    }
    p->above = (double)number(from, "height_us");
    p->located = p->above <= 1e9;
}

static void read_devices(struct atlas_peer *p, const json_t *list)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (p->device_count == ATLAS_DEVICES_MAX) return;
        struct atlas_device *d = &p->devices[p->device_count++];
        text(d->name, sizeof d->name, item, "name");
        d->gpu = json_is_true(json_object_get(item, "gpu"));
        const json_t *busy = json_object_get(item, "busy_percent");
        d->busy = json_is_integer(busy) ? (uint32_t)(number(item, "busy_percent") % 101) : UINT32_MAX;
    }
}

static bool read_peer(struct reading *r, size_t at, const json_t *from)
{
    struct atlas_peer *p = &r->s->peers[at];
    if (!id_of(json_object_get(from, "id"), &p->id)) return say(r, "a peer has no id of 64 hex digits", at);
    text(p->name, sizeof p->name, from, "name");
    text(p->site, sizeof p->site, from, "site");
    const char *host = json_string_value(json_object_get(from, "host"));
    const char *state = json_string_value(json_object_get(from, "state"));
    if (host) p->host = strtoull(host, NULL, 16);
    int k = 0;
    while (k < ATLAS_STATES && (!state || strcmp(state, atlas_state_name((enum atlas_state)k)))) k++;
    if (k == ATLAS_STATES) return say(r, "a peer's state is none that is known", at);
    p->state = (enum atlas_state)k;
    p->self = json_is_true(json_object_get(from, "self"));
    p->answered = json_is_true(json_object_get(from, "answered"));
    read_coordinates(p, json_object_get(from, "coordinates"));
    read_devices(p, json_object_get(from, "devices"));
    return true;
}

static int by_id(const void *a, const void *b, void *context)
{
    const struct atlas_peer *peers = context;
    return id_compare(&peers[*(const uint32_t *)a].id, &peers[*(const uint32_t *)b].id);
}

static bool find(const struct reading *r, const json_t *value, uint32_t *out)
{
    struct core_id id;
    if (!id_of(value, &id)) return false;
    uint32_t low = 0, high = r->s->peer_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = id_compare(&r->s->peers[r->by_id[middle]].id, &id);
        if (order == 0) {
            *out = r->by_id[middle];
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool read_link(struct reading *r, size_t at, const json_t *from)
{
    struct atlas_link *k = &r->s->links[at];
    if (!find(r, json_object_get(from, "a"), &k->a) || !find(r, json_object_get(from, "b"), &k->b))
        return say(r, "a link's end is no peer of this snapshot", at);
    k->rtt_us = number(from, "rtt_us");
    k->bytes_s = number(from, "bytes_s");
    return true;
}

static bool read_flow(struct reading *r, size_t at, const json_t *from)
{
    struct atlas_flow *f = &r->s->flows[at];
    if (!find(r, json_object_get(from, "from"), &f->from) || !find(r, json_object_get(from, "to"), &f->to))
        return say(r, "a flow's end is no peer of this snapshot", at);
    f->level = (uint32_t)(number(from, "level") % 64);
    return true;
}

static bool read_lists(struct reading *r, const json_t *peers, const json_t *links, const json_t *flows)
{
    size_t i;
    json_t *item;
    json_array_foreach(peers, i, item) if (!read_peer(r, i, item)) return false;
    for (i = 0; i < r->s->peer_count; i++) r->by_id[i] = (uint32_t)i;
    qsort_r(r->by_id, r->s->peer_count, sizeof *r->by_id, by_id, r->s->peers);
    for (i = 1; i < r->s->peer_count; i++)
        if (id_equal(&r->s->peers[r->by_id[i]].id, &r->s->peers[r->by_id[i - 1]].id))
            return say(r, "two peers have one id", r->by_id[i]);
    json_array_foreach(links, i, item) if (!read_link(r, i, item)) return false;
    json_array_foreach(flows, i, item) if (!read_flow(r, i, item)) return false;
    return true;
}

bool atlas_json_schema_known(const json_t *json, char why[ATLAS_WHY_SIZE])
{
    const json_int_t schema = json_integer_value(json_object_get(json, "schema"));
    if (schema <= ATLAS_JSON_SCHEMA) return true;
    snprintf(why, ATLAS_WHY_SIZE, "it has schema %lld, this mycel reads up to %d", (long long)schema,
             ATLAS_JSON_SCHEMA);
    return false;
}

enum core_err atlas_json_read(const json_t *json, struct atlas_snapshot *out, char why[ATLAS_WHY_SIZE])
{
    *out = (struct atlas_snapshot){0};
    if (!atlas_json_schema_known(json, why)) return CORE_ERR_UNKNOWN_VERSION;
    const json_t *peers = json_object_get(json, "peers"), *links = json_object_get(json, "links"),
                 *flows = json_object_get(json, "flows");
    if (!json_is_array(peers) || !json_is_array(links)) {
        snprintf(why, ATLAS_WHY_SIZE, "it has no lists \"peers\" and \"links\"");
        return CORE_ERR_MALFORMED;
    }
    const size_t n = json_array_size(peers), m = json_array_size(links), f = json_array_size(flows);
    if (n > ATLAS_PEERS_MAX || m > ATLAS_LINKS_MAX || f > ATLAS_LINKS_MAX) {
        snprintf(why, ATLAS_WHY_SIZE, "it has over %d peers or %d links", ATLAS_PEERS_MAX, ATLAS_LINKS_MAX);
        return CORE_ERR_LIMIT;
    }
    out->peers = calloc(n + 1, sizeof *out->peers);
    out->links = calloc(m + 1, sizeof *out->links);
    out->flows = calloc(f + 1, sizeof *out->flows);
    struct reading r = {.s = out, .by_id = calloc(n + 1, sizeof *r.by_id), .why = why};
    enum core_err err = out->peers && out->links && out->flows && r.by_id ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
    if (!err) {
        out->peer_count = (uint32_t)n;
        out->link_count = (uint32_t)m;
        out->flow_count = (uint32_t)f;
        out->taken_s = number(json, "taken_s");
        text(out->mesh, sizeof out->mesh, json, "mesh");
        if (!read_lists(&r, peers, links, flows)) err = CORE_ERR_MALFORMED;
    }
    free(r.by_id);
    return err ? err : atlas_snapshot_settle(out);
}
