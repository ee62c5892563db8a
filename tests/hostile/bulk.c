// Attacks on what costs memory: bulk that nobody asked for or that is too large, and a reader that takes nothing.
#include <string.h>

#include "hostile.h"

enum { MIB = 1 << 20 };

// The bulk lane beside an open control lane: both must be there for a link.
static bool enter_both(struct hostile *h, struct hostile_link *control, struct hostile_link *bulk)
{
    return hostile_enter(h, control, LANE_CONTROL) && hostile_connect(h, bulk, &h->key) &&
           hostile_greet(h, bulk, LANE_BULK);
}

static void push(struct hostile *h, size_t size)
{
    static uint8_t bytes[4 * MIB];
    struct hostile_link control = {0}, bulk = {0};
    static uint8_t head[300 << 10];
    uint64_t end = hostile_clock_ms() + 1000ull * h->seconds;
    if (enter_both(h, &control, &bulk)) {
        struct message m = {.type = MESSAGE_CHUNK, .bulk = {bytes, 1}};
        hostile_random(h, m.chunk.hash.bytes, CORE_HASH_SIZE);
        m.chunk.found = 1;
        struct slice frames[2] = {{head, hostile_encode(h, &m, head)}, {bytes, size}};
        while (h->sent < h->count && hostile_clock_ms() < end && hostile_send_frames(h, &bulk, frames, 2))
            hostile_listen(h, &control, 1);
        hostile_listen(h, &bulk, 500);
        hostile_listen(h, &control, 500);
    }
    hostile_close(&bulk);
    hostile_close(&control);
}

// Chunks that nobody asked for, of the largest size allowed, as fast as they go and without waiting for credit.
static void bulk_unasked(struct hostile *h)
{
    push(h, MIB);
}

static void bulk_too_large(struct hostile *h)
{
    push(h, 4 * MIB);
}

// Asks `count` times for the chunk --about and takes none of the answers.
static void hog(struct hostile *h)
{
    struct hostile_link control = {0}, bulk = {.deaf = true};
    uint64_t end = hostile_clock_ms() + 1000ull * h->seconds;
    if (enter_both(h, &control, &bulk)) {
        struct message m = {.type = MESSAGE_CHUNK_GET};
        memcpy(m.chunk_get.hash.bytes, h->about.bytes, CORE_HASH_SIZE);
        while (h->sent < h->count && hostile_send(h, &control, &m)) hostile_listen(h, &control, 2);
        while (!control.closed && !bulk.closed && hostile_clock_ms() < end) {
            hostile_listen(h, &control, 100);
            hostile_listen(h, &bulk, 10);
        }
    }
    hostile_close(&bulk);
    hostile_close(&control);
}

// Asks on and on for the decisions of run --about and reads nothing at all: not the answers, not the pings.
static void deaf(struct hostile *h)
{
    struct hostile_link link = {.deaf = true, .silent = true};
    uint64_t end = h->end_ms = hostile_clock_ms() + 1000ull * h->seconds;
    if (hostile_enter(h, &link, LANE_CONTROL)) {
        struct message m = {.type = MESSAGE_RUN_PULL};
        memcpy(m.run_pull.run.bytes, h->about.bytes, CORE_HASH_SIZE);
        m.run_pull.from_height = 1;
        m.run_pull.limit = 64;
        while (!link.closed && hostile_clock_ms() < end) {
            bool asks = h->sent < h->count;
            if (asks && !hostile_send(h, &link, &m)) break;
            if (!asks || h->sent % 16 == 0) hostile_listen(h, &link, asks ? 1 : 100);
        }
    }
    hostile_close(&link);
}

const struct attack bulk_attacks[] = {
    {"bulk-unasked", true, bulk_unasked},
    {"bulk-too-large", true, bulk_too_large},
    {"hog", true, hog},
    {"deaf", true, deaf},
    {NULL, false, NULL},
};
