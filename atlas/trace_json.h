// A round's time line as JSON (docs/json.md, "trace"): what the daemon answers, `trace --as json` prints and
// `trace --from` reads.
#ifndef ATLAS_TRACE_JSON_H
#define ATLAS_TRACE_JSON_H

#include <jansson.h>

#include "atlas/json.h"
#include "atlas/trace.h"

// The fields of a settled trace, without "schema"; NULL without memory. The caller's reference.
json_t *atlas_trace_json_make(const struct atlas_trace *t);
// Reads what anybody may have written: texts too long are cut, unknown fields are passed over. CORE_ERR_MALFORMED and
// CORE_ERR_UNKNOWN_VERSION (a newer schema) with a sentence in `why`, LIMIT, NO_MEMORY. `out` comes settled; free it.
CORE_MUST_USE enum core_err atlas_trace_json_read(const json_t *json, struct atlas_trace *out,
                                                  char why[ATLAS_WHY_SIZE]);

#endif
