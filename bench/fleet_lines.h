// Inside bench/fleet: one line that a process said. One thread.
#ifndef BENCH_FLEET_LINES_H
#define BENCH_FLEET_LINES_H

#include "bench/fleet.h"

// `line` ends with NUL and may be written to.
void fleet_line(struct fleet *f, uint32_t index, char *line);

#endif
