// Messages for peers without a link: kept for a few seconds while the link is dialled. What doesn't get through is
// dropped, since every protocol here repeats itself. Loop's thread.
#ifndef NODE_OUTBOUND_H
#define NODE_OUTBOUND_H

#include "core/effect.h"

struct node;

enum { OUTBOUND_MAX = 512, OUTBOUND_BYTES = 8 << 20, OUTBOUND_MS = 5000, OUTBOUND_FAILURES = 128 };

struct outbound_message {
    struct core_id to;
    struct arena arena;  // what the message's views point to
    struct message message;
    uint64_t since_ms;
};

struct outbound {
    struct outbound_message *items[OUTBOUND_MAX];
    uint32_t count;
    uint64_t bytes;
    struct {
        struct core_id id;
        uint64_t at_ms;
    } failures[OUTBOUND_FAILURES];  // dials that failed lately, newest over oldest
    uint32_t failure_next;
};

// Sends at once where a link is up, else keeps it and dials. A DATA without bulk gets it from the blobs.
void outbound_send(struct node *n, const struct core_id *to, const struct message *m);
void outbound_link_up(struct node *n, const struct core_id *peer);
void outbound_dial_failed(struct node *n, const struct core_id *peer);
void outbound_tick(struct node *n);
void outbound_close(struct outbound *o);

// Dials `peer` at `addresses` (an encoded list; empty: as its member record says). False where that cannot even begin.
bool outbound_dial(struct node *n, const struct core_id *peer, struct slice addresses);

#endif
