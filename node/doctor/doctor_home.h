// Gathers the facts of a home and of the machine for `doctor`: node/doctor/doctor.c, which owns it. Each adds its
// lines.
#ifndef NODE_DOCTOR_DOCTOR_HOME_H
#define NODE_DOCTOR_DOCTOR_HOME_H

#include "node/doctor/checks.h"

// True where a peer lives there.
bool doctor_home(struct checks *c, const char *home);
void doctor_disk(struct checks *c, const char *home);
// Of process `pid`, which may use `cpus` (0: not known; a thread of it may use fewer); pid 0: of this one, as a daemon
// that it starts would have them.
void doctor_limits(struct checks *c, int pid, uint32_t cpus);
// `listen` as settings say, on port `port` where it isn't 0; `runs`: the daemon does, and should answer there.
void doctor_port(struct checks *c, const char *listen, uint16_t port, bool runs);

#endif
