// Prints events to stderr, one a line, as text with a time or as JSON. Pure code emits; only this prints.
// Loop's thread; workers print nothing.
#ifndef NODE_EVENTS_LOG_H
#define NODE_EVENTS_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/event.h"

struct events_log {
    bool json, quiet, verbose;
    uint64_t lines;
};

// Whether a person who runs a peer wants to know of events of this name.
bool events_log_told(const char *name);
// The sink that prints into `log`. Without `verbose`, only what a person running a peer wants: starts, ends, problems.
struct event_sink events_log_sink(struct events_log *log);

#endif
