// Decoders of what others sign: records, accusations, entries, digest pages. Any bytes end in a value or an error, and
// what is accepted is written back as the same bytes.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/members.h"
#include "gossip/sum.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_record(struct slice bytes)
{
    struct record record;
    if (record_read(&record, bytes) != CORE_ERR_OK) return;
    (void)record_signed(&record, bytes);
    const struct core_key key = {.id = record.id};
    uint8_t again[RECORD_MAX];
    const size_t size = record_write(again, &record, &key);
    check(size == bytes.size && memcmp(again, bytes.data, size - CORE_SIG_SIZE) == 0);
}

static void try_accusation(struct slice bytes)
{
    struct accusation a;
    if (accusation_read(&a, bytes) == CORE_ERR_OK) check(!id_equal(&a.accuser, &a.target));
}

static void try_members(struct slice bytes)
{
    const struct core_key key = sign_key_from_seed((uint8_t[CORE_SEED_SIZE]){1});
    struct members m;
    struct outbox out;
    if (members_open(&m, &key.id, 8, (struct gossip_callbacks){0}) != CORE_ERR_OK) abort();
    if (outbox_open(&out, 8, 1 << 19) != CORE_ERR_OK) abort();
    const struct record self = {.id = key.id, .incarnation = 1, .seq = 1};
    members_self_put(&m, &self, &key, 1);
    const struct message_members_digest digest = {.count = 2, .entries = bytes};
    const struct message_members_want want = {.ids = bytes};
    if (members_digest_received(&m, &key.id, &digest, &out)) outbox_reset(&out);
    if (members_want_received(&m, &key.id, &want, &out)) outbox_reset(&out);
    struct reader r = reader_over(bytes.data, bytes.size);
    struct slice record, accusation;
    struct members_change change;
    while (members_entry_next(&r, &record, &accusation))
        if (members_record_put(&m, record, 1, &change) || members_accusation_put(&m, accusation, 1, &change)) continue;
    check(m.count <= m.capacity);
    outbox_close(&out);
    members_close(&m);
}

// Reductions of arbitrary partials: an error, or a sum that unpacking and adding confirms.
static void try_sum(struct slice bytes)
{
    if (bytes.size < 4) return;
    static const uint32_t widths[] = {8, 16, 24, 32, 64, 12};
    const uint32_t in = widths[bytes.data[0] % 6], to = widths[bytes.data[1] % 6], weight = bytes.data[2] % 65;
    const size_t elements = in == 12 ? 1 : (bytes.size - 3) / (in / 8) / 2;
    if (elements == 0 || elements > 512) return;
    const size_t half = elements * (in / 8);
    const struct sum_input inputs[2] = {{bytes.data + 3, in, weight}, {bytes.data + 3 + half, in, 1}};
    uint8_t out[512 * 8];
    if (sum_reduce(out, to, inputs, 2, elements) != CORE_ERR_OK) return;
    int64_t a[512], b[512], c[512];
    if (sum_unpack(a, inputs[0].data, in, elements) || sum_unpack(b, inputs[1].data, in, elements)) abort();
    if (sum_unpack(c, out, to, elements)) abort();
    for (size_t i = 0; i < elements; i++) check(a[i] * (int64_t)weight + b[i] == c[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (sign_start() != CORE_ERR_OK) abort();
    if (size == 0) return 0;
    const struct slice rest = {data + 1, size - 1};
    switch (data[0] % 4) {
    case 0: try_record(rest); break;
    case 1: try_accusation(rest); break;
    case 2: try_members(rest); break;
    default: try_sum(rest); break;
    }
    return 0;
}
