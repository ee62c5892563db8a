// A snapshot as JSON (docs/json.md, "map"): what the daemon answers, `map --as json` prints and `map --from` reads.
#ifndef ATLAS_JSON_H
#define ATLAS_JSON_H

#include <jansson.h>

#include "atlas/snapshot.h"

enum { ATLAS_JSON_SCHEMA = 1, ATLAS_PEERS_MAX = 20000, ATLAS_LINKS_MAX = 400000, ATLAS_WHY_SIZE = 200 };

// Whether this mycel reads what says so; otherwise false with a sentence in `why`.
bool atlas_json_schema_known(const json_t *json, char why[ATLAS_WHY_SIZE]);
// The fields of a settled snapshot, without "schema"; NULL without memory. The caller's reference.
json_t *atlas_json_make(const struct atlas_snapshot *s);
// Reads what anybody may have written: texts too long are cut, unknown fields are passed over. CORE_ERR_MALFORMED and
// CORE_ERR_UNKNOWN_VERSION (a newer schema) with a sentence in `why`, LIMIT, NO_MEMORY. `out` comes settled; free it.
CORE_MUST_USE enum core_err atlas_json_read(const json_t *json, struct atlas_snapshot *out, char why[ATLAS_WHY_SIZE]);

#endif
