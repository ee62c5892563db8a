// Snapshots that anybody may have written: read, then drawn in every form.
#include <stdio.h>
#include <stdlib.h>

#include "atlas/dot.h"
#include "atlas/json.h"
#include "atlas/svg.h"
#include "atlas/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_snapshot s;
    char why[ATLAS_WHY_SIZE];
    json_t *json = json_loadb((const char *)data, size, 0, NULL);
    if (!json) return 0;
    if (atlas_json_read(json, &s, why) == CORE_ERR_OK) {
        char *text = NULL;
        size_t length;
        struct atlas_layout l;
        FILE *out = open_memstream(&text, &length);
        const struct atlas_text_options o = {.columns = 80};
        if (!out || atlas_layout_make(&s, &atlas_metrics_svg, &l) || atlas_svg_write(&s, &l, out)) abort();
        atlas_dot_write(&s, &l, out);
        if (atlas_text_write(&s, &o, out)) abort();
        atlas_layout_free(&l);
        fclose(out);
        free(text);
    }
    atlas_snapshot_free(&s);
    json_decref(json);
    return 0;
}
