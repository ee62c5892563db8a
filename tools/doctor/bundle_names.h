// Who and where everybody is that a bug report could name: learnt from what its parts say before any of it is written.
// One thread.
#ifndef TOOLS_DOCTOR_BUNDLE_NAMES_H
#define TOOLS_DOCTOR_BUNDLE_NAMES_H

#include "tools/doctor/stand_ins.h"

// This machine's user, host and home (an absolute path).
void bundle_names_of_machine(struct stand_ins *s, const char *home);
// Names, ids, sites and addresses in a daemon's answer, or in doctor_known's.
void bundle_names_of_json(struct stand_ins *s, const json_t *json);
// The same in the lines of a peer's log, as text or JSON.
void bundle_names_of_log(struct stand_ins *s, const char *log);

#endif
