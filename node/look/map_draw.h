// What of a map takes long in a large mesh (putting it in order, the layout, its JSON) happens on the I/O worker; the
// loop only copies the text.
#ifndef NODE_LOOK_MAP_DRAW_H
#define NODE_LOOK_MAP_DRAW_H

#include <stdbool.h>
#include <stdint.h>

#include "atlas/snapshot.h"

struct map_runs;
struct node;

// Takes the snapshot over, settled or not. `drawn` is called on the loop's thread, with the answer's JSON (an object's
// text, with its "schema"; lent for the call) or NULL without memory or time. With `trees` it holds the layout, too,
// and the snapshot's flows are in there by these runs. Without memory for the job: at once. `nonce` is handed back.
void map_draw(struct node *n, struct atlas_snapshot *s, const struct map_runs *trees, uint64_t nonce,
              void (*drawn)(struct node *n, uint64_t nonce, const char *json));

#endif
