// Any sequence of events at a fetch: requests stay within their limits, only peers that count are asked, and only bytes
// that hash to their name are kept.
#include <string.h>

#include "core/check.h"
#include "store/fetch.h"

enum { PEERS = 4, PARTS = 5, IN_FLIGHT = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice part(uint32_t i)
{
    static const uint8_t bytes[PARTS][3] = {"aa", "bb", "cc", "dd", "ee"};
    return (struct slice){bytes[i], 3};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice parts[PARTS];
    uint8_t index_bytes[512];
    struct writer w = writer_over(index_bytes, sizeof index_bytes);
    struct core_hash root, hashes[PARTS + 1];
    write_u8(&w, 1);
    write_u32(&w, PARTS);
    for (uint32_t i = 0; i < PARTS; i++) {
        parts[i] = part(i);
        hashes[i] = hash_leaf(parts[i].data, parts[i].size);
        write_u64(&w, parts[i].size);
        write_bytes(&w, hashes[i].bytes, sizeof hashes[i].bytes);
    }
    if (object_root(parts, PARTS, &root)) return 0;
    hashes[PARTS] = root;
    struct fetch_options options = {.in_flight = IN_FLIGHT, .per_peer = 2, .timeout_ms = 10, .retry_ms = 5};
    struct fetch *f;
    struct outbox out;
    if (fetch_open(&f, &options)) return 0;
    if (outbox_open(&out, 64, 1 << 16)) {
        fetch_close(f);
        return 0;
    }
    struct core_id ids[PEERS] = {{{1}}, {{2}}, {{3}}, {{4}}};
    uint64_t now = 0;
    fetch_start(f, &root, ids, PEERS - 1, now, &out);
    struct reader r = reader_over(data, size);
    while (!r.failed && r.at < r.size) {
        uint8_t op = read_u8(&r), which = read_u8(&r);
        const struct core_id *peer = &ids[which % PEERS];
        struct message m = {.type = MESSAGE_CHUNK,
                            .chunk = {.hash = hashes[which / PEERS % (PARTS + 1)], .found = op & 1}};
        outbox_reset(&out);
        switch (op >> 1 & 7) {
        case 0: fetch_tick(f, now += which, &out); continue;
        case 1: fetch_peer_gone(f, peer, now, &out); continue;
        case 2: fetch_candidate(f, peer, now, &out); continue;
        case 3: fetch_start(f, &root, ids, which % (PEERS + 1), now, &out); continue;
        case 4: m.bulk = read_slice(&r, 64); break;  // the input's own bytes
        case 5:                                      // right bytes for what is named
        case 6:
            m.bulk = which / PEERS % (PARTS + 1) == PARTS ? (struct slice){index_bytes, w.size}
                                                          : parts[which / PEERS % (PARTS + 1)];
            break;
        default:  // an index with another size in it
            m.chunk.hash = root;
            m.chunk.found = 1;
            index_bytes[5] ^= 1;
            m.bulk = (struct slice){index_bytes, w.size};
        }
        enum fetch_verdict verdict = fetch_chunk(f, peer, &m, now, &out);
        if ((op >> 1 & 7) == 7) index_bytes[5] ^= 1;
        if (verdict == FETCH_KEEP_CHUNK) {
            struct core_hash hash = hash_leaf(m.bulk.data, m.bulk.size);
            check(hash_equal(&hash, &m.chunk.hash));
        }
        if (verdict == FETCH_KEEP_INDEX) check(hash_equal(&m.chunk.hash, &root) && m.bulk.size == w.size);
        struct fetch_progress p = fetch_progress(f);
        check(p.in_flight <= IN_FLIGHT && p.chunks_done <= p.chunks);
        for (size_t i = 0; i < out.count; i++) check(out.effects[i].kind == EFFECT_SEND);
    }
    fetch_close(f);
    outbox_close(&out);
    return 0;
}
