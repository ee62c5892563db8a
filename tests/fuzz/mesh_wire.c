// wire_decode over hostile frames: the input's first bytes are the header, the rest is body and bulk as the header
// says. What decodes is encoded again and must decode to the same.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "mesh/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t body[WIRE_BODY_MAX], header[WIRE_HEADER_SIZE];
    struct core_hash mesh = {{0}};
    struct message m, back;
    if (size < WIRE_HEADER_SIZE + 1) return 0;
    // The fuzzer finds types and bodies, not magic numbers and sizes: those are set right unless the first byte is odd.
    struct slice frames[3] = {{header, WIRE_HEADER_SIZE}, {0}, {0}};
    bool raw = data[0] & 1;
    memcpy(header, data + 1, size - 1 < sizeof header ? size - 1 : sizeof header);
    const uint8_t *rest = data + WIRE_HEADER_SIZE + 1;
    size_t left = size - WIRE_HEADER_SIZE - 1, bulk = header[5] & WIRE_FLAG_BULK && left > 4 ? left / 4 : 0;
    if (!raw) {
        struct writer w = writer_over(header, 6);
        write_bytes(&w, "MYCL", 4);
        write_u8(&w, MESSAGE_VERSION);
        write_u8(&w, bulk ? WIRE_FLAG_BULK : 0);
        w = writer_over(header + 8, 16);
        write_u32(&w, (uint32_t)(left - bulk));
        write_u32(&w, (uint32_t)bulk);
        write_bytes(&w, mesh.bytes, 8);
    }
    frames[1] = (struct slice){rest, left - bulk};
    frames[2] = (struct slice){rest + left - bulk, bulk};
    if (wire_decode(frames, bulk ? 3 : 2, &mesh, &m)) return 0;
    size_t body_size;
    check(wire_encode(&m, &mesh, header, body, sizeof body, &body_size) == CORE_ERR_OK);
    struct slice again[3] = {{header, WIRE_HEADER_SIZE}, {body, body_size}, m.bulk};
    check(wire_decode(again, m.bulk.size ? 3 : 2, &mesh, &back) == CORE_ERR_OK);
    check(back.type == m.type && back.trace == m.trace && back.bulk.size == m.bulk.size);
    return 0;
}
