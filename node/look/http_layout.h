// Where the page draws what (docs/json.md, "map", `layout`): the picture that `map --as svg` makes, as numbers. Any
// thread; pure.
#ifndef NODE_LOOK_HTTP_LAYOUT_H
#define NODE_LOOK_HTTP_LAYOUT_H

#include <jansson.h>

#include "atlas/snapshot.h"

struct map_runs;

// Of a settled snapshot, by the metrics of the SVG; its flows are those of these runs. Null without memory. The
// caller's reference.
json_t *http_layout_json(const struct atlas_snapshot *s, const struct map_runs *runs);

#endif
