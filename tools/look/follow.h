// Following a run: the plan, then a line a round as rounds close; used by `train` and `runs watch`.
#ifndef TOOLS_LOOK_FOLLOW_H
#define TOOLS_LOOK_FOLLOW_H

#include "tools/client.h"

// Reads the answers to `train` or `attach` until the last one, printing them. `run` (65 bytes) takes the run's id as
// soon as it is known. Returns the exit status; 130 after an interrupt, with how to see the run again.
int follow_run(struct client *c, bool detach, char run[65]);

#endif
