// The wire codec: struct message <-> frames. A message is one frame, or two where it has bulk:
//
//   head   10 or 18 bytes of header, then the body to the frame's end
//          magic "MY", u8 version, u8 flags, u16 type, first 4 bytes of the mesh id, and where flag bit 1 is set u64
//          trace; integers little-endian
//          body: a msgpack array of the type's fields in the order of core/message.def: U64 as an unsigned integer;
//          ID, HASH, SIG and BYTES as bin
//   bulk   only where flag bit 0 is set: raw bytes, at least one
//
// Sizes are the frames' own. Every limit is checked before anything is allocated. Hostile bytes give an error, never a
// check. Any thread.
#ifndef MESH_WIRE_H
#define MESH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/message.h"

enum {
    WIRE_HEADER_MIN = 10,
    WIRE_HEADER_MAX = 18,  // with a trace id
    WIRE_FLAG_BULK = 1,
    WIRE_FLAG_TRACE = 2,
    WIRE_BODY_MAX = 262144,  // no type's body limit is above
    WIRE_HEAD_MAX = WIRE_HEADER_MAX + WIRE_BODY_MAX,
    WIRE_BULK_HEAD_MAX = WIRE_HEADER_MAX + 8192,  // of the types that may have bulk
    WIRE_FRAME_MAX = 67108864 + 4096,             // largest frame that a link takes (ZMQ_MAXMSGSIZE)
};

// Writes header and body; the bulk frame is m->bulk as it is. `head` holds at least WIRE_HEADER_MAX and the type's body
// limit, or wire_head_bound. CORE_ERR_TOO_LARGE where the fields or the bulk exceed the type's limits (ours to avoid),
// CORE_ERR_UNKNOWN_TYPE.
CORE_MUST_USE enum core_err wire_encode(const struct message *m, const struct core_hash *mesh, uint8_t *head,
                                        size_t capacity, size_t *size);
// A bound on the size of m's head, for allocation; 0 where m's type is unknown.
size_t wire_head_bound(const struct message *m);

// What a head says, after its own checks: CORE_ERR_MALFORMED (size, magic, flags), CORE_ERR_UNKNOWN_VERSION,
// CORE_ERR_UNKNOWN_TYPE, CORE_ERR_WRONG_MESH, CORE_ERR_TOO_LARGE (the body is above the type's limit).
struct wire_header {
    uint8_t version;
    uint8_t flags;
    uint32_t type;
    uint64_t trace;
    struct slice body;
};
CORE_MUST_USE enum core_err wire_header_decode(struct slice head, const struct core_hash *mesh,
                                               struct wire_header *out);

// Decodes a whole message; BYTES fields and the bulk are views into the frames, of which there are `count` (1 or 2). A
// bulk frame without its flag, or the other way round, is CORE_ERR_MALFORMED, one above the limit CORE_ERR_TOO_LARGE.
CORE_MUST_USE enum core_err wire_decode(const struct slice *frames, size_t count, const struct core_hash *mesh,
                                        struct message *out);

#endif
