// The daemon's facts, judged: what it sees of the mesh without asking anybody. Loop's thread.
#ifndef NODE_DOCTOR_CHECKS_DAEMON_H
#define NODE_DOCTOR_CHECKS_DAEMON_H

#include "node/doctor/checks.h"

struct node;

// Members, dials that failed, runs that wait for over 5 s, devices that are lost, the disk: `doctor` and `status`.
void checks_of_node(struct node *n, struct checks *c);

#endif
