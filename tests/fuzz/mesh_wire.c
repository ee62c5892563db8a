// wire_decode over hostile frames: the input is a head, and bulk where its flags say so. What decodes is encoded again
// and must decode to the same.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "mesh/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t head[WIRE_HEAD_MAX], again[WIRE_HEAD_MAX];
    struct core_hash mesh = {{0}};
    struct message m, back;
    if (size < WIRE_HEADER_MIN + 1 || size - 1 > sizeof head) return 0;
    // The fuzzer finds types and bodies, not magic numbers: those are set right unless the first byte is odd.
    memcpy(head, data + 1, size - 1);
    size_t left = size - 1, bulk = head[3] & WIRE_FLAG_BULK ? left / 4 : 0;
    if (!(data[0] & 1)) {
        struct writer w = writer_over(head, 10);
        write_bytes(&w, "MY", 2);
        write_u8(&w, MESSAGE_VERSION);
        memcpy(head + 6, mesh.bytes, 4);
    }
    struct slice frames[2] = {{head, left - bulk}, {head + left - bulk, bulk}};
    if (wire_decode(frames, bulk ? 2 : 1, &mesh, &m)) return 0;
    size_t again_size;
    check(wire_encode(&m, &mesh, again, sizeof again, &again_size) == CORE_ERR_OK);
    check(again_size <= wire_head_bound(&m));
    struct slice second[2] = {{again, again_size}, m.bulk};
    check(wire_decode(second, m.bulk.size ? 2 : 1, &mesh, &back) == CORE_ERR_OK);
    check(back.type == m.type && back.trace == m.trace && back.bulk.size == m.bulk.size);
    return 0;
}
