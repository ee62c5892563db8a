// A round's time line as a trace that Perfetto (ui.perfetto.dev) and Chrome's about:tracing open: their JSON format, a
// process for each peer, a complete event ("X") for each span, times in microseconds.
#ifndef ATLAS_TRACE_PERFETTO_H
#define ATLAS_TRACE_PERFETTO_H

#include <jansson.h>

#include "atlas/trace.h"

// Of a settled trace; NULL without memory. The caller's reference.
json_t *atlas_trace_perfetto_make(const struct atlas_trace *t);

#endif
