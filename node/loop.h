// The event loop of a running peer.
#ifndef NODE_LOOP_H
#define NODE_LOOP_H

#include "node/daemon.h"

// Runs until `n->state` is NODE_STOPPING. `signals` is a signalfd.
CORE_MUST_USE enum core_err node_loop(struct node *n, int signals);

#endif
