// The wire codec: struct message <-> frames. A message is two or three ZMTP frames:
//
//   header  32 bytes  magic "MYCL", u8 version, u8 flags, u16 type, u32 body size, u32 bulk size, 8 bytes of the mesh
//                     id, u64 trace; integers little-endian
//   body              a msgpack array of the type's fields in the order of core/message.def: U64 as an unsigned
//                     integer; ID, HASH, SIG and BYTES as bin
//   bulk              only where flag bit 0 is set: raw bytes
//
// Every limit is checked before anything is allocated. Hostile bytes give an error, never a check. Any thread.
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
    WIRE_HEADER_SIZE = 32,
    WIRE_FLAG_BULK = 1,
    WIRE_BODY_MAX = 262144,            // no type's body limit is above
    WIRE_FRAME_MAX = 67108864 + 4096,  // largest frame that a link takes (ZMQ_MAXMSGSIZE)
};

// Writes header and body; the bulk frame is m->bulk as it is. `body` holds at least the type's body limit.
// CORE_ERR_TOO_LARGE where the fields or the bulk exceed the type's limits (ours to avoid), CORE_ERR_UNKNOWN_TYPE.
CORE_MUST_USE enum core_err wire_encode(const struct message *m, const struct core_hash *mesh,
                                        uint8_t header[WIRE_HEADER_SIZE], uint8_t *body, size_t capacity,
                                        size_t *body_size);
// A bound on the size of m's body, for allocation; 0 where m's type is unknown.
size_t wire_body_bound(const struct message *m);

// What a header says, after its own checks: CORE_ERR_MALFORMED (size, magic, flags), CORE_ERR_UNKNOWN_VERSION,
// CORE_ERR_UNKNOWN_TYPE, CORE_ERR_WRONG_MESH, CORE_ERR_TOO_LARGE (says more than the type's limit).
struct wire_header {
    uint8_t version;
    uint8_t flags;
    uint32_t type;
    uint32_t body_size;
    uint32_t bulk_size;
    uint64_t trace;
};
CORE_MUST_USE enum core_err wire_header_decode(struct slice frame, const struct core_hash *mesh,
                                               struct wire_header *out);

// Decodes a whole message; BYTES fields and the bulk are views into `body` and `bulk`. `frames` is how many there were
// (2 or 3). Sizes that differ from what the header says are CORE_ERR_MALFORMED.
CORE_MUST_USE enum core_err wire_decode(const struct slice *frames, size_t count, const struct core_hash *mesh,
                                        struct message *out);

#endif
