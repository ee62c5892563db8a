// Any sequence of messages, finished work, links and time at one peer of three with a run: no check trips, and what it
// signs is written first. The first bytes of each step pick what happens; fields come from the rest.
#include <string.h>

#include "core/check.h"
#include "learn/peer.h"

enum { MEMBERS = 3, STEPS = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool any_spec(void *context, const struct run_spec *spec)
{
    (void)context;
    (void)spec;
    return true;
}

static struct slice rest(struct reader *r, size_t limit)
{
    size_t size = read_u8(r) % (limit + 1);
    if (size > r->size - r->at) size = r->size - r->at;
    const struct slice s = {r->data + r->at, size};
    r->at += size;
    return s;
}

static struct message make(struct reader *r, const struct core_hash *run)
{
    static const uint32_t types[] = {MESSAGE_RUN_HEAD,     MESSAGE_RUN_VOTE,   MESSAGE_RUN_PROPOSAL, MESSAGE_RUN_PULL,
                                     MESSAGE_RUN_DECISION, MESSAGE_RUN_COMMIT, MESSAGE_DATA_PULL,    MESSAGE_DATA_ACK};
    struct message m = {.type = types[read_u8(r) % (sizeof types / sizeof types[0])]};
    const struct message_info *info = message_info(m.type);
    for (uint32_t i = 0; i < info->count; i++) {
        void *field = (uint8_t *)&m + info->fields[i].offset;
        switch (info->fields[i].kind) {
        case MESSAGE_U64: {
            const uint8_t value = read_u8(r);
            *(uint64_t *)field = value < 0xf0 ? value % 8 : read_u64(r);
            break;
        }
        case MESSAGE_BYTES: *(struct slice *)field = rest(r, 200); break;
        default: memcpy(field, run, sizeof *run);
        }
    }
    return m;
}

static void finish_work(struct peer *p, struct outbox *out, const struct core_hash *run, struct reader *r, uint64_t now)
{
    struct work_result result = {.kind = 1 + read_u8(r) % 4, .run = *run, .round = read_u8(r) % 3};
    result.err = read_u8(r) % 4 == 0 ? CORE_ERR_FAILED : CORE_ERR_OK;
    if (result.kind == WORK_TRAIN) {
        result.train.loss = 1;
        result.train.weight = 1 + read_u8(r);
    } else if (result.kind == WORK_FETCH) {
        result.fetch.what = 1 + read_u8(r) % 2;
    } else if (result.kind == WORK_REDUCE) {
        result.reduce.key = (struct blob_key){.run = *run, .kind = ROUND_PARTIAL, .shard = read_u8(r) % 4};
    }
    peer_work_done(p, &result, now, out);
}

static void step(struct peer *p, struct outbox *out, const struct core_id *ids, const struct core_hash *run,
                 struct reader *r, uint64_t *now)
{
    const struct core_id *from = &ids[1 + read_u8(r) % (MEMBERS - 1)];
    struct message m;
    struct peer_expected expected;
    switch (read_u8(r) % 6) {
    case 0:
    case 1:
        m = make(r, run);
        (void)!peer_message(p, from, &m, *now, out);
        break;
    case 2: {
        struct message_data d = {
            .run = *run, .kind = 1 + read_u8(r) % 2, .shard = read_u8(r) % 5, .slot = read_u8(r) % 5};
        d.level = read_u8(r) % 3;
        d.bits = 8 * (read_u8(r) % 10);
        d.set = rest(r, 8);
        d.proof = rest(r, 200);
        if (peer_data(p, from, &d, &expected, *now, out) != PEER_WANTED) break;
        outbox_reset(out);
        peer_stored(p, from, &d, *now, out);
        break;
    }
    case 3: finish_work(p, out, run, r, *now); break;
    case 4: peer_link_up(p, from, *now, out); break;
    default: *now += 10 * (uint64_t)read_u8(r); peer_tick(p, *now, out);
    }
    outbox_reset(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct core_key keys[MEMBERS];
    static struct core_id ids[MEMBERS];
    static struct outbox out;
    static uint8_t bytes[RUN_SPEC_LIMIT];
    static struct slice spec_bytes;
    static struct core_hash run;
    if (!out.effects) {
        if (sign_start() != CORE_ERR_OK || outbox_open(&out, PEER_OUTBOX_EFFECTS, PEER_OUTBOX_BYTES)) return 0;
        struct run_spec spec = {
            .rounds = 3, .deadline_ms = 500, .elements = 256, .tensors = 1, .member_count = MEMBERS};
        spec.model = *config_preset("small");
        spec.hyper = hyper_defaults();
        for (uint32_t i = 0; i < MEMBERS; i++) {
            const uint8_t seed[CORE_SEED_SIZE] = {(uint8_t)(i + 1)};
            keys[i] = sign_key_from_seed(seed);
            ids[i] = keys[i].id;
            spec.members[i] =
                (struct run_member){.id = ids[i], .slot = i, .weight = 1, .dialable = true, .fresh = true};
        }
        struct writer w = writer_over(bytes, sizeof bytes);
        run_spec_encode(&w, &spec, &keys[0], &run);
        spec_bytes = (struct slice){bytes, w.size};
    }
    const struct peer_options options = {
        .gossip = {.key = keys[0], .incarnation = 1, .members_max = 8, .cast_count = 32, .cast_bytes = 1 << 14},
        .spec_valid = any_spec,
        .runs_max = 2,
    };
    struct peer *p;
    uint64_t now = 1000;
    if (peer_open(&p, &options, now)) return 0;
    peer_start(p, now, &out);
    outbox_reset(&out);
    enum core_err err = peer_run_start(p, spec_bytes, now, &out);
    check(!err);
    outbox_reset(&out);
    struct reader r = reader_over(data, size);
    for (uint32_t i = 0; i < STEPS && r.at < r.size; i++) step(p, &out, ids, &run, &r, &now);
    peer_close(p);
    return 0;
}
