#include "node/look/http_layout.h"

#include <stdlib.h>

#include "atlas/draw.h"
#include "core/bytes.h"
#include "node/look/map.h"

// Tenths of a pixel are as fine as anybody sees, and half as long to send.
static json_t *tenths(double value)
{
    return json_real((double)(long long)(value * 10 + (value < 0 ? -0.5 : 0.5)) / 10);
}

static json_t *peers_json(const struct atlas_snapshot *s, const struct atlas_layout *l)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < s->peer_count; i++) {
        char label[ATLAS_LABEL_MAX + 1];
        atlas_label(label, s->peers[i].name, atlas_metrics_svg.label_columns);
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:s}", "x", tenths(l->peers[i].x), "y", tenths(l->peers[i].y), "label", label));
    }
    return list;
}

static json_t *boxes_json(const struct atlas_snapshot *s, const struct atlas_box *boxes, uint32_t count, bool sites)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        const struct atlas_box *b = &boxes[i];
        char label[ATLAS_LABEL_MAX + 1] = "";
        if (sites) atlas_label(label, s->peers[b->first].site, atlas_metrics_svg.label_columns);
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o, s:i, s:i, s:b, s:b, s:s}", "x", tenths(b->x), "y",
                                              tenths(b->y), "width", tenths(b->width), "height", tenths(b->height),
                                              "first", (int)b->first, "count", (int)b->count, "drawn", (int)b->drawn,
                                              "folded", (int)b->folded, "label", label));
    }
    return list;
}

// With few peers a picture shows every link; above ATLAS_BUNDLE_ABOVE those between two sites are one line.
static json_t *bundles_json(const struct atlas_snapshot *s, const struct atlas_layout *l)
{
    json_t *list = json_array();
    struct atlas_bundle *bundles =
        s->peer_count > ATLAS_BUNDLE_ABOVE ? malloc((s->link_count + 1) * sizeof *bundles) : NULL;
    const uint32_t count = bundles ? atlas_layout_bundles(s, l, bundles) : 0;
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:i, s:i, s:i, s:I, s:I}", "a", (int)bundles[i].a, "b",
                                              (int)bundles[i].b, "links", (int)bundles[i].links, "bytes_s",
                                              (json_int_t)bundles[i].bytes_s, "rtt_us", (json_int_t)bundles[i].rtt_us));
    free(bundles);
    return list;
}

// Each run's aggregation tree: [from, to, level] by places in the snapshot, as short as it gets.
static json_t *trees_json(const struct atlas_snapshot *s, const struct atlas_layout *l, const struct map_runs *runs)
{
    json_t *list = json_array();
    uint32_t at = 0;
    for (uint32_t k = 0; k < runs->count; k++) {
        char id[2 * CORE_HASH_SIZE + 1];
        json_t *flows = json_array();
        for (; at < s->flow_count && s->flows[at].run == k; at++) {
            const struct atlas_flow *f = &s->flows[at];
            json_array_append_new(flows, json_pack("[i, i, i]", (int)f->from, (int)f->to, (int)f->level));
        }
        hex_encode(id, runs->run[k].bytes, CORE_HASH_SIZE);
        json_array_append_new(
            list, json_pack("{s:s, s:f, s:o}", "run", id, "ink", atlas_draw_sums_ink(s, l, k), "flows", flows));
    }
    return list;
}

json_t *http_layout_json(const struct atlas_snapshot *s, const struct map_runs *runs)
{
    struct atlas_layout l;
    json_t *json = NULL;
    if (!atlas_layout_make(s, &atlas_metrics_svg, &l))
        json =
            json_pack("{s:o, s:o, s:f, s:o, s:o, s:o, s:b, s:o, s:o}", "width", tenths(l.width), "height",
                      tenths(l.height), "ink", atlas_draw_ink(s, &l), "peers", peers_json(s, &l), "hosts",
                      boxes_json(s, l.hosts, l.host_count, false), "sites", boxes_json(s, l.sites, l.site_count, true),
                      "bundled", (int)(s->peer_count > ATLAS_BUNDLE_ABOVE), "bundles", bundles_json(s, &l), "trees",
                      trees_json(s, &l, runs));
    atlas_layout_free(&l);
    return json ? json : json_null();
}
