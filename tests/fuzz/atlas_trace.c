// What peers say of a round, and traces that anybody may have written: read, then drawn in every form.
#include <stdio.h>
#include <stdlib.h>

#include "atlas/trace_json.h"
#include "atlas/trace_perfetto.h"
#include "atlas/trace_svg.h"
#include "atlas/trace_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void draw(const struct atlas_trace *t)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    const struct atlas_text_options o = {.columns = 80};
    if (!out) abort();
    atlas_trace_text_write(t, &o, out);
    atlas_trace_svg_write(t, out);
    json_decref(atlas_trace_perfetto_make(t));
    json_decref(atlas_trace_json_make(t));
    fclose(out);
    free(text);
}

// Three peers that say the same.
static void draw_said(struct slice bytes)
{
    struct atlas_span spans[3][ATLAS_SPANS_MAX];
    struct atlas_trace_peer peers[3] = {0};
    struct atlas_trace t = {.mesh = "m", .run = "00", .peers = peers, .peer_count = 3};
    for (uint32_t i = 0; i < 3; i++) {
        peers[i].id.bytes[0] = (uint8_t)(i + 1);
        peers[i].spans = spans[i];
        if (atlas_spans_read(bytes, (int64_t)i * 1000, spans[i], &peers[i].span_count)) return;
        if (peers[i].span_count > ATLAS_SPANS_MAX) abort();
    }
    atlas_trace_settle(&t);
    draw(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_trace t;
    char why[ATLAS_WHY_SIZE];
    draw_said((struct slice){data, size});
    json_t *json = json_loadb((const char *)data, size, 0, NULL);
    if (!json) return 0;
    if (atlas_trace_json_read(json, &t, why) == CORE_ERR_OK) draw(&t);
    atlas_trace_free(&t);
    json_decref(json);
    return 0;
}
