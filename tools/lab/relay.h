// The relay: a process that gives the hosts of a tag (tools/lab/hosts.h) their delays, for kernels without netem. It
// has one TUN device, `delay0`, in the router's namespace; routing sends every packet between hosts into it and takes
// what comes out of it to its host. Each packet is held for the delay from its sender's host to its receiver's as the
// tag's state says at that moment. Segments stay as large as TCP made them (offloads stay on).
#ifndef TOOLS_LAB_RELAY_H
#define TOOLS_LAB_RELAY_H

#include "tools/lab/hosts_state.h"

#define RELAY_DEVICE "delay0"

// Starts it in the background and returns once its device is there. It ends by itself when the router's
// namespace has lost its name. The caller has the tag's `state` open; its lock isn't inherited.
CORE_MUST_USE enum core_err relay_start(const char *tag, struct hosts_state *state, char why[HOSTS_WHY_SIZE]);
// Whether the tag's relay runs.
bool relay_runs(const char *tag);

#endif
