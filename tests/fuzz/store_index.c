// Any bytes as an object's index: refused, or decoded into what encodes to the same bytes.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "store/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct object_index index;
    if (object_index_decode((struct slice){data, size}, 1ull << 34, &index) != CORE_ERR_OK) return 0;
    check(object_index_size(&index) == size);
    uint8_t *again = malloc(size);
    check(again);
    struct writer w = writer_over(again, size);
    object_index_encode(&w, &index);
    check(!w.overflowed && w.size == size && memcmp(again, data, size) == 0);
    uint64_t total = 0;
    for (uint32_t i = 0; i < index.chunk_count; i++) {
        uint32_t bytes = object_chunk_size(&index, i);
        check(bytes > 0 && bytes <= STORE_CHUNK_SIZE);
        total += bytes;
    }
    check(total == index.size);
    free(again);
    object_index_free(&index);
    return 0;
}
