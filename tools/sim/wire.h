// Messages under way: one block with the struct and the bytes that its views show, shared by everyone it goes to. Not
// encoded: peers are handed the struct; `size` says what the encoding would take.
#ifndef TOOLS_SIM_WIRE_H
#define TOOLS_SIM_WIRE_H

#include "core/message.h"

struct wire {
    uint32_t refs;
    uint32_t size;  // bytes of the body in msgpack, and of the bulk
    struct message message;
};

// A copy with one reference.
struct wire *wire_make(const struct message *m);
void wire_release(struct wire *w);
// Whether the two say the same, so that one block serves both.
bool wire_same(const struct wire *w, const struct message *m);
// Bytes of the body and the bulk.
uint32_t wire_size(const struct message *m);

#endif
