// What a person attaches to a report of a trouble: a tar of what `doctor`, the daemon and the log say, with stand-ins
// for everybody's names, ids and addresses (tools/doctor/stand_ins.h). No key, token or certificate is read into it.
#ifndef TOOLS_DOCTOR_BUNDLE_H
#define TOOLS_DOCTOR_BUNDLE_H

#include <jansson.h>

#include "tools/call.h"

// Asks the daemon of the call's home, each part for 1 s at most, and not at all where doctor (`found`, which it takes)
// got no answer. Writes `path` (NULL: a name with the time, here), which must not be there yet; all of it or nothing.
// The exit status.
int bundle_make(struct call *call, const char *path, json_t *found);

#endif
