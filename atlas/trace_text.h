// A round's time line for a terminal: first who slows the round down, then a bar a peer, then the numbers.
#ifndef ATLAS_TRACE_TEXT_H
#define ATLAS_TRACE_TEXT_H

#include <stdio.h>

#include "atlas/text.h"
#include "atlas/trace.h"

enum { TRACE_SAY_SIZE = 256, TRACE_TIME_SIZE = 24 };

// The answer to "who slows us down?", one sentence.
void atlas_trace_say(const struct atlas_trace *t, char out[TRACE_SAY_SIZE]);
// "850 us", "12 ms", "1.25 s", "2m05s"
const char *atlas_trace_time(char out[TRACE_TIME_SIZE], int64_t us);
// Of the options: columns (50 at least), utf8, color. Errors of writing stay with `out`.
void atlas_trace_text_write(const struct atlas_trace *t, const struct atlas_text_options *o, FILE *out);

#endif
