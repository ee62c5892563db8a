// What the last dials of peers came to, where they failed, and what peers said that dialled us and then refused us:
// kept until a link is up, so that `doctor` and `status` can say why a peer is not met. A small table; the oldest gives
// way. Loop's thread.
#ifndef NODE_DIALS_H
#define NODE_DIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/sign.h"
#include "mesh/links.h"

enum { DIALS_MAX = 32 };

struct dial_note {
    struct core_id id;
    char address[ADDRESS_TEXT_MAX];
    enum link_reason reason;  // LINK_NONE: the place is free
    bool told;                // the other side said so; else we found it
    uint64_t at_ms;
};

struct dials {
    struct dial_note notes[DIALS_MAX];
};

// LINK_EVENT_UP, LINK_EVENT_ADDRESS_FAILED and LINK_EVENT_DOWN with a text, the others are ignored.
void dials_event(struct dials *d, const struct link_event *e, uint64_t now_ms);

#endif
