// A mesh made up from its size alone, to draw: hosts of two peers, on sites spread over the world with round trips as
// they are there, or each peer by itself. Deterministic; pure.
#ifndef BENCH_MAP_MADE_H
#define BENCH_MAP_MADE_H

#include "atlas/snapshot.h"

enum { MAP_MADE_LINKS = 6 };  // a peer's: half of them near

// `count` peers on `sites` sites (0: none, each by itself), all but those between `skip` and `skip_end` (by their
// number), so that the rest is the same mesh before somebody joined. Settled; the caller frees it.
// CORE_ERR_NO_MEMORY.
CORE_MUST_USE enum core_err map_made(uint32_t count, uint32_t sites, uint32_t skip, uint32_t skip_end,
                                     struct atlas_snapshot *out);

#endif
