// Bulk of rounds that came over a link: asked about, checked, stored. What must match a hash is hashed by the sums'
// worker, so that the loop is free meanwhile (2 MiB take it 2 ms); what the round then wants no longer is dropped.
// Loop's thread.
#ifndef NODE_INCOMING_H
#define NODE_INCOMING_H

#include <stdint.h>

#include "core/message.h"

struct buffer;
struct node;
struct check_job;

enum { INCOMING_MAX = 256 };  // checks at once; what comes on top is hashed here and now

struct incoming {
    struct check_job *first;  // under way
    uint32_t count;
};

// A MESSAGE_DATA; `bulk` (may be NULL) is kept for as long as it is needed.
void incoming_data(struct node *n, const struct core_id *from, const struct message *m, struct buffer *bulk);

#endif
