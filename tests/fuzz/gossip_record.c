// Decoders of what others sign or compare: records, accusations, entries, nodes, wants. Any bytes end in a value or an
// error, what is accepted is written back as the same bytes, and the table stays what it says it is.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/sum.h"
#include "gossip/sync.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_record(struct slice bytes)
{
    struct member_record record;
    if (record_read(&record, bytes) != CORE_ERR_OK) return;
    (void)record_signed(&record, NULL);
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

static bool any_valid(void *context, const struct core_id *id, const char *domain, struct slice bytes,
                      const struct core_sig *sig)
{
    (void)context, (void)id, (void)domain;
    return bytes.size % 7 != 0 || sig->bytes[0] % 2;
}

// A table of a few members, or a sample of one, and the bytes as every kind of message and as entries.
static void try_members(struct slice bytes)
{
    static struct outbox out;
    if (!out.effects && outbox_open(&out, 64, 1 << 20) != CORE_ERR_OK) abort();
    struct core_key key = {.id = {{1}}};
    const struct gossip_options options = {
        .key = key, .members_max = bytes.size % 2 ? 4 : 40, .signatures = {any_valid, NULL}};
    struct gossip_counts counts = {0};
    struct members m;
    if (members_open(&m, &options, NULL, &counts, 1) != CORE_ERR_OK) abort();
    struct members_change change;
    for (uint8_t i = 0; i < 38; i++) {
        key.id = (struct core_id){{(uint8_t)(i * 7 + 1), i}};
        const struct member_record r = {.id = key.id, .incarnation = 1, .seq = 1};
        uint8_t record[RECORD_MAX];
        const size_t size = record_write(record, &r, &key);
        if (i == 0)
            members_self_put(&m, &r, &key, 1);
        else if (members_record_put(&m, (struct slice){record, size}, 1, &change))
            continue;
    }
    const struct message_members_root root = {.count = bytes.size, .mark = bytes};
    const struct message_members_nodes nodes = {.nodes = bytes};
    const struct message_members_want want = {.ids = bytes};
    const struct core_id peer = {{2}};
    enum core_err err = sync_root_received(&m, &peer, &root, &out);
    if (!err) err = sync_nodes_received(&m, &peer, &nodes, &out);
    if (err) err = sync_want_received(&m, &peer, &want, &out);
    struct reader r = reader_over(bytes.data, bytes.size);
    struct slice record, accusations;
    while (sync_entry_next(&r, &record, &accusations)) {
        err = members_record_put(&m, record, 1, &change);
        for (size_t at = 0; at < accusations.size; at += ACCUSATION_SIZE)
            if (members_accusation_put(&m, (struct slice){accusations.data + at, ACCUSATION_SIZE}, 1, &change)) break;
    }
    check(m.count <= options.members_max && out.dropped == 0);
    struct pool_mark sum = {{0}};
    for (uint32_t i = 0; i < m.count; i++) {
        const struct pool_mark mark = members_mark(members_at(&m, i));
        digest_xor(&sum, &mark);
    }
    check(digest_equal(&sum, &m.digest.root));
    outbox_reset(&out);
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
